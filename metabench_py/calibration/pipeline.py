"""From response matrices with chosen items to a bundle, resumable."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, EngineName, FitMode
from metabench_py.bundle.schema import STAGE_FITS, BenchmarkModel, BundleDraft, StageFit
from metabench_py.bundle.write import check_place, write_bundle
from metabench_py.calibration.chosen_items import PartInputs, choose_parts
from metabench_py.calibration.first_stage import (
    FirstStage,
    abilities_of,
    choose_engine,
    first_stage_tasks,
)
from metabench_py.calibration.folds import group_folds, organisation_numbers
from metabench_py.calibration.inputs import CalibrationInputs, load_inputs
from metabench_py.calibration.item_orders import ITEM_ORDERS, ItemOrder
from metabench_py.calibration.moments import Integers
from metabench_py.calibration.provenance import provenance
from metabench_py.calibration.second_stage import Learners, linear_predictors
from metabench_py.calibration.stage_fitters import has_scikit_learn, require_fitters
from metabench_py.calibration.stages import Basis, Folds, How, Stages, StageWork
from metabench_py.calibration.work import WorkFolder, work_folder
from metabench_py.compute import LocalPool, Task, run_tasks
from metabench_py.errors import InputError
from metabench_py.gam.adaptive import LEAST_BASIS
from metabench_py.rbridge import has_package
from metabench_py.stack.near_duplicates import join_labels, near_duplicates

# mgcv's own for an adaptive spline.
_USUAL_BASIS: dict[StageFit, int] = {"gam": 40, "fast-gam": 30}
POPULATION_LEVELS = np.linspace(0.0, 1.0, 201)
# Names that this step is done, its running number, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes
    ----------
    engine, mode
        Who fits the item parameters, and how.
    second_stage
        Second stages, the default first: ``stack``; ``gam``, the original's; ``fast-gam``, by
        ``mgcv::bam``. None: stack, and gam where R has mgcv and there are more LLMs than a GAM
        has coefficients (gam alone where scikit-learn is absent).
    folds, seed
        Folds of the second stage, organisation-grouped ones and as many random ones.
    basis_size
        Basis functions a term of the GAMs; None: mgcv's 40, for the fast one 30. Ten terms of
        40 need many more than 400 LLMs.
    workers
        Processes at a time.
    choose, order
        Make the bundle of so many of the items, chosen by this order (`listed_items`); None: of
        all. Errors are then those of items chosen anew without each fold's LLMs.
    """

    engine: EngineName = "auto"
    mode: FitMode = "converged"
    second_stage: tuple[StageFit, ...] | None = None
    folds: int = 10
    seed: int = 1
    basis_size: int | None = None
    workers: int = 1
    choose: int | None = None
    order: ItemOrder = "greedy"

    def __post_init__(self) -> None:
        if self.basis_size is not None and self.basis_size < LEAST_BASIS:
            raise InputError(
                f"{self.basis_size} basis functions: an adaptive spline needs {LEAST_BASIS} or "
                "more.",
                basis_size=self.basis_size,
            )
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; give 0 or more.", option="seed")
        check_stages(self.second_stage)
        if self.order not in ITEM_ORDERS:
            raise InputError(f"Order {self.order!r}: choose {', '.join(ITEM_ORDERS)}.")

    def stages(self, n_llms: int) -> tuple[StageFit, ...]:
        """Second stages to make of so many LLMs; looks on disk for R where they were left open.

        Raises
        ------
        InputError
            A GAM that was asked for has more coefficients than LLMs to learn from.
        """
        if self.second_stage is not None:
            for one in self.second_stage:
                if one != "stack" and n_llms < (least := self._least_llms(one)):
                    raise InputError(
                        f"{n_llms} LLMs are too few for {one}, whose fits without a fold have more "
                        f"coefficients; take {least} or more, a smaller basis size, or the stack "
                        "alone.",
                        n=n_llms,
                    )
            return self.second_stage
        enough = n_llms >= self._least_llms("gam")
        gam: tuple[StageFit, ...] = ("gam",) if enough and has_package("mgcv") else ()
        return ("stack", *gam) if has_scikit_learn() or not gam else gam

    def _least_llms(self, fit: StageFit) -> int:
        """Give the number of LLMs that a GAM needs, a fold being left out."""
        # Ten terms: six abilities, two linear predictors, two sub-scores.
        coefficients = 10 * ((self.basis_size or _USUAL_BASIS[fit]) - 1) + 1
        return coefficients * self.folds // max(self.folds - 1, 1) + 1


def check_stages(stages: tuple[str, ...] | None) -> None:
    """Refuse second stages that are unknown, or two that a bundle would call alike."""
    if stages is None:
        return
    unknown = [one for one in stages if one not in STAGE_FITS]
    names = ["stack" if one == "stack" else "gam" for one in stages]
    if unknown or not stages:
        what = f"Second stage {unknown[0]!r}" if unknown else "No second stage is named"
        raise InputError(f"{what}: choose {', '.join(STAGE_FITS)}.", second_stage=list(stages))
    if len(set(names)) < len(names):
        raise InputError(
            f"Second stages {', '.join(stages)}: a bundle holds one stack, and one of gam and "
            "fast-gam.",
            second_stage=list(stages),
        )


@dataclass(frozen=True)
class Description:
    """What the bundle says about itself.

    Attributes
    ----------
    name, version
        Of the bundle; `version` is the label that ``reconstruct MODEL VERSION`` takes.
    licence
        Licence of the estimates.
    source
        Where the responses and scores come from.
    licence_text
        Goes into the bundle as ``LICENSE.md``; None: no such file.
    run
        How the items were chosen: settings of the stages before; JSON values.
    """

    name: str
    version: str
    licence: str
    source: str
    licence_text: str | None = None
    run: Mapping[str, Any] | None = None


def calibrate_bundle(
    inputs: CalibrationInputs,
    out: Path,
    description: Description,
    options: CalibrationOptions,
    *,
    work: Path | None = None,
    replace: bool = False,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Path:
    """Estimate everything and write the bundle.

    Parameters
    ----------
    executor
        Runs the fits; its machines must see `work`. None: `options.workers` processes here.
    work
        Folder of finished results. None: ``.NAME.bundle-work`` beside `out`, removed at the end;
        after an interruption the same call goes on where it stopped.
    progress
        Called after each step with what was done, its number and how many there are; with 0 of 0
        where something is told.
    """
    if options.workers < 1:
        raise InputError(f"{options.workers} workers cannot work; take 1 or more.", workers=0)
    check_place(out, replace)
    # What is absent is told before what is too few.
    require_fitters(options.second_stage or ())
    fits = options.stages(len(inputs.llms))
    require_fitters(fits)
    choose_engine(options.engine, options.mode)
    n_given = len({name for matrix in inputs.responses.values() for name in matrix.llms})
    if progress is not None and len(inputs.llms) < n_given:
        progress(
            f"second stages learn from {len(inputs.llms):,} of {n_given:,} LLMs: the others lack "
            "an answer or one of the six scores",
            0,
            0,
        )
    folds = make_folds(inputs, options.folds, options.seed)
    with contextlib.ExitStack() as opened:
        folder = WorkFolder(opened.enter_context(work_folder("bundle", work, out)))
        steps = _Steps(
            executor or opened.enter_context(LocalPool(options.workers)), progress, total=6 + 1
        )
        stages = StageWork(fits, folds, options.basis_size, options.seed, folder)
        steps.total += stages.n_steps
        by_fold: dict[How, list[Basis]] | None = None
        if options.choose is None:
            part = PartInputs(inputs, {})
            tasks = first_stage_tasks(inputs, options.engine, options.mode, folder, part.first)
            steps.run(tasks, len(BENCHMARKS))
        else:
            # One choice and one first stage more for every fold of both kinds.
            n = options.folds * 2
            steps.total += n * len(BENCHMARKS) + n + 1
            part, grouped, random = choose_parts(inputs, folds, options, folder, steps.run)
            by_fold = {
                "grouped": [_basis(one, folds.grouped, folds.groups) for one in grouped],
                "random": [_basis(one, folds.random, folds.clusters) for one in random],
            }
        learners, models = _basis(part, folds.grouped, folds.groups)
        made = stages.make(learners, models, steps.run, by_fold)
        draft = _draft(part.inputs, models, folds, made, description, options, inputs)
        write_bundle(draft, out, replace)
    steps.say(f"bundle {out}")
    return out


def make_folds(inputs: CalibrationInputs, k: int, seed: int) -> Folds:
    """Both kinds of folds of the second stage's LLMs; near-duplicates stay together in each."""
    scores = inputs.scores.of(inputs.llms)
    clusters = near_duplicates(
        [inputs.responses[b].rows(inputs.llms).values for b in BENCHMARKS],
        np.column_stack([scores[b] for b in BENCHMARKS]),
    )
    groups = join_labels(organisation_numbers(inputs.llms), clusters)
    return Folds(
        grouped=group_folds(inputs.llms, groups, k, seed),
        random=group_folds(inputs.llms, clusters, k, seed),
        groups=groups,
        clusters=clusters,
    )


@dataclass
class _Steps:
    executor: Executor
    progress: Progress | None
    total: int
    number: int = field(default=0)

    def run(self, tasks: list[Task], planned: int) -> None:
        """Run what is left of `planned` tasks."""
        if planned > len(tasks):
            self.number += planned - len(tasks) - 1
            self.say(f"{planned - len(tasks)} finished results taken from the work folder")
        run_tasks([self._told(task) for task in tasks], self.executor)

    def _told(self, task: Task) -> Task:
        def done(value: Any) -> None:
            task.done(value)
            self.say(task.name)

        return Task(task.name, task.function, task.args, done)

    def say(self, what: str) -> None:
        self.number += 1
        if self.progress is not None:
            self.progress(what, self.number, self.total)


def _basis(part: PartInputs, fold: Integers, groups: Integers) -> Basis:
    """Give what second stages learn from, and the first stage's models."""
    inputs = part.inputs
    theta = abilities_of(part.first, inputs)
    learners = Learners(
        responses={b: inputs.responses[b].rows(inputs.llms).values for b in BENCHMARKS},
        theta={b: theta[b] for b in BENCHMARKS},
        scores=inputs.scores.of(inputs.llms),
        fold=fold,
        groups=groups,
    )
    return learners, _models(inputs, learners, part.first)


def _models(
    inputs: CalibrationInputs, learners: Learners, first: Mapping[Benchmark, FirstStage]
) -> dict[Benchmark, BenchmarkModel]:
    linear = linear_predictors(learners)
    return {
        b: BenchmarkModel(
            benchmark=b,
            item_type=inputs.items[b].item_type,
            score_method=inputs.items[b].score_method,
            metric=inputs.items[b].metric,
            parameters=first[b].parameters,
            intercept=linear[b].intercept,
            weights=linear[b].weights,
            fit={**first[b].fit, "n_llms_linear": linear[b].n},
        )
        for b in BENCHMARKS
    }


def _draft(
    inputs: CalibrationInputs,
    models: dict[Benchmark, BenchmarkModel],
    folds: Folds,
    made: Stages,
    description: Description,
    options: CalibrationOptions,
    every: CalibrationInputs,
) -> BundleDraft:
    scores = inputs.scores.of(inputs.llms)
    return BundleDraft(
        name=description.name,
        version=description.version,
        licence=description.licence,
        licence_text=description.licence_text,
        provenance=provenance(every, folds, description, options),
        benchmarks=models,
        stages=made.stored,
        singles=made.singles,
        errors_kind="cross-validated",
        rds=made.rds,
        population={t: np.quantile(scores[t], POPULATION_LEVELS) for t in TARGETS},
        population_levels=POPULATION_LEVELS,
    )


def calibrate(
    responses: Path | str,
    scores: Path | str | None,
    items: Path | str,
    out: Path | str,
    *,
    name: str,
    version: str,
    licence: str,
    source: str,
    licence_text: str | None = None,
    options: CalibrationOptions | None = None,
    scores_from_leaderboard: bool = False,
    split: Path | str | None = None,
    work: Path | str | None = None,
    replace: bool = False,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Path:
    """Make a bundle of response matrices whose items are already chosen.

    Parameters
    ----------
    responses, scores, items, scores_from_leaderboard, split
        Folder and files; see `load_inputs`.
    out
        Bundle folder to make.
    name, version, licence, source, licence_text
        See `Description`.
    options
        See `CalibrationOptions`.
    work, replace, progress, executor
        See `calibrate_bundle`; `replace` takes the place of an existing bundle.

    Returns
    -------
    Path
        `out`; ``load_bundle`` reads it.

    Raises
    ------
    InputError
        An input is not usable; the message names file, row and item.
    MissingDependencyError
        The stack is to be made and scikit-learn is absent, or a GAM and R with mgcv is.
    ConvergenceError, RError
        A fit gave no usable numbers.
    """
    return calibrate_bundle(
        load_inputs(
            Path(responses),
            None if scores is None else Path(scores),
            Path(items),
            scores_from_leaderboard=scores_from_leaderboard,
            split=None if split is None else Path(split),
        ),
        Path(out),
        Description(name, version, licence, source, licence_text),
        options or CalibrationOptions(),
        work=None if work is None else Path(work),
        replace=replace,
        progress=progress,
        executor=executor,
    )
