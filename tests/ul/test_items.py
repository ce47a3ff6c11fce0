# mypy: allow-untyped-calls

from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.errors import AbortReason, InvalidPDU
from storescp.ul.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    ParameterLimits,
    PresentationContextAC,
    PresentationContextRQ,
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
    iter_items,
    pack_item,
)
from tests import strategies
from tests.strategies import PROPERTY
from tests.ul import outcome, wire

INVALID = AbortReason.INVALID_PARAMETER_VALUE
UNEXPECTED = AbortReason.UNEXPECTED_PARAMETER

ABSTRACT = wire("30 00 0011", b"1.2.840.10008.1.1")
IMPLICIT = wire("40 00 0011", b"1.2.840.10008.1.2")
EXPLICIT = wire("40 00 0013", b"1.2.840.10008.1.2.1")


@attrs.frozen
class Example:
    """An item, its bytes, and what becomes of its body when bytes are missing or too many."""

    item: Any
    wire: bytes
    shorter: dict[int, object] = attrs.field(factory=dict)  # by the length left; at all others it is INVALID
    longer: object = INVALID  # with one more byte, 00


USER_ITEMS = [
    Example(MaximumLength(0x01020304), wire("51 00 0004", "01020304")),
    Example(
        ImplementationClassUID("1.2.3"),
        wire("52 00 0005", b"1.2.3"),
        {length: ImplementationClassUID("1.2.3"[:length]) for length in range(5)},
        longer=ImplementationClassUID("1.2.3"),
    ),
    Example(AsynchronousOperationsWindow(0x0102, 0x0304), wire("53 00 0004", "0102", "0304")),
    Example(RoleSelection("1.2.3", 1, 0), wire("54 00 0009", "0005", b"1.2.3", "01 00")),
    Example(
        ImplementationVersionName("V 1.0"),
        wire("55 00 0005", b"V 1.0"),
        {length: ImplementationVersionName("V 1.0"[:length]) for length in range(5)},
        longer=ImplementationVersionName("V 1.0\0"),
    ),
    Example(
        SOPClassExtendedNegotiation("1.2.3", b"\x01\x02"),
        wire("56 00 0009", "0005", b"1.2.3", "01 02"),
        {7: SOPClassExtendedNegotiation("1.2.3", b""), 8: SOPClassExtendedNegotiation("1.2.3", b"\x01")},
        longer=SOPClassExtendedNegotiation("1.2.3", b"\x01\x02\x00"),
    ),
    Example(
        SOPClassCommonExtendedNegotiation("1.2.3", "1.2.4", ("1.2.5", "1.2.6.7")),
        wire("57 00 0020", "0005", b"1.2.3", "0005", b"1.2.4", "0010", "0005", b"1.2.5", "0007", b"1.2.6.7"),
        longer=SOPClassCommonExtendedNegotiation("1.2.3", "1.2.4", ("1.2.5", "1.2.6.7")),
    ),
    Example(
        SOPClassCommonExtendedNegotiation("1.2.3", "1.2.4"),
        wire("57 00 0010", "0005", b"1.2.3", "0005", b"1.2.4", "0000"),
        longer=SOPClassCommonExtendedNegotiation("1.2.3", "1.2.4"),
    ),
    Example(UserIdentityRQ(2, 1, b"user", b"secret"), wire("58 00 0010", "02 01", "0004", b"user", "0006", b"secret")),
    Example(UserIdentityRQ(1, 0, b"user"), wire("58 00 000A", "01 00", "0004", b"user", "0000")),
    Example(UserIdentityAC(b"token"), wire("59 00 0007", "0005", b"token")),
    Example(UserIdentityAC(), wire("59 00 0002", "0000")),
]

EXAMPLES = [
    Example(
        PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")),
        wire("20 00 0045", "01 00 00 00", ABSTRACT, IMPLICIT, EXPLICIT),
        {
            25: PresentationContextRQ(1, "1.2.840.10008.1.1", ()),
            46: PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
        },
    ),
    Example(PresentationContextAC(255, 0, "1.2.840.10008.1.2"), wire("21 00 0019", "FF 00 00 00", IMPLICIT)),
    *USER_ITEMS,
    Example(
        UserInformation((MaximumLength(16384), ImplementationClassUID("1.2.3"))),
        wire("50 00 0011", "51 00 0004 00004000", "52 00 0005", b"1.2.3"),
        {0: UserInformation(), 8: UserInformation((MaximumLength(16384),))},
    ),
]


def read(view: memoryview) -> list[tuple[int, bytes]]:
    return [(item_type, bytes(body)) for item_type, body in iter_items(view)]


class ItemTests(SynchronousTestCase):
    """The layout that all items share."""

    def test_whole(self) -> None:
        """Items that fill the bytes are told apart, of whatever type and length, and byte two is not tested."""
        cases = [
            (wire(), []),
            (wire("10 00 0000"), [(0x10, b"")]),
            (wire("10 FF 0001 AA"), [(0x10, b"\xaa")]),
            (wire("FF 00 0000", "10 00 0002 AABB", "00 00 0000"), [(0xFF, b""), (0x10, b"\xaa\xbb"), (0x00, b"")]),
            (wire("10 00 FFFF", bytes(65535)), [(0x10, bytes(65535))]),
        ]
        self.assertEqual([items for _, items in cases], [outcome(read, data) for data, _ in cases])

    def test_wrong_length(self) -> None:
        """An item whose length is not that of the bytes there are is refused."""
        cases = [
            wire("10 00 0000", "AA"),
            wire("10 00 0001", "AABB"),
            wire("10 00 0003", "AABB"),
            wire("10 00 FFFF", "AABB"),
            wire("10 00 FFFF", bytes(65534)),
            wire("10 00 0002", "AABB", "10 00 0001"),
        ]
        self.assertEqual([INVALID] * len(cases), [outcome(read, data) for data in cases])

    def test_truncated(self) -> None:
        """An item that is cut off anywhere is refused."""
        for each in EXAMPLES:
            cut = [outcome(read, each.wire[:length]) for length in range(1, len(each.wire))]
            self.assertEqual([INVALID] * (len(each.wire) - 1), cut)

    def test_longest(self) -> None:
        """An item holds up to 65535 bytes; more is the caller's mistake."""
        self.assertEqual(wire("10 00 FFFF", bytes(65535)), pack_item(0x10, bytes(65535)))
        self.assertRaises(ValueError, pack_item, 0x10, bytes(65536))

    def test_long_field(self) -> None:
        """A field of a sub-item holds up to 65535 bytes too."""
        self.assertRaises(ValueError, UserIdentityRQ(2, 0, bytes(65536)).encode)

    def test_longest_of_parts(self) -> None:
        """What does not fit an item together is the caller's mistake, too."""
        for item in (
            ImplementationVersionName("x" * 65536),
            PresentationContextRQ(1, "1.2", ("1.2.840.10008.1.2",) * 3121),
            UserInformation((ImplementationVersionName("x" * 32764), ImplementationVersionName("x" * 32764))),
        ):
            self.assertRaises(ValueError, item.encode)

    def test_characters(self) -> None:
        """A name outside Latin-1 cannot be sent, which is the caller's mistake."""
        self.assertRaises(ValueError, ImplementationVersionName("\N{EURO SIGN}").encode)


class ExampleTests(SynchronousTestCase):
    """Every item and sub-item against bytes typed by hand."""

    def test_encode(self) -> None:
        """Every item is written as its table in the standard says."""
        self.assertEqual([each.wire for each in EXAMPLES], [each.item.encode() for each in EXAMPLES])

    def test_decode(self) -> None:
        """Every item is read as its table in the standard says."""
        self.assertEqual(
            [each.item for each in EXAMPLES], [outcome(each.item.decode, each.wire[4:]) for each in EXAMPLES]
        )

    def test_truncated(self) -> None:
        """A body cut off at any length is refused, save where what is left is itself a body."""
        for each in EXAMPLES:
            body = each.wire[4:]
            self.assertEqual(
                [each.shorter.get(length, INVALID) for length in range(len(body))],
                [outcome(each.item.decode, body[:length]) for length in range(len(body))],
            )

    def test_trailing(self) -> None:
        """A byte after the body is refused, save where the last field has no length of its own or reserves it."""
        self.assertEqual(
            [each.longer for each in EXAMPLES],
            [outcome(each.item.decode, each.wire[4:] + b"\0") for each in EXAMPLES],
        )

    def test_padded_uids(self) -> None:
        """The NULs and spaces that some devices pad a UID with are not part of it."""
        cases: list[tuple[Any, bytes]] = [
            (
                PresentationContextRQ(1, "1.2.3", ("1.2.4", "1.2.5")),
                wire("01 00 00 00", "30 00 0006", b"1.2.3\0", "40 00 0006", b"1.2.4 ", "40 00 0007", b"1.2.5\0 "),
            ),
            (PresentationContextAC(1, 0, "1.2.3"), wire("01 00 00 00", "40 00 0006", b"1.2.3\0")),
            (ImplementationClassUID(" 1.2 .3"), b" 1.2 .3\0\0\0"),  # only what stands at the end is padding
            (RoleSelection("1.2.3", 0, 1), wire("0006", b"1.2.3\0", "00 01")),
            (SOPClassExtendedNegotiation("1.2.3", b"\0 "), wire("0006", b"1.2.3\0", "00 20")),
            (
                SOPClassCommonExtendedNegotiation("1.2.3", "1.2.4", ("1.2.5",)),
                wire("0006", b"1.2.3\0", "0006", b"1.2.4\0", "0008", "0006", b"1.2.5\0"),
            ),
        ]
        self.assertEqual([item for item, _ in cases], [outcome(item.decode, body) for item, body in cases])

    def test_latin_1(self) -> None:
        """Any byte is a character of a name, so that nothing a device sends is refused or lost."""
        every = bytes(range(256))
        name = "".join(map(chr, range(256)))
        self.assertEqual(ImplementationVersionName(name), outcome(ImplementationVersionName.decode, every))
        self.assertEqual(wire("55 00 0100", every), ImplementationVersionName(name).encode())

    def test_field_lengths(self) -> None:
        """A field that claims more than there is, or leaves what cannot follow it, is refused."""
        cases: list[tuple[Any, bytes]] = [
            (RoleSelection, wire("0000", b"1.2.3", "01 00")),
            (RoleSelection, wire("0004", b"1.2.3", "01 00")),
            (RoleSelection, wire("0006", b"1.2.3", "01 00")),
            (RoleSelection, wire("FFFF", b"1.2.3", "01 00")),
            (SOPClassExtendedNegotiation, wire("0006", b"1.2.3")),
            (SOPClassExtendedNegotiation, wire("FFFF", b"1.2.3")),
            (SOPClassCommonExtendedNegotiation, wire("0006", b"1.2.3", "0005", b"1.2.4", "0000")),
            (SOPClassCommonExtendedNegotiation, wire("FFFF", b"1.2.3", "0005", b"1.2.4", "0000")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "0006", b"1.2.4", "0000")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "FFFF", b"1.2.4", "0000")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "0005", b"1.2.4", "0006", "0005", b"1.2.5")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "0005", b"1.2.4", "0008", "0005", b"1.2.5")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "0005", b"1.2.4", "FFFF", "0005", b"1.2.5")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "0005", b"1.2.4", "0007", "0004", b"1.2.5")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "0005", b"1.2.4", "0007", "0006", b"1.2.5")),
            (SOPClassCommonExtendedNegotiation, wire("0005", b"1.2.3", "0005", b"1.2.4", "0007", "FFFF", b"1.2.5")),
            (UserIdentityRQ, wire("02 00", "0003", b"user", "0006", b"secret")),
            (UserIdentityRQ, wire("02 00", "0005", b"user", "0006", b"secret")),
            (UserIdentityRQ, wire("02 00", "FFFF", b"user", "0006", b"secret")),
            (UserIdentityRQ, wire("02 00", "0004", b"user", "0000", b"secret")),
            (UserIdentityRQ, wire("02 00", "0004", b"user", "0005", b"secret")),
            (UserIdentityRQ, wire("02 00", "0004", b"user", "0007", b"secret")),
            (UserIdentityRQ, wire("02 00", "0004", b"user", "FFFF", b"secret")),
            (UserIdentityAC, wire("0000", b"token")),
            (UserIdentityAC, wire("0004", b"token")),
            (UserIdentityAC, wire("0006", b"token")),
            (UserIdentityAC, wire("FFFF", b"token")),
        ]
        self.assertEqual([INVALID] * len(cases), [outcome(kind.decode, body) for kind, body in cases])

    def test_empty_fields(self) -> None:
        """A field of no bytes is empty, not missing."""
        cases: list[tuple[Any, bytes]] = [
            (PresentationContextRQ(1, "", ("",)), wire("01 00 00 00", "30 00 0000", "40 00 0000")),
            (PresentationContextAC(1, 0, ""), wire("01 00 00 00", "40 00 0000")),
            (RoleSelection("", 1, 1), wire("0000", "01 01")),
            (SOPClassExtendedNegotiation("", b""), wire("0000")),
            (SOPClassCommonExtendedNegotiation("", "", ("",)), wire("0000", "0000", "0002", "0000")),
            (UserIdentityRQ(1, 0, b"", b""), wire("01 00", "0000", "0000")),
        ]
        self.assertEqual([item for item, _ in cases], [outcome(item.decode, body) for item, body in cases])

    @PROPERTY
    @given(st.one_of(strategies.associate_items, strategies.user_items))
    def test_round_trip(self, item: Any) -> None:
        """What is encoded is one item, which decodes to what it was."""
        ((item_type, body),) = iter_items(memoryview(item.encode()))
        self.assertEqual((item.TYPE, item), (item_type, item.decode(body)))

    @PROPERTY
    @given(st.binary(max_size=60))
    def test_any_bytes(self, body: bytes) -> None:
        """No bytes make a decoder raise anything but InvalidPDU."""
        for decode in (read, *(each.item.decode for each in EXAMPLES)):
            outcome(decode, body)

    @PROPERTY
    @given(st.data(), st.one_of(strategies.associate_items, strategies.user_items))
    def test_damaged(self, data: st.DataObject, item: Any) -> None:
        """An item that was damaged decodes to another or raises InvalidPDU."""
        outcome(item.decode, data.draw(strategies.damaged(st.just(item.encode()[4:]))))


class PresentationContextTests(SynchronousTestCase):
    """Presentation Context Items of a request and of an answer."""

    def test_even_id(self) -> None:
        """An even presentation context id is refused."""
        bodies = [wire(first, "00 00 00", ABSTRACT, IMPLICIT) for first in ("00", "02", "FE")]
        self.assertEqual([INVALID] * 3, [outcome(PresentationContextRQ.decode, body) for body in bodies])
        bodies = [wire(first, "00 00 00", IMPLICIT) for first in ("00", "02", "FE")]
        self.assertEqual([INVALID] * 3, [outcome(PresentationContextAC.decode, body) for body in bodies])

    def test_reserved(self) -> None:
        """Reserved bytes are not tested."""
        self.assertEqual(
            [PresentationContextRQ(3, "1.2.840.10008.1.1", ("1.2.3",)), PresentationContextAC(3, 0, "1.2.3")],
            [
                outcome(
                    PresentationContextRQ.decode,
                    wire("03 FF FF FF", "30 FF 0011", b"1.2.840.10008.1.1", "40 FF 0005", b"1.2.3"),
                ),
                outcome(PresentationContextAC.decode, wire("03 FF 00 FF", "40 FF 0005", b"1.2.3")),
            ],
        )

    def test_abstract_syntaxes(self) -> None:
        """A proposed context without an abstract syntax, or with two, is refused."""
        cases = [wire("01 00 00 00"), wire("01 00 00 00", IMPLICIT), wire("01 00 00 00", ABSTRACT, ABSTRACT, IMPLICIT)]
        self.assertEqual([INVALID] * 3, [outcome(PresentationContextRQ.decode, body) for body in cases])

    def test_transfer_syntaxes(self) -> None:
        """An accepted context without a transfer syntax, or with two, is refused."""
        cases = [wire("01 00 00 00"), wire("01 00 00 00", IMPLICIT, EXPLICIT)]
        self.assertEqual([INVALID] * 2, [outcome(PresentationContextAC.decode, body) for body in cases])

    def test_rejected(self) -> None:
        """Whatever a context that was not accepted says of transfer syntaxes, even nonsense, is not tested."""
        self.assertEqual(
            [PresentationContextAC(5, result, "") for result in (3, 4, 1, 3, 3)],
            [
                outcome(PresentationContextAC.decode, wire("05 00 03 00")),
                outcome(PresentationContextAC.decode, wire("05 00 04 00", "40 00 0000")),
                outcome(PresentationContextAC.decode, wire("05 00 01 00", "40 00 0005", b"1.2.3")),
                outcome(PresentationContextAC.decode, wire("05 00 03 00", "FF")),
                outcome(PresentationContextAC.decode, wire("05 00 03 00", "40 00 0000", "40 00 0000")),
            ],
        )
        self.assertEqual(wire("21 00 0008", "05 00 03 00", "40 00 0000"), PresentationContextAC(5, 3, "").encode())

    def test_unknown_sub_items(self) -> None:
        """Sub-items of unknown types are skipped, but must be whole."""
        unknown = wire("99 00 0002 AABB")
        self.assertEqual(
            [
                PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
                PresentationContextAC(1, 0, "1.2.840.10008.1.2"),
                INVALID,
                INVALID,
            ],
            [
                outcome(
                    PresentationContextRQ.decode, wire("01 00 00 00", unknown, ABSTRACT, unknown, IMPLICIT, unknown)
                ),
                outcome(PresentationContextAC.decode, wire("01 00 00 00", unknown, IMPLICIT, unknown)),
                outcome(PresentationContextRQ.decode, wire("01 00 00 00", ABSTRACT, IMPLICIT, "99 00 0001")),
                outcome(PresentationContextAC.decode, wire("01 00 00 00", IMPLICIT, "99 00 0001")),
            ],
        )


def cause(
    decode: Callable[[memoryview, ParameterLimits], object], body: bytes, **limits: int
) -> tuple[str, str] | None:
    """The limit that is reached, and the words; None where all is well."""
    try:
        decode(memoryview(body), ParameterLimits(**limits))
    except InvalidPDU as error:
        return getattr(error.cause, "limit", ""), str(error)
    return None


class LimitTests(SynchronousTestCase):
    """How many parameters an A-ASSOCIATE-RQ may have of a kind."""

    SYNTAXES = ("max_transfer_syntaxes", "more than 2 transfer syntaxes in a presentation context")
    ITEMS = ("max_user_items", "more than 3 items in User Information")
    UNKNOWN = wire("99 00 0002 AABB")

    def test_transfer_syntaxes(self) -> None:
        """A context may have just so many transfer syntaxes, wherever its abstract syntax stands, which is none."""
        within = [ABSTRACT + IMPLICIT * 2, IMPLICIT + ABSTRACT + IMPLICIT, IMPLICIT * 2 + ABSTRACT, ABSTRACT]
        beyond = [ABSTRACT + IMPLICIT * 3, IMPLICIT * 3 + ABSTRACT, IMPLICIT * 2 + ABSTRACT + IMPLICIT]
        self.assertEqual([None] * 4, [self.of_context(body) for body in within])
        self.assertEqual([self.SYNTAXES] * 3, [self.of_context(body) for body in beyond])

    def of_context(self, items: bytes) -> object:
        return cause(PresentationContextRQ.decode, wire("01 00 00 00", items), transfer_syntaxes=2)

    def test_others_in_a_context(self) -> None:
        """What nobody knows, and abstract syntaxes, do not count with them; but more than 64 of those are too many."""
        within = ABSTRACT + self.UNKNOWN * 63 + IMPLICIT * 2
        self.assertIsNone(self.of_context(within))
        refused = ("", "more than 64 items that are no transfer syntaxes in a presentation context")
        beyond = [within + self.UNKNOWN, within + ABSTRACT, self.UNKNOWN * 65]
        self.assertEqual([refused] * 3, [self.of_context(body) for body in beyond])
        self.assertEqual(("", "presentation context 1 has 2 abstract syntaxes, not 1"), self.of_context(ABSTRACT * 2))

    def test_user_items(self) -> None:
        """User Information may have just so many items, known and unknown ones, repeated or not."""
        role = wire("54 00 0007", "0003", b"1.2", "01 00")
        length = wire("51 00 0004", "00004000")
        within = [b"", role * 3, self.UNKNOWN * 3, length + role + self.UNKNOWN]
        self.assertEqual([None] * 4, [cause(UserInformation.decode, body, user_items=3) for body in within])
        beyond = [role * 4, self.UNKNOWN * 4, self.UNKNOWN + role * 3, role * 3 + length, length * 4]
        self.assertEqual([self.ITEMS] * 5, [cause(UserInformation.decode, body, user_items=3) for body in beyond])

    def test_first_mistake(self) -> None:
        """Of what stands behind the limit nothing is looked at; what stands before it is judged first."""
        bad, role = wire("51 00 0000"), wire("54 00 0007", "0003", b"1.2", "01 00")
        self.assertEqual(self.ITEMS, cause(UserInformation.decode, role * 3 + bad, user_items=3))
        self.assertEqual(
            ("", "Maximum Length has 0 bytes, not 4"), cause(UserInformation.decode, bad + role * 3, user_items=3)
        )

    def test_no_limits(self) -> None:
        """Where no limit is given any number will do."""
        self.assertEqual(
            [PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",) * 3000), UserInformation()],
            [
                outcome(PresentationContextRQ.decode, wire("01 00 00 00", ABSTRACT, IMPLICIT * 3000)),
                outcome(UserInformation.decode, self.UNKNOWN * 10000),
            ],
        )

    def test_configuration(self) -> None:
        """Each limit is the one that the configuration calls so."""
        self.assertEqual(
            ParameterLimits(contexts=3, transfer_syntaxes=4, user_items=5),
            ParameterLimits.from_config(Config(max_contexts=3, max_transfer_syntaxes=4, max_user_items=5)),
        )

    def test_related_classes(self) -> None:
        """A Common Extended Negotiation may name 64 related classes: more would cost time, and there are none."""

        def body(count: int) -> bytes:
            return wire("0003", b"1.2", "0003", b"1.3", (count * 5).to_bytes(2, "big"), wire("0003", b"1.4") * count)

        decode = SOPClassCommonExtendedNegotiation.decode
        expected = SOPClassCommonExtendedNegotiation("1.2", "1.3", ("1.4",) * 64)
        self.assertEqual([expected, INVALID], [outcome(decode, body(count)) for count in (64, 65)])
        error = self.assertRaises(InvalidPDU, decode, memoryview(body(65)))
        self.assertEqual("more than 64 related general SOP Classes", str(error))


class UserInformationTests(SynchronousTestCase):
    """The User Information Item and its sub-items together."""

    ITEMS = UserInformation(
        (RoleSelection("1.2", 1, 0), MaximumLength(0), RoleSelection("1.3", 0, 1), ImplementationVersionName("V"))
    )

    def test_order(self) -> None:
        """Sub-items that may be repeated are kept, all in the order they stand."""
        data = (
            wire("54 00 0007", "0003", b"1.2", "01 00")
            + wire("51 00 0004", "00000000")
            + wire("54 00 0007", "0003", b"1.3", "00 01")
            + wire("55 00 0001", b"V")
        )
        self.assertEqual(self.ITEMS, outcome(UserInformation.decode, data))
        self.assertEqual(wire("50 00 0023", data), self.ITEMS.encode())

    def test_first_and_every(self) -> None:
        """The sub-items of a class are found, or that there are none."""
        self.assertEqual(
            (RoleSelection("1.2", 1, 0), None),
            (self.ITEMS.first(RoleSelection), self.ITEMS.first(UserIdentityRQ)),
        )
        self.assertEqual(
            ((RoleSelection("1.2", 1, 0), RoleSelection("1.3", 0, 1)), ()),
            (self.ITEMS.every(RoleSelection), self.ITEMS.every(UserIdentityRQ)),
        )

    def test_unknown(self) -> None:
        """Sub-items of unknown types are skipped, but must be whole."""
        data = wire("00 00 0000", "51 00 0004 00004000", "5A 00 0002 AABB", "55 00 0001", b"V", "FF 00 0001 AA")
        self.assertEqual(
            [UserInformation((MaximumLength(16384), ImplementationVersionName("V"))), INVALID],
            [outcome(UserInformation.decode, data), outcome(UserInformation.decode, data[:-1])],
        )

    def test_repeated(self) -> None:
        """What describes the whole association stands once; the negotiation of a SOP class may stand often."""
        often = (RoleSelection, SOPClassExtendedNegotiation, SOPClassCommonExtendedNegotiation)
        self.assertEqual(
            [
                UserInformation((each.item, each.item)) if isinstance(each.item, often) else UNEXPECTED
                for each in USER_ITEMS
            ],
            [outcome(UserInformation.decode, each.wire * 2) for each in USER_ITEMS],
        )

    def test_sub_item_lengths(self) -> None:
        """A sub-item of a wrong length is refused also within the User Information."""
        cases = [
            wire("51 00 0000"),
            wire("51 00 0003 004000"),
            wire("51 00 0005 0000400000"),
            wire("51 00 0003 00004000"),
            wire("51 00 0005 00004000"),
            wire("51 00 FFFF 00004000"),
            wire("51 00 FFFF", bytes(65535)),
            wire("53 00 0000"),
            wire("58 00 0000"),
        ]
        self.assertEqual([INVALID] * len(cases), [outcome(UserInformation.decode, body) for body in cases])

    def test_secrets(self) -> None:
        """Neither what is shown of a User Identity nor why one is refused tells what its fields hold."""
        self.assertEqual(
            "UserInformation(items=(UserIdentityRQ(identity_type=2, positive_response_requested=1), UserIdentityAC()))",
            repr(UserInformation((UserIdentityRQ(2, 1, b"user", b"secret"), UserIdentityAC(b"token")))),
        )
        body = wire("02 00", "0004", b"user", "0006", b"secre")
        error = self.assertRaises(InvalidPDU, UserIdentityRQ.decode, memoryview(body))
        self.assertEqual("the secondary field of a User Identity claims 6 bytes of 5", str(error))
