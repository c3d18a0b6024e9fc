"""Figure of the synergy study: gain of a joint reconstruction by correlation and dependence."""

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
    LINE,
    MUTED,
    bare,
    new_figure,
    quiet,
    save_figure,
    styled,
)


@styled
def synergy_figure(
    correlations: Sequence[float],
    dependences: Sequence[float],
    gains: Floats,
    mean: Floats,
    lower: Floats,
    upper: Floats,
) -> Any:
    """Draw the gain of every setting, and its course with the correlation.

    Parameters
    ----------
    correlations, dependences
        Ascending.
    gains
        RMSE separate less joint, points, shape (n_dependences, n_correlations).
    mean, lower, upper
        Over the dependences, with its interval (may be NaN), shape (n_correlations,).

    Returns
    -------
    matplotlib.figure.Figure
    """
    rho, alpha = np.asarray(correlations, float), np.asarray(dependences, float)
    grid = len(rho) > 1 and len(alpha) > 1
    figure = new_figure(10.0 if grid else 5.4, 4.4)
    panels = figure.subplots(1, 1 + grid, squeeze=False)[0]
    if grid:
        _draw_grid(figure, panels[0], rho, alpha, gains)
    right = panels[-1]
    right.axhline(0.0, color=LINE, linewidth=1)
    unit = "RMSE separate less joint, points"
    if len(rho) == 1 and len(alpha) > 1:
        right.plot(alpha, gains[:, 0], "o-", color=COLOURS[0], markersize=4)
        quiet(
            right, f"Gain at correlation {rho[0]:g}", "Dependence on other abilities", unit,
            grid="y",
        )  # fmt: skip
        return figure
    right.fill_between(rho, lower, upper, color=COLOURS[0], alpha=0.18, linewidth=0)
    label = "mean of all dependences" if grid else f"dependence {alpha[0]:g}"
    right.plot(rho, mean, "o-", color=COLOURS[0], markersize=4, label=label)
    if grid and np.isfinite(gains).any():
        # Where simulations failed there is no gain.
        known = np.isfinite(gains).sum(axis=1)
        total = np.where(np.isfinite(gains), gains, 0.0).sum(axis=1)
        best = int(np.argmax(np.where(known > 0, total / np.maximum(known, 1), -np.inf)))
        right.plot(
            rho, gains[best], "o--", color=COLOURS[1], markersize=3,
            label=f"dependence {alpha[best]:g}, where it is largest",
        )  # fmt: skip
    right.legend(frameon=False, fontsize=8)
    band = " (band: 95 % over seeds)" if np.isfinite(lower).any() else ""
    quiet(right, f"Over the correlation{band}", "Correlation of abilities", unit, grid="y")
    return figure


def _draw_grid(figure: Any, axes: Any, rho: Floats, alpha: Floats, gains: Floats) -> None:
    far = max(float(np.nanmax(np.abs(gains))), 1e-6)
    # Violet where joint is better, orange where it is worse.
    picture = axes.imshow(
        gains, origin="lower", cmap=DIVERGING, vmin=-far, vmax=far, aspect="auto",
        extent=(-0.5, len(rho) - 0.5, -0.5, len(alpha) - 0.5),
    )  # fmt: skip
    axes.set_xticks(range(len(rho)), [f"{value:g}" for value in rho])
    axes.set_yticks(range(len(alpha)), [f"{value:g}" for value in alpha])
    quiet(
        axes, "Gain of a joint reconstruction", "Correlation of abilities",
        "Dependence on other abilities",
    )  # fmt: skip
    bare(axes)
    bar = figure.colorbar(picture, ax=axes, shrink=0.85)
    bar.set_label("RMSE separate less joint, points", color=MUTED, fontsize=8)
    bar.ax.tick_params(labelsize=8, length=0, colors=INK)
    bar.outline.set_visible(False)


def plot_synergy(
    correlations: Sequence[float],
    dependences: Sequence[float],
    gains: Floats,
    mean: Floats,
    lower: Floats,
    upper: Floats,
    path: Path,
) -> None:
    """Write `synergy_figure` to a file; its ending is the format."""
    save_figure(synergy_figure(correlations, dependences, gains, mean, lower, upper), path)
