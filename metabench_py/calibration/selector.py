"""One evaluation of item selection: filter, refit, score, recover; with what can be kept kept.

Follows the original's reduce step. The full model is fitted on all training LLMs; the validation
LLMs, a tenth of them, are left out of the refit and judge it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import FitMode, ItemType, ScoreMethod
from metabench_py.calibration.first_stage import FitEngine
from metabench_py.calibration.information_filter import (
    GridType,
    bin_maxima,
    filter_items,
    theta_grid,
)
from metabench_py.calibration.recovery import Recovery, ScoreErrors, recover, score_errors
from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.irt.engine import Engine, FitOptions, IrtFit, get_engine
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.responses import ResponseMatrix

# Fewer items are no test; the original gives such a selection this error.
LEAST_ITEMS = 10
REFUSED = 9999.0
FINAL_CYCLES = 1000


@dataclass(frozen=True)
class Choice:
    """One point of the search.

    Attributes
    ----------
    threshold
        Least information that an item must have in its interval.
    passes
        With a budget: how often to go over the intervals, which are fewer then.
    """

    item_type: ItemType = "2PL"
    method: ScoreMethod = "MAP"
    grid: GridType = "quantiles"
    threshold: float = 0.0
    passes: int = 1


@dataclass(frozen=True)
class SelectionRule:
    """What does not change within a search.

    Attributes
    ----------
    penalty
        Lambda: score points that an item costs.
    n_bins
        Intervals of ability (the original's N_QUANT).
    budget
        Take exactly so many items (or all, if there are fewer); None: as many as the filter takes.
    engine, mode
        Who fits, and how.
    max_cycles
        Cycles of a refit within the search (500 in the original; 1000 at its end). None: the
        mode's own, for ``converged``.
    least_items
        A selection of fewer items is refused.
    """

    penalty: float = 0.005
    n_bins: int = 250
    budget: int | None = None
    engine: FitEngine = "native"
    mode: FitMode = "converged"
    max_cycles: int | None = None
    least_items: int = LEAST_ITEMS

    def __post_init__(self) -> None:
        if not self.penalty >= 0:
            raise InputError(f"The penalty must be 0 or more, not {self.penalty!r}.")
        if self.n_bins < 1:
            raise InputError(f"{self.n_bins} intervals are too few; take 1 or more.")
        if self.budget is not None and self.budget < 2:
            raise InputError(f"A budget of {self.budget} items is too small; take 2 or more.")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a choice gives.

    Attributes
    ----------
    items
        Selected items in their order.
    errors
        On the validation LLMs; None if the selection was refused.
    objective
        Validation RMSE plus the penalty for every item: smaller is better.
    fit
        The refit; None if refused.
    theta_train, theta_validation
        Abilities by the refit; empty if refused.
    recovery
        Of the refit's abilities: predictions of the validation LLMs come first.
    """

    choice: Choice
    items: tuple[str, ...]
    errors: ScoreErrors | None
    objective: float
    fit: IrtFit | None = None
    theta_train: Floats = field(default_factory=lambda: np.empty(0))
    theta_validation: Floats = field(default_factory=lambda: np.empty(0))
    recovery: Recovery | None = None


class Selector:
    """Evaluates choices for one benchmark; keeps full fits, abilities, maxima and refits.

    Parameters
    ----------
    data
        Training LLMs and items; every item must vary among the LLMs outside `validation`.
    validation
        Rows of the validation LLMs, shape (n_validation,).
    rule
        What does not change.
    """

    def __init__(
        self, data: BenchmarkData, validation: NDArray[np.int64], rule: SelectionRule
    ) -> None:
        self.data, self.rule = data, rule
        held = np.zeros(data.train.n_llms, dtype=bool)
        held[validation] = True
        self.validation = np.asarray(validation)
        self.learning = np.flatnonzero(~held)
        self.engine: Engine = open_engine(rule.engine)
        self._fits: dict[ItemType, IrtFit] = {}
        self._theta: dict[tuple[ItemType, ScoreMethod], Floats] = {}
        self._maxima: dict[tuple[ItemType, ScoreMethod, GridType, int], Floats] = {}
        self._refits: dict[tuple[ItemType, tuple[str, ...], int], IrtFit] = {}
        self._evaluations: dict[tuple[ItemType, ScoreMethod, tuple[str, ...], int], Evaluation] = {}

    def full_fit(self, item_type: ItemType) -> IrtFit:
        """Fit all items on all training LLMs."""
        if item_type not in self._fits:
            self._fits[item_type] = self._fit(self.data.train, item_type, FINAL_CYCLES)
        return self._fits[item_type]

    def full_theta(self, item_type: ItemType, method: ScoreMethod) -> Floats:
        """Abilities of all training LLMs by all items, shape (n_llms,)."""
        key = (item_type, method)
        if key not in self._theta:
            parameters = self.full_fit(item_type).parameters
            self._theta[key] = self._score(self.data.train, parameters, method)
        return self._theta[key]

    def base_errors(self, item_type: ItemType, method: ScoreMethod) -> ScoreErrors:
        """Errors on the validation LLMs with all items: what a selection can hope for."""
        theta = self.full_theta(item_type, method)
        at, held = theta[self.learning], theta[self.validation]
        found = self._recover(at, held)
        return score_errors(self.data.train_score[self.validation], found.predicted[0], held)

    def maxima(self, choice: Choice) -> Floats:
        """Largest information of every item in every interval, shape (n_bins, n_items)."""
        n_bins = self._n_bins(choice)
        key = (choice.item_type, choice.method, choice.grid, n_bins)
        if key not in self._maxima:
            # The learning LLMs first, then the validation ones, as in the original.
            theta = self.full_theta(choice.item_type, choice.method)
            theta = np.concatenate([theta[self.learning], theta[self.validation]])
            grid = theta_grid(theta, choice.grid, n_bins)
            parameters = self.full_fit(choice.item_type).parameters
            self._maxima[key] = bin_maxima(parameters, grid, n_bins)
        return self._maxima[key]

    def select(self, choice: Choice) -> tuple[str, ...]:
        """Select items; no refit."""
        columns = filter_items(self.maxima(choice), choice.threshold, self.rule.budget)
        return tuple(self.data.train.items[i] for i in columns)

    def evaluate(self, choice: Choice, *, final: bool = False) -> Evaluation:
        """Select, refit on the learning LLMs, and judge on the validation LLMs.

        Parameters
        ----------
        final
            Give the refit all its cycles.
        """
        items = self.select(choice)
        if len(items) < self.rule.least_items:
            # As the original counts it: one item of penalty.
            return Evaluation(choice, items, None, REFUSED + self.rule.penalty)
        cycles = FINAL_CYCLES if final or self.rule.max_cycles is None else self.rule.max_cycles
        key = (choice.item_type, choice.method, items, cycles)
        known = self._evaluations.get(key)
        if known is None:
            known = self._evaluations[key] = self._judge(choice, items, cycles)
        return Evaluation(**{**_shallow(known), "choice": choice})

    def test(self, evaluation: Evaluation) -> tuple[ScoreErrors, Floats, Floats]:
        """Judge on the test LLMs: errors, abilities and predictions, shape (n_test,) each."""
        if evaluation.fit is None or not self.data.test.n_llms:
            raise InputError(f"{self.data.benchmark}: there is nothing to test.")
        theta = self._score(self.data.test, evaluation.fit.parameters, evaluation.choice.method)
        predicted = self._recover(evaluation.theta_train, theta).predicted[0]
        return score_errors(self.data.test_score, predicted, theta), theta, predicted

    def _judge(self, choice: Choice, items: tuple[str, ...], cycles: int) -> Evaluation:
        some = self.data.train.select(items)
        values = some.values
        learning = _rows(some, values, self.learning)
        key = (choice.item_type, items, cycles)
        if key not in self._refits:
            self._refits[key] = self._fit(learning, choice.item_type, cycles)
        fit = self._refits[key]
        at = self._score(learning, fit.parameters, choice.method)
        held = self._score(_rows(some, values, self.validation), fit.parameters, choice.method)
        found = self._recover(at, held)
        errors = score_errors(self.data.train_score[self.validation], found.predicted[0], held)
        objective = errors.rmse + self.rule.penalty * len(items)
        return Evaluation(choice, items, errors, objective, fit, at, held, found)

    def _n_bins(self, choice: Choice) -> int:
        if self.rule.budget is None:
            return self.rule.n_bins
        return max(1, -(-self.rule.budget // choice.passes))

    def _fit(self, responses: ResponseMatrix, item_type: ItemType, cycles: int) -> IrtFit:
        options = FitOptions(mode=self.rule.mode, max_cycles=cycles)
        return self.engine.fit(responses, item_type, options)

    def _score(
        self, responses: ResponseMatrix, parameters: ItemParameters, method: ScoreMethod
    ) -> Floats:
        return finite_theta(self.engine, responses, parameters, method, self.data.benchmark)

    def _recover(self, learning: Floats, other: Floats) -> Recovery:
        score = self.data.train_score[self.learning]
        return recover({"theta": learning}, score, [{"theta": other}], self.data.benchmark)


def open_engine(name: FitEngine) -> Engine:
    """Give the engine; mirt runs in this process, which is a worker's own already."""
    if name == "mirt":
        from metabench_py.irt.mirt import MirtEngine

        return MirtEngine(own_process=False)
    return get_engine("native")


def finite_theta(
    engine: Engine,
    responses: ResponseMatrix,
    parameters: ItemParameters,
    method: ScoreMethod,
    benchmark: str,
) -> Floats:
    """Score, and refuse abilities that are not finite."""
    theta = engine.score(responses, parameters, method).theta
    finite = np.isfinite(theta)
    if not finite.all():
        at = int(np.argmin(finite))
        raise ConvergenceError(
            f"{benchmark}: the {method} ability of {responses.llms[at]!r} is {theta[at]}, which a "
            "GAM cannot take; choose MAP, EAP or EAPsum.",
            benchmark=benchmark,
            llm=responses.llms[at],
        )
    return theta


def _rows(
    matrix: ResponseMatrix, values: NDArray[np.int8], at: NDArray[np.int64]
) -> ResponseMatrix:
    return ResponseMatrix(tuple(matrix.llms[i] for i in at), matrix.items, values[at])


def _shallow(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
