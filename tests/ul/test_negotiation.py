# mypy: allow-untyped-calls
"""What an A-ASSOCIATE-RQ is answered, option by option."""

import sys
from typing import Any

import attrs
from pydicom.uid import UID
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
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
)
from storescp.ul.negotiation import Policy, Rejection, check, maximum_length, negotiate, operations_window, refusal
from storescp.ul.pdu import AAssociateAC, AAssociateRJ, AAssociateRQ

IMPLICIT = "1.2.840.10008.1.2"
LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = "1.2.826.0.1.3680043.9.9999.1"

A = PresentationContextRQ(1, CT, (IMPLICIT, DEFLATED, BIG, LITTLE))
B = PresentationContextRQ(3, MR, (JPEG_2000,))
C = PresentationContextRQ(5, PRIVATE, (IMPLICIT,))
V = PresentationContextRQ(7, VERIFICATION, (IMPLICIT, LITTLE))

STORAGE_SUPPORT = b"\2\0\3\0\0\0"  # full storage, bit preserving, no coercion: PS3.4 Table B.3-2


def policy(**options: Any) -> Policy:
    return Policy.from_config(Config(**options))


def request(*contexts: PresentationContextRQ, items: tuple[Any, ...] = (), **fields: Any) -> AAssociateRQ:
    plain = AAssociateRQ(
        protocol_version=1,
        called_ae_title="STORESCP",
        calling_ae_title="STORESCU",
        reserved=bytes(32),
        application_context_name="1.2.840.10008.3.1.1.1",
        presentation_contexts=contexts,
        user_information=UserInformation(items),
    )
    return attrs.evolve(plain, **fields)


def accepted(context_id: int, transfer_syntax: str) -> PresentationContextAC:
    return PresentationContextAC(context_id, 0, transfer_syntax)


def rejected(context_id: int, result: int) -> PresentationContextAC:
    return PresentationContextAC(context_id, result, IMPLICIT)  # a transfer syntax has to stand here; it says nothing


class NegotiationTestCase(SynchronousTestCase):
    def accept(self, proposed: AAssociateRQ, **options: Any) -> AAssociateAC:
        check(proposed, policy(**options))
        return negotiate(proposed, policy(**options))

    def contexts(
        self, *proposed: PresentationContextRQ, items: tuple[Any, ...] = (), **options: Any
    ) -> tuple[PresentationContextAC, ...]:
        return self.accept(request(*proposed, items=items), **options).presentation_contexts

    def answered_items(self, *contexts: PresentationContextRQ, items: tuple[Any, ...], **options: Any) -> list[object]:
        """The user information of the answer after the three sub-items that are always there."""
        answered = self.accept(request(*contexts, items=items), **options).user_information.items
        self.assertEqual(
            (
                MaximumLength(16384),
                ImplementationClassUID(IMPLEMENTATION_CLASS_UID),
                ImplementationVersionName(IMPLEMENTATION_VERSION_NAME),
            ),
            answered[:3],
        )
        return list(answered[3:])


class TransferSyntaxTests(NegotiationTestCase):
    """The acceptor's order decides; A, B, C and V are the contexts that were measured with another implementation."""

    def test_little_endian_preferred(self) -> None:
        """With -xe Explicit VR Little Endian is chosen wherever it is proposed."""
        expected = (accepted(1, LITTLE), rejected(3, 4), rejected(5, 3), accepted(7, LITTLE))
        self.assertEqual(expected, self.contexts(A, B, C, V, prefer="little"))

    def test_local_byte_order_preferred(self) -> None:
        """By default, as with -x=, Explicit VR of the host's byte order is chosen wherever it is proposed."""
        local = LITTLE if sys.byteorder == "little" else BIG
        expected = (accepted(1, local), rejected(3, 4), rejected(5, 3), accepted(7, LITTLE))
        self.assertEqual(expected, self.contexts(A, B, C, V, prefer="uncompressed"))
        self.assertEqual(expected, self.contexts(A, B, C, V))

    def test_big_endian_preferred(self) -> None:
        """With -xb Explicit VR Big Endian is chosen, and Little Endian where only that is proposed."""
        expected = (accepted(1, BIG), rejected(3, 4), rejected(5, 3), accepted(7, LITTLE))
        self.assertEqual(expected, self.contexts(A, B, C, V, prefer="big"))

    def test_implicit_only(self) -> None:
        """With -xi Implicit VR Little Endian is chosen, and nothing else is."""
        expected = (accepted(1, IMPLICIT), rejected(3, 4), rejected(5, 3), accepted(7, IMPLICIT), rejected(9, 4))
        explicit = PresentationContextRQ(9, CT, (LITTLE, BIG, DEFLATED))
        self.assertEqual(expected, self.contexts(A, B, C, V, explicit, prefer="implicit"))

    def test_all_syntaxes(self) -> None:
        """With all syntaxes accepted a compressed one is taken where nothing else is proposed, and only there."""
        expected = (accepted(1, LITTLE), accepted(3, JPEG_2000), rejected(5, 3), accepted(7, LITTLE))
        self.assertEqual(expected, self.contexts(A, B, C, V, prefer="little", accept_all_syntaxes=True))

    def test_uncompressed_before_compressed(self) -> None:
        """With all syntaxes accepted every uncompressed one goes before every compressed one, in any order proposed."""
        for uncompressed in (IMPLICIT, LITTLE, BIG):
            for prefer in ("uncompressed", "little", "big", "implicit"):
                for syntaxes in ((DEFLATED, RLE, JPEG_2000, uncompressed), (uncompressed, JPEG_2000, RLE, DEFLATED)):
                    proposed = PresentationContextRQ(1, CT, syntaxes)
                    answer = self.contexts(proposed, prefer=prefer, accept_all_syntaxes=True)
                    self.assertEqual((accepted(1, uncompressed),), answer, f"{prefer}: {syntaxes}")

    def test_lossless_before_lossy(self) -> None:
        """Of two compressed ones the one that loses nothing is taken, whichever is proposed first."""
        for syntaxes in ((JPEG_BASELINE, JPEG_LOSSLESS), (JPEG_LOSSLESS, JPEG_BASELINE)):
            answer = self.contexts(PresentationContextRQ(1, CT, syntaxes), accept_all_syntaxes=True)
            self.assertEqual((accepted(1, JPEG_LOSSLESS),), answer)

    def test_preference_among_all_syntaxes(self) -> None:
        """Accepting all syntaxes leaves the order of the preferred ones as it is."""
        for prefer, first in (("little", LITTLE), ("big", BIG), ("implicit", IMPLICIT)):
            answer = self.contexts(A, prefer=prefer, accept_all_syntaxes=True)
            self.assertEqual((accepted(1, first),), answer, prefer)

    def test_order_of_acceptance(self) -> None:
        """Each preference is a whole order: with the first choice not proposed, the second is taken, then the third."""
        orders = {"little": (LITTLE, BIG, IMPLICIT), "big": (BIG, LITTLE, IMPLICIT)}
        for prefer, order in orders.items():
            for missing in range(3):
                proposed = PresentationContextRQ(1, CT, tuple(reversed(order[missing:])))
                answer = self.contexts(proposed, prefer=prefer)
                self.assertEqual((accepted(1, order[missing]),), answer, f"{prefer} without {order[:missing]}")

    def test_order_of_the_requestor(self) -> None:
        """What the requestor names first does not matter."""
        for syntaxes in ((IMPLICIT, BIG, LITTLE), (LITTLE, BIG, IMPLICIT), (BIG, LITTLE, IMPLICIT)):
            proposed = PresentationContextRQ(1, CT, syntaxes)
            self.assertEqual((accepted(1, LITTLE),), self.contexts(proposed, prefer="little"), str(syntaxes))

    def test_private_transfer_syntax(self) -> None:
        """A transfer syntax that PS3.6 does not know is refused even where all are accepted."""
        proposed = PresentationContextRQ(1, CT, ("1.2.840.113619.5.2",))
        self.assertEqual((rejected(1, 4),), self.contexts(proposed, accept_all_syntaxes=True))

    def test_no_transfer_syntax(self) -> None:
        """A context that proposes no transfer syntax at all has none in common with us."""
        self.assertEqual((rejected(1, 4),), self.contexts(PresentationContextRQ(1, CT, ()), accept_all_syntaxes=True))

    def test_nothing_accepted(self) -> None:
        """The association stands even where every context is rejected, and where none was proposed."""
        self.assertEqual((rejected(3, 4), rejected(5, 3)), self.contexts(B, C))
        self.assertEqual((), self.contexts())

    def test_most_contexts(self) -> None:
        """All 128 contexts that there can be are answered, each under its own id, in the order proposed."""
        proposed = [attrs.evolve((A, B, C, V)[n % 4], context_id=2 * n + 1) for n in reversed(range(128))]
        results = {1: (0, LITTLE), 3: (4, IMPLICIT), 5: (3, IMPLICIT), 7: (0, LITTLE)}
        expected = tuple(PresentationContextAC(number, *results[number % 8]) for number in range(255, 0, -2))
        self.assertEqual(128, len(expected))
        self.assertEqual(expected, self.contexts(*proposed, prefer="little"))


class AbstractSyntaxTests(NegotiationTestCase):
    """Verification and storage, nothing else."""

    def results(self, uids: list[str], **options: Any) -> dict[str, int]:
        contexts = [PresentationContextRQ(2 * n + 1, uid, (LITTLE,)) for n, uid in enumerate(uids)]
        answers = self.contexts(*contexts, **options)
        return {uid: answer.result for uid, answer in zip(uids, answers, strict=True)}

    STORED = (
        VERIFICATION,
        CT,
        MR,
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
        "1.2.840.10008.5.1.4.1.1.88.67",  # X-Ray Radiation Dose SR
        "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol
        "1.2.840.10008.5.1.4.1.1.3",  # Ultrasound Multi-frame, retired
        "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound, retired
        "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine, retired
        "1.2.840.10008.5.1.4.1.1.9",  # Standalone Curve, retired
        "1.2.840.10008.5.1.4.1.1.12.3",  # X-Ray Angiographic Bi-Plane, retired
        "1.2.840.10008.5.1.4.1.1.88.1",  # Text SR, trial
    )
    NOT_STORED = (
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model, retired
        "1.2.840.10008.1.3.10",  # Media Storage Directory
        "1.2.840.10008.3.1.2.3.3",  # Modality Performed Procedure Step
        "1.2.840.10008.5.1.1.1",  # Basic Film Session
        "1.2.840.10008.5.1.1.9",  # Basic Grayscale Print Management Meta SOP Class
        "1.2.840.10008.5.1.1.27",  # Stored Print Storage, retired
        "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image Storage, retired
        "1.2.840.10008.5.1.1.30",  # Hardcopy Color Image Storage, retired
        "1.2.840.10008.5.1.4.1.2.1.1",  # Patient Root Q/R FIND
        "1.2.840.10008.5.1.4.1.2.2.2",  # Study Root Q/R MOVE
        "1.2.840.10008.5.1.4.1.2.2.3",  # Study Root Q/R GET
        "1.2.840.10008.5.1.4.31",  # Modality Worklist FIND
        "1.2.840.10008.5.1.4.38.2",  # Hanging Protocol FIND
        "1.2.840.10008.5.1.4.34.6.1",  # Unified Procedure Step Push
    )

    def test_storage(self) -> None:
        """Verification and storage SOP classes, retired ones too, are accepted without any option."""
        self.assertEqual(dict.fromkeys(self.STORED, 0), self.results(list(self.STORED)))

    def test_other_services(self) -> None:
        """SOP classes of other services are not supported, by no option, whatever their names contain."""
        for unknown in (False, True):
            results = self.results(list(self.NOT_STORED), accept_unknown_sop_classes=unknown)
            self.assertEqual(dict.fromkeys(self.NOT_STORED, 3), results, f"accept_unknown_sop_classes={unknown}")

    def test_unknown_sop_classes(self) -> None:
        """A SOP class that the dictionary does not know is accepted by an option, and only by it."""
        unknown = [PRIVATE, "1.2.840.10008.5.1.4.1.1.2.99", "1.3.12.2.1107.5.9.1"]
        self.assertEqual(dict.fromkeys(unknown, 3), self.results(unknown))
        self.assertEqual(dict.fromkeys(unknown, 0), self.results(unknown, accept_unknown_sop_classes=True))

    def test_length_of_an_unknown_sop_class(self) -> None:
        """What is empty or longer than the 64 characters of PS3.5 9.1 is not accepted as an unknown SOP class."""
        longest = "1." + "2" * 62
        expected = {"": 3, "1": 0, longest: 0, longest + "2": 3}
        self.assertEqual(expected, self.results(list(expected), accept_unknown_sop_classes=True))

    def test_abstract_before_transfer_syntax(self) -> None:
        """Where neither the abstract nor a transfer syntax is supported, the abstract syntax is named."""
        self.assertEqual((rejected(1, 3),), self.contexts(PresentationContextRQ(1, PRIVATE, (JPEG_2000,))))

    def test_known_as_no_sop_class(self) -> None:
        """What the dictionary knows as something that is no SOP class is not accepted as an unknown one."""
        others = [LITTLE, "1.2.840.10008.4.2", "1.2.840.10008.3.1.1.1", "1.2.840.10008.5.1.1.17"]
        self.assertEqual(dict.fromkeys(others, 3), self.results(others, accept_unknown_sop_classes=True))


class RoleTests(NegotiationTestCase):
    """SCP/SCU role selection, PS3.7 D.3.3.4: we are an SCP, so the requestor is an SCU or nothing."""

    def test_scu_role(self) -> None:
        """The SCU role is granted."""
        self.assertEqual([RoleSelection(CT, 1, 0)], self.answered_items(A, items=(RoleSelection(CT, 1, 0),)))

    def test_scp_role(self) -> None:
        """The SCP role is not granted beside the SCU role, and the context is accepted."""
        items = (RoleSelection(CT, 1, 1),)
        self.assertEqual([RoleSelection(CT, 1, 0)], self.answered_items(A, items=items))
        self.assertEqual((accepted(1, LITTLE),), self.contexts(A, items=items, prefer="little"))

    def test_no_common_role(self) -> None:
        """A context for which the requestor is not to be SCU is rejected by the user, and its role gets no answer."""
        for scp_role in (0, 1):
            items = (RoleSelection(CT, 0, scp_role),)
            self.assertEqual((rejected(1, 1), accepted(7, LITTLE)), self.contexts(A, V, items=items, prefer="little"))
            self.assertEqual([], self.answered_items(A, V, items=items))

    def test_role_of_a_rejected_context(self) -> None:
        """Roles of SOP classes that are not accepted, or not proposed, get no answer."""
        items = (RoleSelection(MR, 1, 0), RoleSelection(PRIVATE, 1, 0), RoleSelection("1.2.3", 1, 0))
        self.assertEqual([], self.answered_items(A, B, C, items=items))

    def test_role_of_a_class_accepted_once(self) -> None:
        """A SOP class proposed twice and accepted once gets its role answered once."""
        twice = (B, attrs.evolve(B, context_id=9, transfer_syntaxes=(LITTLE,)))
        self.assertEqual([RoleSelection(MR, 1, 0)], self.answered_items(*twice, items=(RoleSelection(MR, 1, 1),)))

    def test_role_repeated(self) -> None:
        """A SOP class whose role is proposed more than once gets one answer, to the last."""
        items = (RoleSelection(CT, 0, 1), RoleSelection(CT, 1, 1))
        self.assertEqual([RoleSelection(CT, 1, 0)], self.answered_items(A, items=items))

    def test_roles_in_their_order(self) -> None:
        """Roles are answered in the order proposed; Verification's too."""
        items = (RoleSelection(VERIFICATION, 1, 1), RoleSelection(CT, 1, 0))
        expected = [RoleSelection(VERIFICATION, 1, 0), RoleSelection(CT, 1, 0)]
        self.assertEqual(expected, self.answered_items(A, V, items=items))

    def test_role_beyond_one(self) -> None:
        """A role is 0 or 1 in the answer whatever byte a device sends for a yes."""
        self.assertEqual([RoleSelection(CT, 1, 0)], self.answered_items(A, items=(RoleSelection(CT, 255, 255),)))

    def test_role_after_abstract_syntax(self) -> None:
        """A class that is not supported at all is named so, whatever roles are proposed for it."""
        self.assertEqual((rejected(5, 3),), self.contexts(C, items=(RoleSelection(PRIVATE, 0, 1),)))


class UserInformationTests(NegotiationTestCase):
    """The other sub-items of PS3.7 D.3.3."""

    def test_nothing_proposed(self) -> None:
        """An answer says its maximum length and its implementation, and what was not asked it does not answer."""
        items = (MaximumLength(4096), ImplementationClassUID("1.2.3"), ImplementationVersionName("OTHER"))
        self.assertEqual([], self.answered_items(A, items=items))
        self.assertEqual([], self.answered_items(A, items=()))

    def test_maximum_length(self) -> None:
        """The maximum length announced is the one configured, not the requestor's."""
        answer = self.accept(request(A, items=(MaximumLength(65536),)), max_pdu=131072)
        self.assertEqual(MaximumLength(131072), answer.user_information.items[0])

    def test_asynchronous_operations(self) -> None:
        """A requestor may have as many operations under way as it proposes, or 32; we have none of our own."""
        for invoked, answered in ((0, 32), (1, 1), (8, 8), (32, 32), (33, 32), (65535, 32)):
            items = (AsynchronousOperationsWindow(invoked, answered % 3),)
            self.assertEqual([AsynchronousOperationsWindow(answered, 1)], self.answered_items(A, items=items))

    def test_extended_negotiation(self) -> None:
        """Each accepted storage class is answered full storage that preserves every bit, whatever it proposed."""
        items = (
            SOPClassExtendedNegotiation(CT, b"\1\0\1\0\1\0"),
            SOPClassExtendedNegotiation(MR, b""),
        )
        plain = attrs.evolve(B, transfer_syntaxes=(IMPLICIT,))
        expected = [SOPClassExtendedNegotiation(uid, STORAGE_SUPPORT) for uid in (CT, MR)]
        self.assertEqual(expected, self.answered_items(A, plain, items=items))

    def test_extended_negotiation_repeated(self) -> None:
        """A SOP class that is named more than once gets one answer."""
        items = tuple(SOPClassExtendedNegotiation(CT, information) for information in (b"", b"\1\0\1\0\1\0", b""))
        self.assertEqual([SOPClassExtendedNegotiation(CT, STORAGE_SUPPORT)], self.answered_items(A, items=items))

    def test_extended_negotiation_without_meaning(self) -> None:
        """Classes that are rejected, not proposed or no storage get no extended negotiation."""
        uids = (MR, PRIVATE, VERIFICATION, "1.2.840.10008.5.1.4.1.1.7")
        items = tuple(SOPClassExtendedNegotiation(uid, STORAGE_SUPPORT) for uid in uids)
        self.assertEqual([], self.answered_items(A, B, C, V, items=items))

    def test_common_extended_negotiation(self) -> None:
        """Common extended negotiation has no answer, PS3.7 D.3.3.6."""
        items = (SOPClassCommonExtendedNegotiation(CT, "1.2.840.10008.4.2", ()),)
        self.assertEqual([], self.answered_items(A, items=items))

    def test_user_identity(self) -> None:
        """A user identity that was not verified gets no positive response even where one is asked for."""
        for wanted in (0, 1):
            items = (UserIdentityRQ(2, wanted, b"anna", b"secret"),)
            self.assertEqual([], self.answered_items(A, items=items))

    def test_verified_user_identity(self) -> None:
        """One that was verified gets it where it is asked for, empty and after all else; who sends none gets none."""
        window = AsynchronousOperationsWindow(4, 1)
        for items, expected in (
            ((UserIdentityRQ(2, 1, b"anna", b"secret"), window), [window, UserIdentityAC()]),
            ((UserIdentityRQ(5, 0, b"a token"), window), [window]),
            ((window,), [window]),
        ):
            answer = negotiate(request(A, items=items), policy(), identified=True)
            self.assertEqual(expected, list(answer.user_information.items[3:]))

    def test_all_together(self) -> None:
        """Everything that has an answer is answered side by side: window, roles, extended negotiation."""
        items = (
            UserIdentityRQ(1, 1, b"anna"),
            SOPClassCommonExtendedNegotiation(CT, "1.2.840.10008.4.2", ()),
            SOPClassExtendedNegotiation(CT, b"\1\0\1\0\1\0"),
            RoleSelection(CT, 1, 1),
            AsynchronousOperationsWindow(4, 4),
            MaximumLength(0),
        )
        expected = [
            AsynchronousOperationsWindow(4, 1),
            RoleSelection(CT, 1, 0),
            SOPClassExtendedNegotiation(CT, STORAGE_SUPPORT),
        ]
        self.assertEqual(expected, self.answered_items(A, items=items))

    def test_operations_window(self) -> None:
        """The window that counts is that of the answer; without one there is one operation at a time."""
        for items, expected in (((AsynchronousOperationsWindow(8, 1),), 8), ((MaximumLength(0),), 1), ((), 1)):
            self.assertEqual(expected, operations_window(UserInformation(items)))

    def test_maximum_length_of_the_peer(self) -> None:
        """The peer's maximum length is what it announced; not announced means any length, as zero does."""
        for items, expected in (((MaximumLength(4096),), 4096), ((MaximumLength(0),), 0), ((), 0)):
            self.assertEqual(expected, maximum_length(UserInformation(items)))


class RejectionTests(NegotiationTestCase):
    """Who is not let in, with result, source and reason of PS3.8 Table 9-21."""

    def rejected(self, proposed: AAssociateRQ, policy: Policy) -> AAssociateRJ:
        """The answer to a request that is accepted from nobody; it says all that there is to say."""
        rejection = self.assertRaises(Rejection, check, proposed, policy)
        self.assertEqual("", rejection.cause)
        answer: AAssociateRJ = rejection.answer
        return answer

    def test_application_context(self) -> None:
        """Any application context but DICOM's, and none, is not supported."""
        for name in ("1.2.840.10008.3.1.1.2", "1.2.3", ""):
            answer = self.rejected(request(A, application_context_name=name), policy())
            self.assertEqual(AAssociateRJ(1, 1, 2), answer, repr(name))

    def test_called_title_not_required(self) -> None:
        """The called title is not looked at unless it is asked for."""
        self.accept(request(A, called_ae_title="ANY-SCP"))

    def test_called_title_required(self) -> None:
        """Where the called title is asked for, another title is not recognized; case counts, as does a part of it."""
        for title in ("ANY-SCP", "storescp", "STORESCP2", "STORE", "STORE SCP", ""):
            answer = self.rejected(request(A, called_ae_title=title), policy(require_called_aet=True))
            self.assertEqual(AAssociateRJ(1, 1, 7), answer, repr(title))

    def test_called_title_padded(self) -> None:
        """Spaces around a title, and NULs after it, are no part of the title, on neither side."""
        for title in ("STORESCP", "  STORESCP", "STORESCP\0\0\0\0\0\0\0\0", "   STORESCP \0"):
            for ours in ("STORESCP", " STORESCP "):
                answer = self.accept(request(A, called_ae_title=title), require_called_aet=True, ae_title=ours)
                self.assertEqual(title.ljust(16), answer.called_ae_title)

    def test_maximum_length_too_small(self) -> None:
        """A maximum length without room for a fragment of two bytes is rejected: nothing could be answered in it."""
        for length in (1, 5, 6, 7):
            answer = self.rejected(request(A, items=(MaximumLength(length),)), policy())
            self.assertEqual(AAssociateRJ(1, 1, 1), answer, str(length))

    def test_maximum_length_just_enough(self) -> None:
        """Room for a fragment of two bytes is enough, and zero is no limit."""
        for length in (0, 8, 9, 0xFFFFFFFF):
            self.accept(request(A, items=(MaximumLength(length),)))

    def test_first_reason(self) -> None:
        """Of several reasons the application context goes first, then the called title, then the maximum length."""
        wrong = request(A, items=(MaximumLength(1),), called_ae_title="X", application_context_name="1.2")
        better = attrs.evolve(wrong, application_context_name="1.2.840.10008.3.1.1.1")
        best = attrs.evolve(better, called_ae_title="STORESCP")
        answers = [self.rejected(each, policy(require_called_aet=True)) for each in (wrong, better, best)]
        self.assertEqual([AAssociateRJ(1, 1, 2), AAssociateRJ(1, 1, 7), AAssociateRJ(1, 1, 1)], answers)

    def test_protocol_version(self) -> None:
        """The service provider refuses what lacks the bit of version 1 and tests no other bit."""
        refused = AAssociateRJ(1, 2, 2)
        expected = {0: refused, 1: None, 2: refused, 3: None, 0x8000: refused, 0x8001: None, 0xFFFE: refused}
        self.assertEqual(expected, {version: refusal(request(A, protocol_version=version)) for version in expected})


class AnswerTests(NegotiationTestCase):
    """The fields of the A-ASSOCIATE-AC beside contexts and user information."""

    def test_echoed_fields(self) -> None:
        """Titles and reserved bytes come back exactly as they came, padding and all."""
        proposed = request(
            A, called_ae_title="  CALLED\0\0", calling_ae_title="\0 blank\xe9", reserved=bytes(range(32))
        )
        answer = self.accept(proposed)
        self.assertEqual("  CALLED\0\0      ", answer.called_ae_title)
        self.assertEqual("\0 blank\xe9        ", answer.calling_ae_title)
        self.assertEqual(bytes(range(32)), answer.reserved)

    def test_blank_calling_title(self) -> None:
        """A calling title of nothing but spaces or NULs is accepted: real devices send it."""
        for title in ("", " " * 16, "\0" * 16):
            self.assertEqual(title.ljust(16), self.accept(request(A, calling_ae_title=title)).calling_ae_title)

    def test_protocol_version_of_the_answer(self) -> None:
        """The answer speaks version 1 whatever further versions the requestor knows."""
        self.assertEqual(1, self.accept(request(A, protocol_version=3)).protocol_version)

    def test_whole_answer(self) -> None:
        """A plain request for CT is answered with these bytes."""
        proposed = (
            b"\0\1\0\0" + b"STORESCP        " + b"STORESCU        " + bytes(32)
            + b"\x10\0\0\x15" + b"1.2.840.10008.3.1.1.1"
            + b"\x20\0\0\x36" + b"\x01\0\0\0"
            + b"\x30\0\0\x19" + b"1.2.840.10008.5.1.4.1.1.2"
            + b"\x40\0\0\x11" + b"1.2.840.10008.1.2"
            + b"\x50\0\0\x08" + b"\x51\0\0\x04\0\0\x10\0"
        )  # fmt: skip
        version = IMPLEMENTATION_VERSION_NAME.encode()
        expected = (
            b"\x02\0\0\0\0" + bytes([186 + len(version)])
            + b"\0\1\0\0" + b"STORESCP        " + b"STORESCU        " + bytes(32)
            + b"\x10\0\0\x15" + b"1.2.840.10008.3.1.1.1"
            + b"\x21\0\0\x19" + b"\x01\0\0\0"
            + b"\x40\0\0\x11" + b"1.2.840.10008.1.2"
            + b"\x50\0\0" + bytes([60 + len(version)])
            + b"\x51\0\0\x04\0\0\x40\0"
            + b"\x52\0\0\x2c" + b"2.25.167549487932267690351940239577372006664"
            + b"\x55\0\0" + bytes([len(version)]) + version
        )  # fmt: skip
        self.assertEqual(expected, self.accept(AAssociateRQ.decode(memoryview(proposed))).encode())

    def test_policy(self) -> None:
        """A policy is what the configuration says."""
        expected = Policy(
            ae_title="ARCHIVE",
            require_called_aet=True,
            max_pdu=4096,
            transfer_syntaxes=(BIG, LITTLE, IMPLICIT),
            unknown_sop_classes=True,
        )
        options = {"ae_title": "ARCHIVE", "require_called_aet": True, "max_pdu": 4096, "prefer": "big"}
        self.assertEqual(expected, policy(**options, accept_unknown_sop_classes=True))

    def test_all_syntaxes_of_a_policy(self) -> None:
        """Accepting all syntaxes adds each standard one once, and nothing that is no transfer syntax."""
        syntaxes = policy(prefer="implicit", accept_all_syntaxes=True).transfer_syntaxes
        self.assertEqual((IMPLICIT, LITTLE, BIG), syntaxes[:3])
        self.assertEqual(len(syntaxes), len(set(syntaxes)))
        self.assertEqual([], [uid for uid in syntaxes if not UID(uid).is_transfer_syntax])
        self.assertEqual(set(), {DEFLATED, JPEG_2000, RLE} - set(syntaxes))
