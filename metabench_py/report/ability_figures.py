"""Figures of LLMs' abilities and scores: curves, distributions, correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.agreement import spearman
from metabench_py.report.canvas import (
    BENCHMARK_COLOURS,
    COLOURS,
    DIVERGING,
    INK,
    MUTED,
    bare,
    cloud,
    new_figure,
    note,
    panels,
    quiet,
    styled,
)
from metabench_py.report.figures import density

_COLUMNS = 3


@dataclass(frozen=True, eq=False)
class AbilityPanel:
    """One benchmark's LLMs.

    Attributes
    ----------
    theta, score
        Abilities and full scores (0-100), shape (n_llms,).
    at, curve
        Fitted score at these abilities, shape (n,).
    n_items
        Items that abilities come from; None: not known.
    """

    benchmark: str
    theta: Floats
    score: Floats
    at: Floats
    curve: Floats
    n_items: int | None


@styled
def theta_score_figure(drawn: Sequence[AbilityPanel]) -> Any:
    """Draw full scores over abilities with the fitted curve, a panel a benchmark.

    r is Spearman's; the residual SD is that of scores about the curve, in points.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, grid = panels(len(drawn), _COLUMNS, 3.1, 2.7, sharex=True, sharey=True)
    for axes, panel in zip(grid, drawn, strict=False):
        cloud(axes, panel.theta, panel.score, BENCHMARK_COLOURS.get(panel.benchmark, COLOURS[0]))
        axes.plot(panel.at, panel.curve, color=INK, linewidth=1.4)
        spread = float(np.std(panel.score - np.interp(panel.theta, panel.at, panel.curve)))
        note(
            axes,
            f"n = {len(panel.theta):,}\nr = {spearman(panel.theta, panel.score):.3f}\n"
            f"residual SD = {spread:.2f}",
        )
        title = TITLES.get(panel.benchmark, panel.benchmark)
        if panel.n_items is not None:
            title += f" ({panel.n_items} items)"
        quiet(axes, title, "Ability θ", "Full score, points", grid="both")
        axes.label_outer()
        axes.set_ylim(0.0, 100.0)
    return figure


@styled
def distribution_figure(scores: Mapping[str, Mapping[str, tuple[Floats, Floats]]]) -> Any:
    """Draw densities of scores, a panel a target, a line a group of LLMs.

    Parameters
    ----------
    scores
        By target, then by group: quantiles and their levels (0 to 1), shape (n,) each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = 4 if len(scores) > 6 else _COLUMNS
    figure, grid = panels(len(scores), columns, 2.8, 2.2, extra=0.3, sharex=True)
    x = np.linspace(0.0, 100.0, 501)
    for axes, (target, groups) in zip(grid, scores.items(), strict=False):
        colour = BENCHMARK_COLOURS.get(target, COLOURS[0])
        for number, (group, (values, levels)) in enumerate(groups.items()):
            height = density(values, levels, x)
            height = height / (height.sum() * (x[1] - x[0]))
            if number == 0:
                axes.fill_between(x, height, color=colour, alpha=0.25, linewidth=0)
            axes.plot(
                x, height, color=colour if number == 0 else INK, linewidth=1.4,
                linestyle="-" if number == 0 else "--", label=group,
            )  # fmt: skip
        quiet(axes, TITLES.get(target, target), "Score, points", "Density", grid="x")
        axes.set(xlim=(0.0, 100.0))
        axes.set_ylim(bottom=0.0)
        axes.set_yticks([])
        axes.tick_params(labelbottom=True)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


@styled
def correlation_figure(
    matrices: Mapping[str, Floats], variables: Sequence[str], n_llms: int
) -> Any:
    """Draw correlation matrices side by side, numbers in their lower triangles.

    Parameters
    ----------
    matrices
        By title, shape (n_variables, n_variables) each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n = len(variables)
    names = [TITLES.get(v, v) for v in variables]
    side = 0.52 * n
    figure = new_figure((side + 0.6) * len(matrices) + 1.6, side + 1.4)
    grid = figure.subplots(1, len(matrices), squeeze=False)[0]
    negative = any(float(matrix.min()) < 0.0 for matrix in matrices.values())
    low, colours = (-1.0, f"{DIVERGING}_r") if negative else (0.0, "Blues")
    for number, (axes, (title, matrix)) in enumerate(zip(grid, matrices.items(), strict=True)):
        shown = np.ma.masked_where(np.triu(np.ones((n, n), bool)), matrix)[1:, :-1]
        picture = axes.imshow(shown, vmin=low, vmax=1.0, cmap=colours)
        for i in range(1, n):
            for k in range(i):
                value = float(matrix[i, k])
                axes.text(
                    k, i - 1, f"{value:.2f}", ha="center", va="center", fontsize=8,
                    color="white" if abs(value) > 0.65 else INK,
                )  # fmt: skip
        axes.set_xticks(range(n - 1), names[:-1], rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n - 1), names[1:] if number == 0 else [""] * (n - 1))
        quiet(axes, title, "", "")
        bare(axes)
    bar = figure.colorbar(picture, ax=list(grid), shrink=0.75, pad=0.02)
    bar.set_label(f"Spearman's r ({n_llms:,} LLMs)", color=MUTED, fontsize=9)
    bar.ax.tick_params(length=0, labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    return figure
