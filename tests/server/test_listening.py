"""What a listening socket is told about peers that are gone or do not read, and that its connections know it."""

import socket
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from storescp.server import listening as module
from storescp.server.listening import harden

TIMES = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_USER_TIMEOUT")


class HardenTests(SynchronousTestCase):
    def make(self, family: int = socket.AF_INET) -> socket.socket:
        """A socket that is closed at the end of the test."""
        made = socket.socket(family)
        self.addCleanup(made.close)
        return made

    def harden(self, listening: socket.socket) -> None:
        """As of a port that listens on this."""
        port: Any = SimpleNamespace(socket=listening)
        harden(port)

    def options(self, connection: socket.socket) -> dict[str, int]:
        """What the system has been told: whether to ask the peer, bytes, seconds, seconds, milliseconds."""
        return {
            "SO_KEEPALIVE": connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            "SO_SNDBUF": connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            **{name: connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in TIMES},
        }

    @property
    def hardened(self) -> dict[str, int]:
        told = self.make()
        told.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # Linux makes twice as much of it
        size = told.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        times = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_USER_TIMEOUT": 60000}
        return {"SO_KEEPALIVE": 1, "SO_SNDBUF": size, **times}

    def test_listening(self) -> None:
        """A listening socket has the options afterwards, on IPv4 and on IPv6, and had none of them before."""
        for family in (socket.AF_INET, socket.AF_INET6):
            listening = self.make(family)
            before = self.options(listening)
            self.harden(listening)
            self.assertEqual(self.hardened, self.options(listening))
            self.assertEqual({}, dict(before.items() & self.hardened.items()))

    def test_accepted(self) -> None:
        """A connection that it accepts has them too; the end of it that is not ours has not."""
        listening, peer = self.make(), self.make()
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        self.harden(listening)
        peer.connect(listening.getsockname())
        accepted, _ = listening.accept()
        self.addCleanup(accepted.close)
        self.assertEqual(self.hardened, self.options(accepted))
        self.assertEqual(0, self.options(peer)["SO_KEEPALIVE"])

    def test_no_tcp(self) -> None:
        """A socket of the file system, whose peer cannot get lost, is left alone."""
        listening = self.make(socket.AF_UNIX)
        self.harden(listening)
        self.assertEqual(0, listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def test_no_socket(self) -> None:
        """A port of another kind, which has no socket that could be told, harms nothing."""
        port: Any = SimpleNamespace()
        harden(port)

    def test_other_systems(self) -> None:
        """Where the system does not know one of the times, the others are set all the same."""
        every = ("AF_INET", "AF_INET6", "SOL_SOCKET", "SO_KEEPALIVE", "SO_SNDBUF", "IPPROTO_TCP", *TIMES)
        for missing in TIMES:
            known = {name: getattr(socket, name) for name in every if name != missing}
            self.patch(module, "socket", SimpleNamespace(**known))
            listening = self.make()
            unset = self.options(listening)[missing]
            self.harden(listening)
            self.assertEqual({**self.hardened, missing: unset}, self.options(listening))
