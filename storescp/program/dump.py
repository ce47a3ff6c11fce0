"""The text blocks of ``-d``: what an association and its messages look like. Text from a peer is not escaped here."""

from collections.abc import Iterable

from storescp.dimse.commands import CEchoRQ, CEchoRSP, Command, CStoreRQ, CStoreRSP, OtherRQ, OtherRSP
from storescp.errors import STATUS_WORDS
from storescp.interfaces import PresentationContext
from storescp.uids import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    KNOWN,
    LONGEST_UID,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    name_of,
)
from storescp.ul.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    ImplementationVersionName,
    PresentationContextAC,
    PresentationContextRQ,
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
)
from storescp.ul.machine import PAbort
from storescp.ul.negotiation import maximum_length
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ, ae_title

_WIDTH = 65

_CONTEXT_RESULTS = {
    PresentationContextAC.ACCEPTANCE: "Accepted",
    PresentationContextAC.USER_REJECTION: "Rejected - User Rejection",
    2: "Rejected - No Reason",
    PresentationContextAC.ABSTRACT_SYNTAX_NOT_SUPPORTED: "Rejected - Abstract Syntax Not Supported",
    PresentationContextAC.TRANSFER_SYNTAXES_NOT_SUPPORTED: "Rejected - Transfer Syntax Not Supported",
}
_ABORT_SOURCES = {AAbort.SERVICE_USER: "Service User", AAbort.SERVICE_PROVIDER: "Service Provider"}
_ABORT_REASONS = {
    0: "Reason Not Specified",
    1: "Unrecognized PDU",
    2: "Unexpected PDU",
    4: "Unrecognized PDU Parameter",
    5: "Unexpected PDU Parameter",
    6: "Invalid PDU Parameter Value",
}
_PRIORITIES = {0: "Medium", 1: "High", 2: "Low"}
_IDENTITY_TYPES = {1: "Username", 2: "Username and Passcode", 3: "Kerberos", 4: "SAML", 5: "JSON Web Token"}
_SYNTAX_NAMES = {
    IMPLICIT_LE: "Little Endian Implicit",
    EXPLICIT_LE: "Little Endian Explicit",
    EXPLICIT_BE: "Big Endian Explicit",
}
_ROLES = {(0, 0): "None", (0, 1): "SCP", (1, 0): "SCU", (1, 1): "SCP/SCU"}


def _banner(title: str, left: int | None = None) -> str:
    text = f" {title} "
    return text.center(_WIDTH, "=") if left is None else ("=" * left + text).ljust(_WIDTH, "=")


def _wide(label: str, value: object) -> str:
    return f"{label:<35}{value}"


def _narrow(label: str, value: object) -> str:
    return f"{label:<29}{value}"


def _field(label: str, value: object) -> str:
    return f"{label:<30}: {value}"


def read_dataset(transfer_syntax: str) -> str:
    """The line that says in which encoding something is read."""
    return f'pydicom.read_dataset() TransferSyntax="{_SYNTAX_NAMES.get(transfer_syntax, name_of(transfer_syntax))}"'


def associate_rq(request: AAssociateRQ) -> list[str]:
    user = request.user_information
    roles = {role.sop_class_uid: role for role in user.every(RoleSelection)}
    lines = [
        _banner("BEGIN A-ASSOCIATE-RQ"),
        *_implementation("Their", user),
        _narrow("Application Context Name:", request.application_context_name),
        _narrow("Calling Application Name:", ae_title(request.calling_ae_title)),
        _narrow("Called Application Name:", ae_title(request.called_ae_title)),
        _narrow("Their Max PDU Receive Size:", maximum_length(user)),
        "Presentation Contexts:",
    ]
    for context in request.presentation_contexts:
        role = roles.get(context.abstract_syntax)
        lines += [
            f"  Context ID:        {context.context_id} (Proposed)",
            f"    Abstract Syntax: ={name_of(context.abstract_syntax)}",
            f"    Proposed SCP/SCU Role: {_role(role) if role else 'Default'}",
            "    Proposed Transfer Syntax(es):",
            *(f"      ={name_of(syntax)}" for syntax in context.transfer_syntaxes),
        ]
    return [
        *lines,
        *_contents("Requested Extended Negotiation:", map(_extended, user.every(SOPClassExtendedNegotiation))),
        *_contents(
            "Requested Common Extended Negotiation:", map(_common, user.every(SOPClassCommonExtendedNegotiation))
        ),
        *_contents(
            "Requested Asynchronous Operations Window Negotiation:",
            map(_window, user.every(AsynchronousOperationsWindow)),
        ),
        *_contents("Requested User Identity Negotiation:", map(_identity, user.every(UserIdentityRQ))),
        _banner("END A-ASSOCIATE-RQ"),
    ]


def associate_ac(answer: AAssociateAC) -> list[str]:
    user = answer.user_information
    lines = [
        _banner("BEGIN A-ASSOCIATE-AC"),
        *_implementation("Our", user),
        _narrow("Application Context Name:", answer.application_context_name),
        _narrow("Responding Application Name:", ae_title(answer.called_ae_title)),
        _narrow("Our Max PDU Receive Size:", maximum_length(user)),
        "Presentation Contexts:",
    ]
    for context in answer.presentation_contexts:
        lines.append(f"  Context ID:        {context.context_id} ({_CONTEXT_RESULTS[context.result]})")
        if context.result == PresentationContextAC.ACCEPTANCE:
            lines.append(f"    Accepted Transfer Syntax: ={name_of(context.transfer_syntax)}")
    identity = user.first(UserIdentityAC)
    return [
        *lines,
        *_contents("Accepted SCP/SCU Roles:", map(_accepted_role, user.every(RoleSelection)), absent=False),
        *_contents("Accepted Extended Negotiation:", map(_extended, user.every(SOPClassExtendedNegotiation))),
        *_contents(
            "Accepted Asynchronous Operations Window Negotiation:",
            map(_window, user.every(AsynchronousOperationsWindow)),
            absent=False,
        ),
        f"User Identity Negotiation Response:  {'None' if identity is None else 'Positive'}",
        _banner("END A-ASSOCIATE-AC"),
    ]


def _implementation(whose: str, user: UserInformation) -> list[str]:
    class_uid, version_name = user.first(ImplementationClassUID), user.first(ImplementationVersionName)
    return [
        _wide(f"{whose} Implementation Class UID:", class_uid.uid if class_uid else ""),
        _wide(f"{whose} Implementation Version Name:", version_name.name if version_name else ""),
    ]


def _contents(label: str, contents: Iterable[str], absent: bool = True) -> list[str]:
    lines = [f"  {each}" for each in contents]
    if lines:
        return [label, *lines]
    return [f"{label} None"] if absent else []


def _role(role: RoleSelection) -> str:
    return _ROLES[min(role.scu_role, 1), min(role.scp_role, 1)]


def _accepted_role(role: RoleSelection) -> str:
    return f"{name_of(role.sop_class_uid)}: {_role(role)}"


def _extended(item: SOPClassExtendedNegotiation) -> str:
    return f"{name_of(item.sop_class_uid)}: {item.application_information.hex(' ')}"


def _common(item: SOPClassCommonExtendedNegotiation) -> str:
    related = ", ".join(map(name_of, item.related_general_sop_classes)) or "none"
    return f"{name_of(item.sop_class_uid)}: {name_of(item.service_class_uid)}, related: {related}"


def _window(item: AsynchronousOperationsWindow) -> str:
    return f"Maximum Invoked: {item.maximum_invoked}, Maximum Performed: {item.maximum_performed}"


def _identity(item: UserIdentityRQ) -> str:
    kind = _IDENTITY_TYPES.get(item.identity_type, f"Type {item.identity_type}")
    wanted = "requested" if item.positive_response_requested else "not requested"
    if item.identity_type in (1, 2):
        # A user's name is no secret; a passcode, a ticket, an assertion or a token is.
        shown = f"{str(item.primary_field, 'utf-8', 'replace')}, passcode of {len(item.secondary_field)} bytes"
    else:
        shown = f"{len(item.primary_field)} bytes"
    return f"{kind}: {shown}, positive response {wanted}"


def rejection(answer: AAssociateRJ) -> str:
    """Result, source and reason of an A-ASSOCIATE-RJ in words."""
    result = answer.RESULTS.get(answer.result, str(answer.result))
    source = answer.SOURCES.get(answer.source, str(answer.source))
    return f"Result: {result}, Source: {source}, Reason: {answer.in_words}"


def accepts_storage(request: AAssociateRQ, answer: AAssociateAC) -> bool:
    """Whether any context was accepted that instances can be sent on."""
    return any(
        result.result == PresentationContextAC.ACCEPTANCE and proposed.abstract_syntax != VERIFICATION
        for proposed, result in zip(request.presentation_contexts, answer.presentation_contexts, strict=True)
    )


def rejected_contexts(request: AAssociateRQ, answer: AAssociateAC) -> list[str]:
    """A line for each abstract syntax of which no context was accepted, with the option that would have done it."""
    contexts = list(zip(request.presentation_contexts, answer.presentation_contexts, strict=True))
    accepted = {
        proposed.abstract_syntax for proposed, result in contexts if result.result == PresentationContextAC.ACCEPTANCE
    }
    lines = {
        proposed.abstract_syntax: f"Presentation Context {_CONTEXT_RESULTS[result.result]}: "
        f"{name_of(proposed.abstract_syntax)}{_remedy(proposed, result)}"
        for proposed, result in contexts
        if proposed.abstract_syntax not in accepted
    }
    return list(lines.values())


def _remedy(proposed: PresentationContextRQ, answer: PresentationContextAC) -> str:
    if answer.result == PresentationContextAC.TRANSFER_SYNTAXES_NOT_SUPPORTED:
        known = TRANSFER_SYNTAXES.intersection(proposed.transfer_syntaxes)
        return "; --accept-all-syntaxes accepts it" if known else ""
    if answer.result == PresentationContextAC.ABSTRACT_SYNTAX_NOT_SUPPORTED:
        private = proposed.abstract_syntax not in KNOWN and 1 <= len(proposed.abstract_syntax) <= LONGEST_UID
        return "; --accept-unknown-sop-classes accepts it" if private else ""
    return ""


def abort(pdu: AAbort | PAbort) -> list[str]:
    source = pdu.source if isinstance(pdu, AAbort) else AAbort.SERVICE_PROVIDER
    return [
        _banner("BEGIN A-ABORT", left=26),
        f"Abort Source: {_ABORT_SOURCES.get(source, str(source))}",
        f"Abort Reason: {_ABORT_REASONS.get(pdu.reason, str(pdu.reason))}",
        _banner("END A-ABORT", left=27),
    ]


def status(code: int) -> str:
    """A status as ``0xA700 (Out of Resources)``."""
    words = STATUS_WORDS.get(code)
    return f"0x{code:04X} ({words})" if words else f"0x{code:04X}"


def message(direction: str, context: PresentationContext, command: Command) -> list[str]:
    """A DIMSE message; `direction` is INCOMING or OUTGOING."""
    return [
        _banner(f"{direction} DIMSE MESSAGE"),
        _field("Message Type", _message_type(command)),
        _field("Presentation Context ID", context.context_id),
        *_fields(command),
        _banner("END DIMSE MESSAGE"),
    ]


def _message_type(command: Command) -> str:
    names = {CEchoRQ: "C-ECHO RQ", CEchoRSP: "C-ECHO RSP", CStoreRQ: "C-STORE RQ", CStoreRSP: "C-STORE RSP"}
    return names.get(type(command), f"{command.command_field:04X}H")


def _fields(command: Command) -> list[str]:
    data_set = _field("Data Set", "Present" if command.has_data_set else "None")
    if isinstance(command, CStoreRQ):
        lines = [
            _field("Message ID", command.message_id),
            _field("Affected SOP Class UID", command.affected_sop_class_uid),
            _field("Affected SOP Instance UID", command.affected_sop_instance_uid),
        ]
        if command.move_originator_ae_title is not None:
            lines.append(_field("Move Originator", command.move_originator_ae_title))
        return [*lines, data_set, _field("Priority", _PRIORITIES.get(command.priority, command.priority))]
    if isinstance(command, CEchoRQ | OtherRQ):
        return [_field("Message ID", command.message_id), data_set]
    assert isinstance(command, CEchoRSP | CStoreRSP | OtherRSP)
    lines = [_field("Message ID Being Responded To", command.message_id_being_responded_to)]
    if not isinstance(command, OtherRSP):
        lines.append(_field("Affected SOP Class UID", command.affected_sop_class_uid))
    if isinstance(command, CStoreRSP):
        lines.append(_field("Affected SOP Instance UID", command.affected_sop_instance_uid))
    return [*lines, data_set, _field("DIMSE Status", status(command.status))]
