"""The directories that instances move between: opened, kept from a second server, and cleaned at the start."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count

import attrs
from twisted.logger import Logger

from storescp.errors import CannotStart, Status, StoreFailure
from storescp.interfaces import Room
from storescp.storage.disk import Disk, Identity
from storescp.storage.rules import Rules

_log = Logger()

INCOMING = ".incoming"
LOCK = "lock"
_TEMPORARY = re.compile(r"[0-9a-f]{32}\.part", re.ASCII)


_run = os.urandom(8).hex()
_numbers = count()


def temporary_name() -> str:
    """One that no other has: of this process and, as good as surely, of any other."""
    return f"{_run}{next(_numbers):016x}.part"


def is_temporary(name: str) -> bool:
    """Whether it is such a name."""
    return _TEMPORARY.fullmatch(name) is not None


@attrs.frozen(kw_only=True)
class Directories:
    """Descriptors of the output directory, of ``.incoming`` in it, and of the lock that makes them ours."""

    disk: Disk
    rules: Rules
    path: str
    root: int
    incoming: int
    lock: int
    places: tuple[tuple[str, Identity], ...]  # of both directories

    @classmethod
    def open(cls, path: str, disk: Disk, rules: Rules) -> "Directories":
        """Raises `CannotStart`."""
        below = f"{path}/{INCOMING}"
        with ExitStack() as opened:
            with _complaining(path):
                root = disk.open_directory(path)
                opened.callback(disk.close, root)
            with _complaining(below):
                with suppress(FileExistsError):
                    disk.make_directory(INCOMING, root)
                incoming = disk.open_directory(INCOMING, root)
                opened.callback(disk.close, incoming)
                disk.make_private(incoming, root)
                lock = _lock(path, disk, incoming)
                opened.callback(disk.close, lock)
                disk.make_private(lock, root)
                _remove_leftovers(below, disk, incoming)
            with _complaining(path):
                places = ((path, disk.identity(root)), (below, disk.identity(incoming)))
            opened.pop_all()
        return cls(disk=disk, rules=rules, path=path, root=root, incoming=incoming, lock=lock, places=places)

    def close(self) -> None:
        for descriptor in (self.lock, self.incoming, self.root):
            with suppress(OSError):  # it is closed, whatever is said
                self.disk.close(descriptor)

    def check_place(self) -> None:
        """Raise OSError where a directory was moved, unmounted or mounted over.

        Nobody would look for an instance there, and the lock would keep nobody off what stands in its place.
        """
        for path, identity in self.places:
            if not self.disk.is_at(path, identity):
                raise OSError(errno.ESTALE, f"{path} is not the directory any more that this server has opened")

    def check_free(self) -> None:
        """Raise `StoreFailure` where less is free than the rules want."""
        wanted = self.rules.min_free
        if wanted and self.disk.free(self.root) < wanted:
            raise StoreFailure(f"less than {wanted} bytes are free (--min-free)", Status.OUT_OF_RESOURCES)

    def room(self) -> Room:
        """How much there is. Raises OSError."""
        return Room(
            place=self.path,
            free=self.disk.free(self.root),
            total=self.disk.total(self.root),
            temporary=sum(map(is_temporary, self.disk.names(self.incoming))),
        )

    def sync_root(self) -> None:
        """Make the names in the output directory durable, if the rules say so."""
        if not self.rules.syncs_directory:
            return
        # A descriptor of its own each time: after a failed fsync another one on the same descriptor may lie.
        descriptor = self.disk.open_directory(".", self.root)
        try:
            self.disk.fsync(descriptor)
        finally:
            self.disk.close(descriptor)


@contextmanager
def _complaining(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotStart(f"output directory {path}: {error.strerror}") from error


def _lock(path: str, disk: Disk, incoming: int) -> int:
    try:
        return disk.lock(LOCK, incoming)
    except BlockingIOError:
        raise CannotStart(
            f"output directory {path}: another storescp stores there: stop that one, or choose another directory"
        ) from None


def _remove_leftovers(path: str, disk: Disk, incoming: int) -> None:
    """Remove what a server that was killed has left: nobody was told that it is stored."""
    leftovers = [name for name in disk.names(incoming) if is_temporary(name) and disk.is_file(name, incoming)]
    for name in leftovers:
        disk.unlink(name, incoming)
    if leftovers:
        _log.warn("Removed {count} temporary file(s) of an earlier run from {path}", count=len(leftovers), path=path)
