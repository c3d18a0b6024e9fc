"""Figure of the logistic study: items' curves, predicted scores, errors by number of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.agreement import told
from metabench_py.report.canvas import (
    COLOURS,
    INK,
    LINE,
    MUTED,
    new_figure,
    note,
    quiet,
    save_figure,
    styled,
)

_MOST_CURVES = 150
_SCORES = np.linspace(0.0, 100.0, 201)


@dataclass(frozen=True, eq=False)
class LogisticPanel:
    """One benchmark.

    Attributes
    ----------
    slope, intercept
        Of each item's curve over the score, shape (n_items,).
    score, predicted
        Of held-out LLMs, 0-100, shape (n_llms,).
    errors
        By the name of a method: numbers of items, ascending, and RMSE with so many.
    """

    benchmark: str
    slope: Floats
    intercept: Floats
    score: Floats
    predicted: Floats
    errors: Mapping[str, tuple[Sequence[int], Sequence[float]]]


@styled
def logistic_figure(panels: Sequence[LogisticPanel]) -> Any:
    """Draw a row of three panels a benchmark.

    Parameters
    ----------
    panels
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(10.5, 3.1 * len(panels) + 0.4)
    grid = figure.subplots(len(panels), 3, squeeze=False)
    for (curves, scatter, errors), panel in zip(grid, panels, strict=True):
        title = TITLES.get(panel.benchmark, panel.benchmark)
        _curves(curves, panel)
        quiet(curves, f"{title}: items", "Score, points", "P(right)", grid="y")
        low = float(min(panel.score.min(), panel.predicted.min()))
        high = float(max(panel.score.max(), panel.predicted.max()))
        scatter.plot([low, high], [low, high], color=LINE, linewidth=1)
        scatter.plot(
            panel.score, panel.predicted, ".", color=COLOURS[0], markersize=3, alpha=0.35,
            rasterized=True,
        )  # fmt: skip
        note(scatter, told(panel.score, panel.predicted))
        quiet(scatter, "All items", "Score of held-out LLMs, points", "Posterior mode, points")
        for number, (name, (sizes, values)) in enumerate(panel.errors.items()):
            errors.plot(
                sizes, values, "o-" if number < 3 else "o--", color=COLOURS[number % len(COLOURS)],
                markersize=3, linewidth=1.2, label=name,
            )  # fmt: skip
        errors.set_xscale("log")
        every = sorted({size for sizes, _ in panel.errors.values() for size in sizes})
        # On a logarithmic scale close numbers would be written over each other.
        ticks = [n for n, more in zip(every, [*every[1:], 1 << 30], strict=True) if more > 1.25 * n]
        errors.set_xticks(ticks, [str(size) for size in ticks])
        errors.minorticks_off()
        errors.set_ylim(bottom=0.0)
        quiet(errors, "Held-out error", "Items (log scale)", "RMSE, points", grid="y")
    handles, labels = grid[0][2].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=8
    )
    return figure


def _curves(axes: Any, panel: LogisticPanel) -> None:
    from matplotlib import colormaps

    # Steep ones are drawn last and dark; of many items every so-manieth.
    order = np.argsort(np.abs(panel.slope), kind="stable")
    order = order[:: max(1, -(-len(order) // _MOST_CURVES))]
    shades = colormaps["Blues"](np.linspace(0.25, 1.0, len(order)))
    for shade, item in zip(shades, order, strict=True):
        logit = panel.intercept[item] + panel.slope[item] * _SCORES
        falling = panel.slope[item] < 0
        axes.plot(
            _SCORES, 0.5 * (1.0 + np.tanh(0.5 * logit)), linewidth=0.7,
            color=COLOURS[1] if falling else shade, zorder=3 if falling else 2,
        )  # fmt: skip
    n_falling = int((panel.slope < 0).sum())
    if n_falling:
        axes.annotate(
            f"{n_falling} of {len(panel.slope)} fall (orange)", (0.02, 0.94),
            xycoords="axes fraction", color=INK, fontsize=7,
        )  # fmt: skip
    axes.set_xlim(0.0, 100.0)
    axes.set_ylim(-0.02, 1.02)
    axes.tick_params(colors=MUTED)


def plot_logistic(panels: Sequence[LogisticPanel], path: Path) -> None:
    """Write `logistic_figure` to a file; its ending is the format."""
    save_figure(logistic_figure(panels), path)
