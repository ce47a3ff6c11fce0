"""Whether the disk is worth trying, by itself and as a storage sees it."""

import errno
import os

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from storescp.storage.directories import Directories
from storescp.storage.disk import Disk
from storescp.storage.health import Health, probe
from storescp.storage.rules import Rules
from tests.storage import request
from tests.storage.disks import (
    DATA_SET,
    KIB,
    SHORT,
    WRONG,
    ByHand,
    DirectoryTestCase,
    FaultyDisk,
    SpaceDisk,
    result,
    store,
    temporary,
)


class HealthTests(SynchronousTestCase):
    """The counting, with probes that the test answers."""

    def setUp(self) -> None:
        self.probes: list[Deferred[None]] = []
        self.health = Health(self.probe)

    def probe(self) -> "Deferred[None]":
        self.probes.append(Deferred())
        return self.probes[-1]

    def fail(self, times: int) -> None:  # type: ignore[override]
        for _ in range(times):
            self.health.failed()

    def test_three(self) -> None:
        """Two failures in a row may be chance; at the third the disk is not worth trying, and a probe is made."""
        self.fail(2)
        self.assertEqual((True, 0), (self.health.ready(), len(self.probes)))
        self.fail(1)
        self.assertEqual((1, False), (len(self.probes), self.health.ready()))

    def test_success_between(self) -> None:
        """One success in between makes them start from the beginning."""
        for _ in range(3):
            self.fail(2)
            self.health.succeeded()
        self.assertEqual((True, 0), (self.health.ready(), len(self.probes)))

    def test_probe_succeeds(self) -> None:
        """After a probe that went well the disk is worth trying, and it takes three failures again."""
        self.fail(3)
        self.probes[0].callback(None)
        self.fail(2)
        self.assertEqual((True, 1), (self.health.ready(), len(self.probes)))
        self.fail(1)
        self.assertEqual((False, 2), (self.health.ready(), len(self.probes)))

    def test_probe_fails(self) -> None:
        """After one that did not, each question asks for the next probe, but only one is under way at a time."""
        self.fail(3)
        for number in range(1, 4):
            self.assertEqual([False, False], [self.health.ready() for _ in range(2)])
            self.assertEqual(number, len(self.probes))
            self.probes[-1].errback(OSError(errno.EIO, os.strerror(errno.EIO)))
        self.health.ready()
        self.probes[-1].callback(None)
        self.assertEqual((True, 4), (self.health.ready(), len(self.probes)))

    def test_success_while_ill(self) -> None:
        """An instance that is stored meanwhile shows the same as a probe."""
        self.fail(4)
        self.health.succeeded()
        self.assertEqual(True, self.health.ready())
        self.probes[0].errback(OSError(errno.EIO, os.strerror(errno.EIO)))
        self.assertEqual((True, 1), (self.health.ready(), len(self.probes)))

    def test_log_of_probes(self) -> None:
        """Why a probe has failed is told, and again only where it has another reason."""
        codes = [errno.EIO, errno.EIO, errno.ENOSPC, errno.ENOSPC]
        with capturedLogs() as logs:
            self.fail(3)
            for number, code in enumerate(codes):
                self.probes[number].errback(OSError(code, os.strerror(code)))
                self.health.ready()
        words = "The disk does not work yet: "
        self.assertEqual(
            [words + "Input/output error", words + "No space left on device"],
            [event["log_format"].format(**event) for event in logs if event["log_level"].name == "warn"],
        )

    def test_log(self) -> None:
        """The log has one line when it begins and one when it ends."""
        with capturedLogs() as logs:
            self.fail(5)
            self.health.ready()
            self.probes[0].callback(None)
            self.health.succeeded()
        self.assertEqual(
            [
                ("error", "The disk has failed 3 times in a row: associations are rejected until it works"),
                ("warn", "The disk works again: associations are accepted"),
            ],
            [(event["log_level"].name, event["log_format"].format(**event)) for event in logs],
        )


class ProbeTests(DirectoryTestCase):
    """The probe itself."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = FaultyDisk()
        self.directories = Directories.open(str(self.path), self.disk, Rules())
        self.addCleanup(self.directories.close)
        self.always_open = set(self.disk.open_descriptors)
        self.disk.calls.clear()

    def test_synced(self) -> None:
        """What a store needs is tried: a name may be made, a file written and synced, the directory synced."""
        probe(self.directories)
        self.assertEqual(
            ["is_writable", "create", "write", "fsync", "close", "unlink", "open_directory", "fsync", "close"],
            self.disk.calls,
        )
        self.check({})

    def test_not_writable(self) -> None:
        """Where no final name can be made there is no use in temporary files."""

        class Locked(Disk):
            def is_writable(self, directory: int) -> bool:
                return os.stat(directory).st_ino != path.stat().st_ino

        path = self.path
        error = self.assertRaises(OSError, probe, attrs.evolve(self.directories, disk=Locked()))
        self.assertEqual((errno.EACCES, "the output directory is not writable"), (error.errno, error.strerror))
        self.check({})

    def test_no_room(self) -> None:
        """A disk that takes less than a block is full, though it says nothing."""
        self.disk.arm(3, SHORT)
        error = self.assertRaises(OSError, probe, self.directories)
        self.assertEqual(errno.ENOSPC, error.errno)
        self.check({})

    def test_content(self) -> None:
        """It has a content, for a disk that is full may well take an empty file."""
        self.disk.meanwhile(4, lambda: self.assertEqual([4096], self.sizes()))
        probe(self.directories)

    def sizes(self) -> list[int]:
        return [(self.path / ".incoming" / name).stat().st_size for name in temporary(self.path)]

    def test_faults(self) -> None:
        """Each call that fails fails the probe, and leaves no file and no descriptor, unless it is the removal."""
        found = {}
        for nth in range(1, 10):
            self.disk.arm(nth, errno.EIO)
            self.assertRaises(OSError, probe, self.directories)
            found[nth] = (len(temporary(self.path)), self.disk.open_descriptors - self.always_open)
            for name in temporary(self.path):
                (self.path / ".incoming" / name).unlink()
        self.assertEqual({nth: (int(nth == 6), set()) for nth in range(1, 10)}, found)
        self.assertEqual(False, self.disk.synced_again)


class StorageTests(DirectoryTestCase):
    """What counts as a failure of the disk, and what does not."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = FaultyDisk()
        self.workers = ByHand()
        self.started = self.storage(self.disk, self.workers)

    def store(self, code: int | None = None, uid: str = "1.2.3", data: bytes = DATA_SET) -> str | int:
        """The outcome of a store, on a disk that may fail."""
        if code is not None:
            self.disk.arm(1, code, for_ever=True)
        sink = self.started.open(request(uid))
        sink.write(memoryview(data))
        finished = sink.finish()
        while not finished.called:
            self.workers.work(1)
        self.disk.disarm()
        return result(finished)

    def test_three(self) -> None:
        """Of three disk errors in a row, of whatever kind, the third makes it not ready; the probe, ready again."""
        self.assertEqual(
            [(0x0110, True), (0xA700, True), (0xA700, False)],
            [(self.store(code), self.started.ready()) for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT)],
        )
        self.assertEqual(1, len(self.workers.queue))
        self.workers.work()
        self.assertEqual(True, self.started.ready())
        self.check({})

    def test_still_ill(self) -> None:
        """A probe that fails leaves it not ready, and the next question starts another one."""
        for _ in range(3):
            self.store(errno.EIO)
        self.disk.arm(1, errno.EIO, for_ever=True)
        for _ in range(2):
            self.workers.work()
            self.assertEqual(([False, False], 1), ([self.started.ready() for _ in range(2)], len(self.workers.queue)))
        self.disk.disarm()
        self.workers.work()
        self.assertEqual(True, self.started.ready())

    def test_success_between(self) -> None:
        """An instance that is stored in between shows that the disk works; so does one that is here already."""
        for _ in range(3):
            self.assertEqual([0x0110, 0x0110, "CT.1.2.3"], [self.store(errno.EIO), self.store(errno.EIO), self.store()])
        self.assertEqual((True, []), (self.started.ready(), self.workers.queue))

    def test_while_it_comes(self) -> None:
        """A disk that fails while an instance comes counts once for it."""
        for number in range(1, 4):
            self.assertEqual(True, self.started.ready())
            sink = self.started.open(request())
            self.disk.arm(1, errno.EIO)
            for _ in range(3):
                sink.write(memoryview(bytes(256 * KIB)))
                self.workers.work()
            finished = sink.finish()
            self.workers.work(1)
            self.assertEqual((0x0110, number < 3), (result(finished), self.started.ready()))

    def test_not_the_disk(self) -> None:
        """What is wrong with the instances says nothing about the disk: A900H, 0111H, C000H, A700H for space kept."""
        DirectoryTestCase.setUp(self)
        (self.path / "CT.1.2.3").write_bytes(b"older")
        free = SpaceDisk(1000, 1000, 1000, 1000, 999)
        self.started = self.storage(free, self.workers, Rules(on_duplicate="reject", min_free=1000))
        outcomes = {
            0xA900: [self.store(data=WRONG) for _ in range(4)],
            0x0111: [self.store() for _ in range(4)],
            0xA700: [self.store() for _ in range(4)],
            0xC000: [store(self.started, DATA_SET, uid="") for _ in range(4)],
        }
        self.assertEqual({status: [status] * 4 for status in outcomes}, outcomes)
        self.assertEqual((True, []), (self.started.ready(), self.workers.queue))

    def test_given_up(self) -> None:
        """An instance that has taken too long is a failure of the disk."""
        for _ in range(3):
            self.assertEqual(True, self.started.ready())
            finished = self.started.open(request()).finish()
            finished.cancel()
            self.failureResultOf(finished, CancelledError)
        self.assertEqual(False, self.started.ready())
        self.workers.work()
        self.assertEqual(True, self.started.ready())
        self.check({})

    def test_no_room(self) -> None:
        """So is a peer that was told to wait for too long."""
        sinks = []
        for _ in range(3):
            self.assertEqual(True, self.started.ready())
            sink = self.started.open(request())
            while (room := sink.write(memoryview(bytes(256 * KIB)))) is None:
                pass
            sinks.append(sink)
            room.cancel()
            self.failureResultOf(room, CancelledError)
        self.assertEqual(False, self.started.ready())
        for sink in sinks:
            sink.abort()
        self.workers.work()
        self.assertEqual(True, self.started.ready())
        self.check({})

    def test_one_hang(self) -> None:
        """Whatever waits for one instance when it is given up counts as one failure."""
        sink = self.started.open(request())
        rooms = [sink.write(memoryview(bytes(256 * KIB))) for _ in range(8)]
        first, *others = [room for room in rooms if room]
        finished = sink.finish()
        for each in (first, finished):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(([None] * 4, True), ([self.successResultOf(each) for each in others], self.started.ready()))
        self.workers.work()

    def test_given_up_and_fails(self) -> None:
        """An instance that was given up, and fails when the disk comes back, counts as one failure."""
        with capturedLogs() as logs:
            for _ in range(2):
                finished = self.started.open(request()).finish()
                self.disk.arm(1, errno.EIO)
                self.disk.meanwhile(1, finished.cancel)
                self.workers.work()
                self.failureResultOf(finished, CancelledError)
        self.assertEqual((True, []), (self.started.ready(), logs))

    def test_aborted(self) -> None:
        """A peer that goes away in the middle of an instance is not."""
        for _ in range(4):
            sink = self.started.open(request())
            sink.write(memoryview(bytes(256 * KIB)))
            sink.abort()
            self.workers.work()
        self.assertEqual((True, []), (self.started.ready(), self.workers.queue))
