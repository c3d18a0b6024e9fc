"""What the figures of the studies share: a canvas without a window, colours, quiet axes, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabench_py.report.figures import check_plot
from metabench_py.storage import atomic_path

INK, MUTED, LINE, GRID = "#222222", "#6b6b6b", "#c4cad1", "#eeeeee"
# Okabe & Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure; inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def quiet(axes: Any, title: str, x: str, y: str, grid: str | None = None) -> None:
    """Title and labels; no frame; grid lines along ``x``, ``y`` or ``both``."""
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    axes.set_xlabel(x, color=MUTED, fontsize=9)
    axes.set_ylabel(y, color=MUTED, fontsize=9)
    axes.tick_params(length=0, colors=INK, labelsize=8)
    for side in axes.spines.values():
        side.set_visible(False)
    if grid is not None:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)


def save_figure(figure: Any, path: Path) -> None:
    """Write the figure; the file's ending is the format.

    Raises
    ------
    InputError
        The file's name has no known ending.
    """
    check_plot(path, 1)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
