"""DirectoryStorage: one file an instance, whole and on the disk before anybody hears of it.

This is the side of the reactor's thread, where nothing blocks: it queues what `IncomingFile` does on the workers.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.errors import CannotStart, StoreFailure
from storescp.interfaces import IInstanceSink, IStorage, StoreRequest
from storescp.storage.backlog import Backlog
from storescp.storage.directories import Directories
from storescp.storage.disk import Disk
from storescp.storage.health import Health, probe
from storescp.storage.incoming import IncomingFile
from storescp.storage.locks import NameLocks
from storescp.storage.naming import file_name
from storescp.storage.rules import Rules
from storescp.storage.workers import Workers

_log = Logger()
_T = TypeVar("_T")

BATCH = 256 * 1024  # bytes of memory handed to a worker at a time: fewer hops cost less, more bytes only wait
HIGH_WATER = 1024 * 1024  # bytes of one instance's memory that wait for the disk before its peer is paused
HIGH_WATER_OF_ALL = 64 * 1024 * 1024  # the same of all instances together, each of which may gather a batch beside it
FRAGMENT = 256  # bytes of memory that keeping a fragment costs beside its content


@implementer(IInstanceSink)
@attrs.define(eq=False)
class DirectorySink:
    """Gathers fragments to batches and hands them to the workers, one at a time."""

    name: str
    _file: IncomingFile
    _workers: Workers
    _names: NameLocks
    _backlog_of_all: Backlog
    _health: Health
    _begun: Callable[[], None]
    _ended: Callable[[Any], Any]  # passes its argument on
    _batch: list[bytes | memoryview] = attrs.field(init=False, factory=list)
    _batched: int = attrs.field(init=False, default=0)  # bytes of memory that the batch costs
    _size: int = attrs.field(init=False, default=0)  # bytes of the data set so far
    _late: bool = attrs.field(init=False, default=False)
    _backlog: Backlog = attrs.field(init=False, factory=lambda: Backlog(HIGH_WATER, HIGH_WATER // 2))
    _lock: DeferredLock = attrs.field(init=False, factory=DeferredLock)  # keeps the file's work in order

    def write(self, fragment: memoryview) -> "Deferred[Any] | None":
        self._batch.append(fragment)
        self._size += len(fragment)
        self._batched += len(fragment) + FRAGMENT
        return self._flush() if self._batched >= BATCH else None

    def finish(self) -> "Deferred[str]":
        # One job: a small instance is opened and closed in it, so those that wait cost no descriptor.
        batch, self._batch = self._batch, []
        finished: Deferred[str] = Deferred()
        published = self._names.run(self.name, self._run, self._file.write_and_publish, batch, self._size)
        published.addCallbacks(self._published, self._not_published)
        published.addBoth(self._ended)
        published.chainDeferred(finished)
        return finished.addErrback(self._given_up).addErrback(self._drop)

    def abort(self) -> "Deferred[None]":
        self._batch = []
        self._file.give_up()
        dropped: Deferred[None] = Deferred()
        self._discard().chainDeferred(dropped)
        return dropped.addErrback(self._given_up)

    def _discard(self) -> "Deferred[None]":
        return self._run(self._file.discard).addErrback(self._failed).addBoth(self._ended)

    def _flush(self) -> "Deferred[None] | None":
        batch, cost = self._batch, self._batched
        self._batch, self._batched = [], 0
        for backlog in (self._backlog, self._backlog_of_all):
            backlog.add(cost)
        written = self._run(self._file.write, batch)
        written.addErrback(self._failed)
        written.addCallback(self._written, cost)
        room = self._backlog.room() or self._backlog_of_all.room()
        return room and room.addErrback(self._given_up)

    def _run(self, work: Callable[..., _T], *args: Any) -> "Deferred[_T]":
        return self._lock.run(self._workers.run, work, *args)

    def _written(self, _result: None, cost: int) -> None:
        for backlog in (self._backlog, self._backlog_of_all):
            backlog.remove(cost)

    def _given_up(self, failure: Failure) -> Failure:
        if failure.check(CancelledError) and not self._late:  # the disk took too long: that counts once
            self._late = True
            self._health.failed()
            self._file.give_up()
        return failure

    def _drop(self, failure: Failure) -> Failure:
        if self._late:  # the name, for which the rest of the work may wait, can be in use for long
            self._begun()
            self._discard()
        return failure

    def _published(self, name: str) -> str:
        self._health.succeeded()
        if self._file.replaced:
            _log.warn("Another {original} was here: it is overwritten", original=self.name)
        if self._file.kept_beside:
            _log.warn("Another {original} is here already: kept as {name}", original=self.name, name=name)
        return name

    def _not_published(self, failure: Failure) -> Failure:
        if not isinstance(failure.value, OSError):
            return failure
        if not self._late:
            self._health.failed()
        raise StoreFailure.from_os_error(failure.value) from failure.value

    def _failed(self, failure: Failure) -> None:
        _log.failure("Writing {name} failed in an unexpected way", failure=failure, name=self.name)


@implementer(IStorage)
class DirectoryStorage:
    """Instances as files of one directory, which must exist and be writable, else `CannotStart` is raised."""

    def __init__(
        self, directory: str, workers: Workers, rules: Rules | None = None, *, disk: Disk | None = None
    ) -> None:
        if not directory:  # such as an unset variable of a shell; not the current directory
            raise CannotStart("output directory: its name is empty")
        self._path = os.path.abspath(directory)
        self._rules = rules or Rules()
        self._workers = workers
        self._disk = disk or Disk()
        self._directories: Directories | None = None
        self._names = NameLocks()
        self._backlog = Backlog(HIGH_WATER_OF_ALL, HIGH_WATER_OF_ALL // 2)
        self._health = Health(self._probe)
        self._under_way = 0  # instances, and a probe
        self._stops: list[Deferred[None]] = []
        self._check()

    def _check(self) -> None:
        if not os.path.exists(self._path):
            raise CannotStart(f"output directory {self._path}: does not exist")
        if not os.path.isdir(self._path):
            raise CannotStart(f"output directory {self._path}: is not a directory")
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise CannotStart(f"output directory {self._path}: is not writable")

    def start(self) -> None:
        """Open the directories and remove what a crash has left there. Raises `CannotStart`."""
        if self._directories is not None:
            raise CannotStart(f"output directory {self._path}: this storage is started already, by another factory")
        self._directories = Directories.open(self._path, self._disk, self._rules)
        self._health = Health(self._probe)
        self._workers.start()

    def stop(self) -> "Deferred[None]":
        stopped: Deferred[None] = Deferred()
        self._stops.append(stopped)
        self._stop_if_idle()
        return stopped

    def _stop_if_idle(self) -> None:
        if self._under_way or not self._stops:
            return
        self._workers.stop()
        directories, self._directories = self._directories, None
        if directories is not None:
            directories.close()
        stops, self._stops = self._stops, []
        for stopped in stops:
            stopped.callback(None)

    def ready(self) -> bool:
        return self._directories is not None and self._health.ready()

    def open(self, request: StoreRequest) -> IInstanceSink:
        if self._directories is None:
            raise RuntimeError("the storage is not started")
        name = file_name(request.sop_class_uid, request.sop_instance_uid)
        file = IncomingFile(self._directories, request, name)
        self._begun()
        return DirectorySink(
            name, file, self._workers, self._names, self._backlog, self._health, self._begun, self._ended
        )

    def _probe(self) -> "Deferred[None]":
        assert self._directories is not None
        self._begun()
        return self._workers.run(probe, self._directories).addBoth(self._ended)

    def _begun(self) -> None:
        self._under_way += 1

    def _ended(self, result: _T) -> _T:
        self._under_way -= 1
        self._stop_if_idle()
        return result
