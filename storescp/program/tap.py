"""The twistd plugin: ``twistd -n storescp --port 11112``, with the options of the script."""

import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.logfile import LogFile

from storescp.config import ConfigError
from storescp.errors import CannotStart
from storescp.program.command_line import Asked, make_parser, parse
from storescp.program.instead import do_instead
from storescp.program.lines import twistd_observer
from storescp.program.logs import AssociationLog, summaries_for
from storescp.program.notify import is_managed, notify
from storescp.program.options import UsageError
from storescp.program.process import (
    allow_descriptors,
    fail_at_exit,
    reload_on_hangup,
    rotate_on_user_signal,
    take_over,
)
from storescp.program.service import StorageSCPService, service_for
from storescp.watch.escaping import escape


class Options(usage.Options):
    """twistd's view of the options: the same parser, with twistd's way of complaining."""

    _PROG = "twistd [options] storescp"
    parent: Any = None  # twistd's own, which sets itself

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            self.asked = parse(make_parser(self._PROG), options or ())
        except (UsageError, CannotStart) as error:
            raise usage.UsageError(escape(str(error))) from None
        if self._own_lines and self.parent and self.parent.get("syslog"):
            raise usage.UsageError("--log-format json and --log-associations do not go with twistd's --syslog")

    @property
    def _own_lines(self) -> bool:
        config = self.asked.config
        return config.log_format != "text" or config.log_associations

    def log_observer(self, reactor: Any) -> Any:
        """In the place of twistd's own, and to the same file, where lines are asked for that are not twistd's."""
        twistd = self.parent
        if not self._own_lines or twistd is None or twistd.get("logger"):
            return None
        path, stays = twistd.get("logfile"), twistd.get("nodaemon")
        if path == "-" and not stays:  # which twistd refuses by itself
            return None
        if path == "-" or (stays and not path):
            return twistd_observer(self.asked.config, sys.stdout)
        file = LogFile.fromFullPath(path or "twistd.log")
        rotate_on_user_signal(reactor, file.rotate)
        return twistd_observer(self.asked.config, file)

    def __str__(self) -> str:
        return make_parser(self._PROG).format_help()


class _Exit(Exception, SystemExit):
    """One line and exit code 1: an Exception, so that twistd tidies up; a SystemExit, so that no traceback shows."""

    def __init__(self, error: Exception) -> None:
        self.code = f"storescp: error: {escape(str(error))}"


class _Program(MultiService):
    """The service, with its failures told as a program tells them, and its log as it was asked for."""

    def __init__(self, service: StorageSCPService, log: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._service = service
        self._log = log
        service.setServiceParent(self)  # type: ignore[no-untyped-call]

    def setServiceParent(self, parent: Any) -> None:
        if self._log is not None:  # twistd asks its application which one to take
            parent.setComponent(ILogObserver, self._log)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def stopService(self) -> "Deferred[Any]":
        notify("STOPPING=1")
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

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        notify("READY=1")


def makeService(options: Options) -> IService:
    """What twistd runs."""
    from twisted.internet import reactor  # noqa: PLC0415  # twistd has chosen it by now

    asked: Asked = options.asked
    if asked.instead is not None:
        try:
            raise SystemExit(do_instead(asked))
        except (UsageError, CannotStart) as error:
            raise _Exit(error) from None
    take_over(reactor)
    config = allow_descriptors(asked.config)
    log = AssociationLog(config.verbosity)
    try:
        service = service_for(config, observers=[log, *summaries_for(config)], reactor=reactor)
    except ConfigError as error:
        raise _Exit(asked.complaint(error)) from None
    except CannotStart as error:
        raise _Exit(error) from None
    if service.reloads or is_managed():
        reload_on_hangup(reactor, service.reload)
    log.started()
    return _Program(service, options.log_observer(reactor))
