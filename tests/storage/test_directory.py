"""DirectoryStorage on the reactor's thread: what is queued for the disk, who waits for it, and what ends it."""

import errno
import os
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from zope.interface.verify import verifyObject

from storescp.errors import CannotStart, StoreFailure
from storescp.interfaces import IInstanceSink, IStorage, IWatchedStorage, Room
from storescp.storage import directory
from storescp.storage.directory import DirectoryStorage
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce
from tests.storage import request
from tests.storage.disks import (
    DATA_SET,
    HEADER,
    KIB,
    MIB,
    OTHER,
    WHOLE,
    WRONG,
    ByHand,
    DirectoryTestCase,
    FaultyDisk,
    SpaceDisk,
    beside,
    result,
    store,
    temporary,
    visible,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SinkTests(DirectoryTestCase):
    """What a storage and its sinks say and do before the disk is asked."""

    def test_contracts(self) -> None:
        """The storage and its sinks keep their contracts."""
        storage = self.storage()
        sink = storage.open(request())
        verifyObject(IStorage, storage)
        verifyObject(IWatchedStorage, storage)
        verifyObject(IInstanceSink, sink)
        sink.abort()

    def test_name(self) -> None:
        """The sink says, before anything is written, what the file will be called."""
        sink = self.storage().open(request("1.2.840.ABC"))
        self.assertEqual("CT.X-2215f7480cc5a68fe2907f5ea6538461cbee509c", sink.name)
        sink.abort()

    def test_unusable(self) -> None:
        """An instance that cannot have a name is refused with C000H and leaves nothing behind."""
        self.assertEqual(0xC000, store(self.storage(), DATA_SET, uid="1.2\0"))
        self.check({})

    def test_batches(self) -> None:
        """Small fragments cost no call of the disk each: they are handed over 256 KiB at a time."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        disk.calls.clear()
        store(storage, bytes(1000 * KIB), size=16 * KIB)
        self.assertEqual(4, disk.calls.count("write"))

    def test_small(self) -> None:
        """A small instance is one job: while it waits for its turn it costs no descriptor."""
        workers = ByHand()
        storage = self.storage(workers=workers)
        finished = [storage.open(request(f"1.2.{number}")).finish() for number in range(3)]
        self.assertEqual(3, len(workers.queue))
        workers.work()
        self.assertEqual([f"CT.1.2.{number}" for number in range(3)], [result(each) for each in finished])

    def test_finish_waits(self) -> None:
        """`finish` does not fire before the work of the instance is done."""
        workers = ByHand()
        sink = self.storage(workers=workers).open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        finished = sink.finish()
        while workers.queue:
            self.assertNoResult(finished)
            workers.work(1)
        self.assertEqual("CT.1.2.3", result(finished))

    def test_one_at_a_time(self) -> None:
        """The work of one instance is done in its order, never two pieces at a time; what waits is one piece."""
        workers = ByHand()
        sink = self.storage(workers=workers).open(request())
        for _ in range(3):
            sink.write(memoryview(bytes(256 * KIB)))
        finished = sink.finish()
        waiting = []
        while workers.queue:
            waiting.append(len(workers.queue))
            workers.work(1)
        self.assertEqual([1, 1], waiting)  # one batch; two batches and the end
        self.assertEqual("CT.1.2.3", result(finished))
        self.check({"CT.1.2.3": HEADER + bytes(768 * KIB)})

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


def fill(sink: IInstanceSink) -> "Deferred[Any]":
    """Write 256 KiB at a time until the sink asks to wait, which is at 1 MiB and what keeping it costs."""
    rooms = [sink.write(memoryview(bytes(256 * KIB))) for _ in range(4)]
    room = rooms.pop()
    if rooms != [None] * 3 or room is None:
        raise AssertionError(f"asked to wait too early, or not at all: {rooms}, {room}")
    return room


class RoomTests(DirectoryTestCase):
    """Back-pressure: a peer that is faster than the disk is told to wait."""

    def setUp(self) -> None:
        super().setUp()
        self.workers = ByHand()
        self.disk = FaultyDisk()
        self.started = self.storage(self.disk, self.workers)
        self.sink = self.started.open(request())

    def test_room(self) -> None:
        """More than 1 MiB that waits is answered with a Deferred, which fires when half of it is written."""
        room = fill(self.sink)
        self.workers.work(1)
        self.assertNoResult(room)
        self.workers.work(2)
        self.assertIsNone(self.successResultOf(room))

    def test_no_content(self) -> None:
        """A peer cannot fill the memory with fragments of no content either."""
        rooms = [self.sink.write(memoryview(b"")) for _ in range(6000)]
        (room,) = [room for room in rooms if room is not None]
        self.workers.work()
        self.successResultOf(room)

    def test_more(self) -> None:
        """What comes although the peer was told to wait is taken; each Deferred that was returned fires."""
        rooms = [fill(self.sink), *(self.sink.write(memoryview(b"ab" * 128 * KIB)) for _ in range(4))]
        finished = self.sink.finish()
        self.workers.work()
        self.assertEqual([None] * 5, [room and self.successResultOf(room) for room in rooms])
        self.assertEqual("CT.1.2.3", result(finished))
        self.check({"CT.1.2.3": HEADER + bytes(MIB) + b"ab" * 512 * KIB})

    def test_again(self) -> None:
        """A peer that was let go on is told to wait again when it is too fast again."""
        for _ in range(3):
            while (room := self.sink.write(memoryview(bytes(256 * KIB)))) is None:
                pass
            self.workers.work()
            self.successResultOf(room)

    def test_all(self) -> None:
        """Peers that are slow enough one by one wait when all together are faster than the disk."""
        self.patch(directory, "HIGH_WATER_OF_ALL", MIB)
        DirectoryTestCase.setUp(self)
        storage = self.storage(workers=self.workers)
        batch = memoryview(bytes(256 * KIB - directory.FRAGMENT))
        sinks = [storage.open(request(f"1.2.{number}")) for number in range(5)]
        *rooms, room = [sink.write(batch) for sink in sinks]
        self.assertEqual([None] * 4, rooms)
        assert room is not None
        self.workers.work(2)
        self.assertNoResult(room)
        self.workers.work(1)
        self.assertIsNone(self.successResultOf(room))

    def test_full_disk(self) -> None:
        """A disk that fails lets the peer go on: what it sends is dropped until it can be answered."""
        room = fill(self.sink)
        self.disk.arm(1, errno.ENOSPC)
        self.workers.work()
        self.successResultOf(room)
        finished = self.sink.finish()
        self.workers.work()
        self.assertEqual(0xA700, result(finished))

    def test_aborted(self) -> None:
        """A peer that is told to wait when its instance is aborted is not left waiting."""
        room = fill(self.sink)
        self.sink.abort()
        self.workers.work()
        self.successResultOf(room)
        self.check({})

    def test_cancelled(self) -> None:
        """A peer that has waited too long is forgotten with its instance, and the next one has all the room."""
        room = fill(self.sink)
        room.cancel()
        self.failureResultOf(room, CancelledError)
        self.sink.abort()
        self.workers.work()
        self.check({})
        self.sink = self.started.open(request())
        self.test_room()


class AtOnceTests(DirectoryTestCase):
    """Where nothing is synced an instance is written without a thread, but for what may take long."""

    def setUp(self) -> None:
        super().setUp()
        self.workers = ByHand()
        self.started = self.storage(workers=self.workers, rules=Rules(durability="none"))

    def sent(self, data: bytes) -> "Deferred[Any]":
        sink = self.started.open(request())
        sink.write(memoryview(data))
        finished: Deferred[Any] = sink.finish()
        return finished

    def test_new(self) -> None:
        """A new instance is stored when `finish` returns, however many batches it has; at other levels it is not."""
        self.assertEqual("CT.1.2.3", result(self.sent(bytes(700 * KIB))))
        self.assertEqual([], self.workers.queue)
        DirectoryTestCase.setUp(self)
        self.started = self.storage(workers=self.workers, rules=Rules(durability="file"))
        self.assertNoResult(self.sent(DATA_SET))

    def test_compared(self) -> None:
        """What has the name already is compared by a thread, equal or not: it may be large."""
        self.sent(DATA_SET)
        for data, name in ((DATA_SET, "CT.1.2.3"), (OTHER, beside(OTHER))):
            finished = self.sent(data)
            self.assertNoResult(finished)
            self.assertEqual(1, len(self.workers.queue))
            self.workers.work()
            self.assertEqual(name, result(finished))

    def test_aborted(self) -> None:
        """What will never be complete is removed by a thread."""
        sink = self.started.open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        self.assertEqual(1, len(temporary(self.path)))
        sink.abort()
        self.assertEqual((1, 1), (len(temporary(self.path)), len(self.workers.queue)))
        self.workers.work()
        self.check({})

    def test_many_behind_one(self) -> None:
        """However many wait for a name and then fail at once, each is told, in the order of coming."""
        self.sent(DATA_SET)
        told: list[int] = []

        def tell(_result: object, number: int) -> None:
            told.append(number)

        for number in range(500):
            self.sent(WRONG if number else DATA_SET).addBoth(tell, number)
        self.workers.work()
        self.assertEqual(list(range(500)), told)


class AbortTests(DirectoryTestCase):
    """An instance that will never be complete."""

    def setUp(self) -> None:
        super().setUp()
        self.workers = ByHand()
        self.disk = FaultyDisk()
        self.started = self.storage(self.disk, self.workers)

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

    def aborted(self, batches: int, work: int) -> "Deferred[Any]":
        """What `abort` says after so many batches were received, of which so many were written."""
        sink = self.started.open(request())
        for _ in range(batches):
            sink.write(memoryview(bytes(256 * KIB)))
        self.workers.work(work)
        aborted = sink.abort()
        assert aborted is not None
        return aborted

    def test_done(self) -> None:
        """It says so when it is forgotten, and not before: its file is gone then, and nothing waits in memory."""
        for batches, work in ((0, 0), (1, 1), (3, 1), (3, 3)):
            aborted = self.aborted(batches, work)
            self.assertEqual(work > 0, bool(temporary(self.path)))
            while self.workers.queue:
                self.assertNoResult(aborted)
                self.workers.work(1)
            self.assertIsNone(self.successResultOf(aborted))
            self.check({})

    def test_done_though_it_failed(self) -> None:
        """It says so as well where the disk does not let go of the file: nobody waits for ever."""
        aborted = self.aborted(2, 1)
        self.disk.arm(1, errno.EIO, for_ever=True)
        self.workers.work()
        self.disk.disarm()
        self.assertIsNone(self.successResultOf(aborted))
        self.assertEqual("close", self.disk.failed)

    def test_cancelled(self) -> None:
        """Who does not want to wait any longer is let go; its file is removed when the disk goes on, all the same."""
        aborted = self.aborted(1, 1)
        aborted.cancel()
        self.failureResultOf(aborted, CancelledError)
        self.assertEqual(1, len(temporary(self.path)))
        self.workers.work()
        self.check({})

    def test_hangs(self) -> None:
        """A disk that does not even forget counts as one that fails."""
        for _ in range(3):
            self.assertEqual(True, self.started.ready())
            self.aborted(1, 1).addErrback(lambda _: None).cancel()
        self.assertEqual(False, self.started.ready())

    def test_given_up_behind_another(self) -> None:
        """An instance that is given up while it waits for its name keeps no memory meanwhile."""
        hanging = self.started.open(request()).finish()
        sink = self.started.open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        self.workers.queue, waiting = self.workers.queue[1:], self.workers.queue[:1]
        for _ in range(2):
            sink.write(memoryview(bytes(256 * KIB)))
        kept = weakref.ref(fragment := memoryview(bytearray(1000)))
        sink.write(fragment)
        del fragment
        sink.finish().addErrback(lambda _: None).cancel()
        self.workers.work()
        self.assertIsNone(kept())
        self.workers.queue = waiting
        self.workers.work()
        self.assertEqual("CT.1.2.3", result(hanging))

    def test_part_of_a_batch(self) -> None:
        """What was not enough for a batch never touches the disk."""
        disk = FaultyDisk()
        DirectoryTestCase.setUp(self)
        storage = self.storage(disk)
        disk.calls.clear()
        sink = storage.open(request())
        sink.write(memoryview(b"abc"))
        sink.abort()
        self.assertEqual([], disk.calls)

    def test_others(self) -> None:
        """The other instances, of the same name even, go on."""
        sinks = [self.started.open(request()) for _ in range(2)]
        for sink in sinks:
            sink.write(memoryview(DATA_SET))
        sinks[0].abort()
        finished = sinks[1].finish()
        self.workers.work()
        self.assertEqual("CT.1.2.3", result(finished))
        self.check({"CT.1.2.3": WHOLE})


class StopTests(DirectoryTestCase):
    """`stop` waits for what is under way."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = FaultyDisk()
        self.workers = ByHand()
        self.started = DirectoryStorage(str(self.path), self.workers, disk=self.disk)
        self.started.start()

    def check_stop(self) -> None:
        """It does not stop before all work is done; then workers are stopped and no descriptor is left open."""
        stopped = self.started.stop()
        while self.workers.queue:
            self.assertNoResult(stopped)
            self.assertEqual(0, self.workers.stops)
            self.workers.work(1)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual((1, set()), (self.workers.stops, self.disk.open_descriptors))

    def test_idle(self) -> None:
        """With nothing under way it stops at once."""
        self.assertEqual([], self.workers.queue)
        self.check_stop()

    def test_waits(self) -> None:
        """It waits for an instance that is being published and for one being removed, and closes then."""
        finished = self.started.open(request()).finish()
        aborted = self.started.open(request("1.2.4"))
        aborted.write(memoryview(bytes(256 * KIB)))
        aborted.abort()
        self.check_stop()
        self.assertEqual("CT.1.2.3", result(finished))
        self.check({"CT.1.2.3": HEADER})

    def test_given_up(self) -> None:
        """It waits for an instance that was given up: its file is not removed yet."""
        sink = self.started.open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        self.workers.work()
        finished = sink.finish()
        finished.cancel()
        self.failureResultOf(finished, CancelledError)
        self.check_stop()
        self.check({})

    def test_probe(self) -> None:
        """It waits for a probe of a disk that has failed."""
        self.disk.arm(1, errno.EIO, for_ever=True)
        for _ in range(3):
            finished = self.started.open(request()).finish()
            self.workers.work(1)
            self.assertEqual(0x0110, result(finished))
        self.disk.disarm()
        self.assertEqual(1, len(self.workers.queue))
        self.check_stop()
        self.check({})

    def test_abort_fails(self) -> None:
        """A disk that fails at a removal does not keep it from stopping."""
        for nth in (1, 2):
            sink = self.started.open(request())
            sink.write(memoryview(bytes(256 * KIB)))
            self.workers.work()
            self.disk.arm(nth, errno.EIO)
            sink.abort()
            self.workers.work()
        self.disk.disarm()
        self.check_stop()

    def test_open_when_stopped(self) -> None:
        """No instance is taken before the start or after the stop."""
        self.check_stop()
        self.assertEqual(False, self.started.ready())
        self.assertRaises(RuntimeError, self.started.open, request())
        self.assertRaises(RuntimeError, DirectoryStorage(str(self.path), self.workers).open, request())

    def test_twice(self) -> None:
        """Whoever asks is told when it has stopped, and it stops once."""
        finished = self.started.open(request()).finish()
        stopped = [self.started.stop(), self.started.stop()]
        self.workers.work()
        self.assertEqual(["CT.1.2.3", None, None], [result(finished), *map(self.successResultOf, stopped)])
        self.assertEqual(1, self.workers.stops)

    def test_close_fails(self) -> None:
        """A disk that cannot even close is left without a descriptor, and may be started again."""
        self.disk.arm(1, errno.EIO, for_ever=True)
        self.check_stop()
        self.disk.disarm()
        self.started.start()
        self.successResultOf(self.started.stop())

    def test_again(self) -> None:
        """A storage that was stopped can be started again."""
        self.check_stop()
        self.started.start()
        finished = self.started.open(request()).finish()
        self.workers.work()
        self.assertEqual("CT.1.2.3", result(finished))
        self.successResultOf(self.started.stop())


class WatchTests(DirectoryTestCase):
    """What the storage says of itself: the room it has, and whether it could store something now."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = SpaceDisk(3000)
        self.workers = ByHand()
        self.started = DirectoryStorage(str(self.path), self.workers, disk=self.disk)

    def start(self) -> None:
        self.started.start()
        self.addCleanup(self.started.stop)

    def room(self, temporary: int) -> Room:
        status = os.statvfs(self.path)
        total = status.f_blocks * status.f_frsize
        return Room(place=str(self.path.absolute()), free=3000, total=total, temporary=temporary)

    def test_look(self) -> None:
        """A look is work for the workers, and sees what is free, and what is on its way."""
        self.start()
        sink = self.started.open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        seen = self.started.look()
        self.assertNoResult(seen)
        self.workers.work()
        self.assertEqual(self.room(1), self.successResultOf(seen))
        sink.abort()
        self.workers.work()
        seen = self.started.look()
        self.workers.work()
        self.assertEqual(self.room(0), self.successResultOf(seen))

    def test_probe(self) -> None:
        """A probe is written and synced, and leaves nothing."""
        self.start()
        self.disk.calls.clear()
        probed = self.started.probe()
        self.assertNoResult(probed)
        self.workers.work()
        self.assertIsNone(self.successResultOf(probed))
        expected = ["identity", "identity", "is_writable"]
        synced = ["create", "write", "fsync", "close", "unlink", "open_directory", "fsync", "close"]
        self.assertEqual(synced, [call for call in self.disk.calls if call not in expected])
        self.check({})

    def test_probe_fails(self) -> None:
        """It fails with what the disk says, leaves nothing, and says nothing about instances."""
        self.start()
        for code in (errno.ENOSPC, errno.EROFS, errno.EIO):
            for _ in range(3):
                self.disk.arm(2, code)
                probed = self.started.probe()
                self.workers.work()
                self.assertEqual(code, self.failureResultOf(probed, OSError).value.errno)
                self.disk.disarm()
        self.assertEqual((True, []), (self.started.ready(), self.workers.queue))
        self.check({})

    def test_probe_of_too_little(self) -> None:
        """It fails where an instance would be refused since too little is free; the disk is not ill for that."""
        rules = Rules(min_free=3001)
        self.started = DirectoryStorage(str(self.path), self.workers, rules, disk=self.disk)
        self.start()
        for _ in range(4):
            probed = self.started.probe()
            self.workers.work()
            failure = self.failureResultOf(probed, StoreFailure)
            self.assertEqual("less than 3001 bytes are free (--min-free)", failure.value.cause)
        self.assertTrue(self.started.ready())
        self.check({})

    def test_look_fails(self) -> None:
        """A look that fails says why; the next one may see."""
        self.start()
        self.disk.arm(1, errno.EIO)
        seen = self.started.look()
        self.workers.work()
        self.failureResultOf(seen, OSError)
        self.disk.disarm()
        seen = self.started.look()
        self.workers.work()
        self.successResultOf(seen)

    def test_not_started(self) -> None:
        """Before the start and after the stop there is nothing to look at, and nobody does."""
        for _ in range(2):
            for each in (self.started.look(), self.started.probe()):
                error = self.failureResultOf(each, RuntimeError)
                self.assertEqual("the storage is not started", error.getErrorMessage())
            self.assertEqual([], self.workers.queue)
            self.started.start()
            self.successResultOf(self.started.stop())

    def test_stop_waits(self) -> None:
        """The directories stay open for a look and a probe that have begun, also where they fail."""
        for code in (None, errno.EIO):
            self.started.start()
            if code:
                self.disk.arm(1, code, for_ever=True)
            pending: list[Deferred[Any]] = [self.started.look(), self.started.probe()]
            for each in pending:
                each.addErrback(lambda _: None)
            stopped = self.started.stop()
            while self.workers.queue:
                self.assertNoResult(stopped)
                self.workers.work(1)
            self.assertIsNone(self.successResultOf(stopped))
            self.disk.disarm()


class PathTests(DirectoryTestCase):
    """What stands in the way of a directory is said before it is started."""

    def refused(self, path: str) -> str:
        """The reason why there can be no storage in `path`."""
        with self.assertRaises(CannotStart) as context:
            DirectoryStorage(path, AtOnce())
        return str(context.exception)

    def test_empty_name(self) -> None:
        """An empty name, as of an unset variable of a shell, is not the current directory."""
        self.assertEqual("output directory: its name is empty", self.refused(""))

    def test_missing(self) -> None:
        """A directory that is missing is not made, but complained about."""
        path = (self.path / "missing").absolute()
        self.assertEqual(f"output directory {path}: does not exist", self.refused(str(path)))
        self.assertFalse(path.exists())

    def test_no_directory(self) -> None:
        """A file is no directory."""
        path = (self.path / "file").absolute()
        path.write_bytes(b"")
        self.assertEqual(f"output directory {path}: is not a directory", self.refused(str(path)))

    def test_not_writable(self) -> None:
        """A directory that may not be written to is complained about at once, not at the first instance."""
        asked: list[tuple[str, int]] = []

        def access(path: str, mode: int) -> bool:
            asked.append((path, mode))
            return False

        self.patch(os, "access", access)  # the superuser may write everywhere
        path = str(self.path.absolute())
        self.assertEqual(f"output directory {path}: is not writable", self.refused(path))
        self.assertEqual([(path, os.W_OK | os.X_OK)], asked)

    def test_relative(self) -> None:
        """The directory is that of the making, wherever the process goes then."""
        storage = DirectoryStorage(os.path.relpath(self.path), AtOnce(), disk=FaultyDisk())
        home = os.getcwd()
        self.addCleanup(os.chdir, home)
        os.chdir("/")
        storage.start()
        self.addCleanup(storage.stop)
        store(storage, DATA_SET)
        os.chdir(home)
        self.assertEqual({"CT.1.2.3": WHOLE}, visible(self.path))
