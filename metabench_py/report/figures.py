"""Figures: scores with their intervals against the calibration LLMs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metabench_py.benchmarks import TARGETS, TITLES
from metabench_py.bundle.schema import Bundle
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.result import Reconstruction
from metabench_py.storage import atomic_path

FORMATS = (".png", ".svg", ".pdf")
MOST_MODELS = 6
# Okabe & Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_INK, _MUTED, _RIDGE = "#222222", "#6b6b6b", "#d9dde2"


def check_plot(path: Path, n_models: int | None) -> None:
    """Refuse what cannot be drawn before any work is done.

    Raises
    ------
    InputError
        The file's name has no known ending, or there are too many models.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"--plot {path}: end its name in {', '.join(FORMATS)}.", path=str(path))
    if n_models is None or n_models > MOST_MODELS:
        raise InputError(f"--plot draws {MOST_MODELS} models at most; name them instead of --all.")


def plot_scores(results: Sequence[Reconstruction], bundle: Bundle, path: Path) -> None:
    """Draw each score and its interval over the distribution of the calibration LLMs' scores.

    Parameters
    ----------
    results
        One to six models, all reconstructed with `bundle`.
    path
        File to write; its ending is the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_plot(path, len(results))
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    x = np.linspace(0.0, 100.0, 501)
    for row, target in enumerate(TARGETS):
        base = -float(row)
        if target in bundle.population:
            ridge = density(bundle.population[target], bundle.population_levels, x)
            axes.fill_between(x, base, base + 0.75 * ridge, color=_RIDGE, linewidth=0)
        axes.axhline(base, color=_RIDGE, linewidth=0.8)
        for i, result in enumerate(results):
            score = result.scores[target]
            y = base + 0.14 + 0.55 * i / max(len(results), 2)
            colour = _COLOURS[i]
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
                    color=_INK,
                    fontsize=9,
                )
    axes.set_yticks([0.14 - i for i in range(len(TARGETS))], [TITLES[t] for t in TARGETS])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.tick_params(length=0, colors=_INK)
    axes.set_xlim(0.0, 100.0)
    axes.set_ylim(0.75 - len(TARGETS), 0.95)
    axes.set_xlabel("Score (grey: the calibration LLMs)", color=_MUTED)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    _title(axes, results)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)


def _title(axes: object, results: Sequence[Reconstruction]) -> None:
    first = results[0].scores["grand"]
    what = {
        "conformal": f"{100 * (first.level or 0):g} % intervals",
        "local-rmse": "± local RMSE",
        "theta": "theta ± SE",
    }[first.interval]
    version = results[0].version
    if len(results) == 1:
        text = f"{results[0].model}: metabench {version}, {what}"
        axes.set_title(text, loc="left", color=_INK, fontsize=11)  # type: ignore[attr-defined]
        return
    axes.set_title(f"metabench {version}, {what}", loc="left", color=_INK, fontsize=11)  # type: ignore[attr-defined]
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o", linewidth=3, label=result.model)
        for colour, result in zip(_COLOURS, results, strict=False)
    ]
    axes.legend(  # type: ignore[attr-defined]
        handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8
    )


def density(population: Floats, levels: Floats, x: Floats) -> Floats:
    """Smoothed density of the scores at `x`, scaled to a highest value of 1."""
    sample = np.interp(np.linspace(0.0, 1.0, 2001), levels, population)
    width = max(1.06 * float(sample.std()) * len(sample) ** -0.2, 0.6)
    density = np.exp(-0.5 * ((x[:, None] - sample) / width) ** 2).sum(axis=1)
    result: Floats = density / density.max()
    return result
