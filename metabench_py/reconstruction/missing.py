"""How much unanswered items add to a score's uncertainty.

A bundle tells by how much the errors of held-out LLMs grew when a share of their items was masked
(`growth_factors`). Where it does not, multiple imputation stands in (Rubin 1987;
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

    The bundle's factors hold where every benchmark lacks the same share. Squared, and less 1, a
    factor is the variance that the masked items added. Here each benchmark lacks a share of its
    own: the grand score takes the mean of the six added variances, and a benchmark's score takes
    its own share's or this mean, whichever is larger.

    Returns
    -------
    At least 1, shape (n,) a target.
    """
    absent = {b: 1.0 - stage.n_answered[b] / stage.filled[b].shape[1] for b in stage.benchmarks}
    factors: dict[Target, Floats] = {}
    for target, known in growth.factors.items():
        shares, squares = _curve(growth.shares, known)
        added = {b: np.interp(share, shares, squares) - 1.0 for b, share in absent.items()}
        mean = np.mean(list(added.values()), axis=0)
        more = mean if target == "grand" else np.maximum(mean, added[target])
        factors[target] = np.sqrt(1.0 + more)
    return factors


def _curve(shares: Floats, factors: Floats) -> tuple[Floats, Floats]:
    """Squared factors from no to all items unanswered, straight on beyond the last share."""
    x, y = np.append(0.0, shares), np.append(1.0, factors) ** 2
    if x[-1] < 1.0:
        slope = max(0.0, (y[-1] - y[-2]) / (x[-1] - x[-2]))
        x, y = np.append(x, 1.0), np.append(y, y[-1] + slope * (1.0 - x[-1]))
    return x, y


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
