"""The units are what systemd understands, and the program does what they say of it."""

import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storescp.config import Config
from storescp.errors import CannotStart
from storescp.program.configuration_file import ConfigurationFile
from tests.program import make_directory
from tests.senders import Sender, c_store, data_set_of, data_set_with, send
from tests.servers import INCOMING, ROOT, SCRIPT, START, TWISTD, Program, ServerTestCase, free_port, wait_until

UNITS = ROOT / "contrib" / "systemd"
SERVICE = UNITS / "storescp.service"
SAMPLE = UNITS / "storescp.toml"

EXPOSURE = 1.5  # of 10, as systemd-analyze measures it; services without any of its settings have 9.6
OF_SOME_TIME = data_set_with("1.2.3", bytes(900_000))  # more than is gathered before it is written
THE_DISK = 5  # seconds that it gets after the grace


def systemd(program: str, version: int = 0) -> str:
    """The path of a program of systemd's, at least of this version."""
    path = shutil.which(program)
    if path is None:
        raise SkipTest(f"needs {program}")
    if version:
        words = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.split()
        if int(words[1]) < version:
            raise SkipTest(f"needs {program} of systemd {version}, not {words[1]}")
    return path


def settings(unit: Path, section: str) -> configparser.SectionProxy:
    """Those of a unit of which there is one value each, as all of ours that a test asks for."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return parser[section]


class UnitTests(SynchronousTestCase):
    def test_verified(self) -> None:
        """systemd finds nothing to complain about, once the program is one that this machine has."""
        directory = Path(make_directory(self))
        for unit in UNITS.glob("storescp.s*"):
            content = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable} -m storescp", unit.read_text())
            (directory / unit.name).write_text(content)
        verified = subprocess.run(
            [systemd("systemd-analyze"), "verify", "--man=no", "./storescp.service", "./storescp.socket"],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((0, "", ""), (verified.returncode, verified.stdout, verified.stderr))

    def test_exposure(self) -> None:
        """The service is kept from nearly all that it does not need."""
        analyze = systemd("systemd-analyze", version=250)
        measured = subprocess.run(
            [analyze, "security", "--offline=true", "--no-pager", f"--threshold={10 * EXPOSURE:.0f}", str(SERVICE)],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((0, ""), (measured.returncode, measured.stderr), measured.stdout)

    def test_time_to_stop(self) -> None:
        """systemd waits for longer than the server takes to stop in order."""
        self.assertGreater(int(settings(SERVICE, "Service")["TimeoutStopSec"]), Config().grace + THE_DISK)


class SampleTests(SynchronousTestCase):
    def read(self, text: str) -> Config:
        path = Path(make_directory(self)) / "storescp.toml"
        path.write_text(text)
        try:
            return Config(**ConfigurationFile.read(str(path)).values)
        except CannotStart as error:
            raise SkipTest(str(error)) from None

    def test_defaults(self) -> None:
        """As it is, it has the port of the socket unit, and writes where the service unit lets it."""
        service = settings(SERVICE, "Service")
        expected = Config(
            listen=("systemd:domain=INET6:index=0",),
            output_directory=f"/var/lib/{service['StateDirectory']}",
            audit_log=f"/var/log/{service['LogsDirectory']}/audit.jsonl",
        )
        self.assertEqual(expected, self.read(SAMPLE.read_text()))

    def test_suggestions(self) -> None:
        """Everything that is commented out is something that the program knows, with a value that it takes."""
        suggested, count = re.subn(r"(?m)^#(?=[a-z-]+ = )", "", SAMPLE.read_text())
        self.assertGreater(count, 10)
        self.assertEqual(11112, self.read(suggested).port)


class ActivationTests(ServerTestCase):
    def test_socket_activation(self) -> None:
        """The first connection starts the server, which takes it, and those that follow, from the port of systemd's."""
        port = free_port()
        activate = systemd("systemd-socket-activate")
        # Names, which systemd gives to all that it opens, and this program only to those that have one.
        activated = (activate, "--fdname=dicom", f"--listen=127.0.0.1:{port}", "--setenv=PYTHONPATH", *SCRIPT)
        server = self.run_program("--listen=systemd:domain=INET:index=0", command=activated)
        wait_until(lambda: "Listening on" in server.stderr, "the port")
        self.assertEqual([], self.left)
        for uid in ("1.2.3", "1.2.4"):
            send(("127.0.0.1", port), data_set_with(uid), uid)
        server.signal(signal.SIGTERM)
        self.assertEqual(0, server.ended().code)
        self.assertEqual([*INCOMING, "CT.1.2.3", "CT.1.2.4"], self.left)


class ReadinessTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind("")  # a name that is free, and not in the file system

    def managed(self, command: Sequence[str], *arguments: str) -> Program:
        """A program that has somebody to tell."""
        name = os.fsdecode(self.manager.getsockname()[1:])
        return self.run_program(*arguments, command=("env", f"NOTIFY_SOCKET=@{name}", *command))

    def told(self) -> bytes:
        """What comes next. TimeoutError where nothing does."""
        self.manager.settimeout(START)
        return self.manager.recv(1000)

    def rest(self) -> list[bytes]:
        """All that has come and was not yet looked at."""
        states = []
        self.manager.setblocking(False)
        try:
            while True:
                states.append(self.manager.recv(1000))
        except BlockingIOError:
            return states

    def assert_managed(self, command: Sequence[str]) -> None:
        port = free_port()
        program = self.managed(command, f"--listen=tcp:{port}:interface=127.0.0.1")
        self.assertEqual((b"READY=1", []), (self.told(), self.rest()))
        sender = Sender(("127.0.0.1", port))  # at once
        self.addCleanup(sender.close)
        *before, last = c_store(OF_SOME_TIME, "1.2.3")
        sender.send(*before)
        wait_until(lambda: len(list(self.directory.glob(".incoming/*.part"))) == 1, "a temporary file")
        program.signal(signal.SIGTERM)
        self.assertEqual((b"STOPPING=1", []), (self.told(), self.rest()))
        sender.send(last)
        self.assertEqual(0x0000, sender.status())
        self.assertEqual((0, []), (program.ended().code, self.rest()))
        self.assertEqual(OF_SOME_TIME, data_set_of(self.directory / "CT.1.2.3"))

    def test_script(self) -> None:
        """It is ready when it listens, and stopping from the signal on, not when it has ended."""
        self.assert_managed(SCRIPT)

    def test_twistd(self) -> None:
        """twistd tells the same."""
        self.assert_managed(TWISTD)

    def test_cannot_start(self) -> None:
        """Who does not listen is never ready."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            for command in (SCRIPT, TWISTD):
                program = self.managed(command, f"--listen=tcp:{other.getsockname()[1]}:interface=127.0.0.1")
                self.assertEqual(1, program.ended().code)
        self.assertNotIn(b"READY=1", self.rest())
