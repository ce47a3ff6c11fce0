"""The form of the conformance statement, and the reStructuredText in which what somebody has chosen is text alone."""

import io
import re
from datetime import datetime, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storescp.config import Config
from storescp.program import conformance
from storescp.program.conformance import statement
from storescp.program.markup import literal, paragraph, table
from storescp.testing import CT_IMAGE_STORAGE
from storescp.uids import VERSION
from storescp.watch.escaping import escape
from tests.strategies import PROPERTY

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

# What would be markup.
TEXTS = (
    *("*", "**a*", "|a|", "a_", "`a`", "``a``", "`` ``", "a `` b", "`", "<a>`_", "a@b.c", "[1]_", "-- a", "- a"),
    *("1. a", "A.", "(a) b", "a)", "====", "----", "::", "a::", ":a: b", ".. image:: a.b", ">>> a", "+--+", "a  b"),
    *("http://a.b/c", "tcp:104", "$version", "${kept}", "-a  b", "/a  b", "| a", "__ a", "..", " a ", "#. a"),
    *("tcp6:104:interface=\\:\\:1", "a\\", "a\\`", "unix:a*b|c_d`e``f<g>h@", f"unix:{'long' * 60} *` :", "\x1b[31m\n"),
)
AE_TITLES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\"), max_size=16)


def document(text: str) -> Any:
    """What docutils makes of it. It must have nothing to remark."""
    try:
        from docutils.core import publish_doctree  # noqa: PLC0415
    except ImportError:
        raise SkipTest("needs docutils") from None
    options = {"report_level": 1, "halt_level": 1, "warning_stream": io.StringIO(), "_disable_config": True}
    return publish_doctree(text, settings_overrides=options)


def plain(text: str) -> str:
    """On one line: where a line ends means nothing."""
    return " ".join(text.split())


def shown(parsed: Any) -> list[str]:
    """Its paragraphs; each cell of a table has one."""
    return [plain(each.astext()) for each in parsed.findall(lambda node: node.tagname == "paragraph")]


class MarkupTests(SynchronousTestCase):
    def assert_text(self, title: str, place: str) -> None:
        """They are what they are, in a table and in prose."""
        rows = [(literal(title) or "none", literal(place) or "none"), ("a", f"{literal(place)}, {literal(place)} b")]
        name, where = (plain(escape(each)) for each in (title, place))
        expected = ["Title", "Place", name or "none", where or "none", "a", plain(f"{where}, {where} b")]
        self.assertEqual(expected, shown(document(table(("Title", "Place"), rows))))
        prose = paragraph(f"a, on {literal(place)} (b).", "", "c")
        self.assertEqual([plain(f"a, on {where} (b). c")], shown(document(prose)))

    def test_each(self) -> None:
        """What would be markup is none."""
        for text in TEXTS:
            self.assert_text(text[:16], text)

    @settings(PROPERTY, max_examples=40)
    @given(AE_TITLES, st.text(max_size=40))
    def test_any(self, title: str, place: str) -> None:
        """Whatever an AE title and an endpoint can be they are shown as."""
        self.assert_text(title, place)

    def test_table(self) -> None:
        """The first cell of a row stays on its line, and long ones beside it are wrapped between words."""
        sixty, long = "w" * 60, "w" * 70
        self.assertEqual(
            f"{'=' * 70}  {'=' * 70}  =\n"
            f"{'A':<70}  {'B':<70}  C\n"
            f"{'=' * 70}  {'=' * 70}  =\n"
            f"{long}  {sixty:<70}  c\n"
            f"{'':<70}  {long}\n"
            f"{'=' * 70}  {'=' * 70}  =",
            table(("A", "B", "C"), [(long, f"{sixty} {long}", "c")]),
        )

    def test_paragraph(self) -> None:
        """A line of prose has at most 120 characters, if no word has more, and none is broken at its hyphens."""
        first, second = "w" * 118, "--a-b"
        self.assertEqual(
            f"{first} a\n{second} {'w' * 114}\n{'w' * 121}", paragraph(f"{first} a {second}", "w" * 114, "w" * 121)
        )
        self.assertEqual("", paragraph("", ""))


class FormTests(SynchronousTestCase):
    """A whole statement is reStructuredText, in the form of PS3.2 Annex A."""

    def test_each(self) -> None:
        """Whatever is configured docutils has no remark, and finds all that has to be there."""
        self.assert_form(Config())
        self.patch(conformance, "STORAGE_SOP_CLASSES", frozenset({CT_IMAGE_STORAGE}))  # many take long
        for options in CONFIGURATIONS:
            self.assert_form(Config(**options))

    def assert_form(self, config: Config) -> None:
        """It has all sections, in order, with something in each, and no spelling whose dashes might be made nicer."""
        parsed = document(statement(config))
        titles = [each for each in parsed.findall() if each.tagname in ("title", "term")]
        titles = [each for each in titles if plain(each.astext()) in SECTIONS]
        self.assertEqual(SECTIONS, [plain(each.astext()) for each in titles], config)
        self.assertEqual([], [each for each in titles if each.parent.astext().strip() == each.astext()], config)
        self.assertEqual("DICOM Conformance Statement: storescp", parsed["title"])
        for node in parsed.findall(lambda node: node.tagname == "#text"):
            if node.parent.tagname not in ("literal", "literal_block"):
                self.assertNotIn("--", node.astext())

    def test_head(self) -> None:
        """It begins with what it is of, and when it was written: the day that is given, or today, UTC."""
        expected = [
            "DICOM Conformance Statement: storescp",
            "*************************************",
            "",
            f":Product: storescp {VERSION}, a DICOM Storage SCP",
            ":Manufacturer: the storescp authors; it is open source",
            ":Date: 2026-02-01",
        ]
        self.assertEqual(expected, statement(Config(), "2026-02-01").splitlines()[:6])
        days = [datetime.now(timezone.utc).date().isoformat()]
        today = re.findall("(?m)^:Date: (.*)$", statement(Config()))
        days.append(datetime.now(timezone.utc).date().isoformat())
        self.assertIn(today, [[day] for day in days])
