"""What the tests of a directory of instances share: disks that fail, workers that wait, and what is on the disk."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import StoreFailure
from storescp.interfaces import IStorage
from storescp.storage import directory
from storescp.storage.directory import DirectoryStorage
from storescp.storage.disk import Disk
from storescp.storage.part10 import file_header
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce, Workers
from tests.storage import request
from tests.ul import wire

_P = ParamSpec("_P")
_T = TypeVar("_T")

KIB = 1024
MIB = 1024 * KIB

# (0010,0020) LO "ID 1", (0010,0040) CS "F"
DATA_SET = wire("1000 2000", b"LO", "0400", b"ID 1", "1000 4000", b"CS", "0200", b"F ")
OTHER = DATA_SET.replace(b"ID 1", b"ID 2")
# (0008,0016) UI CT Image Storage, (0008,0018) UI 1.2.4: not the instance of `request`
WRONG = wire(
    *("0800 1600", b"UI", "1A00", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0800 1800", b"UI", "0600", b"1.2.4\0"),
)
HEADER = file_header(request())  # against bytes typed by hand in test_part10
WHOLE = HEADER + DATA_SET

# The calls of one store with the default rules, where the name is free.
ONE_STORE = ["create", "write", "size", "fsync", "close", "link", "unlink", "open_directory", "fsync", "close"]

SHORT = 0  # in the place of an error: a write that takes half of what it is given


def digits(data: bytes, syntax: bytes = b"1.2.840.10008.1.2.1") -> str:
    """What tells another content of CT 1.2.3 apart: SOP Class, UID and transfer syntax, and the data set."""
    return sha256(b"\0".join([b"1.2.840.10008.5.1.4.1.1.2", b"1.2.3", syntax, data])).hexdigest()


def beside(data: bytes) -> str:
    """The name of another content of CT 1.2.3."""
    return f"CT.1.2.3.dup-{digits(data)[:8]}"


class FaultyDisk(Disk):
    """The disk, with a log: what was called, which descriptors are open, which of them cannot be trusted any more.

    From `arm` on the call of that number fails; `for_ever`, so do all after it.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.open_descriptors: set[int] = set()
        self.synced_again = False  # one whose sync had failed
        self.closed_again = False  # one that was not open, and may be another file's
        self.failed = ""  # the first call that failed
        self._unsynced: set[int] = set()  # descriptors whose sync has failed
        self._failing = range(0)
        self._code = 0
        self._meanwhile: dict[int, Callable[[], object]] = {}

    def arm(self, nth: int, code: int, *, for_ever: bool = False) -> None:
        self.calls = []
        self._failing = range(nth, sys.maxsize if for_ever else nth + 1)
        self._code = code

    def disarm(self) -> None:
        self._failing = range(0)

    def meanwhile(self, nth: int, action: Callable[[], object]) -> None:
        """Let something else happen when the call of that number, counted from here, has begun."""
        self.calls = []
        self._meanwhile[nth] = action

    def fsync(self, descriptor: int) -> None:
        """Nothing: nothing here needs to survive a crash."""

    def fdatasync(self, descriptor: int) -> None:
        """Nothing, as above."""

    def __getattribute__(self, name: str) -> Any:
        attribute = super().__getattribute__(name)
        watched = name in vars(Disk) and name[0] != "_" and name != "is_at"  # a look, before the first call of a store
        return partial(self._call, name, attribute) if watched else attribute

    def _call(self, name: str, system_call: Callable[..., Any], *args: Any) -> Any:
        self.calls.append(name)
        number = len(self.calls)
        self._meanwhile.pop(number, lambda: None)()
        if name in ("fsync", "fdatasync"):
            self.synced_again |= args[0] in self._unsynced
        elif name == "close":
            self.closed_again |= args[0] not in self.open_descriptors
        if number in self._failing:
            self.failed = self.failed or name
            args = self._fail(name, args)
        result: Any = system_call(*args)
        if name in ("open", "open_directory", "create", "lock"):
            self.open_descriptors.add(result)
        elif name == "close":
            self._closed(args[0])
        return result

    def _fail(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._code == SHORT:
            return (args[0], [_half(args[1])]) if name == "write" else args
        if name in ("fsync", "fdatasync"):
            self._unsynced.add(args[0])
        elif name == "close":  # close(2): the descriptor is gone, whatever it says
            os.close(args[0])
            self._closed(args[0])
        raise OSError(self._code, os.strerror(self._code))

    def _closed(self, descriptor: int) -> None:
        self.open_descriptors.discard(descriptor)
        self._unsynced.discard(descriptor)


def _half(buffers: Sequence[bytes | memoryview]) -> bytes:
    whole = b"".join(buffers)
    return whole[: (len(whole) + 1) // 2]


class ShortDisk(FaultyDisk):
    """Writes a few bytes at a time."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self._sizes = list(sizes)

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview]) -> int:
        size = self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]
        return os.write(descriptor, b"".join(buffers)[:size])


class NoLinksDisk(FaultyDisk):
    """A file system that answers every link with an error."""

    def __init__(self, code: int = errno.EPERM) -> None:
        super().__init__()
        self._answer = code

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        raise OSError(self._answer, os.strerror(self._answer))


class SpaceDisk(FaultyDisk):
    """A file system that has so many bytes free, each time it is asked; at the end always the last."""

    def __init__(self, *free: int) -> None:
        super().__init__()
        self._free = list(free)

    def free(self, directory: int) -> int:
        return self._free.pop(0) if len(self._free) > 1 else self._free[0]


class ByHand:
    """Workers whose work waits until the test runs it."""

    def __init__(self) -> None:
        self.queue: list[Callable[[], object]] = []
        self.stops = 0

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stops += 1

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        result: Deferred[_T] = Deferred()
        self.queue.append(lambda: execute(work, *args, **kwargs).chainDeferred(result))
        return result

    def work(self, times: int | None = None) -> None:
        """Run what waits: so many, or until nothing waits any more."""
        while self.queue and times != 0:
            self.queue.pop(0)()
            times = None if times is None else times - 1


def result(finished: "Deferred[Any]") -> str | int:
    """The name of the file, or the status of the failure."""
    results: list[Any] = []
    finished.addBoth(results.append)
    error = getattr(results[0], "value", None)  # of a Failure
    return error.status if isinstance(error, StoreFailure) else str(results[0])


def store(storage: IStorage, data: bytes, uid: str = "1.2.3", size: int = 7, **asked: str) -> str | int:
    """The name of the file, or the status of the failure, of an instance sent in fragments of `size` bytes."""
    try:
        sink = storage.open(request(uid, **asked))
    except StoreFailure as failure:
        return failure.status
    for start in range(0, len(data), size):
        sink.write(memoryview(data)[start : start + size])
    return result(sink.finish())


def visible(path: Path) -> dict[str, bytes | None]:
    """The content of each file that can be seen; None for what is no file."""
    return {
        each.name: each.read_bytes() if each.is_file() and not each.is_symlink() else None
        for each in path.iterdir()
        if each.name != ".incoming"
    }


def temporary(path: Path) -> list[str]:
    """What is in the directory for what is incoming, beside the lock."""
    return [name for name in os.listdir(path / ".incoming") if name != "lock"]


class DirectoryTestCase(SynchronousTestCase):
    """One directory, and what is in it. Another `setUp` is another directory."""

    def setUp(self) -> None:
        self.patch(directory, "BATCH", 256 * KIB)
        self.path = Path(self.mktemp())
        self.path.mkdir()

    def storage(
        self, disk: Disk | None = None, workers: Workers | None = None, rules: Rules | None = None
    ) -> DirectoryStorage:
        """A storage that is started, and stopped at the end of the test."""
        storage = DirectoryStorage(str(self.path), workers or AtOnce(), rules, disk=disk or FaultyDisk())
        storage.start()
        self.addCleanup(storage.stop)
        return storage

    def check(self, files: dict[str, bytes | None]) -> None:
        """These are all files there are, and none is temporary."""
        self.assertEqual((files, []), (visible(self.path), temporary(self.path)))
