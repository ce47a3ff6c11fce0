# mypy: allow-untyped-calls
"""ULProtocol: bytes and clocks in, bytes and closed connections out."""

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import alsoProvides, directlyProvides

from storescp.server.acceptor import Acceptor
from storescp.server.protocol import ServiceUser, ULProtocol, describe
from storescp.testing import SCU, associate_rq
from storescp.ul.machine import PAbort, Sta
from storescp.ul.pdu import AAbort
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    COMMAND,
    DATA,
    DATA_SET,
    ECHO,
    ECHO_RQ,
    ECHOED,
    FIXED,
    LAST_COMMAND,
    LAST_DATA,
    PEER,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    STORE_RQ,
    STORED,
    Peer,
    ServerTestCase,
    abort,
    p_data,
    pdv,
)
from tests.strategies import PROPERTY
from tests.ul import wire

SESSION = ASSOCIATE_RQ + ECHO + STORE + STORE + RELEASE_RQ
ANSWERS = (ASSOCIATE_AC, ECHOED, STORED, STORED, RELEASE_RP)
# Where in SESSION the PDU ends that each of ANSWERS answers.
ENDS = tuple(accumulate(map(len, (ASSOCIATE_RQ, ECHO, STORE, STORE, RELEASE_RQ))))

HALF = STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET))  # an instance that is not complete


class SessionTests(ServerTestCase):
    """Whole associations, however TCP or the peer cuts them."""

    def session(self, chunks: list[bytes]) -> list[bytes]:
        """What is heard after each chunk."""
        self.storage = RecordingStorage()
        peer = self.peer()
        heard = [peer.write(chunk) for chunk in chunks]
        peer.disconnect()
        self.assertEqual([(DATA_SET, ["finish"])] * 2, [(sink.data, sink.ends) for sink in self.storage.sinks])
        return heard

    def test_whole(self) -> None:
        """A session that comes in one piece is answered in one piece."""
        self.assertEqual([b"".join(ANSWERS)], self.session([SESSION]))

    def test_byte_by_byte(self) -> None:
        """Each answer comes with the last byte of what it answers, not earlier and not later."""
        heard = self.session([SESSION[position : position + 1] for position in range(len(SESSION))])
        self.assertEqual(
            dict(zip(ENDS, ANSWERS, strict=True)), {number: data for number, data in enumerate(heard, 1) if data}
        )

    def test_every_split(self) -> None:
        """Wherever a session is cut in two, the answers are the same."""
        answered = list(zip(ENDS, ANSWERS, strict=True))
        for cut in range(1, len(SESSION)):
            heard = self.session([SESSION[:cut], SESSION[cut:]])
            before = b"".join(answer for end, answer in answered if end <= cut)
            after = b"".join(answer for end, answer in answered if end > cut)
            self.assertEqual([before, after], heard)

    @PROPERTY
    @given(st.data())
    def test_fragments(self, data: st.DataObject) -> None:
        """A message may come in any fragments, empty ones too, in any number of PDUs."""

        def fragments(control: int, whole: bytes) -> list[bytes]:
            cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5))), len(whole)]
            parts = [whole[start:end] for start, end in pairwise(cuts)]
            return [pdv(3, control | (2 if n == len(parts) else 0), part) for n, part in enumerate(parts, 1)]

        pdvs = fragments(COMMAND, STORE_RQ) + fragments(DATA, DATA_SET)
        cuts = [0, *sorted(data.draw(st.sets(st.integers(1, len(pdvs) - 1)))), len(pdvs)]
        pdus = [p_data(*pdvs[start:end]) for start, end in pairwise(cuts)]
        self.storage = RecordingStorage()
        peer = self.associated()
        self.assertEqual(STORED, peer.write(b"".join(pdus)))
        self.assertEqual([DATA_SET], [sink.data for sink in self.storage.sinks])
        peer.disconnect()

    def test_two_messages_in_a_pdu(self) -> None:
        """A PDU may have the end of one message and the whole of the next."""
        peer = self.associated()
        peer.write(HALF)
        both = p_data(pdv(3, LAST_DATA, b""), pdv(1, LAST_COMMAND, ECHO_RQ))
        self.assertEqual(STORED + ECHOED, peer.write(both))

    def test_addresses(self) -> None:
        """An address is told as the log shows it: a host and a port, a path, or nothing more than that it is local."""
        addresses = {
            IPv4Address("TCP", "10.0.0.1", 104): "10.0.0.1:104",
            IPv6Address("TCP", "fe80::1", 104): "[fe80::1]:104",
            UNIXAddress("/run/peer"): "/run/peer",
            UNIXAddress(""): "local",
            None: "local",
        }
        self.assertEqual(addresses, {address: describe(address) for address in addresses})

    def test_no_delay(self) -> None:
        """On TCP a response does not wait for an acknowledgement: Nagle's algorithm is off."""
        told: list[bool] = []
        transport = StringTransport()
        directlyProvides(transport, ITCPTransport)
        transport.setTcpNoDelay = told.append  # type: ignore[attr-defined]
        protocol = self.factory().buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.connectionLost()
        self.assertEqual([True], told)


class BeforeAssociationTests(ServerTestCase):
    """Sta2: what is not an A-ASSOCIATE-RQ ends the connection, and the observer hears of no association."""

    # What comes: why the connection is refused.
    GARBAGE: ClassVar[dict[bytes, str]] = {
        b"GET / HTTP/1.1\r\n\r\n": "PDU type 47H is unknown; it may be HTTP",
        b"\x16\x03\x01\x02\x00\x01": "PDU type 16H is unknown; it may be TLS",  # a ClientHello
        bytes(6): "PDU type 00H is unknown",
        b"\xff" * 100: "PDU type FFH is unknown",
        wire("01 00 FFFFFFFF"): "PDU of type 01H claims 4294967295 bytes, more than 262144",
        wire("01 00 00040001"): "PDU of type 01H claims 262145 bytes, more than 262144",
        wire("01 00 00000003", b"abc"): "an A-ASSOCIATE of 3 bytes is too short",
        wire("01 00 00000047", FIXED, "10 00 00"): "3 bytes are too few for an item",
        ECHO: "unexpected P-DATA-TF PDU",
        wire("04 00 00004001"): "PDU of type 04H claims 16385 bytes, more than 16384",
        ASSOCIATE_AC: "unexpected A-ASSOCIATE-AC PDU",
        wire("03 00 00000004", "00010101"): "unexpected A-ASSOCIATE-RJ PDU",
        RELEASE_RQ: "unexpected A-RELEASE-RQ PDU",
        RELEASE_RP: "unexpected A-RELEASE-RP PDU",
        wire("05 00 00000005"): "PDU of type 05H claims 5 bytes, more than 4",
    }

    def test_garbage(self) -> None:
        """Whatever comes instead gets an A-ABORT by the service user (AA-1), once, is told once, and ARTIM closes."""
        for garbage, cause in self.GARBAGE.items():
            peer = self.peer()
            self.observer.events.clear()
            heard = peer.write(garbage) + peer.write(garbage) + peer.write(ASSOCIATE_RQ)
            self.assertEqual(
                (ABORT, [("connection_refused", PEER, cause)], Sta.Sta13),
                (heard, self.observer.events, peer.protocol.state),
            )
            self.clock.advance(30)
            self.assertEqual((1, True), (len(self.observer.events), peer.transport.disconnecting))
            peer.disconnect()

    def test_abort(self) -> None:
        """An A-ABORT closes the connection at once (AA-2)."""
        peer = self.peer()
        self.assertEqual((b"", True), (peer.write(ABORT), peer.transport.disconnecting))

    def test_nothing(self) -> None:
        """A peer that says nothing is cut off by ARTIM, and told apart from one that says something wrong."""
        peer = self.peer(acse_timeout=7.5)
        self.clock.advance(7.4)
        self.assertFalse(peer.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertEqual((b"", True), (peer.heard(), peer.transport.disconnecting))
        self.assertEqual([("connection_refused", PEER, "no A-ASSOCIATE-RQ within 7.5 s (-ta)")], self.observer.events)

    def test_dribble(self) -> None:
        """ARTIM is absolute: a peer that sends its A-ASSOCIATE-RQ byte by byte gets no more time."""
        peer = self.peer(timeout=5)
        for position in range(29):
            peer.write(ASSOCIATE_RQ[position : position + 1])
            self.clock.advance(1)
        self.assertFalse(peer.transport.disconnecting)
        peer.write(ASSOCIATE_RQ[29:-1])
        self.clock.advance(1)
        self.assertTrue(peer.transport.disconnecting)

    def test_in_time(self) -> None:
        """A request that is complete within ARTIM stops it: the association may last."""
        peer = self.peer()
        self.clock.advance(29.9)
        self.assertEqual(ASSOCIATE_AC, peer.write(ASSOCIATE_RQ))
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(86400)
        self.assertEqual(ECHOED, peer.write(ECHO))


class RejectTests(ServerTestCase):
    """A request that is not accepted."""

    def rejected(self, request: bytes, answer: bytes, **options: Any) -> Peer:
        peer = self.peer(**options)
        self.assertEqual((answer, Sta.Sta13), (peer.write(request), peer.protocol.state))
        return peer

    def by_user(self) -> Peer:
        """Result 1, source 1, reason 7: the called AE title is not ours."""
        return self.rejected(ASSOCIATE_RQ, wire("03 00 00000004", "00010107"), ae_title="X", require_called_aet=True)

    def by_provider(self) -> Peer:
        """Result 1, source 2, reason 2: the protocol version is not ours."""
        request = ASSOCIATE_RQ[:6] + b"\0\2" + ASSOCIATE_RQ[8:]
        return self.rejected(request, wire("03 00 00000004", "00010202"))

    def test_peer_closes(self) -> None:
        """The peer closes the connection when it has the answer; then all is over, and nothing more is told."""
        for reject in (self.by_user, self.by_provider):
            self.observer.events.clear()
            peer = reject()
            self.assertFalse(peer.transport.disconnecting)
            peer.disconnect()
            self.assertEqual(["association_requested", "association_rejected"], self.observer.names)
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_peer_does_not_close(self) -> None:
        """A peer that does not close is given ARTIM; what the observer was told stays as it is."""
        for reject in (self.by_user, self.by_provider):
            self.observer.events.clear()
            peer = reject()
            self.clock.advance(29.9)
            self.assertFalse(peer.transport.disconnecting)
            self.clock.advance(0.1)
            self.assertEqual((b"", True), (peer.heard(), peer.transport.disconnecting))
            self.assertEqual(["association_requested", "association_rejected"], self.observer.names)
            peer.disconnect()

    def test_peer_tries_again(self) -> None:
        """A second request after a rejection gets an A-ABORT (AA-7); what the observer was told stays as it is."""
        for reject in (self.by_user, self.by_provider):
            self.observer.events.clear()
            peer = reject()
            self.assertEqual((abort(2, 2), b""), (peer.write(ASSOCIATE_RQ), peer.write(ASSOCIATE_RQ)))
            self.assertEqual(["association_requested", "association_rejected"], self.observer.names)


class UnexpectedTests(ServerTestCase):
    """Sta6: PDUs that cannot be there."""

    # What comes: the reason of the A-ABORT by the service provider, and our words.
    PDUS: ClassVar[dict[bytes, tuple[int, str]]] = {
        ASSOCIATE_RQ: (2, "unexpected A-ASSOCIATE-RQ PDU"),
        ASSOCIATE_AC: (2, "unexpected A-ASSOCIATE-AC PDU"),
        wire("03 00 00000004", "00010101"): (2, "unexpected A-ASSOCIATE-RJ PDU"),
        RELEASE_RP: (2, "unexpected A-RELEASE-RP PDU"),
        wire("08 00 00000004", "00000000"): (1, "PDU type 08H is unknown"),
        b"\r\n\r\n\r\n": (1, "PDU type 0DH is unknown"),
        wire("04 00 00004001"): (6, "PDU of type 04H claims 16385 bytes, more than 16384"),
        wire("05 00 00000003", "000000"): (6, "A-RELEASE-RQ body is 3 bytes, not 4"),
        wire("07 00 00000005"): (6, "PDU of type 07H claims 5 bytes, more than 4"),
        wire("04 00 00000000"): (6, "a P-DATA-TF without a PDV"),
        wire("04 00 00000005", "00000001 03"): (6, "5 bytes are too few for a PDV"),
        wire("04 00 00000006", "00000003 03 03"): (6, "a PDV claims 3 bytes of 2"),
        p_data(pdv(5, LAST_COMMAND, ECHO_RQ)): (6, "a message on presentation context 5, which was not accepted"),
        p_data(pdv(7, LAST_COMMAND, ECHO_RQ)): (6, "a message on presentation context 7, which was not accepted"),
    }

    def test_pdus(self) -> None:
        """Each gets the A-ABORT of the standard (AA-8), is told with its reason, and then the peer is to close."""
        for pdu, (reason, cause) in self.PDUS.items():
            peer = self.associated()
            self.assertEqual((abort(2, reason), False), (peer.write(pdu), peer.transport.disconnecting))
            self.assertEqual([("association_aborted", PAbort(reason), cause)], self.observer.events)
            peer.disconnect()
            self.observer.events.clear()

    def test_byte_by_byte(self) -> None:
        """The same PDUs, however slowly they come, are told and answered in the same way."""
        for pdu, (reason, cause) in self.PDUS.items():
            peer = self.associated()
            heard = b"".join(peer.write(pdu[position : position + 1]) for position in range(len(pdu)))
            expected = [("association_aborted", PAbort(reason), cause)]
            self.assertEqual((abort(2, reason), expected), (heard, self.observer.events))
            peer.disconnect()
            self.observer.events.clear()

    # Messages that have no place: our words.
    MESSAGES: ClassVar[dict[bytes, str]] = {
        STORED: "a response 8001H to no request",
        ECHOED: "a response 8030H to no request",
        p_data(pdv(3, LAST_DATA, DATA_SET)): "data without a command",
        STORE_COMMAND + STORE_COMMAND: "a command fragment inside a data set",
        STORE_COMMAND + p_data(pdv(1, LAST_DATA, b"")): "a fragment on context 1 in a message on 3",
        p_data(pdv(1, LAST_COMMAND, b"abc")): "3 bytes are too few for a command element",
        p_data(pdv(1, LAST_COMMAND, b"")): "the command element (0000,0800) is missing or not a US",
        p_data(pdv(1, LAST_COMMAND, ECHO_RQ[:38] + ECHO_RQ[48:])): (
            "the command element (0000,0100) is missing or not a US"
        ),
    }

    def test_messages(self) -> None:
        """A message out of place is answered with an A-ABORT by the service user."""
        for pdus, cause in self.MESSAGES.items():
            peer = self.associated()
            self.assertEqual((ABORT, False), (peer.write(pdus), peer.transport.disconnecting))
            self.assertEqual(("association_aborted", AAbort(0, 0), cause), self.observer.events[-1])
            peer.disconnect()

    def test_dropped(self) -> None:
        """An instance that was under way when its association is aborted is dropped."""
        for pdu in (RELEASE_RP, STORE_COMMAND, ABORT, p_data(pdv(1, LAST_COMMAND, ECHO_RQ))):
            peer = self.associated()
            peer.write(HALF)
            peer.write(pdu)
            peer.disconnect()
            self.assertEqual((DATA_SET, ["abort"]), (self.storage.sinks[-1].data, self.storage.sinks[-1].ends))

    def test_one_abort(self) -> None:
        """One A-ABORT is enough, whatever the peer sends after it; what it sends is told no more."""
        for pdu in (RELEASE_RP, b"garbage", STORED):
            peer = self.associated()
            first = peer.write(pdu)
            events = list(self.observer.events)
            self.assertEqual(b"", peer.write(ASSOCIATE_RQ) + peer.write(RELEASE_RP) + peer.write(ECHO + b"garbage"))
            self.assertEqual((8 + 2, events), (len(first), self.observer.events))
            peer.disconnect()
            self.assertEqual([*events, ("association_ended",)], self.observer.events)

    def test_peer_closes(self) -> None:
        """When the peer closes after our A-ABORT all is over."""
        peer = self.associated()
        peer.write(RELEASE_RP)
        peer.disconnect()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_peer_does_not_close(self) -> None:
        """ARTIM runs from our A-ABORT; then we close."""
        peer = self.associated(acse_timeout=12)
        peer.write(RELEASE_RP)
        self.clock.advance(11.9)
        self.assertFalse(peer.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertTrue(peer.transport.disconnecting)

    def test_peer_aborts_too(self) -> None:
        """An A-ABORT that crosses ours closes the connection (AA-2), whether it comes with the mistake or after it."""
        for mistake in (RELEASE_RP, STORED):
            for chunks in ([mistake, ABORT], [mistake + ABORT], [mistake + ABORT[:3], ABORT[3:]]):
                peer = self.associated()
                for chunk in chunks:
                    peer.write(chunk)
                self.assertTrue(peer.transport.disconnecting, (mistake, chunks))
                peer.disconnect()


class MistakeTests(ServerTestCase):
    """Our own mistakes."""

    def check(self, peer: Peer, pdus: bytes) -> None:
        """These PDUs meet a mistake of ours: one line in the log, one A-ABORT, the connection ends."""
        self.assertEqual(ABORT, peer.write(pdus + ECHO))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(("association_aborted", AAbort(0, 0), "this server failed"), self.observer.events[-1])
        self.assertEqual(b"", peer.write(ECHO))
        self.clock.advance(30)
        self.assertTrue(peer.transport.disconnecting)

    def sabotage(self, method: str) -> None:
        def failing(*_arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(Acceptor, method, failing)

    def test_message(self) -> None:
        """A mistake with a message ends its association alone."""
        peer, other = self.associated(), self.associated()
        self.sabotage("_echo")
        self.check(peer, ECHO)
        self.assertEqual(STORED, other.write(STORE))

    def test_request(self) -> None:
        """A mistake with the request of an association ends it before it began."""
        self.sabotage("_accept")
        self.check(self.peer(), ASSOCIATE_RQ)

    def test_release(self) -> None:
        """A mistake with the release of an association ends it otherwise."""
        self.sabotage("release_indicated")
        self.check(self.associated(), RELEASE_RQ)

    def test_amid_an_instance(self) -> None:
        """The instance that was under way is dropped."""
        peer = self.associated()
        self.storage.sinks.clear()
        peer.write(HALF)
        self.storage.sinks[0].write_error = ZeroDivisionError()
        self.check(peer, p_data(pdv(3, LAST_DATA, b"")))
        self.assertEqual(["abort"], self.storage.sinks[0].ends)


class ReleaseTests(ServerTestCase):
    """The end in order."""

    def test_peer_closes(self) -> None:
        """After our answer the peer closes; all is over."""
        peer = self.associated()
        self.assertEqual((RELEASE_RP, False), (peer.write(RELEASE_RQ), peer.transport.disconnecting))
        peer.disconnect()
        self.assertEqual([("association_released",), ("association_ended",)], self.observer.events)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_peer_does_not_close(self) -> None:
        """ARTIM runs from our answer; then we close."""
        peer = self.associated()
        peer.write(RELEASE_RQ)
        self.clock.advance(29.9)
        self.assertFalse(peer.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertEqual((b"", True), (peer.heard(), peer.transport.disconnecting))
        self.assertEqual([("association_released",)], self.observer.events)

    def test_data_afterwards(self) -> None:
        """What the peer sends after its release was answered is ignored (AA-6)."""
        peer = self.associated()
        peer.write(RELEASE_RQ)
        self.assertEqual((b"", Sta.Sta13), (peer.write(ECHO + RELEASE_RQ), peer.protocol.state))
        self.assertEqual(["association_released"], self.observer.names)

    def test_store_pending(self) -> None:
        """A peer that releases before it has its last response gets that first, and the release then."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.finished = Deferred()
        peer = self.associated()
        self.assertEqual((b"", Sta.Sta6), (peer.write(STORE + RELEASE_RQ), peer.protocol.state))
        sink.finished.callback(None)
        self.assertEqual(STORED + RELEASE_RP, peer.heard())
        self.assertEqual(["message_sent", "association_released"], self.observer.names[-2:])

    def test_amid_an_instance(self) -> None:
        """A release amid an instance drops it, and is answered."""
        peer = self.associated()
        peer.write(HALF)
        self.assertEqual(RELEASE_RP, peer.write(RELEASE_RQ))
        self.assertEqual(["abort"], self.storage.sinks[0].ends)

    def test_collision(self) -> None:
        """Both sides ask for release at the same time: each gets its answer (AR-8 to AR-10), and the peer closes."""
        scu = self.scu()
        scu.protocol.release_request()
        scu.scp.release_request()
        self.patch(SCU, "release_indicated", lambda scu: scu.protocol.release_response())
        released: list[Sta] = []

        def release_confirmed(user: Acceptor) -> None:
            released.append(user.provider.state)
            user.provider.release_response()

        self.patch(Acceptor, "release_confirmed", release_confirmed)
        self.patch(Acceptor, "release_indicated", lambda user: None)
        scu.pump()
        self.assertEqual((True, [Sta.Sta12]), (scu.released, released))
        self.assertEqual((Sta.Sta1, Sta.Sta1), (scu.protocol.state, scu.scp.state))


class LostTests(ServerTestCase):
    """The connection is gone without a word."""

    def test_idle(self) -> None:
        """The association is told to have been aborted, for no reason of the standard."""
        self.associated().disconnect()
        self.assertEqual(
            [("association_aborted", PAbort(0), "the connection was lost"), ("association_ended",)],
            self.observer.events,
        )

    def test_amid_an_instance(self) -> None:
        """The instance that was under way is dropped: AA-4."""
        peer = self.associated()
        peer.write(HALF)
        peer.disconnect()
        self.assertEqual(["abort"], self.storage.sinks[0].ends)

    def test_store_pending(self) -> None:
        """An instance that was complete is stored all the same, and nothing is sent into the void."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.finished = Deferred()
        peer = self.associated()
        peer.write(STORE)
        peer.disconnect()
        sink.finished.callback(None)
        self.assertEqual((["finish"], b""), (sink.ends, peer.heard()))
        self.assertEqual(["association_aborted", "instance_stored", "association_ended"], self.observer.names[-3:])

    def test_what_waited(self) -> None:
        """Messages that waited for an instance when the connection was lost are never begun."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.finished = Deferred()
        peer = self.associated()
        peer.write(STORE + ECHO)
        peer.write(STORE)
        peer.disconnect()
        self.observer.events.clear()
        sink.finished.callback(None)
        self.assertEqual(["instance_stored", "association_ended"], self.observer.names)
        self.assertEqual((b"", 1), (peer.heard(), len(self.storage.sinks)))

    def test_abort_that_waited(self) -> None:
        """An A-ABORT that came right behind an instance takes effect when that is answered."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.finished = Deferred()
        peer = self.associated()
        peer.write(STORE + ABORT)
        sink.finished.callback(None)
        self.assertEqual((STORED, True), (peer.heard(), peer.transport.disconnecting))
        self.assertEqual(["message_sent", "association_aborted"], self.observer.names[-2:])

    def test_abort_of_the_sink_fails(self) -> None:
        """A sink that fails at its abort does not keep timers running, nor its connection from ending."""
        peer = self.associated(timeout=10, dimse_timeout=5)
        peer.write(HALF)
        self.storage.sinks[0].abort_error = ZeroDivisionError()
        self.assertEqual((b"", True), (peer.write(ABORT), peer.transport.disconnecting))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(["instance_opened", "instance_dropped", "association_aborted"], self.observer.names[-3:])
        peer.disconnect()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_peer_aborts(self) -> None:
        """An A-ABORT of the peer closes the connection at once, is told with its source, and answered by none."""
        for pdu, told in ((ABORT, AAbort(0, 0)), (abort(2, 6), PAbort(6)), (abort(2, 0), PAbort(0))):
            peer = self.associated()
            peer.write(HALF)
            self.observer.events.clear()
            self.assertEqual((b"", True), (peer.write(pdu + ECHO), peer.transport.disconnecting))
            dropped, aborted = self.observer.events
            self.assertEqual(
                ("instance_dropped", "1.2.3", "by the peer"), (dropped[0], dropped[1].sop_instance_uid, dropped[2])
            )
            self.assertEqual(("association_aborted", told, "by the peer"), aborted)
            self.assertEqual(["abort"], self.storage.sinks[-1].ends)
            peer.disconnect()
            self.observer.events.clear()


class FailedTests(ServerTestCase):
    """A transport that ends before there was an association, and not as connections end."""

    def check(self, error: Exception, cause: str) -> None:
        self.observer.events.clear()
        peer = self.peer()
        peer.protocol.connectionLost(Failure(error))
        self.assertEqual([("connection_refused", PEER, cause)], self.observer.events)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_tls(self) -> None:
        """Of what pyOpenSSL says of a handshake that fails the reason is told, or all of it where there is none."""
        error = type("Error", (Exception,), {"__module__": "OpenSSL.SSL"})
        self.check(error([("SSL routines", "", "no shared cipher")]), "TLS failed: no shared cipher")
        self.check(error([("a", "b", "first"), ("c", "d", "last")]), "TLS failed: last")
        self.check(error(104, "Connection reset by peer"), "TLS failed: Connection reset by peer")
        self.check(error([]), "TLS failed: []")

    def test_no_tls(self) -> None:
        """What OpenSSL says of bytes that are no TLS is put into words of ours."""
        error = type("Error", (Exception,), {"__module__": "OpenSSL.SSL"})
        for reason in ("wrong version number", "http request", "https proxy request", "packet length too long"):
            self.check(error([("SSL routines", "", reason)]), "it does not speak TLS, and this port does")

    def test_other(self) -> None:
        """Another failure is told as it is."""
        self.check(ValueError("something else"), "something else")

    def test_nothing_said(self) -> None:
        """Who only looks whether somebody listens is no event; who has begun to say something is one."""
        self.peer().disconnect()
        self.assertEqual([], self.observer.events)
        peer = self.peer()
        peer.write(ASSOCIATE_RQ[:5])
        peer.disconnect()
        self.assertEqual([("connection_refused", PEER, "the connection was lost")], self.observer.events)


class ClosingTests(ServerTestCase):
    """A close that the peer does not take part in."""

    def closing(self) -> Peer:
        peer = self.associated()
        peer.write(ABORT)
        return peer

    def test_deadline(self) -> None:
        """A connection that is not closed two seconds after it should be is aborted."""
        peer = self.closing()
        self.clock.advance(1.9)
        self.assertEqual((True, False), (peer.transport.disconnecting, peer.transport.disconnected))
        self.clock.advance(0.1)
        self.assertTrue(peer.transport.disconnected)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_in_time(self) -> None:
        """A connection that is closed in time leaves nothing behind."""
        peer = self.closing()
        peer.disconnect()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_data(self) -> None:
        """What still comes while the connection is being closed is not looked at, and gains the peer no time."""
        peer = self.closing()
        self.clock.advance(1.5)
        self.assertEqual(b"", peer.write(ASSOCIATE_RQ + b"garbage"))
        self.clock.advance(0.5)
        self.assertTrue(peer.transport.disconnected)


class SilenceTests(ServerTestCase):
    """-to: seconds without any byte from the peer."""

    CAUSE = "nothing from the peer for 10 s (-to)"

    def test_silence(self) -> None:
        """A silent association is aborted, and after ARTIM closed."""
        peer = self.associated(timeout=10)
        self.clock.advance(9.9)
        self.assertEqual(b"", peer.heard())
        self.clock.advance(0.1)
        self.assertEqual((ABORT, False), (peer.heard(), peer.transport.disconnecting))
        self.assertEqual([("association_aborted", AAbort(0, 0), self.CAUSE)], self.observer.events)
        self.clock.advance(30)
        self.assertTrue(peer.transport.disconnecting)

    def test_bytes(self) -> None:
        """Any byte is a sign of life."""
        peer = self.associated(timeout=10)
        for position in range(len(ECHO) - 1):
            self.assertEqual(b"", peer.write(ECHO[position : position + 1]))
            self.clock.advance(9.9)
        self.assertEqual(ECHOED, peer.write(ECHO[-1:]))

    def test_before_association(self) -> None:
        """It runs from the beginning of the connection: one that is silent is closed, and told so."""
        peer = self.peer(timeout=10)
        self.clock.advance(10)
        self.assertEqual((b"", True), (peer.heard(), peer.transport.disconnecting))
        self.assertEqual([("connection_refused", PEER, self.CAUSE)], self.observer.events)

    def test_unlimited(self) -> None:
        """By default an association may be silent for ever: no timer runs."""
        self.associated()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_aborted(self) -> None:
        """Once the association is aborted ARTIM alone decides, whatever still comes from the peer."""
        peer = self.associated(timeout=10)
        self.clock.advance(10)
        peer.write(ECHO)
        self.clock.advance(29.9)
        self.assertFalse(peer.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertTrue(peer.transport.disconnecting)

    def test_amid_an_instance(self) -> None:
        """The instance that was under way is dropped."""
        self.associated(timeout=10).write(HALF)
        self.clock.advance(10)
        self.assertEqual(["abort"], self.storage.sinks[0].ends)


class FragmentTests(ServerTestCase):
    """-td: seconds between two fragments of one message."""

    CAUSE = "no further fragment of a message for 5 s (-td)"

    def test_expires(self) -> None:
        """A peer that stops amid a message, be it the command or the data set, is aborted and its instance dropped."""
        half_command = p_data(pdv(3, COMMAND, STORE_RQ[:50]))
        for pdus in (half_command, STORE_COMMAND, HALF):
            peer = self.associated(dimse_timeout=5)
            peer.write(pdus)
            self.clock.advance(4.9)
            self.assertEqual(b"", peer.heard())
            self.clock.advance(0.1)
            self.assertEqual(ABORT, peer.heard())
            self.assertEqual(("association_aborted", AAbort(0, 0), self.CAUSE), self.observer.events[-1])
            peer.disconnect()
        self.assertEqual([["abort"]] * 2, [sink.ends for sink in self.storage.sinks])

    def test_fragments(self) -> None:
        """Each fragment gives the peer that time anew."""
        peer = self.associated(dimse_timeout=5)
        for pdu in (STORE_COMMAND, *[p_data(pdv(3, DATA, b"ab"))] * 3):
            self.assertEqual(b"", peer.write(pdu))
            self.clock.advance(4.9)
        self.assertEqual(STORED, peer.write(p_data(pdv(3, LAST_DATA, b""))))

    def test_bytes(self) -> None:
        """Bytes are not fragments: a peer that dribbles a PDU gains no time."""
        peer = self.associated(dimse_timeout=5)
        peer.write(STORE_COMMAND)
        for position in range(4):
            self.clock.advance(1)
            self.assertEqual(b"", peer.write(HALF[len(STORE_COMMAND) + position :][:1]))
        self.clock.advance(1)
        self.assertEqual(ABORT, peer.heard())

    def test_between_messages(self) -> None:
        """Between two messages the peer may take its time."""
        peer = self.associated(dimse_timeout=5)
        for _ in range(3):
            self.assertEqual(STORED, peer.write(STORE))
            self.assertEqual([], self.clock.getDelayedCalls())
            self.clock.advance(1000)
            parts = p_data(pdv(1, COMMAND, ECHO_RQ[:50])), p_data(pdv(1, LAST_COMMAND, ECHO_RQ[50:]))
            self.assertEqual([b"", ECHOED], [peer.write(part) for part in parts])
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_ended(self) -> None:
        """Once an association has ended amid a message, ARTIM alone decides when the connection is closed."""
        for pdu in (RELEASE_RQ, RELEASE_RP, b"garbage", STORE_COMMAND):
            peer = self.associated(dimse_timeout=5)
            peer.write(HALF)
            peer.write(pdu)
            self.clock.advance(29.9)
            self.assertFalse(peer.transport.disconnecting, pdu)
            self.clock.advance(0.1)
            self.assertTrue(peer.transport.disconnecting)
            peer.disconnect()


class HoldTests(ServerTestCase):
    """While we do not read, the peer cannot be blamed for its silence."""

    def setUp(self) -> None:
        super().setUp()
        self.sink = RecordingSink()
        self.storage = RecordingStorage(self.sink)

    def held(self) -> "tuple[Peer, Deferred[None]]":
        """A peer that is not read from amid an instance, until that Deferred fires."""
        peer = self.associated(timeout=10, dimse_timeout=5, storage_timeout=None)
        peer.write(STORE_COMMAND)
        room: Deferred[None] = Deferred()
        self.sink.room = room
        self.assertEqual(b"", peer.write(p_data(pdv(3, DATA, DATA_SET))))
        return peer, room

    def test_no_timers(self) -> None:
        """No timer runs while reading is held."""
        peer, room = self.held()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(1000)
        room.callback(None)
        self.assertEqual(b"", peer.heard())

    def test_resumed(self) -> None:
        """When reading goes on, the peer has its whole time again for the next fragment."""
        for expired in (False, True):
            self.setUp()
            peer, room = self.held()
            self.clock.advance(1000)
            room.callback(None)
            self.clock.advance(5 if expired else 4.9)
            self.assertEqual(ABORT if expired else b"", peer.heard())
            peer.disconnect()

    def test_between_messages(self) -> None:
        """When reading goes on between two messages, only silence is timed."""
        finished: Deferred[None] = Deferred()
        self.sink.finished = finished
        peer = self.associated(timeout=10, dimse_timeout=5, storage_timeout=None)
        peer.write(STORE)
        self.assertEqual([], self.clock.getDelayedCalls())
        finished.callback(None)
        self.assertEqual(STORED, peer.heard())
        self.clock.advance(9.9)
        self.assertEqual(b"", peer.heard())
        self.clock.advance(0.1)
        self.assertEqual(ABORT, peer.heard())

    def test_twice(self) -> None:
        """Reading goes on when the last of those that hold it lets go."""
        finished: Deferred[None] = Deferred()
        self.sink.finished = finished
        room: Deferred[None] = Deferred()
        self.sink.room = room
        peer = self.associated(timeout=10, dimse_timeout=5, storage_timeout=None)
        peer.write(STORE + ECHO)
        room.callback(None)
        self.assertEqual(("paused", []), (peer.transport.producerState, self.clock.getDelayedCalls()))
        finished.callback(None)
        self.assertEqual(("producing", STORED + ECHOED), (peer.transport.producerState, peer.heard()))

    def test_data(self) -> None:
        """What comes while reading is held pauses it and starts no timer; what still comes, as under TLS, waits."""
        peer, room = self.held()
        for fragment in (b"ab", b"cd"):
            peer.write(p_data(pdv(3, DATA, fragment)))
            self.assertEqual(("paused", []), (peer.transport.producerState, self.clock.getDelayedCalls()))
        room.callback(None)
        self.assertEqual((DATA_SET + b"abcd", "producing"), (self.sink.data, peer.transport.producerState))

    def test_lost(self) -> None:
        """A connection that is lost while held is not read from again, and no timer starts."""
        peer, room = self.held()
        peer.write(p_data(pdv(3, DATA, DATA_SET)))
        peer.disconnect()
        room.callback(None)
        self.assertEqual(("paused", []), (peer.transport.producerState, self.clock.getDelayedCalls()))

    def test_closing(self) -> None:
        """A connection that is being closed while held is not read from again, and keeps its deadline."""
        peer, room = self.held()
        peer.write(ABORT)
        room.callback(None)
        self.successResultOf(room)
        self.assertEqual(("paused", True), (peer.transport.producerState, peer.transport.disconnecting))
        self.clock.advance(2)
        self.assertTrue(peer.transport.disconnected)

    def test_aborted(self) -> None:
        """An association that was aborted while held has no other timer than ARTIM when reading goes on."""
        peer, room = self.held()
        self.assertEqual(b"", peer.write(RELEASE_RP))
        room.callback(None)
        self.assertEqual(abort(2, 2), peer.heard())
        self.clock.advance(29.9)
        self.assertFalse(peer.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertTrue(peer.transport.disconnecting)


class IgnoredTests(ServerTestCase):
    """What comes when nothing more is wanted is not kept either."""

    def kept(self, peer: Peer) -> int:
        for _ in range(20):
            peer.write(bytes(10_000))
        return sum(map(len, peer.protocol._chunks))

    def test_after_garbage(self) -> None:
        """Nothing is kept of what follows something that is no PDU, in whatever state, nor of what follows an abort."""
        for before, garbage in ((b"", b"\x99"), (ASSOCIATE_RQ, b"\x99"), (ASSOCIATE_RQ, RELEASE_RP)):
            peer = self.peer()
            peer.write(before)
            peer.write(garbage + bytes(5))
            self.assertEqual(0, self.kept(peer))

    def test_after_close(self) -> None:
        """Nothing is kept of what a transport still delivers after the close, as TLS does, though it is held."""
        peer = self.associated()
        producer: Any = peer.transport.producer
        producer.pauseProducing()
        peer.write(ECHO)
        for _ in range(2):
            peer.protocol.abort("for some reason")
        self.assertTrue(peer.transport.disconnecting)
        self.assertEqual(0, self.kept(peer))


class UnreadTests(ServerTestCase):
    """A peer that does not read what we send is not read either: our memory is not its buffer."""

    def producer(self, peer: Peer) -> Any:
        """What the transport tells of its buffer."""
        return peer.transport.producer

    def unread(self) -> Peer:
        """A peer whose transport has told that its buffer is full."""
        peer = self.associated(timeout=10)
        self.producer(peer).pauseProducing()
        return peer

    def test_not_read(self) -> None:
        """Nothing of it is answered until it has read; then all is."""
        peer = self.unread()
        self.assertEqual((b"", "paused"), (peer.write(ECHO + ECHO), peer.transport.producerState))
        self.producer(peer).resumeProducing()
        self.assertEqual((ECHOED + ECHOED, "producing"), (peer.heard(), peer.transport.producerState))

    def test_for_ever(self) -> None:
        """A peer that has not read for 30 s loses the connection; its silence is not asked for meanwhile."""
        peer = self.unread()
        self.clock.advance(29.9)
        self.assertEqual((b"", False), (peer.heard(), peer.transport.disconnecting))
        self.clock.advance(0.1)
        self.assertEqual((b"", True), (peer.heard(), peer.transport.disconnected))
        peer.disconnect()
        self.assertEqual(
            [
                ("association_aborted", PAbort(0), "the peer has not read what was sent to it for 30 s"),
                ("association_ended",),
            ],
            self.observer.events,
        )

    def test_tls(self) -> None:
        """Over TLS it is not read from at once: some records TLS answers by itself, and what it answers piles up."""
        for secure, state in ((False, "producing"), (True, "paused")):
            peer = self.associated()
            if secure:
                alsoProvides(peer.transport, ISSLTransport)
            producer = self.producer(peer)
            for _ in range(2):
                producer.pauseProducing()
                self.assertEqual(state, peer.transport.producerState)
            self.assertEqual((b"", "paused"), (peer.write(ECHO), peer.transport.producerState))
            producer.resumeProducing()
            self.assertEqual((ECHOED, "producing"), (peer.heard(), peer.transport.producerState))
            self.assertEqual(ECHOED, peer.write(ECHO))

    def test_told_often(self) -> None:
        """A transport that tells at each write that its buffer is full tells once that it is empty."""
        peer = self.unread()
        self.clock.advance(29.9)
        self.producer(peer).pauseProducing()
        self.producer(peer).resumeProducing()
        self.assertEqual((ECHOED, "producing"), (peer.write(ECHO), peer.transport.producerState))
        self.producer(peer).resumeProducing()
        self.assertEqual((ECHOED, "producing"), (peer.write(ECHO), peer.transport.producerState))
        self.producer(peer).pauseProducing()
        self.producer(peer).pauseProducing()
        self.clock.advance(30)
        self.assertTrue(peer.transport.disconnected)

    def test_in_time(self) -> None:
        """A peer that reads again in time keeps the connection, and has as long the next time."""
        peer = self.unread()
        self.clock.advance(29.9)
        self.producer(peer).resumeProducing()
        self.clock.advance(5)
        self.producer(peer).pauseProducing()
        self.clock.advance(29.9)
        self.assertFalse(peer.transport.disconnecting)

    def test_closing(self) -> None:
        """A close does not wait for the producer, which has nothing more to say."""
        peer = self.associated()
        peer.write(ABORT)
        self.assertEqual((True, None), (peer.transport.disconnecting, peer.transport.producer))


class RequestorTests(ServerTestCase):
    """The other half of the service provider, which the in-memory SCU is made of."""

    def test_user(self) -> None:
        """A service user that wants to know nothing is told nothing it must answer."""
        user = ServiceUser()
        self.assertEqual((None, False), (user.refusal(associate_rq()), user.within_message))

    def test_rejected(self) -> None:
        """A requestor that is rejected closes the connection (AE-4)."""
        scu = SCU(self.factory(ae_title="X", require_called_aet=True), self.clock)
        self.assertEqual((Sta.Sta1, Sta.Sta1), (scu.protocol.state, scu.scp.state))
        self.assertIsNone(scu.ended)

    def test_mistakes(self) -> None:
        """What our users ask for at the wrong time is a mistake of theirs, and raised."""
        peer = self.peer()
        wrong: list[Callable[[], None]] = [peer.protocol.release_request, peer.protocol.release_response]
        for request in wrong:
            self.assertRaises(RuntimeError, request)


class Plain(Connection):
    """A socket of Twisted's own, which takes so many bytes at once."""

    def __init__(self, takes: int | ConnectionLost = 10_000) -> None:
        self.takes = takes
        self.calls: list[tuple[str, bytes]] = []

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        self.calls.append(("socket", data))
        return min(self.takes, len(data)) if isinstance(self.takes, int) else self.takes

    def write(self, data: bytes) -> None:
        self.calls.append(("buffer", data))

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.168.1.1", 54321)

    def setTcpNoDelay(self, enabled: object) -> None: ...

    def registerProducer(self, producer: object, streaming: bool) -> None: ...


class AtOnceTests(ServerTestCase):
    """What is sent does not wait for the next round of the reactor where it need not."""

    def connected(self, transport: Plain) -> ULProtocol:
        protocol = self.factory().buildProtocol(None)
        protocol.makeConnection(transport)
        self.addCleanup(protocol.connectionLost)
        return protocol

    def said(self, transport: Plain, protocol: ULProtocol, *data: bytes) -> list[tuple[str, bytes]]:
        """What the transport is told while this arrives."""
        transport.calls.clear()
        for each in data:
            protocol.dataReceived(each)
        return transport.calls

    def test_at_once(self) -> None:
        """On a plain socket each answer is sent at once."""
        transport = Plain()
        protocol = self.connected(transport)
        self.assertEqual(
            [("socket", ASSOCIATE_AC), ("socket", ECHOED), ("socket", ECHOED)],
            self.said(transport, protocol, ASSOCIATE_RQ, ECHO, ECHO),
        )

    def test_partly(self) -> None:
        """What the socket does not take is left to the transport, and so is all that comes after it."""
        transport = Plain()
        protocol = self.connected(transport)
        protocol.dataReceived(ASSOCIATE_RQ)
        transport.takes = 60
        self.assertEqual(
            [("socket", ECHOED), ("buffer", ECHOED[60:]), ("buffer", ECHOED)],
            self.said(transport, protocol, ECHO, ECHO),
        )

    def test_failed(self) -> None:
        """A socket that fails is left to the transport, which finds it out, with all that was to be sent."""
        transport = Plain(ConnectionLost())
        protocol = self.connected(transport)
        self.assertEqual(
            [("socket", ASSOCIATE_AC), ("buffer", ASSOCIATE_AC)], self.said(transport, protocol, ASSOCIATE_RQ)
        )

    def test_unread(self) -> None:
        """As little waits for a peer that does not read as ever, although much is read at a time."""
        transport = Plain()
        protocol = self.connected(transport)
        self.assertEqual(640 * 1024, transport.bufferSize)
        transport.takes = 0
        protocol.dataReceived(ASSOCIATE_RQ)
        self.assertEqual(64 * 1024, transport.bufferSize)

    def test_encrypted(self) -> None:
        """Nothing goes past an encryption: of a wrapper, which passes on what it does not know, or of the socket."""
        inner, encrypted = Plain(), Plain()
        encrypted.TLS = True
        wrapper = ProtocolWrapper(WrappingFactory(self.factory()), self.factory().buildProtocol(None))
        self.addCleanup(wrapper.connectionLost, Failure(ConnectionLost()))
        wrapper.makeConnection(inner)
        self.assertEqual(inner.writeSomeData, wrapper.writeSomeData)
        wrapper.dataReceived(ASSOCIATE_RQ)
        self.assertEqual([("buffer", ASSOCIATE_AC)], inner.calls)
        self.assertEqual([("buffer", ASSOCIATE_AC)], self.said(encrypted, self.connected(encrypted), ASSOCIATE_RQ))
