"""Random subsets of items, and the one whose share of right answers tells the score best.

Of each subset the full score is predicted from the share of right answers by an adaptive spline,
cross-validated; the subset with the smallest largest error over the folds is chosen. Source:
Kipnis et al. (2025), metabench, and the subsampling of its repository.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.calibration.split import Partitioner
from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.calibration.subsample_errors import Problem, chunk_errors
from metabench_py.compute import Shared
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.gam.adaptive import LEAST_BASIS, SEARCHES, AdaptiveOptions, Search
from metabench_py.irt.model import Floats

Integers = NDArray[np.int64]
Rule = Literal["stratified", "original"]
SecondStage = Literal["native", "mgcv"]
RULES: tuple[Rule, ...] = get_args(Rule)
SECOND_STAGES: tuple[SecondStage, ...] = get_args(SecondStage)
# what, number, total
Progress = Callable[[str, int, int], None]
# Subsets a call: a second or two of work, and some calls for each worker.
LARGEST_CHUNK = 50
LEAST_CALLS = 20
_DEFAULT_BASIS = 40


@dataclass(frozen=True)
class SubsampleOptions:
    """How subsets are drawn and judged.

    Attributes
    ----------
    n_items
        Items a subset.
    subsets
        How many subsets are drawn.
    folds
        Of the cross-validation.
    seed
        Of the folds, and of the subsets under ``stratified``.
    rule
        ``stratified``: needs no R. ``original``: folds as caret's ``createFolds`` gives them after
        ``set.seed(seed)``, subset number k as R's ``sample`` draws it after ``set.seed(k)``.
    partitioner
        Who draws the folds under ``original``: ``caret``, or ``base`` R, which draws the same.
    second_stage
        ``native``: our adaptive spline. ``mgcv``: R's, some ten times slower.
    search
        Of the native spline, see `AdaptiveOptions`.
    basis_size
        Coefficients of the spline; None: 40, or fewer for fewer than 80 training LLMs.
    """

    n_items: int = 350
    subsets: int = 10_000
    folds: int = 5
    seed: int = 1
    rule: Rule = "stratified"
    partitioner: Partitioner = "caret"
    second_stage: SecondStage = "native"
    search: Search = "mgcv-path"
    basis_size: int | None = None

    def __post_init__(self) -> None:
        for what, value, known in (
            ("Rule", self.rule, RULES),
            ("Second stage", self.second_stage, SECOND_STAGES),
            ("Search", self.search, SEARCHES),
        ):
            if value not in known:
                raise InputError(f"{what} {value!r}: choose {', '.join(known)}.")
        for what, number, least in (
            ("items a subset", self.n_items, 1),
            ("subsets", self.subsets, 1),
            ("folds", self.folds, 2),
            ("as a seed", self.seed, 0),
            ("basis functions", self.basis_size or LEAST_BASIS, LEAST_BASIS),
        ):
            if number < least:
                raise InputError(f"{number} {what}: take {least} or more.")


@dataclass(frozen=True, eq=False)
class SubsampleResult:
    """Errors of all subsets.

    Attributes
    ----------
    items
        All items, in the matrix's order.
    picks
        Positions of each subset's items, ascending, shape (n_subsets, n_items).
    fold
        Fold of each training LLM, shape (n_train,).
    rmse_validation, rmse_test
        In score points, shape (n_subsets, n_folds); NaN where there was nobody to predict.
    """

    benchmark: str
    items: tuple[str, ...]
    picks: Integers
    fold: Integers
    rmse_validation: Floats
    rmse_test: Floats

    @property
    def worst(self) -> Floats:
        """Largest validation error of each subset, shape (n_subsets,); infinite where none."""
        filled = np.where(np.isfinite(self.rmse_validation), self.rmse_validation, np.inf)
        return np.asarray(filled.max(axis=1))

    @property
    def chosen(self) -> int:
        """Position of the subset with the smallest `worst`, the first of equal ones."""
        return int(np.argmin(self.worst))

    @property
    def chosen_items(self) -> tuple[str, ...]:
        """Items of the chosen subset."""
        return tuple(self.items[i] for i in self.picks[self.chosen])

    def to_dict(self) -> dict[str, Any]:
        """Summary for JSON."""
        best = self.chosen
        test = self.rmse_test[best]
        seen = np.isfinite(test).any()
        return {
            "items": len(self.items),
            "items_chosen": self.picks.shape[1],
            "subsets": len(self.picks),
            "llms_train": len(self.fold),
            "chosen_subset": best + 1,
            "minimax_rmse_validation": float(self.worst[best]),
            "mean_rmse_validation": float(self.rmse_validation[best].mean()),
            "mean_rmse_test": float(np.nanmean(test)) if seen else None,
            "median_minimax_rmse_validation": float(np.median(self.worst)),
        }


def draw_folds(names: tuple[str, ...], score: Floats, options: SubsampleOptions) -> Integers:
    """Give each training LLM a fold, so that all folds have LLMs of all scores.

    Under ``stratified`` LLMs are put in order of their score, equal ones by name, and each run of
    as many LLMs as folds is dealt out at random.

    Returns
    -------
    Fold of each LLM, 0 to folds - 1, shape (n,).
    """
    n, k = len(score), options.folds
    if n < 2 * k:
        raise InputError(f"{n} training LLMs are too few for {k} folds; take fewer folds.", n=n)
    if options.rule == "original":
        from metabench_py.rbridge import sampling

        return sampling.folds(score, k, options.seed, by=options.partitioner)
    order = np.lexsort((np.array(names), score))
    generator = np.random.default_rng([options.seed, 0])
    dealt = np.tile(np.arange(k), (-(-n // k), 1))
    generator.permuted(dealt, axis=1, out=dealt)
    fold = np.empty(n, np.int64)
    fold[order] = dealt.ravel()[:n]
    return fold


def draw_subsets(n: int, options: SubsampleOptions) -> Integers:
    """Draw the subsets; number k of them is the same however many are drawn.

    Parameters
    ----------
    n
        Items there are.

    Returns
    -------
    Positions of the items, ascending, shape (subsets, n_items).
    """
    if options.n_items > n:
        raise InputError(
            f"A subset of {options.n_items} items cannot be drawn from {n}; ask for fewer.",
            n_items=options.n_items,
            n=n,
        )
    numbers = range(1, options.subsets + 1)
    if options.rule == "original":
        from metabench_py.rbridge import sampling

        return np.sort(sampling.sample_each(n, options.n_items, list(numbers)), axis=1)
    picks = np.empty((options.subsets, options.n_items), np.int64)
    for row, number in zip(picks, numbers, strict=True):
        generator = np.random.default_rng([options.seed, number])
        row[:] = np.sort(generator.choice(n, options.n_items, replace=False, shuffle=False))
    return picks


def subsample(
    data: BenchmarkData,
    options: SubsampleOptions | None = None,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> SubsampleResult:
    """Draw subsets of items and measure how well each tells the full score.

    An LLM that answered none of a subset's items is left out of that subset. The same engine with
    ``n_items`` of a reduced benchmark, and no look at `SubsampleResult.chosen`, gives the null
    distribution to hold that benchmark against.

    Parameters
    ----------
    executor
        Who works, some subsets a call; None: this process. The result is the same.
    progress
        Told at the start and after each call.

    Raises
    ------
    InputError
        Too few items or LLMs.
    ConvergenceError
        No subset could be judged in all folds.
    RUnavailableError
        The rule is ``original`` or the second stage mgcv, and R lacks something.
    """
    options = options or SubsampleOptions()
    try:
        picks = draw_subsets(data.train.n_items, options)
        fold = draw_folds(data.train.llms, data.train_score, options)
    except InputError as error:
        raise InputError(f"{data.benchmark}: {error}", **error.facts) from error
    problem = Problem(
        np.ascontiguousarray(np.vstack([data.train.values, data.test.values]).T),
        np.concatenate([data.train_score, data.test_score]),
        np.concatenate([fold, np.full(data.test.n_llms, -1, np.int64)]),
        options.folds,
        AdaptiveOptions(basis_size=basis_size(fold, options), search=options.search),
        options.second_stage,
    )
    chunk = max(1, min(LARGEST_CHUNK, len(picks) // LEAST_CALLS))
    parts = [picks[i : i + chunk] for i in range(0, len(picks), chunk)]
    errors: list[Floats] = []
    told = progress or _silent
    told(data.benchmark, 0, len(picks))
    for number, part in enumerate(_run(problem, parts, executor), start=1):
        errors.append(part)
        told(data.benchmark, min(number * chunk, len(picks)), len(picks))
    rmse = np.concatenate(errors)
    result = SubsampleResult(
        data.benchmark, data.train.items, picks, fold, rmse[:, :, 0], rmse[:, :, 1]
    )
    if not np.isfinite(result.worst).any():
        raise ConvergenceError(
            f"{data.benchmark}: no subset could be judged in all {options.folds} folds; take more "
            "items or fewer folds.",
            benchmark=data.benchmark,
        )
    return result


def _silent(what: str, number: int, total: int) -> None:
    del what, number, total


def basis_size(fold: Integers, options: SubsampleOptions) -> int:
    """Coefficients of the spline: as asked for, or half the LLMs of the smallest training set."""
    if options.basis_size is not None:
        return options.basis_size
    smallest = len(fold) - int(np.bincount(fold).max())
    return int(np.clip(smallest // 2, LEAST_BASIS, _DEFAULT_BASIS))


def _run(problem: Problem, parts: list[Integers], executor: Executor | None) -> Iterator[Floats]:
    shared = Shared(problem)
    if executor is None:
        return (chunk_errors(shared, part) for part in parts)
    return executor.map(chunk_errors, itertools.repeat(shared, len(parts)), parts)


def options_of(options: SubsampleOptions) -> dict[str, Any]:
    """Options for JSON."""
    return asdict(options)
