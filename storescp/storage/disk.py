"""The system calls that touch files, one method each, so that a test can fail any of them.

Every name is one component, relative to the descriptor of an open directory. All raise OSError.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

Identity = tuple[int, int]  # of a file system, and of a file or directory of it


class Disk:
    """The disk of the operating system."""

    def open_directory(self, name: str, directory: int | None = None) -> int:
        """A directory; inside another one, never through a link."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        return os.open(name, flags if directory is None else flags | os.O_NOFOLLOW, dir_fd=directory)

    def make_directory(self, name: str, directory: int) -> None:
        os.mkdir(name, 0o700, dir_fd=directory)

    def lock(self, name: str, directory: int) -> int:
        """Open the file `name` and keep everybody else from locking it; BlockingIOError where somebody has."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def identity(self, directory: int) -> Identity:
        status = os.fstat(directory)
        return status.st_dev, status.st_ino

    def is_at(self, path: str, identity: Identity) -> bool:
        """Whether the directory of this identity is, still, the one of this path; so it is for who may not ask."""
        try:
            status = os.stat(path)
            return (status.st_dev, status.st_ino) == identity
        except FileNotFoundError:
            return False
        except PermissionError:  # as after a change of the user
            return True

    def make_private(self, descriptor: int, directory: int) -> None:
        """Keep all but the owner of `directory` out of what was made in it."""
        mode = 0o700 if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 0o600
        with suppress(PermissionError):  # it is another's, who has let us in
            os.fchmod(descriptor, mode)
            if os.geteuid() == 0:  # and may soon be somebody else
                owner = os.fstat(directory)
                os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def names(self, directory: int) -> list[str]:
        return os.listdir(directory)

    def is_file(self, name: str, directory: int) -> bool:
        """Whether it is a regular file, and no link to one."""
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)

    def exists(self, name: str, directory: int) -> bool:
        """Whether something has this name, be it a link to nothing."""
        try:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def is_writable(self, directory: int) -> bool:
        """Whether this process may make and remove names in it."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=directory)

    def free(self, directory: int) -> int:
        """Bytes that this user may still write to its file system."""
        status = os.fstatvfs(directory)
        return status.f_bavail * status.f_frsize

    def total(self, directory: int) -> int:
        """Bytes that its file system has."""
        status = os.fstatvfs(directory)
        return status.f_blocks * status.f_frsize

    def create(self, name: str, directory: int) -> int:
        """A new file, open for writing; never an existing one, never through a link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o666, dir_fd=directory)

    def open(self, name: str, directory: int) -> int:
        """A regular file, open for reading."""
        # Without O_NONBLOCK a FIFO of this name would be waited for.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileExistsError(errno.EEXIST, f"{name} is not a regular file")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview]) -> int:
        """How many bytes were written; may be fewer than there are."""
        return os.writev(descriptor, buffers)

    def read(self, descriptor: int, size: int) -> bytes:
        return os.read(descriptor, size)

    def seek(self, descriptor: int, position: int) -> None:
        os.lseek(descriptor, position, os.SEEK_SET)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        """A second name for a file. FileExistsError where `target` is taken, by anything."""
        os.link(source, target, src_dir_fd=source_directory, dst_dir_fd=target_directory, follow_symlinks=False)

    def rename(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        """Another name for a file; what has that name is replaced."""
        os.rename(source, target, src_dir_fd=source_directory, dst_dir_fd=target_directory)

    def unlink(self, name: str, directory: int) -> None:
        os.unlink(name, dir_fd=directory)
