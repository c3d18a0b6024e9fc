"""What trees look at: features, and the directions in which LLMs differ from their siblings.

A tree cuts along columns. LLMs of one family differ from others in small ways that lie across the
features (a linear predictor a bit above what the sub-score says); whitened, such a way is a column
of its own. Leading axes of the item responses tell families apart, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.arrays import Arrays, take_floats
from metabench_py.stack.trees import on_grid

ITEM_AXES = 40
# Directions in which standardised features vary less than this are rounding.
LEAST_VARIANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Views:
    """Linear maps of features and responses to columns.

    Attributes
    ----------
    mean, rate
        Of the features: ``(feature - mean) * rate`` is standardised, or 0 where it is constant in
        calibration; shape (n_features,).
    axes
        Whitened directions of the standardised features, shape (n_features, n_axes).
    item_mean, item_axes
        Mean response, shape (n_items,), and leading principal axes, shape (n_items, n_item_axes).
    """

    mean: Floats
    rate: Floats
    axes: Floats
    item_mean: Floats
    item_axes: Floats

    @property
    def n_columns(self) -> int:
        """How many columns there are."""
        return len(self.mean) + int(self.axes.shape[1]) + int(self.item_axes.shape[1])

    def columns(self, features: Floats, responses: Floats) -> Floats:
        """Give the columns, shape (n, n_columns), on the grid of the trees' thresholds."""
        standard = (features - self.mean) * self.rate
        parts = [standard, standard @ self.axes, (responses - self.item_mean) @ self.item_axes]
        return on_grid(np.concatenate(parts, axis=1))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays, in the digits that they have."""
        return {
            "mean": self.mean,
            "rate": self.rate,
            "axes": self.axes,
            "item_mean": self.item_mean,
            "item_axes": self.item_axes.astype(np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_features: int, n_items: int) -> Views:
        """Read `to_arrays` back.

        Raises
        ------
        InputError
            An array is absent or not usable.
        """
        return cls(
            take_floats(arrays, "mean", (n_features,)),
            take_floats(arrays, "rate", (n_features,)),
            take_floats(arrays, "axes", (n_features, None)),
            take_floats(arrays, "item_mean", (n_items,)),
            take_floats(arrays, "item_axes", (n_items, None)),
        )


def fit_views(features: Floats, responses: Floats) -> Views:
    """Find the directions.

    Parameters
    ----------
    features, responses
        Shapes (n, n_features) and (n, n_items); no columns where responses are not used.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    rate = np.where(deviation > 1e-9, 1.0 / np.maximum(deviation, 1e-9), 0.0)
    standard = (features - mean) * rate
    variance, axes = _principal(standard)
    kept = variance > LEAST_VARIANCE
    item_mean = responses.mean(axis=0)
    # More axes than LLMs or items there are not.
    most = min(ITEM_AXES, responses.shape[1], len(responses) - 1)
    _, item_axes = _principal(responses - item_mean)
    return Views(
        mean,
        rate,
        axes[:, kept] / np.sqrt(variance[kept]),
        item_mean,
        item_axes[:, :most].astype(np.float32).astype(np.float64),
    )


def _principal(centred: Floats) -> tuple[Floats, Floats]:
    """Variances, largest first, and axes; the largest part of an axis is positive."""
    variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    variance, axes = variance[::-1], axes[:, ::-1]
    if axes.size:
        largest = np.abs(axes).argmax(axis=0)
        axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    return variance, axes
