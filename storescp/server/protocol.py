"""ULProtocol: the service provider of one connection, between a Twisted transport and the state machine."""

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.config import Config
from storescp.errors import AbortReason, Cause, InvalidMessage, InvalidPDU
from storescp.interfaces import Certificate
from storescp.server.timers import Timer
from storescp.server.turns import GLANCE, TURN, Turns
from storescp.ul.framing import Framer
from storescp.ul.items import ParameterLimits
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

READ = 640 * 1024  # bytes read at a time, if there are as many: a slice of 512 KiB with its headers
CLOSING = 2.0  # seconds for a close in order, before the transport is aborted
UNREAD = 30.0  # seconds for a peer to read what we have sent, before the transport is aborted

_Control = tuple[Evt, str, Callable[[memoryview], Any]]

_CONTROL: dict[int, _Control] = {
    AAssociateAC.TYPE: (Evt.A_ASSOCIATE_AC, "A-ASSOCIATE-AC", AAssociateAC.decode),
    AAssociateRJ.TYPE: (Evt.A_ASSOCIATE_RJ, "A-ASSOCIATE-RJ", AAssociateRJ.decode),
    AReleaseRQ.TYPE: (Evt.A_RELEASE_RQ, "A-RELEASE-RQ", AReleaseRQ.decode),
    AReleaseRP.TYPE: (Evt.A_RELEASE_RP, "A-RELEASE-RP", AReleaseRP.decode),
    AAbort.TYPE: (Evt.A_ABORT, "A-ABORT", AAbort.decode),
}
_LENGTHS = dict.fromkeys((AAssociateRJ.TYPE, AReleaseRQ.TYPE, AReleaseRP.TYPE, AAbort.TYPE), 4)
_UNEXPECTED = "unexpected {} PDU"
_BY_PEER = Cause("peer", "by the peer")
_LOST = Cause("connection", "the connection was lost")
_FAILED = Cause("failure", "this server failed")
# To look up a member of an enumeration takes as long as the action of P-DATA.
_P_DATA_TF, _EVT10 = PDataTF.TYPE, Evt.P_DATA_TF
_DATA_TRANSFER = (Sta.Sta6, Sta.Sta7)  # the states in which P-DATA is indicated
_OPENSSL_REASON = re.compile(r"'([^']+)'\)")
_MAPPED = "::ffff:"
# What OpenSSL says of bytes that are no TLS.
_NO_TLS = ("wrong version number", "http request", "https proxy request", "packet length too long")


class ServiceUser:
    """What a service provider issues to its user, PS3.8 7: one method an indication or confirmation."""

    provider: "ULProtocol"
    association_id: str | None = None  # for the log

    def connected(self) -> None:
        """There is a transport connection: the first call."""

    def refusal(self, request: AAssociateRQ) -> AAssociateRJ | None:
        """Why the service provider must not even indicate `request`, or None."""
        return None

    def associate_indicated(self, request: AAssociateRQ) -> None: ...

    def associate_confirmed(self, answer: AAssociateAC | AAssociateRJ) -> None: ...

    def data_indicated(self, body: memoryview) -> memoryview | None:
        """The body of a P-DATA-TF; or what this has left of it the last time: it need not take all at once.

        Raises `InvalidPDU` or `InvalidMessage` for what is wrong with it. After the association has ended it is
        not called again.
        """
        return None

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
    """Seconds a connection is given, None for any number, and what of a PDU it accepts, in bytes and in parameters."""

    acse_timeout: float
    dimse_timeout: float | None
    timeout: float | None
    max_pdu: int
    max_associate: int
    parameters: ParameterLimits

    @classmethod
    def from_config(cls, config: Config) -> "Limits":
        return cls(
            acse_timeout=config.acse_timeout,
            dimse_timeout=config.dimse_timeout,
            timeout=config.timeout,
            max_pdu=config.max_pdu,
            max_associate=config.max_associate_rq,
            parameters=ParameterLimits.from_config(config),
        )

    @property
    def lengths(self) -> dict[int, int]:
        """The longest body of each type of PDU."""
        return {
            **_LENGTHS,
            PDataTF.TYPE: self.max_pdu,
            AAssociateRQ.TYPE: self.max_associate,
            AAssociateAC.TYPE: self.max_associate,
        }


def describe(address: IAddress | None) -> str:
    """An address as the log shows it."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return os.fsdecode(getattr(address, "name", None) or "local")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _failed(reason: Failure) -> Cause:
    """Why a transport has failed otherwise than by an end of the connection: TLS has."""
    text = reason.getErrorMessage()
    if not reason.value.__class__.__module__.startswith("OpenSSL"):
        return Cause("connection", text)
    said = _OPENSSL_REASON.findall(text)  # it prints as a list of (library, function, reason)
    if any(each in _NO_TLS for each in said):
        return Cause("tls", "it does not speak TLS, and this port does")
    return Cause("tls", f"TLS failed: {said[-1] if said else text}")


class ULProtocol(Protocol):
    """The Upper Layer service provider on one connection.

    Turns bytes into events for the `Machine` and does what the machine says (it is its `Provider`), owns
    the timers, and offers the request and response primitives to its `ServiceUser`. With `request` it is
    the requestor and sends that A-ASSOCIATE-RQ once connected; without, it is the acceptor.
    """

    def __init__(
        self,
        user: ServiceUser,
        clock: IReactorTime,
        limits: Limits,
        turns: Turns,
        request: AAssociateRQ | None = None,
    ) -> None:
        self._user = user
        user.provider = self
        self._limits = limits
        self._request = request
        self._machine = Machine(self, requestor=request is not None)
        self._framer = Framer(limits.lengths)
        decode_request = partial(AAssociateRQ.decode, limits=limits.parameters)
        self._control: dict[int, _Control] = {
            **_CONTROL,
            AAssociateRQ.TYPE: (Evt.A_ASSOCIATE_RQ, "A-ASSOCIATE-RQ", decode_request),
        }
        self._artim = Timer(clock, limits.acse_timeout, self._artim_expired)
        self._silence = Timer(clock, limits.timeout, self._silence_expired)
        self._fragment = Timer(clock, limits.dimse_timeout, self._fragment_expired)
        self._unread = Timer(clock, UNREAD, self._unread_expired)
        self._closing = Timer(clock, CLOSING, self._abort_transport)
        self._turns = turns
        self._seconds = turns.seconds
        self._turn_ends = 0.0
        self._chunks: deque[bytes] = deque()  # received, and not yet cut into PDUs
        self._pdus = self._frame()
        self._rest: memoryview | None = None  # of the latest P-DATA-TF, which the user has not yet taken
        self._data_issued = False  # since the fragment timer was looked after
        self._receiving = False
        self._paused = False  # the transport is
        self._connected = False  # and not closing
        self.heard = False  # anything
        self._requested = False  # an association has been, whatever was the answer
        self._abort_sent = False
        # What sends at once and says how much, until something waits to be sent: to hand a response to the reactor,
        # which sends it in its next round, costs more than to make it.
        self._send_now: Callable[[bytes], int | Exception] | None = None
        self._holds = 0
        self._cause = _UNEXPECTED.format("P-DATA-TF")  # what an abort by the provider is put down to
        self._lost = _LOST  # and what the end of the transport is

    @property
    def state(self) -> Sta:
        return self._machine.state

    @property
    def peer(self) -> str:
        """The address at the other end, as the log shows it."""
        assert self.transport is not None
        return describe(self.transport.getPeer())

    @property
    def host(self) -> str:
        """What of the address all connections of one peer have in common; empty for those of this machine's sockets."""
        assert self.transport is not None
        host: str = getattr(self.transport.getPeer(), "host", "")
        # A socket for IPv6 has another name for a host that uses IPv4.
        return host.removeprefix(_MAPPED) if "." in host else host

    @property
    def secure(self) -> bool:
        """Whether TLS is between us and the peer."""
        return ISSLTransport.providedBy(self.transport)

    @property
    def certificate(self) -> Certificate | None:
        """The peer's, once TLS has shaken hands, where it was asked for one."""
        transport: Any = self.transport
        certificate = transport.getPeerCertificate() if self.secure else None
        if certificate is None:
            return None
        from storescp.server.tls import certificate_of  # noqa: PLC0415  # its libraries are there only where TLS is

        return certificate_of(certificate)

    # The protocol: what Twisted calls.

    def connectionMade(self) -> None:
        self._connected = True
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # a response of 100 bytes must not wait for an acknowledgement
        # A wrapper would let us write past its encryption.
        if isinstance(self.transport, Connection) and not self.transport.TLS:
            self.transport.bufferSize = READ
            self._send_now = self.transport.writeSomeData
        self._flow.registerProducer(_Reading(self), True)
        self._silence.start()
        if self._request is None:
            self._machine.process(Evt.TRANSPORT_INDICATION)
        else:
            self._machine.process(Evt.A_ASSOCIATE_REQUEST, self._request)
            self._machine.process(Evt.TRANSPORT_CONFIRM, self._request)
        self._user.connected()

    def dataReceived(self, data: bytes) -> None:
        if not self._holds and self.state is not Sta.Sta13:
            self._silence.start()
        self.heard = True
        if self._framer.stopped:
            return
        self._chunks.append(data)
        self._receive(GLANCE)

    def _receive(self, seconds: float) -> None:
        """Issue what has come, up to a `hold`; what there is no time for waits for its turn."""
        if self._receiving:  # a `resume` from within: the loop below goes on by itself
            return
        self._receiving = True
        self._turn_ends = self._seconds() + seconds
        try:
            self._issue_all()
        except Exception:
            _log.failure("An association failed: this is a mistake in storescp", association=self._user.association_id)
            self._stop_receiving()
            self.abort(_FAILED)
        finally:
            self._receiving = False

    def _issue_all(self) -> None:
        try:
            while not self._holds and self._issue_next():
                if self._seconds() > self._turn_ends and self._has_more:
                    self.hold()
                    self._turns.wait(self._take_turn)
        except InvalidPDU as error:  # of the framer
            self._invalid_received(error)
        if self._holds and self._has_more:
            self._pause()
        if self._data_issued:
            self._data_issued = False
            self._await_fragment()

    def _issue_next(self) -> bool:
        """Issue the rest of a P-DATA-TF, or a PDU. False where there is none that is whole."""
        if self._rest is not None:
            self._issue_rest(self._rest)
            return True
        pdu = next(self._pdus, None)
        if pdu is None:
            return False
        pdu_type, body = pdu
        if pdu_type == _P_DATA_TF:
            self._machine.process(_EVT10, body)
        else:
            self._control_received(pdu_type, body)
        return True

    def _frame(self) -> Iterator[tuple[int, memoryview] | None]:
        """Each PDU of what was received; None as often as there is none that is whole."""
        while True:
            while self._chunks:
                yield from self._framer.feed(self._chunks.popleft())
            yield None

    def _issue_rest(self, rest: memoryview) -> None:
        self._rest = None
        if self.state in _DATA_TRANSFER:
            self.issue_data(rest)

    @property
    def _has_more(self) -> bool:
        """Whether something of what was received could be issued."""
        return self._rest is not None or self._framer.has_more or bool(self._chunks)

    def _stop_receiving(self) -> None:
        self._framer.stop()
        self._chunks.clear()
        self._rest = None

    def _take_turn(self) -> None:
        self._resume(TURN)

    def _control_received(self, pdu_type: int, body: memoryview) -> None:
        event, name, decode = self._control[pdu_type]
        try:
            pdu = decode(body)
        except InvalidPDU as error:
            self._invalid_received(error)
            return
        cause = self._cause
        self._cause = _BY_PEER if event is Evt.A_ABORT else _UNEXPECTED.format(name)
        self._machine.process(event, pdu)
        self._cause = cause

    def _invalid_received(self, error: InvalidPDU) -> None:
        self._cause = error.cause
        self._machine.process(Evt.INVALID_PDU, error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connected = False
        self._stop_receiving()
        self._cause = self._lost
        try:
            if self.state is Sta.Sta2:
                self._lost_unrequested(reason)
            if self.state is not Sta.Sta1:
                self._machine.process(Evt.TRANSPORT_CLOSED)
        finally:
            for timer in (self._artim, self._silence, self._fragment, self._unread, self._closing):
                timer.stop()
            self._turns.leave(self._take_turn)
            self._user.connection_lost()

    def _lost_unrequested(self, reason: Failure) -> None:
        refused = getattr(self.transport, "refused", "")  # by what is between us and the peer, in words of ours
        if refused or not reason.check(ConnectionClosed):
            self._end_unrequested(refused or _failed(reason))
        elif self.heard:  # of those that only look whether somebody listens there is nothing to tell
            self._end_unrequested(self._lost)

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

    def evict(self, cause: str) -> None:
        """Make room: end a connection without an association, now and whatever is still to be sent on it."""
        self.abort(cause)
        self._abort_transport()

    def hold(self) -> None:
        """Issue no more of what is received, and receive no more, until `resume` was called as often."""
        self._holds += 1
        if self._holds == 1:
            self._silence.stop()  # while it is us who do not listen
            self._fragment.stop()
            # The transport goes on until there is something to hold: most peers wait for us then, as we for them.

    def resume(self) -> None:
        self._resume(GLANCE)

    def _resume(self, seconds: float) -> None:
        self._holds -= 1
        if not self._holds:
            self._receive(seconds)
        if not self._holds and self._connected:
            if self.state is not Sta.Sta13:
                self._silence.start()
            self._await_fragment()
            if self._paused:
                self._paused = False
                self._flow.resumeProducing()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._flow.pauseProducing()

    def _await_fragment(self) -> None:
        if self._user.within_message and self.state in _DATA_TRANSFER and not self._holds:
            self._fragment.start()
        else:
            self._fragment.stop()

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
        if self._send_now is None:
            self.transport.write(pdus)
            return
        sent = self._send_now(pdus)
        if sent != len(pdus):
            # From now on the transport keeps what waits, as much as its buffer size, and finds out what has failed.
            self._send_now = None
            self._flow.bufferSize = Connection.bufferSize
            self.transport.write(pdus[sent:] if isinstance(sent, int) else pdus)

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
        self._data_issued = True
        try:
            self._rest = self._user.data_indicated(body)
        except InvalidPDU as error:
            self._invalid_received(error)
        except InvalidMessage as error:
            self.abort(error.cause)

    def start_artim(self) -> None:
        if self.state is Sta.Sta13:  # from now on nothing else is waited for
            self._silence.stop()
            self._fragment.stop()
        self._artim.start()

    def stop_artim(self) -> None:
        self._artim.stop()

    def close(self) -> None:
        self._end_unrequested(self._cause)
        self._stop_receiving()
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
        seconds = self._limits.acse_timeout
        self._end_unrequested(Cause("acse_timeout", f"no A-ASSOCIATE-RQ within {seconds:g} s (-ta)"))
        self._machine.process(Evt.ARTIM_EXPIRED)

    def _silence_expired(self) -> None:
        self.abort(Cause("timeout", f"nothing from the peer for {self._limits.timeout:g} s (-to)"))

    def _fragment_expired(self) -> None:
        seconds = self._limits.dimse_timeout
        self.abort(Cause("dimse_timeout", f"no further fragment of a message for {seconds:g} s (-td)"))

    def _unread_expired(self) -> None:
        self._lost = Cause("unread", f"the peer has not read what was sent to it for {UNREAD:g} s")
        self._abort_transport()

    def _abort_transport(self) -> None:
        self._flow.abortConnection()

    # The peer does not read, or reads again: what `_Reading` is told.

    def unread(self) -> None:
        self._unread.start()
        self.hold()
        if self.secure:  # TLS answers some records by itself
            self._pause()

    def read(self) -> None:
        self._unread.stop()
        self.resume()


@implementer(IPushProducer)
class _Reading:
    """Reading from a peer, as the producer of what is written to it: who does not read is not read."""

    _paused = False

    def __init__(self, protocol: ULProtocol) -> None:
        self._protocol = protocol

    def pauseProducing(self) -> None:
        if not self._paused:  # a transport says so at each write, and resumes once
            self._paused = True
            self._protocol.unread()

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self._protocol.read()

    def stopProducing(self) -> None:
        """The connection is lost; the protocol is told that anyway."""
