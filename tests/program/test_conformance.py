# mypy: allow-untyped-calls
"""--conformance: a statement in the form of PS3.2, which says what a server of these options does."""

import errno
import io
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import compress, product
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import attrs
import trustme
import twisted.internet
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from pydicom._uid_dict import UID_dictionary
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storescp.config import Config, ConfigError
from storescp.dimse.commands import Command, CStoreRQ, OtherRQ, read_elements
from storescp.errors import Status
from storescp.program import conformance, gate
from storescp.program.conformance import statement
from storescp.program.service import Given, assemble
from storescp.server.factory import StorageSCPFactory
from storescp.server.tls import TLS
from storescp.server.users import users_line
from storescp.storage import directory
from storescp.storage.directory import DirectoryStorage
from storescp.storage.discard import DiscardStorage
from storescp.storage.incoming import IncomingFile
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce, Workers
from storescp.testing import SCU, AAbort, UserIdentityRQ, associate_rq
from storescp.uids import IMPLEMENTATION_VERSION_NAME, VERSION
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
from tests.program.test_check import NEGOTIATED, NegotiatingTestCase, PrintingTestCase, listed_name
from tests.program.test_gate import not_installed
from tests.program.test_options import FLAGS, VALUES, ExitCodeTestCase, script
from tests.program.test_service import Reactor
from tests.recorders import RecordingSink, RecordingStorage
from tests.server import Peer
from tests.server.test_tokens import ED25519, public_pem, token
from tests.servers import SCRIPT, TWISTD, Ended
from tests.storage.disks import DATA_SET, OTHER, WRONG, ByHand, FaultyDisk, SpaceDisk, temporary, visible
from tests.strategies import PROPERTY

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = "1.2.840.113619.4.27"
IMPLICIT = "1.2.840.10008.1.2"
JPEG = "1.2.840.10008.1.2.4.50"

# PS3.2 2020a Annex A, without the letter; of the specific conformance the one for communication failures is ours.
SECTIONS = """\
1 Conformance Statement Overview
2 Table of Contents
3 Introduction
3.1 Revision History
3.2 Audience
3.3 Remarks
3.4 Terms and Definitions
3.5 Basics of DICOM Communication
3.6 Abbreviations
3.7 References
4 Networking
4.1 Implementation Model
4.1.1 Application Data Flow
4.1.2 Functional Definition of AEs
4.1.3 Sequencing of Real-World Activities
4.2 AE Specifications
4.2.1 The Storage SCP AE
4.2.1.1 SOP Classes
4.2.1.2 Association Policies
4.2.1.2.1 General
4.2.1.2.2 Number of Associations
4.2.1.2.3 Asynchronous Nature
4.2.1.2.4 Implementation Identifying Information
4.2.1.3 Association Initiation Policy
4.2.1.4 Association Acceptance Policy
4.2.1.4.1 Activity: Receive Instances
4.2.1.4.1.1 Description and Sequencing of Activities
4.2.1.4.1.2 Accepted Presentation Contexts
4.2.1.4.1.3 SOP Specific Conformance for the Verification SOP Class
4.2.1.4.1.4 SOP Specific Conformance for Storage SOP Classes
4.2.1.4.1.5 Communication Failures
4.3 Network Interfaces
4.3.1 Physical Network Interface
4.3.2 Additional Protocols
4.3.3 IPv4 and IPv6 Support
4.4 Configuration
4.4.1 AE Title/Presentation Address Mapping
4.4.1.1 Local AE Titles
4.4.1.2 Remote AE Title/Presentation Address Mapping
4.4.2 Parameters
5 Media Interchange
6 Support of Character Sets
7 Security
7.1 Security Profiles
7.2 Association Level Security
7.3 Application Level Security
8 Annexes
8.1 IOD Contents
8.1.1 Created SOP Instances
8.1.2 Usage of Attributes from Received IODs
8.1.3 Attribute Mapping
8.1.4 Coerced/Modified Fields
8.2 Data Dictionary of Private Attributes
8.3 Coded Terminology and Templates
8.4 Grayscale Image Consistency
8.5 Standard Extended/Specialized/Private SOP Classes
8.6 Private Transfer Syntaxes
""".splitlines()

# What would be markup.
TITLES = (
    *("*", "**a*", "|a|", "a_", "`a`", "``a``", "`` ``", "a `` b", "`", "<a>`_", "a@b.c", "[1]_", "-- a", "- a"),
    *("1. a", "A.", "(a) b", "a)", "====", "----", "::", "a::", ":a: b", ".. image:: a.b", ">>> a", "+--+", "a  b"),
    *("http://a.b/c", "tcp:104", "$version", "${kept}", "-a  b", "/a  b", "| a", "__ a", "..", " a ", "#. a"),
)
# Between them they have everything that a statement can say. No file that they name is there.
CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"port": 104},
    {"ignore": True},
    {"ignore": True, "max_instance_size": None},
    {"ignore": True, "max_instance_size": None, "allow_file": "allow", "accept_unknown_sop_classes": True},
    {"durability": "file", "on_duplicate": "reject", "min_free": 10**10},
    {"durability": "none", "on_duplicate": "overwrite", "max_instance_size": None},
    {"accept_all_syntaxes": True, "accept_unknown_sop_classes": True, "prefer": "big"},
    {"prefer": "implicit", "max_pdu": 4096, "max_associations": 1, "max_associations_per_peer": 1},
    {"timeout": 0.5, "acse_timeout": 1.5, "dimse_timeout": 86400, "storage_timeout": None, "grace": 0},
    {"ae_title": "ARCHIVE", "require_called_aet": True, "allow": ["CT1@10.1.2.0/24", "*"]},
    {"allow": ["CT1"], "allow_file": "allow", "audit_log": "missing/audit", "http": "tcp:8080:interface=::1"},
    {"tls_cert": "cert.pem", "port": 2762},
    {"tls_cert": "cert.pem", "tls_key": "key.pem", "tls_ca": "ca.pem", "tls_profile": "bcp195-modified"},
    {"tls_cert": "cert.pem", "tls_ca": "ca.pem", "listen": ["tls:haproxy:tcp6:2762", "haproxy:tcp:104", "ssl:1"]},
    {"listen": ["ssl:2762:privateKey=key.pem:certKey=cert.pem", "haproxy:unix:socket"]},
    {"listen": ["unix:a*b|c_d`e``f<g>h@", f"unix:{'long' * 60} *` :", "unix:\x1b[31m\n\u2028", "unix:-- \u00e4", ""]},
    {"users": "users", "allow_file": "allow"},
    {"users": "users", "jwt_key": "jwt.pem", "insecure_identity": True},
    {"auth": ["memory:anna:secret", "anonymous"]},
    {"auth": ["anonymous"], "tls_cert": "cert.pem"},
)

AE_CHARACTERS = st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\")


@attrs.frozen
class Told:
    """A statement, by the numbers of its sections."""

    text: str

    @classmethod
    def of(cls, config: Config) -> "Told":
        return cls(statement(config))

    _NUMBERED = re.compile(r"(?m)^((\d+(?:\.\d+)*) \S.*)\n(?:([=~^.-])\3+$|(?=   \S))")

    @property
    def sections(self) -> list[str]:
        return [match[1] for match in self._NUMBERED.finditer(self.text)]

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


def document(text: str) -> Any:
    """What docutils makes of it. It must have nothing to remark."""
    try:
        from docutils.core import publish_doctree  # noqa: PLC0415
    except ImportError:
        raise SkipTest("needs docutils") from None
    settings = {"report_level": 1, "halt_level": 1, "warning_stream": io.StringIO(), "_disable_config": True}
    return publish_doctree(text, settings_overrides=settings)


def plain(node: Any) -> str:
    return " ".join(node.astext().split())


class MarkupTests(SynchronousTestCase):
    """It is reStructuredText."""

    def test_each(self) -> None:
        """Whatever is configured docutils has no remark, and finds all titles, or terms, that people find."""
        for options in (*CONFIGURATIONS, *({"ae_title": title} for title in TITLES)):
            parsed = document(statement(Config(**options)))
            names = [plain(each) for each in parsed.findall() if each.tagname in ("title", "term")]
            self.assertEqual(SECTIONS, [name for name in names if name in SECTIONS], options)
            self.assertEqual("DICOM Conformance Statement: storescp", parsed["title"])

    def cells(self, text: str, title: str) -> list[str]:
        """Those of the last row of the table in this section."""
        for section in document(text).findall(lambda node: node.tagname == "section"):
            if plain(section[0]) == title:
                (*_, row) = section.findall(lambda node: node.tagname == "row")
                return [each.astext() for each in row]
        raise AssertionError(title)

    @PROPERTY
    @given(st.text(AE_CHARACTERS, min_size=1, max_size=16))
    def test_any_title(self, title: str) -> None:
        """An AE title is text and nothing else, whatever it would mean elsewhere."""
        self.patch(conformance, "STORAGE_SOP_CLASSES", frozenset({CT}))
        if title.strip():
            text = statement(Config(ae_title=title, port=104))
            expected = ["Storage SCP", " ".join(title.split()), "tcp:104"]
            cells = self.cells(text, "4.4.1.1 Local AE Titles")
            self.assertEqual(expected, [" ".join(cell.split()) for cell in cells])

    def test_endpoints(self) -> None:
        """Endpoints are each as they were given, also where they are long; what would do something is shown."""
        listen = [f"unix:{'a' * 300}", "unix:*x*", "tcp6:104:interface=\\:\\:1", "unix:a``b `c`", "unix:\x1b\n\u2028"]
        cells = self.cells(statement(Config(listen=listen)), "4.4.1.1 Local AE Titles")
        self.assertEqual([*listen[:-1], r"unix:\x1b\x0a\u2028"], " ".join(cells[2].split()).split(", "))

    def test_options(self) -> None:
        """A spelling stays what it is, also where quotes and dashes are made typographic."""
        for options in CONFIGURATIONS:
            for node in document(statement(Config(**options))).findall(lambda node: node.tagname == "#text"):
                if node.parent.tagname not in ("literal", "literal_block"):
                    self.assertNotIn("--", node.astext())


class FormTests(SynchronousTestCase):
    """It has the form of PS3.2 Annex A."""

    def test_sections(self) -> None:
        """Each has all sections, numbered, in their order, and in each something is said."""
        for options in CONFIGURATIONS:
            told = Told.of(Config(**options))
            self.assertEqual(SECTIONS, told.sections, options)
            for title, following in zip(SECTIONS, [*SECTIONS[1:], ""], strict=True):
                number = title.partition(" ")[0]
                if not following.startswith(f"{number}."):
                    self.assertNotEqual("", told.section(number).strip(), (title, options))

    def test_head(self) -> None:
        """It begins with what it is of, and when it was written: the day that is given, or today, UTC."""
        text = statement(Config(), "2026-02-01")
        self.assertEqual(
            [
                "DICOM Conformance Statement: storescp",
                "*************************************",
                "",
                f":Product: storescp {VERSION}, a DICOM Storage SCP",
                ":Date: 2026-02-01",
            ],
            text.splitlines()[:5],
        )
        days = [datetime.now(timezone.utc).date().isoformat()]
        today = re.findall("(?m)^:Date: (.*)$", statement(Config()))
        days.append(datetime.now(timezone.utc).date().isoformat())
        self.assertIn(today, [[day] for day in days])

    def test_nothing_left(self) -> None:
        """Whatever the prose leaves open is filled."""
        for options in CONFIGURATIONS:
            self.assertNotIn("$", statement(Config(**options)))


class ServingTestCase(SynchronousTestCase):
    """A server in memory as the programs make it, and what is told of it."""

    def file(self, name: str, content: str) -> str:
        path = Path(make_directory(self), name)
        path.write_text(content, encoding="utf-8")
        return str(path)

    def start(
        self, storage: Any = None, *, disk: FaultyDisk | None = None, workers: Workers | None = None, **options: Any
    ) -> Told:
        """Listen with these options until the end of the test; store in a new directory, unless there is a storage."""
        config = Config(port=11112, **options)
        self.disk, self.path = disk or FaultyDisk(), Path(make_directory(self))
        if storage is None and not config.ignore:
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


class NegotiationTests(NegotiatingTestCase):
    """SOP Classes and transfer syntaxes: those told are those accepted."""

    def test_each(self) -> None:
        """With each option, by name and UID; transfer syntaxes in the order of preference."""
        for options in NEGOTIATED:
            config = script("0", *options)
            told = Told.of(config)
            self.factory = StorageSCPFactory(config, DiscardStorage(), Clock())
            self.factory.doStart()
            syntaxes = [uid for _, uid in told.rows("4.2.1.4.1.2")]
            self.assertEqual([[listed_name(uid), uid] for uid in syntaxes], told.rows("4.2.1.4.1.2"))
            self.assert_preferred(syntaxes)

            sop_classes = [uid for _, uid, _, _ in told.rows("4.2.1.1")]
            self.assertEqual([[listed_name(uid), uid, "No", "Yes"] for uid in sop_classes], told.rows("4.2.1.1"))
            self.assertEqual(VERIFICATION, sop_classes[0])
            names = [(UID_dictionary[uid][0] or uid).casefold() for uid in sop_classes[1:]]
            self.assertEqual(sorted(names), names)
            self.assertEqual(sorted(sop_classes), sorted(self.accepted_sop_classes(syntaxes[-1])))
            self.assert_others(told, len(sop_classes) - 1, any(self.answers([(PRIVATE, (syntaxes[0],))])))

    def assert_others(self, told: Told, known: int, accepted: bool) -> None:
        """What is told of SOP Classes that the standard does not have."""
        others = ", and any that PS3.6 does not have" if accepted else ""
        self.assertEqual(
            [
                ["Verification", "1 SOP Class", "No", "Yes"],
                ["Storage", f"{known} SOP Classes{others}", "No", "Yes"],
            ],
            told.rows("1"),
        )
        in_full = f"{others} (8.5)" if accepted else ""
        self.assertEqual(f"It provides Standard Conformance to these SOP Classes{in_full}:", told.words("4.2.1.1"))
        private = (
            "Instances of any SOP Class whose UID PS3.6 does not have are accepted"
            if accepted
            else "Private SOP Classes are not accepted"
        )
        self.assertEqual(f"{private} (``--accept-unknown-sop-classes``).", told.words("8.5").partition("says. ")[2])


class ResultTests(ServingTestCase):
    """What of a request is not accepted as it is."""

    def results(self, request: AAssociateRQ) -> list[int]:
        return [context.result for context in self.answered(request).presentation_contexts]

    def test_contexts(self) -> None:
        """Another SOP Class is answered with 3, other transfer syntaxes with 4, a role that is not ours with 1."""
        words = self.start().words("4.2.1.4.1.2")
        self.assertIn("A context of another SOP Class is answered with result 3 of PS3.8 Table 9-18", words)
        self.assertIn("one with none of these transfer syntaxes with 4.", words)
        self.assertIn("where the requestor will not be SCU, the context is answered with 1.", words)
        contexts = [
            PresentationContextRQ(1, PRIVATE, (IMPLICIT,)),
            PresentationContextRQ(3, "1.2.840.10008.5.1.4.1.2.1.1", (IMPLICIT,)),  # Patient Root FIND
            PresentationContextRQ(5, CT, (JPEG,)),
            PresentationContextRQ(7, MR, (IMPLICIT,)),
            PresentationContextRQ(9, CT, (JPEG, IMPLICIT)),
        ]
        roles = [RoleSelection(MR, 0, 1), RoleSelection(CT, 1, 1)]
        self.assertEqual([3, 3, 4, 1, 0], self.results(associate_rq(contexts, roles)))

    def test_roles(self) -> None:
        """Whatever is proposed, the remote AE may be SCU, and not SCP."""
        words = self.start().words("4.2.1.4.1.2")
        self.assertIn("SCP/SCU Role Selection gets 0 for the role of an SCP;", words)
        for scp in (0, 1):
            answered = [each for each in self.items(RoleSelection(CT, 1, scp)) if isinstance(each, RoleSelection)]
            self.assertEqual([RoleSelection(CT, 1, 0)], answered)

    def test_extended(self) -> None:
        """Level 2, digital signature level 3, no coercion, whatever is proposed: PS3.4 Table B.3-1."""
        words = self.start().words("4.2.1.4.1.2")
        extended = "SOP Class Extended Negotiation of a Storage SOP Class gets level of support 2, digital signature"
        self.assertIn(
            f"{extended} support 3, and no element coercion. Common Extended Negotiation has no answer.", words
        )
        items = self.items(
            SOPClassExtendedNegotiation(CT, bytes(6)),
            SOPClassExtendedNegotiation(VERIFICATION, b"\1"),
            SOPClassCommonExtendedNegotiation(CT, "1.2.840.10008.4.2"),
        )
        self.assertEqual((SOPClassExtendedNegotiation(CT, bytes([2, 0, 3, 0, 0, 0])),), items[3:])


class AssociationTests(ServingTestCase):
    """4.2.1.2, Association Policies."""

    def test_general(self) -> None:
        """Application context and maximum length are those of the answer."""
        for length in (4096, 16384, 131072):
            told = self.start(max_pdu=length).words("4.2.1.2.1")
            context, maximum = re.findall(r"Name ([\d.]+)\. Maximum Length Received (\d+) bytes\.$", told)[0]
            answer = self.answered()
            self.assertEqual(context, answer.application_context_name)
            self.assertEqual(MaximumLength(int(maximum)), answer.user_information.first(MaximumLength))
            self.assertEqual(length, int(maximum))

    def test_implementation(self) -> None:
        """So are the implementation's class UID and version name."""
        told = self.start().words("4.2.1.2.4")
        uid, name = re.findall(r"^Implementation Class UID ([\d.]+), Implementation Version Name (\S+)\.$", told)[0]
        self.assertEqual((ImplementationClassUID(uid), ImplementationVersionName(name)), self.items()[1:])
        self.assertEqual(("2.25.167549487932267690351940239577372006664", IMPLEMENTATION_VERSION_NAME), (uid, name))

    def test_window(self) -> None:
        """So is the window of who proposes one, and so many operations are under way; else it is one."""
        told = self.start().words("4.2.1.2.3")
        most = int(re.findall(r"^As many .* proposes, (\d+) at most; one, where none is proposed\. ", told)[0])
        for proposed, performed in ((1, 1), (5, 5), (most, most), (most + 1, most), (0xFFFF, most), (0, most)):
            window = AsynchronousOperationsWindow(proposed, 7)
            self.assertEqual(AsynchronousOperationsWindow(performed, 1), self.items(window)[3])
        self.assertEqual(3, len(self.items()))
        for proposal, expected in (((AsynchronousOperationsWindow(100, 1),), most), ((), 1)):
            storage = RecordingStorage(*(_waiting() for _ in range(most + 1)))
            self.start(storage)
            scu = self.scu(associate_rq(user_items=[MaximumLength(0), *proposal]))
            for number in range(most + 1):
                scu.store(f"1.2.{number}", DATA_SET, message_id=number)
            self.assertEqual((expected, []), (len(storage.sinks), scu.statuses))

    def test_out_of_order(self) -> None:
        """They are answered as they end."""
        storage = RecordingStorage(first := _waiting(), _waiting(), last := _waiting())
        self.assertIn(" They are answered as they end, in any order. ", self.start(storage).words("4.2.1.2.3"))
        scu = self.scu(associate_rq(user_items=[AsynchronousOperationsWindow(3, 1)]))
        for number in range(3):
            scu.store(f"1.2.{number}", DATA_SET, message_id=number)
        for sink in (last, first):
            sink.finished.callback(None)
        scu.pump()
        self.assertEqual([2, 0], [each.message_id_being_responded_to for each in scu.responses])

    def test_number(self) -> None:
        """So many associations are accepted and no more, of all and of one host."""
        told = self.start(max_associations=3, max_associations_per_peer=2).words("4.2.1.2.2")
        self.assertTrue(told.startswith("At most 3 at a time, and 2 of one host. Fewer, where "), told)
        answers = [self.scu().accepted for _ in range(3)]
        self.assertEqual([True, True, False], answers)
        with_all = self.start(max_associations=3).words("4.2.1.2.2")
        self.assertTrue(with_all.startswith("At most 3 at a time, and 64 of one host. "), with_all)
        self.assertEqual([True] * 3 + [False], [self.scu().accepted for _ in range(4)])

    def test_number_of_entry(self) -> None:
        """An entry of the list may have a number of its own."""
        path = self.file("allow", "TESTSCU max-associations=2\n*\n")
        told = self.start(allow_file=path, max_associations_per_peer=1).words("4.2.1.2.2")
        entry = ", or of an entry of the list what that says. "
        self.assertTrue(told.startswith(f"At most 256 at a time, and 1 of one host{entry}"), told)
        self.assertEqual([True, True, False], [self.scu().accepted for _ in range(3)])
        others = [self.scu(associate_rq(calling="OTHER")).accepted for _ in range(2)]
        self.assertEqual([True, False], others)


def _waiting() -> RecordingSink:
    """A sink whose instance is not yet stored."""
    sink = RecordingSink()
    sink.finished = Deferred()
    return sink


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
IN_WORDS = {
    "1, 2, 2": "permanent, by the service provider (ACSE): Protocol Version Not Supported",
    "1, 1, 2": "permanent, by the service user: Application Context Name Not Supported",
    "1, 1, 7": "permanent, by the service user: Called AE Title Not Recognized",
    "1, 1, 1": "permanent, by the service user: No Reason Given",
    "1, 1, 3": "permanent, by the service user: Calling AE Title Not Recognized",
    "1, 2, 1": "permanent, by the service provider (ACSE): No Reason Given",
    "2, 3, 2": "transient, by the service provider (presentation): Local Limit Exceeded",
    "2, 3, 1": "transient, by the service provider (presentation): Temporary Congestion",
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
            self.assertEqual(
                [[each, IN_WORDS[each]] for each in expected], [row[:2] for row in told.rows("4.2.1.4.1.1")]
            )
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

    def reason(self, told: Told, numbers: str) -> str:
        """When these are answered, as it is told."""
        return {row[0]: row[2] for row in told.rows("4.2.1.4.1.1")}[numbers]

    def test_maximum_length(self) -> None:
        """The lengths are those that are told, and none besides; 0 is any."""
        low, high = re.findall(r"from (\d+) to (\d+): no answer", self.reason(self.start(), "1, 1, 1"))[0]
        refused = [length for length in range(20) if not self.scu(visit({**GOOD, "maximum length": length})).accepted]
        self.assertEqual(list(range(int(low), int(high) + 1)), refused)

    def test_in_a_row(self) -> None:
        """The disk has to fail as often as is told, and in a row."""
        told = self.start()
        self.assertEqual(
            "the disk has failed three times in a row, and does not work yet", self.reason(told, "2, 3, 1")
        )
        scu, found = self.scu(), []
        for number, code in enumerate((errno.EIO, errno.EIO, 0, errno.EIO, errno.EIO, errno.EIO)):
            if code:
                self.disk.arm(1, code, for_ever=True)
            scu.store(f"1.2.{number}", DATA_SET)
            found.append(self.scu().accepted)
            self.disk.disarm()
        self.assertEqual([True] * 5 + [False], found)

    def test_late(self) -> None:
        """A user who is not verified in the time that is told is rejected then."""
        self.patch(gate, "_in_thread", lambda *_: Deferred())
        users = self.file("users", users_line("anna", "secret"))
        told = self.start(users=users, insecure_identity=True)
        seconds = re.findall(r"^the user is not verified, or not within (\d+) s$", self.reason(told, "1, 2, 1"))[0]
        scu = self.scu(associate_rq(user_items=[UserIdentityRQ(2, 0, b"anna", b"secret")]))
        self.reactor.advance(int(seconds) - 0.1)
        scu.pump()
        self.assertIsNone(scu.answer)
        self.reactor.advance(0.1)
        scu.pump()
        self.assertEqual(AAssociateRJ(1, 2, 1), scu.answer)

    def test_conditions(self) -> None:
        """A network or a user beside the title counts as is told."""
        allow = self.file("allow", "CT1 network=10.1.2.0/24\nCT2 user=bert\n")
        told = self.start(users=self.file("users", "anna:no-passcode\n"), allow_file=allow)
        self.assertEqual(
            "the calling AE title, its network or its certificate is not in the list", self.reason(told, "1, 1, 3")
        )
        self.assertEqual(
            "the user is not verified, or not within 10 s, or not in the list", self.reason(told, "1, 2, 1")
        )
        answers = [self.scu(visit({**GOOD, "calling": calling})).answer for calling in ("CT1", "CT2")]
        self.assertEqual([AAssociateRJ(1, 1, 3), AAssociateRJ(1, 2, 1)], answers)

    def test_asked(self) -> None:
        """Before them stands what is asked of a remote AE."""
        expected: dict[str, dict[str, Any]] = {
            "nothing": {"insecure_identity": True},
            "the calling AE title and what a list says beside it": {"allow": ["*"]},
            "a certificate": {"tls_cert": "cert.pem", "tls_ca": "ca.pem"},
            "a user identity that can be verified": {"jwt_key": "jwt.pem"},
            "a user identity that can be verified, or none": {"users": "users", "auth": ["anonymous"]},
        }
        *_, title, certificate, identity, _ = expected
        every = {"allow_file": "allow", "tls_cert": "cert.pem", "tls_ca": "ca.pem", "auth": ["memory:a:b"]}
        expected[f"{title}; {certificate}; {identity}"] = every
        for asked, options in expected.items():
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
        for options in self.CONFIGURED:
            told = self.start(**options)
            scu = self.scu()
            for attempt in self.attempts():
                attempt(scu)
            expected = [[f"{status:04X}", STATUS_WORDS[status]] for status in sorted(set(scu.statuses))]
            if options.get("min_free"):  # more than there is: nothing is stored
                expected.insert(0, ["0000", "Success"])
            self.assertEqual(expected, [row[:2] for row in told.rows("4.2.1.4.1.4")], options)

    def test_known(self) -> None:
        """All that a server has are told, but the one of operations that it does not know."""
        told = [
            int(row[0], 16) for options in self.CONFIGURED for row in Told.of(Config(**options)).rows("4.2.1.4.1.4")
        ]
        self.assertEqual(set(Status) - {0x0211}, set(told))
        self.assertEqual(set(Status) - {0x0211}, set(STATUS_WORDS))

    def statuses(self, attempt: Attempt) -> list[int]:
        scu = self.scu()
        attempt(scu)
        return scu.statuses

    def test_when(self) -> None:
        """Each is answered when it is told to be."""
        allow = self.file("allow", f"TESTSCU max-instance-size={MOST}\n*\n")
        told = self.start(on_duplicate="reject", max_instance_size=2 * MOST, allow_file=allow, min_free=0)
        self.assertEqual(
            {
                "0000": "the instance is stored, as above",
                "0110": "the disk has failed, otherwise than for want of room, or this server has",
                "0111": "another content of its UID is there",
                "0122": "its SOP Class is not that of its presentation context, or is Verification",
                "0212": "an element of the request is missing or has another type, or there is no data set",
                "A700": f"it has more than 2000 bytes; it has more bytes than its entry of the list allows; {NO_ROOM}",
                "A900": "its data set names another SOP Class or Instance",
                "C000": "its data set begins as a file does, or its UID is empty, longer than 128 characters or not "
                "printable",
            },
            {row[0]: row[2] for row in told.rows("4.2.1.4.1.4")},
        )
        other_class = WRONG.replace(b"1.2.4", b"1.2.3").replace(b".1.1.2\0", b".1.1.4\0")
        expected = {
            0x0000: [store("1.2.3", DATA_SET)],
            0x0111: [store("1.2.3", OTHER)],
            0x0122: [store("1.2.4", b"", MR), store("1.2.4", b"", VERIFICATION, 1)],
            0x0212: [send(0x1000), send(0x0700, b"1"), store("1.2.4", None)],
            0xA900: [store("1.2.3", WRONG), store("1.2.3", other_class)],
            0xC000: [store("1.2.4", AS_FILE), *(store(uid, b"") for uid in ("", "x" * 129, "1.2\n"))],
        }
        for status, codes in ERRORS.items():
            expected[status] = [self.failing(1, code, store("1.2.4", DATA_SET)) for code in codes]
        for status, attempts in expected.items():
            self.assertEqual([[status]] * len(attempts), list(map(self.statuses, attempts)), f"{status:04X}")
        self.assertEqual([], self.flushLoggedErrors())

    def test_too_large(self) -> None:
        """An instance of one byte more than is told is refused, by the option, or by the entry of who sends it."""
        allow = self.file("allow", f"CT1 max-instance-size={MOST}\n*\n")
        for ignore in (False, True):
            told = self.start(max_instance_size=2 * MOST, allow_file=allow, ignore=ignore)
            reasons = dict(row[::2] for row in told.rows("4.2.1.4.1.4"))["A700"].split("; ")
            most = int(re.findall(r"^it has more than (\d+) bytes$", reasons[0])[0])
            self.assertEqual(["it has more bytes than its entry of the list allows"], reasons[1:2])
            for calling, bytes_allowed in (("CT1", MOST), ("CT2", most)):
                scu = self.scu(associate_rq(calling=calling))
                scu.store("1.2.3", bytes(bytes_allowed))
                scu.store("1.2.4", bytes(bytes_allowed + 1))
                self.assertEqual([0x0000, 0xA700], scu.statuses)

    def test_least(self) -> None:
        """Where one byte less is free than is told an instance is refused."""
        disk = SpaceDisk(10**10, 10**10 - 1)
        told = self.start(disk=disk, min_free=10**10)
        reason = dict(row[::2] for row in told.rows("4.2.1.4.1.4"))["A700"].rpartition("; ")[2]
        self.assertEqual("fewer than 10000000000 bytes are free", reason)
        scu = self.scu()
        for uid in ("1.2.3", "1.2.4"):
            scu.store(uid, DATA_SET)
        self.assertEqual([0x0000, 0xA700], scu.statuses)

    def test_own_failure(self) -> None:
        """What nobody has thought of is a Processing Failure, too."""
        self.start()
        self.patch(IncomingFile, "publish", lambda *_: 1 // 0)
        self.assertEqual([0x0110], self.statuses(store("1.2.3", DATA_SET)))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_later(self) -> None:
        """What is taken later, and what is refused again, is what is told."""
        told = self.start(on_duplicate="reject", max_instance_size=MOST)
        self.assertIn(
            "After 0110, or A700 for want of room, the instance may be taken later; else it is refused again.",
            told.words("4.2.1.4.1.4"),
        )
        for code, status in ((errno.EIO, 0x0110), (errno.ENOSPC, 0xA700)):
            attempt = store(f"1.2.{code}", DATA_SET)
            self.assertEqual([[status], [0]], [*map(self.statuses, (self.failing(1, code, attempt), attempt))])
        for status, attempt in (
            (0xA700, store("1.2.3", bytes(MOST + 1))),
            (0x0111, store(f"1.2.{errno.EIO}", OTHER)),
            (0x0122, store("1.2.3", DATA_SET, MR)),
            (0x0212, store("1.2.3", None)),
            (0xA900, store("1.2.3", WRONG)),
            (0xC000, store("1.2.3", AS_FILE)),
        ):
            self.assertEqual([[status]] * 2, [self.statuses(attempt) for _ in range(2)])

    def test_others(self) -> None:
        """Any other operation is answered with 0211, but a C-CANCEL; a C-ECHO with 0000, or 0212."""
        told = self.start()
        unknown = (
            "Any other operation is answered with 0211, Unrecognized Operation, but a C-CANCEL, which has no response."
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


class StorageTests(ServingTestCase):
    """4.2.1.4.1.4: what becomes of an instance."""

    def words(self, **options: Any) -> str:
        return self.start(**options).words("4.2.1.4.1.4")

    def test_kept(self) -> None:
        """The file ends with the bytes that came, in the transfer syntax that was negotiated."""
        words = self.words()
        self.assertIn("Level 2 (Full) of PS3.4 B.4.1", words)
        self.assertIn("byte for byte what came, in the transfer syntax in which it came", words)
        self.scu().store("1.2.3", DATA_SET)
        stored = (self.path / "CT.1.2.3").read_bytes()
        self.assertEqual((b"DICM", DATA_SET), (stored[128:132], stored[-len(DATA_SET) :]))
        self.assertIn(b"UI\x14\x001.2.840.10008.1.2.1\0", stored)

    def test_success(self) -> None:
        """Success comes after as many syncs as are told: of the file and its name, of the file, or none."""
        expected = {
            "full": ("the file and its name are on the disk (fsync of both)", 2),
            "file": ("the content of the file is on the disk (fsync), and it has its name", 1),
            "none": ("the file has its name; nothing is synced", 0),
        }
        for durability, (told, syncs) in expected.items():
            self.assertIn(f"Success says that {told}. ", self.words(durability=durability))
            self.disk.calls.clear()
            scu = self.scu()
            scu.store("1.2.3", DATA_SET)
            self.assertEqual(([0], syncs), (scu.statuses, self.disk.calls.count("fsync")))

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
            self.assertIn(f"another content of a UID that is there {told}. Files are never removed.", words)
            scu = self.scu()
            for data in (DATA_SET, DATA_SET, OTHER):
                scu.store("1.2.3", data)
            files = sorted(each.read_bytes()[-len(DATA_SET) :] for each in self.path.glob("CT.*"))
            self.assertEqual(([0, 0, status], left), (scu.statuses, files))

    def test_ignored(self) -> None:
        """With --ignore nothing is stored, and nothing claimed; all places say the same."""
        told = self.start(ignore=True)
        self.assertEqual(
            "It accepts, without conformance to PS3.4 Annex B (4.2.1.4.1.4), these SOP Classes:", told.words("4.2.1.1")
        )
        self.assertIn("answered and forgotten (``--ignore``)", told.words("4.2.1.4.1.4"))
        self.assertIn("-> | nothing |", told.words("4.1.1"))
        self.assertIn("by C-STORE receives instances and forgets them.", told.words("4.1.2"))
        self.assertTrue(told.words("1").startswith("storescp receives instances and forgets them."))
        self.assertTrue(told.words("5").endswith(" No file is written."))
        self.assertEqual("None.", told.words("8.1.2"))
        self.scu().store("1.2.3", DATA_SET)
        self.assertEqual([], os.listdir(self.path))


class TimerTests(ServingTestCase):
    """4.2.1.4.1.5: what runs out, and when."""

    def seconds(self, told: Told, timer: str) -> tuple[float, str]:
        """How long it is, and what is told to follow."""
        rows = {row[0]: row[1:] for row in told.rows("4.2.1.4.1.5")}
        seconds, what = rows[timer]
        return float(seconds), what.rpartition(": ")[2]

    def assert_aborted(self, scu: SCU, seconds: float) -> None:
        self.assert_runs_out(scu, seconds, lambda: scu.ended == AAbort(0, 0))

    def assert_runs_out(self, scu: SCU, seconds: float, over: Callable[[], bool]) -> None:
        self.reactor.advance(seconds - 0.1)
        scu.pump()
        self.assertFalse(over())
        self.reactor.advance(0.1)
        scu.pump()
        self.assertTrue(over())

    def test_artim(self) -> None:
        """Who says nothing is closed."""
        seconds, follows = self.seconds(self.start(acse_timeout=7.5), "ARTIM (``-ta``)")
        self.assertEqual((7.5, "close"), (seconds, follows))
        peer = Peer(self.factory)
        self.addCleanup(peer.disconnect)
        self.reactor.advance(7.4)
        self.assertFalse(peer.transport.disconnecting)
        self.reactor.advance(0.1)
        self.assertEqual((b"", True), (peer.heard(), peer.transport.disconnecting))

    def test_idle(self) -> None:
        """A message that does not go on, and a peer that says nothing, are aborted, or never are."""
        for option, timer in (("dimse_timeout", "DIMSE (``-td``)"), ("timeout", "Network (``-to``)")):
            options: dict[str, Any] = {option: 60}
            seconds, follows = self.seconds(self.start(**options), timer)
            self.assertEqual("A-ABORT", follows)
            scu = self.scu()
            scu.begin_store("1.2.3")
            self.assert_aborted(scu, seconds)
            told = self.start()
            self.assertIn("unlimited", dict(row[:2] for row in told.rows("4.2.1.4.1.5"))[timer])
            scu = self.scu()
            scu.begin_store("1.2.3")
            self.reactor.advance(86400 * 365)
            scu.pump()
            self.assertIsNone(scu.ended)

    def test_unread(self) -> None:
        """Who does not read is reset."""
        seconds, follows = self.seconds(self.start(), "Unread (fixed)")
        self.assertEqual("reset", follows)
        scu = self.scu()
        producer: Any = scu.scp_transport.producer
        producer.pauseProducing()
        self.assert_runs_out(scu, seconds, lambda: scu.scp_transport.disconnected)

    def test_close(self) -> None:
        """A close that does not come to its end is a reset."""
        told = self.start()
        seconds, follows = self.seconds(told, "Close (fixed)")
        self.assertEqual("reset", follows)
        peer = Peer(self.factory)
        self.addCleanup(peer.disconnect)
        self.reactor.advance(self.seconds(told, "ARTIM (``-ta``)")[0])
        self.reactor.advance(seconds - 0.1)
        self.assertEqual((True, False), (peer.transport.disconnecting, peer.transport.disconnected))
        self.reactor.advance(0.1)
        self.assertTrue(peer.transport.disconnected)

    def test_gone(self) -> None:
        """The system is told after how long a host is lost that acknowledges nothing."""
        seconds, follows = self.seconds(self.start(), "Gone (fixed)")
        options = self.reactor.listening[0].socket.options
        self.assertEqual("lost", follows)
        self.assertEqual(seconds * 1000, options[socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT])

    def test_storage(self) -> None:
        """Whose instance the disk does not take is aborted; without durability that is one that has to be compared."""
        for durability, what in (
            ("full", "the disk does not take an instance"),
            ("none", "an instance is not compared with the one that is there"),
        ):
            told = self.start(workers=ByHand(), durability=durability, storage_timeout=5)
            self.assertEqual(["Storage", "5", f"{what}: A-ABORT"], told.rows("4.2.1.4.1.5")[-1])
            scu = self.scu()
            if durability == "none":
                self.assertEqual(0, scu.store("1.2.3", DATA_SET).status)  # type: ignore[union-attr]
            self.assertIsNone(scu.store("1.2.3", OTHER))
            self.assert_aborted(scu, 5)

    def test_ignored(self) -> None:
        """Where nothing is stored nothing waits for a disk."""
        self.assertEqual("Gone (fixed)", self.start(ignore=True).rows("4.2.1.4.1.5")[-1][0])


class FailureTests(ServingTestCase):
    """4.2.1.4.1.5: what else ends an association."""

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
        answered = "Another type is rejected. Who asks for a positive response gets it."
        in_clear = "Passcodes and tokens are taken without TLS, too."
        of_users, of_token = "type 1, a name, and 2, a name and a passcode", "type 5, a JSON Web Token"
        of_checker = "the types of a checker (``--auth``)"
        none = "Who sends no User Identity (PS3.7 D.3.3.7) is accepted."
        memory = ["memory:bert:secret"]
        expected: list[tuple[str, list[int], dict[str, Any]]] = [
            (f"{verified}{of_users}. {answered} {in_clear}", [1, 2], {"users": self.users}),
            (f"{verified}{of_token}. {answered} {in_clear}", [5], {"jwt_key": self.key}),
            (
                f"{verified}{of_users}; {of_token}. {answered} {in_clear}",
                [1, 2, 5],
                {"users": self.users, "jwt_key": self.key},
            ),
            (f"{verified}{of_checker}. {answered} {in_clear}", [2], {"auth": memory}),
            (
                f"{none} One that is sent is verified: {of_checker}. {answered} {in_clear}",
                [0, 2],
                {"auth": [*memory, "anonymous"]},
            ),
            (f"{none} Who sends one is rejected: none can be verified.", [0], {"auth": ["anonymous"]}),
        ]
        for words, types, options in expected:
            told = self.start(insecure_identity=True, **options)
            self.assertEqual(words, told.words("7.2"))
            self.assertEqual({each: each > 0 for each in types}, self.accepted(), options)

    def test_not_looked_at(self) -> None:
        """Without such an option any is accepted, and gets no response."""
        told = self.start()
        words = "A User Identity (PS3.7 D.3.3.7) is not looked at, and gets no response."
        self.assertEqual((words, dict.fromkeys(range(6), False)), (told.words("7.2"), self.accepted()))

    def test_in_clear(self) -> None:
        """Unless it is allowed no secret is taken without TLS."""
        told = self.start(users=self.users, jwt_key=self.key)
        self.assertTrue(told.words("7.2").endswith(" Passcodes and tokens are taken over TLS alone."))
        self.assertEqual({1: True}, self.accepted())

    def test_networks(self) -> None:
        """Where only networks are allowed others are reset, and hear nothing."""
        told = self.start(allow=["CT1@10.1.2.0/24", "CT2@192.168.1.1"])
        sentence = (
            "Where it names networks for every title, a connection from another one is reset before anything is sent."
        )
        self.assertIn(sentence, told.words("7.2"))
        for host, reset in (("10.1.3.1", True), ("10.1.2.1", False), ("192.168.1.1", False)):
            peer = Peer(self.factory, IPv4Address("TCP", host, 104))
            self.addCleanup(peer.disconnect)
            self.assertEqual((reset, b""), (peer.transport.disconnected, peer.heard()))

    def test_demands(self) -> None:
        """What else is demanded is told."""
        words = Told.of(
            Config(require_called_aet=True, allow_file="allow", tls_cert="cert.pem", tls_ca="ca.pem")
        ).words("7.2")
        for each in (
            "The AE title of 4.4.1 has to be called. ",
            "The calling AE title has to be in a list, which may demand a network, a certificate or a user beside it. ",
            "A certificate is demanded, by 7.1. ",
        ):
            self.assertIn(each, words)

    def test_cipher_suites(self) -> None:
        """The cipher suites are those that OpenSSL is told, in its order, and a certificate is demanded as is told."""
        authority = trustme.CA()
        pem = self.file("cert.pem", authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes().decode())
        ca = self.file("ca.pem", authority.cert_pem.bytes().decode())
        profiles = {
            "bcp195": "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile, PS3.15 B.12",
            "bcp195-modified": "Modified BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile, PS3.15 B.13",
        }
        for profile, name in profiles.items():
            for authorities, demanded in ((None, "not asked for"), (ca, "demanded")):
                told = Told.of(Config(tls_cert=pem, tls_ca=authorities, tls_profile=profile, port=2762))
                connection = TLS(pem, pem, authorities, profile).serverConnectionForTLS(mock.Mock())
                rows = told.rows("7.1")
                known = connection.get_cipher_list()
                self.assertEqual(sorted(known), sorted(suite for suite, _ in rows))
                for version in ("1.2", "1.3"):
                    suites = [suite for suite, each in rows if each == version]
                    self.assertEqual(suites, [suite for suite in known if suite in suites])
                    self.assertEqual({version == "1.3"}, {suite.startswith("TLS_") for suite in suites})
                self.assertEqual(authorities is not None, connection.get_context().get_verify_mode() != SSL.VERIFY_NONE)
                words = told.words("7.1")
                self.assertTrue(
                    words.startswith(f"{name}, on the endpoints of 4.4.1 that begin with ``tls:``. "), words
                )
                self.assertIn(f"A certificate of the remote AE is {demanded}.", words)

    def test_other_tls(self) -> None:
        """TLS of Twisted's own is told apart from it, and no TLS is told."""
        without = Told.of(Config(port=104)).words("7.1")
        self.assertEqual("None: what is sent is not encrypted (``--tls-cert``).", without)
        by_twisted = "TLS of the endpoints that begin with ``ssl:`` is by none of the profiles of PS3.15."
        for listen in ("ssl:2762", "haproxy:ssl:2762"):
            self.assertEqual(by_twisted, Told.of(Config(listen=["tcp:104", listen])).words("7.1"))
            both = Told.of(Config(tls_cert="cert.pem", listen=["tls:tcp:104", listen])).words("7.1")
            self.assertIn(f" {by_twisted} These cipher suites ", both)

    def test_audit(self) -> None:
        """An audit log is told, with what it is not."""
        self.assertEqual("None.", Told.of(Config()).words("7.3"))
        self.assertEqual(
            "Associations and refusals are written to a file (``--audit-log``), not in the form of PS3.15 A.5.",
            Told.of(Config(audit_log="audit")).words("7.3"),
        )


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

    def test_protocols(self) -> None:
        """What is spoken beside DICOM."""
        proxied = "The PROXY protocol, before anything else, on the endpoints of 4.4.1 with ``haproxy:`` in them."
        http = "HTTP, to be watched, on ``8080`` (``--http``)."
        expected: dict[str, dict[str, Any]] = {
            "None.": {"listen": ["unix:haproxy:"]},
            proxied: {"listen": ["haproxy:tcp:104"]},
            http: {"http": "8080"},
            f"{proxied} {http}": {
                "http": "8080",
                "tls_cert": "cert.pem",
                "listen": ["tls:haproxy:tcp:2762", "tcp:104"],
            },
        }
        for words, options in expected.items():
            self.assertEqual(words, Told.of(Config(**options)).words("4.3.2"))

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
        """It is the statement of what was asked for, with a port or without."""
        self.assert_told(Config())
        self.assert_told(Config(port=104, ae_title="A B", ignore=True), "104", "-aet", "A B", "--ignore")
        self.assert_told(Config(listen=["tcp6:104"], verbosity="quiet"), "--listen=tcp6:104", "-q")

    def test_file(self) -> None:
        """So it is with a file, of which the command line wins."""
        path = os.path.join(make_directory(self), "storescp.toml")
        with open(path, "w") as file:
            file.write('listen = ["tcp:104"]\naetitle = "ARCHIVE"\nrequire-called-aet = true\nmax-pdu = 4096\n')
        expected = Config(listen=["tcp:104"], ae_title="ARCHIVE", require_called_aet=True, max_pdu=8192)
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
            (("--bogus",), 2, "unrecognized arguments: --bogus"),
            (("--check",), 2, "argument --check: not allowed with argument --conformance"),
            (("-pdu", "1"), 2, "argument -pdu/--max-pdu: must be from 4096 to 131072, not 1"),
            (("--tls-key=key.pem",), 2, "argument --tls-key: is of no use without --tls-cert"),
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

    def test_nowhere(self) -> None:
        """Who asks for the statement of a Config gets the same complaint as an error."""
        error = self.assertRaises(ConfigError, statement, Config(tls_cert="cert.pem", listen=["tcp:104"]))
        self.assertEqual("listen", error.field)


class ProcessTests(PrintingTestCase):
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

    def test_head(self) -> None:
        """Whoever has seen enough gets the beginning, and no complaint."""
        command = ("sh", "-c", '"$@" | head -n 1', "sh", *SCRIPT, "--conformance")
        expected = Ended(0, "DICOM Conformance Statement: storescp\n", "")
        self.assertEqual(expected, self.run_program(command=command).ended())
        self.assertEqual([Ended(0, "", "")] * 2, self.cut_short("--conformance"))
