"""What is printed about associations: which lines, at which level, and nothing that a peer could forge."""

import ast
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger, LogLevel, capturedLogs, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

import storescp
from storescp.config import Config
from storescp.dimse.commands import CStoreRQ, OtherRQ
from storescp.errors import Cause, Excess, StoreFailure
from storescp.interfaces import Association, AssociationObserver, IStorage, IUser
from storescp.program import logs
from storescp.program.lines import JSONObserver, TextObserver
from storescp.program.logs import AssociationLog, AssociationSummary, summaries_for
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import IUsername, User
from storescp.server.protocol import ULProtocol
from storescp.storage.directory import DirectoryStorage
from storescp.storage.discard import DiscardStorage
from storescp.storage.incoming import IncomingFile
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce
from storescp.testing import SCU, associate_rq
from storescp.uids import VERSION
from storescp.ul.items import (
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    PresentationContextRQ,
    UserIdentityRQ,
)
from storescp.ul.pdu import AAbort, AAssociateRQ
from storescp.watch.escaping import escape, shorten
from tests.program import make_directory
from tests.recorders import RecordingSink, RecordingStorage
from tests.storage.disks import ByHand

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
UID = "1.2.3.4.5.6"

# (0008,0018) UI 1.2.3.4.5.6 in Explicit VR Little Endian, and another data set
DATA_SET = bytes.fromhex("0800 1800 5549 0c00") + b"1.2.3.4.5.6\0"
OTHER = DATA_SET + bytes.fromhex("1000 4000 4353 0200") + b"F "

STORED = [
    "I: Association Received",
    "I: Association Accepted",
    "I: Received Store Request",
    "I: Storing DICOM file: CT.1.2.3.4.5.6",
    "I: Association Released",
]

# A request for C-FIND on the context of Verification.
FIND = OtherRQ(command_field=0x0020, message_id=1)


# What of the log is about no association: a letter, and how the text begins. The last is the line after the version.
_ABOUT_NONE = re.compile(r"[WI]: Connection from |I: Waiting for |D: \$storescp\.py v|D: $")
_WITH_ID = re.compile(r"([DIWE]: )\[([0-9a-f]{6}-[0-9]+)\] (.*)")
_LETTERS = {"debug": "D", "info": "I", "warn": "W", "error": "E", "critical": "E"}


class Printed:
    """What a program of this verbosity prints, in memory: as text, as text with ids, and as JSON."""

    def __init__(self, case: SynchronousTestCase, verbosity: str) -> None:
        self._text, self._with_ids, self._json = io.StringIO(), io.StringIO(), io.StringIO()
        for observer in (
            TextObserver(self._text, verbosity),
            TextObserver(self._with_ids, verbosity, ids=True),
            JSONObserver(self._json, verbosity),
        ):
            globalLogPublisher.addObserver(observer)
            case.addCleanup(globalLogPublisher.removeObserver, observer)

    @property
    def lines(self) -> list[str]:
        return _lines(self._text)

    @property
    def with_ids(self) -> list[str]:
        return _lines(self._with_ids)

    @property
    def records(self) -> list[dict[str, Any]]:
        return list(map(json.loads, _lines(self._json)))

    def pairs(self) -> list[tuple[str | None, str]]:
        """Each line as plain text, and the id of its association before it."""
        matches = [(_WITH_ID.fullmatch(line), line) for line in self.with_ids]
        return [(match[2], match[1] + match[3]) if match else (None, line) for match, line in matches]

    def pairs_of_json(self) -> list[tuple[str | None, str]]:
        return [
            (record["association"], f"{_LETTERS[record['level']]}: {line}")
            for record in self.records
            for line in record["message"].split("\n")
        ]


def _lines(stream: io.StringIO) -> list[str]:
    *lines, rest = stream.getvalue().split("\n")
    assert not rest, "a line without an end"
    return lines


class LogTestCase(SynchronousTestCase):
    """Runs associations in memory, with the log of a program.

    Whatever a test is about, all its lines are the same in each form, and have the id of their association if there is
    one.
    """

    def others(self) -> list[AssociationObserver]:
        """Observers beside the log."""
        return []

    def start(
        self, verbosity: str, storage: IStorage | None = None, access: Access | None = None, **options: Any
    ) -> None:
        self.clock = Clock()
        self.printed = Printed(self, verbosity)
        self.addCleanup(self.check_forms, self.printed)
        self.log = AssociationLog(verbosity, self.clock.seconds)
        storage = storage or DirectoryStorage(make_directory(self), AtOnce())
        told = [self.log, *self.others()]
        self.factory = StorageSCPFactory(Config(**options), storage, self.clock, told, access=access)
        self.factory.doStart()
        self.addCleanup(self.factory.doStop)

    def check_forms(self, printed: Printed) -> None:
        pairs = printed.pairs()
        self.assertEqual(printed.lines, [line for _, line in pairs])
        self.assertEqual(pairs, printed.pairs_of_json())
        self.assertEqual(
            [], [line for identifier, line in pairs if (identifier is None) != bool(_ABOUT_NONE.match(line))]
        )

    def associate(self, request: AAssociateRQ | None = None) -> SCU:
        return SCU(self.factory, self.clock, request)

    def store(self, data_set: bytes = DATA_SET) -> None:
        """An association with one instance."""
        scu = self.associate()
        scu.store(UID, data_set)
        scu.release()

    def assert_printed(self, *lines: str) -> None:
        self.assertEqual(list(lines), self.printed.lines)
        self.assertEqual([], self.clock.getDelayedCalls())


class VerbosityTests(LogTestCase):
    def test_verbose(self) -> None:
        """An association with one instance is five lines of -v."""
        self.start("verbose")
        self.store()
        self.assert_printed(*STORED)

    def test_silent_success(self) -> None:
        """By default, and with -q, an association where all goes well prints nothing."""
        for verbosity in ("quiet", "normal"):
            self.start(verbosity)
            self.store()
            self.assert_printed()

    def test_start(self) -> None:
        """The beginning of the program shows under -d alone."""
        expected = {"quiet": [], "normal": [], "verbose": [], "debug": [f"D: $storescp.py v{VERSION}", "D: "]}
        for verbosity, lines in expected.items():
            self.start(verbosity)
            self.log.started()
            self.assert_printed(*lines)

    def test_failures(self) -> None:
        """What goes wrong shows by default; -q silences it."""
        storage = RecordingStorage()
        storage.open_error = StoreFailure("No space left on device", 0xA700)
        error = (
            "E: Storing 1.2.3.4.5.6 from TESTSCU at 192.168.1.1:54321 failed: No space left on device; "
            "answered 0xA700 (Out of Resources)"
        )
        for verbosity, lines in {"quiet": [], "normal": [error]}.items():
            self.start(verbosity, storage)
            self.store()
            self.assert_printed(*lines)


class DebugTests(LogTestCase):
    def test_sample(self) -> None:
        """-d shows a CT image on context 41 as the documentation does, line by line."""
        contexts = (
            PresentationContextRQ(1, VERIFICATION, (IMPLICIT_LE,)),
            PresentationContextRQ(41, CT, (EXPLICIT_LE, IMPLICIT_LE)),
            PresentationContextRQ(43, CT, ("1.2.840.10008.1.2.4.90",)),
        )
        items = (MaximumLength(16384), ImplementationClassUID("1.2.3"), ImplementationVersionName("MODALITY_1"))
        self.start("debug")
        self.log.started()
        scu = self.associate(associate_rq(contexts, items, called="ANY-SCP", calling="STORESCU"))
        request = CStoreRQ(affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid=UID, priority=2)
        scu.send(41, request, DATA_SET)
        scu.release()
        self.assert_printed(
            f"D: $storescp.py v{VERSION}",
            "D: ",
            "I: Association Received",
            "D: Request Parameters:",
            "D: ====================== BEGIN A-ASSOCIATE-RQ =====================",
            "D: Their Implementation Class UID:    1.2.3",
            "D: Their Implementation Version Name: MODALITY_1",
            "D: Application Context Name:    1.2.840.10008.3.1.1.1",
            "D: Calling Application Name:    STORESCU",
            "D: Called Application Name:     ANY-SCP",
            "D: Their Max PDU Receive Size:  16384",
            "D: Presentation Contexts:",
            "D:   Context ID:        1 (Proposed)",
            "D:     Abstract Syntax: =Verification SOP Class",
            "D:     Proposed SCP/SCU Role: Default",
            "D:     Proposed Transfer Syntax(es):",
            "D:       =Implicit VR Little Endian",
            "D:   Context ID:        41 (Proposed)",
            "D:     Abstract Syntax: =CT Image Storage",
            "D:     Proposed SCP/SCU Role: Default",
            "D:     Proposed Transfer Syntax(es):",
            "D:       =Explicit VR Little Endian",
            "D:       =Implicit VR Little Endian",
            "D:   Context ID:        43 (Proposed)",
            "D:     Abstract Syntax: =CT Image Storage",
            "D:     Proposed SCP/SCU Role: Default",
            "D:     Proposed Transfer Syntax(es):",
            "D:       =JPEG 2000 Image Compression (Lossless Only)",
            "D: Requested Extended Negotiation: None",
            "D: Requested Common Extended Negotiation: None",
            "D: Requested Asynchronous Operations Window Negotiation: None",
            "D: Requested User Identity Negotiation: None",
            "D: ======================= END A-ASSOCIATE-RQ ======================",
            "I: Association Accepted",
            "D: Accept Parameters:",
            "D: ====================== BEGIN A-ASSOCIATE-AC =====================",
            "D: Our Implementation Class UID:      2.25.167549487932267690351940239577372006664",
            f"D: Our Implementation Version Name:   STORESCP_{VERSION}",
            "D: Application Context Name:    1.2.840.10008.3.1.1.1",
            "D: Responding Application Name: ANY-SCP",
            "D: Our Max PDU Receive Size:    16384",
            "D: Presentation Contexts:",
            "D:   Context ID:        1 (Accepted)",
            "D:     Accepted Transfer Syntax: =Implicit VR Little Endian",
            "D:   Context ID:        41 (Accepted)",
            "D:     Accepted Transfer Syntax: =Explicit VR Little Endian",
            "D:   Context ID:        43 (Rejected - Transfer Syntax Not Supported)",
            "D: Accepted Extended Negotiation: None",
            "D: User Identity Negotiation Response:  None",
            "D: ======================= END A-ASSOCIATE-AC ======================",
            'D: pydicom.read_dataset() TransferSyntax="Little Endian Implicit"',
            "I: Received Store Request",
            "D: ===================== INCOMING DIMSE MESSAGE ====================",
            "D: Message Type                  : C-STORE RQ",
            "D: Presentation Context ID       : 41",
            "D: Message ID                    : 1",
            "D: Affected SOP Class UID        : 1.2.840.10008.5.1.4.1.1.2",
            "D: Affected SOP Instance UID     : 1.2.3.4.5.6",
            "D: Data Set                      : Present",
            "D: Priority                      : Low",
            "D: ======================= END DIMSE MESSAGE =======================",
            'D: pydicom.read_dataset() TransferSyntax="Little Endian Explicit"',
            "I: Storing DICOM file: CT.1.2.3.4.5.6",
            "I: Association Released",
        )

    def after_acceptance(self) -> list[str]:
        lines = self.printed.lines
        end = lines.index("D: ======================= END A-ASSOCIATE-AC ======================")
        return lines[end + 1 :]

    def test_echo(self) -> None:
        """An echo under -d: the request, and the response."""
        self.start("debug")
        scu = self.associate()
        scu.echo(message_id=7)
        scu.release()
        self.assertEqual(
            [
                'D: pydicom.read_dataset() TransferSyntax="Little Endian Implicit"',
                "I: Received Echo Request (MsgID 7)",
                "D: ===================== INCOMING DIMSE MESSAGE ====================",
                "D: Message Type                  : C-ECHO RQ",
                "D: Presentation Context ID       : 1",
                "D: Message ID                    : 7",
                "D: Data Set                      : None",
                "D: ======================= END DIMSE MESSAGE =======================",
                "D: ===================== OUTGOING DIMSE MESSAGE ====================",
                "D: Message Type                  : C-ECHO RSP",
                "D: Presentation Context ID       : 1",
                "D: Message ID Being Responded To : 7",
                "D: Affected SOP Class UID        : 1.2.840.10008.1.1",
                "D: Data Set                      : None",
                "D: DIMSE Status                  : 0x0000 (Success)",
                "D: ======================= END DIMSE MESSAGE =======================",
                "I: Association Released",
            ],
            self.after_acceptance(),
        )

    def test_refused_instance(self) -> None:
        """A C-STORE that fails shows its response under -d."""
        storage = RecordingStorage()
        storage.open_error = StoreFailure("No space left on device", 0xA700)
        self.start("debug", storage)
        self.store()
        self.assertEqual(
            [
                "D: ======================= END DIMSE MESSAGE =======================",
                "E: Storing 1.2.3.4.5.6 from TESTSCU at 192.168.1.1:54321 failed: No space left on device; "
                "answered 0xA700 (Out of Resources)",
                "D: ===================== OUTGOING DIMSE MESSAGE ====================",
                "D: Message Type                  : C-STORE RSP",
                "D: Presentation Context ID       : 3",
                "D: Message ID Being Responded To : 1",
                "D: Affected SOP Class UID        : 1.2.840.10008.5.1.4.1.1.2",
                "D: Affected SOP Instance UID     : 1.2.3.4.5.6",
                "D: Data Set                      : None",
                "D: DIMSE Status                  : 0xA700 (Out of Resources)",
                "D: ======================= END DIMSE MESSAGE =======================",
                "I: Association Released",
            ],
            self.after_acceptance()[10:],
        )

    def test_abort(self) -> None:
        """An abort under -d says who and why as the standard counts it."""
        self.start("debug")
        self.associate().abort()
        self.assertEqual(
            [
                "E: Association Aborted: by the peer (TESTSCU at 192.168.1.1:54321)",
                "D: ========================== BEGIN A-ABORT ========================",
                "D: Abort Source: Service User",
                "D: Abort Reason: Reason Not Specified",
                "D: =========================== END A-ABORT =========================",
            ],
            self.after_acceptance(),
        )

    def test_no_data_set(self) -> None:
        """Nothing of a data set is printed, whatever becomes of it."""
        self.start("debug")
        self.store(DATA_SET + b"Doe^Jane")
        self.assertNotIn("Jane", "\n".join(self.printed.lines))


class EventTests(LogTestCase):
    def test_echo(self) -> None:
        """An echo is a line of -v."""
        self.start("verbose")
        scu = self.associate()
        scu.echo(message_id=65535)
        scu.release()
        self.assert_printed(
            "I: Association Received",
            "I: Association Accepted",
            "I: Received Echo Request (MsgID 65535)",
            "I: Association Released",
        )

    def test_several_instances(self) -> None:
        """Each instance of an association has its two lines of -v."""
        self.start("verbose")
        scu = self.associate()
        scu.store("1.2.1", b"")
        scu.store("1.2.2", b"")
        scu.release()
        self.assert_printed(
            "I: Association Received",
            "I: Association Accepted",
            "I: Received Store Request",
            "I: Storing DICOM file: CT.1.2.1",
            "I: Received Store Request",
            "I: Storing DICOM file: CT.1.2.2",
            "I: Association Released",
        )

    def test_ignored_instance(self) -> None:
        """An instance that is not kept is not said to be stored."""
        self.start("verbose", DiscardStorage())
        self.store()
        self.assert_printed(*STORED[:3], STORED[4])

    def test_duplicates(self) -> None:
        """The same instance again is nothing to report; another one under its UID is, by default."""
        self.start("normal")
        self.store()
        self.store()
        self.assert_printed()
        self.store(OTHER)
        (line,) = self.printed.lines
        self.assertRegex(
            line, r"^W: Another CT\.1\.2\.3\.4\.5\.6 is here already: kept as CT\.1\.2\.3\.4\.5\.6\.dup-[0-9a-f]{8}$"
        )

    def test_rejection(self) -> None:
        """A rejected association says in words why, with -v."""
        self.start("verbose", require_called_aet=True)
        self.associate(associate_rq(called="OTHER"))
        self.assert_printed(
            "I: Association Received",
            "I: Association Rejected: Result: Rejected Permanent, Source: Service User, "
            "Reason: Called AE Title Not Recognized",
        )

    def test_rejected_syntax(self) -> None:
        """The line about a rejected context names the option that would have accepted it."""
        contexts = (
            PresentationContextRQ(1, CT, ("1.2.840.10008.1.2.4.90",)),
            PresentationContextRQ(3, "1.2.3.4", (EXPLICIT_LE,)),
        )
        self.start("debug")
        self.associate(associate_rq(contexts)).release()
        self.assertEqual(
            [
                "I: Presentation Context Rejected - Transfer Syntax Not Supported: CT Image Storage; "
                "--accept-all-syntaxes accepts it",
                "I: Presentation Context Rejected - Abstract Syntax Not Supported: 1.2.3.4; "
                "--accept-unknown-sop-classes accepts it",
            ],
            [line for line in self.printed.lines if line.startswith("I: Presentation Context")],
        )

    def test_rejected_for_good(self) -> None:
        """No option is named where none would help, and nothing is said of a class that has another context."""
        contexts = (
            PresentationContextRQ(1, CT, ("1.2.840.10008.1.2.4.90",)),
            PresentationContextRQ(3, CT, (EXPLICIT_LE,)),
            PresentationContextRQ(5, "1.2.840.10008.1.20.1", (EXPLICIT_LE,)),
            PresentationContextRQ(7, "1.2.840.10008.1.1", ("1.2.3",)),
        )
        self.start("debug")
        self.associate(associate_rq(contexts)).release()
        self.assertEqual(
            [
                "D: Presentation Context Rejected - Abstract Syntax Not Supported: "
                "Storage Commitment Push Model SOP Class",
                "D: Presentation Context Rejected - Transfer Syntax Not Supported: Verification SOP Class",
            ],
            [line for line in self.printed.lines if "Context Rejected" in line],
        )

    def test_aborts(self) -> None:
        """An association that does not end in order is an error, with its cause."""
        self.start("normal")
        self.associate().abort()
        self.associate().disconnect()
        self.associate().write(bytes.fromhex("09 00 00000000"))
        self.associate().write(bytes.fromhex("01 00 00000000"))
        self.assert_printed(
            "E: Association Aborted: by the peer (TESTSCU at 192.168.1.1:54321)",
            "E: Association Aborted: the connection was lost (TESTSCU at 192.168.1.1:54321)",
            "E: Association Aborted: PDU type 09H is unknown (TESTSCU at 192.168.1.1:54321)",
            "E: Association Aborted: an A-ASSOCIATE of 0 bytes is too short (TESTSCU at 192.168.1.1:54321)",
        )

    def test_no_association(self) -> None:
        """A peer that speaks another language, or goes amid its request, is a warning; one that says nothing is not."""
        self.start("normal")
        for chunks in ([b"GET / HTTP/1.1\r\n\r\n"], [b"\1\0"], []):
            protocol = self.factory.buildProtocol(None)
            protocol.makeConnection(StringTransport())
            for chunk in chunks:
                protocol.dataReceived(chunk)
            protocol.connectionLost()
        warning = "W: Connection from 192.168.1.1:54321 ended without an association: "
        self.assert_printed(
            warning + "PDU type 47H is unknown; it may be HTTP",
            warning + "the connection was lost",
        )

    def test_unknown_operation(self) -> None:
        """A request of an operation that is not ours is a warning."""
        warning = "W: A request of TESTSCU at 192.168.1.1:54321 was refused: 0x0211 (Unrecognized Operation)"
        for verbosity, lines in {"quiet": [], "normal": [warning]}.items():
            self.start(verbosity)
            scu = self.associate()
            scu.send(1, FIND)
            scu.release()
            self.assert_printed(*lines)

    def test_storage_that_fails(self) -> None:
        """Whatever a storage raises is reported once, and the peer hears a failure."""
        sink = RecordingSink()
        sink.finished = fail(StoreFailure("the archive says no", 0xC123))
        self.start("normal", RecordingStorage(sink))
        self.store()
        self.assert_printed(
            "E: Storing 1.2.3.4.5.6 from TESTSCU at 192.168.1.1:54321 failed: the archive says no; answered 0xC123"
        )

    def test_storage_with_a_mistake(self) -> None:
        """An error that is nobody's but the storage's shows as itself, without a traceback."""
        sink = RecordingSink()
        sink.finish_error = ZeroDivisionError("division by zero")
        self.start("normal", RecordingStorage(sink))
        self.store()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assert_printed(
            "E: Storing an instance failed in an unexpected way",
            "E: division by zero",
            "E: Storing 1.2.3.4.5.6 from TESTSCU at 192.168.1.1:54321 failed: an unexpected failure; "
            "answered 0x0110 (Processing Failure)",
        )

    def test_program_log(self) -> None:
        """Events also reach whoever else observes Twisted's log, as under twistd, with their peers' text escaped."""
        self.start("verbose")
        with capturedLogs() as events:
            scu = self.associate(associate_rq(calling="\x1b[2J"))
            scu.send(1, FIND)
            scu.release()
        self.assertEqual(
            [
                "info Association Received",
                "info Association Accepted",
                r"warn A request of \x1b[2J at 192.168.1.1:54321 was refused: 0x0211 (Unrecognized Operation)",
                "info Association Released",
            ],
            [f"{event['log_level'].name} {formatEvent(event)}" for event in events],
        )


class LimitTests(LogTestCase):
    """Limits that are reached: a line says which option there is, and the lines cannot fill the disk."""

    CAUSE = "ended without an association: PDU of type 01H claims 262145 bytes, more than 262144 (--max-associate-rq)"

    def start(
        self, verbosity: str, storage: IStorage | None = None, access: Access | None = None, **options: Any
    ) -> None:
        super().start(verbosity, storage, access, **options)
        self.addCleanup(self.assert_no_calls, self.clock)

    def assert_no_calls(self, clock: Clock) -> None:
        self.assertEqual([], clock.getDelayedCalls())

    def connect(self, host: str, data: bytes = b"") -> ULProtocol:
        """A connection of this host that says this, and stays."""
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(StringTransport(peerAddress=IPv4Address("TCP", host, 104)))
        self.addCleanup(protocol.connectionLost)
        if data:
            protocol.dataReceived(data)
        return protocol

    def refuse(self, *hosts: str) -> list[str]:
        """What is printed when each of them claims too long a request."""
        before = len(self.printed.lines)
        for host in hosts:
            self.connect(host, bytes.fromhex("01 00 00040001"))
        return self.printed.lines[before:]

    def warning(self, host: str, more: str = "") -> str:
        return f"W: Connection from {host}:104 {self.CAUSE}{more}"

    def test_once_a_minute(self) -> None:
        """Of one host there is one line a minute; the next one says how many are missing before it."""
        self.start("normal")
        self.assertEqual([self.warning("a")], self.refuse("a"))
        self.clock.advance(59.9)
        self.assertEqual([], self.refuse("a", "a"))
        self.clock.advance(0.1)
        self.assertEqual([self.warning("a", "; 2 more such lines were left out")], self.refuse("a", "a", "a"))
        self.clock.advance(60)
        self.assertEqual([self.warning("a", "; 2 more such lines were left out")], self.refuse("a"))
        self.clock.advance(60)
        self.assertEqual([self.warning("a")], self.refuse("a"))

    def test_hosts(self) -> None:
        """Each host has its own; what its ports are is no matter, also where its address has colons."""
        self.start("normal")
        self.assertEqual([self.warning("a"), self.warning("b")], self.refuse("a", "b", "b", "a"))
        cause = Excess("max_contexts", "no")
        for peer in ("[::1]:1", "[::1]:2", "[::2]:1", "local", "local", "/run/a", "/run/a"):
            self.log.connection_refused(peer, cause)
        self.assertEqual(
            [
                f"W: Connection from {peer} ended without an association: no (--max-contexts)"
                for peer in ("[::1]:1", "[::2]:1", "local", "/run/a")
            ],
            self.printed.lines[2:],
        )

    def test_limits(self) -> None:
        """Each limit has its own."""
        self.start("normal")
        line = "W: Connection from a:104 ended without an association: no"
        for limit in ("max_contexts", "max_user_items", "max_contexts"):
            self.log.connection_refused("a:104", Excess(limit, "no"))
        self.assertEqual([f"{line} (--max-contexts)", f"{line} (--max-user-items)"], self.printed.lines)

    def test_kinds(self) -> None:
        """An instance that is too large does not take the line of an association that is too many."""
        self.start("normal")
        for cause in ("it is too large", "there are too many"):
            self.log.connection_refused("a:104", Excess("allow_file", cause))
        association = Association(peer="a:104", calling_ae_title="CT1", called_ae_title="STORESCP")
        request = AAbort(AAbort.SERVICE_USER, 0)
        self.log.association_aborted(association, request, Excess("allow_file", "it is too large"))
        self.assertEqual(
            [
                "W: Connection from a:104 ended without an association: it is too large (--allow-file)",
                "E: Association Aborted: it is too large (--allow-file) (CT1 at a:104)",
            ],
            self.printed.lines,
        )

    def test_mistakes(self) -> None:
        """Of what is no limit there are so many lines a minute for each host, whatever it is."""
        self.patch(logs, "LINES", 2)
        self.start("normal")
        line = "W: Connection from {} ended without an association: no"
        for peer in ("a:1", "a:2", "a:3", "a:4", "b:1"):
            self.log.connection_refused(peer, "no")
        self.refuse("a")
        self.assertEqual(
            [line.format("a:1"), line.format("a:2"), line.format("b:1"), self.warning("a")], self.printed.lines
        )
        self.clock.advance(60)
        self.log.connection_refused("a:5", "no")
        self.assertEqual(line.format("a:5") + "; 2 more such lines were left out", self.printed.lines[-1])

    def test_lines_a_minute(self) -> None:
        """These are 600 by default."""
        self.start("normal")
        for _ in range(601):
            self.log.connection_refused("a:104", "no")
        expected = {"W: Connection from a:104 ended without an association: no": 600}
        self.assertEqual(expected, dict(Counter(self.printed.lines)))

    def test_cut_off(self) -> None:
        """An instance that ends with its association is in the line of that, and spared with it."""
        request = CStoreRQ(affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid=UID)
        lines = {
            b"": "E: Association Aborted: the connection was lost; 1.2.3.4.5.6 was cut off"
            " (TESTSCU at 192.168.1.1:54321)",
            bytes.fromhex(
                "04 00 00004001"
            ): "E: Association Aborted: PDU of type 04H claims 16385 bytes, more than 16384 (-pdu/--max-pdu)"
            "; 1.2.3.4.5.6 was cut off (TESTSCU at 192.168.1.1:54321)",
            bytes.fromhex("05 00 00000004 00000000"): "W: 1.2.3.4.5.6 was cut off: "
            "the peer released the association (TESTSCU at 192.168.1.1:54321)",
        }
        for end, line in lines.items():
            self.start("normal")
            scu = self.associate()
            scu.send(3, request)
            scu.write(end)
            scu.disconnect()
            self.assert_printed(line)

    def printed_of(self, verbosity: str, reach: "Reach", options: dict[str, Any]) -> list[str]:
        """What is printed when this reaches the limit that the options set."""
        self.start(verbosity, **options)
        reach(self)
        return self.printed.lines

    def test_lines(self) -> None:
        """The line of a limit says who has reached it and which option sets it, by default and with -v; -q has none."""
        for reach, options, line in REACHED:
            self.assertEqual([line], self.printed_of("normal", reach, options))
            self.assertIn(line, self.printed_of("verbose", reach, options))
            with capturedLogs() as events:
                self.assertEqual([], self.printed_of("quiet", reach, options))
            self.assertEqual([], events)

    def test_rejected(self) -> None:
        """With -v an association that is rejected has its line of any time, and what is left out else is said too."""
        self.start("verbose", max_associations=1)
        self.associate()
        for _ in range(2):
            self.associate()
        rejected = [
            "I: Association Received",
            "I: Association Rejected: Result: Rejected Transient, Source: Service Provider (Presentation), "
            "Reason: Local Limit Exceeded",
        ]
        warning = (
            "W: An association of TESTSCU at 192.168.1.1:54321 is rejected: 1 associations are open "
            "(--max-associations)"
        )
        left_out = f"I{warning[1:]}"
        self.assertEqual([*rejected, warning, *rejected, left_out], self.printed.lines[2:])


Reach = Callable[[LimitTests], object]

# Who reaches a limit, the options that set it, and the line.
AT = "192.168.1.1:54321"
REFUSED = f"W: Connection from {AT} ended without an association: "
REACHED: list[tuple[Reach, dict[str, Any], str]] = [
    (
        lambda test: [test.associate() for _ in range(3)],
        {"max_associations": 2},
        f"W: An association of TESTSCU at {AT} is rejected: 2 associations are open (--max-associations)",
    ),
    (
        lambda test: [test.associate() for _ in range(3)],
        {"max_associations_per_peer": 2},
        f"W: An association of TESTSCU at {AT} is rejected: 2 associations with this host are open "
        "(--max-associations-per-peer)",
    ),
    (
        lambda test: [test.connect(host) for host in "abc"],
        {"max_unassociated": 2},
        "W: Connection from a:104 ended without an association: more than 2 connections are without an association "
        "(--max-unassociated)",
    ),
    (
        lambda test: test.store(),
        {"max_instance_size": 19},
        f"E: Storing 1.2.3.4.5.6 from TESTSCU at {AT} failed: it has more than 19 bytes "
        "(--max-instance-size); answered 0xA700 (Out of Resources)",
    ),
    (
        lambda test: test.connect("192.168.1.1", bytes.fromhex("01 00 00001001")),
        {"max_associate_rq": 4096},
        "W: Connection from 192.168.1.1:104 ended without an association: "
        "PDU of type 01H claims 4097 bytes, more than 4096 (--max-associate-rq)",
    ),
    (
        lambda test: test.associate(),
        {"max_contexts": 1},
        REFUSED + "more than 1 presentation contexts in an A-ASSOCIATE (--max-contexts)",
    ),
    (
        lambda test: test.associate(),
        {"max_transfer_syntaxes": 1},
        REFUSED + "more than 1 transfer syntaxes in a presentation context (--max-transfer-syntaxes)",
    ),
    (
        lambda test: test.associate(associate_rq(user_items=(MaximumLength(0), ImplementationVersionName("V")))),
        {"max_user_items": 1},
        REFUSED + "more than 1 items in User Information (--max-user-items)",
    ),
    (
        lambda test: test.associate().write(bytes.fromhex("04 00 00001007 00001003 01 01") + bytes(4097)),
        {"max_command_set": 4096},
        "E: Association Aborted: a command set of more than 4096 bytes (--max-command-set)"
        " (TESTSCU at 192.168.1.1:54321)",
    ),
    (
        lambda test: test.associate().write(bytes.fromhex("04 00 00004001")),
        {},
        "E: Association Aborted: PDU of type 04H claims 16385 bytes, more than 16384 (-pdu/--max-pdu)"
        " (TESTSCU at 192.168.1.1:54321)",
    ),
]


class HostileTextTests(LogTestCase):
    def test_shorten(self) -> None:
        """Of a line of more than 2000 characters the middle is left out: its end says what went wrong."""
        self.assertEqual("a" * 2000, shorten("a" * 2000))
        text = "b" * 1500 + "c" * 63000 + "d" * 500
        self.assertEqual("b" * 1500 + "[63000 more characters]" + "d" * 500, shorten(text))

    def test_long_names(self) -> None:
        """So a peer that gives a name of 60,000 characters does not fill the log with it."""
        self.start("normal", RecordingStorage())
        scu = self.associate()
        scu.store("9" * 60000, DATA_SET, sop_class_uid="1.2")
        scu.release()
        (line,) = self.printed.lines
        self.assertTrue(line.startswith("E: Storing 9999"))
        self.assertTrue(line.endswith("answered 0x0122 (SOP Class Not Supported)"))
        self.assertEqual(len("E: ") + 2000, len(line) - len("[58124 more characters]"))

    def test_escape(self) -> None:
        """Controls, line ends, separators and bidi controls become visible; all other text stays as it is."""
        escaped = {
            "\0\t\n\r\x1b\x1f": r"\x00\x09\x0a\x0d\x1b\x1f",
            "\x7f\x80\x85\x9b\x9f": r"\x7f\x80\x85\x9b\x9f",
            "\u061c\u200e\u200f": r"\u061c\u200e\u200f",
            "\u2028\u2029\u202a\u202b\u202c\u202d\u202e": r"\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
            "\u2066\u2067\u2068\u2069": r"\u2066\u2067\u2068\u2069",
            "\ud800\udfff": r"\ud800\udfff",
            " ~\xa0\xff{text}\\ \u65e5\u672c": " ~\xa0\xff{text}\\ \u65e5\u672c",
        }
        self.assertEqual(escaped, {text: escape(text) for text in escaped})

    def test_forged_lines(self) -> None:
        """A peer cannot end a line, move the cursor or begin a line of its own with any of its texts."""
        hostile = "\n\r\x1b[2J\x9b\x85\x7fI:"
        contexts = (PresentationContextRQ(3, CT, (EXPLICIT_LE, hostile)), PresentationContextRQ(5, hostile, (hostile,)))
        items = (
            MaximumLength(16384),
            ImplementationClassUID(hostile),
            ImplementationVersionName(hostile),
            UserIdentityRQ(1, 0, "\u202eevil\n".encode()),
        )
        self.start("debug")
        scu = self.associate(associate_rq(contexts, items, called=hostile, calling=hostile))
        scu.store(hostile, DATA_SET)
        scu.abort()
        text = r"\x0a\x0d\x1b[2J\x9b\x85\x7fI:"
        lines = self.printed.lines
        self.assertEqual(
            [
                "D: Their Implementation Class UID:    " + text,
                "D: Their Implementation Version Name: " + text,
                "D: Calling Application Name:    " + text,
                "D: Called Application Name:     " + text,
                "D:       =" + text,
                "D:     Abstract Syntax: =" + text,
                "D:       =" + text,
                r"D:   Username: \u202eevil\x0a, passcode of 0 bytes, positive response not requested",
                f"D: Presentation Context Rejected - Abstract Syntax Not Supported: {text}; "
                "--accept-unknown-sop-classes accepts it",
                "D: Responding Application Name: " + text,
                "D: Affected SOP Instance UID     : " + text,
                f"E: Storing {text} from {text} at 192.168.1.1:54321 failed: "
                "a SOP Instance UID of 11 characters is not usable; answered 0xC000 (Cannot Understand)",
                "D: Affected SOP Instance UID     : " + text,
                f"E: Association Aborted: by the peer ({text} at 192.168.1.1:54321)",
            ],
            [line for line in lines if "\\" in line],
        )
        self.assertEqual(
            [], [line for line in lines if line[:3] not in ("D: ", "I: ", "E: ") or not line.isprintable()]
        )

    def test_secrets(self) -> None:
        """No passcode and no ticket is printed at any level, however the association ends."""
        for identity in (UserIdentityRQ(2, 1, b"alice", b"s3cr3t!"), UserIdentityRQ(3, 1, b"s3cr3t!")):
            self.start("debug")
            self.associate(associate_rq(user_items=(MaximumLength(16384), identity))).abort()
            text = "\n".join(self.printed.lines)
            self.assertIn("7 bytes", text)
            self.assertNotIn("s3cr3t", text)


class Named(AssociationObserver):
    """Keeps the ids of associations, in the order in which they come."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def association_requested(self, association: Association, request: AAssociateRQ) -> None:
        self.ids.append(association.id)


class IdTestCase(LogTestCase):
    """A log, and the ids that should be in it."""

    def others(self) -> list[AssociationObserver]:
        self.named = Named()
        return [self.named]

    @property
    def own_id(self) -> str:
        """That of the only association there was."""
        (identifier,) = self.named.ids
        return identifier

    def assert_ids(self, *lines: str) -> None:
        """These lines were printed, with the id of the only association in each."""
        self.assertEqual([f"{line[:3]}[{self.own_id}] {line[3:]}" for line in lines], self.printed.with_ids)


class IdTests(IdTestCase):
    """The id of an association in each line that is about it."""

    def test_verbose(self) -> None:
        """It stands in brackets before the text of each line."""
        self.start("verbose")
        self.store()
        self.assert_ids(*STORED)

    def test_blocks(self) -> None:
        """It stands before each line of a block, also before one without text."""
        self.start("debug")
        scu = self.associate()
        scu.echo()
        scu.abort()
        lines = self.printed.lines
        self.assertTrue(len(lines) > 60, len(lines))
        self.assert_ids(*lines)
        self.assertEqual({self.own_id}, {record["association"] for record in self.printed.records})

    def test_whose(self) -> None:
        """Where several are open at a time each line has its own."""
        self.start("verbose")
        first, second = self.associate(), self.associate()
        second.echo()
        first.echo()
        first.release()
        second.abort()
        one, two = self.named.ids
        self.assertEqual([one, one, two, two, two, one, one, two], [each for each, _ in self.printed.pairs()])
        self.assertNotEqual(one, two)

    def test_rejected(self) -> None:
        """An association that is rejected has one, too, in all its lines, also in those that are left out else."""
        self.start("verbose", max_associations=1)
        for _ in range(3):
            self.associate()
        one, two, three = self.named.ids
        self.assertEqual(
            [(one, "I: Association Received"), (one, "I: Association Accepted")]
            + [
                (each, line)
                for each, letter in ((two, "W"), (three, "I"))
                for line in (
                    "I: Association Received",
                    "I: Association Rejected: Result: Rejected Transient, Source: Service Provider (Presentation), "
                    "Reason: Local Limit Exceeded",
                    f"{letter}: An association of TESTSCU at {AT} is rejected: 1 associations are open "
                    "(--max-associations)",
                )
            ],
            self.printed.pairs(),
        )

    def test_no_association(self) -> None:
        """A connection without one has none, be it refused for what it says or to make room."""
        self.start("verbose", max_unassociated=1)
        for _ in range(2):
            protocol = self.factory.buildProtocol(None)
            protocol.makeConnection(StringTransport())
            self.addCleanup(protocol.connectionLost)
        protocol.dataReceived(b"GET / HTTP/1.1")
        self.assertEqual([None, None], [each for each, _ in self.printed.pairs()])
        self.assertEqual(self.printed.lines, self.printed.with_ids)

    def test_stop(self) -> None:
        """Nor has what is about all of them, as the wait for those that have something under way."""
        sink = RecordingSink()
        sink.finished = Deferred()
        self.start("verbose", RecordingStorage(sink))
        self.associate().store(UID, DATA_SET)
        self.factory.doStop()
        with capturedLogs() as events:
            self.factory.shutdown()
        self.assertEqual(
            [("Waiting for 1 association(s) to finish what is under way", None)],
            [(formatEvent(event), event.get("association")) for event in events],
        )


class FailureIdTests(IdTestCase):
    """What is logged by others than the log of associations, when something fails that is about one."""

    def failed(self, reach: Callable[[], object]) -> list[str]:
        """What is printed, by what is not the log of associations, while this happens; all of it with the id."""
        before = len(self.printed.with_ids)
        with capturedLogs() as events:
            reach()
        others = [event for event in events if event["log_namespace"] != "storescp"]
        texts = {line for event in others for line in formatEvent(event).split("\n")}
        self.flushLoggedErrors()
        pairs = self.printed.pairs()[before:]
        self.assertEqual({self.own_id}, {identifier for identifier, _ in pairs})
        return [line for _, line in pairs if line[3:] in texts]

    def serve(self, sink: RecordingSink | None = None, **options: Any) -> RecordingStorage:
        storage = RecordingStorage(sink or RecordingSink())
        self.start("normal", storage, **options)
        return storage

    def test_finish(self) -> None:
        """A storage that fails in a way of its own."""
        sink = RecordingSink()
        sink.finish_error = ZeroDivisionError("no")
        self.serve(sink)
        self.assertEqual(["E: Storing an instance failed in an unexpected way"], self.failed(self.store))

    def test_open(self) -> None:
        """One that does so at once."""
        self.serve().open_error = ZeroDivisionError("no")
        self.assertEqual(["E: Storing an instance failed in an unexpected way"], self.failed(self.store))

    def test_answer(self) -> None:
        """An answer that cannot be sent."""
        self.serve().open_error = StoreFailure("no", 0x1A700)  # it is no status
        scu = self.associate()
        self.assertEqual(
            ["E: An answer could not be sent: this is a mistake in storescp"],
            self.failed(lambda: scu.store(UID, DATA_SET)),
        )

    def test_abort(self) -> None:
        """A sink that does not forget."""
        sink = RecordingSink()
        sink.abort_error = ZeroDivisionError("no")
        self.serve(sink)
        scu = self.associate()
        scu.send(3, CStoreRQ(affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid=UID))
        self.assertEqual(["E: A sink failed at abort"], self.failed(scu.disconnect))

    def test_room(self) -> None:
        """A sink that does not make room."""
        sink = RecordingSink()
        sink.room = fail(ZeroDivisionError("no"))
        self.serve(sink)
        self.assertEqual(["E: A sink failed to make room"], self.failed(self.store))

    def test_write(self) -> None:
        """A sink that raises where it must not: a mistake that nobody expects."""
        sink = RecordingSink()
        sink.write_error = ZeroDivisionError("no")
        self.serve(sink)
        scu = self.associate()
        self.assertEqual(
            ["E: An association failed: this is a mistake in storescp"],
            self.failed(lambda: scu.store(UID, DATA_SET)),
        )

    def test_observer(self) -> None:
        """An observer that raises."""

        class Failing(AssociationObserver):
            def association_released(self, association: Association) -> None:
                raise ZeroDivisionError

        failing = Failing()
        self.patch(self, "others", lambda: [failing, *IdTestCase.others(self)])
        self.start("normal")
        self.assertEqual([f"E: The observer {failing!r} failed at association_released"], self.failed(self.store))

    def directory(self, **rules: Any) -> None:
        storage = DirectoryStorage(make_directory(self), AtOnce(), Rules(**rules))
        self.start("normal", storage)

    def test_duplicates(self) -> None:
        """Another content of an instance that was here already, kept or overwritten."""
        for on_duplicate, line in (
            ("keep", r"W: Another CT\.1\.2\.3\.4\.5\.6 is here already: kept as CT\.1\.2\.3\.4\.5\.6\.dup-[0-9a-f]{8}"),
            ("overwrite", r"W: Another CT\.1\.2\.3\.4\.5\.6 was here: it is overwritten"),
        ):
            self.directory(on_duplicate=on_duplicate)
            self.store()
            self.named.ids.clear()
            (printed,) = self.failed(lambda: self.store(OTHER))
            self.assertRegex(printed, f"^{line}$")

    def test_writing(self) -> None:
        """A file that fails in a way of its own: as it is written, and as it is forgotten."""
        self.directory()
        self.patch(IncomingFile, "write", lambda *_: 1 / 0)
        self.patch(IncomingFile, "discard", lambda *_: 1 / 0)
        scu = self.associate()
        scu.send(3, CStoreRQ(affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid=UID))
        line = "E: Writing CT.1.2.3.4.5.6 failed in an unexpected way"
        large = bytes.fromhex("04 00 00004000  00003ffc 03 00") + bytes(16378)
        self.assertEqual([line], self.failed(lambda: scu.write(large * 41)))
        self.assertEqual([line], self.failed(scu.disconnect))

    def login(self, realm: Any, **options: Any) -> None:
        """A server that asks a portal of this realm for the user."""
        access = Access(Config(), portal=Portal(realm, [Checker()]))
        self.start("normal", RecordingStorage(), access=access, insecure_identity=True, **options)

    def test_evicted(self) -> None:
        """A request that is evicted while its user is looked for: it is an association by then."""
        self.login(FailingRealm(Deferred()), max_unassociated=1)
        self.associate(NAMED)
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        self.addCleanup(protocol.connectionLost)
        self.assert_ids(
            "E: Association Aborted: more than 1 connections are without an association (--max-unassociated) "
            f"(TESTSCU at {AT})"
        )

    def test_logout(self) -> None:
        """A user who cannot be logged out."""
        self.login(FailingRealm())
        scu = self.associate(NAMED)
        self.assertEqual(["E: A user could not be logged out"], self.failed(scu.release))

    def test_login(self) -> None:
        """A user whose name is none: the answer fails, and he is logged out, which fails, too."""
        self.login(FailingRealm(nameless=True))
        self.assertEqual(
            [
                "E: An answer could not be sent: this is a mistake in storescp",
                "E: A user could not be logged out",
            ],
            self.failed(lambda: self.associate(NAMED)),
        )

    def test_cancel(self) -> None:
        """A verification that cannot be cancelled."""
        self.login(FailingRealm(Deferred(_fail_to_cancel)))
        scu = self.associate(NAMED)
        self.assertEqual(["E: The verification of a user could not be cancelled"], self.failed(scu.disconnect))


NAMED = associate_rq(user_items=(MaximumLength(16384), UserIdentityRQ(1, 0, b"alice")))


@implementer(ICredentialsChecker)
class Checker:
    """Takes everybody for whom he says he is."""

    credentialInterfaces = (IUsername,)

    def requestAvatarId(self, credentials: Any) -> Any:
        return credentials.username


def _fail_to_cancel(_deferred: Any) -> None:
    raise ZeroDivisionError("no")


@implementer(IRealm)
class FailingRealm:
    """One with mistakes: users without a name, or whom it is long in finding, and who are never logged out."""

    def __init__(self, found: "Deferred[Any] | None" = None, nameless: bool = False) -> None:
        self._found = found
        self._user = object() if nameless else User("alice")

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
        if self._found is not None:
            return self._found
        return IUser, self._user, lambda: 1 / 0


# The modules that log what is about no association, or about all of them.
ABOUT_NONE = {
    *("program.notify", "program.process", "program.service", "program.web", "server.factory", "server.tls"),
    *("storage.directories", "storage.health", "watch.audit", "watch.site"),
}


class LogCallTests(SynchronousTestCase):
    """Every call in the source that logs something."""

    def test_about(self) -> None:
        """Each says which association it is about, but for modules that have none, and the line with the version."""
        calls = {module: formats for module, formats in anonymous_calls() if formats and module not in ABOUT_NONE}
        self.assertEqual({"program.logs": ["'{text}'"]}, calls)


def anonymous_calls() -> Iterator[tuple[str, list[str]]]:
    """Of each module the calls that log without an association, by their formats."""
    root = Path(storescp.__file__).parent
    for path in sorted(root.rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        anonymous = (call for call in calls if not any(keyword.arg == "association" for keyword in call.keywords))
        yield module, [ast.unparse(call.args[0]) for call in anonymous if ast.unparse(call.func) in LOG_CALLS]


LOG_CALLS = {f"_log.{name}" for name in ("debug", "info", "warn", "error", "critical", "failure", "emit")} | {"log"}


class SummaryTests(IdTestCase):
    """The last line of an association."""

    def others(self) -> list[AssociationObserver]:
        return [AssociationSummary(self.clock.seconds), *super().others()]

    def summary(self, **expected: Any) -> str:
        """The text of the last line, which sums up an association that these are of; it is the only summary."""
        *others, last = self.printed.records
        self.assertEqual([], [record for record in others if "summary" in record])
        self.assertEqual(
            ("info", "storescp", self.own_id, list(SUMMARY)),
            (last["level"], last["logger"], last["association"], list(last["summary"])),
        )
        self.assertEqual({**SUMMARY, **expected}, last["summary"])
        text = last["message"]
        self.assertEqual(
            (f"I: {text}", f"I: [{self.own_id}] {text}"), (self.printed.lines[-1], self.printed.with_ids[-1])
        )
        assert isinstance(text, str)
        return text

    def test_released(self) -> None:
        """One that has ended in order: who it was, what was stored, how long it took."""
        self.start("verbose", RecordingStorage())
        scu = self.associate()
        for number in range(3):
            scu.store(f"1.2.{number}", bytes(100))
        self.clock.advance(1.23456)
        scu.release()
        self.assertEqual(
            f"Association Summary: TESTSCU at {AT} to STORESCP, 3 stored, 300 bytes, 1.235 s, 0 refused, 0 cut off, "
            "released",
            self.summary(instances=3, bytes=300, seconds=1.235, ended="released"),
        )

    def test_aborted(self) -> None:
        """One that was aborted: why."""
        self.start("verbose", RecordingStorage())
        self.associate().abort()
        self.assertEqual(
            f"Association Summary: TESTSCU at {AT} to STORESCP, 0 stored, 0 bytes, 0.000 s, 0 refused, 0 cut off, "
            "aborted: by the peer",
            self.summary(ended="aborted", cause="by the peer"),
        )

    def test_refused_and_cut_off(self) -> None:
        """What was refused, and what was cut off."""
        storage = RecordingStorage()
        self.start("verbose", storage)
        scu = self.associate()
        scu.store("1.2.3", bytes(10))
        storage.open_error = StoreFailure("no")
        scu.store("1.2.4", bytes(10))
        scu.store("1.2.5", bytes(10))
        storage.open_error = None
        scu.send(3, CStoreRQ(affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid=UID))
        scu.disconnect()
        self.assertEqual(
            f"Association Summary: TESTSCU at {AT} to STORESCP, 1 stored, 10 bytes, 0.000 s, 2 refused, 1 cut off, "
            "aborted: the connection was lost",
            self.summary(instances=1, bytes=10, refused=2, cut_off=1, ended="aborted", cause="the connection was lost"),
        )

    def test_limit(self) -> None:
        """A limit that has ended it: the text names the option."""
        self.start("verbose")
        self.associate().write(bytes.fromhex("04 00 00004001"))
        cause = "PDU of type 04H claims 16385 bytes, more than 16384"
        self.assertEqual(
            f"Association Summary: TESTSCU at {AT} to STORESCP, 0 stored, 0 bytes, 0.000 s, 0 refused, 0 cut off, "
            f"aborted: {cause} (-pdu/--max-pdu)",
            self.summary(ended="aborted", cause=cause),
        )

    def test_last_line(self) -> None:
        """It is the last line at any verbosity that shows it, and there is none at others."""
        for verbosity, shown in (("quiet", 0), ("normal", 0), ("verbose", 1), ("debug", 1)):
            self.start(verbosity, RecordingStorage())
            scu = self.associate()
            scu.echo()
            scu.abort()
            summaries = [index for index, line in enumerate(self.printed.lines) if "Association Summary" in line]
            self.assertEqual([len(self.printed.lines) - 1] * shown, summaries, verbosity)

    def test_storing_after_the_connection(self) -> None:
        """While an instance is still being stored it is not yet printed: what becomes of that comes before it."""
        ends: list[tuple[Any, dict[str, int]]] = [
            (None, {"instances": 1, "bytes": 20}),
            (Failure(StoreFailure("no")), {"refused": 1}),
            (Failure(ZeroDivisionError("no")), {"refused": 1}),
        ]
        for outcome, counts in ends:
            sink = RecordingSink()
            sink.finished = finished = Deferred[Any]()
            self.start("verbose", RecordingStorage(sink))
            scu = self.associate()
            scu.store(UID, DATA_SET)
            scu.disconnect()
            self.assertEqual([], [record for record in self.printed.records if "summary" in record])
            self.clock.advance(2)
            finished.callback(outcome)
            self.flushLoggedErrors()
            self.summary(**counts, seconds=2.0, ended="aborted", cause="the connection was lost")

    def test_duplicate_after_the_connection(self) -> None:
        """So it is with the line about another content."""
        workers = ByHand()
        self.start("verbose", DirectoryStorage(make_directory(self), workers))
        self.factory.doStart()
        for data_set in (DATA_SET, OTHER):
            self.named.ids.clear()
            scu = self.associate()
            scu.store(UID, data_set)
            scu.disconnect()
            self.assertNotIn("Summary", self.printed.lines[-1])
            workers.work()
        self.factory.doStop()
        self.assertIn("is here already: kept as", self.printed.lines[-2])
        self.assertEqual([self.own_id] * 2, [each for each, _ in self.printed.pairs()][-2:])
        self.assertIn("1 stored, 30 bytes", self.printed.lines[-1])
        workers.work()

    def test_never_accepted(self) -> None:
        """Of one that was never accepted there is none."""
        self.start("verbose", require_called_aet=True)
        self.associate(associate_rq(called="OTHER"))
        self.associate(associate_rq(called="OTHER")).disconnect()
        self.assertEqual([], [record for record in self.printed.records if "summary" in record])

    def test_hostile(self) -> None:
        """A peer can forge nothing with its titles: the text is escaped, and the object is one of JSON, in ASCII."""
        hostile = "\n\x1b[2J\x9bI:"
        self.start("verbose", RecordingStorage())
        self.associate(associate_rq(called=hostile, calling=hostile)).release()
        text = r"\x0a\x1b[2J\x9bI:"
        self.assertEqual(
            f"Association Summary: {text} at {AT} to {text}, 0 stored, 0 bytes, 0.000 s, 0 refused, 0 cut off, "
            "released",
            self.summary(calling_ae_title=hostile, called_ae_title=hostile, ended="released"),
        )

    def test_long(self) -> None:
        """A cause of any length is shortened."""
        association = Association(peer=AT, calling_ae_title="TESTSCU", called_ae_title="STORESCP")
        self.start("verbose")
        summary = AssociationSummary(self.clock.seconds)
        summary.association_accepted(association, None, None)  # type: ignore[arg-type]
        cause = "b" * 1500 + "c" * 63000 + "d" * 500
        summary.association_aborted(association, None, Cause("peer", cause))  # type: ignore[arg-type]
        summary.association_ended(association)
        (record,) = self.printed.records
        self.assertEqual("b" * 1500 + "[63000 more characters]" + "d" * 500, record["summary"]["cause"])
        self.assertTrue(len(record["message"]) < 2100, len(record["message"]))

    def test_asked_for(self) -> None:
        """It is printed where ids are, or JSON, and where -v is: else no account is kept."""
        kept = {
            (verbosity, form, ids): len(
                summaries_for(Config(verbosity=verbosity, log_format=form, log_associations=ids))
            )
            for verbosity in ("quiet", "normal", "verbose", "debug")
            for form in ("text", "json")
            for ids in (False, True)
        }
        asked = {("verbose", "json"), ("debug", "json")}
        expected = {key: int(key[:2] in asked or (key[0] in ("verbose", "debug") and key[2])) for key in kept}
        self.assertEqual(expected, kept)
        self.assertEqual(
            [AssociationSummary], list(map(type, summaries_for(Config(verbosity="verbose", log_format="json"))))
        )


SUMMARY = {
    "peer": "192.168.1.1:54321",
    "calling_ae_title": "TESTSCU",
    "called_ae_title": "STORESCP",
    "instances": 0,
    "bytes": 0,
    "seconds": 0.0,
    "refused": 0,
    "cut_off": 0,
    "ended": "",
    "cause": "",
}


class TextObserverTests(SynchronousTestCase):
    def lines_of(self, verbosity: str, namespace: str) -> list[str]:
        stream = io.StringIO()
        log = Logger(namespace=namespace, observer=TextObserver(stream, verbosity))
        for level in LogLevel.iterconstants():
            log.emit(level, "at {name}", name=level.name)
        return stream.getvalue().splitlines()

    def test_levels(self) -> None:
        """Of our own events each verbosity shows its levels, with their letters."""
        lines = ["D: at debug", "I: at info", "W: at warn", "E: at error", "E: at critical"]
        shown = {"quiet": [], "normal": lines[2:], "verbose": lines[1:], "debug": lines}
        for namespace in ("storescp", "storescp.storage.directory"):
            self.assertEqual(shown, {verbosity: self.lines_of(verbosity, namespace) for verbosity in shown})

    def test_foreign_events(self) -> None:
        """Of what others log only errors are shown, and with -q none."""
        errors = ["E: at error", "E: at critical"]
        shown = {"quiet": [], "normal": errors, "verbose": errors, "debug": errors}
        self.assertEqual(shown, {verbosity: self.lines_of(verbosity, "twisted.internet") for verbosity in shown})

    def failure_lines(self, verbosity: str) -> list[str]:
        stream = io.StringIO()
        log = Logger(namespace="storescp", observer=TextObserver(stream, verbosity))
        try:
            raise ValueError("two\nlines \x1b")
        except ValueError:
            log.failure("It failed")
        return stream.getvalue().split("\n")[:-1]

    def test_failure(self) -> None:
        """A failure shows its message; every line has the prefix and is escaped."""
        self.assertEqual(["E: It failed", "E: two", r"E: lines \x1b"], self.failure_lines("normal"))

    def test_failure_with_traceback(self) -> None:
        """-d shows the traceback of a failure too."""
        lines = self.failure_lines("debug")
        self.assertEqual(["E: It failed", "E: Traceback (most recent call last):"], lines[:2])
        self.assertEqual(["E: builtins.ValueError: two", r"E: lines \x1b"], lines[-2:])
        self.assertEqual([], [line for line in lines if not line.startswith("E: ")])

    def test_event_without_anything(self) -> None:
        """An event without a level, a namespace or a text, as old code sends it, harms nothing."""
        stream = io.StringIO()
        TextObserver(stream, "debug")({})
        self.assertEqual("", stream.getvalue())
