"""One instance on its way to the disk: what is in its file, in which order, and when it is given up."""

import errno
import os
import stat
from collections.abc import Sequence

import pydicom
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError

from storescp.storage import incoming
from storescp.storage.disk import Disk, Identity
from storescp.storage.part10 import file_header
from storescp.storage.rules import Rules
from tests.storage import request
from tests.storage.disks import (
    DATA_SET,
    HEADER,
    KIB,
    MIB,
    ONE_STORE,
    OTHER,
    WHOLE,
    WRONG,
    ByHand,
    DirectoryTestCase,
    FaultyDisk,
    NoLinksDisk,
    ShortDisk,
    SpaceDisk,
    result,
    store,
    temporary,
    visible,
)
from tests.strategies import PROPERTY

FILE = Rules(durability="file")
NONE = Rules(durability="none")


class ContentTests(DirectoryTestCase):
    """What is in a file."""

    def test_content(self) -> None:
        """A file is the header and the bytes of the data set as they came, and pydicom reads it."""
        self.assertEqual("CT.1.2.3", store(self.storage(), DATA_SET))
        self.check({"CT.1.2.3": WHOLE})
        read = pydicom.dcmread(self.path / "CT.1.2.3")
        self.assertEqual(
            ("1.2.3", "ID 1", "F"), (read.file_meta.MediaStorageSOPInstanceUID, read.PatientID, read.PatientSex)
        )

    def test_empty(self) -> None:
        """An empty data set is stored as well: nobody here looks into it."""
        self.assertEqual("CT.1.2.3", store(self.storage(), b""))
        self.check({"CT.1.2.3": HEADER})

    def test_sizes(self) -> None:
        """Fragments of any number and size, of more than one batch and more than one writev, make the same file."""
        storage = self.storage()
        data = bytes(range(256)) * 2500  # 640000 bytes
        wanted: dict[str, bytes | None] = {}
        for size, length in ((1, 3000), (2, 2048), (300, 640000), (16378, 640000), (262144, 640000), (640000, 640000)):
            uid = f"1.2.{size}"
            store(storage, data[:length], uid, size)
            wanted[f"CT.{uid}"] = file_header(request(uid)) + data[:length]
        self.check(wanted)

    def test_counts(self) -> None:
        """The file is whole with as many fragments as one writev takes, and one fewer, and one more."""
        storage = self.storage()
        wanted: dict[str, bytes | None] = {}
        for number in (1022, 1023, 1024, 1025, 2047, 2048):
            uid = f"1.2.{number}"
            store(storage, b"ab" * number, uid, 2)
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
        self.assertEqual("CT.1.2.3", result(sink.finish()))
        self.check({"CT.1.2.3": HEADER + data[:position]})

    def test_short_writes(self) -> None:
        """A disk that takes a few bytes at a time gets them all, each once."""
        for sizes in ((1,), (3, 1000), (len(HEADER), 5), (len(HEADER) + 1, 1, 7), (len(WHOLE) - 1, 1)):
            self.setUp()
            store(self.storage(ShortDisk(*sizes)), DATA_SET)
            self.check({"CT.1.2.3": WHOLE})

    def test_nothing_written(self) -> None:
        """A disk that takes nothing without saying why fails the instance with 0110H."""
        self.assertEqual(0x0110, store(self.storage(ShortDisk(10, 0)), DATA_SET))
        self.check({})

    def test_size(self) -> None:
        """A file that is not as long as what was written is not published: 0110H."""
        sink = self.storage().open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        (name,) = temporary(self.path)
        os.truncate(self.path / ".incoming" / name, 1000)
        self.assertEqual(0x0110, result(sink.finish()))
        self.check({})

    def test_interleaved(self) -> None:
        """Instances of several associations at the same time do not touch each other."""
        storage = self.storage()
        sinks = [storage.open(request(f"1.2.{number}")) for number in range(3)]
        for part in (DATA_SET[:9], DATA_SET[9:]):
            for sink in sinks:
                sink.write(memoryview(part))
        self.assertEqual(["CT.1.2.2", "CT.1.2.1", "CT.1.2.0"], [result(sink.finish()) for sink in reversed(sinks)])
        self.check({f"CT.1.2.{number}": file_header(request(f"1.2.{number}")) + DATA_SET for number in range(3)})


# Two files, open for reading, that are compared to their last byte: class, UID, syntax and size, then content.
LOOK = ["open", "open", *("read", "seek") * 2, "size", "size"]
COMPARE = [*LOOK, *("read", "read") * 2]
DIFFER = [*LOOK, "read", "read"]
SYNC_DIRECTORY = ["open_directory", "fsync", "close"]
DIGEST = ["open", "read", "seek", "read", "read", "close"]


class OrderTests(DirectoryTestCase):
    """What the disk is asked for, in which order, before Success."""

    def calls(self, rules: Rules, data: bytes, *, older: bytes | None = None, disk: FaultyDisk | None = None) -> object:
        """The calls of a store, where `older` is here already."""
        self.setUp()
        disk = disk or FaultyDisk()
        storage = self.storage(disk, rules=rules)
        if older is not None:
            store(storage, older)
        disk.calls.clear()
        store(storage, data)
        return disk.calls

    def test_full(self) -> None:
        """Success comes after: content, size, fsync, close, final name, no temporary name, fsync of the directory."""
        self.assertEqual(
            ["create", "write", "size", "fsync", "close", "link", "unlink", "open_directory", "fsync", "close"],
            self.calls(Rules(), DATA_SET),
        )

    def test_file(self) -> None:
        """With "file" the name is left to the system."""
        self.assertEqual(["create", "write", "size", "fsync", "close", "link", "unlink"], self.calls(FILE, DATA_SET))

    def test_none(self) -> None:
        """With "none" the content is as well, but no file gets its name before it is whole and closed."""
        self.assertEqual(["create", "write", "size", "close", "link", "unlink"], self.calls(NONE, DATA_SET))

    def test_identical(self) -> None:
        """A file that is here already may not be on the disk yet: it and its name are synced as a new one would be."""
        new, last = ["create", "write", "size"], ["unlink"]
        same = ["close", "link", *COMPARE, "close"]
        expected = {
            "full": [*new, "fsync", *same, "fsync", "close", *SYNC_DIRECTORY, *last],
            "file": [*new, "fsync", *same, "fsync", "close", *last],
            "none": [*new, *same, "close", *last],
        }
        calls = {level: self.calls(Rules(durability=level), DATA_SET, older=DATA_SET) for level in expected}
        self.assertEqual(expected, calls)

    def test_different(self) -> None:
        """Another content beside the first is made as durable as the first; the first is only read."""
        new = ["create", "write", "size"]
        other = ["close", "link", *DIFFER, "close", "close", *DIGEST, "link", "unlink"]
        expected = {
            "full": [*new, "fsync", *other, *SYNC_DIRECTORY],
            "file": [*new, "fsync", *other],
            "none": [*new, *other],
        }
        calls = {level: self.calls(Rules(durability=level), DATA_SET, older=OTHER) for level in expected}
        self.assertEqual(expected, calls)

    def test_overwrite(self) -> None:
        """A content that replaces another one does so in one step, when it is on the disk itself."""
        new = ["create", "write", "size"]
        other = ["close", "link", *DIFFER, "close", "close", "rename"]
        expected = {
            "full": [*new, "fsync", *other, *SYNC_DIRECTORY],
            "file": [*new, "fsync", *other],
            "none": [*new, *other],
        }
        calls = {
            level: self.calls(Rules(durability=level, on_duplicate="overwrite"), DATA_SET, older=OTHER)
            for level in expected
        }
        self.assertEqual(expected, calls)

    def test_no_links(self) -> None:
        """Without hard links the order is the same, with a look at the final name and a rename for the link."""
        new = ["create", "write", "size", "fsync", "close", "link", "exists"]
        self.assertEqual([*new, "rename", *SYNC_DIRECTORY], self.calls(Rules(), DATA_SET, disk=NoLinksDisk()))
        self.assertEqual(
            [*new, *COMPARE, "close", "fsync", "close", *SYNC_DIRECTORY, "unlink"],
            self.calls(Rules(), DATA_SET, older=DATA_SET, disk=NoLinksDisk()),
        )
        self.assertEqual(
            [*new, *DIFFER, "close", "close", *DIGEST, "link", "exists", "rename", *SYNC_DIRECTORY],
            self.calls(Rules(), DATA_SET, older=OTHER, disk=NoLinksDisk()),
        )

    def test_synced(self) -> None:
        """What is synced is the file that gets the final name, and the directory that has the name then."""
        synced: list[int] = []

        class Inodes(Disk):
            def fsync(self, descriptor: int) -> None:
                synced.append(os.fstat(descriptor).st_ino)

        storage = self.storage(Inodes())
        file, directory = self.path / "CT.1.2.3", self.path
        store(storage, DATA_SET)
        self.assertEqual([file.stat().st_ino, directory.stat().st_ino], synced)
        synced.clear()
        store(storage, DATA_SET)  # the same once more: it was synced as a temporary file, and the old one again
        self.assertEqual([file.stat().st_ino, directory.stat().st_ino], synced[1:])

    def test_one_name_when_synced(self) -> None:
        """When a directory is synced, the file has its final name there and no other one."""
        seen: list[object] = []
        path = self.path

        class Looking(Disk):
            def fsync(self, descriptor: int) -> None:
                if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    seen.append((visible(path), temporary(path)))

        store(self.storage(Looking()), DATA_SET)
        self.assertEqual([({"CT.1.2.3": WHOLE}, [])], seen)

    def test_hidden(self) -> None:
        """There is no file under the final name, nor any other visible one, until the instance is complete."""
        workers = ByHand()
        sink = self.storage(workers=workers).open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        workers.work()
        self.assertEqual(({}, 1), (visible(self.path), len(temporary(self.path))))
        finished = sink.finish()
        self.assertEqual(({}, 1), (visible(self.path), len(temporary(self.path))))
        workers.work()
        self.assertEqual("CT.1.2.3", result(finished))
        self.check({"CT.1.2.3": HEADER + bytes(256 * KIB)})


class CheckpointTests(DirectoryTestCase):
    """What happens while a large instance comes."""

    def calls(self, rules: Rules) -> list[str]:
        """The calls of a store of 20 MiB in fragments of a batch each, with the lengths of the runs of writes."""
        self.setUp()
        disk = FaultyDisk()
        storage = self.storage(disk, rules=rules)
        disk.calls.clear()
        self.assertEqual("CT.1.2.3", store(storage, bytes(20 * MIB), size=256 * KIB))
        found: list[str] = []
        for call in disk.calls:
            last = found[-1].split() if found else [""]
            if call == last[0] == "write":
                found[-1] = f"write {int(last[1]) + 1}"
            else:
                found.append(f"{call} 1" if call == "write" else call)
        return found

    def test_synced_while_it_comes(self) -> None:
        """A large instance is synced after every 8 MiB, so that the last sync is short; never with "none"."""
        data = ["write 32", "fdatasync", "write 32", "fdatasync", "write 16"]
        expected = {
            "full": ["create", *data, "size", "fsync", "close", "link", "unlink", *SYNC_DIRECTORY],
            "file": ["create", *data, "size", "fsync", "close", "link", "unlink"],
            "none": ["create", "write 80", "size", "close", "link", "unlink"],
        }
        self.assertEqual(expected, {level: self.calls(Rules(durability=level)) for level in expected})

    def test_failure(self) -> None:
        """Where such a sync fails, so does the instance, and what comes of it costs no more calls of the disk."""
        self.patch(incoming, "CHECKPOINT", 256 * KIB)
        disk = FaultyDisk()
        storage = self.storage(disk)
        disk.arm(3, errno.EIO)
        self.assertEqual(0x0110, store(storage, bytes(MIB), size=256 * KIB))
        self.assertEqual(["create", "write", "fdatasync", "close", "unlink"], disk.calls)
        self.check({})


class MinFreeTests(DirectoryTestCase):
    """Space that is left for others."""

    def test_not_asked(self) -> None:
        """Without a limit nobody asks how much is free."""
        self.patch(incoming, "CHECKPOINT", 256 * KIB)
        disk = FaultyDisk()
        store(self.storage(disk), bytes(MIB), size=256 * KIB)
        self.assertNotIn("free", disk.calls)

    def test_refused(self) -> None:
        """With less than that free an instance is refused with A700H before anything is written; not with as much."""
        disk = SpaceDisk(999, 1000)
        storage = self.storage(disk, rules=Rules(min_free=1000))
        disk.calls.clear()
        self.assertEqual(0xA700, store(storage, DATA_SET))
        self.assertEqual(["free"], disk.calls)
        self.check({})
        self.assertEqual("CT.1.2.3", store(storage, DATA_SET))
        self.check({"CT.1.2.3": WHOLE})

    def test_refused_later(self) -> None:
        """A large instance that takes what must stay free is refused at its next checkpoint, at every level."""
        self.patch(incoming, "CHECKPOINT", 512 * KIB)
        two = ["free", "create", "write", "write", "free"]
        expected = {
            "full": [*two, "fdatasync", "write", "write", "free", "close", "unlink"],
            "none": [*two, "write", "write", "free", "close", "unlink"],
        }
        for level, calls in expected.items():
            self.setUp()
            disk = SpaceDisk(2000, 1000, 999)
            storage = self.storage(disk, rules=Rules(durability=level, min_free=1000))
            disk.calls.clear()
            self.assertEqual(0xA700, store(storage, bytes(2 * MIB), size=256 * KIB))
            self.assertEqual(calls, disk.calls)
            self.check({})

    def test_where(self) -> None:
        """What counts is the file system of the output directory."""
        asked: list[int] = []

        class Inodes(Disk):
            def free(self, directory: int) -> int:
                asked.append(os.fstat(directory).st_ino)
                return 1

        store(self.storage(Inodes(), rules=Rules(min_free=1)), DATA_SET)
        self.assertEqual([self.path.stat().st_ino], asked)


class IdentityTests(DirectoryTestCase):
    """An instance that is not what the command says."""

    def test_refused(self) -> None:
        """It is refused with A900H and no file was ever made; the next one, which is right, is stored."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        disk.calls.clear()
        for size in (7, len(WRONG)):
            self.assertEqual(0xA900, store(storage, WRONG, size=size))
        self.assertEqual([], disk.calls)
        self.check({})
        self.assertEqual("CT.1.2.4", store(storage, WRONG, uid="1.2.4"))
        self.check({"CT.1.2.4": file_header(request("1.2.4")) + WRONG})

    def test_refused_large(self) -> None:
        """So is one of many batches, of which none is written."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        disk.calls.clear()
        self.assertEqual(0xA900, store(storage, WRONG + bytes(2 * MIB), size=64 * KIB))
        self.assertEqual([], disk.calls)
        self.check({})

    def test_refused_after_nothing(self) -> None:
        """Fragments of no content, in any number, do not hide what the data set says."""
        sink = self.storage().open(request())
        for _ in range(2000):
            sink.write(memoryview(b""))
        sink.write(memoryview(WRONG))
        self.assertEqual(0xA900, result(sink.finish()))
        self.check({})


class GiveUpTests(DirectoryTestCase):
    """An instance that took too long: nobody will hear of it."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = FaultyDisk()
        self.workers = ByHand()
        self.started = self.storage(self.disk, self.workers)

    def test_waiting(self) -> None:
        """One that only waits for its turn is forgotten, and no file is made for it."""
        sink = self.started.open(request())
        sink.write(memoryview(DATA_SET))
        finished = sink.finish()
        self.disk.calls.clear()
        finished.cancel()
        self.failureResultOf(finished, CancelledError)
        self.workers.work()
        self.assertEqual([], self.disk.calls)
        self.check({})

    def test_partly_written(self) -> None:
        """What was written of it before is removed."""
        sink = self.started.open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        self.workers.work()
        finished = sink.finish()
        finished.cancel()
        self.assertEqual(1, len(temporary(self.path)))
        self.workers.work()
        self.failureResultOf(finished, CancelledError)
        self.check({})

    def given_up_in(self, nth: int, disk: FaultyDisk) -> dict[str, bytes | None]:
        """The files after a store that was given up while the disk hung in its `nth` call, and came back."""
        DirectoryTestCase.setUp(self)
        storage = self.storage(disk, self.workers)
        sink = storage.open(request())
        sink.write(memoryview(DATA_SET))
        finished = sink.finish()
        disk.meanwhile(nth, finished.cancel)
        self.workers.work()
        self.failureResultOf(finished, CancelledError)
        self.assertEqual([], temporary(self.path))
        return visible(self.path)

    def test_disk_hangs(self) -> None:
        """While the disk hangs before the file has its name it gets none any more; after that the file is whole."""
        files = [self.given_up_in(nth, FaultyDisk()) for nth in range(1, len(ONE_STORE) + 1)]
        before = ONE_STORE.index("link")
        self.assertEqual([{}] * before + [{"CT.1.2.3": WHOLE}] * (len(ONE_STORE) - before), files)

    def test_no_links(self) -> None:
        """The same holds where there are no hard links."""
        files = [self.given_up_in(nth, NoLinksDisk()) for nth in range(1, 12)]
        self.assertEqual([{}] * 5 + [{"CT.1.2.3": WHOLE}] * 6, files)

    def test_waits_for_its_name(self) -> None:
        """The temporary file of an instance that was given up is removed though another of its name hangs."""
        hanging = self.started.open(request()).finish()
        kept, self.workers.queue = self.workers.queue, []
        sink = self.started.open(request())
        sink.write(memoryview(bytes(256 * KIB)))
        finished = sink.finish()
        self.workers.work()
        self.assertEqual(1, len(temporary(self.path)))
        finished.cancel()
        self.workers.work()
        self.failureResultOf(finished, CancelledError)
        self.assertEqual([], temporary(self.path))
        self.workers.queue = kept
        self.workers.work()
        self.assertEqual("CT.1.2.3", result(hanging))
        self.check({"CT.1.2.3": HEADER})

    def test_comparison_ends(self) -> None:
        """An instance that is given up is not compared to its end."""
        DirectoryTestCase.setUp(self)
        disk = FaultyDisk()
        storage = self.storage(disk, self.workers)
        data = bytes(3 * MIB)
        (self.path / "CT.1.2.3").write_bytes(HEADER + data)
        sink = storage.open(request())
        for start in range(0, len(data), MIB):
            sink.write(memoryview(data)[start : start + MIB])
        self.workers.work()
        finished = sink.finish()
        disk.meanwhile(ONE_STORE.index("link") + 10, finished.cancel)  # a while after the looks at both headers
        self.workers.work()
        self.failureResultOf(finished, CancelledError)
        self.assertLess(disk.calls.count("read"), 9)  # of ten to the end
        self.check({"CT.1.2.3": HEADER + data})

    def test_while_compared(self) -> None:
        """An instance that is given up while it is compared with another content takes no name and replaces nothing."""
        for on_duplicate in ("keep", "overwrite"):
            DirectoryTestCase.setUp(self)
            disk = FaultyDisk()
            storage = self.storage(disk, self.workers, Rules(on_duplicate=on_duplicate))
            (self.path / "CT.1.2.3").write_bytes(HEADER + OTHER)
            sink = storage.open(request())
            sink.write(memoryview(DATA_SET))
            finished = sink.finish()
            disk.meanwhile(ONE_STORE.index("link") + 3, finished.cancel)
            self.workers.work()
            self.failureResultOf(finished, CancelledError)
            self.check({"CT.1.2.3": HEADER + OTHER})

    def test_disk_fails(self) -> None:
        """A disk that comes back with an error leaves nothing either."""
        finished = self.started.open(request()).finish()
        self.disk.arm(2, errno.EIO)
        self.disk.meanwhile(2, finished.cancel)
        self.workers.work()
        self.failureResultOf(finished, CancelledError)
        self.check({})

    def test_once_more(self) -> None:
        """The instance is stored when it comes once more, be the work of the first not even begun."""
        contents = {"first": DATA_SET, "again": OTHER}
        sinks = {what: self.started.open(request()) for what in contents}
        for what, sink in sinks.items():
            sink.write(memoryview(contents[what]))
        finished = {what: sink.finish() for what, sink in sinks.items()}
        finished["first"].cancel()
        self.workers.work()
        self.failureResultOf(finished["first"], CancelledError)
        self.assertEqual("CT.1.2.3", result(finished["again"]))
        self.check({"CT.1.2.3": HEADER + OTHER})


class PlaceTests(DirectoryTestCase):
    """A directory that is not any more where the server was told to store."""

    def test_moved(self) -> None:
        """While it is elsewhere nothing is stored, in it or in what stands in its place; back again, all is well."""
        storage = self.storage()
        elsewhere = self.path.with_name("elsewhere")
        outcomes = [store(storage, DATA_SET, "1.2.4")]
        self.path.rename(elsewhere)
        outcomes += [store(storage, DATA_SET) for _ in range(2)]
        self.path.mkdir()
        outcomes += [store(storage, DATA_SET), storage.ready()]
        self.assertEqual([], os.listdir(self.path))
        self.path.rmdir()
        elsewhere.rename(self.path)
        outcomes += [storage.ready(), store(storage, DATA_SET)]
        self.assertEqual(["CT.1.2.4", 0x0110, 0x0110, 0x0110, False, True, "CT.1.2.3"], outcomes)
        self.check({"CT.1.2.4": file_header(request("1.2.4")) + DATA_SET, "CT.1.2.3": WHOLE})

    def test_incoming_moved(self) -> None:
        """Nor is anything stored while another directory, without our lock, stands in the place of .incoming."""
        storage = self.storage()
        (self.path / ".incoming").rename(self.path / "elsewhere")
        (self.path / ".incoming").mkdir()
        self.assertEqual(0x0110, store(storage, DATA_SET))
        self.check({"elsewhere": None})

    def test_cannot_be_asked(self) -> None:
        """A disk that cannot even say where it is fails the instance as any other call of it does."""

        class Stale(Disk):
            def is_at(self, path: str, identity: Identity) -> bool:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

        self.assertEqual(0x0110, store(self.storage(Stale()), DATA_SET))
        self.check({})


class MistakeTests(DirectoryTestCase):
    def test_mistake(self) -> None:
        """An error that is none of the disk's fails the instance as what it is, and leaves nothing behind."""

        class Mistaken(Disk):
            def write(self, descriptor: int, buffers: Sequence[bytes | memoryview]) -> int:
                raise TypeError("a mistake")

        self.failureResultOf(self.storage(Mistaken()).open(request()).finish(), TypeError)
        self.check({})
