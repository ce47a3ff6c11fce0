# mypy: allow-untyped-calls
"""An Asynchronous Operations Window, PS3.7 D.3.3.3: the next instance is received while those before it are stored."""

from typing import Any

from twisted.internet.defer import Deferred

from storescp.errors import StoreFailure
from storescp.server import acceptor
from storescp.server.factory import StorageSCPFactory
from storescp.testing import associate_rq
from storescp.ul.items import AsynchronousOperationsWindow, MaximumLength
from storescp.ul.machine import Sta
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    DATA,
    DATA_SET,
    ECHO,
    ECHOED,
    LAST_COMMAND,
    LAST_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    STORED,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
    store_rsp,
)


def numbered(number: int, pdus: bytes) -> bytes:
    """STORE or STORED as message 10, 11, … in the place of 9."""
    return pdus.replace(b"\x09\0", bytes([10 + number, 0]))


REFUSED = p_data(pdv(3, LAST_COMMAND, store_rsp("00A7")))


class WindowTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.finished: list[Deferred[Any]] = [Deferred() for _ in range(8)]
        self.storage = RecordingStorage(*map(self.sink, self.finished))

    def sink(self, finished: "Deferred[Any]") -> RecordingSink:
        sink = RecordingSink()
        sink.finished = finished
        return sink

    def windowed(self, operations: int, factory: StorageSCPFactory | None = None, **options: Any) -> Peer:
        """A peer that may have so many operations under way."""
        peer = Peer(factory or self.factory(**options))
        self.addCleanup(peer.disconnect)
        window = AsynchronousOperationsWindow(operations, 1)
        peer.write(associate_rq(user_items=[MaximumLength(16384), window]).encode())
        self.assertEqual(Sta.Sta6, peer.protocol.state)
        return peer

    def received(self, peer: Peer) -> tuple[int, str]:
        """How many instances were received from all peers, and whether this one is still read."""
        return len(self.storage.sinks), peer.transport.producerState


class OrderTests(WindowTestCase):
    """What is answered, and when."""

    def test_any_order(self) -> None:
        """Each response comes when its instance is stored, with the id of its request, whichever was first."""
        peer = self.windowed(3)
        self.assertEqual(b"", peer.write(b"".join(numbered(number, STORE) for number in range(3))))
        for number in (1, 2, 0):
            self.finished[number].callback(None)
            self.assertEqual(numbered(number, STORED), peer.heard())

    def test_echo(self) -> None:
        """An echo is answered although instances before it are not."""
        peer = self.windowed(2)
        self.assertEqual(ECHOED, peer.write(STORE + ECHO))
        self.finished[0].callback(None)
        self.assertEqual(STORED, peer.heard())

    def test_failure(self) -> None:
        """An instance that fails is answered so, and those beside it as if it had not."""
        peer = self.windowed(2)
        peer.write(numbered(0, STORE) + numbered(1, STORE))
        self.finished[0].errback(StoreFailure("no", 0xA700))
        self.assertEqual(numbered(0, REFUSED), peer.heard())
        self.finished[1].callback(None)
        self.assertEqual(numbered(1, STORED), peer.heard())

    def test_release(self) -> None:
        """A release is answered when all instances are."""
        peer = self.windowed(3)
        self.assertEqual(b"", peer.write(STORE + STORE + RELEASE_RQ))
        self.finished[1].callback(None)
        self.assertEqual(STORED, peer.heard())
        self.finished[0].callback(None)
        self.assertEqual(STORED + RELEASE_RP, peer.heard())

    def test_ended(self) -> None:
        """An association whose connection is lost has ended when the last of its instances is stored."""
        peer = self.windowed(3)
        peer.write(numbered(0, STORE) + numbered(1, STORE))
        peer.disconnect()
        self.observer.events.clear()
        self.finished[1].callback(None)
        self.assertEqual(["instance_stored"], self.observer.names)
        self.finished[0].callback(None)
        self.assertEqual(["instance_stored", "instance_stored", "association_ended"], self.observer.names)

    def test_stop(self) -> None:
        """A server that stops answers all that it has received first."""
        factory = self.factory()
        peer = self.windowed(2, factory)
        peer.write(STORE + STORE)
        factory.shutdown()
        for finished, heard in zip(self.finished, (STORED, STORED + ABORT), strict=False):
            finished.callback(None)
            self.assertEqual(heard, peer.heard())

    def test_stop_amid(self) -> None:
        """A peer that always has begun the next one when the one before is answered gets no more than that in."""
        factory = self.factory()
        peer = self.windowed(8, factory)
        last = p_data(pdv(3, LAST_DATA, DATA_SET))
        peer.write(STORE + STORE_COMMAND)
        factory.shutdown()
        self.assertEqual((b"", (2, "paused")), (peer.write(last + STORE_COMMAND + last), self.received(peer)))
        self.finished[0].callback(None)
        self.assertEqual((STORED, 2), (peer.heard(), self.received(peer)[0]))
        self.finished[1].callback(None)
        self.assertEqual(STORED + ABORT, peer.heard())

    def test_lost(self) -> None:
        """What was received is stored although the peer has gone, and its place is free when all of it is."""
        factory = self.factory(max_associations=1)
        peer = self.windowed(2, factory)
        peer.write(STORE + STORE + STORE_COMMAND)
        peer.disconnect()
        for finished in self.finished[:2]:
            other = Peer(factory)
            self.assertEqual(b"\3", other.write(associate_rq().encode())[:1])
            other.disconnect()
            finished.callback(None)
        self.assertEqual(2, self.observer.names.count("instance_stored"))
        self.windowed(2, factory)


class LimitTests(WindowTestCase):
    """How much is under way."""

    def test_window(self) -> None:
        """No more instances are received than may be under way; who sends more waits for a response."""
        peer = self.windowed(3)
        self.assertEqual(b"", peer.write(STORE * 5))
        self.assertEqual((3, "paused"), self.received(peer))
        self.finished[1].callback(None)
        self.assertEqual((STORED, (4, "paused")), (peer.heard(), self.received(peer)))
        self.finished[0].callback(None)
        self.assertEqual((STORED, (5, "paused")), (peer.heard(), self.received(peer)))
        for finished in self.finished[2:5]:
            finished.callback(None)
        self.assertEqual((STORED * 3, (5, "producing")), (peer.heard(), self.received(peer)))

    def test_answered_window(self) -> None:
        """What counts is the window of the answer, which is 32 for a peer that would have any number."""
        for operations, most in ((0, 32), (4, 4), (1, 1)):
            self.setUp()
            for finished in self.finished[1:]:
                finished.callback(None)
            self.storage = RecordingStorage(*(self.sink(Deferred()) for _ in range(40)))
            peer = self.windowed(operations)
            peer.write(STORE * 40)
            self.assertEqual((most, "paused"), self.received(peer))
            peer.disconnect()
            self.clock.advance(60)

    def test_of_all(self) -> None:
        """Where many instances of all peers are not yet answered, nobody has more than one under way."""
        self.patch(acceptor, "AHEAD", 3)
        factory = self.factory()
        first, second = self.windowed(8, factory), self.windowed(8, factory)
        first.write(STORE * 2)
        second.write(STORE * 2)
        self.assertEqual((3, "paused"), self.received(second))
        first.write(STORE)
        self.assertEqual((4, "producing"), self.received(first))
        for finished in self.finished[:2]:
            finished.callback(None)
        self.assertEqual((STORED * 2, b""), (first.heard(), second.heard()))
        first.write(STORE)
        self.assertEqual((5, "producing"), self.received(first))
        self.finished[2].callback(None)
        self.assertEqual((STORED, (6, "paused")), (second.heard(), self.received(second)))
        for finished in self.finished[3:6]:
            finished.callback(None)
        self.assertEqual((STORED * 2, STORED), (first.heard(), second.heard()))

    def test_of_all_again(self) -> None:
        """Who waits because of the others waits until there are fewer of theirs, or none of its own."""
        self.patch(acceptor, "AHEAD", 3)
        factory = self.factory()
        first, second, third = (self.windowed(8, factory) for _ in range(3))
        second.write(STORE)
        first.write(STORE * 2)
        third.write(STORE)
        first.write(STORE)
        self.assertEqual((4, "paused"), self.received(first))
        self.finished[1].callback(None)
        self.assertEqual((STORED, (4, "paused")), (first.heard(), self.received(first)))
        self.finished[2].callback(None)
        self.assertEqual((STORED, 5), (first.heard(), self.received(first)[0]))
        for finished in (self.finished[0], *self.finished[3:5]):
            finished.callback(None)


class StallTests(WindowTestCase):
    """A storage that does not answer."""

    def test_oldest(self) -> None:
        """One instance that hangs is found out after its 60 s, although others are stored all the time."""
        peer = self.windowed(2)
        peer.write(STORE)
        for finished in self.finished[1:6]:
            self.clock.advance(10)
            peer.write(STORE)
            finished.callback(None)
            self.assertEqual(STORED, peer.heard())
        self.clock.advance(9.9)
        self.assertEqual(b"", peer.heard())
        self.clock.advance(0.1)
        self.assertEqual(ABORT, peer.heard())

    def test_each(self) -> None:
        """When the oldest is stored, the next one has what is left of its own 60 s."""
        peer = self.windowed(2)
        peer.write(STORE)
        self.clock.advance(30)
        peer.write(STORE)
        self.clock.advance(20)
        self.finished[0].callback(None)
        self.clock.advance(39.9)
        self.assertEqual(STORED, peer.heard())
        self.clock.advance(0.1)
        self.assertEqual(ABORT, peer.heard())

    def test_all_given_up(self) -> None:
        """With the one that hangs, all that is under way is given up: nobody would hear of it."""
        peer = self.windowed(3)
        peer.write(STORE)
        self.clock.advance(30)
        peer.write(STORE + STORE_COMMAND + p_data(pdv(3, DATA, b"half")))
        self.observer.events.clear()
        self.clock.advance(30)
        self.assertEqual(ABORT, peer.heard())
        self.assertEqual(
            ["instance_dropped", "association_aborted", "instance_dropped", "instance_dropped"], self.observer.names
        )
