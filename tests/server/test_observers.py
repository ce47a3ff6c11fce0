# mypy: allow-untyped-calls
"""What observers are told: every event, in its order, with all there is to know; and that they can do no harm."""

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.dimse.commands import CEchoRQ, CEchoRSP, CStoreRQ, CStoreRSP, OtherRQ, OtherRSP
from storescp.errors import StoreFailure
from storescp.interfaces import Association, AssociationObserver, IAssociationObserver, PresentationContext
from storescp.server.factory import StorageSCPFactory
from storescp.server.observers import Observers
from storescp.testing import CT_IMAGE_STORAGE, SCU, associate_rq
from storescp.uids import EXPLICIT_LE, IMPLICIT_LE, VERIFICATION
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateRJ
from tests.recorders import Event, RecordingObserver, RecordingSink, RecordingStorage
from tests.server import (
    ASSOCIATE_RQ,
    DATA_SET,
    PEER,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    Peer,
    ServerTestCase,
)

ON_VERIFICATION = PresentationContext(context_id=1, abstract_syntax=VERIFICATION, transfer_syntax=IMPLICIT_LE)
ON_CT = PresentationContext(context_id=3, abstract_syntax=CT_IMAGE_STORAGE, transfer_syntax=EXPLICIT_LE)
STORE_RQ = CStoreRQ(affected_sop_class_uid=CT_IMAGE_STORAGE, message_id=1, affected_sop_instance_uid="1.2.3")


def store_rsp(status: int) -> CStoreRSP:
    return CStoreRSP(
        affected_sop_class_uid=CT_IMAGE_STORAGE,
        message_id_being_responded_to=1,
        status=status,
        affected_sop_instance_uid="1.2.3",
    )


class EventTests(ServerTestCase):
    """Whole lists of events."""

    def check(self, *expected: Event) -> None:
        self.assertEqual(list(expected), self.observer.events)

    def test_association(self) -> None:
        """An association that is accepted and released is told with the request and the answer of the wire."""
        request = associate_rq()
        scu = SCU(self.factory(), self.clock, request)
        scu.release()
        self.check(
            ("association_requested", request),
            ("association_accepted", associate_rq(), scu.answer),
            ("association_released",),
            ("association_ended",),
        )

    def test_rejected(self) -> None:
        """An association that is rejected is told with the request and the rejection, whoever rejects it."""
        request = associate_rq()
        SCU(self.factory(ae_title="X", require_called_aet=True), self.clock, request)
        self.check(("association_requested", request), ("association_rejected", AAssociateRJ(1, 1, 7), ""))

    def test_echo(self) -> None:
        """An echo is told with its context, its command and the response."""
        self.scu().echo(5)
        response = CEchoRSP(affected_sop_class_uid=VERIFICATION, message_id_being_responded_to=5, status=0)
        self.check(
            ("message_received", ON_VERIFICATION, CEchoRQ(affected_sop_class_uid=VERIFICATION, message_id=5)),
            ("message_sent", ON_VERIFICATION, response),
        )

    def test_stored(self) -> None:
        """An instance that is stored is told when it begins, when it is whole, when it is safe, and when that was said."""
        self.scu().store("1.2.3", DATA_SET)
        (request,) = self.storage.requests
        self.check(
            ("message_received", ON_CT, STORE_RQ),
            ("instance_opened", request, "recorded"),
            ("instance_received", request, 23),
            ("instance_stored", request, 23),
            ("message_sent", ON_CT, store_rsp(0)),
        )

    def test_refused_at_once(self) -> None:
        """An instance that the storage does not want is never told to be opened."""
        self.storage.open_error = failure = StoreFailure("no", 0xA700)
        self.scu().store("1.2.3", DATA_SET)
        (request,) = self.storage.requests
        self.check(
            ("message_received", ON_CT, STORE_RQ),
            ("instance_refused", request, failure),
            ("message_sent", ON_CT, store_rsp(0xA700)),
        )

    def test_refused_in_the_end(self) -> None:
        """An instance that is not stored in the end is told to be refused, with the failure of the storage."""
        failure = StoreFailure("no", 0xA700)
        sink = RecordingSink()
        sink.finished = fail(failure)
        self.storage = RecordingStorage(sink)
        self.scu().store("1.2.3", DATA_SET)
        (request,) = self.storage.requests
        self.check(
            ("message_received", ON_CT, STORE_RQ),
            ("instance_opened", request, "recorded"),
            ("instance_received", request, 23),
            ("instance_refused", request, failure),
            ("message_sent", ON_CT, store_rsp(0xA700)),
        )

    def test_unrecognized(self) -> None:
        """A request of another service is told as far as it is understood."""
        request = OtherRQ(command_field=0x0020, message_id=4)
        self.scu().send(3, request)
        self.check(
            ("message_received", ON_CT, request),
            (
                "message_sent",
                ON_CT,
                OtherRSP(command_field=0x8020, message_id_being_responded_to=4, status=0x0211),
            ),
        )

    def test_aborted(self) -> None:
        """An abort is told with the A-ABORT, or what stands for the loss of the connection, and why."""
        scu = self.scu()
        scu.abort()
        scu = self.scu()
        scu.disconnect()
        self.check(("association_aborted", PAbort(0), "the connection was lost"), ("association_ended",))

    def test_same_association(self) -> None:
        """All events of one association have the same `Association`, and no two associations share one."""
        factory = self.factory()
        told: list[set[Association]] = []
        for _ in range(2):
            self.observer.associations.clear()
            scu = SCU(factory, self.clock)
            scu.store("1.2.3", DATA_SET)
            scu.release()
            self.assertEqual(9, len(self.observer.associations))
            told.append(set(self.observer.associations))
        self.assertEqual([1, 1, 2], [len(told[0]), len(told[1]), len(told[0] | told[1])])

    def test_stopped(self) -> None:
        """When the server stops, an association is told to be aborted, a connection without one to be refused."""
        factory = self.factory()
        scu = SCU(factory, self.clock)
        connection = factory.buildProtocol(None)
        connection.makeConnection(scu.transport.__class__())
        self.observer.events.clear()
        factory.doStop()
        factory.shutdown()
        connection.connectionLost()
        scu.disconnect()
        factory.doStart()
        *both, last = self.observer.events
        self.assertEqual(
            [
                ("association_aborted", AAbort(0, 0), "this server stops"),
                ("connection_refused", PEER, "this server stops"),
            ],
            sorted(both),  # in any order
        )
        self.assertEqual(("association_ended",), last)


class EndedTests(ServerTestCase):
    """The last event of an association that was accepted."""

    def setUp(self) -> None:
        super().setUp()
        self.sink = RecordingSink()
        self.storage = RecordingStorage(self.sink)

    def told(self) -> list[str]:
        """What was told since it was asked last."""
        names = self.observer.names
        self.observer.events.clear()
        return names

    def test_connection(self) -> None:
        """After the release it is told when the connection is gone, and not before."""
        peer = self.associated()
        self.assertEqual(RELEASE_RP, peer.write(RELEASE_RQ))
        self.assertEqual(["association_released"], self.told())
        peer.disconnect()
        self.assertEqual(["association_ended"], self.told())

    def test_storing(self) -> None:
        """While an instance is still being stored it waits, and comes after what becomes of that."""
        for outcome, told in ((None, "instance_stored"), (Failure(StoreFailure("no")), "instance_refused")):
            self.setUp()
            self.sink.finished = finished = Deferred[Any]()
            peer = self.associated()
            peer.write(STORE)
            peer.disconnect()
            self.assertEqual(
                ["message_received", "instance_opened", "instance_received", "association_aborted"], self.told()
            )
            finished.callback(outcome)
            self.assertEqual([told, "association_ended"], self.told())

    def test_forgetting(self) -> None:
        """While the storage still forgets an instance that was dropped it waits, too."""
        self.sink.dropped = dropped = Deferred[Any]()
        peer = self.associated()
        peer.write(STORE_COMMAND)
        peer.disconnect()
        self.assertEqual(
            ["message_received", "instance_opened", "instance_dropped", "association_aborted"], self.told()
        )
        dropped.callback(None)
        self.assertEqual(["association_ended"], self.told())

    def test_given_up(self) -> None:
        """What the storage does not answer for is given up, and then it is told."""
        self.sink.finished = Deferred()
        peer = self.associated()
        peer.write(STORE)
        peer.disconnect()
        self.told()
        self.clock.advance(60)
        self.assertEqual(["instance_dropped", "association_ended"], self.told())

    def test_once(self) -> None:
        """It is told once: what is answered after it was given up is no second end, nor is the stop of the server."""
        self.sink.finished = finished = Deferred[Any]()
        factory = self.factory()
        peer = Peer(factory)
        peer.write(ASSOCIATE_RQ + STORE)
        peer.disconnect()
        self.clock.advance(60)
        self.assertEqual(1, self.told().count("association_ended"))
        finished.callback(None)
        factory.doStop()
        self.successResultOf(factory.shutdown())
        factory.doStart()
        self.assertEqual([], self.told())

    def test_never_accepted(self) -> None:
        """What never was an association has no such end: rejected, aborted before its answer, or refused."""
        rejected = self.peer(ae_title="X", require_called_aet=True)
        rejected.write(ASSOCIATE_RQ)
        rejected.disconnect()
        self.assertEqual(["association_requested", "association_rejected"], self.told())
        refused = self.peer()
        refused.write(RELEASE_RQ)
        refused.disconnect()
        self.assertEqual(["connection_refused"], self.told())
        aborted = self.peer()
        tell = vars(self.observer)["association_requested"]

        def telling(*arguments: Any) -> None:
            tell(*arguments)
            aborted.disconnect()

        vars(self.observer)["association_requested"] = telling
        aborted.write(ASSOCIATE_RQ)
        self.assertEqual(["association_requested", "association_aborted"], self.told())


class Failing(AssociationObserver):
    """Raises whatever it is told."""

    def __init__(self) -> None:
        for name in IAssociationObserver:
            setattr(self, name, self._raise)

    def _raise(self, *_arguments: Any) -> None:
        raise ZeroDivisionError


class HarmlessTests(ServerTestCase):
    """Observers that raise."""

    def session(self, *others: AssociationObserver) -> list[str]:
        """The events of a session with these observers before the one that records."""
        self.setUp()
        factory = StorageSCPFactory(Config(), self.storage, self.clock, [*others, self.observer])
        factory.doStart()
        self.addCleanup(factory.doStop)
        scu = SCU(factory, self.clock)
        for number in range(3):
            scu.store(f"1.2.{number}", DATA_SET)
            scu.echo()
        self.storage.open_error = StoreFailure("no")
        scu.store("1.2.4", DATA_SET)
        scu.release()
        self.assertEqual([0, 0] * 3 + [0x0110], [getattr(response, "status", None) for response in scu.responses])
        SCU(factory, self.clock).abort()
        return self.observer.names

    def test_session(self) -> None:
        """A whole session goes as it should, the other observers are told all, and each event is logged once."""
        expected = self.session()
        self.assertEqual(expected, self.session(Failing()))
        self.assertEqual(len(set(expected)), len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_each_is_logged(self) -> None:
        """Two observers that fail are two mistakes."""
        self.session(Failing(), Failing())
        self.assertEqual(2 * len(set(self.observer.names)), len(self.flushLoggedErrors(ZeroDivisionError)))


class ObserversTests(SynchronousTestCase):
    def test_order(self) -> None:
        """All are told, in their order."""
        told: list[int] = []

        class Numbered(AssociationObserver):
            def __init__(self, number: int) -> None:
                self.number = number

            def connection_refused(self, peer: str, cause: str) -> None:
                told.append(self.number)

        Observers(Numbered(number) for number in range(3)).tell("connection_refused", "peer", "cause")
        self.assertEqual([0, 1, 2], told)

    def test_default(self) -> None:
        """An observer need not say anything about what it does not care for."""
        observers = Observers([AssociationObserver(), recorder := RecordingObserver()])
        for name in IAssociationObserver:
            method: Any = IAssociationObserver[name]
            observers.tell(name, *method.positional)
        self.assertEqual([*IAssociationObserver], recorder.names)
