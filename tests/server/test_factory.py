# mypy: allow-untyped-calls
"""StorageSCPFactory: when its storage starts and stops, and how all its connections end."""

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocolFactory
from zope.interface.verify import verifyObject

from storescp.config import Config
from storescp.errors import CannotStart
from storescp.server.factory import StorageSCPFactory
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_RQ,
    DATA,
    DATA_SET,
    ECHO_RSP,
    LAST_COMMAND,
    LAST_DATA,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
)


class FactoryTestCase(ServerTestCase):
    """A factory that does not listen yet."""

    def setUp(self) -> None:
        super().setUp()
        self.scp = self.make()

    def make(self) -> StorageSCPFactory:
        return StorageSCPFactory(Config(), self.storage, self.clock, [self.observer])

    def connect(self, data: bytes = b"") -> Peer:
        """A peer that has said this."""
        peer = Peer(self.scp)
        self.addCleanup(peer.disconnect)
        peer.write(data)
        peer.heard()
        return peer


class LifeTests(FactoryTestCase):
    """The storage lives as long as there is a port or a connection."""

    def check(self, *calls: str) -> None:
        """This is what the storage was told so far."""
        self.assertEqual(list(calls), self.storage.calls)

    def test_contract(self) -> None:
        """It is a factory of Twisted, and leaves the talking to the log."""
        verifyObject(IProtocolFactory, self.scp)
        self.assertFalse(self.scp.noisy)

    def test_ports(self) -> None:
        """The first port starts the storage, the last one stops it."""
        self.check()
        self.scp.doStart()
        self.check("start")
        self.scp.doStart()
        self.scp.doStop()
        self.check("start")
        self.scp.doStop()
        self.check("start", "stop")

    def test_connections(self) -> None:
        """The storage is not stopped before the last connection is gone."""
        self.scp.doStart()
        peers = [self.connect(ASSOCIATE_RQ), self.connect()]
        self.scp.doStop()
        self.check("start")
        peers[0].disconnect()
        self.check("start")
        peers[1].disconnect()
        self.check("start", "stop")

    def test_connections_before(self) -> None:
        """Connections that end while a port listens do not stop the storage."""
        self.scp.doStart()
        self.connect(ASSOCIATE_RQ).disconnect()
        self.check("start")
        self.scp.doStop()
        self.check("start", "stop")

    def test_again(self) -> None:
        """A factory that was stopped can listen again."""
        for _ in range(2):
            self.scp.doStart()
            self.scp.doStop()
        self.check("start", "stop", "start", "stop")

    def test_listens_again(self) -> None:
        """A port that is closed and opened again while there are connections keeps the storage as it is."""
        self.scp.doStart()
        peer = self.connect(ASSOCIATE_RQ)
        self.scp.doStop()
        self.scp.doStart()
        peer.disconnect()
        self.check("start")
        self.scp.doStop()
        self.check("start", "stop")

    def test_start_fails(self) -> None:
        """A storage that cannot start is the trouble of whoever listens, and is not stopped."""
        self.storage.start_error = CannotStart("no")
        self.assertRaises(CannotStart, self.scp.doStart)
        self.assertEqual(0, self.successResultOf(self.scp.shutdown()))
        self.check("start")

    def test_started_while_stopping(self) -> None:
        """Who listens again while the storage is still stopping is refused, and may once it has stopped."""
        self.storage.stopped = Deferred()
        self.scp.doStart()
        self.scp.doStop()
        self.assertRaises(CannotStart, self.scp.doStart)
        self.storage.stopped.callback(None)
        self.scp.doStart()

    def test_protocols(self) -> None:
        """Each connection has a protocol of its own, which knows its factory."""
        one, two = self.connect().protocol, self.connect().protocol
        self.assertIsNot(one, two)
        self.assertEqual((self.scp, self.scp), (one.factory, two.factory))


class ShutdownTests(FactoryTestCase):
    """The end of all connections."""

    def setUp(self) -> None:
        super().setUp()
        self.finished: Deferred[None] = Deferred()
        sink = RecordingSink()
        sink.finished = self.finished
        self.storage = RecordingStorage(sink)
        self.scp = self.make()
        self.scp.doStart()

    def shutdown(self) -> "Deferred[int]":
        self.scp.doStop()
        return self.scp.shutdown()

    def cut_off(self, data: bytes) -> int:
        """How many instances are cut off where a peer has said this."""
        peer = self.connect(data)
        stopped = self.shutdown()
        peer.disconnect()
        return self.successResultOf(stopped)

    def test_idle(self) -> None:
        """Without connections it is over at once, and nothing is cut off."""
        self.assertEqual(0, self.successResultOf(self.shutdown()))
        self.assertEqual(["start", "stop"], self.storage.calls)

    def test_peers(self) -> None:
        """An association gets an A-ABORT, and all connections are closed without waiting for the peers."""
        peers = [self.connect(), self.connect(ASSOCIATE_RQ), self.connect(ASSOCIATE_RQ + RELEASE_RQ)]
        self.shutdown()
        self.assertEqual(
            [(b"", True), (ABORT, True), (b"", True)], [(peer.heard(), peer.transport.disconnecting) for peer in peers]
        )

    def test_waits(self) -> None:
        """It is over when all connections are closed and then the storage has stopped."""
        self.storage.stopped = Deferred()
        peers = [self.connect(), self.connect(ASSOCIATE_RQ)]
        stopped = self.shutdown()
        peers[0].disconnect()
        self.assertEqual(["start"], self.storage.calls)
        peers[1].disconnect()
        self.assertEqual(["start", "stop"], self.storage.calls)
        self.assertNoResult(stopped)
        self.storage.stopped.callback(None)
        self.assertEqual(0, self.successResultOf(stopped))

    def test_deadline(self) -> None:
        """A peer that does not take part in the close is cut off after two seconds."""
        peers = [self.connect(), self.connect(ASSOCIATE_RQ)]
        self.shutdown()
        self.clock.advance(2)
        self.assertEqual([True, True], [peer.transport.disconnected for peer in peers])

    def test_none_cut_off(self) -> None:
        """A connection without an association, an idle association and a released one cost no instance."""
        for data in (b"", ASSOCIATE_RQ[:20], ASSOCIATE_RQ, ASSOCIATE_RQ + RELEASE_RQ):
            self.setUp()
            self.assertEqual(0, self.cut_off(data))

    def test_receiving(self) -> None:
        """An instance that is being received is cut off, and dropped."""
        self.assertEqual(1, self.cut_off(ASSOCIATE_RQ + STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET))))
        self.assertEqual(["abort"], self.storage.sinks[0].ends)

    def test_finishing(self) -> None:
        """An instance that is not yet answered for is cut off, though it may become safe."""
        self.assertEqual(1, self.cut_off(ASSOCIATE_RQ + STORE))
        self.assertEqual(["finish"], self.storage.sinks[0].ends)
        self.finished.callback(None)

    def test_not_begun(self) -> None:
        """What has come behind an instance that is not answered yet has not begun, and is not counted."""
        self.assertEqual(1, self.cut_off(ASSOCIATE_RQ + STORE + STORE_COMMAND))

    def test_before_release(self) -> None:
        """A peer that waits for its last response before its release is answered is cut off."""
        self.assertEqual(1, self.cut_off(ASSOCIATE_RQ + STORE + RELEASE_RQ))

    def test_all(self) -> None:
        """What all peers have under way is counted."""
        peers = [self.connect(ASSOCIATE_RQ + STORE_COMMAND) for _ in range(3)]
        stopped = self.shutdown()
        for peer in peers:
            peer.disconnect()
        self.assertEqual(3, self.successResultOf(stopped))

    def test_peer_was_quicker(self) -> None:
        """What a peer itself has cut off before is not counted."""
        self.assertEqual(0, self.cut_off(ASSOCIATE_RQ + STORE_COMMAND + ABORT))

    def test_aborted_before(self) -> None:
        """An instance whose association was aborted for a mistake of the peer is not counted: that cut it off."""
        mistake = p_data(pdv(3, LAST_DATA, b""), pdv(1, LAST_COMMAND, ECHO_RSP))
        self.assertEqual(0, self.cut_off(ASSOCIATE_RQ + STORE_COMMAND + mistake))
        self.assertEqual(["finish"], self.storage.sinks[0].ends)

    def test_twice(self) -> None:
        """To ask twice is no mistake: both are told when it is over, and the instances are counted once."""
        peer = self.connect(ASSOCIATE_RQ + STORE_COMMAND)
        stopped = [self.shutdown(), self.scp.shutdown()]
        peer.disconnect()
        stopped.append(self.scp.shutdown())
        self.assertEqual([1, 0, 0], [self.successResultOf(each) for each in stopped])
        self.assertEqual(["start", "stop"], self.storage.calls)

    def test_twice_while_stopping(self) -> None:
        """Who asks while the storage is stopping waits for it as well, and it is not stopped twice."""
        self.storage.stopped = Deferred()
        stopped = [self.shutdown(), self.scp.shutdown()]
        self.assertNoResult(stopped[1])
        self.storage.stopped.callback(None)
        self.assertEqual([0, 0], [self.successResultOf(each) for each in stopped])
        self.assertEqual(["start", "stop"], self.storage.calls)

    def test_storage_fails(self) -> None:
        """A storage that fails to stop does not keep the program from ending."""
        self.storage.stopped = fail(ZeroDivisionError())
        results: list[object] = []
        self.shutdown().addBoth(results.append)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(1, len(results))

    def test_never_started(self) -> None:
        """A factory that never listened is shut down at once."""
        self.scp.doStop()
        self.assertEqual(0, self.successResultOf(self.make().shutdown()))
