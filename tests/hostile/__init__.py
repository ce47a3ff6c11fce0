"""No peer can take it down: programs in processes of their own, and peers that mean harm or know no better."""

import os
import re
import select
import socket
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.senders import CT_CONTEXT, NotAccepted, Sender, associate_rq, item
from tests.servers import Server, ServerTestCase, without_addresses

MIB = 1024 * 1024

HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 9))  # all of 127/8 is this machine
SECONDS = 1.0  # what an association with one echo may take, whatever others do meanwhile
HANGING = 15.0  # seconds after which something does not come any more


# Context 1 is for CT images, and context 3 for echoes.
ASSOCIATE_RQ = associate_rq(
    CT_CONTEXT,
    item(0x20, bytes.fromhex("03 00 00 00") + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")),
)
ECHO_RQ = (
    bytes.fromhex("04 00 0000004a  00000046 03 03  0000 0000 04000000 38000000  0000 0200 12000000")
    + b"1.2.840.10008.1.1\0"
    + bytes.fromhex("0000 0001 02000000 3000  0000 1001 02000000 0100  0000 0008 02000000 0101")
)
ECHO_RSP = (
    bytes.fromhex("04 00 00000054  00000050 03 03  0000 0000 04000000 42000000  0000 0200 12000000")
    + b"1.2.840.10008.1.1\0"
    + bytes.fromhex("0000 0001 02000000 3080  0000 2001 02000000 0100  0000 0008 02000000 0101")
    + bytes.fromhex("0000 0009 02000000 0000")
)


class Peer(Sender):
    """A connection from a host of its own; an association once `associate` was called.

    No call waits longer than `seconds` for the server: TimeoutError.
    """

    def __init__(
        self,
        address: tuple[str, int],
        host: str = HOSTS[0],
        seconds: float = HANGING,
        receive_buffer: int | None = None,
    ) -> None:
        self._socket = socket.socket()
        try:
            self._socket.settimeout(seconds)
            if receive_buffer is not None:  # bytes, to be set before there is a connection
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.bind((host, 0))
            self._socket.connect(address)
        except BaseException:
            self.close()
            raise

    def associate(self) -> "Peer":
        self.send(ASSOCIATE_RQ)
        answer = self.receive()
        if answer[:1] != b"\x02":
            raise NotAccepted(answer)
        return self

    def echo(self) -> bytes:
        """What an echo request is answered with."""
        self.send(ECHO_RQ)
        return self.receive()

    def pour(self, data: bytes) -> None:
        """Send as much of it as is taken without waiting."""
        left = memoryview(data)
        while left and select.select([], [self._socket], [], 0)[1]:
            left = left[self._socket.send(left) :]

    def rest(self) -> bytes:
        """All that still comes, until the server closes or resets the connection."""
        received = b""
        try:
            while chunk := self._socket.recv(65536):
                received += chunk
        except ConnectionError:
            pass
        return received

    @property
    def left_alone(self) -> bool:
        """Whether nothing has come from the server, nor the end of the connection."""
        return not select.select([self._socket], [], [], 0)[0]


class HostileTestCase(ServerTestCase):
    def setUp(self) -> None:
        if not os.path.exists("/proc/self/status"):
            raise SkipTest("needs Linux: /proc, and 127.0.0.2 beside 127.0.0.1")
        super().setUp()

    def peer(
        self,
        server: Server,
        host: str = HOSTS[0],
        seconds: float = HANGING,
        *,
        port: int | None = None,
        receive_buffer: int | None = None,
    ) -> Peer:
        """A connection that is gone with the test."""
        peer = Peer(("127.0.0.1", port or server.port), host, seconds, receive_buffer)
        self.addCleanup(peer.close)
        return peer

    def assert_echoes(self, server: Server, host: str = HOSTS[0], *, port: int | None = None) -> None:
        """An association with one echo goes as it should, and in good time."""
        began = time.monotonic()
        peer = self.peer(server, host, SECONDS, port=port).associate()
        self.assertEqual(ECHO_RSP, peer.echo())
        peer.release()
        self.assertLess(time.monotonic() - began, SECONDS)


def memory(server: Server, field: str = "VmRSS") -> int:
    """Bytes of memory that it has; VmHWM: that it has had at most."""
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(rf"{field}:\s+(\d+) kB", status)[0])


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def kinds(log: str) -> set[str]:
    """What a log tells, each thing once, whoever it was about; and of a limit not how often it was left out."""
    return {re.sub(r"; \d+ more .*", "", line) for line in without_addresses(log).splitlines()}


def processor_seconds(server: Server) -> float:
    """What it has used so far, its threads and the system's work for it too."""
    fields = Path(f"/proc/{server.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
