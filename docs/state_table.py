"""The directive ``state-table``: the state machine as its module has it: the states, Table 9-10, the actions."""

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from storescp.ul import machine
from storescp.ul.machine import TABLE_9_10, Evt, Machine, Sta

_Row = tuple[str, ...]

_MEANING = re.compile(r"(Sta\d+) = \d+  # (.+)")
_ACTION = re.compile(r"[A-Z]{2}_\d+")
_OWNER = re.compile(r"\b(?:Sta|self)\.")
_WIDEST = 60  # characters of a line in a cell, where the builder does not know better


class StateTable(SphinxDirective):
    """A section for the states, one for what is done in each at an event, one for what that is."""

    def run(self) -> list[nodes.Node]:
        states, actions = _states(), _actions()
        known = {name: text for name, text, *_ in (*states, *actions)}
        return [
            _section("States", _table(("state", "what it means"), states, {})),
            _section("Table 9-10", _table(("event", *(state.name for state in Sta)), _cells(), known)),
            _section("Actions", _table(("action", "what it does", "next state"), actions, {})),
        ]


def _states() -> list[_Row]:
    meanings = dict(_MEANING.findall(inspect.getsource(Sta)))  # comments, which only the source has
    return [(state.name, meanings[state.name]) for state in Sta]


def _cells() -> list[_Row]:
    _header, *rows = (line.split()[1:] for line in TABLE_9_10.strip().splitlines())
    return [
        (f"Evt {int(event)}: {event.name.replace('_', '-')}", *("" if cell == "." else cell for cell in row))
        for event, row in zip(Evt, rows, strict=True)
    ]


def _actions() -> list[_Row]:
    return [
        (name.replace("_", "-"), str(inspect.getdoc(action)), _next_state(action))
        for name, action in vars(Machine).items()
        if _ACTION.fullmatch(name)
    ]


def _next_state(action: Any) -> str:
    """What the source of an action sets the state to: a state, or one of two and when."""
    (value,) = (
        ast.unparse(node.value)
        for node in ast.walk(ast.parse(dedent(inspect.getsource(action))))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "self.state"
    )
    named = getattr(machine, value, None)  # a state that has a name of its own, as it is quicker
    return named.name if isinstance(named, Sta) else _OWNER.sub("", value)


def _section(title: str, table: nodes.table) -> nodes.section:
    return nodes.section("", nodes.title("", title), table, ids=[nodes.make_id(title)])


def _table(header: _Row, rows: Sequence[_Row], known: Mapping[str, str]) -> nodes.table:
    """What stands in a cell and is `known` says what it means, and leads to the row that does."""
    columns = list(zip(header, *rows, strict=True))
    group = nodes.tgroup("", cols=len(columns))
    for number, column in enumerate(columns):
        group += nodes.colspec("", colwidth=min(max(map(len, column)), _WIDEST), stub=int(number == 0))
    group += nodes.thead("", _row(header, known))
    group += nodes.tbody("", *(_row(row, known, ids=[nodes.make_id(row[0])]) for row in rows))
    return nodes.table("", group, classes=["state-table", "colwidths-auto"])


def _row(cells: _Row, known: Mapping[str, str], **attributes: Any) -> nodes.row:
    return nodes.row("", *(_entry(cell, known) for cell in cells), **attributes)


def _entry(text: str, known: Mapping[str, str]) -> nodes.entry:
    if text not in known:
        return nodes.entry("", nodes.paragraph("", text))
    reference = nodes.reference("", text, refid=nodes.make_id(text), reftitle=known[text], internal=True)
    return nodes.entry("", nodes.paragraph("", "", reference), classes=[text.partition("-")[0].lower()])


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("state-table", StateTable)
    return {"parallel_read_safe": True}
