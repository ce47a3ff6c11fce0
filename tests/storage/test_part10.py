# mypy: allow-untyped-calls
"""Preamble and File Meta Information, PS3.10 7.1."""

from io import BytesIO
from typing import Any

import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from twisted.trial.unittest import SynchronousTestCase

from storescp.storage.part10 import LONGEST_HEADER, file_header, read_header
from storescp.uids import IMPLEMENTATION_VERSION_NAME
from tests.storage import CT, request
from tests.strategies import PROPERTY, damaged
from tests.ul import wire

VERSION = IMPLEMENTATION_VERSION_NAME.encode().ljust(len(IMPLEMENTATION_VERSION_NAME) + 1 & ~1)  # changes by release


def header(rest: bytes) -> bytes:
    """Preamble, prefix, group length and version, then `rest`."""
    return wire(
        *(bytes(128), b"DICM"),
        *("0200 0000", b"UL", "0400", (14 + len(rest)).to_bytes(4, "little")),
        *("0200 0100", b"OB", "0000 02000000", "0001"),
        rest,
    )


IMPLEMENTATION = wire(
    *("0200 1200", b"UI", "2C00", b"2.25.167549487932267690351940239577372006664"),
    *("0200 1300", b"SH", len(VERSION).to_bytes(2, "little"), VERSION),
)

ODD = wire(  # every value has an odd number of characters but the SOP Class's
    *("0200 0200", b"UI", "1A00", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0200 0300", b"UI", "0600", b"1.2.3\0"),
    *("0200 1000", b"UI", "1400", b"1.2.840.10008.1.2.1\0"),
    IMPLEMENTATION,
    *("0200 1600", b"AE", "0400", b"MOD "),
)
EVEN = wire(
    *("0200 0200", b"UI", "1C00", b"1.2.840.10008.5.1.4.1.1.88.1"),
    *("0200 0300", b"UI", "0800", b"1.2.3.45"),
    *("0200 1000", b"UI", "1600", b"1.2.840.10008.1.2.4.90"),
    IMPLEMENTATION,
    *("0200 1600", b"AE", "0C00", "4D4F44414CC954C92031 2020"),  # MODALÉTÉ 1, padded by its owner
)


class HeaderTests(SynchronousTestCase):
    def test_odd(self) -> None:
        """Values of odd length are padded: a UID with NUL, an AE title with a space."""
        self.assertEqual(header(ODD), file_header(request()))

    def test_even(self) -> None:
        """Values of even length stand as they are, and whatever byte a device has in its title is kept."""
        asked = request(
            "1.2.3.45",
            sop_class="1.2.840.10008.5.1.4.1.1.88.1",
            syntax="1.2.840.10008.1.2.4.90",
            calling="MODAL\xc9T\xc9 1  ",
        )
        self.assertEqual(header(EVEN), file_header(asked))

    def test_no_calling_title(self) -> None:
        """A blank calling AE title gives an empty element."""
        expected = ODD.removesuffix(wire("0200 1600", b"AE", "0400", b"MOD ")) + wire("0200 1600", b"AE", "0000")
        self.assertEqual(header(expected), file_header(request(calling="")))

    def test_second_opinion(self) -> None:
        """Pydicom reads the header and the data set behind it."""
        data_set = wire("1000 2000", b"LO", "0400", b"ID 1")
        read = pydicom.dcmread(BytesIO(file_header(request()) + data_set))
        self.assertEqual(
            {
                "FileMetaInformationGroupLength": len(header(ODD)) - 144,
                "FileMetaInformationVersion": b"\0\1",
                "MediaStorageSOPClassUID": CT,
                "MediaStorageSOPInstanceUID": "1.2.3",
                "TransferSyntaxUID": "1.2.840.10008.1.2.1",
                "ImplementationClassUID": "2.25.167549487932267690351940239577372006664",
                "ImplementationVersionName": IMPLEMENTATION_VERSION_NAME,
                "SourceApplicationEntityTitle": "MOD",
            },
            {element.keyword: element.value for element in read.file_meta},
        )
        self.assertEqual({"PatientID": "ID 1"}, {element.keyword: element.value for element in read})


# As other programs lay it out.
SOP_CLASS = wire("0200 0200", b"UI", "1A00", b"1.2.840.10008.5.1.4.1.1.2\0")
SOP_INSTANCE = wire("0200 0300", b"UI", "0600", b"1.2.3\0")
SYNTAX = wire("0200 1000", b"UI", "1400", b"1.2.840.10008.1.2.1\0")
DCMTK = wire(  # without a source, with private information
    SOP_CLASS,
    SOP_INSTANCE,
    SYNTAX,
    *("0200 1200", b"UI", "1C00", b"1.2.276.0.7230010.3.0.3.6.9\0"),
    *("0200 1300", b"SH", "1000", b"OFFIS_DCMTK_369 "),
    *("0200 0001", b"UI", "0800", b"1.2.276\0"),
    *("0200 0201", b"OB", "0000 06000000", "0200 0200 5549"),
)
RIGHT = (b"1.2.840.10008.5.1.4.1.1.2", b"1.2.3", b"1.2.840.10008.1.2.1")


def read(head: bytes) -> tuple[bytes, bytes, bytes, int] | None:
    """SOP Class, SOP Instance, transfer syntax, and where the data set begins; None where that is no DICOM file."""
    try:
        found = read_header(head)
    except ValueError:
        return None
    return found.sop_class_uid, found.sop_instance_uid, found.transfer_syntax, found.length


class ReadHeaderTests(SynchronousTestCase):
    def test_own(self) -> None:
        """Of a header of ours it is known what it says, and where the data set begins."""
        even = (b"1.2.840.10008.5.1.4.1.1.88.1", b"1.2.3.45", b"1.2.840.10008.1.2.4.90")
        for rest, known in ((ODD, RIGHT), (EVEN, even), (ODD.replace(b"1.2.3\0", b"1.2.3 "), RIGHT)):
            head = header(rest)
            self.assertEqual([(*known, len(head))] * 2, [read(head), read(head + bytes(5000))])

    def test_round_trip(self) -> None:
        """What is written for a request is what is read, if its UID is no UID, too."""
        for uid in ("1", "1.2.3", "ABC 1", "1" * 128):
            head = file_header(request(uid, calling=""))
            self.assertEqual((RIGHT[0], uid.encode(), RIGHT[2], len(head)), read(head))

    def test_foreign(self) -> None:
        """So it is of a header of another program, with private information, or a preamble that is in use."""
        head = header(DCMTK)
        self.assertEqual((*RIGHT, len(head)), read(head))
        self.assertEqual((*RIGHT, len(head)), read(b"II*\0" + head[4:] + bytes(5000)))

    def test_order(self) -> None:
        """Nothing depends on the order."""
        private = wire("0200 0201", b"OB", "0000 06000000", "0200 0200 5549")
        head = header(private + SYNTAX + SOP_INSTANCE + SOP_CLASS)
        self.assertEqual((*RIGHT, len(head)), read(head))

    def test_rest(self) -> None:
        """What is left at the end and is too short for an element is not looked at."""
        head = header(SOP_CLASS + SOP_INSTANCE + SYNTAX + wire("0200 0201", b"OB", "0000"))
        self.assertEqual((*RIGHT, len(head)), read(head))

    def test_incomplete(self) -> None:
        """A header that does not say all three is none."""
        parts = (SOP_CLASS, SOP_INSTANCE, SYNTAX)
        for missing in parts:
            self.assertIsNone(read(header(b"".join(part for part in parts if part != missing))))

    def test_no_dicom(self) -> None:
        """No prefix, or something else than a group length after it: no DICOM file."""
        head = header(ODD)
        length = (14 + len(ODD)).to_bytes(4, "little")
        self.assertEqual(
            [None] * 5,
            [
                read(head[:128] + b"DICN" + head[132:]),
                read(head[132:]),
                read(bytes(128) + b"DICM" + head[144:]),
                read(bytes(128) + wire(b"DICM", "0200 0000", "04000000", length) + head[144:]),
                read(bytes(128) + wire(b"DICM", "0002 0000", b"UL", "0004", length) + head[144:]),
            ],
        )

    def test_group_length(self) -> None:
        """A group length that is beyond the file, or leaves nothing, makes it no DICOM file."""
        head = header(ODD)
        for length in ("00000000", "0D000000", "00100000", "FFFFFF7F", "000000F0", "FFFFFFFF"):
            self.assertIsNone(read(head[:140] + bytes.fromhex(length) + head[144:]))

    def test_wrong_end(self) -> None:
        """A group length that covers an element of the data set, or only part of one of the header, is not believed."""
        name = wire("1000 1000", b"PN", "0400", b"A^B ")
        self.assertIsNone(read(header(SOP_CLASS + SOP_INSTANCE + SYNTAX + name)))
        private = wire("0200 0201", b"OB", "0000", "20000000", bytes(8))
        self.assertIsNone(read(header(SOP_CLASS + SOP_INSTANCE + SYNTAX + private) + bytes(100)))

    def test_longest(self) -> None:
        """A header of just as many bytes as are looked at is read, one byte more is too long."""
        # (0002,0102) OB after a header of three UIDs
        for length, known in ((3850, True), (3852, False)):
            rest = SOP_CLASS + SOP_INSTANCE + SYNTAX + wire("0200 0201", b"OB", "0000", length.to_bytes(4, "little"))
            head = header(rest + bytes(length)) + bytes(5000)
            self.assertEqual((*RIGHT, 4096) if known else None, read(head[:LONGEST_HEADER]))

    def test_truncated(self) -> None:
        """A file that ends before its data set begins is no DICOM file, at whatever length; then it is one."""
        for head in (header(ODD), header(DCMTK)):
            self.assertEqual({None}, {read(head[:length]) for length in range(len(head))})
            self.assertEqual((*RIGHT, len(head)), read(head))

    @PROPERTY
    @given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 400))
    def test_random(self, before: bytes, behind: bytes, length: int) -> None:
        """No bytes do more than not to be a DICOM file."""
        for head in (before, header(behind), header(b"")[:140] + length.to_bytes(4, "little") + behind):
            self.assertIn(type(read(head)), (type(None), tuple))

    @PROPERTY
    @given(damaged(st.sampled_from([header(ODD)[128:], header(EVEN)[128:], header(DCMTK)[128:]])))
    def test_damaged(self, head: bytes) -> None:
        """The same of those that are a header almost."""
        self.assertIn(type(read(bytes(128) + head)), (type(None), tuple))

    @settings(PROPERTY, max_examples=80)
    @given(
        st.fixed_dictionaries(
            dict.fromkeys(
                ["MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"],
                st.from_regex(r"[12](\.(0|[1-9][0-9]{0,4})){1,9}", fullmatch=True),
            ),
            optional={
                "ImplementationClassUID": st.just("1.2.3.4"),
                "ImplementationVersionName": st.sampled_from(["", "A", "OFFIS_DCMTK_369"]),
                "SourceApplicationEntityTitle": st.sampled_from(["", "MOD"]),
                "SendingApplicationEntityTitle": st.sampled_from(["", "MOD"]),
                "PrivateInformationCreatorUID": st.just("1.2.3.5"),
                "PrivateInformation": st.binary(max_size=20),
            },
        )
    )
    def test_second_opinion(self, values: dict[str, Any]) -> None:
        """What pydicom writes is read as it was meant."""
        meta = FileMetaDataset()
        meta.FileMetaInformationGroupLength = 0  # pydicom knows it then
        meta.FileMetaInformationVersion = b"\0\1"
        for keyword, value in values.items():
            setattr(meta, keyword, value)
        stream = DicomBytesIO()
        stream.write(bytes(128) + b"DICM")
        write_file_meta_info(stream, meta, enforce_standard=False)
        head = stream.getvalue()
        meant = [
            values[f"{each}UID"].encode()
            for each in ("MediaStorageSOPClass", "MediaStorageSOPInstance", "TransferSyntax")
        ]
        self.assertEqual((*meant, len(head)), read(head + b"abc"))
