"""The twistd plugin: ``twistd -n storescp --port 11112``, with the options of the script."""

from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.python import usage

from storescp.config import ConfigError
from storescp.errors import CannotStart
from storescp.program.logs import AssociationLog
from storescp.program.options import UsageError, make_parser, parse, usage_error
from storescp.program.process import allow_descriptors, fail_at_exit, reload_on_hangup, take_over
from storescp.program.service import StorageSCPService, service_for
from storescp.watch.escaping import escape


class Options(usage.Options):
    """twistd's view of the options: the same parser, with twistd's way of complaining."""

    _PROG = "twistd [options] storescp"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            self.config = parse(make_parser(self._PROG), options or ())
        except UsageError as error:
            raise usage.UsageError(str(error)) from None

    def __str__(self) -> str:
        return make_parser(self._PROG).format_help()


class _Exit(Exception, SystemExit):
    """One line and exit code 1: an Exception, so that twistd tidies up; a SystemExit, so that no traceback shows."""

    def __init__(self, error: Exception) -> None:
        self.code = f"storescp: error: {escape(str(error))}"


class _Program(MultiService):
    """The service, with its failures told as a program tells them."""

    def __init__(self, service: StorageSCPService) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._service = service
        service.setServiceParent(self)  # type: ignore[no-untyped-call]

    def stopService(self) -> "Deferred[Any]":
        stopped: Deferred[Any] = super().stopService()  # type: ignore[no-untyped-call]
        return stopped.addCallback(self._stopped)

    def _stopped(self, _result: object) -> None:
        if not self._service.in_order:
            fail_at_exit()

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except CannotStart as error:
            raise _Exit(error) from None


def makeService(options: Options) -> IService:
    """What twistd runs."""
    from twisted.internet import reactor  # noqa: PLC0415  # twistd has chosen it by now

    take_over(reactor)
    config = allow_descriptors(options.config)
    log = AssociationLog(config.verbosity)
    try:
        service = service_for(config, observers=[log], reactor=reactor)
    except ConfigError as error:
        raise _Exit(usage_error(error)) from None
    except CannotStart as error:
        raise _Exit(error) from None
    if service.reloads:
        reload_on_hangup(reactor, service.reload)
    log.started()
    return _Program(service)
