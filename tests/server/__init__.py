# mypy: allow-untyped-calls
"""What the tests of the server share: a session typed by hand, and a peer that speaks in bytes."""

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.server.factory import StorageSCPFactory
from storescp.testing import SCU
from storescp.uids import IMPLEMENTATION_VERSION_NAME
from storescp.ul.pdu import AAssociateRQ
from tests.recorders import RecordingObserver, RecordingStorage
from tests.ul import wire

PEER = "192.168.1.1:54321"  # the address that a StringTransport makes up

FIXED = wire("0001 0000", b"STORESCP        ", b"MODALITY        ", bytes(32))
NAME = wire("10 00 0015", b"1.2.840.10008.3.1.1.1")
ASSOCIATE_RQ = wire(
    *("01 00 00000112", FIXED, NAME),
    *("20 00 002E", "01 00 00 00", "30 00 0011", b"1.2.840.10008.1.1", "40 00 0011", b"1.2.840.10008.1.2"),
    *("20 00 004D", "03 00 00 00", "30 00 0019", b"1.2.840.10008.5.1.4.1.1.2"),
    *("40 00 0013", b"1.2.840.10008.1.2.1", "40 00 0011", b"1.2.840.10008.1.2"),
    *("20 00 0022", "05 00 00 00", "30 00 0005", b"1.2.3", "40 00 0011", b"1.2.840.10008.1.2"),
    *("50 00 0008", "51 00 0004 00004000"),
)
_VERSION = IMPLEMENTATION_VERSION_NAME.encode()  # changes by release
ASSOCIATE_AC = wire(
    *("02 00", (246 + len(_VERSION)).to_bytes(4, "big"), FIXED, NAME),
    *("21 00 0019", "01 00 00 00", "40 00 0011", b"1.2.840.10008.1.2"),
    *("21 00 001B", "03 00 00 00", "40 00 0013", b"1.2.840.10008.1.2.1"),
    *("21 00 0019", "05 00 03 00", "40 00 0011", b"1.2.840.10008.1.2"),
    *("50 00", (60 + len(_VERSION)).to_bytes(2, "big"), "51 00 0004 00004000"),
    *("52 00 002C", b"2.25.167549487932267690351940239577372006664"),
    *("55 00", len(_VERSION).to_bytes(2, "big"), _VERSION),
)
RELEASE_RQ = wire("05 00 00000004", "00000000")
RELEASE_RP = wire("06 00 00000004", "00000000")

# Command sets: group length, then the elements.
ECHO_RQ = wire(
    *("0000 0000 04000000", "38000000"),
    *("0000 0200 12000000", b"1.2.840.10008.1.1\0"),
    *("0000 0001 02000000", "3000", "0000 1001 02000000", "0700"),
    *("0000 0008 02000000", "0101"),
)
ECHO_RSP = wire(
    *("0000 0000 04000000", "42000000"),
    *("0000 0200 12000000", b"1.2.840.10008.1.1\0"),
    *("0000 0001 02000000", "3080", "0000 2001 02000000", "0700"),
    *("0000 0008 02000000", "0101", "0000 0009 02000000", "0000"),
)
STORE_RQ = wire(
    *("0000 0000 04000000", "58000000"),
    *("0000 0200 1A000000", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0000 0001 02000000", "0100", "0000 1001 02000000", "0900"),
    *("0000 0007 02000000", "0000", "0000 0008 02000000", "0100"),
    *("0000 0010 06000000", b"1.2.3\0"),
)
DATA_SET = b"the bytes of a data set"

# Message control headers, PS3.8 E.2.
DATA, COMMAND, LAST_DATA, LAST_COMMAND = 0, 1, 2, 3


def store_rsp(status: str) -> bytes:
    """The command set that answers STORE_RQ; `status` as four digits, little-endian."""
    return wire(
        *("0000 0000 04000000", "58000000"),
        *("0000 0200 1A000000", b"1.2.840.10008.5.1.4.1.1.2\0"),
        *("0000 0001 02000000", "0180", "0000 2001 02000000", "0900"),
        *("0000 0008 02000000", "0101", "0000 0009 02000000", status),
        *("0000 0010 06000000", b"1.2.3\0"),
    )


def pdv(context_id: int, control: int, fragment: bytes) -> bytes:
    return (len(fragment) + 2).to_bytes(4, "big") + bytes([context_id, control]) + fragment


def p_data(*pdvs: bytes) -> bytes:
    body = b"".join(pdvs)
    return b"\4\0" + len(body).to_bytes(4, "big") + body


def abort(source: int, reason: int) -> bytes:
    return wire("07 00 00000004", bytes([0, 0, source, reason]))


ECHO = p_data(pdv(1, LAST_COMMAND, ECHO_RQ))
ECHOED = p_data(pdv(1, LAST_COMMAND, ECHO_RSP))
STORE_COMMAND = p_data(pdv(3, LAST_COMMAND, STORE_RQ))
STORE = STORE_COMMAND + p_data(pdv(3, LAST_DATA, DATA_SET))
STORED = p_data(pdv(3, LAST_COMMAND, store_rsp("0000")))
ABORT = abort(0, 0)


class Peer:
    """The other end of a connection. It speaks in bytes."""

    def __init__(self, factory: StorageSCPFactory, address: IAddress | None = None) -> None:
        self.transport = StringTransport(peerAddress=address)
        self.protocol = factory.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)
        self._connected = True

    def write(self, data: bytes) -> bytes:
        """What is heard when these bytes have arrived."""
        self.protocol.dataReceived(data)
        return self.heard()

    def heard(self) -> bytes:
        """What has come since it was asked last."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self.protocol.connectionLost()


class ServerTestCase(SynchronousTestCase):
    """A clock, an observer, a storage; at the end of a test all connections are gone, and no delayed call is left."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.observer = RecordingObserver()
        self.storage = RecordingStorage()
        self.addCleanup(self._no_calls_left, self.clock)

    def _no_calls_left(self, clock: Clock) -> None:
        self.assertEqual([], clock.getDelayedCalls())

    def factory(self, **options: Any) -> StorageSCPFactory:
        """A factory of these options that listens until the end of the test."""
        factory = StorageSCPFactory(Config(**options), self.storage, self.clock, [self.observer])
        factory.doStart()
        self.addCleanup(factory.doStop)
        return factory

    def peer(self, **options: Any) -> Peer:
        """A peer that is connected."""
        peer = Peer(self.factory(**options))
        self.addCleanup(peer.disconnect)
        return peer

    def associated(self, **options: Any) -> Peer:
        """A peer that has an association, of which the observer has nothing to tell yet."""
        peer = self.peer(**options)
        self.assertEqual(ASSOCIATE_AC, peer.write(ASSOCIATE_RQ))
        self.observer.events.clear()
        return peer

    def scu(self, request: AAssociateRQ | None = None, **options: Any) -> SCU:
        """A friendly peer that has an association, of which the observer has nothing to tell yet."""
        scu = SCU(self.factory(**options), self.clock, request)
        self.addCleanup(scu.disconnect)
        self.observer.events.clear()
        return scu
