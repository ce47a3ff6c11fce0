# mypy: allow-untyped-calls
"""Command sets against bytes typed by hand and against pydicom."""

import struct
from io import BytesIO
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from twisted.trial.unittest import SynchronousTestCase

from storescp.dimse.commands import (
    C_CANCEL_RQ,
    RESPONSE,
    CEchoRQ,
    CEchoRSP,
    Command,
    CStoreRQ,
    CStoreRSP,
    OtherRQ,
    OtherRSP,
    read_elements,
    read_us,
)
from storescp.errors import InvalidCommand, InvalidMessage
from tests.strategies import PROPERTY, commands, damaged
from tests.ul import wire

CT = "1.2.840.10008.5.1.4.1.1.2"

C_ECHO_RQ = wire(
    *("0000 0000 04000000", "38000000"),  # Command Group Length: 56
    *("0000 0200 12000000", b"1.2.840.10008.1.1\0"),  # Affected SOP Class UID
    *("0000 0001 02000000", "3000"),  # Command Field
    *("0000 1001 02000000", "0700"),  # Message ID
    *("0000 0008 02000000", "0101"),  # Command Data Set Type: none
)
C_ECHO_RSP = wire(
    *("0000 0000 04000000", "42000000"),  # 66
    *("0000 0200 12000000", b"1.2.840.10008.1.1\0"),
    *("0000 0001 02000000", "3080"),
    *("0000 2001 02000000", "0700"),  # Message ID Being Responded To
    *("0000 0008 02000000", "0101"),
    *("0000 0009 02000000", "0000"),  # Status
)
C_STORE_RQ = wire(
    *("0000 0000 04000000", "76000000"),  # 118
    *("0000 0200 1A000000", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0000 0001 02000000", "0100"),
    *("0000 1001 02000000", "FEFF"),  # Message ID 65534
    *("0000 0007 02000000", "0200"),  # Priority: low
    *("0000 0008 02000000", "0100"),  # Command Data Set Type: there is one
    *("0000 0010 0C000000", b"1.2.3.4.5.6\0"),  # Affected SOP Instance UID
    *("0000 3010 06000000", b"MOVER "),  # Move Originator Application Entity Title
    *("0000 3110 02000000", "0900"),  # Move Originator Message ID
)
C_STORE_RSP = wire(
    *("0000 0000 04000000", "5E000000"),  # 94
    *("0000 0200 1A000000", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0000 0001 02000000", "0180"),
    *("0000 2001 02000000", "FEFF"),
    *("0000 0008 02000000", "0101"),
    *("0000 0009 02000000", "00A7"),  # Status A700
    *("0000 0010 0C000000", b"1.2.3.4.5.6\0"),
)
# The least of a C-STORE-RQ: no group length, no priority, no move originator.
BARE_C_STORE_RQ = wire(
    *("0000 0200 1A000000", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0000 0001 02000000", "0100"),
    *("0000 1001 02000000", "0100"),
    *("0000 0008 02000000", "0000"),
    *("0000 0010 0C000000", b"1.2.3.4.5.6\0"),
)

TYPED: list[tuple[bytes, Command]] = [
    (C_ECHO_RQ, CEchoRQ(affected_sop_class_uid="1.2.840.10008.1.1", message_id=7)),
    (
        C_ECHO_RSP,
        CEchoRSP(affected_sop_class_uid="1.2.840.10008.1.1", message_id_being_responded_to=7, status=0x0000),
    ),
    (
        C_STORE_RQ,
        CStoreRQ(
            affected_sop_class_uid=CT,
            message_id=65534,
            priority=2,
            affected_sop_instance_uid="1.2.3.4.5.6",
            move_originator_ae_title="MOVER",
            move_originator_message_id=9,
        ),
    ),
    (
        C_STORE_RSP,
        CStoreRSP(
            affected_sop_class_uid=CT,
            message_id_being_responded_to=65534,
            status=0xA700,
            affected_sop_instance_uid="1.2.3.4.5.6",
        ),
    ),
    (
        wire(
            *("0000 0000 04000000", "1E000000"),  # 30
            *("0000 0001 02000000", "2000"),  # C-FIND-RQ
            *("0000 1001 02000000", "0300"),
            *("0000 0008 02000000", "0200"),
        ),
        OtherRQ(command_field=0x0020, message_id=3, command_data_set_type=2),
    ),
    (
        wire(
            *("0000 0000 04000000", "28000000"),  # 40
            *("0000 0001 02000000", "2080"),
            *("0000 2001 02000000", "0300"),
            *("0000 0008 02000000", "0101"),
            *("0000 0009 02000000", "1102"),
        ),
        OtherRSP(command_field=0x8020, message_id_being_responded_to=3, status=0x0211),
    ),
]

NAMES = {
    "affected_sop_class_uid": "AffectedSOPClassUID",
    "command_field": "CommandField",
    "message_id": "MessageID",
    "message_id_being_responded_to": "MessageIDBeingRespondedTo",
    "priority": "Priority",
    "command_data_set_type": "CommandDataSetType",
    "status": "Status",
    "affected_sop_instance_uid": "AffectedSOPInstanceUID",
    "move_originator_ae_title": "MoveOriginatorApplicationEntityTitle",
    "move_originator_message_id": "MoveOriginatorMessageID",
}

uint16 = st.integers(0, 0xFFFF)
uids = st.from_regex(r"[1-9][0-9]{0,4}(\.[1-9][0-9]{0,4}){1,9}", fullmatch=True)
titles = st.from_regex(r"[!-\[\]-~]{1,16}", fullmatch=True)
well_formed: st.SearchStrategy[Any] = st.one_of(
    st.builds(CEchoRQ, affected_sop_class_uid=uids, message_id=uint16),
    st.builds(CEchoRSP, affected_sop_class_uid=uids, message_id_being_responded_to=uint16, status=uint16),
    st.builds(
        CStoreRQ,
        affected_sop_class_uid=uids,
        message_id=uint16,
        priority=uint16,
        affected_sop_instance_uid=uids,
        move_originator_ae_title=st.none() | titles,
        move_originator_message_id=st.none() | uint16,
    ),
    st.builds(
        CStoreRSP,
        affected_sop_class_uid=st.none() | uids,
        message_id_being_responded_to=uint16,
        status=uint16,
        affected_sop_instance_uid=st.none() | uids,
    ),
)


def to_dataset(command: Any) -> Dataset:
    """The command set as pydicom has it, without its group length."""
    dataset = Dataset()
    for name, value in attrs.asdict(command).items():
        if value is not None:
            setattr(dataset, NAMES[name], value)
    return dataset


def write(dataset: Dataset) -> bytes:
    """What pydicom writes of a command set, with its group length."""

    def encoded() -> bytes:
        stream = DicomBytesIO()
        stream.is_implicit_VR, stream.is_little_endian = True, True
        write_dataset(stream, dataset)
        return stream.getvalue()

    dataset.CommandGroupLength = len(encoded())
    return encoded()


def read(encoded: bytes) -> Dataset:
    """The command set that pydicom reads, without its group length."""
    dataset = read_dataset(BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)
    del dataset.CommandGroupLength
    return dataset


def elements_of(encoded: bytes) -> dict[int, bytes]:
    return {number: bytes(value) for number, value in read_elements(encoded).items()}


def replaced(encoded: bytes, number: int, value: bytes) -> dict[int, memoryview]:
    return {**read_elements(encoded), number: memoryview(value)}


def without(encoded: bytes, number: int) -> dict[int, memoryview]:
    elements = read_elements(encoded)
    del elements[number]
    return elements


class ElementTests(SynchronousTestCase):
    """Command sets to elements."""

    def test_whole(self) -> None:
        """Every element is found under its number with its value as it stands, padding and all."""
        self.assertEqual(
            {
                0x0000: b"\x38\0\0\0",
                0x0002: b"1.2.840.10008.1.1\0",
                0x0100: b"\x30\0",
                0x0110: b"\7\0",
                0x0800: b"\1\1",
            },
            elements_of(C_ECHO_RQ),
        )

    def test_nothing(self) -> None:
        """An empty command set has no elements."""
        self.assertEqual({}, read_elements(b""))

    def test_values_are_views(self) -> None:
        """Values are views that nobody can write through, of a bytearray too."""
        command = bytearray(C_ECHO_RQ)
        self.assertEqual({True}, {value.readonly for value in read_elements(command).values()})
        self.assertEqual({True}, {value.obj is command for value in read_elements(command).values()})

    def test_truncated(self) -> None:
        """A command set cut off inside an element is no command set; cut off between elements it has the first ones."""
        ends = [0, 12, 46, 56, 66, 76, 86, 106, 120, 130]
        whole = list(elements_of(C_STORE_RQ).items())
        self.assertEqual(len(whole), ends.index(len(C_STORE_RQ)))
        for length in range(len(C_STORE_RQ)):
            if length in ends:
                self.assertEqual(dict(whole[: ends.index(length)]), elements_of(C_STORE_RQ[:length]), str(length))
            else:
                self.assertRaises(InvalidMessage, read_elements, C_STORE_RQ[:length])

    def test_trailing_bytes(self) -> None:
        """What follows the last element and is no element is an error, whatever it is."""
        for size in range(1, 8):
            error = self.assertRaises(InvalidMessage, read_elements, C_ECHO_RQ + bytes(size))
            self.assertEqual(f"{size} bytes are too few for a command element", str(error))

    def test_too_long_an_element(self) -> None:
        """A length that leads beyond the end is an error, the undefined length of PS3.5 too."""
        for length, said in (("03000000", "3"), ("FFFFFFFF", "4294967295")):
            error = self.assertRaises(InvalidMessage, read_elements, wire("0000 1001", length, "0700"))
            self.assertEqual(f"a command element (0000,0110) of {said} bytes cannot be here", str(error))

    def test_repeated_element(self) -> None:
        """An element that stands twice is an error, side by side or apart, the same value or another."""
        message_id = C_ECHO_RQ[48:58]
        self.assertEqual(wire("0000 1001 02000000 0700"), message_id)
        for command in (
            C_ECHO_RQ + message_id,
            C_ECHO_RQ[:58] + message_id + C_ECHO_RQ[58:],
            C_ECHO_RQ + C_ECHO_RQ[:12],
        ):
            self.assertRaises(InvalidMessage, read_elements, command)

    def test_other_groups(self) -> None:
        """Nothing but group 0000 is a command element."""
        for group in ("0100", "0200", "0800", "FEFF", "FFFF"):
            self.assertRaises(InvalidMessage, read_elements, C_ECHO_RQ + wire(group, "1000 02000000 0000"))

    def test_wrong_group_length(self) -> None:
        """The group length is not looked at: some devices count wrongly, or leave it out."""
        rest = C_ECHO_RQ[12:]
        for start in ("04000000 00000000", "04000000 FFFFFFFF", "04000000 37000000", "02000000 3800", "00000000"):
            command = wire("0000 0000", start) + rest
            self.assertEqual(TYPED[0][1], CEchoRQ.decode(read_elements(command)), start)
        self.assertEqual(TYPED[0][1], CEchoRQ.decode(read_elements(rest)))

    def test_order(self) -> None:
        """Elements in another order than that of their tags are read."""
        self.assertEqual(elements_of(C_ECHO_RQ), elements_of(C_ECHO_RQ[38:] + C_ECHO_RQ[:38]))

    @PROPERTY
    @given(damaged(commands.map(lambda command: command.encode())))
    def test_damaged(self, command: bytes) -> None:
        """Damaged command sets are read, or refused as what they are, and make no other error."""
        try:
            elements = read_elements(command)
            for kind in (CEchoRQ, CEchoRSP, CStoreRQ, CStoreRSP, OtherRQ, OtherRSP):
                try:
                    kind.decode(elements)
                except InvalidCommand as error:
                    self.assertEqual(0x0212, error.status)
        except InvalidMessage:
            pass


class RequiredUSTests(SynchronousTestCase):
    """Elements without which not even a refusal can be written."""

    def test_value(self) -> None:
        """The number of a US is little endian."""
        self.assertEqual(65534, read_us(read_elements(C_STORE_RQ), 0x0110))

    def test_missing(self) -> None:
        """An element that is missing makes the message unusable."""
        error = self.assertRaises(InvalidMessage, read_us, read_elements(C_STORE_RQ), 0x0120)
        self.assertEqual("the command element (0000,0120) is missing or not a US", str(error))

    def test_mistyped(self) -> None:
        """A value of any other size than two bytes makes the message unusable."""
        for value in (b"", b"\1", b"\1\0\0", b"\1\0\0\0"):
            elements = replaced(C_STORE_RQ, 0x0110, value)
            error = self.assertRaises(InvalidMessage, read_us, elements, 0x0110)
            self.assertEqual("the command element (0000,0110) is missing or not a US", str(error))


class CommandTests(SynchronousTestCase):
    """The command sets of PS3.7 9.3."""

    def test_decode(self) -> None:
        """Each command set that was typed by hand is read as what it says."""
        for encoded, command in TYPED:
            self.assertEqual(command, type(command).decode(read_elements(encoded)))

    def test_encode(self) -> None:
        """Each command set is written as it was typed by hand: ascending tags, even lengths, right group length."""
        for encoded, command in TYPED:
            self.assertEqual(encoded, command.encode(), repr(command))

    def test_fields_of_a_store_request(self) -> None:
        """Of a C-STORE-RQ every element is there, as a number or as text without its padding."""
        self.assertEqual(
            {
                "affected_sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                "command_field": 0x0001,
                "message_id": 65534,
                "priority": 2,
                "command_data_set_type": 0x0001,
                "affected_sop_instance_uid": "1.2.3.4.5.6",
                "move_originator_ae_title": "MOVER",
                "move_originator_message_id": 9,
            },
            attrs.asdict(CStoreRQ.decode(read_elements(C_STORE_RQ))),
        )

    def test_least_store_request(self) -> None:
        """A C-STORE-RQ without the elements that need not be there has medium priority and no move originator."""
        self.assertEqual(
            CStoreRQ(
                affected_sop_class_uid=CT,
                message_id=1,
                priority=0,
                command_data_set_type=0,
                affected_sop_instance_uid="1.2.3.4.5.6",
                move_originator_ae_title=None,
                move_originator_message_id=None,
            ),
            CStoreRQ.decode(read_elements(BARE_C_STORE_RQ)),
        )

    def test_optional_elements_left_out(self) -> None:
        """Responses without UIDs are written without them."""
        expected = wire(
            *("0000 0000 04000000", "28000000"),
            *("0000 0001 02000000", "0180"),
            *("0000 2001 02000000", "0500"),
            *("0000 0008 02000000", "0101"),
            *("0000 0009 02000000", "00C0"),
        )
        self.assertEqual(expected, CStoreRSP(message_id_being_responded_to=5, status=0xC000).encode())
        self.assertEqual(
            CStoreRSP(message_id_being_responded_to=5, status=0xC000), CStoreRSP.decode(read_elements(expected))
        )

    def test_even_lengths(self) -> None:
        """Text of an even length, none too, is written without padding; of an odd length with one NUL or space."""
        for uid, title, encoded_uid, encoded_title in (
            ("1.23", "AB", "0000 0010 04000000 312E3233", "0000 3010 02000000 4142"),
            ("1.2", "A", "0000 0010 04000000 312E3200", "0000 3010 02000000 4120"),
            ("", "", "0000 0010 00000000", "0000 3010 00000000"),
        ):
            request = CStoreRQ(
                affected_sop_class_uid="1.23",
                message_id=1,
                affected_sop_instance_uid=uid,
                move_originator_ae_title=title,
            )
            self.assertEqual(wire(encoded_uid, encoded_title), request.encode()[64:], repr(uid))

    def test_command_fields(self) -> None:
        """The numbers of PS3.7 Table E.1-1 that tell a response from a request, and a cancellation from all others."""
        self.assertEqual((0x8000, 0x0FFF), (RESPONSE, C_CANCEL_RQ))
        self.assertEqual([0x0030, 0x8030, 0x0001, 0x8001], [command.command_field for _, command in TYPED[:4]])

    def test_command_field_is_the_class(self) -> None:
        """The command field of a message is that of its class: what class it is was decided before."""
        self.assertEqual(TYPED[0][1], CEchoRQ.decode(replaced(C_ECHO_RQ, 0x0100, b"\1\0")))

    def test_missing_elements(self) -> None:
        """A request that lacks what it must have is answered 0212, mistyped argument."""
        required: list[tuple[bytes, type[Command], tuple[int, ...]]] = [
            (C_ECHO_RQ, CEchoRQ, (0x0002, 0x0110)),
            (C_ECHO_RSP, CEchoRSP, (0x0120, 0x0900)),
            (C_STORE_RQ, CStoreRQ, (0x0002, 0x0110, 0x1000)),
            (C_STORE_RSP, CStoreRSP, (0x0120, 0x0900)),
            (TYPED[4][0], OtherRQ, (0x0100,)),
            (TYPED[5][0], OtherRSP, (0x0100, 0x0120, 0x0900)),
        ]
        for encoded, kind, numbers in required:
            for number in numbers:
                error = self.assertRaises(InvalidCommand, kind.decode, without(encoded, number))
                self.assertEqual((f"(0000,{number:04X}) is missing", 0x0212), (str(error), error.status))
            for number in set(read_elements(encoded)).difference(numbers):
                kind.decode(without(encoded, number))

    def test_empty_optional_elements(self) -> None:
        """An optional element without a value is as good as none: some devices write them so."""
        for number, name, absent in ((0x0700, "priority", 0), (0x1030, "move_originator_ae_title", None)):
            decoded = CStoreRQ.decode(replaced(C_STORE_RQ, number, b""))
            self.assertEqual(absent, getattr(decoded, name))

    def test_request_without_message_id(self) -> None:
        """A request of another operation may lack its message id: C-CANCEL has none."""
        expected = OtherRQ(command_field=0x0020, message_id=None, command_data_set_type=2)
        self.assertEqual(expected, OtherRQ.decode(without(TYPED[4][0], 0x0110)))

    def test_mistyped_elements(self) -> None:
        """A number of any other size than two bytes is answered 0212, mistyped argument."""
        for number in (0x0110, 0x0700, 0x0800, 0x1031):
            for value in (b"\1", b"\1\0\0", b"\1\0\0\0"):
                error = self.assertRaises(InvalidCommand, CStoreRQ.decode, replaced(C_STORE_RQ, number, value))
                self.assertEqual((f"(0000,{number:04X}) is not a US", 0x0212), (str(error), error.status))

    def test_empty_number(self) -> None:
        """A number that must be there and is empty is answered 0212, mistyped argument."""
        error = self.assertRaises(InvalidCommand, CStoreRQ.decode, replaced(C_STORE_RQ, 0x0110, b""))
        self.assertEqual(("(0000,0110) is not a US", 0x0212), (str(error), error.status))

    def test_padding(self) -> None:
        """A UID is read without NULs and spaces at its end, of odd length too; what stands before them is kept."""
        for value, uid in (
            (b"1.2.3", "1.2.3"),
            (b"1.2.3\0", "1.2.3"),
            (b"1.2.3 ", "1.2.3"),
            (b"1.2.3 \0 \0", "1.2.3"),
            (b"\0 1.2.3\0", "\0 1.2.3"),
            (b"1.2\0.3\0", "1.2\0.3"),
            (b"\xe9../\n", "\xe9../\n"),
            (b"\0\0", ""),
            (b"", ""),
        ):
            command = CStoreRQ.decode(replaced(C_STORE_RQ, 0x1000, value))
            self.assertEqual(uid, command.affected_sop_instance_uid, repr(value))

    def test_title_of_a_move_originator(self) -> None:
        """A title is read without the padding at its end."""
        command = CStoreRQ.decode(replaced(C_STORE_RQ, 0x1030, b"MOVE SCU        "))
        self.assertEqual("MOVE SCU", command.move_originator_ae_title)

    def test_unknown_elements(self) -> None:
        """Elements that a message does not have are skipped: retired ones, those of others."""
        extra = wire("0000 1051 04000000 01020304", "0000 0209 04000000", b"text", "0000 0109 00000000")
        self.assertEqual(TYPED[2][1], CStoreRQ.decode(read_elements(C_STORE_RQ + extra)))

    def test_data_set_type(self) -> None:
        """Any Command Data Set Type but 0101 says that a data set follows."""
        expected = {0x0101: False, 0x0000: True, 0x0001: True, 0x0100: True, 0x0102: True, 0xFFFF: True}
        requests = [OtherRQ(command_field=0x0001, command_data_set_type=value) for value in expected]
        self.assertEqual(expected, {request.command_data_set_type: request.has_data_set for request in requests})

    def test_defaults_of_the_data_set_type(self) -> None:
        """Of our messages only a C-STORE-RQ has a data set."""
        self.assertEqual([False, False, True, False], [command.has_data_set for _, command in TYPED[:4]])

    def test_values_that_do_not_fit(self) -> None:
        """What no element can hold is an error of the caller."""
        for message_id in (-1, 65536):
            self.assertRaises(struct.error, CEchoRQ(affected_sop_class_uid="1.2", message_id=message_id).encode)
        self.assertRaises(ValueError, CEchoRQ(affected_sop_class_uid="1.2.\u0663", message_id=1).encode)

    @PROPERTY
    @given(commands)
    def test_round_trip(self, command: Any) -> None:
        """What is written is read as it was."""
        self.assertEqual(command, type(command).decode(read_elements(command.encode())))

    @PROPERTY
    @given(well_formed)
    def test_pydicom_reads_ours(self, command: Any) -> None:
        """pydicom reads in our command sets what we wrote."""
        self.assertEqual(to_dataset(command), read(command.encode()))

    @PROPERTY
    @given(well_formed)
    def test_pydicom_writes_the_same(self, command: Any) -> None:
        """pydicom writes the same bytes, and we read in them what it wrote."""
        self.assertEqual(write(to_dataset(command)), command.encode())
        self.assertEqual(command, type(command).decode(read_elements(write(to_dataset(command)))))
