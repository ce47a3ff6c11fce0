"""A storescp in a process of its own, for tests that see no more of it than a user does."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.program import make_directory

ROOT = Path(__file__).parent.parent
SCRIPT = (sys.executable, "-m", "storescp")
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "storescp")

# Any port that this machine alone can reach: elsewhere it says that everybody may store.
LOOPBACK = "--listen=tcp:0:interface=127.0.0.1"

INCOMING = [".incoming", ".incoming/lock"]  # what a server leaves beside the instances

START = 30.0  # seconds a program gets until it listens, or gives up
STOP = 20.0  # seconds it gets to end after a signal

# The script's own line; twistd's log has Twisted's.
_ANNOUNCED = re.compile(r"(?:storescp: listening on port|StorageSCPFactory(?: \(TLS\))? starting on) (\d+)\n")


@attrs.frozen
class Ended:
    """How a program ended; a negative `code` is the signal that ended it."""

    code: int
    stdout: str
    stderr: str


# Below those that the system gives to connections, which it could do before a server is started.
_candidates = iter(random.sample(range(20000, 32768), 4000))


def free_port() -> int:
    """One that nobody has at any address, and that was not given before."""
    for port in _candidates:
        with suppress(OSError), socket.create_server(("", port)):
            return port
    raise AssertionError("no port is free")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START) -> None:
    """Return when `condition` holds. AssertionError where that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


class Program:
    """A process that runs `command` with `arguments` in `directory`."""

    def __init__(self, *arguments: str, directory: str, command: Sequence[str] = SCRIPT) -> None:
        # Files, because a pipe that nobody reads would stop the program.
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115  # `kill` closes them
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [*command, *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
        )
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return _content(self._stdout.fileno())

    @property
    def stderr(self) -> str:
        return _content(self._stderr.fileno())

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self, seconds: float = START) -> Ended:
        """Wait until it has ended by itself. AssertionError, and its end, where that takes too long."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {seconds:g} s: {self.stderr}") from None
        return Ended(code, self.stdout, self.stderr)

    def kill(self) -> None:
        """Make sure that it is gone, with all that it has printed: every test's last act."""
        self._process.kill()
        self._process.wait()
        self._stdout.close()
        self._stderr.close()


class Server(Program):
    """A program that listens on `ports`, each chosen by the system and announced by the program."""

    def __init__(self, *arguments: str, directory: str, command: Sequence[str] = SCRIPT, listening: int = 1) -> None:
        super().__init__(*arguments, directory=directory, command=command)
        try:
            wait_until(lambda: not self.running or len(self.ports) >= listening, "the announcement of a port")
            if not self.running:
                raise AssertionError(f"ended before it listened: {self.ended()}")
        except AssertionError:
            self.kill()
            raise

    @property
    def ports(self) -> list[int]:
        return [int(port) for port in _ANNOUNCED.findall(self.stdout)]

    @property
    def port(self) -> int:
        """Its only port."""
        (port,) = self.ports
        return port

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def stop(self, number: int = signal.SIGTERM, seconds: float = STOP) -> Ended:
        """Let a signal end it. AssertionError where it does not."""
        self.signal(number)
        return self.ended(seconds)


class ServerTestCase(SynchronousTestCase):
    """A test with programs that run in a directory of its own, and store there where nothing else is said."""

    def setUp(self) -> None:
        self.directory = Path(make_directory(self))

    def serve(self, *arguments: str, command: Sequence[str] = SCRIPT, listening: int = 1) -> Server:
        server = Server(*arguments, directory=str(self.directory), command=command, listening=listening)
        self.addCleanup(server.kill)
        return server

    def run_program(self, *arguments: str, command: Sequence[str] = SCRIPT) -> Program:
        """One that ends by itself, as those do that cannot start."""
        program = Program(*arguments, directory=str(self.directory), command=command)
        self.addCleanup(program.kill)
        return program

    @property
    def left(self) -> list[str]:
        """All that is in the directory, also below it."""
        return files_in(self.directory)


def files_in(directory: Path) -> list[str]:
    """All that is in it, also below it, relative to it."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def without_addresses(log: str) -> str:
    """A log with PEER in the place of each address."""
    return re.sub(r"127\.0\.0\.\d+:\d+", "PEER", log)


def without(capability: str) -> tuple[str, ...]:
    """The script without a privilege that root would have."""
    if os.geteuid():
        return SCRIPT
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SkipTest("root may do everything, and there is no setpriv to change that")
    return (setpriv, f"--bounding-set=-{capability}", f"--inh-caps=-{capability}", *SCRIPT)


def _content(descriptor: int) -> str:
    # The program writes at the offset that it shares with this process: read without moving it.
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="surrogateescape")
