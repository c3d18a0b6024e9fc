"""Figures of a calibration: item curves, information, and predicted against true scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.report.agreement import rmse
from metabench_py.report.canvas import (
    BAND,
    COLOURS,
    LINE,
    MUTED,
    cloud,
    new_figure,
    quiet,
    save_figure,
    styled,
)


def plot_curves(parameters: ItemParameters, theta: Floats, title: str, path: Path) -> None:
    """Write `curves_figure` to a file; its ending is the format."""
    save_figure(curves_figure(parameters, theta, title), path)


@styled
def curves_figure(parameters: ItemParameters, theta: Floats, title: str) -> Any:
    """Draw every item's curve, and the test's information over the LLMs' abilities.

    Parameters
    ----------
    theta
        Abilities of the training LLMs, shape (n,).

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(10.4, 4.4)
    left, right = figure.subplots(1, 2)
    at = np.linspace(-4.0, 4.0, 201)
    left.plot(at, probability(parameters, at), color=COLOURS[0], linewidth=0.6, alpha=0.5)
    left.set_ylim(0.0, 1.0)
    quiet(left, title, "Ability", "P(right)", grid="both")
    right.hist(theta, bins=40, range=(-4.0, 4.0), color=BAND)
    quiet(right, f"Information of all {len(parameters.items)} items", "Ability", "LLMs")
    above = right.twinx()
    above.plot(at, information(parameters, at).sum(axis=1), color=COLOURS[0], linewidth=1.8)
    above.set_ylim(bottom=0.0)
    quiet(above, "", "", "Information")
    above.yaxis.label.set_color(COLOURS[0])
    for axes in (left, right):
        axes.set_xlim(-4.0, 4.0)
    return figure


def plot_recovery(sets: Sequence[tuple[str, Floats, Floats]], title: str, path: Path) -> None:
    """Write `sets_figure` to a file; its ending is the format."""
    save_figure(sets_figure(sets, title), path)


@styled
def sets_figure(sets: Sequence[tuple[str, Floats, Floats]], title: str) -> Any:
    """Draw predictions against true scores.

    Parameters
    ----------
    sets
        ``train`` or ``test``, true scores and predictions of these LLMs, shape (n,) each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(5.2, 4.4)
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8)
    for name, score, predicted in sets:
        if not len(score):
            continue
        cloud(axes, score, predicted, COLOURS[1] if name == "test" else LINE)
        axes.lines[-1].set_label(f"{name}: {len(score)} LLMs, RMSE {rmse(score, predicted):.2f}")
    quiet(axes, title, "Full score, points", "Predicted, points", grid="both")
    axes.set_aspect("equal")
    axes.legend(fontsize=9)
    return figure
