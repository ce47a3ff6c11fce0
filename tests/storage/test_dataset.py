# mypy: allow-untyped-calls
"""What the head of a data set says it is, PS3.5 7; and what cannot be told is believed."""

from itertools import product
from pathlib import Path
from re import findall

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import StoreFailure
from storescp.storage import directory
from storescp.storage.dataset import HEAD, check_identity
from storescp.storage.directory import DirectoryStorage
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce
from tests.storage import CT, request
from tests.strategies import PROPERTY, damaged
from tests.ul import wire

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
MR = "1.2.840.10008.5.1.4.1.1.4"

# (0008,0005) CS, (0008,0016) SOP Class UID, (0008,0018) SOP Instance UID, (0010,0020) LO
IMPLICIT = wire(
    *("0800 0500", "0A000000", b"ISO_IR 100"),
    *("0800 1600", "1A000000", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0800 1800", "06000000", b"1.2.3\0"),
    *("1000 2000", "04000000", b"ID 1"),
)
EXPLICIT = wire(
    *("0800 0500", b"CS", "0A00", b"ISO_IR 100"),
    *("0800 1600", b"UI", "1A00", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0800 1800", b"UI", "0600", b"1.2.3\0"),
    *("1000 2000", b"LO", "0400", b"ID 1"),
)
BIG = wire(
    *("0008 0005", b"CS", "000A", b"ISO_IR 100"),
    *("0008 0016", b"UI", "001A", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0008 0018", b"UI", "0006", b"1.2.3\0"),
    *("0010 0020", b"LO", "0004", b"ID 1"),
)
ENCODED = {IMPLICIT_LE: IMPLICIT, EXPLICIT_LE: EXPLICIT, EXPLICIT_BE: BIG, JPEG_2000: EXPLICIT}

CLASS_UID = wire("0800 1600", b"UI", "1A00", b"1.2.840.10008.5.1.4.1.1.2\0")
INSTANCE_UID = wire("0800 1800", b"UI", "0600", b"1.2.3\0")

OTHER_CLASS = (0xA900, "the SOP Class UID of the data set is not that of the command")
OTHER_INSTANCE = (0xA900, "the SOP Instance UID of the data set is not that of the command")


def answer(
    head: bytes, syntax: str = EXPLICIT_LE, *, uid: str = "1.2.3", sop_class: str = CT
) -> tuple[int, str] | None:
    """Status and text of the failure, None where the data set is believed to be that of the command."""
    try:
        check_identity(request(uid, sop_class=sop_class, syntax=syntax), head)
    except StoreFailure as failure:
        return failure.status, str(failure)
    return None


class IdentityTests(SynchronousTestCase):
    """The command and the data set, in each encoding."""

    def test_same(self) -> None:
        """A data set of the command's SOP Class and Instance is right."""
        self.assertEqual([None] * 4, [answer(head, syntax) for syntax, head in ENCODED.items()])

    def test_other_instance(self) -> None:
        """That of another instance is refused with A900H."""
        answers = [answer(head, syntax, uid="1.2.4") for syntax, head in ENCODED.items()]
        self.assertEqual([OTHER_INSTANCE] * 4, answers)

    def test_other_class(self) -> None:
        """That of another SOP Class is refused with A900H."""
        answers = [answer(head, syntax, sop_class=MR) for syntax, head in ENCODED.items()]
        self.assertEqual([OTHER_CLASS] * 4, answers)

    def test_longer(self) -> None:
        """A UID that only begins like that of the command is another one; so is one that is only its beginning."""
        self.assertEqual(
            [0xA900, 0xA900], [found and found[0] for found in (answer(EXPLICIT, uid=uid) for uid in ("1.2", "1.2.30"))]
        )

    def test_one_of_them(self) -> None:
        """Each of the two is checked without the other."""
        self.assertEqual(OTHER_CLASS, answer(CLASS_UID, sop_class=MR))
        self.assertEqual(OTHER_INSTANCE, answer(INSTANCE_UID, uid="1.2.4"))

    def test_padding(self) -> None:
        """NULs and spaces at the end are no part of a UID, as real devices pad with either."""
        values = {b"1.2.3\0": "0600", b"1.2.3 ": "0600", b"1.2.3\0\0\0": "0800", b"1.2.3 \0 ": "0800"}
        for value, length in values.items():
            head = wire("0800 1800", b"UI", length, value)
            self.assertEqual((None, OTHER_INSTANCE), (answer(head), answer(head, uid="1.2.4")))


class BelievedTests(SynchronousTestCase):
    """A data set that does not say what it is, or not in a way that is understood here, is the command's."""

    def believed(self, *heads: bytes, syntax: str = EXPLICIT_LE) -> None:
        self.assertEqual([None] * len(heads), [answer(head, syntax, uid="1.2.4", sop_class=MR) for head in heads])

    def test_absent(self) -> None:
        """Without the two elements, whatever comes instead of them."""
        self.believed(b"", wire("1000 2000", b"LO", "0400", b"ID 1"), wire("0800 0500", b"CS", "0A00", b"ISO_IR 100"))

    def test_empty(self) -> None:
        """With elements that have no value, or one of nothing but padding."""
        for value in (("0000",), ("0200", b"\0\0"), ("0400", b"    ")):
            self.believed(wire("0800 1600", b"UI", *value, "0800 1800", b"UI", *value, "0800 2000", b"DA", "0000"))

    def test_deflated(self) -> None:
        """Deflated: what looks like an element in it is none."""
        self.believed(EXPLICIT, syntax=DEFLATED)

    def test_later(self) -> None:
        """In a nested or a later place, where they are of something else."""
        self.believed(
            wire("0800 1511", b"SQ", "0000 2A000000", "FEFF 00E0 22000000", CLASS_UID),
            wire("0800 2000", b"DA", "0000") + CLASS_UID + INSTANCE_UID,
            wire("0900 0800", b"UI", "0000") + CLASS_UID + INSTANCE_UID,
        )

    def test_not_in_order(self) -> None:
        """After an element out of order, or twice: that is no data set."""
        charset = wire("0800 0500", b"CS", "0000")
        self.believed(
            wire("0800 0800", b"CS", "0000") + charset + CLASS_UID,
            charset + charset + CLASS_UID,
        )
        self.assertIsNone(answer(INSTANCE_UID + CLASS_UID, sop_class=MR))

    def test_undefined_length(self) -> None:
        """After a sequence without a length, however deep."""
        item = "FEFF 00E0 FFFFFFFF"
        self.believed(
            wire("0800 0600", b"SQ", "0000 FFFFFFFF", item, "FEFF 0DE0 00000000", "FEFF DDE0 00000000") + CLASS_UID,
            wire("0800 0600", b"SQ", "0000 FFFFFFFF", item) * 1000 + CLASS_UID,
        )
        self.believed(wire("0800 0600", "FFFFFFFF", item) + IMPLICIT, syntax=IMPLICIT_LE)

    def test_huge_length(self) -> None:
        """After an element that is longer than all there is, or longer than anything can be."""
        for length in ("F0000000", "7FFFFFFF", "00001001", "FFFFFFFF"):
            little = bytes.fromhex(length)[::-1]
            self.believed(wire("0800 0600", b"UN", "0000", little) + CLASS_UID)
            self.believed(wire("0800 0600", little) + IMPLICIT, syntax=IMPLICIT_LE)
            self.believed(wire("0800 1600", b"UN", "0000", little, CT.encode()))
        self.believed(wire("0800 0500", b"CS", "FFFF") + CLASS_UID)

    def test_other_encoding(self) -> None:
        """Encoded otherwise than was negotiated."""
        for (syntax, _), head in product(ENCODED.items(), ENCODED.values()):
            if ENCODED[syntax] != head:
                self.believed(head, syntax=syntax)


class StepTests(SynchronousTestCase):
    """What comes before the two elements is stepped over."""

    def check(self, before: bytes) -> None:
        """Whatever is in `before`, what is right is right and what is wrong is found."""
        head = before + CLASS_UID + INSTANCE_UID
        self.assertEqual(
            (None, OTHER_CLASS, OTHER_INSTANCE), (answer(head), answer(head, sop_class=MR), answer(head, uid="1.2.4"))
        )

    def test_short(self) -> None:
        """Elements whose length has two bytes."""
        for vr in findall("..", "AEASATCSDADSDTFDFLISLOLTPNSHSLSSSTTMUIULUS"):
            self.check(wire("0800 0100", vr.encode(), "0400", b"abcd"))
            self.check(wire("0800 0100", vr.encode(), "0000"))

    def test_long(self) -> None:
        """Elements whose length has four bytes, PS3.5 Table 7.1-1."""
        for vr in findall("..", "OBODOFOLOVOWSQSVUCUNURUTUV"):
            self.check(wire("0800 0100", vr.encode(), "0000 04000000", b"abcd"))
            self.check(wire("0800 0100", vr.encode(), "0000 00000000"))

    def test_sequence(self) -> None:
        """A sequence of defined length, in which another instance is spoken of."""
        item = wire("FEFF 00E0", "0E000000", "0800 1800", b"UI", "0600", b"9.9.9\0")
        self.check(wire("0800 0600", b"SQ", "0000 16000000") + item)

    def test_lower_groups(self) -> None:
        """Groups below 0008, and the length of a group, which are not of a data set but come all the same."""
        self.check(wire("0400 3011", b"CS", "0400", b"abcd"))
        self.check(wire("0000 0000", b"UL", "0400", "00000000", "0800 0000", b"UL", "0400", "46000000"))

    def test_implicit(self) -> None:
        """The same without a VR, where a length of four letters is a length."""
        head = wire("0800 0100", "00000000", "0800 0600", "08000000", "FEFF 00E0 00000000") + IMPLICIT[18:]
        self.assertEqual((None, OTHER_INSTANCE), (answer(head, IMPLICIT_LE), answer(head, IMPLICIT_LE, uid="1.2.4")))

    def test_big_endian(self) -> None:
        """The same with the first byte first."""
        before = wire("0008 0001", b"UL", "0004", "00000001", "0008 0006", b"SQ", "0000 00000008", "FFFE E000 00000000")
        head = before + BIG[18:]
        self.assertEqual((None, OTHER_INSTANCE), (answer(head, EXPLICIT_BE), answer(head, EXPLICIT_BE, uid="1.2.4")))


class TruncatedTests(SynchronousTestCase):
    """A data set that ends too early."""

    def test_right(self) -> None:
        """What is right is right at every length."""
        long = wire("0800 0100", b"UN", "0000 04000000", b"abcd") + EXPLICIT
        for syntax, head in [*ENCODED.items(), (EXPLICIT_LE, long)]:
            self.assertEqual({None}, {answer(head[:length], syntax) for length in range(len(head))})

    def test_wrong(self) -> None:
        """What is wrong is found as soon as its value is whole, and not before."""
        for syntax, head in ENCODED.items():
            answers = [answer(head[:length], syntax, uid="1.2.4") for length in range(len(head))]
            self.assertEqual([None] * 66 + [OTHER_INSTANCE] * 12, [*answers])


A_FILE = (0xC000, "its data set begins as a file does, with a header")


class FileTests(SynchronousTestCase):
    """A file in place of a data set: stored, it would have two headers."""

    def test_meta_information(self) -> None:
        """Group 0002 is refused in any encoding that is not deflated: it is little endian in all of them."""
        head = wire("0200 0000", b"UL", "0400", "00000000") + EXPLICIT
        expected = dict.fromkeys(ENCODED, A_FILE)
        self.assertEqual(expected, {syntax: answer(head, syntax) for syntax in ENCODED})
        self.assertIsNone(answer(head, DEFLATED))

    def test_preamble(self) -> None:
        """So is a preamble, whatever is in it, by what follows it."""
        self.assertEqual(A_FILE, answer(bytes(128) + b"DICM" + wire("0200 0000") + EXPLICIT))
        self.assertEqual(A_FILE, answer(b"II*\0" + bytes(124) + b"DICM" + wire("0200 0000") + EXPLICIT))
        self.assertIsNone(answer(bytes(128) + b"DICX" + wire("0200 0000") + EXPLICIT))
        self.assertIsNone(answer(EXPLICIT.ljust(128) + b"DICM" + wire("0800 0000")))


class HeadTests(SynchronousTestCase):
    """How much of a data set is looked at."""

    def test_bound(self) -> None:
        """A value that ends within the first 4096 bytes counts; of one that does not nothing does, whatever follows."""
        # (0008,0001) UN, of 12 bytes and its value, and (0008,0018) of 14
        for length, wrong in ((4070, True), (4072, False), (4086, False)):
            before = wire("0800 0100", b"UN", "0000", length.to_bytes(4, "little"), bytes(length))
            for size in (1000, 4097, 10000):
                self.assertEqual(wrong, self.is_refused(before + INSTANCE_UID, size))

    def test_small_fragments(self) -> None:
        """In however small pieces it comes, and is written, it is the same head."""
        self.patch(directory, "BATCH", 300)  # one byte, and what it costs to keep it, or two
        head = wire("0800 0500", b"CS", "0A00", b"ISO_IR 100") + CLASS_UID + INSTANCE_UID
        self.assertEqual([True] * 3, [self.is_refused(head, size) for size in (1, 2, 7)])

    def is_refused(self, data: bytes, size: int) -> bool:
        """Whether the instance, sent in fragments of `size` bytes as "1.2.4", is refused with A900H."""
        path = Path(self.mktemp())
        path.mkdir()
        storage = DirectoryStorage(str(path), AtOnce(), Rules(durability="none"))
        storage.start()
        sink = storage.open(request("1.2.4"))
        for start in range(0, len(data), size):
            sink.write(memoryview(data)[start : start + size])
        results: list[object] = []
        sink.finish().addBoth(results.append)
        self.successResultOf(storage.stop())
        failure = getattr(results[0], "value", None)
        self.assertEqual(OTHER_INSTANCE if failure else None, failure and (failure.status, str(failure)))
        return failure is not None


FEWER = settings(PROPERTY, max_examples=50)  # pydicom takes its time

# What pydicom may write before and after the two elements.
_EARLIER = {
    "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192"]),
    "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "AXIAL"]), max_size=3),
    "InstanceCreationDate": st.sampled_from(["", "20240229"]),
    "InstanceCreationTime": st.sampled_from(["", "120000.5"]),
    "InstanceCreatorUID": st.sampled_from(["1.2.3", "9.9.9.9"]),
}
_LATER = {
    "StudyDate": st.sampled_from(["", "20240229"]),
    "PatientName": st.sampled_from(["", "A^B"]),
    "Rows": st.integers(0, 0xFFFF),
    "PixelData": st.binary(max_size=20).map(lambda data: data + data),
}
_UIDS = st.from_regex(r"[12](\.(0|[1-9][0-9]{0,4})){1,9}", fullmatch=True)


@st.composite
def _data_sets(draw: st.DrawFn) -> Dataset:
    """Of any instance, or of none; a sequence in it speaks of yet another one."""
    data_set = Dataset()
    for keyword, values in draw(st.fixed_dictionaries({}, optional=_EARLIER | _LATER)).items():
        setattr(data_set, keyword, values)
    if draw(st.booleans()):
        item = Dataset()
        item.SOPInstanceUID = "9.9.9"
        data_set.LanguageCodeSequence = Sequence([item] * draw(st.integers(0, 2)))
    for keyword in draw(st.sets(st.sampled_from(["SOPClassUID", "SOPInstanceUID"]))):
        setattr(data_set, keyword, draw(_UIDS | st.just("")))
    if "PixelData" in data_set:
        data_set["PixelData"].VR = "OW"
    return data_set


def encode(data_set: Dataset, syntax: str) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR = syntax == IMPLICIT_LE
    stream.is_little_endian = syntax != EXPLICIT_BE
    write_dataset(stream, data_set)
    return stream.getvalue()


class SecondOpinionTests(SynchronousTestCase):
    """What pydicom writes, and what nobody would."""

    @PROPERTY
    @given(_data_sets(), st.sampled_from(list(ENCODED)), _UIDS | st.none(), _UIDS | st.none())
    def test_pydicom(self, data_set: Dataset, syntax: str, uid: str | None, sop_class: str | None) -> None:
        """Refused is a data set that pydicom has given another UID than the command has, and no other."""
        written_uid, written_class = data_set.get("SOPInstanceUID"), data_set.get("SOPClassUID")
        uid = uid or written_uid or "1.2.3"
        sop_class = sop_class or written_class or CT
        right = written_uid in (None, "", uid) and written_class in (None, "", sop_class)
        found = answer(encode(data_set, syntax)[:HEAD], syntax, uid=uid, sop_class=sop_class)
        self.assertEqual(None if right else 0xA900, found and found[0])

    @FEWER
    @given(_data_sets(), st.sampled_from([IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE]))
    def test_undefined_length(self, data_set: Dataset, syntax: str) -> None:
        """After a sequence that pydicom has written without a length nothing is checked."""
        data_set.LanguageCodeSequence = Sequence([])
        data_set["LanguageCodeSequence"].is_undefined_length = True
        self.assertIsNone(answer(encode(data_set, syntax)[:HEAD], syntax, uid="8.8.8", sop_class="8.8.9"))

    @PROPERTY
    @given(st.binary(max_size=200), st.sampled_from([*ENCODED, DEFLATED]))
    def test_random(self, head: bytes, syntax: str) -> None:
        """No bytes are more than refused."""
        found = answer(head, syntax)
        self.assertIn(found and found[0], (None, 0xA900))

    @PROPERTY
    @given(st.sampled_from(list(ENCODED)), st.data())
    def test_damaged(self, syntax: str, data: st.DataObject) -> None:
        """The same of those that are a data set almost."""
        found = answer(data.draw(damaged(st.just(ENCODED[syntax]))), syntax)
        self.assertIn(found and found[0], (None, 0xA900))
