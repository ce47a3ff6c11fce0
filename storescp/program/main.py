"""run: the command ``storescp``."""

import re
import sys
from collections.abc import Sequence

from twisted.logger import globalLogBeginner

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.program.logs import AssociationLog, TextObserver
from storescp.program.options import UsageError, make_parser, parse, usage_error
from storescp.program.process import allow_descriptors, reload_on_hangup, take_over
from storescp.program.service import StorageSCPService, service_for
from storescp.watch.escaping import escape

_ANY_PORT = re.compile(r"(tls:|haproxy:)*(tcp6?|ssl):0(:|$)")


def run(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it. The exit code."""
    try:
        config = parse(make_parser("storescp"), sys.argv[1:] if arguments is None else arguments)
        return _serve(config)
    except UsageError as error:
        return _fail(str(error), 2)
    except ConfigError as error:
        return _fail(str(usage_error(error)), 2)
    except CannotStart as error:
        return _fail(str(error), 1)


def _fail(message: str, code: int) -> int:
    print(f"storescp: error: {escape(message)}", file=sys.stderr)
    return code


def _serve(config: Config) -> int:
    from twisted.internet import reactor  # noqa: PLC0415  # --help and mistakes need none

    take_over(reactor)
    globalLogBeginner.beginLoggingTo(
        [TextObserver(sys.stderr, config.verbosity)], redirectStandardIO=False, discardBuffer=True
    )
    config = allow_descriptors(config)
    log = AssociationLog(config.verbosity)
    service = service_for(config, observers=[log], reactor=reactor)
    if service.reloads:
        reload_on_hangup(reactor, service.reload)
    failures: list[Exception] = []

    def start() -> None:
        try:
            service.privilegedStartService()
            log.started()
            service.startService()
            _announce(config, service)
        except Exception as error:
            failures.append(error)
            reactor.stop()

    # While it runs: signals are handled by then, and what a failure leaves half open is closed by stopping.
    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    if failures:
        raise failures[0]
    return 0 if service.in_order else 1


def _announce(config: Config, service: StorageSCPService) -> None:
    """Say which port it is, where that was left to the system."""
    asked = config.port == 0 or any(map(_ANY_PORT.match, config.listen))
    for port in (getattr(address, "port", None) for address in service.addresses if asked):
        if port is not None:  # a socket of the file system has none
            print(f"storescp: listening on port {port}", flush=True)
