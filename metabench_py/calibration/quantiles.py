"""Quantiles to the last bit as R computes them: cuts at them decide who is where."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metabench_py.irt.model import Floats


def quantiles(values: Floats, shares: Sequence[float]) -> Floats:
    """R's ``quantile(values, shares)``, its type 7.

    Parameters
    ----------
    values
        Shape (n,), finite, n at least 1.
    shares
        Each from 0 to 1.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    found = []
    for share in shares:
        # R counts from 1, and the rounding of its index is part of the result.
        index = 1 + (len(ordered) - 1) * share
        low, high = math.floor(index), math.ceil(index)
        below, above, rest = ordered[low - 1], ordered[high - 1], index - low
        found.append(below if above == below else (1 - rest) * below + rest * above)
    return np.array(found, np.float64)
