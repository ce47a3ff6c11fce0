"""The directive ``option-table``: all options of the command, by section, from the parser that reads them."""

import argparse
import re
from collections.abc import Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from storescp.program.command_line import make_parser

# What would be markup, or be taken for an address; and the options that a text names.
_SPECIAL = re.compile(r"([\\*`|_<>@:])")
_FLAG = re.compile(r"(?<!\S)(--[a-z-]+)")


class OptionTable(SphinxDirective):
    """A section for each of the parser's, and in it an ``option`` of Sphinx's for each row."""

    def run(self) -> list[nodes.Node]:
        # What argparse has no public name for: the parser alone knows the general options too.
        groups = make_parser("storescp")._action_groups
        return [self._section(group.title, group._group_actions) for group in groups if group._group_actions]

    def _section(self, title: str | None, actions: list[argparse.Action]) -> nodes.section:
        section = nodes.section("", nodes.title("", str(title)), ids=[nodes.make_id(f"options {title}")])
        lines = [line for action in actions for line in _lines(action)]
        self.state.nested_parse(StringList(lines, self.get_location()), 0, section)
        return section


def _lines(action: argparse.Action) -> Iterator[str]:
    """An option in reStructuredText."""
    yield f".. option:: {', '.join(action.option_strings)} {action.metavar or ''}"
    yield ""
    text = _SPECIAL.sub(r"\\\1", str(action.help).replace("%%", "%"))
    yield "   " + _FLAG.sub(r"``\1``", text)
    yield ""


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("option-table", OptionTable)
    return {"parallel_read_safe": True}
