"""Boosted trees as plain arrays: vectorised prediction, equal to scikit-learn's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.stack.arrays import Arrays, take, take_floats

# LLMs at a time: each holds one number a tree.
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Forest:
    """A constant plus the leaves that one LLM falls into, one a tree.

    Attributes
    ----------
    constant
        Score points.
    roots
        First node of each tree, shape (n_trees,), ascending from 0.
    feature
        Feature that a node asks for, shape (n_nodes,).
    threshold
        A value up to it goes to the left, shape (n_nodes,).
    left, right
        Nodes that follow, counted from the first of all, shape (n_nodes,); a leaf names itself.
    value
        What a leaf adds, score points, shape (n_nodes,); 0 at other nodes.
    """

    constant: float
    roots: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: Floats
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Floats

    def predict(self, features: Floats) -> Floats:
        """Predict, shape (n,)."""
        predicted = np.full(len(features), self.constant)
        for start in range(0, len(features), CHUNK):
            some = features[start : start + CHUNK]
            rows = np.arange(len(some))[:, None]
            node = np.broadcast_to(self.roots, (len(some), len(self.roots)))
            while True:
                goes_left = some[rows, self.feature[node]] <= self.threshold[node]
                after = np.where(goes_left, self.left[node], self.right[node])
                if np.array_equal(after, node):
                    break
                node = after
            predicted[start : start + CHUNK] += self.value[node].sum(axis=1)
        return predicted

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays; children are counted from their tree's first node."""
        first = self._first()
        return {
            "constant": np.array(self.constant),
            "roots": self.roots,
            "feature": self.feature,
            "threshold": self.threshold,
            "left": (self.left - first).astype(np.uint8),
            "right": (self.right - first).astype(np.uint8),
            "value": self.value,
        }

    def _first(self) -> NDArray[np.int32]:
        sizes = np.diff(np.append(self.roots, len(self.feature)))
        first: NDArray[np.int32] = np.repeat(self.roots, sizes).astype(np.int32)
        return first

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_features: int) -> Forest:
        """Read `to_arrays` back.

        Raises
        ------
        InputError
            An array is absent, or the nodes are not trees over so many features.
        """
        roots = take(arrays, "roots", (None,), "iu").astype(np.int32)
        feature = take(arrays, "feature", (None,), "iu").astype(np.int16)
        n = len(feature)
        sizes = np.diff(np.append(roots, n))
        if len(roots) == 0 or roots[0] != 0 or (sizes <= 0).any() or sizes.max() > 255:
            raise InputError("The stack's trees have unusable roots; write it again.")
        if feature.min() < 0 or feature.max() >= n_features:
            raise InputError("The stack's trees ask for a feature that is not there.")
        first = np.repeat(roots, sizes)
        last = np.repeat(roots + sizes, sizes)
        at = np.arange(n)
        children = []
        for side in ("left", "right"):
            child = take(arrays, side, (n,), "iu").astype(np.int32) + first
            # Nodes only lead onwards, so that every walk ends.
            if (child < at).any() or (child >= last).any():
                raise InputError("The stack's trees lead out of themselves; write it again.")
            children.append(child.astype(np.int32))
        if ((children[0] == at) != (children[1] == at)).any():
            raise InputError("The stack's trees have a node with one child; write it again.")
        return cls(
            float(take_floats(arrays, "constant", ())),
            roots,
            feature,
            take_floats(arrays, "threshold", (n,)),
            children[0],
            children[1],
            take_floats(arrays, "value", (n,)),
        )
