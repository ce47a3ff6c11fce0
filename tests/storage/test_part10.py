# mypy: allow-untyped-calls
"""Preamble and File Meta Information, PS3.10 7.1."""

from io import BytesIO

import pydicom
from twisted.trial.unittest import SynchronousTestCase

from storescp.storage.part10 import file_header
from storescp.uids import IMPLEMENTATION_VERSION_NAME
from tests.storage import CT, request
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
