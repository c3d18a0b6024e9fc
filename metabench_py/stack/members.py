"""The stack's members: one kind of regression each, of all outputs, as they predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.arrays import Arrays, named, part, take_floats
from metabench_py.stack.gp import GaussianProcess
from metabench_py.stack.spline import SplineModel
from metabench_py.stack.trees import Forest


@dataclass(frozen=True)
class Shape:
    """Sizes that every member of a stack agrees on."""

    n_features: int
    n_items: int
    n_outputs: int
    n_columns: int


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of some LLMs.

    Attributes
    ----------
    features
        Shape (n, n_features).
    responses
        All benchmarks' beside each other, shape (n, n_items); no columns where the stack does not
        use them.
    columns
        What trees look at (`Views`), shape (n, n_columns); none where there are no trees.
    """

    features: Floats
    responses: Floats
    columns: Floats


class Member(Protocol):
    """One regression of all outputs."""

    kind: ClassVar[str]

    def predict(self, seen: Seen) -> Floats:
        """Predict, shape (n, n_outputs)."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays."""


@dataclass(frozen=True, eq=False)
class SplineMember:
    """Additive splines."""

    kind: ClassVar[str] = "spline"
    model: SplineModel

    def predict(self, seen: Seen) -> Floats:
        """See `Member`."""
        return self.model.predict(seen.features)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays."""
        return self.model.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Arrays, shape: Shape) -> SplineMember:
        """Read `to_arrays` back."""
        return cls(SplineModel.from_arrays(arrays, shape.n_features, shape.n_outputs))


@dataclass(frozen=True, eq=False)
class ProcessMember:
    """A sparse Gaussian process."""

    kind: ClassVar[str] = "process"
    model: GaussianProcess

    def predict(self, seen: Seen) -> Floats:
        """See `Member`."""
        return self.model.predict(seen.features, seen.responses)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays."""
        return self.model.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Arrays, shape: Shape) -> ProcessMember:
        """Read `to_arrays` back."""
        return cls(
            GaussianProcess.from_arrays(arrays, shape.n_features, shape.n_items, shape.n_outputs)
        )


@dataclass(frozen=True, eq=False)
class TreesMember:
    """A line and boosted trees, one forest an output.

    Attributes
    ----------
    slopes
        Of the lines, shape (n_columns, n_outputs).
    forests
        Their outputs beside each other are all outputs.
    """

    kind: ClassVar[str] = "trees"
    slopes: Floats
    forests: tuple[Forest, ...]

    def predict(self, seen: Seen) -> Floats:
        """See `Member`."""
        bent = np.concatenate([f.predict(seen.columns) for f in self.forests], axis=1)
        predicted: Floats = seen.columns @ self.slopes + bent
        return predicted

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays."""
        arrays: dict[str, NDArray[Any]] = {"slopes": self.slopes}
        for i, forest in enumerate(self.forests):
            arrays.update(named(str(i), forest.to_arrays()))
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, shape: Shape) -> TreesMember:
        """Read `to_arrays` back."""
        return cls(
            take_floats(arrays, "slopes", (shape.n_columns, shape.n_outputs)),
            tuple(
                Forest.from_arrays(part(arrays, str(i)), shape.n_columns, 1)
                for i in range(shape.n_outputs)
            ),
        )


def members_of(arrays: Arrays, shape: Shape) -> Mapping[str, Member]:
    """Read all members that are there, by kind.

    Raises
    ------
    InputError
        An array is absent or not usable.
    """
    found: dict[str, Member] = {}
    for member in (SplineMember, ProcessMember, TreesMember):
        own = part(arrays, member.kind)
        if own:
            found[member.kind] = member.from_arrays(own, shape)
    return found
