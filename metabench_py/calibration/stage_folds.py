"""Errors of second stages on LLMs of other groups, fold by fold, each fold a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle.schema import BenchmarkModel
from metabench_py.calibration.code_version import code_version
from metabench_py.calibration.evaluation import HeldOut, Mask
from metabench_py.calibration.second_stage import (
    Learners,
    Split,
    held_out_split,
    held_out_stage,
    lessons,
    with_linear,
)
from metabench_py.calibration.stage_fitters import Fitter
from metabench_py.calibration.work import WorkFolder, digest
from metabench_py.compute import Task
from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats
from metabench_py.irt.native import NativeEngine
from metabench_py.reconstruction.second_stage import SecondStage
from metabench_py.reconstruction.stages import FirstStage, first_stage
from metabench_py.responses import MISSING

Found = dict[str, dict[str, Floats]]
# Name of what LLMs that answered everything gave.
_WHOLE = "whole"


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """One way to hold LLMs out of one second stage.

    Attributes
    ----------
    name
        Of its results in the work folder: ``gam-grouped``.
    title
        In words.
    learners
        With the folds to hold out.
    models
        First stage; their linear predictors do not matter, every fold makes its own.
    fitter, settings
        Who fits, and JSON values of all that its fits depend on.
    shares
        Shares of items to mask in held-out LLMs, too, in one benchmark at a time.
    alone
        Fit each benchmark alone, not all together.
    seed
        Of the masks.
    only
        Hold out this fold alone; None: one after the other.
    """

    name: str
    title: str
    learners: Learners
    models: Mapping[Benchmark, BenchmarkModel]
    fitter: Fitter
    settings: Any
    shares: tuple[float, ...] = ()
    alone: bool = False
    seed: int = 1
    only: int | None = None

    @property
    def folds(self) -> tuple[int, ...]:
        """Those to hold out."""
        if self.only is not None:
            return (self.only,)
        return tuple(range(int(self.learners.fold.max()) + 1))

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is predicted."""
        return BENCHMARKS if self.alone else TARGETS


@dataclass(frozen=True, eq=False)
class FoldErrors:
    """What the folds gave.

    Attributes
    ----------
    whole
        Of LLMs that answered everything.
    masked
        By the benchmark whose items are masked, and the share of them.
    """

    whole: HeldOut
    masked: dict[Mask, HeldOut] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: FoldPlan) -> FoldErrors:
        """Give one to be filled."""
        n = len(plan.learners.fold)
        return cls(
            HeldOut.empty(plan.targets, n),
            {
                (b, share): HeldOut.empty((b,) if plan.alone else plan.targets, n)
                for b in BENCHMARKS
                for share in plan.shares
            },
        )

    def fill(self, found: Mapping[str, Found], rows: NDArray[np.bool_]) -> None:
        """Put one fold's predictions in."""
        places = {_WHOLE: self.whole, **{_name(m): held for m, held in self.masked.items()}}
        for name, place in places.items():
            for target in place.predicted:
                place.predicted[target][rows] = found[name]["predicted"][target]
                place.scale[target][rows] = found[name]["scale"][target]


def fold_tasks(plan: FoldPlan, work: WorkFolder, errors: FoldErrors) -> list[Task]:
    """Folds that are left to do; finished ones are put into `errors` at once."""
    learners = plan.learners
    key = digest(
        *(learners.responses[b] for b in BENCHMARKS),
        *(learners.theta[b] for b in BENCHMARKS),
        *(learners.scores[t] for t in TARGETS),
        learners.fold,
        learners.groups,
        [plan.settings, list(plan.shares), plan.alone, plan.seed],
        [code_version(("metabench_py.calibration.stage_folds",))],
        *(
            getattr(plan.models[b].parameters, name)
            for b in (BENCHMARKS if plan.shares else ())
            for name in ("a1", "d", "g", "u")
        ),
    )
    tasks = []
    for fold in plan.folds:
        stage, rows = f"{plan.name}-{fold}", learners.fold == fold
        found = work.get(stage, key)
        if found is not None:
            errors.fill(found, rows)
            continue

        def done(
            values: dict[str, Found],
            stage: str = stage,
            fill: Callable[..., None] = errors.fill,
            rows: NDArray[np.bool_] = rows,
        ) -> None:
            work.put(stage, key, values)
            fill(values, rows)

        tasks.append(Task(f"{plan.title}, fold {fold + 1}", predict_fold, (plan, fold), done))
    return tasks


def predict_fold(plan: FoldPlan, fold: int) -> dict[str, Found]:
    """Refit everything but item parameters without one fold; predict it (a worker calls it)."""
    learners = plan.learners
    split = held_out_split(learners, fold)
    models = with_linear(plan.models, split.linear)
    parts: tuple[tuple[Benchmark, ...], ...] = (
        tuple((b,) for b in BENCHMARKS) if plan.alone else (BENCHMARKS,)
    )
    masks = [(b, share) for b in BENCHMARKS for share in plan.shares]
    found: dict[str, Found] = {
        name: {"predicted": {}, "scale": {}} for name in (_WHOLE, *map(_name, masks))
    }
    for benchmarks in parts:
        only = benchmarks[0] if plan.alone else None
        second = plan.fitter.fit(lessons(learners, split.train, ~split.held_out, only))
        stage = held_out_stage(learners, split, models, benchmarks)
        _note(found[_WHOLE], second, stage, fold)
        for number, share in enumerate(plan.shares):
            for b in benchmarks:
                values = _masked(plan, split, share, (plan.seed, fold, number), b)
                part = first_stage({b: values}, models, NativeEngine())
                _note(found[_name((b, share))], second, _with(stage, part), fold)
    return found


def _name(mask: Mask) -> str:
    return f"{mask[0]} {mask[1]}"


def _with(stage: FirstStage, part: FirstStage) -> FirstStage:
    """Put one benchmark's first stage in place of what is there."""
    return FirstStage(
        {**stage.abilities, **part.abilities},
        {**stage.linear, **part.linear},
        {**stage.subscore, **part.subscore},
        {**stage.n_answered, **part.n_answered},
        {**stage.n_correct, **part.n_correct},
        {**stage.filled, **part.filled},
    )


def _note(found: Found, second: SecondStage, stage: FirstStage, fold: int) -> None:
    predicted = second.predict(stage)
    for target, values in predicted.items():
        if not np.isfinite(values).all():
            raise ConvergenceError(
                f"Held-out predictions of {target} in fold {fold + 1} are not finite; take fewer "
                "folds or a smaller basis.",
                target=target,
            )
    found["predicted"].update({str(t): values for t, values in predicted.items()})
    found["scale"].update({str(t): values for t, values in second.scale(stage).items()})


def _masked(
    plan: FoldPlan, split: Split, share: float, seed: tuple[int, ...], benchmark: Benchmark
) -> NDArray[np.int8]:
    """Responses of the held-out LLMs, of each a share taken away, other items for each LLM."""
    random = np.random.default_rng((*seed, BENCHMARKS.index(benchmark)))
    values = plan.learners.responses[benchmark][split.held_out].copy()
    n_items = values.shape[1]
    # One answer a benchmark is always left: reading the logs asks for it.
    gone = min(round(share * n_items), n_items - 1)
    order = random.random(values.shape).argsort(axis=1)
    np.put_along_axis(values, order[:, :gone], MISSING, axis=1)
    return values


def regrouped(learners: Learners, fold: NDArray[np.int64], groups: NDArray[np.int64]) -> Learners:
    """Give the same learners in other folds."""
    return replace(learners, fold=fold, groups=groups)
