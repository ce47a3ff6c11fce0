# mypy: allow-untyped-calls
"""File names out of text from a peer: safe, and never the same for two instances."""

import os

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import Status, StoreFailure
from storescp.storage.naming import duplicate_name, file_name
from tests.storage import CT
from tests.strategies import PROPERTY

MR = "1.2.840.10008.5.1.4.1.1.4"
REFUSED = Status.CANNOT_UNDERSTAND

LONG = "1234567890" * 6  # 60 characters
EIGHT = "12345678"

# Instance UID: its name. The digits are those sha256sum prints first.
NAMES: dict[str, str | Status] = {
    "1.2.3": "CT.1.2.3",
    "0": "CT.0",
    "1.02": "CT.1.02",  # a component with a leading zero is wrong by PS3.5 9.1, but common and harmless
    LONG + ".123": f"CT.{LONG}.123",  # 64 characters, as long as a UID may be
    LONG + "12345": "CT.X-71fbbf9bcb342cdc7768b7d494089e947ac41154",  # 65
    "0" * 127 + "1": "CT.X-a4493c085b5158b84118a1ebf80398f05d27f357",  # 128
    "0" * 129: REFUSED,
    "": REFUSED,
    "1.2.3.": "CT.X-e8c75e3aad99e810adee546999b736b8d79d4969",
    ".1": "CT.X-f7f4791af8c2fe5825591201df09b72c2463d705",
    "1..2": "CT.X-7ac9fb03aeddfc4112e31cba048b1e1b13c00bf6",
    "1.2.840.ABC": "CT.X-2215f7480cc5a68fe2907f5ea6538461cbee509c",
    "../../etc/passwd": "CT.X-3754d6cb3a38e1185e5b382d5f3ef3f118af75bf",
    "a/b": "CT.X-c14cddc033f64b9dea80ea675cf280a015e67251",
    "1.2\0.3": REFUSED,
    "1.2\n": REFUSED,
    "1.2.\x7f": REFUSED,
    "1.2.\xb2": REFUSED,  # a digit of Unicode, within latin-1
    "1.2.\u0663": REFUSED,
}

usable = st.one_of(
    st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){0,12}", fullmatch=True),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=128),
)


def name_or_status(uid: str, sop_class: str = CT) -> str | int:
    try:
        return file_name(sop_class, uid)
    except StoreFailure as failure:
        return failure.status


class FileNameTests(SynchronousTestCase):
    def test_names(self) -> None:
        """A UID names its file; what is none has a digest for a name, and what cannot be an identifier is refused."""
        self.assertEqual(NAMES, {uid: name_or_status(uid) for uid in NAMES})

    def test_prefixes(self) -> None:
        """The SOP Class decides the prefix, and hostile text in its place has no way into the name."""
        classes = {CT: "CT.1.2", MR: "MR.1.2", "1.2.3": "UN.1.2", "../x": "UN.1.2", "": "UN.1.2", "\0": "UN.1.2"}
        self.assertEqual(classes, {sop_class: name_or_status("1.2", sop_class) for sop_class in classes})

    @PROPERTY
    @given(st.text(max_size=140), st.sampled_from([CT, MR, "", "../x"]))
    def test_one_component(self, uid: str, sop_class: str) -> None:
        """Whatever the peer sends, a name is one short visible component of a path and never hidden."""
        name = name_or_status(uid, sop_class)
        if isinstance(name, str):
            self.assertEqual((name, ""), (os.path.basename(name), os.path.dirname(name)))
            self.assertRegex(name, r"\A[A-Z][A-Z0-9]{0,3}\.(X-[0-9a-f]{40}|[0-9.]{1,64})\Z")
            self.assertLess(len(duplicate_name(name, "0123abcd")), 100)

    @PROPERTY
    @given(usable, usable)
    @example("1.2.3", "1.2.3.")
    @example("1.2", "1.02")
    @example("X-71fbbf9bcb342cdc7768b7d494089e947ac41154", LONG + "12345")
    def test_injective(self, one: str, other: str) -> None:
        """Two UIDs of one SOP Class never share a name, nor has one the name of another's duplicate."""
        names = [file_name(CT, one), file_name(CT, other)]
        self.assertEqual(one == other, names[0] == names[1])
        self.assertNotIn(duplicate_name(names[0], "0123abcd"), names)


class DuplicateNameTests(SynchronousTestCase):
    def test_duplicate(self) -> None:
        """Another content under a name that is taken is called by the first eight digits of its digest."""
        self.assertEqual("CT.1.2.3.dup-0123abcd", duplicate_name("CT.1.2.3", "0123abcd" * 8))
