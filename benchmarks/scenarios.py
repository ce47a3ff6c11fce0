"""What is measured: one row for each scenario."""

from typing import Literal

import attrs

KIB, MIB = 1 << 10, 1 << 20

Kind = Literal["store", "associations", "idle", "beside", "start"]


@attrs.frozen
class Entry:
    """A server that takes part, and the operations that the sender would have under way."""

    server: str
    window: int = 1

    @property
    def label(self) -> str:
        return self.server if self.window == 1 else f"{self.server}, window {self.window}"


@attrs.frozen
class Scenario:
    """`associations` send `instances` each, of `size` bytes of pixels; of kind "associations" so many are made in all.

    Nothing more is begun after `seconds`, so that slow servers take no longer than others; rates compare all the same.
    """

    name: str
    title: str
    kind: Kind
    place: Literal["tmpfs", "disk"]
    entries: tuple[Entry, ...]
    associations: int = 1
    instances: int = 1
    size: int = 512 * KIB
    seconds: float = 1.0


def _entries(names: str) -> tuple[Entry, ...]:
    return tuple(map(Entry, names.split()))


_ALL = _entries("none limit dcmtk orthanc pynetdicom")
_SHORT = _entries("none dcmtk dcmtk-single orthanc pynetdicom")
_SYNC = _entries("full limit-fsync orthanc-sync")
_LEVELS = _entries("full file none ignore")
_WINDOW = (Entry("full", 8), Entry("full"))

# Who is missing would take too long (Orthanc 8 s for eight large instances), or too few: pynetdicom's program takes ten
# associations at a time, DCMTK's without --fork one. limit.c answers no echo.
SCENARIOS = (
    Scenario("1x512KiB", "One association", "store", "tmpfs", (*_ALL, Entry("full")), 1, 400),
    Scenario(
        "1x512KiB-disk", "One association, on the disk, unsynced", "store", "disk", _entries("none limit dcmtk"), 1, 400
    ),
    Scenario(
        "watched", "What it costs to be watched: one association", "store", "tmpfs", _entries("watched none"), 1, 400
    ),
    Scenario("8x512KiB", "Eight associations", "store", "tmpfs", _ALL, 8, 60),
    Scenario("64x512KiB", "64 associations", "store", "tmpfs", _entries("none limit dcmtk orthanc"), 64, 8),
    Scenario("1x16KiB", "Small instances", "store", "tmpfs", _ALL, 1, 2000, 16 * KIB),
    Scenario("1x100MiB", "Large instances", "store", "tmpfs", (*_ALL, Entry("dcmtk-bits")), 1, 4, 100 * MIB),
    Scenario(
        "8x100MiB",
        "Eight large instances at once",
        "store",
        "tmpfs",
        _entries("none full limit dcmtk dcmtk-bits"),
        8,
        1,
        100 * MIB,
    ),
    Scenario(
        "associations-1",
        "Associations, one after the other: opened, echoed, released",
        "associations",
        "tmpfs",
        _SHORT,
        1,
        300,
    ),
    Scenario(
        "associations-8",
        "Associations, eight at a time: opened, echoed, released",
        "associations",
        "tmpfs",
        _SHORT,
        8,
        300,
    ),
    Scenario(
        "idle", "1,000 idle associations, and echoes on one more", "idle", "tmpfs", _entries("none dcmtk"), 1000, 200
    ),
    Scenario(
        "beside",
        "Echoes beside eight storing associations",
        "beside",
        "tmpfs",
        _entries("none dcmtk"),
        8,
        400,
        seconds=1.5,
    ),
    Scenario(
        "beside-sync",
        "Echoes beside eight storing associations, synced, on the disk",
        "beside",
        "disk",
        _entries("full orthanc-sync"),
        8,
        400,
        seconds=1.5,
    ),
    Scenario("start", "From the start to listening", "start", "tmpfs", _ALL),
    Scenario("sync-1", "One association, synced, on the disk", "store", "disk", _SYNC, 1, 200),
    Scenario("sync-8", "Eight associations, synced, on the disk", "store", "disk", _SYNC, 8, 60),
    Scenario("window", "One association, synced, on the disk, with a window", "store", "disk", _WINDOW, 1, 200),
    Scenario("durability-1", "What a level costs: one association, on the disk", "store", "disk", _LEVELS, 1, 200),
    Scenario("durability-8", "What a level costs: eight associations, on the disk", "store", "disk", _LEVELS, 8, 60),
)

# For the plot: no more than some 200 MiB and 2,000 instances each.
SIZES = tuple(
    Scenario(
        f"size-{size // KIB}KiB",
        f"Instances of {size // KIB} KiB",
        "store",
        "tmpfs",
        _ALL,
        1,
        max(8, min(2000, 200 * MIB // size)),
        size,
        1.0,
    )
    for size in (KIB << power for power in range(0, 15, 2))
)
