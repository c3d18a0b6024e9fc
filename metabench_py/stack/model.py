"""The fitted stack: members, their weights, a local scale of the error; numpy alone predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Target
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.stack.arrays import Arrays, named, part, take, take_floats
from metabench_py.stack.inputs import (
    StackInputs,
    feature_matrix,
    names_of,
    response_matrix,
    targets_of,
)
from metabench_py.stack.members import Member, Seen, Shape, members_of
from metabench_py.stack.spline import SplineModel
from metabench_py.stack.trees import Forest
from metabench_py.stack.views import Views

__all__ = ["Stack", "StackInputs"]

FORMAT = 5
# A fitted scale is kept within these score points, wherever an LLM lies.
SCALE_RANGE = (1e-3, 100.0)


@dataclass(frozen=True, eq=False)
class Stack:
    """Weighted regressions from features and responses to scores.

    Attributes
    ----------
    benchmarks
        Those it was fitted on; each is an output. Grand, the mean of the outputs, is there
        when all six are.
    n_items
        Items a benchmark, where responses are used; else empty.
    limits
        Lowest and highest value of each feature in calibration, shape (n_features, 2).
    views
        What trees look at; None: there are none.
    members
        By kind.
    weights
        Of the members, in their order; not negative, summing to 1 for each output, shape
        (n_members, n_outputs).
    rest
        What the process leaves, added in full; None: too few LLMs for trees, or one benchmark.
    spread
        Logarithm of the expected absolute error, one output a target (`targets`).
    """

    benchmarks: tuple[Benchmark, ...]
    n_items: Mapping[Benchmark, int]
    limits: Floats
    views: Views | None
    members: Mapping[str, Member]
    weights: Floats
    rest: Forest | None
    spread: SplineModel

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return names_of(self.benchmarks)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What it predicts."""
        return targets_of(self.benchmarks)

    def predict(self, inputs: StackInputs) -> dict[Target, Floats]:
        """Predict scores, unclipped, shape (n,) a target.

        Raises
        ------
        InputError
            A feature or a response matrix that it was fitted on is absent or not usable.
        """
        features, responses = self._matrices(inputs)
        columns = np.zeros((len(features), 0))
        if self.views is not None:
            columns = self.views.columns(features, responses)
        seen = Seen(features, responses, columns)
        total = np.zeros((len(features), len(self.benchmarks)))
        for member, weights in zip(self.members.values(), self.weights, strict=True):
            if weights.any():
                total += weights * member.predict(seen)
        if self.rest is not None:
            total += self.rest.predict(columns)
        predicted: dict[Target, Floats] = {}
        for target in self.targets:
            if target == "grand":
                predicted[target] = total.mean(axis=1)
            else:
                predicted[target] = total[:, self.benchmarks.index(target)].copy()
        return predicted

    def scale(self, inputs: StackInputs) -> dict[Target, Floats]:
        """Give the expected absolute error, score points, shape (n,) a target.

        Beyond the calibrated range of a feature it is that of the range's end.
        """
        features, _ = self._matrices(inputs)
        inside = np.clip(features, self.limits[:, 0], self.limits[:, 1])
        # Clipped before it is raised, so that a damaged file cannot overflow.
        spread = np.exp(np.clip(self.spread.predict(inside), *np.log(SCALE_RANGE)))
        return {target: spread[:, i] for i, target in enumerate(self.targets)}

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value that calibration saw, by feature."""
        return {
            name: (float(low), float(high))
            for name, (low, high) in zip(self.features, self.limits, strict=True)
        }

    def _matrices(self, inputs: StackInputs) -> tuple[Floats, Floats]:
        features = feature_matrix(inputs, self.benchmarks)
        checked = response_matrix(inputs, self.n_items, len(features))
        none = np.zeros((len(features), 0))
        return features, np.concatenate([none, *(checked[b] for b in self.n_items)], axis=1)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays of numbers; `from_arrays` gives the same stack, bit for bit."""
        arrays: dict[str, NDArray[Any]] = {
            "format": np.array(FORMAT, np.int32),
            "benchmarks": np.array([BENCHMARKS.index(b) for b in self.benchmarks], np.int32),
            "n_items": np.array([self.n_items.get(b, 0) for b in self.benchmarks], np.int32),
            "limits": self.limits,
            "weights": self.weights,
            **named("spread", self.spread.to_arrays()),
        }
        if self.views is not None:
            arrays.update(named("views", self.views.to_arrays()))
        for kind, member in self.members.items():
            arrays.update(named(kind, member.to_arrays()))
        if self.rest is not None:
            arrays.update(named("rest", self.rest.to_arrays()))
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Stack:
        """Read `to_arrays` back.

        Raises
        ------
        InputError
            Something is absent, of a wrong shape, not finite, or absurdly large.
        """
        form = int(take(arrays, "format", (), "iu"))
        if form != FORMAT:
            todo = "calibrate the bundle again" if form < FORMAT else "update metabench-py"
            raise InputError(
                f"The stack is of format {form}, but this version reads {FORMAT}; {todo}.",
                format=form,
            )
        numbers = [int(i) for i in take(arrays, "benchmarks", (None,), "iu")]
        if not numbers or numbers != sorted(set(numbers)):
            raise InputError("The stack's benchmarks are not in order.")
        if numbers[0] < 0 or numbers[-1] >= len(BENCHMARKS):
            raise InputError("The stack names a benchmark that is not one of the six.")
        benchmarks = tuple(BENCHMARKS[i] for i in numbers)
        items = [int(n) for n in take(arrays, "n_items", (len(benchmarks),), "iu")]
        if min(items) < 0 or max(items) > 100_000:
            raise InputError("The stack has an unusable number of items.")
        n_items = {b: n for b, n in zip(benchmarks, items, strict=True) if n}
        n_features = len(names_of(benchmarks))
        viewed = part(arrays, "views")
        views = Views.from_arrays(viewed, n_features, sum(items)) if viewed else None
        n_columns = 0 if views is None else views.n_columns
        shape = Shape(n_features, sum(items), len(benchmarks), n_columns)
        limits = take_floats(arrays, "limits", (shape.n_features, 2))
        members = members_of(arrays, shape)
        weights = take_floats(arrays, "weights", (len(members), shape.n_outputs))
        if not members or (weights < 0).any():
            raise InputError("The stack has no member, or a negative weight.")
        left = part(arrays, "rest")
        rest = Forest.from_arrays(left, shape.n_columns, shape.n_outputs) if left else None
        spread = SplineModel.from_arrays(
            part(arrays, "spread"), shape.n_features, len(targets_of(benchmarks))
        )
        return cls(benchmarks, n_items, limits, views, members, weights, rest, spread)
