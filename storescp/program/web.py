"""Web: the port on which people and programs look at a Storage SCP.

It needs the libraries of an extra: nobody imports this who does not ask for it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import generate_latest
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from storescp.config import Config
from storescp.interfaces import IAssociationObserver, IStorage, IWatchedStorage, Room
from storescp.program.endpoints import is_local, nearby, server_endpoint
from storescp.server.listening import harden
from storescp.uids import VERSION
from storescp.watch.board import Board
from storescp.watch.later import Later
from storescp.watch.metrics import registry_for
from storescp.watch.progress import Progress
from storescp.watch.site import Events, Metrics, Readiness, site_for
from storescp.watch.tally import Tally

_log = Logger()

_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"  # what Prometheus calls the format
LOOK = 5  # seconds after which the disk is looked at again


class Web:
    """A page and what else there is to see; its `observer` is told for it, and `watch` says of what."""

    def __init__(self, config: Config, storage: IStorage, reactor: Any) -> None:
        assert config.http is not None
        self.description = config.http
        self._title = config.ae_title
        self._least = config.min_free
        self._endpoint = server_endpoint("http", config.http, nearby(config.http), reactor)
        self._storage: Any = storage
        self._is_watched = IWatchedStorage.providedBy(storage)
        self._reactor = reactor
        self._later = Later(reactor.seconds)
        self._tally = Tally()
        self._board = Board(self._later.now, self._later.seconds)
        self._progress = Progress(self._tally.instance, self._board.instance, seconds=self._later.seconds)
        self._later.listen(self._tally, self._board, self._progress)
        self._began = reactor.seconds()
        self._room: Room | None = None
        self._seen = self._began  # when that was
        self._looking = False
        self._ticks = 0
        self._port: IListeningPort | None = None
        self._events = Events(self._snapshot)
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def watch(
        self, hindrance: Callable[[], str], addresses: Callable[[], list[str]], limits: Mapping[str, int]
    ) -> None:
        """Show what these say: why no instance would be taken, empty where one would; where it listens; limits reached.

        Called once, before `listen`.
        """
        self._hindrance, self._addresses = hindrance, addresses
        self._registry = registry_for(self._tally, self._progress, limits, lambda: self._room)
        probe = self._storage.probe if self._is_watched else _nothing_to_probe
        readiness = Readiness(self._reactor, hindrance, probe)
        self._site = site_for(self._reactor, self._events, readiness, Metrics(_EXPOSITION, self._expose))

    @property
    def observer(self) -> IAssociationObserver:
        return self._later

    def _expose(self) -> "Deferred[bytes]":
        self._later.tell()
        # Not by the library's own resource: threads of that wait for the reactor, which waits for them at its end.
        pool = self._reactor.getThreadPool()
        exposed: Deferred[bytes] = deferToThreadPool(self._reactor, pool, generate_latest, self._registry)
        return exposed

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
        address = port.getHost()
        self._site.is_nearby = is_local(address) and hasattr(address, "host")
        if not is_local(address):
            _log.warn("Whoever reaches {where} can look at this server: nothing is asked there", where=self.description)

    def start(self) -> None:
        """Begin to see what there is to see."""
        if not self._ticking.running:
            self._ticking.start(1.0).addErrback(self._failed)

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
        self._later.tell()
        self._site.next_second()
        self._events.send()

    def _failed(self, failure: Failure) -> None:
        _log.failure("What can be looked at is no longer renewed: this is a mistake in storescp", failure=failure)

    def _look(self) -> None:
        if self._is_watched and not self._looking:
            self._looking = True
            seen: Deferred[Room] = maybeDeferred(self._storage.look)
            seen.addCallbacks(self._looked, lambda _failure: None).addCallback(self._has_looked)

    def _looked(self, room: Room) -> None:
        self._room, self._seen = room, self._reactor.seconds()

    def _has_looked(self, _result: object) -> None:
        self._looking = False

    def _snapshot(self) -> bytes:
        self._later.tell()
        board, tally = self._board.snapshot(), self._tally
        hindrance = self._hindrance() or self._scarcity()
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
                "stored": tally.stored,
                "failed": tally.failed,
                "bytes": tally.stored_bytes,
                "waiting": self._progress.waiting,
                "last": board["instances"],
            },
            "rate": board["rate"],
            "disk": self._disk(),
            "errors": board["errors"],
        }
        return json.dumps(snapshot, separators=(",", ":")).encode()

    def _scarcity(self) -> str:
        """Why the disk would not take an instance, as far as it was seen."""
        if self._room is None or self._room.free >= max(self._least, 1):
            return ""
        return f"less than {self._least} bytes are free (--min-free)" if self._least else "the disk is full"

    def _disk(self) -> dict[str, Any] | None:
        if not self._is_watched:
            return None
        room = self._room
        return {
            "directory": room and room.place,
            "free": room and room.free,
            "total": room and room.total,
            "temporary": room and room.temporary,
            "age": self._reactor.seconds() - self._seen,
        }


def _nothing_to_probe() -> "Deferred[Any]":
    return succeed(None)
