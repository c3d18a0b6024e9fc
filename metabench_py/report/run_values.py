"""What an HTML report knows of one run: its result, its bundle, its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark, Target
from metabench_py.bundle.schema import Bundle
from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.reconstruction.result import Reconstruction
from metabench_py.responses import MISSING

# An answer further than this from what was expected is called surprising.
SURPRISING = 2.0
# A probability of 0 or 1 would make a surprise infinite.
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class ReportRun:
    """One run of the report.

    Attributes
    ----------
    label
        Tells the run from the others of the report.
    bundle
        The bundle that made the result; None if it is not at hand.
    answers
        For each benchmark int8, shape (n_items,), in the bundle's order: 1, 0, -1 not answered;
        None if the logs are not at hand.
    notes
        Why bundle or answers are absent.
    """

    result: Reconstruction
    label: str
    bundle: Bundle | None = None
    answers: Mapping[Benchmark, NDArray[np.int8]] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairOfRuns:
    """The first run less the second, by target: see `metabench_py.analysis.compare`."""

    first: str
    second: str
    difference: Mapping[Target, tuple[float, float, float]]
    probability: Mapping[Target, float]


@dataclass(frozen=True)
class Pairs:
    """All pairs, and the level of their intervals."""

    rows: tuple[PairOfRuns, ...]
    level: float


@dataclass(frozen=True)
class ItemAnswer:
    """One item as one LLM answered it.

    Attributes
    ----------
    answer
        1, 0, or -1 not answered.
    expected
        Probability of a right answer at the LLM's ability.
    residual
        (answer - expected) / sqrt(expected (1 - expected)); NaN where not answered.
    information
        Of the item at the LLM's ability.
    """

    benchmark: Benchmark
    item: str
    answer: int
    expected: float
    residual: float
    information: float
    a1: float
    d: float
    g: float
    u: float

    @property
    def difficulty(self) -> float:
        """Theta at the curve's steepest point; NaN for a flat one."""
        return -self.d / self.a1 if self.a1 else float("nan")


def standardised_residuals(
    answers: NDArray[np.int8], parameters: ItemParameters, theta: float
) -> Floats:
    """How far each answer is from what is expected at an ability, in standard deviations.

    Returns
    -------
    ndarray
        Shape (n_items,); NaN where not answered.
    """
    expected = np.clip(probability(parameters, theta)[0], _LEAST, 1.0 - _LEAST)
    residual = (answers - expected) / np.sqrt(expected * (1.0 - expected))
    result: Floats = np.where(answers == MISSING, np.nan, residual)
    return result


def item_answers(run: ReportRun, benchmark: Benchmark) -> list[ItemAnswer]:
    """Give a benchmark's items, surprising answers first, unanswered last; empty without logs."""
    theta = run.result.abilities[benchmark].theta
    if run.bundle is None or run.answers is None or not np.isfinite(theta):
        return []
    parameters = run.bundle.benchmarks[benchmark].parameters
    answers = run.answers[benchmark]
    expected = probability(parameters, theta)[0]
    inside = information(parameters, theta)[0]
    residual = standardised_residuals(answers, parameters, theta)
    order = np.argsort(-np.nan_to_num(np.abs(residual), nan=-1.0), kind="stable")
    return [
        ItemAnswer(
            benchmark,
            parameters.items[i],
            int(answers[i]),
            float(expected[i]),
            float(residual[i]),
            float(inside[i]),
            float(parameters.a1[i]),
            float(parameters.d[i]),
            float(parameters.g[i]),
            float(parameters.u[i]),
        )
        for i in order
    ]
