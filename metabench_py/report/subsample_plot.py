"""Figure of a subsampling: how far random subsets of items are from the full score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.irt.model import Floats
from metabench_py.report.canvas import COLOURS, note, panels, quiet, save_figure, styled

_FILLED, _CHOSEN = COLOURS[5], COLOURS[1]
_OUTLINES = (COLOURS[0], *COLOURS[2:5])
_COLUMNS = 3
# Share of the subsets with the largest errors that is left off, and counted.
_OFF = 0.02


@styled
def subsample_figure(
    worst: Mapping[str, Floats],
    chosen: Mapping[str, float],
    null: Mapping[str, Sequence[tuple[int, Floats]]],
) -> Any:
    """Draw a histogram a benchmark.

    Parameters
    ----------
    worst
        Largest validation RMSE over the folds of each subset, shape (n_subsets,).
    chosen
        That of the chosen subset.
    null
        The same of subsets of other sizes: number of items and errors.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, grid = panels(len(worst), _COLUMNS, 3.2, 2.4, extra=0.4)
    for each, (name, errors) in zip(grid, worst.items(), strict=False):
        others = null.get(name, ())
        every = np.concatenate([errors, *(values for _, values in others)])
        every = every[np.isfinite(every)]
        # A spline that is extrapolated far can err by 50 points; it would hide all others.
        far = np.quantile(every, 1.0 - _OFF)
        bins = np.histogram_bin_edges(every[every <= far], 50)
        beyond = int((every > bins[-1]).sum())
        if beyond:
            note(each, f"{beyond} further right", size=7)
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
        quiet(each, name, "", "Density")
        each.set_yticks([])
        each.legend(fontsize=7)
    figure.supxlabel("Largest validation RMSE over the folds, points", fontsize=9)
    return figure


def plot_subsample(
    worst: Mapping[str, Floats],
    chosen: Mapping[str, float],
    null: Mapping[str, Sequence[tuple[int, Floats]]],
    path: Path,
) -> None:
    """Write `subsample_figure` to a file; its ending is the format."""
    save_figure(subsample_figure(worst, chosen, null), path)
