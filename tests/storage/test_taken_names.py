"""What becomes of an instance whose name is taken: by itself, by another content, by what is no file."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from storescp.errors import Status
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
    ByHand,
    DirectoryTestCase,
    FaultyDisk,
    NoLinksDisk,
    beside,
    digits,
    result,
    store,
    visible,
)
from tests.ul import wire

KEEP, REJECT, OVERWRITE = (Rules(on_duplicate=what) for what in ("keep", "reject", "overwrite"))
DUPLICATE = beside(DATA_SET)
OTHER_WHOLE = HEADER + OTHER

# The same instance as another program wrote it for another peer: no AE title, and an attribute that we do not write.
FOREIGN = wire(
    *(bytes(128), b"DICM"),
    *("0200 0000", b"UL", "0400", "82000000"),
    *("0200 0100", b"OB", "0000 02000000", "0001"),
    *("0200 0200", b"UI", "1A00", b"1.2.840.10008.5.1.4.1.1.2\0"),
    *("0200 0300", b"UI", "0600", b"1.2.3\0"),
    *("0200 1000", b"UI", "1400", b"1.2.840.10008.1.2.1\0"),
    *("0200 1200", b"UI", "0800", b"1.2.3.4\0"),
    *("0200 1300", b"SH", "0600", b"OTHER "),
    *("0200 1700", b"AE", "0200", b"ME"),
    DATA_SET,
)


class IdenticalTests(DirectoryTestCase):
    """The same instance once more, as after a lost response: Success, and nothing is written."""

    def test_identical(self) -> None:
        """It is a success and no new file, whatever becomes of other contents, and the older file stays the same."""
        for rules in (KEEP, REJECT, OVERWRITE):
            self.setUp()
            storage = self.storage(rules=rules)
            store(storage, DATA_SET)
            older = (self.path / "CT.1.2.3").stat()
            self.assertEqual(["CT.1.2.3"] * 2, [store(storage, DATA_SET) for _ in range(2)])
            self.check({"CT.1.2.3": WHOLE})
            newer = (self.path / "CT.1.2.3").stat()
            self.assertEqual((older.st_ino, older.st_mtime_ns), (newer.st_ino, newer.st_mtime_ns))

    def test_no_links(self) -> None:
        """The same holds without hard links."""
        for rules in (KEEP, REJECT, OVERWRITE):
            self.setUp()
            storage = self.storage(NoLinksDisk(), rules=rules)
            self.assertEqual(["CT.1.2.3"] * 3, [store(storage, DATA_SET) for _ in range(3)])
            self.check({"CT.1.2.3": WHOLE})

    def test_another_sender(self) -> None:
        """Who sent it makes no other instance: a modality and its archive may both send it."""
        for rules in (KEEP, REJECT, OVERWRITE):
            self.setUp()
            storage = self.storage(rules=rules)
            store(storage, DATA_SET)
            self.assertEqual("CT.1.2.3", store(storage, DATA_SET, calling="ARCHIVE"))
            self.check({"CT.1.2.3": WHOLE})

    def test_another_version(self) -> None:
        """Nor does the program that wrote the older file, such as another version of this one."""
        for rules in (KEEP, REJECT, OVERWRITE):
            self.setUp()
            (self.path / "CT.1.2.3").write_bytes(FOREIGN)
            self.assertEqual("CT.1.2.3", store(self.storage(rules=rules), DATA_SET))
            self.check({"CT.1.2.3": FOREIGN})

    def test_kept_beside(self) -> None:
        """What was kept beside another content is found again there."""
        storage = self.storage()
        contents = [DATA_SET, OTHER, b""]
        names = ["CT.1.2.3", beside(OTHER), beside(b"")]
        for _ in range(2):
            self.assertEqual(names, [store(storage, data) for data in contents])
        self.check(dict(zip(names, [HEADER + data for data in contents], strict=True)))

    def test_last_byte(self) -> None:
        """Files larger than what is compared at a time are compared to their last byte."""
        storage = self.storage()
        data = bytes(2 * MIB + 10)
        self.assertEqual(["CT.1.2.3"] * 2, [store(storage, data, size=64 * KIB) for _ in range(2)])
        other = data[:-1] + b"\1"
        self.assertEqual(beside(other), store(storage, other, size=64 * KIB))
        self.check({"CT.1.2.3": HEADER + data, beside(other): HEADER + other})

    def test_longer(self) -> None:
        """A content that only begins like the other is another one, in either direction."""
        for one, two in ((DATA_SET, DATA_SET + OTHER), (DATA_SET + OTHER, DATA_SET)):
            self.setUp()
            storage = self.storage()
            self.assertEqual(["CT.1.2.3", beside(two)], [store(storage, one), store(storage, two)])
            self.check({"CT.1.2.3": HEADER + one, beside(two): HEADER + two})

    def test_another_syntax(self) -> None:
        """The same bytes in another transfer syntax mean something else."""
        storage = self.storage()
        store(storage, DATA_SET)
        name = "CT.1.2.3.dup-" + digits(DATA_SET, b"1.2.840.10008.1.2")[:8]
        self.assertEqual([name] * 2, [store(storage, DATA_SET, syntax="1.2.840.10008.1.2") for _ in range(2)])
        self.assertEqual({"CT.1.2.3", name}, set(visible(self.path)))


class KeepTests(DirectoryTestCase):
    """Both contents are kept."""

    def test_different(self) -> None:
        """Another content under the same UID is kept beside the first, which is not touched; the log says so, once."""
        (self.path / "CT.1.2.3").write_bytes(OTHER_WHOLE)
        storage = self.storage()
        with capturedLogs() as logs:
            self.assertEqual([DUPLICATE] * 2, [store(storage, DATA_SET) for _ in range(2)])
        self.check({"CT.1.2.3": OTHER_WHOLE, DUPLICATE: WHOLE})
        self.assertEqual(
            [("warn", "CT.1.2.3", DUPLICATE)], [(e["log_level"].name, e["original"], e["name"]) for e in logs]
        )

    def test_no_links(self) -> None:
        """Without hard links both are kept as well, with each error that means there are none."""
        for code in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            self.setUp()
            storage = self.storage(NoLinksDisk(code))
            self.assertEqual(["CT.1.2.3", DUPLICATE], [store(storage, OTHER), store(storage, DATA_SET)])
            self.check({"CT.1.2.3": OTHER_WHOLE, DUPLICATE: WHOLE})

    def test_link_fails(self) -> None:
        """Any other error of a link fails the instance, and no rename is tried."""
        for code in (errno.EACCES, errno.EIO, errno.EROFS, errno.EMLINK, errno.EXDEV):
            self.setUp()
            disk = NoLinksDisk(code)
            self.assertEqual(0x0110, store(self.storage(disk), DATA_SET))
            self.assertNotIn("rename", disk.calls)
            self.check({})

    def test_no_dicom(self) -> None:
        """An older file that is no DICOM file, or ends in its header, is another content and not touched."""
        for older in (b"", b"no DICOM file", WHOLE[:140], HEADER):
            self.setUp()
            (self.path / "CT.1.2.3").write_bytes(older)
            self.assertEqual(DUPLICATE, store(self.storage(), DATA_SET))
            self.check({"CT.1.2.3": older, DUPLICATE: WHOLE})

    def test_digest_taken(self) -> None:
        """Where the first name beside it is taken too, the next eight digits are used, to the last; then 0110H."""
        sixty_four = digits(DATA_SET)
        names = ["CT.1.2.3", *(f"CT.1.2.3.dup-{sixty_four[start : start + 8]}" for start in range(0, 64, 8))]
        storage = self.storage()
        wanted: dict[str, bytes | None] = {}
        for name in names:
            self.assertEqual(name, store(storage, DATA_SET))
            (self.path / name).write_bytes(b"another")
            wanted[name] = b"another"
        self.assertEqual(0x0110, store(storage, DATA_SET))
        self.check(wanted)

    def test_in_the_way(self) -> None:
        """What has the name and is no file is left alone, not followed, not waited for, and the instance kept."""
        makers: dict[str, Callable[[Path], Any]] = {
            "directory": Path.mkdir,
            "symlink": lambda path: path.symlink_to("target"),
            "broken symlink": lambda path: path.symlink_to("nothing"),
            "FIFO": os.mkfifo,
            "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
        }
        outcomes: dict[tuple[str, type[FaultyDisk]], Any] = {}
        for what, make in makers.items():
            for disk in (FaultyDisk, NoLinksDisk):
                self.setUp()
                (self.path / "target").write_bytes(WHOLE)
                make(self.path / "CT.1.2.3")
                outcomes[what, disk] = (store(self.storage(disk()), DATA_SET), visible(self.path))
        files = {"target": WHOLE, "CT.1.2.3": None, DUPLICATE: WHOLE}
        self.assertEqual(dict.fromkeys(outcomes, (DUPLICATE, files)), outcomes)

    def test_unreadable(self) -> None:
        """A file that is not ours to read cannot be compared: the instance is kept beside it, the disk not blamed."""

        class Unreadable(FaultyDisk):
            def open(self, name: str, directory: int) -> int:
                if name == "CT.1.2.3":
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                return super().open(name, directory)

        (self.path / "CT.1.2.3").write_bytes(WHOLE)
        storage = self.storage(Unreadable())
        self.assertEqual([DUPLICATE] * 4, [store(storage, DATA_SET) for _ in range(4)])
        self.assertEqual(True, storage.ready())
        self.check({"CT.1.2.3": WHOLE, DUPLICATE: WHOLE})

    def test_vanishes(self) -> None:
        """A file that is taken away while it is looked at is no other content: 0110H, and the next try is stored."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        store(storage, OTHER)
        disk.meanwhile(ONE_STORE.index("link") + 2, (self.path / "CT.1.2.3").unlink)
        self.assertEqual([0x0110, "CT.1.2.3"], [store(storage, DATA_SET) for _ in range(2)])
        self.check({"CT.1.2.3": WHOLE})


class RejectTests(DirectoryTestCase):
    def test_different(self) -> None:
        """Another content is refused with 0111H; the first is not touched, and the next instance is stored."""
        for disk in (FaultyDisk(), NoLinksDisk()):
            self.setUp()
            storage = self.storage(disk, rules=REJECT)
            store(storage, OTHER)
            self.assertEqual(0x0111, store(storage, DATA_SET))
            self.check({"CT.1.2.3": OTHER_WHOLE})
            self.assertEqual("CT.1.2.4", store(storage, DATA_SET, uid="1.2.4"))

    def test_in_the_way(self) -> None:
        """What is no file of the instance is another content as well."""
        (self.path / "CT.1.2.3").mkdir()
        self.assertEqual(0x0111, store(self.storage(rules=REJECT), DATA_SET))
        self.check({"CT.1.2.3": None})


class OverwriteTests(DirectoryTestCase):
    def test_different(self) -> None:
        """Another content takes the place of the first."""
        for disk in (FaultyDisk(), NoLinksDisk()):
            self.setUp()
            storage = self.storage(disk, rules=OVERWRITE)
            with capturedLogs() as logs:
                self.assertEqual(["CT.1.2.3"] * 2, [store(storage, OTHER), store(storage, DATA_SET)])
            self.check({"CT.1.2.3": WHOLE})
            self.assertEqual([("warn", "CT.1.2.3")], [(each["log_level"].name, each["original"]) for each in logs])

    def test_sync_fails(self) -> None:
        """Where the new name cannot be made durable there is no Success, but a whole file all the same."""
        disk = FaultyDisk()
        storage = self.storage(disk, rules=OVERWRITE)
        store(storage, OTHER)
        disk.calls.clear()
        store(storage, DATA_SET)
        renamed = disk.calls.index("rename") + 1
        for nth, call in enumerate(["open_directory", "fsync", "close"], renamed + 1):
            store(storage, OTHER)
            disk.arm(nth, errno.EIO)
            self.assertEqual(0x0110, store(storage, DATA_SET))
            self.assertEqual(call, disk.calls[nth - 1])
            self.check({"CT.1.2.3": WHOLE})

    def test_in_the_way(self) -> None:
        """A directory is no instance and cannot be overwritten by one: 0110H, and it stays."""
        (self.path / "CT.1.2.3").mkdir()
        self.assertEqual(0x0110, store(self.storage(rules=OVERWRITE), DATA_SET))
        self.check({"CT.1.2.3": None})


class AtTheSameTimeTests(DirectoryTestCase):
    """Two instances of the same name, of which the second is whole while the first gets its name."""

    def race(self, disk: FaultyDisk, nth: int, data: bytes, rules: Rules = KEEP, code: int | None = None) -> Any:
        """What comes of DATA_SET, and of `data` whose last fragment comes when the disk is in its `nth` call.

        With a `code` that call fails.
        """
        storage = self.storage(disk, rules=rules)
        others: list[Deferred[Any]] = []

        def meanwhile() -> None:
            sink = storage.open(request())
            sink.write(memoryview(data))
            others.append(sink.finish())

        if code is not None:
            disk.arm(nth, code)
        disk.meanwhile(nth, meanwhile)
        return [store(storage, DATA_SET), *map(result, others)]

    def test_sync_fails(self) -> None:
        """A Success that another peer was told stays true when a store of the same instance before it fails."""
        nth = ONE_STORE.index("open_directory") + 2
        self.assertEqual([0x0110, "CT.1.2.3"], self.race(FaultyDisk(), nth, DATA_SET, code=errno.EIO))
        self.check({"CT.1.2.3": WHOLE})

    def test_no_links(self) -> None:
        """Without hard links a rename never goes over the other file: both contents are kept."""
        rename = 8  # create, write, size, fsync, close, link, exists
        disk = NoLinksDisk()
        self.assertEqual(["CT.1.2.3", beside(OTHER)], self.race(disk, rename, OTHER))
        self.assertEqual("rename", disk.calls[rename - 1])
        self.check({"CT.1.2.3": WHOLE, beside(OTHER): OTHER_WHOLE})

    def test_reject(self) -> None:
        """Of two contents only one is accepted."""
        self.assertEqual(["CT.1.2.3", Status.DUPLICATE_SOP_INSTANCE], self.race(NoLinksDisk(), 8, OTHER, REJECT))
        self.check({"CT.1.2.3": WHOLE})

    def test_no_thread_waits(self) -> None:
        """An instance that waits for a name keeps no thread: others are stored though the first one hangs."""
        workers = ByHand()
        storage = self.storage(workers=workers)
        waiting = [storage.open(request()).finish() for _ in range(4)]
        other = storage.open(request("1.2.4")).finish()
        hanging, *free = workers.queue
        self.assertEqual(1, len(free))
        free[0]()
        self.assertEqual("CT.1.2.4", result(other))
        workers.queue = [hanging]
        workers.work()
        self.assertEqual(["CT.1.2.3"] * 4, [result(each) for each in waiting])
