"""Figures of how well selected items give back the full scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.agreement import told
from metabench_py.report.canvas import (
    BENCHMARK_COLOURS,
    COLOURS,
    MUTED,
    cloud,
    note,
    panels,
    quiet,
    save_figure,
    styled,
)

_MOST_COLUMNS = 4


@dataclass(frozen=True, eq=False)
class RecoveryPanel:
    """One target's held-out LLMs; arrays of shape (n_llms,), 0-100.

    Attributes
    ----------
    benchmark
        A target, or any name.
    what
        Which LLMs, for instance ``test``.
    n_items
        Items that the prediction uses; None: not told.
    """

    benchmark: str
    score: Floats
    predicted: Floats
    what: str
    n_items: int | None = None


@styled
def recovery_figure(drawn: Sequence[RecoveryPanel]) -> Any:
    """Draw predicted against full scores, a panel a target.

    RMSE is in points, r is Spearman's; all panels have the same axes.

    Parameters
    ----------
    drawn
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = _MOST_COLUMNS if len(drawn) > 6 else 3
    figure, grid = panels(len(drawn), columns, 2.9, 2.9)
    for axes, panel in zip(grid, drawn, strict=False):
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        colour = BENCHMARK_COLOURS.get(panel.benchmark, COLOURS[0])
        cloud(axes, panel.score, np.clip(panel.predicted, 0.0, 100.0), colour)
        note(axes, told(panel.score, panel.predicted))
        title = TITLES.get(panel.benchmark, panel.benchmark)
        if panel.n_items is not None:
            title += f" ({panel.n_items} items)"
        quiet(
            axes, title, f"Score of {panel.what} LLMs, points", "Predicted score, points",
            grid="both",
        )  # fmt: skip
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        axes.set_xticks(range(0, 101, 25))
        axes.set_yticks(range(0, 101, 25))
    if len(grid) > len(drawn):
        grid[len(drawn)].text(
            0.0, 0.9, "n: LLMs\nRMSE: points\nr: Spearman\ndashed: predicted = true", va="top",
            color=MUTED, linespacing=1.5,
        )  # fmt: skip
    return figure


def plot_recovery(drawn: Sequence[RecoveryPanel], path: Path) -> None:
    """Write `recovery_figure` to a file; its ending is the format."""
    save_figure(recovery_figure(drawn), path)
