"""Figure of the answers study: errors along the pruning, predicted answers, the share right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.canvas import (
    COLOURS,
    LINE,
    new_figure,
    quiet,
    save_figure,
    styled,
)


@dataclass(frozen=True, eq=False)
class AnswersPanel:
    """One benchmark.

    Attributes
    ----------
    pruned
        Held-out RMSE of the linear predictor of d items at d - 1, shape (n_items,).
    sizes
        Numbers of items left, ascending.
    errors
        By the name of another predictor: its held-out RMSE at each of `sizes`.
    majority, accuracy
        Of each removed item's predicted answers, from the largest size; shape (n_removed,).
    share, predicted
        Share of right answers of held-out LLMs, and predicted, 0-100; shape (n_llms,).
    """

    benchmark: str
    pruned: Floats
    sizes: Sequence[int]
    errors: Mapping[str, Sequence[float]]
    majority: Floats
    accuracy: Floats
    share: Floats
    predicted: Floats


@styled
def answers_figure(panels: Sequence[AnswersPanel]) -> Any:
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
    for (errors, items, share), panel in zip(grid, panels, strict=True):
        title = TITLES.get(panel.benchmark, panel.benchmark)
        d = np.arange(1, len(panel.pruned) + 1)
        # The first few items, with errors of a whole benchmark's spread, would hide the rest.
        first = min(int(min(panel.sizes)), len(d)) - 1
        errors.plot(
            d[first:], panel.pruned[first:], color=COLOURS[0], linewidth=1.4,
            label="linear, pruned items",
        )  # fmt: skip
        for number, (name, values) in enumerate(panel.errors.items(), start=1):
            errors.plot(
                panel.sizes, values, "o", color=COLOURS[number % len(COLOURS)], markersize=4,
                label=name,
            )  # fmt: skip
        errors.set_ylim(bottom=0.0)
        quiet(
            errors, f"{title}: error of the score", "Items left", "Held-out RMSE, points", grid="y"
        )
        low = float(min(panel.majority.min(), panel.accuracy.min())) - 0.02
        items.plot([low, 1.0], [low, 1.0], color=LINE, linewidth=1)
        items.plot(panel.majority, panel.accuracy, "o", color=COLOURS[2], markersize=3, alpha=0.6)
        quiet(
            items, f"Answers to removed items, from {max(panel.sizes)}",
            "Right by the more frequent answer", "Right by regression",
        )  # fmt: skip
        ends = [
            float(min(panel.share.min(), panel.predicted.min())),
            float(max(panel.share.max(), panel.predicted.max())),
        ]
        share.plot(ends, ends, color=LINE, linewidth=1)
        share.plot(
            panel.share, panel.predicted, ".", color=COLOURS[0], markersize=3, alpha=0.35,
            rasterized=True,
        )  # fmt: skip
        rmse = float(np.sqrt(np.mean((panel.share - panel.predicted) ** 2)))
        quiet(share, f"Share right: RMSE {rmse:.2f}", "In the matrix, %", "Known and predicted, %")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=8
    )
    return figure


def plot_answers(panels: Sequence[AnswersPanel], path: Path) -> None:
    """Write `answers_figure` to a file; its ending is the format."""
    save_figure(answers_figure(panels), path)
