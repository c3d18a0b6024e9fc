"""Forests by scikit-learn, exported to plain arrays.

Boosted trees learn what a ridge regression leaves, one forest an output (Friedman 2001). A forest
of extremely randomised trees (Geurts, Ernst & Wehenkel 2006) learns what the smooth process
leaves, all outputs in one: families of fine-tunes that so few inducing points cannot tell apart,
even families of which calibration saw one LLM only. So its leaves are as small as can be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.trees import FARTHEST, GRID, LEAF, Forest

# Steps to either side that leaves are rounded to: fewer than a byte holds pack better.
LEVELS = 31
PENALTIES = np.logspace(-3, 3, 13)


@dataclass(frozen=True)
class Boosting:
    """How many trees of what size, how fast they learn, and LLMs a leaf at least."""

    trees: int
    leaves: int
    rate: float
    least: int


# One benchmark has three features, and not much to learn from them.
ALONE = Boosting(250, 8, 0.06, 15)
TOGETHER = Boosting(300, 16, 0.07, 15)


def boost(columns: Floats, truth: Floats, how: Boosting, seed: int) -> Any:
    """Fit scikit-learn's HistGradientBoostingRegressor on squared error."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=how.trees,
        max_leaf_nodes=how.leaves,
        learning_rate=how.rate,
        min_samples_leaf=min(how.least, max(2, len(columns) // 20)),
        l2_regularization=1.0,
        max_features=0.5,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(columns, truth)


def randomise(columns: Floats, left: Floats, n_features: int, trees: int, seed: int) -> list[Any]:
    """Fit scikit-learn's ExtraTreesRegressor, and give its trees.

    Half of the trees look at all columns, half at the features alone, where near means alike.

    Parameters
    ----------
    columns
        Of different LLMs, the features' first.
    left
        What is left of each score in units of its deviation, shape (n, n_outputs).
    trees
        How many.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    grown: list[Any] = []
    for seen in (columns, columns[:, :n_features]):
        model = ExtraTreesRegressor(trees // 2, max_features=0.5, random_state=seed)
        grown += model.fit(seen, left).estimators_
    return grown


def fit_boosted(columns: Floats, truth: Floats, how: Boosting, seed: int) -> tuple[Floats, Forest]:
    """Fit one output: slopes of a ridge regression, shape (n_columns,), and trees for the rest.

    Trees alone draw a line as stairs. The ridge's penalty is that of least leave-one-out error.
    """
    from sklearn.linear_model import RidgeCV

    line = RidgeCV(PENALTIES).fit(columns, truth)
    slopes, constant = np.asarray(line.coef_, np.float64), float(line.intercept_)
    forest = export_boosted(boost(columns, truth - (columns @ slopes + constant), how, seed))
    return slopes, replace(forest, constant=forest.constant + constant)


def fit_random(columns: Floats, left: Floats, n_features: int, trees: int, seed: int) -> Forest:
    """Grow one forest for all outputs, from what is left of the scores (points)."""
    unit = np.maximum(left.std(axis=0), 1e-9)
    return export_random(randomise(columns, left / unit, n_features, trees, seed), unit)


def export_boosted(model: Any) -> Forest:
    """Copy a fitted regressor's trees; columns must be numbers without gaps."""
    trees = []
    for (tree,) in model._predictors:
        nodes = tree.nodes
        order, right = _preorder(nodes["left"], nodes["right"], nodes["is_leaf"])
        nodes = nodes[order]
        leaf = nodes["is_leaf"].astype(bool)
        trees.append(
            _Tree(
                np.where(leaf, LEAF, nodes["feature_idx"]),
                nodes["num_threshold"][~leaf],
                right[~leaf],
                nodes["value"][leaf][:, None],
            )
        )
    return _join(trees, np.ravel(model._baseline_prediction)[:1].astype(np.float64), 32_000)


def export_random(grown: list[Any], unit: Floats) -> Forest:
    """Copy a fitted forest's trees; leaves are times `unit`, shape (n_outputs,)."""
    trees = []
    for estimator in grown:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        split = np.flatnonzero(~leaf)
        if not np.array_equal(tree.children_left[split], split + 1):
            raise AssertionError("scikit-learn's trees are in another order than they were")
        value = tree.value[leaf].reshape(int(leaf.sum()), -1)
        trees.append(
            _Tree(
                np.where(leaf, LEAF, tree.feature),
                tree.threshold[split],
                tree.children_right[split] - split,
                value * unit / len(grown),
            )
        )
    return _join(trees, np.zeros(len(unit)), LEVELS)


@dataclass(frozen=True, eq=False)
class _Tree:
    feature: NDArray[Any]
    threshold: NDArray[Any]
    right: NDArray[Any]
    value: Floats


def _join(trees: list[_Tree], constant: Floats, levels: int) -> Forest:
    """Put trees behind each other; leaves are rounded to so many steps to either side."""
    value = np.concatenate([tree.value for tree in trees])
    step = np.maximum(np.abs(value).max(axis=0) / levels, 1e-12)
    sizes = [len(tree.feature) for tree in trees]
    threshold = np.concatenate([tree.threshold for tree in trees]).astype(np.float64)
    # Down to the grid, so that columns go where they went; scikit-learn's last bin has no end.
    rounded = np.floor(np.clip(threshold, -FARTHEST, FARTHEST) * GRID) / GRID
    return Forest(
        constant,
        np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32),
        np.concatenate([tree.feature for tree in trees]).astype(np.uint8),
        rounded,
        np.concatenate([tree.right for tree in trees]).astype(np.int32),
        np.rint(value / step).astype(np.int16),
        step,
    )


def _preorder(
    left: NDArray[Any], right: NDArray[Any], leaf: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order of the nodes, and how far on each one's right child is in it."""
    order: list[int] = []
    waiting = [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if not leaf[node]:
            waiting += [int(right[node]), int(left[node])]
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    own = np.array(order, np.intp)
    return own, np.where(leaf[own], 0, place[right[own].astype(np.intp)] - np.arange(len(own)))
