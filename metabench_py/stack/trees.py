"""Forests as plain arrays: vectorised prediction, as scikit-learn's but for the digits kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.stack.arrays import Arrays, take, take_floats

# LLMs at a time: each holds some numbers a tree.
CHUNK = 1024
LEAF = 255
# Columns and thresholds are whole numbers of steps of 1/256, and columns within these limits.
GRID = 256.0
FARTHEST = 127.0


def on_grid(columns: Floats) -> Floats:
    """Round columns of about unit variance to steps that thresholds can tell apart."""
    rounded: Floats = np.rint(np.clip(columns, -FARTHEST, FARTHEST) * GRID) / GRID
    return rounded


@dataclass(frozen=True, eq=False)
class Forest:
    """A constant plus what the leaves add that one LLM falls into, one leaf a tree.

    A tree's nodes follow each other, a split's left child right after it (preorder).

    Attributes
    ----------
    constant
        Score points, shape (n_outputs,).
    roots
        First node of each tree, shape (n_trees,), ascending from 0.
    feature
        Column that a node asks for, shape (n_nodes,); 255 at a leaf.
    threshold
        A value up to it goes to the left, shape (n_splits,); in steps of 1/256.
    right
        How far on the right child is, shape (n_splits,).
    level, step
        What each leaf adds is ``step * level`` score points: whole numbers of shape
        (n_leaves, n_outputs), and shape (n_outputs,).
    """

    constant: Floats
    roots: NDArray[np.int32]
    feature: NDArray[np.uint8]
    threshold: Floats
    right: NDArray[np.int32]
    level: NDArray[np.int16]
    step: Floats

    def predict(self, columns: Floats) -> Floats:
        """Predict, shape (n, n_outputs), from columns that are `on_grid`."""
        n_nodes = len(self.feature)
        split = np.flatnonzero(self.feature != LEAF)
        # A leaf leads to itself, whatever it compares.
        left = right = np.arange(n_nodes, dtype=np.int32)
        left, right = left.copy(), right.copy()
        left[split] += 1
        right[split] += self.right
        asked = np.zeros(n_nodes, np.intp)
        asked[split] = self.feature[split]
        limit = np.zeros(n_nodes)
        limit[split] = self.threshold
        leaf = np.cumsum(self.feature == LEAF) - 1
        predicted = np.empty((len(columns), len(self.constant)))
        for start in range(0, len(columns), CHUNK):
            some = columns[start : start + CHUNK]
            rows = np.arange(len(some))[:, None]
            node = np.broadcast_to(self.roots, (len(some), len(self.roots)))
            while True:
                goes_left = some[rows, asked[node]] <= limit[node]
                after = np.where(goes_left, left[node], right[node])
                if np.array_equal(after, node):
                    break
                node = after
            total = self.level[leaf[node]].sum(axis=1, dtype=np.int64)
            predicted[start : start + CHUNK] = self.constant + total * self.step
        return predicted

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays, in as few bytes as hold them."""
        small = np.abs(self.level).max(initial=0) <= 127
        return {
            "constant": self.constant,
            "roots": self.roots,
            "feature": self.feature,
            "threshold": np.rint(self.threshold * GRID).astype(np.int16),
            "right": self.right.astype(np.uint16),
            "level": self.level.astype(np.int8) if small else self.level,
            "step": self.step,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_columns: int, n_outputs: int) -> Forest:
        """Read `to_arrays` back.

        Raises
        ------
        InputError
            An array is absent, or the nodes are not trees over so many columns.
        """
        roots = take(arrays, "roots", (None,), "iu").astype(np.int64)
        feature = take(arrays, "feature", (None,), "u").astype(np.uint8)
        n = len(feature)
        sizes = np.diff(np.append(roots, n))
        if len(roots) == 0 or roots[0] != 0 or (sizes <= 0).any():
            raise InputError("The stack's trees have unusable roots; write it again.")
        leaf = feature == LEAF
        split = np.flatnonzero(~leaf)
        if (feature[split] >= n_columns).any():
            raise InputError("The stack's trees ask for a column that is not there.")
        right = take(arrays, "right", (len(split),), "u").astype(np.int32)
        last = np.repeat(roots + sizes, sizes)
        # Nodes lead onwards and stay in their tree, so that every walk ends at a leaf.
        if (right < 2).any() or (split + right >= last[split]).any():
            raise InputError("The stack's trees lead out of themselves; write it again.")
        return cls(
            take_floats(arrays, "constant", (n_outputs,)),
            roots.astype(np.int32),
            feature,
            take(arrays, "threshold", (len(split),), "i") / GRID,
            right,
            take(arrays, "level", (int(leaf.sum()), n_outputs), "i").astype(np.int16),
            take_floats(arrays, "step", (n_outputs,)),
        )
