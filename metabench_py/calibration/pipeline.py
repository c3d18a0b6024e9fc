"""From response matrices with chosen items to a bundle, resumable."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, EngineName, FitMode, Target
from metabench_py.bundle.schema import BenchmarkModel, BundleDraft, ErrorTable
from metabench_py.bundle.write import check_place, write_bundle
from metabench_py.calibration.first_stage import (
    FirstStage,
    abilities_of,
    choose_engine,
    first_stage_tasks,
)
from metabench_py.calibration.folds import organisation_folds, organisation_numbers
from metabench_py.calibration.inputs import CalibrationInputs, load_inputs
from metabench_py.calibration.second_stage import (
    Learners,
    SecondStage,
    error_tasks,
    fit_tasks,
    full_features,
    linear_predictors,
)
from metabench_py.calibration.work import WorkFolder, digest
from metabench_py.compute import LocalPool, Task, run_tasks
from metabench_py.errors import InputError
from metabench_py.gam.adaptive import LEAST_BASIS
from metabench_py.gam.linear import LinearPredictor
from metabench_py.gam.mgcv import GamOptions
from metabench_py.irt.model import Floats
from metabench_py.rbridge import locate, r_version, require_package

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
    folds, seed
        Organisation-grouped folds of the second stage.
    basis_size
        Basis functions a term of the GAMs; None: mgcv's 40. Ten terms of 40 need many more
        than 400 LLMs.
    workers
        Processes at a time.
    """

    engine: EngineName = "auto"
    mode: FitMode = "converged"
    folds: int = 10
    seed: int = 1
    basis_size: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.basis_size is not None and self.basis_size < LEAST_BASIS:
            raise InputError(
                f"{self.basis_size} basis functions: an adaptive spline needs {LEAST_BASIS} or "
                "more.",
                basis_size=self.basis_size,
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
        Folder of finished results. None: ``.NAME.work`` beside `out`, removed at the end; after
        an interruption the same call goes on where it stopped.
    progress
        Called after each step.
    """
    if options.workers < 1:
        raise InputError(f"{options.workers} workers cannot work; take 1 or more.", workers=0)
    check_place(out, replace)
    require_package("mgcv")
    choose_engine(options.engine, options.mode)
    fold = organisation_folds(inputs.llms, options.folds, options.seed)
    folder = WorkFolder(work or out.parent / f".{out.name}.work")
    with contextlib.ExitStack() as opened:
        steps = _Steps(
            6 + 7 + options.folds + 1,
            executor or opened.enter_context(LocalPool(options.workers)),
            progress,
        )
        first: dict[Benchmark, FirstStage] = {}
        steps.run(first_stage_tasks(inputs, options.engine, options.mode, folder, first), 6)
        theta = abilities_of(first, inputs)
        learners = Learners(
            responses={b: inputs.responses[b].rows(inputs.llms).values for b in BENCHMARKS},
            theta={b: theta[b] for b in BENCHMARKS},
            scores=inputs.scores.of(inputs.llms),
            fold=fold,
        )
        gam = GamOptions(k=options.basis_size)
        second: dict[Target, SecondStage] = {}
        steps.run(fit_tasks(full_features(learners), learners, gam, folder, second), 7)
        predicted: dict[Target, Floats] = {}
        steps.run(error_tasks(learners, second, gam, folder, predicted), options.folds)

    estimates = _Estimates(first, linear_predictors(learners), second, predicted)
    draft = _draft(inputs, learners, estimates, description, options)
    write_bundle(draft, out, replace)
    steps.say(f"bundle {out}")
    if work is None:
        shutil.rmtree(folder.path, ignore_errors=True)
    return out


@dataclass
class _Steps:
    total: int
    executor: Executor
    progress: Progress | None
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


@dataclass(frozen=True, eq=False)
class _Estimates:
    first: dict[Benchmark, FirstStage]
    linear: dict[Benchmark, LinearPredictor]
    second: dict[Target, SecondStage]
    predicted: dict[Target, Floats]


def _draft(
    inputs: CalibrationInputs,
    learners: Learners,
    estimates: _Estimates,
    description: Description,
    options: CalibrationOptions,
) -> BundleDraft:
    groups = organisation_numbers(inputs.llms)
    return BundleDraft(
        name=description.name,
        version=description.version,
        licence=description.licence,
        licence_text=description.licence_text,
        provenance=_provenance(inputs, learners, estimates, description, options),
        benchmarks={
            b: BenchmarkModel(
                benchmark=b,
                item_type=inputs.items[b].item_type,
                score_method=inputs.items[b].score_method,
                metric=inputs.items[b].metric,
                parameters=estimates.first[b].parameters,
                intercept=estimates.linear[b].intercept,
                weights=estimates.linear[b].weights,
                fit={**estimates.first[b].fit, "n_llms_linear": estimates.linear[b].n},
            )
            for b in BENCHMARKS
        },
        gams={t: estimates.second[t].gam for t in TARGETS},
        errors={
            t: _error_table(estimates.predicted[t], learners.scores[t], groups) for t in TARGETS
        },
        errors_kind="cross-validated",
        rds={t: estimates.second[t].rds for t in TARGETS},
        population={t: np.quantile(learners.scores[t], POPULATION_LEVELS) for t in TARGETS},
        population_levels=POPULATION_LEVELS,
    )


def _error_table(predicted: Floats, score: Floats, groups: Any) -> ErrorTable:
    # In order of the prediction, so that rows of two targets are not the same LLM by position.
    order = np.argsort(predicted, kind="stable")
    return ErrorTable(predicted[order], (predicted - score)[order], groups[order])


def _provenance(
    inputs: CalibrationInputs,
    learners: Learners,
    estimates: _Estimates,
    description: Description,
    options: CalibrationOptions,
) -> dict[str, Any]:
    return {
        "source": description.source,
        "inputs_sha256": _fingerprint(inputs),
        "n_llms": len(inputs.llms),
        "n_organisations": len(np.unique(organisation_numbers(inputs.llms))),
        "fit_mode": options.mode,
        "item_parameters": (
            "marginal maximum likelihood on all LLMs of each benchmark's matrix, "
            "theta ~ normal(0, 1)"
        ),
        "linear_predictor": (
            "lm of the full score on the responses, on the LLMs with all six matrices and scores"
        ),
        "sub_score": "100 * right / number of items, in training and in use",
        "second_stage": (
            "mgcv::gam, a sum of s(., bs = 'ad'); trained on linear predictors from the other "
            "folds, none of an LLM's own organisation"
        ),
        "errors": (
            "Cross-validated: each LLM is predicted by linear models and GAMs that saw no LLM of "
            "its organisation. The GAMs of the folds keep the smoothing parameters of the fit on "
            "all LLMs; item parameters and abilities are those of the fit on all LLMs."
        ),
        "gams": {t: estimates.second[t].fit for t in TARGETS},
        "software": {"R": r_version(), "mgcv": locate.package_version("mgcv")},
        "options": {k: v for k, v in asdict(options).items() if k != "workers"},
        **({} if description.run is None else {"run": dict(description.run)}),
    }


def _fingerprint(inputs: CalibrationInputs) -> str:
    parts: list[Any] = []
    for b in BENCHMARKS:
        matrix, chosen = inputs.responses[b], inputs.items[b]
        parts += [
            matrix.values,
            list(matrix.llms),
            list(matrix.items),
            list(asdict(chosen).items()),
        ]
    scores = inputs.scores
    parts += [list(scores.names), *(scores.values[t] for t in TARGETS)]
    return digest(*parts)


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
        R with mgcv is absent.
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
