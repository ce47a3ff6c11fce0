"""What stands before the data set in a file: preamble and File Meta Information, PS3.10 7.1."""

import struct

from storescp.interfaces import StoreRequest
from storescp.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_SHORT = struct.Struct("<HH2sH")
_OB = struct.Struct("<HH2sxxI")

_PREAMBLE = bytes(128) + b"DICM"
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
