"""Command sets, PS3.7 6.3.1 and 9.3: group 0000, always Implicit VR Little Endian.

Each class is one message; its fields are its elements in the order of their tags. A UID is text
without its padding; an optional element that is absent is None.
"""

import struct
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from storescp.errors import InvalidCommand, InvalidMessage, Status

_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<H")
_UL = struct.Struct("<I")

NO_DATA_SET = 0x0101  # PS3.7 Annex E.1: any other value of Command Data Set Type says that there is one
DATA_SET = 0x0001

RESPONSE = 0x8000  # the bit of a Command Field that makes it a response
C_CANCEL_RQ = 0x0FFF

Elements = dict[int, memoryview]


def read_elements(command: bytes | bytearray) -> Elements:
    """The values of a command set by element number, as views into it.

    The group length is not compared: some devices count wrongly, and the last-fragment bit has said
    where the command ends. Raises `InvalidMessage`.
    """
    view = memoryview(command).toreadonly()
    elements: Elements = {}
    while view:
        if len(view) < _ELEMENT.size:
            raise InvalidMessage(f"{len(view)} bytes are too few for a command element")
        group, element, length = _ELEMENT.unpack_from(view)
        end = _ELEMENT.size + length
        if group or end > len(view) or element in elements:
            raise InvalidMessage(f"a command element ({group:04X},{element:04X}) of {length} bytes cannot be here")
        elements[element] = view[_ELEMENT.size : end]
        view = view[end:]
    return elements


def _decode_us(value: memoryview) -> int:
    return int(_US.unpack(value)[0])  # struct.error where it is not two bytes


def _decode_text(value: memoryview) -> str:
    return str(value, "latin-1").rstrip("\0 ")


def _encode_text(value: str, padding: bytes) -> bytes:
    text = value.encode("latin-1")
    return text + padding if len(text) % 2 else text


_DECODE = {"US": _decode_us, "UI": _decode_text, "AE": _decode_text}
_ENCODE: dict[str, Callable[[Any], bytes]] = {
    "US": _US.pack,
    "UI": lambda value: _encode_text(value, b"\0"),
    "AE": lambda value: _encode_text(value, b" "),
}


def read_us(elements: Elements, number: int) -> int:
    """An element without which nothing can be done with the message. Raises `InvalidMessage`."""
    try:
        return _decode_us(elements[number])
    except (KeyError, struct.error):
        raise InvalidMessage(f"the command element (0000,{number:04X}) is missing or not a US") from None


def _element(number: int, vr: str, **arguments: Any) -> Any:
    """A field that is the element (0000,`number`)."""
    return attrs.field(metadata={"element": number, "vr": vr}, **arguments)


def _command_field(value: int) -> Any:
    return _element(0x0100, "US", default=value, init=False)


_C = TypeVar("_C", bound="Command")


class Command:
    """What all command sets share: how they are written and read."""

    __slots__ = ()

    command_field: int
    command_data_set_type: int

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows the command set."""
        return self.command_data_set_type != NO_DATA_SET

    def encode(self) -> bytes:
        """The command set with its group length. ValueError or struct.error where a value does not fit."""
        parts: list[bytes] = []
        for name, number, encode in _Layout.of(type(self)).encoders:
            value = getattr(self, name)
            if value is not None:
                encoded = encode(value)
                parts += (_ELEMENT.pack(0, number, len(encoded)), encoded)
        body = b"".join(parts)
        return _ELEMENT.pack(0, 0, _UL.size) + _UL.pack(len(body)) + body

    @classmethod
    def decode(cls: type[_C], elements: Elements) -> _C:
        """An optional element without a value is absent.

        Raises `InvalidCommand` for an element that is missing or not what its VR says.
        """
        values: dict[str, Any] = {}
        for name, number, decode, optional in _Layout.of(cls).decoders:
            value = elements.get(number)
            if value or (value is not None and not optional):
                try:
                    values[name] = decode(value)
                except struct.error:
                    raise InvalidCommand(f"(0000,{number:04X}) is not a US", Status.MISTYPED_ARGUMENT) from None
            elif not optional:
                raise InvalidCommand(f"(0000,{number:04X}) is missing", Status.MISTYPED_ARGUMENT)
        return cls(**values)


@attrs.frozen
class _Layout:
    """The elements of a command set by the names of their fields, in the order of their tags."""

    encoders: tuple[tuple[str, int, Callable[[Any], bytes]], ...]
    decoders: tuple[tuple[str, int, Callable[[memoryview], Any], bool], ...]  # and whether they may be missing

    @classmethod
    def of(cls, command: type[Command]) -> "_Layout":
        layout = _LAYOUTS.get(command)
        if layout is None:
            fields = attrs.fields(command)  # type: ignore[arg-type]  # every subclass is an attrs class
            elements = [(field, field.metadata["element"], field.metadata["vr"]) for field in fields]
            layout = _LAYOUTS[command] = cls(
                tuple((field.name, number, _ENCODE[vr]) for field, number, vr in elements),
                tuple(
                    (field.name, number, _DECODE[vr], field.default is not attrs.NOTHING)
                    for field, number, vr in elements
                    if field.init
                ),
            )
        return layout


_LAYOUTS: dict[type[Command], _Layout] = {}


@attrs.frozen(kw_only=True)
class CEchoRQ(Command):
    """C-ECHO-RQ, PS3.7 Table 9.3-12."""

    affected_sop_class_uid: str = _element(0x0002, "UI")
    command_field: int = _command_field(0x0030)
    message_id: int = _element(0x0110, "US")
    command_data_set_type: int = _element(0x0800, "US", default=NO_DATA_SET)


@attrs.frozen(kw_only=True)
class CEchoRSP(Command):
    """C-ECHO-RSP, PS3.7 Table 9.3-13."""

    affected_sop_class_uid: str | None = _element(0x0002, "UI", default=None)
    command_field: int = _command_field(0x8030)
    message_id_being_responded_to: int = _element(0x0120, "US")
    command_data_set_type: int = _element(0x0800, "US", default=NO_DATA_SET)
    status: int = _element(0x0900, "US")


@attrs.frozen(kw_only=True)
class CStoreRQ(Command):
    """C-STORE-RQ, PS3.7 Table 9.3-1."""

    affected_sop_class_uid: str = _element(0x0002, "UI")
    command_field: int = _command_field(0x0001)
    message_id: int = _element(0x0110, "US")
    priority: int = _element(0x0700, "US", default=0)  # 0 medium, 1 high, 2 low
    command_data_set_type: int = _element(0x0800, "US", default=DATA_SET)
    affected_sop_instance_uid: str = _element(0x1000, "UI")
    move_originator_ae_title: str | None = _element(0x1030, "AE", default=None)
    move_originator_message_id: int | None = _element(0x1031, "US", default=None)


@attrs.frozen(kw_only=True)
class CStoreRSP(Command):
    """C-STORE-RSP, PS3.7 Table 9.3-2."""

    affected_sop_class_uid: str | None = _element(0x0002, "UI", default=None)
    command_field: int = _command_field(0x8001)
    message_id_being_responded_to: int = _element(0x0120, "US")
    command_data_set_type: int = _element(0x0800, "US", default=NO_DATA_SET)
    status: int = _element(0x0900, "US")
    affected_sop_instance_uid: str | None = _element(0x1000, "UI", default=None)


@attrs.frozen(kw_only=True)
class OtherRQ(Command):
    """A message of an operation that is not ours; what of it matters to a refusal, PS3.7 C.5.6."""

    command_field: int = _element(0x0100, "US")
    message_id: int | None = _element(0x0110, "US", default=None)
    command_data_set_type: int = _element(0x0800, "US", default=NO_DATA_SET)


@attrs.frozen(kw_only=True)
class OtherRSP(Command):
    """The refusal of a request that could not be decoded or is of no operation of ours."""

    command_field: int = _element(0x0100, "US")
    message_id_being_responded_to: int = _element(0x0120, "US")
    command_data_set_type: int = _element(0x0800, "US", default=NO_DATA_SET)
    status: int = _element(0x0900, "US")
