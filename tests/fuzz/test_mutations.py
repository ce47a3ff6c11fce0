"""Recorded sessions, as they are and damaged in any way: each is answered, and the server is as it was before."""

import random
from collections.abc import Callable, Iterable
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import recorded
from tests.fuzz.harness import Bench
from tests.fuzz.steps import SILENCE, Act, Step
from tests.fuzz.streams import (
    HEADER,
    Field,
    command_of,
    element,
    items,
    length_fields,
    messages,
    of_length,
    split_elements,
    split_pdus,
    with_body,
    with_fragment,
    with_item,
)
from tests.program import make_directory
from tests.strategies import PROPERTY, uint8

SESSIONS = recorded()
PDUS = {name: split_pdus(session) for name, session in SESSIONS.items()}
SMALL = 3000  # bytes of a session that is sent byte by byte
SPLITS = 2  # of each session, of any kind
TRUNCATED = {"echoscu": 1, "made-released-within-data": 1, "made-many-values-in-one": 7}  # at each so manieth byte
LONG_STEP = 25  # in the A-ASSOCIATE-RQ, where one byte is as good as the next

META_LENGTH_END = 144  # of a file: preamble, DICM, and (0002,0000) with its value

RELEASE_RP = "06 00 00000004 00000000"
BY_USER = "07 00 00000004 00000000"
UNEXPECTED_PDU = "07 00 00000004 00000202"
INVALID_VALUE = "07 00 00000004 00000206"

# What is heard last where something is wrong with a session.
LAST_HEARD = {
    "curl-http": BY_USER,
    "echoscu-tls": BY_USER,
    "made-answer-first": BY_USER,
    "made-application-rejected": "03 00 00000004 00010102",
    "made-context-not-accepted": INVALID_VALUE,
    "made-contexts-mixed": BY_USER,
    "made-data-first": BY_USER,
    "made-hl7": BY_USER,
    "made-many-values-in-one": RELEASE_RP,
    "made-refusals": RELEASE_RP,
    "made-release-answer": UNEXPECTED_PDU,
    "made-release-collision": RELEASE_RP,
    "made-released-within-data": RELEASE_RP,
    "made-second-request": UNEXPECTED_PDU,
    "made-version-rejected": "03 00 00000004 00010202",
}
# Of passcodes, tickets and assertions, and of the patients' names.
SECRETS = ("SECRET", "Last^First", "Lastname^Firstname", "CompressedSamples", "Moriarty")


class FuzzTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(make_directory(self))
        self.addCleanup(self.bench.close)


def data_set_of(file: bytes) -> bytes:
    """What follows the File Meta Information."""
    return file[META_LENGTH_END + int.from_bytes(file[140:144], "little") :]


def pieces(session: bytes, cuts: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(cuts), len(session)]
    return [session[start:end] for start, end in pairwise(bounds)]


class RecordedTests(FuzzTestCase):
    """Sessions as they were recorded."""

    def test_stored(self) -> None:
        """Every instance that a real client sends is acknowledged, and stored byte for byte."""
        for name, session in SESSIONS.items():
            if name not in LAST_HEARD:
                sent = [data for command, data in messages(PDUS[name]) if command[0x0100] == b"\x01\0"]
                stored = [data_set_of(file) for file in self.bench.run([session]).files.values()]
                self.assertEqual(sorted(sent), sorted(stored), name)

    def test_last_heard(self) -> None:
        """A session that is out of order is answered as PS3.8 says: released, rejected or aborted."""
        heard = {name: self.bench.run([SESSIONS[name]]).heard for name in LAST_HEARD}
        self.assertEqual(
            {name: bytes.fromhex(last) for name, last in LAST_HEARD.items()},
            {name: split_pdus(each)[-1] for name, each in heard.items()},
        )

    def test_refusals(self) -> None:
        """Requests that are refused do not end the association, and each has its own status."""
        answers = messages(split_pdus(self.bench.run([SESSIONS["made-refusals"]]).heard))
        self.assertEqual(
            "0000 0000 0000 A900 C000 0000 0122 0212 0122 0211 C000 C000 0000 0000",
            " ".join(f"{int.from_bytes(answer[0x0900], 'little'):04X}" for answer, _ in answers),
        )

    def test_too_large(self) -> None:
        """An instance that goes over the limit is refused when it ends, and leaves nothing."""
        request, command, *data, release = PDUS["storescu-ct"]
        for slow_disk in (False, True):
            outcome = self.bench.run(
                [request, command, data[0], Act.WORK, *data, *[Act.WORK] * 9, release], slow_disk=slow_disk
            )
            ((answer, _),) = messages(split_pdus(outcome.heard))
            self.assertEqual((b"\0\xa7", {}), (answer[0x0900], outcome.files))

    def test_splits(self) -> None:
        """What is heard, stored and logged is the same however TCP, or the end of a peer's turn, cuts a session."""
        chance = random.Random(1)
        for name, session in SESSIONS.items():
            whole = self.bench.run([session])
            splits = [pieces(session, chance.choices(range(len(session)), k=8)) for _ in range(SPLITS)]
            if len(session) <= SMALL:
                splits.append(pieces(session, range(1, len(session))))
            for split in splits:
                self.assertEqual(whole, self.bench.run(split), name)
            self.assertEqual(whole, self.bench.run([session, 0.0], busy=True), name)

    def test_secrets(self) -> None:
        """Nothing of an identity's secrets, and nothing of a data set, is in the log at any level."""
        sent = b"".join(SESSIONS.values()).decode("latin-1")
        self.assertEqual([], [word for word in SECRETS if word not in sent])
        log = "\n".join(line for session in SESSIONS.values() for line in self.bench.run([session]).log)
        self.assertEqual([], [word for word in SECRETS if word in log])


class TruncatedTests(FuzzTestCase):
    """Sessions of which only the beginning comes."""

    def each_beginning(self, *then: Step) -> list[bool]:
        """For each of them, whether the server has cut the connection after `then`."""
        closed = []
        for name, step in TRUNCATED.items():
            session = SESSIONS[name]
            associated = len(PDUS[name][0])
            for end in (*range(0, associated, LONG_STEP), *range(associated, len(session), step)):
                closed.append(self.bench.run([session[:end], *then]).closed)
        return closed

    def test_lost(self) -> None:
        """Wherever the connection is lost, nothing is left of it; until then the server leaves it open."""
        self.assertEqual({False}, set(self.each_beginning()))

    def test_silence(self) -> None:
        """Wherever the peer falls silent, the server cuts the connection in the end."""
        self.assertEqual({True}, set(self.each_beginning(*SILENCE)))


def new_lengths(old: int, size: int) -> list[int]:
    """What a length field of `size` bytes can say in place of `old`."""
    return sorted({new & (1 << 8 * size) - 1 for new in (0, 1, old - 1, old + 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)})


def with_length(pdu: bytes, field: Field, new: int) -> bytes:
    start, size, order = field
    return pdu[:start] + new.to_bytes(size, order) + pdu[start + size :]


def changed(value: bytes) -> list[bytes]:
    """Nothing of it, its first bytes, all but its last, and one more than all; and as long, but the least and most."""
    shorter = [value[:size] for size in range(min(len(value), 6))]
    return [*shorter, value[:-1], value + b"\1", bytes(len(value)), bytes(len(value))[1:] + b"\6", b"\xff" * len(value)]


class EachTests(FuzzTestCase):
    """One thing of each kind, damaged in each way. What `Bench.run` checks is what these are about."""

    def test_items(self) -> None:
        """No kind of item of an A-ASSOCIATE-RQ, too short, too long or repeated, does any harm."""
        talking = [pdus for pdus in PDUS.values() if len(pdus) > 2]
        kinds = {pdus[0][item.start]: (pdus, item) for pdus in talking for item in items(pdus[0])}
        self.assertEqual(set(bytes.fromhex("10 20 30 40 50 51 52 53 54 55 56 57 58 5F")), set(kinds))
        for (request, *rest), item in kinds.values():
            whole = request[item.start : item.end]
            requests = [with_item(request, item, whole * times) for times in (0, 2, 130)]
            requests += [with_body(request, item, body) for body in changed(whole[4:])]
            for each in requests:
                self.bench.run([each, *rest])

    def test_elements(self) -> None:
        """No kind of command element, too short, too long, missing or repeated, does any harm."""
        kinds = {}
        for name, pdus in PDUS.items():
            for number, pdu in enumerate(pdus):
                elements = split_elements(command_of(pdu))
                kinds.update({each[:4]: (name, number, position) for position, each in enumerate(elements)})
        for name, number, position in kinds.values():
            pdus = PDUS[name]
            elements = split_elements(command_of(pdus[number]))
            whole = elements[position]
            for instead in (b"", whole * 2, *(element(whole[:4], value) for value in changed(whole[8:]))):
                command = b"".join([*elements[:position], instead, *elements[position + 1 :]])
                self.bench.run([*pdus[:number], with_fragment(pdus[number], command), *pdus[number + 1 :]])

    def test_lengths(self) -> None:
        """No length, whatever it is of, does any harm by what it says."""
        for name, number in (("pynetdicom-everything", 0), ("echoscu", 1), ("made-many-values-in-one", 1)):
            pdus = PDUS[name]
            for field in length_fields(pdus[number]):
                start, size, order = field
                for new in new_lengths(int.from_bytes(pdus[number][start : start + size], order), size):
                    self.bench.run([*pdus[:number], with_length(pdus[number], field, new), *pdus[number + 1 :]])


Damage = Callable[[st.DrawFn, list[bytes]], None]  # to the PDUs of a session


def _index(draw: st.DrawFn, pdus: list[bytes]) -> int:
    return draw(st.integers(0, len(pdus) - 1))


def change_bytes(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    pdu = bytearray(pdus[number])
    for position in draw(st.lists(st.integers(0, max(len(pdu) - 1, 0)), min_size=1, max_size=4)):
        pdu[position : position + 1] = bytes([draw(uint8)])
    pdus[number] = bytes(pdu)


def change_length(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    fields = length_fields(pdus[number])
    if not fields:
        return
    field = draw(st.sampled_from(fields))
    start, size, order = field
    old = int.from_bytes(pdus[number][start : start + size], order)
    pdus[number] = with_length(pdus[number], field, draw(st.sampled_from(new_lengths(old, size))))


def shorten(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    pdus[number] = of_length(pdus[number][: draw(st.integers(HEADER, HEADER + len(pdus[number])))])


def lengthen(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    position = draw(st.integers(HEADER, HEADER + len(pdus[number])))
    more = draw(st.binary(max_size=8) | st.sampled_from((16, 300, 5000, 40000)).map(bytes))
    pdus[number] = of_length(pdus[number][:position] + more + pdus[number][position:])


def change_item(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    found = items(pdus[number])
    if found:
        item = draw(st.sampled_from(found))
        body = pdus[number][item.start + 4 : item.end]
        body = body[: draw(st.integers(0, len(body)))] + draw(st.binary(max_size=8))
        pdus[number] = with_body(pdus[number], item, body)


def repeat_item(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    found = items(pdus[number])
    if found:
        item = draw(st.sampled_from(found))
        instead = pdus[number][item.start : item.end] * draw(st.sampled_from((0, 2, 3, 130)))
        pdus[number] = with_item(pdus[number], item, instead)


def change_element(draw: st.DrawFn, pdus: list[bytes]) -> None:
    commands = [number for number, pdu in enumerate(pdus) if command_of(pdu)]
    if not commands:
        return
    chosen = draw(st.sampled_from(commands))
    elements = split_elements(command_of(pdus[chosen]))
    number = _index(draw, elements)
    whole = elements[number]
    value = draw(st.binary(max_size=4) | st.sampled_from((whole[8:9], whole[8:] * 2, b"1" * 65, b"\n/../" * 13)))
    elements[number] = draw(st.sampled_from((b"", whole * 2)) | st.just(element(whole[:4], value)))
    pdus[chosen] = with_fragment(pdus[chosen], b"".join(elements))


def change_type(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    pdus[number] = draw(st.integers(0, 8) | uint8).to_bytes(1, "big") + pdus[number][1:]


INSIDE: list[Damage] = [
    change_bytes,
    change_length,
    shorten,
    lengthen,
    change_item,
    repeat_item,
    change_element,
    change_type,
]


def delete(draw: st.DrawFn, pdus: list[bytes]) -> None:
    del pdus[_index(draw, pdus)]


def repeat(draw: st.DrawFn, pdus: list[bytes]) -> None:
    number = _index(draw, pdus)
    pdus[number:number] = pdus[number : number + 1] * draw(st.sampled_from((1, 2, 5)))


def swap(draw: st.DrawFn, pdus: list[bytes]) -> None:
    one, other = _index(draw, pdus), _index(draw, pdus)
    pdus[one], pdus[other] = pdus[other], pdus[one]


def splice(draw: st.DrawFn, pdus: list[bytes]) -> None:
    other = PDUS[draw(st.sampled_from(sorted(PDUS)))]
    start = _index(draw, other)
    number = _index(draw, pdus)
    pdus[number:number] = other[start : start + draw(st.integers(1, 4))]


def insert_garbage(draw: st.DrawFn, pdus: list[bytes]) -> None:
    pdus.insert(_index(draw, pdus), draw(st.binary(min_size=1, max_size=40)))


AMONG: list[Damage] = [delete, repeat, swap, splice, insert_garbage]


@st.composite
def damaged(draw: st.DrawFn, damages: list[Damage]) -> bytes:
    """A session that a few of `damages` have been done to."""
    pdus = list(PDUS[draw(st.sampled_from(sorted(PDUS)))])
    for damage in draw(st.lists(st.sampled_from(damages), min_size=1, max_size=4)):
        if pdus:
            damage(draw, pdus)
    return b"".join(pdus)


# Around the timeouts of the bench, and what else can happen meanwhile.
HAPPENINGS: list[Step] = [0.5, 3.0, 29.0, 31.0, 61.0, 121.0, *Act]


@st.composite
def interrupted(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> list[Step]:
    """A stream in pieces, and what happens between them."""
    stream = draw(streams)
    steps: list[Step] = []
    for piece in pieces(stream, draw(st.lists(st.integers(0, len(stream)), max_size=6))):
        steps += [piece, *draw(st.lists(st.sampled_from(HAPPENINGS), max_size=3))]
    return steps


MANY = settings(PROPERTY, max_examples=100, suppress_health_check=list(HealthCheck))


class DamagedTests(FuzzTestCase):
    """Anything, anywhere. What `Bench.run` checks is what these are about."""

    @MANY
    @given(damaged(INSIDE))
    def test_inside(self, session: bytes) -> None:
        """Whatever is wrong inside of PDUs, nobody else notices, and nothing is left."""
        self.bench.run([session])

    @MANY
    @given(damaged(AMONG))
    def test_among(self, session: bytes) -> None:
        """Whichever PDUs are missing, repeated or out of place, nobody else notices, and nothing is left."""
        self.bench.run([session])

    @MANY
    @given(interrupted(damaged(INSIDE + AMONG)))
    def test_interrupted(self, steps: list[Step]) -> None:
        """However slowly it comes, and whether or not the peer reads, nobody else notices, and nothing is left."""
        self.bench.run(steps)

    @MANY
    @given(interrupted(st.sampled_from(sorted(SESSIONS.values(), key=len)) | damaged(INSIDE + AMONG)), st.booleans())
    def test_slow_disk(self, steps: list[Step], busy: bool) -> None:
        """However late the disk does its work, nobody else notices, and nothing is left."""
        self.bench.run(steps, slow_disk=True, busy=busy)

    @MANY
    @given(interrupted(damaged(INSIDE + AMONG)), st.booleans(), st.booleans())
    def test_closed(self, steps: list[Step], slow_disk: bool, busy: bool) -> None:
        """Whatever has come, a peer that then falls silent is cut off in the end."""
        self.assertTrue(self.bench.run([*steps, *SILENCE], slow_disk=slow_disk, busy=busy).closed)
