"""How much unanswered items add to a score's uncertainty.

A bundle tells by how much the errors of held-out LLMs grew when a share of one benchmark's items
was masked (`growth_factors`). Where it does not, multiple imputation stands in (Rubin 1987;
`imputation_sd`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metabench_py.benchmarks import Benchmark, Target
from metabench_py.bundle.schema import BenchmarkModel, Growth
from metabench_py.irt.engine import Engine
from metabench_py.irt.model import Floats, probability
from metabench_py.reconstruction.second_stage import SecondStage
from metabench_py.reconstruction.stages import FirstStage, Responses, first_stage
from metabench_py.responses import MISSING

IMPUTATIONS = 100
_SEED = 1


def growth_factors(growth: Growth, stage: FirstStage) -> dict[Target, Floats]:
    """By how much an interval must be wider than that of an LLM that answered everything.

    The bundle's factors are of one benchmark that lacks a share of its items. Squared, and less 1,
    a factor is the variance that the masked items added; those of all benchmarks add up. The items
    were masked at random; of answers that tell less than their number says (`FirstStage.told`),
    only so many count.

    Returns
    -------
    At least 1, shape (n,) a target.
    """
    factors: dict[Target, Floats] = {}
    for target, known in growth.factors.items():
        variance: Floats = np.ones(stage.n)
        for b in stage.benchmarks:
            n_items = stage.filled[b].shape[1]
            ratios = _absent_to_answered(n_items * (1.0 - growth.shares), n_items)
            ratio = _absent_to_answered(n_items * stage.told[b], n_items)
            squares = np.append(1.0, known[b]) ** 2
            variance += _straight_on(ratio, np.append(0.0, ratios), squares) - 1.0
        factors[target] = np.sqrt(variance)
    return factors


def _absent_to_answered(n_answered: Floats, n_items: int) -> Floats:
    """Items unanswered for one answered, in which the variance that they add is about straight.

    One more counts as answered: of an LLM that answered none, the others tell something.
    """
    ratio: Floats = (n_items - n_answered) / (n_answered + 1.0)
    return ratio


def _straight_on(at: Floats, x: Floats, y: Floats) -> Floats:
    """Interpolate, and go on beyond the last point as between the last two, never down."""
    slope = max(0.0, (y[-1] - y[-2]) / (x[-1] - x[-2]))
    value: Floats = np.interp(at, x, y) + slope * np.maximum(at - x[-1], 0.0)
    return value


def imputation_sd(
    responses: Responses,
    stage: FirstStage,
    row: int,
    models: Mapping[Benchmark, BenchmarkModel],
    engine: Engine,
    second: SecondStage,
) -> dict[Target, float]:
    """Give the standard deviation of an LLM's scores over completions of its unanswered items.

    Each completion draws an ability from the estimate's normal approximation, then the
    unanswered items from the item model, and goes through both stages anew.

    Parameters
    ----------
    row
        Which LLM of `responses` and `stage`.

    Returns
    -------
    Score points by target.
    """
    random = np.random.default_rng(_SEED)
    completed: dict[Benchmark, np.ndarray] = {}
    for benchmark in stage.benchmarks:
        values = responses[benchmark][row]
        absent = values == MISSING
        abilities = stage.abilities[benchmark]
        spread = abilities.se[row] if np.isfinite(abilities.se[row]) else 1.0
        theta = np.clip(abilities.theta[row], -6.0, 6.0)
        draws = theta + spread * random.standard_normal(IMPUTATIONS)
        right = random.random((IMPUTATIONS, len(values))) < probability(
            models[benchmark].parameters, draws
        )
        completed[benchmark] = np.where(absent, right, values).astype(np.int8)
    scores = second.predict(first_stage(completed, models, engine))
    return {target: float(_clipped(score).std()) for target, score in scores.items()}


def _clipped(score: Floats) -> Floats:
    return np.clip(score, 0.0, 100.0)
