"""What comes in an association: presentation data values, command sets, data sets."""

from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    COMMAND,
    DATA,
    ECHO,
    ECHO_RQ,
    ECHOED,
    LAST_COMMAND,
    LAST_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    STORE_COMMAND,
    STORE_RQ,
    abort,
    p_data,
    pdv,
    store_rsp,
)
from tests.server.malformed import CT, DATA_SET, END, HALF, MalformedTestCase, Outcome
from tests.ul import wire


def fragments(context_id: int, command: bytes) -> bytes:
    """A command set in PDUs of some 16000 bytes."""
    pieces = [command[start : start + 16000] for start in range(0, len(command), 16000)]
    last = len(pieces) - 1
    return b"".join(
        p_data(pdv(context_id, LAST_COMMAND if number == last else COMMAND, piece))
        for number, piece in enumerate(pieces)
    )


def aborted(cause: str) -> str:
    """The line of an association that has ended so."""
    return f"E: Association Aborted: {cause} (MODALITY at 192.168.1.1:54321)"


class ValueTests(MalformedTestCase):
    """P-DATA-TF: presentation data values, and what they are put together to."""

    def test_lengths(self) -> None:
        """A PDV that is not as long as it claims is no valid value; what came before it in its PDU is answered."""
        for claim in (0, 1, 3, 4, 0x7FFFFFFF, 0xFFFFFFFF):
            value = claim.to_bytes(4, "big") + b"\3\3"
            line = aborted(f"a PDV claims {claim} bytes of 2")
            self.check(p_data(value), abort(2, 6), line)
            self.check(p_data(pdv(1, LAST_COMMAND, ECHO_RQ), value), ECHOED + abort(2, 6), line)
        self.check(p_data(), abort(2, 6), aborted("a P-DATA-TF without a PDV"))
        for size in range(1, 6):
            line = aborted(f"{size} bytes are too few for a PDV")
            self.check(p_data(bytes(size)), abort(2, 6), line)

    def test_amid_an_instance(self) -> None:
        """Amid an instance the log says both, of the instance and of the association; no file is left."""
        causes = {
            p_data(wire("7FFFFFFF 03 00")): (abort(2, 6), "a PDV claims 2147483647 bytes of 2"),
            p_data(pdv(1, LAST_DATA, DATA_SET)): (ABORT, "a fragment on context 1 in a message on 3"),
            p_data(pdv(7, LAST_DATA, DATA_SET)): (ABORT, "a fragment on context 7 in a message on 3"),
            p_data(pdv(3, LAST_COMMAND, STORE_RQ)): (ABORT, "a command fragment inside a data set"),
        }
        for pdu, (answer, cause) in causes.items():
            lines = (aborted(f"{cause}; 1.2.3 was cut off"),)
            for begun in (STORE_COMMAND, HALF, STORE_COMMAND + p_data(pdv(3, DATA, bytes(16378))) * 20):
                self.check(begun + pdu, answer, *lines)

    def test_length_of_the_pdu(self) -> None:
        """A P-DATA-TF may have the bytes that were announced, and is refused for one more before any has come."""
        fragment = DATA_SET + bytes(16378 - len(DATA_SET))
        self.check_stored(store=STORE_COMMAND + p_data(pdv(3, LAST_DATA, fragment)), data_set=fragment)
        line = aborted("PDU of type 04H claims 16385 bytes, more than 16384 (-pdu/--max-pdu)")
        self.check(wire("04 00 00004001"), abort(2, 6), line)

    def test_contexts(self) -> None:
        """A command on a context that was not proposed, was rejected, or cannot be, is no valid value."""
        for number in (5, 7, 0, 2, 255):
            line = aborted(f"a message on presentation context {number}, which was not accepted")
            self.check(p_data(pdv(number, LAST_COMMAND, ECHO_RQ)) + ECHO, abort(2, 6), line)

    def test_reserved_bits(self) -> None:
        """The six bits of a message control header that say nothing are not tested: PS3.8 E.2."""
        self.check_stored(store=p_data(pdv(3, 0xFF, STORE_RQ), pdv(3, 0xFE, DATA_SET)))

    def test_order(self) -> None:
        """Data before a command, and a command in two contexts, are the user's to refuse."""
        for control in (DATA, LAST_DATA):
            self.check(p_data(pdv(3, control, DATA_SET)), ABORT, aborted("data without a command"))
        self.check(
            p_data(pdv(3, COMMAND, STORE_RQ[:20]), pdv(1, LAST_COMMAND, STORE_RQ[20:])),
            ABORT,
            aborted("a fragment on context 1 in a message on 3"),
        )
        self.check(
            p_data(pdv(3, COMMAND, STORE_RQ[:20]), pdv(3, LAST_DATA, DATA_SET)),
            ABORT,
            aborted("data without a command"),
        )


SOP_CLASS = wire("0000 0200 1A000000", CT, "00")
STORE_FIELD = wire("0000 0001 02000000", "0100")
MESSAGE_ID = wire("0000 1001 02000000", "0900")
PRIORITY = wire("0000 0007 02000000", "0000")
DATA_SET_TYPE = wire("0000 0008 02000000", "0100")
INSTANCE = wire("0000 0010 06000000", b"1.2.3\0")


def with_length(length: int) -> bytes:
    """STORE_RQ with an element that nobody knows, of as many bytes as the whole then has this length."""
    rest = length - len(STORE_RQ) - 8
    return wire(STORE_RQ, "0000 0090", rest.to_bytes(4, "little"), bytes(rest))


class CommandTests(MalformedTestCase):
    """Command sets."""

    def refused(self, field: str, status: str) -> bytes:
        """The answer to a request that is not performed: digits of its Command Field and Status, little-endian."""
        answer = wire(
            *("0000 0000 04000000", "28000000"),
            *("0000 0001 02000000", field, "0000 2001 02000000", "0900"),
            *("0000 0008 02000000", "0101", "0000 0009 02000000", status),
        )
        return p_data(pdv(3, LAST_COMMAND, answer))

    def check_aborted(self, command: bytes, cause: str) -> None:
        """This command cannot be answered."""
        self.check(p_data(pdv(3, LAST_COMMAND, command)) + END, ABORT, aborted(f"{cause}"))

    def check_mistyped(self, command: bytes) -> None:
        """This C-STORE-RQ is answered with 0212H when its data set has come, and the association goes on."""
        self.check(
            p_data(pdv(3, LAST_COMMAND, command)) + END + ECHO + RELEASE_RQ,
            self.refused("0180", "1202") + ECHOED + RELEASE_RP,
            "W: A request of MODALITY at 192.168.1.1:54321 was refused: 0x0212 (Mistyped Argument)",
        )

    def check_lenient(self, command: bytes) -> None:
        """This C-STORE-RQ is good enough."""
        self.check_stored(store=p_data(pdv(3, LAST_COMMAND, command)) + END)

    def test_missing(self) -> None:
        """An element that is missing: abort where nothing can be answered without it, 0212H where it can."""
        for element, number in ((STORE_FIELD, "0100"), (MESSAGE_ID, "0110"), (DATA_SET_TYPE, "0800")):
            self.check_aborted(
                STORE_RQ.replace(element, b""), f"the command element (0000,{number}) is missing or not a US"
            )
        for element in (SOP_CLASS, INSTANCE):
            self.check_mistyped(STORE_RQ.replace(element, b""))
        self.check_aborted(b"", "the command element (0000,0800) is missing or not a US")

    def test_repeated(self) -> None:
        """An element that comes twice makes a command that cannot be read."""
        for element in (SOP_CLASS, STORE_FIELD, MESSAGE_ID, PRIORITY, DATA_SET_TYPE, INSTANCE):
            number, length = int.from_bytes(element[2:4], "little"), element[4]
            cause = f"a command element (0000,{number:04X}) of {length} bytes cannot be here"
            self.check_aborted(STORE_RQ + element, cause)

    def test_mistyped(self) -> None:
        """A number that is not two bytes long: the same as one that is missing."""
        for size in (0, 1, 3, 4):
            wrong = size.to_bytes(4, "little") + bytes([1] * size)
            for element, number in ((STORE_FIELD, "0100"), (MESSAGE_ID, "0110"), (DATA_SET_TYPE, "0800")):
                cause = f"the command element (0000,{number}) is missing or not a US"
                self.check_aborted(STORE_RQ.replace(element, element[:4] + wrong), cause)
            if size:
                self.check_mistyped(STORE_RQ.replace(PRIORITY, PRIORITY[:4] + wrong))

    def test_cut_off(self) -> None:
        """An element that is longer than the command, or of another group, makes a command that cannot be read."""
        causes = {
            STORE_RQ[:-1]: "a command element (0000,1000) of 6 bytes cannot be here",
            STORE_RQ + b"abcdefg": "7 bytes are too few for a command element",
            STORE_RQ + wire("0000 0090 FFFFFFFF"): "a command element (0000,9000) of 4294967295 bytes cannot be here",
            STORE_RQ + DATA_SET: "a command element (0008,0018) of 411989 bytes cannot be here",
            STORE_RQ + wire("0800 1800 00000000"): "a command element (0008,0018) of 0 bytes cannot be here",
        }
        for command, cause in causes.items():
            self.check_aborted(command, cause)

    def test_odd_lengths(self) -> None:
        """A UID without its padding is a UID: the instance is stored."""
        self.check_lenient(STORE_RQ.replace(INSTANCE, wire("0000 0010 05000000", b"1.2.3")))
        self.check_lenient(STORE_RQ.replace(SOP_CLASS, wire("0000 0200 19000000", CT)))
        self.check_lenient(STORE_RQ.replace(INSTANCE, wire("0000 0010 07000000", b"1.2.3\0\0")))

    def test_group_length(self) -> None:
        """A wrong group length, or none, changes nothing: the last fragment has said where the command ends."""
        for value in ("00000000", "57000000", "59000000", "FFFFFFFF"):
            self.check_lenient(wire("0000 0000 04000000", value, STORE_RQ[12:]))
        self.check_lenient(wire("0000 0000 02000000 5800", STORE_RQ[12:]))
        self.check_lenient(STORE_RQ[12:])

    def test_other_elements(self) -> None:
        """Elements that nobody knows, or in another order, change nothing."""
        self.check_lenient(STORE_RQ + wire("0000 FFFF 03000000 616263"))
        self.check_lenient(wire(INSTANCE, DATA_SET_TYPE, PRIORITY, MESSAGE_ID, STORE_FIELD, SOP_CLASS))

    def test_unknown_operations(self) -> None:
        """0211H: an operation that is not ours; a data set of it is skipped, and the association goes on."""
        for field, answer in {"2000": "2080", "4001": "4081", "FF7F": "FFFF", "0000": "0080"}.items():
            command = STORE_RQ.replace(STORE_FIELD, STORE_FIELD[:-2] + wire(field))
            line = "W: A request of MODALITY at 192.168.1.1:54321 was refused: 0x0211 (Unrecognized Operation)"
            pdus = p_data(pdv(3, LAST_COMMAND, command)) + END
            self.check(pdus + ECHO + RELEASE_RQ, self.refused(answer, "1102") + ECHOED + RELEASE_RP, line)

    def test_no_data_set(self) -> None:
        """0212H: a C-STORE that announces no data set; one that comes all the same is data without a command."""
        command = p_data(pdv(3, LAST_COMMAND, STORE_RQ.replace(DATA_SET_TYPE, DATA_SET_TYPE[:-2] + wire("0101"))))
        answer = self.refused("0180", "1202")
        line = "W: A request of MODALITY at 192.168.1.1:54321 was refused: 0x0212 (Mistyped Argument)"
        self.check(command + ECHO + RELEASE_RQ, answer + ECHOED + RELEASE_RP, line)
        self.check(command + END, answer + ABORT, line, aborted("data without a command"))

    def test_length(self) -> None:
        """A command set may have 65536 bytes, in whatever fragments, and not one more."""
        full = with_length(65536)
        line = aborted("a command set of more than 65536 bytes (--max-command-set)")
        self.check_stored(store=fragments(3, full) + END)
        self.check(fragments(3, full + b"a") + END, ABORT, line)
        endless = p_data(pdv(3, COMMAND, bytes(16378)))
        self.check(endless * 8, ABORT, line)
        self.check_stored(store=fragments(3, with_length(4096)) + END, max_command_set=4096)
        line = aborted("a command set of more than 4096 bytes (--max-command-set)")
        self.check(fragments(3, with_length(4097)) + END, ABORT, line, max_command_set=4096)


class DataSetTests(MalformedTestCase):
    """Data sets that are files: C000H, as the file would have two headers."""

    META = wire("0200 0000", b"UL", "0400 1A000000", "0200 1000", b"UI", "1200", b"1.2.840.10008.1.2\0")

    def check_refused(self, data_set: bytes, request: bytes = ASSOCIATE_RQ, answer: bytes = ASSOCIATE_AC) -> None:
        line = (
            "E: Storing 1.2.3 from MODALITY at 192.168.1.1:54321 failed: its data set begins as a file does, "
            "with a header; answered 0xC000 (Cannot Understand)"
        )
        refused = p_data(pdv(3, LAST_COMMAND, store_rsp("00C0")))
        for size in (16000, 1):
            pieces = [pdv(3, DATA, data_set[start : start + size]) for start in range(0, len(data_set), size)]
            session = request + STORE_COMMAND + p_data(*pieces, pdv(3, LAST_DATA, b"")) + ECHO + RELEASE_RQ
            self.assertEqual(Outcome(answer + refused + ECHOED + RELEASE_RP, [line], {}), self.meet(session))

    def test_group_2(self) -> None:
        """A data set that begins with group 0002 is not stored, however it is cut."""
        self.check_refused(self.META + DATA_SET)

    def test_preamble(self) -> None:
        """Nor is one that begins with a preamble."""
        self.check_refused(bytes(128) + b"DICM" + self.META + DATA_SET)

    def test_preamble_of_another_format(self) -> None:
        """Nor is one whose preamble has something in it, as PS3.10 7.1 allows."""
        self.check_refused(b"II*\0" + bytes(124) + b"DICM" + self.META + DATA_SET)

    def test_group_2_in_big_endian(self) -> None:
        """Nor is one that has group 0002 in the order of bytes that was negotiated."""
        syntax = b"1.2.840.10008.1.2.2"
        request = ASSOCIATE_RQ.replace(b"1.2.840.10008.1.2.1", syntax)
        meta = wire("0002 0000", b"UL", "0004 0000001C", "0002 0010", b"UI", "0014", syntax, "00")
        self.check_refused(
            meta + wire("0008 0018", b"UI", "0006", b"1.2.3\0"),
            request,
            ASSOCIATE_AC.replace(b"1.2.840.10008.1.2.1", syntax),
        )
