"""service_for: a whole Storage SCP as a Twisted service."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from twisted.application.service import Service
from twisted.cred.credentials import IAnonymous
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.interfaces import IAssociationObserver, IStorage
from storescp.program.endpoints import TLS_PREFIX, is_local, parts_of, server_endpoint
from storescp.program.gate import checkers_for, is_guarded, tls_for, web_for
from storescp.program.proxied import proxied
from storescp.server.access import Access
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import Realm
from storescp.server.listening import harden
from storescp.server.protocol import describe
from storescp.storage.directory import DirectoryStorage
from storescp.storage.discard import DiscardStorage
from storescp.storage.rules import Rules
from storescp.storage.workers import Threads, Workers
from storescp.watch.audit import AuditObserver, JSONLines

if TYPE_CHECKING:
    from storescp.program.web import Web  # of an extra

_log = Logger()


class Reloadable(Protocol):
    """Something that was read from files."""

    def reload(self) -> None:
        """Read them again, for what comes from now on. Raises `CannotStart`; then all stays as it was."""


@attrs.frozen
class Listening:
    """An endpoint, as it was described, and whether anything is asked of who comes to it."""

    description: str
    endpoint: IStreamServerEndpoint
    guarded: bool


class StorageSCPService(Service):
    """Listens on endpoints with one factory. Stopping it lets what is under way finish, as long as `Config.grace`."""

    def __init__(
        self,
        factory: StorageSCPFactory,
        endpoints: Sequence[Listening],
        reloadables: Sequence[Reloadable] = (),
        audit: JSONLines | None = None,
        web: "Web | None" = None,
    ) -> None:
        self._factory = factory
        self.web = web  # where it can be looked at
        self.storage: IStorage | None = None  # of the factory
        self._endpoints = endpoints
        self._reloadables = reloadables
        self._audit = audit
        self._ports: list[IListeningPort] = []
        self._closed: Deferred[Any] = succeed(None)
        self._listening = self._stopping = False
        self._warned = False  # that nothing is asked of peers
        self.in_order = True  # stopping has cut nothing off

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, once it is started: an `IAddress` each endpoint, of TCP ones with `host` and `port`."""
        return [port.getHost() for port in self._ports]

    @property
    def reloads(self) -> bool:
        """Whether there is anything that `reload` would read again."""
        return bool(self._reloadables)

    def reload(self) -> None:
        """Read again who may come in, keys and certificates; what cannot be used stays as it was, and is logged."""
        reloaded = [self._reload(each) for each in self._reloadables]
        if not reloaded:
            _log.info("There is no file to be read again")
        elif all(reloaded):
            _log.info("All files were read again")

    def _reload(self, reloadable: Reloadable) -> bool:
        try:
            reloadable.reload()
        except CannotStart as error:
            _log.error("{error}: what was read before stays", error=str(error))
            return False
        except Exception:  # of a checker that is not ours
            _log.failure("{reloadable!r} has failed to read again", reloadable=reloadable)
            return False
        return True

    def privilegedStartService(self) -> None:
        """Listen, while there is the right to do it on low ports. Raises `CannotStart`."""
        self._listening, self._stopping = True, False
        try:
            for each in self._endpoints:
                listening = each.endpoint.listen(self._factory).addCallback(self._listens, each.guarded)
                _check(listening, each.description)
            if self.web is not None:
                _check(self.web.listen(), f"--http {self.web.description}")
        except CannotStart:
            self._listening = False
            self._stop_listening()
            raise

    def _listens(self, port: IListeningPort, guarded: bool) -> None:
        self._ports.append(port)
        harden(port)
        if not (guarded or self._warned or is_local(port.getHost())):
            self._warned = True
            _log.warn("Whoever reaches this server may store: nothing is asked of a peer (--allow, --tls-ca, --users)")

    def startService(self) -> None:
        if not self._listening:  # by itself, without a parent that calls the other one first
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        if self.web is not None:
            self.web.start()

    def stopService(self) -> "Deferred[None]":
        super().stopService()  # type: ignore[no-untyped-call]
        self._listening, self._stopping = False, True
        self._stop_listening()
        closed, self._closed = self._closed, succeed(None)
        closed.addCallback(lambda _: self._factory.shutdown())
        return closed.addCallback(self._stopped)

    def _stop_listening(self) -> None:
        ports, self._ports = self._ports, []
        closing = [maybeDeferred(port.stopListening).addErrback(self._not_closed) for port in ports]
        self._closed = gatherResults([self._closed, *closing])

    def _not_closed(self, failure: Failure) -> None:
        _log.failure("A port could not be closed", failure=failure)

    def _stopped(self, in_order: bool) -> Any:
        self.in_order = in_order
        if self._audit is not None:
            self._audit.close()
        return self.web and self.web.stop()

    @property
    def hindrance(self) -> str:
        """Why no instance would be taken now; empty where one would, as far as is known without asking the disk."""
        if not self._listening or len(self._ports) < len(self._endpoints):
            return "it stops" if self._stopping else "it does not listen"
        return "" if self._factory.ready else "the storage does not work"


def _check(listening: "Deferred[Any]", description: str) -> None:
    """Raise `CannotStart` where an endpoint cannot listen."""
    failures: list[Failure] = []
    listening.addErrback(failures.append)
    if failures:
        raise _cannot_listen(description, failures[0])
    listening.addCallback(_check_later, description, failures)


def _check_later(_result: object, description: str, failures: list[Failure]) -> None:
    # Twisted's own endpoints have listened or failed by now; another's may take its time.
    for failure in failures:
        _log.critical("{error}", error=str(_cannot_listen(description, failure)))


def _cannot_listen(description: str, failure: Failure) -> CannotStart:
    if isinstance(failure.value, CannotStart):  # of the storage, not of the port
        return failure.value
    return CannotStart(f"{description}: {failure.getErrorMessage()}")


def service_for(
    config: Config,
    *,
    storage: IStorage | None = None,
    observers: Iterable[IAssociationObserver] = (),
    portal: Portal | None = None,
    reactor: Any = None,
) -> StorageSCPService:
    """A service that receives what `config` says, where it says.

    `storage` takes the place of the output directory, and `portal`, of `twisted.cred`, that of the options that say who
    is a user; `Access` has what it is asked. Composes into any `MultiService`. Raises `CannotStart`
    for what stands in the way outside the configuration, ConfigError (a ValueError) for an endpoint that
    cannot be understood, or for none.
    """
    if reactor is None:
        from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it: only where it is wanted
    given = Given(storage=storage, observers=observers, portal=portal, workers=Threads(reactor))
    return assemble(config, reactor, given)


@attrs.frozen(kw_only=True)
class Given:
    """What is given beside a configuration, or in the place of what it asks for."""

    storage: IStorage | None = None
    observers: Iterable[IAssociationObserver] = ()
    portal: Portal | None = None
    workers: Workers  # for the storage that it asks for
    audit_of: Callable[[str], JSONLines | None] = JSONLines  # opens the audit log of this path


def assemble(config: Config, reactor: Any, given: Given) -> StorageSCPService:
    """The service of `service_for`, which says what is raised."""
    storage, observers, portal = given.storage, given.observers, given.portal
    descriptions = descriptions_of(config)
    checkers = [] if portal else checkers_for(config, reactor)
    portal = Portal(Realm(), checkers) if checkers else portal
    identified = portal is not None and IAnonymous not in portal.listCredentialsInterfaces()
    access = Access(config, portal=portal, certificates=config.tls_ca is not None)
    tls = tls_for(config)
    audit = None if config.audit_log is None else given.audit_of(config.audit_log)
    if audit is not None:
        observers = [*observers, AuditObserver(audit.write)]
    if storage is None:
        storage = _storage_for(config, given.workers)
    web = web_for(config, storage, reactor)
    if web is not None:
        observers = [*observers, web.observer]
    factory = StorageSCPFactory(config, storage, reactor, observers, access=access)
    listening = []
    for each in descriptions:
        asked = identified or is_guarded(config, each.startswith(TLS_PREFIX))
        listening.append(Listening(each, _endpoint(each, reactor, access, tls), asked))
    read = [access if config.allow_file is not None else None, tls, audit, *checkers]
    reloadables = [each for each in read if hasattr(each, "reload")]
    service = StorageSCPService(factory, listening, reloadables, audit, web)
    service.storage = storage
    if web is not None:
        addresses = lambda: [describe(address) for address in service.addresses]  # noqa: E731
        web.watch(lambda: service.hindrance, addresses, factory.limits_reached)
    return service


def _storage_for(config: Config, workers: Workers) -> IStorage:
    if config.ignore:
        return DiscardStorage()
    rules = Rules(durability=config.durability, on_duplicate=config.on_duplicate, min_free=config.min_free)
    return DirectoryStorage(config.output_directory, workers, rules)


def descriptions_of(config: Config) -> tuple[str, ...]:
    """Of the endpoints where `config` lets a server listen. Raises ConfigError."""
    if config.port is None and not config.listen:
        raise ConfigError("listen", "neither a port nor an endpoint to listen on is given")
    over_tls = config.tls_cert is not None
    with_tls = [each for each in config.listen if parts_of(each)[0]]
    if with_tls and not over_tls:
        raise ConfigError("listen", f"{with_tls[0]}: it needs --tls-cert")
    if over_tls and config.port is None and not with_tls:
        raise ConfigError("listen", f"with --tls-cert one of them must begin with {TLS_PREFIX}, such as tls:tcp:2762")
    port = [] if config.port is None else [f"{TLS_PREFIX if over_tls else ''}tcp:{config.port}"]
    return (*port, *config.listen)


def _endpoint(description: str, reactor: Any, access: Access, tls: Any) -> IStreamServerEndpoint:
    over_tls, behind_proxy, inner = parts_of(description)
    endpoint = server_endpoint("listen", description, inner, reactor)
    if behind_proxy:
        endpoint = proxied(endpoint, access.refusal)
    if over_tls:
        endpoint = tls.over(endpoint, reactor)
    return endpoint


def run_service(reactor: Any, service: StorageSCPService, started: Callable[[], object]) -> None:
    """Run `reactor`, let `service` listen, then call `started`; until something stops it. Raises what has failed."""
    failures: list[Exception] = []

    def start() -> None:
        try:
            service.privilegedStartService()
            started()
        except Exception as error:
            failures.append(error)
            reactor.stop()

    # While it runs: signals are handled by then, and what a failure leaves half open is closed by stopping.
    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    if failures:
        raise failures[0]
