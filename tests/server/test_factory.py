# mypy: allow-untyped-calls
"""StorageSCPFactory: when its storage starts and stops, and how all its connections end."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from storescp.config import Config
from storescp.errors import CannotStart, StoreFailure
from storescp.server.factory import StorageSCPFactory
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_RQ,
    DATA,
    DATA_SET,
    ECHO,
    ECHO_RQ,
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

    def test_ready(self) -> None:
        """It is ready as long as its storage is started and says so."""
        told = [self.scp.ready]
        self.scp.doStart()
        told.append(self.scp.ready)
        self.storage.is_ready = False
        told.append(self.scp.ready)
        self.storage.is_ready = True
        self.scp.doStart()
        self.scp.doStop()
        told.append(self.scp.ready)
        peer = self.connect(ASSOCIATE_RQ)
        self.scp.doStop()
        told.append(self.scp.ready)  # for who is still there
        peer.disconnect()
        told.append(self.scp.ready)
        self.assertEqual([False, True, False, True, True, False], told)

    def test_not_ready_without_a_start(self) -> None:
        """A storage that could not start is not asked."""
        self.storage.start_error = CannotStart("no")
        self.assertRaises(CannotStart, self.scp.doStart)
        self.assertEqual(False, self.scp.ready)

    def test_start_fails(self) -> None:
        """A storage that cannot start is the trouble of whoever listens, and is not stopped."""
        self.storage.start_error = CannotStart("no")
        self.assertRaises(CannotStart, self.scp.doStart)
        self.assertTrue(self.successResultOf(self.scp.shutdown()))
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

    def shutdown(self) -> "Deferred[bool]":
        self.scp.doStop()
        return self.scp.shutdown()

    def ends_at_once(self, data: bytes) -> bool:
        """Whether the connection of a peer that has said this is closed at once, and that cuts nothing off."""
        peer = self.connect(data)
        stopped = self.shutdown()
        closed = peer.transport.disconnecting
        peer.disconnect()
        return closed and self.successResultOf(stopped)

    def cut_off(self, data: bytes) -> bool:
        """Whether the connection of a peer that has said this lives for the whole grace, and is cut off then."""
        peer = self.connect(data)
        stopped = self.shutdown()
        self.clock.advance(19.9)
        alive = not peer.transport.disconnecting
        self.clock.advance(0.1)
        self.assertEqual(ABORT, peer.heard())
        peer.disconnect()
        return alive and not self.successResultOf(stopped)

    def test_idle(self) -> None:
        """Without connections it is over at once, and nothing is cut off."""
        self.assertTrue(self.successResultOf(self.shutdown()))
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
        self.assertTrue(self.successResultOf(stopped))

    def test_close_deadline(self) -> None:
        """A peer that does not take part in the close is cut off after two seconds."""
        peers = [self.connect(), self.connect(ASSOCIATE_RQ)]
        self.shutdown()
        self.clock.advance(2)
        self.assertEqual([True, True], [peer.transport.disconnected for peer in peers])

    def test_nothing_under_way(self) -> None:
        """A connection without an association, an idle association and a released one are ended at once."""
        for data in (b"", ASSOCIATE_RQ[:20], ASSOCIATE_RQ, ASSOCIATE_RQ + ECHO, ASSOCIATE_RQ + RELEASE_RQ):
            self.setUp()
            self.assertTrue(self.ends_at_once(data), data)

    def test_ended_before(self) -> None:
        """What the peer, or a mistake of it, has cut off before is not waited for."""
        mistake = p_data(pdv(1, LAST_DATA, b""))
        for end in (ABORT, mistake):
            self.setUp()
            self.assertTrue(self.ends_at_once(ASSOCIATE_RQ + STORE_COMMAND + end))

    def test_port_that_never_closes(self) -> None:
        """A port that does not tell of its end, because it could not be closed, is not waited for."""
        self.connect(ASSOCIATE_RQ).disconnect()
        self.assertTrue(self.successResultOf(self.scp.shutdown()))

    def test_finishes(self) -> None:
        """A C-STORE under way goes on, is answered with Success, and then the association is aborted."""
        peer = self.connect(ASSOCIATE_RQ + STORE_COMMAND + p_data(pdv(3, DATA, b"the bytes ")))
        stopped = self.shutdown()
        self.assertEqual((b"", False), (peer.heard(), peer.transport.disconnecting))
        self.assertEqual(b"", peer.write(p_data(pdv(3, LAST_DATA, b"of a data set"))))
        self.finished.callback(None)
        self.assertEqual((STORED + ABORT, True), (peer.heard(), peer.transport.disconnecting))
        peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))
        self.assertEqual([(DATA_SET, ["finish"])], [(sink.data, sink.ends) for sink in self.storage.sinks])

    def test_finishes_while_others_do_not(self) -> None:
        """Each association ends when its own message is answered: one refused, one a C-ECHO in two parts."""
        store, echo = self.connect(ASSOCIATE_RQ + STORE), self.connect(ASSOCIATE_RQ + p_data(pdv(1, 1, ECHO_RQ[:10])))
        stopped = self.shutdown()
        self.assertEqual(ECHOED + ABORT, echo.write(p_data(pdv(1, LAST_COMMAND, ECHO_RQ[10:]))))
        echo.disconnect()
        self.finished.errback(StoreFailure("full", 0xA700))
        self.assertEqual(p_data(pdv(3, LAST_COMMAND, store_rsp("00A7"))) + ABORT, store.heard())
        store.disconnect()
        self.assertTrue(self.successResultOf(stopped))

    def test_not_begun(self) -> None:
        """What has come behind an instance that is not answered yet has not begun: it is not waited for."""
        peer = self.connect(ASSOCIATE_RQ + STORE + STORE_COMMAND)
        stopped = self.shutdown()
        self.finished.callback(None)
        self.assertEqual(STORED + ABORT, peer.heard())
        peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))

    def test_released_meanwhile(self) -> None:
        """A peer that asks for release before its last response still gets that response."""
        peer = self.connect(ASSOCIATE_RQ + STORE + RELEASE_RQ)
        stopped = self.shutdown()
        self.finished.callback(None)
        self.assertEqual(STORED + ABORT, peer.heard())
        peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))

    def test_released_amid_an_instance(self) -> None:
        """A peer that releases in place of the rest of its instance is answered, and not waited for either."""
        peer = self.connect(ASSOCIATE_RQ + STORE_COMMAND)
        stopped = self.shutdown()
        self.assertEqual((RELEASE_RP, True), (peer.write(RELEASE_RQ), peer.transport.disconnecting))
        peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))

    def test_mistake_behind_the_end(self) -> None:
        """What is wrong behind the end of the last message, in the same PDU, is not looked at any more."""
        self.finished.callback(None)
        peer = self.connect(ASSOCIATE_RQ + STORE_COMMAND)
        stopped = self.shutdown()
        self.assertEqual(STORED + ABORT, peer.write(p_data(pdv(3, LAST_DATA, b""), b"no PDV")))
        peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))
        self.assertEqual([], self.flushLoggedErrors())

    def test_receiving(self) -> None:
        """An instance that is still being received when the grace is over is cut off, and dropped."""
        self.assertTrue(self.cut_off(ASSOCIATE_RQ + STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET))))
        self.assertEqual(["abort"], self.storage.sinks[0].ends)

    def test_finishing(self) -> None:
        """So is one that the storage has in hand: it is cancelled, and the observer told why."""
        self.assertTrue(self.cut_off(ASSOCIATE_RQ + STORE))
        self.assertTrue(self.finished.called)
        self.assertEqual(
            [("instance_dropped", self.storage.requests[0], "this server stops")],
            [event for event in self.observer.events if event[0] == "instance_dropped"],
        )

    def test_storage_hangs(self) -> None:
        """An instance whose storage is given up before the grace is over is cut off as well."""
        self.scp = StorageSCPFactory(Config(storage_timeout=5), self.storage, self.clock)
        self.scp.doStart()
        peer = self.connect(ASSOCIATE_RQ + STORE)
        stopped = self.shutdown()
        self.clock.advance(5)
        self.assertEqual(ABORT, peer.heard())
        peer.disconnect()
        self.assertFalse(self.successResultOf(stopped))

    def test_hung_before(self) -> None:
        """An instance that was given up before is no matter of the end, though its peer has not closed yet."""
        self.scp = StorageSCPFactory(Config(storage_timeout=5), self.storage, self.clock)
        self.scp.doStart()
        peer = self.connect(ASSOCIATE_RQ + STORE)
        self.clock.advance(5)
        stopped = self.shutdown()
        peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))

    def test_grace(self) -> None:
        """The grace is what the configuration says; with none at all everything is cut off at once."""
        self.scp = StorageSCPFactory(Config(grace=0), self.storage, self.clock)
        self.scp.doStart()
        peer = self.connect(ASSOCIATE_RQ + STORE_COMMAND)
        stopped = self.shutdown()
        self.clock.advance(0)
        self.assertEqual(ABORT, peer.heard())
        peer.disconnect()
        self.assertFalse(self.successResultOf(stopped))

    def test_log(self) -> None:
        """That something is waited for is told, with how many associations."""
        peers = [self.connect(ASSOCIATE_RQ + STORE_COMMAND) for _ in range(2)] + [self.connect(ASSOCIATE_RQ)]
        with capturedLogs() as logs:
            self.shutdown()
        self.assertEqual([("info", 2)], [(event["log_level"].name, event["count"]) for event in logs])
        for peer in peers:
            peer.disconnect()

    def test_again(self) -> None:
        """A factory that was shut down and listens again knows nothing of what was cut off before."""
        self.assertTrue(self.cut_off(ASSOCIATE_RQ + STORE_COMMAND))
        self.scp.doStart()
        self.assertTrue(self.successResultOf(self.shutdown()))

    def test_started_meanwhile(self) -> None:
        """Who listens again while an instance is still under way is refused, and may when that has ended."""
        peer = self.connect(ASSOCIATE_RQ + STORE)
        stopped = self.shutdown()
        self.assertRaises(CannotStart, self.scp.doStart)
        self.finished.callback(None)
        peer.disconnect()
        self.assertTrue(self.successResultOf(stopped))
        self.scp.doStart()
        self.scp.doStop()

    def test_twice(self) -> None:
        """To ask twice is no mistake: all are told when it is over, and whether something was cut off."""
        peer = self.connect(ASSOCIATE_RQ + STORE_COMMAND)
        stopped = [self.shutdown(), self.scp.shutdown()]
        self.clock.advance(20)
        stopped.append(self.scp.shutdown())
        self.assertNoResult(stopped[0])
        peer.disconnect()
        stopped.append(self.scp.shutdown())
        self.assertEqual([False] * 4, [self.successResultOf(each) for each in stopped])
        self.assertEqual(["start", "stop"], self.storage.calls)


class StoppingStorageTests(FactoryTestCase):
    """A storage that takes its time."""

    def setUp(self) -> None:
        super().setUp()
        self.storage.stopped = Deferred()
        self.scp.doStart()
        self.scp.doStop()

    def test_twice(self) -> None:
        """Who asks while the storage is stopping waits for it as well, and it is not stopped twice."""
        stopped = [self.scp.shutdown(), self.scp.shutdown()]
        self.assertNoResult(stopped[1])
        self.storage.stopped.callback(None)
        self.assertEqual([True, True], [self.successResultOf(each) for each in stopped])
        self.assertEqual(["start", "stop"], self.storage.calls)

    def test_hangs(self) -> None:
        """A storage that has not stopped after 5 s is left to itself: that is not in order, and told."""
        stopped = self.scp.shutdown()
        self.clock.advance(4.9)
        self.assertNoResult(stopped)
        with capturedLogs() as logs:
            self.clock.advance(0.1)
        self.assertFalse(self.successResultOf(stopped))
        self.assertEqual(["error"], [event["log_level"].name for event in logs])

    def test_comes_after_all(self) -> None:
        """One that stops later than that is no mistake, and can be started again."""
        stopped = self.scp.shutdown()
        self.clock.advance(5)
        self.storage.stopped.callback(None)
        self.assertFalse(self.successResultOf(stopped))
        self.storage.stopped = succeed(None)
        self.scp.doStart()
        self.scp.doStop()
        self.assertEqual(["start", "stop", "start", "stop"], self.storage.calls)

    def test_nobody_waits(self) -> None:
        """Where nobody has asked for the end, there is no deadline."""
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_fails(self) -> None:
        """A storage that fails to stop does not keep the program from ending."""
        stopped = self.scp.shutdown()
        self.storage.stopped.errback(ZeroDivisionError())
        self.flushLoggedErrors(ZeroDivisionError)
        self.successResultOf(stopped)

    def test_never_started(self) -> None:
        """A factory that never listened is shut down at once."""
        self.assertTrue(self.successResultOf(self.make().shutdown()))
