"""The system calls that touch files, one method each, so that a test can fail any of them.

Every name is one component, relative to the descriptor of an open directory. All raise OSError.
"""

import os
import stat
from collections.abc import Sequence


class Disk:
    """The disk of the operating system."""

    def open_directory(self, name: str, directory: int | None = None) -> int:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)

    def make_directory(self, name: str, directory: int) -> None:
        os.mkdir(name, 0o700, dir_fd=directory)

    def create(self, name: str, directory: int) -> int:
        """A new file, open for writing; never an existing one, never through a link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o666, dir_fd=directory)

    def open(self, name: str, directory: int) -> int:
        """A regular file, open for reading."""
        # Without O_NONBLOCK a FIFO of this name would be waited for.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileExistsError(f"{name} is not a regular file")
        return descriptor

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview]) -> int:
        """How many bytes were written; may be fewer than there are."""
        return os.writev(descriptor, buffers)

    def read(self, descriptor: int, size: int) -> bytes:
        return os.read(descriptor, size)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        """A second name for a file. FileExistsError where `target` is taken, by anything."""
        os.link(source, target, src_dir_fd=source_directory, dst_dir_fd=target_directory, follow_symlinks=False)

    def unlink(self, name: str, directory: int) -> None:
        os.unlink(name, dir_fd=directory)
