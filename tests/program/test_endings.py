"""How the programs end: what is under way is finished, nothing keeps them, and the exit code says whether all was."""

import signal
import socket
import sys
from collections.abc import Sequence

from tests.senders import ABORT_BY_USER, Sender, c_store, data_set_of, data_set_with, send
from tests.servers import INCOMING, LOOPBACK, SCRIPT, STOP, TWISTD, Server, ServerTestCase, wait_until

DATA_SET_OF_SOME_TIME = data_set_with("1.2.3", bytes(900_000))  # more than is gathered before it is written
WAITING = "Waiting for 1 association(s) to finish what is under way"

# The first fsync waits for a file "go on", as a disk may that is a network away.
HANGING = """
import os, time
from storescp.storage.disk import Disk

fsync = Disk.fsync

def hang(self, descriptor):
    Disk.fsync = fsync
    open(f"hangs {os.getpid()}", "x").close()
    while not os.path.exists("go on"):
        time.sleep(0.01)
    fsync(self, descriptor)

Disk.fsync = hang
"""
HANGING_SCRIPT = (
    sys.executable,
    "-c",
    HANGING + "from storescp.program.main import run; raise SystemExit(run())",
)
PID_FILE = "twistd.pid"
TWISTD_WITH_PID_FILE = tuple(f"--pidfile={PID_FILE}" if word == "--pidfile=" else word for word in TWISTD)
HANGING_TWISTD = (*TWISTD_WITH_PID_FILE[:2], HANGING + TWISTD_WITH_PID_FILE[2], *TWISTD_WITH_PID_FILE[3:])


class EndingTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.received = self.directory / "received"
        self.received.mkdir()

    def receive(self, *arguments: str, command: Sequence[str] = SCRIPT) -> Server:
        return self.serve(LOOPBACK, "-v", "-od", "received", *arguments, command=command)

    def associate(self, server: Server) -> Sender:
        sender = Sender(server.address)
        self.addCleanup(sender.close)
        return sender

    def begin(self, server: Server) -> tuple[Sender, bytes]:
        """A sender in the middle of an instance that has a file already, and the PDU that it has not sent."""
        sender = self.associate(server)
        *before, last = c_store(DATA_SET_OF_SOME_TIME, "1.2.3")
        sender.send(*before)
        wait_until(lambda: len(list(self.received.glob(".incoming/*.part"))) == 1, "a temporary file")
        return sender, last

    def assert_left(self, *others: str) -> None:
        """In the directory there are these instances and nothing in part, and beside it nothing but `others`."""
        expected = ["received", *(f"received/{name}" for name in INCOMING), *others]
        self.assertEqual(sorted(expected), self.left)


def wait_until_stopping(server: Server) -> None:
    wait_until(lambda: WAITING in server.stdout + server.stderr, "the beginning of the end")


class StopTests(EndingTestCase):
    def test_idle(self) -> None:
        """A peer that has nothing under way is told by an A-ABORT, and nothing is cut off."""
        server = self.serve(LOOPBACK)
        sender = self.associate(server)
        ended = server.stop()
        self.assertEqual(0, ended.code)
        self.assertRegex(
            ended.stderr, r"\AE: Association Aborted: this server stops \(TESTSCU at 127\.0\.0\.1:\d+\)\n\Z"
        )
        self.assertEqual([ABORT_BY_USER, b""], [sender.receive(), sender.receive()])

    def test_connection_without_association(self) -> None:
        """A connection on which nothing was said does not keep it."""
        server = self.serve(LOOPBACK)
        with socket.create_connection(server.address) as silent:
            host, port = silent.getsockname()
            send(server.address)  # connections are accepted in their order
            ended = server.stop()
            self.assertEqual(b"", silent.recv(1))
        warning = f"W: Connection from {host}:{port} ended without an association: this server stops\n"
        self.assertEqual((0, warning), (ended.code, ended.stderr))

    def assert_finished(self, server: Server, number: int) -> None:
        address, idle = server.address, self.associate(server)
        sender, last = self.begin(server)
        server.signal(number)
        wait_until_stopping(server)
        self.assertEqual([ABORT_BY_USER, b""], [idle.receive(), idle.receive()])
        with self.assertRaises(ConnectionRefusedError):
            Sender(address)
        sender.send(last)
        self.assertEqual((0x0000, ABORT_BY_USER, b""), (sender.status(), sender.receive(), sender.receive()))
        self.assertEqual(0, server.ended().code)
        self.assert_left("received/CT.1.2.3")
        self.assertEqual(DATA_SET_OF_SOME_TIME, data_set_of(self.received / "CT.1.2.3"))

    def test_finished(self) -> None:
        """An instance under way is received and answered; the idle are told at once, the new not let in."""
        self.assert_finished(self.receive(), signal.SIGTERM)

    def test_finished_by_twistd(self) -> None:
        """twistd ends as the script does, on SIGINT too, and its pid file is gone."""
        self.assert_finished(self.receive(command=TWISTD_WITH_PID_FILE), signal.SIGINT)

    def test_cut_off(self) -> None:
        """A sender that does not go on is cut off when the grace is over; nothing is left, and the exit code is 1."""
        for command in (SCRIPT, TWISTD_WITH_PID_FILE):
            server = self.receive("--grace", "1", command=command)
            sender, _last = self.begin(server)
            ended = server.stop()
            self.assertEqual((1, [ABORT_BY_USER, b""]), (ended.code, [sender.receive(), sender.receive()]))
            self.assertIn("Association Aborted: this server stops", ended.stdout + ended.stderr)
            self.assert_left()

    def test_no_grace(self) -> None:
        """With --grace 0 nobody is waited for."""
        server = self.receive("--grace", "0")
        sender, _last = self.begin(server)
        self.assertEqual((1, [ABORT_BY_USER, b""]), (server.stop().code, [sender.receive(), sender.receive()]))
        self.assert_left()

    def test_second_signal(self) -> None:
        """A second signal ends it at once, whatever the grace; the exit code is 1."""
        for command in (SCRIPT, TWISTD):
            server = self.receive("--grace", "3600", command=command)
            self.begin(server)
            server.signal(signal.SIGTERM)
            wait_until_stopping(server)
            self.assertEqual(1, server.stop(signal.SIGINT).code)
            (left,) = self.received.glob(".incoming/*.part")
            left.unlink()


class HungDiskTests(EndingTestCase):
    def hang(self, server: Server) -> Sender:
        """A sender that waits for an answer that waits for the disk."""
        sender = self.associate(server)
        sender.send(*c_store())
        wait_until((self.directory / f"hangs {server.pid}").exists, "the fsync")
        return sender

    def test_end(self) -> None:
        """A disk that never answers does not keep the script or twistd; the exit code is 1, the pid file gone."""
        for name in ("of the script", "of twistd", "given up"):
            (self.directory / name).mkdir()
        servers = [
            self.receive("--grace=1", "-od", "of the script", command=HANGING_SCRIPT),
            self.receive("--grace=1", "-od", "of twistd", command=HANGING_TWISTD),
            self.receive("--storage-timeout=1", "-od", "given up", command=HANGING_SCRIPT),
        ]
        senders = [self.hang(server) for server in servers]
        self.assert_given_up(servers[-1], senders[-1])
        for server in servers:
            server.signal(signal.SIGTERM)
        for server, sender in zip(servers, senders, strict=True):
            ended = server.ended(STOP)
            self.assertEqual(1, ended.code, ended)
            self.assertIn("The storage has not stopped within 5 s: it is left to itself", ended.stdout + ended.stderr)
            if server is not servers[-1]:
                self.assertEqual([ABORT_BY_USER, b""], [sender.receive(), sender.receive()])
        self.assertFalse((self.directory / PID_FILE).exists())

    def assert_given_up(self, server: Server, sender: Sender) -> None:
        """Its association is aborted, and gone when another one has come and gone."""
        self.assertEqual(ABORT_BY_USER, sender.receive())
        sender.close()
        send(server.address, data_set_with("1.2.4"), "1.2.4")

    def test_storage_timeout(self) -> None:
        """An association that waits for the disk too long is aborted, its instance not stored; others are served."""
        server = self.receive("--storage-timeout", "1", command=HANGING_SCRIPT)
        sender = self.hang(server)
        send(server.address, data_set_with("1.2.3"), "1.2.3")
        self.assert_given_up(server, sender)
        told = "Association Aborted: the storage has not answered for 1 s (--storage-timeout) "
        self.assertEqual(1, server.stderr.count(told), server.stderr)

        (self.directory / "go on").touch()
        wait_until(lambda: not list(self.received.glob(".incoming/*.part")), "the end of the temporary file")
        self.assertEqual(0, server.stop().code)
        self.assert_left(f"hangs {server.pid}", "go on", "received/CT.1.2.3", "received/CT.1.2.4")
