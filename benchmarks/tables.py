"""The tables, as reStructuredText that can be pasted into a document."""

from collections.abc import Sequence

from benchmarks.medians import Results, median, ratio
from benchmarks.scenarios import Kind, Scenario

LEGEND = """\
Medians of the rounds; a ratio is the median of the ratios within each round. MB are 1,000,000 bytes. p50 and p99 are of
the time from the first byte of a request that is sent to the last of its response. CPU seconds are the server's, user
and system, for 1,000 instances or associations. MiB of memory: when it listens, and at most under the load; of a server
that forks, all of its processes, as benchmarks/measures.py has it."""

_MEMORY = ("MiB before", "start"), ("at most", "peak")
_WAIT = ("p50 ms", "p50"), ("p99 ms", "p99")

# The headings and their figures; what the last column compares.
_COLUMNS: dict[Kind, tuple[tuple[str, str], ...]] = {
    "store": (("instances/s", "rate"), ("MB/s", "megabytes"), *_WAIT, ("CPU s/1,000", "cpu"), *_MEMORY),
    "associations": (("associations/s", "rate"), *_WAIT, ("CPU s/1,000", "cpu"), *_MEMORY),
    "idle": (("associations", "count"), ("KiB each", "each"), ("MiB before", "start"), ("held", "peak"), *_WAIT),
    "beside": (("echoes", "count"), *_WAIT, ("stored/s", "rate")),
    "start": (("ms", "listening"), ("MiB", "start")),
}
_COMPARED: dict[Kind, str] = {
    "store": "rate",
    "associations": "rate",
    "idle": "each",
    "beside": "p99",
    "start": "listening",
}


def of_scenario(scenario: Scenario, results: Results) -> str:
    """Its title, what it sends, its table of medians, and why a server failed."""
    mine = [each for each in results if each.scenario == scenario.name]
    labels = list(dict.fromkeys(each.label for each in mine))
    reference = scenario.entries[0].label
    columns = _COLUMNS[scenario.kind]
    compared = _COMPARED[scenario.kind]
    headings = ["server", *(heading for heading, _ in columns), f"{reference} ÷ it"]
    rows = []
    for label in labels:
        failures = [each for each in mine if each.label == label and each.failed]
        rounds = sum(1 for each in mine if each.label == label)
        if len(failures) == rounds:
            rows.append([label, f"failed: {failures[0].failed}"])
            continue
        figures = [median(mine, scenario.name, label, figure) for _, figure in columns]
        cells = [*figures, ratio(mine, scenario.name, compared, reference, label)]
        name = f"{label} ({rounds - len(failures)} of {rounds})" if failures else label
        rows.append([name, *map(number, cells)])
    return "\n".join([f"{scenario.name}: {scenario.title}", "", table(headings, rows)])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A simple table; the first column is flush left, the others flush right. A row of two cells spans all columns."""
    whole = [headings, *(row for row in rows if len(row) == len(headings))]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    widths[0] = max(len(row[0]) for row in [headings, *rows])
    rule = "  ".join("=" * width for width in widths)
    lines = [rule, _line(headings, widths), rule]
    for row in rows:
        if len(row) == len(headings):
            lines.append(_line(row, widths))
        else:
            lines += [f"{row[0]:{widths[0]}}  {row[1]}", "-" * widths[0] + "  " + "-" * (len(rule) - widths[0] - 2)]
    return "\n".join([*lines, rule])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    others = [f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "  ".join([f"{cells[0]:{widths[0]}}", *others])


def number(value: float | None) -> str:
    """Three significant digits at least; a count has no point."""
    if value is None:
        return "—"
    if value == round(value):
        return f"{value:,.0f}"
    for limit, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"
