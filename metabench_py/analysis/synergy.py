"""Synergy: what the abilities of other tests add to the reconstruction of a test's score.

The gain is how much smaller the error of a joint GAM is than that of a separate one on held-out
LLMs, over a grid of correlations and dependences; see `synergy_simulation`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metabench_py.analysis.group_tests import json_values
from metabench_py.analysis.synergy_simulation import SynergyOptions, SynergyRun, simulate
from metabench_py.compute import Task, run_tasks
from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats


@dataclass(frozen=True)
class SynergyCell:
    """Mean over the simulations of a setting, or over several settings of a seed each.

    Attributes
    ----------
    correlation, dependence
        The setting; None: over all.
    gain, lower, upper
        Mean and 95 % interval (Student's t over the seeds), points; NaN for a single seed.
    share
        Mean gain over mean separate error.
    separate, joint
        Mean errors on held-out LLMs.
    n
        Seeds.
    """

    correlation: float | None
    dependence: float | None
    gain: float
    lower: float
    upper: float
    share: float
    separate: float
    joint: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null."""
        return json_values(asdict(self))


@dataclass(frozen=True, eq=False)
class Synergy:
    """All simulations, in the order of correlation, dependence and seed.

    Attributes
    ----------
    cells
        By correlation and dependence.
    by_correlation
        Over all dependences.
    """

    options: SynergyOptions
    runs: tuple[SynergyRun, ...]
    cells: tuple[SynergyCell, ...]
    by_correlation: tuple[SynergyCell, ...]

    def grid(self) -> Floats:
        """Mean gains, shape (n_dependences, n_correlations), both ascending."""
        at = {(cell.dependence, cell.correlation): cell.gain for cell in self.cells}
        return np.array(
            [
                [at[a, rho] for rho in sorted(self.options.correlations)]
                for a in sorted(self.options.dependences)
            ]
        )

    @property
    def n_beyond(self) -> int:
        """Simulations in which a test LLM's ability is beyond those of the training LLMs."""
        return sum(run.n_beyond > 0 for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        from metabench_py import __version__

        return {
            "schema": 1,
            "options": asdict(self.options),
            "cells": [cell.to_dict() for cell in self.cells],
            "by_correlation": [cell.to_dict() for cell in self.by_correlation],
            "runs": [json_values(asdict(run)) for run in self.runs],
            "n_failed": sum(bool(run.message) for run in self.runs),
            "n_beyond": self.n_beyond,
            "software": {"metabench-py": __version__, "numpy": np.__version__},
        }


def analyze_synergy(
    options: SynergyOptions | None = None,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synergy:
    """Simulate all settings; the result does not depend on where or in what order they run.

    Parameters
    ----------
    executor
        Runs simulations; None: here, one after the other.
    progress
        Told how many are done, and of how many.

    Raises
    ------
    ConvergenceError
        Not one simulation gave a result.
    """
    options = options or SynergyOptions()
    settings = [
        (rho, alpha, seed)
        for rho in sorted(options.correlations)
        for alpha in sorted(options.dependences)
        for seed in options.seeds
    ]
    found: dict[int, SynergyRun] = {}

    def keep(number: int, run: SynergyRun) -> None:
        found[number] = run
        if progress is not None:
            progress(len(found), len(settings))

    if executor is None:
        for number, setting in enumerate(settings):
            keep(number, simulate(options, *setting))
    else:
        tasks = [
            Task(f"{setting}", simulate, (options, *setting), functools.partial(keep, number))
            for number, setting in enumerate(settings)
        ]
        run_tasks(tasks, executor)
    runs = tuple(found[number] for number in range(len(settings)))
    good = [run for run in runs if not run.message]
    if not good:
        raise ConvergenceError(f"No simulation gave a result; the first: {runs[0].message}")
    return Synergy(
        options,
        runs,
        cells=tuple(
            _cell([run for run in good if (run.correlation, run.dependence) == key], *key)
            for key in dict.fromkeys((rho, alpha) for rho, alpha, _ in settings)
        ),
        by_correlation=tuple(
            _cell([run for run in good if run.correlation == rho], rho, None)
            for rho in sorted(options.correlations)
        ),
    )


def _cell(
    runs: Sequence[SynergyRun], correlation: float | None, dependence: float | None
) -> SynergyCell:
    # One value a seed: settings of a seed share their random numbers.
    by_seed: dict[int, list[SynergyRun]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)
    gains = np.array([np.mean([run.gain for run in some]) for some in by_seed.values()])
    n = len(gains)
    separate = float(np.mean([run.separate_test for run in runs])) if runs else math.nan
    joint = float(np.mean([run.joint_test for run in runs])) if runs else math.nan
    gain = float(gains.mean()) if n else math.nan
    half = math.nan
    if n > 1:
        from scipy import stats

        half = float(stats.t.ppf(0.975, n - 1) * gains.std(ddof=1) / math.sqrt(n))
    return SynergyCell(
        correlation, dependence, gain, gain - half, gain + half,
        gain / separate if separate else math.nan, separate, joint, n,
    )  # fmt: skip
