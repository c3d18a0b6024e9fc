"""From responses to abilities, linear predictors, sub-scores and scores, many LLMs at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle.schema import BenchmarkModel
from metabench_py.gam.features import join_features, target_features
from metabench_py.irt.engine import Abilities, Engine
from metabench_py.irt.model import Floats, probability
from metabench_py.responses import MISSING, ResponseMatrix

Responses = Mapping[Benchmark, NDArray[np.int8]]


class Predictor(Protocol):
    """Second stage of one target: a portable fit or one in R."""

    def predict(self, features: Mapping[str, ArrayLike]) -> Floats:
        """Predict scores, unclipped, shape (n,)."""


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What the responses give by benchmark; every array has shape (n_llms,)."""

    abilities: dict[Benchmark, Abilities]
    linear: dict[Benchmark, Floats]
    subscore: dict[Benchmark, Floats]
    n_answered: dict[Benchmark, NDArray[np.intp]]
    n_correct: dict[Benchmark, NDArray[np.intp]]

    def features(self, theta_shift: float = 0.0) -> dict[str, Floats]:
        """Join the second stage's predictors, every theta moved by so many standard errors."""
        theta = {b: a.theta for b, a in self.abilities.items()}
        if theta_shift:
            # An infinite ability has an infinite standard error; their difference is NaN.
            with np.errstate(invalid="ignore"):
                theta = {b: a.theta + theta_shift * a.se for b, a in self.abilities.items()}
        return join_features(theta, self.linear, self.subscore)


def first_stage(
    responses: Responses, models: Mapping[Benchmark, BenchmarkModel], engine: Engine
) -> FirstStage:
    """Estimate abilities, linear predictors and sub-scores.

    An item without an answer counts in the linear predictor with its expected response at the
    LLM's ability, and not at all in the sub-score.

    Parameters
    ----------
    responses
        For each benchmark int8, shape (n_llms, n_items), in the order of the model's items.
    """
    stage = FirstStage({}, {}, {}, {}, {})
    for benchmark in BENCHMARKS:
        model, values = models[benchmark], responses[benchmark]
        names = tuple(str(i) for i in range(len(values)))
        matrix = ResponseMatrix(names, model.parameters.items, values)
        abilities = engine.score(matrix, model.parameters, model.score_method)
        answered = values != MISSING
        filled: Floats = values.astype(np.float64)
        if not answered.all():
            theta = np.nan_to_num(abilities.theta, posinf=6.0, neginf=-6.0)
            filled = np.where(answered, filled, probability(model.parameters, theta))
        n_answered = answered.sum(axis=1)
        n_correct = (values == 1).sum(axis=1)
        stage.abilities[benchmark] = abilities
        stage.linear[benchmark] = model.intercept + filled @ model.weights
        stage.subscore[benchmark] = 100.0 * n_correct / np.maximum(n_answered, 1)
        stage.n_answered[benchmark] = n_answered
        stage.n_correct[benchmark] = n_correct
    return stage


def second_stage(
    table: Mapping[str, Floats], predictors: Mapping[Target, Predictor]
) -> dict[Target, Floats]:
    """Predict every target's score, unclipped, shape (n_llms,)."""
    return {t: predictors[t].predict(target_features(table, t)) for t in TARGETS}
