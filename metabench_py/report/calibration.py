"""Figures of a calibration: item curves, information, and predicted against true scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.report.figures import FORMATS
from metabench_py.storage import atomic_path

_INK, _MUTED, _LINE = "#222222", "#6b6b6b", "#0072B2"
_TRAIN, _TEST = "#9aa3ad", "#D55E00"


def plot_curves(parameters: ItemParameters, theta: Floats, title: str, path: Path) -> None:
    """Draw every item's curve, and the test's information over the LLMs' abilities.

    Parameters
    ----------
    theta
        Abilities of the training LLMs, shape (n,).
    path
        File to write; its ending (.png, .svg, .pdf) is the format.
    """
    figure, (left, right) = _figure(2)
    at = np.linspace(-4.0, 4.0, 201)
    left.plot(at, probability(parameters, at), color=_LINE, linewidth=0.6, alpha=0.5)
    left.set_ylim(0.0, 1.0)
    left.set_ylabel("P(right)", color=_MUTED)
    left.set_title(title, loc="left", color=_INK, fontsize=11)
    right.hist(theta, bins=40, range=(-4.0, 4.0), color="#d9dde2")
    right.set_ylabel("LLMs", color=_MUTED)
    above = right.twinx()
    above.plot(at, information(parameters, at).sum(axis=1), color=_LINE, linewidth=1.8)
    above.set_ylim(bottom=0.0)
    above.set_ylabel("information of all items", color=_LINE)
    for axes in (left, right):
        axes.set_xlim(-4.0, 4.0)
        axes.set_xlabel("ability", color=_MUTED)
    _save(figure, path)


def plot_recovery(sets: Sequence[tuple[str, Floats, Floats]], title: str, path: Path) -> None:
    """Draw predictions against true scores.

    Parameters
    ----------
    sets
        ``train`` or ``test``, true scores and predictions of these LLMs, shape (n,) each.
    """
    figure, (axes,) = _figure(1)
    axes.plot([0, 100], [0, 100], color=_MUTED, linewidth=0.8)
    for name, score, predicted in sets:
        if not len(score):
            continue
        rmse = float(np.sqrt(np.mean((score - predicted) ** 2)))
        axes.plot(
            score, predicted, "o", markersize=3, alpha=0.6,
            color=_TEST if name == "test" else _TRAIN,
            label=f"{name}: {len(score)} LLMs, RMSE {rmse:.2f}",
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xlabel("full score", color=_MUTED)
    axes.set_ylabel("predicted", color=_MUTED)
    axes.set_title(title, loc="left", color=_INK, fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    _save(figure, path)


def _figure(n: int) -> tuple[Any, Sequence[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * n, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, n, i + 1) for i in range(n)]


def _save(figure: Any, path: Path) -> None:
    assert path.suffix in FORMATS
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=130)
