"""The directive ``state-table`` prints the machine that there is: compared with what tests/ul has of PS3.8."""

import inspect
import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from twisted.trial.unittest import SynchronousTestCase

from storescp.ul.machine import Evt, Machine, Sta
from tests.docs.building import DIRECTIVES, build
from tests.ul.test_machine import FILLED, outcome

SOURCES = {
    "conf.py": f"""\
{DIRECTIVES}
extensions = ["state_table"]
smartquotes = False
xml_pretty = False
man_pages = [("index", "machine", "a machine", "", 7)]
""",
    "index.rst": """\
A machine
=========

It has a table.

Its states
----------

.. state-table::
""",
}

EVENTS = [
    "Evt 1: A-ASSOCIATE-REQUEST",
    "Evt 2: TRANSPORT-CONFIRM",
    "Evt 3: A-ASSOCIATE-AC",
    "Evt 4: A-ASSOCIATE-RJ",
    "Evt 5: TRANSPORT-INDICATION",
    "Evt 6: A-ASSOCIATE-RQ",
    "Evt 7: A-ASSOCIATE-ACCEPT",
    "Evt 8: A-ASSOCIATE-REJECT",
    "Evt 9: P-DATA-REQUEST",
    "Evt 10: P-DATA-TF",
    "Evt 11: A-RELEASE-REQUEST",
    "Evt 12: A-RELEASE-RQ",
    "Evt 13: A-RELEASE-RP",
    "Evt 14: A-RELEASE-RESPONSE",
    "Evt 15: A-ABORT-REQUEST",
    "Evt 16: A-ABORT",
    "Evt 17: TRANSPORT-CLOSED",
    "Evt 18: ARTIM-EXPIRED",
    "Evt 19: INVALID-PDU",
]
STATES = [f"Sta{number}" for number in range(1, 14)]
ACTIONS = [
    *(f"AE-{number}" for number in range(1, 9)),
    *(f"DT-{number}" for number in range(1, 3)),
    *(f"AR-{number}" for number in range(1, 11)),
    *(f"AA-{number}" for number in range(1, 9)),
]
# The actions that lead to one of two states.
CHOICES = {"AE-6": "Sta13 if refusal else Sta3", "AR-8": "Sta9 if requestor else Sta10"}


@cache
def built(builder: str) -> str:
    """What Sphinx makes of a page with nothing but the directive, without a warning."""
    with TemporaryDirectory() as directory:
        for name, content in SOURCES.items():
            Path(directory, name).write_text(content)
        build(builder, Path(directory), Path(directory, "out"))
        (page,) = (path for path in Path(directory, "out").iterdir() if path.stem in ("index", "machine"))
        return page.read_text()


def text(element: Element) -> str:
    return "".join(element.itertext())


class TableTestCase(SynchronousTestCase):
    def table(self, title: str) -> Element:
        """The one of the section with this title."""
        sections = ElementTree.fromstring(built("xml")).iter("section")
        (table,) = (table for each in sections if each.findtext("title") == title for table in each.findall("table"))
        return table

    def rows(self, title: str) -> list[list[str]]:
        """What the cells say, the first row being the header."""
        return [list(map(text, row.iter("entry"))) for row in self.table(title).iter("row")]


class CellTests(TableTestCase):
    """Table 9-10."""

    def test_cells(self) -> None:
        """Each of the 123 filled cells stands at its event and in its state, and the 124 others are empty."""
        actions = {(event, state): action for event, state, action in FILLED}
        expected = [
            [name, *(actions.get((event, state), "") for state in Sta)] for name, event in zip(EVENTS, Evt, strict=True)
        ]
        header, *rows = self.rows("Table 9-10")
        self.assertEqual((["event", *STATES], expected), (header, rows))
        self.assertEqual(123, sum(map(bool, (cell for row in rows for cell in row[1:]))))

    def test_explained(self) -> None:
        """Each state and each action says what it means, and leads to the row that says so."""
        explaining = {
            row.get("ids"): list(map(text, row.iter("entry")))
            for title in ("States", "Actions")
            for row in self.table(title).iter("row")
        }
        cells = [cell for _name, *row in self.rows("Table 9-10")[1:] for cell in row if cell]
        references = list(self.table("Table 9-10").iter("reference"))
        self.assertEqual([*STATES, *cells], list(map(text, references)))
        for each in references:
            self.assertEqual([text(each), each.get("reftitle")], explaining[each.get("refid")][:2])


class StateTests(TableTestCase):
    def test_states(self) -> None:
        """All 13 are there, and each has a meaning of its own."""
        _header, *rows = self.rows("States")
        self.assertEqual(STATES, [name for name, _ in rows])
        self.assertEqual(13, len({meaning for _, meaning in rows if meaning.strip()}))
        self.assertIn(["Sta6", "association established and ready for data transfer"], rows)


class ActionTests(TableTestCase):
    def test_actions(self) -> None:
        """All 28 are there, each with what it does, and with the state that PS3.8 has after it."""
        events = {action: event for event, _, action in FILLED}
        expected = [
            [
                name,
                inspect.getdoc(getattr(Machine, name.replace("-", "_"))),
                CHOICES.get(name, f"Sta{outcome(name, events[name])[1]}"),
            ]
            for name in ACTIONS
        ]
        _header, *rows = self.rows("Actions")
        self.assertEqual(expected, rows)


class BuilderTests(SynchronousTestCase):
    """What else is made of a page with it."""

    def test_text(self) -> None:
        """Text has a line for each event."""
        row = ["Evt", "10:", "P-DATA-TF", "AA-1", "AA-8", "AA-8", "DT-2", "AR-6", *["AA-8"] * 5, "AA-6"]
        self.assertIn(row, [line.replace("|", " ").split() for line in built("text").splitlines()])

    def test_man(self) -> None:
        """The manual page has every event, state and action."""
        words = built("man").replace("\\-", "-").split()
        wanted = {*STATES, *ACTIONS, *(event.split()[-1] for event in EVENTS)}
        self.assertEqual(set(), wanted.difference(words))

    def test_html(self) -> None:
        """HTML has a link for every cell that is filled, and for every state of the header."""
        self.assertEqual(
            123 + 13, len(re.findall(r'<a class="reference internal" href="#[\w-]+" title=', built("html")))
        )
