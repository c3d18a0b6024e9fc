"""Figures: scores with their intervals against the calibration LLMs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import TARGETS, TITLES
from metabench_py.bundle.schema import Bundle
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.result import Reconstruction
from metabench_py.report.canvas import (
    BAND,
    COLOURS,
    INK,
    bare,
    check_format,
    new_figure,
    quiet,
    save_figure,
    styled,
)

MOST_MODELS = 6


def check_plot(path: Path, n_models: int | None) -> None:
    """Refuse what cannot be drawn before any work is done.

    Raises
    ------
    InputError
        The file's name has no known ending, or there are too many models.
    """
    check_format(path)
    if n_models is None or n_models > MOST_MODELS:
        raise InputError(f"--plot draws {MOST_MODELS} models at most; name them instead of --all.")


def plot_scores(results: Sequence[Reconstruction], bundle: Bundle, path: Path) -> None:
    """Write `score_figure` to a file; its ending is the format."""
    check_plot(path, len(results))
    save_figure(score_figure(results, bundle), path)


@styled
def score_figure(
    results: Sequence[Reconstruction], bundle: Bundle, labels: Sequence[str] | None = None
) -> Any:
    """Draw each score and its interval over the distribution of the calibration LLMs' scores.

    Parameters
    ----------
    results
        One to six models, all reconstructed with `bundle`.
    labels
        What to call them; None: their names.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(8.0, 5.2)
    axes = figure.add_subplot()
    x = np.linspace(0.0, 100.0, 501)
    for row, target in enumerate(TARGETS):
        base = -float(row)
        if target in bundle.population:
            ridge = density(bundle.population[target], bundle.population_levels, x)
            axes.fill_between(x, base, base + 0.75 * ridge, color=BAND, linewidth=0)
        axes.axhline(base, color=BAND, linewidth=0.8)
        for i, result in enumerate(results):
            score = result.scores[target]
            y = base + 0.14 + 0.55 * i / max(len(results), 2)
            colour = COLOURS[i]
            axes.plot(
                [score.lower, score.upper], [y, y], color=colour, linewidth=3, alpha=0.45,
                solid_capstyle="butt",
            )  # fmt: skip
            axes.plot(score.score, y, "o", color=colour, markersize=6, clip_on=False)
            if len(results) == 1:
                axes.annotate(
                    f"{score.score:.1f}  [{score.lower:.1f}, {score.upper:.1f}]",
                    (101.5, base + 0.14),
                    annotation_clip=False,
                    va="center",
                    color=INK,
                    fontsize=9,
                )
    axes.set_yticks([0.14 - i for i in range(len(TARGETS))], [TITLES[t] for t in TARGETS])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_xlim(0.0, 100.0)
    axes.set_ylim(0.75 - len(TARGETS), 0.95)
    title = _title(axes, results, labels or [result.model for result in results])
    quiet(axes, title, "Score, points (grey: the calibration LLMs)", "", grid="x")
    bare(axes)
    axes.tick_params(labelsize=10)
    axes.tick_params(axis="y", pad=10)
    return figure


def _title(axes: Any, results: Sequence[Reconstruction], labels: Sequence[str]) -> str:
    first = results[0].scores["grand"]
    what = first.interval_name + ("s" if first.interval == "conformal" else "")
    version = results[0].version
    if len(results) == 1:
        return f"{labels[0]}: metabench {version}, {what}"
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o", linewidth=3, label=label)
        for colour, label in zip(COLOURS, labels, strict=False)
    ]
    axes.figure.legend(handles=handles, loc="outside upper right", ncols=min(3, len(handles)))
    models = {result.model for result in results}
    of = f"{models.pop()}: " if len(models) == 1 else ""
    return f"{of}metabench {version}, {what}"


def density(population: Floats, levels: Floats, x: Floats) -> Floats:
    """Smoothed density of the scores at `x`, scaled to a highest value of 1."""
    sample = np.interp(np.linspace(0.0, 1.0, 2001), levels, population)
    width = max(1.06 * float(sample.std()) * len(sample) ** -0.2, 0.6)
    density = np.exp(-0.5 * ((x[:, None] - sample) / width) ** 2).sum(axis=1)
    result: Floats = density / density.max()
    return result
