"""Figures of item-budget curves: errors against the number of items kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import TARGETS, TITLES, Target
from metabench_py.report.canvas import (
    COLOURS,
    MARKERS,
    apart,
    panels,
    quiet,
    save_figure,
    styled,
)

_COLUMNS = 4


@dataclass(frozen=True)
class Line:
    """One order's errors of one target; tuples of the same length, in points of score."""

    n_items: Sequence[int]
    rmse: Sequence[float]
    lower: Sequence[float]
    upper: Sequence[float]


@styled
def curve_figure(lines: Mapping[str, Mapping[Target, Line]], title: str) -> Any:
    """Draw a panel a target, a line an order, its interval as a band.

    Parameters
    ----------
    lines
        By the order's name for readers, then by target.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.ticker import NullLocator

    figure, grid = panels(len(TARGETS) + 1, _COLUMNS, 3.0, 2.7, extra=0.3)
    sizes = apart([n for by in lines.values() for line in by.values() for n in line.n_items])
    for axes, target in zip(grid, TARGETS, strict=False):
        for (name, by), colour, marker in zip(lines.items(), COLOURS, MARKERS, strict=False):
            line = by[target]
            axes.fill_between(line.n_items, line.lower, line.upper, color=colour, alpha=0.15, lw=0)
            axes.plot(
                line.n_items, line.rmse, color=colour, marker=marker, markersize=3.5,
                linewidth=1.3, label=name,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(n) for n in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=0.0)
        quiet(axes, TITLES[target], "Items kept, of all benchmarks", "RMSE, points", grid="both")
    for axes in grid[len(TARGETS) :]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    grid[len(TARGETS)].legend(
        handles, labels, loc="center left", frameon=False, fontsize=9, title=title,
        title_fontsize=9, alignment="left",
    )  # fmt: skip
    return figure


def plot_curves(lines: Mapping[str, Mapping[Target, Line]], title: str, path: Path) -> None:
    """Write `curve_figure` to a file; its ending is the format."""
    save_figure(curve_figure(lines, title), path)
