"""Figure of residuals by architecture and size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.irt.model import Floats
from metabench_py.report.canvas import (
    COLOURS,
    INK,
    LINE,
    cloud,
    new_figure,
    quiet,
    save_figure,
    styled,
)

_MOST_PANELS = 9


@dataclass(frozen=True, eq=False)
class ArchitecturePanel:
    """One architecture's LLMs.

    Attributes
    ----------
    predicted, residual
        Points of 100, shape (n_llms,).
    bias, rmse
        Value, lower and upper bound; the bounds may be NaN.
    """

    name: str
    predicted: Floats
    residual: Floats
    bias: tuple[float, float, float]
    rmse: tuple[float, float, float]


@styled
@styled
def architecture_figure(panels: Sequence[ArchitecturePanel], size: Floats, residual: Floats) -> Any:
    """Draw residuals against predictions by architecture, bias and RMSE, and the course with size.

    Parameters
    ----------
    panels
        The largest first; nine at most are drawn as clouds.
    size, residual
        Of LLMs of known size, thousand millions of parameters and points, shape (n,); may be
        empty.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = panels[:_MOST_PANELS]
    columns = math.ceil(math.sqrt(len(shown)))
    rows = -(-len(shown) // columns)
    figure = new_figure(6.0 + 2.2 * columns, max(5.0, 2.1 * rows + 0.4))
    left, right = figure.subfigures(1, 2, width_ratios=(2.2 * columns, 5.4))
    far = max(1.0, float(np.abs(np.concatenate([one.residual for one in shown])).max()))
    grid = left.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for number, (axes, panel) in enumerate(zip(grid.flat, shown, strict=False)):
        axes.axhline(0.0, color=LINE, linewidth=1)
        cloud(axes, panel.predicted, panel.residual, COLOURS[0])
        axes.set_ylim(-1.08 * far, 1.08 * far)
        last = number >= len(shown) - columns
        first = number % columns == 0
        quiet(
            axes, f"{_short(panel.name)} ({len(panel.residual)})",
            "Reconstructed score, points" if last else "",
            "Reconstructed less true, points" if first else "", grid="y",
        )  # fmt: skip
        axes.title.set_fontsize(8)
        axes.tick_params(labelbottom=last)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    _draw_errors(right, panels, size, residual)
    return figure


def plot_architectures(
    panels: Sequence[ArchitecturePanel], size: Floats, residual: Floats, path: Path
) -> None:
    """Write `architecture_figure` to a file; its ending is the format."""
    save_figure(architecture_figure(panels, size, residual), path)


def _draw_errors(
    figure: Any, panels: Sequence[ArchitecturePanel], size: Floats, residual: Floats
) -> None:
    places = [["bias", "rmse"], ["size", "size"]] if len(size) else [["bias", "rmse"]]
    axes = figure.subplot_mosaic(places)
    y = np.arange(len(panels))
    for number, (name, title) in enumerate((("bias", "Bias"), ("rmse", "RMSE"))):
        one = axes[name]
        values = np.array([getattr(panel, name) for panel in panels])
        one.hlines(y, values[:, 1], values[:, 2], color=COLOURS[number], linewidth=3, alpha=0.45)
        one.plot(values[:, 0], y, "o", color=COLOURS[number], markersize=5)
        one.set_yticks(y, [_short(p.name) for p in panels] if name == "bias" else [""] * len(y))
        one.set_ylim(len(panels) - 0.5, -0.5)
        quiet(one, title, "Points", "", grid="x")
    axes["bias"].axvline(0.0, color=LINE, linewidth=1)
    if len(size):
        one = axes["size"]
        one.axhline(0.0, color=LINE, linewidth=1)
        cloud(one, size, residual, COLOURS[2])
        x = np.log10(size)
        if np.ptp(x) > 0:
            line = np.polyfit(x, residual, 1)
            ends = np.array([x.min(), x.max()])
            one.plot(10.0**ends, np.polyval(line, ends), color=INK, linewidth=1.2)
        one.set_xscale("log")
        one.xaxis.set_major_formatter("{x:g}")
        one.tick_params(axis="x", which="minor", length=0)
        quiet(
            one,
            "Over size",
            "Parameters, billions",
            "Reconstructed less true, points",
            grid="y",
        )


def _short(name: str) -> str:
    return name.removesuffix("ForCausalLM").removesuffix("LMHeadModel") or name
