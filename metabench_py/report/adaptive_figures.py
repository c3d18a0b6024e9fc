"""Figure of adaptive tests: their length and precision, recovery, exposure, fixed subsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.agreement import rmse
from metabench_py.report.canvas import (
    COLOURS,
    INK,
    LINE,
    MUTED,
    cloud,
    new_figure,
    note,
    quiet,
    save_figure,
    styled,
)
from metabench_py.report.canvas import (
    panels as panels_grid,
)

_DOT = COLOURS[0]
_KINDS = {
    "adaptive": (COLOURS[0], "o"),
    "fixed": (COLOURS[1], "s"),
    "fixed, linear": (COLOURS[4], "D"),
    "random": (MUTED, "^"),
}


@dataclass(frozen=True, eq=False)
class AdaptivePanel:
    """One benchmark's tests; arrays have shape (n_llms,) unless said.

    Attributes
    ----------
    score, predicted
        Full scores and their out-of-fold predictions, 0-100.
    exposure
        Share of LLMs that each item went to, shape (n_items,).
    lengths, rmse
        Number of items, and score RMSE there by ``adaptive``, ``fixed``,
        ``fixed, linear`` and ``random``.
    everything
        Score RMSE from all items.
    """

    benchmark: str
    n_items: NDArray[np.int64]
    theta: Floats
    se: Floats
    score: Floats
    predicted: Floats
    exposure: Floats
    lengths: Sequence[int]
    rmse: Mapping[str, Sequence[float]]
    everything: float


@styled
def adaptive_figure(panels: Sequence[AdaptivePanel], title: str) -> Any:
    """Draw a row of four panels a benchmark.

    Parameters
    ----------
    panels
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(12.0, 0.6 + 2.7 * len(panels))
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=11)
    grid = figure.subplots(len(panels), 4, squeeze=False)
    for row, panel in zip(grid, panels, strict=True):
        _length(row[0], panel)
        _recovery(row[1], panel)
        _exposure(row[2], panel)
        _comparison(row[3], panel)
    handles, labels = grid[0][3].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower right", ncols=len(labels), frameon=False, fontsize=8
    )
    return figure


def plot_adaptive(panels: Sequence[AdaptivePanel], title: str, path: Path) -> None:
    """Write `adaptive_figure` to a file; its ending is the format."""
    save_figure(adaptive_figure(panels, title), path)


@styled
def length_figure(drawn: Sequence[AdaptivePanel]) -> Any:
    """Draw the error of scores over the number of items alone, a panel a benchmark.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, grid = panels_grid(len(drawn), 3, 3.1, 2.6, extra=0.35)
    for axes, panel in zip(grid, drawn, strict=False):
        _comparison(axes, panel)
        name = TITLES.get(panel.benchmark, panel.benchmark)
        axes.set_title(f"{name} ({len(panel.exposure)} items)", loc="left")
        axes.set_xlabel("Items given")
        note(axes, f"n = {len(panel.score):,}", "lower left")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _length(axes: Any, panel: AdaptivePanel) -> None:
    dots = axes.scatter(
        panel.n_items, panel.se, c=panel.theta, s=6, cmap="viridis", alpha=0.7, rasterized=True
    )
    bar = axes.figure.colorbar(dots, ax=axes, pad=0.01)
    bar.ax.tick_params(length=0, labelsize=7)
    bar.set_label("ability", fontsize=8, color=MUTED)
    bar.outline.set_visible(False)
    name = TITLES.get(panel.benchmark, panel.benchmark)
    text = f"{name}: {panel.n_items.mean():.1f} of {len(panel.exposure)} items"
    quiet(axes, text, "Items used", "Standard error of ability", grid="both")


def _recovery(axes: Any, panel: AdaptivePanel) -> None:
    both = np.isfinite(panel.score) & np.isfinite(panel.predicted)
    score, predicted = panel.score[both], panel.predicted[both]
    low, high = min(score.min(), predicted.min()), max(score.max(), predicted.max())
    axes.plot([low, high], [low, high], color=LINE, linewidth=1)
    cloud(axes, score, predicted, _DOT)
    note(axes, f"n = {len(score)}\nRMSE = {rmse(score, predicted):.2f}")
    quiet(axes, "Score recovery", "Full score, points", "Predicted, points", grid="both")


def _exposure(axes: Any, panel: AdaptivePanel) -> None:
    ordered = np.sort(panel.exposure)[::-1]
    axes.fill_between(np.arange(1, len(ordered) + 1), ordered, step="mid", color=_DOT, alpha=0.8)
    axes.set_ylim(0.0, 1.0)
    never = int((ordered == 0).sum())
    title = f"{never} items never given"
    quiet(axes, title, "Items, most given first", "Share of LLMs", grid="both")


def _comparison(axes: Any, panel: AdaptivePanel) -> None:
    for kind, (colour, mark) in _KINDS.items():
        axes.plot(
            panel.lengths, panel.rmse[kind], color=colour, marker=mark, markersize=4,
            linewidth=1.2, label=kind,
        )  # fmt: skip
    axes.axhline(panel.everything, color=LINE, linewidth=1.2, linestyle="--", label="all items")
    axes.set_ylim(bottom=0.0)
    quiet(axes, "At equal length", "Items", "RMSE of score, points", grid="both")
