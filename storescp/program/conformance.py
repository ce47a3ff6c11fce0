"""--conformance: the DICOM Conformance Statement of a configuration, in the form of PS3.2 Annex A.

Its prose is in ``statement.rst``; here is what depends on the configuration, and the tables.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.resources import files
from string import Template

from storescp.config import Config, ConfigError
from storescp.errors import STATUS_WORDS, Status
from storescp.program.command_line import Asked
from storescp.program.endpoints import parts_of, without_tls
from storescp.program.gate import has_list, verifies
from storescp.program.markup import literal, paragraph, table
from storescp.program.options import OPTIONS, Option
from storescp.program.printing import print_lines
from storescp.program.service import descriptions_of
from storescp.server.identity import VERIFYING
from storescp.server.listening import GONE
from storescp.server.protocol import CLOSING, UNREAD
from storescp.storage.naming import LONGEST_USABLE
from storescp.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    STORAGE_SOP_CLASSES,
    VERIFICATION,
    VERSION,
    by_name,
    listed_name_of,
)
from storescp.ul.negotiation import (
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    CALLED_AE_TITLE_NOT_RECOGNIZED,
    CALLING_AE_TITLE_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    NO_REASON_GIVEN,
    PROTOCOL_VERSION_NOT_SUPPORTED,
    SMALLEST_MAXIMUM_LENGTH,
    TEMPORARY_CONGESTION,
    USER_IDENTITY_REFUSED,
    WINDOW,
    Policy,
)
from storescp.ul.pdu import AAssociateRJ

# PS3.8 Table 9-21.
_RESULTS = {1: "permanent", 2: "transient"}
_SOURCES = {1: "service user", 2: "service provider (ACSE)", 3: "service provider (presentation)"}

_DEFAULT = re.compile(r" \(default[^)]*\)")


def conformance(asked: Asked) -> int:
    """Print the statement; 0. Raises `UsageError` and `CannotStart`."""
    try:
        lines = statement(asked.config).splitlines()
    except ConfigError as error:
        raise asked.complaint(error) from None
    print_lines(lines)
    return 0


def statement(config: Config, date: str | None = None) -> str:
    """The statement, in reStructuredText. `date` is today's, UTC, unless it is given.

    `config` need not say where to listen. Files that it names are not looked at. Raises ConfigError where ports and TLS
    do not go together, and `CannotStart` for TLS where its libraries are not installed.
    """
    template = Template((files("storescp.program") / "statement.rst").read_text("ascii"))
    return template.substitute(
        version=VERSION,
        date=date or datetime.now(timezone.utc).date().isoformat(),
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        parameters=table(("Option", "What it sets", "Value"), _parameters(config)),
        **_contexts(Policy.from_config(config)),
        **_associations(config),
        **_instances(config),
        **_addresses(config),
        **_security(config),
    )


def _contexts(policy: Policy) -> dict[str, str]:
    stored = by_name(STORAGE_SOP_CLASSES)
    others = policy.unknown_sop_classes
    overview = [
        ("Verification", "1 SOP Class", "No", "Yes"),
        (
            "Storage, and Non-Patient Object Storage",
            f"{len(stored)} SOP Classes{', and any that PS3.6 does not have' if others else ''}",
            "No",
            "Yes",
        ),
    ]
    return {
        "overview": table(("Service Class", "SOP Classes, 4.2.1.1", "User (SCU)", "Provider (SCP)"), overview),
        "and_others": ", and any that PS3.6 does not have (8.5)" if others else "",
        "sop_classes": table(
            ("SOP Class", "UID", "SCU", "SCP"),
            [(listed_name_of(uid), uid, "No", "Yes") for uid in (VERIFICATION, *stored)],
        ),
        "transfer_syntaxes": table(
            ("Transfer Syntax", "UID"), [(listed_name_of(uid), uid) for uid in policy.transfer_syntaxes]
        ),
        "other_sop_classes": (
            "Specialized and Private ones, whose UIDs PS3.6 does not have, are, too (``--accept-unknown-sop-classes``)."
            if others
            else "Specialized and Private ones, with UIDs of their own, are not (``--accept-unknown-sop-classes``)."
        ),
    }


def _associations(config: Config) -> dict[str, str]:
    identity = f"a user identity that can be verified{', or none' if _lets_in_anonymous(config) else ''}"
    asked = [
        "the calling AE title and what a list says beside it" if has_list(config) else "",
        f"a certificate{_over_tls(config)}" if config.tls_ca is not None else "",
        identity if verifies(config) else "",
    ]
    of_entry = ", or of an entry of the list what that says" if config.allow_file is not None else ""
    return {
        "max_pdu": str(config.max_pdu),
        "max_associations": str(config.max_associations),
        "per_peer": f"{config.max_associations_per_peer} of one host{of_entry}",
        "window": str(WINDOW),
        "called": "has to be called" if config.require_called_aet else "need not be called",
        "asked": "; ".join(filter(None, asked)) or "nothing",
        "rejections": table(
            ("Result, source, reason", "In words", "When"),
            [(_numbers(answer), _words(answer), when) for answer, when in _rejections(config)],
        ),
        "timers": table(("Timer", "Seconds", "What runs out, and what follows"), _timers(config)),
    }


def _over_tls(config: Config) -> str:
    """Where a certificate is demanded, if that is not so of all endpoints."""
    everywhere = all(over_tls for over_tls, _, _ in map(parts_of, _places(config)))
    return "" if everywhere else " on the endpoints that begin with ``tls:``"


def _lets_in_anonymous(config: Config) -> bool:
    return any(each.partition(":")[0] == "anonymous" for each in config.auth)


def _numbers(answer: AAssociateRJ) -> str:
    return f"{answer.result}, {answer.source}, {answer.reason}"


def _words(answer: AAssociateRJ) -> str:
    return f"{_RESULTS[answer.result]}, by the {_SOURCES[answer.source]}: {answer.in_words}"


def _rejections(config: Config) -> Iterator[tuple[AAssociateRJ, str]]:
    """What may be answered, in the order in which it is looked at."""
    yield PROTOCOL_VERSION_NOT_SUPPORTED, "bit 0 of the protocol version is not set"
    yield APPLICATION_CONTEXT_NOT_SUPPORTED, "another application context is asked for"
    if config.require_called_aet:
        yield CALLED_AE_TITLE_NOT_RECOGNIZED, "another AE title is called"
    yield NO_REASON_GIVEN, f"the maximum length is from 1 to {SMALLEST_MAXIMUM_LENGTH - 1}: no answer would have room"
    if has_list(config):
        yield CALLING_AE_TITLE_NOT_RECOGNIZED, "the calling AE title, its network or its certificate is not in the list"
    if verifies(config):
        in_list = ", or not in the list" if config.allow_file is not None else ""
        yield USER_IDENTITY_REFUSED, f"the user is not verified, or not within {VERIFYING:g} s{in_list}"
    yield LOCAL_LIMIT_EXCEEDED, "there are as many associations as there may be"
    if not config.ignore:
        yield TEMPORARY_CONGESTION, "the disk has failed three times in a row, and does not work yet"


def _timers(config: Config) -> Iterator[tuple[str, str, str]]:
    yield "ARTIM (``-ta``)", f"{config.acse_timeout:g}", "no A-ASSOCIATE-RQ, or no close after the last PDU: close"
    yield "DIMSE (``-td``)", _seconds(config.dimse_timeout), "no further fragment of a message: A-ABORT"
    yield (
        "Network (``-to``)",
        _seconds(config.timeout),
        "nothing comes at all: A-ABORT, or close where nothing is associated yet",
    )
    yield "Unread (fixed)", f"{UNREAD:g}", "the remote AE does not read what is sent to it: reset"
    yield "Close (fixed)", f"{CLOSING:g}", "a close in order does not come to its end: reset"
    yield (
        "Gone (fixed)",
        f"{GONE:g}",
        "on Linux, over TCP, the remote host acknowledges nothing, not even keep-alive: lost",
    )
    if not config.ignore:
        late = "the disk does not take an instance"
        if config.durability == "none":  # all wait for the disk, but for what is compared
            late = "an instance is not compared with the one that is there"
        yield "Storage", _seconds(config.storage_timeout), f"{late}: A-ABORT"


def _seconds(seconds: float | None) -> str:
    return "unlimited" if seconds is None else f"{seconds:g}"


_WAITED_FOR = {
    "full": "the file and its name are on the disk (fsync of both)",
    "file": "the content of the file is on the disk (fsync), and it has its name",
    "none": "the file has its name; nothing is synced",
}
_DUPLICATES = {
    "keep": "is kept beside the first, under a name of its own",
    "reject": "is refused with 0111",
    "overwrite": "takes the place of the first",
}


def _instances(config: Config) -> dict[str, str]:
    statuses = [(f"{status:04X}", STATUS_WORDS[status], when) for status, when in _statuses(config)]
    return {
        **(_FORGOTTEN if config.ignore else _stored(config)),
        "statuses": table(("Status", "In words", "When"), statuses),
    }


_FORGOTTEN = {
    "does": "receives instances and forgets them",
    "kept": "nothing",
    "provides": "It accepts, without conformance to PS3.4 Annex B (4.2.1.4.1.4),",
    "storage": paragraph(
        "Instances are received whole, answered and forgotten (``--ignore``): that is for tests of senders, and no",
        "conformance to PS3.4 Annex B.",
    ),
    "later": "",
    "files": "No file is written.",
    "used": "None.",
}


def _stored(config: Config) -> dict[str, str]:
    return {
        "does": "stores instances as files",
        "kept": "files  ",
        "provides": "It provides Standard Conformance to",
        "storage": paragraph(
            "Level 2 (Full) of PS3.4 B.4.1: all attributes are kept, standard and private; so are those of",
            "Non-Patient Objects, PS3.4 Annex GG. The data set in the file is byte for byte what came, in the",
            "transfer syntax in which it came; no element is coerced, and digital signatures stay what they are",
            f"(level 3). Success says that {_WAITED_FOR[config.durability]}. The same data set again, under the",
            "same UID, is answered with Success and not written twice; another content of a UID that is there",
            f"{_DUPLICATES[config.on_duplicate]}. Nothing else removes or changes a file. Its name is some letters",
            "for the SOP Class and its UID, ``CT.1.2.3.4.5.6``, or a digest of what is no UID; it is read in the",
            "directory, and not given out over the network.",
        ),
        "later": "After 0110, or A700 for lack of room, the instance may be taken later; else it is refused again.",
        "files": "Each instance is a file of PS3.10, with File Meta Information; there is no DICOMDIR.",
        "used": "SOP Class UID (0008,0016) and SOP Instance UID (0008,0018), which have to be those of the C-STORE.",
    }


def _statuses(config: Config) -> Iterator[tuple[Status, str]]:
    """What a C-STORE may be answered with, by number."""
    stores = not config.ignore
    yield Status.SUCCESS, "the instance is stored, as above" if stores else "the instance has come whole"
    if stores:
        yield Status.PROCESSING_FAILURE, "the disk has failed, other than for lack of room, or the server has"
    if stores and config.on_duplicate == "reject":
        yield Status.DUPLICATE_SOP_INSTANCE, "another content of its UID is there"
    yield Status.SOP_CLASS_NOT_SUPPORTED, "its SOP Class is not that of its presentation context, or is Verification"
    yield Status.MISTYPED_ARGUMENT, "an element of the request is missing or has another type, or there is no data set"
    reasons = "; ".join(_exhausted(config))
    if reasons:
        yield Status.OUT_OF_RESOURCES, reasons
    if stores:
        yield Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "its data set names another SOP Class or Instance"
        unusable = f"its UID is empty, longer than {LONGEST_USABLE} characters or not printable"
        yield Status.CANNOT_UNDERSTAND, f"its data set begins as a file does, or {unusable}"


def _exhausted(config: Config) -> Iterator[str]:
    """Each resource that there may be too little of for an instance."""
    if config.max_instance_size is not None:
        yield f"it has more than {config.max_instance_size} bytes"
    if config.allow_file is not None:
        yield "it has more bytes than its entry of the list allows"
    if config.ignore:
        return
    yield "there is no room: the disk is full, a quota is used up, no file may be so large, or too many are open"
    if config.min_free:
        yield f"fewer than {config.min_free} bytes are free"


def _addresses(config: Config) -> dict[str, str]:
    places = _places(config)
    where = ", ".join(map(literal, places)) or "where it is told to: no port was given"
    proxied = "The PROXY protocol, before anything else, on the endpoints of 4.4.1 with ``haproxy:`` in them."
    protocols = [
        proxied if any(behind_proxy for _, behind_proxy, _ in map(parts_of, places)) else "",
        f"HTTP, to be watched, on {literal(config.http)} (``--http``)." if config.http is not None else "",
    ]
    return {
        "address": table(
            ("Application Entity", "AE title", "Listens on"), [("Storage SCP", literal(config.ae_title), where)]
        ),
        "protocols": paragraph(*protocols) or "None.",
    }


def _places(config: Config) -> tuple[str, ...]:
    """Where it listens; nowhere, as far as `config` says. Raises ConfigError."""
    return descriptions_of(config) if config.port is not None or config.listen else ()


# Sections of options that say nothing of what is negotiated, stored and bounded; 4.4.1 and 7 have some of them.
_LEFT_OUT = {"Logging", "Output", "Watching", "Network", "Who may store", "TLS"}


def _parameters(config: Config) -> Iterator[tuple[str, str, str]]:
    for option in OPTIONS:
        if option.section not in _LEFT_OUT:
            flags = "/".join(option.flags)
            yield f"``{flags}``", _DEFAULT.sub("", option.help), _value(option, getattr(config, option.field))


def _value(option: Option, value: object) -> str:
    if option.constant is not None:
        return "yes" if value == option.constant else "no"
    if isinstance(value, str):
        return literal(value)
    return "unlimited" if value is None else str(value)


def _security(config: Config) -> dict[str, str]:
    audit = "Associations and refusals are written to a file (``--audit-log``), not in the form of PS3.15 A.5."
    return {
        "tls": _tls(config),
        "association_security": paragraph(*_demands(config)),
        "application_security": audit if config.audit_log is not None else "None.",
    }


# PS3.15 Annex B.
_PROFILES = {
    "bcp195": "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile, PS3.15 B.12",
    "bcp195-modified": "Modified BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile, PS3.15 B.13",
}


def _tls(config: Config) -> str:
    # Twisted's own, whose options are in its description.
    others = any(not over_tls and inner.startswith("ssl:") for over_tls, _, inner in map(parts_of, _places(config)))
    twisted = "TLS of the endpoints that begin with ``ssl:`` is by none of the profiles of PS3.15." if others else ""
    if config.tls_cert is None:
        return paragraph(twisted or "None: what is sent is not encrypted (``--tls-cert``).")
    try:
        from storescp.server.tls import PROFILES  # noqa: PLC0415  # its libraries are optional
    except ImportError as error:
        raise without_tls(error) from None
    profile = PROFILES[config.tls_profile]
    suites = [*((suite, "1.2") for suite in profile.tls_1_2), *((suite, "1.3") for suite in profile.tls_1_3)]
    prose = paragraph(
        f"{_PROFILES[config.tls_profile]}, on the endpoints of 4.4.1 that begin with ``tls:``.",
        f"A certificate of the remote AE is {'demanded' if config.tls_ca is not None else 'not asked for'}.",
        "Keys and signatures of certificates must have 112 bits of security. Revocation is not looked at.",
        twisted,
        "These cipher suites are negotiated, by their names in OpenSSL:",
    )
    return f"{prose}\n\n{table(('Cipher suite', 'TLS'), suites)}"


def _demands(config: Config) -> Iterator[str]:
    if config.require_called_aet:
        yield "The AE title of 4.4.1 has to be called."
    if has_list(config):
        yield "The calling AE title has to be in a list, which may demand a network, a certificate or a user beside it."
        yield "Where it names networks for every title, a connection from another one is reset before anything is sent."
    if config.tls_ca is not None:
        yield f"A certificate is demanded{_over_tls(config)}, by 7.1."
    if verifies(config):
        yield from _identities(config)
    else:
        yield "A User Identity (PS3.7 D.3.3.7) is not looked at, and gets no response."


def _identities(config: Config) -> Iterator[str]:
    anonymous = _lets_in_anonymous(config)
    types = [
        "type 1, a name, and 2, a name and a passcode" if config.users is not None else "",
        "type 5, a JSON Web Token" if config.jwt_key is not None else "",
        "the types of a checker (``--auth``)" if len(config.auth) > anonymous else "",
    ]
    verified = "; ".join(filter(None, types))
    if anonymous:
        yield "Who sends no User Identity (PS3.7 D.3.3.7) is accepted."
    if not verified:
        yield "Who sends one is rejected: none can be verified."
        return
    demanded = "One that is sent is" if anonymous else "A User Identity (PS3.7 D.3.3.7) is demanded, and"
    yield f"{demanded} verified: {verified}. Another type is rejected."
    yield "Who asks for a positive response gets it."
    yield f"Passcodes and tokens are taken {'without TLS, too' if config.insecure_identity else 'over TLS alone'}."
