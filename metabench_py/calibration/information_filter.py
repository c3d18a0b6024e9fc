"""Information filtering: for each interval of ability, the item that tells most there.

Kipnis et al. (2025), metabench, section on item selection. Two grids: the LLMs' own abilities, so
that crowded abilities get more items, or equally spaced points over their range.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats, ItemParameters, information

GridType = Literal["quantiles", "range"]
GRID_TYPES: tuple[GridType, ...] = get_args(GridType)
# R's allowance for rounding when it looks for a quantile's place.
_FUZZ = 4 * float(np.finfo(np.float64).eps)


def quantiles_type4(values: ArrayLike, shares: ArrayLike) -> Floats:
    """Quantiles by linear interpolation of the empirical distribution, R's type 4.

    Parameters
    ----------
    values
        Shape (n,), finite, n at least 1.
    shares
        Between 0 and 1, shape (m,).

    Returns
    -------
    Shape (m,), bit by bit what ``stats::quantile(values, shares, type = 4)`` gives.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    place = len(x) * np.asarray(shares, dtype=np.float64)
    below = np.floor(place + _FUZZ).astype(np.int64)
    part = place - below
    part[np.abs(part) < _FUZZ] = 0.0
    padded = np.concatenate([x[:1], x[:1], x, x[-1:], x[-1:]])
    low, high = padded[below + 1], padded[below + 2]
    result = low.copy()
    between = (part > 0) & (part < 1) & (low != high)
    result[between] = ((1.0 - part) * low + part * high)[between]
    return result


def theta_grid(theta: ArrayLike, grid: GridType, n_bins: int) -> Floats:
    """Abilities at which information is looked at, sorted.

    Parameters
    ----------
    theta
        Abilities of the training LLMs, shape (n,), finite.
    grid
        ``quantiles``: these abilities themselves; ``range``: `n_bins` points, equally spaced
        from the lowest to the highest.
    """
    at = np.asarray(theta, dtype=np.float64)
    if grid == "quantiles":
        return np.sort(at)
    low, high = float(at.min()), float(at.max())
    step = (high - low) / max(n_bins - 1, 1)
    inner = low + np.arange(1, n_bins - 1) * step
    return np.concatenate([[low], inner, [high]])[:n_bins]


def bin_maxima(parameters: ItemParameters, grid: Floats, n_bins: int) -> Floats:
    """Largest information of every item in each interval between quantiles of the grid.

    Parameters
    ----------
    grid
        Sorted abilities, shape (n,).
    n_bins
        Intervals; they are closed on the left, so the highest ability is in none.

    Returns
    -------
    Shape (n_bins, n_items); -inf where an interval is empty.
    """
    edges = quantiles_type4(grid, np.arange(n_bins + 1) / n_bins)
    at = np.searchsorted(grid, edges, side="left")
    result = np.full((n_bins, len(parameters.items)), -np.inf)
    filled = np.flatnonzero(at[1:] > at[:-1])
    if filled.size:
        inside = information(parameters, grid[: at[-1]])
        # Empty intervals have no row, so each filled one ends where the next begins.
        result[filled] = np.maximum.reduceat(inside, at[filled], axis=0)
    return result


def filter_items(maxima: Floats, threshold: float = 0.0, budget: int | None = None) -> list[int]:
    """Take the best remaining item of each interval, from the lowest ability to the highest.

    Parameters
    ----------
    maxima
        As `bin_maxima` gives them.
    threshold
        An item counts only where its information is at least this.
    budget
        Stop at so many items, and go over the intervals again until there are so many (or no
        item is left). None: once over all intervals.

    Returns
    -------
    Columns in the order of selection. Of equally informative items the first column wins.

    Raises
    ------
    InputError
        The threshold or the budget is not usable.
    """
    if not math.isfinite(threshold) or threshold < 0:
        raise InputError(f"The threshold must be 0 or more, not {threshold!r}.")
    if budget is not None and budget < 1:
        raise InputError(f"A budget of {budget} items is too small; take 1 or more.")
    left = np.where(maxima >= threshold, maxima, -np.inf)
    chosen: list[int] = []
    most = left.shape[1] if budget is None else budget
    while len(chosen) < most:
        found = _once(left, most - len(chosen))
        chosen += found
        if budget is None or not found:
            break
    return chosen


def _once(left: NDArray[np.float64], most: int) -> list[int]:
    """Go over the intervals once; marks what it takes."""
    chosen: list[int] = []
    for row in left:
        if len(chosen) == most:
            break
        best = int(np.argmax(row))
        if row[best] > -np.inf:
            chosen.append(best)
            left[:, best] = -np.inf
    return chosen


def information_subsets(parameters: ItemParameters, theta: Floats, n_items: int) -> list[list[int]]:
    """Give fixed subsets of a size by both grids, once or several times over them.

    Parameters
    ----------
    theta
        Abilities of the LLMs, shape (n_llms,).

    Returns
    -------
    Positions of items; no subset twice.
    """
    found = []
    for passes in (1, 2, 3, 5):
        n_bins = max(1, -(-n_items // passes))
        for kind in GRID_TYPES:
            # Intervals of a range without LLMs are empty unless the grid is fine.
            grid = theta_grid(theta, kind, n_bins if kind == "quantiles" else 20 * n_bins)
            found.append(filter_items(bin_maxima(parameters, grid, n_bins), budget=n_items))
    return list({tuple(sorted(chosen)): chosen for chosen in found}.values())
