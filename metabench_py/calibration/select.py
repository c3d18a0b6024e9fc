"""Selects the items of some benchmarks: a search for each, with budgets and exclusions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import EngineName, FitMode, ItemType, ScoreMethod
from metabench_py.calibration.budget import LEAST, ErrorCurve, error_curve, share_out, trial_sizes
from metabench_py.calibration.few_llms import warnings_for
from metabench_py.calibration.first_stage import choose_engine
from metabench_py.calibration.information_filter import GRID_TYPES, GridType, theta_grid
from metabench_py.calibration.recovery import ScoreErrors
from metabench_py.calibration.search import (
    N_INITIAL,
    N_STEPS,
    OptimiserName,
    SearchSpace,
    Trial,
    best,
    search,
)
from metabench_py.calibration.search_setup import (
    make_optimiser,
    needs_search,
    search_space,
    study_name,
)
from metabench_py.calibration.selector import Choice, Evaluation, SelectionRule, Selector
from metabench_py.calibration.split import SplitOptions, split
from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.errors import ConvergenceError, InputError, RUnavailableError
from metabench_py.irt.model import Floats, ItemParameters, information
from metabench_py.rbridge import sampling

# Cycles of the original's refits within its search.
_PATH_CYCLES = 500


@dataclass(frozen=True)
class SelectOptions:
    """How to select.

    Attributes
    ----------
    item_types, methods, grids, threshold
        What the search may choose; a threshold that is given is fixed. None for `item_types`: all
        that so many LLMs can estimate.
    penalty
        Lambda, score points an item; 0 takes the first item type, method and grid without search,
        as the original does.
    n_bins
        Intervals of ability.
    budget, total_budget
        Items of each benchmark; of all together.
    n_trials, n_initial
        Evaluations, and how many of them are random.
    optimiser
        Who proposes.
    validation_share, seed
        Of the training LLMs, for judging; of the draw and the search.
    engine, mode
        Who fits, and how.
    """

    item_types: tuple[ItemType, ...] | None = None
    methods: tuple[ScoreMethod, ...] = ("MAP", "EAPsum")
    grids: tuple[GridType, ...] = GRID_TYPES
    threshold: float | None = None
    penalty: float = 0.005
    n_bins: int = 250
    budget: int | None = None
    total_budget: int | None = None
    n_trials: int = N_INITIAL + N_STEPS
    n_initial: int = N_INITIAL
    optimiser: OptimiserName = "optuna"
    validation_share: float = 0.1
    seed: int = 1
    engine: EngineName = "auto"
    mode: FitMode = "converged"

    def __post_init__(self) -> None:
        if self.budget is not None and self.total_budget is not None:
            raise InputError("Both a budget of each benchmark and one of all: give one of them.")
        if self.n_trials < 1:
            raise InputError(f"{self.n_trials} evaluations are too few; take 1 or more.")
        if not 0 < self.validation_share < 1:
            raise InputError(
                f"A validation share of {self.validation_share} is not between 0 and 1."
            )
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; give 0 or more.", option="seed")


@dataclass(frozen=True, eq=False)
class Selection:
    """What was selected for one benchmark.

    Attributes
    ----------
    parameters
        Of the final refit, in the order of selection.
    information
        Largest information of each selected item by the fit on all items, shape (n_items,).
    ability
        Where that is, shape (n_items,).
    base, validation, test
        Errors with all items (validation LLMs), and with the selected ones; None where there are
        no such LLMs.
    trials
        The search's history.
    llms, sets, theta, score, predicted
        Every LLM, its set (train, validation, test), its ability by the selected items, full
        score and prediction.
    fit
        How the refit went.
    n_available
        Items that could be chosen.
    dropped
        Items that all training LLMs answered alike.
    warnings
        What so few LLMs cannot tell, and what the fits said.
    """

    benchmark: str
    choice: Choice
    parameters: ItemParameters
    information: Floats
    ability: Floats
    base: ScoreErrors
    validation: ScoreErrors
    test: ScoreErrors | None
    trials: tuple[Trial, ...]
    llms: tuple[str, ...]
    sets: tuple[str, ...]
    theta: Floats
    score: Floats
    predicted: Floats
    fit: Mapping[str, Any]
    n_available: int
    dropped: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def items(self) -> tuple[str, ...]:
        """Selected items in their order."""
        return self.parameters.items


# Names a benchmark and what was found.
Progress = Callable[[str, Selection], None]


def select_benchmarks(
    data: Mapping[str, BenchmarkData],
    options: SelectOptions,
    *,
    executor: Executor | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Selection]:
    """Select for every benchmark.

    Parameters
    ----------
    executor
        Runs one benchmark a task; None: one after the other, here.
    work
        Folder of the searches' storages, by which an interrupted search goes on.
    progress
        Called as each benchmark is done.

    Raises
    ------
    InputError, ConvergenceError, MissingDependencyError
        See the message; it names the benchmark.
    """
    engine, _ = choose_engine(options.engine, options.mode)
    options = replace(options, engine=engine)
    budgets: dict[str, int | None] = dict.fromkeys(data, options.budget)
    if options.total_budget is not None:
        names = list(data)
        curves = _map(executor, measure_curve, [(data[name], options) for name in names])
        budgets = {**share_out(dict(zip(names, curves, strict=True)), options.total_budget)}
    tasks = [
        (one, replace(options, budget=budgets[name], total_budget=None), work)
        for name, one in data.items()
    ]
    result: dict[str, Selection] = {}
    for name, selection in zip(data, _iterate(executor, select_one, tasks), strict=True):
        result[name] = selection
        if progress is not None:
            progress(name, selection)
    return result


def select_one(data: BenchmarkData, options: SelectOptions, work: Path | None) -> Selection:
    """Select for one benchmark (a worker calls it)."""
    selector, dropped, notes = prepare_selector(data, options)
    data = selector.data
    space = search_space(selector, options)
    trials: tuple[Trial, ...] = ()
    if needs_search(options, space):
        storage = None if work is None else work / f"search-{data.benchmark}.db"
        optimiser = make_optimiser(options, space, storage, study_name(selector, options, space))
        trials = tuple(
            search(optimiser, lambda choice: _trial(selector.evaluate(choice)), options.n_trials)
        )
        choice = best(trials).choice
    else:
        choice = replace(space.first(), threshold=options.threshold or 0.0)
    final = selector.evaluate(choice, final=True)
    if final.fit is None or final.errors is None or final.recovery is None:
        raise ConvergenceError(
            f"{data.benchmark}: only {len(final.items)} of {data.train.n_items} items are "
            f"informative enough, and fewer than {selector.rule.least_items} are no test; take a "
            "lower threshold, or a smaller penalty.",
            benchmark=data.benchmark,
        )
    return _selection(selector, final, trials, dropped, notes, space)


def measure_curve(data: BenchmarkData, options: SelectOptions) -> ErrorCurve:
    """Measure how the error falls with the number of items, by the plainest choice."""
    selector, *_ = prepare_selector(data, replace(options, total_budget=None))
    first = search_space(selector, options).first()
    sizes = trial_sizes(selector.data.train.n_items, LEAST)
    rmse = []
    for size in sizes:
        selector.rule = replace(selector.rule, budget=max(size, 2))
        evaluation = selector.evaluate(first)
        assert evaluation.errors is not None
        rmse.append(evaluation.errors.rmse)
    return error_curve(sizes, rmse, selector.data.train.n_items)


def _draw(data: BenchmarkData, options: SelectOptions) -> tuple[NDArray[np.int64], bool]:
    """Draw the validation LLMs, rows of the training LLMs, and tell whether R drew them.

    As caret does; without R by NumPy, which draws others.
    """
    share, seed = options.validation_share, options.seed
    try:
        # By R alone: the draw is caret's, which takes a second to load.
        return sampling.partition(data.train_score, share, seed, by="base"), True
    except RUnavailableError:
        found = split(
            data.train.llms, {data.benchmark: data.train_score}, SplitOptions(share, seed)
        )
        return np.flatnonzero(found.test), False


def prepare_selector(
    data: BenchmarkData, options: SelectOptions
) -> tuple[Selector, tuple[str, ...], list[str]]:
    """Draw the validation LLMs and leave out items that do not vary.

    Returns
    -------
    The selector, these items, and what to tell about both.
    """
    validation, by_r = _draw(data, options)
    learning = np.delete(data.train.values, validation, axis=0)
    varied = (learning == 1).any(axis=0) & (learning == 0).any(axis=0)
    if varied.sum() < 2:
        raise InputError(
            f"{data.benchmark}: {varied.sum()} items vary among the {len(learning)} LLMs that are "
            "learned from; a fit needs 2 or more.",
            benchmark=data.benchmark,
        )
    dropped = tuple(data.train.items[i] for i in np.flatnonzero(~varied))
    notes = []
    if not by_r:
        notes.append(
            f"{data.benchmark}: R is absent, so NumPy drew the validation LLMs; with R they are "
            "others, and so may the items be."
        )
    if dropped:
        notes.append(
            f"{data.benchmark}: {len(dropped)} items left out, for all training LLMs answered "
            f"them alike (the first is {dropped[0]!r})."
        )
        data = data.without(frozenset(dropped))
    engine, _ = choose_engine(options.engine, options.mode)
    budget = options.budget
    rule = SelectionRule(
        penalty=options.penalty,
        n_bins=options.n_bins,
        budget=budget,
        engine=engine,
        mode=options.mode,
        max_cycles=_PATH_CYCLES if options.mode == "mirt-path" else None,
        # Who asks for five items gets five.
        least_items=SelectionRule.least_items if budget is None else min(budget, LEAST),
    )
    return Selector(data, validation, rule), dropped, notes


def _trial(evaluation: Evaluation) -> Trial:
    rmse = None if evaluation.errors is None else evaluation.errors.rmse
    return Trial(evaluation.choice, evaluation.objective, len(evaluation.items), rmse)


def _selection(
    selector: Selector,
    final: Evaluation,
    trials: tuple[Trial, ...],
    dropped: tuple[str, ...],
    notes: list[str],
    space: SearchSpace,
) -> Selection:
    data, choice = selector.data, final.choice
    assert final.fit is not None
    assert final.errors is not None
    assert final.recovery is not None
    learned, held = selector.learning, selector.validation
    parts = [
        (data.train.llms, data.train_score, at, theta, predicted, which)
        for at, theta, predicted, which in (
            (learned, final.theta_train, final.recovery.fitted, "train"),
            (held, final.theta_validation, final.recovery.predicted[0], "validation"),
        )
    ]
    test = None
    if data.test.n_llms:
        test, theta, predicted = selector.test(final)
        at = np.arange(data.test.n_llms)
        parts.append((data.test.llms, data.test_score, at, theta, predicted, "test"))
    full = selector.full_fit(choice.item_type)
    peak, where = _peaks(selector, full.parameters.select(final.items), choice)
    messages = [
        f"{data.benchmark}: {m}" for m in dict.fromkeys((*full.messages, *final.fit.messages))
    ]
    if selector.rule.budget is not None and len(final.items) == data.train.n_items:
        messages.append(
            f"{data.benchmark}: all {len(final.items)} items are selected; take a smaller budget "
            "for a selection."
        )
    few = warnings_for(data.benchmark, space.item_types, len(learned), len(held), data.test.n_llms)
    return Selection(
        benchmark=data.benchmark,
        choice=choice,
        parameters=final.fit.parameters,
        information=peak,
        ability=where,
        base=selector.base_errors(choice.item_type, choice.method),
        validation=final.errors,
        test=test,
        trials=trials,
        llms=tuple(llms[i] for llms, _, at, *_ in parts for i in at),
        sets=tuple(which for *_, at, _, _, which in parts for _ in at),
        theta=np.concatenate([part[3] for part in parts]),
        score=np.concatenate([score[at] for _, score, at, *_ in parts]),
        predicted=np.concatenate([part[4] for part in parts]),
        fit={
            "engine": final.fit.engine,
            "engine_version": final.fit.engine_version,
            "mode": final.fit.mode,
            "log_likelihood": final.fit.log_likelihood,
            "iterations": final.fit.iterations,
            "converged": final.fit.converged,
        },
        n_available=data.train.n_items,
        dropped=dropped,
        warnings=(*data.left_out(), *few, *notes, *messages),
    )


def _peaks(selector: Selector, parameters: ItemParameters, choice: Choice) -> tuple[Floats, Floats]:
    """Largest information of some items on the grid, and the ability where it is."""
    theta = selector.full_theta(choice.item_type, choice.method)
    grid = theta_grid(theta, choice.grid, selector.rule.n_bins)
    table = information(parameters, grid)
    at = table.argmax(axis=0)
    return table[at, np.arange(table.shape[1])], grid[at]


def _map(executor: Executor | None, function: Callable[..., Any], tasks: list[Any]) -> list[Any]:
    return list(_iterate(executor, function, tasks))


def _iterate(executor: Executor | None, function: Callable[..., Any], tasks: list[Any]) -> Any:
    if executor is None:
        return (function(*task) for task in tasks)
    return executor.map(function, *zip(*tasks, strict=True)) if tasks else iter(())
