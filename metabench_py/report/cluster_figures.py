"""Figure of the clusters study: items by cluster, choices by validation, held-out errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.canvas import (
    COLOURS,
    INK,
    MARKERS,
    MUTED,
    new_figure,
    quiet,
    save_figure,
    styled,
)

_COLUMNS = 3


@dataclass(frozen=True, eq=False)
class ClusterPanel:
    """One benchmark.

    Attributes
    ----------
    slope, intercept
        Item parameters, shape (n_items,).
    label
        Cluster of each item, shape (n_items,).
    chosen
        Whether it was drawn, shape (n_items,).
    validation
        By item type: numbers of clusters, ascending, and validation RMSE with so many.
    held_out
        By the way of choosing: RMSE on held-out LLMs, and its spread over draws (0: one only).
    """

    benchmark: str
    slope: Floats
    intercept: Floats
    label: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    validation: Mapping[str, tuple[Sequence[int], Sequence[float]]]
    held_out: Mapping[str, tuple[float, float]]


@styled
def clusters_figure(
    panels: Sequence[ClusterPanel], joint: Mapping[str, tuple[float, float]] | None = None
) -> Any:
    """Draw a row of three panels a benchmark, and what all of them together tell.

    Parameters
    ----------
    panels
        At least one.
    joint
        By target: held-out RMSE from its own items, and from all benchmarks' items. None: no
        last row.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = len(panels) + (joint is not None)
    figure = new_figure(10.5, 3.1 * rows + 0.2)
    grid = figure.add_gridspec(rows, _COLUMNS)
    for row, panel in enumerate(panels):
        items, validation, errors = (figure.add_subplot(grid[row, k]) for k in range(_COLUMNS))
        title = TITLES.get(panel.benchmark, panel.benchmark)
        _items(items, panel)
        n = int(panel.label.max()) + 1
        quiet(items, f"{title}: {n} clusters, drawn items ringed", "Slope a", "Intercept d")
        for number, (name, (sizes, values)) in enumerate(panel.validation.items()):
            validation.plot(
                sizes, values, "o-", color=COLOURS[number % len(COLOURS)], markersize=4, label=name
            )
        validation.set_xticks(sorted({s for sizes, _ in panel.validation.values() for s in sizes}))
        validation.legend(frameon=False, fontsize=8)
        quiet(validation, "Choice of their number", "Clusters", "Validation RMSE, points", grid="y")
        _bars(errors, panel.held_out)
        quiet(errors, "Held-out error of the score", "RMSE, points", "", grid="x")
    if joint is not None:
        axes = figure.add_subplot(grid[rows - 1, :])
        at = np.arange(len(joint), dtype=float)
        for number, name in enumerate(("own items", "items of all benchmarks")):
            values = [pair[number] for pair in joint.values()]
            bars = axes.bar(
                at + 0.4 * (number - 0.5), values, 0.36, color=COLOURS[number], label=name
            )
            axes.bar_label(bars, fmt="%.2f", fontsize=7, color=INK, padding=1)
        axes.set_xticks(at, [TITLES.get(target, target) for target in joint])
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
        axes.set_ylim(top=1.3 * max(max(pair) for pair in joint.values()))
        quiet(axes, "Separate and joint reconstruction", "", "Held-out RMSE, points", grid="y")
    return figure


def _items(axes: Any, panel: ClusterPanel) -> None:
    # Six colours in six shapes tell 36 clusters apart.
    for number in range(int(panel.label.max()) + 1):
        here = panel.label == number
        axes.scatter(
            panel.slope[here], panel.intercept[here], s=14, alpha=0.75, linewidths=0.0, zorder=2,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
        )  # fmt: skip
    at = panel.chosen
    axes.scatter(
        panel.slope[at], panel.intercept[at], facecolors="none", edgecolors=INK, s=30,
        linewidths=0.7, zorder=3,
    )  # fmt: skip


def _bars(axes: Any, values: Mapping[str, tuple[float, float]]) -> None:
    at = np.arange(len(values), dtype=float)
    rmse = [pair[0] for pair in values.values()]
    axes.barh(at, rmse, 0.6, color=[COLOURS[0], *[COLOURS[5]] * (len(values) - 1)])
    spread = np.array([pair[1] for pair in values.values()])
    some = spread > 0
    axes.errorbar(
        np.array(rmse)[some], at[some], xerr=spread[some], fmt="none", ecolor=MUTED, capsize=2,
        linewidth=1,
    )  # fmt: skip
    for y, value, wide in zip(at, rmse, spread, strict=True):
        axes.annotate(
            f"{value:.2f}", (value + wide, y), (4, 0), textcoords="offset points", va="center",
            fontsize=7, color=INK,
        )  # fmt: skip
    axes.set_xlim(right=1.15 * float((np.array(rmse) + spread).max()))
    axes.set_yticks(at, list(values))
    axes.set_ylim(len(values) - 0.4, -0.6)


def plot_clusters(
    panels: Sequence[ClusterPanel],
    joint: Mapping[str, tuple[float, float]] | None,
    path: Path,
) -> None:
    """Write `clusters_figure` to a file; its ending is the format."""
    save_figure(clusters_figure(panels, joint), path)
