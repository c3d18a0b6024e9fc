"""What second stages learn from: out-of-fold predictors, whole and with a fold held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Target
from metabench_py.bundle.schema import BenchmarkModel
from metabench_py.calibration.stage_fitters import Lessons
from metabench_py.gam.features import join_features, single_features
from metabench_py.gam.linear import LinearPredictor, fit_linear, out_of_fold, subscore
from metabench_py.irt.engine import Abilities
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.stages import FirstStage

Features = Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Learners:
    """The second stage's LLMs.

    Attributes
    ----------
    responses
        int8, shape (n, n_items), by benchmark; complete.
    theta
        Ability, shape (n,), by benchmark.
    scores
        Full scores, shape (n,), by target.
    fold
        Fold of each LLM's group, shape (n,).
    groups
        What stays together: organisation, near-duplicates, or both joined, shape (n,).
    """

    responses: dict[Benchmark, NDArray[np.int8]]
    theta: dict[Benchmark, Floats]
    scores: dict[Target, Floats]
    fold: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Features to fit on and features to predict for one held-out fold.

    Attributes
    ----------
    held_out
        Which LLMs are held out, shape (n,).
    train
        Features of the others; none has seen a held-out score.
    linear
        Linear models of the others, by benchmark, for the held-out LLMs.
    """

    held_out: NDArray[np.bool_]
    train: dict[str, Floats]
    linear: dict[Benchmark, LinearPredictor]


def linear_predictors(learners: Learners) -> dict[Benchmark, LinearPredictor]:
    """Linear models on all LLMs: those of the bundle."""
    return {b: fit_linear(learners.responses[b], learners.scores[b]) for b in BENCHMARKS}


def full_features(learners: Learners) -> dict[str, Floats]:
    """Features of all LLMs, each linear predictor from the other folds.

    In-sample linear predictors would look better than those of a new LLM are, and the GAM
    would trust them too much.
    """
    linear = {
        b: out_of_fold(learners.responses[b], learners.scores[b], learners.fold) for b in BENCHMARKS
    }
    return _join(learners, linear, np.ones(len(learners.fold), dtype=bool))


def held_out_split(learners: Learners, fold: int) -> Split:
    """Features with one fold held out of everything but the item parameters.

    The training LLMs' linear predictors are out of fold among the remaining folds; the held-out
    LLMs' come from all training LLMs, as a new LLM's do.
    """
    held_out = learners.fold == fold
    train, linear = {}, {}
    for b in BENCHMARKS:
        responses, score = learners.responses[b], learners.scores[b]
        train[b] = out_of_fold(responses[~held_out], score[~held_out], learners.fold[~held_out])
        linear[b] = fit_linear(responses[~held_out], score[~held_out])
    return Split(held_out, _join(learners, train, ~held_out), linear)


def lessons(
    learners: Learners,
    table: Features,
    rows: NDArray[np.bool_] | None = None,
    only: Benchmark | None = None,
) -> Lessons:
    """Give what a second stage learns from these rows of the learners.

    Parameters
    ----------
    table
        Features of these rows, all six benchmarks'.
    only
        Take this benchmark alone.
    """
    chosen = np.ones(len(learners.fold), dtype=bool) if rows is None else rows
    benchmarks = BENCHMARKS if only is None else (only,)
    if only is not None:
        table = single_features(only, table[only], table[f"{only}.l"], table[f"{only}.s"])
    return Lessons(
        table,
        {b: learners.responses[b][chosen].astype(np.float64) for b in benchmarks},
        {t: score[chosen] for t, score in learners.scores.items() if only is None or t == only},
        learners.groups[chosen],
    )


def held_out_stage(
    learners: Learners,
    split: Split,
    models: Mapping[Benchmark, BenchmarkModel],
    benchmarks: tuple[Benchmark, ...] = BENCHMARKS,
) -> FirstStage:
    """First stage of the held-out LLMs, with the linear models of the others."""
    rows = split.held_out
    n = int(rows.sum())
    stage = FirstStage({}, {}, {}, {}, {}, {})
    for b in benchmarks:
        values = learners.responses[b][rows]
        method = models[b].score_method
        stage.abilities[b] = Abilities(learners.theta[b][rows], np.zeros(n), method, "calibration")
        stage.linear[b] = split.linear[b].predict(values)
        stage.subscore[b] = subscore(values)
        stage.n_answered[b] = np.full(n, values.shape[1], dtype=np.intp)
        stage.n_correct[b] = (values == 1).sum(axis=1)
        stage.filled[b] = values.astype(np.float64)
    return stage


def with_linear(
    models: Mapping[Benchmark, BenchmarkModel], linear: Mapping[Benchmark, LinearPredictor]
) -> dict[Benchmark, BenchmarkModel]:
    """First-stage models with other linear predictors."""
    return {
        b: replace(models[b], intercept=linear[b].intercept, weights=linear[b].weights)
        for b in models
    }


def _join(
    learners: Learners, linear: Mapping[Benchmark, Floats], rows: NDArray[np.bool_]
) -> dict[str, Floats]:
    return join_features(
        {b: learners.theta[b][rows] for b in BENCHMARKS},
        linear,
        {b: subscore(learners.responses[b][rows]) for b in BENCHMARKS},
    )
