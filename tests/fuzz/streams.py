"""Streams of PDUs taken apart, by another way than that of the server."""

from collections.abc import Iterable, Iterator
from typing import Literal

import attrs

DATA, ABORT = 0x04, 0x07  # types of PDUs
HEADER = 6  # bytes of a PDU
ITEMS = 74  # where the items of an A-ASSOCIATE begin
FRAGMENT = 12  # where the first fragment of a P-DATA-TF does, after length, context id and control header of its PDV

# Bytes of an item of that type before its sub-items, or before a field of a length and so many bytes.
_BEFORE_SUB_ITEMS = {0x20: 4, 0x21: 4, 0x50: 0}
_BEFORE_FIELD = {0x54: 0, 0x56: 0, 0x57: 0, 0x58: 2}

_BIG: Literal["big"] = "big"
_LITTLE: Literal["little"] = "little"

# Where a length is, of how many bytes, in which order.
Field = tuple[int, int, Literal["big", "little"]]


def split_pdus(stream: bytes) -> list[bytes]:
    """The PDUs of a stream, by the lengths that they claim; the last may be in part."""
    pdus = []
    while stream:
        end = HEADER + int.from_bytes(stream[2:HEADER], "big")
        pdus.append(stream[:end])
        stream = stream[end:]
    return pdus


def is_whole(pdu: bytes) -> bool:
    return len(pdu) == HEADER + int.from_bytes(pdu[2:HEADER], "big")


def of_length(pdu: bytes) -> bytes:
    """The same PDU, with a header that says how long it is."""
    return pdu[:2] + max(len(pdu) - HEADER, 0).to_bytes(4, "big") + pdu[HEADER:]


def messages(pdus: Iterable[bytes]) -> list[tuple[dict[int, bytes], bytes]]:
    """The command set, by element numbers, and the data set of each message in PDUs that are in order."""
    found: list[tuple[dict[int, bytes], bytes]] = []
    command = b""
    for control, fragment in (each for pdu in pdus if pdu[0] == DATA for each in _pdvs(pdu)):
        if not control & 1:
            found[-1] = (found[-1][0], found[-1][1] + fragment)
            continue
        command += fragment
        if control & 2:
            found.append((_elements(command), b""))
            command = b""
    return found


def _pdvs(pdu: bytes) -> Iterator[tuple[int, bytes]]:
    rest = pdu[HEADER:]
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        yield rest[5], rest[6:end]
        rest = rest[end:]


def _elements(command: bytes) -> dict[int, bytes]:
    return {int.from_bytes(each[2:4], "little"): each[8:] for each in split_elements(command)}


def split_elements(command: bytes) -> list[bytes]:
    """The elements of a command set, by the lengths that they claim; the last may be in part."""
    elements = []
    while command:
        end = 8 + int.from_bytes(command[4:8], "little")
        elements.append(command[:end])
        command = command[end:]
    return elements


def element(tag: bytes, value: bytes) -> bytes:
    return tag + len(value).to_bytes(4, "little") + value


def command_of(pdu: bytes) -> bytes:
    """The command set that is the only content of a P-DATA-TF; empty where there is none."""
    whole = pdu[:1] == b"\x04" and pdu[11:FRAGMENT] == b"\x03" and pdu[HEADER:10] == (len(pdu) - 10).to_bytes(4, "big")
    return pdu[FRAGMENT:] if whole else b""


def with_fragment(pdu: bytes, fragment: bytes) -> bytes:
    """A P-DATA-TF of one PDV, with another fragment in it."""
    return of_length(pdu[:HEADER] + (len(fragment) + 2).to_bytes(4, "big") + pdu[10:FRAGMENT] + fragment)


def uid(value: bytes) -> str:
    return value.decode("latin-1").rstrip("\0 ")


@attrs.frozen
class Item:
    """An item or sub-item: where it starts and ends in its PDU, and where those start that it is part of."""

    start: int
    end: int
    within: tuple[int, ...]


def items(pdu: bytes) -> list[Item]:
    """All items of an A-ASSOCIATE, which may be damaged; none of another PDU."""
    return list(_items(pdu, ITEMS, len(pdu), ())) if pdu[:1] in (b"\x01", b"\x02") else []


def _items(pdu: bytes, start: int, end: int, within: tuple[int, ...]) -> Iterator[Item]:
    while start + 4 <= end:
        item = Item(start, min(start + 4 + int.from_bytes(pdu[start + 2 : start + 4], "big"), end), within)
        yield item
        if pdu[start] in _BEFORE_SUB_ITEMS:
            yield from _items(pdu, start + 4 + _BEFORE_SUB_ITEMS[pdu[start]], item.end, (*within, start))
        start = item.end


def with_item(pdu: bytes, item: Item, instead: bytes) -> bytes:
    """The PDU with something else in the place of `item`; what it is part of knows how long that is."""
    changed = bytearray(pdu)
    changed[item.start : item.end] = instead
    for start in item.within:
        length = int.from_bytes(pdu[start + 2 : start + 4], "big") + len(instead) - (item.end - item.start)
        changed[start + 2 : start + 4] = (length & 0xFFFF).to_bytes(2, "big")
    return of_length(bytes(changed))


def with_body(pdu: bytes, item: Item, body: bytes) -> bytes:
    """The PDU with another body of `item`."""
    return with_item(pdu, item, pdu[item.start : item.start + 2] + (len(body) & 0xFFFF).to_bytes(2, "big") + body)


def length_fields(pdu: bytes) -> list[Field]:
    """Where in a PDU, which may be damaged, lengths are: its own, of items, sub-items, PDVs and command elements."""
    found: list[Field] = [(2, 4, _BIG)]
    for item in items(pdu):
        found.append((item.start + 2, 2, _BIG))
        if pdu[item.start] in _BEFORE_FIELD:
            found.append((item.start + 4 + _BEFORE_FIELD[pdu[item.start]], 2, _BIG))
    if pdu[:1] == b"\x04":
        found += _of_pdvs(pdu)
    return [(start, size, order) for start, size, order in found if start + size <= len(pdu)]


def _of_pdvs(pdu: bytes) -> Iterator[Field]:
    start = HEADER
    while start < len(pdu):
        yield start, 4, _BIG
        stop = start + 4 + int.from_bytes(pdu[start : start + 4], "big")
        element = start + 6
        while pdu[start + 5 : start + 6] in (b"\x01", b"\x03") and element < min(stop, len(pdu)):
            yield element + 4, 4, _LITTLE
            element += 8 + int.from_bytes(pdu[element + 4 : element + 8], "little")
        start = stop
