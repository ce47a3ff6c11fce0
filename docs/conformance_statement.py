"""The directive ``conformance-statement``: that of a server without options, as the command prints it."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.i18n import format_date
from sphinx.util.nodes import nested_parse_with_titles
from sphinx.util.typing import ExtensionMetadata

from storescp import Config
from storescp.program.conformance import statement


class ConformanceStatement(SphinxDirective):
    """The sections of the statement."""

    def run(self) -> list[nodes.Node]:
        place = nodes.section()
        place.document = self.state.document
        date = format_date("%Y-%m-%d", language="en")  # that of SOURCE_DATE_EPOCH, if there is one
        lines = statement(Config(), date).splitlines()
        nested_parse_with_titles(self.state, StringList(lines, "--conformance"), place)
        sections: list[nodes.Node] = place.children
        return sections


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("conformance-statement", ConformanceStatement)
    return {"parallel_read_safe": True}
