"""Draws the rate of every server over the size of the instances."""

from collections.abc import Sequence
from pathlib import Path

try:
    import matplotlib as mpl
except ImportError:
    raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.medians import Results, median
from benchmarks.scenarios import KIB, MIB, Scenario

# Colours of Okabe and Ito, which the colour-blind tell apart; the markers do it in print.
_CURVES = {
    "limit": ("limit in C, no DICOM", "#000000", "x", "--"),
    "none": ("storescp", "#D55E00", "o", "-"),
    "dcmtk": ("DCMTK", "#0072B2", "s", "-"),
    "orthanc": ("Orthanc", "#009E73", "^", "-"),
    "pynetdicom": ("pynetdicom", "#CC79A7", "D", "-"),
}


def draw(results: Results, scenarios: Sequence[Scenario], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    for label, (name, colour, marker, line) in _CURVES.items():
        rates = {each.size: median(results, each.name, label, "rate") for each in scenarios}
        points = [(size, rate) for size, rate in rates.items() if rate is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, color=colour, marker=marker, linestyle=line)
    _label(axes, [each.size for each in scenarios])
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _label(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_title("One association, onto tmpfs, without fsync")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size // KIB} KiB" if size < MIB else f"{size // MIB} MiB" for size in sizes])
    axes.set_xlabel("size of an instance")
    axes.set_ylabel("instances/s")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(which="major", alpha=0.4)
    axes.grid(which="minor", axis="y", alpha=0.15)
    axes.legend()
