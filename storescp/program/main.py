"""run: the command ``storescp``."""

import sys
from collections.abc import Callable, Sequence

from twisted.logger import globalLogBeginner

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.program.command_line import Asked, make_parser, parse
from storescp.program.endpoints import has_any_port
from storescp.program.instead import do_instead
from storescp.program.lines import log_observer
from storescp.program.logs import AssociationLog, summaries_for
from storescp.program.notify import is_managed, notify
from storescp.program.options import UsageError
from storescp.program.process import allow_descriptors, reload_on_hangup, take_over
from storescp.program.service import StorageSCPService, run_service, service_for
from storescp.watch.escaping import escape


def run(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it. The exit code."""
    return exit_code(lambda: _run(parse(make_parser("storescp"), sys.argv[1:] if arguments is None else arguments)))


def _run(asked: Asked) -> int:
    if asked.instead is not None:
        return do_instead(asked)
    try:
        return _serve(asked.config)
    except ConfigError as error:
        raise asked.complaint(error) from None


def exit_code(work: Callable[[], int]) -> int:
    """What `work` returns; where it fails, that of its failure, which is told in one line."""
    try:
        return work()
    except UsageError as error:
        return _fail(error, 2)
    except CannotStart as error:
        return _fail(error, 1)


def _fail(error: Exception, code: int) -> int:
    print(f"storescp: error: {escape(str(error))}", file=sys.stderr)
    return code


def _serve(config: Config) -> int:
    from twisted.internet import reactor  # noqa: PLC0415  # --help and mistakes need none

    take_over(reactor)
    globalLogBeginner.beginLoggingTo([log_observer(config, sys.stderr)], redirectStandardIO=False, discardBuffer=True)
    config = allow_descriptors(config)
    log = AssociationLog(config.verbosity)
    service = service_for(config, observers=[log, *summaries_for(config)], reactor=reactor)
    if service.reloads or is_managed():
        reload_on_hangup(reactor, service.reload)

    def started() -> None:
        log.started()
        service.startService()
        _announce(config, service)
        notify("READY=1")

    reactor.addSystemEventTrigger("before", "shutdown", notify, "STOPPING=1")
    run_service(reactor, service, started)
    return 0 if service.in_order else 1


def _announce(config: Config, service: StorageSCPService) -> None:
    """Say which port it is, where that was left to the system."""
    asked = config.port == 0 or any(map(has_any_port, config.listen))
    for port in (getattr(address, "port", None) for address in service.addresses if asked):
        if port is not None:  # a socket of the file system has none
            print(f"storescp: listening on port {port}", flush=True)
    if config.http is not None and service.web is not None and has_any_port(config.http):
        print(f"storescp: http on port {service.web.port}", flush=True)
