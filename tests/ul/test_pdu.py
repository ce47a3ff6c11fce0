# mypy: allow-untyped-calls

from collections.abc import Iterator
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import pdu as theirs
from pynetdicom import pdu_primitives as primitives
from pynetdicom.presentation import build_context
from twisted.trial.unittest import SynchronousTestCase

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
)
from storescp.ul.pdu import (
    AAbort,
    AAssociateAC,
    AAssociateRJ,
    AAssociateRQ,
    AReleaseRP,
    AReleaseRQ,
    PDataTF,
    ae_title,
)
from tests import strategies
from tests.strategies import PROPERTY, damaged
from tests.ul import outcome, wire

INVALID = AbortReason.INVALID_PARAMETER_VALUE
UNEXPECTED = AbortReason.UNEXPECTED_PARAMETER

# The fixed part of an A-ASSOCIATE, and items in which only the type of the presentation context differs.
RESERVED = bytes.fromhex("000102030405060708090A0B0C0D0E0F 101112131415161718191A1B1C1D1E1F")
FIXED = wire("0001 0000", b"STORESCP        ", b"MODALITY 1      ", RESERVED)
NAME = wire("10 00 0015", b"1.2.840.10008.3.1.1.1")
CONTEXT_RQ = wire("20 00 002E", "01 00 00 00", "30 00 0011", b"1.2.840.10008.1.1", "40 00 0011", b"1.2.840.10008.1.2")
CONTEXT_AC = wire("21 00 0019", "01 00 00 00", "40 00 0011", b"1.2.840.10008.1.2")
USER = wire("50 00 0016", "51 00 0004 00004000", "52 00 0005", b"1.2.3", "55 00 0001", b"V")

RQ = AAssociateRQ(
    protocol_version=1,
    called_ae_title="STORESCP        ",
    calling_ae_title="MODALITY 1      ",
    reserved=RESERVED,
    application_context_name="1.2.840.10008.3.1.1.1",
    presentation_contexts=(PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
    user_information=UserInformation(
        (MaximumLength(16384), ImplementationClassUID("1.2.3"), ImplementationVersionName("V"))
    ),
)
AC = AAssociateAC(
    protocol_version=1,
    called_ae_title="STORESCP        ",
    calling_ae_title="MODALITY 1      ",
    reserved=RESERVED,
    application_context_name="1.2.840.10008.3.1.1.1",
    presentation_contexts=(PresentationContextAC(1, 0, "1.2.840.10008.1.2"),),
    user_information=RQ.user_information,
)


@attrs.frozen
class Example:
    """A PDU, its bytes, and what becomes of its body when bytes at the end are missing."""

    pdu: Any
    wire: bytes
    shorter: dict[int, object] = attrs.field(factory=dict)  # by the length left; at all others it is INVALID


EXAMPLES = [
    Example(
        RQ,
        wire("01 00 000000A9", FIXED, NAME, CONTEXT_RQ, USER),
        {
            68: attrs.evolve(
                RQ, application_context_name="", presentation_contexts=(), user_information=UserInformation()
            ),
            93: attrs.evolve(RQ, presentation_contexts=(), user_information=UserInformation()),
            143: attrs.evolve(RQ, user_information=UserInformation()),
        },
    ),
    Example(
        AC,
        wire("02 00 00000094", FIXED, NAME, CONTEXT_AC, USER),
        {
            68: attrs.evolve(
                AC, application_context_name="", presentation_contexts=(), user_information=UserInformation()
            ),
            93: attrs.evolve(AC, presentation_contexts=(), user_information=UserInformation()),
            122: attrs.evolve(AC, user_information=UserInformation()),
        },
    ),
    Example(AAssociateRJ(result=2, source=3, reason=1), wire("03 00 00000004", "00 02 03 01")),
    Example(AReleaseRQ(), wire("05 00 00000004", "00 00 00 00")),
    Example(AReleaseRP(), wire("06 00 00000004", "00 00 00 00")),
    Example(AAbort(source=2, reason=6), wire("07 00 00000004", "00 00 02 06")),
]


class ExampleTests(SynchronousTestCase):
    """Every PDU but P-DATA-TF against bytes typed by hand."""

    def test_encode(self) -> None:
        """Every PDU is written as its table in the standard says."""
        self.assertEqual([each.wire for each in EXAMPLES], [each.pdu.encode() for each in EXAMPLES])

    def test_decode(self) -> None:
        """Every PDU is read as its table in the standard says."""
        self.assertEqual(
            [each.pdu for each in EXAMPLES], [outcome(each.pdu.decode, each.wire[6:]) for each in EXAMPLES]
        )

    def test_truncated(self) -> None:
        """A body cut off at any length is refused, save an A-ASSOCIATE's between two items."""
        for each in EXAMPLES:
            body = each.wire[6:]
            self.assertEqual(
                [each.shorter.get(length, INVALID) for length in range(len(body))],
                [outcome(each.pdu.decode, body[:length]) for length in range(len(body))],
            )

    def test_trailing(self) -> None:
        """Bytes after the body are refused."""
        for trailing in (b"\0", b"\0\0\0", b"\xff" * 4):
            self.assertEqual(
                [INVALID] * len(EXAMPLES), [outcome(each.pdu.decode, each.wire[6:] + trailing) for each in EXAMPLES]
            )

    def test_reserved(self) -> None:
        """Reserved bytes are not tested."""
        self.assertEqual(
            [AAssociateRJ(1, 1, 7), AReleaseRQ(), AReleaseRP(), AAbort(0, 255)],
            [
                outcome(AAssociateRJ.decode, wire("FF 01 01 07")),
                outcome(AReleaseRQ.decode, wire("FF FF FF FF")),
                outcome(AReleaseRP.decode, wire("FF FF FF FF")),
                outcome(AAbort.decode, wire("FF FF 00 FF")),
            ],
        )

    def test_abort_reasons(self) -> None:
        """The reasons of an abort have the numbers of PS3.8 Table 9-26, of which 3 is reserved."""
        self.assertEqual(
            {
                "NOT_SPECIFIED": 0,
                "UNRECOGNIZED_PDU": 1,
                "UNEXPECTED_PDU": 2,
                "UNRECOGNIZED_PARAMETER": 4,
                "UNEXPECTED_PARAMETER": 5,
                "INVALID_PARAMETER_VALUE": 6,
            },
            {reason.name: reason.value for reason in AbortReason},
        )

    @PROPERTY
    @given(strategies.pdus)
    def test_round_trip(self, pdu: Any) -> None:
        """What is encoded has its type and length in front, and decodes to what it was."""
        data = pdu.encode()
        self.assertEqual(bytes([pdu.TYPE, 0]) + (len(data) - 6).to_bytes(4, "big"), data[:6])
        self.assertEqual(pdu, outcome(pdu.decode, data[6:]))

    @PROPERTY
    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_any_bytes(self, body: bytes, fixed: bytes) -> None:
        """No bytes make a decoder raise anything but InvalidPDU."""
        for each in EXAMPLES:
            outcome(each.pdu.decode, body)
            outcome(each.pdu.decode, fixed.ljust(68, b"\0")[:68] + body)

    @PROPERTY
    @given(st.data(), strategies.pdus)
    def test_damaged(self, data: st.DataObject, pdu: Any) -> None:
        """A PDU that was damaged decodes to another or raises InvalidPDU."""
        outcome(pdu.decode, data.draw(damaged(st.just(pdu.encode()[6:]))))


class AssociateTests(SynchronousTestCase):
    """What A-ASSOCIATE-RQ and A-ASSOCIATE-AC share."""

    def test_reserved(self) -> None:
        """The reserved field has 32 bytes, no more and no fewer."""
        for size in (0, 31, 33):
            self.assertRaises(ValueError, attrs.evolve, RQ, reserved=bytes(size))

    def test_not_tested(self) -> None:
        """Versions and reserved bytes are kept or skipped, not judged."""
        fixed = wire("FFFE FFFF", b"STORESCP        ", b"MODALITY 1      ", RESERVED)
        items = wire("10 FF 0015", NAME[4:], "50 FF 0016", USER[4:])
        self.assertEqual(
            [
                attrs.evolve(RQ, protocol_version=0xFFFE, presentation_contexts=()),
                attrs.evolve(AC, protocol_version=0xFFFE, presentation_contexts=()),
            ],
            [outcome(AAssociateRQ.decode, fixed + items), outcome(AAssociateAC.decode, fixed + items)],
        )

    def test_unknown_items(self) -> None:
        """Items of unknown types, and contexts of the other PDU, are skipped, but must be whole."""
        unknown = wire("00 00 0000", "99 00 0002 AABB", "FF 00 0001 AA")
        body = FIXED + unknown + NAME + unknown + CONTEXT_AC + CONTEXT_RQ + unknown + USER + unknown
        self.assertEqual(
            [RQ, AC, INVALID, INVALID],
            [
                outcome(AAssociateRQ.decode, body),
                outcome(AAssociateAC.decode, body),
                outcome(AAssociateRQ.decode, body[:-1]),
                outcome(AAssociateAC.decode, body[:-1]),
            ],
        )

    def test_any_order(self) -> None:
        """Items are found in whatever order they stand."""
        self.assertEqual(
            [RQ, AC],
            [
                outcome(AAssociateRQ.decode, FIXED + USER + CONTEXT_RQ + NAME),
                outcome(AAssociateAC.decode, FIXED + USER + CONTEXT_AC + NAME),
            ],
        )

    def test_repeated(self) -> None:
        """A second application context, user information or maximum length is an unexpected parameter."""
        twice = wire("50 00 0010", "51 00 0004 00004000", "51 00 0004 00004000")
        for decode in (AAssociateRQ.decode, AAssociateAC.decode):
            self.assertEqual(
                [UNEXPECTED] * 3,
                [
                    outcome(decode, FIXED + NAME + USER + NAME),
                    outcome(decode, FIXED + NAME + USER + USER),
                    outcome(decode, FIXED + NAME + twice),
                ],
            )

    def test_context_ids(self) -> None:
        """Contexts keep their order; a second one of the same id, or one of an even id, is refused."""
        rq = [wire("20 00 000D", number, "00 00 00", "30 00 0005", b"1.2.3") for number in ("FF", "03", "02")]
        ac = [wire("21 00 000D", number, "00 00 00", "40 00 0005", b"1.2.3") for number in ("FF", "03", "02")]
        self.assertEqual(
            [
                attrs.evolve(
                    RQ,
                    presentation_contexts=(
                        PresentationContextRQ(255, "1.2.3", ()),
                        PresentationContextRQ(3, "1.2.3", ()),
                    ),
                ),
                INVALID,
                INVALID,
            ],
            [outcome(AAssociateRQ.decode, FIXED + NAME + rq[0] + rq[n] + USER) for n in (1, 0, 2)],
        )
        self.assertEqual(
            [
                attrs.evolve(
                    AC,
                    presentation_contexts=(
                        PresentationContextAC(255, 0, "1.2.3"),
                        PresentationContextAC(3, 0, "1.2.3"),
                    ),
                ),
                INVALID,
                INVALID,
            ],
            [outcome(AAssociateAC.decode, FIXED + NAME + ac[0] + ac[n] + USER) for n in (1, 0, 2)],
        )

    def test_limits(self) -> None:
        """A request may have just so many contexts; its name and its User Information do not count, wherever."""
        one, two, three = (CONTEXT_RQ[:4] + bytes([number]) + CONTEXT_RQ[5:] for number in (1, 3, 5))
        within = [one + NAME + USER + two, one + two + USER + NAME, NAME + USER]
        self.assertEqual([None] * 3, [self.limit(items, contexts=2) for items in within])
        cause = ("max_contexts", "more than 2 presentation contexts in an A-ASSOCIATE")
        beyond = [NAME + one + two + three + USER, NAME + USER + one + two + three, one + two + wire("20 00 0000")]
        self.assertEqual([cause] * 3, [self.limit(items, contexts=2) for items in beyond])

    def limit(self, items: bytes, **limits: int) -> tuple[str, str] | None:
        """The limit that these items reach, and the words; None where all is well."""
        try:
            AAssociateRQ.decode(memoryview(FIXED + items), ParameterLimits(**limits))
        except InvalidPDU as error:
            return getattr(error.cause, "limit", ""), str(error)
        return None

    def test_other_items(self) -> None:
        """Items of unknown types, and contexts of an answer, do not count with them; of those there may be 64."""
        unknown = wire("99 00 0002 AABB")
        within = NAME + CONTEXT_AC + unknown * 61 + CONTEXT_RQ + USER
        self.assertIsNone(self.limit(within, contexts=1))
        refused = ("", "more than 64 items that are no presentation contexts in an A-ASSOCIATE")
        for more in (unknown, CONTEXT_AC, NAME, USER):
            self.assertEqual(refused, self.limit(within + more, contexts=1))
        repeated = ("", "an item that stands once is repeated")
        self.assertEqual([repeated] * 2, [self.limit(NAME + USER + more, contexts=1) for more in (NAME, USER)])

    def test_limits_within(self) -> None:
        """What its contexts and its User Information may have is limited, too: of each context by itself."""
        two = CONTEXT_RQ[:4] + bytes([3]) + CONTEXT_RQ[5:]
        self.assertIsNone(self.limit(NAME + CONTEXT_RQ + two + USER, transfer_syntaxes=1, user_items=3))
        syntaxes = ("max_transfer_syntaxes", "more than 0 transfer syntaxes in a presentation context")
        self.assertEqual(syntaxes, self.limit(NAME + CONTEXT_RQ + USER, transfer_syntaxes=0))
        items = ("max_user_items", "more than 2 items in User Information")
        self.assertEqual(items, self.limit(NAME + CONTEXT_RQ + USER, user_items=2))

    def test_no_limits(self) -> None:
        """Where no limit is given, as in an answer, any number will do."""
        unknown = wire("99 00 0000") * 1000
        self.assertEqual(
            [RQ, AC],
            [
                outcome(AAssociateRQ.decode, FIXED + unknown + NAME + CONTEXT_RQ + USER),
                outcome(AAssociateAC.decode, FIXED + unknown + NAME + CONTEXT_AC + USER),
            ],
        )

    def test_item_lengths(self) -> None:
        """An item whose length is wrong, by one or by much, is refused."""
        cases = [
            FIXED + wire("10 00 0014", NAME[4:]),
            FIXED + wire("10 00 0016", NAME[4:]),
            FIXED + wire("10 00 FFFF", NAME[4:]),
            FIXED + NAME + wire("20 00 0000", CONTEXT_RQ[4:]),
            FIXED + NAME + wire("20 00 002D", CONTEXT_RQ[4:]),
            FIXED + NAME + wire("20 00 002F", CONTEXT_RQ[4:]),
            FIXED + NAME + wire("20 00 FFFF", CONTEXT_RQ[4:]),
            FIXED + NAME + wire("50 00 0015", USER[4:]),
            FIXED + NAME + wire("50 00 0017", USER[4:]),
            FIXED + NAME + wire("50 00 FFFF", USER[4:]),
        ]
        self.assertEqual([INVALID] * len(cases), [outcome(AAssociateRQ.decode, body) for body in cases])

    def test_padded_application_context(self) -> None:
        """The NULs and spaces that pad an application context name are not part of it."""
        padded = wire("10 00 0018", b"1.2.840.10008.3.1.1.1\0 \0")
        self.assertEqual(RQ, outcome(AAssociateRQ.decode, FIXED + padded + CONTEXT_RQ + USER))

    def test_titles_kept(self) -> None:
        """The sixteen characters of a title are kept as they came, whatever bytes they are, and so sent back."""
        titles = wire(b" STORESCP\0\0\0\0\0\0\0", "00 20 41 E9 FF 80 7F 0A 41 41 41 41 41 41 41 00")
        body = wire("0001 0000", titles, RESERVED, NAME, CONTEXT_RQ, USER)
        rq = AAssociateRQ.decode(memoryview(body))
        self.assertEqual(
            (" STORESCP\0\0\0\0\0\0\0", "\0 A\xe9\xff\x80\x7f\nAAAAAAA\0"), (rq.called_ae_title, rq.calling_ae_title)
        )
        self.assertEqual(wire("01 00 000000A9", body), rq.encode())

    def test_titles_padded(self) -> None:
        """A title given by a caller is padded with spaces; one of seventeen characters is the caller's mistake."""
        pdu = attrs.evolve(AC, called_ae_title="A", calling_ae_title="")
        self.assertEqual(("A               ", " " * 16), (pdu.called_ae_title, pdu.calling_ae_title))
        self.assertRaises(ValueError, attrs.evolve, RQ, called_ae_title="A" * 17)
        self.assertRaises(ValueError, attrs.evolve, AC, calling_ae_title=" " * 17)

    def test_ae_title(self) -> None:
        """The padding around a title, NULs of some devices included, is not part of it; spaces within are."""
        fields = [
            "STORESCP        ",
            "  STORE SCP     ",
            "STORESCP\0\0\0\0\0\0\0\0",
            "A\0              ",
            " " * 16,
            "\0" * 16,
        ]
        self.assertEqual(["STORESCP", "STORE SCP", "STORESCP", "A", "", ""], [ae_title(field) for field in fields])

    def test_secrets(self) -> None:
        """A request that is shown does not tell the fields of its User Identity, nor its reserved bytes."""
        identity = UserInformation((UserIdentityRQ(2, 0, b"user", b"secret"),))
        self.assertEqual(
            "AAssociateRQ(protocol_version=1, "
            "called_ae_title='STORESCP        ', "
            "calling_ae_title='MODALITY 1      ', "
            "application_context_name='1.2.840.10008.3.1.1.1', "
            "presentation_contexts=(), "
            "user_information=UserInformation("
            "items=(UserIdentityRQ(identity_type=2, positive_response_requested=0),)))",
            repr(attrs.evolve(RQ, presentation_contexts=(), user_information=identity)),
        )


def split(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """One value after the other."""
    rest: memoryview | None = body
    while rest is not None:
        context_id, control, fragment, rest = PDataTF.split(rest)
        yield context_id, control, fragment


def pdvs(body: memoryview) -> list[tuple[int, int, bytes]]:
    return [(context_id, control, bytes(fragment)) for context_id, control, fragment in split(body)]


class PDataTFTests(SynchronousTestCase):
    """P-DATA-TF: presentation data values."""

    TWO = wire("00000004", "01 03", b"ab", "00000002", "FF 00")

    def test_encode(self) -> None:
        """Values are written one after the other, each with the length of what follows it."""
        self.assertEqual(wire("04 00 0000000E", self.TWO), PDataTF.encode([(1, 3, memoryview(b"ab")), (255, 0, b"")]))

    def test_decode(self) -> None:
        """Values are read one after the other; one may hold no bytes of a message."""
        self.assertEqual([(1, 3, b"ab"), (255, 0, b"")], outcome(pdvs, self.TWO))

    def test_overhead(self) -> None:
        """A value takes six bytes more than its fragment."""
        self.assertEqual(6, PDataTF.OVERHEAD)

    def test_truncated(self) -> None:
        """A body cut off at any length is refused, save between two values; and so is an empty one."""
        expected = [[(1, 3, b"ab")] if length == 8 else INVALID for length in range(14)]
        self.assertEqual(expected, [outcome(pdvs, self.TWO[:length]) for length in range(14)])

    def test_trailing(self) -> None:
        """Bytes that are no value are refused wherever they end."""
        trailing = wire("00000003 01 02")
        self.assertEqual([INVALID] * 6, [outcome(pdvs, self.TWO + trailing[:length]) for length in range(1, 7)])

    def test_wrong_length(self) -> None:
        """A value whose length is not that of the bytes there are is refused."""
        lengths = ("00000000", "00000001", "00000005", "00000100", "7FFFFFFF", "80000000", "FFFFFFFF")
        self.assertEqual([INVALID] * len(lengths), [outcome(pdvs, wire(length, "01 03", b"ab")) for length in lengths])

    def test_too_short_for_header(self) -> None:
        """A value of no bytes or of one is refused also where what comes next could be a value."""
        cases = [wire("00000000", "00000002 01 03"), wire("00000001 00", "00000002 01 03")]
        self.assertEqual([INVALID] * 2, [outcome(pdvs, body) for body in cases])

    def test_good_before_bad(self) -> None:
        """The values in front of a bad one are handed out before it is refused."""
        found = split(memoryview(self.TWO + b"\0"))
        self.assertEqual([(1, 3, b"ab"), (255, 0, b"")], [next(found), next(found)])
        self.assertRaises(InvalidPDU, next, found)

    def test_not_copied(self) -> None:
        """A fragment is a window into the body."""
        self.assertEqual(
            [True, True],
            [fragment.obj is self.TWO for _, _, fragment in split(memoryview(self.TWO))],
        )

    @PROPERTY
    @given(strategies.pdv_lists)
    def test_round_trip(self, values: list[tuple[int, int, bytes]]) -> None:
        """What is encoded has its type and length in front, and decodes to what it was."""
        data = PDataTF.encode(values)
        self.assertEqual(wire("04 00") + (len(data) - 6).to_bytes(4, "big"), data[:6])
        self.assertEqual(values, outcome(pdvs, data[6:]))

    @PROPERTY
    @given(
        st.one_of(st.binary(max_size=40), damaged(strategies.pdv_lists.map(PDataTF.encode).map(lambda pdu: pdu[6:])))
    )
    def test_any_bytes(self, body: bytes) -> None:
        """No bytes make the decoder raise anything but InvalidPDU."""
        outcome(pdvs, body)


def filled(kind: Any, **values: Any) -> Any:
    """One of pynetdicom's objects with these attributes."""
    made = kind()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def context(context_id: int, result: int, *transfer_syntaxes: str) -> Any:
    made = build_context("1.2.840.10008.1.1", list(transfer_syntaxes))
    made.context_id, made.result = context_id, result
    return made


SECOND_OPINIONS: list[tuple[Any, Any]] = [
    (
        AAssociateRQ(
            protocol_version=1,
            called_ae_title="STORESCP",
            calling_ae_title="MODALITY 1",
            reserved=bytes(32),
            application_context_name="1.2.840.10008.3.1.1.1",
            presentation_contexts=(
                PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")),
                PresentationContextRQ(255, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),
            ),
            user_information=UserInformation(
                (
                    MaximumLength(16384),
                    ImplementationClassUID("1.2.3"),
                    AsynchronousOperationsWindow(2, 3),
                    RoleSelection("1.2.840.10008.1.1", 0, 1),
                    ImplementationVersionName("V 1"),
                    SOPClassExtendedNegotiation("1.2.4", b"\x01\x00\x02"),
                    SOPClassCommonExtendedNegotiation("1.2.4", "1.2.5", ("1.2.6", "1.2.7.8")),
                    UserIdentityRQ(2, 1, b"user", b"secret"),
                )
            ),
        ),
        theirs.A_ASSOCIATE_RQ(
            filled(
                primitives.A_ASSOCIATE,
                called_ae_title="STORESCP",
                calling_ae_title="MODALITY 1",
                application_context_name="1.2.840.10008.3.1.1.1",
                presentation_context_definition_list=[
                    context(1, 0, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"),
                    context(255, 0, "1.2.840.10008.1.2"),
                ],
                user_information=[
                    filled(primitives.MaximumLengthNotification, maximum_length_received=16384),
                    filled(primitives.ImplementationClassUIDNotification, implementation_class_uid="1.2.3"),
                    filled(
                        primitives.AsynchronousOperationsWindowNegotiation,
                        maximum_number_operations_invoked=2,
                        maximum_number_operations_performed=3,
                    ),
                    filled(
                        primitives.SCP_SCU_RoleSelectionNegotiation,
                        sop_class_uid="1.2.840.10008.1.1",
                        scu_role=False,
                        scp_role=True,
                    ),
                    filled(primitives.ImplementationVersionNameNotification, implementation_version_name="V 1"),
                    filled(
                        primitives.SOPClassExtendedNegotiation,
                        sop_class_uid="1.2.4",
                        service_class_application_information=b"\x01\x00\x02",
                    ),
                    filled(
                        primitives.SOPClassCommonExtendedNegotiation,
                        sop_class_uid="1.2.4",
                        service_class_uid="1.2.5",
                        related_general_sop_class_identification=["1.2.6", "1.2.7.8"],
                    ),
                    filled(
                        primitives.UserIdentityNegotiation,
                        user_identity_type=2,
                        positive_response_requested=True,
                        primary_field=b"user",
                        secondary_field=b"secret",
                    ),
                ],
            )
        ),
    ),
    (
        AAssociateAC(
            protocol_version=1,
            called_ae_title="STORESCP",
            calling_ae_title="MODALITY 1",
            reserved=bytes(32),
            application_context_name="1.2.840.10008.3.1.1.1",
            presentation_contexts=(
                PresentationContextAC(1, 0, "1.2.840.10008.1.2"),
                PresentationContextAC(255, 0, "1.2.840.10008.1.2"),
            ),
            user_information=UserInformation((MaximumLength(16384), UserIdentityAC(b"token"))),
        ),
        theirs.A_ASSOCIATE_AC(
            filled(
                primitives.A_ASSOCIATE,
                called_ae_title="STORESCP",
                calling_ae_title="MODALITY 1",
                application_context_name="1.2.840.10008.3.1.1.1",
                presentation_context_definition_results_list=[
                    context(1, 0, "1.2.840.10008.1.2"),
                    context(255, 0, "1.2.840.10008.1.2"),
                ],
                user_information=[
                    filled(primitives.MaximumLengthNotification, maximum_length_received=16384),
                    filled(primitives.UserIdentityNegotiation, server_response=b"token"),
                ],
            )
        ),
    ),
    (
        AAssociateRJ(result=2, source=3, reason=1),
        filled(theirs.A_ASSOCIATE_RJ, result=2, source=3, reason_diagnostic=1),
    ),
    (AReleaseRQ(), theirs.A_RELEASE_RQ()),
    (AReleaseRP(), theirs.A_RELEASE_RP()),
    (AAbort(source=2, reason=6), filled(theirs.A_ABORT_RQ, source=2, reason_diagnostic=6)),
]


class WordsTests(SynchronousTestCase):
    """What the standard calls the reasons of a rejection."""

    def test_reasons(self) -> None:
        """The same number has another meaning from another source; one that the standard does not know is a number."""
        words = ["Called AE Title Not Recognized", "Local Limit Exceeded", "Protocol Version Not Supported", "9"]
        answers = [AAssociateRJ(1, 1, 7), AAssociateRJ(2, 3, 2), AAssociateRJ(1, 2, 2), AAssociateRJ(1, 1, 9)]
        self.assertEqual(words, [answer.in_words for answer in answers])


class SecondOpinionTests(SynchronousTestCase):
    """pynetdicom understands us, and we it."""

    PDVS = ((1, 3, b"ab"), (255, 0, b"c"))
    THEIR_PDVS = theirs.P_DATA_TF(
        filled(primitives.P_DATA, presentation_data_value_list=[[1, b"\x03ab"], [255, b"\x00c"]])
    )

    def test_we_decode(self) -> None:
        """PDUs that pynetdicom built decode to what they were built of."""
        decoded = [outcome(ours.decode, their.encode()[6:]) for ours, their in SECOND_OPINIONS]
        self.assertEqual([ours for ours, _ in SECOND_OPINIONS], decoded)
        self.assertEqual(list(self.PDVS), outcome(pdvs, self.THEIR_PDVS.encode()[6:]))

    def test_they_decode(self) -> None:
        """PDUs that we built decode, by pynetdicom, to what it builds of the same values."""
        for ours, their in SECOND_OPINIONS:
            decoded = type(their)()
            decoded.decode(ours.encode())
            self.assertEqual(their, decoded)
        decoded = theirs.P_DATA_TF()
        decoded.decode(PDataTF.encode(self.PDVS))
        self.assertEqual(self.THEIR_PDVS, decoded)
