"""The bytes of a Storage SCU, laid out by hand from PS3.5, PS3.7 and PS3.8.

Nothing of storescp's is used, so that a fault of its encoders cannot hide in both ends, and nothing but the standard
library, so that the sender starts at once.
"""

import math
import random
import struct
from dataclasses import dataclass

ASSOCIATE_RQ, ASSOCIATE_AC, P_DATA_TF, RELEASE_RQ, RELEASE_RP = 0x01, 0x02, 0x04, 0x05, 0x06
STORE_CONTEXT, ECHO_CONTEXT = 1, 3
PDU_LENGTH = 16384  # bytes: the default of most servers, so what they usually see

_CT_IMAGE_STORAGE = b"1.2.840.10008.5.1.4.1.1.2"
_VERIFICATION = b"1.2.840.10008.1.1"
_IMPLICIT_LE = b"1.2.840.10008.1.2"
_EXPLICIT_LE = b"1.2.840.10008.1.2.1"
_C_STORE_RQ, _C_ECHO_RQ = 0x0001, 0x0030
_RESPONSE = 0x8000  # this bit of a Command Field
_LAST = 2  # a Message Control Header: the last fragment of a data set
_NOISE = 1 << 20  # bytes that are made once and repeated: 100 MiB of them would take the sender's start longer


class PeerError(Exception):
    """The peer refused, failed or answered something else than it was asked."""


def _item(item_type: int, body: bytes) -> bytes:
    return struct.pack(">BxH", item_type, len(body)) + body


def _even(uid: bytes) -> bytes:
    return uid + b"\0" * (len(uid) % 2)


def _context(number: int, abstract_syntax: bytes, transfer_syntax: bytes) -> bytes:
    body = struct.pack(">Bxxx", number) + _item(0x30, abstract_syntax) + _item(0x40, transfer_syntax)
    return _item(0x20, body)


def associate_rq(window: int = 1) -> bytes:
    """An A-ASSOCIATE-RQ for CT images and echoes; a `window` above 1 is proposed as the operations to invoke."""
    user_items = [
        _item(0x51, struct.pack(">I", PDU_LENGTH)),
        _item(0x52, b"2.25.131307163714231853610938530"),
        _item(0x53, struct.pack(">HH", window, 1)) if window > 1 else b"",
        _item(0x55, b"BENCHMARK"),
    ]
    body = b"".join(
        [
            struct.pack(">HH16s16s32x", 1, 0, b"STORESCP".ljust(16), b"BENCHMARK".ljust(16)),
            _item(0x10, b"1.2.840.10008.3.1.1.1"),
            _context(STORE_CONTEXT, _CT_IMAGE_STORAGE, _EXPLICIT_LE),
            _context(ECHO_CONTEXT, _VERIFICATION, _IMPLICIT_LE),
            _item(0x50, b"".join(user_items)),
        ]
    )
    return struct.pack(">BxI", ASSOCIATE_RQ, len(body)) + body


RELEASE_REQUEST = bytes.fromhex("05 00 00000004 00000000")


def expect(pdu: bytes, pdu_type: int) -> bytes:
    """The body of a PDU. PeerError where it is of another type."""
    if pdu[0] != pdu_type:
        raise PeerError(f"PDU {pdu_type:02X}H was expected, and {pdu[:32].hex()} came")
    return pdu[6:]


@dataclass(frozen=True)
class Accepted:
    """What an A-ASSOCIATE-AC says of the messages: bytes of a PDU's body (0: any), operations under way at a time."""

    maximum_length: int
    window: int


def read_associate_ac(body: bytes) -> Accepted:
    maximum_length, window = 0, 1
    items = dict(_items(body[68:]))
    for item_type, value in _items(items.get(0x50, b"")):
        if item_type == 0x51:
            maximum_length = int.from_bytes(value, "big")
        elif item_type == 0x53:
            window = int.from_bytes(value[:2], "big")
    return Accepted(maximum_length, window)


def _items(data: bytes) -> list[tuple[int, bytes]]:
    items = []
    while len(data) >= 4:
        item_type, length = struct.unpack_from(">BxH", data)
        items.append((item_type, data[4 : 4 + length]))
        data = data[4 + length :]
    return items


def _pdv_head(context: int, control: int, length: int) -> bytes:
    """What precedes the fragment of `length` bytes in a P-DATA-TF with one PDV: PS3.8 Tables 9-22, 9-23, Annex E.2."""
    return struct.pack(">BxIIBB", P_DATA_TF, length + 6, length + 2, context, control)


def _element(group: int, number: int, value: bytes) -> bytes:
    """In Implicit VR Little Endian, as commands are."""
    return struct.pack("<HHI", group, number, len(value)) + value


def _command(context: int, *elements: tuple[int, bytes]) -> bytes:
    body = b"".join(_element(0x0000, number, value) for number, value in elements)
    command = _element(0x0000, 0x0000, struct.pack("<I", len(body))) + body
    return _pdv_head(context, 3, len(command)) + command


def _us(value: int) -> bytes:
    return struct.pack("<H", value)


def echo_rq(message_id: int) -> bytes:
    return _command(
        ECHO_CONTEXT,
        (0x0002, _even(_VERIFICATION)),
        (0x0100, _us(_C_ECHO_RQ)),
        (0x0110, _us(message_id)),
        (0x0800, _us(0x0101)),  # no data set
    )


def store_rq(message_id: int, uid: str) -> bytes:
    return _command(
        STORE_CONTEXT,
        (0x0002, _even(_CT_IMAGE_STORAGE)),
        (0x0100, _us(_C_STORE_RQ)),
        (0x0110, _us(message_id)),
        (0x0700, _us(0x0000)),  # priority: medium
        (0x0800, _us(0x0001)),  # a data set follows
        (0x1000, _even(uid.encode())),
    )


def answered(body: bytes) -> int:
    """The message id of a P-DATA-TF's response. PeerError where it is no response or its status is not 0000H."""
    if len(body) < 6 or body[5] != 3:
        raise PeerError(f"no whole response: {body[:32].hex()}")
    elements: dict[int, int] = {}
    position = 6
    while position + 8 <= len(body):
        _, number, length = struct.unpack_from("<HHI", body, position)
        elements[number] = int.from_bytes(body[position + 8 : position + 8 + length], "little")
        position += 8 + length
    if not elements.get(0x0100, 0) & _RESPONSE or elements.get(0x0900) != 0x0000:
        raise PeerError(f"command {elements.get(0x0100, 0):04X}H, status {elements.get(0x0900, 0xFFFF):04X}H")
    return elements.get(0x0120, 0)


def _short(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """An element in Explicit VR Little Endian, of a VR with a short length."""
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def uid_of(run: int, association: int, number: int) -> str:
    """A UID, PS3.5 Annex B.2; all of one `run`, which has ten digits, are of one length."""
    return f"2.25.{run}{association:05d}{number:07d}"


class Image:
    """CT images with `size` bytes of pixels; what they have in common is there once, however many are sent.

    The message of one is its `head`, which is the command and the data set up to the pixels, and then `rest`.
    """

    def __init__(self, size: int, maximum_length: int) -> None:
        self._columns = 1 << math.ceil(math.log2(max(size // 2, 1)) / 2)  # so that it and the rows fit into 16 bits
        self._rows = size // 2 // self._columns
        self._pixels = 2 * self._rows * self._columns
        fragment = (min(maximum_length or PDU_LENGTH, PDU_LENGTH) - 6) & ~1  # even, as PS3.8 Annex E.1 has it
        start = len(self._start(uid_of(10**9, 0, 0)))
        if fragment < start:
            raise PeerError(f"a maximum length of {maximum_length} bytes")
        self.length = start + self._pixels  # of the data set
        self._first = min(fragment, self.length)
        noise = random.Random(size).randbytes(min(self._pixels, _NOISE)) or b"\0"
        pixels = memoryview((noise * math.ceil(self._pixels / len(noise)))[: self._pixels])
        pieces: list[bytes | memoryview] = [pixels[: self._first - start]]
        for position in range(self._first - start, self._pixels, fragment):
            piece = pixels[position : position + fragment]
            control = _LAST if position + fragment >= self._pixels else 0
            pieces += [_pdv_head(STORE_CONTEXT, control, len(piece)), piece]
        self.rest = b"".join(pieces)

    def head(self, message_id: int, uid: str) -> bytes:
        control = _LAST if self._first == self.length else 0
        return store_rq(message_id, uid) + _pdv_head(STORE_CONTEXT, control, self._first) + self._start(uid)

    def _start(self, uid: str) -> bytes:
        return b"".join(
            [
                _short(0x0008, 0x0005, b"CS", b"ISO_IR 100"),
                _short(0x0008, 0x0016, b"UI", _even(_CT_IMAGE_STORAGE)),
                _short(0x0008, 0x0018, b"UI", _even(uid.encode())),
                _short(0x0008, 0x0020, b"DA", b"20260101"),
                _short(0x0008, 0x0060, b"CS", b"CT"),
                _short(0x0010, 0x0010, b"PN", b"BENCH^MARK"),
                _short(0x0010, 0x0020, b"LO", b"BENCHMARK "),
                _short(0x0020, 0x000D, b"UI", b"2.25.1000000001\0"),
                _short(0x0020, 0x000E, b"UI", b"2.25.1000000002\0"),
                _short(0x0028, 0x0002, b"US", _us(1)),
                _short(0x0028, 0x0004, b"CS", b"MONOCHROME2 "),
                _short(0x0028, 0x0010, b"US", _us(self._rows)),
                _short(0x0028, 0x0011, b"US", _us(self._columns)),
                _short(0x0028, 0x0100, b"US", _us(16)),
                _short(0x0028, 0x0101, b"US", _us(16)),
                _short(0x0028, 0x0102, b"US", _us(15)),
                _short(0x0028, 0x0103, b"US", _us(0)),
                struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OW", self._pixels),
            ]
        )
