"""Figure of how errors and numbers of items spread over seeds and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.report.canvas import (
    COLOURS,
    INK,
    LINE,
    MARKERS,
    new_figure,
    quiet,
    save_figure,
    styled,
)

_PANELS = (
    ("rmse", "RMSE", "Points"),
    ("mae", "MAE", "Points"),
    ("spearman", "Spearman's r", ""),
    ("n_items", "Items", ""),
)


@dataclass(frozen=True)
class SeedPoint:
    """One result: where it belongs, and its numbers; `best` draws it larger."""

    benchmark: str
    setting: str
    rmse: float
    mae: float
    spearman: float
    n_items: float
    best: bool = False


@styled
def seed_figure(points: Sequence[SeedPoint]) -> Any:
    """Draw error, rank correlation and items of every seed by benchmark and setting.

    Parameters
    ----------
    points
        At least one, in the order in which benchmarks and settings are to stand.

    Returns
    -------
    matplotlib.figure.Figure
    """
    benchmarks = list(dict.fromkeys(one.benchmark for one in points))
    settings = list(dict.fromkeys(one.setting for one in points))
    figure = new_figure(max(7.5, 1.5 + 1.25 * len(benchmarks)), 6.4)
    grid = figure.subplots(2, 2)
    width = min(0.8 / len(settings), 0.25)
    for axes, (name, title, unit) in zip(grid.flat, _PANELS, strict=True):
        for at, benchmark in enumerate(benchmarks):
            for k, setting in enumerate(settings):
                here = [p for p in points if (p.benchmark, p.setting) == (benchmark, setting)]
                if not here:
                    continue
                values = np.array([getattr(p, name) for p in here], float)
                middle = at + (k - (len(settings) - 1) / 2) * width
                # Beside each other in their order, so that equal values are all seen.
                x = (
                    middle + np.linspace(-0.3, 0.3, len(values)) * width
                    if len(values) > 1
                    else (np.array([middle]))
                )
                axes.scatter(
                    x, values, s=[46 if p.best else 20 for p in here],
                    color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)],
                    alpha=0.65, linewidth=0,
                )  # fmt: skip
                axes.plot(
                    [middle - 0.42 * width, middle + 0.42 * width], [np.nanmean(values)] * 2,
                    color=INK, linewidth=1.2,
                )  # fmt: skip
        axes.set_xticks(
            range(len(benchmarks)),
            [TITLES.get(name, name) for name in benchmarks],
            rotation=30 if len(benchmarks) > 3 else 0,
            ha="right" if len(benchmarks) > 3 else "center",
        )
        axes.set_xlim(-0.6, len(benchmarks) - 0.4)
        if name == "spearman":
            axes.axhline(1.0, color=LINE, linewidth=1)
        quiet(axes, title, "", unit, grid="y")
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            marker=MARKERS[k % len(MARKERS)],
            linestyle="",
            color=COLOURS[k % len(COLOURS)],
            label=setting,
        )
        for k, setting in enumerate(settings)
    ]
    best = "; large: the best setting of its seed" if any(one.best for one in points) else ""
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(4, len(handles)), frameon=False,
        fontsize=8, title="A dot a seed, a line their mean" + best,
        title_fontsize=8, alignment="left",
    )  # fmt: skip
    return figure


def plot_seeds(points: Sequence[SeedPoint], path: Path) -> None:
    """Write `seed_figure` to a file; its ending is the format."""
    save_figure(seed_figure(points), path)
