"""Figure of runs compared: scores in their order, and who is better than whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.irt.model import Floats
from metabench_py.report.canvas import (
    COLOURS,
    DIVERGING,
    INK,
    bare,
    new_figure,
    quiet,
    save_figure,
    styled,
)

_DOT = COLOURS[0]
_LONGEST_NAME = 32


@styled
def comparison_figure(
    runs: Sequence[str],
    scores: Floats,
    half_widths: Floats,
    probabilities: Floats,
    title: str,
) -> Any:
    """Draw scores with their intervals, best first, and the pairs' probabilities.

    Parameters
    ----------
    scores, half_widths
        Points of 100, shape (n_runs,); what of an interval lies beyond 0 to 100 is not drawn.
    probabilities
        That the run of the row is better than that of the column, shape (n_runs, n_runs).

    Returns
    -------
    matplotlib.figure.Figure
    """
    order = np.argsort(-scores, kind="stable")
    names = [f"{_short(runs[i])}  {place}" for place, i in enumerate(order, start=1)]
    n = len(names)
    # Two or three columns alone would be narrower than the title above them.
    wide = 0.45 * max(n, 6)
    figure = new_figure(6.5 + wide, 1.9 + 0.45 * n)
    left, right = figure.subplots(1, 2, width_ratios=(4.0, wide))
    y = np.arange(n)
    lower, upper = (np.clip(scores + side * half_widths, 0.0, 100.0)[order] for side in (-1, 1))
    left.hlines(y, lower, upper, color=_DOT, linewidth=3, alpha=0.45)
    left.plot(scores[order], y, "o", color=_DOT, markersize=6)
    left.set_yticks(y, names)
    left.set_ylim(n - 0.5, -0.5)
    quiet(left, title, "Score, points", "", grid="x")
    # Violet where the row is better, orange where the column is.
    right.imshow(
        probabilities[np.ix_(order, order)], vmin=0.0, vmax=1.0, cmap=DIVERGING, aspect="auto"
    )
    for i in range(n):
        for k in range(n):
            if i != k:
                p = float(probabilities[order[i], order[k]])
                colour = "white" if abs(p - 0.5) > 0.35 else INK
                right.text(k, i, f"{p:.2f}", ha="center", va="center", fontsize=8, color=colour)
    right.set_xticks(y, [str(i + 1) for i in range(n)])
    right.set_yticks(y, [str(i + 1) for i in range(n)])
    quiet(right, "Probability that the row is better", "Place", "Place")
    bare(right)
    return figure


def plot_comparison(
    runs: Sequence[str],
    scores: Floats,
    half_widths: Floats,
    probabilities: Floats,
    title: str,
    path: Path,
) -> None:
    """Write `comparison_figure` to a file; its ending is the format."""
    save_figure(comparison_figure(runs, scores, half_widths, probabilities, title), path)


def _short(name: str) -> str:
    """Shorten in the middle: names of siblings differ at their ends."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:10]}…{name[11 - _LONGEST_NAME :]}"
