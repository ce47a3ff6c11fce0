"""The manual page has all options, and is what the programs that show such pages understand."""

import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storescp.program.options import OPTIONS
from tests.docs.building import build
from tests.program import make_directory
from tests.servers import ROOT


class ManualTests(SynchronousTestCase):
    def build(self) -> Path:
        """Make the page, without a warning."""
        directory = Path(make_directory(self))
        build("man", ROOT / "docs", directory)
        return directory / "storescp.1"

    def test_options(self) -> None:
        """Each row of the table is there, with its spellings and its value as they are, and in its order."""
        terms = re.findall(r"(?m)^\.B (.*)$", self.build().read_text().replace("\\-", "-"))
        rows = [f"{', '.join(option.flags)} {option.metavar or ''}".strip() for option in OPTIONS]
        self.assertEqual(rows, [term for term in terms if term in rows])

    def test_understood(self) -> None:
        """mandoc finds no error in it."""
        mandoc = shutil.which("mandoc")
        if mandoc is None:
            raise SkipTest("needs mandoc")
        linted = subprocess.run(
            [mandoc, "-T", "lint", "-W", "error", str(self.build())], capture_output=True, text=True, check=False
        )
        self.assertEqual((0, "", ""), (linted.returncode, linted.stdout, linted.stderr))
