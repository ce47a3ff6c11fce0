"""The text blocks of -d, line by line."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from storescp.dimse.commands import CEchoRQ, CEchoRSP, Command, CStoreRQ, CStoreRSP, OtherRQ, OtherRSP
from storescp.interfaces import PresentationContext
from storescp.program import dump
from storescp.testing import associate_rq
from storescp.ul.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    PresentationContextAC,
    PresentationContextRQ,
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
    UserItem,
)
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
STORAGE = "1.2.840.10008.4.2"

BEGIN_RQ = "====================== BEGIN A-ASSOCIATE-RQ ====================="
END_RQ = "======================= END A-ASSOCIATE-RQ ======================"
BEGIN_AC = "====================== BEGIN A-ASSOCIATE-AC ====================="
END_AC = "======================= END A-ASSOCIATE-AC ======================"
INCOMING = "===================== INCOMING DIMSE MESSAGE ===================="
OUTGOING = "===================== OUTGOING DIMSE MESSAGE ===================="
END_MESSAGE = "======================= END DIMSE MESSAGE ======================="
BEGIN_ABORT = "========================== BEGIN A-ABORT ========================"
END_ABORT = "=========================== END A-ABORT ========================="

# Columns of "=" on the left and on the right, as promised.
BANNERS = {
    BEGIN_RQ: (22, 21),
    END_RQ: (23, 22),
    BEGIN_AC: (22, 21),
    END_AC: (23, 22),
    INCOMING: (21, 20),
    OUTGOING: (21, 20),
    END_MESSAGE: (23, 23),
    BEGIN_ABORT: (26, 24),
    END_ABORT: (27, 25),
}


def associate_ac(contexts: tuple[PresentationContextAC, ...] = (), *items: UserItem) -> AAssociateAC:
    return AAssociateAC(
        protocol_version=1,
        called_ae_title="STORESCP",
        calling_ae_title="TESTSCU",
        reserved=bytes(32),
        application_context_name="1.2.840.10008.3.1.1.1",
        presentation_contexts=contexts,
        user_information=UserInformation(items),
    )


def context(transfer_syntax: str = EXPLICIT_LE) -> PresentationContext:
    return PresentationContext(context_id=41, abstract_syntax=CT, transfer_syntax=transfer_syntax)


class BannerTests(SynchronousTestCase):
    def test_columns(self) -> None:
        """The banners that these tests expect are the promised ones: 65 columns, so many on each side."""
        for banner, (left, right) in BANNERS.items():
            title = banner.strip("=")
            self.assertEqual((65, "=" * left + title + "=" * right), (len(banner), banner))
            self.assertEqual(title, f" {title.strip()} ")


class AssociateRQTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A request shows who sends it, what it proposes, and that it negotiates nothing more."""
        contexts = (
            PresentationContextRQ(1, VERIFICATION, (IMPLICIT_LE,)),
            PresentationContextRQ(41, CT, (EXPLICIT_LE, EXPLICIT_BE, IMPLICIT_LE)),
        )
        items = (
            MaximumLength(16384),
            ImplementationClassUID("1.2.276.0.7230010.3.0.3.6.7"),
            ImplementationVersionName("OFFIS_DCMTK_367"),
        )
        self.assertEqual(
            [
                BEGIN_RQ,
                "Their Implementation Class UID:    1.2.276.0.7230010.3.0.3.6.7",
                "Their Implementation Version Name: OFFIS_DCMTK_367",
                "Application Context Name:    1.2.840.10008.3.1.1.1",
                "Calling Application Name:    STORESCU",
                "Called Application Name:     ANY-SCP",
                "Their Max PDU Receive Size:  16384",
                "Presentation Contexts:",
                "  Context ID:        1 (Proposed)",
                "    Abstract Syntax: =Verification SOP Class",
                "    Proposed SCP/SCU Role: Default",
                "    Proposed Transfer Syntax(es):",
                "      =Implicit VR Little Endian",
                "  Context ID:        41 (Proposed)",
                "    Abstract Syntax: =CT Image Storage",
                "    Proposed SCP/SCU Role: Default",
                "    Proposed Transfer Syntax(es):",
                "      =Explicit VR Little Endian",
                "      =Explicit VR Big Endian",
                "      =Implicit VR Little Endian",
                "Requested Extended Negotiation: None",
                "Requested Common Extended Negotiation: None",
                "Requested Asynchronous Operations Window Negotiation: None",
                "Requested User Identity Negotiation: None",
                END_RQ,
            ],
            dump.associate_rq(associate_rq(contexts, items, called="ANY-SCP", calling="STORESCU")),
        )

    def test_columns_of_values(self) -> None:
        """The first two values start at column 36, the others of the head at column 30."""
        items = (MaximumLength(7), ImplementationClassUID("7"), ImplementationVersionName("7"))
        request = associate_rq((), items, called="7", calling="7")
        lines = dump.associate_rq(request)[1:7]
        self.assertEqual([36, 36, 30, 30, 30, 30], [len(line) - len(line.split(":")[1].lstrip()) + 1 for line in lines])

    def test_nothing_said(self) -> None:
        """A peer that proposes nothing and does not name itself gets the same block, with empty values."""
        self.assertEqual(
            [
                BEGIN_RQ,
                "Their Implementation Class UID:    ",
                "Their Implementation Version Name: ",
                "Application Context Name:    1.2.840.10008.3.1.1.1",
                "Calling Application Name:    ",
                "Called Application Name:     ",
                "Their Max PDU Receive Size:  0",
                "Presentation Contexts:",
                "Requested Extended Negotiation: None",
                "Requested Common Extended Negotiation: None",
                "Requested Asynchronous Operations Window Negotiation: None",
                "Requested User Identity Negotiation: None",
                END_RQ,
            ],
            dump.associate_rq(associate_rq((), (), called=" ", calling="\0" * 16)),
        )

    def test_roles(self) -> None:
        """The role that is proposed for a SOP Class stands with each of its contexts."""
        proposed = {(0, 0): "None", (1, 0): "SCU", (0, 1): "SCP", (1, 1): "SCP/SCU", (255, 2): "SCP/SCU"}
        for (scu, scp), word in proposed.items():
            lines = dump.associate_rq(
                associate_rq(
                    (PresentationContextRQ(1, CT, (IMPLICIT_LE,)), PresentationContextRQ(3, MR, (IMPLICIT_LE,))),
                    (RoleSelection(CT, scu, scp),),
                )
            )
            self.assertEqual(
                [f"    Proposed SCP/SCU Role: {word}", "    Proposed SCP/SCU Role: Default"],
                [line for line in lines if "Role" in line],
            )

    def test_unknown_syntaxes(self) -> None:
        """A UID that has no name is shown itself."""
        lines = dump.associate_rq(associate_rq((PresentationContextRQ(5, "1.2.3.4", ("1.2.3.5",)),)))
        self.assertEqual(
            [
                "  Context ID:        5 (Proposed)",
                "    Abstract Syntax: =1.2.3.4",
                "    Proposed SCP/SCU Role: Default",
                "    Proposed Transfer Syntax(es):",
                "      =1.2.3.5",
            ],
            lines[8:13],
        )

    def test_negotiation(self) -> None:
        """What is negotiated beyond the contexts is shown with its contents, a line each."""
        items = (
            SOPClassExtendedNegotiation(CT, bytes([2, 0, 3, 0, 1])),
            SOPClassExtendedNegotiation(MR, b""),
            SOPClassCommonExtendedNegotiation(ENHANCED_SR, STORAGE, (SR, "1.2.3.4")),
            SOPClassCommonExtendedNegotiation(CT, STORAGE),
            AsynchronousOperationsWindow(5, 0),
            UserIdentityRQ(1, 1, b"alice"),
        )
        self.assertEqual(
            [
                "Requested Extended Negotiation:",
                "  CT Image Storage: 02 00 03 00 01",
                "  MR Image Storage: ",
                "Requested Common Extended Negotiation:",
                "  Enhanced SR Storage: Storage Service Class, related: Comprehensive SR Storage, 1.2.3.4",
                "  CT Image Storage: Storage Service Class, related: none",
                "Requested Asynchronous Operations Window Negotiation:",
                "  Maximum Invoked: 5, Maximum Performed: 0",
                "Requested User Identity Negotiation:",
                "  Username: alice, passcode of 0 bytes, positive response requested",
                END_RQ,
            ],
            dump.associate_rq(associate_rq((), items))[8:],
        )

    def test_secrets(self) -> None:
        """Of a passcode, a ticket, an assertion, a token or what is unknown only the length is shown."""
        secret = b"0123456789abcdef"
        shown = {
            UserIdentityRQ(1, 0, b"alice", secret): "Username: alice, passcode of 16 bytes",
            UserIdentityRQ(2, 0, b"alice", secret): "Username and Passcode: alice, passcode of 16 bytes",
            UserIdentityRQ(3, 0, secret): "Kerberos: 16 bytes",
            UserIdentityRQ(4, 0, secret): "SAML: 16 bytes",
            UserIdentityRQ(5, 0, secret): "JSON Web Token: 16 bytes",
            UserIdentityRQ(9, 0, secret, secret): "Type 9: 16 bytes",
        }
        for item, text in shown.items():
            block = dump.associate_rq(associate_rq((), (item,)))
            self.assertEqual(f"  {text}, positive response not requested", block[-2])
            self.assertNotIn("456789", "\n".join(block))
            self.assertNotIn("30 31", "\n".join(block))

    def test_user_name_that_is_not_utf_8(self) -> None:
        """A user's name in another encoding harms nothing."""
        block = dump.associate_rq(associate_rq((), (UserIdentityRQ(1, 0, b"M\xfcller"),)))
        self.assertEqual("  Username: M\ufffdller, passcode of 0 bytes, positive response not requested", block[-2])


class AssociateACTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """An answer shows who we are and what became of each context, and why."""
        answer = associate_ac(
            (
                PresentationContextAC(1, 0, IMPLICIT_LE),
                PresentationContextAC(3, 1, IMPLICIT_LE),
                PresentationContextAC(5, 2, IMPLICIT_LE),
                PresentationContextAC(7, 3, IMPLICIT_LE),
                PresentationContextAC(9, 4, IMPLICIT_LE),
                PresentationContextAC(255, 0, EXPLICIT_BE),
            ),
            MaximumLength(131072),
            ImplementationClassUID("2.25.1"),
            ImplementationVersionName("STORESCP_9"),
        )
        self.assertEqual(
            [
                BEGIN_AC,
                "Our Implementation Class UID:      2.25.1",
                "Our Implementation Version Name:   STORESCP_9",
                "Application Context Name:    1.2.840.10008.3.1.1.1",
                "Responding Application Name: STORESCP",
                "Our Max PDU Receive Size:    131072",
                "Presentation Contexts:",
                "  Context ID:        1 (Accepted)",
                "    Accepted Transfer Syntax: =Implicit VR Little Endian",
                "  Context ID:        3 (Rejected - User Rejection)",
                "  Context ID:        5 (Rejected - No Reason)",
                "  Context ID:        7 (Rejected - Abstract Syntax Not Supported)",
                "  Context ID:        9 (Rejected - Transfer Syntax Not Supported)",
                "  Context ID:        255 (Accepted)",
                "    Accepted Transfer Syntax: =Explicit VR Big Endian",
                "Accepted Extended Negotiation: None",
                "User Identity Negotiation Response:  None",
                END_AC,
            ],
            dump.associate_ac(answer),
        )

    def test_negotiation(self) -> None:
        """What was agreed on beyond the contexts is shown with its contents."""
        answer = associate_ac(
            (),
            RoleSelection(CT, 1, 0),
            RoleSelection(MR, 0, 0),
            SOPClassExtendedNegotiation(CT, bytes([2, 0, 3, 0, 0, 0])),
            AsynchronousOperationsWindow(1, 1),
            UserIdentityAC(b"a ticket"),
        )
        self.assertEqual(
            [
                "Accepted SCP/SCU Roles:",
                "  CT Image Storage: SCU",
                "  MR Image Storage: None",
                "Accepted Extended Negotiation:",
                "  CT Image Storage: 02 00 03 00 00 00",
                "Accepted Asynchronous Operations Window Negotiation:",
                "  Maximum Invoked: 1, Maximum Performed: 1",
                "User Identity Negotiation Response:  Positive",
                END_AC,
            ],
            dump.associate_ac(answer)[7:],
        )


class EndTests(SynchronousTestCase):
    def test_rejections(self) -> None:
        """Result, source and reason of a rejection are words; what the standard does not name is a number."""
        words = {
            (1, 1, 1): "Rejected Permanent, Source: Service User, Reason: No Reason Given",
            (1, 1, 2): "Rejected Permanent, Source: Service User, Reason: Application Context Name Not Supported",
            (1, 1, 3): "Rejected Permanent, Source: Service User, Reason: Calling AE Title Not Recognized",
            (1, 1, 7): "Rejected Permanent, Source: Service User, Reason: Called AE Title Not Recognized",
            (1, 2, 1): "Rejected Permanent, Source: Service Provider (ACSE), Reason: No Reason Given",
            (1, 2, 2): "Rejected Permanent, Source: Service Provider (ACSE), Reason: Protocol Version Not Supported",
            (2, 3, 1): "Rejected Transient, Source: Service Provider (Presentation), Reason: Temporary Congestion",
            (2, 3, 2): "Rejected Transient, Source: Service Provider (Presentation), Reason: Local Limit Exceeded",
            (3, 4, 9): "3, Source: 4, Reason: 9",
            (1, 1, 9): "Rejected Permanent, Source: Service User, Reason: 9",
        }
        for (result, source, reason), text in words.items():
            self.assertEqual(f"Result: {text}", dump.rejection(AAssociateRJ(result, source, reason)))

    def test_aborts(self) -> None:
        """An abort shows who aborts and why, in the words of PS3.8; A-P-ABORT is always the provider's."""
        words: dict[AAbort | PAbort, tuple[str, str]] = {
            AAbort(0, 0): ("Service User", "Reason Not Specified"),
            AAbort(2, 0): ("Service Provider", "Reason Not Specified"),
            AAbort(2, 1): ("Service Provider", "Unrecognized PDU"),
            AAbort(2, 2): ("Service Provider", "Unexpected PDU"),
            AAbort(2, 4): ("Service Provider", "Unrecognized PDU Parameter"),
            AAbort(2, 5): ("Service Provider", "Unexpected PDU Parameter"),
            AAbort(2, 6): ("Service Provider", "Invalid PDU Parameter Value"),
            AAbort(1, 3): ("1", "3"),
            PAbort(0): ("Service Provider", "Reason Not Specified"),
            PAbort(6): ("Service Provider", "Invalid PDU Parameter Value"),
            PAbort(255): ("Service Provider", "255"),
        }
        for pdu, (source, reason) in words.items():
            self.assertEqual(
                [BEGIN_ABORT, f"Abort Source: {source}", f"Abort Reason: {reason}", END_ABORT], dump.abort(pdu)
            )


class MessageTests(SynchronousTestCase):
    def assert_block(self, command: Command, *lines: str) -> None:
        for direction, banner in (("INCOMING", INCOMING), ("OUTGOING", OUTGOING)):
            self.assertEqual([banner, *lines, END_MESSAGE], dump.message(direction, context(), command))

    def test_c_store_rq(self) -> None:
        """A C-STORE request is the block of the sample."""
        self.assert_block(
            CStoreRQ(affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid="1.2.3.4.5.6", priority=2),
            "Message Type                  : C-STORE RQ",
            "Presentation Context ID       : 41",
            "Message ID                    : 1",
            "Affected SOP Class UID        : 1.2.840.10008.5.1.4.1.1.2",
            "Affected SOP Instance UID     : 1.2.3.4.5.6",
            "Data Set                      : Present",
            "Priority                      : Low",
        )

    def test_c_store_rq_of_a_move(self) -> None:
        """The originator of a C-MOVE is named where there is one."""
        self.assert_block(
            CStoreRQ(
                affected_sop_class_uid=CT,
                message_id=65535,
                affected_sop_instance_uid="1.2.3.4.5.6",
                command_data_set_type=0x0101,
                move_originator_ae_title="MOVER",
                move_originator_message_id=7,
            ),
            "Message Type                  : C-STORE RQ",
            "Presentation Context ID       : 41",
            "Message ID                    : 65535",
            "Affected SOP Class UID        : 1.2.840.10008.5.1.4.1.1.2",
            "Affected SOP Instance UID     : 1.2.3.4.5.6",
            "Move Originator               : MOVER",
            "Data Set                      : None",
            "Priority                      : Medium",
        )

    def test_priorities(self) -> None:
        """Priorities are words; one that does not exist is its number."""
        for priority, word in {0: "Medium", 1: "High", 2: "Low", 3: "3"}.items():
            command: Any = CStoreRQ(
                affected_sop_class_uid=CT, message_id=1, affected_sop_instance_uid="1.2", priority=priority
            )
            self.assertEqual(
                f"Priority                      : {word}", dump.message("INCOMING", context(), command)[-2]
            )

    def test_c_store_rsp(self) -> None:
        """A C-STORE response shows what it answers and the status in words."""
        self.assert_block(
            CStoreRSP(
                affected_sop_class_uid=CT,
                message_id_being_responded_to=3,
                status=0xA700,
                affected_sop_instance_uid="1.2.3.4.5.6",
            ),
            "Message Type                  : C-STORE RSP",
            "Presentation Context ID       : 41",
            "Message ID Being Responded To : 3",
            "Affected SOP Class UID        : 1.2.840.10008.5.1.4.1.1.2",
            "Affected SOP Instance UID     : 1.2.3.4.5.6",
            "Data Set                      : None",
            "DIMSE Status                  : 0xA700 (Out of Resources)",
        )

    def test_c_echo(self) -> None:
        """An echo and its response have their blocks too."""
        self.assert_block(
            CEchoRQ(affected_sop_class_uid=VERIFICATION, message_id=5),
            "Message Type                  : C-ECHO RQ",
            "Presentation Context ID       : 41",
            "Message ID                    : 5",
            "Data Set                      : None",
        )
        self.assert_block(
            CEchoRSP(affected_sop_class_uid=VERIFICATION, message_id_being_responded_to=5, status=0),
            "Message Type                  : C-ECHO RSP",
            "Presentation Context ID       : 41",
            "Message ID Being Responded To : 5",
            "Affected SOP Class UID        : 1.2.840.10008.1.1",
            "Data Set                      : None",
            "DIMSE Status                  : 0x0000 (Success)",
        )

    def test_other_operations(self) -> None:
        """An operation that is not ours is shown by the number of its command field."""
        self.assert_block(
            OtherRQ(command_field=0x0020, message_id=9, command_data_set_type=0),
            "Message Type                  : 0020H",
            "Presentation Context ID       : 41",
            "Message ID                    : 9",
            "Data Set                      : Present",
        )
        self.assert_block(
            OtherRSP(command_field=0x8020, message_id_being_responded_to=9, status=0x0211),
            "Message Type                  : 8020H",
            "Presentation Context ID       : 41",
            "Message ID Being Responded To : 9",
            "Data Set                      : None",
            "DIMSE Status                  : 0x0211 (Unrecognized Operation)",
        )

    def test_statuses(self) -> None:
        """Every status that we send has its words; another one is its four digits."""
        words = {
            0x0000: "0x0000 (Success)",
            0x0110: "0x0110 (Processing Failure)",
            0x0111: "0x0111 (Duplicate SOP Instance)",
            0x0122: "0x0122 (SOP Class Not Supported)",
            0x0211: "0x0211 (Unrecognized Operation)",
            0x0212: "0x0212 (Mistyped Argument)",
            0xA700: "0xA700 (Out of Resources)",
            0xA900: "0xA900 (Data Set Does Not Match SOP Class)",
            0xC000: "0xC000 (Cannot Understand)",
            0xC123: "0xC123",
        }
        self.assertEqual(words, {code: dump.status(code) for code in words})

    def test_read_dataset(self) -> None:
        """The encoding of a data set is named as it always was; another one by its name, or its UID."""
        names = {
            IMPLICIT_LE: "Little Endian Implicit",
            EXPLICIT_LE: "Little Endian Explicit",
            EXPLICIT_BE: "Big Endian Explicit",
            "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
            "1.2.840.10008.1.2.5": "RLE Lossless",
            "1.2.3": "1.2.3",
        }
        for uid, name in names.items():
            self.assertEqual(f'pydicom.read_dataset() TransferSyntax="{name}"', dump.read_dataset(uid))
