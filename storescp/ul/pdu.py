"""The seven PDUs, PS3.8 9.3. A body is what follows the six header bytes."""

import struct
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, TypeVar

import attrs

from storescp.errors import AbortReason, InvalidPDU
from storescp.ul.items import (
    APPLICATION_CONTEXT,
    UNLIMITED,
    ParameterLimits,
    PresentationContextAC,
    PresentationContextRQ,
    UserInformation,
    limited,
    pack_item,
    pack_text,
    uid,
)

_HEADER = struct.Struct(">BxI")
_ASSOCIATE = struct.Struct(">Hxx16s16s32s")
_FOUR = struct.Struct(">BxIxBBB")
_PDV = struct.Struct(">IBB")
_PDV_SIZE, _unpack_pdv = _PDV.size, _PDV.unpack_from

_C = TypeVar("_C", PresentationContextRQ, PresentationContextAC)


def _ae_field(title: str) -> str:
    # Kept as the sixteen characters of the wire: an A-ASSOCIATE-AC gives them back unchanged.
    if len(title) > 16:
        raise ValueError(f"AE title {title!r} is longer than 16 characters")
    return title.ljust(16)


def _thirty_two(_pdu: object, _attribute: object, value: bytes) -> None:
    if len(value) != 32:
        raise ValueError(f"the reserved field has {len(value)} bytes, not 32")


def ae_title(field: str) -> str:
    """The title in a field of sixteen characters: spaces around it, and NULs some devices pad with, are not part."""
    return field.strip(" \0")


def _encode_associate(
    pdu_type: int,
    pdu: "AAssociateRQ | AAssociateAC",
    contexts: Iterable[PresentationContextRQ | PresentationContextAC],
) -> bytes:
    fixed = _ASSOCIATE.pack(
        pdu.protocol_version, pack_text(pdu.called_ae_title), pack_text(pdu.calling_ae_title), pdu.reserved
    )
    items = [pack_item(APPLICATION_CONTEXT, pack_text(pdu.application_context_name))]
    items += [context.encode() for context in contexts]
    items.append(pdu.user_information.encode())
    body = fixed + b"".join(items)
    return _HEADER.pack(pdu_type, len(body)) + body


def _decode_associate(
    body: memoryview, context_type: int, decode_context: Callable[[memoryview], _C], limits: ParameterLimits
) -> tuple[int, str, str, bytes, str, tuple[_C, ...], UserInformation]:
    """The fields of an A-ASSOCIATE-RQ or -AC, in the order of their classes. Unknown items are skipped."""
    if len(body) < _ASSOCIATE.size:
        raise InvalidPDU(f"an A-ASSOCIATE of {len(body)} bytes is too short")
    version, called, calling, reserved = _ASSOCIATE.unpack_from(body)
    names = []
    contexts = []
    users = []
    for item_type, item in limited(body[_ASSOCIATE.size :], context_type, "max_contexts", limits.contexts):
        if item_type == APPLICATION_CONTEXT:
            names.append(uid(item))
        elif item_type == context_type:
            contexts.append(decode_context(item))
        elif item_type == UserInformation.TYPE:
            users.append(UserInformation.decode(item, limits))
    if len(names) > 1 or len(users) > 1:
        raise InvalidPDU("an item that stands once is repeated", AbortReason.UNEXPECTED_PARAMETER)
    if len({context.context_id for context in contexts}) != len(contexts):
        raise InvalidPDU("a presentation context id is used twice")
    return (
        version,
        str(called, "latin-1"),
        str(calling, "latin-1"),
        reserved,
        names[0] if names else "",
        tuple(contexts),
        users[0] if users else UserInformation(),
    )


@attrs.frozen
class AAssociateRQ:
    """A-ASSOCIATE-RQ, PS3.8 Table 9-11. A name or a User Information that is missing is empty."""

    TYPE: ClassVar[int] = 0x01

    protocol_version: int
    called_ae_title: str = attrs.field(converter=_ae_field)
    calling_ae_title: str = attrs.field(converter=_ae_field)
    reserved: bytes = attrs.field(repr=False, validator=_thirty_two)
    application_context_name: str
    presentation_contexts: tuple[PresentationContextRQ, ...]
    user_information: UserInformation

    def encode(self) -> bytes:
        return _encode_associate(self.TYPE, self, self.presentation_contexts)

    @classmethod
    def decode(cls, body: memoryview, limits: ParameterLimits = UNLIMITED) -> "AAssociateRQ":
        decode_context = partial(PresentationContextRQ.decode, limits=limits)
        return cls(*_decode_associate(body, PresentationContextRQ.TYPE, decode_context, limits))


@attrs.frozen
class AAssociateAC:
    """A-ASSOCIATE-AC, PS3.8 Table 9-17. Titles and `reserved` are sent as they were received."""

    TYPE: ClassVar[int] = 0x02

    protocol_version: int
    called_ae_title: str = attrs.field(converter=_ae_field)
    calling_ae_title: str = attrs.field(converter=_ae_field)
    reserved: bytes = attrs.field(repr=False, validator=_thirty_two)
    application_context_name: str
    presentation_contexts: tuple[PresentationContextAC, ...]
    user_information: UserInformation

    def encode(self) -> bytes:
        return _encode_associate(self.TYPE, self, self.presentation_contexts)

    @classmethod
    def decode(cls, body: memoryview) -> "AAssociateAC":
        return cls(*_decode_associate(body, PresentationContextAC.TYPE, PresentationContextAC.decode, UNLIMITED))


def _decode_four(body: memoryview, name: str) -> tuple[int, int, int]:
    if len(body) != 4:
        raise InvalidPDU(f"{name} body is {len(body)} bytes, not 4")
    return body[1], body[2], body[3]


@attrs.frozen
class AAssociateRJ:
    """A-ASSOCIATE-RJ, PS3.8 Table 9-21: its result, source and reason."""

    TYPE: ClassVar[int] = 0x03
    RESULTS: ClassVar[dict[int, str]] = {1: "Rejected Permanent", 2: "Rejected Transient"}
    SOURCES: ClassVar[dict[int, str]] = {
        1: "Service User",
        2: "Service Provider (ACSE)",
        3: "Service Provider (Presentation)",
    }
    REASONS: ClassVar[dict[tuple[int, int], str]] = {  # by source
        (1, 1): "No Reason Given",
        (1, 2): "Application Context Name Not Supported",
        (1, 3): "Calling AE Title Not Recognized",
        (1, 7): "Called AE Title Not Recognized",
        (2, 1): "No Reason Given",
        (2, 2): "Protocol Version Not Supported",
        (3, 1): "Temporary Congestion",
        (3, 2): "Local Limit Exceeded",
    }

    result: int
    source: int
    reason: int

    def encode(self) -> bytes:
        return _FOUR.pack(self.TYPE, 4, self.result, self.source, self.reason)

    @classmethod
    def decode(cls, body: memoryview) -> "AAssociateRJ":
        return cls(*_decode_four(body, "A-ASSOCIATE-RJ"))

    @property
    def in_words(self) -> str:
        """Its reason, as the standard words it."""
        return self.REASONS.get((self.source, self.reason), str(self.reason))


class PDataTF:
    """P-DATA-TF, PS3.8 Table 9-22: a list of presentation data values.

    No object is made of one: they are many, and each is looked at once. A PDV is a tuple of
    presentation context id, message control header (PS3.8 Annex E.2) and fragment.
    """

    TYPE: ClassVar[int] = 0x04
    COMMAND: ClassVar[int] = 1
    LAST: ClassVar[int] = 2
    OVERHEAD: ClassVar[int] = _PDV.size

    @classmethod
    def encode(cls, pdvs: Iterable[tuple[int, int, bytes | memoryview]]) -> bytes:
        parts: list[bytes | memoryview] = []
        for context_id, control, fragment in pdvs:
            parts += (_PDV.pack(len(fragment) + 2, context_id, control), fragment)
        body = b"".join(parts)
        return _HEADER.pack(cls.TYPE, len(body)) + body

    @staticmethod
    def split(body: memoryview) -> tuple[int, int, memoryview, memoryview | None]:
        """The first PDV, and what follows it in `body`, if anything; both are views into it."""
        size = len(body)
        if size < _PDV_SIZE:
            raise InvalidPDU(f"{size} bytes are too few for a PDV" if size else "a P-DATA-TF without a PDV")
        length, context_id, control = _unpack_pdv(body)
        end = 4 + length
        if end == size:  # it is the only one, as most are
            return context_id, control, body[_PDV_SIZE:], None
        if length < 2 or end > size:
            raise InvalidPDU(f"a PDV claims {length} bytes of {size - 4}")
        return context_id, control, body[_PDV_SIZE:end], body[end:]


@attrs.frozen
class AReleaseRQ:
    """A-RELEASE-RQ, PS3.8 Table 9-24."""

    TYPE: ClassVar[int] = 0x05

    def encode(self) -> bytes:
        return _FOUR.pack(self.TYPE, 4, 0, 0, 0)

    @classmethod
    def decode(cls, body: memoryview) -> "AReleaseRQ":
        _decode_four(body, "A-RELEASE-RQ")
        return cls()


@attrs.frozen
class AReleaseRP:
    """A-RELEASE-RP, PS3.8 Table 9-25."""

    TYPE: ClassVar[int] = 0x06

    def encode(self) -> bytes:
        return _FOUR.pack(self.TYPE, 4, 0, 0, 0)

    @classmethod
    def decode(cls, body: memoryview) -> "AReleaseRP":
        _decode_four(body, "A-RELEASE-RP")
        return cls()


@attrs.frozen
class AAbort:
    """A-ABORT, PS3.8 Table 9-26: from the service user (source 0) or the service provider (2)."""

    TYPE: ClassVar[int] = 0x07
    SERVICE_USER: ClassVar[int] = 0
    SERVICE_PROVIDER: ClassVar[int] = 2

    source: int
    reason: int

    def encode(self) -> bytes:
        return _FOUR.pack(self.TYPE, 4, 0, self.source, self.reason)

    @classmethod
    def decode(cls, body: memoryview) -> "AAbort":
        _, source, reason = _decode_four(body, "A-ABORT")
        return cls(source, reason)
