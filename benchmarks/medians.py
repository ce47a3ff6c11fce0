"""Medians over the rounds, and ratios, which are taken round by round so that what else the machine does hits both."""

import statistics
from collections.abc import Sequence

from benchmarks.rounds import Measurement

Results = Sequence[Measurement]


def figures_of(results: Results, scenario: str, label: str, figure: str) -> dict[int, float]:
    """The figure in each round that has it."""
    return {
        each.round: each.figures[figure]
        for each in results
        if (each.scenario, each.label) == (scenario, label) and figure in each.figures
    }


def median(results: Results, scenario: str, label: str, figure: str) -> float | None:
    values = figures_of(results, scenario, label, figure).values()
    return statistics.median(values) if values else None


def rounds(results: Results, scenario: str, figure: str, *labels: str) -> int:
    """In how many rounds all of them have the figure."""
    return len(set.intersection(*(set(figures_of(results, scenario, label, figure)) for label in labels)))


def ratio(results: Results, scenario: str, figure: str, ours: str, peer: str) -> float | None:
    """The median of ours to the peer's in the same round."""
    above, below = (figures_of(results, scenario, label, figure) for label in (ours, peer))
    values = [above[number] / below[number] for number in above.keys() & below.keys() if below[number]]
    return statistics.median(values) if values else None
