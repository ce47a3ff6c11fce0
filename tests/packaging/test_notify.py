"""notify tells the manager of the process, where there is one, and never keeps the process from its work."""

import os
import socket
from pathlib import Path
from threading import Thread
from unittest import mock

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from storescp.program import notify as module
from storescp.program.notify import notify


class NotifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(module, "_deaf", set())

    def use(self, path: str | None) -> None:
        """Let `path` be what the manager has put into the environment."""
        environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
        patcher = mock.patch.dict(
            os.environ, environment | ({} if path is None else {"NOTIFY_SOCKET": path}), clear=True
        )
        patcher.start()
        self.addCleanup(patcher.stop)

    def manager(self, name: str | bytes) -> socket.socket:
        """A socket of this name, or one that is not in the file system for none."""
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(name)
        receiver.setblocking(False)
        return receiver

    def notified(self, *states: str) -> list[str]:
        """Notify of each of these; what was logged."""
        with capturedLogs() as events:
            for state in states:
                notify(state)
        return [f"{event['log_level'].name}: {formatEvent(event)}" for event in events]

    def path(self) -> str:
        path = self.mktemp()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return path

    def test_unset(self) -> None:
        """Nobody wants to know: nothing happens."""
        for nowhere in (None, ""):
            self.use(nowhere)
            self.assertEqual([], self.notified("READY=1"))

    def test_path(self) -> None:
        """A socket of the file system gets the state, in one datagram, and the environment stays as it was."""
        path = self.path()
        receiver = self.manager(path)
        self.use(path)
        self.assertEqual([], self.notified("READY=1", "STOPPING=1"))
        self.assertEqual([b"READY=1", b"STOPPING=1"], [receiver.recv(100), receiver.recv(100)])
        self.assertEqual(path, os.environ["NOTIFY_SOCKET"])

    def test_abstract(self) -> None:
        """So does one that is written with a leading @, and its name begins with NUL."""
        receiver = self.manager("")
        self.use("@" + os.fsdecode(receiver.getsockname()[1:]))
        self.assertEqual([], self.notified("READY=1"))
        self.assertEqual(b"READY=1", receiver.recv(100))

    def test_missing(self) -> None:
        """A socket that is not there is logged once, however often there would be something to tell."""
        path = self.path()
        self.use(path)
        self.assertEqual(
            [f"warn: {path} (NOTIFY_SOCKET) is not told READY=1: [Errno 2] No such file or directory"],
            self.notified("READY=1", "STOPPING=1"),
        )

    def test_name_too_long(self) -> None:
        """Nor does a name that no socket can have raise anything."""
        path = "/" + 200 * "n"
        self.use(path)
        self.assertEqual(
            [f"warn: {path} (NOTIFY_SOCKET) is not told READY=1: AF_UNIX path too long"], self.notified("READY=1")
        )

    def test_full(self) -> None:
        """A manager that does not read keeps nobody waiting."""
        path = self.path()
        self.manager(path)
        self.use(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, self.assertRaises(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(bytes(1000), path)
        logged: list[str] = []
        waiting = Thread(target=lambda: logged.extend(self.notified("READY=1")), daemon=True)
        waiting.start()
        waiting.join(10)
        self.assertEqual(
            [f"warn: {path} (NOTIFY_SOCKET) is not told READY=1: [Errno 11] Resource temporarily unavailable"], logged
        )
