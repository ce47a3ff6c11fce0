"""docs/embedding.rst: the page is followed, and its programs are sent to by pynetdicom; and the block of the README."""

import json
import re
import shutil
import signal
import sqlite3
import sys
import urllib.request
from io import BytesIO

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]
from twisted.trial.unittest import SynchronousTestCase

import storescp
import storescp.testing
from tests.docs.pages import Page
from tests.docs.reading import is_listening, is_ready
from tests.interop import CT_SMALL, CT_SMALL_UID
from tests.senders import Sender, c_store, data_set_of
from tests.servers import ROOT, TWISTD, Program, ServerTestCase, free_port, wait_until

PAGE = Page("docs/embedding.rst")
EXAMPLES = ROOT / "docs" / "examples"


def associate(port: str, title: str = "MODALITY") -> Association:
    ae = AE(ae_title=title)
    ae.add_requested_context(CTImageStorage)
    return ae.associate("127.0.0.1", int(port))


def send(port: str) -> int:
    """Send an image. The status of the response."""
    association = associate(port)
    status = association.send_c_store(str(CT_SMALL))
    association.release()
    return int(status.Status)


class ReferenceTests(SynchronousTestCase):
    """The last part of the page."""

    def test_complete(self) -> None:
        """Each public name is explained in it, or in the contracts that it shows."""
        contracts = (ROOT / "storescp" / "interfaces.py").read_text().partition("class IUser(")[2]
        told = PAGE.text.partition("\nReference\n---")[2] + contracts
        for module in (storescp, storescp.testing):
            names = (name for name in module.__all__ if not name.startswith("__"))
            explained = rf"(?:class |``|:: {module.__name__}\.)"
            self.assertEqual([], [name for name in names if not re.search(rf"{explained}{name}\b", told)])


class ProgramTests(ServerTestCase):
    """docs/examples, copied to a directory of their own."""

    def setUp(self) -> None:
        super().setUp()
        for path in EXAMPLES.glob("*.py"):
            shutil.copy(path, self.directory)
        (self.directory / "images").mkdir()
        self.port = str(free_port())

    def start(self, *command: str) -> Program:
        """Run it until it listens."""
        program = Program(directory=str(self.directory), command=command)
        self.addCleanup(program.kill)
        wait_until(lambda: not program.running or is_ready(program, self.port), "that it listens")
        self.assertTrue(program.running, program.stderr)
        return program

    def assert_ends(self, program: Program, *lines: str) -> None:
        """SIGTERM ends it in order, and it has printed nothing but these."""
        program.signal(signal.SIGTERM)
        ended = program.ended()
        self.assertEqual((0, "", list(lines)), (ended.code, ended.stdout, ended.stderr.splitlines()))

    def stored(self) -> list[str]:
        return [path.name for path in (self.directory / "images").glob("CT.*")]

    def test_own_storage(self) -> None:
        """An instance is in the database, as a DICOM file, when Success has come."""
        program = self.start(sys.executable, "own_storage.py", self.port, "instances.db")
        self.assertEqual(0x0000, send(self.port))
        with sqlite3.connect(self.directory / "instances.db") as database:
            ((uid, file),) = database.execute("select uid, file from instance").fetchall()
        database.close()
        sent = dcmread(CT_SMALL)
        self.assertEqual((CT_SMALL_UID, sent), (uid, dcmread(BytesIO(file))))
        self.assert_ends(program)

    def test_failing_storage(self) -> None:
        """What the database does not take is refused with A700H, and the next one is stored."""
        program = self.start(sys.executable, "own_storage.py", self.port, "instances.db")
        with sqlite3.connect(self.directory / "instances.db") as database:
            database.execute("alter table instance rename to away")
        self.assertEqual(0xA700, send(self.port))
        with database:
            database.execute("alter table away rename to instance")
        self.assertEqual(0x0000, send(self.port))
        database.close()
        self.assert_ends(program)

    def test_beside_web(self) -> None:
        """The web server in the same process shows the latest instance first, and no more of them than it has room."""
        web_port = str(free_port())
        program = self.start(sys.executable, "beside_web.py", self.port, web_port)
        self.assertEqual([0x0000] * 21, [send(self.port) for _ in range(21)])
        with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/", timeout=10) as page:
            shown = json.load(page)
        self.assertEqual([{"from": "MODALITY", "instance": CT_SMALL_UID}] * 20, shown)
        self.assertEqual([f"CT.{CT_SMALL_UID}"], self.stored())
        self.assert_ends(program)

    def test_counting_observer(self) -> None:
        """Each association gives a line, also one that is open when SIGTERM comes."""
        program = self.start(sys.executable, "counting_observer.py", self.port)
        self.assertEqual(0x0000, send(self.port))
        associate(self.port, "CT1").abort()
        wait_until(lambda: program.stderr.count("\n") == 2, "two lines")
        still_open = associate(self.port, "CT1")
        self.addCleanup(still_open.abort)
        size = len(data_set_of(self.directory / "images" / f"CT.{CT_SMALL_UID}"))
        lines = [
            _line("MODALITY", associations=1, instances=1, bytes=size),
            _line("CT1", associations=1, aborted={"peer": 1}),
            _line("CT1", associations=2, aborted={"peer": 1, "stop": 1}),
        ]
        self.assert_ends(program, *lines)

    def test_under_way(self) -> None:
        """Each of them lets an instance that is under way finish when SIGTERM comes."""
        for name, *arguments in (
            ("own_storage.py", "instances.db"),
            ("beside_web.py", str(free_port())),
            ("counting_observer.py",),
        ):
            program = self.start(sys.executable, name, self.port, *arguments)
            sender = Sender(("127.0.0.1", int(self.port)))
            self.addCleanup(sender.close)
            first, *rest = c_store()
            sender.send(first)
            send(self.port)  # when this is answered, that has been read
            program.signal(signal.SIGTERM)
            wait_until(lambda: not is_listening(self.port), f"that {name} does not listen any more")
            sender.send(*rest)
            self.assertEqual((name, 0x0000), (name, sender.status()))
            sender.close()
            self.assertEqual((name, 0), (name, program.ended().code))

    def test_twistd(self) -> None:
        """archive.tac, at another port, is a server of twistd's."""
        (self.directory / "archive.tac").write_text(PAGE.block("archive.tac").replace("11112", self.port))
        self.start(*TWISTD[:-1], "-y", "archive.tac")
        self.assertEqual((0x0000, [f"CT.{CT_SMALL_UID}"]), (send(self.port), self.stored()))

    def test_readme(self) -> None:
        """The program of the README, at another port, stores into its directory."""
        code = Page("README.rst").block("File archive.py").replace("11112", self.port)
        program = self.start(sys.executable, "-c", code)
        self.assertEqual((0x0000, [f"CT.{CT_SMALL_UID}"]), (send(self.port), self.stored()))
        self.assert_ends(program)

    def test_tests(self) -> None:
        """The tests run where nothing is but the programs."""
        names = sorted(path.stem for path in EXAMPLES.glob("test_*.py"))
        ended = self.run_program(command=(sys.executable, "-m", "twisted.trial", *names)).ended()
        self.assertEqual((0, ["test_counting_observer", "test_own_storage"]), (ended.code, names), ended.stdout)


def _line(title: str, **sums: object) -> str:
    none: dict[str, object] = {"associations": 0, "instances": 0, "bytes": 0, "refused": {}, "aborted": {}}
    return json.dumps({"ae_title": title, **none, **sums})
