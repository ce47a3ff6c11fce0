"""What the head of a data set says it is, PS3.5 7: SOP Class UID and SOP Instance UID of group 0008.

Nothing is decoded: the elements before those two are stepped over by their length, and where that cannot be
done, the data set has not said anything.
"""

import struct
from collections.abc import Iterator

from storescp.errors import Status, StoreFailure
from storescp.interfaces import StoreRequest
from storescp.uids import DEFLATED, EXPLICIT_BE, IMPLICIT_LE

HEAD = 4096  # bytes looked at: the two come within the first few hundred

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_GROUP_2 = (b"\2\0", b"\0\2")  # of file meta information, in any order of bytes
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})


def check_identity(request: StoreRequest, head: bytes) -> None:
    """Raise `StoreFailure` A900H where a data set that begins with `head` is not that of `request`.

    `head` is the first `HEAD` bytes, or as many as there are. A data set that does not say what it is, or
    that says it in deflated form or after something that cannot be stepped over, is believed the command.
    One that begins as a file does is refused with C000H: its own file would have two headers.
    """
    deflated = request.transfer_syntax in DEFLATED
    # After a preamble, of which every byte may be used; or without one.
    if head[128:134] == b"DICM\2\0" or (head[:2] in _GROUP_2 and not deflated):
        raise StoreFailure("its data set begins as a file does, with a header", Status.CANNOT_UNDERSTAND)
    if deflated:
        return
    for tag, value in _uids(head, request.transfer_syntax):
        what, wanted = (
            ("SOP Class", request.sop_class_uid)
            if tag == _SOP_CLASS_UID
            else ("SOP Instance", request.sop_instance_uid)
        )
        if value not in ("", wanted):
            raise StoreFailure(
                f"the {what} UID of the data set is not that of the command",
                Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
            )


def _uids(head: bytes, transfer_syntax: str) -> Iterator[tuple[int, str]]:
    """Those of the two that `head` has, whole."""
    order = ">" if transfer_syntax == EXPLICIT_BE else "<"
    step = _implicit if transfer_syntax == IMPLICIT_LE else _explicit
    position, last = 0, -1
    while position + 12 <= len(head):
        group, element = struct.unpack_from(order + "HH", head, position)
        tag = group << 16 | element
        if not last < tag <= _SOP_INSTANCE_UID:  # past them; or not in order, so no data set
            return
        start, length = step(head, position + 4, order)
        position, last = start + length, tag
        if tag in (_SOP_CLASS_UID, _SOP_INSTANCE_UID) and position <= len(head):
            yield tag, head[start:position].decode("latin-1").rstrip("\0 ")


def _implicit(head: bytes, position: int, order: str) -> tuple[int, int]:
    """Where the value starts and how long it is, `position` being behind the tag."""
    return position + 4, struct.unpack_from(order + "I", head, position)[0]


def _explicit(head: bytes, position: int, order: str) -> tuple[int, int]:
    if head[position : position + 2] in _LONG:
        return position + 8, struct.unpack_from(order + "I", head, position + 4)[0]
    return position + 4, struct.unpack_from(order + "H", head, position + 2)[0]
