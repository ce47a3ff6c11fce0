# mypy: allow-untyped-calls
"""What pydicom's dictionary is made into."""

import re
import runpy
import subprocess
import sys
from typing import cast

from pydicom.uid import UID
from pynetdicom.apps.common import SOP_CLASS_PREFIXES
from twisted.trial.unittest import SynchronousTestCase

from storescp import uids
from tests.servers import ROOT

IMPLICIT = "1.2.840.10008.1.2"
LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"

STORAGE = "1.2.840.10008.5.1.4.1.1."

# By the last components of the UID, after `STORAGE`.
PREFIXES = {
    "1": "CR",
    "1.1": "DX",
    "1.2": "MG",
    "1.2.1": "MG",
    "1.3": "IO",
    "2": "CT",
    "2.1": "CTE",
    "3.1": "USM",
    "4": "MR",
    "4.1": "MRE",
    "4.2": "MRS",
    "6": "US",
    "6.1": "US",
    "7": "SC",
    "7.4": "SC",
    "9.1.1": "ECG",
    "11.1": "PR",
    "12.1": "XA",
    "12.1.1": "XAE",
    "12.2": "RF",
    "13.1.3": "BTO",
    "20": "NM",
    "66": "RAW",
    "66.1": "REG",
    "66.4": "SEG",
    "77.1.1": "ES",
    "77.1.4": "XC",
    "77.1.5.1": "OP",
    "77.1.5.4": "OPT",
    "77.1.6": "SM",
    "88.11": "SR",
    "88.59": "KO",
    "88.67": "SR",
    "104.1": "DOC",
    "128": "PT",
    "481.1": "RI",
    "481.2": "RD",
    "481.3": "RS",
    "481.5": "RP",
    "481.8": "RP",
}


class ImplementationTests(SynchronousTestCase):
    """What we say of ourselves."""

    def test_class_uid(self) -> None:
        """The implementation class UID is a valid UID of the UUID arc, which needs no registration."""
        self.assertEqual("2.25.", uids.IMPLEMENTATION_CLASS_UID[:5])
        self.assertTrue(UID(uids.IMPLEMENTATION_CLASS_UID).is_valid)
        self.assertLess(int(uids.IMPLEMENTATION_CLASS_UID[5:]), 2**128)

    def test_version_name(self) -> None:
        """The implementation version name has at most sixteen characters and says program and version."""
        self.assertEqual(f"STORESCP_{uids.VERSION}", uids.IMPLEMENTATION_VERSION_NAME)
        self.assertLessEqual(len(uids.IMPLEMENTATION_VERSION_NAME), 16)


class PreferenceTests(SynchronousTestCase):
    """The orders of transfer syntaxes."""

    def preferences_on(self, byteorder: str) -> dict[str, tuple[str, ...]]:
        """PREFERENCES as a host of this byte order has them."""
        self.patch(sys, "byteorder", byteorder)
        return cast(dict[str, tuple[str, ...]], runpy.run_module("storescp.uids")["PREFERENCES"])

    def test_little_endian_host(self) -> None:
        """On a little-endian host -x= is -xe."""
        expected = {
            "uncompressed": (LITTLE, BIG, IMPLICIT),
            "little": (LITTLE, BIG, IMPLICIT),
            "big": (BIG, LITTLE, IMPLICIT),
            "implicit": (IMPLICIT,),
        }
        self.assertEqual(expected, self.preferences_on("little"))

    def test_big_endian_host(self) -> None:
        """On a big-endian host -x= is -xb, and the others are what they are everywhere."""
        expected = {
            "uncompressed": (BIG, LITTLE, IMPLICIT),
            "little": (LITTLE, BIG, IMPLICIT),
            "big": (BIG, LITTLE, IMPLICIT),
            "implicit": (IMPLICIT,),
        }
        self.assertEqual(expected, self.preferences_on("big"))


NAMELESS = {STORAGE + "12.77", STORAGE + "40"}  # retired, and registered without a name


class DictionaryTests(SynchronousTestCase):
    """SOP classes, transfer syntaxes and their names."""

    def test_storage_classes(self) -> None:
        """There are some two hundred storage SOP classes, and each is one by its type and its name."""
        self.assertLess(150, len(uids.STORAGE_SOP_CLASSES))
        for uid in uids.STORAGE_SOP_CLASSES:
            self.assertEqual("SOP Class", UID(uid).type, uid)
            self.assertTrue("Storage" in UID(uid).name or uid in NAMELESS, uid)
        self.assertEqual(set(), NAMELESS - uids.STORAGE_SOP_CLASSES)

    def test_well_known_storage_classes(self) -> None:
        """Current and retired storage classes are among them: images, reports, documents, plans, protocols."""
        known = {STORAGE + end for end in (*PREFIXES, "3", "5", "8", "9", "10", "88.1", "200.1", "501.1")}
        known |= {"1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.38.1", "1.2.840.10008.5.1.4.43.1"}
        self.assertEqual(set(), known - uids.STORAGE_SOP_CLASSES)

    def test_not_for_storage(self) -> None:
        """Classes with the word in their name that are stored by no C-STORE of ours are not among them."""
        others = {
            "1.2.840.10008.1.3.10",  # Media Storage Directory
            "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
            "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model
            "1.2.840.10008.5.1.1.27",  # Stored Print Storage
            "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image Storage
            "1.2.840.10008.5.1.1.30",  # Hardcopy Color Image Storage
            "1.2.840.10008.5.1.4.1.1.201.2",  # Inventory FIND
            "1.2.840.10008.5.1.4.1.1.201.1.1",  # Storage Management SOP Instance
            "1.2.840.10008.4.2",  # Storage Service Class
            uids.VERIFICATION,
        }
        self.assertEqual(frozenset(), uids.STORAGE_SOP_CLASSES & others)

    def test_known(self) -> None:
        """Whatever PS3.6 registers is known, SOP class or not; a private UID is not."""
        registered = {uids.VERIFICATION, "1.2.840.10008.5.1.1.9", uids.STORAGE_SERVICE_CLASS, LITTLE}
        self.assertEqual(set(), registered - uids.KNOWN)
        self.assertNotIn("1.2.3", uids.KNOWN)

    def test_transfer_syntaxes(self) -> None:
        """Uncompressed, deflated and compressed ones are known; those of real-time video and of whole files are not."""
        known = {IMPLICIT, LITTLE, DEFLATED, BIG, RLE}
        known |= {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 100, 102, 107, 201)}
        others = {"1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2", "1.2.840.10008.1.2.7.1", uids.VERIFICATION}
        self.assertEqual(set(), known - uids.TRANSFER_SYNTAXES)
        self.assertEqual(frozenset(), uids.TRANSFER_SYNTAXES & others)

    def test_compressed(self) -> None:
        """Compressed ones stand with those that lose nothing first, and last those that have no pixels in them."""
        compressed = "1.2.840.10008.1.2.4."
        order = {
            "lossless": {DEFLATED, RLE, *(f"{compressed}{number}" for number in (57, 70, 80, 90, 201))},
            "lossy": {f"{compressed}{number}" for number in (50, 51, 81, 91, 100, 102, 107, 203)},
            "elsewhere": {f"{compressed}{number}" for number in (94, 95)},  # JPIP
        }
        kinds = {uid: kind for kind, these in order.items() for uid in these}
        found = [kinds[uid] for uid in uids.COMPRESSED if uid in kinds]
        self.assertEqual([kind for kind, these in order.items() for _ in these], found)
        self.assertEqual(len(uids.COMPRESSED), len(set(uids.COMPRESSED)))
        self.assertEqual(uids.TRANSFER_SYNTAXES - {IMPLICIT, LITTLE, BIG}, set(uids.COMPRESSED))

    def test_names_of_transfer_syntaxes(self) -> None:
        """The constants are the UIDs that their names say."""
        self.assertEqual((IMPLICIT, LITTLE, BIG), (uids.IMPLICIT_LE, uids.EXPLICIT_LE, uids.EXPLICIT_BE))
        self.assertEqual({DEFLATED}, uids.DEFLATED - {"1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
        self.assertEqual((LITTLE, BIG, IMPLICIT), uids.UNCOMPRESSED)

    def test_names(self) -> None:
        """A known UID has the name of PS3.6; an unknown one, and what is no UID, stands for itself."""
        expected = {
            STORAGE + "2": "CT Image Storage",
            LITTLE: "Explicit VR Little Endian",
            uids.APPLICATION_CONTEXT: "DICOM Application Context Name",
            uids.STORAGE_SERVICE_CLASS: "Storage Service Class",
            "1.2.3": "1.2.3",
            "": "",
        }
        self.assertEqual(expected, {uid: uids.name_of(uid) for uid in expected})

    def test_nameless(self) -> None:
        """A UID that PS3.6 lists without a name, as it does two retired SOP classes, stands for itself."""
        for uid in NAMELESS:
            self.assertEqual(uid, uids.name_of(uid))


class ListTests(SynchronousTestCase):
    """Names and order of what people look for in a list."""

    def test_names(self) -> None:
        """What is retired says so, also where it has no name or that of another; all else has its name alone."""
        expected = {
            STORAGE + "2": "CT Image Storage",
            STORAGE + "6.1": "Ultrasound Image Storage",
            STORAGE + "6": "Ultrasound Image Storage (Retired)",
            STORAGE + "40": STORAGE + "40 (Retired)",
            LITTLE: "Explicit VR Little Endian",
            BIG: "Explicit VR Big Endian (Retired)",
            "1.2.3": "1.2.3",
        }
        self.assertEqual(expected, {uid: uids.listed_name_of(uid) for uid in expected})

    def test_unambiguous(self) -> None:
        """No two storage SOP classes, and no two transfer syntaxes, stand in a list under the same name."""
        for each in (uids.STORAGE_SOP_CLASSES, uids.TRANSFER_SYNTAXES):
            self.assertEqual(len(each), len(set(map(uids.listed_name_of, each))))

    def test_order(self) -> None:
        """They stand in the order of their names, whatever their case; those of one name in that of their UIDs."""
        # Named as themselves, 12-lead ECG, Computed Radiography, CT, DICOS CT, and twice Ultrasound Image Storage.
        in_order = ["1.2.3", *(STORAGE + end for end in ("40", "9.1.1", "1", "2", "501.1", "6", "6.1"))]
        self.assertEqual(in_order, uids.by_name(reversed(in_order)))
        self.assertEqual([], uids.by_name([]))


class PrefixTests(SynchronousTestCase):
    """What the names of files begin with."""

    def test_known(self) -> None:
        """The common SOP classes have these prefixes."""
        self.assertEqual(PREFIXES, {end: uids.prefix_of(STORAGE + end) for end in PREFIXES})

    def test_every_storage_class(self) -> None:
        """The prefix of every storage class is made of characters that are safe in a file name."""
        for uid in uids.STORAGE_SOP_CLASSES:
            self.assertTrue(re.fullmatch(r"[A-Z][A-Z0-9]{1,3}", uids.prefix_of(uid)), uid)

    def test_unknown(self) -> None:
        """What is no known storage class has the prefix UN."""
        for uid in ("1.2.3", "", "../..", uids.VERIFICATION, STORAGE + "2.99"):
            self.assertEqual("UN", uids.prefix_of(uid), uid)

    def test_pynetdicom(self) -> None:
        """pynetdicom's storescp gives the same prefixes."""
        different = {uid for uid, (prefix, _) in SOP_CLASS_PREFIXES.items() if uids.prefix_of(uid) != prefix}
        self.assertEqual(set(), different)


class StartTests(SynchronousTestCase):
    """What a start costs."""

    def test_table_alone(self) -> None:
        """The package pydicom, which imports all that decodes pixels, is not imported for its table."""
        code = "import sys, storescp.program.main; print('pydicom' in sys.modules)"
        self.assertEqual(b"False\n", subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, timeout=60))
