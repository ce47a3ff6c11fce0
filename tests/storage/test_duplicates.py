# mypy: allow-untyped-calls
"""Whether two files are one instance."""

from hashlib import sha256
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from storescp.storage import duplicates
from storescp.storage.disk import Disk
from storescp.storage.duplicates import digest, same_instance
from tests.storage.test_part10 import header
from tests.strategies import PROPERTY
from tests.ul import wire

SOP_CLASS = wire("0200 0200", b"UI", "1A00", b"1.2.840.10008.5.1.4.1.1.2\0")
SOP_INSTANCE = wire("0200 0300", b"UI", "0600", b"1.2.3\0")
EXPLICIT_LE = wire("0200 1000", b"UI", "1400", b"1.2.840.10008.1.2.1\0")
EXPLICIT_BE = wire("0200 1000", b"UI", "1400", b"1.2.840.10008.1.2.2\0")
IMPLICIT_LE = wire("0200 1000", b"UI", "1200", b"1.2.840.10008.1.2\0")
SENDER = wire("0200 1600", b"AE", "0400", b"MOD ")
IDENTITY = SOP_CLASS + SOP_INSTANCE + EXPLICIT_LE
HEADER = header(IDENTITY + SENDER)

# With other words about it, this is the same instance; so it is without any.
OTHER_HEADERS = {
    "sender": header(IDENTITY + wire("0200 1600", b"AE", "0400", b"ABC ")),
    "longer sender": header(IDENTITY + wire("0200 1600", b"AE", "0A00", b"MODALITY 1")),
    "nothing": header(IDENTITY),
    "other program": header(IDENTITY + wire("0200 1200", b"UI", "0400", b"1.2\0", "0200 1300", b"SH", "0200", b"X ")),
    "private": header(
        IDENTITY + wire("0200 0001", b"UI", "0400", b"1.2\0", "0200 0201", b"OB", "0000 02000000", "0102")
    ),
    "preamble": b"II*\0" + HEADER[4:],
    "padding": header(SOP_CLASS + wire("0200 0300", b"UI", "0600", b"1.2.3 ") + EXPLICIT_LE + SENDER),
}
# With another identity, it is another one.
OTHER_INSTANCES = {
    "class": header(IDENTITY.replace(b"1.1.2\0", b"1.1.4\0") + SENDER),
    "instance": header(IDENTITY.replace(b"1.2.3\0", b"1.2.4\0") + SENDER),
    "syntax": header(SOP_CLASS + SOP_INSTANCE + EXPLICIT_BE + SENDER),
    "shorter syntax": header(SOP_CLASS + SOP_INSTANCE + IMPLICIT_LE + SENDER),
}
NO_DICOM = {
    "empty": b"",
    "text": b"no DICOM file, but of some length" * 10,
    "cut": HEADER[:-1],
    "no syntax": header(SOP_CLASS + SOP_INSTANCE + SENDER),
    "no prefix": HEADER.replace(b"DICM", b"DICN"),
}


class ReadsDisk(Disk):
    """The disk; how many bytes were asked for is written down."""

    def __init__(self) -> None:
        self.reads: list[int] = []

    def read(self, descriptor: int, size: int) -> bytes:
        self.reads.append(size)
        return super().read(descriptor, size)


class FilesTestCase(SynchronousTestCase):
    """Files, of which a few bytes are read at a time."""

    def setUp(self) -> None:
        self.patch(duplicates, "_CHUNK", 7)
        self.disk = ReadsDisk()
        path = Path(self.mktemp())
        path.mkdir()
        self.path = path
        self.directory = self.disk.open_directory(str(path))
        self.addCleanup(self.disk.close, self.directory)

    def same(self, one: bytes, two: bytes) -> bool:
        own, other = self.opened("one", one), self.opened("two", two)
        try:
            return same_instance(self.disk, own, other, check=lambda: None)
        finally:
            for descriptor in (own, other):
                self.disk.close(descriptor)

    def digest(self, content: bytes) -> str:
        descriptor = self.opened("one", content)
        try:
            return digest(self.disk, descriptor, check=lambda: None)
        finally:
            self.disk.close(descriptor)

    def opened(self, name: str, content: bytes) -> int:
        (self.path / name).write_bytes(content)
        return self.disk.open(name, self.directory)


class SameInstanceTests(FilesTestCase):
    def test_identical(self) -> None:
        """Two files of one content, of any length, are one instance."""
        lengths = (0, 1, 6, 7, 8, 13, 14, 15, 5000)
        self.assertEqual([True] * 9, [self.same(HEADER + bytes(length), HEADER + bytes(length)) for length in lengths])

    def test_header(self) -> None:
        """Who sent it, through which program, and how the header is laid out, makes no difference."""
        for data in (b"", b"abc", b"abcdefghijklmnopqrstuvwxyz"):
            same = {what: self.same(HEADER + data, other + data) for what, other in OTHER_HEADERS.items()}
            self.assertEqual(dict.fromkeys(OTHER_HEADERS, True), same)

    def test_other_instance(self) -> None:
        """Another SOP Class, UID or transfer syntax does, whatever the data set."""
        for data in (b"", b"abc"):
            same = {what: self.same(HEADER + data, other + data) for what, other in OTHER_INSTANCES.items()}
            self.assertEqual(dict.fromkeys(OTHER_INSTANCES, False), same)

    def test_one_byte(self) -> None:
        """One byte that differs does, wherever it is."""
        data = bytes(22)
        others = [data[:index] + b"\1" + data[index + 1 :] for index in range(22)]
        self.assertEqual([False] * 22, [self.same(HEADER + data, HEADER + other) for other in others])

    def test_size(self) -> None:
        """So does more or less at the end, at every length around that of what is read at a time."""
        for length in (0, 6, 7, 8, 14):
            longer, shorter = HEADER + bytes(length + 1), HEADER + bytes(length)
            self.assertEqual((False, False), (self.same(longer, shorter), self.same(shorter, longer)))

    def test_same_length(self) -> None:
        """Two files of one length whose headers are not have data sets of different lengths."""
        longer = OTHER_HEADERS["longer sender"]
        self.assertFalse(self.same(HEADER + bytes(20), longer + bytes(20 - len(longer) + len(HEADER))))

    def test_size_first(self) -> None:
        """A data set of another size is not read to find out."""
        self.same(HEADER + bytes(5000), HEADER + bytes(5001))
        self.assertEqual([4096, 4096], self.disk.reads)

    def test_first_difference(self) -> None:
        """Nothing is read behind the first difference."""
        self.same(HEADER + b"a" + bytes(5000), HEADER + b"b" + bytes(5000))
        self.assertEqual([4096, 4096, 7, 7], self.disk.reads)

    def test_no_dicom(self) -> None:
        """What is no DICOM file is no instance, not even the same as itself."""
        for other in NO_DICOM.values():
            self.assertEqual(
                (False, False, False), (self.same(HEADER, other), self.same(other, HEADER), self.same(other, other))
            )


class DigestTests(FilesTestCase):
    def test_value(self) -> None:
        """A digest is of the identity and the data set."""
        data = b"abcdefghijklmnopqrstuvwxyz"
        known = sha256(b"1.2.840.10008.5.1.4.1.1.2\x001.2.3\x001.2.840.10008.1.2.1\0" + data).hexdigest()
        self.assertEqual(known, self.digest(HEADER + data))

    def test_header(self) -> None:
        """The same instance has the same digest, whoever sent it; another instance has another one."""
        own = self.digest(HEADER + b"abc")
        self.assertEqual({own}, {self.digest(other + b"abc") for other in OTHER_HEADERS.values()})
        others = {self.digest(other + b"abc") for other in OTHER_INSTANCES.values()}
        self.assertEqual(len(OTHER_INSTANCES), len(others - {own}))

    def test_no_dicom(self) -> None:
        """What is no DICOM file has none."""
        for content in NO_DICOM.values():
            self.assertRaises(ValueError, self.digest, content)

    @PROPERTY
    @given(
        *[st.tuples(st.sampled_from([HEADER, *OTHER_INSTANCES.values()]), st.sampled_from([b"", b"a", bytes(30)]))] * 2
    )
    def test_agreement(self, one: tuple[bytes, bytes], two: tuple[bytes, bytes]) -> None:
        """Two files are one instance where their digests are the same, and not where they are not."""
        files = b"".join(one), b"".join(two)
        self.assertEqual(one == two, self.same(*files))
        self.assertEqual(one == two, self.digest(files[0]) == self.digest(files[1]))
