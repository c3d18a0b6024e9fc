"""Figure of a contamination check: abilities by run, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TITLES
from metabench_py.irt.model import Floats
from metabench_py.report.canvas import (
    BAND,
    COLOURS,
    LINE,
    MUTED,
    new_figure,
    quiet,
    save_figure,
    styled,
)


@dataclass(frozen=True, eq=False)
class SuspicionRow:
    """A suspect beside a reference.

    Attributes
    ----------
    z
        Standardised ability differences, one a benchmark.
    pooled
        All of them together.
    clean
        Pooled statistics of simulated clean LLMs, shape (n,).
    """

    label: str
    z: Floats
    pooled: float
    alarm: bool
    clean: Floats


@styled
def contamination_figure(
    abilities: Mapping[str, Mapping[str, tuple[float, float]]],
    rows: Sequence[SuspicionRow],
    title: str,
) -> Any:
    """Draw abilities with their standard errors, and differences over those of clean LLMs.

    Parameters
    ----------
    abilities
        By run, then by benchmark: theta and its standard error.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(9.0, max(3.2, 1.6 + 0.55 * len(rows)))
    left, right = figure.subplots(1, 2)
    y = np.arange(len(BENCHMARKS), dtype=float)
    for r, (run, found) in enumerate(abilities.items()):
        offset = (r - (len(abilities) - 1) / 2) * 0.18
        theta = np.array([found[b][0] for b in BENCHMARKS])
        error = np.array([found[b][1] for b in BENCHMARKS])
        left.errorbar(
            theta, y + offset, xerr=error, fmt="o", color=COLOURS[r], markersize=5, label=run,
            linewidth=2, alpha=0.9,
        )  # fmt: skip
    left.set_yticks(y, [TITLES[b] for b in BENCHMARKS])
    left.set_ylim(len(BENCHMARKS) - 0.5, -0.5)
    quiet(left, title, "Ability ± standard error", "", grid="x")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    at = np.arange(len(rows), dtype=float)
    for i, row in enumerate(rows):
        low, high = np.quantile(row.clean, [0.005, 0.995])
        right.barh(
            at[i], high - low, 0.6, left=low, color=BAND,
            label="99 % of clean LLMs, pooled" if i == 0 else None,
        )  # fmt: skip
        right.plot(
            row.z, np.full(len(row.z), at[i]), "o", color=MUTED, markersize=3,
            label="one benchmark" if i == 0 else None,
        )  # fmt: skip
        right.plot(
            row.pooled, at[i], "D", color=COLOURS[1] if row.alarm else COLOURS[0], markersize=8,
            label="pooled" if i == 0 else None,
        )  # fmt: skip
    right.set_yticks(at, [row.label for row in rows])
    right.set_ylim(len(rows) - 0.4, -0.6)
    quiet(right, "", "Standardised ability difference", "", grid="x")
    right.legend(
        frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3
    )
    right.axvline(0.0, color=LINE, linewidth=1)
    return figure


def plot_contamination(
    abilities: Mapping[str, Mapping[str, tuple[float, float]]],
    rows: Sequence[SuspicionRow],
    title: str,
    path: Path,
) -> None:
    """Write `contamination_figure` to a file; its ending is the format."""
    save_figure(contamination_figure(abilities, rows, title), path)
