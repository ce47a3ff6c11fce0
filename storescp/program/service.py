"""service_for: a whole Storage SCP as a Twisted service."""

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.interfaces import IAssociationObserver, IStorage
from storescp.program.proxied import proxied
from storescp.server.factory import StorageSCPFactory
from storescp.server.listening import harden
from storescp.storage.directory import DirectoryStorage
from storescp.storage.discard import DiscardStorage
from storescp.storage.rules import Rules
from storescp.storage.workers import Threads

_log = Logger()

_PROXIED = "haproxy:"


class StorageSCPService(Service):
    """Listens on endpoints with one factory. Stopping it lets what is under way finish, as long as `Config.grace`."""

    def __init__(self, factory: StorageSCPFactory, endpoints: Sequence[tuple[str, IStreamServerEndpoint]]) -> None:
        self._factory = factory
        self._endpoints = endpoints
        self._ports: list[IListeningPort] = []
        self._closed: Deferred[Any] = succeed(None)
        self._listening = False
        self.in_order = True  # stopping has cut nothing off

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, once it is started: an `IAddress` each endpoint, of TCP ones with `host` and `port`."""
        return [port.getHost() for port in self._ports]

    def privilegedStartService(self) -> None:
        """Listen, while there is the right to do it on low ports. Raises `CannotStart`."""
        self._listening = True
        for description, endpoint in self._endpoints:
            failures: list[Failure] = []
            listening = endpoint.listen(self._factory)
            listening.addCallback(self._listens)
            listening.addErrback(failures.append)
            if failures:
                self._listening = False
                self._stop_listening()
                raise _cannot_listen(description, failures[0])
            listening.addCallback(self._check_later, description, failures)

    def _listens(self, port: IListeningPort) -> None:
        self._ports.append(port)
        harden(port)

    def _check_later(self, _result: object, description: str, failures: list[Failure]) -> None:
        # Twisted's own endpoints have listened or failed by now; another's may take its time.
        for failure in failures:
            _log.critical("{error}", error=str(_cannot_listen(description, failure)))

    def startService(self) -> None:
        if not self._listening:  # by itself, without a parent that calls the other one first
            self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> "Deferred[None]":
        super().stopService()  # type: ignore[no-untyped-call]
        self._listening = False
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

    def _stopped(self, in_order: bool) -> None:
        self.in_order = in_order


def _cannot_listen(description: str, failure: Failure) -> CannotStart:
    if isinstance(failure.value, CannotStart):  # of the storage, not of the port
        return failure.value
    return CannotStart(f"{description}: {failure.getErrorMessage()}")


def service_for(
    config: Config,
    *,
    storage: IStorage | None = None,
    observers: Iterable[IAssociationObserver] = (),
    reactor: Any = None,
) -> StorageSCPService:
    """A service that receives what `config` says, where it says.

    `storage` takes the place of the output directory. Composes into any `MultiService`. Raises `CannotStart`
    for what stands in the way outside the configuration, ConfigError (a ValueError) for an endpoint that
    cannot be understood, or for none.
    """
    if reactor is None:
        from twisted.internet import reactor  # noqa: PLC0415  # importing it installs it: only where it is wanted
    if storage is None:
        storage = _storage_for(config, reactor)
    endpoints = [(description, _endpoint(description, reactor)) for description in _descriptions(config)]
    return StorageSCPService(StorageSCPFactory(config, storage, reactor, observers), endpoints)


def _storage_for(config: Config, reactor: Any) -> IStorage:
    if config.ignore:
        return DiscardStorage()
    rules = Rules(durability=config.durability, on_duplicate=config.on_duplicate, min_free=config.min_free)
    return DirectoryStorage(config.output_directory, Threads(reactor), rules)


def _descriptions(config: Config) -> tuple[str, ...]:
    if config.port is None and not config.listen:
        raise ConfigError("listen", "neither a port nor an endpoint to listen on is given")
    return (*([] if config.port is None else [f"tcp:{config.port}"]), *config.listen)


def _endpoint(description: str, reactor: Any) -> IStreamServerEndpoint:
    if description.startswith(_PROXIED):
        return proxied(_endpoint(description.removeprefix(_PROXIED), reactor))
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except (ValueError, TypeError) as error:
        raise ConfigError("listen", f"{description}: {error}") from None
    except ImportError as error:
        raise CannotStart(f"{description}: {error}; pip install 'storescp[tls]'") from None
    except Exception as error:  # a key or certificate: OSError, or what the TLS library makes of its content
        raise CannotStart(f"{description}: {error}") from None
    return endpoint
