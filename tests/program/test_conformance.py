# mypy: allow-untyped-calls
"""--conformance: a statement in the form of PS3.2, which says what a server of these options does."""

import errno
import hashlib
import os
import re
import struct
from collections.abc import Callable, Iterator
from itertools import compress, product
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import attrs
import trustme
import twisted.internet
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.dimse.commands import Command, CStoreRQ, Elements, OtherRQ, read_elements
from storescp.errors import Status
from storescp.program import gate
from storescp.program.conformance import statement
from storescp.program.service import Given, assemble
from storescp.server.factory import StorageSCPFactory
from storescp.server.tls import TLS
from storescp.server.users import users_line
from storescp.storage import directory
from storescp.storage.directory import DirectoryStorage
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce, Workers
from storescp.testing import SCU, AAbort, UserIdentityRQ, associate_rq
from storescp.ul.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    PresentationContextRQ,
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityAC,
    UserItem,
)
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAssociateAC, AAssociateRJ, AAssociateRQ
from tests.program import make_directory
from tests.program.test_check import NEGOTIATED, HereTestCase
from tests.program.test_gate import not_installed
from tests.program.test_options import FLAGS, VALUES, ExitCodeTestCase, script
from tests.program.test_service import Reactor
from tests.server import Peer
from tests.server.test_tokens import ED25519, public_pem, token
from tests.servers import LOOPBACK, SCRIPT, TWISTD, ServerTestCase
from tests.storage.disks import DATA_SET, OTHER, WRONG, ByHand, FaultyDisk, temporary, visible

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = "1.2.840.113619.4.27"
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


@attrs.frozen
class Told:
    """A statement, by the numbers of its sections."""

    text: str

    @classmethod
    def of(cls, config: Config) -> "Told":
        return cls(statement(config))

    _NUMBERED = re.compile(r"(?m)^((\d+(?:\.\d+)*) \S.*)\n(?:([=~^.-])\3+$|(?=   \S))")

    def section(self, number: str) -> str:
        """What stands below its title, up to the next one."""
        found = list(self._NUMBERED.finditer(self.text))
        ends = [match.start() for match in found[1:]] + [len(self.text)]
        (text,) = (self.text[match.end() : end] for match, end in zip(found, ends, strict=True) if match[2] == number)
        return text

    def words(self, number: str) -> str:
        """Its prose, on one line, without the table."""
        return " ".join(re.sub(r"(?ms)^=+(  =+)+$.*^=+(  =+)+$", "", self.section(number)).split())

    def rows(self, number: str) -> list[list[str]]:
        """The cells of its table, each on one line, without the header."""
        lines = self.section(number).splitlines()
        first, second, last = (place for place, line in enumerate(lines) if re.fullmatch("=+(  =+)+", line))
        starts = [match.start() for match in re.finditer("=+", lines[first])]
        rows: list[list[str]] = []
        for line in lines[second + 1 : last]:
            ends: list[int | None] = [*starts[1:], None]
            cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
            if cells[0]:
                rows.append(cells)
            else:
                rows[-1] = [" ".join(filter(None, both)) for both in zip(rows[-1], cells, strict=True)]
        return rows


class ServingTestCase(SynchronousTestCase):
    """A server in memory as the programs make it, and what is told of it."""

    def file(self, name: str, content: str) -> str:
        path = Path(make_directory(self), name)
        path.write_text(content, encoding="utf-8")
        return str(path)

    def start(self, *, workers: Workers | None = None, **options: Any) -> Told:
        """Listen with these options until the end of the test; store in a new directory."""
        config = Config(port=11112, **options)
        self.disk, self.path, storage = FaultyDisk(), Path(make_directory(self)), None
        if not config.ignore:
            rules = Rules(durability=config.durability, on_duplicate=config.on_duplicate, min_free=config.min_free)
            storage = DirectoryStorage(str(self.path), workers or AtOnce(), rules, disk=self.disk)
        self.reactor = Reactor()
        service = assemble(config, self.reactor, Given(storage=storage, workers=AtOnce()))
        service.privilegedStartService()
        self.addCleanup(service.stopService)
        self.factory: StorageSCPFactory = self.reactor.listening[0].factory
        return Told.of(config)

    def scu(self, request: AAssociateRQ | None = None) -> SCU:
        scu = SCU(self.factory, self.reactor, request)
        self.addCleanup(scu.disconnect)
        return scu

    def answered(self, request: AAssociateRQ | None = None) -> AAssociateAC:
        """The acceptance of a request, whose association is not kept."""
        scu = self.scu(request)
        assert isinstance(scu.answer, AAssociateAC), scu.answer
        scu.disconnect()
        return scu.answer

    def items(self, *proposed: UserItem) -> tuple[UserItem, ...]:
        """The User Information of the answer to these."""
        return self.answered(associate_rq(user_items=proposed)).user_information.items


class NegotiationTests(HereTestCase):
    """SOP Classes and transfer syntaxes are those of --check, whose tests propose them."""

    def test_each(self) -> None:
        """With each option they are the same, in the same order, under the same names."""
        for options in NEGOTIATED:
            told, checked = Told.of(script("0", *options)), self.told(LOOPBACK, *options)
            head, *sop_classes = checked.sop_classes
            others = sop_classes[len(told.rows("4.2.1.1")) :]
            self.assertIn(others, [[], ["  and any that PS3.6 does not know"]])
            self.assert_others(told, bool(others), int(head.split()[-1][:-1]))
            for number, rows in (
                ("4.2.1.4.1.2", checked.transfer_syntaxes[1:]),
                ("4.2.1.1", [row for row in sop_classes if row not in others]),
            ):
                self.assertEqual(rows, [f"  {name:<76} {uid}" for name, uid, *_ in told.rows(number)])
            self.assertEqual({("No", "Yes")}, {tuple(row[2:]) for row in told.rows("4.2.1.1")})

    def assert_others(self, told: Told, accepted: bool, known: int) -> None:
        """What is told of SOP Classes that the standard does not have, and how many it has."""
        others = ", and any that PS3.6 does not have" if accepted else ""
        stored = ["Storage, and Non-Patient Object Storage", f"{known - 1} SOP Classes{others}", "No", "Yes"]
        self.assertEqual([["Verification", "1 SOP Class", "No", "Yes"], stored], told.rows("1"))
        in_full = f"{others} (8.5)" if accepted else ""
        self.assertEqual(f"It provides Standard Conformance to these SOP Classes{in_full}:", told.words("4.2.1.1"))
        uids = "whose UIDs PS3.6 does not have, are, too" if accepted else "with UIDs of their own, are not"
        self.assertEqual(
            "Standard Extended ones, which have the UID of their Standard SOP Class, are accepted as that. "
            f"Specialized and Private ones, {uids} (``--accept-unknown-sop-classes``).",
            told.words("8.5"),
        )


class AnswerTests(ServingTestCase):
    """4.2.1.2 and 4.2.1.4.1.2: what of a request is accepted, and what is answered."""

    def test_contexts(self) -> None:
        """Another SOP Class is answered with 3, other transfer syntaxes with 4, a role that is not ours with 1."""
        words = self.start().words("4.2.1.4.1.2")
        self.assertIn("A context of another SOP Class is answered with result 3 of PS3.8 Table 9-18", words)
        self.assertIn("one with none of these transfer syntaxes with 4.", words)
        self.assertIn("where the requestor will not be SCU, the context is answered with 1.", words)
        self.assertIn(": uncompressed ones come first, then what loses nothing. ", words)
        contexts = [
            PresentationContextRQ(1, PRIVATE, (IMPLICIT,)),
            PresentationContextRQ(3, "1.2.840.10008.5.1.4.1.2.1.1", (IMPLICIT,)),  # Patient Root FIND
            PresentationContextRQ(5, CT, (JPEG,)),
            PresentationContextRQ(7, MR, (IMPLICIT,)),
            PresentationContextRQ(9, CT, (JPEG, IMPLICIT)),
        ]
        answer = self.answered(associate_rq(contexts, [RoleSelection(MR, 0, 1), RoleSelection(CT, 1, 1)]))
        self.assertEqual([3, 3, 4, 1, 0], [context.result for context in answer.presentation_contexts])

    def test_items(self) -> None:
        """The role of an SCP gets 0; storage has level 2, 3 for digital signatures, no coercion: PS3.4 Table B.3-1."""
        words = self.start().words("4.2.1.4.1.2")
        self.assertIn("SCP/SCU Role Selection gets 0 for the role of an SCP;", words)
        extended = "SOP Class Extended Negotiation of a Storage SOP Class gets level of support 2, digital signature"
        others = "and no element coercion. Common Extended Negotiation has no answer."
        self.assertTrue(words.endswith(f" {extended} support 3, {others}"), words)
        items = self.items(
            RoleSelection(CT, 1, 1),
            SOPClassExtendedNegotiation(CT, bytes(6)),
            SOPClassExtendedNegotiation(VERIFICATION, b"\1"),
            SOPClassCommonExtendedNegotiation(CT, "1.2.840.10008.4.2"),
        )
        storage = SOPClassExtendedNegotiation(CT, bytes([2, 0, 3, 0, 0, 0]))
        self.assertEqual((RoleSelection(CT, 1, 0), storage), items[3:])

    def test_general(self) -> None:
        """Application context, maximum length, and what the implementation is called, are those of the answer."""
        told, answer = self.start(max_pdu=4096), self.answered()
        context, maximum = re.findall(
            r"Name ([\d.]+)\. Maximum Length Received (\d+) bytes\.$", told.words("4.2.1.2.1")
        )[0]
        uid, name = re.findall(
            r"^Implementation Class UID ([\d.]+), Implementation Version Name (\S+)\.$", told.words("4.2.1.2.4")
        )[0]
        self.assertEqual((context, "4096"), (answer.application_context_name, maximum))
        self.assertEqual(
            (MaximumLength(4096), ImplementationClassUID(uid), ImplementationVersionName(name)),
            answer.user_information.items,
        )

    def test_window(self) -> None:
        """The window is that of the answer to who proposes one."""
        told = self.start().words("4.2.1.2.3")
        self.assertIn(" They are answered as they end, in any order. It invokes none.", told)
        most = int(re.findall(r"^As many .* proposes, (\d+) at most; one, where none is proposed\. ", told)[0])
        for proposed, performed in ((1, 1), (5, 5), (most, most), (most + 1, most), (0xFFFF, most), (0, most)):
            window = AsynchronousOperationsWindow(proposed, 7)
            self.assertEqual(AsynchronousOperationsWindow(performed, 1), self.items(window)[3])
        self.assertEqual(3, len(self.items()))

    def test_number(self) -> None:
        """So many associations are accepted, of all and of one host, for which an entry of the list may say another."""
        allow = self.file("allow", "TESTSCU max-associations=2\n*\n")
        entry = ", or of an entry of the list what that says"
        expected: list[tuple[str, int, dict[str, Any]]] = [
            ("3 at a time, and 64 of one host", 3, {"max_associations": 3}),
            ("256 at a time, and 2 of one host", 2, {"max_associations_per_peer": 2}),
            (f"256 at a time, and 1 of one host{entry}", 2, {"max_associations_per_peer": 1, "allow_file": allow}),
        ]
        for words, most, options in expected:
            told = self.start(**options).words("4.2.1.2.2")
            self.assertTrue(told.startswith(f"At most {words}. Fewer, where "), told)
            self.assertEqual([True] * most + [False], [self.scu().accepted for _ in range(most + 1)])
        self.assertEqual([True, False], [self.scu(associate_rq(calling="OTHER")).accepted for _ in range(2)])


BY_USER, BY_ACSE = "permanent, by the service user", "permanent, by the service provider (ACSE)"
FOR_NOW = "transient, by the service provider (presentation)"
REJECTIONS = [
    ["1, 2, 2", f"{BY_ACSE}: Protocol Version Not Supported", "bit 0 of the protocol version is not set"],
    ["1, 1, 2", f"{BY_USER}: Application Context Name Not Supported", "another application context is asked for"],
    ["1, 1, 7", f"{BY_USER}: Called AE Title Not Recognized", "another AE title is called"],
    ["1, 1, 1", f"{BY_USER}: No Reason Given", "the maximum length is from 1 to 7: no answer would have room"],
    [
        *("1, 1, 3", f"{BY_USER}: Calling AE Title Not Recognized"),
        "the calling AE title, its network or its certificate is not in the list",
    ],
    ["1, 2, 1", f"{BY_ACSE}: No Reason Given", "the user is not verified, or not within 10 s"],
    ["2, 3, 2", f"{FOR_NOW}: Local Limit Exceeded", "there are as many associations as there may be"],
    [
        *("2, 3, 1", f"{FOR_NOW}: Temporary Congestion"),
        "the disk has failed three times in a row, and does not work yet",
    ],
]
# What of a visit is rejected with these numbers: what is wrong, and what has to be there instead.
FAULTS: dict[str, tuple[str, Any, Any]] = {
    "1, 2, 2": ("protocol version", 2, 1),
    "1, 1, 2": ("application context", "1.2.840.10008.3.1.1.2", "1.2.840.10008.3.1.1.1"),
    "1, 1, 7": ("called", "PACS", "ARCHIVE"),
    "1, 1, 1": ("maximum length", 7, 8),
    "1, 1, 3": ("calling", "MR1", "CT1"),
    "1, 2, 1": ("user", b"bert", b"anna"),
    "2, 3, 2": ("others", 1, 0),
    "2, 3, 1": ("failures of the disk", 3, 0),
}
FAULTY = {what: value for what, value, _ in FAULTS.values()}
GOOD = {what: value for what, _, value in FAULTS.values()}


def visit(values: dict[str, Any]) -> AAssociateRQ:
    """The request of one with these values."""
    items: list[UserItem] = [MaximumLength(values["maximum length"]), UserIdentityRQ(1, 0, values["user"])]
    request = associate_rq(user_items=items, called=values["called"], calling=values["calling"])
    return attrs.evolve(
        request, protocol_version=values["protocol version"], application_context_name=values["application context"]
    )


class RejectionTests(ServingTestCase):
    """4.2.1.4.1.1: how an association is rejected, and by what."""

    def configured(self) -> Iterator[tuple[list[str], dict[str, Any]]]:
        """The rows that there should be, for each choice of what has one only with an option, and the options."""
        with_option: dict[str, dict[str, Any]] = {
            "1, 1, 7": {"require_called_aet": True, "ae_title": "ARCHIVE"},
            "1, 1, 3": {"allow": ["CT1"]},
            "1, 2, 1": {"users": self.file("users", "anna:no-passcode\n")},
            "2, 3, 1": {"ignore": False},
        }
        for chosen in product((False, True), repeat=len(with_option)):
            asked = list(compress(with_option, chosen))
            options = {"ignore": True}
            for each in asked:
                options |= with_option[each]
            yield [each for each in FAULTS if each in asked or each not in with_option], options

    def test_each(self) -> None:
        """Each row is what its fault gets, in this order, and what has no row keeps nobody out."""
        for expected, options in self.configured():
            told = self.start(max_associations=1, **options)
            self.assertEqual([row for row in REJECTIONS if row[0] in expected], told.rows("4.2.1.4.1.1"))
            self.assertEqual(expected, self.rejected(), options)

    def rejected(self) -> list[str]:
        """The numbers that one gets who begins with every fault, and mends each that he is rejected for."""
        other = self.scu(visit(GOOD))
        self.disk.arm(1, errno.EIO, for_ever=True)
        for number in range(FAULTY["failures of the disk"]):
            other.store(f"1.2.{number}", DATA_SET)
        values, found = dict(FAULTY), []
        while isinstance(answer := self.scu(visit(values)).answer, AAssociateRJ):
            found.append(f"{answer.result}, {answer.source}, {answer.reason}")
            what, _, good = FAULTS[found[-1]]
            self.assertNotEqual(good, values[what], found)
            values[what] = good
            if what == "others":
                other.disconnect()
            elif what == "failures of the disk":
                self.disk.disarm()
        self.assertIsInstance(answer, AAssociateAC)
        return found

    def test_conditions(self) -> None:
        """A network or a user beside the title in a list counts as is told."""
        allow = self.file("allow", "CT1 network=10.1.2.0/24\nCT2 user=bert\n")
        told = self.start(users=self.file("users", "anna:no-passcode\n"), allow_file=allow).rows("4.2.1.4.1.1")
        self.assertIn([*REJECTIONS[5][:2], f"{REJECTIONS[5][2]}, or not in the list"], told)
        answers = [self.scu(visit({**GOOD, "calling": calling})).answer for calling in ("CT1", "CT2")]
        self.assertEqual([AAssociateRJ(1, 1, 3), AAssociateRJ(1, 2, 1)], answers)

    def test_asked(self) -> None:
        """Before them stands what is asked of a remote AE; a certificate is where TLS of ours is spoken."""
        tls = {"tls_cert": "cert.pem", "tls_ca": "ca.pem"}
        title, certificate = "the calling AE title and what a list says beside it", "a certificate"
        over_tls, identity = " on the endpoints that begin with ``tls:``", "a user identity that can be verified"
        expected: list[tuple[str, dict[str, Any]]] = [
            ("nothing", {"insecure_identity": True}),
            (title, {"allow": ["*"]}),
            (certificate, tls),
            (certificate, {**tls, "port": 2762}),
            (f"{certificate}{over_tls}", {**tls, "listen": ["tls:tcp:2762", "tcp:104"]}),
            (identity, {"jwt_key": "jwt.pem"}),
            (f"{identity}, or none", {"users": "users", "auth": ["anonymous"]}),
            (f"{title}; {certificate}; {identity}", {**tls, "allow_file": "allow", "auth": ["memory:a:b"]}),
        ]
        for asked, options in expected:
            self.assertIn(f"Of the remote AE is asked: {asked}. An", Told.of(Config(**options)).words("4.2.1.4.1.1"))
        for required, called in ((False, "need not be called"), (True, "has to be called")):
            words = Told.of(Config(require_called_aet=required)).words("4.2.1.4.1.1")
            self.assertTrue(words.startswith(f"The AE title of 4.4.1 {called}. "), words)


# Of PS3.7 Annex C and PS3.4 Table B.2-1.
STATUS_WORDS = {
    0x0000: "Success",
    0x0110: "Processing Failure",
    0x0111: "Duplicate SOP Instance",
    0x0122: "SOP Class Not Supported",
    0x0212: "Mistyped Argument",
    0xA700: "Out of Resources",
    0xA900: "Data Set Does Not Match SOP Class",
    0xC000: "Cannot Understand",
}
NO_ROOM = "there is no room: the disk is full, a quota is used up, no file may be so large, or too many are open"
ERRORS = {
    0xA700: (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE),
    0x0110: (errno.EIO, errno.EROFS, errno.ESTALE, errno.EACCES),
}
AS_FILE = bytes(128) + b"DICM\2\0"
MOST = 1000  # bytes of an instance, where that is limited


@attrs.frozen
class Odd(Command):
    """A C-STORE-RQ, some elements of which are missing, or are what they must not be."""

    changes: dict[int, bytes | None]

    def encode(self) -> bytes:
        rq = CStoreRQ(affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid="1.2.3")
        elements: dict[int, Any] = {**read_elements(rq.encode()), **self.changes}
        return b"".join(
            struct.pack("<HHI", 0, number, len(value)) + value
            for number, value in sorted(elements.items())
            if value is not None
        )


Attempt = Callable[[SCU], object]


def store(*arguments: Any) -> Attempt:
    """To send an instance: UID, data set, SOP Class and context."""
    return lambda scu: scu.store(*arguments)


def send(number: int, value: bytes | None = None) -> Attempt:
    """To send one with this in the place of an element of its command set."""
    return lambda scu: scu.send(3, Odd({number: value}), DATA_SET)


class StatusTests(ServingTestCase):
    """4.2.1.4.1.4: what a C-STORE is answered with."""

    def attempts(self) -> Iterator[Attempt]:
        """Each once what can come in a C-STORE, and what the disk can make of it."""
        for data in (DATA_SET, DATA_SET, OTHER):
            yield store("1.2.3", data)
        for others in ((DATA_SET, MR), (DATA_SET, VERIFICATION, 1), (DATA_SET, CT, 1), (None,)):
            yield store("1.2.4", *others)
        for number, value in ((0x0002, None), (0x1000, None), (0x0700, b"1"), (0x1031, b"123")):
            yield send(number, value)
        for uid in ("", "1" * 65, "x" * 128, "x" * 129, "1.2\n", "1.2\xe4"):
            yield store(uid, DATA_SET)
        for data in (WRONG, WRONG.replace(b"1.2.4", b"1.2.5"), AS_FILE, b"\2\0\0\0UL\4\0", b"", bytes(MOST + 1)):
            yield store("1.2.5", data)
        for number, code in enumerate(code for codes in ERRORS.values() for code in codes):
            for nth in range(1, 12):
                yield self.failing(nth, code, store(f"1.3.{number}.{nth}", DATA_SET))

    def failing(self, nth: int, code: int, attempt: Attempt) -> Attempt:
        def with_failure(scu: SCU) -> None:
            self.disk.arm(nth, code)
            attempt(scu)
            self.disk.disarm()

        return with_failure

    CONFIGURED: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"max_instance_size": MOST},
        *({"durability": each} for each in ("file", "none")),
        *({"on_duplicate": each, "max_instance_size": None} for each in ("reject", "overwrite")),
        {"min_free": 10**18},
        {"ignore": True, "max_instance_size": None},
        {"ignore": True, "max_instance_size": MOST},
    )

    def test_each(self) -> None:
        """Whatever comes, and whatever the disk does: these are answered, and no others, by number and in words."""
        known: set[int] = set()
        for options in self.CONFIGURED:
            told = self.start(**options)
            scu = self.scu()
            for attempt in self.attempts():
                attempt(scu)
            expected = [[f"{status:04X}", STATUS_WORDS[status]] for status in sorted(set(scu.statuses))]
            if options.get("min_free"):  # more than there is: nothing is stored
                expected.insert(0, ["0000", "Success"])
            self.assertEqual(expected, [row[:2] for row in told.rows("4.2.1.4.1.4")], options)
            known.update(scu.statuses)
        self.assertEqual(set(Status) - {0x0211}, known)  # which is of operations that are none of ours

    def statuses(self, attempt: Attempt) -> list[int]:
        scu = self.scu()
        attempt(scu)
        return scu.statuses

    def test_when(self) -> None:
        """Each is answered when it is told to be; the same once more is taken where it is told to be."""
        allow = self.file("allow", f"TESTSCU max-instance-size={MOST}\n*\n")
        told = self.start(on_duplicate="reject", max_instance_size=2 * MOST, allow_file=allow, min_free=1)
        by_entry = "it has more bytes than its entry of the list allows"
        self.assertEqual(
            {
                "0000": "the instance is stored, as above",
                "0110": "the disk has failed, other than for lack of room, or the server has",
                "0111": "another content of its UID is there",
                "0122": "its SOP Class is not that of its presentation context, or is Verification",
                "0212": "an element of the request is missing or has another type, or there is no data set",
                "A700": f"it has more than 2000 bytes; {by_entry}; {NO_ROOM}; fewer than 1 bytes are free",
                "A900": "its data set names another SOP Class or Instance",
                "C000": "its data set begins as a file does, or its UID is empty, longer than 128 characters or not "
                "printable",
            },
            {row[0]: row[2] for row in told.rows("4.2.1.4.1.4")},
        )
        other_class = WRONG.replace(b"1.2.4", b"1.2.3").replace(b".1.1.2\0", b".1.1.4\0")
        expected = {
            0x0000: [store("1.2.3", DATA_SET), send(0x0700, b"\xff\xff")],
            0x0111: [store("1.2.3", OTHER)],
            0x0122: [store("1.2.4", b"", MR), store("1.2.4", b"", VERIFICATION, 1)],
            0x0212: [send(0x1000), send(0x0700, b"1"), store("1.2.4", None)],
            0xA700: [store("1.2.3", bytes(MOST + 1))],
            0xA900: [store("1.2.3", WRONG), store("1.2.3", other_class)],
            0xC000: [store("1.2.4", AS_FILE), *(store(uid, b"") for uid in ("", "x" * 129, "1.2\n"))],
        }
        for status, attempts in expected.items():
            self.assertEqual([[status]] * len(attempts) * 2, list(map(self.statuses, attempts * 2)), f"{status:04X}")
        later = "After 0110, or A700 for lack of room, the instance may be taken later; else it is refused again."
        self.assertIn(later, told.words("4.2.1.4.1.4"))
        for status, codes in ERRORS.items():
            for code in codes:
                attempt = store(f"1.2.5.{code}", DATA_SET)
                self.assertEqual([[status], [0]], [*map(self.statuses, (self.failing(1, code, attempt), attempt))])
        self.assertEqual([], self.flushLoggedErrors())

    def elements(self) -> set[int]:
        """Those of the command sets that SCUs receive from now on."""
        heard: set[int] = set()
        received = SCU.command_received

        def command_received(scu: SCU, context_id: int, elements: Elements, has_data_set: bool) -> None:
            heard.update(elements)
            received(scu, context_id, elements, has_data_set)

        self.patch(SCU, "command_received", command_received)
        return heard

    def test_others(self) -> None:
        """Any other operation is answered with 0211, but a C-CANCEL; a C-ECHO with 0000, or 0212; all in few words."""
        told, heard = self.start(), self.elements()
        unknown = (
            "Any other operation is answered with 0211, Unrecognized Operation, but a C-CANCEL, which has no response. "
            "A response has no Error Comment (0000,0902) and no Offending Element (0000,0901). "
            "Priority is not looked at."
        )
        self.assertTrue(told.words("4.2.1.4.1.4").endswith(f" There are no warnings (Bxxx). {unknown}"))
        echo = "A C-ECHO is answered with 0000, Success; with 0212, where an element of the request is missing."
        self.assertEqual(f"Standard conformance. {echo}", told.words("4.2.1.4.1.3"))
        operations = (0x0010, 0x0020, 0x0021, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0FFF)
        scu = self.scu()
        for field in operations:
            scu.send(3, OtherRQ(command_field=field, message_id=1))
        self.assertEqual([0x0211] * (len(operations) - 1), scu.statuses)
        scu.echo()
        scu.send(1, OtherRQ(command_field=0x0030, message_id=1))
        self.assertEqual([0x0000, 0x0212], scu.statuses[-2:])
        for data in (AS_FILE, DATA_SET):
            scu.store("1.2.3", data)
        self.assertEqual({0, 0x0002, 0x0100, 0x0120, 0x0800, 0x0900, 0x1000}, heard)


class StorageTests(ServingTestCase):
    """4.2.1.4.1.4: what becomes of an instance."""

    def words(self, **options: Any) -> str:
        return self.start(**options).words("4.2.1.4.1.4")

    def test_success(self) -> None:
        """Success comes after as many syncs as are told; the file ends with the bytes that came, in their syntax."""
        expected = {
            "full": ("the file and its name are on the disk (fsync of both)", 2),
            "file": ("the content of the file is on the disk (fsync), and it has its name", 1),
            "none": ("the file has its name; nothing is synced", 0),
        }
        for durability, (told, syncs) in expected.items():
            words = self.words(durability=durability)
            self.assertTrue(words.startswith("Level 2 (Full) of PS3.4 B.4.1: all attributes are kept"), words)
            self.assertIn("byte for byte what came, in the transfer syntax in which it came", words)
            self.assertIn("; no element is coerced, and digital signatures stay what they are (level 3). ", words)
            self.assertIn(f"Success says that {told}. ", words)
            self.disk.calls.clear()
            scu = self.scu()
            scu.store("1.2.3", DATA_SET)
            self.assertEqual(([0], syncs), (scu.statuses, self.disk.calls.count("fsync")))
            stored = (self.path / "CT.1.2.3").read_bytes()
            self.assertEqual((b"DICM", DATA_SET), (stored[128:132], stored[-len(DATA_SET) :]))
            self.assertIn(b"UI\x14\x001.2.840.10008.1.2.1\0", stored)

    def test_again(self) -> None:
        """The same is written once, and another content kept, refused, or put in the place of the first."""
        expected = {
            "keep": ("is kept beside the first, under a name of its own", 0x0000, [DATA_SET, OTHER]),
            "reject": ("is refused with 0111", 0x0111, [DATA_SET]),
            "overwrite": ("takes the place of the first", 0x0000, [OTHER]),
        }
        for on_duplicate, (told, status, left) in expected.items():
            words = self.words(on_duplicate=on_duplicate)
            self.assertIn(
                "The same data set again, under the same UID, is answered with Success and not written twice;", words
            )
            self.assertIn(
                f"another content of a UID that is there {told}. Nothing else removes or changes a file. ", words
            )
            scu = self.scu()
            for data in (DATA_SET, DATA_SET, OTHER):
                scu.store("1.2.3", data)
            files = sorted(each.read_bytes()[-len(DATA_SET) :] for each in self.path.glob("CT.*"))
            self.assertEqual(([0, 0, status], left), (scu.statuses, files))

    def test_name(self) -> None:
        """The name of a file is what is told of it."""
        words = self.words()
        named = (
            "Its name is some letters for the SOP Class and its UID, ``CT.1.2.3.4.5.6``, or a digest of what is no UID;"
        )
        self.assertIn(named, words)
        for uid in ("1.2.3.4.5.6", "1.2.x"):
            self.scu().store(uid, DATA_SET)
        digest = hashlib.sha256(b"1.2.x").hexdigest()[:40]
        self.assertEqual(["CT.1.2.3.4.5.6", f"CT.X-{digest}"], sorted(visible(self.path)))

    def test_ignored(self) -> None:
        """With --ignore nothing is stored, and nothing claimed; all places say the same."""
        told = self.start(ignore=True)
        self.assertEqual(
            "It accepts, without conformance to PS3.4 Annex B (4.2.1.4.1.4), these SOP Classes:", told.words("4.2.1.1")
        )
        self.assertIn("answered and forgotten (``--ignore``)", told.words("4.2.1.4.1.4"))
        self.assertNotIn("may be taken later", told.words("4.2.1.4.1.4"))
        self.assertIn("-> | nothing |", told.words("4.1.1"))
        self.assertIn("by C-STORE receives instances and forgets them.", told.words("4.1.2"))
        self.assertTrue(told.words("1").startswith("storescp receives instances and forgets them."))
        self.assertTrue(told.words("5").endswith(" No file is written."))
        self.assertEqual("None.", told.words("8.1.2"))
        self.scu().store("1.2.3", DATA_SET)
        self.assertEqual([], os.listdir(self.path))


class FailureTests(ServingTestCase):
    """4.2.1.4.1.5: what ends an association; that the timers do is in the tests of the server."""

    UNREAD, CLOSE = "the remote AE does not read what is sent to it", "a close in order does not come to its end"
    GONE = "on Linux, over TCP, the remote host acknowledges nothing, not even keep-alive"

    def assert_timers(self, network: str, dimse: str, artim: str, storage: list[list[str]], **options: Any) -> None:
        nothing = "nothing comes at all: A-ABORT, or close where nothing is associated yet"
        self.assertEqual(
            [
                ["ARTIM (``-ta``)", artim, "no A-ASSOCIATE-RQ, or no close after the last PDU: close"],
                ["DIMSE (``-td``)", dimse, "no further fragment of a message: A-ABORT"],
                ["Network (``-to``)", network, nothing],
                ["Unread (fixed)", "30", f"{self.UNREAD}: reset"],
                ["Close (fixed)", "2", f"{self.CLOSE}: reset"],
                ["Gone (fixed)", "60", f"{self.GONE}: lost"],
                *storage,
            ],
            Told.of(Config(**options)).rows("4.2.1.4.1.5"),
        )

    def test_timers(self) -> None:
        """They are those that were asked for, and those that the server has; nothing waits for a disk that is not."""
        taken, compared = "the disk does not take an instance", "an instance is not compared with the one that is there"
        unlimited = ("unlimited", "unlimited")
        self.assert_timers(*unlimited, "30", [["Storage", "60", f"{taken}: A-ABORT"]])
        self.assert_timers(*unlimited, "30", [], ignore=True)
        storage = [["Storage", "unlimited", f"{compared}: A-ABORT"]]
        options = {"durability": "none", "storage_timeout": None, "acse_timeout": 7.5}
        self.assert_timers("5", "6", "7.5", storage, timeout=5, dimse_timeout=6, **options)

    def test_silence(self) -> None:
        """Who says nothing is closed before there is an association, and aborted within one."""
        self.start(timeout=5)
        scu, peer = self.scu(), Peer(self.factory)
        self.addCleanup(peer.disconnect)
        self.reactor.advance(5)
        scu.pump()
        self.assertEqual((AAbort(0, 0), b"", True), (scu.ended, peer.heard(), peer.transport.disconnecting))

    def test_storage(self) -> None:
        """Whose instance the disk does not take is aborted; without durability that is one that has to be compared."""
        for durability in ("full", "none"):
            self.start(workers=ByHand(), durability=durability, storage_timeout=5)
            scu = self.scu()
            if durability == "none":
                self.assertEqual(0, scu.store("1.2.3", DATA_SET).status)  # type: ignore[union-attr]
            self.assertIsNone(scu.store("1.2.3", OTHER))
            self.reactor.advance(5)
            scu.pump()
            self.assertEqual(AAbort(0, 0), scu.ended)

    def test_incomplete(self) -> None:
        """Of an instance whose last byte has not come nothing is left."""
        self.patch(directory, "BATCH", 1)  # what comes is written at once
        words = self.start().words("4.2.1.4.1.5")
        self.assertIn("An instance whose association ends before its last byte has come leaves nothing behind.", words)
        for end in (SCU.release, SCU.abort, SCU.disconnect):
            scu = self.scu()
            scu.begin_store("1.2.3")
            scu.send_fragment(DATA_SET)
            self.assertEqual(1, len(temporary(self.path)))
            end(scu)
            self.assertEqual(({}, []), (visible(self.path), temporary(self.path)))

    def test_not_allowed(self) -> None:
        """A PDU gets an A-ABORT, of the provider and with a reason in an association; a message one of the user."""
        words = self.start().words("4.2.1.4.1.5")
        pdu = (
            "A PDU that the standard does not allow is answered with an A-ABORT, within an association with its reason"
        )
        message = "a message to which no response could be addressed, with an A-ABORT of the service user."
        self.assertTrue(words.endswith(f"{pdu} by PS3.8 Table 9-26; {message}"), words)
        unknown = bytes([9, 0, 0, 0, 0, 0])
        peer = Peer(self.factory)
        self.addCleanup(peer.disconnect)
        self.assertEqual(AAbort(0, 0).encode(), peer.write(unknown))
        first, second = self.scu(), self.scu()
        first.write(unknown)
        second.send(3, Odd({0x0110: None}))
        self.assertEqual([PAbort(1), AAbort(0, 0)], [first.ended, second.ended])


class SecurityTests(ServingTestCase):
    """7: what a remote AE has to prove, and how."""

    def setUp(self) -> None:
        self.patch(gate, "_in_thread", lambda _reactor, work, *arguments: maybeDeferred(work, *arguments))
        self.users = self.file("users", f"anna:no-passcode\n{users_line('bert', 'secret')}\n")
        self.key = self.file("jwt.pem", public_pem(ED25519).decode())

    def accepted(self) -> dict[int, bool]:
        """The types of user identity with which one is accepted, 0 for none; and whether it is responded to."""
        sent = [
            *([], [UserIdentityRQ(1, 1, b"anna")], [UserIdentityRQ(2, 1, b"bert", b"secret")]),
            *([UserIdentityRQ(3, 1, b"a ticket")], [UserIdentityRQ(4, 1, b"an assertion")]),
            [UserIdentityRQ(5, 1, token())],
        ]
        answers = {each: self.scu(associate_rq(user_items=items)).answer for each, items in enumerate(sent)}
        return {
            each: answer.user_information.first(UserIdentityAC) is not None
            for each, answer in answers.items()
            if isinstance(answer, AAssociateAC)
        }

    def test_identities(self) -> None:
        """Who is told to be accepted is, and nobody else; with a response, where one is told."""
        verified = "A User Identity (PS3.7 D.3.3.7) is demanded, and verified: "
        of_users, of_token = "type 1, a name, and 2, a name and a passcode", "type 5, a JSON Web Token"
        of_checker, memory = "the types of a checker (``--auth``)", ["memory:bert:secret"]
        none = "Who sends no User Identity (PS3.7 D.3.3.7) is accepted."
        answered = ". Another type is rejected. Who asks for a positive response gets it. Passcodes and tokens are"
        in_clear, over_tls = f"{answered} taken without TLS, too.", f"{answered} taken over TLS alone."
        both = {"users": self.users, "jwt_key": self.key}
        expected: list[tuple[str, list[int], dict[str, Any]]] = [
            (f"{verified}{of_users}{in_clear}", [1, 2], {"users": self.users}),
            (f"{verified}{of_token}{in_clear}", [5], {"jwt_key": self.key}),
            (f"{verified}{of_users}; {of_token}{in_clear}", [1, 2, 5], both),
            (f"{verified}{of_users}; {of_token}{over_tls}", [1], {**both, "insecure_identity": False}),
            (f"{verified}{of_checker}{in_clear}", [2], {"auth": memory}),
            (f"{none} One that is sent is verified: {of_checker}{in_clear}", [0, 2], {"auth": [*memory, "anonymous"]}),
            (f"{none} Who sends one is rejected: none can be verified.", [0], {"auth": ["anonymous"]}),
            ("A User Identity (PS3.7 D.3.3.7) is not looked at, and gets no response.", [*range(6)], {}),
        ]
        for words, types, options in expected:
            told = self.start(**{"insecure_identity": True, **options})
            self.assertEqual(words, told.words("7.2"))
            self.assertEqual({each: each > 0 and bool(options) for each in types}, self.accepted(), options)

    def test_demands(self) -> None:
        """What else is demanded is told; a certificate where TLS of ours is spoken."""
        in_list = (
            "The AE title of 4.4.1 has to be called. "
            "The calling AE title has to be in a list, which may demand a network, a certificate or a user beside it. "
            "Where it names networks for every title, a connection from another one is reset before anything is sent."
        )
        options: dict[str, Any] = {"require_called_aet": True, "allow_file": "allow", "tls_cert": "c", "tls_ca": "ca"}
        for listen, where in (([], ""), (["tcp:104"], " on the endpoints that begin with ``tls:``")):
            words = Told.of(Config(listen=["tls:tcp:2762", *listen], **options)).words("7.2")
            self.assertTrue(words.startswith(f"{in_list} A certificate is demanded{where}, by 7.1. "), words)

    def test_cipher_suites(self) -> None:
        """The cipher suites are those that OpenSSL is told, in its order."""
        issued = trustme.CA().issue_cert("localhost")
        pem = self.file("cert.pem", issued.private_key_and_cert_chain_pem.bytes().decode())
        for profile, name in (
            ("bcp195", "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile, PS3.15 B.12"),
            ("bcp195-modified", "Modified BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile, PS3.15 B.13"),
        ):
            told = Told.of(Config(tls_cert=pem, tls_profile=profile, port=2762))
            known = TLS(pem, pem, None, profile).serverConnectionForTLS(mock.Mock()).get_cipher_list()
            rows = told.rows("7.1")
            self.assertEqual(sorted(known), sorted(suite for suite, _ in rows))
            for version in ("1.2", "1.3"):
                suites = [suite for suite, each in rows if each == version]
                self.assertEqual(suites, [suite for suite in known if suite in suites])
                self.assertEqual({version == "1.3"}, {suite.startswith("TLS_") for suite in suites})
            self.assertIn(f"{name}, on the endpoints of 4.4.1 that begin with ``tls:``. ", told.words("7.1"))


class SentenceTests(SynchronousTestCase):
    """4.3.2, 7.1 and 7.3: what else is spoken, and written."""

    def test_each(self) -> None:
        """What is not there is told, too."""
        proxied = "The PROXY protocol, before anything else, on the endpoints of 4.4.1 with ``haproxy:`` in them."
        http = "HTTP, to be watched, on ``8080`` (``--http``)."
        of_twisted = "TLS of the endpoints that begin with ``ssl:`` is by none of the profiles of PS3.15."
        audit = "Associations and refusals are written to a file (``--audit-log``), not in the form of PS3.15 A.5."
        by_tls: dict[str, Any] = {"tls_cert": "cert.pem", "listen": ["tls:haproxy:tcp:2762", "tcp:104"]}
        expected: list[tuple[str, str, dict[str, Any]]] = [
            ("4.3.2", "None.", {"listen": ["unix:haproxy:"]}),
            ("4.3.2", proxied, {"listen": ["haproxy:tcp:104"]}),
            ("4.3.2", http, {"http": "8080"}),
            ("4.3.2", f"{proxied} {http}", {"http": "8080", **by_tls}),
            ("7.1", "None: what is sent is not encrypted (``--tls-cert``).", {"port": 104}),
            *(("7.1", of_twisted, {"listen": ["tcp:104", each]}) for each in ("ssl:2762", "haproxy:ssl:2762")),
            ("7.3", "None.", {}),
            ("7.3", audit, {"audit_log": "audit"}),
        ]
        for number, words, options in expected:
            self.assertEqual(words, Told.of(Config(**options)).words(number))

    def test_tls(self) -> None:
        """With TLS of ours its certificates are told, and that of Twisted apart from it."""
        by_twisted = " TLS of the endpoints that begin with ``ssl:`` is by none of the profiles of PS3.15. These "
        for authorities, demanded in ((None, "not asked for"), ("ca.pem", "demanded")):
            config = Config(tls_cert="cert.pem", tls_ca=authorities, listen=["tls:tcp:104", "ssl:2762"])
            words = Told.of(config).words("7.1")
            self.assertIn(f" A certificate of the remote AE is {demanded}. ", words)
            self.assertIn(by_twisted, words)
            self.assertIn(" of certificates must have 112 bits of security. Revocation is not looked at. ", words)


class ConfigurationTests(SynchronousTestCase):
    """4.3.2 and 4.4: where it listens, and what can be set."""

    def test_addresses(self) -> None:
        """Title and endpoints, or that there is none."""
        no_port = "where it is told to: no port was given"
        expected: list[tuple[list[str], dict[str, Any]]] = [
            (["``STORESCP``", no_port], {}),
            (["``STORESCP``", "``tcp:0``"], {"port": 0}),
            (
                ["``A B``", "``tls:tcp:2762``, ``tcp6:104``"],
                {"ae_title": " A B ", "port": 2762, "tls_cert": "c", "listen": ["tcp6:104"]},
            ),
        ]
        for cells, options in expected:
            self.assertEqual([["Storage SCP", *cells]], Told.of(Config(**options)).rows("4.4.1.1"))

    def parameters(self, config: Config) -> dict[str, str]:
        rows = Told.of(config).rows("4.4.2")
        for _, what, _ in rows:
            self.assertNotIn("default", what)
        return {option: value for option, _, value in rows}

    # What is told elsewhere, or is nothing to a remote AE.
    ELSEWHERE: ClassVar[set[str]] = {
        *("--quiet", "--verbose", "--debug", "--log-format", "--log-associations", "--output-directory", "--http"),
        *("--allow-file", "--users", "--jwt-key", "--insecure-identity", "--audit-log", "--tls-cert", "--tls-profile"),
    }

    def test_values(self) -> None:
        """Each option that says what a remote AE gets has its value, and what it is without it."""
        defaults = self.parameters(Config())
        known = {flags[-1]: "/".join(flags) for flags in (*FLAGS, *VALUES) if flags[-1] not in self.ELSEWHERE}
        self.assertEqual({f"``{spelled}``" for spelled in known.values()}, set(defaults))
        for long, spelled in known.items():
            value = VALUES.get(tuple(spelled.split("/")), ("",))[0]
            parameters = self.parameters(script(*filter(None, (long, value)), "1"))
            expected = "yes" if not value else value if value.isdecimal() else f"``{value}``"
            self.assertEqual(expected, parameters[f"``{spelled}``"], spelled)
        wanted = {"-to/--timeout": "unlimited", "-aet/--aetitle": "``STORESCP``", "--ignore": "no", "--min-free": "0"}
        self.assertEqual(wanted, {spelled: defaults[f"``{spelled}``"] for spelled in wanted})
        self.assertEqual("unlimited", self.parameters(Config(max_instance_size=None))["``--max-instance-size``"])


# Options of a server that needs much, none of which is there.
MISSING = (
    *("-od", "missing", "--allow-file=missing", "--users=missing", "--jwt-key=missing", "--auth=file:missing"),
    *("--tls-cert=missing", "--tls-key=missing", "--tls-ca=missing", "--audit-log=missing/audit"),
)


class CommandTests(ExitCodeTestCase):
    """The command within this process, with a reactor that tells what it is asked for."""

    def told(self, *line: str) -> str:
        """What is printed, of options that are good."""
        code, printed, errors = self.run_line("--conformance", *line)
        self.assertEqual((0, ""), (code, errors), line)
        return printed

    def assert_told(self, config: Config, *line: str) -> None:
        printed = self.told(*line)
        (date,) = re.findall("(?m)^:Date: (.*)$", printed)
        self.assertEqual(statement(config, date), printed)

    def test_printed(self) -> None:
        """It is the statement of what was asked for, with a port or without, or in a file, which the line overrules."""
        self.assert_told(Config())
        self.assert_told(Config(port=104, ae_title="A B", ignore=True), "104", "-aet", "A B", "--ignore", "-q")
        path = os.path.join(make_directory(self), "storescp.toml")
        with open(path, "w") as file:
            file.write('listen = ["tcp:104"]\naetitle = "ARCHIVE"\nmax-pdu = 4096\n')
        expected = Config(listen=["tcp:104"], ae_title="ARCHIVE", max_pdu=8192)
        self.assert_told(expected, f"--config={path}", "-pdu", "8192")

    def test_needs_nothing(self) -> None:
        """No list, key, certificate or directory is looked for, and nobody listens, even where nobody may."""
        left = os.listdir()
        for port in ("104", "65535"):
            self.told(port, *MISSING)
            reactor: Any = twisted.internet.reactor
            self.assertEqual(([], False), (reactor.tcpServers, reactor.hasRun))
        self.assertEqual(left, os.listdir())

    def test_mistakes(self) -> None:
        """What is wrong with the options is told in one line, as a start tells it, and nothing is printed."""
        path = os.path.join(make_directory(self), "storescp.toml")
        with open(path, "w") as file:
            file.write('tls-cert = "cert.pem"\n\nlisten = "tcp:104"\n')
        nowhere = "with --tls-cert one of them must begin with tls:, such as tls:tcp:2762"
        for line, code, message in (
            (("-pdu", "1"), 2, "argument -pdu/--max-pdu: must be from 4096 to 131072, not 1"),
            (("--tls-cert=cert.pem", "--listen=tcp:104"), 2, f"argument --listen: {nowhere}"),
            (("--listen=tls:tcp:104",), 2, "argument --listen: tls:tcp:104: it needs --tls-cert"),
            ((f"--config={path}",), 2, f"{path}, line 3: listen: {nowhere}"),
            ((f"--config={path}.missing",), 1, f"{path}.missing: No such file or directory"),
        ):
            self.assert_error(code, message, "--conformance", *line)

    def test_without_tls(self) -> None:
        """Where the libraries of TLS are not there it says how to get them; without TLS nobody misses them."""
        with not_installed("OpenSSL", "storescp.server.tls"):
            message = "import of OpenSSL halted; None in sys.modules; pip install 'storescp[tls]'"
            self.assert_error(1, message, "--conformance", "--tls-cert=cert.pem")
            self.told("104")


class ProcessTests(ServerTestCase):
    """Whole programs."""

    def test_twistd(self) -> None:
        """Under twistd, as a daemon or not, it prints the same, and no file is left of it, nor of what it names."""
        daemon = tuple(word for word in TWISTD if word not in ("-n", "--pidfile="))
        line = ("--conformance", "--port=104", *MISSING)
        ended = [self.run_program(*line, command=command).ended() for command in (SCRIPT, TWISTD, daemon)]
        self.assertEqual([(0, "")] * 3, [(each.code, each.stderr) for each in ended])
        printed = {re.sub("(?m)^:Date: .*$", "", each.stdout) for each in ended}  # the day may end
        self.assertEqual([True], ["``tls:tcp:104``" in each for each in printed])
        self.assertEqual([], self.left)

    def test_refused(self) -> None:
        """What is wrong is told by twistd in its usual form and with exit code 1, or in one line."""
        ended = self.run_program("--conformance", "--check", command=TWISTD).ended()
        told = (ended.stdout + ended.stderr).splitlines()[-1]
        message = ": argument --check: not allowed with argument --conformance"
        self.assertEqual((1, True), (ended.code, told.endswith(message)), told)
        ended = self.run_program("--conformance", "--tls-cert=c", "--listen=tcp:104", command=TWISTD).ended()
        self.assertEqual((1, "", 1), (ended.code, ended.stdout, ended.stderr.count("\n")))
        self.assertTrue(ended.stderr.startswith("storescp: error: argument --listen: with --tls-cert "), ended.stderr)
