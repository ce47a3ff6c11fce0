"""Acceptor: the service user of one association; it negotiates, stores, echoes and answers."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from storescp.config import Config
from storescp.dimse.commands import (
    C_CANCEL_RQ,
    RESPONSE,
    CEchoRQ,
    CEchoRSP,
    Command,
    CStoreRQ,
    CStoreRSP,
    Elements,
    OtherRQ,
    OtherRSP,
    read_us,
)
from storescp.dimse.messages import MessageReader, encode_message
from storescp.errors import Cause, Excess, InvalidCommand, InvalidMessage, InvalidPDU, Status, StoreFailure
from storescp.interfaces import Association, IInstanceSink, IStorage, PresentationContext, StoreRequest
from storescp.server.access import Access, Entry, entry_for
from storescp.server.census import Census, Seat
from storescp.server.identity import Login, credentials_of
from storescp.server.observers import Observers
from storescp.server.protocol import ServiceUser
from storescp.server.timers import Timer
from storescp.storage.locks import NameLocks
from storescp.uids import VERIFICATION
from storescp.ul.items import (
    ImplementationClassUID,
    ImplementationVersionName,
    PresentationContextAC,
    UserIdentityRQ,
)
from storescp.ul.machine import PAbort, Sta
from storescp.ul.negotiation import (
    LOCAL_LIMIT_EXCEEDED,
    TEMPORARY_CONGESTION,
    Policy,
    Rejection,
    check,
    maximum_length,
    negotiate,
    operations_window,
    refusal,
)
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ, ae_title

_log = Logger()
_T = TypeVar("_T")

_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_C_STORE_RQ = 0x0001
_C_ECHO_RQ = 0x0030

STOPS = Cause("stop", "this server stops")

# Instances received and not yet answered, of all associations, from which on nobody receives ahead of an answer: each
# may keep a batch in memory, a file open, and others waiting for the disk.
AHEAD = 64


@attrs.frozen(kw_only=True)
class Service:
    """What the acceptors of one Storage SCP share."""

    config: Config
    policy: Policy
    access: Access
    storage: IStorage
    observers: Observers
    clock: IReactorTime
    census: Census
    limits_reached: Counter[str]  # how often, by the attribute of `Config` that is the limit
    logins: NameLocks = attrs.field(factory=NameLocks)  # by host


class Acceptor(ServiceUser):
    """Answers one peer. Told by its `provider` what comes in; tells `observers` what it makes of it."""

    def __init__(self, service: Service, ended: Callable[["Acceptor"], None], announced: bool = True) -> None:
        self._service = service
        self._announced = announced  # the address of the peer is known from the beginning
        self._storage = service.storage
        self._observers = service.observers
        self._ended = ended
        self._reader = MessageReader(self, service.config.max_command_set)
        self._association: Association | None = None
        self._contexts: dict[int, PresentationContext] = {}
        self._maximum_length = 0
        self._open = False  # between A-ASSOCIATE-AC and whatever ends the association
        self._seat: Seat | None = None  # while this association has a place
        self._login: Login | None = None  # where its user must be known
        self._lost = False  # the connection is
        self._sink: IInstanceSink | None = None  # of the data set being received
        self._request: StoreRequest | None = None  # what that is of
        self._received = 0  # bytes of that data set
        self._most = 0  # that it may have
        self._too_large = Excess("", "")  # if it has more
        self._at_end: Callable[[], None] = _nothing  # what to do when the message is complete
        self._window = 1  # operations that may be under way
        self._finishing = 0  # instances received and not yet answered
        self._full = False  # they are as many as may be, and nothing more is received
        self._dropping = 0  # instances that the storage has not yet forgotten
        self._awaited: dict[Deferred[Any], float] = {}  # what the storage owes us, and since when; the oldest first
        self._stall = Timer(service.clock, service.config.storage_timeout, self._stalled)
        self._release_indicated = False
        self._stopping = False
        self._cause = ""  # why it was given up
        self.cut = False  # stopping has cut off something that was under way

    # PS3.8: the association

    def connected(self) -> None:
        cause = self._service.access.refusal(self.host) if self._announced else ""
        if cause:
            self.provider.evict(cause)
        else:
            self._service.census.join(self)

    @property
    def host(self) -> str:
        return self.provider.host

    def evict(self, cause: Excess) -> None:
        """End the connection, which has no association, now: another needs its place."""
        if self.provider.state not in (Sta.Sta2, Sta.Sta3):  # what has ended already does so without another word
            self._counted(cause)
        self.provider.evict(cause)

    def refusal(self, request: AAssociateRQ) -> AAssociateRJ | None:
        answer = refusal(request)
        if answer is not None:
            self._requested(request)
            self._observers.tell("association_rejected", self._association, answer, "")
        return answer

    def associate_indicated(self, request: AAssociateRQ) -> None:
        self._requested(request)
        if self.provider.state is not Sta.Sta3:  # an observer has ended it
            return
        try:
            self._check(request)
        except Rejection as rejection:
            self._reject(rejection)

    def _check(self, request: AAssociateRQ) -> None:
        """Let this one in, at once or when its user is known. Raises `Rejection`."""
        service = self._service
        check(request, service.policy)
        portal = service.access.portal
        if portal is None:
            self._admit(request)
            return
        self._entries()  # whom no entry lets in, whoever he is, is not asked
        identity = request.user_information.first(UserIdentityRQ)
        credentials = credentials_of(identity, secure=self.provider.secure or service.config.insecure_identity)
        self._login = Login(portal, service.logins, service.clock, partial(self._identified, request), self._reject)
        assert self._association is not None
        self._login.begin(self.host, credentials, self._association)

    def _entries(self) -> list[Entry]:
        association = self._association
        assert association is not None
        return self._service.access.list.entries_of(association.calling_ae_title, self.host, association.certificate)

    def _identified(self, request: AAssociateRQ, user: str) -> None:
        assert self._association is not None
        self._association.user = user or None
        try:
            self._admit(request)
        except Rejection as rejection:
            self._reject(rejection)

    def _end_login(self) -> None:
        if self._login is not None:
            self._login.end()

    def _reject(self, rejection: Rejection) -> None:
        if self.provider.state is not Sta.Sta3:  # it was answered, or has ended
            return
        self._observers.tell(
            "association_rejected", self._association, rejection.answer, self._counted(rejection.cause)
        )
        self._answer(rejection.answer)

    def _answer(self, answer: AAssociateAC | AAssociateRJ) -> None:
        if self.provider.state is Sta.Sta3:  # or an observer has ended it
            self.provider.associate_response(answer)

    def _admit(self, request: AAssociateRQ) -> None:
        """Accept, if there is an entry for it, as they are now, and room. Raises `Rejection`."""
        assert self._association is not None
        entry = entry_for(self._entries(), self._association.calling_ae_title, self._association.user)
        seat = Seat(self.host) if entry.max_associations is None else Seat(entry, entry.max_associations)
        full = self._service.census.full(seat)
        if full is not None:
            raise Rejection(LOCAL_LIMIT_EXCEEDED, full)
        if not self._storage.ready():
            raise Rejection(TEMPORARY_CONGESTION, "the storage does not work")
        answer = negotiate(request, self._service.policy, identified=self._service.access.portal is not None)
        self._accept(request, answer, seat, entry)
        self._answer(answer)

    def _requested(self, request: AAssociateRQ) -> None:
        user = request.user_information
        class_uid, version_name = user.first(ImplementationClassUID), user.first(ImplementationVersionName)
        self._association = Association(
            peer=self.provider.peer,
            calling_ae_title=ae_title(request.calling_ae_title),
            called_ae_title=ae_title(request.called_ae_title),
            implementation_class_uid=class_uid.uid if class_uid else "",
            implementation_version_name=version_name.name if version_name else "",
            certificate=self.provider.certificate,
        )
        self.association_id = self._association.id
        self._observers.tell("association_requested", self._association, request)

    def _accept(self, request: AAssociateRQ, answer: AAssociateAC, seat: Seat, entry: Entry) -> None:
        self._open = True
        self._seat = seat
        self._service.census.leave(self)
        self._service.census.take(seat)
        if entry.max_instance_size is None:
            self._limit_instances("max_instance_size", self._service.config.max_instance_size)
        else:
            self._limit_instances("allow_file", entry.max_instance_size)
        self._maximum_length = maximum_length(request.user_information)
        self._window = operations_window(answer.user_information)
        for proposed, context in zip(request.presentation_contexts, answer.presentation_contexts, strict=True):
            if context.result == PresentationContextAC.ACCEPTANCE:
                self._contexts[context.context_id] = PresentationContext(
                    context_id=context.context_id,
                    abstract_syntax=proposed.abstract_syntax,
                    transfer_syntax=context.transfer_syntax,
                )
        self._observers.tell("association_accepted", self._association, request, answer)

    def _limit_instances(self, limit: str, most: int | None) -> None:
        self._most = sys.maxsize if most is None else most
        self._too_large = Excess(limit, f"it has more than {most} bytes")

    def release_indicated(self) -> None:
        self._drop_sink("the peer released the association")
        self._release_indicated = True
        self._release_if_done()
        self._stop_if_idle()

    def _release_if_done(self) -> None:
        # A peer that releases before its last response still gets it: AR-7 comes before AR-4.
        if self._open and self._release_indicated and not self._finishing:
            self._open = False
            self.provider.release_response()
            self._observers.tell("association_released", self._association)

    def aborted(self, abort: AAbort | PAbort, cause: str) -> None:
        self._open = False
        self._end_login()
        self._drop_sink(cause)
        self._observers.tell("association_aborted", self._association, abort, self._counted(cause))

    def _unseat_if_done(self) -> None:
        """Let another association have the place, once the storage, too, is done with this one, or is given up."""
        if self._lost and self._seat is not None and not (self._finishing or self._dropping):
            seat, self._seat = self._seat, None
            self._service.census.give_back(seat)
            self._observers.tell("association_ended", self._association)

    def _counted(self, cause: str) -> str:
        if isinstance(cause, Excess):
            self._service.limits_reached[cause.limit] += 1
        return cause

    @property
    def busy(self) -> bool:
        """Whether a message is under way: not yet whole, or not yet answered."""
        return self._open and (self._reader.within_message or self._finishing > 0)

    def stop(self) -> None:
        """End the connection as soon as nothing is under way."""
        self._stopping = True
        self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        if self._stopping and not self.busy:
            self.cut_off()

    def cut_off(self) -> None:
        """End the connection now."""
        self._give_up(STOPS)
        self.provider.abort(STOPS)  # the second one does not wait for the peer to close

    def connection_refused(self, cause: str) -> None:
        self._observers.tell("connection_refused", self.provider.peer, self._counted(cause))

    def connection_lost(self) -> None:
        self._lost = True
        self._end_login()
        self._service.census.leave(self)
        self._unseat_if_done()
        self._ended(self)

    def _drop_sink(self, cause: str) -> None:
        self._at_end = _nothing
        sink, self._sink = self._sink, None
        if sink is None:
            return
        self._abort(sink)
        self._observers.tell("instance_dropped", self._association, self._request, cause)

    def _abort(self, sink: IInstanceSink) -> "Deferred[Any]":
        self._dropping += 1
        forgotten = self._await(maybeDeferred(sink.abort)).addErrback(self._sink_failed, "at abort")
        return forgotten.addCallback(self._dropped)

    def _dropped(self, _result: object) -> None:
        self._dropping -= 1
        self._unseat_if_done()

    # PS3.7: the messages

    def data_indicated(self, body: memoryview) -> memoryview | None:
        return self._reader.read(body)

    @property
    def within_message(self) -> bool:
        return self._reader.within_message

    def command_received(self, context_id: int, elements: Elements, has_data_set: bool) -> None:
        context = self._contexts.get(context_id)
        if context is None:
            raise InvalidPDU(f"a message on presentation context {context_id}, which was not accepted")
        field = read_us(elements, _COMMAND_FIELD)
        if field & RESPONSE:
            raise InvalidMessage(f"a response {field:04X}H to no request")
        self._at_end = _nothing
        try:
            self._dispatch(context, field, elements)
        except InvalidCommand as error:
            self._at_end = partial(self._refuse, context, field, read_us(elements, _MESSAGE_ID), error.status)
        if not has_data_set:
            self._end()

    def _dispatch(self, context: PresentationContext, field: int, elements: Elements) -> None:
        """Begin the operation and set what ends it. Raises `InvalidCommand`."""
        if field == _C_STORE_RQ:
            self._store(context, CStoreRQ.decode(elements))
        elif field == _C_ECHO_RQ:
            self._echo(context, CEchoRQ.decode(elements))
        else:
            command = OtherRQ.decode(elements)
            self._observers.tell("message_received", self._association, context, command)
            if field != C_CANCEL_RQ:  # nothing of ours can be cancelled, and a cancel has no response
                raise InvalidCommand(f"operation {field:04X}H is unknown", Status.UNRECOGNIZED_OPERATION)

    def _refuse(self, context: PresentationContext, field: int, message_id: int, status: Status) -> None:
        self._respond(
            context,
            OtherRSP(command_field=field | RESPONSE, message_id_being_responded_to=message_id, status=status),
        )

    def _respond(self, context: PresentationContext, response: Command) -> None:
        if not self._open:
            return
        self.provider.data_request(encode_message(context.context_id, response.encode(), None, self._maximum_length))
        self._observers.tell("message_sent", self._association, context, response)

    def _echo(self, context: PresentationContext, command: CEchoRQ) -> None:
        self._observers.tell("message_received", self._association, context, command)
        response = CEchoRSP(
            affected_sop_class_uid=command.affected_sop_class_uid,
            message_id_being_responded_to=command.message_id,
            status=Status.SUCCESS,
        )
        self._at_end = partial(self._respond, context, response)

    def _store(self, context: PresentationContext, command: CStoreRQ) -> None:
        assert self._association is not None
        self._observers.tell("message_received", self._association, context, command)
        if not command.has_data_set:
            raise InvalidCommand("a C-STORE without a data set", Status.MISTYPED_ARGUMENT)
        request = StoreRequest(
            association=self._association,
            context_id=context.context_id,
            transfer_syntax=context.transfer_syntax,
            message_id=command.message_id,
            sop_class_uid=command.affected_sop_class_uid,
            sop_instance_uid=command.affected_sop_instance_uid,
            move_originator_ae_title=command.move_originator_ae_title,
            move_originator_message_id=command.move_originator_message_id,
        )
        try:
            self._open_sink(context, request)
        except Exception as error:
            self._at_end = partial(self._finish_refused, context, request, error)
        else:
            self._at_end = partial(self._finish, context, request)

    def _open_sink(self, context: PresentationContext, request: StoreRequest) -> None:
        if request.sop_class_uid != context.abstract_syntax or request.sop_class_uid == VERIFICATION:
            raise StoreFailure(
                f"SOP Class {request.sop_class_uid} is not stored on a context of {context.abstract_syntax}",
                Status.SOP_CLASS_NOT_SUPPORTED,
            )
        sink = self._storage.open(request)
        name = sink.name
        self._sink, self._request = sink, request
        self._received = 0
        self._observers.tell("instance_opened", self._association, request, name)

    def fragment_received(self, fragment: memoryview, last: bool) -> None:
        sink = self._sink
        if sink is not None:
            self._received += len(fragment)
            if self._received > self._most:
                self._instance_too_large()
            else:
                room = sink.write(fragment)
                if room is not None:
                    self._wait_for(room)
        if last:
            self._end()

    def _end(self) -> None:
        """The message is complete."""
        self._at_end()
        self._stop_if_idle()

    def _wait_for(self, room: "Deferred[Any]") -> None:
        self.provider.hold()
        self._await(room).addErrback(self._sink_failed, "to make room").addBoth(self._resume)

    def _instance_too_large(self) -> None:
        sink, self._sink = self._sink, None
        request = self._request
        assert sink is not None
        assert request is not None
        error = StoreFailure(self._counted(self._too_large), Status.OUT_OF_RESOURCES)
        self._observers.tell("instance_refused", self._association, request, error)
        # The answer waits for the storage, or too large ones could come faster than it forgets them.
        dropped = self._abort(sink).addCallback(lambda _: error.status)
        self._at_end = partial(self._finished, self._contexts[request.context_id], request, dropped)

    def _resume(self, _result: object) -> None:
        self.provider.resume()

    def _finish(self, context: PresentationContext, request: StoreRequest) -> None:
        sink, self._sink = self._sink, None
        assert sink is not None
        size = self._received
        self._observers.tell("instance_received", self._association, request, size)
        finished = maybeDeferred(sink.finish)
        finished.addCallbacks(self._stored, self._not_stored, callbackArgs=(request, size), errbackArgs=(request,))
        self._finished(context, request, finished)

    def _finish_refused(self, context: PresentationContext, request: StoreRequest, error: Exception) -> None:
        refused: Deferred[Any] = fail(error)
        self._finished(context, request, refused.addErrback(self._not_stored, request))

    def _finished(self, context: PresentationContext, request: StoreRequest, finished: "Deferred[Any]") -> None:
        """Answer `request` with what `finished` fires with; receive no more meanwhile, if enough is under way."""
        self._finishing += 1
        self._service.census.finishing += 1
        self._await(finished)
        finished.addBoth(self._over)
        finished.addCallback(self._answer_store, context, request)
        finished.addErrback(self._failed)
        if not self._full and self._has_enough:
            self._full = True
            self.provider.hold()

    @property
    def _has_enough(self) -> bool:
        """Whether nothing more should be received before something is answered."""
        ahead = self._service.census.finishing >= AHEAD
        return self._finishing >= (1 if ahead or self._stopping else self._window)

    def _over(self, result: _T) -> _T:
        self._finishing -= 1
        self._service.census.finishing -= 1
        self._unseat_if_done()
        return result

    def _stored(self, _result: object, request: StoreRequest, size: int) -> int:
        self._observers.tell("instance_stored", self._association, request, size)
        return Status.SUCCESS

    def _not_stored(self, failure: Failure, request: StoreRequest) -> int:
        error = failure.value
        if self._cause and isinstance(error, CancelledError):
            self._observers.tell("instance_dropped", self._association, request, self._cause)
            return Status.PROCESSING_FAILURE  # nobody will hear it
        if not isinstance(error, StoreFailure):
            _log.failure(
                "Storing an instance failed in an unexpected way", failure=failure, association=request.association.id
            )
            error = StoreFailure("an unexpected failure")
        self._observers.tell("instance_refused", self._association, request, error)
        return error.status

    def _answer_store(self, status: int, context: PresentationContext, request: StoreRequest) -> None:
        response = CStoreRSP(
            affected_sop_class_uid=request.sop_class_uid,
            message_id_being_responded_to=request.message_id,
            status=status,
            affected_sop_instance_uid=request.sop_instance_uid,
        )
        self._respond(context, response)
        self._release_if_done()
        self._stop_if_idle()
        if self._full and not self._has_enough:
            self._full = False
            self.provider.resume()  # last: what it issues may end the association

    def _await(self, awaited: "Deferred[Any]") -> "Deferred[Any]":
        """Give the storage its time to fire `awaited`."""
        self._awaited.setdefault(awaited, self._service.clock.seconds())
        awaited.addBoth(self._came, awaited)
        self._time_oldest()
        return awaited

    def _came(self, result: _T, awaited: "Deferred[Any]") -> _T:
        self._awaited.pop(awaited, None)
        self._time_oldest()
        return result

    def _time_oldest(self) -> None:
        for since in self._awaited.values():
            self._stall.start(since)
            return
        self._stall.stop()

    def _stalled(self) -> None:
        seconds = self._service.config.storage_timeout
        self._give_up(Cause("storage_timeout", f"the storage has not answered for {seconds:g} s (--storage-timeout)"))

    def _give_up(self, cause: str) -> None:
        """Abort the association, and what the storage does for it."""
        self.cut = self.cut or (self._stopping and self.busy)
        self._cause = cause
        late = list(self._awaited)  # not what the abort will make us await
        self.provider.abort(cause)
        for awaited in late:
            awaited.cancel()

    def _failed(self, failure: Failure) -> None:
        _log.failure(
            "An answer could not be sent: this is a mistake in storescp",
            failure=failure,
            association=self.association_id,
        )
        self.provider.abort(Cause("failure", "this server failed"))

    def _sink_failed(self, failure: Failure, what: str) -> None:
        if not failure.check(CancelledError):  # then it was given up
            _log.failure("A sink failed {what}", failure=failure, what=what, association=self.association_id)


def _nothing() -> None:
    pass
