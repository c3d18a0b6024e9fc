"""Gradient-boosted trees by scikit-learn, exported to plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.trees import Forest

TREES, LEAVES, RATE, LEAST_IN_LEAF = 250, 8, 0.06, 15


def fit_forest(features: Floats, truth: Floats, seed: int) -> Forest:
    """Boost trees of at most 8 leaves on squared error."""
    return export(boost(features, truth, seed))


def boost(features: Floats, truth: Floats, seed: int) -> Any:
    """Fit scikit-learn's HistGradientBoostingRegressor."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        learning_rate=RATE,
        min_samples_leaf=min(LEAST_IN_LEAF, max(2, len(features) // 20)),
        l2_regularization=1.0,
        max_features=0.5,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(features, truth)


def export(model: Any) -> Forest:
    """Copy a fitted regressor's trees; features must be numbers without gaps."""
    parts: dict[str, list[NDArray[Any]]] = {
        k: [] for k in ("feature", "threshold", "left", "right", "value")
    }
    roots, at = [], 0
    for (tree,) in model._predictors:
        nodes = tree.nodes
        leaf = nodes["is_leaf"].astype(bool)
        own = np.arange(len(nodes))
        roots.append(at)
        parts["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
        parts["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
        for side in ("left", "right"):
            parts[side].append(at + np.where(leaf, own, nodes[side].astype(np.int64)))
        parts["value"].append(np.where(leaf, nodes["value"], 0.0))
        at += len(nodes)
    joined = {k: np.concatenate(v) for k, v in parts.items()}
    # The last bin of scikit-learn ends at infinity, which no array of ours may hold.
    threshold = np.clip(joined["threshold"], -1e9, 1e9)
    return Forest(
        float(np.ravel(model._baseline_prediction)[0]),
        np.array(roots, np.int32),
        joined["feature"].astype(np.int16),
        threshold,
        joined["left"].astype(np.int32),
        joined["right"].astype(np.int32),
        joined["value"],
    )
