"""docs/conformance.rst: it is the statement of a server without options."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.building import DIRECTIVES, build
from tests.program.test_markup import SECTIONS
from tests.servers import ROOT

CONF = f"""\
{DIRECTIVES}
extensions = ["conformance_statement"]
root_doc = "conformance"
xml_pretty = False
"""


@cache
def built(builder: str) -> str:
    """What Sphinx makes of the page, without a warning."""
    with TemporaryDirectory() as directory:
        Path(directory, "conf.py").write_text(CONF)
        shutil.copy(ROOT / "docs" / "conformance.rst", directory)
        build(builder, Path(directory), Path(directory, "out"))
        return Path(directory, "out", f"conformance.{builder}").read_text()


class PageTests(SynchronousTestCase):
    def test_sections(self) -> None:
        """The page is the statement, with all its sections, of a server that nothing was said of."""
        document = ElementTree.fromstring(built("xml"))
        titles = ["".join(each.itertext()) for each in document.iter() if each.tag in ("title", "term")]
        self.assertEqual("DICOM Conformance Statement: storescp", titles[0])
        self.assertEqual(SECTIONS, [each for each in titles if each in SECTIONS])
        cells = ["".join(each.itertext()) for each in document.iter("entry")]
        self.assertIn("where it is told to: no port was given", cells)

    def test_options(self) -> None:
        """Whoever copies an option from the page has two dashes."""
        page = built("html")
        self.assertIn(">--accept-unknown-sop-classes<", page)
        self.assertNotIn("\u2013", page)
