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
from metabench_py.report.figures import check_plot
from metabench_py.storage import atomic_path

_INK, _MUTED, _LINE, _DOT = "#222222", "#6b6b6b", "#c4cad1", "#0072B2"
# Okabe & Ito's colours and a mark each, for those who see no colours.
_KINDS = {
    "adaptive": ("#0072B2", "o"),
    "fixed": ("#D55E00", "s"),
    "fixed, linear": ("#E69F00", "D"),
    "random": ("#6b6b6b", "^"),
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


def plot_adaptive(panels: Sequence[AdaptivePanel], title: str, path: Path) -> None:
    """Draw a row of four panels a benchmark.

    Parameters
    ----------
    panels
        At least one.
    path
        File to write; its ending is the format.

    Raises
    ------
    InputError
        The file's name has no known ending.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_plot(path, 1)
    figure = Figure(figsize=(12.0, 0.6 + 2.7 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", color=_INK, fontsize=11)
    grid = figure.subplots(len(panels), 4, squeeze=False)
    for row, panel in zip(grid, panels, strict=True):
        _length(row[0], panel)
        _recovery(row[1], panel)
        _exposure(row[2], panel)
        _comparison(row[3], panel)
        for axes in row:
            axes.tick_params(length=0, labelsize=7, colors=_INK)
            axes.grid(color="#eeeeee", linewidth=0.8)
            axes.set_axisbelow(True)
            for side in axes.spines.values():
                side.set_visible(False)
    handles, labels = grid[0][3].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower right", ncols=len(labels), frameon=False, fontsize=8
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)


def _length(axes: Any, panel: AdaptivePanel) -> None:
    dots = axes.scatter(
        panel.n_items, panel.se, c=panel.theta, s=6, cmap="viridis", alpha=0.7, rasterized=True
    )
    bar = axes.figure.colorbar(dots, ax=axes, pad=0.01)
    bar.ax.tick_params(length=0, labelsize=6)
    bar.set_label("ability", fontsize=7, color=_MUTED)
    bar.outline.set_visible(False)
    axes.set_xlabel("items used", color=_MUTED, fontsize=8)
    axes.set_ylabel("standard error", color=_MUTED, fontsize=8)
    name = TITLES.get(panel.benchmark, panel.benchmark)
    text = f"{name}: {panel.n_items.mean():.1f} of {len(panel.exposure)} items"
    axes.set_title(text, loc="left", color=_INK, fontsize=9)


def _recovery(axes: Any, panel: AdaptivePanel) -> None:
    both = np.isfinite(panel.score) & np.isfinite(panel.predicted)
    score, predicted = panel.score[both], panel.predicted[both]
    low, high = min(score.min(), predicted.min()), max(score.max(), predicted.max())
    axes.plot([low, high], [low, high], color=_LINE, linewidth=1)
    axes.plot(score, predicted, "o", color=_DOT, markersize=2, alpha=0.4, rasterized=True)
    error = float(np.sqrt(((score - predicted) ** 2).mean()))
    axes.set_title(f"RMSE {error:.2f}", loc="left", color=_INK, fontsize=9)
    axes.set_xlabel("full score", color=_MUTED, fontsize=8)
    axes.set_ylabel("predicted", color=_MUTED, fontsize=8)


def _exposure(axes: Any, panel: AdaptivePanel) -> None:
    ordered = np.sort(panel.exposure)[::-1]
    axes.fill_between(np.arange(1, len(ordered) + 1), ordered, step="mid", color=_DOT, alpha=0.8)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("items, most given first", color=_MUTED, fontsize=8)
    axes.set_ylabel("share of LLMs", color=_MUTED, fontsize=8)
    never = int((ordered == 0).sum())
    axes.set_title(f"{never} items never given", loc="left", color=_INK, fontsize=9)


def _comparison(axes: Any, panel: AdaptivePanel) -> None:
    for kind, (colour, mark) in _KINDS.items():
        axes.plot(
            panel.lengths, panel.rmse[kind], color=colour, marker=mark, markersize=4,
            linewidth=1.2, label=kind,
        )  # fmt: skip
    axes.axhline(panel.everything, color=_LINE, linewidth=1, label="all items")
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("items", color=_MUTED, fontsize=8)
    axes.set_ylabel("score RMSE", color=_MUTED, fontsize=8)
    axes.set_title("at equal length", loc="left", color=_INK, fontsize=9)
