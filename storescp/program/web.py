"""web_for: the port on which people and programs look at a Storage SCP, if an option asks for one.

Its libraries, some of which are of an extra, are imported here, and only then.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart, Status
from storescp.interfaces import IAssociationObserver, IStorage, IWatchedStorage, Room
from storescp.program.gate import is_local
from storescp.server.listening import harden
from storescp.uids import VERSION

_log = Logger()

LOOK = 5  # seconds after which the disk is looked at again

_ANY_PORT = re.compile(r"((tcp6?|ssl):)?0(:|$)")
_BELOW_TCP = ("tcp", "tcp6", "ssl")


class Web:
    """A page and what else there is to see; `observers` are told for it, and `watch` says of what."""

    def __init__(self, config: Config, storage: IStorage, reactor: Any) -> None:
        from storescp.watch.board import Board  # noqa: PLC0415
        from storescp.watch.progress import Progress  # noqa: PLC0415
        from storescp.watch.tally import Tally  # noqa: PLC0415

        assert config.http is not None
        self.description = config.http
        self.any_port = _ANY_PORT.match(config.http) is not None
        self._title = config.ae_title
        self._endpoint = _endpoint(config.http, reactor)
        self._storage = storage
        self._reactor = reactor
        self._tally = Tally()
        self._board = Board(seconds=reactor.seconds)
        self._progress = Progress(self._tally.instance, self._board.instance, seconds=reactor.seconds)
        self.observers: tuple[IAssociationObserver, ...] = (self._tally, self._board, self._progress)
        self._began = reactor.seconds()
        self._room: Room | None = None
        self._seen = self._began  # when that was
        self._looking = False
        self._ticks = 0
        self._hindrance: Callable[[], str] = lambda: "it does not listen"
        self._addresses: Callable[[], list[str]] = list
        self._port: IListeningPort | None = None
        self._site = self._make_site()
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def _make_site(self) -> Any:
        try:
            # It imports the reactor; all else takes one as an argument.
            from prometheus_client.twisted import MetricsResource  # noqa: PLC0415

            from storescp.watch.metrics import registry_for  # noqa: PLC0415
        except ImportError as error:
            raise CannotStart(f"{error}; pip install 'storescp[http]'") from None
        from storescp.watch.site import Events, Readiness, nothing_to_probe, site_for  # noqa: PLC0415

        registry = registry_for(self._tally, self._progress, lambda: self._room)
        watched = IWatchedStorage.providedBy(self._storage)
        probe = self._storage.probe if watched else nothing_to_probe  # type: ignore[attr-defined]
        self._events = Events(self._snapshot)
        metrics = MetricsResource(registry)  # type: ignore[no-untyped-call]
        return site_for(self._events, Readiness(self._reactor, self._why_not, probe), metrics)

    def watch(self, hindrance: Callable[[], str], addresses: Callable[[], list[str]]) -> None:
        """Show what these say: why no instance would be taken, empty where one would; where it listens."""
        self._hindrance, self._addresses = hindrance, addresses

    def _why_not(self) -> str:
        return self._hindrance()

    @property
    def port(self) -> int | None:
        """Where it listens; None before that, and where the endpoint has no number."""
        return getattr(self._port and self._port.getHost(), "port", None)

    def listen(self) -> "Deferred[Any]":
        """Open the port. Fails with what stands in the way."""
        listening: Deferred[Any] = self._endpoint.listen(self._site)
        return listening.addCallback(self._listens)

    def _listens(self, port: IListeningPort) -> None:
        self._port = port
        harden(port)
        if not is_local(port.getHost()):
            _log.warn("Whoever reaches {where} can look at this server: nothing is asked there", where=self.description)

    def start(self) -> None:
        """Begin to see what there is to see."""
        if not self._ticking.running:
            self._ticking.start(1.0)

    def stop(self) -> "Deferred[Any]":
        """Close the port, and all connections."""
        if self._ticking.running:
            self._ticking.stop()
        port, self._port = self._port, None
        self._site.close()
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    def _tick(self) -> None:
        if self._ticks % LOOK == 0:
            self._look()
        self._ticks += 1
        self._events.send()

    def _look(self) -> None:
        if IWatchedStorage.providedBy(self._storage) and not self._looking:
            self._looking = True
            seen: Deferred[Room] = self._storage.look()
            seen.addCallbacks(self._looked, lambda _failure: None).addCallback(self._has_looked)

    def _looked(self, room: Room) -> None:
        self._room, self._seen = room, self._reactor.seconds()

    def _has_looked(self, _result: object) -> None:
        self._looking = False

    def _snapshot(self) -> bytes:
        board, tally = self._board.snapshot(), self._tally
        hindrance = self._hindrance()
        snapshot = {
            "version": VERSION,
            "ae_title": self._title,
            "now": board["now"],
            "uptime": self._reactor.seconds() - self._began,
            "listening": self._addresses(),
            "ready": not hindrance,
            "hindrance": hindrance,
            "associations": {
                "open": tally.open,
                "accepted": tally.accepted,
                "rejected": tally.rejected.total(),
                "aborted": tally.aborted.total(),
                "refused": tally.refused.total(),
                "list": board["associations"],
            },
            "instances": {
                "stored": sum(count for (status, _), count in tally.instances.items() if status == Status.SUCCESS),
                "failed": sum(count for (status, _), count in tally.instances.items() if status != Status.SUCCESS),
                "bytes": tally.bytes.total(),
                "waiting": self._progress.waiting,
                "last": board["instances"],
            },
            "rate": board["rate"],
            "disk": self._disk(),
            "errors": board["errors"],
        }
        return json.dumps(snapshot, separators=(",", ":")).encode()

    def _disk(self) -> dict[str, Any] | None:
        if not IWatchedStorage.providedBy(self._storage):
            return None
        room = self._room
        return {
            "directory": room and room.place,
            "free": room and room.free,
            "total": room and room.total,
            "temporary": room and room.temporary,
            "age": self._reactor.seconds() - self._seen,
        }


def web_for(config: Config, storage: IStorage, reactor: Any) -> Web | None:
    """What `config` asks for. Raises ConfigError for an endpoint that cannot be understood, `CannotStart` else."""
    return None if config.http is None else Web(config, storage, reactor)


def _endpoint(description: str, reactor: Any) -> Any:
    try:
        return serverFromString(reactor, _nearby(description))
    except (ValueError, TypeError) as error:
        raise ConfigError("http", f"{description}: {error}") from None
    except Exception as error:  # a key or certificate, or the library for them
        raise CannotStart(f"{description}: {error}") from None


def _nearby(description: str) -> str:
    """A description of the same endpoint, on this machine's own interface where it names none."""
    if description.isdecimal():
        description = f"tcp:{description}"
    kind, *parts = re.split(r"(?<!\\):", description)
    named = any(part.startswith("interface=") for part in parts)
    if kind not in _BELOW_TCP or named or (kind != "ssl" and len(parts) > 1 and "=" not in parts[1]):
        return description
    own = r"\:\:1" if kind == "tcp6" else "127.0.0.1"
    return f"{description}:interface={own}"
