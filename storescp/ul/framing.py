"""Bytes in any split to whole PDUs, PS3.8 9.3.1: type, reserved byte, length, body."""

import struct
from collections.abc import Iterator, Mapping

from storescp.errors import AbortReason, Excess, InvalidPDU
from storescp.ul.pdu import AAssociateAC, AAssociateRQ, PDataTF

_HEADER = struct.Struct(">BxI")

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
        self._partial = bytearray()  # of the header, then of the body, when a chunk ends inside one
        self._type: int | None = None  # of the PDU whose body is awaited
        self._length = 0
        self._stopped = False
        self._view = memoryview(b"")  # of the latest chunk
        self._position = 0  # in it, of what was not yet handed out

    @property
    def has_more(self) -> bool:
        """Whether the latest chunk has another whole PDU."""
        header = self._view[self._position : self._position + _HEADER.size]
        if len(header) < _HEADER.size:
            return False
        return self._position + _HEADER.size + _HEADER.unpack(header)[1] <= len(self._view)

    def stop(self) -> None:
        """Ignore whatever is left of this chunk and everything after it."""
        self._stopped = True
        self._partial = bytearray()
        self._view = memoryview(b"")

    def feed(self, chunk: bytes) -> Iterator[tuple[int, memoryview]]:
        """Yield (type, body) for each PDU that ends in `chunk`.

        A body is a read-only view that stays valid for as long as it is kept: most are windows into
        `chunk`, those that were split are put together in memory of their own.

        Raises `InvalidPDU` for an unknown type or a length over its limit, and stops: where the next PDU
        begins is anybody's guess then.
        """
        self._view = view = memoryview(chunk)
        position = 0
        while not self._stopped:
            if self._type is None:
                position = self._read_header(view, position)
                if self._type is None:
                    break
            end = position + self._length - len(self._partial)
            if self._partial or end > len(view):
                self._partial += view[position:end]
                if end > len(view):
                    break
                body = memoryview(self._partial).toreadonly()
                self._partial = bytearray()
            else:
                body = view[position:end]
            self._position = position = end
            pdu_type, self._type = self._type, None
            yield pdu_type, body
        self._view = memoryview(b"")

    def _read_header(self, view: memoryview, position: int) -> int:
        """Where the body begins. Until the header is whole, there is no type."""
        start, end = position, position + _HEADER.size - len(self._partial)
        if self._partial or end > len(view):
            self._partial += view[start:end]
            if end > len(view):
                return end
            pdu_type, length = _HEADER.unpack(self._partial)
            self._partial = bytearray()
        else:
            pdu_type, length = _HEADER.unpack_from(view, start)
        limit = self._limits.get(pdu_type)
        if limit is None:
            self.stop()
            raise _unknown(pdu_type)
        if length > limit:
            self.stop()
            raise _too_long(pdu_type, length, limit)
        self._type, self._length = pdu_type, length
        return end


def _unknown(pdu_type: int) -> InvalidPDU:
    other = _OTHER_PROTOCOLS.get(pdu_type)
    hint = f"; it may be {other}" if other else ""
    return InvalidPDU(f"PDU type {pdu_type:02X}H is unknown{hint}", AbortReason.UNRECOGNIZED_PDU)


def _too_long(pdu_type: int, length: int, most: int) -> InvalidPDU:
    cause = f"PDU of type {pdu_type:02X}H claims {length} bytes, more than {most}"
    limit = _LIMITED_BY.get(pdu_type)
    return InvalidPDU(Excess(limit, cause) if limit else cause)
