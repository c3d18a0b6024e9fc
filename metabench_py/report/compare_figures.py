"""Figure of runs compared: scores in their order, and who is better than whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metabench_py.irt.model import Floats
from metabench_py.report.figures import check_plot
from metabench_py.storage import atomic_path

_INK, _MUTED, _DOT = "#222222", "#6b6b6b", "#0072B2"
_LONGEST_NAME = 32


def plot_comparison(
    runs: Sequence[str],
    scores: Floats,
    half_widths: Floats,
    probabilities: Floats,
    title: str,
    path: Path,
) -> None:
    """Draw scores with their intervals, best first, and the pairs' probabilities.

    Parameters
    ----------
    scores, half_widths
        Points of 100, shape (n_runs,).
    probabilities
        That the run of the row is better than that of the column, shape (n_runs, n_runs).
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
    order = np.argsort(-scores, kind="stable")
    names = [f"{_short(runs[i])}  {place}" for place, i in enumerate(order, start=1)]
    n = len(names)
    figure = Figure(figsize=(6.5 + 0.45 * n, 1.9 + 0.45 * n), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(4.0, max(2.0, 0.45 * n)))
    y = np.arange(n)
    left.hlines(
        y, scores[order] - half_widths[order], scores[order] + half_widths[order],
        color=_DOT, linewidth=3, alpha=0.45,
    )  # fmt: skip
    left.plot(scores[order], y, "o", color=_DOT, markersize=6)
    left.set_yticks(y, names)
    left.set_ylim(n - 0.5, -0.5)
    left.set_xlabel("Score", color=_MUTED)
    left.set_title(title, loc="left", color=_INK, fontsize=11)
    left.grid(axis="x", color="#eeeeee", linewidth=0.8)
    # Violet where the row is better, orange where the column is.
    right.imshow(
        probabilities[np.ix_(order, order)], vmin=0.0, vmax=1.0, cmap="PuOr", aspect="auto"
    )
    for i in range(n):
        for k in range(n):
            if i != k:
                p = float(probabilities[order[i], order[k]])
                colour = "white" if abs(p - 0.5) > 0.35 else _INK
                right.text(k, i, f"{p:.2f}", ha="center", va="center", fontsize=8, color=colour)
    right.set_xticks(y, [str(i + 1) for i in range(n)])
    right.set_yticks(y, [str(i + 1) for i in range(n)])
    right.set_xlabel("Place", color=_MUTED)
    right.set_title("Probability that the row is better", loc="left", color=_INK, fontsize=9)
    for axes in (left, right):
        axes.set_axisbelow(True)
        axes.tick_params(length=0, colors=_INK, labelsize=8)
        for side in axes.spines.values():
            side.set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)


def _short(name: str) -> str:
    """Shorten in the middle: names of siblings differ at their ends."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:10]}…{name[11 - _LONGEST_NAME :]}"
