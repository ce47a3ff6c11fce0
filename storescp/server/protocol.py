"""ULProtocol: the service provider of one connection, between a Twisted transport and the state machine."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.config import Config
from storescp.errors import AbortReason, InvalidMessage, InvalidPDU
from storescp.server.timers import Timer
from storescp.ul.framing import Framer
from storescp.ul.machine import Evt, Machine, PAbort, Sta
from storescp.ul.pdu import (
    AAbort,
    AAssociateAC,
    AAssociateRJ,
    AAssociateRQ,
    AReleaseRP,
    AReleaseRQ,
    PDataTF,
)

_log = Logger()

# An A-ASSOCIATE-RQ of 128 contexts with 64 transfer syntaxes each is some 200 KB.
LONGEST_ASSOCIATE = 256 * 1024
CLOSING = 2.0  # seconds for a close in order, before the transport is aborted
UNREAD = 30.0  # seconds for a peer to read what we have sent, before the transport is aborted

_CONTROL: dict[int, tuple[Evt, str, Callable[[memoryview], Any]]] = {
    AAssociateRQ.TYPE: (Evt.A_ASSOCIATE_RQ, "A-ASSOCIATE-RQ", AAssociateRQ.decode),
    AAssociateAC.TYPE: (Evt.A_ASSOCIATE_AC, "A-ASSOCIATE-AC", AAssociateAC.decode),
    AAssociateRJ.TYPE: (Evt.A_ASSOCIATE_RJ, "A-ASSOCIATE-RJ", AAssociateRJ.decode),
    AReleaseRQ.TYPE: (Evt.A_RELEASE_RQ, "A-RELEASE-RQ", AReleaseRQ.decode),
    AReleaseRP.TYPE: (Evt.A_RELEASE_RP, "A-RELEASE-RP", AReleaseRP.decode),
    AAbort.TYPE: (Evt.A_ABORT, "A-ABORT", AAbort.decode),
}
_LENGTHS = {
    AAssociateRQ.TYPE: LONGEST_ASSOCIATE,
    AAssociateAC.TYPE: LONGEST_ASSOCIATE,
    AAssociateRJ.TYPE: 4,
    AReleaseRQ.TYPE: 4,
    AReleaseRP.TYPE: 4,
    AAbort.TYPE: 4,
}
_UNEXPECTED = "unexpected {} PDU"


class ServiceUser:
    """What a service provider issues to its user, PS3.8 7: one method an indication or confirmation."""

    provider: "ULProtocol"

    def refusal(self, request: AAssociateRQ) -> AAssociateRJ | None:
        """Why the service provider must not even indicate `request`, or None."""
        return None

    def associate_indicated(self, request: AAssociateRQ) -> None: ...

    def associate_confirmed(self, answer: AAssociateAC | AAssociateRJ) -> None: ...

    def data_indicated(self, body: memoryview) -> None:
        """The body of a P-DATA-TF. Raises `InvalidPDU` or `InvalidMessage` for what is wrong with it."""

    @property
    def within_message(self) -> bool:
        """Whether the peer owes us another fragment."""
        return False

    def release_indicated(self) -> None: ...

    def release_confirmed(self) -> None: ...

    def aborted(self, abort: AAbort | PAbort, cause: str) -> None:
        """The association has ended, by whomever; `cause` says why in our words."""

    def connection_refused(self, cause: str) -> None:
        """The connection ends before there was an association."""

    def connection_lost(self) -> None:
        """The transport connection is gone: the last call."""


@attrs.frozen(kw_only=True)
class Limits:
    """Seconds a connection is given, None for any number, and the longest P-DATA-TF body it accepts."""

    acse_timeout: float
    dimse_timeout: float | None
    timeout: float | None
    max_pdu: int

    @classmethod
    def from_config(cls, config: Config) -> "Limits":
        return cls(
            acse_timeout=config.acse_timeout,
            dimse_timeout=config.dimse_timeout,
            timeout=config.timeout,
            max_pdu=config.max_pdu,
        )


def describe(address: IAddress | None) -> str:
    """An address as the log shows it."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return os.fsdecode(getattr(address, "name", None) or "local")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ULProtocol(Protocol):
    """The Upper Layer service provider on one connection.

    Turns bytes into events for the `Machine` and does what the machine says (it is its `Provider`), owns
    the timers, and offers the request and response primitives to its `ServiceUser`. With `request` it is
    the requestor and sends that A-ASSOCIATE-RQ once connected; without, it is the acceptor.
    """

    def __init__(
        self, user: ServiceUser, clock: IReactorTime, limits: Limits, request: AAssociateRQ | None = None
    ) -> None:
        self._user = user
        user.provider = self
        self._limits = limits
        self._request = request
        self._machine = Machine(self, requestor=request is not None)
        self._framer = Framer({**_LENGTHS, PDataTF.TYPE: limits.max_pdu})
        self._artim = Timer(clock, limits.acse_timeout, self._artim_expired)
        self._silence = Timer(clock, limits.timeout, self._silence_expired)
        self._fragment = Timer(clock, limits.dimse_timeout, self._fragment_expired)
        self._unread = Timer(clock, UNREAD, self._unread_expired)
        self._closing = Timer(clock, CLOSING, self._abort_transport)
        self._chunks: deque[bytes] = deque()  # received, and not yet cut into PDUs
        self._pdus: Iterator[tuple[int, memoryview]] = iter(())  # of the latest chunk
        self._receiving = False
        self._connected = False  # and not closing
        self._requested = False  # an association has been, whatever was the answer
        self._abort_sent = False
        self._holds = 0
        self._cause = _UNEXPECTED.format("P-DATA-TF")  # what an abort by the provider is put down to
        self._lost = "the connection was lost"  # and what the end of the transport is

    @property
    def state(self) -> Sta:
        return self._machine.state

    @property
    def peer(self) -> str:
        """The address at the other end, as the log shows it."""
        assert self.transport is not None
        return describe(self.transport.getPeer())

    # The protocol: what Twisted calls.

    def connectionMade(self) -> None:
        self._connected = True
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # a response of 100 bytes must not wait for an acknowledgement
        self._flow.registerProducer(_Reading(self), True)
        self._silence.start()
        if self._request is None:
            self._machine.process(Evt.TRANSPORT_INDICATION)
        else:
            self._machine.process(Evt.A_ASSOCIATE_REQUEST, self._request)
            self._machine.process(Evt.TRANSPORT_CONFIRM, self._request)

    def dataReceived(self, data: bytes) -> None:
        if not self._holds and self.state is not Sta.Sta13:
            self._silence.start()
        self._chunks.append(data)
        self._receive()

    def _receive(self) -> None:
        """Issue what has come, up to a `hold`."""
        if self._receiving:  # a `resume` from within: the loop below goes on by itself
            return
        self._receiving = True
        try:
            while not self._holds:
                pdu = next(self._pdus, None)
                if pdu is None:
                    if not self._chunks:
                        break
                    self._pdus = self._framer.feed(self._chunks.popleft())
                elif pdu[0] == PDataTF.TYPE:
                    self._machine.process(Evt.P_DATA_TF, pdu[1])
                else:
                    self._control_received(*pdu)
        except InvalidPDU as error:
            self._invalid_received(error)
        except Exception:
            _log.failure("An association failed: this is a mistake in storescp")
            self._framer.stop()
            self.abort("this server failed")
        finally:
            self._receiving = False

    def _control_received(self, pdu_type: int, body: memoryview) -> None:
        event, name, decode = _CONTROL[pdu_type]
        try:
            pdu = decode(body)
        except InvalidPDU as error:
            self._invalid_received(error)
            return
        cause = self._cause
        self._cause = "by the peer" if event is Evt.A_ABORT else _UNEXPECTED.format(name)
        self._machine.process(event, pdu)
        self._cause = cause

    def _invalid_received(self, error: InvalidPDU) -> None:
        self._cause = str(error)
        self._machine.process(Evt.INVALID_PDU, error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connected = False
        self._framer.stop()
        self._cause = self._lost
        try:
            if self.state is not Sta.Sta1:
                self._machine.process(Evt.TRANSPORT_CLOSED)
        finally:
            for timer in (self._artim, self._silence, self._fragment, self._unread, self._closing):
                timer.stop()
            self._user.connection_lost()

    # The service: what the user requests and responds.

    def associate_response(self, answer: AAssociateAC | AAssociateRJ) -> None:
        accepted = isinstance(answer, AAssociateAC)
        self._machine.process(Evt.A_ASSOCIATE_ACCEPT if accepted else Evt.A_ASSOCIATE_REJECT, answer)

    def data_request(self, pdus: bytes) -> None:
        """Send whole P-DATA-TF PDUs."""
        self._machine.process(Evt.P_DATA_REQUEST, pdus)

    def release_request(self) -> None:
        self._machine.process(Evt.A_RELEASE_REQUEST)

    def release_response(self) -> None:
        self._machine.process(Evt.A_RELEASE_RESPONSE)

    def abort(self, cause: str) -> None:
        """End the association with an A-ABORT, or the connection where there is no association."""
        if self.state in (Sta.Sta2, Sta.Sta13):
            self._end_unrequested(cause)
            self._machine.process(Evt.ARTIM_EXPIRED)
        elif self.state is not Sta.Sta1:
            self._machine.process(Evt.A_ABORT_REQUEST)
            self._user.aborted(AAbort(AAbort.SERVICE_USER, AbortReason.NOT_SPECIFIED), cause)

    def hold(self) -> None:
        """Issue no more of what is received, and receive no more, until `resume` was called as often."""
        self._holds += 1
        if self._holds == 1 and self._connected:
            self._silence.stop()  # while it is us who do not listen
            self._fragment.stop()
            self._flow.pauseProducing()

    def resume(self) -> None:
        self._holds -= 1
        if not self._holds:
            self._receive()
        if not self._holds and self._connected:
            if self.state is not Sta.Sta13:
                self._silence.start()
                if self._user.within_message:
                    self._fragment.start()
            self._flow.resumeProducing()

    @property
    def _flow(self) -> Any:
        return self.transport  # every stream transport is an IPushProducer; ITransport does not say so

    # The machine's provider: what Table 9-10 does.

    def connect(self) -> None:
        """Twisted connects first and makes a protocol then."""

    def refusal(self, request: AAssociateRQ) -> AAssociateRJ | None:
        self._requested = True
        return self._user.refusal(request)

    def send(self, pdu: Any) -> None:
        if isinstance(pdu, AAbort):
            if self._abort_sent:  # one is enough, whatever comes after it
                return
            self._abort_sent = True
            self._end_unrequested(self._cause)
        self.send_data(pdu.encode())

    def send_data(self, pdus: bytes) -> None:
        assert self.transport is not None
        self.transport.write(pdus)

    def issue(self, primitive: Any) -> None:
        if isinstance(primitive, AAssociateRQ):
            self._user.associate_indicated(primitive)
        elif isinstance(primitive, AAssociateAC | AAssociateRJ):
            self._requested = True
            self._user.associate_confirmed(primitive)
        elif isinstance(primitive, AReleaseRQ):
            self._fragment.stop()
            self._user.release_indicated()
        elif isinstance(primitive, AReleaseRP):
            self._user.release_confirmed()
        else:
            self._user.aborted(primitive, self._cause)

    def issue_data(self, body: memoryview) -> None:
        try:
            self._user.data_indicated(body)
        except InvalidPDU as error:
            self._invalid_received(error)
            return
        except InvalidMessage as error:
            self.abort(str(error))
            return
        if self._user.within_message and not self._holds:
            self._fragment.start()
        else:
            self._fragment.stop()

    def start_artim(self) -> None:
        if self.state is Sta.Sta13:  # from now on nothing else is waited for
            self._silence.stop()
            self._fragment.stop()
        self._artim.start()

    def stop_artim(self) -> None:
        self._artim.stop()

    def close(self) -> None:
        self._framer.stop()
        self._silence.stop()
        self._fragment.stop()
        if self._connected:
            self._connected = False
            assert self.transport is not None
            self._flow.unregisterProducer()  # loseConnection would wait for it
            self._unread.stop()
            self._closing.start()
            self.transport.loseConnection()

    def _end_unrequested(self, cause: str) -> None:
        """Tell the user, once, of a connection that ends without an A-ASSOCIATE-RQ."""
        if not self._requested:
            self._requested = True
            self._user.connection_refused(cause)

    # The timers.

    def _artim_expired(self) -> None:
        self._end_unrequested(f"no A-ASSOCIATE-RQ within {self._limits.acse_timeout:g} s (-ta)")
        self._machine.process(Evt.ARTIM_EXPIRED)

    def _silence_expired(self) -> None:
        self.abort(f"nothing from the peer for {self._limits.timeout:g} s (-to)")

    def _fragment_expired(self) -> None:
        self.abort(f"no further fragment of a message for {self._limits.dimse_timeout:g} s (-td)")

    def _unread_expired(self) -> None:
        self._lost = f"the peer has read nothing for {UNREAD:g} s"
        self._abort_transport()

    def _abort_transport(self) -> None:
        self._flow.abortConnection()

    # The peer does not read, or reads again: what `_Reading` is told.

    def unread(self) -> None:
        self._unread.start()
        self.hold()

    def read(self) -> None:
        self._unread.stop()
        self.resume()


@implementer(IPushProducer)
class _Reading:
    """Reading from a peer, as the producer of what is written to it: who does not read is not read."""

    def __init__(self, protocol: ULProtocol) -> None:
        self.pauseProducing = protocol.unread
        self.resumeProducing = protocol.read

    def stopProducing(self) -> None:
        """The connection is lost; the protocol is told that anyway."""
