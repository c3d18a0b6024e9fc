"""Figure of a subsampling: how far random subsets of items are from the full score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.report.figures import FORMATS
from metabench_py.storage import atomic_path

_FILLED, _CHOSEN, _INK = "#56B4E9", "#D55E00", "#222222"
_OUTLINES = ("#0072B2", "#009E73", "#CC79A7", "#E69F00")
_COLUMNS = 3
# Share of the subsets with the largest errors that is left off, and counted.
_OFF = 0.02


def check_subsample_plot(path: Path) -> None:
    """Refuse a file name without a known ending before any work is done."""
    if path.suffix not in FORMATS:
        raise InputError(f"--plot {path}: end its name in {', '.join(FORMATS)}.", path=str(path))


def plot_subsample(
    worst: Mapping[str, Floats],
    chosen: Mapping[str, float],
    null: Mapping[str, Sequence[tuple[int, Floats]]],
    path: Path,
) -> None:
    """Draw a histogram a benchmark.

    Parameters
    ----------
    worst
        Largest validation RMSE over the folds of each subset, shape (n_subsets,).
    chosen
        That of the chosen subset.
    null
        The same of subsets of other sizes: number of items and errors.
    path
        File to write; its ending is the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_subsample_plot(path)
    columns = min(_COLUMNS, len(worst))
    rows = -(-len(worst) // columns)
    figure = Figure(figsize=(3.2 * columns + 0.6, 2.4 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for each in axes.flat:
        each.set_axis_off()
    for each, (name, errors) in zip(axes.flat, worst.items(), strict=False):
        each.set_axis_on()
        others = null.get(name, ())
        every = np.concatenate([errors, *(values for _, values in others)])
        every = every[np.isfinite(every)]
        # A spline that is extrapolated far can err by 50 points; it would hide all others.
        far = np.quantile(every, 1.0 - _OFF)
        bins = np.histogram_bin_edges(every[every <= far], 50)
        beyond = int((every > bins[-1]).sum())
        if beyond:
            each.annotate(
                f"{beyond} further right",
                (1.0, 0.6),
                xycoords="axes fraction",
                ha="right",
                va="bottom",
                fontsize=7,
                color=_INK,
            )
        each.hist(errors[np.isfinite(errors)], bins, density=True, color=_FILLED)
        for i, (n_items, values) in enumerate(others):
            each.hist(
                values[np.isfinite(values)],
                bins,
                density=True,
                histtype="step",
                color=_OUTLINES[i % len(_OUTLINES)],
                label=f"{n_items} items",
            )
        each.axvline(chosen[name], color=_CHOSEN, label=f"chosen: {chosen[name]:.2f}")
        each.set_title(name, loc="left", fontsize=10, color=_INK)
        each.set_yticks([])
        each.tick_params(labelsize=8)
        each.legend(fontsize=7, frameon=False)
        for side in ("left", "right", "top"):
            each.spines[side].set_visible(False)
    figure.supxlabel("Largest validation RMSE over the folds, score points", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
