"""docs/coming.rst: it names each option of the others, and of ours what is there; what it says of ours is so."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storescp import Config
from storescp.program.command_line import make_parser
from storescp.storage.naming import file_name
from storescp.uids import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, prefix_of
from tests.dcmtk import run_client
from tests.docs.pages import Page

PAGE = Page("docs/coming.rst")
TEXT = " ".join(PAGE.text.split())

_ROW = re.compile(r"(?m)^   \* - (.*\n(?:     .*\n)*)")
_LITERAL = re.compile(r"``([^`]+)``")
_OPTION = re.compile(r"(?m)^ +(?:([-+]\w+=?)(?: \[[^,\n]*)?,? +)?(--[a-z][\w-]*)")  # both have it before its meaning
_BEGINS = re.compile(r"(?m)^ +[-+]+\w")

CT = "1.2.840.10008.5.1.4.1.1.2"
FLAGS = {flag for action in make_parser("storescp")._actions for flag in action.option_strings}


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of its tables."""
    return (re.split(r"(?m)^     - ", row) for row in _ROW.findall(text))


def options(cell: str) -> list[str]:
    """Those that it names, without their values."""
    return [literal.split()[0] for literal in _LITERAL.findall(cell) if literal[0] in "-+"]


class OthersTestCase(SynchronousTestCase):
    def seen(self, name: str) -> str:
        """The version of theirs that the page is about."""
        (found,) = set(re.findall(rf"{name} (\d+\.\d+\.\d+)", TEXT))
        return str(found)

    def assert_named(self, text: str, title: str) -> None:
        """The first column of that section has each option of this ``--help``, by either spelling, and no others."""
        listed = [{*filter(None, spellings)} for spellings in _OPTION.findall(text)]
        self.assertEqual(len(_BEGINS.findall(text)), len(listed))
        named = {option for theirs, _ in rows(PAGE.section(title)) for option in options(theirs)}
        self.assertEqual([], [each for each in listed if not each & named])
        self.assertEqual(set(), named - set().union(*listed))


class DCMTKTests(OthersTestCase):
    def setUp(self) -> None:
        printed = run_client("storescp", "--version").stdout
        if not printed.startswith(f"$dcmtk: storescp v{self.seen('DCMTK')} "):
            raise SkipTest(f"the page is about DCMTK {self.seen('DCMTK')}, and this is {printed.splitlines()[:1]}")

    def test_options(self) -> None:
        """Each option of DCMTK's has a row, and no other has."""
        self.assert_named(run_client("storescp", "--help").stdout, "Options of DCMTK's")

    def test_version(self) -> None:
        """It is recognized by what it prints."""
        self.assertIn(f"DCMTK's begins with ``$dcmtk: storescp v{self.seen('DCMTK')}``", TEXT)


class PynetdicomTests(OthersTestCase):
    def setUp(self) -> None:
        if version("pynetdicom") != self.seen("pynetdicom"):
            raise SkipTest(f"the page is about pynetdicom {self.seen('pynetdicom')}, not {version('pynetdicom')}")

    def run_storescp(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = (sys.executable, "-m", "pynetdicom", "storescp", *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_options(self) -> None:
        """Each option of pynetdicom's has a row, and no other has."""
        self.assert_named(self.run_storescp("--help").stdout, "Options of pynetdicom's")

    def test_version(self) -> None:
        """It is recognized by what it asks for."""
        self.assertIn(f"``{self.run_storescp('--version').stderr.splitlines()[-1]}``", TEXT)


class OursTests(SynchronousTestCase):
    def test_options(self) -> None:
        """Each option in the last column of a table is one."""
        named = {option for cells in rows(PAGE.text) for option in options(cells[-1]) if option[0] == "-"}
        self.assertEqual((True, set()), (len(named) > 20, named - FLAGS))

    def test_same(self) -> None:
        """Where ours is the same, it has all the spellings of the row."""
        same = [theirs for theirs, *_, ours in rows(PAGE.text) if ours.startswith("the same")]
        self.assertEqual((True, []), (len(same) > 10, [each for each in same if set(options(each)) - FLAGS]))

    def test_plus(self) -> None:
        """DCMTK's preferences among the uncompressed, which have other spellings here, are there with a minus."""
        (theirs,) = (theirs for theirs, ours in rows(PAGE.section("Options of DCMTK's")) if "with a minus" in ours)
        self.assertEqual([], [each for each in options(theirs) if each.replace("+", "-") not in FLAGS])

    def test_values(self) -> None:
        """Defaults and limits are those of ours."""
        config = Config()
        for value, said in (
            (config.max_associations, "{} by default (``--max-associations``)"),
            (config.max_associations, "{}, and 64 of a host, in one process"),
            (config.max_associations_per_peer, "{} of one host (``--max-associations-per-peer``)"),
            (config.max_pdu, "from 4096 to 131072, by default {}"),
            (config.acse_timeout, "the same, and {} s, too; here until the request"),
            (config.grace, "finish, {} s (``--grace``)"),
        ):
            self.assertIn(said.format(value), TEXT)
        self.assertEqual((None, None), (config.timeout, config.dimse_timeout))

    def test_names(self) -> None:
        """Letters for SOP Classes are those of ours, and the name for what is no UID is."""
        letters = {prefix_of(uid) for uid in STORAGE_SOP_CLASSES}
        (shared,) = re.findall(r"All three call .*? of radiotherapy", TEXT)
        theirs, ours = zip(*re.findall(r"``(\w+)`` for ``(\w+)``", TEXT), strict=True)
        self.assertEqual(set(), {*_LITERAL.findall(shared), *ours} - letters)
        self.assertEqual(set(), letters & set(theirs))
        ((prefix, digits),) = re.findall(r"``(CT\S+)`` and (\d+) digits of a digest", TEXT)
        self.assertRegex(file_name(CT, "../../1.2/3"), rf"^{re.escape(prefix)}[0-9a-f]{{{digits}}}$")

    def test_known(self) -> None:
        """With the pydicom that the page names, there are as many Storage SOP Classes, and more transfer syntaxes."""
        ((count, seen),) = re.findall(r"of the (\d+) that pydicom (\S+) knows", TEXT)
        if version("pydicom") != seen:
            raise SkipTest(f"the page is about pydicom {seen}")
        self.assertEqual((int(count), True), (len(STORAGE_SOP_CLASSES), len(TRANSFER_SYNTAXES) > 38))
