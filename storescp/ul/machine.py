"""The DICOM Upper Layer state machine: PS3.8 9.2, Table 9-10 as it is printed, and its 28 actions.

The machine does nothing by itself: it tells its `Provider` what to send, what to issue to the service
user, what to do with the ARTIM timer and the transport. An action sets the new state first, then acts,
so that whatever the provider calls back in between meets the new state.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Protocol

import attrs

from storescp.errors import AbortReason
from storescp.ul.pdu import AAbort, AAssociateRJ, AAssociateRQ, AReleaseRP, AReleaseRQ


class Sta(IntEnum):
    """The states, PS3.8 Tables 9-1 to 9-5."""

    Sta1 = 1  # idle
    Sta2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ
    Sta3 = 3  # awaiting local A-ASSOCIATE response primitive
    Sta4 = 4  # awaiting transport connection opening to complete
    Sta5 = 5  # awaiting A-ASSOCIATE-AC or -RJ
    Sta6 = 6  # association established and ready for data transfer
    Sta7 = 7  # awaiting A-RELEASE-RP
    Sta8 = 8  # awaiting local A-RELEASE response primitive
    Sta9 = 9  # release collision, requestor: awaiting A-RELEASE response primitive
    Sta10 = 10  # release collision, acceptor: awaiting A-RELEASE-RP
    Sta11 = 11  # release collision, requestor: awaiting A-RELEASE-RP
    Sta12 = 12  # release collision, acceptor: awaiting A-RELEASE response primitive
    Sta13 = 13  # awaiting transport connection close indication


class Evt(IntEnum):
    """The events, in the order of the rows of Table 9-10."""

    A_ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRM = 2
    A_ASSOCIATE_AC = 3
    A_ASSOCIATE_RJ = 4
    TRANSPORT_INDICATION = 5
    A_ASSOCIATE_RQ = 6
    A_ASSOCIATE_ACCEPT = 7
    A_ASSOCIATE_REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_TF = 10
    A_RELEASE_REQUEST = 11
    A_RELEASE_RQ = 12
    A_RELEASE_RP = 13
    A_RELEASE_RESPONSE = 14
    A_ABORT_REQUEST = 15
    A_ABORT = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


TABLE_9_10 = """
Sta    1    2    3    4    5    6    7    8    9   10   11   12   13
Evt1  AE-1  .    .    .    .    .    .    .    .    .    .    .    .
Evt2   .    .    .   AE-2  .    .    .    .    .    .    .    .    .
Evt3   .   AA-1 AA-8  .   AE-3 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
Evt4   .   AA-1 AA-8  .   AE-4 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
Evt5  AE-5  .    .    .    .    .    .    .    .    .    .    .    .
Evt6   .   AE-6 AA-8  .   AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-7
Evt7   .    .   AE-7  .    .    .    .    .    .    .    .    .    .
Evt8   .    .   AE-8  .    .    .    .    .    .    .    .    .    .
Evt9   .    .    .    .    .   DT-1  .   AR-7  .    .    .    .    .
Evt10  .   AA-1 AA-8  .   AA-8 DT-2 AR-6 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
Evt11  .    .    .    .    .   AR-1  .    .    .    .    .    .    .
Evt12  .   AA-1 AA-8  .   AA-8 AR-2 AR-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
Evt13  .   AA-1 AA-8  .   AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
Evt14  .    .    .    .    .    .    .   AR-4 AR-9  .    .   AR-4  .
Evt15  .    .   AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  .
Evt16  .   AA-2 AA-3  .   AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-2
Evt17  .   AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AR-5
Evt18  .   AA-2  .    .    .    .    .    .    .    .    .    .   AA-2
Evt19  .   AA-1 AA-8  .   AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-7
"""


@attrs.frozen
class PAbort:
    """The A-P-ABORT indication, PS3.8 7.4: a service provider ends the association.

    `reason` is that of the A-ABORT sent or received, or NOT_SPECIFIED where the connection was lost.
    """

    reason: int


class Provider(Protocol):
    """What the machine tells: the services it needs of whoever owns the transport and the clock."""

    def connect(self) -> None:
        """Issue a TRANSPORT CONNECT request."""

    def refusal(self, request: AAssociateRQ) -> AAssociateRJ | None:
        """Why this service provider does not accept `request`, or None where it does."""

    def send(self, pdu: Any) -> None:
        """Send a PDU."""

    def send_data(self, pdus: bytes) -> None:
        """Send P-DATA-TF PDUs, already encoded."""

    def issue(self, primitive: Any) -> None:
        """Issue an indication or confirmation to the service user: the PDU it stands for, or a `PAbort`."""

    def issue_data(self, body: memoryview) -> None:
        """Issue a P-DATA indication: the body of a P-DATA-TF."""

    def start_artim(self) -> None:
        """Start the ARTIM timer, or start it again."""

    def stop_artim(self) -> None:
        """Stop the ARTIM timer if it runs."""

    def close(self) -> None:
        """Close the transport connection."""


_STA6 = Sta.Sta6  # to look it up takes as long as the rest of DT-2


class Machine:
    """One association's state. `process` is the only way to change it."""

    def __init__(self, provider: Provider, state: Sta = Sta.Sta1, requestor: bool = False) -> None:
        self._provider = provider
        self.state = state
        self.requestor = requestor

    def process(self, event: Evt, argument: Any = None) -> None:
        """Do what the table says for `event`.

        `argument` is what came with the event: the PDU received or to be sent, the body of a P-DATA-TF,
        encoded P-DATA-TF PDUs, the `InvalidPDU` error. A blank cell raises RuntimeError: no peer can
        reach one, so it is our mistake.
        """
        _CELLS[self.state][event](self, event, argument)

    def _abort_by_provider(self, event: Evt, argument: Any) -> int:
        reason: int = argument.reason if event is Evt.INVALID_PDU else AbortReason.UNEXPECTED_PDU
        self._provider.send(AAbort(AAbort.SERVICE_PROVIDER, reason))
        return reason

    def AE_1(self, event: Evt, request: AAssociateRQ) -> None:
        """Issue a TRANSPORT CONNECT request."""
        self.state = Sta.Sta4
        self._provider.connect()

    def AE_2(self, event: Evt, request: AAssociateRQ) -> None:
        """Send the A-ASSOCIATE-RQ."""
        self.state = Sta.Sta5
        self._provider.send(request)

    def AE_3(self, event: Evt, pdu: Any) -> None:
        """Issue the A-ASSOCIATE confirmation (accept)."""
        self.state = Sta.Sta6
        self._provider.issue(pdu)

    def AE_4(self, event: Evt, pdu: Any) -> None:
        """Issue the A-ASSOCIATE confirmation (reject) and close the transport connection."""
        self.state = Sta.Sta1
        self._provider.issue(pdu)
        self._provider.close()

    def AE_5(self, event: Evt, argument: None) -> None:
        """Start ARTIM; the transport has accepted the connection by itself."""
        self.state = Sta.Sta2
        self._provider.start_artim()

    def AE_6(self, event: Evt, request: AAssociateRQ) -> None:
        """Stop ARTIM; issue the A-ASSOCIATE indication, or reject as the service provider and start ARTIM."""
        refusal = self._provider.refusal(request)
        self.state = Sta.Sta13 if refusal else Sta.Sta3
        self._provider.stop_artim()
        if refusal:
            self._provider.send(refusal)
            self._provider.start_artim()
        else:
            self._provider.issue(request)

    def AE_7(self, event: Evt, answer: Any) -> None:
        """Send the A-ASSOCIATE-AC."""
        self.state = Sta.Sta6
        self._provider.send(answer)

    def AE_8(self, event: Evt, answer: Any) -> None:
        """Send the A-ASSOCIATE-RJ and start ARTIM."""
        self.state = Sta.Sta13
        self._provider.send(answer)
        self._provider.start_artim()

    def DT_1(self, event: Evt, pdus: bytes) -> None:
        """Send P-DATA-TF."""
        self.state = Sta.Sta6
        self._provider.send_data(pdus)

    def DT_2(self, event: Evt, body: memoryview) -> None:
        """Issue the P-DATA indication."""
        self.state = _STA6
        self._provider.issue_data(body)

    def AR_1(self, event: Evt, argument: None) -> None:
        """Send the A-RELEASE-RQ."""
        self.state = Sta.Sta7
        self._provider.send(AReleaseRQ())

    def AR_2(self, event: Evt, pdu: AReleaseRQ) -> None:
        """Issue the A-RELEASE indication."""
        self.state = Sta.Sta8
        self._provider.issue(pdu)

    def AR_3(self, event: Evt, pdu: AReleaseRP) -> None:
        """Issue the A-RELEASE confirmation and close the transport connection."""
        self.state = Sta.Sta1
        self._provider.issue(pdu)
        self._provider.close()

    def AR_4(self, event: Evt, argument: None) -> None:
        """Send the A-RELEASE-RP and start ARTIM."""
        self.state = Sta.Sta13
        self._provider.send(AReleaseRP())
        self._provider.start_artim()

    def AR_5(self, event: Evt, argument: None) -> None:
        """Stop ARTIM."""
        self.state = Sta.Sta1
        self._provider.stop_artim()

    def AR_6(self, event: Evt, body: memoryview) -> None:
        """Issue the P-DATA indication."""
        self.state = Sta.Sta7
        self._provider.issue_data(body)

    def AR_7(self, event: Evt, pdus: bytes) -> None:
        """Send P-DATA-TF."""
        self.state = Sta.Sta8
        self._provider.send_data(pdus)

    def AR_8(self, event: Evt, pdu: AReleaseRQ) -> None:
        """Issue the A-RELEASE indication: release collision."""
        self.state = Sta.Sta9 if self.requestor else Sta.Sta10
        self._provider.issue(pdu)

    def AR_9(self, event: Evt, argument: None) -> None:
        """Send the A-RELEASE-RP."""
        self.state = Sta.Sta11
        self._provider.send(AReleaseRP())

    def AR_10(self, event: Evt, pdu: AReleaseRP) -> None:
        """Issue the A-RELEASE confirmation."""
        self.state = Sta.Sta12
        self._provider.issue(pdu)

    def AA_1(self, event: Evt, argument: Any) -> None:
        """Send an A-ABORT, source service user, and start ARTIM, or start it again."""
        self.state = Sta.Sta13
        self._provider.send(AAbort(AAbort.SERVICE_USER, AbortReason.NOT_SPECIFIED))
        self._provider.start_artim()

    def AA_2(self, event: Evt, argument: Any) -> None:
        """Stop ARTIM and close the transport connection."""
        self.state = Sta.Sta1
        self._provider.stop_artim()
        self._provider.close()

    def AA_3(self, event: Evt, pdu: AAbort) -> None:
        """Issue the A-ABORT indication, or A-P-ABORT where the peer's provider aborted, and close the connection."""
        self.state = Sta.Sta1
        self._provider.issue(pdu if pdu.source == AAbort.SERVICE_USER else PAbort(pdu.reason))
        self._provider.close()

    def AA_4(self, event: Evt, argument: Any) -> None:
        """Issue the A-P-ABORT indication."""
        self.state = Sta.Sta1
        self._provider.issue(PAbort(AbortReason.NOT_SPECIFIED))

    def AA_5(self, event: Evt, argument: Any) -> None:
        """Stop ARTIM."""
        self.state = Sta.Sta1
        self._provider.stop_artim()

    def AA_6(self, event: Evt, argument: Any) -> None:
        """Ignore the PDU."""
        self.state = Sta.Sta13

    def AA_7(self, event: Evt, argument: Any) -> None:
        """Send an A-ABORT, source service provider."""
        self.state = Sta.Sta13
        self._abort_by_provider(event, argument)

    def AA_8(self, event: Evt, argument: Any) -> None:
        """Send an A-ABORT, source service provider, issue the A-P-ABORT indication and start ARTIM."""
        self.state = Sta.Sta13
        reason = self._abort_by_provider(event, argument)
        self._provider.issue(PAbort(reason))
        self._provider.start_artim()

    def _blank(self, event: Evt, argument: Any) -> None:
        raise RuntimeError(f"Table 9-10 has no action for {event!r} in {self.state!r}")


_Action = Callable[[Machine, Evt, Any], None]


def _compile(table: str) -> tuple[tuple[_Action, ...], ...]:
    """The table as `cells[state][event]`; index 0 is not used, as the standard counts from 1."""
    _header, *rows = (line.split()[1:] for line in table.strip().splitlines())
    blank = Machine._blank
    actions = [[blank if name == "." else getattr(Machine, name.replace("-", "_")) for name in row] for row in rows]
    return ((), *((blank, *column) for column in zip(*actions, strict=True)))


_CELLS = _compile(TABLE_9_10)
