"""The contracts for whoever embeds a Storage SCP: where instances go, and who is told what happens."""

import os
from itertools import count
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface, implementer

from storescp.dimse.commands import Command
from storescp.errors import StoreFailure
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ


@attrs.frozen(kw_only=True)
class Certificate:
    """Of a peer that has shown, in the TLS handshake, that it is its own. Its text is what an authority has signed."""

    subject: str  # as RFC 4514 writes it
    sha256: str  # of its DER encoding: 64 lower-case hexadecimal digits
    names: tuple[str, ...] = ()  # alternative ones: dns:…, ip:…, uri:…, email:…


_run = os.urandom(3).hex()
_numbers = count(1)


def _next_id() -> str:
    return f"{_run}-{next(_numbers)}"


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.frozen)
class Association:
    """Who is at the other end. Text from the peer: latin-1, not escaped; compared by identity.

    `id` is ours, such as ``3f9a2c-17``, by which all that is told of it can be found; no other has it, in this process
    and, as good as surely, in any other.
    """

    peer: str
    calling_ae_title: str
    called_ae_title: str
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    certificate: Certificate | None = None  # where TLS has asked for one
    id: str = attrs.field(factory=_next_id)
    # Whom its user identity has proved to be there; set before `association_accepted`.
    user: str | None = attrs.field(default=None, on_setattr=attrs.setters.NO_OP)


class IUser(Interface):
    """The avatar that a portal of `twisted.cred` gives of who may have associations; the mind is an `Association`."""

    name = Attribute("What the audit and the list of who is allowed call this user; empty of an anonymous one.")


@attrs.frozen(kw_only=True)
class PresentationContext:
    """A presentation context that was accepted."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


@attrs.frozen(kw_only=True)
class StoreRequest:
    """A C-STORE request whose data set is about to come, encoded in `transfer_syntax`. Text from the peer."""

    association: Association
    context_id: int
    transfer_syntax: str
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None


class IInstanceSink(Interface):
    """Takes the data set of one instance. Either `finish` or `abort` is called, once, and nothing after it."""

    name = Attribute("What the log calls the instance, such as its file's name; None where it is not kept.")

    def write(fragment: memoryview) -> "Deferred[Any] | None":
        """Take the next bytes of the data set, as they came.

        `fragment` is read-only. It stays valid for as long as it is kept, but keeps all the bytes alive that
        came with it, some 640 KiB: one that is kept for long is better copied. Where a Deferred is returned, no
        more of this peer is handed on until it fires; it is cancelled, and `abort` called, where that takes longer
        than the storage timeout. Should not raise: remember a failure and answer it in `finish`.
        """

    def finish() -> "Deferred[Any]":
        """The data set is complete.

        The Deferred fires when the instance is safe, with anything: Success is sent then, and not before.
        It fails where the instance is not stored: `StoreFailure` says with which status; any other failure
        is logged and answered with 0110H. It is cancelled where it takes longer than the storage timeout:
        the association is aborted then, and nobody will hear of the instance.
        """

    def abort() -> "Deferred[Any] | None":
        """The data set will never be complete: forget it, leave nothing behind.

        Where that takes time, a Deferred that fires when it is done: until then it counts as an association of
        the peer, so that nobody can send faster than it is forgotten. It, too, is cancelled at the storage timeout.
        """


class IStorage(Interface):
    """Where instances go."""

    def start() -> None:
        """Called before the first association."""

    def stop() -> "Deferred[None]":
        """Called after the last association. Fires when nothing is under way any more."""

    def ready() -> bool:
        """Whether it is worth trying to store; where not, new associations are rejected, as a transient state."""

    def open(request: StoreRequest) -> IInstanceSink:
        """A sink for the instance of this request. `StoreFailure` refuses it; its data set is then skipped.

        A peer that has negotiated an Asynchronous Operations Window may send the next instance while sinks of earlier
        ones have not yet finished. Where one of them takes longer than the storage timeout, all are cancelled.
        """


@attrs.frozen(kw_only=True)
class Room:
    """What a storage has left: bytes that may still be written, of those there are in all; and its temporary files."""

    place: str
    free: int
    total: int
    temporary: int


class IWatchedStorage(IStorage):
    """A storage that can say how it is. Nobody need be one: what it would say is then left out where it is shown."""

    def look() -> "Deferred[Room]":
        """See how much room there is. Called when the one before has fired."""

    def probe() -> "Deferred[None]":
        """Find out whether an instance could be stored now, and leave nothing behind; fails with why not."""


class IAssociationObserver(Interface):
    """Is told what happens. Calls come on the reactor's thread; one that raises is logged and harms nobody.

    A cause is in our words, and `kind_of` tells of which kind it is. It is an `Excess` where a limit of ours was
    reached, as is then that of a `StoreFailure`.
    """

    def association_requested(association: Association, request: AAssociateRQ) -> None:
        """An A-ASSOCIATE-RQ has come."""

    def association_accepted(association: Association, request: AAssociateRQ, answer: AAssociateAC) -> None:
        """It is answered with an A-ASSOCIATE-AC."""

    def association_rejected(association: Association, answer: AAssociateRJ, cause: str) -> None:
        """It is answered with an A-ASSOCIATE-RJ; `cause` is empty where the answer says it all."""

    def message_received(association: Association, context: PresentationContext, command: Command) -> None:
        """A request has come; of a C-STORE only the command set, not yet the data set."""

    def instance_opened(association: Association, request: StoreRequest, name: str | None) -> None:
        """The storage is ready to take the instance; `name` is its sink's."""

    def instance_received(association: Association, request: StoreRequest, size: int) -> None:
        """All `size` bytes of the data set have come, and the storage makes it safe."""

    def instance_stored(association: Association, request: StoreRequest, size: int) -> None:
        """The instance is safe; its data set has `size` bytes."""

    def instance_refused(association: Association, request: StoreRequest, failure: StoreFailure) -> None:
        """The instance was not stored."""

    def instance_dropped(association: Association, request: StoreRequest, cause: str) -> None:
        """The data set will never be complete; it was forgotten, and nobody is answered."""

    def message_sent(association: Association, context: PresentationContext, command: Command) -> None:
        """A response was sent."""

    def association_released(association: Association) -> None:
        """The association has ended in order."""

    def association_aborted(association: Association, abort: AAbort | PAbort, cause: str) -> None:
        """The association has ended otherwise, with that A-ABORT; `cause` says why, in our words."""

    def association_ended(association: Association) -> None:
        """The last event of one that was accepted: its connection is gone, and nothing of it is under way."""

    def connection_refused(peer: str, cause: str) -> None:
        """A connection has ended before there was an association."""


@implementer(IAssociationObserver)
class AssociationObserver:
    """An observer that does nothing; a subclass says what it wants to know."""

    def association_requested(self, association: Association, request: AAssociateRQ) -> None: ...

    def association_accepted(self, association: Association, request: AAssociateRQ, answer: AAssociateAC) -> None: ...

    def association_rejected(self, association: Association, answer: AAssociateRJ, cause: str) -> None: ...

    def message_received(self, association: Association, context: PresentationContext, command: Command) -> None: ...

    def instance_opened(self, association: Association, request: StoreRequest, name: str | None) -> None: ...

    def instance_received(self, association: Association, request: StoreRequest, size: int) -> None: ...

    def instance_stored(self, association: Association, request: StoreRequest, size: int) -> None: ...

    def instance_refused(self, association: Association, request: StoreRequest, failure: StoreFailure) -> None: ...

    def instance_dropped(self, association: Association, request: StoreRequest, cause: str) -> None: ...

    def message_sent(self, association: Association, context: PresentationContext, command: Command) -> None: ...

    def association_released(self, association: Association) -> None: ...

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None: ...

    def association_ended(self, association: Association) -> None: ...

    def connection_refused(self, peer: str, cause: str) -> None: ...
