"""What an A-ASSOCIATE-RQ is answered: PS3.8 7.1.1 and PS3.7 Annex D.3.3, decided by a `Policy`.

The acceptor's order of transfer syntaxes decides, not the requestor's.
"""

from collections.abc import Iterable

import attrs

from storescp.config import Config
from storescp.uids import (
    APPLICATION_CONTEXT,
    COMPRESSED,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_LE,
    KNOWN,
    LONGEST_UID,
    PREFERENCES,
    STORAGE_SOP_CLASSES,
    UNCOMPRESSED,
    VERIFICATION,
)
from storescp.ul.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    PresentationContextAC,
    PresentationContextRQ,
    RoleSelection,
    SOPClassExtendedNegotiation,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
    UserItem,
)
from storescp.ul.pdu import AAssociateAC, AAssociateRJ, AAssociateRQ, PDataTF, ae_title

PROTOCOL_VERSION = 1
WINDOW = 32  # operations of one association under way at once, at most: what they wait for are a few syncs of a disk

# PS3.8 Table 9-21: (result, source, reason); permanent but for the last two.
NO_REASON_GIVEN = AAssociateRJ(1, 1, 1)
APPLICATION_CONTEXT_NOT_SUPPORTED = AAssociateRJ(1, 1, 2)
CALLING_AE_TITLE_NOT_RECOGNIZED = AAssociateRJ(1, 1, 3)
CALLED_AE_TITLE_NOT_RECOGNIZED = AAssociateRJ(1, 1, 7)
USER_IDENTITY_REFUSED = AAssociateRJ(1, 2, 1)  # by ACSE, without a reason: no other would fit
PROTOCOL_VERSION_NOT_SUPPORTED = AAssociateRJ(1, 2, 2)
TEMPORARY_CONGESTION = AAssociateRJ(2, 3, 1)
LOCAL_LIMIT_EXCEEDED = AAssociateRJ(2, 3, 2)

# A P-DATA-TF of ours must take a fragment of two bytes or more; no real device announces less than 4096.
SMALLEST_MAXIMUM_LENGTH = PDataTF.OVERHEAD + 2

# PS3.4 Table B.3-2: storage level 2 (full), digital signature level 3 (bit preserving), no element coercion.
# It is what storing the bytes as they came means.
_STORAGE_SUPPORT = bytes([2, 0, 3, 0, 0, 0])


@attrs.frozen(kw_only=True)
class Policy:
    """What is accepted. `transfer_syntaxes` are in our order of preference."""

    ae_title: str
    require_called_aet: bool
    max_pdu: int
    transfer_syntaxes: tuple[str, ...]
    unknown_sop_classes: bool

    @classmethod
    def from_config(cls, config: Config) -> "Policy":
        return cls(
            ae_title=config.ae_title,
            require_called_aet=config.require_called_aet,
            max_pdu=config.max_pdu,
            transfer_syntaxes=_transfer_syntaxes(PREFERENCES[config.prefer], config.accept_all_syntaxes),
            unknown_sop_classes=config.accept_unknown_sop_classes,
        )

    def accepts_abstract_syntax(self, uid: str) -> bool:
        """Verification and storage; what the dictionary knows as something else is never stored."""
        if uid in STORAGE_SOP_CLASSES or uid == VERIFICATION:
            return True
        return self.unknown_sop_classes and uid not in KNOWN and 1 <= len(uid) <= LONGEST_UID


def _transfer_syntaxes(preferred: tuple[str, ...], all_of_them: bool) -> tuple[str, ...]:
    if not all_of_them:
        return preferred
    uncompressed = (*preferred, *(uid for uid in UNCOMPRESSED if uid not in preferred))
    return (*uncompressed, *COMPRESSED)


class Rejection(Exception):
    """A request that gets this `answer`. `cause` is in our words; empty where the answer says it all."""

    def __init__(self, answer: AAssociateRJ, cause: str = "") -> None:
        super().__init__(answer, cause)
        self.answer = answer
        self.cause = cause


def check(request: AAssociateRQ, policy: Policy) -> None:
    """Raise the `Rejection` of a request that this service user accepts from nobody."""
    if request.application_context_name != APPLICATION_CONTEXT:
        raise Rejection(APPLICATION_CONTEXT_NOT_SUPPORTED)
    if policy.require_called_aet and ae_title(request.called_ae_title) != policy.ae_title.strip():
        raise Rejection(CALLED_AE_TITLE_NOT_RECOGNIZED)
    if 0 < maximum_length(request.user_information) < SMALLEST_MAXIMUM_LENGTH:
        raise Rejection(NO_REASON_GIVEN)


def negotiate(request: AAssociateRQ, policy: Policy, identified: bool = False) -> AAssociateAC:
    """The service user's acceptance of `request`, whose user it has `identified`, or need not."""
    roles = {item.sop_class_uid: _answer_role(item) for item in request.user_information.every(RoleSelection)}
    contexts = tuple(_answer_context(context, policy, roles) for context in request.presentation_contexts)
    accepted = {
        proposed.abstract_syntax
        for proposed, answer in zip(request.presentation_contexts, contexts, strict=True)
        if answer.result == PresentationContextAC.ACCEPTANCE
    }
    return AAssociateAC(
        protocol_version=PROTOCOL_VERSION,
        called_ae_title=request.called_ae_title,
        calling_ae_title=request.calling_ae_title,
        reserved=request.reserved,
        application_context_name=APPLICATION_CONTEXT,
        presentation_contexts=contexts,
        user_information=UserInformation(
            (
                *_answer_items(request.user_information, policy, roles.values(), accepted),
                *(_answer_identity(request.user_information) if identified else ()),
            )
        ),
    )


def refusal(request: AAssociateRQ) -> AAssociateRJ | None:
    """The service provider's refusal: of a protocol version without the bit of version 1, PS3.8 9.3.2."""
    return None if request.protocol_version & PROTOCOL_VERSION else PROTOCOL_VERSION_NOT_SUPPORTED


def operations_window(information: UserInformation) -> int:
    """How many operations the receiver of this answer may have under way at once."""
    item = information.first(AsynchronousOperationsWindow)
    return item.maximum_invoked if item else 1


def maximum_length(information: UserInformation) -> int:
    """The longest P-DATA-TF body, in bytes, that the sender of `information` receives; 0 means any."""
    item = information.first(MaximumLength)
    return item.maximum_length if item else 0


def _answer_role(proposed: RoleSelection) -> RoleSelection:
    # We are an SCP only: the requestor may be SCU, never SCP, PS3.7 D.3.3.4.
    return RoleSelection(proposed.sop_class_uid, min(proposed.scu_role, 1), 0)


def _answer_context(
    proposed: PresentationContextRQ, policy: Policy, roles: dict[str, RoleSelection]
) -> PresentationContextAC:
    def answer(result: int, transfer_syntax: str = IMPLICIT_LE) -> PresentationContextAC:
        return PresentationContextAC(proposed.context_id, result, transfer_syntax)

    if not policy.accepts_abstract_syntax(proposed.abstract_syntax):
        return answer(PresentationContextAC.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    role = roles.get(proposed.abstract_syntax)
    if role and not role.scu_role:  # a requestor that will not be SCU has nothing to send here
        return answer(PresentationContextAC.USER_REJECTION)
    offered = frozenset(proposed.transfer_syntaxes)
    for syntax in policy.transfer_syntaxes:
        if syntax in offered:
            return answer(PresentationContextAC.ACCEPTANCE, syntax)
    return answer(PresentationContextAC.TRANSFER_SYNTAXES_NOT_SUPPORTED)


def _answer_identity(proposed: UserInformation) -> tuple[UserIdentityAC, ...]:
    # PS3.7 D.3.3.7: only who asks for a response gets one. By Table D.3-15 it is empty for types 1 and 2; of 5 it says
    # nothing.
    identity = proposed.first(UserIdentityRQ)
    return (UserIdentityAC(),) if identity and identity.positive_response_requested else ()


def _answer_items(
    proposed: UserInformation, policy: Policy, roles: Iterable[RoleSelection], accepted: set[str]
) -> list[UserItem]:
    # Common extended negotiation has no answer.
    items: list[UserItem] = [
        MaximumLength(policy.max_pdu),
        ImplementationClassUID(IMPLEMENTATION_CLASS_UID),
        ImplementationVersionName(IMPLEMENTATION_VERSION_NAME),
    ]
    window = proposed.first(AsynchronousOperationsWindow)
    if window:  # of 0 operations, which is any number, or as many as it has proposed; we invoke none, PS3.7 D.3.3.3
        items.append(AsynchronousOperationsWindow(min(window.maximum_invoked or WINDOW, WINDOW), 1))
    items += [role for role in roles if role.sop_class_uid in accepted]
    items += [
        SOPClassExtendedNegotiation(sop_class_uid, _STORAGE_SUPPORT)
        for sop_class_uid in dict.fromkeys(item.sop_class_uid for item in proposed.every(SOPClassExtendedNegotiation))
        if sop_class_uid in accepted & STORAGE_SOP_CLASSES
    ]
    return items
