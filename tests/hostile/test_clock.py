"""A wall clock that is set by an hour while somebody waits."""

import re
import signal
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.hostile import ECHO_RSP, HANGING, HostileTestCase, Peer
from tests.senders import c_store, data_set_of, data_set_with
from tests.servers import LOOPBACK, TWISTD, Server, wait_until

HOUR = 3600
STEPS = (HOUR, -HOUR)
REQUEST, FRAGMENT, SILENCE, GRACE = 1, 2, 3, 2  # seconds: -ta, -td, -to, --grace

SUCCESS = 0x0000


def library() -> Path:
    """The part of faketime for programs with threads."""
    for directory in ("/usr/lib", "/usr/local/lib", "/lib"):
        for path in sorted(Path(directory).glob("**/libfaketimeMT*.so*")):
            return path
    raise SkipTest("there is no libfaketimeMT.so, which is in Debian's package faketime")


def forget(server: Server) -> None:
    """Remove what the library leaves behind where a process does not end by itself."""
    for path in Path("/dev/shm").glob(f"*faketime_*_{server.pid}"):
        path.unlink()


class ClockTests(HostileTestCase):
    """Each with two servers, one whose clock is set forwards and one whose clock is set backwards."""

    def setUp(self) -> None:
        super().setUp()
        self.library = library()
        self.clocks: dict[Server, Path] = {}

    def set_clock(self, server: Server, seconds: int) -> None:
        """Let its wall clock be so far ahead of everybody else's."""
        new = self.directory / "new"
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self.clocks[server])

    def serve_faked(self, name: str, *arguments: str) -> Server:
        """twistd, because its log tells what time it is for the server, that stores in the directory `name`."""
        directory, clock = self.directory / name, self.directory / f"clock of {name}"
        directory.mkdir()
        clock.write_text("+0\n", encoding="ascii")
        environment = (
            f"LD_PRELOAD={self.library}",
            f"FAKETIME_TIMESTAMP_FILE={clock}",
            "FAKETIME_NO_CACHE=1",
            "DONT_FAKE_MONOTONIC=1",
        )
        command = ("env", *environment, *TWISTD)
        server = self.serve(LOOPBACK, "-v", f"-od={directory}", *arguments, command=command)
        self.clocks[server] = clock
        self.addCleanup(forget, server)
        self.assert_clock(server, 0)
        return server

    def assert_clock(self, server: Server, seconds: int) -> None:
        """It is so far ahead for this server, which has just now told of an echo."""
        self.assert_echoes(server)
        *_, told = re.findall(r"^(\S+) \[storescp#info\] Received Echo", server.stdout, re.MULTILINE)
        ahead = datetime.strptime(told, "%Y-%m-%dT%H:%M:%S%z").timestamp() - time.time()
        self.assertLess(abs(ahead - seconds), 60)

    def associated(self, server: Server, *received: bytes) -> Peer:
        peer = self.peer(server).associate()
        peer.send(*received)
        return peer

    def assert_end(self, peers: Iterable[Peer], seconds: int, began: float) -> None:
        """Each ends when so many seconds have passed since `began`, and not much later."""
        for peer in peers:
            peer.rest()
            elapsed = time.monotonic() - began
            self.assertTrue(seconds <= elapsed < seconds + HANGING, f"{seconds} s took {elapsed:g} s")

    def test_timers(self) -> None:
        """-ta, -td and -to take their time, neither less nor an hour more."""
        limits = (f"-ta={REQUEST}", f"-td={FRAGMENT}", f"-to={SILENCE}")
        servers = [self.serve_faked(f"{step:+d}", *limits) for step in STEPS]
        command, *_ = c_store()
        began = time.monotonic()
        silent = [self.peer(server) for server in servers]
        amid = [self.associated(server, command) for server in servers]
        idle = [self.associated(server) for server in servers]
        for server, step in zip(servers, STEPS, strict=True):
            self.set_clock(server, step)
            self.assert_clock(server, step)
        self.assert_end(silent, REQUEST, began)
        self.assert_end(amid, FRAGMENT, began)
        self.assert_end(idle, SILENCE, began)

    def test_grace(self) -> None:
        """Who is idle stays without a timeout; at the end who is busy has the grace, and nobody has more."""
        servers = [self.serve_faked(f"{step:+d}", f"--grace={GRACE}") for step in STEPS]
        idle = [self.associated(server) for server in servers]
        for server, step in zip(servers, STEPS, strict=True):
            self.set_clock(server, step)
            self.assert_clock(server, step)
        self.assertEqual([ECHO_RSP] * 2, [peer.echo() for peer in idle])

        data_set = data_set_with("1.2.3", bytes(100_000))
        first, *rest = c_store(data_set, "1.2.3")
        stuck = [self.associated(server, first) for server in servers]
        finishing = [self.associated(server, first) for server in servers]
        for server in servers:
            wait_until(lambda: server.stdout.count("Storing DICOM file") == 2, "what is to be under way")  # noqa: B023
        began = time.monotonic()
        for server, peer in zip(servers, idle, strict=True):
            server.signal(signal.SIGTERM)
            peer.rest()
            self.set_clock(server, 0)
        for peer in finishing:
            for pdu in rest:
                peer.send(pdu)
        self.assertEqual([SUCCESS] * 2, [peer.status() for peer in finishing])
        self.assert_end(stuck, GRACE, began)
        self.assertEqual([1] * 2, [server.ended().code for server in servers])  # something was cut off
        for step in STEPS:
            self.assertEqual(data_set, data_set_of(self.directory / f"{step:+d}" / "CT.1.2.3"))
