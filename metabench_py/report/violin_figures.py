"""Figure of random subsets of items: how their errors spread, beside a chosen method's error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.canvas import (
    BENCHMARK_COLOURS,
    COLOURS,
    INK,
    MUTED,
    note,
    panels,
    quiet,
    styled,
)

_COLUMNS = 3
# Errors of subsets this much above what all but a share of a size's have are left off, and counted.
_OFF, _ROOM = 0.05, 1.3


@dataclass(frozen=True, eq=False)
class SubsetPanel:
    """One benchmark.

    Attributes
    ----------
    errors
        By number of items: RMSE of each random subset, points, shape (n_subsets,).
    all_items
        RMSE from all items by the same method, points.
    n_items
        How many these are.
    """

    benchmark: str
    errors: Mapping[int, Floats]
    all_items: float
    n_items: int


@styled
def violin_figure(drawn: Sequence[SubsetPanel], what: str) -> Any:
    """Draw the errors of random subsets as violins over the number of items.

    Parameters
    ----------
    what
        How scores are predicted, for the axis.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, grid = panels(len(drawn), _COLUMNS, 3.1, 2.7, extra=0.3)
    for axes, panel in zip(grid, drawn, strict=False):
        colour = BENCHMARK_COLOURS.get(panel.benchmark, COLOURS[0])
        sizes = sorted(panel.errors)
        places = np.arange(len(sizes), dtype=float)
        every = [panel.errors[n][np.isfinite(panel.errors[n])] for n in sizes]
        # A spline that is extrapolated far can err by 100 points; it would hide all others.
        far = _ROOM * max(float(np.quantile(v, 1.0 - _OFF)) for v in every)
        values = [v[v <= far] for v in every]
        beyond = sum(len(v) for v in every) - sum(len(v) for v in values)
        parts = axes.violinplot(values, places, widths=0.8, showextrema=False, points=200)
        for body in parts["bodies"]:
            body.set(facecolor=colour, edgecolor=INK, alpha=0.6, linewidth=0.6)
        medians = np.array([np.median(v) for v in every])
        axes.hlines(medians, places - 0.22, places + 0.22, color=INK, linewidth=1.2)
        axes.plot(places, [v.min() for v in every], "v", color=INK, markersize=4)
        axes.axhline(panel.all_items, color=MUTED, linewidth=1.0, linestyle="--")
        axes.set_xticks(places, [str(n) for n in sizes])
        axes.set_xlim(-0.6, len(sizes) - 0.4)
        axes.set_ylim(0.0, 1.15 * max(float(v.max()) for v in values))
        title = TITLES.get(panel.benchmark, panel.benchmark)
        quiet(axes, title, "Random items", "RMSE, points", grid="y")
        told = f"{len(every[0]):,} subsets a size"
        note(axes, told + (f", {beyond} beyond" if beyond else ""), "upper right", size=7)
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, linewidth=1.2, label="median"),
        Line2D([], [], color=INK, marker="v", linestyle="", markersize=4, label="best subset"),
        Line2D([], [], color=MUTED, linewidth=1.0, linestyle="--", label="all items"),
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=3, title=what, title_fontsize=8
    )
    return figure
