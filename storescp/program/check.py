"""check: what a start does, up to serving somebody, and what would be negotiated then."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from twisted.internet.endpoints import serverFromString
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.interfaces import IWatchedStorage
from storescp.program.command_line import Asked
from storescp.program.gate import verifies
from storescp.program.lines import log_observer
from storescp.program.printing import print_lines
from storescp.program.process import allow_descriptors, take_over
from storescp.program.service import Given, assemble, descriptions_of, run_service
from storescp.storage.health import fault_of
from storescp.storage.workers import AtOnce
from storescp.uids import STORAGE_SOP_CLASSES, VERIFICATION, by_name, listed_name_of
from storescp.ul.negotiation import WINDOW, Policy
from storescp.watch.audit import JSONLines

_HANDED_OVER = re.compile(r"(?<![^:])systemd:.*")
_ANY = "tcp:0:interface=127.0.0.1"  # that all else works is to be found out
_GOOD = "Nothing stands in the way of a start."
_IN_CLEAR = ", over TLS alone, which is not spoken here (--tls-cert, --insecure-identity)"
_COLUMN = 34  # where values begin
_UID_COLUMN = 76


def check(asked: Asked) -> int:
    """Start, serve nobody, stop, and print what would be negotiated; 0. Raises what stands in the way of a start."""
    from twisted.internet import reactor  # noqa: PLC0415  # a program's, which ends with it

    take_over(reactor)
    config = asked.config
    globalLogBeginner.beginLoggingTo([log_observer(config, sys.stderr)], redirectStandardIO=False, discardBuffer=True)
    here, elsewhere = _without_handed_over(allow_descriptors(config), reactor)
    try:
        service = assemble(here, reactor, Given(workers=AtOnce(), audit_of=JSONLines.check))
    except ConfigError as error:
        raise asked.complaint(ConfigError(error.field, _as_given(error.args[0], elsewhere))) from None

    def started() -> None:
        storage = service.storage
        if IWatchedStorage.providedBy(storage):
            failures: list[Failure] = []
            storage.probe().addErrback(failures.append)
            for failure in failures:
                place = os.path.abspath(config.output_directory)
                raise CannotStart(f"output directory {place}: {fault_of(failure)}")
        reactor.stop()

    run_service(reactor, service, started)
    print_lines((*_settings(config), *_unchecked(elsewhere), "", *_negotiated(config), "", _GOOD))
    return 0


def _without_handed_over(config: Config, reactor: Any) -> tuple[Config, list[str]]:
    """`config` with others in the place of sockets that are still to be handed over by a service manager; and those."""
    if _are_here(reactor):
        return config, []
    http = config.http and _HANDED_OVER.sub(_ANY, config.http)
    listen = [_HANDED_OVER.sub(_ANY, each) for each in config.listen]
    given = (*config.listen, *([config.http] if config.http else []))
    return attrs.evolve(config, listen=listen, http=http), list(filter(_HANDED_OVER.search, given))


def _are_here(reactor: Any) -> bool:
    """Whether a service manager has handed over any: Twisted has taken that from the environment by now."""
    try:
        return bool(serverFromString(reactor, "systemd:domain=INET:index=0"))
    except IndexError:
        return False


def _as_given(message: str, elsewhere: Iterable[str]) -> str:
    """`message` about endpoints as they were given, not as they were replaced."""
    for each in elsewhere:
        message = message.replace(_HANDED_OVER.sub(_ANY, each), each)
    return message


def _settings(config: Config) -> Iterator[str]:
    called = "no other may be called" if config.require_called_aet else "any may be called"
    yield _row("AE title", f"{config.ae_title}; {called}")
    yield _row("Listens on", ", ".join(descriptions_of(config)))
    yield _row("Stores into", "nothing (--ignore)" if config.ignore else os.path.abspath(config.output_directory))
    yield _row("Success waits for", {"full": "file and name", "file": "file", "none": "nothing"}[config.durability])
    yield _row("Another content of a UID", config.on_duplicate)
    yield _row("Who may store", ", ".join(_gate(config)) or "whoever reaches this server")
    if config.tls_cert is not None:
        yield _row("TLS", f"{config.tls_profile}, {config.tls_cert}")
    if config.http is not None:
        yield _row("Can be looked at on", config.http)
    yield _row("Maximum PDU length", f"{config.max_pdu} bytes")
    yield _row("Asynchronous Operations Window", f"{WINDOW} performed, 1 invoked")


def _gate(config: Config) -> Iterator[str]:
    if config.allow:
        yield f"those of --allow ({len(config.allow)})"
    if config.allow_file is not None:
        yield f"those of {config.allow_file}"
    if config.tls_ca is not None:
        yield f"with a certificate from {config.tls_ca}"
    if verifies(config):
        secret = config.users is not None or config.jwt_key is not None
        in_clear = secret and config.tls_cert is None and not config.insecure_identity
        yield f"as a verified user{_IN_CLEAR if in_clear else ''}"


def _unchecked(endpoints: Iterable[str]) -> Iterator[str]:
    for each in endpoints:
        yield _row("Not checked", f"{each}, which a service manager hands over")


def _negotiated(config: Config) -> Iterator[str]:
    policy = Policy.from_config(config)
    yield "Transfer Syntaxes, for each SOP Class the first of these that is proposed:"
    yield from map(_uid_row, policy.transfer_syntaxes)
    yield ""
    sop_classes = by_name(STORAGE_SOP_CLASSES)
    yield f"SOP Classes, {1 + len(sop_classes)}:"
    yield from map(_uid_row, (VERIFICATION, *sop_classes))
    if policy.unknown_sop_classes:
        yield "  and any that PS3.6 does not know"


def _row(label: str, value: object) -> str:
    return f"{label:<{_COLUMN}}{value}"


def _uid_row(uid: str) -> str:
    return f"  {listed_name_of(uid):<{_UID_COLUMN}} {uid}"
