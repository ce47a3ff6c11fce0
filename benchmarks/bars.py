"""What storescp has to reach: ratios to others, since absolute figures vary between machines, and some limits."""

from collections.abc import Sequence
from typing import Literal

import attrs

from benchmarks.medians import Results, median, ratio, rounds
from benchmarks.tables import number, table


@attrs.frozen
class Bar:
    """`figure` of ours to the peer's, or ours alone where there is no peer."""

    scenario: str
    ours: str
    figure: str
    peer: str | None
    at_least: float  # or at most, where the figure is better the lower it is
    aim: float
    better: Literal["higher", "lower"] = "higher"

    def measured(self, results: Results) -> float | None:
        if self.peer is None:
            return median(results, self.scenario, self.ours, self.figure)
        return ratio(results, self.scenario, self.figure, self.ours, self.peer)

    def rounds(self, results: Results) -> int:
        return rounds(results, self.scenario, self.figure, self.ours, *([self.peer] if self.peer else []))

    def meets(self, value: float, bar: float) -> bool:
        return value >= bar if self.better == "higher" else value <= bar

    def verdict(self, value: float | None) -> str:
        if value is None:
            return "not measured"
        if not self.meets(value, self.at_least):
            return "NOT HELD"
        return "held, and the aim" if self.meets(value, self.aim) else "held"


BARS = (
    Bar("1x512KiB", "none", "rate", "dcmtk", 1.1, 1.4),
    Bar("1x512KiB", "none", "rate", "limit", 0.65, 0.85),
    Bar("watched", "watched", "rate", "none", 0.97, 0.99),
    Bar("8x512KiB", "none", "rate", "dcmtk", 1.0, 1.3),
    Bar("1x16KiB", "none", "rate", "dcmtk", 1.0, 1.5),
    Bar("1x100MiB", "none", "rate", "dcmtk", 1.0, 1.2),
    Bar("1x100MiB", "none", "rate", "dcmtk-bits", 1.0, 1.2),
    Bar("sync-1", "full", "rate", "limit-fsync", 0.6, 0.8),
    Bar("sync-8", "full", "rate", "limit-fsync", 0.8, 1.0),
    Bar("sync-1", "full", "rate", "orthanc-sync", 1.3, 2.0),
    Bar("sync-8", "full", "rate", "orthanc-sync", 1.3, 2.0),
    Bar("window", "full, window 8", "rate", "full", 1.5, 2.0),
    *(
        Bar(scenario, "none", "rate", "pynetdicom", 8.0, 12.0)
        for scenario in ("1x512KiB", "8x512KiB", "1x16KiB", "1x100MiB", "associations-1", "associations-8")
    ),
    Bar("associations-1", "none", "rate", "dcmtk", 3.0, 8.0),
    Bar("associations-8", "none", "rate", "dcmtk", 3.0, 8.0),
    Bar("8x100MiB", "none", "above", None, 64.0, 32.0, "lower"),
    Bar("8x100MiB", "full", "above", None, 64.0, 32.0, "lower"),
    Bar("idle", "none", "each", None, 25.0, 15.0, "lower"),
    Bar("beside", "none", "p99", None, 50.0, 20.0, "lower"),
    Bar("beside-sync", "full", "p99", None, 50.0, 20.0, "lower"),
    Bar("start", "none", "listening", "pynetdicom", 1.0, 0.6, "lower"),
)
_WORDS = {
    "rate": "rate",
    "above": "MiB above the start",
    "each": "KiB each",
    "p99": "echo p99, ms",
    "listening": "time",
}


def report(results: Results, bars: Sequence[Bar] = BARS) -> str:
    """The table of the bars whose scenarios were run; nothing where there are none."""
    run = {each.scenario for each in results}
    rows = []
    for bar in bars:
        if bar.scenario in run:
            value = bar.measured(results)
            sign = "≥" if bar.better == "higher" else "≤"
            limits = [f"{sign} {limit:g}" for limit in (bar.at_least, bar.aim)]
            what = [bar.scenario, bar.ours, _WORDS[bar.figure], bar.peer or "—"]
            rows.append([*what, number(value), str(bar.rounds(results)), *limits, bar.verdict(value)])
    headings = ["scenario", "ours", "figure", "to that of", "measured", "rounds", "bar", "aim", "verdict"]
    return table(headings, rows) if rows else ""
