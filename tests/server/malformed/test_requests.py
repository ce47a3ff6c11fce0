"""What should be an A-ASSOCIATE-RQ: its items, how many there are, and what is none at all."""

from typing import ClassVar

from storescp.uids import IMPLEMENTATION_VERSION_NAME
from tests.server import FIXED, NAME
from tests.server.malformed import CT, MalformedTestCase, Outcome
from tests.ul import wire

VERSION = IMPLEMENTATION_VERSION_NAME.encode()  # changes by release

# An A-ASSOCIATE-RQ that has each item there is; their headers begin the lines.
ITEMS = {
    0x10: wire("10 00 0015", b"1.2.840.10008.3.1.1.1"),
    0x20: wire("20 00 004D", "03 00 00 00"),
    0x30: wire("30 00 0019", CT),
    0x40: wire("40 00 0013", b"1.2.840.10008.1.2.1", "40 00 0011", b"1.2.840.10008.1.2"),
    0x50: wire("50 00 00A4"),
    0x51: wire("51 00 0004", "00004000"),
    0x52: wire("52 00 0005", b"1.2.9"),
    0x53: wire("53 00 0004", "0001 0001"),
    0x54: wire("54 00 001D", "0019", CT, "01 00"),
    0x55: wire("55 00 0004", b"NAME"),
    0x56: wire("56 00 001C", "0019", CT, "01"),
    0x57: wire("57 00 0030", "0019", CT, "0011", b"1.2.840.10008.4.2", "0000"),
    0x58: wire("58 00 000A", "01 00", "0004", b"user", "0000"),
}


def associate_rq(*items: bytes) -> bytes:
    body = FIXED + b"".join(items)
    return wire("01 00", len(body).to_bytes(4, "big"), body)


def associate_ac(*items: bytes, answers: bytes = b"") -> bytes:
    """An A-ASSOCIATE-AC of these presentation contexts; `answers` are the sub-items after our names."""
    names = wire("52 00 002C", b"2.25.167549487932267690351940239577372006664")
    names += wire("55 00", len(VERSION).to_bytes(2, "big"), VERSION)
    user = wire("51 00 0004 00004000", names, answers)
    body = wire(FIXED, NAME, *items, "50 00", len(user).to_bytes(2, "big"), user)
    return wire("02 00", len(body).to_bytes(4, "big"), body)


def context(number: int) -> bytes:
    """A presentation context of CT Image Storage in Explicit VR Little Endian, with this id."""
    return wire("20 00 0038", bytes([number, 0, 0, 0]), ITEMS[0x30], "40 00 0013", b"1.2.840.10008.1.2.1")


def context_ac(number: int) -> bytes:
    """The same, accepted."""
    return wire("21 00 001B", bytes([number, 0, 0, 0]), "40 00 0013", b"1.2.840.10008.1.2.1")


EACH_ITEM = associate_rq(*ITEMS.values())
USER = wire("50 00 0008", "51 00 0004 00004000")
WINDOW = wire("53 00 0004", "0001 0001")
ROLE = wire("54 00 001D", "0019", CT, "01 00")
EXTENDED = wire("56 00 0021", "0019", CT, "020003000000")


def with_length(kind: int, length: int, offset: int = 2) -> bytes:
    """EACH_ITEM, in which the length at this offset of an item is replaced."""
    start = EACH_ITEM.index(ITEMS[kind]) + offset
    return EACH_ITEM[:start] + length.to_bytes(2, "big") + EACH_ITEM[start + 2 :]


class ItemTests(MalformedTestCase):
    """Lengths of items and sub-items: 0, one less, one more, the first that is beyond the end, the largest."""

    # By item: what it claims, and our words.
    CLAIMS: ClassVar[dict[int, dict[int, str]]] = {
        0x10: {
            0: "item 31H claims 12846 bytes of 266",  # "1.2." is taken for an item's header, and so on below
            20: "item 19H claims 11826 bytes of 234",
            22: "item 00H claims 19715 bytes of 244",
            271: "item 10H claims 271 bytes of 270",
            0xFFFF: "item 10H claims 65535 bytes of 270",
        },
        0x20: {
            0: "a presentation context of 0 bytes is too short",
            76: "item 40H claims 17 bytes of 16",
            78: "1 bytes are too few for an item",
            246: "item 20H claims 246 bytes of 245",
            0xFFFF: "item 20H claims 65535 bytes of 245",
        },
        0x30: {
            0: "item 31H claims 12846 bytes of 65",
            24: "item 13H claims 11826 bytes of 37",
            26: "item 00H claims 4913 bytes of 39",
            70: "item 30H claims 70 bytes of 69",
            0xFFFF: "item 30H claims 65535 bytes of 69",
        },
        0x40: {
            0: "item 31H claims 12846 bytes of 36",
            18: "item 11H claims 11826 bytes of 14",
            20: "item 00H claims 4401 bytes of 16",
            41: "item 40H claims 41 bytes of 40",
            0xFFFF: "item 40H claims 65535 bytes of 40",
        },
        0x50: {
            163: "item 58H claims 10 bytes of 9",
            165: "item 50H claims 165 bytes of 164",
            0xFFFF: "item 50H claims 65535 bytes of 164",
        },
        0x51: {
            0: "Maximum Length has 0 bytes, not 4",
            3: "Maximum Length has 3 bytes, not 4",
            5: "Maximum Length has 5 bytes, not 4",
            161: "item 51H claims 161 bytes of 160",
            0xFFFF: "item 51H claims 65535 bytes of 160",
        },
        0x52: {
            0: "item 31H claims 12846 bytes of 148",
            4: "item 04H claims 256 bytes of 140",
            6: "item 00H claims 1024 bytes of 142",
            153: "item 52H claims 153 bytes of 152",
            0xFFFF: "item 52H claims 65535 bytes of 152",
        },
        0x53: {
            0: "Asynchronous Operations Window has 0 bytes, not 4",
            3: "Asynchronous Operations Window has 3 bytes, not 4",
            5: "Asynchronous Operations Window has 5 bytes, not 4",
            144: "item 53H claims 144 bytes of 143",
            0xFFFF: "item 53H claims 65535 bytes of 143",
        },
        0x54: {
            0: "the length of the SOP Class UID of a Role Selection is missing",
            28: "the roles of a Role Selection has 1 bytes, not 2",
            30: "the roles of a Role Selection has 3 bytes, not 2",
            136: "item 54H claims 136 bytes of 135",
            0xFFFF: "item 54H claims 65535 bytes of 135",
        },
        0x55: {
            0: "item 4EH claims 19781 bytes of 98",
            3: "item 1CH claims 6449 bytes of 91",
            5: "item 00H claims 7168 bytes of 93",
            103: "item 55H claims 103 bytes of 102",
            0xFFFF: "item 55H claims 65535 bytes of 102",
        },
        0x56: {
            0: "the length of the SOP Class UID of an Extended Negotiation is missing",
            27: "item 30H claims 6449 bytes of 59",
            29: "item 00H claims 12288 bytes of 61",
            95: "item 56H claims 95 bytes of 94",
            0xFFFF: "item 56H claims 65535 bytes of 94",
        },
        0x57: {
            0: "the length of the SOP Class UID of a Common Extended Negotiation is missing",
            47: "the length of the related classes of a Common Extended Negotiation is missing",
            49: "item 00H claims 2561 bytes of 9",
            63: "item 57H claims 63 bytes of 62",
            0xFFFF: "item 57H claims 65535 bytes of 62",
        },
        0x58: {
            0: "a User Identity of 0 bytes is too short",
            9: "the length of the secondary field of a User Identity is missing",
            11: "item 58H claims 11 bytes of 10",
            0xFFFF: "item 58H claims 65535 bytes of 10",
        },
    }

    # The same of fields inside an item, which begin at these bytes of it.
    FIELDS: ClassVar[dict[tuple[int, int], dict[int, str]]] = {
        (0x54, 4): {
            0: "the roles of a Role Selection has 27 bytes, not 2",
            24: "the roles of a Role Selection has 3 bytes, not 2",
            26: "the roles of a Role Selection has 1 bytes, not 2",
            28: "the SOP Class UID of a Role Selection claims 28 bytes of 27",
            0xFFFF: "the SOP Class UID of a Role Selection claims 65535 bytes of 27",
        },
        (0x56, 4): {
            27: "the SOP Class UID of an Extended Negotiation claims 27 bytes of 26",
            0xFFFF: "the SOP Class UID of an Extended Negotiation claims 65535 bytes of 26",
        },
        (0x57, 4): {
            0: "the Service Class UID of a Common Extended Negotiation claims 12590 bytes of 44",
            24: "the Service Class UID of a Common Extended Negotiation claims 12800 bytes of 20",
            26: "the Service Class UID of a Common Extended Negotiation claims 4401 bytes of 18",
            47: "the SOP Class UID of a Common Extended Negotiation claims 47 bytes of 46",
            0xFFFF: "the SOP Class UID of a Common Extended Negotiation claims 65535 bytes of 46",
        },
        (0x57, 31): {
            0: "the related classes of a Common Extended Negotiation claims 12590 bytes of 17",
            16: "the related classes of a Common Extended Negotiation claims 12800 bytes of 1",
            18: "the length of the related classes of a Common Extended Negotiation is missing",
            20: "the Service Class UID of a Common Extended Negotiation claims 20 bytes of 19",
            0xFFFF: "the Service Class UID of a Common Extended Negotiation claims 65535 bytes of 19",
        },
        (0x57, 50): {
            1: "the related classes of a Common Extended Negotiation claims 1 bytes of 0",
            0xFFFF: "the related classes of a Common Extended Negotiation claims 65535 bytes of 0",
        },
        (0x58, 6): {
            0: "the secondary field of a User Identity claims 30067 bytes of 4",
            3: "the secondary field of a User Identity claims 29184 bytes of 1",
            5: "the length of the secondary field of a User Identity is missing",
            7: "the primary field of a User Identity claims 7 bytes of 6",
            0xFFFF: "the primary field of a User Identity claims 65535 bytes of 6",
        },
        (0x58, 12): {
            1: "the secondary field of a User Identity claims 1 bytes of 0",
            0xFFFF: "the secondary field of a User Identity claims 65535 bytes of 0",
        },
    }

    def test_items(self) -> None:
        """An item that is not as long as it claims is answered with an A-ABORT."""
        for kind, claims in self.CLAIMS.items():
            for length, cause in claims.items():
                self.check_unassociated(with_length(kind, length), cause)

    def test_fields(self) -> None:
        """So is a field inside an item."""
        for (kind, offset), claims in self.FIELDS.items():
            for length, cause in claims.items():
                self.check_unassociated(with_length(kind, length, offset), cause)

    def test_as_they_are(self) -> None:
        """The request that these are made of is a good one."""
        self.check_stored(EACH_ITEM, associate_ac(context_ac(3), answers=WINDOW + ROLE + EXTENDED))

    def test_no_user_information(self) -> None:
        """A User Information of no length says nothing; what should be in it is skipped as unknown items."""
        self.check_stored(with_length(0x50, 0), associate_ac(context_ac(3)))

    def test_extended_negotiation(self) -> None:
        """An extended negotiation whose UID is empty, or one byte off, is that of a class that is not accepted."""
        for length in (0, 24, 26):
            self.check_stored(with_length(0x56, length, 4), associate_ac(context_ac(3), answers=WINDOW + ROLE))

    def test_unknown_items(self) -> None:
        """Items and sub-items of unknown types are skipped: PS3.8 9.3.1."""
        unknown = wire("00 00 0000", "21 00 0001 00", "60 00 0003 616263", "FF FF 0002 5000")
        parts = wire(unknown, ITEMS[0x30], "41 00 0001 00", "40 00 0013", b"1.2.840.10008.1.2.1", unknown)
        item = wire("20 00", (4 + len(parts)).to_bytes(2, "big"), "03 00 00 00", parts)
        subs = wire("00 00 0000", "50 00 0000", "5A 00 0002 0101", "51 00 0004 00004000", "FF FF 0001 51")
        user = wire("50 00", len(subs).to_bytes(2, "big"), subs)
        request = associate_rq(unknown, NAME, unknown, item, unknown, user, unknown)
        self.check_stored(request, associate_ac(context_ac(3)))

    def test_repeated_items(self) -> None:
        """An item that stands once for the whole association, and stands there twice, is unexpected."""
        cause = "an item that stands once is repeated"
        for items in ((NAME, NAME, context(3), USER), (NAME, context(3), USER, USER)):
            self.check_unassociated(associate_rq(*items), cause)

    def test_repeated_sub_items(self) -> None:
        """So is a sub-item that stands once."""
        names = {
            0x51: "MaximumLength",
            0x52: "ImplementationClassUID",
            0x53: "AsynchronousOperationsWindow",
            0x55: "ImplementationVersionName",
            0x58: "UserIdentityRQ",
        }
        for kind, name in names.items():
            twice = ITEMS[kind] * 2
            user = wire("50 00", len(twice).to_bytes(2, "big"), twice)
            self.check_unassociated(associate_rq(NAME, context(3), user), f"{name} stands 2 times")


class ContextTests(MalformedTestCase):
    """Presentation contexts, their syntaxes, user items: which there may be, and how many."""

    def test_ids(self) -> None:
        """An even id, or one that is used twice, is no valid value."""
        for number in (0, 2, 254):
            self.check_unassociated(
                associate_rq(NAME, context(number), USER), f"presentation context id {number} is not odd"
            )
        for ids in ((1, 1), (3, 5, 3), (255, 1, 255)):
            self.check_unassociated(
                associate_rq(NAME, *map(context, ids), USER), "a presentation context id is used twice"
            )

    def test_number(self) -> None:
        """As many contexts as there are ids are accepted; one more is too many."""
        ids = range(1, 256, 2)
        self.check_stored(associate_rq(NAME, *map(context, ids), USER), associate_ac(*map(context_ac, ids)))
        self.check_unassociated(
            associate_rq(NAME, *map(context, ids), context(1), USER),
            "more than 128 presentation contexts in an A-ASSOCIATE (--max-contexts)",
        )

    def test_abstract_syntaxes(self) -> None:
        """A context has one abstract syntax."""
        syntax = wire("40 00 0013", b"1.2.840.10008.1.2.1")
        none = wire("20 00 001B", "03 00 00 00", syntax)
        two = wire("20 00 0055", "03 00 00 00", ITEMS[0x30], ITEMS[0x30], syntax)
        for item, count in ((none, 0), (two, 2)):
            self.check_unassociated(
                associate_rq(NAME, item, USER), f"presentation context 3 has {count} abstract syntaxes, not 1"
            )

    def test_transfer_syntaxes(self) -> None:
        """A context may have 64 transfer syntaxes, and not one more; others beside it count for themselves."""
        syntaxes = wire("40 00 0005", b"1.2.3") * 63 + wire("40 00 0013", b"1.2.840.10008.1.2.1")
        full = wire("20 00 026F", "03 00 00 00", ITEMS[0x30], syntaxes)
        also = wire("20 00 026F", "05 00 00 00", ITEMS[0x30], syntaxes)
        over = wire("20 00 0278", "03 00 00 00", ITEMS[0x30], syntaxes, "40 00 0005", b"1.2.3")
        self.check_stored(associate_rq(NAME, full, also, USER), associate_ac(context_ac(3), context_ac(5)))
        self.check_unassociated(
            associate_rq(NAME, over, USER),
            "more than 64 transfer syntaxes in a presentation context (--max-transfer-syntaxes)",
        )

    def test_no_transfer_syntax(self) -> None:
        """A context without a transfer syntax is rejected, and the others are as good as ever."""
        none = wire("20 00 0021", "01 00 00 00", ITEMS[0x30])
        rejected = wire("21 00 0019", "01 00 04 00", "40 00 0011", b"1.2.840.10008.1.2")
        self.check_stored(associate_rq(NAME, none, context(3), USER), associate_ac(rejected, context_ac(3)))

    def test_user_items(self) -> None:
        """User Information may have 512 items, known and unknown ones, and not one more."""
        limit = wire("51 00 0004 00004000")
        full = wire("50 00 0804", wire("5A 00 0000") * 511, limit)
        over = wire("50 00 0808", wire("5A 00 0000") * 512, limit)
        self.check_stored(associate_rq(NAME, context(3), full), associate_ac(context_ac(3)))
        self.check_unassociated(
            associate_rq(NAME, context(3), over), "more than 512 items in User Information (--max-user-items)"
        )

    def test_request_length(self) -> None:
        """An A-ASSOCIATE-RQ may have 262144 bytes, and is refused for one more before any of them has come."""
        head = wire(NAME, context(3), USER)
        unknown = wire("60 00 FFF0", bytes(0xFFF0)) * 3
        rest = 262144 - 68 - len(head) - len(unknown) - 4
        full = wire(head, unknown, "60 00", rest.to_bytes(2, "big"), bytes(rest))
        self.check_stored(associate_rq(full), associate_ac(context_ac(3)))
        for data in (wire("01 00 00040001"), wire("01 00 FFFFFFFF") + full):
            claimed = int.from_bytes(data[2:6], "big")
            self.check_unassociated(
                data, f"PDU of type 01H claims {claimed} bytes, more than 262144 (--max-associate-rq)"
            )

    def test_options(self) -> None:
        """Each of these limits is as the configuration says."""
        four = associate_rq(NAME, *map(context, (7, 5, 3, 1)), USER)
        self.check_stored(four, associate_ac(*map(context_ac, (7, 5, 3, 1))), max_contexts=4)
        cause = "more than 3 presentation contexts in an A-ASSOCIATE (--max-contexts)"
        self.check_unassociated(four, cause, max_contexts=3)
        syntaxes = wire("20 00 0056", "03 00 00 00", ITEMS[0x30], "40 00 0005", b"1.2.3", ITEMS[0x40])
        three = associate_rq(NAME, syntaxes, USER)
        self.check_stored(three, associate_ac(context_ac(3)), max_transfer_syntaxes=3)
        cause = "more than 2 transfer syntaxes in a presentation context (--max-transfer-syntaxes)"
        self.check_unassociated(three, cause, max_transfer_syntaxes=2)
        answer = associate_ac(context_ac(3), answers=WINDOW + ROLE + EXTENDED)
        self.check_stored(EACH_ITEM, answer, max_user_items=8)
        cause = "more than 7 items in User Information (--max-user-items)"
        self.check_unassociated(EACH_ITEM, cause, max_user_items=7)
        long = associate_rq(NAME, context(3), USER, wire("60 00 0F57", bytes(0x0F57)))
        self.check_stored(long, associate_ac(context_ac(3)), max_associate_rq=4096)
        cause = "PDU of type 01H claims 4097 bytes, more than 4096 (--max-associate-rq)"
        self.check_unassociated(wire("01 00 00001001"), cause, max_associate_rq=4096)


class OtherProtocolTests(MalformedTestCase):
    """What else is sent to an open port."""

    # By what it may be: the type of PDU that it looks like, and what is sent.
    HELLOS: ClassVar[dict[str, tuple[str, bytes]]] = {
        "HTTP": ("47", b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n"),
        "HL7": ("0B", b"\x0bMSH|^~\\&|ADT|H|||20240101||ADT^A01|1|P|2.3\r\x1c\r"),
        "TLS": ("16", wire("16 0301 0200 01 0001FC 0303") + bytes(range(256)) * 2),
    }

    def test_hellos(self) -> None:
        """Each is answered by one A-ABORT, and the line says what it may have been."""
        for name, (pdu_type, hello) in self.HELLOS.items():
            self.check_unassociated(hello * 3, f"PDU type {pdu_type}H is unknown; it may be {name}")

    def test_other_hellos(self) -> None:
        """So are the methods of HTTP, and what is not known at all."""
        for method in (b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PUT", b"DELETE", b"TRACE"):
            other = "HTTP or the PROXY protocol" if method[:1] == b"P" else "HTTP"
            cause = f"PDU type {method[0]:02X}H is unknown; it may be {other}"
            self.check_unassociated(method + b" / HTTP/1.1\r\n\r\n", cause)
        self.check_unassociated(b"SSH-2.0-client\r\n", "PDU type 53H is unknown")
        self.check_unassociated(b"\r\n\r\n\r\n", "PDU type 0DH is unknown")

    def test_incomplete(self) -> None:
        """What is too short for a PDU, or for what it claims, is not answered; when its peer goes, that is said."""
        line = "W: Connection from 192.168.1.1:54321 ended without an association: the connection was lost"
        for data in (b"\r\n", b"GET /", EACH_ITEM[:6], EACH_ITEM[:-1]):
            self.assertEqual(Outcome(b"", [line], {}), self.meet(data))
