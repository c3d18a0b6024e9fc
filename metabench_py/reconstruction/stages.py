"""First stage: from responses to abilities, linear predictors and sub-scores, many LLMs at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.bundle.schema import BenchmarkModel
from metabench_py.gam.features import join_features, single_features
from metabench_py.irt.engine import Abilities, Engine
from metabench_py.irt.model import Floats, information, probability
from metabench_py.responses import MISSING, ResponseMatrix

Responses = Mapping[Benchmark, NDArray[np.int8]]


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What the responses give, by the benchmarks that were scored: all six, or one.

    Attributes
    ----------
    filled
        Responses, and the expected one where an item was not answered, shape (n_llms, n_items);
        every other array has shape (n_llms,).
    told
        Share of a benchmark that the answers tell: of the items, or of their information at the
        ability, whichever is less. Easy items tell little of a good LLM, however many they are.
    """

    abilities: dict[Benchmark, Abilities]
    linear: dict[Benchmark, Floats]
    subscore: dict[Benchmark, Floats]
    n_answered: dict[Benchmark, NDArray[np.intp]]
    n_correct: dict[Benchmark, NDArray[np.intp]]
    filled: dict[Benchmark, Floats]
    told: dict[Benchmark, Floats] = field(default_factory=dict)

    @property
    def benchmarks(self) -> tuple[Benchmark, ...]:
        """Those that were scored."""
        return tuple(self.abilities)

    @property
    def n(self) -> int:
        """Number of LLMs."""
        return len(next(iter(self.filled.values())))

    def features(self, theta_shift: float = 0.0) -> dict[str, Floats]:
        """Join the second stage's predictors, every theta moved by so many standard errors."""
        theta = {b: a.theta for b, a in self.abilities.items()}
        if theta_shift:
            # An infinite ability has an infinite standard error; their difference is NaN.
            with np.errstate(invalid="ignore"):
                theta = {b: a.theta + theta_shift * a.se for b, a in self.abilities.items()}
        if len(theta) == 1:
            (only,) = theta
            return single_features(only, theta[only], self.linear[only], self.subscore[only])
        return join_features(theta, self.linear, self.subscore)


def first_stage(
    responses: Responses, models: Mapping[Benchmark, BenchmarkModel], engine: Engine
) -> FirstStage:
    """Estimate abilities, linear predictors and sub-scores.

    An item without an answer counts with its expected response at the LLM's ability: the share
    right of the answered ones alone would depend on which were answered.

    Parameters
    ----------
    responses
        For each benchmark int8, shape (n_llms, n_items), in the order of the model's items: of
        all six, or of one.
    """
    stage = FirstStage({}, {}, {}, {}, {}, {})
    for benchmark in BENCHMARKS:
        if benchmark not in responses:
            continue
        model, values = models[benchmark], responses[benchmark]
        names = tuple(str(i) for i in range(len(values)))
        matrix = ResponseMatrix(names, model.parameters.items, values)
        abilities = engine.score(matrix, model.parameters, model.score_method)
        answered = values != MISSING
        filled: Floats = values.astype(np.float64)
        told: Floats = answered.mean(axis=1)
        if not answered.all():
            theta = np.nan_to_num(abilities.theta, posinf=6.0, neginf=-6.0)
            filled = np.where(answered, filled, probability(model.parameters, theta))
            each = information(model.parameters, theta)
            known = (each * answered).sum(axis=1) / np.maximum(each.sum(axis=1), 1e-300)
            told = np.minimum(told, known)
        n_answered = answered.sum(axis=1)
        n_correct = (values == 1).sum(axis=1)
        stage.abilities[benchmark] = abilities
        stage.filled[benchmark] = filled
        stage.told[benchmark] = told
        stage.linear[benchmark] = model.intercept + filled @ model.weights
        stage.subscore[benchmark] = 100.0 * filled.sum(axis=1) / filled.shape[1]
        stage.n_answered[benchmark] = n_answered
        stage.n_correct[benchmark] = n_correct
    return stage
