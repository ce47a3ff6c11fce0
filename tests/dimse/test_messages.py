# mypy: allow-untyped-calls
"""Messages out of P-DATA-TF PDUs, however they were cut, and into them."""

from io import BytesIO
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_STORE_RQ as PynetdicomMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from twisted.trial.unittest import SynchronousTestCase

from storescp.dimse.commands import Elements
from storescp.dimse.messages import MessageReader, encode_message
from storescp.errors import InvalidMessage, InvalidPDU
from tests.strategies import PROPERTY
from tests.ul import wire

# Command and last-fragment bits of a message control header, PS3.8 E.2.
DATA, COMMAND, LAST_DATA, LAST_COMMAND = 0, 1, 2, 3

ECHO = wire(
    *("0000 0000 04000000", "38000000"),
    *("0000 0200 12000000", b"1.2.840.10008.1.1\0"),
    *("0000 0001 02000000", "3000"),
    *("0000 1001 02000000", "0700"),
    *("0000 0008 02000000", "0101"),  # no data set
)
STORE = wire(
    *("0000 0000 04000000", "3E000000"),
    *("0000 0200 0A000000", b"1.2.840.1\0"),
    *("0000 0001 02000000", "0100"),
    *("0000 1001 02000000", "0900"),
    *("0000 0008 02000000", "0000"),  # a data set
    *("0000 0010 06000000", b"1.2.3\0"),
)
DATA_SET = b"the bytes of a data set"

ECHO_ELEMENTS = {
    0x0000: b"\x38\0\0\0",
    0x0002: b"1.2.840.10008.1.1\0",
    0x0100: b"\x30\0",
    0x0110: b"\7\0",
    0x0800: b"\1\1",
}
STORE_ELEMENTS = {
    0x0000: b"\x3e\0\0\0",
    0x0002: b"1.2.840.1\0",
    0x0100: b"\1\0",
    0x0110: b"\x09\0",
    0x0800: b"\0\0",
    0x1000: b"1.2.3\0",
}

Told = tuple[Any, ...]
PDV = tuple[int, int, bytes]


class Recorder:
    """Writes down what a reader tells, and whether it was within a message at that moment."""

    def __init__(self, longest_command: int = 65536) -> None:
        self.told: list[Told] = []
        self.within: list[bool] = []
        self.elements: list[Elements] = []
        self.fragments: list[memoryview] = []
        self.reader = MessageReader(self, longest_command)

    def read(self, body: bytes) -> None:
        """Let the reader read all of this P-DATA-TF."""
        rest: memoryview | None = memoryview(body)
        while rest is not None:
            rest = self.reader.read(rest)

    def command_received(self, context_id: int, elements: Elements, has_data_set: bool) -> None:
        values = {number: bytes(value) for number, value in elements.items()}
        self.told.append(("command", context_id, values, has_data_set))
        self.within.append(self.reader.within_message)
        self.elements.append(elements)

    def fragment_received(self, fragment: memoryview, last: bool) -> None:
        self.told.append(("fragment", bytes(fragment), last))
        self.within.append(self.reader.within_message)
        self.fragments.append(fragment)


def body_of(*pdvs: PDV) -> bytes:
    """The body of one P-DATA-TF."""
    return b"".join(
        (len(fragment) + 2).to_bytes(4, "big") + bytes([context_id, control]) + fragment
        for context_id, control, fragment in pdvs
    )


def read(*bodies: bytes) -> list[Told]:
    """What is told of one P-DATA-TF after the other."""
    recorder = Recorder()
    for body in bodies:
        recorder.read(body)
    return recorder.told


def echo_told(context_id: int) -> Told:
    return ("command", context_id, ECHO_ELEMENTS, False)


def store_told(context_id: int) -> Told:
    return ("command", context_id, STORE_ELEMENTS, True)


def cut(whole: bytes, positions: list[int]) -> list[bytes]:
    return [whole[start:end] for start, end in pairwise([0, *sorted(positions), len(whole)])]


def pdvs_of(context_id: int, control: int, fragments: list[bytes]) -> list[PDV]:
    """The fragments as PDVs, the last of them marked."""
    lasts = [False] * (len(fragments) - 1) + [True]
    return [
        (context_id, control | (LAST_DATA if last else 0), fragment)
        for fragment, last in zip(fragments, lasts, strict=True)
    ]


def joined(told: list[Told]) -> list[Told]:
    """What was told, with the fragments of each data set put together up to its last."""
    whole: list[Told] = []
    for each in told:
        if each[0] == "fragment" and whole and whole[-1][0] == "fragment" and not whole[-1][2]:
            whole[-1] = ("fragment", whole[-1][1] + each[1], each[2])
        else:
            whole.append(each)
    return whole


@st.composite
def sessions(draw: st.DrawFn) -> tuple[list[bytes], list[Told]]:
    """Bodies of P-DATA-TF PDUs with messages in any fragmentation, and what is told of the messages."""

    def fragments(whole: bytes) -> list[bytes]:
        return cut(whole, draw(st.lists(st.integers(0, len(whole)), max_size=5)))

    pdvs: list[PDV] = []
    told: list[Told] = []
    for _ in range(draw(st.integers(1, 4))):
        context_id = draw(st.sampled_from([1, 3, 255]))
        if draw(st.booleans()):
            pdvs += pdvs_of(context_id, COMMAND, fragments(ECHO))
            told.append(echo_told(context_id))
        else:
            data_set = draw(st.binary(max_size=30))
            pdvs += pdvs_of(context_id, COMMAND, fragments(STORE)) + pdvs_of(context_id, DATA, fragments(data_set))
            told += [store_told(context_id), ("fragment", data_set, True)]
    ends = sorted(draw(st.sets(st.integers(1, len(pdvs) - 1)))) if len(pdvs) > 1 else []
    return [body_of(*pdvs[start:end]) for start, end in pairwise([0, *ends, len(pdvs)])], told


class ReadingTests(SynchronousTestCase):
    """Whole messages."""

    def test_command_alone(self) -> None:
        """A message without a data set is told with its context and its elements."""
        self.assertEqual([echo_told(1)], read(wire("00000046 01 03", ECHO)))

    def test_command_and_data_set(self) -> None:
        """A message with a data set is told as its command, then its fragments, of which one is the last."""
        expected = [store_told(3), ("fragment", b"AB", False), ("fragment", b"C", True)]
        bodies = (wire("0000004C 03 03", STORE), wire("00000004 03 00", b"AB"), wire("00000003 03 02", b"C"))
        self.assertEqual(expected, read(*bodies))

    def test_one_pdu(self) -> None:
        """Command and data set may stand in one P-DATA-TF."""
        body = wire("0000004C 03 03", STORE, "00000004 03 00", b"AB", "00000003 03 02", b"C")
        self.assertEqual([store_told(3), ("fragment", b"AB", False), ("fragment", b"C", True)], read(body))

    def test_messages_back_to_back(self) -> None:
        """Messages follow one another, on one context or on several, in one P-DATA-TF or in more."""
        pdvs = [
            (1, LAST_COMMAND, ECHO),
            (3, LAST_COMMAND, STORE),
            (3, LAST_DATA, b"one"),
            (5, LAST_COMMAND, STORE),
            (5, LAST_DATA, b"two"),
            (5, LAST_COMMAND, STORE),
            (5, LAST_DATA, b"three"),
            (255, LAST_COMMAND, ECHO),
        ]
        expected = [
            echo_told(1),
            store_told(3),
            ("fragment", b"one", True),
            store_told(5),
            ("fragment", b"two", True),
            store_told(5),
            ("fragment", b"three", True),
            echo_told(255),
        ]
        self.assertEqual(expected, read(body_of(*pdvs)))
        self.assertEqual(expected, read(*(body_of(pdv) for pdv in pdvs)))

    def test_command_in_every_split(self) -> None:
        """A command set is the same wherever it is cut in two, in one P-DATA-TF or in several."""
        for position in range(len(STORE) + 1):
            pdvs = pdvs_of(3, COMMAND, cut(STORE, [position]))
            self.assertEqual([store_told(3)], read(body_of(*pdvs)), str(position))
            self.assertEqual([store_told(3)], read(*(body_of(pdv) for pdv in pdvs)), str(position))

    def test_command_byte_by_byte(self) -> None:
        """A command set is told with its last byte."""
        recorder = Recorder()
        pdvs = pdvs_of(1, COMMAND, cut(ECHO, list(range(1, len(ECHO)))))
        for pdv in pdvs:
            self.assertEqual([], recorder.told)
            recorder.read(body_of(pdv))
        self.assertEqual(68, len(pdvs))
        self.assertEqual([echo_told(1)], recorder.told)

    def test_data_set_in_every_split(self) -> None:
        """The fragments of a data set are told one by one as they were cut."""
        for position in range(len(DATA_SET) + 1):
            first, second = cut(DATA_SET, [position])
            body = body_of((1, LAST_COMMAND, STORE), *pdvs_of(1, DATA, [first, second]))
            expected = [store_told(1), ("fragment", first, False), ("fragment", second, True)]
            self.assertEqual(expected, read(body), str(position))

    def test_empty_fragments(self) -> None:
        """Fragments of no bytes are fragments: before, between and after others, and as the last."""
        empty_first = body_of((1, COMMAND, b""), (1, COMMAND, ECHO), (1, COMMAND, b""), (1, LAST_COMMAND, b""))
        self.assertEqual([echo_told(1)], read(empty_first))
        data = body_of((1, LAST_COMMAND, STORE), (1, DATA, b""), (1, DATA, b"A"), (1, DATA, b""), (1, LAST_DATA, b""))
        expected = [("fragment", b"", False), ("fragment", b"A", False), ("fragment", b"", False)]
        self.assertEqual([store_told(1), *expected, ("fragment", b"", True)], read(data))

    def test_empty_data_set(self) -> None:
        """A data set of no bytes ends with its only fragment."""
        body = body_of((1, LAST_COMMAND, STORE), (1, LAST_DATA, b""))
        self.assertEqual([store_told(1), ("fragment", b"", True)], read(body))

    def test_reserved_bits(self) -> None:
        """Bits 2 to 7 of a message control header are reserved and not tested, PS3.8 E.2."""
        body = body_of((1, LAST_COMMAND | 0xFC, STORE), (1, DATA | 0xFC, b"A"), (1, LAST_DATA | 0xA8, b"B"))
        self.assertEqual([store_told(1), ("fragment", b"A", False), ("fragment", b"B", True)], read(body))

    def test_fragments_are_not_copied(self) -> None:
        """A fragment is a view into the P-DATA-TF it came in."""
        recorder = Recorder()
        body = body_of((1, LAST_COMMAND, STORE), (1, DATA, b"AB"), (1, LAST_DATA, b"C"))
        recorder.read(body)
        self.assertEqual([True, True], [fragment.obj is body for fragment in recorder.fragments])

    def test_elements_can_be_kept(self) -> None:
        """The elements of a command stay what they are while later messages are read."""
        recorder = Recorder()
        for body in (body_of((1, LAST_COMMAND, ECHO)), body_of((1, LAST_COMMAND, STORE), (1, LAST_DATA, b""))):
            recorder.read(body)
        kept = [{number: bytes(value) for number, value in elements.items()} for elements in recorder.elements]
        self.assertEqual([ECHO_ELEMENTS, STORE_ELEMENTS], kept)

    @PROPERTY
    @given(sessions())
    def test_any_fragmentation(self, session: tuple[list[bytes], list[Told]]) -> None:
        """Messages are the same however they are cut into fragments, and the fragments put into PDUs."""
        bodies, expected = session
        self.assertEqual(expected, joined(read(*bodies)))


class StateTests(SynchronousTestCase):
    """Whether a message has begun and not ended."""

    def test_before_anything(self) -> None:
        """Before the first fragment there is no message."""
        self.assertFalse(Recorder().reader.within_message)

    def test_after_each_fragment(self) -> None:
        """A message lasts from its first fragment, though it be empty, to its last."""
        recorder = Recorder()
        pdvs = [
            ((1, COMMAND, b""), True),
            ((1, COMMAND, STORE[:10]), True),
            ((1, LAST_COMMAND, STORE[10:]), True),
            ((1, DATA, b"A"), True),
            ((1, LAST_DATA, b""), False),
            ((3, COMMAND, ECHO[:1]), True),
            ((3, LAST_COMMAND, ECHO[1:]), False),
            ((5, LAST_COMMAND, STORE), True),
            ((5, LAST_DATA, b"B"), False),
        ]
        states = []
        for pdv, _ in pdvs:
            recorder.read(body_of(pdv))
            states.append(recorder.reader.within_message)
        self.assertEqual([expected for _, expected in pdvs], states)

    def test_inside_the_calls(self) -> None:
        """Who is told of the end of a message finds it ended."""
        recorder = Recorder()
        pdvs = [(1, LAST_COMMAND, ECHO), (1, LAST_COMMAND, STORE), (1, DATA, b"A"), (1, LAST_DATA, b"B")]
        recorder.read(body_of(*pdvs))
        self.assertEqual([False, True, True, False], recorder.within)


class StepTests(SynchronousTestCase):
    """A P-DATA-TF of many messages need not be read at once."""

    def test_steps(self) -> None:
        """Each step reads one PDV and no more."""
        recorder = Recorder()
        body = body_of((1, LAST_COMMAND, ECHO), (3, LAST_COMMAND, STORE), (3, LAST_DATA, b"A"), (1, LAST_COMMAND, ECHO))
        told, rest = [], recorder.reader.read(memoryview(body))
        while rest is not None:
            told.append(list(recorder.told))
            rest = recorder.reader.read(rest)
        every = [echo_told(1), store_told(3), ("fragment", b"A", True), echo_told(1)]
        self.assertEqual([every[:1], every[:2], every[:3]], told)
        self.assertEqual(every, recorder.told)

    def test_mistake(self) -> None:
        """A mistake is found when it is its turn."""
        recorder = Recorder()
        rest = recorder.reader.read(memoryview(body_of((1, LAST_COMMAND, ECHO)) + wire("00000001 01")))
        self.assertEqual([echo_told(1)], recorder.told)
        self.assertRaises(InvalidPDU, recorder.reader.read, rest)


class RefusalTests(SynchronousTestCase):
    """Fragments out of place, and command sets that are none."""

    def refused(self, *pdvs: PDV) -> tuple[list[Told], str]:
        """What was told before the InvalidMessage, and its text."""
        recorder = Recorder()
        error = self.assertRaises(InvalidMessage, recorder.read, body_of(*pdvs))
        return recorder.told, str(error)

    def test_interleaved_commands(self) -> None:
        """A fragment on another context inside a command set ends the association."""
        for control in (DATA, COMMAND, LAST_DATA, LAST_COMMAND):
            refused = self.refused((1, COMMAND, ECHO[:9]), (3, control, ECHO))
            self.assertEqual(([], "a fragment on context 3 in a message on 1"), refused, str(control))

    def test_interleaved_data_sets(self) -> None:
        """A fragment on another context inside a data set, or between command and data set, ends the association."""
        text = "a fragment on context 3 in a message on 1"
        for control in (DATA, COMMAND, LAST_DATA, LAST_COMMAND):
            between = self.refused((1, LAST_COMMAND, STORE), (3, control, ECHO))
            self.assertEqual(([store_told(1)], text), between, str(control))
            inside = self.refused((1, LAST_COMMAND, STORE), (1, DATA, b"A"), (3, control, ECHO))
            self.assertEqual(([store_told(1), ("fragment", b"A", False)], text), inside, str(control))

    def test_data_first(self) -> None:
        """A data fragment before any command, or after a message that has no data set, belongs to nothing."""
        for control in (DATA, LAST_DATA):
            self.assertEqual(([], "data without a command"), self.refused((1, control, b"A")))
            after_echo = self.refused((1, LAST_COMMAND, ECHO), (1, control, b"A"))
            self.assertEqual(([echo_told(1)], "data without a command"), after_echo)

    def test_data_after_the_last_fragment(self) -> None:
        """Nothing comes after the last fragment of a data set."""
        told = [store_told(1), ("fragment", b"A", True)]
        pdvs = [(1, LAST_COMMAND, STORE), (1, LAST_DATA, b"A"), (1, LAST_DATA, b"B")]
        self.assertEqual((told, "data without a command"), self.refused(*pdvs))

    def test_data_inside_a_command(self) -> None:
        """A data fragment before the last command fragment belongs to nothing."""
        for control in (DATA, LAST_DATA):
            refused = self.refused((1, COMMAND, ECHO[:9]), (1, control, b"A"))
            self.assertEqual(([], "data without a command"), refused)

    def test_command_inside_a_data_set(self) -> None:
        """A command fragment where a data set is due, or is not complete, is out of place."""
        for control in (COMMAND, LAST_COMMAND):
            due = self.refused((1, LAST_COMMAND, STORE), (1, control, ECHO))
            self.assertEqual(([store_told(1)], "a command fragment inside a data set"), due)
            inside = self.refused((1, LAST_COMMAND, STORE), (1, DATA, b"A"), (1, control, ECHO))
            told = [store_told(1), ("fragment", b"A", False)]
            self.assertEqual((told, "a command fragment inside a data set"), inside)

    def test_no_command_set(self) -> None:
        """Bytes that are no command set, none at all among them, end the association."""
        expected: dict[bytes, str] = {
            b"": "the command element (0000,0800) is missing or not a US",
            ECHO[:-10]: "the command element (0000,0800) is missing or not a US",
            ECHO[:-10] + wire("0000 0008 01000000 01"): "the command element (0000,0800) is missing or not a US",
            ECHO[:-10] + wire("0000 0008 00000000"): "the command element (0000,0800) is missing or not a US",
            ECHO[:-1]: "a command element (0000,0800) of 2 bytes cannot be here",
            ECHO[:-3]: "7 bytes are too few for a command element",
            ECHO + ECHO: "a command element (0000,0000) of 4 bytes cannot be here",
            wire("0800 0500 00000000"): "a command element (0008,0005) of 0 bytes cannot be here",
        }
        for command, text in expected.items():
            self.assertEqual(([], text), self.refused((1, LAST_COMMAND, command)), command.hex())

    def test_bad_pdvs(self) -> None:
        """PDVs that do not fill their P-DATA-TF are an invalid PDU; what stood before them is told."""
        good = body_of((1, LAST_COMMAND, ECHO))
        for bad in ("00", "0000000301", "00000003 01 03", "00000001 01 03", "00000000 01 03"):
            recorder = Recorder()
            self.assertRaises(InvalidPDU, recorder.read, good + bytes.fromhex(bad))
            self.assertEqual([echo_told(1)], recorder.told, bad)

    def test_nothing_at_all(self) -> None:
        """A P-DATA-TF without a PDV is an invalid PDU."""
        self.assertRaises(InvalidPDU, Recorder().read, b"")


class LimitTests(SynchronousTestCase):
    """A command set has at most as many bytes as the reader is given, here 64 KiB."""

    # An unknown element of 65518 bytes, 65526 with its head, and the Command Data Set Type: 65536.
    LARGEST = wire("0000 0100 EEFF0000", b"x" * 65518, "0000 0008 02000000 0101")

    def test_largest(self) -> None:
        """A command set of just the limit is read, in one fragment or in many."""
        self.assertEqual(65536, len(self.LARGEST))
        expected = [("command", 1, {0x0001: b"x" * 65518, 0x0800: b"\1\1"}, False)]
        for fragments in ([self.LARGEST], cut(self.LARGEST, [20000, 40000, 60000, 65535])):
            self.assertEqual(expected, read(body_of(*pdvs_of(1, COMMAND, fragments))))

    def test_one_byte_more(self) -> None:
        """The byte that leads over the limit ends the association, whether or not it is in the last fragment."""
        for control in (COMMAND, LAST_COMMAND):
            for fragments in ([], [self.LARGEST], [self.LARGEST[:30000], self.LARGEST[30000:]]):
                recorder = Recorder()
                for fragment in fragments:
                    recorder.read(body_of((1, COMMAND, fragment)))
                rest = b"y" if fragments else self.LARGEST + b"y"
                body = body_of((1, control, rest))
                error = self.assertRaises(InvalidMessage, recorder.read, body)
                self.assertEqual("a command set of more than 65536 bytes", str(error))
                self.assertEqual([], recorder.told)

    def test_other_limits(self) -> None:
        """The limit is the one that is given; a command set that is over it, by a byte or by far, says which it is."""
        for command in (ECHO, STORE, self.LARGEST):
            recorder = Recorder(len(command))
            recorder.read(body_of((1, LAST_COMMAND, command)))
            self.assertEqual(["command"], [kind for kind, *_ in recorder.told])
            for limit in (len(command) - 1, 8):
                error = self.assertRaises(InvalidMessage, Recorder(limit).read, body_of((1, COMMAND, command)))
                expected = (f"a command set of more than {limit} bytes", "max_command_set")
                self.assertEqual(expected, (error.cause, getattr(error.cause, "limit", "")))

    def test_limit_is_of_one_command(self) -> None:
        """Command sets that have passed do not count."""
        body = body_of((1, LAST_COMMAND, self.LARGEST))
        recorder = Recorder()
        for _ in range(3):
            recorder.read(body)
        self.assertEqual(["command"] * 3, [kind for kind, *_ in recorder.told])

    def test_data_sets_have_no_limit(self) -> None:
        """Of a data set nothing is kept, so its length has no limit here."""
        recorder = Recorder()
        recorder.read(body_of((1, LAST_COMMAND, STORE)))
        body = body_of((1, DATA, bytes(100000)))
        for _ in range(5):
            recorder.read(body)
        self.assertEqual([100000] * 5, [len(fragment) for fragment in recorder.fragments])


def pdus_in(stream: bytes) -> list[bytes]:
    """The P-DATA-TF PDUs of a stream, cut by their length fields."""
    pdus = []
    while stream:
        end = 6 + int.from_bytes(stream[2:6], "big")
        pdus.append(stream[:end])
        stream = stream[end:]
    return pdus


class EncodingTests(SynchronousTestCase):
    """Messages into P-DATA-TF PDUs of the peer's size."""

    def test_any_length(self) -> None:
        """A peer that receives any length gets the command in one PDU and the data set in another."""
        expected = wire("04 00 00000009 00000005 03 03", b"ABC", "04 00 0000000A 00000006 03 02", b"defg")
        self.assertEqual(expected, encode_message(3, b"ABC", b"defg", 0))

    def test_no_data_set(self) -> None:
        """A message without a data set ends with its command."""
        self.assertEqual(wire("04 00 00000009 00000005 01 03", b"ABC"), encode_message(1, b"ABC", None, 0))
        self.assertEqual(wire("04 00 00000009 00000005 01 03", b"ABC"), encode_message(1, b"ABC", None, 16384))

    def test_empty_data_set(self) -> None:
        """A data set of no bytes is one last fragment of no bytes, whatever the peer's size."""
        expected = wire("04 00 00000009 00000005 01 03", b"ABC", "04 00 00000006 00000002 01 02")
        for maximum_length in (0, 16, 16384):
            self.assertEqual(expected, encode_message(1, b"ABC", b"", maximum_length), str(maximum_length))

    def test_smallest(self) -> None:
        """A maximum length of 8 leaves fragments of two bytes."""
        expected = wire(
            *("04 00 00000008 00000004 01 01", b"AB"),
            *("04 00 00000008 00000004 01 03", b"CD"),
            *("04 00 00000008 00000004 01 00", b"ef"),
            *("04 00 00000008 00000004 01 00", b"gh"),
            *("04 00 00000007 00000003 01 02", b"i"),
        )
        self.assertEqual(expected, encode_message(1, b"ABCD", b"efghi", 8))

    def test_no_room(self) -> None:
        """A maximum length that leaves no room for a fragment of two bytes is the caller's mistake."""
        for maximum_length in range(1, 8):
            self.assertRaises(ValueError, encode_message, 1, b"ABCD", None, maximum_length)

    def test_odd_maximum_length(self) -> None:
        """Fragments are even, so that an odd maximum length leaves a byte unused."""
        expected = wire(
            *("04 00 0000000A 00000006 01 01", b"ABCD"),
            *("04 00 00000008 00000004 01 03", b"EF"),
        )
        self.assertEqual(expected, encode_message(1, b"ABCDEF", None, 11))
        self.assertEqual(expected, encode_message(1, b"ABCDEF", None, 10))

    def test_exact_multiples(self) -> None:
        """What fits exactly is not followed by an empty fragment."""
        one = wire("04 00 0000000A 00000006 01 03", b"ABCD")
        two = wire("04 00 0000000A 00000006 01 01", b"ABCD", "04 00 0000000A 00000006 01 03", b"EFGH")
        self.assertEqual(one, encode_message(1, b"ABCD", None, 10))
        self.assertEqual(two, encode_message(1, b"ABCDEFGH", None, 10))

    @PROPERTY
    @given(st.binary(min_size=1, max_size=60), st.none() | st.binary(max_size=60), st.just(0) | st.integers(8, 80))
    def test_sizes(self, command: bytes, data_set: bytes | None, maximum_length: int) -> None:
        """No PDU is over the maximum, all fragments but the last are as long as can be, and nothing gets lost."""
        size = (maximum_length - 6) // 2 * 2 if maximum_length else 60
        expected = pdvs_of(5, COMMAND, cut(command, list(range(size, len(command), size))))
        if data_set is not None:
            expected += pdvs_of(5, DATA, cut(data_set, list(range(size, len(data_set), size))))
        pdus = pdus_in(encode_message(5, command, data_set, maximum_length))
        self.assertEqual([b"\4\0" + len(body_of(pdv)).to_bytes(4, "big") + body_of(pdv) for pdv in expected], pdus)
        self.assertLessEqual(max(len(pdu) - 6 for pdu in pdus), maximum_length or 66)


class PynetdicomTests(SynchronousTestCase):
    """pynetdicom as the second opinion."""

    def test_pynetdicom_reads_ours(self) -> None:
        """pynetdicom puts our PDUs together to the message."""
        for maximum_length in (0, 8, 15, 64, 16384):
            message = PynetdicomMessage()
            complete = []
            for pdu in pdus_in(encode_message(7, STORE, DATA_SET, maximum_length)):
                received = P_DATA_TF()
                received.decode(pdu)
                complete.append(message.decode_msg(received.to_primitive()))
            self.assertEqual([False] * (len(complete) - 1) + [True], complete)
            self.assertEqual("1.2.3", message.command_set.AffectedSOPInstanceUID)
            assert message.data_set is not None
            self.assertEqual((7, DATA_SET), (message.context_id, message.data_set.getvalue()))

    def test_ours_reads_pynetdicom(self) -> None:
        """We read pynetdicom's C-STORE-RQ in whatever size it sends."""
        for maximum_length in (0, 8, 16, 64, 16384):
            request = C_STORE()
            request.MessageID = 9
            request.AffectedSOPClassUID = "1.2.840.1"
            request.AffectedSOPInstanceUID = "1.2.3"
            request.Priority = 1
            request.DataSet = BytesIO(DATA_SET)
            message = PynetdicomMessage()
            message.primitive_to_message(request)
            bodies = []
            for primitive in message.encode_msg(7, maximum_length):
                sent = P_DATA_TF()
                sent.from_primitive(primitive)
                bodies.append(sent.encode()[6:])
            (_, context_id, elements, has_data_set), data_set = joined(read(*bodies))
            self.assertEqual((7, True, ("fragment", DATA_SET, True)), (context_id, has_data_set, data_set))
            self.assertEqual((b"1.2.840.1\0", b"1.2.3\0"), (elements[0x0002], elements[0x1000]))
