"""Second stage: out-of-fold predictors, the GAMs, and their errors on held-out organisations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.calibration.work import WorkFolder, digest
from metabench_py.compute import Task
from metabench_py.errors import ConvergenceError
from metabench_py.gam.features import join_features, target_features
from metabench_py.gam.jobs import GamJob, GamResult, run_job
from metabench_py.gam.linear import LinearPredictor, fit_linear, out_of_fold, subscore
from metabench_py.gam.mgcv import GamOptions, fit_gam
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats
from metabench_py.storage import sha256

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
        Fold of each LLM's organisation, shape (n,).
    """

    responses: dict[Benchmark, NDArray[np.int8]]
    theta: dict[Benchmark, Floats]
    scores: dict[Target, Floats]
    fold: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Features to fit on and features to predict for one held-out fold.

    Attributes
    ----------
    held_out
        Which LLMs are held out, shape (n,).
    train, test
        Features of the others and of these; neither has seen a held-out score.
    """

    held_out: NDArray[np.bool_]
    train: dict[str, Floats]
    test: dict[str, Floats]


@dataclass(frozen=True, eq=False)
class SecondStage:
    """What the second stage gives for one target.

    Attributes
    ----------
    fit
        As the manifest has it.
    sp
        Smoothing parameters of the fit on all LLMs.
    rds
        The stripped fit.
    """

    gam: PortableGam
    fit: dict[str, Any]
    sp: Floats
    rds: Path


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
    train, test = {}, {}
    for b in BENCHMARKS:
        responses, score = learners.responses[b], learners.scores[b]
        train[b] = out_of_fold(responses[~held_out], score[~held_out], learners.fold[~held_out])
        model = fit_linear(responses[~held_out], score[~held_out])
        test[b] = model.predict(responses[held_out])
    return Split(held_out, _join(learners, train, ~held_out), _join(learners, test, held_out))


def _join(
    learners: Learners, linear: Mapping[Benchmark, Floats], rows: NDArray[np.bool_]
) -> dict[str, Floats]:
    return join_features(
        {b: learners.theta[b][rows] for b in BENCHMARKS},
        linear,
        {b: subscore(learners.responses[b][rows]) for b in BENCHMARKS},
    )


def fit_tasks(
    features: Features,
    learners: Learners,
    options: GamOptions,
    work: WorkFolder,
    results: dict[Target, SecondStage],
) -> list[Task]:
    """GAM fits that are left to do; finished ones are put into `results` at once."""
    tasks = []
    for target in TARGETS:
        predictors = target_features(features, target)
        score = learners.scores[target]
        key = digest(
            *(predictors[name] for name in sorted(predictors)),
            score,
            [options.basis, options.k, _mgcv_version()],
        )
        stage, rds = f"gam-{target}", work.path / f"gam-{target}.rds"
        found = work.get(stage, key)
        if found is not None and rds.is_file() and sha256(rds) == found["rds_sha256"]:
            results[target] = _from_values(found, rds)
            continue

        def done(
            result: GamResult,
            target: Target = target,
            stage: str = stage,
            key: str = key,
            rds: Path = rds,
        ) -> None:
            values = {
                "portable": result.portable.to_dict(),
                "fit": result.fit.to_dict(),
                "sp": result.fit.sp,
                "rds_sha256": sha256(rds),
            }
            work.put(stage, key, values)
            results[target] = _from_values(values, rds)

        job = GamJob(target, predictors, score, options=options, rds=rds)
        tasks.append(Task(f"GAM of {target}", run_job, (job,), done))
    return tasks


def error_tasks(
    learners: Learners,
    fits: Mapping[Target, SecondStage],
    options: GamOptions,
    work: WorkFolder,
    predicted: dict[Target, Floats],
) -> list[Task]:
    """Folds that are left to do; `predicted` takes held-out predictions, shape (n,) a target."""
    fixed = {
        target: GamOptions(basis=options.basis, k=options.k, sp=fits[target].sp)
        for target in TARGETS
    }
    key = digest(
        *(learners.responses[b] for b in BENCHMARKS),
        *(learners.theta[b] for b in BENCHMARKS),
        *(learners.scores[t] for t in TARGETS),
        *(fits[t].sp for t in TARGETS),
        learners.fold,
        [options.basis, options.k, _mgcv_version()],
    )
    for target in TARGETS:
        predicted[target] = np.full(len(learners.fold), np.nan)
    tasks = []
    for fold in range(int(learners.fold.max()) + 1):
        stage, held_out = f"errors-{fold}", learners.fold == fold

        def fill(values: Mapping[str, Any], held_out: NDArray[np.bool_] = held_out) -> None:
            for target in TARGETS:
                predicted[target][held_out] = values[target]

        found = work.get(stage, key)
        if found is not None:
            fill(found)
            continue

        def done(values: dict[str, Any], stage: str = stage, fill: Any = fill) -> None:
            work.put(stage, key, values)
            fill(values)

        tasks.append(
            Task(f"errors of fold {fold + 1}", predict_fold, (learners, fold, fixed), done)
        )
    return tasks


def predict_fold(
    learners: Learners, fold: int, options: Mapping[Target, GamOptions]
) -> dict[str, Floats]:
    """Refit everything but item parameters without one fold; predict it (a worker calls it)."""
    split = held_out_split(learners, fold)
    predicted: dict[str, Floats] = {}
    for target in TARGETS:
        train, test = target_features(split.train, target), target_features(split.test, target)
        score = learners.scores[target][~split.held_out]
        gam, _ = fit_gam(train, score, target, options=options[target])
        predicted[target] = gam.predict(test)
        if not np.isfinite(predicted[target]).all():
            raise ConvergenceError(
                f"Held-out predictions of {target} in fold {fold + 1} are not finite; take fewer "
                "folds or a smaller basis.",
                target=target,
            )
    return predicted


def _from_values(values: dict[str, Any], rds: Path) -> SecondStage:
    return SecondStage(
        gam=PortableGam.from_dict(values["portable"]),
        fit=values["fit"],
        sp=np.asarray(values["sp"], np.float64),
        rds=rds,
    )


def _mgcv_version() -> str:
    from metabench_py.rbridge import locate

    return locate.package_version("mgcv") or "unknown"
