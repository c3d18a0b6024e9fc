"""How much unanswered items add to a score's uncertainty: multiple imputation (Rubin 1987)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Target
from metabench_py.bundle.schema import BenchmarkModel
from metabench_py.irt.engine import Engine
from metabench_py.irt.model import Floats, probability
from metabench_py.reconstruction.stages import (
    FirstStage,
    Predictor,
    Responses,
    first_stage,
    second_stage,
)
from metabench_py.responses import MISSING

IMPUTATIONS = 100
_SEED = 1


def imputation_sd(
    responses: Responses,
    stage: FirstStage,
    row: int,
    models: Mapping[Benchmark, BenchmarkModel],
    engine: Engine,
    predictors: Mapping[Target, Predictor],
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
    for benchmark in BENCHMARKS:
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
    scores = second_stage(first_stage(completed, models, engine).features(), predictors)
    return {target: float(_clipped(score).std()) for target, score in scores.items()}


def _clipped(score: Floats) -> Floats:
    return np.clip(score, 0.0, 100.0)
