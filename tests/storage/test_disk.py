"""The system calls, where what they ask of the system is a promise."""

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from storescp.storage.disk import Disk


def lowest_free() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


class DiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.disk = Disk()
        self.root = self.disk.open_directory(str(self.path))
        self.addCleanup(self.disk.close, self.root)

    def file(self, name: str, content: bytes = b"kept") -> Path:
        path = self.path / name
        path.write_bytes(content)
        return path

    def test_create_is_exclusive(self) -> None:
        """A new file is never an existing one, nor written through a link, be it one to nothing."""
        kept = self.file("file")
        (self.path / "link").symlink_to("file")
        (self.path / "broken").symlink_to("nothing")
        for name in ("file", "link", "broken"):
            self.assertRaises(FileExistsError, self.disk.create, name, self.root)
        self.assertEqual((b"kept", False), (kept.read_bytes(), (self.path / "nothing").exists()))

    def test_modes(self) -> None:
        """A directory of ours is for us alone; who may read a file is the umask's matter."""
        self.addCleanup(os.umask, os.umask(0o027))
        self.disk.make_directory("directory", self.root)
        self.disk.close(self.disk.create("file", self.root))
        modes = [(self.path / name).stat().st_mode & 0o777 for name in ("directory", "file")]
        self.assertEqual([0o700, 0o640], modes)

    def test_make_private(self) -> None:
        """What was made for us is kept from others, also where it was here before with other rights."""
        directory, file = self.path / "directory", self.file("file")
        directory.mkdir()
        for path, opened in ((directory, os.O_RDONLY), (file, os.O_RDWR)):
            path.chmod(0o777)
            descriptor = os.open(path, opened)
            self.disk.make_private(descriptor, self.root)
            os.close(descriptor)
        self.assertEqual([0o700, 0o600], [path.stat().st_mode & 0o777 for path in (directory, file)])

    def test_made_by_the_superuser(self) -> None:
        """What the superuser has made belongs to the owner of the directory, who may be the one to store there."""
        given: list[tuple[int, int]] = []
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "fchown", lambda _descriptor, user, group: given.append((user, group)))
        self.disk.make_private(self.root, self.root)
        status = self.path.stat()
        self.assertEqual([(status.st_uid, status.st_gid)], given)

    def test_not_ours(self) -> None:
        """What belongs to somebody who has let us in stays as it is."""

        def fchmod(descriptor: int, mode: int) -> None:
            raise PermissionError

        self.patch(os, "fchmod", fchmod)
        self.disk.make_private(self.root, self.root)

    def test_is_writable(self) -> None:
        """Whether names can be made in a directory is asked of the system, for the directory that is open."""
        asked: list[tuple[object, ...]] = []
        self.patch(os, "access", lambda *args, dir_fd: asked.append((*args, dir_fd)))
        self.disk.is_writable(self.root)
        self.assertEqual([(".", os.W_OK | os.X_OK, self.root)], asked)

    def test_may_not_ask(self) -> None:
        """Who may not look at a path, as after a change of the user, is not told that something else is there."""

        def forbidden(path: str) -> os.stat_result:
            raise PermissionError

        identity = self.disk.identity(self.root)
        self.assertEqual([True, False], [self.disk.is_at(str(each), identity) for each in (self.path, "missing")])
        self.patch(os, "stat", forbidden)
        self.assertEqual(True, self.disk.is_at(str(self.path), identity))

    def test_open_fails(self) -> None:
        """A file that is opened and then cannot be looked at is closed."""

        def fstat(descriptor: int) -> os.stat_result:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

        self.file("file")
        free = lowest_free()
        self.patch(os, "fstat", fstat)
        self.assertRaises(OSError, self.disk.open, "file", self.root)
        self.assertEqual(free, lowest_free())

    def test_open_directory(self) -> None:
        """A directory inside another one is not opened through a link, for that could lead anywhere."""
        (self.path / "directory").mkdir()
        (self.path / "link").symlink_to("directory")
        self.disk.close(self.disk.open_directory("directory", self.root))
        self.assertRaises(OSError, self.disk.open_directory, "link", self.root)

    def test_open(self) -> None:
        """Of what is no regular file none is opened or waited for, and no descriptor is left open."""
        self.file("file")
        (self.path / "directory").mkdir()
        (self.path / "link").symlink_to("file")
        os.mkfifo(self.path / "FIFO")
        free = lowest_free()
        for name in ("directory", "FIFO"):
            self.assertRaises(FileExistsError, self.disk.open, name, self.root)
        self.assertRaises(OSError, self.disk.open, "link", self.root)
        self.assertEqual(free, lowest_free())

    def test_link_is_exclusive(self) -> None:
        """A second name is never one that is taken, be it by a link to nothing."""
        self.file("new", b"new")
        kept = self.file("file")
        (self.path / "broken").symlink_to("nothing")
        for name in ("file", "broken"):
            self.assertRaises(FileExistsError, self.disk.link, "new", self.root, name, self.root)
        self.assertEqual((b"kept", False), (kept.read_bytes(), (self.path / "nothing").exists()))

    def test_what_is_there(self) -> None:
        """A name is in use by whatever has it; a file is only a regular one."""
        self.file("file")
        (self.path / "directory").mkdir()
        (self.path / "link").symlink_to("file")
        (self.path / "broken").symlink_to("nothing")
        os.mkfifo(self.path / "FIFO")
        names = sorted(self.disk.names(self.root))
        self.assertEqual(["FIFO", "broken", "directory", "file", "link"], names)
        self.assertEqual(["file"], [name for name in names if self.disk.is_file(name, self.root)])
        self.assertEqual(names, [name for name in [*names, "nothing"] if self.disk.exists(name, self.root)])

    def test_lock(self) -> None:
        """A file is locked once at a time; who does not get the lock keeps no descriptor of it."""
        held = self.disk.lock("lock", self.root)
        free = lowest_free()
        self.assertRaises(BlockingIOError, self.disk.lock, "lock", self.root)
        self.assertEqual(free, lowest_free())
        self.disk.close(held)
        self.disk.close(self.disk.lock("lock", self.root))

    def test_lock_through_a_link(self) -> None:
        """A lock is no file somewhere else."""
        (self.path / "lock").symlink_to("elsewhere")
        self.assertRaises(OSError, self.disk.lock, "lock", self.root)
        self.assertFalse((self.path / "elsewhere").exists())

    def test_free(self) -> None:
        """Free is what a user may still write: no more than the file system has, in bytes."""
        status = os.statvfs(self.path)
        self.assertLessEqual(self.disk.free(self.root), status.f_blocks * status.f_frsize)
        self.assertGreater(self.disk.free(self.root), 0)

    def test_total(self) -> None:
        """All there is are the bytes of its file system, of which what is free is a part."""
        status = os.statvfs(self.path)
        total = self.disk.total(self.root)
        self.assertEqual(status.f_blocks * status.f_frsize, total)
        self.assertLessEqual(self.disk.free(self.root), total)

    def test_units(self) -> None:
        """The system counts in fragments, not in the blocks it likes to be given."""
        status = os.statvfs_result((4096, 512, 1000, 400, 300, 9, 8, 7, 0, 255))
        self.patch(os, "fstatvfs", lambda _descriptor: status)
        self.assertEqual((512_000, 153_600), (self.disk.total(self.root), self.disk.free(self.root)))
