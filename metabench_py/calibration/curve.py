"""Item-budget curves: how far reconstructed scores are off with fewer and fewer items.

The scores are predicted by a cheap stand-in for the second stage, `fit_ridge`: a ridge regression
of each of the seven scores on the kept items' answers and on each benchmark's share right among
them, its penalty chosen by training folds left out. A bundle's stack is better than that, so a
curve compares orders of items and tells how errors grow, not what a bundle's errors will be.

Both the choice of items and the regressions see training LLMs only; errors are on LLMs of other
organisations, near-duplicates being kept together (`make_folds`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.calibration.inputs import CalibrationInputs
from metabench_py.calibration.item_orders import (
    ITEM_ORDERS,
    CurveData,
    ItemOrder,
    order_data,
    pick_items,
)
from metabench_py.calibration.moments import Integers, fit_ridge
from metabench_py.calibration.pipeline import make_folds
from metabench_py.compute import Shared
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

SCHEMA = 1
# Of all intervals.
LEVEL = 0.9
_USUAL_BUDGETS = (25, 50, 100, 150, 200, 300, 400, 550)
_RESAMPLES = 2000
# What, number, total.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CurveOptions:
    """How a curve is measured.

    Attributes
    ----------
    budgets
        Numbers of items; 0 stands for all. Empty: some, and all.
    orders
        See `pick_items`.
    folds, seed
        Of the cross-validation; see `make_folds`. The seed is also that of random orders and of
        the bootstrap.
    draws
        Random orders.
    """

    budgets: tuple[int, ...] = ()
    orders: tuple[ItemOrder, ...] = ITEM_ORDERS
    folds: int = 5
    seed: int = 1
    draws: int = 10

    def __post_init__(self) -> None:
        unknown = [one for one in self.orders if one not in ITEM_ORDERS]
        if unknown or not self.orders:
            raise InputError(
                f"Order {unknown[0] if unknown else ''!r}: choose {', '.join(ITEM_ORDERS)}."
            )
        if len(set(self.orders)) < len(self.orders):
            raise InputError(f"Orders {', '.join(self.orders)}: name each once.")
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; give 0 or more.", option="seed")
        if self.draws < 2:
            raise InputError(f"{self.draws} random orders make no band; take 2 or more.")
        if any(n < 0 for n in self.budgets):
            raise InputError(f"A budget of {min(self.budgets)} items: take 1 or more, or 'all'.")

    def sizes(self, n_items: int) -> tuple[int, ...]:
        """Give the budgets in ascending order.

        Raises
        ------
        InputError
            One is larger than the number of items.
        """
        wanted = self.budgets or (*(n for n in _USUAL_BUDGETS if n < n_items), n_items)
        sizes = sorted({n or n_items for n in wanted})
        if sizes[-1] > n_items:
            raise InputError(
                f"A budget of {sizes[-1]} items: there are {n_items} only.", budget=sizes[-1]
            )
        return tuple(sizes)


@dataclass(frozen=True)
class Estimate:
    """A root mean squared error in score points, and its 90 % interval.

    Attributes
    ----------
    interval
        ``bootstrap``: by organisations resampled. ``draws``: what 90 % of the random orders lie
        between; `rmse` is their mean.
    """

    rmse: float
    lower: float
    upper: float
    interval: Literal["bootstrap", "draws"]


@dataclass(frozen=True)
class CurvePoint:
    """An order's errors with a number of items.

    Attributes
    ----------
    items
        Items of each benchmark, on average over the folds (and draws).
    """

    order: ItemOrder
    n_items: int
    errors: dict[Target, Estimate]
    items: dict[Benchmark, float]


@dataclass(frozen=True)
class ItemCurve:
    """A whole curve.

    Attributes
    ----------
    deviation
        Standard deviation of each score: the error of who knows nothing of an LLM.
    """

    options: CurveOptions
    n_llms: int
    n_groups: int
    n_items: int
    deviation: dict[Target, float]
    points: tuple[CurvePoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": SCHEMA,
            "stage": "curve",
            "options": asdict(self.options),
            "n_llms": self.n_llms,
            "n_groups": self.n_groups,
            "n_items": self.n_items,
            "level": LEVEL,
            "deviation": self.deviation,
            "points": [asdict(point) for point in self.points],
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of a table: order, n_items, target, rmse, lower, upper, interval."""
        for point in self.points:
            for target, one in point.errors.items():
                yield {
                    "order": point.order, "n_items": point.n_items, "target": target,
                    **asdict(one),
                }  # fmt: skip


@dataclass(frozen=True, eq=False)
class FoldErrors:
    """Errors on one fold's LLMs.

    Attributes
    ----------
    errors
        Predicted minus true, shape (n_budgets, n_fold, 7).
    items
        Items of each benchmark, shape (n_budgets, 6).
    """

    errors: Floats
    items: Floats


def curve_data(inputs: CalibrationInputs, k: int, seed: int) -> tuple[CurveData, Integers]:
    """Put the benchmarks side by side and give LLMs their folds; also their groups.

    Raises
    ------
    InputError
        There are more items than `order_data` takes, or fewer organisations than folds.
    """
    folds = make_folds(inputs, k, seed)
    return order_data(inputs, folds.grouped), folds.groups


def item_curve(
    data: CurveData,
    groups: Integers,
    options: CurveOptions | None = None,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> ItemCurve:
    """Measure the errors of reconstructed scores for several orders and numbers of items.

    Parameters
    ----------
    groups
        Who is resampled together, shape (n,).
    executor
        Who works, one order and fold a call; None: this process. The result is the same.
    progress
        Told at the start and after each call.

    Raises
    ------
    InputError
        A budget is larger than the number of items.
    ConvergenceError
        Item parameters for ``information`` could not be fitted.
    """
    options = options or CurveOptions()
    sizes = options.sizes(data.n_items)
    fewer = tuple(n for n in sizes if n < data.n_items)
    # All items are the same in any order.
    runs: list[tuple[ItemOrder, int, tuple[int, ...]]] = []
    if fewer:
        for order in options.orders:
            draws = options.draws if order == "random" else 1
            runs += [(order, options.seed + draw, fewer) for draw in range(draws)]
    if sizes[-1] == data.n_items:
        runs.append(("random", 0, (data.n_items,)))
    calls = [(*run, fold) for run in runs for fold in range(len(data.moments))]
    shared, told = Shared(data), progress or _silent
    told("item-budget curves", 0, len(calls))
    results = (
        (fold_errors(shared, *call) for call in calls)
        if executor is None
        else executor.map(
            fold_errors, itertools.repeat(shared, len(calls)), *zip(*calls, strict=True)
        )
    )
    found: dict[tuple[ItemOrder, int, tuple[int, ...]], list[FoldErrors]] = {r: [] for r in runs}
    for number, (call, result) in enumerate(zip(calls, results, strict=True), start=1):
        found[call[:3]].append(result)
        told("item-budget curves", number, len(calls))
    judge = _Judge(data, groups, options.seed)
    points = []
    for order in options.orders:
        for size in sizes:
            own = [r for r in runs if size in r[2] and (r[0] == order or size == data.n_items)]
            parts = [[_of(one, r[2].index(size)) for one in found[r]] for r in own]
            points.append(judge.point(order, size, parts))
    return ItemCurve(
        options,
        n_llms=len(data.fold),
        n_groups=len(np.unique(groups)),
        n_items=data.n_items,
        deviation={t: float(data.scores[:, i].std()) for i, t in enumerate(TARGETS)},
        points=tuple(points),
    )


def fold_errors(
    shared: Shared[CurveData], order: ItemOrder, seed: int, budgets: tuple[int, ...], fold: int
) -> FoldErrors:
    """Choose items without a fold, predict its LLMs (a worker calls it)."""
    data = shared.value
    out = data.fold == fold
    picks = pick_items(data, order, budgets, fold, seed=seed)
    errors = np.empty((len(budgets), int(out.sum()), len(TARGETS)))
    for i, pick in enumerate(picks):
        # The sums' order, and with it their last digit, shall not depend on the items' order.
        columns = np.sort(pick)
        fit = fit_ridge(data.training(fold), columns, data.benchmark)
        predicted = data.responses[np.ix_(out, columns)] @ fit.slopes + fit.constant
        errors[i] = np.clip(predicted, 0.0, 100.0) - data.scores[out]
    counts = [np.bincount(data.benchmark[p], minlength=len(BENCHMARKS)) for p in picks]
    return FoldErrors(errors, np.array(counts, np.float64))


def _of(found: FoldErrors, at: int) -> tuple[Floats, Floats]:
    return found.errors[at], found.items[at]


class _Judge:
    """Makes errors of single LLMs to points of a curve."""

    def __init__(self, data: CurveData, groups: Integers, seed: int) -> None:
        self.data = data
        _, self.group = np.unique(groups, return_inverse=True)
        self.sizes = np.bincount(self.group).astype(np.float64)
        n = len(self.sizes)
        drawn = np.random.default_rng([seed, 3]).integers(n, size=(_RESAMPLES, n))
        self.weights = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)

    def point(
        self, order: ItemOrder, size: int, runs: Sequence[Sequence[tuple[Floats, Floats]]]
    ) -> CurvePoint:
        """Judge one run, or several random ones; a run has one part a fold."""
        rmse, bounds = self._errors(runs[0])
        kind: Literal["bootstrap", "draws"] = "bootstrap"
        if len(runs) > 1:
            each = np.stack([self._errors(run)[0] for run in runs])
            tail = (1.0 - LEVEL) / 2.0
            rmse, bounds, kind = each.mean(axis=0), np.quantile(each, (tail, 1 - tail), 0), "draws"
        items = np.mean([counts for run in runs for _, counts in run], axis=0)
        return CurvePoint(
            order,
            size,
            {
                t: Estimate(float(rmse[i]), float(bounds[0, i]), float(bounds[1, i]), kind)
                for i, t in enumerate(TARGETS)
            },
            {b: float(items[i]) for i, b in enumerate(BENCHMARKS)},
        )

    def _errors(self, run: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
        """RMSE of each target, shape (7,), and its bounds, shape (2, 7)."""
        squares = np.empty_like(self.data.scores)
        for fold, (errors, _) in enumerate(run):
            squares[self.data.fold == fold] = errors**2
        sums = np.stack([np.bincount(self.group, column) for column in squares.T], axis=1)
        drawn = (self.weights @ sums) / (self.weights @ self.sizes)[:, None]
        tail = (1.0 - LEVEL) / 2.0
        bounds = np.quantile(np.sqrt(drawn), (tail, 1.0 - tail), axis=0)
        return np.sqrt(squares.mean(axis=0)), bounds


def _silent(what: str, number: int, total: int) -> None:
    del what, number, total
