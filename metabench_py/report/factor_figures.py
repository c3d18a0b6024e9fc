"""Figures of a factor analysis: loadings, and eigenvalues beside random ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.figures import check_plot
from metabench_py.storage import atomic_path

_INK, _MUTED, _LINE = "#222222", "#6b6b6b", "#c4cad1"
# Okabe & Ito's colours.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def plot_factors(
    variables: Sequence[str],
    loadings: Sequence[Floats],
    values: Floats,
    random: Floats,
    path: Path,
) -> None:
    """Draw each solution's loadings and the scree of the factors.

    Parameters
    ----------
    loadings
        One array a solution, shape (n_variables, n_factors).
    values, random
        Eigenvalues of the data and of random numbers, shape (n_variables,).
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
    columns = len(loadings) + 1
    figure = Figure(
        figsize=(2.6 * columns + 1.2, 0.9 + 0.42 * max(len(variables), 5)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, columns, squeeze=False)[0]
    y = np.arange(len(variables), dtype=float)
    for axes, solution in zip(grid, loadings, strict=False):
        n = solution.shape[1]
        height = 0.75 / n
        for k in range(n):
            offset = (k - (n - 1) / 2) * height
            axes.barh(
                y + offset, solution[:, k], height, color=_COLOURS[k % len(_COLOURS)],
                label=f"factor {k + 1}",
            )  # fmt: skip
        axes.axvline(0.0, color=_LINE, linewidth=1)
        axes.set_xlim(
            min(-0.25, float(solution.min()) - 0.05), max(1.05, float(solution.max()) + 0.05)
        )
        axes.set_ylim(len(variables) - 0.4, -0.6)
        axes.set_yticks(y, [TITLES.get(v, v) for v in variables] if axes is grid[0] else [])
        axes.set_title(f"{n} factor{'s' if n > 1 else ''}", loc="left", color=_INK, fontsize=10)
        axes.set_xlabel("Loading", color=_MUTED, fontsize=9)
    scree = grid[-1]
    x = np.arange(1, len(values) + 1)
    scree.plot(x, values, "o-", color=_COLOURS[0], markersize=4, label="data")
    scree.plot(x, random, "o--", color=_COLOURS[1], markersize=3, label="random")
    scree.set_xticks(x)
    scree.set_title("Eigenvalues", loc="left", color=_INK, fontsize=10)
    scree.set_xlabel("Factor", color=_MUTED, fontsize=9)
    scree.legend(frameon=False, fontsize=8)
    handles, labels = grid[len(loadings) - 1].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize=8
    )
    for axes in grid:
        axes.tick_params(length=0, colors=_INK, labelsize=8)
        axes.grid(axis="y" if axes is scree else "x", color="#eeeeee", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
