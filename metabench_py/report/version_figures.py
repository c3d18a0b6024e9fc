"""Figure of two versions of a benchmark: whether they tell the same of an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.agreement import spearman
from metabench_py.report.canvas import (
    BENCHMARK_COLOURS,
    COLOURS,
    MUTED,
    cloud,
    new_figure,
    note,
    quiet,
    styled,
)


@dataclass(frozen=True, eq=False)
class VersionPanel:
    """One target of LLMs that took both versions; arrays of shape (n_llms,).

    Attributes
    ----------
    theta_a, theta_b
        Abilities; of the grand score their means.
    score_a, score_b
        Reconstructed scores, 0-100.
    """

    target: str
    theta_a: Floats
    theta_b: Floats
    score_a: Floats
    score_b: Floats


@styled
def version_figure(drawn: Sequence[VersionPanel], names: tuple[str, str] = ("A", "B")) -> Any:
    """Draw abilities, scores and their differences, a row a target.

    Parameters
    ----------
    names
        What the two are called.

    Returns
    -------
    matplotlib.figure.Figure
    """
    a, b = names
    figure = new_figure(8.6, 2.5 * len(drawn))
    rows = figure.subplots(len(drawn), 3, squeeze=False)
    for (latent, score, apart), panel in zip(rows, drawn, strict=True):
        colour = BENCHMARK_COLOURS.get(panel.target, COLOURS[0])
        title = TITLES.get(panel.target, panel.target)
        cloud(latent, panel.theta_a, panel.theta_b, colour)
        r = spearman(panel.theta_a, panel.theta_b)
        note(latent, f"n = {len(panel.theta_a):,}\nr = {r:.3f}")
        quiet(latent, title, f"Ability θ ({a})", f"Ability θ ({b})", grid="both")
        score.axline((0.0, 0.0), slope=1.0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        cloud(score, panel.score_a, panel.score_b, colour)
        note(score, f"r = {spearman(panel.score_a, panel.score_b):.3f}")
        score.set(xlim=(0.0, 100.0), ylim=(0.0, 100.0))
        quiet(score, "", f"Score ({a}), points", f"Score ({b}), points", grid="both")
        difference = panel.score_a - panel.score_b
        apart.axhline(0.0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        cloud(apart, 0.5 * (panel.score_a + panel.score_b), difference, colour)
        note(apart, f"mean = {difference.mean():+.2f}\nSD = {np.std(difference):.2f}")
        far = 1.15 * max(1.0, float(np.abs(difference).max()))
        apart.set(xlim=(0.0, 100.0), ylim=(-far, far))
        quiet(apart, "", "Mean of both, points", f"{a} less {b}, points", grid="both")
    return figure
