"""The parser of both command lines, made from the table of options, and a Config from what it parses."""

import argparse
import sys
from collections.abc import Sequence
from getpass import getpass
from typing import Any, NoReturn

import attrs

from storescp.config import Config, ConfigError
from storescp.program.configuration_file import ConfigurationFile
from storescp.program.options import OPTIONS, Option, UsageError, spelling
from storescp.uids import VERSION

_FLAGS = {"--config", "--check", "--conformance", *(flag for option in OPTIONS for flag in option.flags)}
_PLACES = ("port", "listen")  # where to listen, which are one question


@attrs.frozen(kw_only=True)
class Asked:
    """What a command line, with its configuration file, asks for."""

    config: Config
    instead: str | None  # of serving: "check" whether it can be done, or print its "conformance" statement
    file: ConfigurationFile
    given: frozenset[str]  # attributes of `Config` that the command line itself has set

    def complaint(self, error: ConfigError) -> UsageError:
        """The same complaint in the words of the command line, or of the file, whose value it is."""
        return _complaint(error, self.file, self.given)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


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
            raise UsageError(str(error)) from None
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
    _add_general(parser)
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        group = groups.get(option.section) or groups.setdefault(
            option.section, parser.add_argument_group(option.section)
        )
        if option.field == "port":
            group.add_argument("port_argument", nargs="?", type=int, metavar="port", help=option.help)
        group.add_argument(*option.flags, **_argparse_arguments(option))
    return parser


def _add_general(parser: argparse.ArgumentParser) -> None:
    general = parser.add_argument_group("General")
    general.add_argument("-h", "--help", action="help", help="print this text and exit")
    general.add_argument(
        "--version", action="version", version=f"storescp {VERSION}", help="print the version and exit"
    )
    general.add_argument(
        "--config",
        metavar="FILE",
        help="read options from this file (TOML), by their long names; the command line wins",
    )
    instead = general.add_mutually_exclusive_group()
    instead.add_argument(
        "--check",
        action="store_const",
        dest="instead",
        const="check",
        help="do all that a start does but serve nobody, print what would be negotiated and exit",
    )
    instead.add_argument(
        "--conformance",
        action="store_const",
        dest="instead",
        const="conformance",
        help="print the DICOM Conformance Statement (PS3.2) of these options, in reStructuredText, and exit",
    )
    general.add_argument(
        "--hash-passcode",
        action=_HashPasscode,
        default=argparse.SUPPRESS,
        metavar="NAME",
        help="ask for the passcode of a user, print the line of a --users file and exit",
    )


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


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> Asked:
    """What a command line asks for. Raises `UsageError`, and `CannotStart` where its file cannot be read."""
    _refuse_abbreviations(arguments)
    try:
        given = vars(parser.parse_args(list(arguments)))
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from None
    file, instead, port = ConfigurationFile.read(given.pop("config")), given.pop("instead"), given.pop("port_argument")
    ports = [each for each in (port, given.pop("port", None)) if each is not None]
    if len(ports) + ("listen" in given) > 1:
        raise UsageError(_one_place(parser.prog))
    if ports:
        given["port"] = ports[0]
    values = {**file.values, **given}
    if not given.keys().isdisjoint(_PLACES):  # whatever the file says
        values = {field: value for field, value in values.items() if field in given or field not in _PLACES}
    if not values.keys() & set(_PLACES) and instead != "conformance":
        raise UsageError(_one_place(parser.prog))
    if values.keys() >= set(_PLACES):
        raise file.complaint("listen", "a port is given too: give one of them")
    try:
        config = Config(**values)
    except ConfigError as error:
        raise _complaint(error, file, frozenset(given)) from None
    return Asked(config=config, instead=instead, file=file, given=frozenset(given))


def _one_place(prog: str) -> str:
    return f"give one port to listen on, as in '{prog} 11112', or --listen, not both"


def _complaint(error: ConfigError, file: ConfigurationFile, given: frozenset[str]) -> UsageError:
    if error.field in file.values and error.field not in given:
        return file.complaint(error.field, error.args[0])
    return UsageError(f"argument {spelling(error.field)}: {error.args[0]}")


def _refuse_abbreviations(arguments: Sequence[str]) -> None:
    # argparse takes -p for -pdu even where it is told not to abbreviate; -dv, two flags in one, stays.
    for argument in arguments:
        if argument == "--":
            return
        if argument[:1] == "-" and argument not in _FLAGS and any(flag.startswith(argument) for flag in _FLAGS):
            raise UsageError(f"unrecognized arguments: {argument}")
