# mypy: allow-untyped-calls
"""What observers are told: every event, in its order, with all there is to know; and that they can do no harm."""

import re
import runpy
from collections import Counter
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from storescp import interfaces
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
    COMMAND,
    DATA,
    DATA_SET,
    ECHO,
    LAST_COMMAND,
    LAST_DATA,
    PEER,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
)
from tests.server import (
    STORE_RQ as STORE_ELEMENTS,
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


# The events of an association with one instance.
SESSION = [
    *("association_requested", "association_accepted", "message_received", "instance_opened", "instance_received"),
    *("instance_stored", "message_sent", "association_released", "association_ended"),
]


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
        """An instance that is stored is told when it begins, is whole, is safe, and when that was said."""
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


class Watched(RecordingSink):
    """Tells `told` when it is written to, finished and aborted."""

    def __init__(self, told: list[Event]) -> None:
        super().__init__()
        self._told = told

    def write(self, fragment: memoryview) -> "Deferred[Any] | None":
        self._told.append(("write", bytes(fragment)))
        return super().write(fragment)

    def finish(self) -> "Deferred[Any]":
        self._told.append(("finish",))
        return super().finish()

    def abort(self) -> "Deferred[Any] | None":
        self._told.append(("abort",))
        return super().abort()


class ReceivedTests(ServerTestCase):
    """An instance that is whole, between its last fragment and its end, in one list with what its sink is told."""

    def setUp(self) -> None:
        super().setUp()
        self.sink = Watched(self.observer.events)
        self.storage = RecordingStorage(self.sink)

    def steps(self) -> list[Any]:
        """What was told of the instance and to its sink; the size beside the event that has one."""
        shown = ("write", "finish", "abort", "instance_received", "instance_stored")
        steps = [
            (name, arguments[-1]) if name in shown and arguments else name
            for name, *arguments in self.observer.events
            if name in shown or name.startswith("instance")
        ]
        self.observer.events.clear()
        return steps

    def test_fragments(self) -> None:
        """It comes after the last fragment, with the bytes of all of them, and before the sink is finished."""
        peer = self.associated()
        peer.write(STORE_COMMAND + p_data(pdv(3, DATA, b"abc"), pdv(3, DATA, b"de")))
        self.assertEqual(["instance_opened", ("write", b"abc"), ("write", b"de")], self.steps())
        self.sink.finished = finished = Deferred[Any]()
        peer.write(p_data(pdv(3, LAST_DATA, b"fghi")))
        self.assertEqual([("write", b"fghi"), ("instance_received", 9), "finish"], self.steps())
        finished.callback(None)
        self.assertEqual([("instance_stored", 9)], self.steps())

    def test_each(self) -> None:
        """Each instance has its own size; that of one without a byte is 0."""
        peer = self.associated()
        for data in (b"", b"ab", b"a"):
            peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, data)))
        sizes = [event[2] for event in self.observer.events if event[0] == "instance_received"]
        self.assertEqual([0, 2, 1], sizes)

    def test_request(self) -> None:
        """It is told with the request that the storage has."""
        self.associated().write(STORE)
        told = [event[1] for event in self.observer.events if event[0] == "instance_received"]
        self.assertEqual([True], [request is self.storage.requests[0] for request in told])

    def test_refused_in_the_end(self) -> None:
        """It comes, too, where the storage says no afterwards: the instance was received."""
        self.sink.finished = fail(StoreFailure("no"))
        self.associated().write(STORE)
        whole = ["instance_opened", ("write", DATA_SET), ("instance_received", 23), "finish"]
        self.assertEqual([*whole, "instance_refused"], self.steps())

    def test_given_up(self) -> None:
        """And where it is dropped because the storage does not answer."""
        self.sink.finished = Deferred()
        self.associated().write(STORE)
        self.clock.advance(60)
        whole = ["instance_opened", ("write", DATA_SET), ("instance_received", 23), "finish"]
        self.assertEqual([*whole, "instance_dropped"], self.steps())

    def test_cut_off(self) -> None:
        """Not where the last fragment does not come."""
        peer = self.associated()
        peer.write(STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET)))
        peer.disconnect()
        self.assertEqual(["instance_opened", ("write", DATA_SET), "abort", "instance_dropped"], self.steps())

    def test_refused_at_once(self) -> None:
        """Not where the storage has not taken it, though its data set comes to its end."""
        self.storage.open_error = StoreFailure("no")
        self.associated().write(STORE)
        self.assertEqual(["instance_refused"], self.steps())

    def test_too_large(self) -> None:
        """Not where it is too large, be it by its last fragment; just as large as it may be, it is received."""
        peer = self.associated(max_instance_size=22)
        peer.write(STORE)
        self.assertEqual(["instance_opened", "instance_refused", "abort"], self.steps())
        peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, DATA_SET[:22])))
        self.assertIn(("instance_received", 22), self.steps())

    def test_no_instance(self) -> None:
        """Not of an echo, nor of a command that comes in pieces."""
        peer = self.associated()
        peer.write(ECHO + p_data(pdv(3, COMMAND, STORE_ELEMENTS[:20]), pdv(3, LAST_COMMAND, STORE_ELEMENTS[20:])))
        self.assertEqual(["instance_opened"], self.steps())


class IdTests(ServerTestCase):
    """By which all that is told of an association can be found."""

    def test_unique(self) -> None:
        """Each has another, be they of one server or of several, accepted or not; all begin with that of the run."""
        factories = [self.factory(), self.factory(), self.factory(ae_title="X", require_called_aet=True)]
        for factory in factories:
            for _ in range(20):
                SCU(factory, self.clock).disconnect()
        associations = list(dict.fromkeys(self.observer.associations))
        ids = [association.id for association in associations]
        self.assertEqual(60, len(set(ids)))
        (run,) = {each.partition("-")[0] for each in ids}
        self.assertTrue(re.fullmatch("[0-9a-f]{6}", run), run)
        numbers = [int(each.partition("-")[2]) for each in ids]
        self.assertEqual(list(range(numbers[0], numbers[0] + 60)), numbers)

    def test_run(self) -> None:
        """Another run has another beginning: nobody takes an association of yesterday for one of today."""
        runs = [runpy.run_path(interfaces.__file__)["Association"] for _ in range(2)]
        ids = [run(peer="", calling_ae_title="", called_ae_title="").id.partition("-") for run in runs]
        self.assertEqual((["1", "1"], 2), ([number for *_, number in ids], len({run for run, *_ in ids})))

    def test_given(self) -> None:
        """An embedder may give one; it stays as it is, as all does but the user."""
        association = Association(peer="a", calling_ae_title="b", called_ae_title="c", id="mine-1")
        self.assertEqual("mine-1", association.id)
        with self.assertRaises(AttributeError):
            association.id = "yours-1"
        association.user = "alice"
        self.assertEqual("alice", association.user)


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

    def logged(self, *observers: Any) -> list[LogEvent]:
        """What is logged of these observers in two sessions of one server; nobody else hears less for it."""
        factory = StorageSCPFactory(Config(), self.storage, self.clock, [*observers, self.observer])
        factory.doStart()
        self.addCleanup(factory.doStop)
        with capturedLogs() as logs:
            for _ in range(2):
                scu = SCU(factory, self.clock)
                scu.store("1.2.3", DATA_SET)
                scu.release()
        self.flushLoggedErrors()
        self.assertEqual(SESSION * 2, self.observer.names)
        return list(logs)

    def test_logged(self) -> None:
        """The line says who has failed, at what, and at which association; the first one of each event."""
        failing = Failing()
        logs = self.logged(failing)
        ids = list(dict.fromkeys(association.id for association in self.observer.associations))
        self.assertEqual(2, len(ids))
        expected = [("critical", f"The observer {failing!r} failed at {name}", ids[0]) for name in SESSION]
        told = [(event["log_level"].name, formatEvent(event), event["association"]) for event in logs]
        self.assertEqual(expected, told)

    def test_no_association(self) -> None:
        """Where there was no association the line is of none."""
        observers = Observers([Failing()])
        with capturedLogs() as logs:
            observers.tell("connection_refused", "peer", "cause")
        self.flushLoggedErrors()
        self.assertEqual([None], [event["association"] for event in logs])

    def test_lacks_a_method(self) -> None:
        """An observer without a method, as an older one may be, is logged once for it, and hears the rest."""

        class Old:
            def __init__(self) -> None:
                self.heard: list[str] = []

            def association_released(self, association: Association) -> None:
                self.heard.append(association.id)

        old = Old()
        logs = self.logged(old)
        ids = list(dict.fromkeys(association.id for association in self.observer.associations))
        self.assertEqual(ids, old.heard)
        names = [name for name in SESSION if name != "association_released"]
        self.assertEqual(
            [(f"The observer {old!r} failed at {name}", ids[0], AttributeError) for name in names],
            [(formatEvent(event), event["association"], event["log_failure"].type) for event in logs],
        )

    def test_bad_attribute(self) -> None:
        """Nor does one harm anybody that fails already when it is asked for its method."""

        class Bad(AssociationObserver):
            @property
            def instance_stored(self) -> Any:
                raise ZeroDivisionError

        self.assertEqual([ZeroDivisionError], [event["log_failure"].type for event in self.logged(Bad())])

    def test_exits(self) -> None:
        """What is no Exception ends more than an observer: it is not kept from whoever waits for it."""
        for error in (KeyboardInterrupt, SystemExit, GeneratorExit):
            observers = Observers([raising(error), recorder := RecordingObserver()])
            with capturedLogs() as logs:
                self.assertRaises(error, observers.tell, "connection_refused", "peer", "cause")
            self.assertEqual(([], []), (recorder.events, logs))


def raising(error: type[BaseException]) -> AssociationObserver:
    """An observer that raises this when a connection is refused."""

    class Raising(AssociationObserver):
        def connection_refused(self, peer: str, cause: str) -> None:
            raise error

    return Raising()


class ListeningTests(SynchronousTestCase):
    """Who does not listen to an event is not called."""

    def setUp(self) -> None:
        self.called: Counter[str] = Counter()

    def no_op(self, name: str) -> Any:
        """In the place of the method of `AssociationObserver` that does nothing: it counts."""

        def counting(_self: Any, *_arguments: Any) -> None:
            self.called[name] += 1

        return counting

    def tell_all(self, *observers: Any, times: int = 2) -> None:
        """Tell each event, with as many arguments as it has."""
        told = Observers(observers)
        for _ in range(times):
            for name in IAssociationObserver:
                method: Any = IAssociationObserver[name]
                told.tell(name, *method.positional)

    def test_no_ops(self) -> None:
        """A method of the base that does nothing is never called, be it inherited over several floors."""
        for name in IAssociationObserver:
            self.patch(AssociationObserver, name, self.no_op(name))

        class Inheriting(AssociationObserver):
            pass

        class Again(Inheriting):
            pass

        self.tell_all(AssociationObserver(), Inheriting(), Again())
        self.assertEqual({}, dict(self.called))
        for name in IAssociationObserver:  # they do count
            getattr(AssociationObserver(), name)(*IAssociationObserver[name].positional)
        self.assertEqual(dict.fromkeys(IAssociationObserver, 1), dict(self.called))

    def test_subclasses(self) -> None:
        """A method of a subclass is, and of its subclass, and one that calls the base."""
        told: list[str] = []

        class Refused(AssociationObserver):
            def connection_refused(self, peer: str, cause: str) -> None:
                told.append("own")

        class Inherited(Refused):
            def association_ended(self, association: Association) -> None:
                super().association_ended(association)
                told.append("ended")

        class Mixed(Inherited, AssociationObserver):
            pass

        self.tell_all(Refused(), Inherited(), Mixed(), times=1)
        self.assertEqual(["ended", "ended", "own", "own", "own"], sorted(told))

    def test_attributes(self) -> None:
        """So is what an observer has as an attribute of its own, of whatever kind it is."""
        told: list[str] = []
        observer = AssociationObserver()
        vars(observer)["connection_refused"] = lambda *_: told.append("function")
        vars(observer)["association_ended"] = partial(told.append)
        vars(observer)["association_released"] = told.append

        class Static(AssociationObserver):
            connection_refused = staticmethod(lambda *_: told.append("static"))  # type: ignore[assignment]

            @classmethod
            def association_ended(cls, association: Association) -> None:
                told.append("class")

        self.tell_all(observer, Static(), times=1)
        self.assertEqual(["association", "association", "class", "function", "static"], sorted(told))

    def test_other_objects(self) -> None:
        """So is an object that is no `AssociationObserver` and has the methods."""
        told: list[str] = []

        class Anything:
            def __getattr__(self, name: str) -> Any:
                return lambda *_: told.append(name)

        self.tell_all(Anything(), times=2)
        self.assertEqual([*IAssociationObserver] * 2, told)


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
