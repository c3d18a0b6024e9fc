"""All second stages of a calibration: which, their fits, their errors, what the bundle holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle.schema import BenchmarkModel, StageFit, StageName, StoredStage
from metabench_py.calibration.evaluation import SHARES, error_table, evaluation, growth
from metabench_py.calibration.second_stage import Learners, full_features, lessons
from metabench_py.calibration.stage_fits import (
    FittedStack,
    GamOfTarget,
    gam_options,
    gam_settings,
    gam_tasks,
    stack_settings,
    stack_task,
)
from metabench_py.calibration.stage_fitters import GamFitter, StackFitter
from metabench_py.calibration.stage_folds import FoldErrors, FoldPlan, fold_tasks, regrouped
from metabench_py.calibration.work import WorkFolder
from metabench_py.compute import Task
from metabench_py.gam.mgcv import GamOptions
from metabench_py.irt.model import Floats

How = Literal["grouped", "random"]
GROUPED = "no LLM of the same organisation, and no near-duplicate, in the fit"
RANDOM = "LLMs at random, near-duplicates together; organisations may be in the fit"
Run = Callable[[list[Task], int], None]
# Learners and first-stage models.
Basis = tuple[Learners, dict[Benchmark, BenchmarkModel]]


@dataclass(frozen=True, eq=False)
class Folds:
    """Both ways to hold LLMs out.

    Attributes
    ----------
    grouped, random
        Fold of each LLM, shape (n,).
    groups, clusters
        What stays together in these: organisations joined by near-duplicates, and near-duplicates.
    """

    grouped: NDArray[np.int64]
    random: NDArray[np.int64]
    groups: NDArray[np.int64]
    clusters: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stages:
    """Second stages of a calibration, fitted and judged.

    Attributes
    ----------
    stored, singles
        For the bundle.
    rds
        The GAMs' stripped fits.
    """

    stored: dict[StageName, StoredStage]
    singles: dict[Benchmark, StoredStage]
    rds: dict[Target, Any]


@dataclass(eq=False)
class StageWork:
    """Makes the second stages, task by task.

    Parameters
    ----------
    fits
        Which ones, the default first.
    basis_size, seed
        See `CalibrationOptions`.
    """

    fits: tuple[StageFit, ...]
    folds: Folds
    basis_size: int | None
    seed: int
    work: WorkFolder
    learners: Learners = field(init=False)
    bases: Mapping[How, Sequence[Basis]] = field(init=False)
    _gams: dict[Target, GamOfTarget] = field(default_factory=dict)
    _single_gams: dict[Target, GamOfTarget] = field(default_factory=dict)
    _stacks: dict[str, FittedStack] = field(default_factory=dict)
    _errors: dict[str, FoldErrors] = field(default_factory=dict)

    @property
    def n_steps(self) -> int:
        """Fits and folds in all."""
        grouped = int(self.folds.grouped.max()) + 1
        random = int(self.folds.random.max()) + 1
        whole = sum((1 if fit == "stack" else 7) + grouped + random for fit in self.fits)
        return whole + 6 + grouped

    def make(
        self,
        learners: Learners,
        models: dict[Benchmark, BenchmarkModel],
        run: Run,
        by_fold: Mapping[How, Sequence[Basis]] | None = None,
    ) -> Stages:
        """Do all that is left.

        Parameters
        ----------
        learners
            In grouped folds.
        models
            First stage of the bundle.
        run
            Takes tasks and the number of steps that they and finished ones stand for.
        by_fold
            What each fold's errors start from in place of `learners` and `models`, where items
            are chosen anew without its LLMs.
        """
        random = regrouped(learners, self.folds.random, self.folds.clusters)
        self.learners = learners
        self.bases = by_fold or {"grouped": [(learners, models)], "random": [(random, models)]}
        table = full_features(learners)
        whole = lessons(self.learners, table)
        tasks: list[Task] = []
        planned = 0
        for fit in self.fits:
            if fit == "stack":
                tasks += stack_task(whole, self.seed, self.work, self._stacks)
                planned += 1
            else:
                tasks += gam_tasks(whole, self._gam_options(fit), self.work, self._gams)
                planned += len(TARGETS)
        for benchmark in BENCHMARKS:
            own = lessons(self.learners, table, only=benchmark)
            if self.fits[0] == "stack":
                tasks += stack_task(own, self.seed, self.work, self._stacks, benchmark)
            else:
                options = self._gam_options(self.fits[0])
                tasks += gam_tasks(own, options, self.work, self._single_gams, benchmark)
        run(tasks, planned + len(BENCHMARKS))
        plans = [plan for fit in self.fits for plan in self._plans(fit)]
        plans += self._alone(self.fits[0])
        tasks = []
        for plan in plans:
            errors = self._errors.setdefault(plan.name, FoldErrors.of(plan))
            tasks += fold_tasks(plan, self.work, errors)
        run(tasks, sum(len(plan.folds) for plan in plans))
        stored = [self._stored(fit) for fit in self.fits]
        rds = {t: one.rds for t, one in self._gams.items() if one.rds is not None}
        return Stages({s.name: s for s in stored}, self._singles(), rds)

    def _gam_options(self, fit: StageFit) -> GamOptions:
        return gam_options(fit, self.basis_size)

    def _plans(self, fit: StageFit) -> list[FoldPlan]:
        """Plan grouped and random folds of one second stage."""
        if fit == "stack":
            return self._two("stack", StackFitter(self.seed), stack_settings(self.seed))
        options = self._gam_options(fit)
        sp = {t: one.sp for t, one in self._gams.items()}
        fixed = GamFitter({t: replace(options, sp=sp[t]) for t in TARGETS})
        return self._two("gam", fixed, gam_settings(options, sp))

    def _two(self, name: StageName, fitter: Any, settings: Any) -> list[FoldPlan]:
        random = f"errors of {name} by random folds"
        return [
            *self._held_out(
                "grouped", f"{name}-grouped", f"errors of {name}", fitter, settings, SHARES
            ),
            *self._held_out("random", f"{name}-random", random, fitter, settings),
        ]

    def _held_out(
        self,
        how: How,
        name: str,
        title: str,
        fitter: Any,
        settings: Any,
        shares: tuple[float, ...] = (),
        alone: bool = False,
    ) -> list[FoldPlan]:
        """Plan all folds from the same learners, or each from its own."""
        bases = self.bases[how]
        return [
            FoldPlan(
                name, title, learners, models, fitter, settings, shares, alone, self.seed,
                only=fold if len(bases) > 1 else None,
            )
            for fold, (learners, models) in enumerate(bases)
        ]  # fmt: skip

    def _alone(self, fit: StageFit) -> list[FoldPlan]:
        settings: Any
        fitter: Any
        if fit == "stack":
            fitter, settings = StackFitter(self.seed), stack_settings(self.seed)
        else:
            options = self._gam_options(fit)
            sp = {t: one.sp for t, one in self._single_gams.items()}
            fitter = GamFitter({t: replace(options, sp=sp[t]) for t in BENCHMARKS})
            settings = gam_settings(options, sp)
        title = "errors of benchmarks alone"
        return self._held_out("grouped", "alone", title, fitter, settings, SHARES, alone=True)

    def _stored(self, fit: StageFit) -> StoredStage:
        name: StageName = "stack" if fit == "stack" else "gam"
        errors, random = self._errors[f"{name}-grouped"], self._errors[f"{name}-random"]
        scores = self.learners.scores
        about: dict[str, Any]
        if fit == "stack":
            model: Any = self._stacks["all"].stack
            about = self._stacks["all"].report
        else:
            model = {t: self._gams[t].gam for t in TARGETS}
            about = {t: self._gams[t].fit for t in TARGETS}
        return StoredStage(
            fit=fit,
            model=model,
            errors=self._tables(errors, TARGETS, scores, fit == "stack"),
            evaluation={
                "grouped": evaluation(errors.whole, scores, self.folds.grouped, GROUPED),
                "random": evaluation(random.whole, scores, self.folds.random, RANDOM),
            },
            growth=growth(errors.whole, errors.masked, scores),
            about=about,
        )

    def _singles(self) -> dict[Benchmark, StoredStage]:
        fit = self.fits[0]
        errors = self._errors["alone"]
        singles: dict[Benchmark, StoredStage] = {}
        told = evaluation(errors.whole, self.learners.scores, self.folds.grouped, GROUPED)
        all_growth = growth(errors.whole, errors.masked, self.learners.scores)
        for b in BENCHMARKS:
            model: Any = self._stacks[b].stack if fit == "stack" else {b: self._single_gams[b].gam}
            singles[b] = StoredStage(
                fit=fit,
                model=model,
                errors=self._tables(errors, (b,), self.learners.scores, fit == "stack"),
                evaluation={"grouped": {**told, "targets": {b: told["targets"][b]}}},
                growth=replace(all_growth, factors={b: all_growth.factors[b]}),
                about=self._stacks[b].report if fit == "stack" else self._single_gams[b].fit,
            )
        return singles

    def _tables(
        self,
        errors: FoldErrors,
        targets: tuple[Target, ...],
        scores: dict[Target, Floats],
        scaled: bool,
    ) -> dict[Target, Any]:
        groups = self.folds.groups
        return {t: error_table(errors.whole, t, scores[t], groups, scaled) for t in targets}
