"""Figure of item parameters from two fits of the same items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import ItemParameters
from metabench_py.report.agreement import pearson, spearman
from metabench_py.report.canvas import (
    BENCHMARK_COLOURS,
    COLOURS,
    MUTED,
    cloud,
    new_figure,
    note,
    quiet,
    styled,
)


@dataclass(frozen=True, eq=False)
class ParameterPanel:
    """One benchmark's items, in the same order in both fits."""

    benchmark: str
    first: ItemParameters
    second: ItemParameters


@styled
def parameter_figure(drawn: Sequence[ParameterPanel], names: tuple[str, str]) -> Any:
    """Draw slopes and intercepts of one fit against the other's, a column a benchmark.

    Parameters
    ----------
    names
        What the fits are called.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(2.5 * len(drawn), 5.0)
    rows = figure.subplots(2, len(drawn), squeeze=False)
    for column, panel in enumerate(drawn):
        colour = BENCHMARK_COLOURS.get(panel.benchmark, COLOURS[0])
        title = f"{TITLES.get(panel.benchmark, panel.benchmark)} ({len(panel.first.items)} items)"
        for row, (name, what) in enumerate((("a1", "Slope a"), ("d", "Intercept d"))):
            axes = rows[row][column]
            one, other = getattr(panel.first, name), getattr(panel.second, name)
            axes.axline((0.0, 0.0), slope=1.0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            cloud(axes, one, other, colour)
            note(axes, f"r = {pearson(one, other):.3f}\nrank r = {spearman(one, other):.3f}")
            quiet(
                axes, "" if row else title, f"{what} ({names[0]})",
                f"{what} ({names[1]})", grid="both",
            )  # fmt: skip
    return figure
