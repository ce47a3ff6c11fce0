# mypy: allow-untyped-calls

from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import AbortReason, InvalidPDU
from storescp.ul.framing import Framer
from tests.strategies import PROPERTY, chunked, damaged
from tests.ul import wire

LIMITS = {0x01: 16, 0x04: 8, 0x05: 4, 0x07: 4}

SESSION = (
    wire("01 00 00000003", b"abc")
    + wire("04 00 00000000")
    + wire("04 FF 00000008", b"12345678")  # the second byte is reserved and not tested
    + wire("05 00 00000004", "00000000")
)
PDUS = [(0x01, b"abc"), (0x04, b""), (0x04, b"12345678"), (0x05, b"\0\0\0\0")]
ENDS = [9, 15, 29, 39]  # where in SESSION each PDU is complete


def frames(chunks: Iterable[bytes], framer: Framer | None = None) -> list[object]:
    """All PDUs of the chunks; the AbortReason last, where there is one."""
    framer = framer or Framer(LIMITS)
    found: list[object] = []
    try:
        for chunk in chunks:
            for pdu_type, body in framer.feed(chunk):
                found.append((pdu_type, bytes(body)))
    except InvalidPDU as error:
        found.append(error.reason)
    return found


def single_bytes(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


@st.composite
def sessions(draw: st.DrawFn) -> bytes:
    """PDUs one after the other, most of them within LIMITS."""
    pdus = draw(st.lists(st.tuples(st.sampled_from([*LIMITS, 0x02]), st.binary(max_size=9)), max_size=5))
    return b"".join(bytes([pdu_type, 0]) + len(body).to_bytes(4, "big") + body for pdu_type, body in pdus)


class SplitTests(SynchronousTestCase):
    """The PDUs are the same however TCP cuts the stream."""

    def test_whole(self) -> None:
        """Several PDUs in one chunk, with bodies and without, are all found, in order."""
        self.assertEqual(PDUS, frames([SESSION]))

    def test_byte_by_byte(self) -> None:
        """A PDU is found with its last byte, not earlier and not later."""
        framer = Framer(LIMITS)
        found = [frames([byte], framer) for byte in single_bytes(SESSION)]
        self.assertEqual(PDUS, [pdu for each in found for pdu in each])
        self.assertEqual(ENDS, [position for position, each in enumerate(found, 1) if each])

    def test_every_split(self) -> None:
        """A session cut in three at any two places gives the same PDUs; a part may be empty."""
        for first in range(len(SESSION) + 1):
            for second in range(first, len(SESSION) + 1):
                parts = [SESSION[:first], SESSION[first:second], SESSION[second:]]
                self.assertEqual(PDUS, frames(parts), parts)

    def test_empty_chunks(self) -> None:
        """Chunks of no bytes change nothing, wherever they come."""
        chunks = [chunk for byte in single_bytes(SESSION) for chunk in (b"", byte, b"")]
        self.assertEqual(PDUS, frames(chunks))

    def test_truncated(self) -> None:
        """A session that ends early gives the PDUs that are complete, and no error."""
        for length in range(len(SESSION)):
            complete = sum(end <= length for end in ENDS)
            self.assertEqual(PDUS[:complete], frames([SESSION[:length]]))

    @PROPERTY
    @given(chunked(st.one_of(sessions(), damaged(sessions()), st.binary(max_size=40))))
    def test_any_bytes(self, chunks: list[bytes]) -> None:
        """What any bytes give, PDUs or an InvalidPDU, does not depend on how they are split."""
        stream = b"".join(chunks)
        expected = frames([stream])
        self.assertEqual(expected, frames(chunks))
        self.assertEqual(expected, frames(single_bytes(stream)))


class LimitTests(SynchronousTestCase):
    """Types and lengths are judged on the header."""

    def test_at_limit(self) -> None:
        """A body as long as its type's limit is accepted."""
        self.assertEqual([(0x04, b"12345678")], frames([wire("04 00 00000008", b"12345678")]))

    def test_no_bytes_allowed(self) -> None:
        """A limit of 0 is a limit, not its absence."""
        data = wire("04 00 00000000", "04 00 00000001")
        self.assertEqual([(0x04, b""), AbortReason.INVALID_PARAMETER_VALUE], frames([data], Framer({0x04: 0})))

    def test_over_limit(self) -> None:
        """A length over its type's limit is refused with the sixth byte, before anything of the body has come."""
        for header in (
            wire("01 00 00000011"),
            wire("04 00 00000009"),
            wire("05 00 00000005"),
            wire("04 00 01000000"),
            wire("04 00 7FFFFFFF"),
            wire("04 00 FFFFFFFF"),
        ):
            framer = Framer(LIMITS)
            self.assertEqual([], frames([header[:5]], framer))
            self.assertEqual([AbortReason.INVALID_PARAMETER_VALUE], frames([header[5:]], framer))
            self.assertEqual([AbortReason.INVALID_PARAMETER_VALUE], frames([header]))

    def test_unknown_type(self) -> None:
        """A PDU of unknown type is refused with the sixth byte, whatever its length."""
        for header in (wire("00 00 00000000"), wire("08 00 00000004"), wire("FF FF FFFFFFFF")):
            framer = Framer(LIMITS)
            self.assertEqual([], frames([header[:5]], framer))
            self.assertEqual([AbortReason.UNRECOGNIZED_PDU], frames([header[5:]], framer))
            self.assertEqual([AbortReason.UNRECOGNIZED_PDU], frames([header]))

    def test_good_before_bad(self) -> None:
        """The PDUs in front of a bad one are handed out before it is refused."""
        framer = Framer(LIMITS)
        found = framer.feed(wire("04 00 00000001", b"a", "04 00 00000001", b"b", "08 00 00000000"))
        self.assertEqual([(0x04, b"a"), (0x04, b"b")], [next(found), next(found)])
        error = self.assertRaises(InvalidPDU, next, found)
        self.assertEqual(
            ("PDU type 08H is unknown", AbortReason.UNRECOGNIZED_PDU),
            (str(error), error.reason),
        )

    def test_changed(self) -> None:
        """A limit changed while a PDU is looked at holds for the next one, also in the same chunk."""
        data = wire("04 00 00000002", b"ab", "04 00 00000003", b"abc", "04 00 00000002", b"ab")
        limits = {0x04: 2}
        found = []
        framing = Framer(limits).feed(data)
        for limit in (3, 1):
            pdu_type, body = next(framing)
            found.append((pdu_type, bytes(body)))
            limits[0x04] = limit
        error = self.assertRaises(InvalidPDU, next, framing)
        self.assertEqual([(0x04, b"ab"), (0x04, b"abc")], found)
        self.assertEqual(
            ("PDU of type 04H claims 2 bytes, more than 1", AbortReason.INVALID_PARAMETER_VALUE),
            (str(error), error.reason),
        )


class CauseTests(SynchronousTestCase):
    """Why a header is refused, in words for whoever looks after the peer."""

    FIXED = dict.fromkeys((0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07), 4)

    def refused(self, header: bytes, limits: Mapping[int, int] = FIXED) -> tuple[str, str]:
        """The cause, and the limit that it is, if any."""
        error = self.assertRaises(InvalidPDU, next, Framer(limits).feed(header))
        return str(error.cause), getattr(error.cause, "limit", "")

    def test_limits(self) -> None:
        """A length over a limit that can be set names that one; the length of the other PDUs is the standard's."""
        limits = {0x01: "max_associate_rq", 0x02: "max_associate_rq", 0x04: "max_pdu"}
        self.assertEqual(
            [(f"PDU of type 0{number}H claims 5 bytes, more than 4", limits.get(number, "")) for number in self.FIXED],
            [self.refused(bytes([number, 0, 0, 0, 0, 5])) for number in self.FIXED],
        )

    def test_values(self) -> None:
        """The words are of the length that was claimed and of the limit as it is."""
        self.assertEqual(
            ("PDU of type 04H claims 4294967295 bytes, more than 16384", "max_pdu"),
            self.refused(wire("04 00 FFFFFFFF"), {0x04: 16384}),
        )

    def test_other_protocols(self) -> None:
        """What another protocol begins with is named; it is no limit."""
        known = {
            "HTTP": (
                b"GET / HTTP/1.1",
                b"HEAD /",
                b"DELETE ",
                b"CONNECT",
                b"OPTIONS",
                b"TRACE /",
            ),
            "HTTP or the PROXY protocol": (b"POST / ", b"PUT / H", b"PROXY TCP4 "),
            "TLS": (wire("16 03 01 0200 01"), wire("16 03 03 00C5 01")),
            "HL7": (b"\x0bMSH|^~\\&|",),
        }
        for name, hellos in known.items():
            for hello in hellos:
                expected = (f"PDU type {hello[0]:02X}H is unknown; it may be {name}", "")
                self.assertEqual(expected, self.refused(hello))

    def test_nothing_known(self) -> None:
        """Of all other types nothing is said but which one it is."""
        spoken = {0x0B, 0x16, *b"CDGHOPT"}
        others = [number for number in range(256) if number not in spoken and number not in self.FIXED]
        self.assertEqual(
            [(f"PDU type {number:02X}H is unknown", "") for number in others],
            [self.refused(bytes([number, 0, 0, 0, 0, 0])) for number in others],
        )


class StopTests(SynchronousTestCase):
    """After stop() nothing more is found."""

    def test_in_chunk(self) -> None:
        """Stopped while a PDU is looked at, the framer ignores what follows it, good or bad."""
        for rest in (SESSION, SESSION[:3], wire("08 00 00000000"), wire("04 00 FFFFFFFF"), b""):
            framer = Framer(LIMITS)
            found = []
            for pdu_type, body in framer.feed(SESSION[:9] + rest):
                found.append((pdu_type, bytes(body)))
                framer.stop()
            self.assertEqual([(0x01, b"abc")], found)
            self.assertEqual([], frames([SESSION, wire("08 00 00000000")], framer))

    def test_between_chunks(self) -> None:
        """Stopped at any byte of the session, the framer ignores the rest of it."""
        for length in range(len(SESSION) + 1):
            framer = Framer(LIMITS)
            frames([SESSION[:length]], framer)
            framer.stop()
            self.assertEqual([], frames([SESSION[length:], SESSION, wire("08 00 00000000")], framer))


class MoreTests(SynchronousTestCase):
    """Whether there is more to hand out before the next chunk."""

    def more(self, *chunks: bytes) -> list[bool]:
        """What it says after each PDU."""
        framer = Framer(LIMITS)
        return [framer.has_more for chunk in chunks for _ in framer.feed(chunk)]

    def test_whole(self) -> None:
        """There is as long as another whole PDU has come."""
        self.assertEqual([True, True, True, False], self.more(SESSION))

    def test_partial(self) -> None:
        """A part of a PDU is not more, however much of it has come."""
        for length in range(29, 39):
            self.assertEqual([True, True, False], self.more(SESSION[:length]))

    def test_split(self) -> None:
        """The same is so behind a PDU that was split."""
        for length in range(1, 9):
            self.assertEqual([True, True, True, False], self.more(SESSION[:length], SESSION[length:]))
            self.assertEqual(
                [False, False], self.more(SESSION[:length], SESSION[length:9], SESSION[9:20], SESSION[20:28])
            )


class ViewTests(SynchronousTestCase):
    """Bodies are views that their receiver may keep."""

    def test_kept(self) -> None:
        """A body, split or not, keeps its bytes while more is fed and after the framer has stopped."""
        framer = Framer(LIMITS)
        kept = []
        for chunk in (SESSION, *single_bytes(SESSION), SESSION[:20], SESSION[20:]):
            kept += list(framer.feed(chunk))
        framer.stop()
        self.assertEqual(PDUS * 3, kept)

    def test_read_only(self) -> None:
        """A body cannot be written to, split or not."""
        framer = Framer(LIMITS)
        chunks = [SESSION, SESSION[:7], SESSION[7:25], SESSION[25:]]
        bodies = [body for chunk in chunks for _, body in framer.feed(chunk)]
        self.assertEqual([True] * 8, [body.readonly for body in bodies])

    def test_not_copied(self) -> None:
        """The bodies of PDUs that came in one chunk are windows into it; that of one that was split is not."""
        framer = Framer(LIMITS)
        chunk = SESSION[3:]
        bodies = [body for part in (SESSION[:3], chunk) for _, body in framer.feed(part)]
        self.assertEqual([False, True, True, True], [body.obj is chunk for body in bodies])
