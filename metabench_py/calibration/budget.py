"""A total number of items, shared out over benchmarks so that the grand score gains most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metabench_py.errors import InputError

LEAST = 10
_STEP = 1.6


@dataclass(frozen=True)
class ErrorCurve:
    """Squared error by number of items: floor + slope / n.

    Attributes
    ----------
    floor, slope
        Of the least-squares curve; both 0 or more.
    available
        Items that there are.
    """

    floor: float
    slope: float
    available: int


def trial_sizes(available: int, least: int = LEAST) -> list[int]:
    """Sizes at which to measure the error, from `least` up to all items, about evenly in log."""
    sizes = []
    size = float(min(least, available))
    while size < available:
        sizes.append(round(size))
        size *= _STEP
    return [*sizes, available]


def error_curve(sizes: Sequence[int], rmse: Sequence[float], available: int) -> ErrorCurve:
    """Fit squared error = floor + slope / n to some measured sizes."""
    inverse = 1.0 / np.asarray(sizes, np.float64)
    square = np.asarray(rmse, np.float64) ** 2
    design = np.column_stack([np.ones_like(inverse), inverse])
    floor, slope = np.linalg.lstsq(design, square, rcond=None)[0]
    if slope < 0:
        floor, slope = float(square.mean()), 0.0
    elif floor < 0:
        floor, slope = 0.0, float(inverse @ square / (inverse @ inverse))
    return ErrorCurve(float(floor), float(slope), available)


def share_out(curves: Mapping[str, ErrorCurve], total: int, least: int = LEAST) -> dict[str, int]:
    """Give each benchmark its number of items.

    Minimises the sum of squared errors, that is, the error of the grand score if the benchmarks'
    errors are independent. Each item goes where it lowers this sum most.

    Parameters
    ----------
    total
        Items in all.
    least
        Of each benchmark (or all that it has).

    Raises
    ------
    InputError
        The total is too small for so many benchmarks.
    """
    shares = {name: min(least, curve.available) for name, curve in curves.items()}
    left = total - sum(shares.values())
    if left < 0:
        raise InputError(
            f"A total of {total} items is too small for {len(curves)} benchmarks of {least} items "
            f"each; take {sum(shares.values())} or more.",
            total=total,
        )
    for _ in range(left):
        gains = {
            name: curve.slope / shares[name] - curve.slope / (shares[name] + 1)
            if shares[name] < curve.available
            else -math.inf
            for name, curve in curves.items()
        }
        best = max(gains, key=lambda name: (gains[name], -shares[name]))
        if gains[best] == -math.inf:
            break
        shares[best] += 1
    return shares
