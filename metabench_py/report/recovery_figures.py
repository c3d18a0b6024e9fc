"""Figures of how well selected items give back the full scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.figures import check_plot
from metabench_py.storage import atomic_path

_INK, _MUTED, _LINE, _DOT = "#222222", "#6b6b6b", "#c4cad1", "#0072B2"
_COLUMNS = 3


@dataclass(frozen=True, eq=False)
class RecoveryPanel:
    """One benchmark's held-out LLMs; arrays of shape (n_llms,), 0-100."""

    benchmark: str
    score: Floats
    predicted: Floats
    what: str


def plot_recovery(panels: Sequence[RecoveryPanel], path: Path) -> None:
    """Draw predicted against full scores, a panel a benchmark.

    Parameters
    ----------
    panels
        At least one.
    path
        File to write; its ending is the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_plot(path, 1)
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.0 * columns, 3.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        low = float(min(panel.score.min(), panel.predicted.min()))
        high = float(max(panel.score.max(), panel.predicted.max()))
        axes.plot([low, high], [low, high], color=_LINE, linewidth=1)
        axes.plot(panel.score, panel.predicted, "o", color=_DOT, markersize=3, alpha=0.6)
        error = float(((panel.score - panel.predicted) ** 2).mean() ** 0.5)
        title = f"{TITLES.get(panel.benchmark, panel.benchmark)}: RMSE {error:.2f}"
        axes.set_title(title, loc="left", color=_INK, fontsize=9)
        axes.set_xlabel(f"Score of {panel.what} LLMs", color=_MUTED, fontsize=8)
        axes.set_ylabel("Predicted", color=_MUTED, fontsize=8)
        axes.tick_params(labelsize=7, colors=_MUTED)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
