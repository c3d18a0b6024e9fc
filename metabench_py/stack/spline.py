"""Additive natural cubic splines: a sum of one smooth curve a feature, linear beyond its knots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.stack.arrays import Arrays, take_floats


@dataclass(frozen=True, eq=False)
class SplineBasis:
    """Knots of each feature.

    Attributes
    ----------
    knots
        For each feature at least two ascending positions. Features that were constant in
        calibration have none.
    """

    knots: tuple[Floats, ...]

    @classmethod
    def at_quantiles(cls, features: Floats, n_knots: int) -> SplineBasis:
        """Put knots at equally spaced quantiles; ties give fewer."""
        knots = []
        for column in features.T:
            found = np.unique(np.quantile(column, np.linspace(0.0, 1.0, n_knots)))
            # Knots that all but coincide would make the curve's second derivatives huge.
            least = 1e-3 * (found[-1] - found[0])
            kept = [float(found[0])]
            for knot in found[1:]:
                if knot - kept[-1] > least:
                    kept.append(float(knot))
            knots.append(np.array(kept) if len(kept) > 1 else np.zeros(0))
        return cls(tuple(knots))

    @property
    def width(self) -> int:
        """Columns of `columns`."""
        return sum(len(k) for k in self.knots)

    def columns(self, features: Floats) -> Floats:
        """Give the cardinal basis, shape (n, width): a curve's coefficients are its knot values."""
        parts = [cardinal(x, k) for x, k in zip(features.T, self.knots, strict=True) if len(k)]
        if not parts:
            return np.zeros((len(features), 0))
        joined: Floats = np.concatenate(parts, axis=1)
        return joined


def cardinal(x: Floats, knots: Floats) -> Floats:
    """Values at `x` of the natural cubic splines that are 1 at one knot and 0 at the others.

    Linear beyond the outer knots, as a natural spline is (Wood 2017, section 5.3.1).

    Returns
    -------
    Shape (n, n_knots).
    """
    bend = second_derivatives(knots)
    h = np.diff(knots)
    j = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(h) - 1)
    inside = np.clip(x, knots[0], knots[-1])
    right, left = (inside - knots[j]) / h[j], (knots[j + 1] - inside) / h[j]
    rows = np.arange(len(x))
    values = np.zeros((len(x), len(knots)))
    values[rows, j] += left
    values[rows, j + 1] += right
    square = (h[j] ** 2 / 6.0)[:, None]
    values += square * (
        (left**3 - left)[:, None] * bend[j] + (right**3 - right)[:, None] * bend[j + 1]
    )
    for end, first, last, sign in ((0, 0, 1, -1.0), (-1, -2, -1, 1.0)):
        beyond = (x < knots[0]) if end == 0 else (x > knots[-1])
        if beyond.any():
            slope = np.zeros(len(knots))
            slope[first], slope[last] = -1.0 / h[end], 1.0 / h[end]
            inner = bend[last] if end == 0 else bend[first]
            slope += sign * h[end] / 6.0 * inner
            values[beyond] += (x[beyond] - knots[end])[:, None] * slope
    return values


def second_derivatives(knots: Floats) -> Floats:
    """Matrix from a natural spline's knot values to its second derivatives there."""
    n = len(knots)
    bend = np.zeros((n, n))
    if n > 2:
        difference, band = _curvature(knots)
        bend[1:-1] = np.linalg.solve(band, difference)
    return bend


def wiggliness(knots: Floats) -> Floats:
    """Matrix S such that a curve with knot values c has integrated squared bend c'Sc."""
    if len(knots) <= 2:
        return np.zeros((len(knots), len(knots)))
    difference, band = _curvature(knots)
    penalty: Floats = difference.T @ np.linalg.solve(band, difference)
    return penalty


def _curvature(knots: Floats) -> tuple[Floats, Floats]:
    n, h = len(knots), np.diff(knots)
    difference, band = np.zeros((n - 2, n)), np.zeros((n - 2, n - 2))
    for i in range(n - 2):
        difference[i, i : i + 3] = 1 / h[i], -1 / h[i] - 1 / h[i + 1], 1 / h[i + 1]
        band[i, i] = (h[i] + h[i + 1]) / 3.0
        if i + 1 < n - 2:
            band[i, i + 1] = band[i + 1, i] = h[i + 1] / 6.0
    return difference, band


@dataclass(frozen=True, eq=False)
class SplineModel:
    """Sums of curves, one sum an output.

    Attributes
    ----------
    intercept
        Shape (n_outputs,).
    coefficients
        Knot values, shape (width, n_outputs).
    """

    basis: SplineBasis
    intercept: Floats
    coefficients: Floats

    def predict(self, features: Floats) -> Floats:
        """Predict, shape (n, n_outputs)."""
        values: Floats = self.intercept + self.basis.columns(features) @ self.coefficients
        return values

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays."""
        return {
            "lengths": np.array([len(k) for k in self.basis.knots], np.int32),
            "knots": np.concatenate([*self.basis.knots, np.zeros(0)]),
            "intercept": self.intercept,
            "coefficients": self.coefficients,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_features: int, n_outputs: int) -> SplineModel:
        """Read `to_arrays` back.

        Raises
        ------
        InputError
            An array is absent or not usable.
        """
        from metabench_py.stack.arrays import take

        lengths = take(arrays, "lengths", (n_features,), "iu")
        if (lengths < 0).any() or (lengths == 1).any() or (lengths > 1000).any():
            raise InputError("The stack's splines have unusable numbers of knots.")
        width = int(lengths.sum())
        joined = take_floats(arrays, "knots", (width,))
        knots = tuple(np.split(joined, np.cumsum(lengths)[:-1]))
        if any((np.diff(k) <= 0).any() for k in knots):
            raise InputError("The stack's spline knots do not ascend.")
        return cls(
            SplineBasis(knots),
            take_floats(arrays, "intercept", (n_outputs,)),
            take_floats(arrays, "coefficients", (width, n_outputs)),
        )
