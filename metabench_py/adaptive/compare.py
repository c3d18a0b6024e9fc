"""Adaptive tests beside fixed subsets of the same length: who gives full scores back better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metabench_py.adaptive.engine import score_all, simulate
from metabench_py.adaptive.recovery import Agreement, agreement, curve
from metabench_py.adaptive.settings import CatSettings, Estimator
from metabench_py.adaptive.study import CatData
from metabench_py.adaptive.sympson import sympson_hetter
from metabench_py.adaptive.tables import ItemTables
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.responses import MISSING, ResponseMatrix

# Item parameters, abilities of the LLMs to choose for, number of items -> subsets, each as
# positions of the items; the one that the LLMs to learn from speak for is taken.
StaticRule = Callable[[ItemParameters, Floats, int], Sequence[Sequence[int]]]
# Answers of the LLMs to learn from -> item parameters.
Refit = Callable[[ResponseMatrix], ItemParameters]


@dataclass(frozen=True)
class Length:
    """Tests of one length, all in score points out of fold.

    Attributes
    ----------
    n_items
        Items of the fixed subset; of the adaptive tests the mean.
    adaptive, fixed, fixed_linear, chance
        Adaptive tests; the fixed subset, by its ability, and by a regression on its answers
        (which needs the same items for all); random items of each LLM's own.
    difference, difference_se
        Squared errors, adaptive less the better one of the fixed subset: mean over the LLMs and
        its standard error, counted by group, since an organisation's LLMs are alike.
    """

    n_items: int
    adaptive: Agreement
    fixed: Agreement
    fixed_linear: Agreement
    chance: Agreement
    difference: float
    difference_se: float

    @property
    def better(self) -> str:
        """Who is, beyond two standard errors; else ``equal``."""
        if abs(self.difference) <= 2.0 * self.difference_se:
            return "equal"
        return "adaptive" if self.difference < 0 else "fixed"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "n_items": self.n_items,
            "adaptive": self.adaptive.to_dict(),
            "fixed": self.fixed.to_dict(),
            "fixed_linear": self.fixed_linear.to_dict(),
            "chance": self.chance.to_dict(),
            "squared_error_difference": self.difference,
            "squared_error_difference_se": self.difference_se,
            "better": self.better,
        }


@dataclass(frozen=True, eq=False)
class StaticComparison:
    """One benchmark's comparison over several lengths.

    Attributes
    ----------
    everything
        From all items of the bank.
    refitted
        Whether items were fitted anew to each fold's training LLMs.
    """

    benchmark: str
    lengths: tuple[Length, ...]
    everything: Agreement
    refitted: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "benchmark": self.benchmark,
            "refitted": self.refitted,
            "everything": self.everything.to_dict(),
            "lengths": [one.to_dict() for one in self.lengths],
        }


def compare_static(
    data: CatData,
    settings: CatSettings,
    lengths: Sequence[int],
    rule: StaticRule,
    group: Sequence[str],
    *,
    refit: Refit | None = None,
    progress: Callable[[], None] = lambda: None,
) -> StaticComparison:
    """Compare at these lengths, cross-validated over the folds of `data`.

    In each fold the subset is chosen by the training LLMs' abilities and the curve from ability
    to score is fitted to them, alike for both.

    Parameters
    ----------
    settings
        Of the adaptive tests; their length is set, their standard error not used.
    rule
        Chooses a fixed subset.
    group
        Of each LLM, for standard errors.
    refit
        Fits items to each fold's training LLMs; None: the parameters given.

    Raises
    ------
    InputError
        There are no full scores, or a length is beyond the bank.
    """
    if data.score is None or data.fold is None:
        raise InputError(f"{data.benchmark}: the comparison needs full scores; give --scores.")
    n_items = len(data.parameters.items)
    odd = next((n for n in lengths if not 1 <= n <= n_items), None)
    if odd is not None:
        raise InputError(f"{data.benchmark} has {n_items} items; a test of {odd} is none of it.")
    n = data.responses.n_llms
    predicted = {(what, k): np.full(n, np.nan) for what in _WHATS for k in lengths}
    everything = np.full(n, np.nan)
    for number in np.unique(data.fold):
        inside = data.fold == number
        train = ~inside & np.isfinite(data.score)
        parameters = data.parameters
        if refit is not None:
            parameters = refit(_rows(data.responses, train))
        fold = _Fold(data, settings, parameters, train, inside)
        everything[inside] = fold.predict(fold.full)
        for k in lengths:
            for what, found in fold.predictions(k, rule).items():
                predicted[what, k][inside] = found
        progress()
    names = [name for name, some in zip(group, np.isfinite(data.score), strict=True) if some]
    compared = tuple(
        _length(k, {w: predicted[w, k] for w in _WHATS}, data.score, names) for k in lengths
    )
    return StaticComparison(
        data.benchmark, compared, agreement(everything, data.score), refit is not None
    )


_WHATS = ("adaptive", "fixed", "fixed_linear", "chance")


def _length(k: int, predicted: dict[str, Floats], score: Floats, groups: Sequence[str]) -> Length:
    known = np.isfinite(score)
    squares = {w: ((one - score) ** 2)[known] for w, one in predicted.items()}
    fixed = min((squares["fixed"], squares["fixed_linear"]), key=lambda one: float(one.mean()))
    apart = squares["adaptive"] - fixed
    return Length(
        n_items=k,
        adaptive=agreement(predicted["adaptive"], score),
        fixed=agreement(predicted["fixed"], score),
        fixed_linear=agreement(predicted["fixed_linear"], score),
        chance=agreement(predicted["chance"], score),
        difference=float(apart.mean()),
        difference_se=_clustered_se(apart, groups),
    )


class _Fold:
    """One fold: items, abilities and the curve from these to scores."""

    def __init__(
        self,
        data: CatData,
        settings: CatSettings,
        parameters: ItemParameters,
        train: np.ndarray,
        inside: np.ndarray,
    ) -> None:
        assert data.score is not None
        self.parameters, self.settings = parameters, settings
        self.responses, self.score = data.responses, data.score
        self.train, self.inside = train, inside
        self.tables = ItemTables.of(parameters)
        self.full = self._all(parameters, settings.estimator)

    def _all(self, parameters: ItemParameters, estimator: Estimator) -> Floats:
        return score_all(self.responses, parameters, estimator)[0]

    def predict(self, feature: Floats) -> Floats:
        """Give the held-out LLMs' scores, by a curve that the training LLMs draw."""
        good = self.train & np.isfinite(feature)
        return np.clip(curve(feature[good], self.score[good], feature[self.inside]), 0.0, 100.0)

    def predictions(self, k: int, rule: StaticRule) -> dict[str, Floats]:
        """Give the held-out LLMs' scores by tests of `k` items of each kind."""
        changed = replace(self.settings, se=None, max_items=k, min_items=1)
        filter = None
        if changed.exposure == "sympson-hetter":
            filter = sympson_hetter(self.parameters, changed)
        adaptive = simulate(
            self.responses, self.parameters, changed, filter=filter, tables=self.tables
        )
        chance = simulate(
            self.responses, self.parameters,
            replace(changed, criterion="random", exposure="none", batch=k), tables=self.tables,
        )  # fmt: skip
        theta, linear = self._fixed(k, rule)
        return {
            "adaptive": self.predict(adaptive.theta),
            "fixed": self.predict(theta),
            "fixed_linear": self.predict(linear),
            "chance": self.predict(chance.theta),
        }

    def _fixed(self, k: int, rule: StaticRule) -> tuple[Floats, Floats]:
        """Give ability and linear predictor of all LLMs from the best subset for the training ones.

        Subsets are judged where they are chosen; that is no error estimate, only a choice.
        """
        fitting = self.full[self.train]
        best: tuple[float, Floats, Sequence[int]] | None = None
        for chosen in rule(self.parameters, fitting[np.isfinite(fitting)], k):
            subset = self.parameters.select([self.parameters.items[i] for i in chosen])
            theta = self._all(subset, self.settings.estimator)
            good = self.train & np.isfinite(theta)
            apart = curve(theta[good], self.score[good], theta[good]) - self.score[good]
            error = float((apart**2).mean())
            if best is None or error < best[0]:
                best = error, theta, chosen
        if best is None:
            raise InputError("The rule gave no subset.")
        _, theta, chosen = best
        return theta, self._linear(chosen)

    def _linear(self, chosen: Sequence[int]) -> Floats:
        """Regress scores on answers; an answer that is missing counts as the training mean."""
        items = [self.parameters.items[i] for i in chosen]
        values = self.responses.select(items).values.astype(np.float64)
        values[values == MISSING] = np.nan
        known = np.isfinite(values)
        means = np.where(known & self.train[:, None], values, 0.0).sum(axis=0)
        means /= np.maximum((known & self.train[:, None]).sum(axis=0), 1)
        columns = np.column_stack([np.ones(len(values)), np.where(known, values, means)])
        weights = np.linalg.lstsq(columns[self.train], self.score[self.train], rcond=None)[0]
        result: Floats = columns @ weights
        return result


def _rows(responses: ResponseMatrix, keep: np.ndarray) -> ResponseMatrix:
    return responses.rows(name for name, wanted in zip(responses.llms, keep, strict=True) if wanted)


def _clustered_se(values: Floats, groups: Sequence[str]) -> float:
    """Give the standard error of a mean whose terms depend on each other within groups."""
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(number.ravel(), values - values.mean())
    n_groups = len(sums)
    if n_groups < 2:
        return float("nan")
    return float(np.sqrt((sums**2).sum() * n_groups / (n_groups - 1)) / len(values))
