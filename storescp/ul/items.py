"""The items and sub-items of an A-ASSOCIATE: PS3.8 9.3.2 and 9.3.3, PS3.8 Annex D, PS3.7 Annex D.3.3.

Every item is type, a reserved byte, a length of two bytes and a body; classes list their fields in wire order.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import ClassVar, Protocol, TypeVar

import attrs

from storescp.config import Config
from storescp.errors import AbortReason, Excess, InvalidPDU

_ITEM = struct.Struct(">BxH")
_UINT16 = struct.Struct(">H")
_UINT32 = struct.Struct(">I")
_TWO_UINT16 = struct.Struct(">HH")


def pack_item(item_type: int, body: bytes) -> bytes:
    """One item. ValueError where `body` is longer than the length field can say."""
    if len(body) > 0xFFFF:
        raise ValueError(f"item {item_type:02X}H of {len(body)} bytes is longer than 65535")
    return _ITEM.pack(item_type, len(body)) + body


def iter_items(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, body) of each item in `view`, which must hold nothing else."""
    position, size = 0, len(view)
    while position < size:
        start = position + _ITEM.size
        if start > size:
            raise InvalidPDU(f"{size - position} bytes are too few for an item")
        item_type, length = _ITEM.unpack_from(view, position)
        position = start + length
        if position > size:
            raise InvalidPDU(f"item {item_type:02X}H claims {length} bytes of {size - start}")
        yield item_type, view[start:position]


@attrs.frozen(kw_only=True)
class ParameterLimits:
    """How many parameters of a kind an A-ASSOCIATE may have, None for any number. Unknown user items count too."""

    contexts: int | None = None
    transfer_syntaxes: int | None = None  # of each context
    user_items: int | None = None

    @classmethod
    def from_config(cls, config: Config) -> "ParameterLimits":
        return cls(
            contexts=config.max_contexts,
            transfer_syntaxes=config.max_transfer_syntaxes,
            user_items=config.max_user_items,
        )


UNLIMITED = ParameterLimits()


_COUNTED = {
    "max_contexts": "presentation contexts in an A-ASSOCIATE",
    "max_transfer_syntaxes": "transfer syntaxes in a presentation context",
    "max_user_items": "items in User Information",
}


def limited(view: memoryview, counted: int | None, limit: str, most: int | None) -> Iterator[tuple[int, memoryview]]:
    """`iter_items`, but no more than `most` of the type `counted`, None for any, and of the others `MOST_OTHERS`."""
    count = others = 0
    for item in iter_items(view):
        if counted is None or item[0] == counted:
            if count == most:
                raise InvalidPDU(Excess(limit, f"more than {most} {_COUNTED[limit]}"))
            count += 1
        elif others == MOST_OTHERS and most is not None:
            raise InvalidPDU(f"more than {MOST_OTHERS} items that are no {_COUNTED[limit]}")
        else:
            others += 1
        yield item


def text(view: memoryview) -> str:
    """Text of a name field: any byte is a character, so that nothing a device sends is lost or refused."""
    return str(view, "latin-1")


def uid(view: memoryview) -> str:
    """A UID: the NUL padding of PS3.5, and the spaces of some devices, are not part of it."""
    return str(view, "latin-1").rstrip("\0 ")


def pack_text(value: str) -> bytes:
    return value.encode("latin-1")


def _pack_field(value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError(f"a field of {len(value)} bytes is longer than 65535")
    return _UINT16.pack(len(value)) + value


def _split_field(view: memoryview, name: str) -> tuple[memoryview, memoryview]:
    """A field of a two-byte length and that many bytes, and what comes after it."""
    if len(view) < 2:
        raise InvalidPDU(f"the length of {name} is missing")
    end = 2 + _UINT16.unpack_from(view)[0]
    if end > len(view):
        raise InvalidPDU(f"{name} claims {end - 2} bytes of {len(view) - 2}")
    return view[2:end], view[end:]


def _exactly(view: memoryview, size: int, name: str) -> None:
    if len(view) != size:
        raise InvalidPDU(f"{name} has {len(view)} bytes, not {size}")


MOST_OTHERS = 64  # items beside those that there may be many of: unknown ones are skipped, but that takes time, too
MOST_RELATED = 64  # general SOP Classes of a Common Extended Negotiation; the standard knows of one or two

ABSTRACT_SYNTAX = 0x30
TRANSFER_SYNTAX = 0x40
APPLICATION_CONTEXT = 0x10


def _check_context_id(context_id: int) -> None:
    if not context_id & 1:
        raise InvalidPDU(f"presentation context id {context_id} is not odd")


@attrs.frozen
class PresentationContextRQ:
    """Presentation Context Item of an A-ASSOCIATE-RQ, PS3.8 Table 9-13."""

    TYPE: ClassVar[int] = 0x20

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]

    def encode(self) -> bytes:
        syntaxes = [pack_item(TRANSFER_SYNTAX, pack_text(each)) for each in self.transfer_syntaxes]
        abstract = pack_item(ABSTRACT_SYNTAX, pack_text(self.abstract_syntax))
        return pack_item(self.TYPE, bytes([self.context_id, 0, 0, 0]) + abstract + b"".join(syntaxes))

    @classmethod
    def decode(cls, body: memoryview, limits: ParameterLimits = UNLIMITED) -> "PresentationContextRQ":
        if len(body) < 4:
            raise InvalidPDU(f"a presentation context of {len(body)} bytes is too short")
        _check_context_id(body[0])
        abstract = []
        transfer = []
        items = limited(body[4:], TRANSFER_SYNTAX, "max_transfer_syntaxes", limits.transfer_syntaxes)
        for item_type, item in items:
            if item_type == ABSTRACT_SYNTAX:
                abstract.append(uid(item))
            elif item_type == TRANSFER_SYNTAX:
                transfer.append(uid(item))
        if len(abstract) != 1:
            raise InvalidPDU(f"presentation context {body[0]} has {len(abstract)} abstract syntaxes, not 1")
        return cls(body[0], abstract[0], tuple(transfer))


@attrs.frozen
class PresentationContextAC:
    """Presentation Context Item of an A-ASSOCIATE-AC, PS3.8 Table 9-18.

    Unless `result` is 0, `transfer_syntax` means nothing: it is not tested and decodes as empty.
    """

    TYPE: ClassVar[int] = 0x21
    ACCEPTANCE: ClassVar[int] = 0
    USER_REJECTION: ClassVar[int] = 1
    ABSTRACT_SYNTAX_NOT_SUPPORTED: ClassVar[int] = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED: ClassVar[int] = 4

    context_id: int
    result: int
    transfer_syntax: str

    def encode(self) -> bytes:
        syntax = pack_item(TRANSFER_SYNTAX, pack_text(self.transfer_syntax))
        return pack_item(self.TYPE, bytes([self.context_id, 0, self.result, 0]) + syntax)

    @classmethod
    def decode(cls, body: memoryview) -> "PresentationContextAC":
        if len(body) < 4:
            raise InvalidPDU(f"a presentation context of {len(body)} bytes is too short")
        _check_context_id(body[0])
        if body[2] != cls.ACCEPTANCE:
            return cls(body[0], body[2], "")
        transfer = [uid(item) for item_type, item in iter_items(body[4:]) if item_type == TRANSFER_SYNTAX]
        if len(transfer) != 1:
            raise InvalidPDU(f"presentation context {body[0]} has {len(transfer)} transfer syntaxes, not 1")
        return cls(body[0], body[2], transfer[0])


@attrs.frozen
class MaximumLength:
    """PS3.8 Table D.1-1. The longest P-DATA-TF body, in bytes, that its sender receives; 0 means any."""

    TYPE: ClassVar[int] = 0x51

    maximum_length: int

    def encode(self) -> bytes:
        return pack_item(self.TYPE, _UINT32.pack(self.maximum_length))

    @classmethod
    def decode(cls, body: memoryview) -> "MaximumLength":
        _exactly(body, 4, "Maximum Length")
        return cls(*_UINT32.unpack(body))


@attrs.frozen
class ImplementationClassUID:
    """PS3.7 Table D.3-1."""

    TYPE: ClassVar[int] = 0x52

    uid: str

    def encode(self) -> bytes:
        return pack_item(self.TYPE, pack_text(self.uid))

    @classmethod
    def decode(cls, body: memoryview) -> "ImplementationClassUID":
        return cls(uid(body))


@attrs.frozen
class AsynchronousOperationsWindow:
    """PS3.7 Table D.3-7. Operations at once that its sender may invoke and perform; 0 means any number."""

    TYPE: ClassVar[int] = 0x53

    maximum_invoked: int
    maximum_performed: int

    def encode(self) -> bytes:
        return pack_item(self.TYPE, _TWO_UINT16.pack(self.maximum_invoked, self.maximum_performed))

    @classmethod
    def decode(cls, body: memoryview) -> "AsynchronousOperationsWindow":
        _exactly(body, 4, "Asynchronous Operations Window")
        return cls(*_TWO_UINT16.unpack(body))


@attrs.frozen
class RoleSelection:
    """SCP/SCU Role Selection, PS3.7 Table D.3-9. Each role is 0 or 1."""

    TYPE: ClassVar[int] = 0x54

    sop_class_uid: str
    scu_role: int
    scp_role: int

    def encode(self) -> bytes:
        return pack_item(self.TYPE, _pack_field(pack_text(self.sop_class_uid)) + bytes([self.scu_role, self.scp_role]))

    @classmethod
    def decode(cls, body: memoryview) -> "RoleSelection":
        sop_class, roles = _split_field(body, "the SOP Class UID of a Role Selection")
        _exactly(roles, 2, "the roles of a Role Selection")
        return cls(uid(sop_class), roles[0], roles[1])


@attrs.frozen
class ImplementationVersionName:
    """PS3.7 Table D.3-3. One to sixteen characters."""

    TYPE: ClassVar[int] = 0x55

    name: str

    def encode(self) -> bytes:
        return pack_item(self.TYPE, pack_text(self.name))

    @classmethod
    def decode(cls, body: memoryview) -> "ImplementationVersionName":
        return cls(text(body))


@attrs.frozen
class SOPClassExtendedNegotiation:
    """PS3.7 Table D.3-11. What `application_information` holds is the service class's matter, PS3.4."""

    TYPE: ClassVar[int] = 0x56

    sop_class_uid: str
    application_information: bytes

    def encode(self) -> bytes:
        return pack_item(self.TYPE, _pack_field(pack_text(self.sop_class_uid)) + self.application_information)

    @classmethod
    def decode(cls, body: memoryview) -> "SOPClassExtendedNegotiation":
        sop_class, information = _split_field(body, "the SOP Class UID of an Extended Negotiation")
        return cls(uid(sop_class), bytes(information))


@attrs.frozen
class SOPClassCommonExtendedNegotiation:
    """PS3.7 Table D.3-12. Only in a request; it has no answer. Its version is the item's second byte, 0."""

    TYPE: ClassVar[int] = 0x57

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_classes: tuple[str, ...] = ()

    def encode(self) -> bytes:
        related = b"".join(_pack_field(pack_text(each)) for each in self.related_general_sop_classes)
        uids = _pack_field(pack_text(self.sop_class_uid)) + _pack_field(pack_text(self.service_class_uid))
        return pack_item(self.TYPE, uids + _pack_field(related))

    @classmethod
    def decode(cls, body: memoryview) -> "SOPClassCommonExtendedNegotiation":
        sop_class, rest = _split_field(body, "the SOP Class UID of a Common Extended Negotiation")
        service_class, rest = _split_field(rest, "the Service Class UID of a Common Extended Negotiation")
        related, _ = _split_field(rest, "the related classes of a Common Extended Negotiation")  # the rest is reserved
        uids: list[str] = []
        while related:
            if len(uids) == MOST_RELATED:
                raise InvalidPDU(f"more than {MOST_RELATED} related general SOP Classes")
            each, related = _split_field(related, "a related general SOP Class")
            uids.append(uid(each))
        return cls(uid(sop_class), uid(service_class), tuple(uids))


@attrs.frozen
class UserIdentityRQ:
    """User Identity of a request, PS3.7 Table D.3-14. The fields are secrets: they are not in the repr."""

    TYPE: ClassVar[int] = 0x58

    identity_type: int
    positive_response_requested: int
    primary_field: bytes = attrs.field(repr=False)
    secondary_field: bytes = attrs.field(default=b"", repr=False)

    def encode(self) -> bytes:
        head = bytes([self.identity_type, self.positive_response_requested])
        return pack_item(self.TYPE, head + _pack_field(self.primary_field) + _pack_field(self.secondary_field))

    @classmethod
    def decode(cls, body: memoryview) -> "UserIdentityRQ":
        if len(body) < 2:
            raise InvalidPDU(f"a User Identity of {len(body)} bytes is too short")
        primary, rest = _split_field(body[2:], "the primary field of a User Identity")
        secondary, rest = _split_field(rest, "the secondary field of a User Identity")
        _exactly(rest, 0, "what follows a User Identity")
        return cls(body[0], body[1], bytes(primary), bytes(secondary))


@attrs.frozen
class UserIdentityAC:
    """User Identity of an answer, PS3.7 Table D.3-15."""

    TYPE: ClassVar[int] = 0x59

    server_response: bytes = attrs.field(default=b"", repr=False)

    def encode(self) -> bytes:
        return pack_item(self.TYPE, _pack_field(self.server_response))

    @classmethod
    def decode(cls, body: memoryview) -> "UserIdentityAC":
        response, rest = _split_field(body, "the server response of a User Identity")
        _exactly(rest, 0, "what follows a User Identity response")
        return cls(bytes(response))


class UserItem(Protocol):
    """A sub-item of the User Information."""

    def encode(self) -> bytes: ...


_USER_ITEMS = {
    cls.TYPE: cls
    for cls in (
        MaximumLength,
        ImplementationClassUID,
        AsynchronousOperationsWindow,
        RoleSelection,
        ImplementationVersionName,
        SOPClassExtendedNegotiation,
        SOPClassCommonExtendedNegotiation,
        UserIdentityRQ,
        UserIdentityAC,
    )
}
# PS3.7 D.3.3: what describes the whole association stands at most once.
_ONCE = (
    MaximumLength,
    ImplementationClassUID,
    AsynchronousOperationsWindow,
    ImplementationVersionName,
    UserIdentityRQ,
    UserIdentityAC,
)

_T = TypeVar("_T")


@attrs.frozen
class UserInformation:
    """User Information Item, PS3.8 Table 9-16: sub-items in the order they stand."""

    TYPE: ClassVar[int] = 0x50

    items: tuple[UserItem, ...] = ()

    def first(self, kind: type[_T]) -> _T | None:
        """The sub-item of this class, or None."""
        return next((item for item in self.items if isinstance(item, kind)), None)

    def every(self, kind: type[_T]) -> tuple[_T, ...]:
        """All sub-items of this class."""
        return tuple(item for item in self.items if isinstance(item, kind))

    def encode(self) -> bytes:
        return pack_item(self.TYPE, b"".join(item.encode() for item in self.items))

    @classmethod
    def decode(cls, body: memoryview, limits: ParameterLimits = UNLIMITED) -> "UserInformation":
        items = limited(body, None, "max_user_items", limits.user_items)
        known = ((_USER_ITEMS[kind], item) for kind, item in items if kind in _USER_ITEMS)
        information = cls(tuple(each.decode(item) for each, item in known))
        _check_once(information.items)
        return information


def _check_once(items: Iterable[object]) -> None:
    kinds = [type(item) for item in items]
    for kind in _ONCE:
        if kinds.count(kind) > 1:
            raise InvalidPDU(f"{kind.__name__} stands {kinds.count(kind)} times", AbortReason.UNEXPECTED_PARAMETER)
