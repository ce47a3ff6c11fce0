"""A fuzzer that is guided by what code is reached: atheris, which is libFuzzer for Python.

::

    python -m tests.fuzz.coverage_guided [-max_total_time=45] [another option of libFuzzer ...] [file ...]

It begins with the recorded sessions, works in a directory of its own, and ends by itself: with 0, or with another code
and the input that has done it, saved in the current directory. Files, such as that, are run in place of fuzzing.

An input is a byte that says how a stream arrives (`steps_of`), and the stream.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import atheris

from tests.fuzz import recorded
from tests.fuzz.steps import BUSY, BY_PDU, SILENT, SLOW_DISK, WHOLE, steps_of
from tests.fuzz.streams import (
    FRAGMENT,
    HEADER,
    command_of,
    element,
    items,
    of_length,
    split_elements,
    split_pdus,
    with_body,
    with_fragment,
)

# Bytes, seconds of one input, megabytes, seconds of all; what comes later on the command line overrides.
LIMITS = ("-max_len=65536", "-timeout=10", "-rss_limit_mb=1024", "-max_total_time=45", "-use_value_profile=1")
SMALL = 8192  # bytes of a session that begins in two ways
ENDING = 120  # seconds beside those, after which the fuzzer itself hangs
AS_IT_IS = 0.3  # of the mutations know nothing of PDUs
FIRST = 0.3  # of the others are inside of the first PDU, which may be one of many
DEEP = 0.8  # of these, and of those inside of another are inside of an item or a fragment

_CHILD = "import sys; from tests.fuzz.coverage_guided import fuzz; fuzz(sys.argv[1], sys.argv[2:])"


def seeds() -> Iterator[bytes]:
    for session in recorded().values():
        for how in (WHOLE, BUSY | BY_PDU | SLOW_DISK) if len(session) < SMALL else (WHOLE,):
            yield bytes([how]) + session


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's mutation, of the input as it is or inside of one PDU, whose lengths are then right again."""
    chance = random.Random(seed)
    pdus = split_pdus(data[1:])
    if not pdus or chance.random() < AS_IT_IS:
        return bytes(atheris.Mutate(data, max_size))
    number = 0 if chance.random() < FIRST else chance.randrange(len(pdus))
    room = max(max_size - len(data), 0)
    pdus[number] = _mutate_pdu(pdus[number], room, chance)
    return (data[:1] + b"".join(pdus))[:max_size]


def _mutate_pdu(pdu: bytes, room: int, chance: random.Random) -> bytes:
    """Of an item, a command element, a fragment or a PDU, the content is another, of `room` bytes more at most."""

    def mutated(part: bytes) -> bytes:
        return bytes(atheris.Mutate(part, len(part) + room + 1))

    found, elements = items(pdu), split_elements(command_of(pdu))
    if found and chance.random() < DEEP:
        kind = chance.choice(sorted({pdu[item.start] for item in found}))  # most are of the same few
        item = chance.choice([item for item in found if pdu[item.start] == kind])
        return with_body(pdu, item, mutated(pdu[item.start + 4 : item.end]))
    if elements and chance.random() < DEEP:
        number = chance.randrange(len(elements))
        elements[number] = element(elements[number][:4], mutated(elements[number][8:]))
        return with_fragment(pdu, b"".join(elements))
    if pdu[:1] == b"\x04" and chance.random() < DEEP:
        return with_fragment(pdu, mutated(pdu[FRAGMENT:]))
    return of_length(pdu[:HEADER] + mutated(pdu[HEADER:]))


def fuzz(directory: str, arguments: list[str]) -> None:
    """Work in `directory`. Does not return: libFuzzer ends the process."""
    with atheris.instrument_imports(include=["storescp"]):
        from tests.fuzz.harness import Bench  # noqa: PLC0415  # all that it imports of storescp is instrumented
    from twisted.logger import globalLogBeginner  # noqa: PLC0415

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)  # which would grow
    bench = Bench(directory)

    def run(data: bytes) -> None:
        how = data[0] if data else 0
        outcome = bench.run(steps_of(how, data[1:]), slow_disk=bool(how & SLOW_DISK), busy=bool(how & BUSY))
        assert outcome.closed or not how & SILENT, "a silent peer is still connected"

    atheris.Setup([sys.argv[0], *arguments], run, custom_mutator=mutate)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    """Run `fuzz` in a process of its own, for there is something to do after it. Its exit code."""
    options = [*LIMITS, *(each for each in arguments if each.startswith("-"))]
    files = [each for each in arguments if not each.startswith("-")]
    seconds = [int(each.partition("=")[2]) for each in options if each.startswith("-max_total_time=")][-1]
    with tempfile.TemporaryDirectory() as stored, tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            Path(corpus, str(number)).write_bytes(seed)
        child = [sys.executable, "-c", _CHILD, stored, *options, *(files or [corpus])]
        return subprocess.run(child, timeout=seconds + ENDING, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
