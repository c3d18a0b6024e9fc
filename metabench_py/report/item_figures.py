"""Figures of items: what each rule of the preprocessing left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.canvas import COLOURS, LINE, new_figure, quiet, save_figure, styled

_KEPT = LINE
_RULES = {
    "variance": (COLOURS[1], "too little spread"),
    "too_easy": (COLOURS[0], "too easy"),
    "low_disc": (COLOURS[2], "too little discrimination"),
}
_COLUMNS = {
    "sd": "Standard deviation",
    "difficulty": "Difficulty (share right x 0.75)",
    "discrimination": "Discrimination",
}
_BINS = 40


@dataclass(frozen=True, eq=False)
class ItemPanel:
    """One benchmark's items; arrays of shape (n_items,).

    Attributes
    ----------
    sd, difficulty, discrimination
        NaN where an item has none; it is not drawn then.
    reason
        Rule that left an item out; empty: it is kept.
    """

    benchmark: str
    sd: Floats
    difficulty: Floats
    discrimination: Floats
    reason: NDArray[np.str_]


@styled
def item_figure(panels: Sequence[ItemPanel]) -> Any:
    """Draw the distributions of SD, difficulty and discrimination, a row a benchmark.

    Parameters
    ----------
    panels
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(10.0, 0.9 + 1.7 * len(panels))
    grid = figure.subplots(len(panels), len(_COLUMNS), squeeze=False)
    for row, panel in enumerate(panels):
        for column, (name, label) in enumerate(_COLUMNS.items()):
            axes = grid[row, column]
            _histogram(axes, getattr(panel, name), panel.reason)
            last = row == len(panels) - 1
            quiet(axes, "", label if last else "", "" if column else "Items", grid="y")
        left_out = int(np.isin(panel.reason, list(_RULES)).sum())
        title = TITLES.get(panel.benchmark, panel.benchmark)
        grid[row, 0].set_title(
            f"{title}: {int((panel.reason == '').sum())} items kept, {left_out} left out",
            loc="left", fontsize=10,
        )  # fmt: skip
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def plot_items(panels: Sequence[ItemPanel], path: Path) -> None:
    """Write `item_figure` to a file; its ending is the format."""
    save_figure(item_figure(panels), path)


def _histogram(axes: Any, values: Floats, reason: NDArray[np.str_]) -> None:
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    groups = [("", (_KEPT, "kept")), *_RULES.items()]
    axes.hist(
        [values[known & (reason == name)] for name, _ in groups],
        bins=edges,
        stacked=True,
        color=[colour for _, (colour, _) in groups],
        label=[label for _, (_, label) in groups],
    )
