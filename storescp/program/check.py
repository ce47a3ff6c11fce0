"""check: what a start does, up to serving somebody, and what would be negotiated then."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator

import attrs
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.interfaces import IWatchedStorage
from storescp.program.command_line import Asked
from storescp.program.lines import log_observer
from storescp.program.process import allow_descriptors, take_over
from storescp.program.service import run_service, service_for, storage_for
from storescp.storage.workers import AtOnce
from storescp.uids import STORAGE_SOP_CLASSES, VERIFICATION, name_of
from storescp.ul.negotiation import WINDOW, Policy

_HANDED_OVER = "systemd:"
GOOD = "Nothing stands in the way of a start."
_COLUMN = 34  # where values begin
_UID_COLUMN = 76


def check(asked: Asked) -> int:
    """Start, serve nobody, stop, and print what would be negotiated; 0. Raises what stands in the way of a start."""
    from twisted.internet import reactor  # noqa: PLC0415  # a program's, which ends with it

    take_over(reactor)
    config = asked.config
    globalLogBeginner.beginLoggingTo([log_observer(config, sys.stderr)], redirectStandardIO=False, discardBuffer=True)
    here, elsewhere = _without_handed_over(allow_descriptors(config))
    try:
        storage = storage_for(config, AtOnce())
        service = service_for(_without_audit(here), storage=storage, reactor=reactor)
    except ConfigError as error:
        raise asked.complaint(error) from None

    def started() -> None:
        if IWatchedStorage.providedBy(storage):
            failures: list[Failure] = []
            storage.probe().addErrback(failures.append)
            for failure in failures:
                fault = getattr(failure.value, "strerror", None) or failure.getErrorMessage()
                raise CannotStart(f"output directory {config.output_directory}: {fault}")
        reactor.stop()

    run_service(reactor, service, started)
    _print((*_settings(config), *_unchecked(elsewhere), "", *_negotiated(config), "", GOOD))
    return 0


def _print(lines: Iterable[str]) -> None:
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:  # whoever reads has seen enough; Python must not find that out again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _without_audit(config: Config) -> Config:
    """`config` without a log that would be made here, maybe by another user than the server's. Raises `CannotStart`."""
    path = config.audit_log
    if path is not None:
        place = path if os.path.exists(path) else os.path.dirname(path) or "."
        if not os.access(place, os.W_OK):
            raise CannotStart(f"{path}: {os.strerror(errno.EACCES if os.path.exists(place) else errno.ENOENT)}")
    return attrs.evolve(config, audit_log=None)


def _without_handed_over(config: Config) -> tuple[Config, list[str]]:
    """`config` without the sockets that only a service manager can hand over, unless it has; and those."""
    if "LISTEN_FDS" in os.environ:
        return config, []
    elsewhere = [each for each in config.listen if _HANDED_OVER in each]
    listen = [each for each in config.listen if _HANDED_OVER not in each]
    if elsewhere and not listen and config.port is None:
        listen = ["tcp:0:interface=127.0.0.1"]  # any: that all else works is to be found out
    return attrs.evolve(config, listen=listen), elsewhere


def _settings(config: Config) -> Iterator[str]:
    called = "no other may be called" if config.require_called_aet else "any may be called"
    yield _row("AE title", f"{config.ae_title}; {called}")
    places = [] if config.port is None else [f"{'tls:' if config.tls_cert else ''}tcp:{config.port}"]
    yield _row("Listens on", ", ".join((*places, *config.listen)))
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
    if config.users is not None or config.jwt_key is not None or config.auth:
        yield "as a verified user"


def _unchecked(endpoints: Iterable[str]) -> Iterator[str]:
    for each in endpoints:
        yield _row("Not checked", f"{each}, which a service manager hands over")


def _negotiated(config: Config) -> Iterator[str]:
    policy = Policy.from_config(config)
    yield "Transfer Syntaxes, for each SOP Class the first of these that is proposed:"
    yield from map(_uid_row, policy.transfer_syntaxes)
    yield ""
    sop_classes = sorted(
        filter(policy.accepts_abstract_syntax, STORAGE_SOP_CLASSES), key=lambda uid: name_of(uid).casefold()
    )
    yield f"SOP Classes, {1 + len(sop_classes)}:"
    yield from map(_uid_row, (VERIFICATION, *sop_classes))
    if policy.unknown_sop_classes:
        yield "  and any that PS3.6 does not know"


def _row(label: str, value: object) -> str:
    return f"{label:<{_COLUMN}}{value}"


def _uid_row(uid: str) -> str:
    return f"  {name_of(uid):<{_UID_COLUMN}} {uid}"
