"""What stands before the data set in a file: preamble and File Meta Information, PS3.10 7.1."""

import struct

import attrs

from storescp.interfaces import StoreRequest
from storescp.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_SHORT = struct.Struct("<HH2sH")
_OB = struct.Struct("<HH2sxxI")

_PREAMBLE = bytes(128) + b"DICM"
_META = len(_PREAMBLE) + 12  # where the element after the group length begins
_VERSION = b"\x00\x01"


def _element(number: int, vr: bytes, value: bytes, padding: bytes = b"\0") -> bytes:
    if len(value) % 2:
        value += padding
    return _SHORT.pack(2, number, vr, len(value)) + value


_IMPLEMENTATION = _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")) + _element(
    0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii"), b" "
)


def file_header(request: StoreRequest) -> bytes:
    """Preamble, prefix and File Meta Information of a file whose data set is that of `request`.

    Followed by the bytes of the data set as they came, it is a DICOM file.
    """
    meta = b"".join(
        [
            _OB.pack(2, 0x0001, b"OB", len(_VERSION)) + _VERSION,
            _element(0x0002, b"UI", request.sop_class_uid.encode("latin-1")),
            _element(0x0003, b"UI", request.sop_instance_uid.encode("latin-1")),
            _element(0x0010, b"UI", request.transfer_syntax.encode("latin-1")),
            _IMPLEMENTATION,
            _element(0x0016, b"AE", request.association.calling_ae_title.encode("latin-1"), b" "),
        ]
    )
    return _PREAMBLE + _SHORT.pack(2, 0, b"UL", 4) + struct.pack("<I", len(meta)) + meta


LONGEST_HEADER = 4096  # bytes; ours have some 500


@attrs.frozen
class FileHeader:
    """What a file says before its data set: what that is, in which encoding, and at which byte it begins."""

    sop_class_uid: bytes
    sop_instance_uid: bytes
    transfer_syntax: bytes
    length: int = attrs.field(eq=False)


def read_header(head: bytes) -> FileHeader:
    """The header of the file that begins with `head`. ValueError for any other file."""
    if head[128:132] != b"DICM" or head[132:140] != b"\2\0\0\0UL\4\0":
        raise ValueError("no DICOM file")
    end = _META + int.from_bytes(head[_META - 4 : _META], "little")
    if end > len(head):
        raise ValueError("the File Meta Information is too long")
    values: dict[int, bytes] = {}
    position = _META
    while position + _OB.size <= end:  # at least that long: a UID is not empty
        group, element, vr, length = _SHORT.unpack_from(head, position)
        start = position + _SHORT.size
        if vr == b"OB":
            start, length = position + _OB.size, _OB.unpack_from(head, position)[3]
        position = start + length
        if group != 2 or position > end:
            raise ValueError("the File Meta Information is not as long as it says")
        values[element] = head[start:position].rstrip(b"\0 ")
    try:
        return FileHeader(values[0x0002], values[0x0003], values[0x0010], end)
    except KeyError:
        raise ValueError("the File Meta Information does not say what it is") from None
