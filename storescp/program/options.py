"""One table of options; the parser of both command lines is made from it, and a Config from what it parses."""

import argparse
import sys
from collections.abc import Callable, Sequence
from getpass import getpass
from typing import Any, NoReturn

import attrs

from storescp.config import Config, ConfigError
from storescp.uids import VERSION
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


def number(text: str) -> int | None:
    """A number; 0 stands for none."""
    return int(text) or None


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


def _limit(flag: str, field: str, text: str, kind: Callable[[str], Any] = int) -> Option:
    default = getattr(_DEFAULTS, field)
    return Option(_LIMITS, (flag,), field, f"{text} (default: {default})", kind=kind, metavar="[n]umber")


# The first five sections are the seed's, in its order; spellings are exact, there are no abbreviations.
OPTIONS = (
    Option(_LOGGING, ("-q", "--quiet"), "verbosity", "quiet mode, prints no warnings or errors", "quiet"),
    Option(_LOGGING, ("-v", "--verbose"), "verbosity", "verbose mode, prints processing details", "verbose"),
    Option(_LOGGING, ("-d", "--debug"), "verbosity", "debug mode, prints debugging information", "debug"),
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
        "timeout for connection requests (default: unlimited)",
        kind=int,
        metavar="[s]econds",
    ),
    Option(
        _DICOM,
        ("-ta", "--acse-timeout"),
        "acse_timeout",
        "timeout for ACSE messages (default: 30)",
        kind=int,
        metavar="[s]econds",
    ),
    Option(
        _DICOM,
        ("-td", "--dimse-timeout"),
        "dimse_timeout",
        "timeout for DIMSE messages (default: unlimited)",
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
        "accept compressed and deflated transfer syntaxes too",
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
        "or is a JSON Web Token that this public key (PEM) verifies; read again on SIGHUP",
        metavar="FILE",
    ),
    Option(_ACCESS, ("--jwt-audience",), "jwt_audience", "the audience that a token must be for", metavar="NAME"),
    Option(_ACCESS, ("--jwt-issuer",), "jwt_issuer", "the issuer that a token must be from", metavar="NAME"),
    Option(
        _ACCESS,
        ("--auth",),
        "auth",
        "or is accepted by a plugin of twisted.cred, such as file:passwords; anonymous is who sends no user identity; "
        "may be given more than once",
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
        _NETWORK,
        ("--listen",),
        "listen",
        "listen on a Twisted endpoint such as tcp6:11112, or with --tls-cert tls:tcp6:2762, in place of the port; "
        "may be given more than once",
        metavar="ENDPOINT",
        repeated=True,
    ),
)

_FLAGS = {flag for option in OPTIONS for flag in option.flags}


class UsageError(Exception):
    """A command line that cannot be understood, in one line that says what to do."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(escape(message))


def _asked_for_passcode(name: str) -> str:
    """Raises ValueError."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    try:
        passcode = getpass(f"Passcode of {name}: ")
        again = getpass("The same again: ")
    except (EOFError, KeyboardInterrupt):
        raise ValueError("no passcode was given") from None
    if passcode != again:
        raise ValueError("the passcodes differ")
    return passcode


class _HashPasscode(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, name: Any, _flag: object = None
    ) -> NoReturn:
        try:
            from storescp.server.users import users_line  # noqa: PLC0415  # of an extra
        except ImportError as error:
            raise UsageError(f"{error}; pip install 'storescp[users]'") from None
        try:
            print(users_line(name, _asked_for_passcode(name)))
        except ValueError as error:
            raise UsageError(escape(str(error))) from None
        parser.exit()


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The parser of `prog`: options and port anywhere on the line. Raises `UsageError`."""
    parser = _Parser(
        prog=prog,
        usage=f"{prog} [options] port",
        description="Receives DICOM instances over the network (Storage SCP) and stores them as files.",
        allow_abbrev=False,
        add_help=False,
    )
    general = parser.add_argument_group("General")
    general.add_argument("-h", "--help", action="help", help="print this text and exit")
    general.add_argument(
        "--version", action="version", version=f"storescp {VERSION}", help="print the version and exit"
    )
    general.add_argument(
        "--hash-passcode",
        action=_HashPasscode,
        default=argparse.SUPPRESS,
        metavar="NAME",
        help="ask for the passcode of a user, print the line of a --users file and exit",
    )
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        group = groups.get(option.section) or groups.setdefault(
            option.section, parser.add_argument_group(option.section)
        )
        group.add_argument(*option.flags, **_argparse_arguments(option))
    network = groups[_NETWORK]
    network.add_argument("port", nargs="?", type=int, help="TCP port to listen on, 0 for any free one")
    network.add_argument("--port", dest="port_option", type=int, metavar="port", help="the same")
    return parser


def _argparse_arguments(option: Option) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "dest": option.field,
        "default": argparse.SUPPRESS,  # defaults are Config's
        "help": option.help.replace("%", "%%"),
    }
    if option.constant is not None:
        return {**arguments, "action": "store_const", "const": option.constant}
    action = "append" if option.repeated else "store"
    return {**arguments, "action": action, "type": option.kind, "metavar": option.metavar}


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> Config:
    """The configuration that a command line asks for. Raises `UsageError`."""
    _refuse_abbreviations(arguments)
    try:
        values = vars(parser.parse_args(list(arguments)))
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from None
    ports = [port for port in (values.pop("port"), values.pop("port_option")) if port is not None]
    if len(ports) + ("listen" in values) != 1:
        raise UsageError(f"give one port to listen on, as in '{parser.prog} 11112', or --listen, not both")
    try:
        return Config(port=ports[0] if ports else None, **values)
    except ConfigError as error:
        raise usage_error(error) from None


def usage_error(error: ConfigError) -> UsageError:
    """The same complaint in the words of the command line."""
    return UsageError(escape(f"argument {spelling(error.field)}: {error.args[0]}"))


def spelling(field: str) -> str:
    """How a command line spells what sets this attribute of `Config`."""
    return next(("/".join(option.flags) for option in OPTIONS if option.field == field), field)


def _refuse_abbreviations(arguments: Sequence[str]) -> None:
    # argparse takes -p for -pdu even where it is told not to abbreviate; -dv, two flags in one, stays.
    for argument in arguments:
        if argument == "--":
            return
        if argument[:1] == "-" and argument not in _FLAGS and any(flag.startswith(argument) for flag in _FLAGS):
            raise UsageError(escape(f"unrecognized arguments: {argument}"))
