"""README.rst: its figures are those of docs/performance.rst, and it stays short."""

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.pages import Page

PAGE = Page("README.rst")
MEASURED = Page("docs/performance.rst").section("The figures of the third run")

# A column of the README's table is the rate of a scenario, with the servers that take part in it.
SCENARIOS = ("1x512KiB", "8x512KiB", "1x100MiB", "sync-1", "sync-8")
ROWS = {
    "storescp": {"none", "full"},
    "DCMTK 3.6.7, ``--fork``": {"dcmtk"},
    "Orthanc 1.10.1": {"orthanc", "orthanc-sync"},
    "pynetdicom 3.0": {"pynetdicom"},
}
UNSYNCED = "never"  # what the others' synced rate is called


def measured(scenario: str, servers: set[str]) -> str:
    """The rate of whichever of them is the subject of a scenario; for a synced one, that of the level that syncs."""
    text = MEASURED.partition(f"``{scenario}``: ")[2].partition("\n``")[0]
    rates = dict(re.findall(r"(?m)^(\S+) +([\d,.]+) ", text))
    (rate,) = {rates[each] for each in servers & rates.keys() if scenario.startswith("sync") or each != "full"} or {
        UNSYNCED
    }
    return str(rate)


class ReadmeTests(SynchronousTestCase):
    def test_figures(self) -> None:
        """Each is the one that was measured."""
        section = PAGE.section("How fast it is")
        for name, servers in ROWS.items():
            (row,) = re.findall(rf"(?m)^{re.escape(name)} +(.*)$", section)
            self.assertEqual([measured(scenario, servers) for scenario in SCENARIOS], row.split(), name)

    def test_length(self) -> None:
        """It has fewer than 150 lines."""
        self.assertLess(PAGE.text.count("\n"), 150)
