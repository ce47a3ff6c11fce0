# mypy: allow-untyped-calls
"""DirectoryStorage: whole files under final names, or nothing; whatever the disk, the peer or a neighbour does."""

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import attrs
import pydicom
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute, fail
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from storescp.errors import CannotStart, Status, StoreFailure
from storescp.interfaces import IInstanceSink, IStorage
from storescp.storage.directory import DirectoryStorage
from storescp.storage.disk import Disk
from storescp.storage.part10 import file_header
from storescp.storage.workers import AtOnce, Workers
from tests.storage import request
from tests.strategies import PROPERTY
from tests.ul import wire

_P = ParamSpec("_P")
_T = TypeVar("_T")

KIB = 1024
MIB = 1024 * KIB

# (0010,0020) LO "ID 1", (0010,0040) CS "F"
DATA_SET = wire("1000 2000", b"LO", "0400", b"ID 1", "1000 4000", b"CS", "0200", b"F ")
OTHER = DATA_SET.replace(b"ID 1", b"ID 2")
HEADER = file_header(request())  # against bytes typed by hand in test_part10
WHOLE = HEADER + DATA_SET
DUPLICATE = "CT.1.2.3.dup-" + sha256(WHOLE).hexdigest()[:8]

CODES = {
    errno.ENOSPC: Status.OUT_OF_RESOURCES,
    errno.EDQUOT: Status.OUT_OF_RESOURCES,
    errno.EMFILE: Status.OUT_OF_RESOURCES,
    errno.EIO: Status.PROCESSING_FAILURE,
}
ONE_STORE = ["create", "write", "size", "fsync", "close", "link", "open_directory", "fsync", "close", "unlink"]


class FaultyDisk(Disk):
    """The disk, with a log: what was called, which descriptors are open, which of them cannot be trusted any more.

    From `arm` on the call of that number fails; `for_ever`, so do all after it.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.open_descriptors: set[int] = set()
        self.synced_again = False
        self.failed = ""  # the first call that failed
        self._unsynced: set[int] = set()  # descriptors whose fsync has failed
        self._failing = range(0)
        self._code = 0

    def arm(self, nth: int, code: int, *, for_ever: bool = False) -> None:
        self.calls = []
        self._failing = range(nth, sys.maxsize if for_ever else nth + 1)
        self._code = code

    def disarm(self) -> None:
        self._failing = range(0)

    def __getattribute__(self, name: str) -> Any:
        attribute = super().__getattribute__(name)
        return partial(self._call, name, attribute) if name in vars(Disk) and name[0] != "_" else attribute

    def _call(self, name: str, system_call: Callable[..., Any], *args: Any) -> Any:
        self.calls.append(name)
        if name == "fsync":
            self.synced_again |= args[0] in self._unsynced
        if len(self.calls) in self._failing:
            self.failed = self.failed or name
            self._fail(name, args)
        result: Any = None if name == "fsync" else system_call(*args)  # nothing here needs to survive a crash
        if name in ("open", "open_directory", "create"):
            self.open_descriptors.add(result)
        elif name == "close":
            self._closed(args[0])
        return result

    def _fail(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "fsync":
            self._unsynced.add(args[0])
        elif name == "close":  # close(2): the descriptor is gone, whatever it says
            os.close(args[0])
            self._closed(args[0])
        raise OSError(self._code, os.strerror(self._code))

    def _closed(self, descriptor: int) -> None:
        self.open_descriptors.discard(descriptor)
        self._unsynced.discard(descriptor)


class ShortDisk(Disk):
    """Writes a few bytes at a time."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview]) -> int:
        size = self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]
        return os.write(descriptor, b"".join(buffers)[:size])


class MeanwhileDisk(Disk):
    """Lets something else happen when a directory is synced, and then fails that; once."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None

    def fsync(self, descriptor: int) -> None:
        if self.meanwhile and stat.S_ISDIR(os.fstat(descriptor).st_mode):
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            raise OSError(errno.EIO, os.strerror(errno.EIO))


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


class DirectoryTestCase(SynchronousTestCase):
    """One directory, and what is in it."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()

    def storage(self, disk: Disk | None = None, workers: Workers | None = None) -> DirectoryStorage:
        """A storage that is started, and stopped at the end of the test."""
        storage = DirectoryStorage(str(self.path), workers or AtOnce(), disk or FaultyDisk())
        storage.start()
        self.addCleanup(storage.stop)
        return storage

    def store(self, storage: IStorage, data: bytes, uid: str = "1.2.3", size: int = 7) -> str | int:
        """The name of the file, or the status of the failure, of an instance sent in fragments of `size` bytes."""
        try:
            sink = storage.open(request(uid))
        except StoreFailure as failure:
            return failure.status
        for start in range(0, len(data), size):
            sink.write(memoryview(data)[start : start + size])
        return self.result(sink.finish())

    def result(self, finished: "Deferred[Any]") -> str | int:
        results: list[Any] = []
        finished.addBoth(results.append)
        error = getattr(results[0], "value", None)  # of a Failure
        return error.status if isinstance(error, StoreFailure) else str(results[0])

    def files(self) -> dict[str, bytes | None]:
        """The content of each file that can be seen; None for what is no file."""
        return {
            each.name: each.read_bytes() if each.is_file() and not each.is_symlink() else None
            for each in self.path.iterdir()
            if each.name != ".incoming"
        }

    def incoming(self) -> list[str]:
        return os.listdir(self.path / ".incoming")

    def check(self, files: dict[str, bytes | None]) -> None:
        """These are all files there are, and none is temporary."""
        self.assertEqual((files, []), (self.files(), self.incoming()))


class ContentTests(DirectoryTestCase):
    """What is in a file."""

    def test_contracts(self) -> None:
        """The storage and its sinks keep their contracts."""
        storage = self.storage()
        sink = storage.open(request())
        verifyObject(IStorage, storage)
        verifyObject(IInstanceSink, sink)
        sink.abort()

    def test_content(self) -> None:
        """A file is the header and the bytes of the data set as they came, and pydicom reads it."""
        self.assertEqual("CT.1.2.3", self.store(self.storage(), DATA_SET))
        self.check({"CT.1.2.3": WHOLE})
        read = pydicom.dcmread(self.path / "CT.1.2.3")
        self.assertEqual(
            ("1.2.3", "ID 1", "F"), (read.file_meta.MediaStorageSOPInstanceUID, read.PatientID, read.PatientSex)
        )

    def test_empty(self) -> None:
        """An empty data set is stored as well: nobody here looks into it."""
        self.assertEqual("CT.1.2.3", self.store(self.storage(), b""))
        self.check({"CT.1.2.3": HEADER})

    def test_name(self) -> None:
        """The sink says, before anything is written, what the file will be called."""
        sink = self.storage().open(request("1.2.840.ABC"))
        self.assertEqual("CT.X-2215f7480cc5a68fe2907f5ea6538461cbee509c", sink.name)
        sink.abort()

    def test_unusable(self) -> None:
        """An instance that cannot have a name is refused with C000H and leaves nothing behind."""
        self.assertEqual(0xC000, self.store(self.storage(), DATA_SET, uid="1.2\0"))
        self.check({})

    def test_sizes(self) -> None:
        """Fragments of any number and size, of more than one batch and more than one writev, make the same file."""
        storage = self.storage()
        data = bytes(range(256)) * 2500  # 640000 bytes
        wanted: dict[str, bytes | None] = {}
        for size, length in ((1, 3000), (2, 2048), (300, 640000), (16378, 640000), (262144, 640000), (640000, 640000)):
            uid = f"1.2.{size}"
            self.store(storage, data[:length], uid, size)
            wanted[f"CT.{uid}"] = file_header(request(uid)) + data[:length]
        self.check(wanted)

    def test_counts(self) -> None:
        """The file is whole with as many fragments as one writev takes, and one fewer, and one more."""
        storage = self.storage()
        wanted: dict[str, bytes | None] = {}
        for number in (1022, 1023, 1024, 1025, 2047, 2048):
            uid = f"1.2.{number}"
            self.store(storage, b"ab" * number, uid, 2)
            wanted[f"CT.{uid}"] = file_header(request(uid)) + b"ab" * number
        self.check(wanted)

    @PROPERTY
    @given(st.lists(st.integers(0, 5) | st.sampled_from([65536, 262143, 262144]), max_size=6))
    def test_any_fragments(self, sizes: list[int]) -> None:
        """Fragments in any mixture of sizes, empty ones included, follow each other in the file."""
        self.setUp()
        data = bytes(range(251)) * (sum(sizes) // 251 + 1)
        sink = self.storage().open(request())
        position = 0
        for size in sizes:
            sink.write(memoryview(data)[position : position + size])
            position += size
        self.assertEqual("CT.1.2.3", self.result(sink.finish()))
        self.check({"CT.1.2.3": HEADER + data[:position]})

    def test_short_writes(self) -> None:
        """A disk that takes a few bytes at a time gets them all, each once."""
        for sizes in ((1,), (3, 1000), (len(HEADER), 5), (len(HEADER) + 1, 1, 7), (len(WHOLE) - 1, 1)):
            self.setUp()
            self.store(self.storage(ShortDisk(*sizes)), DATA_SET)
            self.check({"CT.1.2.3": WHOLE})

    def test_nothing_written(self) -> None:
        """A disk that takes nothing without saying why fails the instance with 0110H."""
        self.assertEqual(0x0110, self.store(self.storage(ShortDisk(10, 0)), DATA_SET))
        self.check({})

    def test_interleaved(self) -> None:
        """Instances of several associations at the same time do not touch each other."""
        storage = self.storage()
        sinks = [storage.open(request(f"1.2.{number}")) for number in range(3)]
        for part in (DATA_SET[:9], DATA_SET[9:]):
            for sink in sinks:
                sink.write(memoryview(part))
        self.assertEqual(["CT.1.2.2", "CT.1.2.1", "CT.1.2.0"], [self.result(sink.finish()) for sink in reversed(sinks)])
        self.check({f"CT.1.2.{number}": file_header(request(f"1.2.{number}")) + DATA_SET for number in range(3)})


class PublishTests(DirectoryTestCase):
    """When a file gets its name."""

    def test_order(self) -> None:
        """Success comes after: content, size check, fsync, close, link, fsync of the directory."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        disk.calls.clear()
        self.store(storage, DATA_SET)
        self.assertEqual(ONE_STORE, disk.calls)

    def test_synced(self) -> None:
        """What is synced is the file that gets the final name, and the directory that has the name then."""
        synced: list[int] = []

        class Inodes(Disk):
            def fsync(self, descriptor: int) -> None:
                synced.append(os.fstat(descriptor).st_ino)

        storage = self.storage(Inodes())
        file, directory = self.path / "CT.1.2.3", self.path
        self.store(storage, DATA_SET)
        self.assertEqual([file.stat().st_ino, directory.stat().st_ino], synced)
        synced.clear()
        self.store(storage, DATA_SET)  # the same once more: it was synced as a temporary file, and the old one again
        self.assertEqual([file.stat().st_ino, directory.stat().st_ino], synced[1:])

    def test_hidden(self) -> None:
        """There is no file under the final name, nor any other visible one, until the instance is complete."""
        workers = ByHand()
        sink = self.storage(workers=workers).open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        workers.work()
        self.assertEqual(({}, 1), (self.files(), len(self.incoming())))
        finished = sink.finish()
        self.assertEqual(({}, 1), (self.files(), len(self.incoming())))
        workers.work()
        self.assertEqual("CT.1.2.3", self.result(finished))
        self.check({"CT.1.2.3": HEADER + bytes(256 * KIB)})

    def test_finish_waits(self) -> None:
        """`finish` does not fire before the work of the instance is done."""
        workers = ByHand()
        sink = self.storage(workers=workers).open(request())
        finished = sink.finish()
        while workers.queue:
            self.assertNoResult(finished)
            workers.work(1)
        self.assertEqual("CT.1.2.3", self.result(finished))

    def test_one_at_a_time(self) -> None:
        """The work of one instance is done in its order, never two pieces at a time."""
        workers = ByHand()
        sink = self.storage(workers=workers).open(request())
        for _ in range(3):
            sink.write(memoryview(bytes(256 * KIB)))
        finished = sink.finish()
        waiting = []
        while workers.queue:
            waiting.append(len(workers.queue))
            workers.work(1)
        self.assertEqual([1, 1, 1, 1], waiting)  # three batches, publish
        self.assertEqual("CT.1.2.3", self.result(finished))

    def test_size(self) -> None:
        """A file that is not as long as what was written is not published: 0110H."""
        storage = self.storage()
        sink = storage.open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        (temporary,) = self.incoming()
        os.truncate(self.path / ".incoming" / temporary, 1000)
        self.assertEqual(0x0110, self.result(sink.finish()))
        self.check({})


class DuplicateTests(DirectoryTestCase):
    """What happens where the name is taken."""

    def test_identical(self) -> None:
        """The same instance once more is a success and no new file."""
        storage = self.storage()
        self.assertEqual(["CT.1.2.3"] * 3, [self.store(storage, DATA_SET) for _ in range(3)])
        self.check({"CT.1.2.3": WHOLE})

    def test_identical_large(self) -> None:
        """Files larger than what is compared at a time are compared to their last byte."""
        storage = self.storage()
        data = bytes(2 * MIB + 10)
        self.assertEqual(["CT.1.2.3"] * 2, [self.store(storage, data, size=64 * KIB) for _ in range(2)])
        other = data[:-1] + b"\1"
        name = "CT.1.2.3.dup-" + sha256(HEADER + other).hexdigest()[:8]
        self.assertEqual(name, self.store(storage, other, size=64 * KIB))
        self.check({"CT.1.2.3": HEADER + data, name: HEADER + other})

    def test_identical_is_made_durable(self) -> None:
        """A file that is here already may not be on the disk yet: it and its directory are synced before Success."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        self.store(storage, DATA_SET)
        disk.calls.clear()
        self.store(storage, DATA_SET)
        self.assertEqual(2, disk.calls[disk.calls.index("link") :].count("fsync"))

    def test_different(self) -> None:
        """Another content under the same UID is kept beside the first, which is not touched; the log says so."""
        (self.path / "CT.1.2.3").write_bytes(b"older")
        storage = self.storage()
        with capturedLogs() as logs:
            self.assertEqual([DUPLICATE] * 2, [self.store(storage, DATA_SET) for _ in range(2)])
        self.check({"CT.1.2.3": b"older", DUPLICATE: WHOLE})
        self.assertEqual(
            [("warn", "CT.1.2.3", DUPLICATE)] * 2, [(e["log_level"].name, e["original"], e["name"]) for e in logs]
        )

    def test_same_length(self) -> None:
        """Two contents of one length are told apart."""
        storage = self.storage()
        self.store(storage, OTHER)
        self.assertEqual(DUPLICATE, self.store(storage, DATA_SET))
        self.check({"CT.1.2.3": HEADER + OTHER, DUPLICATE: WHOLE})

    def test_third(self) -> None:
        """Three contents are three files, and each of them is known again."""
        storage = self.storage()
        contents = [DATA_SET, OTHER, b""]
        names = [self.store(storage, data) for data in contents]
        self.assertEqual(names, [self.store(storage, data) for data in contents])
        self.assertEqual(3, len(set(names)))
        self.check(dict(zip(map(str, names), [HEADER + data for data in contents], strict=True)))

    def test_digest_taken(self) -> None:
        """Where the first name beside it is taken too, the next eight digits are used, to the last; then 0110H."""
        digest = sha256(WHOLE).hexdigest()
        names = ["CT.1.2.3", *(f"CT.1.2.3.dup-{digest[start : start + 8]}" for start in range(0, 64, 8))]
        storage = self.storage()
        wanted: dict[str, bytes | None] = {}
        for name in names:
            self.assertEqual(name, self.store(storage, DATA_SET))
            (self.path / name).write_bytes(b"another")
            wanted[name] = b"another"
        self.assertEqual(0x0110, self.store(storage, DATA_SET))
        self.check(wanted)

    def test_in_the_way(self) -> None:
        """What has the name and is no file is left alone, not followed, not waited for, and the instance kept."""
        (self.path / "target").write_bytes(WHOLE)

        makers: dict[str, Callable[[Path], Any]] = {
            "directory": Path.mkdir,
            "symlink": lambda path: path.symlink_to("target"),
            "broken symlink": lambda path: path.symlink_to("nothing"),
            "FIFO": os.mkfifo,
            "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
        }
        outcomes: dict[str, Any] = {}
        for what, make in makers.items():
            path = self.path / "CT.1.2.3"
            make(path)
            name = self.store(self.storage(), DATA_SET)
            outcomes[what] = (name, self.files())
            (self.path / DUPLICATE).unlink(missing_ok=True)
            path.rmdir() if what == "directory" else path.unlink()
        files = {"target": WHOLE, "CT.1.2.3": None, DUPLICATE: WHOLE}
        self.assertEqual(dict.fromkeys(makers, (DUPLICATE, files)), outcomes)
        self.assertEqual([], self.incoming())


LARGE = bytes(300 * KIB)  # two batches
OLDER = HEADER + b"older"
LARGE_WHOLE = HEADER + LARGE
LARGE_DUPLICATE = "CT.1.2.3.dup-" + sha256(LARGE_WHOLE).hexdigest()[:8]

# What is there already, and the name that the instance gets then.
SITUATIONS: tuple[tuple[dict[str, bytes | None], str], ...] = (
    ({}, "CT.1.2.3"),
    ({"CT.1.2.3": LARGE_WHOLE}, "CT.1.2.3"),
    ({"CT.1.2.3": OLDER}, LARGE_DUPLICATE),
    ({"CT.1.2.3": OLDER, LARGE_DUPLICATE: LARGE_WHOLE}, LARGE_DUPLICATE),
)


@attrs.frozen(kw_only=True)
class Fault:
    """A store whose `nth` call of the disk failed, and what came of it."""

    nth: int
    call: str
    code: int
    name: str  # the instance would have
    before: dict[str, bytes | None] = attrs.field(repr=False)
    outcome: str | int
    files: dict[str, bytes | None] = attrs.field(repr=False)
    incoming: list[str] = attrs.field(repr=False)
    leaked: set[int]
    next_outcome: str | int
    synced_again: bool

    @property
    def stored(self) -> bool:
        return self.outcome == self.name


class DiskTests(DirectoryTestCase):
    """The system calls where they say more than the system does."""

    def test_open(self) -> None:
        """Of what is no regular file none is opened, and no descriptor is left open."""

        def lowest_free() -> int:
            descriptor = os.dup(0)
            os.close(descriptor)
            return descriptor

        (self.path / "directory").mkdir()
        os.mkfifo(self.path / "FIFO")
        disk = Disk()
        root = disk.open_directory(str(self.path))
        self.addCleanup(disk.close, root)
        free = lowest_free()
        for name in ("directory", "FIFO"):
            self.assertRaises(FileExistsError, disk.open, name, root)
        self.assertEqual(free, lowest_free())


class FaultTests(DirectoryTestCase):
    """Every call of the disk fails, one after the other, with every error; once, or from then on."""

    def faults(self, *, codes: Iterable[int] = (errno.EIO,), for_ever: bool = False) -> Iterator[Fault]:
        for before, name in SITUATIONS:
            for code in codes:
                for nth in count(1):
                    fault = self.fault(before, name, nth, code, for_ever)
                    if not fault.call:
                        break
                    yield fault

    def fault(self, before: dict[str, bytes | None], name: str, nth: int, code: int, for_ever: bool) -> Fault:
        self.setUp()
        for each, content in before.items():
            (self.path / each).write_bytes(content or b"")
        disk = FaultyDisk()
        storage = self.storage(disk)
        always_open = set(disk.open_descriptors)
        disk.arm(nth, code, for_ever=for_ever)
        outcome = self.store(storage, LARGE, size=16 * KIB)
        disk.disarm()
        return Fault(
            nth=nth,
            call=disk.failed,
            code=code,
            name=name,
            before=before,
            outcome=outcome,
            files=self.files(),
            incoming=self.incoming(),
            leaked=disk.open_descriptors - always_open,
            next_outcome=self.store(storage, DATA_SET, uid="1.2.4"),
            synced_again=disk.synced_again,
        )

    def test_all_calls(self) -> None:
        """The faults of this class reach every call of a store, and of one whose name is taken."""
        found = [{fault.call for fault in self.faults() if fault.before == before} for before, _ in SITUATIONS]
        comparing = {*ONE_STORE, "open", "read"}
        self.assertEqual([set(ONE_STORE), comparing, comparing, comparing], found)

    def test_outcome(self) -> None:
        """A store that meets a fault succeeds all the same or fails with the status of that error."""
        failed = [each for each in self.faults(codes=CODES) if not each.stored]
        self.assertEqual([], [each for each in failed if each.outcome != CODES[each.code]])

    def test_files(self) -> None:
        """With Success the whole file is there, with a failure none is, and what was there before stays as it was."""

        def expected(fault: Fault) -> dict[str, bytes | None]:
            return {**fault.before, fault.name: LARGE_WHOLE} if fault.stored else fault.before

        self.assertEqual([], [each for each in self.faults() if each.files != expected(each)])

    def test_temporary(self) -> None:
        """No fault leaves a temporary file, unless it is the one of removing it."""
        self.assertEqual([], [each for each in self.faults() if each.incoming and each.call != "unlink"])

    def test_dead_disk(self) -> None:
        """A disk that fails from some call on never has part of an instance under a final name, nor a false Success."""

        def wrong(fault: Fault) -> bool:
            broken = set(fault.files.values()) - {LARGE_WHOLE, OLDER}
            outcome = fault.files.get(fault.name) == LARGE_WHOLE if fault.stored else fault.outcome == CODES[fault.code]
            return bool(broken) or not outcome or not fault.before.items() <= fault.files.items()

        self.assertEqual([], [each for each in self.faults(for_ever=True) if wrong(each)])

    def test_descriptors(self) -> None:
        """No fault leaves a descriptor open."""
        self.assertEqual([], [each for each in self.faults() if each.leaked])

    def test_sync_again(self) -> None:
        """A descriptor whose fsync failed is not synced again, as the second fsync may lie."""
        self.assertEqual([], [each for each in self.faults() if each.synced_again])

    def test_next(self) -> None:
        """After a fault the next instance is stored."""
        self.assertEqual([], [each for each in self.faults(for_ever=True) if each.next_outcome != "CT.1.2.4"])

    def test_same_instance_meanwhile(self) -> None:
        """A Success that another peer was told stays true when a second store of the same instance fails after it."""
        disk = MeanwhileDisk()
        storage = self.storage(disk)
        others: list[str | int] = []
        other = threading.Thread(target=lambda: others.append(self.store(storage, DATA_SET)))

        def meanwhile() -> None:
            other.start()
            other.join(0.1)  # long enough to be done, if it did not wait for the name

        disk.meanwhile = meanwhile
        self.assertEqual(0x0110, self.store(storage, DATA_SET))
        other.join(10)
        self.assertEqual(["CT.1.2.3"], others)
        self.check({"CT.1.2.3": WHOLE})

    def test_write_after_failure(self) -> None:
        """A peer that goes on sending after the disk is full costs no more calls of the disk, and no space on it."""
        disk = FaultyDisk()
        sink = self.storage(disk).open(request())
        disk.arm(2, errno.ENOSPC)
        for _ in range(8):
            sink.write(memoryview(bytes(256 * KIB)))
        self.check({})
        self.assertEqual(0xA700, self.result(sink.finish()))
        self.assertEqual(["create", "write", "close", "unlink"], disk.calls)

    def test_mistake(self) -> None:
        """An error that is none of the disk's fails the instance as what it is, and leaves nothing behind."""

        class Mistaken(Disk):
            def write(self, descriptor: int, buffers: Sequence[bytes | memoryview]) -> int:
                raise TypeError("a mistake")

        self.failureResultOf(self.storage(Mistaken()).open(request()).finish(), TypeError)
        self.check({})

    def test_workers_fail(self) -> None:
        """Workers that do not work at all fail the instance, a failed abort is logged, and the storage still stops."""

        class Broken(AtOnce):
            def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
                return fail(ZeroDivisionError())

        storage = self.storage(workers=Broken())
        self.failureResultOf(storage.open(request()).finish(), ZeroDivisionError)
        storage.open(request()).abort()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertIsNone(self.successResultOf(storage.stop()))


class RoomTests(DirectoryTestCase):
    """Back-pressure: a peer that is faster than the disk is told to wait."""

    def setUp(self) -> None:
        super().setUp()
        self.workers = ByHand()
        self.disk = FaultyDisk()
        self.sink = self.storage(self.disk, self.workers).open(request())

    def fill(self) -> "Deferred[Any]":
        """Write 256 KiB at a time until the sink asks to wait: that is when the fourth is given to it, or the fifth."""
        for number in range(1, 6):
            room = self.sink.write(memoryview(bytes(256 * KIB)))
            if room is not None:
                self.assertIn(number, (4, 5))
                return room
        raise AssertionError("never asked to wait")

    def test_room(self) -> None:
        """More than 1 MiB that waits is answered with a Deferred, which fires when half of it is written."""
        room = self.fill()
        self.workers.work(1)
        self.assertNoResult(room)
        self.workers.work(2)
        self.successResultOf(room)

    def test_no_content(self) -> None:
        """A peer cannot fill the memory with fragments of no content either."""
        rooms = [self.sink.write(memoryview(b"")) for _ in range(10000)]
        (room,) = [room for room in rooms if room is not None]
        self.workers.work()
        self.successResultOf(room)

    def test_one_room(self) -> None:
        """What comes although the peer was told to wait is taken, and asks for no second wait."""
        room = self.fill()
        self.assertEqual([None] * 4, [self.sink.write(memoryview(b"ab" * 128 * KIB)) for _ in range(4)])
        finished = self.sink.finish()
        self.workers.work()
        self.successResultOf(room)
        self.assertEqual("CT.1.2.3", self.result(finished))
        (content,) = self.files().values()
        assert content is not None
        self.assertEqual(b"ab" * 512 * KIB, content[-MIB:])

    def test_again(self) -> None:
        """A peer that was let go on is told to wait again when it is too fast again."""
        for _ in range(3):
            room = self.fill()
            self.workers.work()
            self.successResultOf(room)

    def test_full_disk(self) -> None:
        """A disk that fails lets the peer go on: what it sends is dropped until it can be answered."""
        room = self.fill()
        self.disk.arm(1, errno.ENOSPC)
        self.workers.work()
        self.successResultOf(room)
        finished = self.sink.finish()
        self.workers.work()
        self.assertEqual(0xA700, self.result(finished))

    def test_aborted(self) -> None:
        """A peer that is told to wait when its instance is aborted is not left waiting."""
        room = self.fill()
        self.sink.abort()
        self.workers.work()
        self.successResultOf(room)
        self.check({})


class AbortTests(DirectoryTestCase):
    """An instance that will never be complete."""

    def setUp(self) -> None:
        super().setUp()
        self.workers = ByHand()
        self.started = self.storage(workers=self.workers)

    def abort_after(self, fragments: int, work: int) -> None:
        """Abort after so many batches were received, of which so many were written."""
        sink = self.started.open(request())
        for _ in range(fragments):
            sink.write(memoryview(bytes(256 * KIB)))
        self.workers.work(work)
        sink.abort()
        self.workers.work()
        self.check({})

    def test_stages(self) -> None:
        """Nothing is left, whether nothing, something or all was received and written."""
        for fragments in range(4):
            for work in range(fragments + 1):
                self.abort_after(fragments, work)

    def test_part_of_a_batch(self) -> None:
        """What was not enough for a batch never touches the disk."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        disk.calls.clear()
        sink = storage.open(request())
        sink.write(memoryview(b"abc"))
        sink.abort()
        self.assertEqual([], disk.calls)

    def test_disk_fails(self) -> None:
        """A disk that fails at the removal as well harms nobody: the storage still stops."""
        for nth in (1, 2):
            disk = FaultyDisk()
            storage = self.storage(disk)
            sink = storage.open(request())
            sink.write(memoryview(bytes(256 * KIB)))
            disk.arm(nth, errno.EIO)
            sink.abort()
            disk.disarm()
            self.assertIsNone(self.successResultOf(storage.stop()))

    def test_others(self) -> None:
        """The other instances, of the same name even, go on."""
        sinks = [self.started.open(request()) for _ in range(2)]
        for sink in sinks:
            sink.write(memoryview(DATA_SET))
        sinks[0].abort()
        finished = sinks[1].finish()
        self.workers.work()
        self.assertEqual("CT.1.2.3", self.result(finished))
        self.check({"CT.1.2.3": WHOLE})


class StopTests(DirectoryTestCase):
    """`stop` waits for what is under way."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = FaultyDisk()
        self.workers = ByHand()
        self.storage_ = DirectoryStorage(str(self.path), self.workers, self.disk)
        self.storage_.start()

    def test_idle(self) -> None:
        """With nothing under way it stops at once: workers stopped, no descriptor left open."""
        self.assertIsNone(self.successResultOf(self.storage_.stop()))
        self.assertEqual((1, set()), (self.workers.stops, self.disk.open_descriptors))

    def test_waits(self) -> None:
        """It waits for an instance that is being published and for one being removed, and closes then."""
        finished = self.storage_.open(request()).finish()
        aborted = self.storage_.open(request("1.2.4"))
        aborted.write(memoryview(bytes(256 * KIB)))
        aborted.abort()
        stopped = self.storage_.stop()
        while self.workers.queue:
            self.assertNoResult(stopped)
            self.assertEqual(0, self.workers.stops)
            self.workers.work(1)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual("CT.1.2.3", self.result(finished))
        self.assertEqual((1, set()), (self.workers.stops, self.disk.open_descriptors))

    def test_open_when_stopped(self) -> None:
        """No instance is taken before the start or after the stop."""
        self.successResultOf(self.storage_.stop())
        self.assertRaises(RuntimeError, self.storage_.open, request())
        self.assertRaises(RuntimeError, DirectoryStorage(str(self.path), self.workers).open, request())

    def test_again(self) -> None:
        """A storage that was stopped can be started again."""
        self.successResultOf(self.storage_.stop())
        self.storage_.start()
        finished = self.storage_.open(request()).finish()
        self.workers.work()
        self.assertEqual("CT.1.2.3", self.result(finished))
        self.successResultOf(self.storage_.stop())


class StartTests(DirectoryTestCase):
    """What stands in the way of a start is said before the first instance."""

    def refused(self, path: Path, disk: Disk | None = None) -> str:
        """The reason why there can be no storage in `path`."""
        with self.assertRaises(CannotStart) as context:
            DirectoryStorage(str(path), AtOnce(), disk).start()
        return str(context.exception)

    def test_empty_name(self) -> None:
        """An empty name, as of an unset variable of a shell, is not the current directory."""
        with self.assertRaises(CannotStart) as context:
            DirectoryStorage("", AtOnce())
        self.assertEqual("output directory: its name is empty", str(context.exception))

    def test_missing(self) -> None:
        """A directory that is missing is not made, but complained about."""
        path = (self.path / "missing").absolute()
        self.assertEqual(f"output directory {path}: does not exist", self.refused(path))
        self.assertFalse(path.exists())

    def test_no_directory(self) -> None:
        """A file is no directory."""
        path = (self.path / "file").absolute()
        path.write_bytes(b"")
        self.assertEqual(f"output directory {path}: is not a directory", self.refused(path))

    def test_not_writable(self) -> None:
        """A directory that may not be written to is complained about at once, not at the first instance."""
        asked: list[tuple[str, int]] = []

        def access(path: str, mode: int) -> bool:
            asked.append((path, mode))
            return False

        self.patch(os, "access", access)  # the superuser may write everywhere
        path = self.path.absolute()
        self.assertEqual(f"output directory {path}: is not writable", self.refused(path))
        self.assertEqual([(str(path), os.W_OK | os.X_OK)], asked)

    def test_relative(self) -> None:
        """The directory is that of the start, wherever the process goes then."""
        storage = DirectoryStorage(os.path.relpath(self.path), AtOnce(), FaultyDisk())
        home = os.getcwd()
        self.addCleanup(os.chdir, home)
        os.chdir("/")
        storage.start()
        self.addCleanup(storage.stop)
        self.store(storage, DATA_SET)
        os.chdir(home)
        self.check({"CT.1.2.3": WHOLE})

    def test_removed(self) -> None:
        """A directory that vanishes before the start is complained about."""
        storage = DirectoryStorage(str(self.path), AtOnce())
        self.path.rmdir()
        self.assertRaises(CannotStart, storage.start)

    def test_incoming_is_a_file(self) -> None:
        """A file in the place of the directory for what is incoming is complained about, and stays."""
        (self.path / ".incoming").write_bytes(b"kept")
        self.assertEqual(f"output directory {self.path.absolute()}: Not a directory", self.refused(self.path))
        self.assertEqual(b"kept", (self.path / ".incoming").read_bytes())

    def test_faults(self) -> None:
        """Each call of a start that fails is said in the disk's words."""
        for nth in (1, 2, 3):
            disk = FaultyDisk()
            disk.arm(nth, errno.EMFILE)
            words = f"output directory {self.path.absolute()}: Too many open files"
            self.assertEqual(words, self.refused(self.path, disk))

    def test_fault_leaks_nothing(self) -> None:
        """A start that failed leaves no descriptor open, as it may be tried again."""
        leaked = []
        for nth in (1, 2, 3):
            self.setUp()
            disk = FaultyDisk()
            disk.arm(nth, errno.EMFILE)
            self.refused(self.path, disk)
            leaked.append(disk.open_descriptors)
        self.assertEqual([set()] * 3, leaked)

    def test_stopped_beside_another(self) -> None:
        """A storage that stops does not disturb another one of the same directory, even one that was never used."""
        one, two = self.storage(), self.storage()
        self.successResultOf(one.stop())
        self.assertEqual("CT.1.2.3", self.store(two, DATA_SET))

    def test_started_twice(self) -> None:
        """One storage cannot serve two factories: the first to stop would close it for the other."""
        storage = self.storage()
        self.assertRaises(CannotStart, storage.start)
        self.assertEqual("CT.1.2.3", self.store(storage, DATA_SET))

    def test_leftovers(self) -> None:
        """What a crash has left in the directory for what is incoming harms nobody."""
        (self.path / ".incoming").mkdir()
        (self.path / ".incoming" / "old.part").write_bytes(b"half")
        self.assertEqual("CT.1.2.3", self.store(self.storage(), DATA_SET))
        self.assertEqual({"CT.1.2.3": WHOLE}, self.files())
