"""Figures of a factor analysis: loadings, and eigenvalues beside random ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.canvas import COLOURS, LINE, new_figure, quiet, save_figure, styled


@styled
def factor_figure(
    variables: Sequence[str],
    loadings: Sequence[Floats],
    values: Floats,
    random: Floats,
    n_llms: int | None = None,
) -> Any:
    """Draw each solution's loadings and the scree of the factors.

    Parameters
    ----------
    loadings
        One array a solution, shape (n_variables, n_factors).
    values, random
        Eigenvalues of the data and of random numbers, shape (n_variables,).
    n_llms
        LLMs that it was fitted on, to be told; None: not told.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = len(loadings) + 1
    figure = new_figure(2.6 * columns + 1.2, 0.9 + 0.42 * max(len(variables), 5))
    grid = figure.subplots(1, columns, squeeze=False)[0]
    y = np.arange(len(variables), dtype=float)
    for axes, solution in zip(grid, loadings, strict=False):
        n = solution.shape[1]
        height = 0.75 / n
        for k in range(n):
            offset = (k - (n - 1) / 2) * height
            axes.barh(
                y + offset, solution[:, k], height, color=COLOURS[k % len(COLOURS)],
                label=f"factor {k + 1}",
            )  # fmt: skip
        axes.axvline(0.0, color=LINE, linewidth=1)
        axes.set_xlim(
            min(-0.25, float(solution.min()) - 0.05), max(1.05, float(solution.max()) + 0.05)
        )
        axes.set_ylim(len(variables) - 0.4, -0.6)
        axes.set_yticks(y, [TITLES.get(v, v) for v in variables] if axes is grid[0] else [])
        quiet(axes, f"{n} factor{'s' if n > 1 else ''}", "Loading", "", grid="x")
    scree = grid[-1]
    x = np.arange(1, len(values) + 1)
    scree.plot(x, values, "o-", color=COLOURS[0], markersize=4, label="data")
    scree.plot(x, random, "o--", color=COLOURS[1], markersize=3, label="random")
    scree.set_xticks(x)
    quiet(
        scree,
        "Scree" if n_llms is None else f"Scree (n = {n_llms:,})",
        "Factor",
        "Eigenvalue",
        grid="y",
    )
    scree.legend(frameon=False, fontsize=8)
    handles, labels = grid[len(loadings) - 1].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize=8
    )
    return figure


def plot_factors(
    variables: Sequence[str],
    loadings: Sequence[Floats],
    values: Floats,
    random: Floats,
    path: Path,
) -> None:
    """Write `factor_figure` to a file; its ending is the format."""
    save_figure(factor_figure(variables, loadings, values, random), path)
