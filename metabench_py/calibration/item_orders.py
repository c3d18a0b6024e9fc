"""Orders of items: which ones to keep where only so many may be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal, get_args

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS, ItemType, ScoreMethod
from metabench_py.calibration.budget import LEAST
from metabench_py.calibration.first_stage import fit_and_score
from metabench_py.calibration.greedy import greedy_order
from metabench_py.calibration.information_filter import bin_maxima, filter_items, theta_grid
from metabench_py.calibration.inputs import CalibrationInputs
from metabench_py.calibration.moments import Integers, Moments, fit_ridge
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.responses import ResponseMatrix

ItemOrder = Literal["greedy", "ridge", "information", "random"]
ITEM_ORDERS: tuple[ItemOrder, ...] = get_args(ItemOrder)
# Matrices of items x items are held, some twenty at a time.
MOST_ITEMS = 4000


@dataclass(frozen=True, eq=False)
class CurveData:
    """LLMs that items are ordered and judged by.

    Attributes
    ----------
    responses
        0 or 1, int8, shape (n, n_items), the benchmarks' items side by side.
    scores
        In the order of TARGETS, shape (n, 7).
    fold
        Fold of each LLM, from 0, shape (n,).
    moments
        Of each fold's LLMs.
    benchmark
        Number of each item's benchmark, shape (n_items,).
    models
        Item type and ability estimate of each benchmark.
    """

    responses: np.ndarray[tuple[int, int], np.dtype[np.int8]]
    scores: Floats
    fold: Integers
    moments: tuple[Moments, ...]
    benchmark: Integers
    models: tuple[tuple[ItemType, ScoreMethod], ...]

    @property
    def n_items(self) -> int:
        """Items of all benchmarks."""
        return int(self.benchmark.size)

    def training(self, held_out: int | None) -> list[Moments]:
        """Moments of all folds but one; None: of all."""
        return [one for i, one in enumerate(self.moments) if i != held_out]


def order_data(inputs: CalibrationInputs, fold: Integers) -> CurveData:
    """Put the benchmarks side by side.

    Parameters
    ----------
    fold
        Fold of each of `inputs.llms`, from 0, shape (n,).

    Raises
    ------
    InputError
        There are more than MOST_ITEMS items.
    """
    scores = inputs.scores.of(inputs.llms)
    answers = [inputs.responses[b].rows(inputs.llms).values for b in BENCHMARKS]
    n_items = sum(one.shape[1] for one in answers)
    if n_items > MOST_ITEMS:
        raise InputError(
            f"{n_items} items are too many to be put in order, {MOST_ITEMS} are the most; choose "
            "some first, with calibrate subsample or calibrate select.",
            n_items=n_items,
        )
    responses = np.concatenate(answers, axis=1)
    table = np.column_stack([scores[t] for t in TARGETS])
    parts = [fold == i for i in range(int(fold.max()) + 1)]
    return CurveData(
        responses=responses,
        scores=table,
        fold=fold,
        moments=tuple(
            Moments.of(responses[part].astype(np.float64), table[part]) for part in parts
        ),
        benchmark=np.repeat(np.arange(len(BENCHMARKS)), [one.shape[1] for one in answers]),
        models=tuple((inputs.items[b].item_type, inputs.items[b].score_method) for b in BENCHMARKS),
    )


def pick_items(
    data: CurveData,
    order: ItemOrder,
    budgets: Sequence[int],
    held_out: int | None = None,
    *,
    seed: int = 1,
) -> list[Integers]:
    """Choose items by LLMs of all folds but one.

    Parameters
    ----------
    order
        ``greedy``: forward selection, always the item that on training folds left out lowers
        most the squared error of the six scores' sum (six grand scores) and of each of them, all
        seven added (`greedy_order`). ``ridge``: the largest weights of a ridge regression of the
        grand score on all items, times the items' deviations.
        ``information``: information filtering (`filter_items`) over the pooled items of all
        benchmarks, as many intervals between quantiles of each benchmark's abilities as items
        are wanted; item parameters fitted on the training LLMs. ``random``.
    budgets
        How many items, each at most all.
    held_out
        Fold whose LLMs have no part in the choice; None: all have.
    seed
        Of ``random``; the same items for every fold.

    Returns
    -------
    list of array
        Positions of the items for each budget, in their order; ``information`` alone does not
        always keep the items of a smaller budget in a larger one.
    """
    if order == "information":
        return _by_information(data, budgets, held_out)
    if order == "random":
        ranks = np.random.default_rng([seed, 2]).permutation(data.n_items)
    elif order == "ridge":
        ranks = _by_weight(data, held_out)
    else:
        ranks = _greedy(data, max(budgets), held_out)
    return [ranks[:n] for n in budgets]


def listed_items(
    data: CurveData, order: ItemOrder, n: int, *, held_out: int | None = None, seed: int = 1
) -> list[int]:
    """Choose items for a list, with at least LEAST of each benchmark (or all that it has).

    Parameters
    ----------
    held_out
        See `pick_items`.

    Raises
    ------
    InputError
        `n` is too small or too large.
    """
    check_listed(data.benchmark, n)
    first, every = pick_items(data, order, (n, data.n_items), held_out, seed=seed)
    ranks = [*first, *(item for item in every if item not in set(first.tolist()))]
    return with_least(ranks, data.benchmark, n, LEAST)


def check_listed(benchmark: Integers, n: int) -> None:
    """Refuse a number of items that cannot be listed, before the work of choosing them."""
    needed = int(np.minimum(np.bincount(benchmark), LEAST).sum())
    if not needed <= n <= len(benchmark):
        raise InputError(
            f"{n} items cannot be listed: take {needed} or more, so that each benchmark has "
            f"{LEAST}, and at most the {len(benchmark)} that there are.",
            n_items=n,
        )


def with_least(order: Sequence[int], benchmark: Integers, n: int, least: int) -> list[int]:
    """Take the first `n` of an order, but so many of each benchmark as `least` says (or all).

    An item is left out only where its place is needed for a benchmark that has too few.

    Parameters
    ----------
    order
        All items.
    benchmark
        Number of each item's benchmark.
    """
    lacking = np.minimum(np.bincount(benchmark), least)
    chosen: list[int] = []
    for item in order:
        own = benchmark[item]
        if n - len(chosen) > (lacking.sum() if lacking[own] == 0 else 0):
            chosen.append(int(item))
            lacking[own] = max(lacking[own] - 1, 0)
    return chosen


def _by_weight(data: CurveData, held_out: int | None) -> Integers:
    folds = data.training(held_out)
    fit = fit_ridge(folds, np.arange(data.n_items), data.benchmark)
    grand = fit.slopes[:, TARGETS.index("grand")]
    mean = reduce(add, folds).mean[: data.n_items]
    return np.argsort(-np.abs(grand) * np.sqrt(mean * (1.0 - mean)), kind="stable")


def _greedy(data: CurveData, most: int, held_out: int | None) -> Integers:
    folds = data.training(held_out)
    at = TARGETS.index("grand")
    penalty = fit_ridge(folds, np.arange(data.n_items), data.benchmark).penalty[at]
    # That of the six scores' sum, and theirs: the grand score loses nothing that shows (200 of
    # version B's 751 items, five folds: 1.05 points either way), the six gain up to a tenth.
    weights = np.where(np.arange(len(TARGETS)) == at, float(len(BENCHMARKS) ** 2), 1.0)
    return greedy_order(folds, data.n_items, weights, float(penalty), most)


def _by_information(
    data: CurveData, budgets: Sequence[int], held_out: int | None
) -> list[Integers]:
    rows = data.fold != (-1 if held_out is None else held_out)
    fits = [_fit(data, rows, i) for i in range(len(BENCHMARKS))]
    at = np.concatenate([columns for columns, _, _ in fits])
    found = []
    for n in budgets:
        maxima = [
            bin_maxima(parameters, theta_grid(theta, "quantiles", n), n)
            for _, parameters, theta in fits
        ]
        chosen = at[filter_items(np.concatenate(maxima, axis=1), budget=n)]
        # Items that all training LLMs answered alike tell nothing; they come last.
        rest = np.setdiff1d(np.arange(data.n_items), chosen)
        found.append(np.concatenate([chosen, rest])[:n])
    return found


def _fit(
    data: CurveData, rows: np.ndarray[tuple[int], np.dtype[np.bool_]], number: int
) -> tuple[Integers, ItemParameters, Floats]:
    """Fit a benchmark's items on some LLMs; positions, parameters, abilities."""
    columns = np.flatnonzero(data.benchmark == number)
    answers = data.responses[np.ix_(rows, columns)]
    varies = (answers != answers[0]).any(axis=0)
    columns, answers = columns[varies], answers[:, varies]
    matrix = ResponseMatrix(
        tuple(map(str, np.flatnonzero(rows))), tuple(map(str, columns)), answers
    )
    kind, method = data.models[number]
    found = fit_and_score(matrix, kind, method, "native", "converged", BENCHMARKS[number])
    parameters = ItemParameters(
        matrix.items, *(np.asarray(found[name]) for name in ("a1", "d", "g", "u"))
    )
    return columns, parameters, np.asarray(found["theta"])
