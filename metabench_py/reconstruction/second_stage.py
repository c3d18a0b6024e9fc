"""Second stages: each predicts every target from the first stage, and how far it may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from metabench_py.benchmarks import TARGETS, Benchmark, Target
from metabench_py.gam.features import target_features
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.stages import FirstStage
from metabench_py.stack.inputs import StackInputs
from metabench_py.stack.model import Stack

Computer = Literal["mgcv", "portable", "stack"]


class Predictor(Protocol):
    """GAM of one target: a portable fit or one in R."""

    def predict(self, features: Mapping[str, ArrayLike]) -> Floats:
        """Predict scores, unclipped, shape (n,)."""


class SecondStage(Protocol):
    """From abilities, linear predictors, sub-scores and responses to scores."""

    @property
    def computer(self) -> Computer:
        """Who computes."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is predicted."""

    def predict(self, stage: FirstStage, theta_shift: float = 0.0) -> dict[Target, Floats]:
        """Predict scores, unclipped, shape (n,) a target; NaN without a finite ability.

        Parameters
        ----------
        theta_shift
            Every theta is moved by so many standard errors first.
        """

    def scale(self, stage: FirstStage) -> dict[Target, Floats]:
        """Give the local scale of the error, above 0, shape (n,); 1 where it tells none."""

    def outside(self, stage: FirstStage) -> list[list[str]]:
        """Name each LLM's features beyond what any calibration LLM had."""


@dataclass(frozen=True, eq=False)
class GamStage:
    """One GAM a target.

    Attributes
    ----------
    gams
        The portable fits, whose knots tell the calibrated range.
    predictors
        Who predicts; None: the portable fits.
    """

    gams: Mapping[Target, PortableGam]
    predictors: Mapping[Target, Predictor] | None = None

    @property
    def computer(self) -> Computer:
        """See `SecondStage`."""
        return "portable" if self.predictors is None else "mgcv"

    @property
    def targets(self) -> tuple[Target, ...]:
        """See `SecondStage`."""
        return tuple(t for t in TARGETS if t in self.gams)

    def predict(self, stage: FirstStage, theta_shift: float = 0.0) -> dict[Target, Floats]:
        """See `SecondStage`."""
        table = stage.features(theta_shift)
        predictors = self.gams if self.predictors is None else self.predictors
        return {t: predictors[t].predict(target_features(table, t)) for t in self.targets}

    def scale(self, stage: FirstStage) -> dict[Target, Floats]:
        """See `SecondStage`; a GAM tells none."""
        return {t: np.ones(stage.n) for t in self.targets}

    def outside(self, stage: FirstStage) -> list[list[str]]:
        """See `SecondStage`."""
        ranges: dict[str, tuple[float, float]] = {}
        for target in self.targets:
            for term in self.gams[target].terms:
                name = term.feature.replace("this", target)
                low, high = ranges.get(name, (-np.inf, np.inf))
                ranges[name] = (max(low, term.lower), min(high, term.upper))
        return _beyond(stage.features(), ranges)


@dataclass(frozen=True, eq=False)
class StackStage:
    """The stack."""

    stack: Stack

    @property
    def computer(self) -> Computer:
        """See `SecondStage`."""
        return "stack"

    @property
    def targets(self) -> tuple[Target, ...]:
        """See `SecondStage`."""
        return self.stack.targets

    def predict(self, stage: FirstStage, theta_shift: float = 0.0) -> dict[Target, Floats]:
        """See `SecondStage`."""
        inputs, usable = _inputs(stage, theta_shift)
        found = self.stack.predict(inputs) if usable.any() else {}
        return {t: _spread(found.get(t), usable, np.nan) for t in self.targets}

    def scale(self, stage: FirstStage) -> dict[Target, Floats]:
        """See `SecondStage`."""
        inputs, usable = _inputs(stage)
        found = self.stack.scale(inputs) if usable.any() else {}
        return {t: _spread(found.get(t), usable, 1.0) for t in self.targets}

    def outside(self, stage: FirstStage) -> list[list[str]]:
        """See `SecondStage`."""
        return _beyond(stage.features(), self.stack.ranges())


def stored_stage(model: Stack | Mapping[Target, PortableGam]) -> SecondStage:
    """Make a second stage of what a bundle stores; it needs no R."""
    return StackStage(model) if isinstance(model, Stack) else GamStage(model)


def _inputs(
    stage: FirstStage, theta_shift: float = 0.0
) -> tuple[StackInputs, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Give the inputs of those LLMs that have finite features, and which they are."""
    table = stage.features(theta_shift)
    usable = np.logical_and.reduce([np.isfinite(column) for column in table.values()])
    responses: dict[Benchmark, Floats] = dict(stage.filled)
    inputs = StackInputs(table, responses)
    return (inputs if usable.all() else inputs.rows(usable)), usable


def _spread(
    values: Floats | None, usable: np.ndarray[tuple[int], np.dtype[np.bool_]], else_: float
) -> Floats:
    result: Floats = np.full(len(usable), else_)
    if values is not None:
        result[usable] = values
    return result


def _beyond(
    table: Mapping[str, Floats], ranges: Mapping[str, tuple[float, float]]
) -> list[list[str]]:
    outside: list[list[str]] = [[] for _ in range(len(next(iter(table.values()))))]
    for name, (low, high) in ranges.items():
        for row in np.flatnonzero((table[name] < low) | (table[name] > high)):
            outside[row].append(name)
    return outside
