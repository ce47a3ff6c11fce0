"""What can happen on a connection, and how a fuzzer's input says it."""

from collections.abc import Iterator
from enum import Enum

from tests.fuzz.streams import split_pdus

PAST_ALL_TIMEOUTS = 1000.0  # seconds


class Act(Enum):
    """What happens beside bytes and time."""

    WORK = "a slow disk does one of the things that wait for it"
    STALL = "the peer reads no more"
    READ = "the peer reads again"


Step = bytes | float | Act  # bytes arrive, seconds pass

SILENCE: tuple[Step, ...] = (PAST_ALL_TIMEOUTS,) * 5  # as one timeout may start another

# The parts of an input's first byte; the rest is a stream.
CHUNKING, SLOW_DISK, TIME_PASSES, UNREAD, SILENT, BUSY = 0x07, 0x08, 0x10, 0x20, 0x40, 0x80
WHOLE, BY_BYTE, BY_PDU = 0, 1, 2  # other values of CHUNKING: that many pieces
MOST_CHUNKS = 256
BETWEEN = 31.0  # seconds: more than ARTIM, less than the other timeouts


def steps_of(how: int, stream: bytes) -> Iterator[Step]:
    if how & UNREAD:
        yield Act.STALL
    for chunk in _chunks(how & CHUNKING, stream):
        yield chunk
        if how & TIME_PASSES:
            yield BETWEEN
        if how & SLOW_DISK:
            yield Act.WORK
    if how & UNREAD:
        yield Act.READ
    if how & SILENT:
        yield from SILENCE


def _chunks(rule: int, stream: bytes) -> Iterator[bytes]:
    if rule == WHOLE:
        yield stream
    elif rule == BY_PDU:
        yield from split_pdus(stream)
    else:
        size = max(1 if rule == BY_BYTE else len(stream) // rule, len(stream) // MOST_CHUNKS, 1)
        yield from (stream[start : start + size] for start in range(0, len(stream), size))
