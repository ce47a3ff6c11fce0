"""The fault plan: every call of the disk fails, one after the other, with every error; once, or from then on."""

import errno
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import attrs
from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import Status
from storescp.storage import incoming
from storescp.storage.directory import DirectoryStorage
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce
from tests.storage import request
from tests.storage.disks import (
    DATA_SET,
    HEADER,
    KIB,
    ONE_STORE,
    SHORT,
    DirectoryTestCase,
    FaultyDisk,
    NoLinksDisk,
    beside,
    result,
    store,
    temporary,
    visible,
)

CODES = {
    errno.ENOSPC: Status.OUT_OF_RESOURCES,
    errno.EDQUOT: Status.OUT_OF_RESOURCES,
    errno.EMFILE: Status.OUT_OF_RESOURCES,
    errno.EIO: Status.PROCESSING_FAILURE,
}

LARGE = bytes(300 * KIB)  # two batches
WHOLE = HEADER + LARGE
OLDER = HEADER + b"older"
NAME = "CT.1.2.3"
DUPLICATE = beside(LARGE)

Files = dict[str, bytes | None]
SAME: Files = {NAME: WHOLE}
DIFFERENT: Files = {NAME: OLDER}
BOTH: Files = {NAME: OLDER, DUPLICATE: WHOLE}

COMPARING = {"open", "read", "seek", "size"}


@attrs.frozen(kw_only=True)
class Situation:
    """What is there when an instance comes, and what becomes of it where nothing fails."""

    before: Files = attrs.field(factory=dict, repr=False)
    outcome: str | int = NAME
    calls: set[str] = attrs.field(repr=False)  # of the disk; each of them is to fail
    rules: Rules = attrs.field(factory=Rules)
    links: bool = True
    checkpoint: int = incoming.CHECKPOINT


FULL = set(ONE_STORE)
NO_SYNC = FULL - {"open_directory", "fsync"}
RENAMED = FULL - {"unlink"} | {"exists", "rename"}
SITUATIONS = (
    Situation(calls=FULL),
    Situation(before=SAME, calls=FULL | COMPARING),
    Situation(before=DIFFERENT, outcome=DUPLICATE, calls=FULL | COMPARING),
    Situation(before=BOTH, outcome=DUPLICATE, calls=FULL | COMPARING),
    Situation(rules=Rules(durability="file"), calls=FULL - {"open_directory"}),
    Situation(rules=Rules(durability="file"), before=SAME, calls=FULL - {"open_directory"} | COMPARING),
    Situation(rules=Rules(durability="none"), calls=NO_SYNC),
    Situation(rules=Rules(durability="none"), before=SAME, calls=NO_SYNC | COMPARING),
    Situation(rules=Rules(durability="none"), before=DIFFERENT, outcome=DUPLICATE, calls=NO_SYNC | COMPARING),
    Situation(links=False, calls=RENAMED),
    Situation(links=False, before=SAME, calls=FULL | COMPARING | {"exists"}),
    Situation(links=False, before=DIFFERENT, outcome=DUPLICATE, calls=RENAMED | COMPARING),
    Situation(rules=Rules(on_duplicate="overwrite"), before=DIFFERENT, calls=RENAMED - {"exists"} | COMPARING),
    Situation(rules=Rules(on_duplicate="overwrite"), links=False, before=DIFFERENT, calls=RENAMED | COMPARING),
    Situation(
        rules=Rules(on_duplicate="reject"),
        before=DIFFERENT,
        outcome=Status.DUPLICATE_SOP_INSTANCE,
        calls=FULL - {"open_directory"} | COMPARING,
    ),
    Situation(checkpoint=100 * KIB, calls=FULL | {"fdatasync"}),
    Situation(checkpoint=10 * KIB, rules=Rules(min_free=1), calls=FULL | {"fdatasync", "free"}),
    Situation(checkpoint=10 * KIB, rules=Rules(min_free=1, durability="none"), calls=NO_SYNC | {"free"}),
)


@attrs.frozen(kw_only=True)
class Fault:
    """A store whose `nth` call of the disk failed, and what came of it."""

    situation: Situation
    nth: int
    call: str  # the first that failed
    code: int
    earlier: list[str] = attrs.field(repr=False)  # the calls before it
    outcome: str | int
    files: Files = attrs.field(repr=False)
    temporary: list[str]
    leaked: set[int]
    next_outcome: str | int
    synced_again: bool
    closed_again: bool
    left: list[str]  # of what is temporary, after another start

    @property
    def stored(self) -> bool:
        return isinstance(self.outcome, str)

    @property
    def after(self) -> Files:
        """The files where the instance has its name."""
        name = self.situation.outcome
        return {**self.situation.before, name: WHOLE} if isinstance(name, str) else self.situation.before

    @property
    def has_overwritten(self) -> bool:
        return self.situation.rules.on_duplicate == "overwrite" and "rename" in self.earlier

    @property
    def is_forgivable(self) -> bool:
        """Whether it does no harm: a write that can go on, or a temporary file that is not needed any more."""
        return self.code == SHORT or self.call == "unlink"


def meet(situation: Situation, path: Path, nth: int, code: int, for_ever: bool) -> Fault:
    for name, content in situation.before.items():
        (path / name).write_bytes(content or b"")
    disk = FaultyDisk() if situation.links else NoLinksDisk()
    storage = DirectoryStorage(str(path), AtOnce(), situation.rules, disk=disk)
    storage.start()
    always_open = set(disk.open_descriptors)
    disk.arm(nth, code, for_ever=for_ever)
    with patch.object(incoming, "CHECKPOINT", situation.checkpoint):
        outcome = store(storage, LARGE, size=16 * KIB)
    disk.disarm()
    fault = Fault(
        situation=situation,
        nth=nth,
        call=disk.failed,
        code=code,
        earlier=disk.calls[: nth - 1],
        outcome=outcome,
        files=visible(path),
        temporary=temporary(path),
        leaked=disk.open_descriptors - always_open,
        next_outcome=store(storage, DATA_SET, uid="1.2.4"),
        synced_again=disk.synced_again,
        closed_again=disk.closed_again,
        left=[],
    )
    storage.stop()
    if fault.temporary:
        storage.start()
        fault = attrs.evolve(fault, left=temporary(path))
        storage.stop()
    return fault


def plan(for_ever: bool) -> Iterator[Fault]:
    codes = (errno.EIO, errno.ENOSPC) if for_ever else (*CODES, SHORT)
    for situation in SITUATIONS:
        for code in codes:
            for nth in count(1):
                with TemporaryDirectory() as path:
                    fault = meet(situation, Path(path), nth, code, for_ever)
                if not fault.call:
                    break
                yield fault


@cache
def faults(*, for_ever: bool = False) -> tuple[Fault, ...]:
    """Each call of each situation that fails, with each error; after the last one nothing fails any more."""
    return tuple(plan(for_ever))


class FaultTests(SynchronousTestCase):
    """What holds after any fault. Of those that break it, the lists name each."""

    def test_no_fault(self) -> None:
        """Where nothing fails, each situation has the outcome that the others are measured by."""
        found = []
        for situation in SITUATIONS:
            with TemporaryDirectory() as path:
                found.append(meet(situation, Path(path), 1000, errno.EIO, False))
        self.assertEqual([], [each for each in found if each.call or each.outcome != each.situation.outcome])
        self.assertEqual([], [each for each in found if each.files != each.after or each.temporary])

    def test_all_calls(self) -> None:
        """The faults reach every call of every situation."""
        found = [{fault.call for fault in faults() if fault.situation is situation} for situation in SITUATIONS]
        self.assertEqual([situation.calls for situation in SITUATIONS], found)

    def test_outcome(self) -> None:
        """A store that meets a fault fails with the status of that error, or has the outcome it has without it."""

        def wrong(fault: Fault) -> bool:
            expected = fault.situation.outcome if fault.is_forgivable else CODES.get(fault.code)
            return fault.outcome != expected

        self.assertEqual([], [each for each in faults() if wrong(each)])

    def test_files(self) -> None:
        """With Success the whole file is there, with a failure none is, and what was there before stays as it was."""

        def expected(fault: Fault) -> Files:
            return fault.after if fault.stored or fault.has_overwritten else fault.situation.before

        self.assertEqual([], [each for each in faults() if each.files != expected(each)])

    def test_temporary(self) -> None:
        """No fault leaves a temporary file, but that of removing it; with a new name it is removed twice."""

        def only_removal(fault: Fault) -> bool:
            return fault.call == "unlink" and fault.after == fault.situation.before

        self.assertEqual([], [each for each in faults() if each.temporary and not only_removal(each)])

    def test_dead_disk(self) -> None:
        """A disk that fails from some call on never has part of an instance under a final name, nor a false Success."""

        def wrong(fault: Fault) -> bool:
            if fault.stored:
                return fault.files != fault.after
            return fault.outcome not in (CODES[fault.code], fault.situation.outcome) or fault.files not in (
                fault.situation.before,
                fault.after,
            )

        self.assertEqual([], [each for each in faults(for_ever=True) if wrong(each)])

    def test_dead_disk_temporary(self) -> None:
        """What a dead disk has left is removed at the next start."""
        left = [each for each in faults(for_ever=True) if each.temporary]
        self.assertNotEqual([], left)
        self.assertEqual([], [each for each in left if each.left])

    def test_descriptors(self) -> None:
        """No fault leaves a descriptor open, nor is one closed twice: another thread may have that number by then."""
        everything = faults() + faults(for_ever=True)
        self.assertEqual([], [each for each in everything if each.leaked or each.closed_again])

    def test_sync_again(self) -> None:
        """A descriptor whose fsync or fdatasync failed is never synced again, as the second one may lie."""
        everything = faults() + faults(for_ever=True)
        self.assertEqual([], [each for each in everything if each.synced_again])

    def test_next(self) -> None:
        """After a fault the next instance is stored."""
        everything = faults() + faults(for_ever=True)
        self.assertEqual([], [each for each in everything if each.next_outcome != "CT.1.2.4"])


class AfterAFaultTests(DirectoryTestCase):
    def test_write_after_failure(self) -> None:
        """A peer that goes on sending after the disk is full costs no more calls of the disk, and no space on it."""
        disk = FaultyDisk()
        storage = self.storage(disk)
        disk.arm(2, errno.ENOSPC)
        sink = storage.open(request())
        for _ in range(8):
            sink.write(memoryview(bytes(256 * KIB)))
        self.check({})
        self.assertEqual(0xA700, result(sink.finish()))
        self.assertEqual(["create", "write", "close", "unlink"], disk.calls)

    def test_same_instance(self) -> None:
        """The instance itself is stored when it comes once more."""
        for nth in range(1, len(ONE_STORE) + 1):
            self.setUp()
            disk = FaultyDisk()
            storage = self.storage(disk)
            disk.arm(nth, errno.ENOSPC)
            store(storage, LARGE, size=16 * KIB)
            self.assertEqual(NAME, store(storage, LARGE, size=16 * KIB))
            self.check({NAME: WHOLE})
