"""IncomingFile: one instance on its way to the disk. Everything here blocks, and runs on the workers.

The order is the promise: write, size, fsync, close, final name, no temporary name, fsync of the directory.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storescp.errors import Status, StoreFailure
from storescp.interfaces import StoreRequest
from storescp.storage.dataset import HEAD, check_identity
from storescp.storage.directories import Directories, temporary_name
from storescp.storage.duplicates import digest, same_instance
from storescp.storage.naming import duplicate_name
from storescp.storage.part10 import file_header

CHECKPOINT = 8 * 1024 * 1024  # bytes after which a file is synced while more of it comes: the last sync is short then
IOV_MAX = 1024  # buffers one writev takes, Linux's limit

# What a file system without hard links answers; EPERM is Linux's for FAT, exFAT and some of FUSE.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
# What has the name is a link, a socket or another thing that is no file, or is a file that is not ours to read.
_NO_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EEXIST, errno.EACCES, errno.EPERM})


class IncomingFile:
    """The file of one instance. Its methods are called one at a time, but for `give_up`.

    After a failure what is written is ignored, nothing is left on the disk, and `publish` raises. What takes its time
    when nothing is synced, to compare with what has the name, is apart from what does not.
    """

    def __init__(self, directories: Directories, request: StoreRequest, name: str) -> None:
        self._directories = directories
        self._disk = directories.disk
        self._rules = directories.rules
        self._request = request
        self._name = name
        self._header = file_header(request)
        self._head = bytearray()  # of the data set
        self._temporary = temporary_name()
        self._descriptor: int | None = None
        self._exists = False  # under the temporary name
        self._unsynced = 0  # bytes
        self._failure: Exception | None = None
        self.replaced = False  # another content of the instance
        self.kept_beside = False  # of another content

    def write(self, buffers: list[bytes | memoryview]) -> None:
        """Append to the data set."""
        if self._failure is not None:
            return
        try:
            if len(self._head) < HEAD:
                self._look(buffers)
            if self._descriptor is None:
                self._descriptor = self._create()
                buffers = [self._header, *buffers]
            for start in range(0, len(buffers), IOV_MAX):
                self._write_all(self._descriptor, buffers[start : start + IOV_MAX])
            if self._unsynced >= CHECKPOINT:
                self._directories.check_free()
                self._sync_data(self._descriptor)
        except Exception as error:  # whatever it was, what is in the file now is not the instance
            self._failure = error
            self.discard()

    def publish(self, buffers: list[bytes | memoryview], size: int) -> str | None:
        """Write the last of it, make it durable and give it its final name, which is returned.

        None where something has that name: then `publish_beside` it. `size` is that of the whole data set, in bytes.
        No other instance of that name may be published meanwhile.

        Raises OSError for what the disk did wrong, `StoreFailure` for what is wrong with the instance.
        """
        self.write(buffers)
        taken = False
        try:
            self._raise_failure()
            self._sync(size)
            taken = not self._take(self._name)
            return None if taken else self._settle(self._name)
        finally:
            if not taken:
                self.discard()

    def publish_beside(self) -> str:
        """The end of a `publish` that has found its name taken: what is stored, and under which name.

        Raises as `publish` does.
        """
        try:
            return self._publish_beside()
        finally:
            self.discard()

    def give_up(self) -> None:
        """Write no more, and let `publish` fail where the file has no final name yet. Any thread may call it."""
        self._failure = StoreFailure("it was given up")

    def discard(self) -> None:
        """Close and remove the temporary file, if there is one."""
        # Its content is durable under another name, or it is not wanted: an error here changes nothing.
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                self._disk.close(descriptor)
        self._remove_temporary()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # Writing.

    def _look(self, buffers: list[bytes | memoryview]) -> None:
        for buffer in buffers:
            self._head += buffer[: HEAD - len(self._head)]
            if len(self._head) == HEAD:
                break
        check_identity(self._request, bytes(self._head))

    def _create(self) -> int:
        self._directories.check_place()
        self._directories.check_free()
        descriptor = self._disk.create(self._temporary, self._directories.incoming)
        self._exists = True
        return descriptor

    def _write_all(self, descriptor: int, buffers: list[bytes | memoryview]) -> None:
        wanted = sum(map(len, buffers))
        self._unsynced += wanted
        written = self._disk.write(descriptor, buffers)
        if written < wanted:
            rest = memoryview(b"".join(buffers))[written:]
            while rest:
                written = self._disk.write(descriptor, [rest])
                if not written:
                    raise OSError(errno.EIO, "nothing could be written")
                rest = rest[written:]

    def _sync_data(self, descriptor: int) -> None:
        self._unsynced = 0
        if self._rules.syncs_files:
            self._disk.fdatasync(descriptor)

    def _sync(self, size: int) -> None:
        descriptor = self._descriptor
        assert descriptor is not None  # the header was written
        if self._disk.size(descriptor) != len(self._header) + size:
            raise OSError(errno.EIO, "the file is not as long as what was written")
        if self._rules.syncs_files:
            self._disk.fsync(descriptor)
        self._descriptor = None  # whatever close answers, the descriptor is gone
        self._disk.close(descriptor)

    # Publishing.

    def _publish_beside(self) -> str:
        if self._is_stored_as(self._name):
            return self._name
        if self._rules.on_duplicate == "reject":
            raise StoreFailure("another content of it is here already", Status.DUPLICATE_SOP_INSTANCE)
        if self._rules.on_duplicate == "overwrite":
            return self._overwrite()
        for name in self._names_beside():
            if self._take(name):
                self.kept_beside = True
                return self._settle(name)
            if self._is_stored_as(name):
                return name
        raise StoreFailure("all names for another content of it are taken")

    def _take(self, name: str) -> bool:
        """Give the file this name. False where something has it."""
        self._raise_failure()
        try:
            self._disk.link(self._temporary, self._directories.incoming, name, self._directories.root)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self._disk.exists(name, self._directories.root):
                return False
            self._rename(name)
        return True

    def _settle(self, name: str) -> str:
        """Make the new name durable; where that fails there is none."""
        self._remove_temporary()
        try:
            self._directories.sync_root()
        except OSError:
            self._disk.unlink(name, self._directories.root)
            raise
        return name

    def _overwrite(self) -> str:
        self._raise_failure()
        self._rename(self._name)
        self.replaced = True
        # Where this fails, the name stays: what it stands for, the old or the new content, is whole.
        self._directories.sync_root()
        return self._name

    def _rename(self, name: str) -> None:
        self._disk.rename(self._temporary, self._directories.incoming, name, self._directories.root)
        self._exists = False

    def _remove_temporary(self) -> None:
        if self._exists:
            with suppress(OSError):  # `discard` tries once more
                self._disk.unlink(self._temporary, self._directories.incoming)
                self._exists = False

    def _names_beside(self) -> Iterator[str]:
        with self._opened(self._temporary, self._directories.incoming) as own:
            digits = digest(self._disk, own, self._raise_failure)
        for start in range(0, len(digits), 8):
            yield duplicate_name(self._name, digits[start:])

    def _is_stored_as(self, name: str) -> bool:
        """Whether `name` is a file of the same instance, which then is durable."""
        try:
            with self._opened(name, self._directories.root) as other:
                with self._opened(self._temporary, self._directories.incoming) as own:
                    if not same_instance(self._disk, own, other, self._raise_failure):
                        return False
                if self._rules.syncs_files:
                    self._disk.fsync(other)
        except OSError as error:
            if error.errno in _NO_FILE:
                return False
            raise
        self._directories.sync_root()
        return True

    @contextmanager
    def _opened(self, name: str, directory: int) -> Iterator[int]:
        descriptor = self._disk.open(name, directory)
        try:
            yield descriptor
        finally:
            self._disk.close(descriptor)
