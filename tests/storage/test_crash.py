# mypy: allow-untyped-calls
"""An acknowledged instance is never lost: a power cut after any call of the disk, and all that it may leave there.

The disk's side of it is in `tests.storage.crash`.
"""

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import attrs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import StoreFailure
from storescp.interfaces import IInstanceSink
from storescp.storage import directory, incoming
from storescp.storage.directories import LOCK
from storescp.storage.directory import DirectoryStorage
from storescp.storage.disk import Disk
from storescp.storage.part10 import file_header
from storescp.storage.rules import Rules
from tests.storage import request
from tests.storage.crash import (
    ALL,
    INCOMING,
    ROOT,
    Acknowledged,
    Entry,
    Event,
    Model,
    NotSynced,
    RecordingDisk,
    State,
    Synced,
    Write,
)
from tests.storage.disks import ByHand, FaultyDisk, visible
from tests.ul import wire

# (0010,0020) LO "ID 1", and in the large one (7FE0,0010) OB, no sector of which looks like one that was lost.
DATA_SET = wire("1000 2000", b"LO", "0400", b"ID 1")
OTHER = wire("1000 2000", b"LO", "0400", b"ID 2")
LARGE = wire("1000 2000", b"LO", "0400", b"ID 1", "E07F 1000", b"OB", "0000 401F0000", bytes(range(1, 251)) * 32)

HEADER = file_header(request())  # against bytes typed by hand in test_part10
NAME = "CT.1.2.3"
_IDENTITY = b"1.2.840.10008.5.1.4.1.1.2\x001.2.3\x001.2.840.10008.1.2.1\0"
DUPLICATE = f"{NAME}.dup-{sha256(_IDENTITY + OTHER).hexdigest()[:8]}"
PROCESSING_FAILURE = 0x0110


class Server:
    """A storage that is started when a test says so, and with which rules; and its senders."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.disk = disk
        self.acknowledged: Callable[[Acknowledged], object] = lambda event: None
        self._workers = ByHand()
        self._storage: DirectoryStorage | None = None

    def start(self, durability: str = "full", on_duplicate: str = "keep") -> None:
        self.stop()
        rules = Rules(durability=durability, on_duplicate=on_duplicate)
        self._storage = DirectoryStorage(str(self.path), self._workers, rules, disk=self.disk)
        self._storage.start()

    def stop(self) -> None:
        if self._storage is not None:
            self._storage.stop()

    def store(self, data: bytes = DATA_SET, uid: str = "1.2.3") -> object:
        """The name of the file, or the status of the failure."""
        return self.finish(self.send(data, uid), data, uid)

    def send(self, data: bytes, uid: str = "1.2.3") -> IInstanceSink:
        """Send a data set, but not its end."""
        assert self._storage is not None
        sink = self._storage.open(request(uid))
        for start in range(0, len(data), 300):
            sink.write(memoryview(data)[start : start + 300])
            self._workers.work()
        return sink

    def finish(self, sink: IInstanceSink, data: bytes, uid: str = "1.2.3") -> object:
        def told(name: str) -> str:
            self.acknowledged(Acknowledged(name, file_header(request(uid)) + data))
            return name

        results: list[object] = []
        finished = sink.finish().addCallback(told)
        finished.addErrback(status).addCallback(results.append)
        self._workers.work()
        return results[0]

    def abort(self, sink: IInstanceSink) -> None:
        sink.abort()
        self._workers.work()


def status(failure: Failure) -> int:
    failure.trap(StoreFailure)
    assert isinstance(failure.value, StoreFailure)
    return failure.value.status


# What is done with a server whose disk is recorded. Each returns what the senders were told.


def one(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    return [server.store()]


def two(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    return [server.store(), server.store(uid="1.2.4")]


def batches(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    return [server.store(LARGE)]


def identical(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    return [server.store(), server.store()]


def together(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    sinks = [server.send(LARGE), server.send(LARGE), server.send(OTHER)]
    return [server.finish(*each) for each in zip(sinks, (LARGE, LARGE, OTHER), strict=True)]


def different(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    return [server.store(), server.store(OTHER), server.store(OTHER), server.store()]


def overwrite(server: Server, durability: str = "full") -> list[object]:
    server.start(durability, "overwrite")
    return [server.store(), server.store(OTHER), server.store(OTHER)]


def reject(server: Server, durability: str = "full") -> list[object]:
    server.start(durability, "reject")
    return [server.store(), server.store(OTHER), server.store()]


def older(server: Server, durability: str = "full") -> list[object]:
    """What an earlier server has stored without a promise is sent again."""
    server.start("none")
    promise, server.acknowledged = server.acknowledged, lambda event: None
    earlier = [server.store(), server.store(OTHER)]
    server.acknowledged = promise
    server.start(durability)
    return [*earlier, server.store(), server.store(OTHER)]


def aborted(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    server.abort(server.send(LARGE))
    return [server.store()]


def without_links(server: Server, durability: str = "full") -> list[object]:
    assert isinstance(server.disk, RecordingDisk)
    server.start(durability)
    server.disk.failing.add("link")
    return [server.store(), server.store(), server.store(OTHER), server.store()]


def failing(call: str, data: bytes = DATA_SET) -> Callable[..., list[object]]:
    """The call fails while the instance is sent, and not any more when it is sent again."""

    def scenario(server: Server, durability: str = "full", on_duplicate: str = "keep") -> list[object]:
        assert isinstance(server.disk, RecordingDisk)
        server.start(durability, on_duplicate)
        server.disk.failing.add(call)
        first = server.store(data)
        server.disk.failing.clear()
        return [first, server.store(data)]

    return scenario


def overwrite_failing(server: Server, durability: str = "full") -> list[object]:
    server.start(durability)
    return [server.store(), *failing("fsync of a directory", OTHER)(server, durability, "overwrite")]


@attrs.frozen
class Scenario:
    run: Callable[..., list[object]]
    told: list[object]
    whole: dict[str, list[bytes]]  # by name, the contents that a file may have, from the oldest to the newest


SCENARIOS = {
    "one": Scenario(one, [NAME], {NAME: [DATA_SET]}),
    "two": Scenario(two, [NAME, "CT.1.2.4"], {NAME: [DATA_SET], "CT.1.2.4": [DATA_SET]}),
    "batches": Scenario(batches, [NAME], {NAME: [LARGE]}),
    "identical": Scenario(identical, [NAME, NAME], {NAME: [DATA_SET]}),
    "together": Scenario(together, [NAME, NAME, DUPLICATE], {NAME: [LARGE], DUPLICATE: [OTHER]}),
    "different": Scenario(different, [NAME, DUPLICATE, DUPLICATE, NAME], {NAME: [DATA_SET], DUPLICATE: [OTHER]}),
    "overwrite": Scenario(overwrite, [NAME, NAME, NAME], {NAME: [DATA_SET, OTHER]}),
    "reject": Scenario(reject, [NAME, 0x0111, NAME], {NAME: [DATA_SET]}),
    "older": Scenario(older, [NAME, DUPLICATE, NAME, DUPLICATE], {NAME: [DATA_SET], DUPLICATE: [OTHER]}),
    "aborted": Scenario(aborted, [NAME], {NAME: [DATA_SET]}),
    "without links": Scenario(without_links, [NAME, NAME, DUPLICATE, NAME], {NAME: [DATA_SET], DUPLICATE: [OTHER]}),
    "write fails": Scenario(failing("write", LARGE), [0xA700, NAME], {NAME: [LARGE]}),
    "checkpoint fails": Scenario(failing("fdatasync", LARGE), [0x0110, NAME], {NAME: [LARGE]}),
    "sync fails": Scenario(failing("fsync", LARGE), [0x0110, NAME], {NAME: [LARGE]}),
    "directory fails": Scenario(failing("fsync of a directory", LARGE), [0x0110, NAME], {NAME: [LARGE]}),
    "overwrite fails": Scenario(overwrite_failing, [NAME, 0x0110, NAME], {NAME: [DATA_SET, OTHER]}),
}


class CrashTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(directory, "BATCH", 3000)
        self.patch(incoming, "CHECKPOINT", 3000)

    def server(self, disk: Disk) -> Server:
        """In an empty directory."""
        path = Path(self.mktemp())
        path.mkdir()
        server = Server(path, disk)
        self.addCleanup(server.stop)
        return server

    def recorded(self, name: str, durability: str = "full") -> list[Event]:
        """What a scenario does to the disk."""
        disk = RecordingDisk()
        server = self.server(disk)
        server.acknowledged = disk.events.append
        self.assertEqual(SCENARIOS[name].told, SCENARIOS[name].run(server, durability))
        return disk.events


def header_and(data: bytes, name: str = NAME) -> bytes:
    """The whole file of this name."""
    return file_header(request(name.removeprefix("CT.").partition(".dup-")[0])) + data


def broken_promises(events: list[Event], contents: dict[str, list[bytes]]) -> list[str]:
    """What is wrong in any state after a crash after any of the events; each kind of it once for each event."""
    whole = {name: [header_and(data, name) for data in each] for name, each in contents.items()}
    model = Model()
    promised: dict[str, bytes] = {}
    found: dict[str, None] = {}
    for number, event in enumerate(events):
        model.tell(event)
        if isinstance(event, Acknowledged):
            promised[event.name] = event.content
        for state in model.states(ROOT):
            found |= {f"{what} after {number}: {event}": None for what in _wrong(state.files(), promised, whole)}
    return list(found)


def _wrong(files: dict[str, bytes], promised: dict[str, bytes], whole: dict[str, list[bytes]]) -> Iterator[str]:
    for name, content in files.items():
        if name not in whole:
            yield f"unexpected {name}"
        elif content not in whole[name]:
            yield f"partial {name}"
    for name, content in promised.items():
        newer = whole[name][whole[name].index(content) :]
        if files.get(name) not in newer:
            yield f"lost {name}"


class CrashTests(CrashTestCase):
    """After every crash acknowledged instances are there, whole, and nothing else but whole instances is."""

    def check(self, name: str) -> None:
        self.assertEqual([], broken_promises(self.recorded(name), SCENARIOS[name].whole))

    def test_one(self) -> None:
        """An instance is there once it is acknowledged, and before that whole or not at all."""
        self.check("one")

    def test_two(self) -> None:
        """Storing a second instance puts the first at no risk."""
        self.check("two")

    def test_batches(self) -> None:
        """So is one that is written, and synced, in several pieces."""
        kinds = [type(event) for event in self.recorded("batches") if isinstance(event, Write | Synced)]
        self.assertEqual([Write, Synced, Synced], kinds[-3:])  # of the file, of the directory
        self.assertGreater(kinds.count(Synced), 3)
        self.check("batches")

    def test_identical(self) -> None:
        """The same instance once more puts it at no risk."""
        self.check("identical")

    def test_older(self) -> None:
        """What is here without ever having been synced is, when it is sent again, acknowledged only once it is."""
        broken = broken_promises(self.recorded("older"), SCENARIOS["older"].whole)
        # Before that anything may be there: the earlier server has promised nothing.
        self.assertEqual([], [each for each in broken if not each.startswith("partial")])

    def test_together(self) -> None:
        """What three senders of one instance at the same time hear is true, be it one content or two."""
        self.check("together")

    def test_different(self) -> None:
        """Another content under the same UID is kept beside the first, and both are safe."""
        self.check("different")

    def test_overwrite(self) -> None:
        """An instance that is overwritten is the older or the newer one, and once that is acknowledged the newer."""
        self.check("overwrite")

    def test_reject(self) -> None:
        """Another content that is refused does nothing to the first."""
        self.check("reject")

    def test_without_links(self) -> None:
        """The same is true of a file system that knows no hard links."""
        self.check("without links")

    def test_aborted(self) -> None:
        """Of an instance that was never complete nothing is ever seen."""
        self.check("aborted")

    def test_write_fails(self) -> None:
        """A disk that is full half way leaves nothing to be seen, and the next attempt is as good as the first."""
        self.check("write fails")

    def test_sync_fails(self) -> None:
        """A sync that fails promises nothing, and no later one makes good what it has lost."""
        self.check("sync fails")

    def test_checkpoint_fails(self) -> None:
        """The same of a sync half way."""
        self.check("checkpoint fails")

    def test_directory_fails(self) -> None:
        """A sync of the directory that fails promises nothing."""
        self.check("directory fails")

    def test_overwrite_fails(self) -> None:
        """The same of an instance that replaces another one."""
        self.check("overwrite fails")


class LessDurableTests(CrashTestCase):
    """What may be lost with less than full durability, and that the model can tell."""

    def kinds(self, durability: str) -> dict[str, set[str]]:
        """What may be wrong, by scenario: the first words of each."""
        return {
            name: {each.split()[0] for each in broken_promises(self.recorded(name, durability), scenario.whole)}
            for name, scenario in SCENARIOS.items()
            if name in ("one", "batches", "identical", "different", "overwrite", "aborted", "without links")
        }

    def test_file(self) -> None:
        """With "file" a name may be lost, or stand for the older content, but never for less than a whole one."""
        self.assertEqual({"lost"}, set.union(*self.kinds("file").values()))

    def test_none(self) -> None:
        """With "none" nothing is promised: names are lost, and stand for what is not whole."""
        self.assertEqual({("lost", "partial")}, {tuple(sorted(each)) for each in self.kinds("none").values()})


class RestartTests(CrashTestCase):
    """A server that is started after a crash."""

    def left(self, random: Random, events: list[Event]) -> Iterator[State]:
        """Some of what crashes leave."""
        model = Model()
        for event in events:
            model.tell(event)
            yield random.choice(list(model.states(ROOT, INCOMING)))

    def test_restart(self) -> None:
        """It removes what is temporary, touches nothing else, and stores: what is sent again, and the next one."""
        random = Random(3)
        removed = 0
        for name, scenario in SCENARIOS.items():
            data = scenario.whole[NAME][-1]
            for state in self.left(random, self.recorded(name)):
                server = self.server(FaultyDisk())
                state.make(server.path)
                removed += len(state.files(INCOMING))
                server.start()
                self.assertEqual(([LOCK], state.files()), (os.listdir(server.path / INCOMING), visible(server.path)))
                again = str(server.store(data))
                self.assertEqual("CT.1.2.5", server.store(uid="1.2.5"))
                files = {**state.files(), again: header_and(data), "CT.1.2.5": header_and(DATA_SET, "CT.1.2.5")}
                self.assertEqual(files, visible(server.path))
                server.stop()
        self.assertGreater(removed, 100)


class ModelTests(SynchronousTestCase):
    """The model, beside what is known of file systems."""

    def files(self, *events: Event, directory: str = ROOT) -> list[dict[str, bytes]]:
        """What may be in the directory after a crash, the smallest first."""
        model = Model()
        for event in events:
            model.tell(event)
        found: list[dict[str, bytes]] = []
        for state in model.states(directory):
            if state.files(directory) not in found:
                found.append(state.files(directory))
        return sorted(found, key=lambda files: sorted(files.items()))

    def test_nothing_synced(self) -> None:
        """Without a sync there may be no name, and under the name nothing, zeros, or the content."""
        self.assertEqual(
            [{}, {"a": b""}, {"a": b"\0\0\0"}, {"a": b"abc"}], self.files(Entry(ROOT, "a", 1), Write(1, 0, b"abc"))
        )

    def test_file_synced(self) -> None:
        """A sync of the file settles its content, not its name."""
        events = (Entry(ROOT, "a", 1), Write(1, 0, b"abc"), Synced(1))
        self.assertEqual([{}, {"a": b"abc"}], self.files(*events))

    def test_directory_synced(self) -> None:
        """A sync of the directory settles the name, not the content."""
        events = (Entry(ROOT, "a", 1), Write(1, 0, b"abc"), Synced(ROOT))
        self.assertEqual([{"a": b""}, {"a": b"\0\0\0"}, {"a": b"abc"}], self.files(*events))

    def test_both_synced(self) -> None:
        """What is synced with its name is there, in whichever order that was done."""
        events = (Entry(ROOT, "a", 1), Write(1, 0, b"abc"))
        for syncs in ((Synced(1), Synced(ROOT)), (Synced(ROOT), Synced(1))):
            self.assertEqual([{"a": b"abc"}], self.files(*events, *syncs))

    def test_written_after_sync(self) -> None:
        """What is written after a sync may be there or not; what was settled stays."""
        events = (Entry(ROOT, "a", 1), Write(1, 0, b"abc"), Synced(1), Synced(ROOT), Write(1, 3, b"de"))
        self.assertEqual([{"a": b"abc"}, {"a": b"abc\0\0"}, {"a": b"abcde"}], self.files(*events))

    def test_sectors(self) -> None:
        """Sectors of one write come alone, and a later one may be there without an earlier one."""
        events = (Entry(ROOT, "a", 1), Synced(ROOT), Write(1, 510, b"abcd"))
        head = bytes(510)
        self.assertEqual(
            [b"", head + b"\0\0", head + b"\0\0\0\0", head + b"\0\0cd", head + b"ab", head + b"ab\0\0", head + b"abcd"],
            [files["a"] for files in self.files(*events)],
        )

    def test_link_and_unlink(self) -> None:
        """Two names of one file are settled each by its own directory."""
        events = (
            Entry(INCOMING, "t", 1),
            Write(1, 0, b"abc"),
            Synced(1),
            Entry(ROOT, "a", 1),
            Entry(INCOMING, "t", None),
        )
        self.assertEqual([{}, {"a": b"abc"}], self.files(*events))
        self.assertEqual([{"a": b"abc"}], self.files(*events, Synced(ROOT)))
        self.assertEqual([{}, {"t": b"abc"}], self.files(*events, Synced(ROOT), directory=INCOMING))

    def test_replaced(self) -> None:
        """A name that was replaced stands for the old file or the new one, and is not missing."""
        old = (Entry(ROOT, "a", 1), Write(1, 0, b"old"), Synced(1), Synced(ROOT))
        new = (Entry(INCOMING, "t", 2), Write(2, 0, b"new"), Synced(2), Entry(ROOT, "a", 2), Entry(INCOMING, "t", None))
        self.assertEqual([{"a": b"new"}, {"a": b"old"}], self.files(*old, *new))
        self.assertEqual([{"a": b"new"}], self.files(*old, *new, Synced(ROOT)))

    def test_removed(self) -> None:
        """A name that was removed may be there again, until its directory is synced."""
        events = (Entry(ROOT, "a", 1), Synced(ROOT), Entry(ROOT, "a", None))
        self.assertEqual([{}, {"a": b""}], self.files(*events))
        self.assertEqual([{}], self.files(*events, Synced(ROOT)))

    def test_sync_failed(self) -> None:
        """What a failed sync of a file should have settled no later one does; of a directory a later one does."""
        events = (Entry(ROOT, "a", 1), NotSynced(ROOT), Synced(ROOT), Write(1, 0, b"abc"), NotSynced(1), Synced(1))
        self.assertEqual([{"a": b""}, {"a": b"\0\0\0"}, {"a": b"abc"}], self.files(*events))
        self.assertEqual([{"a": b"\0\0\0de"}, {"a": b"abcde"}], self.files(*events, Write(1, 3, b"de"), Synced(1)))

    def test_many(self) -> None:
        """Of too many states, those are seen in which all is there, or nothing, or all but one, or one alone."""
        names = [f"{number:02}" for number in range(40)]
        found = self.files(*(Entry(ROOT, name, number) for number, name in enumerate(names)))
        for name in names:
            self.assertIn({name: b""}, found)
            self.assertIn({each: b"" for each in names if each != name}, found)
        self.assertIn({}, found)
        self.assertIn(dict.fromkeys(names, b""), found)
        self.assertEqual(2 + 2 * 40 + ALL, len(found))

    def test_make(self) -> None:
        """A state can be made in a directory, with files that have two names."""
        path = Path(self.mktemp())
        path.mkdir()
        State({(ROOT, "a"): 1, (INCOMING, "t"): 1, (ROOT, "b"): 2}, {1: b"abc", 2: b""}).make(path)
        self.assertEqual({"a": b"abc", "b": b""}, visible(path))
        self.assertTrue((path / "a").samefile(path / INCOMING / "t"))
