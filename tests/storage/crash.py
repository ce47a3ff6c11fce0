"""What may be on a disk after a power cut: calls are recorded, and a model says what may be left of them.

What the model assumes, which is the worst that POSIX and the file systems of Linux allow:

- A file is its content, by whatever names it can be reached. Of what was written to it since its last fsync or
  fdatasync any sectors may be on the disk, in any order, and those that are not read as zeros. Its length is any
  that it had since then, whatever became of its content: it may run ahead of it, and may cut it off.
- An entry of a directory is, each by itself, as it was at the last fsync of its directory or as any operation since
  then has left it; never anything between. A rename is two operations, one on each entry: after a crash the file may
  have both names, or none; but a name that is replaced by it stands for the old file or the new one.
- fsync of a directory settles all operations on its entries that came before, and says nothing of the content of
  the files; fsync of a file says nothing of its names. close settles nothing. Nothing is settled by time.
- A sync that fails settles nothing. What it should have settled of a file no later sync of that file settles, as
  Linux takes those pages for written. Of a directory a later one does: its operations are in a journal, and with a
  journal that has failed no sync succeeds any more.
- What is settled stays: a disk that says so has flushed its cache.
- The output directory, and ``.incoming`` in it, are there. The latter is made at each start.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, product
from math import prod
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import attrs

from storescp.storage.disk import Disk

_T = TypeVar("_T")

ROOT = "."
INCOMING = ".incoming"

SECTOR = 512  # bytes that a disk writes as a whole
ALL = 256  # as many states are enumerated; of more only a sample of about that size is


# What happens. A file is a number, a directory its name.


@attrs.frozen
class Write:
    """Bytes were written to a file."""

    file: int
    offset: int
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen
class Entry:
    """An entry of a directory was made, replaced or, where `file` is None, removed."""

    directory: str
    name: str
    file: int | None


@attrs.frozen
class Synced:
    """An fsync or fdatasync of a file, or an fsync of a directory, has succeeded."""

    what: int | str


@attrs.frozen
class NotSynced:
    """The same has failed."""

    what: int | str


@attrs.frozen
class Acknowledged:
    """The sender was told that this content is stored under this name."""

    name: str
    content: bytes = attrs.field(repr=False)


Event = Write | Entry | Synced | NotSynced | Acknowledged


# What is left of it.


@attrs.define
class _Sector:
    """What one write has put into one sector, or into a part of one."""

    offset: int
    data: bytes
    settled: bool = False
    doubtful: bool = False  # a sync has failed: no later one settles it

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


@attrs.frozen
class State:
    """What one crash has left: the entries of directories, and the content of the files that they lead to."""

    entries: dict[tuple[str, str], int]
    contents: dict[int, bytes]

    def files(self, directory: str = ROOT) -> dict[str, bytes]:
        """The content of each file, by its name in `directory`."""
        return {name: self.contents[file] for (where, name), file in self.entries.items() if where == directory}

    def make(self, path: Path) -> None:
        """Make all that in the directory `path`, which is empty."""
        (path / INCOMING).mkdir()
        made: dict[int, Path] = {}
        for (directory, name), file in self.entries.items():
            if file in made:
                (path / directory / name).hardlink_to(made[file])
            else:
                made[file] = path / directory / name
                made[file].write_bytes(self.contents[file])


class Model:
    """All that may be on the disk after the events that it was told."""

    def __init__(self) -> None:
        self._sectors: dict[int, list[_Sector]] = {}  # of a file, in the order they were written
        self._entries: dict[tuple[str, str], list[int | None]] = {}  # what it may stand for, what is settled first

    def tell(self, event: Event) -> None:
        if isinstance(event, Write):
            self._sectors.setdefault(event.file, []).extend(_sectors(event))
        elif isinstance(event, Entry):
            self._entries.setdefault((event.directory, event.name), [None]).append(event.file)
        elif isinstance(event, Synced):
            self._settle(event.what)
        elif isinstance(event, NotSynced) and isinstance(event.what, int):
            for sector in self._sectors.get(event.what, ()):
                sector.doubtful = True

    def _settle(self, what: int | str) -> None:
        if isinstance(what, int):
            for sector in self._sectors.get(what, ()):
                sector.settled |= not sector.doubtful
            return
        for (directory, _name), possible in self._entries.items():
            if directory == what:
                del possible[:-1]

    def states(self, *directories: str) -> Iterator[State]:
        """What may be found in these directories after a crash now: all that, or a sample where it is much."""
        entries = {key: possible for key, possible in self._entries.items() if key[0] in directories}
        files = sorted({file for possible in entries.values() for file in possible if file is not None})
        choices: list[Sequence[Any]] = list(entries.values())
        for file in files:
            choices += self._choices(file)
        for chosen in _combinations(choices):
            one_by_one = iter(chosen)
            found = {key: next(one_by_one) for key in entries}
            contents = {file: self._content(file, one_by_one) for file in files}
            yield State({key: file for key, file in found.items() if file is not None}, contents)

    def _choices(self, file: int) -> Iterator[Sequence[Any]]:
        """For each sector whether it is there; then the length."""
        settled = 0
        lengths = []
        for sector in self._sectors.get(file, ()):
            yield (True,) if sector.settled else (False, True)
            if sector.settled:
                settled = max(settled, sector.end)
            lengths.append(sector.end)
        yield [settled, *(length for length in lengths if length > settled)]

    def _content(self, file: int, chosen: Iterator[Any]) -> bytes:
        sectors = self._sectors.get(file, [])
        content = bytearray(max((sector.end for sector in sectors), default=0))
        for sector in sectors:
            if next(chosen):
                content[sector.offset : sector.end] = sector.data
        return bytes(content[: next(chosen)])


def _sectors(write: Write) -> Iterator[_Sector]:
    start, last = write.offset, write.offset + len(write.data)
    while start < last:
        end = min((start // SECTOR + 1) * SECTOR, last)
        yield _Sector(start, write.data[start - write.offset : end - write.offset])
        start = end


def _combinations(choices: Sequence[Sequence[_T]]) -> Iterable[Sequence[_T]]:
    """One of each, in all ways; or, of more than `ALL` ways, some.

    The first of a choice is what was settled, the last what was meant to be there. Those some are: the first of all,
    the last of all, both of these with any single choice otherwise, and others at random.
    """
    if prod(map(len, choices)) <= ALL:
        return product(*choices)
    extremes = [choice[0] for choice in choices], [choice[-1] for choice in choices]
    otherwise = [
        [*extreme[:index], option, *extreme[index + 1 :]]
        for extreme in extremes
        for index, choice in enumerate(choices)
        for option in choice
        if option != extreme[index]
    ]
    random = Random(len(choices))
    return [*extremes, *otherwise, *([random.choice(choice) for choice in choices] for _ in range(ALL))]


# How it is recorded.


class RecordingDisk(Disk):
    """The disk, and all `events` on it. Nothing is really synced: no crash here is a real one.

    The calls in `failing` fail: "link", "write", "fsync", "fdatasync" or "fsync of a directory".
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failing: set[str] = set()
        self._open: dict[int, int | str] = {}  # what a descriptor stands for
        self._names: dict[tuple[int | str, str], int] = {}
        self._sizes: dict[int, int] = {}
        self._numbers = count(1)

    def open_directory(self, name: str, directory: int | None = None) -> int:
        descriptor = super().open_directory(name, directory)
        self._open[descriptor] = ROOT if directory is None else self._open[directory] if name == "." else name
        return descriptor

    def create(self, name: str, directory: int) -> int:
        descriptor = super().create(name, directory)
        file = self._open[descriptor] = next(self._numbers)
        self._sizes[file] = 0
        self._entry(directory, name, file)
        return descriptor

    def open(self, name: str, directory: int) -> int:
        descriptor = super().open(name, directory)
        self._open[descriptor] = self._names[self._open[directory], name]
        return descriptor

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview]) -> int:
        self._fail("write", errno.ENOSPC)
        written = super().write(descriptor, buffers)
        file = self._open[descriptor]
        assert isinstance(file, int)
        self.events.append(Write(file, self._sizes[file], b"".join(buffers)[:written]))
        self._sizes[file] += written
        return written

    def fsync(self, descriptor: int) -> None:
        what = self._open[descriptor]
        self._sync("fsync" if isinstance(what, int) else "fsync of a directory", what)

    def fdatasync(self, descriptor: int) -> None:
        self._sync("fdatasync", self._open[descriptor])

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        self._fail("link", errno.EOPNOTSUPP)
        super().link(source, source_directory, target, target_directory)
        self._entry(target_directory, target, self._names[self._open[source_directory], source])

    def rename(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        super().rename(source, source_directory, target, target_directory)
        self._entry(target_directory, target, self._names[self._open[source_directory], source])
        self._entry(source_directory, source, None)

    def unlink(self, name: str, directory: int) -> None:
        super().unlink(name, directory)
        self._entry(directory, name, None)

    def _entry(self, directory: int, name: str, file: int | None) -> None:
        where = self._open[directory]
        assert isinstance(where, str)
        self.events.append(Entry(where, name, file))
        if file is None:
            self._names.pop((where, name))
        else:
            self._names[where, name] = file

    def _sync(self, call: str, what: int | str) -> None:
        try:
            self._fail(call, errno.EIO)
        except OSError:
            self.events.append(NotSynced(what))
            raise
        self.events.append(Synced(what))

    def _fail(self, call: str, code: int) -> None:
        if call in self.failing:
            raise OSError(code, os.strerror(code))
