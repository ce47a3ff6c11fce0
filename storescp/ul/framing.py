"""Bytes in any split to whole PDUs, PS3.8 9.3.1: type, reserved byte, length, body."""

import struct
from collections.abc import Iterator, Mapping
from typing import NoReturn

from storescp.errors import AbortReason, Excess, InvalidPDU
from storescp.ul.pdu import AAssociateAC, AAssociateRQ, PDataTF

_HEADER = struct.Struct(">BxI")
_HEADER_SIZE, _unpack_header = _HEADER.size, _HEADER.unpack_from
_NOTHING = memoryview(b"")

# Which attribute of `Config` limits a PDU; the others have a fixed length.
_LIMITED_BY = {
    AAssociateRQ.TYPE: "max_associate_rq",
    AAssociateAC.TYPE: "max_associate_rq",
    PDataTF.TYPE: "max_pdu",
}
# What else comes to an open port, by its first byte: a hint is worth more than a number.
_OTHER_PROTOCOLS = {
    0x0B: "HL7",
    0x16: "TLS",
    **dict.fromkeys(b"CDGHOT", "HTTP"),  # of CONNECT, DELETE, GET, HEAD, OPTIONS, TRACE
    ord("P"): "HTTP or the PROXY protocol",
}


class Framer:
    """Cuts a stream into PDUs.

    `limits` maps each known PDU type to the longest body, in bytes, that is accepted. It is asked as
    soon as the six header bytes are there, before anything of the body is kept; it may be changed
    between PDUs, as the maximum length is agreed upon.
    """

    def __init__(self, limits: Mapping[int, int]) -> None:
        self._limits = limits
        self._partial = bytearray()  # of a PDU that is not yet whole, from its first byte on
        self._wanted = 0  # bytes of it; 0 until its header is whole
        self._view = _NOTHING  # of the latest chunk
        self._position = 0  # in it, of what was not yet handed out
        self.stopped = False

    @property
    def has_more(self) -> bool:
        """Whether the latest chunk has another whole PDU."""
        header = self._view[self._position : self._position + _HEADER_SIZE]
        if len(header) < _HEADER_SIZE:
            return False
        length: int = _HEADER.unpack(header)[1]
        return self._position + _HEADER_SIZE + length <= len(self._view)

    def stop(self) -> None:
        """Ignore whatever is left of this chunk and everything after it."""
        self.stopped = True
        self._partial = bytearray()
        self._view = _NOTHING

    def feed(self, chunk: bytes) -> Iterator[tuple[int, memoryview]]:
        """Yield (type, body) for each PDU that ends in `chunk`.

        A body is a read-only view that stays valid for as long as it is kept: most are windows into
        `chunk`, those that were split are put together in memory of their own.

        Raises `InvalidPDU` for an unknown type or a length over its limit, and stops: where the next PDU
        begins is anybody's guess then.
        """
        if self.stopped:
            return
        self._view = view = memoryview(chunk)
        position, size = 0, len(view)
        if self._partial:
            position = self._gather(view)
            if len(self._partial) == self._wanted:
                pdu = memoryview(self._partial).toreadonly()
                self._partial, self._wanted, self._position = bytearray(), 0, position
                yield pdu[0], pdu[_HEADER_SIZE:]
        while position + _HEADER_SIZE <= size and not self.stopped:
            pdu_type, length = _unpack_header(view, position)
            if length > self._limits.get(pdu_type, -1):
                self._refuse(pdu_type, length)
            body, end = position + _HEADER_SIZE, position + _HEADER_SIZE + length
            if end > size:
                self._wanted = _HEADER_SIZE + length
                break
            self._position = position = end
            yield pdu_type, view[body:end]
        self._view = _NOTHING
        if position < size and not self.stopped:
            self._partial += view[position:]

    def _gather(self, view: memoryview) -> int:
        """Go on with the PDU that has begun; how many bytes of it there are in `view`."""
        position = 0
        if not self._wanted:
            position = _HEADER_SIZE - len(self._partial)
            self._partial += view[:position]
            if len(self._partial) < _HEADER_SIZE:
                return len(view)
            pdu_type, length = _HEADER.unpack(self._partial)
            if length > self._limits.get(pdu_type, -1):
                self._refuse(pdu_type, length)
            self._wanted = _HEADER_SIZE + length
        end = position + self._wanted - len(self._partial)
        self._partial += view[position:end]
        return min(end, len(view))

    def _refuse(self, pdu_type: int, length: int) -> NoReturn:
        self.stop()
        limit = self._limits.get(pdu_type)
        raise _unknown(pdu_type) if limit is None else _too_long(pdu_type, length, limit)


def _unknown(pdu_type: int) -> InvalidPDU:
    other = _OTHER_PROTOCOLS.get(pdu_type)
    hint = f"; it may be {other}" if other else ""
    return InvalidPDU(f"PDU type {pdu_type:02X}H is unknown{hint}", AbortReason.UNRECOGNIZED_PDU)


def _too_long(pdu_type: int, length: int, most: int) -> InvalidPDU:
    cause = f"PDU of type {pdu_type:02X}H claims {length} bytes, more than {most}"
    limit = _LIMITED_BY.get(pdu_type)
    return InvalidPDU(Excess(limit, cause) if limit else cause)
