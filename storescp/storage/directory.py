"""DirectoryStorage: one file an instance, whole and on the disk before anybody hears of it.

This is the side of the reactor's thread, where nothing blocks: it queues what `IncomingFile` does on the workers.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.errors import CannotStart, StoreFailure
from storescp.interfaces import IInstanceSink, IWatchedStorage, Room, StoreRequest
from storescp.storage.backlog import Backlog
from storescp.storage.directories import Directories
from storescp.storage.disk import Disk
from storescp.storage.health import Health, probe
from storescp.storage.incoming import IncomingFile
from storescp.storage.locks import Lock, NameLocks
from storescp.storage.naming import file_name
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce, Workers

_log = Logger()
_T = TypeVar("_T")

BATCH = 640 * 1024  # bytes of memory handed over at a time, or more: a slice of 512 KiB is one job, as hops cost most
HIGH_WATER = 1024 * 1024  # bytes of one instance's memory that wait for the disk before its peer is paused
HIGH_WATER_OF_ALL = 64 * 1024 * 1024  # the same of all instances together, each of which may have a batch beside it
FRAGMENT = 256  # bytes of memory that keeping a fragment costs beside its content


@attrs.frozen(kw_only=True)
class Shared:
    """What the sinks of one storage share."""

    writers: Workers  # what writes and publishes
    workers: Workers  # what may take long
    names: NameLocks
    backlog: Backlog
    health: Health
    begun: Callable[[], None]
    ended: Callable[[], None]


@implementer(IInstanceSink)
class DirectorySink:
    """Gathers fragments to batches and hands them over, one job at a time; what comes meanwhile is the next job."""

    def __init__(self, association: str, name: str, file: IncomingFile, shared: Shared) -> None:
        self._association = association  # its id, for the log
        self.name = name
        self._file = file
        self._shared = shared
        self._lock = Lock()  # keeps the file's jobs in order
        self._batch: list[bytes | memoryview] = []
        self._cost = 0  # bytes of memory, of the batch
        self._queue: list[bytes | memoryview] = []  # what waits for the job before it
        self._queued = 0  # bytes of memory, of the queue
        self._backlog = Backlog(HIGH_WATER, HIGH_WATER // 2)
        self._size = 0  # bytes of the data set so far
        self._late = False

    def write(self, fragment: memoryview) -> "Deferred[Any] | None":
        size = len(fragment)
        self._batch.append(fragment)
        self._size += size
        self._cost += size + FRAGMENT
        return self._flush() if self._cost >= BATCH else None

    def finish(self) -> "Deferred[str]":
        # One job: a small instance is opened and closed in it, so those that wait cost no descriptor.
        finished: Deferred[str] = Deferred(self._give_up_finish)
        self._shared.names.take(self.name, lambda: self._lock.take(lambda: self._publish(finished)))
        return finished

    def abort(self) -> "Deferred[None]":
        self._file.give_up()
        dropped: Deferred[None] = Deferred(self._give_up)
        self._lock.take(lambda: self._discard(dropped))
        self._drop()
        return dropped

    # Writing.

    def _flush(self) -> "Deferred[None] | None":
        self._queue += self._batch
        self._queued += self._cost
        for backlog in (self._backlog, self._shared.backlog):
            backlog.add(self._cost)
        self._batch, self._cost = [], 0
        if not self._lock.taken:
            self._lock.take(self._write)
        room = self._backlog.room() or self._shared.backlog.room()
        return room and room.addErrback(self._room_given_up)

    def _take_queue(self) -> tuple[list[bytes | memoryview], int]:
        queue, cost = self._queue, self._queued
        self._queue, self._queued = [], 0
        return queue, cost

    def _write(self) -> None:
        queue, cost = self._take_queue()
        self._shared.writers.run(self._file.write, queue).addBoth(self._written, cost)

    def _written(self, result: object, cost: int) -> None:
        if isinstance(result, Failure):
            self._failed(result)
        self._lock.release()
        if self._queue:
            self._lock.take(self._write)
        self._remove(cost)

    def _drop(self) -> None:
        self._batch = []
        _, cost = self._take_queue()
        self._remove(cost)

    def _remove(self, cost: int) -> None:
        for backlog in (self._backlog, self._shared.backlog):
            backlog.remove(cost)

    # The end.

    def _publish(self, finished: "Deferred[str]") -> None:
        queue, cost = self._take_queue()
        queue += self._batch
        self._batch = []
        self._shared.writers.run(self._file.publish, queue, self._size).addBoth(self._published, finished, cost)

    def _published(self, result: str | Failure | None, finished: "Deferred[str]", cost: int = 0) -> None:
        self._remove(cost)
        if result is None:
            self._shared.workers.run(self._file.publish_beside).addBoth(self._published, finished)
            return
        answer = self._refused(result) if isinstance(result, Failure) else self._stored(result)
        self._shared.ended()
        if not finished.called:  # by being given up
            finished.callback(answer)
        self._lock.release()
        self._shared.names.release(self.name)  # last: those that wait for it are answered after this one

    def _stored(self, name: str) -> str:
        self._shared.health.succeeded()
        if self._file.replaced:
            self._warn("Another {original} was here: it is overwritten", original=self.name)
        if self._file.kept_beside:
            self._warn("Another {original} is here already: kept as {name}", original=self.name, name=name)
        return name

    def _warn(self, text: str, **fields: str) -> None:
        _log.warn(text, **fields, association=self._association)

    def _refused(self, failure: Failure) -> Any:
        if not isinstance(failure.value, OSError):
            return failure
        if not self._late:
            self._shared.health.failed()
        return Failure(StoreFailure.from_os_error(failure.value))

    def _discard(self, dropped: "Deferred[None]") -> None:
        self._shared.workers.run(self._file.discard).addBoth(self._discarded, dropped)

    def _discarded(self, result: object, dropped: "Deferred[None]") -> None:
        if isinstance(result, Failure):
            self._failed(result)
        self._lock.release()
        self._shared.ended()
        if not dropped.called:
            dropped.callback(None)

    def _failed(self, failure: Failure) -> None:
        _log.failure(
            "Writing {name} failed in an unexpected way",
            failure=failure,
            name=self.name,
            association=self._association,
        )

    # The disk takes too long.

    def _give_up(self, _given_up: object = None) -> None:
        if not self._late:  # that counts once
            self._late = True
            self._shared.health.failed()
            self._file.give_up()
            self._drop()

    def _room_given_up(self, failure: Failure) -> Failure:
        self._give_up()
        return failure

    def _give_up_finish(self, _finished: "Deferred[str]") -> None:
        self._give_up()
        # The name, for which the rest of the work may wait, can be in use for long.
        self._shared.begun()
        dropped: Deferred[None] = Deferred()
        self._lock.take(lambda: self._discard(dropped))


@implementer(IWatchedStorage)
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
        self._shared = self._share()
        self._under_way = 0  # instances, and a probe
        self._stops: list[Deferred[None]] = []
        self._check()

    def _share(self) -> Shared:
        return Shared(
            # Where nothing is synced the disk is memory, and going to a thread would cost more than what is done there.
            writers=self._workers if self._rules.syncs_files else AtOnce(),
            workers=self._workers,
            names=NameLocks(),
            backlog=Backlog(HIGH_WATER_OF_ALL, HIGH_WATER_OF_ALL // 2),
            health=Health(lambda: self._beside(probe)),
            begun=self._begun,
            ended=self._ended,
        )

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
        self._shared = self._share()
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
        return self._directories is not None and self._shared.health.ready()

    def open(self, request: StoreRequest) -> IInstanceSink:
        if self._directories is None:
            raise RuntimeError("the storage is not started")
        name = file_name(request.sop_class_uid, request.sop_instance_uid)
        file = IncomingFile(self._directories, request, name)
        self._begun()
        return DirectorySink(request.association.id, name, file, self._shared)

    def probe(self) -> "Deferred[None]":
        return self._beside(_probe_room)

    def look(self) -> "Deferred[Room]":
        return self._beside(Directories.room)

    def _beside(self, work: Callable[[Directories], _T]) -> "Deferred[_T]":
        """Do something with the directories that is not of an instance."""
        if self._directories is None:
            return fail(RuntimeError("the storage is not started"))
        self._begun()
        return self._workers.run(work, self._directories).addBoth(self._done)

    def _done(self, result: _T) -> _T:
        self._ended()
        return result

    def _begun(self) -> None:
        self._under_way += 1

    def _ended(self) -> None:
        self._under_way -= 1
        self._stop_if_idle()


def _probe_room(directories: Directories) -> None:
    # The disk of which too little is left is not ill, so `Health` does not ask for this.
    directories.check_free()
    probe(directories)
