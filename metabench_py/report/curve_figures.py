"""Figures of item-budget curves: errors against the number of items kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench_py.benchmarks import TARGETS, TITLES, Target
from metabench_py.report.figures import check_plot
from metabench_py.storage import atomic_path

_INK, _MUTED, _GRID = "#222222", "#6b6b6b", "#eeeeee"
# Okabe & Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_COLUMNS = 4


@dataclass(frozen=True)
class Line:
    """One order's errors of one target; tuples of the same length, in points of score."""

    n_items: Sequence[int]
    rmse: Sequence[float]
    lower: Sequence[float]
    upper: Sequence[float]


def plot_curves(lines: Mapping[str, Mapping[Target, Line]], title: str, path: Path) -> None:
    """Draw a panel a target, a line an order, its interval as a band.

    Parameters
    ----------
    lines
        By the order's name for readers, then by target.
    path
        File to write; its ending is the format.

    Raises
    ------
    InputError
        The file's name has no known ending.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    check_plot(path, 1)
    rows = -(-(len(TARGETS) + 1) // _COLUMNS)
    figure = Figure(figsize=(3.0 * _COLUMNS, 2.7 * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    sizes = sorted({n for by in lines.values() for line in by.values() for n in line.n_items})
    for axes, target in zip(grid, TARGETS, strict=False):
        for (name, by), colour, marker in zip(lines.items(), _COLOURS, _MARKERS, strict=False):
            line = by[target]
            axes.fill_between(line.n_items, line.lower, line.upper, color=colour, alpha=0.15, lw=0)
            axes.plot(
                line.n_items, line.rmse, color=colour, marker=marker, markersize=3.5,
                linewidth=1.3, label=name,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(_apart(sizes), [str(n) for n in _apart(sizes)])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=0.0)
        axes.set_title(TITLES[target], loc="left", color=_INK, fontsize=10)
        axes.set_xlabel("Items kept, of all benchmarks", color=_MUTED, fontsize=8)
        axes.set_ylabel("RMSE, points", color=_MUTED, fontsize=8)
        axes.tick_params(length=0, colors=_INK, labelsize=8)
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
    for axes in grid[len(TARGETS) :]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    grid[len(TARGETS)].legend(
        handles, labels, loc="center left", frameon=False, fontsize=9, title=title,
        title_fontsize=9, alignment="left",
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)


def _apart(sizes: Sequence[int]) -> list[int]:
    """Sizes that can stand side by side on a logarithmic axis, the largest among them."""
    kept: list[int] = []
    for n in reversed(sizes):
        if not kept or kept[-1] >= 1.45 * n:
            kept.append(n)
    return kept[::-1]
