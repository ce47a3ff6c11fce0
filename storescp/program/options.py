"""The table of options, from which all is made that knows them: command lines, configuration file, manual."""

from collections.abc import Callable
from typing import Any

import attrs

from storescp.config import Config
from storescp.watch.escaping import escape


@attrs.frozen
class Option:
    """One row: its spellings, the attribute of `Config` it sets, and what it means.

    With a `constant` it is a flag that sets just that; else it takes a value of `kind`.
    """

    section: str
    flags: tuple[str, ...]
    field: str
    help: str
    constant: Any = None
    kind: Callable[[str], Any] = str
    metavar: str | None = None
    repeated: bool = False

    @property
    def name(self) -> str:
        """Its long spelling without the dashes: what a configuration file calls it."""
        return self.flags[-1].removeprefix("--")


def number(text: str) -> int | None:
    """A number; 0 stands for none."""
    return int(text) or None


ENDPOINT = "ENDPOINT"  # what may be a port alone
_DEFAULTS = Config()

_LOGGING = "Logging"
_TITLES = "Application Entity Titles"
_DICOM = "Miscellaneous DICOM"
_SYNTAXES = "Preferred Transfer Syntaxes"
_ACCEPTED = "Accepted Presentation Contexts"
_OUTPUT = "Output"
_STORAGE = "Storage"
_LIMITS = "Limits"
_NETWORK = "Network"
_ACCESS = "Who may store"
_TLS = "TLS"
_WATCHING = "Watching"


def _limit(flag: str, field: str, text: str, kind: Callable[[str], Any] = int) -> Option:
    default = getattr(_DEFAULTS, field)
    return Option(_LIMITS, (flag,), field, f"{text} (default: {default})", kind=kind, metavar="[n]umber")


# The first five sections are the seed's, in its order; spellings are exact, there are no abbreviations.
OPTIONS = (
    Option(_LOGGING, ("-q", "--quiet"), "verbosity", "quiet mode, prints no warnings or errors", "quiet"),
    Option(_LOGGING, ("-v", "--verbose"), "verbosity", "verbose mode, prints processing details", "verbose"),
    Option(_LOGGING, ("-d", "--debug"), "verbosity", "debug mode, prints debugging information", "debug"),
    Option(
        _LOGGING,
        ("--log-format",),
        "log_format",
        "how a line of the log is written: text (default), or json, an object with time, level, association, message",
        metavar="text|json",
    ),
    Option(
        _LOGGING,
        ("--log-associations",),
        "log_associations",
        "begin each line about an association with its id and, with -v, end it with a line that sums it up; json "
        "does so always",
        constant=True,
    ),
    Option(
        _TITLES,
        ("-aet", "--aetitle"),
        "ae_title",
        "set my AE title (default: STORESCP)",
        metavar="[a]etitle",
    ),
    Option(
        _TITLES,
        ("--require-called-aet",),
        "require_called_aet",
        "reject an association that does not call my AE title",
        constant=True,
    ),
    Option(
        _DICOM,
        ("-to", "--timeout"),
        "timeout",
        "timeout for connection requests: end a connection on which nothing comes for so long (default: unlimited)",
        kind=int,
        metavar="[s]econds",
    ),
    Option(
        _DICOM,
        ("-ta", "--acse-timeout"),
        "acse_timeout",
        "timeout for ACSE messages: close a connection whose association request is not whole by then (default: 30)",
        kind=int,
        metavar="[s]econds",
    ),
    Option(
        _DICOM,
        ("-td", "--dimse-timeout"),
        "dimse_timeout",
        "timeout for DIMSE messages: abort where the next fragment of one does not come (default: unlimited)",
        kind=int,
        metavar="[s]econds",
    ),
    Option(
        _DICOM,
        ("-pdu", "--max-pdu"),
        "max_pdu",
        "set maximum receive PDU bytes to n bytes, 4096 to 131072 (default: 16384)",
        kind=int,
        metavar="[n]umber",
    ),
    Option(_DICOM, ("--ignore",), "ignore", "receive data but don't store it", constant=True),
    Option(
        _SYNTAXES,
        ("-x=", "--prefer-uncompr"),
        "prefer",
        "prefer explicit VR local byte order (default)",
        constant="uncompressed",
    ),
    Option(
        _SYNTAXES,
        ("-xe", "--prefer-little"),
        "prefer",
        "prefer explicit VR little endian transfer syntax",
        constant="little",
    ),
    Option(
        _SYNTAXES,
        ("-xb", "--prefer-big"),
        "prefer",
        "prefer explicit VR big endian transfer syntax",
        constant="big",
    ),
    Option(
        _SYNTAXES,
        ("-xi", "--implicit"),
        "prefer",
        "accept implicit VR little endian transfer syntax only",
        constant="implicit",
    ),
    Option(
        _ACCEPTED,
        ("--accept-all-syntaxes",),
        "accept_all_syntaxes",
        "accept compressed transfer syntaxes too: JPEG, JPEG 2000, RLE, MPEG and others; deflated ones",
        constant=True,
    ),
    Option(
        _ACCEPTED,
        ("--accept-unknown-sop-classes",),
        "accept_unknown_sop_classes",
        "store instances of SOP classes that the standard does not know, such as private ones",
        constant=True,
    ),
    Option(
        _OUTPUT,
        ("-od", "--output-directory"),
        "output_directory",
        "write received objects to existing directory d (default: the current one)",
        metavar="[d]irectory",
    ),
    Option(
        _STORAGE,
        ("--durability",),
        "durability",
        "what Success waits for: full, file and name are on the disk (default); file, the content is; none, neither",
        metavar="full|file|none",
    ),
    Option(
        _STORAGE,
        ("--on-duplicate",),
        "on_duplicate",
        "what becomes of another content of a UID that is here already: keep both (default), reject it with 0111H, "
        "or overwrite the older one",
        metavar="keep|reject|overwrite",
    ),
    Option(
        _STORAGE,
        ("--min-free",),
        "min_free",
        "refuse instances with A700H where fewer bytes are free on the disk (default: 0)",
        kind=int,
        metavar="[n]umber",
    ),
    Option(
        _STORAGE,
        ("--storage-timeout",),
        "storage_timeout",
        "abort an association whose instance the disk does not take for so long (default: 60)",
        kind=int,
        metavar="[s]econds",
    ),
    Option(
        _STORAGE,
        ("--grace",),
        "grace",
        "what a SIGTERM leaves to the instances under way, to finish and be answered (default: 20)",
        kind=int,
        metavar="[s]econds",
    ),
    _limit("--max-associations", "max_associations", "reject an association beyond so many"),
    _limit(
        "--max-associations-per-peer", "max_associations_per_peer", "reject an association of a host beyond so many"
    ),
    _limit(
        "--max-unassociated",
        "max_unassociated",
        "connections without an association that may be open; beyond that the oldest are closed",
    ),
    _limit(
        "--max-instance-size",
        "max_instance_size",
        "refuse an instance of more bytes with A700H, 0 for none",
        number,
    ),
    _limit("--max-associate-rq", "max_associate_rq", "abort at an A-ASSOCIATE-RQ of more bytes"),
    _limit("--max-contexts", "max_contexts", "abort at an A-ASSOCIATE-RQ of more presentation contexts"),
    _limit("--max-transfer-syntaxes", "max_transfer_syntaxes", "abort at a context of more transfer syntaxes"),
    _limit("--max-user-items", "max_user_items", "abort at User Information of more items"),
    _limit("--max-command-set", "max_command_set", "abort at a command set of more bytes"),
    Option(
        _ACCESS,
        ("--allow",),
        "allow",
        "accept associations of this calling AE title alone, and from this network, such as CT1@10.1.2.0/24; * is any "
        "title; may be given more than once",
        metavar="AET[@NETWORK]",
        repeated=True,
    ),
    Option(
        _ACCESS,
        ("--allow-file",),
        "allow_file",
        "the same from a file, with conditions and limits: docs/security.rst; read again on SIGHUP",
        metavar="FILE",
    ),
    Option(
        _ACCESS,
        ("--users",),
        "users",
        "accept associations alone whose user identity, a name and a passcode, is that of a line of this file; read "
        "again on SIGHUP",
        metavar="FILE",
    ),
    Option(
        _ACCESS,
        ("--jwt-key",),
        "jwt_key",
        "accept associations whose user identity is a JSON Web Token that this public key (PEM) verifies; read again "
        "on SIGHUP",
        metavar="FILE",
    ),
    Option(_ACCESS, ("--jwt-audience",), "jwt_audience", "the audience that a token must be for", metavar="NAME"),
    Option(_ACCESS, ("--jwt-issuer",), "jwt_issuer", "the issuer that a token must be from", metavar="NAME"),
    Option(
        _ACCESS,
        ("--auth",),
        "auth",
        "accept those that a plugin of twisted.cred accepts, such as file:passwords; anonymous lets in who sends no "
        "user identity; may be given more than once",
        metavar="TYPE[:ARGUMENTS]",
        repeated=True,
    ),
    Option(
        _ACCESS,
        ("--insecure-identity",),
        "insecure_identity",
        "accept passcodes and tokens without TLS too",
        constant=True,
    ),
    Option(
        _ACCESS,
        ("--audit-log",),
        "audit_log",
        "append a line of JSON to this file for each association and each refusal",
        metavar="FILE",
    ),
    Option(
        _TLS,
        ("--tls-cert",),
        "tls_cert",
        "speak TLS on the port, with this certificate (PEM), and those that lead to its authority after it; read again "
        "on SIGHUP",
        metavar="FILE",
    ),
    Option(
        _TLS,
        ("--tls-key",),
        "tls_key",
        "the private key of the certificate (PEM), without a passphrase (default: in the same file)",
        metavar="FILE",
    ),
    Option(
        _TLS,
        ("--tls-ca",),
        "tls_ca",
        "demand a certificate of peers, from one of the authorities in this file (PEM)",
        metavar="FILE",
    ),
    Option(
        _TLS,
        ("--tls-profile",),
        "tls_profile",
        "what is negotiated, by PS3.15 B.12 (default) or B.13; TLS 1.2 and 1.3 in either",
        metavar="bcp195|bcp195-modified",
    ),
    Option(
        _WATCHING,
        ("--http",),
        "http",
        "serve a live page, /metrics for Prometheus, /healthz and /readyz on this Twisted endpoint or port; to this "
        "machine alone, unless it has an interface= of its own",
        metavar=ENDPOINT,
    ),
    Option(
        _NETWORK,
        ("--listen",),
        "listen",
        "listen on a Twisted endpoint such as tcp6:11112, or with --tls-cert tls:tcp6:2762, in place of the port; "
        "may be given more than once",
        metavar="ENDPOINT",
        repeated=True,
    ),
    Option(_NETWORK, ("--port",), "port", "TCP port to listen on, 0 for any free one", kind=int, metavar="port"),
)


def spelling(field: str) -> str:
    """How a command line spells what sets this attribute of `Config`."""
    if field == "port":  # which needs no option
        return field
    return next(("/".join(option.flags) for option in OPTIONS if option.field == field), field)


class UsageError(Exception):
    """A command line, or a configuration file, that cannot be understood, in one line that says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(escape(message))
