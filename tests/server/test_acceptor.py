# mypy: allow-untyped-calls
"""Acceptor: what a peer is answered, and what becomes of its instances."""

from collections.abc import Callable
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from storescp.config import Config
from storescp.dimse.commands import CEchoRSP, CStoreRQ, CStoreRSP, OtherRQ, OtherRSP
from storescp.errors import Status, StoreFailure, kind_of
from storescp.interfaces import AssociationObserver, IAssociationObserver, IInstanceSink, IStorage, StoreRequest
from storescp.program.proxied import proxied
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import Realm
from storescp.testing import CT_IMAGE_STORAGE, SCU, associate_rq
from storescp.uids import EXPLICIT_LE, IMPLICIT_LE, VERIFICATION
from storescp.ul.items import ImplementationClassUID, ImplementationVersionName, MaximumLength, PresentationContextRQ
from storescp.ul.machine import PAbort, Sta
from storescp.ul.pdu import AAbort
from tests.program.test_proxied import AbortedTransport, Endpoint
from tests.recorders import RecordingObserver, RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_RQ,
    COMMAND,
    DATA,
    DATA_SET,
    ECHO,
    ECHO_RSP,
    ECHOED,
    LAST_COMMAND,
    LAST_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    STORE_RQ,
    STORED,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
    store_rsp,
)
from tests.ul import wire

MR = "1.2.840.10008.5.1.4.1.1.4"


def stored(status: int, uid: str | None = "1.2.3", sop_class: str = CT_IMAGE_STORAGE, message_id: int = 1) -> CStoreRSP:
    """The response to an instance that the SCU of `storescp.testing` has sent."""
    return CStoreRSP(
        affected_sop_class_uid=sop_class,
        message_id_being_responded_to=message_id,
        status=status,
        affected_sop_instance_uid=uid,
    )


def refused(status: str) -> bytes:
    """The response to an instance, whose status has these digits, little-endian."""
    return p_data(pdv(3, LAST_COMMAND, store_rsp(status)))


class EchoTests(ServerTestCase):
    """C-ECHO."""

    def test_bytes(self) -> None:
        """An echo is answered with Success and its own message id, as often as it is asked."""
        peer = self.associated()
        self.assertEqual(ECHOED * 2, peer.write(ECHO) + peer.write(ECHO))

    def test_scu(self) -> None:
        """The in-memory SCU hears the same."""
        expected = CEchoRSP(affected_sop_class_uid=VERIFICATION, message_id_being_responded_to=77, status=0)
        self.assertEqual(expected, self.scu().echo(message_id=77))

    def test_maximum_length(self) -> None:
        """A response is cut to the size that the peer announced."""
        announced = associate_rq(user_items=[MaximumLength(50)])
        peer = self.peer()
        peer.write(announced.encode())
        parts = p_data(pdv(1, COMMAND, ECHO_RSP[:44])) + p_data(pdv(1, LAST_COMMAND, ECHO_RSP[44:]))
        self.assertEqual(parts, peer.write(ECHO))

    def test_data_set(self) -> None:
        """A data set after an echo is skipped, and the answer comes when it has ended."""
        peer = self.associated()
        command = wire(
            *("0000 0000 04000000", "38000000"),
            *("0000 0200 12000000", b"1.2.840.10008.1.1\0"),
            *("0000 0001 02000000", "3000", "0000 1001 02000000", "0700"),
            *("0000 0008 02000000", "0000"),
        )
        self.assertEqual(b"", peer.write(p_data(pdv(1, LAST_COMMAND, command), pdv(1, DATA, b"abcd"))))
        self.assertEqual(ECHOED, peer.write(p_data(pdv(1, LAST_DATA, b"ef"))))


class StoreTests(ServerTestCase):
    """C-STORE, when all goes well."""

    def test_bytes(self) -> None:
        """The sink has the bytes as they came, is finished once, and Success is sent then."""
        peer = self.associated()
        self.assertEqual(STORED, peer.write(STORE))
        self.assertEqual([(DATA_SET, ["finish"])], [(sink.data, sink.ends) for sink in self.storage.sinks])

    def test_request(self) -> None:
        """The storage is told what is known of the instance."""
        self.associated().write(STORE)
        (association,) = set(self.observer.associations)
        expected = StoreRequest(
            association=association,
            context_id=3,
            transfer_syntax=EXPLICIT_LE,
            message_id=9,
            sop_class_uid=CT_IMAGE_STORAGE,
            sop_instance_uid="1.2.3",
        )
        self.assertEqual([expected], self.storage.requests)

    def test_association(self) -> None:
        """Of the peer its address, its titles without padding, and its implementation are known."""
        items = (MaximumLength(0), ImplementationClassUID("1.2.9"), ImplementationVersionName("MODALITY_9"))
        scu = self.scu(associate_rq(user_items=items, called=" ARCHIVE", calling="MOD 1"))
        scu.store("1.2.3", b"")
        told = self.storage.requests[0].association
        self.assertEqual(
            ("192.168.1.1:54321", "MOD 1", "ARCHIVE", "1.2.9", "MODALITY_9"),
            (
                told.peer,
                told.calling_ae_title,
                told.called_ae_title,
                told.implementation_class_uid,
                told.implementation_version_name,
            ),
        )

    def test_move_originator(self) -> None:
        """An instance that is sent because of a C-MOVE tells whose."""
        scu = self.scu()
        command = CStoreRQ(
            affected_sop_class_uid=CT_IMAGE_STORAGE,
            message_id=1,
            affected_sop_instance_uid="1.2.3",
            move_originator_ae_title="MOVER",
            move_originator_message_id=5,
        )
        scu.send(3, command, b"")
        (request,) = self.storage.requests
        self.assertEqual(("MOVER", 5), (request.move_originator_ae_title, request.move_originator_message_id))

    def test_transfer_syntax(self) -> None:
        """The transfer syntax of an instance is that of its own presentation context."""
        contexts = [
            PresentationContextRQ(1, CT_IMAGE_STORAGE, (IMPLICIT_LE,)),
            PresentationContextRQ(3, CT_IMAGE_STORAGE, (EXPLICIT_LE,)),
            PresentationContextRQ(255, MR, (IMPLICIT_LE,)),
        ]
        scu = self.scu(associate_rq(contexts))
        scu.store("1.2.1", b"", context_id=1)
        scu.store("1.2.2", b"", context_id=3)
        scu.store("1.2.3", b"", context_id=255, sop_class_uid=MR)
        self.assertEqual(
            [(1, IMPLICIT_LE, "1.2.1"), (3, EXPLICIT_LE, "1.2.2"), (255, IMPLICIT_LE, "1.2.3")],
            [
                (request.context_id, request.transfer_syntax, request.sop_instance_uid)
                for request in self.storage.requests
            ],
        )

    def test_many(self) -> None:
        """One association stores many instances, large and empty ones, with echoes between them."""
        scu = self.scu()
        contents = [bytes(100000), b"", b"abc", bytes(16378), bytes(16379)]
        for number, content in enumerate(contents):
            self.assertEqual(stored(0, f"1.2.{number}"), scu.store(f"1.2.{number}", content))
            scu.echo()
        self.assertEqual(contents, [sink.data for sink in self.storage.sinks])

    def test_doubles(self) -> None:
        """What these tests give to the server keeps the contracts."""
        verifyObject(IStorage, RecordingStorage())
        verifyObject(IInstanceSink, RecordingSink())
        verifyObject(IAssociationObserver, RecordingObserver())
        verifyObject(IAssociationObserver, AssociationObserver())


class RefusedTests(ServerTestCase):
    """Instances that are not stored: the status, and that all goes on."""

    def check(self, scu: SCU, status: int, uid: str = "1.2.3") -> None:
        """The instance is refused with this status; the next one, and an echo, are as welcome as ever."""
        self.assertEqual(stored(status, uid), scu.store(uid, bytes(50000)))
        self.storage.open_error = None
        self.assertEqual(stored(0, "1.2.4", message_id=2), scu.store("1.2.4", DATA_SET, message_id=2))
        self.assertEqual((DATA_SET, ["finish"]), (self.storage.sinks[-1].data, self.storage.sinks[-1].ends))
        scu.echo()
        scu.release()
        self.assertTrue(scu.released)

    def prepare(self) -> RecordingSink:
        """The sink of the first instance."""
        sink = RecordingSink()
        self.storage = RecordingStorage(sink)
        return sink

    def test_storage_refuses(self) -> None:
        """The storage may refuse an instance before its data set has come, with any status."""
        for status in (0xA700, 0xA701, 0xA900, 0xC000, 0xCFFF, 0x0111, 0x0124):
            scu = self.scu()
            self.storage.open_error = StoreFailure("no", status)
            self.check(scu, status)

    def test_storage_fails(self) -> None:
        """A storage that fails otherwise is logged once and answered for with 0110H."""
        scu = self.scu()
        self.storage.open_error = ZeroDivisionError()
        self.check(scu, 0x0110)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_finish_fails(self) -> None:
        """What is not stored in the end has the status the sink says."""
        for status in (0xA700, 0xC123, Status.PROCESSING_FAILURE):
            self.prepare().finished = fail(StoreFailure("no", status))
            self.check(self.scu(), status)

    def test_finish_fails_later(self) -> None:
        """The same where that takes its time; meanwhile nothing is answered."""
        finished: Deferred[None] = Deferred()
        self.prepare().finished = finished
        scu = self.scu()
        self.assertIsNone(scu.store("1.2.3", DATA_SET))
        finished.errback(StoreFailure("no", 0xA700))
        scu.pump()
        self.assertEqual([stored(0xA700)], scu.responses)
        self.assertEqual(stored(0, "1.2.4"), scu.store("1.2.4", DATA_SET))

    def test_finish_raises(self) -> None:
        """A sink that raises instead of failing its Deferred is understood all the same."""
        self.prepare().finish_error = StoreFailure("no", 0xA700)
        self.check(self.scu(), 0xA700)

    def test_finish_fails_otherwise(self) -> None:
        """A sink that fails otherwise, at once or later, is logged once and answered for with 0110H."""
        self.prepare().finish_error = ZeroDivisionError()
        self.check(self.scu(), 0x0110)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.prepare().finished = fail(ZeroDivisionError())
        self.check(self.scu(), 0x0110)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_sop_class(self) -> None:
        """0122H: an instance whose SOP Class is not that of its presentation context is not shown to the storage."""
        scu = self.scu()
        self.assertEqual(stored(0x0122, sop_class=MR), scu.store("1.2.3", DATA_SET, sop_class_uid=MR))
        self.assertEqual([], self.storage.requests)
        self.assertEqual(stored(0, "1.2.4"), scu.store("1.2.4", DATA_SET))

    def test_store_on_verification(self) -> None:
        """0122H: an instance on the context of an echo."""
        self.assertEqual(stored(0x0122), self.scu().store("1.2.3", DATA_SET, context_id=1))

    def test_unusable_uid(self) -> None:
        """C000H: an instance of a UID that the storage cannot use is answered, be the UID empty."""
        self.storage.open_error = StoreFailure("no", Status.CANNOT_UNDERSTAND)
        self.assertEqual(stored(0xC000, uid=None), self.scu().store("", DATA_SET))

    def test_drained(self) -> None:
        """A refused instance is received to its end and answered after its last fragment, not before."""
        peer = self.associated()
        self.storage.open_error = StoreFailure("no", Status.OUT_OF_RESOURCES)
        self.assertEqual(b"", peer.write(STORE_COMMAND))
        self.assertEqual(b"", peer.write(p_data(pdv(3, DATA, bytes(10000)))))
        self.storage.open_error = None
        self.assertEqual(refused("00A7") + STORED, peer.write(p_data(pdv(3, LAST_DATA, b"")) + STORE))
        self.assertEqual([DATA_SET], [sink.data for sink in self.storage.sinks])

    def test_no_data_set(self) -> None:
        """0212H: a C-STORE that announces no data set."""
        expected = CStoreRSP(message_id_being_responded_to=1, status=0x0212)
        scu = self.scu()
        scu.store("1.2.3", None)
        scu.store("1.2.4", DATA_SET)
        self.assertEqual([expected, stored(0, "1.2.4")], scu.responses)
        self.assertEqual(["1.2.4"], [request.sop_instance_uid for request in self.storage.requests])

    def test_mistyped(self) -> None:
        """0212H: a request of which an element is missing or has the wrong length; its data set is skipped."""
        uid = wire("0000 0010 06000000", b"1.2.3\0")
        sop_class = wire("0000 0200 1A000000", b"1.2.840.10008.5.1.4.1.1.2\0")
        answer = wire(
            *("0000 0000 04000000", "28000000"),
            *("0000 0001 02000000", "0180", "0000 2001 02000000", "0900"),
            *("0000 0008 02000000", "0101", "0000 0009 02000000", "1202"),
        )
        for command in (
            STORE_RQ.removesuffix(uid),
            STORE_RQ.replace(sop_class, b""),
            STORE_RQ.replace(wire("0000 0007 02000000", "0000"), wire("0000 0007 04000000", "00000000")),
        ):
            peer = self.associated()
            self.assertEqual(b"", peer.write(p_data(pdv(3, LAST_COMMAND, command), pdv(3, DATA, DATA_SET))))
            self.assertEqual(p_data(pdv(3, LAST_COMMAND, answer)), peer.write(p_data(pdv(3, LAST_DATA, b""))))
            self.assertEqual(STORED, peer.write(STORE))

    def test_priority_missing(self) -> None:
        """A request without the priority, which is of no use to us, is good enough."""
        command = STORE_RQ.replace(wire("0000 0007 02000000", "0000"), b"")
        self.assertEqual(STORED, self.associated().write(p_data(pdv(3, LAST_COMMAND, command), pdv(3, LAST_DATA, b""))))

    def test_no_message_id(self) -> None:
        """A request that cannot be answered, as it has no message id, ends the association."""
        scu = self.scu()
        command = OtherRQ(command_field=0x0020)
        scu.send(3, command)
        self.assertEqual(([], AAbort(0, 0)), (scu.responses, scu.ended))

    def test_unrecognized(self) -> None:
        """0211H: operations of other services, with a data set or without one, which is skipped."""
        for field in (0x0020, 0x0010, 0x0021, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x7FFF):
            scu = self.scu()
            scu.send(3, OtherRQ(command_field=field, message_id=4))
            scu.send(3, OtherRQ(command_field=field, message_id=5, command_data_set_type=1), bytes(50000))
            expected = [
                OtherRSP(command_field=field | 0x8000, message_id_being_responded_to=number, status=0x0211)
                for number in (4, 5)
            ]
            self.assertEqual((expected, None), (scu.responses, scu.ended))
            self.assertEqual(stored(0), scu.store("1.2.3", DATA_SET))

    def test_cancel(self) -> None:
        """A C-CANCEL has no response and cancels nothing; the association goes on."""
        cancel = wire(
            *("0000 0000 04000000", "1E000000"),
            *("0000 0001 02000000", "FF0F", "0000 2001 02000000", "0900", "0000 0008 02000000", "0101"),
        )
        session = ECHO + p_data(pdv(3, LAST_COMMAND, cancel)) + ECHO
        self.assertEqual(ECHOED + ECHOED, self.associated().write(session))
        self.assertEqual(
            ["message_received", "message_sent", "message_received", "message_received", "message_sent"],
            self.observer.names,
        )

    def test_status_that_is_none(self) -> None:
        """A storage whose status fits no response is our trouble: logged once, and the association is aborted."""
        self.storage.open_error = StoreFailure("no", 0x1A700)
        scu = self.scu()
        self.assertIsNone(scu.store("1.2.3", DATA_SET))
        self.assertEqual(AAbort(0, 0), scu.ended)
        self.assertEqual(1, len(self.flushLoggedErrors()))

    def test_messages_after_our_abort(self) -> None:
        """When a message made us abort, the next one in the same PDU is not begun: no sink stays open for ever."""
        self.prepare().finished = fail(StoreFailure("no", 0x1A700))
        peer = self.associated()
        peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, DATA_SET), pdv(3, LAST_COMMAND, STORE_RQ)))
        peer.disconnect()
        self.assertEqual(1, len(self.flushLoggedErrors()))
        self.assertEqual(["association_aborted", "association_ended"], self.observer.names[-2:])
        self.assertEqual(1, len(self.storage.sinks))


class ContextTests(ServerTestCase):
    def test_store_on_verification(self) -> None:
        """Nothing is stored on a context of Verification, even if the command is of that class too."""
        scu = self.scu()
        response = scu.store("1.2.3", DATA_SET, sop_class_uid="1.2.840.10008.1.1", context_id=1)
        self.assertEqual((0x0122, []), (getattr(response, "status", None), self.storage.sinks))

    def test_observer_ends_it(self) -> None:
        """An observer may end an association that it is told of: no answer is given to it any more."""
        factory = self.factory()
        vars(self.observer)["association_requested"] = lambda *_: factory.shutdown()
        peer = Peer(factory)
        self.assertEqual((ABORT, True), (peer.write(ASSOCIATE_RQ), peer.transport.disconnecting))
        peer.disconnect()
        self.assertEqual(["association_aborted"], self.observer.names)


class WriteTests(ServerTestCase):
    """What a sink may do while it is written to."""

    def setUp(self) -> None:
        super().setUp()
        self.sink = RecordingSink()
        self.storage = RecordingStorage(self.sink)

    def test_raises(self) -> None:
        """A sink that raises breaks its contract: logged once, the association is aborted, the sink too."""
        self.sink.write_error = ZeroDivisionError()
        scu = self.scu()
        self.assertIsNone(scu.store("1.2.3", bytes(50000)))
        self.assertEqual((AAbort(0, 0), ["abort"]), (scu.ended, self.sink.ends))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_room(self) -> None:
        """While a sink has no room what comes waits, and keeps more from being read; then all that waited comes."""
        room: Deferred[None] = Deferred()
        self.sink.room = room
        scu = self.scu()
        scu.write(STORE_COMMAND + p_data(pdv(3, DATA, bytes(10))))
        self.assertEqual("producing", scu.scp_transport.producerState)
        scu.write(p_data(pdv(3, LAST_DATA, b"the rest")))
        self.assertEqual("paused", scu.scp_transport.producerState)
        self.assertEqual((bytes(10), []), (self.sink.data, scu.responses))
        room.callback(None)
        self.assertEqual("producing", scu.scp_transport.producerState)
        scu.pump()
        self.assertEqual((bytes(10) + b"the rest", 1), (self.sink.data, len(scu.responses)))

    def test_room_fails(self) -> None:
        """A room that fails does not stop the peer for ever: the sink will say at its finish what was wrong."""
        room: Deferred[None] = Deferred()
        self.sink.room = room
        self.sink.finished = fail(StoreFailure("no", 0xA700))
        scu = self.scu()
        scu.store("1.2.3", bytes(1000))
        room.errback(ZeroDivisionError())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        scu.pump()
        self.assertEqual([stored(0xA700)], scu.responses)

    def test_room_at_once(self) -> None:
        """A room that is there already changes nothing."""
        self.sink.room = succeed(None)
        self.assertEqual(stored(0), self.scu().store("1.2.3", bytes(100000)))

    def test_received_already(self) -> None:
        """What was received before the sink had no room waits, even the rest of a PDU."""
        room: Deferred[None] = Deferred()
        self.sink.room = room
        peer = self.associated()
        fragments = p_data(*[pdv(3, DATA, b"ab")] * 3, pdv(3, LAST_DATA, b"c"))
        self.assertEqual(b"", peer.write(STORE_COMMAND + fragments))
        self.assertEqual((b"ab", "paused"), (self.sink.data, peer.transport.producerState))
        room.callback(None)
        self.assertEqual((STORED, b"abababc"), (peer.heard(), self.sink.data))
        self.assertEqual("producing", peer.transport.producerState)


class WindowTests(ServerTestCase):
    """One instance is on its way to the disk while the next one waits at the peer."""

    def setUp(self) -> None:
        super().setUp()
        self.finished: list[Deferred[None]] = [Deferred(), Deferred()]
        sinks = [RecordingSink(), RecordingSink()]
        for sink, finished in zip(sinks, self.finished, strict=True):
            sink.finished = finished
        self.storage = RecordingStorage(*sinks)

    def test_paused(self) -> None:
        """A peer that waits for its answer costs no pause; one that does not is not read from until it has it."""
        peer = self.associated()
        for finished in self.finished:
            self.assertEqual((b"", "producing"), (peer.write(STORE), peer.transport.producerState))
            self.assertEqual((b"", "paused"), (peer.write(ECHO), peer.transport.producerState))
            finished.callback(None)
            self.assertEqual((STORED + ECHOED, "producing"), (peer.heard(), peer.transport.producerState))

    def test_closed(self) -> None:
        """The end of a peer that does not wait for its answer is seen at once; its instance is stored all the same."""
        peer = self.associated()
        peer.write(STORE)
        peer.disconnect()
        self.finished[0].callback(None)
        self.assertEqual(
            [
                *("message_received", "instance_opened", "instance_received", "association_aborted"),
                *("instance_stored", "association_ended"),
            ],
            self.observer.names,
        )

    def test_received_already(self) -> None:
        """Messages that came in one piece wait for the instance before them, as those that come later do."""
        peer = self.associated()
        self.assertEqual(b"", peer.write(STORE + STORE.replace(b"\x09\0", b"\x0a\0") + ECHO))
        self.assertEqual((1, "paused"), (len(self.storage.sinks), peer.transport.producerState))
        other = STORED.replace(b"\x09\0", b"\x0a\0")
        self.finished[0].callback(None)
        self.assertEqual((STORED, "paused"), (peer.heard(), peer.transport.producerState))
        self.finished[1].callback(None)
        self.assertEqual((other + ECHOED, "producing"), (peer.heard(), peer.transport.producerState))

    def test_in_one_pdu(self) -> None:
        """Instances that are in one PDU wait for each other, as those in several do."""
        other = STORE_RQ.replace(b"\x09\0", b"\x0a\0")
        peer = self.associated()
        ends = p_data(pdv(3, LAST_DATA, b"1"), pdv(3, LAST_COMMAND, other), pdv(3, LAST_DATA, b"2"))
        self.assertEqual(b"", peer.write(STORE_COMMAND + ends + ECHO))
        self.assertEqual((1, "paused"), (len(self.storage.sinks), peer.transport.producerState))
        self.finished[0].callback(None)
        self.assertEqual((STORED, "paused"), (peer.heard(), peer.transport.producerState))
        self.finished[1].callback(None)
        answer = STORED.replace(b"\x09\0", b"\x0a\0")
        self.assertEqual((answer + ECHOED, "producing"), (peer.heard(), peer.transport.producerState))

    def test_very_many(self) -> None:
        """Thousands of messages may wait for one instance; they are answered without nesting."""
        peer = self.associated()
        self.finished[1].callback(None)
        peer.write(STORE + STORE * 2000)
        self.finished[0].callback(None)
        self.assertEqual(STORED * 2001, peer.heard())

    def test_release(self) -> None:
        """A release waits for all the responses that are owed."""
        peer = self.associated()
        peer.write(STORE + STORE + RELEASE_RQ)
        self.finished[0].callback(None)
        self.assertEqual(STORED, peer.heard())
        self.finished[1].callback(None)
        self.assertEqual(STORED + RELEASE_RP, peer.heard())


STALLED = "the storage has not answered for 60 s (--storage-timeout)"


class StallTests(ServerTestCase):
    """A storage that does not answer holds nobody for ever."""

    def setUp(self) -> None:
        super().setUp()
        self.sink = RecordingSink()
        self.storage = RecordingStorage(self.sink)
        self.cancelled: list[str] = []
        self.sink.finished = self.waiting("finished")

    def waiting(self, name: str) -> "Deferred[Any]":
        """What a sink has returned, and says so when it is cancelled."""

        def ended(failure: Failure) -> Failure:
            failure.trap(CancelledError)
            self.cancelled.append(name)
            return failure

        return Deferred().addErrback(ended)

    def room(self) -> "Deferred[Any]":
        """What the sink's next write returns."""
        self.sink.room = self.waiting("room")
        return self.sink.room

    def assert_aborted(self, peer: Peer) -> None:
        """The association ends after 60 s, and not before."""
        self.clock.advance(59.9)
        self.assertEqual((b"", []), (peer.heard(), self.cancelled))
        self.clock.advance(0.1)
        self.assertEqual(ABORT, peer.heard())

    def ends(self) -> list[tuple[object, ...]]:
        """What the observer was told since the instance was opened."""
        events = self.observer.events
        return events[self.observer.names.index("instance_opened") + 1 :]

    def test_finish(self) -> None:
        """An instance that is not safe after 60 s is given up: aborted, cancelled, told as dropped, not answered."""
        peer = self.associated()
        peer.write(STORE)
        self.assert_aborted(peer)
        (request,) = self.storage.requests
        self.assertEqual(["finished"], self.cancelled)
        self.assertEqual(
            [
                ("instance_received", request, 23),
                ("association_aborted", AAbort(0, 0), STALLED),
                ("instance_dropped", request, STALLED),
            ],
            self.ends(),
        )

    def test_write(self) -> None:
        """A sink that has no room for 60 s is aborted with its association."""
        self.room()
        peer = self.associated()
        peer.write(STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET)))
        self.assert_aborted(peer)
        (request,) = self.storage.requests
        self.assertEqual((["room"], ["abort"]), (self.cancelled, self.sink.ends))
        self.assertEqual(
            [("instance_dropped", request, STALLED), ("association_aborted", AAbort(0, 0), STALLED)], self.ends()
        )

    def test_each_time(self) -> None:
        """Each wait has its 60 s: a storage that is slow but alive is not hurried."""
        peer = self.associated()
        peer.write(STORE_COMMAND)
        for _ in range(3):
            room = self.room()
            peer.write(p_data(pdv(3, DATA, DATA_SET)))
            self.clock.advance(59.9)
            room.callback(None)
        peer.write(p_data(pdv(3, LAST_DATA, b"")))
        self.clock.advance(59.9)
        self.sink.finished.callback(None)
        self.assertEqual(STORED, peer.heard())

    def test_other_timeout(self) -> None:
        """The time is what the configuration says, and unlimited if that says so."""
        peer = self.associated(storage_timeout=5)
        peer.write(STORE)
        self.clock.advance(5)
        self.assertEqual(ABORT, peer.heard())
        self.setUp()
        peer = self.associated(storage_timeout=None)
        peer.write(STORE)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_not_waiting(self) -> None:
        """A peer that is waited for is no storage that is waited for."""
        peer = self.associated()
        peer.write(STORE_COMMAND)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_too_late(self) -> None:
        """What a storage says after it was given up changes nothing."""
        peer = self.associated()
        peer.write(STORE)
        self.assert_aborted(peer)
        events = list(self.observer.events)
        self.sink.finished.callback(None)
        self.assertEqual((b"", events), (peer.heard(), self.observer.events))

    def test_chained(self) -> None:
        """A Deferred that has fired, but waits for another one, is waited for no longer than any."""
        self.sink.finished = succeed(None).addCallback(lambda _: Deferred())
        peer = self.associated()
        peer.write(STORE)
        self.assert_aborted(peer)

    def test_peer_gone(self) -> None:
        """An instance whose peer has gone meanwhile has as much time: it was received, and may become safe."""
        peer = self.associated()
        peer.write(STORE)
        peer.disconnect()
        self.clock.advance(59)
        self.sink.finished.callback(None)
        self.assertEqual((["instance_stored", "association_ended"], []), (self.observer.names[-2:], self.cancelled))

    def test_peer_gone_for_ever(self) -> None:
        """But no more: a storage that hangs is found out although nobody waits for its answer."""
        peer = self.associated()
        peer.write(STORE)
        peer.disconnect()
        self.observer.events.clear()
        self.clock.advance(60)
        self.assertEqual(
            (["instance_dropped", "association_ended"], ["finished"]), (self.observer.names, self.cancelled)
        )


class CongestionTests(ServerTestCase):
    """A storage that is not ready."""

    def test_rejected(self) -> None:
        """A new association is rejected as a transient state, by the provider for congestion; later one is accepted."""
        self.storage.is_ready = False
        peer = self.peer()
        self.assertEqual(wire("03 00 00000004", "00 02 03 01"), peer.write(ASSOCIATE_RQ))
        self.assertEqual(["association_requested", "association_rejected"], self.observer.names)
        self.storage.is_ready = True
        self.assertEqual(stored(0), self.scu().store("1.2.3", DATA_SET))

    def test_permanent(self) -> None:
        """What will never be accepted is told so."""
        self.storage.is_ready = False
        peer = self.peer(ae_title="X", require_called_aet=True)
        self.assertEqual(wire("03 00 00000004", "00 01 01 07"), peer.write(ASSOCIATE_RQ))

    def test_associated_before(self) -> None:
        """An association that is there already goes on."""
        scu = self.scu()
        self.storage.is_ready = False
        self.assertEqual(stored(0), scu.store("1.2.3", DATA_SET))


class SCUTests(ServerTestCase):
    """The in-memory SCU that embedders test with."""

    def test_contexts(self) -> None:
        """By default it proposes what a friendly modality does, and all is accepted."""
        scu = self.scu()
        assert scu.answer is not None
        contexts = getattr(scu.answer, "presentation_contexts", ())
        self.assertEqual([(1, 0), (3, 0)], [(context.context_id, context.result) for context in contexts])

    def test_release(self) -> None:
        """After a release both sides are as before the association, and the factory has forgotten it."""
        scu = self.scu()
        scu.release()
        self.assertEqual((True, None), (scu.released, scu.ended))
        self.assertEqual((Sta.Sta1, Sta.Sta1), (scu.protocol.state, scu.scp.state))

    def test_abort(self) -> None:
        """It aborts like a peer that has had enough."""
        scu = self.scu()
        scu.abort()
        self.assertEqual(
            [("association_aborted", AAbort(0, 0), "by the peer"), ("association_ended",)], self.observer.events
        )

    def test_disconnect(self) -> None:
        """It can lose the connection, and notices it."""
        scu = self.scu()
        scu.disconnect()
        scu.disconnect()
        self.assertEqual(PAbort(0), scu.ended)
        self.assertEqual(["association_aborted", "association_ended"], self.observer.names)

    def test_write(self) -> None:
        """It can send what no friendly peer would."""
        scu = self.scu()
        scu.write(b"garbage")
        self.assertEqual(PAbort(1), scu.ended)

    def test_rejected(self) -> None:
        """A rejection is its answer, and the connection is closed."""
        scu = self.scu(ae_title="X", require_called_aet=True)
        self.assertEqual((1, 1, 7), tuple(getattr(scu.answer, name) for name in ("result", "source", "reason")))
        self.assertEqual(Sta.Sta1, scu.scp.state)


LIMITS = {
    *("max_pdu", "max_associate_rq", "max_contexts", "max_transfer_syntaxes", "max_user_items", "max_command_set"),
    *("max_instance_size", "max_associations", "max_associations_per_peer", "max_unassociated", "allow_file"),
}
HALF = STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET))  # an instance that is not complete
# The events that tell a cause, or a failure that has one.
WITH_A_CAUSE = {
    *("association_rejected", "association_aborted", "connection_refused", "instance_refused", "instance_dropped"),
}
HOSTILE = b"timeout\x1b[2Jstop"


class KindTests(ServerTestCase):
    """Of which kind each cause is that observers are told."""

    def kinds(self) -> list[tuple[str, str]]:
        """The events that have told a cause since it was asked last, and the kind of each."""
        events: list[Any] = [each for each in self.observer.events if each[0] in WITH_A_CAUSE]
        self.observer.events.clear()
        return [(name, kind_of(getattr(cause, "cause", cause))) for name, *_, cause in events]

    def check(self, *expected: tuple[str, str]) -> None:
        self.assertEqual(list(expected), self.kinds())

    def check_refused(self, kind: str) -> None:
        self.check(("connection_refused", kind))

    def check_aborted(self, kind: str, dropped: bool = False) -> None:
        """Of an association, and of the instance that it has cut off, if there was one."""
        self.check(*[("instance_dropped", kind)] * dropped, ("association_aborted", kind))

    def test_no_request(self) -> None:
        """No request in time: acse_timeout."""
        self.peer(acse_timeout=10)
        self.clock.advance(10)
        self.check_refused("acse_timeout")

    def test_silence(self) -> None:
        """A peer that is silent: timeout, be there an association or not."""
        self.peer(timeout=5)
        self.clock.advance(5)
        self.check_refused("timeout")
        self.associated(timeout=5).write(HALF)
        self.observer.events.clear()
        self.clock.advance(5)
        self.check_aborted("timeout", dropped=True)

    def test_fragment(self) -> None:
        """No further fragment: dimse_timeout."""
        self.associated(dimse_timeout=5).write(HALF)
        self.clock.advance(5)
        self.check_aborted("dimse_timeout", dropped=True)

    def test_storage(self) -> None:
        """A storage that does not answer: storage_timeout, of the association and of what it was asked for."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.finished = Deferred()
        self.associated(storage_timeout=5).write(STORE)
        self.clock.advance(5)
        self.check(("association_aborted", "storage_timeout"), ("instance_dropped", "storage_timeout"))

    def test_storage_after_the_end(self) -> None:
        """So it is where the connection was lost before."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.finished = Deferred()
        peer = self.associated(storage_timeout=5)
        peer.write(STORE)
        peer.disconnect()
        self.check_aborted("connection")
        self.clock.advance(5)
        self.check(("instance_dropped", "storage_timeout"))

    def test_by_the_peer(self) -> None:
        """An A-ABORT: peer; before a request too."""
        self.associated().write(ABORT)
        self.check_aborted("peer")
        self.associated().write(HALF + ABORT)
        self.check_aborted("peer", dropped=True)
        self.peer().write(ABORT)
        self.check_refused("peer")

    def test_connection(self) -> None:
        """A connection that is lost, or fails in a way of its own: connection."""
        self.associated().disconnect()
        self.check_aborted("connection")
        self.peer().protocol.connectionLost(Failure(ValueError("odd")))
        self.check_refused("connection")
        peer = self.peer()
        peer.write(ASSOCIATE_RQ[:9])
        peer.disconnect()
        self.check_refused("connection")

    def test_tls(self) -> None:
        """A handshake that fails, and what is no TLS: tls; whatever OpenSSL says, of a peer's name too."""
        error = type("Error", (Exception,), {"__module__": "OpenSSL.SSL"})
        for words in ("no shared cipher", "wrong version number", "timeout", "CN=\x1b[2J"):
            self.peer().protocol.connectionLost(Failure(error([("SSL routines", "", words)])))
            self.check_refused("tls")

    def test_unread(self) -> None:
        """A peer that does not read: unread."""
        peer = self.associated()
        transport: Any = peer.transport
        transport.producer.pauseProducing()
        self.clock.advance(30)
        peer.disconnect()
        self.check_aborted("unread")

    def test_stop(self) -> None:
        """The end of the server: stop, for those with an association, and those without, and what is cut off."""
        for data, expected in (
            (b"", [("connection_refused", "stop")]),
            (ASSOCIATE_RQ, [("association_aborted", "stop")]),
            (ASSOCIATE_RQ + HALF, [("instance_dropped", "stop"), ("association_aborted", "stop")]),
        ):
            factory = StorageSCPFactory(Config(grace=5), self.storage, self.clock, [self.observer])
            factory.doStart()
            peer = Peer(factory)
            peer.write(data)
            factory.doStop()
            stopped = factory.shutdown()
            self.clock.advance(5)
            peer.disconnect()
            self.successResultOf(stopped)
            self.check(*expected)

    def test_failure(self) -> None:
        """A mistake of ours or of a storage's: failure, be it while it receives or while it answers."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.write_error = ZeroDivisionError()
        self.associated().write(STORE)
        self.check_aborted("failure", dropped=True)
        self.storage = RecordingStorage()
        self.storage.open_error = StoreFailure("no", 0x1A700)  # no status
        self.associated().write(STORE)
        self.check(("instance_refused", "protocol"), ("association_aborted", "failure"))
        self.assertEqual(2, len(self.flushLoggedErrors()))

    def test_allow(self) -> None:
        """A network that nobody is allowed from: allow."""
        Peer(self.factory(allow=("CT1@10.1.0.0/16",)), IPv4Address("TCP", "10.2.0.1", 104)).disconnect()
        self.check_refused("allow")

    def test_proxy_header(self) -> None:
        """Behind a proxy: proxy_header where there is none, and allow where the host in it is not allowed."""
        config = Config(allow=("CT1@10.1.0.0/16",))
        access = Access(config, portal=Portal(Realm()))
        factory = StorageSCPFactory(config, self.storage, self.clock, [self.observer], access=access)
        endpoint = Endpoint()
        self.successResultOf(proxied(endpoint, access.refusal).listen(factory))
        headers = {
            b"GET / HTTP/1.1\r\n\r\n": "proxy_header",
            b"PROXY TCP4 10.2.0.1 5.6.7.8 104 11112\r\n" + ASSOCIATE_RQ: "allow",
        }
        for header, kind in headers.items():
            transport = AbortedTransport()
            transport.protocol = endpoint.factory.buildProtocol(None)
            transport.protocol.makeConnection(transport)
            transport.protocol.dataReceived(header)
            transport.lose()
            self.check_refused(kind)

    def test_protocol(self) -> None:
        """What PS3.8 or PS3.7 does not allow: protocol, whatever it says."""
        unknown = wire("09 00 00000000")
        for data in (unknown, RELEASE_RQ, b"GET / HTTP/1.1\r\n", ASSOCIATE_RQ[:6] + bytes(0x112)):
            self.peer().write(data)
            self.check_refused("protocol")
        messages = (
            *(unknown, ASSOCIATE_RQ, p_data(pdv(1, LAST_DATA, b"")), p_data(pdv(1, LAST_COMMAND, HOSTILE))),
            *(p_data(pdv(99, LAST_COMMAND, STORE_RQ)), p_data(pdv(1, LAST_COMMAND, ECHO_RSP)), RELEASE_RP),
        )
        for data in messages:
            self.associated().write(data)
            self.check_aborted("protocol")
            self.associated().write(STORE_COMMAND + data)
            self.assertEqual([("instance_dropped", "protocol"), ("association_aborted", "protocol")], self.kinds())

    def test_released(self) -> None:
        """An instance that ends with a release, which is none of the peer's to do then: protocol."""
        self.associated().write(HALF + RELEASE_RQ)
        self.check(("instance_dropped", "protocol"))

    def test_limits(self) -> None:
        """A limit is its own kind."""
        limits: dict[str, Callable[[], object]] = {
            "max_pdu": lambda: self.associated().write(wire("04 00 00004001")),
            "max_associate_rq": lambda: self.peer().write(wire("01 00 00040001")),
            "max_contexts": lambda: self.peer(max_contexts=2).write(ASSOCIATE_RQ),
            "max_transfer_syntaxes": lambda: self.peer(max_transfer_syntaxes=1).write(ASSOCIATE_RQ),
            "max_user_items": lambda: self.peer(max_user_items=1).write(
                associate_rq(user_items=[MaximumLength(0), ImplementationClassUID("1.2")]).encode()
            ),
            "max_command_set": lambda: self.associated(max_command_set=4096).write(
                p_data(pdv(1, COMMAND, bytes(4097)))
            ),
            "max_instance_size": lambda: self.associated(max_instance_size=22).write(STORE),
            "max_associations": lambda: self.two(max_associations=1),
            "max_associations_per_peer": lambda: self.two(max_associations_per_peer=1),
            "max_unassociated": lambda: self.two(b"", max_unassociated=1),
            "allow_file": lambda: self.two(allow_file=self.entries("* max-associations=1")),
        }
        self.assertEqual(LIMITS, set(limits))
        for limit, reach in limits.items():
            self.observer.events.clear()
            reach()
            self.assertEqual([limit], [kind for _, kind in self.kinds()])

    def two(self, data: bytes = ASSOCIATE_RQ, **options: Any) -> None:
        """Two of one host that say this."""
        factory = self.factory(**options)
        for _ in range(2):
            peer = Peer(factory)
            self.addCleanup(peer.disconnect)
            peer.write(data)

    def entries(self, *lines: str) -> str:
        path: str = self.mktemp()
        with open(path, "w") as file:
            file.write("\n".join(lines))
        return path

    def test_rejected(self) -> None:
        """Why a request is rejected is in the answer: the cause has no kind of its own where it is no limit."""
        self.storage.is_ready = False
        self.peer().write(ASSOCIATE_RQ)
        self.peer(require_called_aet=True, ae_title="X").write(ASSOCIATE_RQ)
        self.peer(allow=("CT1",)).write(ASSOCIATE_RQ.replace(b"MODALITY", b"stop    "))
        self.check(*[("association_rejected", "protocol")] * 3)

    def test_refused(self) -> None:
        """So it is with an instance that is refused, whose status says why."""
        for error in (StoreFailure("No space left on device", Status.OUT_OF_RESOURCES), ZeroDivisionError()):
            self.storage.open_error = error
            self.associated().write(STORE)
            self.check(("instance_refused", "protocol"))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
