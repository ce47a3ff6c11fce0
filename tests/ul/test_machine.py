# mypy: allow-untyped-calls

"""The state machine against PS3.8 Table 9-10: all 247 cells, transcribed from the standard a second time."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import AbortReason, InvalidPDU
from storescp.ul.items import UserInformation
from storescp.ul.machine import Evt, Machine, PAbort, Sta
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ, AReleaseRP, AReleaseRQ

Call = tuple[Any, ...]

RQ = AAssociateRQ(1, "STORESCP", "STORESCU", bytes(32), "1.2.840.10008.3.1.1.1", (), UserInformation())
AC = AAssociateAC(1, "STORESCP", "STORESCU", bytes(32), "1.2.840.10008.3.1.1.1", (), UserInformation())
RJ = AAssociateRJ(1, 1, 7)
REFUSAL = AAssociateRJ(1, 2, 2)
RELEASE_RQ = AReleaseRQ()
RELEASE_RP = AReleaseRP()
USER_ABORT = AAbort(0, 0)
PROVIDER_ABORT = AAbort(2, 6)
DATA = memoryview(b"\0\0\0\x02\x01\x02")
PDUS = b"\4\0\0\0\0\6\0\0\0\2\1\2"
INVALID = InvalidPDU("not a PDU", AbortReason.UNRECOGNIZED_PDU)

# For each event: what comes with it, and its row of the table as actions and the states they stand in.
ROWS: dict[Evt, tuple[Any, dict[str, tuple[int, ...]]]] = {
    Evt.A_ASSOCIATE_REQUEST: (RQ, {"AE-1": (1,)}),
    Evt.TRANSPORT_CONFIRM: (RQ, {"AE-2": (4,)}),
    Evt.A_ASSOCIATE_AC: (AC, {"AA-1": (2,), "AE-3": (5,), "AA-8": (3, 6, 7, 8, 9, 10, 11, 12), "AA-6": (13,)}),
    Evt.A_ASSOCIATE_RJ: (RJ, {"AA-1": (2,), "AE-4": (5,), "AA-8": (3, 6, 7, 8, 9, 10, 11, 12), "AA-6": (13,)}),
    Evt.TRANSPORT_INDICATION: (None, {"AE-5": (1,)}),
    Evt.A_ASSOCIATE_RQ: (RQ, {"AE-6": (2,), "AA-8": (3, 5, 6, 7, 8, 9, 10, 11, 12), "AA-7": (13,)}),
    Evt.A_ASSOCIATE_ACCEPT: (AC, {"AE-7": (3,)}),
    Evt.A_ASSOCIATE_REJECT: (RJ, {"AE-8": (3,)}),
    Evt.P_DATA_REQUEST: (PDUS, {"DT-1": (6,), "AR-7": (8,)}),
    Evt.P_DATA_TF: (
        DATA,
        {"AA-1": (2,), "DT-2": (6,), "AR-6": (7,), "AA-8": (3, 5, 8, 9, 10, 11, 12), "AA-6": (13,)},
    ),
    Evt.A_RELEASE_REQUEST: (None, {"AR-1": (6,)}),
    Evt.A_RELEASE_RQ: (
        RELEASE_RQ,
        {"AA-1": (2,), "AR-2": (6,), "AR-8": (7,), "AA-8": (3, 5, 8, 9, 10, 11, 12), "AA-6": (13,)},
    ),
    Evt.A_RELEASE_RP: (
        RELEASE_RP,
        {"AA-1": (2,), "AR-3": (7, 11), "AR-10": (10,), "AA-8": (3, 5, 6, 8, 9, 12), "AA-6": (13,)},
    ),
    Evt.A_RELEASE_RESPONSE: (None, {"AR-4": (8, 12), "AR-9": (9,)}),
    Evt.A_ABORT_REQUEST: (None, {"AA-1": (3, 5, 6, 7, 8, 9, 10, 11, 12), "AA-2": (4,)}),
    Evt.A_ABORT: (USER_ABORT, {"AA-2": (2, 13), "AA-3": (3, 5, 6, 7, 8, 9, 10, 11, 12)}),
    Evt.TRANSPORT_CLOSED: (None, {"AA-5": (2,), "AA-4": (3, 4, 5, 6, 7, 8, 9, 10, 11, 12), "AR-5": (13,)}),
    Evt.ARTIM_EXPIRED: (None, {"AA-2": (2, 13)}),
    Evt.INVALID_PDU: (INVALID, {"AA-1": (2,), "AA-8": (3, 5, 6, 7, 8, 9, 10, 11, 12), "AA-7": (13,)}),
}

FILLED = [
    (event, Sta(state), action)
    for event, (_, row) in ROWS.items()
    for action, states in row.items()
    for state in states
]


def outcome(action: str, event: Evt) -> tuple[list[Call], int]:
    """What PS3.8 Tables 9-6 to 9-9 say of an action: the calls of the provider, and the next state."""
    argument = ROWS[event][0]
    reason = 1 if event is Evt.INVALID_PDU else 2  # unrecognized, or unexpected PDU
    outcomes: dict[str, tuple[list[Call], int]] = {
        "AE-1": ([("connect",)], 4),
        "AE-2": ([("send", RQ)], 5),
        "AE-3": ([("issue", AC)], 6),
        "AE-4": ([("issue", RJ), ("close",)], 1),
        "AE-5": ([("start_artim",)], 2),
        "AE-6": ([("refusal", RQ), ("stop_artim",), ("issue", RQ)], 3),
        "AE-7": ([("send", AC)], 6),
        "AE-8": ([("send", RJ), ("start_artim",)], 13),
        "DT-1": ([("send_data", PDUS)], 6),
        "DT-2": ([("issue_data", DATA)], 6),
        "AR-1": ([("send", RELEASE_RQ)], 7),
        "AR-2": ([("issue", RELEASE_RQ)], 8),
        "AR-3": ([("issue", RELEASE_RP), ("close",)], 1),
        "AR-4": ([("send", RELEASE_RP), ("start_artim",)], 13),
        "AR-5": ([("stop_artim",)], 1),
        "AR-6": ([("issue_data", DATA)], 7),
        "AR-7": ([("send_data", PDUS)], 8),
        "AR-8": ([("issue", RELEASE_RQ)], 10),
        "AR-9": ([("send", RELEASE_RP)], 11),
        "AR-10": ([("issue", RELEASE_RP)], 12),
        "AA-1": ([("send", AAbort(0, 0)), ("start_artim",)], 13),
        "AA-2": ([("stop_artim",), ("close",)], 1),
        "AA-3": ([("issue", argument), ("close",)], 1),
        "AA-4": ([("issue", PAbort(0))], 1),
        "AA-5": ([("stop_artim",)], 1),
        "AA-6": ([], 13),
        "AA-7": ([("send", AAbort(2, reason))], 13),
        "AA-8": ([("send", AAbort(2, reason)), ("issue", PAbort(reason)), ("start_artim",)], 13),
    }
    return outcomes[action]


class RecordingProvider:
    """Writes down each call and the state the machine was in at that moment."""

    def __init__(self, refusal: AAssociateRJ | None = None) -> None:
        self.calls: list[Call] = []
        self.states: list[Sta] = []
        self.machine: Machine | None = None
        self._refusal = refusal

    def _record(self, *call: Any) -> None:
        self.calls.append(call)
        if self.machine:
            self.states.append(self.machine.state)

    def connect(self) -> None:
        self._record("connect")

    def refusal(self, request: AAssociateRQ) -> AAssociateRJ | None:
        self._record("refusal", request)
        return self._refusal

    def send(self, pdu: Any) -> None:
        self._record("send", pdu)

    def send_data(self, pdus: bytes) -> None:
        self._record("send_data", pdus)

    def issue(self, primitive: Any) -> None:
        self._record("issue", primitive)

    def issue_data(self, body: memoryview) -> None:
        self._record("issue_data", body)

    def start_artim(self) -> None:
        self._record("start_artim")

    def stop_artim(self) -> None:
        self._record("stop_artim")

    def close(self) -> None:
        self._record("close")


class AnsweringProvider(RecordingProvider):
    """A service user that answers a primitive while it is being issued."""

    def __init__(self, event: Evt, argument: Any = None) -> None:
        super().__init__()
        self._answer = (event, argument)

    def _record(self, *call: Any) -> None:
        super()._record(*call)
        if call[0] in ("issue", "issue_data") and self.machine:
            self.machine.process(*self._answer)


def run(
    event: Evt,
    state: Sta,
    *,
    argument: Any = None,
    requestor: bool = False,
    refusal: AAssociateRJ | None = None,
) -> tuple[list[Call], int]:
    """The calls and the next state that one event makes."""
    provider = RecordingProvider(refusal)
    machine = Machine(provider, state, requestor=requestor)
    machine.process(event, ROWS[event][0] if argument is None else argument)
    return provider.calls, int(machine.state)


def answer_inside(provider: AnsweringProvider, state: Sta, event: Evt) -> Sta:
    """The state after an event whose indication is answered before it returns."""
    provider.machine = Machine(provider, state)
    provider.machine.process(event, ROWS[event][0])
    return provider.machine.state


def states_after(machine: Machine, events: list[Evt]) -> list[int]:
    """The state after each of the events."""
    states = []
    for event in events:
        machine.process(event, ROWS[event][0])
        states.append(int(machine.state))
    return states


class TableTests(SynchronousTestCase):
    """Table 9-10, cell by cell."""

    def test_every_filled_cell(self) -> None:
        """Each of the 123 filled cells makes exactly the calls of its action, in their order, and its next state."""
        self.assertEqual(123, len({(event, state) for event, state, _ in FILLED}))
        for event, state, action in FILLED:
            self.assertEqual(outcome(action, event), run(event, state), f"{event!r} in {state!r}: {action}")

    def test_every_blank_cell(self) -> None:
        """Each of the 124 blank cells is an error of the caller that changes nothing and tells nobody."""
        filled = {(event, state) for event, state, _ in FILLED}
        blanks = [(event, state) for event in Evt for state in Sta if (event, state) not in filled]
        self.assertEqual(124, len(blanks))
        for event, state in blanks:
            cell = f"{event!r} in {state!r}"
            provider = RecordingProvider()
            machine = Machine(provider, state)
            error = self.assertRaises(RuntimeError, machine.process, event, ROWS[event][0])
            self.assertEqual(f"Table 9-10 has no action for {cell}", str(error), cell)
            self.assertEqual((state, []), (machine.state, provider.calls), cell)

    def test_state_before_effects(self) -> None:
        """Whatever the provider is told, it meets the state that the action leads to."""
        for event, state, action in FILLED:
            provider = RecordingProvider()
            provider.machine = Machine(provider, state)
            provider.machine.process(event, ROWS[event][0])
            calls, after = outcome(action, event)
            expected = [state if name == "refusal" else Sta(after) for name, *_ in calls]  # a question, not an effect
            self.assertEqual(expected, provider.states, f"{event!r} in {state!r}: {action}")

    def test_role_matters_in_one_cell_only(self) -> None:
        """For the requestor every cell but that of the release collision is the acceptor's."""
        for event, state, action in FILLED:
            if action != "AR-8":
                cell = f"{event!r} in {state!r}: {action}"
                self.assertEqual(outcome(action, event), run(event, state, requestor=True), cell)


class BranchTests(SynchronousTestCase):
    """The three actions whose text has an "if"."""

    def test_request_not_acceptable(self) -> None:
        """AE-6 rejects a request the service provider refuses, asks nobody, and waits for the close under ARTIM."""
        self.assertEqual(
            ([("refusal", RQ), ("stop_artim",), ("send", REFUSAL), ("start_artim",)], 13),
            run(Evt.A_ASSOCIATE_RQ, Sta.Sta2, refusal=REFUSAL),
        )

    def test_state_before_a_refusal_is_sent(self) -> None:
        """AE-6 is in Sta13 before it stops ARTIM and sends the rejection."""
        provider = RecordingProvider(REFUSAL)
        provider.machine = Machine(provider, Sta.Sta2)
        provider.machine.process(Evt.A_ASSOCIATE_RQ, RQ)
        self.assertEqual([Sta.Sta2, Sta.Sta13, Sta.Sta13, Sta.Sta13], provider.states)

    def test_release_collision_of_the_requestor(self) -> None:
        """AR-8 leads the requestor of the association to Sta9: it answers first."""
        expected = ([("issue", RELEASE_RQ)], 9)
        self.assertEqual(expected, run(Evt.A_RELEASE_RQ, Sta.Sta7, requestor=True))

    def test_release_collision_of_the_acceptor(self) -> None:
        """AR-8 leads the acceptor of the association to Sta10: it waits for the requestor's answer."""
        expected = ([("issue", RELEASE_RQ)], 10)
        self.assertEqual(expected, run(Evt.A_RELEASE_RQ, Sta.Sta7, requestor=False))

    def test_abort_by_the_peers_service_provider(self) -> None:
        """AA-3 issues an A-P-ABORT with the peer's reason where it was not the peer's user that aborted."""
        for state in ROWS[Evt.A_ABORT][1]["AA-3"]:
            calls = run(Evt.A_ABORT, Sta(state), argument=PROVIDER_ABORT)
            self.assertEqual(([("issue", PAbort(6)), ("close",)], 1), calls, f"Sta{state}")

    def test_abort_of_reserved_source(self) -> None:
        """An A-ABORT of the reserved source 1 did not come from the peer's user."""
        calls = run(Evt.A_ABORT, Sta.Sta6, argument=AAbort(1, 0))
        self.assertEqual(([("issue", PAbort(0)), ("close",)], 1), calls)

    def test_reason_of_an_invalid_pdu(self) -> None:
        """The A-ABORT and the A-P-ABORT for an invalid PDU carry the reason that its decoder gave."""
        for reason in AbortReason:
            calls = run(Evt.INVALID_PDU, Sta.Sta6, argument=InvalidPDU("", reason))
            expected = [("send", AAbort(2, reason)), ("issue", PAbort(reason)), ("start_artim",)]
            self.assertEqual((expected, 13), calls, repr(reason))


class LifeTests(SynchronousTestCase):
    """Events one after the other."""

    def test_a_new_machine(self) -> None:
        """A machine starts idle, on the acceptor's side."""
        machine = Machine(RecordingProvider())
        self.assertEqual((Sta.Sta1, False), (machine.state, machine.requestor))

    def test_an_association_accepted(self) -> None:
        """The acceptor's way from the connection through data to a release by the peer, and its end."""
        events = [
            Evt.TRANSPORT_INDICATION,
            Evt.A_ASSOCIATE_RQ,
            Evt.A_ASSOCIATE_ACCEPT,
            Evt.P_DATA_TF,
            Evt.P_DATA_REQUEST,
            Evt.A_RELEASE_RQ,
            Evt.A_RELEASE_RESPONSE,
            Evt.TRANSPORT_CLOSED,
        ]
        self.assertEqual([2, 3, 6, 6, 6, 8, 13, 1], states_after(Machine(RecordingProvider()), events))

    def test_an_association_requested(self) -> None:
        """The requestor's way from the connection through data to its release."""
        events = [
            Evt.A_ASSOCIATE_REQUEST,
            Evt.TRANSPORT_CONFIRM,
            Evt.A_ASSOCIATE_AC,
            Evt.P_DATA_REQUEST,
            Evt.P_DATA_TF,
            Evt.A_RELEASE_REQUEST,
            Evt.P_DATA_TF,
            Evt.A_RELEASE_RP,
        ]
        self.assertEqual([4, 5, 6, 6, 6, 7, 7, 1], states_after(Machine(RecordingProvider(), requestor=True), events))

    def test_release_collision_on_both_sides(self) -> None:
        """Two that ask for release at once both come to the end: the requestor answers, then the acceptor."""
        collision = [Evt.A_RELEASE_REQUEST, Evt.A_RELEASE_RQ]
        requestor = Machine(RecordingProvider(), Sta.Sta6, requestor=True)
        acceptor = Machine(RecordingProvider(), Sta.Sta6)
        self.assertEqual([7, 9, 11, 1], states_after(requestor, [*collision, Evt.A_RELEASE_RESPONSE, Evt.A_RELEASE_RP]))
        self.assertEqual(
            [7, 10, 12, 13, 1],
            states_after(acceptor, [*collision, Evt.A_RELEASE_RP, Evt.A_RELEASE_RESPONSE, Evt.TRANSPORT_CLOSED]),
        )

    def test_acceptance_inside_the_indication(self) -> None:
        """A service user may accept while it is told of the request, and the association stands."""
        provider = AnsweringProvider(Evt.A_ASSOCIATE_ACCEPT, AC)
        self.assertEqual(Sta.Sta6, answer_inside(provider, Sta.Sta2, Evt.A_ASSOCIATE_RQ))
        self.assertEqual([("refusal", RQ), ("stop_artim",), ("issue", RQ), ("send", AC)], provider.calls)

    def test_rejection_inside_the_indication(self) -> None:
        """A service user may reject while it is told of the request, and ARTIM runs in the end."""
        provider = AnsweringProvider(Evt.A_ASSOCIATE_REJECT, RJ)
        self.assertEqual(Sta.Sta13, answer_inside(provider, Sta.Sta2, Evt.A_ASSOCIATE_RQ))
        expected = [("refusal", RQ), ("stop_artim",), ("issue", RQ), ("send", RJ), ("start_artim",)]
        self.assertEqual(expected, provider.calls)

    def test_abort_inside_a_data_indication(self) -> None:
        """A service user may abort while it is given data, and the association stays aborted."""
        provider = AnsweringProvider(Evt.A_ABORT_REQUEST)
        self.assertEqual(Sta.Sta13, answer_inside(provider, Sta.Sta6, Evt.P_DATA_TF))
        self.assertEqual([("issue_data", DATA), ("send", AAbort(0, 0)), ("start_artim",)], provider.calls)

    def test_release_answered_inside_the_indication(self) -> None:
        """A service user may answer a release while it is told of it."""
        provider = AnsweringProvider(Evt.A_RELEASE_RESPONSE)
        self.assertEqual(Sta.Sta13, answer_inside(provider, Sta.Sta6, Evt.A_RELEASE_RQ))
        self.assertEqual([("issue", RELEASE_RQ), ("send", RELEASE_RP), ("start_artim",)], provider.calls)
