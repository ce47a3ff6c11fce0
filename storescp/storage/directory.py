"""DirectoryStorage: one file an instance, whole and on the disk before anybody hears of it.

Temporary file, fsync, link to the final name, fsync of the directory. `IncomingFile` does the blocking
work and runs on the workers; `DirectorySink` is its front on the reactor's thread.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

import attrs
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.errors import CannotStart, StoreFailure
from storescp.interfaces import IInstanceSink, IStorage, StoreRequest
from storescp.storage.disk import Disk
from storescp.storage.locks import NameLocks
from storescp.storage.naming import duplicate_name, file_name
from storescp.storage.part10 import file_header
from storescp.storage.workers import Workers

_log = Logger()
_T = TypeVar("_T")

INCOMING = ".incoming"
BATCH = 256 * 1024  # bytes of memory handed to a worker at a time: fewer hops cost less, more bytes only wait
HIGH_WATER = 1024 * 1024  # bytes of one instance's memory that wait for the disk before its peer is paused
LOW_WATER = HIGH_WATER // 2
IOV_MAX = 1024  # buffers one writev takes, Linux's limit
FRAGMENT = 256  # bytes of memory that keeping a fragment costs beside its content
_COMPARED = 1024 * 1024  # bytes read at a time when two files are compared


@attrs.frozen
class _Directories:
    """The disk, the descriptors of the two directories that instances move between, and who may take which name."""

    disk: Disk
    root: int
    incoming: int
    names: NameLocks = attrs.field(factory=NameLocks)


class IncomingFile:
    """One instance on its way to the disk. Its methods block and are called one at a time.

    After a failure what is written is ignored, nothing is left on the disk, and `publish` raises.
    """

    def __init__(self, directories: _Directories, name: str) -> None:
        self._disk = directories.disk
        self._directories = directories
        self._name = name
        self._temporary = f"{uuid4().hex}.part"
        self._descriptor: int | None = None
        self._exists = False
        self._size = 0  # known from `publish` on
        self._failure: Exception | None = None

    def write(self, buffers: list[bytes | memoryview]) -> None:
        if self._failure is not None:
            return
        try:
            if self._descriptor is None:
                self._descriptor = self._disk.create(self._temporary, self._directories.incoming)
                self._exists = True
            for start in range(0, len(buffers), IOV_MAX):
                self._write_all(self._descriptor, buffers[start : start + IOV_MAX])
        except Exception as error:  # whatever it was, what is in the file now is not the instance
            self._failure = error
            self.discard()

    def _write_all(self, descriptor: int, buffers: list[bytes | memoryview]) -> None:
        wanted = sum(map(len, buffers))
        written = self._disk.write(descriptor, buffers)
        if written < wanted:
            rest = memoryview(b"".join(buffers))[written:]
            while rest:
                written = self._disk.write(descriptor, [rest])
                if not written:
                    raise OSError(errno.EIO, "nothing could be written")
                rest = rest[written:]

    def write_and_publish(self, buffers: list[bytes | memoryview], size: int) -> str:
        """Write the last of it, and `publish`."""
        self.write(buffers)
        return self.publish(size)

    def publish(self, size: int) -> str:
        """Make the file of `size` bytes durable and give it its final name, which is returned.

        Raises `StoreFailure` for what a disk can do wrong.
        """
        self._size = size
        try:
            if self._failure is not None:
                raise self._failure
            self._sync()
            with self._directories.names.hold(self._name):
                return self._link()
        except OSError as error:
            raise StoreFailure.from_os_error(error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Close and remove the temporary file, if there is one."""
        # Its content is durable under another name, or it is not wanted: an error here changes nothing.
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                self._disk.close(descriptor)
        if self._exists:
            self._exists = False
            with suppress(OSError):
                self._disk.unlink(self._temporary, self._directories.incoming)

    def _sync(self) -> None:
        descriptor = self._descriptor
        assert descriptor is not None  # the header was written
        if self._disk.size(descriptor) != self._size:
            raise OSError(errno.EIO, "the file is not as long as what was written")
        self._disk.fsync(descriptor)
        self._descriptor = None  # whatever close answers, the descriptor is gone
        self._disk.close(descriptor)

    def _link(self) -> str:
        """Take the final name, or the first one beside it that is free or has the same content already."""
        for name in self._candidates():
            try:
                self._disk.link(self._temporary, self._directories.incoming, name, self._directories.root)
            except FileExistsError:
                if self._is_stored_as(name):
                    self._sync_root()
                    return name
                continue
            try:
                self._sync_root()
            except OSError:
                self._disk.unlink(name, self._directories.root)
                raise
            return name
        raise FileExistsError(errno.EEXIST, f"all names for another content of {self._name} are taken")

    def _sync_root(self) -> None:
        # A descriptor of its own each time: after a failed fsync another one on the same descriptor may lie.
        descriptor = self._disk.open_directory(".", self._directories.root)
        try:
            self._disk.fsync(descriptor)
        finally:
            self._disk.close(descriptor)

    def _candidates(self) -> Iterator[str]:
        yield self._name
        digest = self._digest()
        for start in range(0, len(digest), 8):
            yield duplicate_name(self._name, digest[start:])

    def _digest(self) -> str:
        digest = sha256()
        own = self._disk.open(self._temporary, self._directories.incoming)
        try:
            while chunk := self._disk.read(own, _COMPARED):
                digest.update(chunk)
        finally:
            self._disk.close(own)
        return digest.hexdigest()

    def _is_stored_as(self, name: str) -> bool:
        """Whether `name` is a file of the same content, which then is durable."""
        try:
            other = self._disk.open(name, self._directories.root)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOENT) or isinstance(error, FileExistsError):
                return False  # a link, a socket or another thing that is no file, or just gone
            raise
        try:
            own = self._disk.open(self._temporary, self._directories.incoming)
            try:
                same = self._disk.size(other) == self._size and self._read_same(own, other)
            finally:
                self._disk.close(own)
            if same:
                self._disk.fsync(other)
            return same
        finally:
            self._disk.close(other)

    def _read_same(self, one: int, two: int) -> bool:
        while True:
            chunk = self._disk.read(one, _COMPARED)
            if chunk != self._disk.read(two, _COMPARED):
                return False
            if not chunk:
                return True


@implementer(IInstanceSink)
class DirectorySink:
    """Gathers fragments to batches and hands them to the workers, one at a time."""

    def __init__(
        self, name: str, header: bytes, file: IncomingFile, workers: Workers, ended: Callable[[], None]
    ) -> None:
        self.name: str | None = name
        self._file = file
        self._workers = workers
        self._ended = ended
        self._lock = DeferredLock()  # keeps the file's work in order
        self._batch: list[bytes | memoryview] = [header]
        self._size = len(header)  # bytes of the file so far
        self._batched = len(header)  # bytes of memory that the batch costs
        self._waiting = 0  # the same of what is handed over and not yet written
        self._room: Deferred[None] | None = None

    def write(self, fragment: memoryview) -> "Deferred[Any] | None":
        self._batch.append(fragment)
        self._size += len(fragment)
        self._batched += len(fragment) + FRAGMENT
        if self._batched < BATCH:
            return None
        self._flush()
        if self._waiting > HIGH_WATER and self._room is None:
            self._room = Deferred()
            return self._room
        return None

    def finish(self) -> "Deferred[str]":
        # One job: a small instance is opened and closed in it, so those that wait cost no descriptor.
        batch, self._batch = self._batch, []
        published = self._run(self._file.write_and_publish, batch, self._size)
        published.addCallback(self._published)
        return published.addBoth(self._end)

    def abort(self) -> None:
        self._batch = []
        self._run(self._file.discard).addErrback(self._failed).addBoth(self._end)

    def _end(self, result: _T) -> _T:
        self._ended()
        return result

    def _flush(self) -> None:
        batch, cost = self._batch, self._batched
        self._batch, self._batched = [], 0
        self._waiting += cost
        written = self._run(self._file.write, batch)
        written.addErrback(self._failed)
        written.addCallback(self._written, cost)

    def _run(self, work: Callable[..., _T], *args: Any) -> "Deferred[_T]":
        return self._lock.run(self._workers.run, work, *args)

    def _written(self, _result: None, cost: int) -> None:
        self._waiting -= cost
        if self._room is not None and self._waiting <= LOW_WATER:
            room, self._room = self._room, None
            room.callback(None)

    def _published(self, name: str) -> str:
        if name != self.name:
            _log.warn("Another {original} is here already: kept as {name}", original=self.name, name=name)
        return name

    def _failed(self, failure: Failure) -> None:
        _log.failure("Writing {name} failed in an unexpected way", failure=failure, name=self.name)


@implementer(IStorage)
class DirectoryStorage:
    """Instances as files of one directory.

    `directory` must exist and be writable, else `CannotStart` is raised.
    """

    def __init__(self, directory: str, workers: Workers, disk: Disk | None = None) -> None:
        if not directory:  # such as an unset variable of a shell; not the current directory
            raise CannotStart("output directory: its name is empty")
        self._path = os.path.abspath(directory)
        self._workers = workers
        self._disk = disk or Disk()
        self._directories: _Directories | None = None
        self._sinks = 0  # with work under way
        self._idle: Deferred[None] | None = None
        self._check()

    def _check(self) -> None:
        if not os.path.exists(self._path):
            raise CannotStart(f"output directory {self._path}: does not exist")
        if not os.path.isdir(self._path):
            raise CannotStart(f"output directory {self._path}: is not a directory")
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise CannotStart(f"output directory {self._path}: is not writable")

    def start(self) -> None:
        """Open the directories. Raises `CannotStart`."""
        if self._directories is not None:
            raise CannotStart(f"output directory {self._path}: this storage is started already, by another factory")
        try:
            self._directories = self._open_directories()
        except OSError as error:
            raise CannotStart(f"output directory {self._path}: {error.strerror}") from error
        self._workers.start()

    def _open_directories(self) -> _Directories:
        root = self._disk.open_directory(self._path)
        try:
            with suppress(FileExistsError):
                self._disk.make_directory(INCOMING, root)
            return _Directories(self._disk, root, self._disk.open_directory(INCOMING, root))
        except OSError:
            self._disk.close(root)
            raise

    def stop(self) -> "Deferred[None]":
        if not self._sinks:
            return succeed(None).addCallback(self._close)
        self._idle = Deferred()
        return self._idle.addCallback(self._close)

    def _close(self, _result: None) -> None:
        self._workers.stop()
        if self._directories is not None:
            self._disk.close(self._directories.incoming)
            self._disk.close(self._directories.root)
            self._directories = None

    def open(self, request: StoreRequest) -> IInstanceSink:
        if self._directories is None:
            raise RuntimeError("the storage is not started")
        name = file_name(request.sop_class_uid, request.sop_instance_uid)
        file = IncomingFile(self._directories, name)
        self._sinks += 1
        return DirectorySink(name, file_header(request), file, self._workers, self._sink_ended)

    def _sink_ended(self) -> None:
        self._sinks -= 1
        if self._idle is not None and not self._sinks:
            idle, self._idle = self._idle, None
            idle.callback(None)
