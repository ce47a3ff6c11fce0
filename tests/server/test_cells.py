# mypy: allow-untyped-calls
"""Table 9-10 from outside: each cell that a peer can drive an acceptor into does what the standard says.

A peer meets Sta1 once we close, Sta2, Sta6 and Sta13. Sta3 and Sta8 last no longer than an indication: the
acceptor answers within it, and a release is not even looked at while an instance is not answered. So nothing a
peer sends is an event in them; what can be is the end of the connection, or of the server, met by an observer.
Sta4, 5, 7 and 9 to 12 are the requestor's, or need a release that an acceptor never asks for.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

from twisted.internet.defer import Deferred

from storescp.interfaces import StoreRequest
from storescp.ul.machine import PAbort, Sta
from storescp.ul.pdu import AAbort, AAssociateRJ
from tests.recorders import Event, RecordingSink, RecordingStorage
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    DATA,
    DATA_SET,
    ECHO,
    ECHOED,
    FIXED,
    LAST_DATA,
    NAME,
    PEER,
    RELEASE_RP,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    STORED,
    Peer,
    ServerTestCase,
    abort,
    p_data,
    pdv,
)
from tests.ul import wire

HALF = STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET))  # an instance that is not complete
REJECTED = wire("03 00 00000004", "00 01 02 02")  # permanent, by the provider: the protocol version
VERSION_2 = ASSOCIATE_RQ[:6] + b"\0\2" + ASSOCIATE_RQ[8:]
UNKNOWN = wire("08 00 00000004", "00000000")

LOST = "the connection was lost"
STALLED = "the storage has not answered for 60 s (--storage-timeout)"
ARTIM = "no A-ASSOCIATE-RQ within 30 s (-ta)"

ENDED: Event = ("association_ended",)  # told of one that was accepted, when its connection is gone


class Came(NamedTuple):
    """What comes from a peer, and what is said of it where it cannot be there: Reason/Diag. and our words."""

    pdu: bytes
    reason: int
    cause: str


EVENTS = {
    "A-ASSOCIATE-AC": Came(ASSOCIATE_AC, 2, "unexpected A-ASSOCIATE-AC PDU"),
    "A-ASSOCIATE-RJ": Came(wire("03 00 00000004", "00 01 01 01"), 2, "unexpected A-ASSOCIATE-RJ PDU"),
    "A-ASSOCIATE-RQ": Came(ASSOCIATE_RQ, 2, "unexpected A-ASSOCIATE-RQ PDU"),
    "P-DATA-TF": Came(ECHO, 2, "unexpected P-DATA-TF PDU"),
    "P-DATA-TF nonsense PDV": Came(wire("04 00 00000006", "00000003 03 03"), 6, "a PDV claims 3 bytes of 2"),
    "P-DATA-TF nonsense DIMSE": Came(p_data(pdv(1, LAST_DATA, b"")), 0, "data without a command"),
    "A-RELEASE-RQ": Came(RELEASE_RQ, 2, "unexpected A-RELEASE-RQ PDU"),
    "A-RELEASE-RP": Came(RELEASE_RP, 2, "unexpected A-RELEASE-RP PDU"),
    "A-ABORT source 0": Came(ABORT, 0, "by the peer"),
    "A-ABORT source 2": Came(abort(2, 6), 6, "by the peer"),
    "PDU 00": Came(bytes(6), 1, "PDU type 00H is unknown"),
    "PDU 08": Came(UNKNOWN, 1, "PDU type 08H is unknown"),
    "PDU FF": Came(b"\xff" * 9, 1, "PDU type FFH is unknown"),
    "A-ASSOCIATE-RQ too long": Came(wire("01 00 00040001"), 6, "PDU of type 01H claims 262145 bytes, more than 262144"),
    "A-ASSOCIATE-RQ too short": Came(wire("01 00 00000003 000100"), 6, "an A-ASSOCIATE of 3 bytes is too short"),
    "A-ASSOCIATE-RQ wrong": Came(wire("01 00 00000048", FIXED, "FF 00 0001"), 6, "item FFH claims 1 bytes of 0"),
    "A-ASSOCIATE-RQ repeats": Came(
        wire("01 00 00000076", FIXED, NAME, NAME), 5, "an item that stands once is repeated"
    ),
    "A-ASSOCIATE-AC wrong": Came(wire("02 00 00000000"), 6, "an A-ASSOCIATE of 0 bytes is too short"),
    "A-ASSOCIATE-RJ wrong": Came(wire("03 00 00000003 000101"), 6, "A-ASSOCIATE-RJ body is 3 bytes, not 4"),
    "P-DATA-TF too long": Came(wire("04 00 00004001"), 6, "PDU of type 04H claims 16385 bytes, more than 16384"),
    "A-RELEASE-RQ wrong": Came(wire("05 00 00000003 000000"), 6, "A-RELEASE-RQ body is 3 bytes, not 4"),
    "A-RELEASE-RQ too long": Came(wire("05 00 00000005"), 6, "PDU of type 05H claims 5 bytes, more than 4"),
    "A-RELEASE-RP wrong": Came(wire("06 00 00000000"), 6, "A-RELEASE-RP body is 0 bytes, not 4"),
    "A-ABORT wrong": Came(wire("07 00 00000003 000000"), 6, "A-ABORT body is 3 bytes, not 4"),
    "A-ABORT too long": Came(wire("07 00 FFFFFFFF"), 6, "PDU of type 07H claims 4294967295 bytes, more than 4"),
    "connection lost": Came(b"", 0, LOST),
    "ARTIM expired": Came(b"", 0, ARTIM),
}

PDUS = [event for event, came in EVENTS.items() if came.pdu]

# The situations: Sta1 after the peer's A-ABORT; Sta2; Sta6 between messages, and amid an instance; Sta13 after
# a rejection, a release, an A-ABORT of ours in Sta6, and one in Sta2. In Sta1 the standard has no PDUs: whatever
# comes is not read. AE-6 is followed by AE-7, AR-2 by AR-4; DT-2! is where the user aborts (AA-1) for what is in
# the PDU, AA-7~ where our A-ABORT was sent already and there is no second one.
TABLE = """
                          Sta1   Sta2   Sta6   amid   RJ     RP     ABORT  ABORT2
A-ASSOCIATE-AC            .      AA-1   AA-8   AA-8   AA-6   AA-6   AA-6   AA-6
A-ASSOCIATE-RJ            .      AA-1   AA-8   AA-8   AA-6   AA-6   AA-6   AA-6
A-ASSOCIATE-RQ            .      AE-6   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
P-DATA-TF                 .      AA-1   DT-2   DT-2!  AA-6   AA-6   AA-6   AA-6
P-DATA-TF nonsense PDV    .      AA-1   AA-8   AA-8   AA-6   AA-6   AA-6   AA-6
P-DATA-TF nonsense DIMSE  .      AA-1   DT-2!  DT-2!  AA-6   AA-6   AA-6   AA-6
A-RELEASE-RQ              .      AA-1   AR-2   AR-2   AA-6   AA-6   AA-6   AA-6
A-RELEASE-RP              .      AA-1   AA-8   AA-8   AA-6   AA-6   AA-6   AA-6
A-ABORT source 0          .      AA-2   AA-3   AA-3   AA-2   AA-2   AA-2   AA-2
A-ABORT source 2          .      AA-2   AA-3   AA-3   AA-2   AA-2   AA-2   AA-2
PDU 00                    .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
PDU 08                    .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
PDU FF                    .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ASSOCIATE-RQ too long   .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ASSOCIATE-RQ too short  .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ASSOCIATE-RQ wrong      .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ASSOCIATE-RQ repeats    .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ASSOCIATE-AC wrong      .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ASSOCIATE-RJ wrong      .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
P-DATA-TF too long        .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-RELEASE-RQ wrong        .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-RELEASE-RQ too long     .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-RELEASE-RP wrong        .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ABORT wrong             .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
A-ABORT too long          .      AA-1   AA-8   AA-8   AA-7   AA-7   AA-7~  AA-7~
connection lost           .      AA-5   AA-4   AA-4   AR-5   AR-5   AR-5   AR-5
ARTIM expired             .      AA-2   .      .      AA-2   AA-2   AA-2   AA-2
"""


COLUMNS = TABLE.split("\n")[1].split()
CELLS = {row[:26].strip(): dict(zip(COLUMNS, row[26:].split(), strict=True)) for row in TABLE.split("\n")[2:-1]}

# What a peer sends to come into a situation.
BEFORE = {
    "Sta1": ASSOCIATE_RQ + ABORT,
    "Sta2": b"",
    "Sta6": ASSOCIATE_RQ,
    "amid": ASSOCIATE_RQ + HALF,
    "RJ": VERSION_2,
    "RP": ASSOCIATE_RQ + RELEASE_RQ,
    "ABORT": ASSOCIATE_RQ + RELEASE_RP,
    "ABORT2": RELEASE_RP,
}
ACCEPTED = ("Sta1", "Sta6", "amid", "RP", "ABORT")  # where there is an association, or was one


def aborts(heard: bytes) -> int:
    """How many A-ABORT PDUs are in what was heard, which must be whole PDUs."""
    types = []
    while heard:
        types.append(heard[0])
        end = 6 + int.from_bytes(heard[2:6], "big")
        assert len(heard) >= end, heard
        heard = heard[end:]
    return types.count(7)


def receive(pdu: bytes, peer: Peer) -> None:
    """As `Peer.write`, but what is heard is kept."""
    peer.protocol.dataReceived(pdu)


class CellTestCase(ServerTestCase):
    def told(self) -> list[Event]:
        """What the observer was told since it was asked last; of an instance its UID, of a message its kind."""

        def plain(argument: Any) -> Any:
            return argument.sop_instance_uid if isinstance(argument, StoreRequest) else argument

        brief = ("association_requested", "association_accepted", "message_received", "message_sent")
        events = [(event[0],) if event[0] in brief else tuple(map(plain, event)) for event in self.observer.events]
        self.observer.events.clear()
        return events

    def end(self, peer: Peer) -> str:
        """What has become of the transport."""
        if peer.transport.disconnected:
            return "aborted"
        return "closing" if peer.transport.disconnecting else "open"

    def check_served(self, like: Peer) -> None:
        """Another connection of the same factory works, and leaves nothing behind."""
        peer = Peer(like.protocol.factory)
        heard = [peer.write(pdu) for pdu in (ASSOCIATE_RQ, ECHO, RELEASE_RQ)]
        self.assertEqual([ASSOCIATE_AC, ECHOED, RELEASE_RP], heard)
        peer.disconnect()

    def check_clean(self) -> None:
        """Nothing was logged as a mistake, and no timer runs."""
        self.assertEqual(([], []), (self.flushLoggedErrors(), self.clock.getDelayedCalls()))

    def expected(self, column: str, action: str, event: str) -> tuple[bytes, str, list[Event]]:
        """What is heard, what becomes of the transport, and what is told."""
        _, reason, cause = EVENTS[event]
        if column == "Sta2" and event.startswith("P-DATA-TF n"):  # not looked into
            cause = "unexpected P-DATA-TF PDU"
        if column == "amid" and event in ("P-DATA-TF", "P-DATA-TF nonsense DIMSE"):
            cause = "a fragment on context 1 in a message on 3"
        unrequested = [("connection_refused", PEER, cause)] if column == "Sta2" else []
        dropped = "the peer released the association" if action == "AR-2" else cause
        drop: list[Event] = [("instance_dropped", "1.2.3", dropped)] if column == "amid" else []
        ended = [ENDED] if event == "connection lost" and column in ACCEPTED else []
        by_peer: Event = ("association_aborted", PAbort(6) if event.endswith("2") else AAbort(0, 0), "by the peer")
        outcomes: dict[str, tuple[bytes, str, list[Event]]] = {
            ".": (b"", "open", ended),
            "AA-1": (ABORT, "open", unrequested),
            "AA-2": (b"", "closing", unrequested),
            "AA-3": (b"", "closing", [*drop, by_peer]),
            "AA-4": (b"", "open", [*drop, ("association_aborted", PAbort(0), LOST), *ended]),
            "AA-5": (b"", "open", []),
            "AA-6": (b"", "open", []),
            "AA-7": (abort(2, reason), "open", []),
            "AA-7~": (b"", "open", []),
            "AA-8": (abort(2, reason), "open", [*drop, ("association_aborted", PAbort(reason), cause)]),
            "AE-6": (ASSOCIATE_AC, "open", [("association_requested",), ("association_accepted",)]),
            "AR-2": (RELEASE_RP, "open", [*drop, ("association_released",)]),
            "AR-5": (b"", "open", ended),
            "DT-2": (ECHOED, "open", [("message_received",), ("message_sent",)]),
            "DT-2!": (ABORT, "open", [*drop, ("association_aborted", AAbort(0, 0), cause)]),  # by its user: AA-1
        }
        return outcomes[action]

    def check_ended(self, peer: Peer, sent: int) -> bytes:
        """Nothing that comes afterwards is acted on, save for one A-ABORT where none was sent; then we close."""
        for pdu in (ECHO, STORE, RELEASE_RQ, RELEASE_RP, ASSOCIATE_AC):
            self.assertEqual(b"", peer.write(pdu))
        waits = peer.protocol.state is Sta.Sta13
        heard = peer.write(ASSOCIATE_RQ)
        self.assertEqual(abort(2, 2) if waits and not sent else b"", heard)
        self.assertEqual(b"", peer.write(ASSOCIATE_RQ + UNKNOWN) + peer.write(ABORT + UNKNOWN))
        if waits:
            self.clock.advance(30)
            self.assertTrue(peer.transport.disconnecting)
            self.clock.advance(2)
            self.assertEqual("aborted", self.end(peer))
        self.assertEqual((b"", []), (peer.heard(), self.told()))
        return heard


class TableTests(CellTestCase):
    """Each column of the table, its PDUs whole and byte by byte."""

    def happen(self, peer: Peer, event: str, size: int) -> None:
        if event == "connection lost":
            peer.disconnect()
        elif event == "ARTIM expired":
            self.clock.advance(30)
        else:
            pdu = EVENTS[event].pdu
            for start in range(0, len(pdu), size):
                peer.protocol.dataReceived(pdu[start : start + size])

    def check_cell(self, column: str, event: str, action: str, size: int) -> None:
        peer = self.peer()
        before_event = peer.write(BEFORE[column]) if BEFORE[column] else b""  # of no bytes a protocol is never told
        self.told()
        self.happen(peer, event, size)
        heard, end, told = self.expected(column, action, event)
        if column == "Sta1":
            end = "aborted" if event == "ARTIM expired" else "closing"  # two seconds are over then
        cell = (column, event, size)
        after_event = peer.heard()
        self.assertEqual((cell, heard, end, told), (cell, after_event, self.end(peer), self.told()))
        if peer.protocol.state is not Sta.Sta6:
            after_event += self.check_ended(peer, aborts(before_event + after_event))
        self.assertLessEqual(aborts(before_event + after_event), 1, cell)
        peer.disconnect()
        accepted = column in ACCEPTED or action == "AE-6"
        self.assertEqual([ENDED] * accepted, [each for each in told + self.told() if each == ENDED], cell)
        self.check_served(peer)
        self.check_clean()

    def check_column(self, column: str) -> None:
        for event, actions in CELLS.items():
            for size in (1000, 1):
                self.check_cell(column, event, actions[column], size)

    def test_complete(self) -> None:
        """The table has all events."""
        self.assertEqual(list(EVENTS), list(CELLS))

    def test_closed(self) -> None:
        """Sta1: once we close nothing is read any more, and the close has two seconds."""
        self.check_column("Sta1")

    def test_unassociated(self) -> None:
        """Sta2: only an A-ASSOCIATE-RQ is welcome."""
        self.check_column("Sta2")

    def test_associated(self) -> None:
        """Sta6: data and a release are welcome, any other PDU is answered with its reason."""
        self.check_column("Sta6")

    def test_amid_an_instance(self) -> None:
        """Sta6, an instance being received: the same, and the instance is dropped and told so."""
        self.check_column("amid")

    def test_rejected(self) -> None:
        """Sta13 after a rejection."""
        self.check_column("RJ")

    def test_released(self) -> None:
        """Sta13 after a release."""
        self.check_column("RP")

    def test_aborted(self) -> None:
        """Sta13 after our A-ABORT of an association: no second one."""
        self.check_column("ABORT")

    def test_aborted_without_association(self) -> None:
        """Sta13 after our A-ABORT before an association: no second one."""
        self.check_column("ABORT2")


class WaitingTests(CellTestCase):
    """Sta6 while the storage has not answered for an instance: what the peer sends meanwhile waits."""

    def waiting(self, event: str) -> "tuple[Peer, Deferred[None]]":
        """A peer of which this has come, and what its instance waits for."""
        self.storage = RecordingStorage(sink := RecordingSink())
        sink.finished = finished = Deferred[None]()
        peer = self.associated()
        peer.write(STORE)
        self.told()
        self.assertEqual((b"", "open", []), (peer.write(EVENTS[event].pdu), self.end(peer), self.told()))
        return peer, finished

    def test_answered(self) -> None:
        """When the instance is answered, each event has its turn, and is answered as in Sta6."""
        for event in PDUS:
            peer, finished = self.waiting(event)
            finished.callback(None)
            heard, end, told = self.expected("Sta6", CELLS[event]["Sta6"], event)
            told = [("instance_stored", "1.2.3", 23), ("message_sent",), *told]
            self.assertEqual((STORED + heard, end, told), (peer.heard(), self.end(peer), self.told()), event)
            peer.disconnect()
            self.check_served(peer)
            self.check_clean()

    def test_given_up(self) -> None:
        """When the instance is given up after 60 s, each event has its turn in Sta13."""
        for event in PDUS:
            peer, finished = self.waiting(event)
            self.clock.advance(60)
            heard, end, _ = self.expected("ABORT", CELLS[event]["ABORT"], event)
            told = [("association_aborted", AAbort(0, 0), STALLED), ("instance_dropped", "1.2.3", STALLED)]
            self.assertEqual((ABORT + heard, end, told), (peer.heard(), self.end(peer), self.told()), event)
            self.successResultOf(finished)
            self.check_ended(peer, 1)
            peer.disconnect()
            self.check_clean()


class IndicationTests(CellTestCase):
    """Sta3 and Sta8: what happens while an observer is being told."""

    def during(self, indication: str, act: Callable[[], None]) -> None:
        """Do this at the end of telling of that."""
        tell = vars(self.observer)[indication]

        def telling(*arguments: object) -> None:
            tell(*arguments)
            act()

        vars(self.observer)[indication] = telling

    def met(
        self, chunks: list[bytes], indication: str, act: Callable[[Peer], None], **options: Any
    ) -> tuple[list[Sta], Peer]:
        """In which states it happens, and the peer that has sent these chunks, of the last of which is to be told."""
        self.setUp()
        peer = self.peer(**options)
        states: list[Sta] = []
        self.during(indication, lambda: states.append(peer.protocol.state))
        self.during(indication, lambda: act(peer))
        *first, last = chunks
        for chunk in first:
            peer.write(chunk)
        self.told()
        peer.protocol.dataReceived(last)
        return states, peer

    def test_bytes_amid_a_request(self) -> None:
        """Sta3: what comes while a request is indicated waits for its answer, and meets Sta6."""
        for event in PDUS:
            states, peer = self.met([ASSOCIATE_RQ], "association_requested", partial(receive, EVENTS[event].pdu))
            heard, end, told = self.expected("Sta6", CELLS[event]["Sta6"], event)
            told = [("association_requested",), ("association_accepted",), *told]
            self.assertEqual(
                ([Sta.Sta3], ASSOCIATE_AC + heard, end, told),
                (states, peer.heard(), self.end(peer), self.told()),
                event,
            )
            peer.disconnect()
            self.check_clean()

    def test_bytes_amid_a_release(self) -> None:
        """Sta8: what comes while a release is indicated waits for its response, and meets Sta13."""
        for event in PDUS:
            states, peer = self.met(
                [ASSOCIATE_RQ + HALF, RELEASE_RQ], "instance_dropped", partial(receive, EVENTS[event].pdu)
            )
            heard, end, _ = self.expected("RP", CELLS[event]["RP"], event)
            told = [("instance_dropped", "1.2.3", "the peer released the association"), ("association_released",)]
            self.assertEqual(
                ([Sta.Sta8], RELEASE_RP + heard, end, told), (states, peer.heard(), self.end(peer), self.told()), event
            )
            peer.disconnect()
            self.check_clean()

    def test_lost_amid_a_request(self) -> None:
        """Sta3: a connection that is lost while its request is indicated has no answer (AA-4)."""
        states, peer = self.met([ASSOCIATE_RQ], "association_requested", Peer.disconnect)
        told = [("association_requested",), ("association_aborted", PAbort(0), LOST)]
        self.assertEqual(([Sta.Sta3], b"", told, Sta.Sta1), (states, peer.heard(), self.told(), peer.protocol.state))
        self.check_clean()

    def test_lost_amid_an_answer(self) -> None:
        """Sta3: the same where the observer is being told of the answer already; its place is free again."""
        requested: Event = ("association_requested",)
        aborted: Event = ("association_aborted", PAbort(0), LOST)
        options = {"ae_title": "X", "require_called_aet": True}
        states, peer = self.met([ASSOCIATE_RQ], "association_rejected", Peer.disconnect, **options)
        told = [requested, ("association_rejected", AAssociateRJ(1, 1, 7), ""), aborted]
        self.assertEqual(([Sta.Sta3], b"", told, Sta.Sta1), (states, peer.heard(), self.told(), peer.protocol.state))
        states, peer = self.met([ASSOCIATE_RQ], "association_accepted", Peer.disconnect, max_associations=1)
        told = [requested, ("association_accepted",), aborted, ENDED]
        self.assertEqual(([Sta.Sta3], b"", told, Sta.Sta1), (states, peer.heard(), self.told(), peer.protocol.state))
        self.check_served(peer)
        self.check_clean()

    def test_stopped_amid_an_answer(self) -> None:
        """Sta3: a server that is stopped while its answer is told sends none but an A-ABORT (AA-1)."""

        def stop(peer: Peer) -> None:
            self.assertNoResult(peer.protocol.factory.shutdown())

        states, peer = self.met([ASSOCIATE_RQ], "association_accepted", stop)
        aborted: Event = ("association_aborted", AAbort(0, 0), "this server stops")
        told = [("association_requested",), ("association_accepted",), aborted]
        self.assertEqual(([Sta.Sta3], ABORT, "closing", told), (states, peer.heard(), self.end(peer), self.told()))
        peer.disconnect()
        self.check_clean()

    def test_lost_amid_a_release(self) -> None:
        """Sta8: a connection that is lost while its release is indicated has no response (AA-4)."""
        states, peer = self.met([ASSOCIATE_RQ + HALF, RELEASE_RQ], "instance_dropped", Peer.disconnect)
        told = [
            ("instance_dropped", "1.2.3", "the peer released the association"),
            ("association_aborted", PAbort(0), LOST),
            ENDED,
        ]
        self.assertEqual(([Sta.Sta8], b"", told, Sta.Sta1), (states, peer.heard(), self.told(), peer.protocol.state))
        self.check_clean()


class BadSessionTests(CellTestCase):
    """Whole sessions that end badly, however TCP cuts them."""

    REQUESTED: ClassVar[list[Event]] = [("association_requested",), ("association_accepted",)]
    ECHOES: ClassVar[list[Event]] = [("message_received",), ("message_sent",)]
    OPENED: ClassVar[list[Event]] = [("message_received",), ("instance_opened", "1.2.3", "recorded")]
    STORES: ClassVar[list[Event]] = [
        *OPENED,
        ("instance_received", "1.2.3", 23),
        ("instance_stored", "1.2.3", 23),
        ("message_sent",),
    ]

    def check(self, session: bytes, heard: bytes, end: str, told: list[Event]) -> None:
        """This is the outcome of the session, wherever it is cut in two, and byte by byte."""
        cuts = [[session[:cut], session[cut:]] for cut in range(len(session))]
        peer = self.peer()
        factory = peer.protocol.factory
        ended = [ENDED] if ("association_accepted",) in told else []
        for chunks in [*cuts, [session[start : start + 1] for start in range(len(session))]]:
            peer = Peer(factory)
            outcome = b"".join(map(peer.write, chunks)), self.end(peer)
            self.assertEqual((heard, end, told), (*outcome, self.told()), chunks)
            peer.disconnect()
            self.assertEqual(ended, self.told())
        self.check_served(peer)

    def test_abort(self) -> None:
        """The peer aborts amid an instance, and goes on speaking."""
        dropped: list[Event] = [("instance_dropped", "1.2.3", "by the peer")]
        told = [
            *self.REQUESTED,
            *self.ECHOES,
            *self.OPENED,
            *dropped,
            ("association_aborted", PAbort(6), "by the peer"),
        ]
        self.check(ASSOCIATE_RQ + ECHO + HALF + abort(2, 6) + ECHO, ASSOCIATE_AC + ECHOED, "closing", told)

    def test_rejection(self) -> None:
        """The peer is rejected, and tries to echo and to associate again and again."""
        told: list[Event] = [("association_requested",), ("association_rejected", AAssociateRJ(1, 2, 2), "")]
        self.check(VERSION_2 + ECHO + ASSOCIATE_RQ + VERSION_2 + ECHO, REJECTED + abort(2, 2), "open", told)

    def test_release_collision(self) -> None:
        """The peer releases, answers a release that we never asked for, releases again, and aborts."""
        session = ASSOCIATE_RQ + RELEASE_RQ + RELEASE_RP + RELEASE_RQ + ABORT
        told = [*self.REQUESTED, ("association_released",)]
        self.check(session, ASSOCIATE_AC + RELEASE_RP, "closing", told)

    def test_answered_release(self) -> None:
        """The peer answers a release that we never asked for, and then releases."""
        aborted: Event = ("association_aborted", PAbort(2), "unexpected A-RELEASE-RP PDU")
        session = ASSOCIATE_RQ + RELEASE_RP + RELEASE_RQ
        self.check(session, ASSOCIATE_AC + abort(2, 2), "open", [*self.REQUESTED, aborted])

    def test_unknown_pdu(self) -> None:
        """A PDU of no known type between two instances: the second one is not stored."""
        aborted: Event = ("association_aborted", PAbort(1), "PDU type 08H is unknown")
        told = [*self.REQUESTED, *self.STORES, aborted]
        session = ASSOCIATE_RQ + STORE + UNKNOWN + STORE + ABORT  # where a PDU begins nobody knows any more
        self.check(session, ASSOCIATE_AC + STORED + abort(2, 1), "open", told)

    def test_long_pdu(self) -> None:
        """A PDU that claims to be longer than any may be, and an A-ABORT where it would go on."""
        came = EVENTS["P-DATA-TF too long"]
        told = [*self.REQUESTED, ("association_aborted", PAbort(6), came.cause)]
        self.check(ASSOCIATE_RQ + came.pdu + ABORT, ASSOCIATE_AC + abort(2, 6), "open", told)

    def test_invalid_pdu(self) -> None:
        """A PDU of a wrong length amid an instance."""
        came = EVENTS["A-RELEASE-RQ wrong"]
        dropped: list[Event] = [("instance_dropped", "1.2.3", came.cause)]
        told = [*self.REQUESTED, *self.OPENED, *dropped, ("association_aborted", PAbort(6), came.cause)]
        self.check(ASSOCIATE_RQ + HALF + came.pdu + ECHO + RELEASE_RQ, ASSOCIATE_AC + abort(2, 6), "open", told)

    def test_invalid_request(self) -> None:
        """A request of which an item is repeated, and a good one after it."""
        came = EVENTS["A-ASSOCIATE-RQ repeats"]
        told: list[Event] = [("connection_refused", PEER, came.cause)]
        self.check(came.pdu + ASSOCIATE_RQ + ECHO, ABORT, "open", told)

    def test_invalid_message(self) -> None:
        """A second command inside an instance, and a release after it."""
        cause = "a command fragment inside a data set"
        dropped: list[Event] = [("instance_dropped", "1.2.3", cause)]
        told = [*self.REQUESTED, *self.OPENED, *dropped, ("association_aborted", AAbort(0, 0), cause)]
        self.check(ASSOCIATE_RQ + HALF + STORE_COMMAND + RELEASE_RQ, ASSOCIATE_AC + ABORT, "open", told)
