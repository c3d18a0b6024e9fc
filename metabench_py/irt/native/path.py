"""The EM of mirt, cycle by cycle: same starts, same M-steps, same acceleration, same stop.

Bock & Aitkin (1981) for EM; Ramsay (1975) for the acceleration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from metabench_py.benchmarks import ItemType
from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats
from metabench_py.irt.native import bfgs
from metabench_py.irt.native.counts import Counts, Expectation, Patterns
from metabench_py.irt.native.objective import asymptotes, log_curves
from metabench_py.irt.native.quadrature import NODES, grid

# Parameters an item: slope, intercept, lower, upper asymptote.
SIZES: dict[ItemType, int] = {"2PL": 2, "3PL": 3, "4PL": 4}

_START_SLOPE = 0.851
_START_SCALE = 1.702 / math.sqrt(0.75)
_START_LOWER = 0.15
_START_UPPER = 0.85
_FIRST_RATE = 0.4
_ACCELERATE_EVERY = 3
_SLOWEST_ACCELERATED = 0.01
_MOST_ACCELERATION = -5.0


@dataclass(frozen=True, eq=False)
class Estimate:
    """Where a search ended.

    Attributes
    ----------
    rows
        Slope, intercept, logits of the asymptotes; shape (n_items, 2 to 4).
    gradient_norm
        Largest absolute derivative of the log-likelihood per LLM, by these.
    """

    rows: Floats
    log_likelihood: float
    iterations: int
    converged: bool
    gradient_norm: float


def start_values(patterns: Patterns, size: int) -> Floats:
    """Give mirt's starting values, shape (n_items, size).

    The intercept is from the share of LLMs with a wrong answer; those without an answer count in
    the denominator.
    """
    inverse = NormalDist().inv_cdf
    rows = np.empty((patterns.n_items, size))
    rows[:, 0] = _START_SLOPE
    rows[:, 1] = [-inverse(share) * _START_SCALE for share in patterns.n_wrong / patterns.n_llms]
    for column, start in ((2, _START_LOWER), (3, _START_UPPER)):
        if column < size:
            rows[:, column] = math.log(start / (1.0 - start))
    return rows


def follow(patterns: Patterns, size: int, tolerance: float, max_cycles: int) -> Estimate:
    """Run mirt's EM.

    Raises
    ------
    ConvergenceError
        The likelihood is no number any more.
    """
    nodes, _ = grid(NODES)
    expectation = Expectation(patterns)
    x = start_values(patterns, size).ravel()
    before = x
    rate = _FIRST_RATE
    last = -math.inf
    converged = False
    cycle = 0
    while cycle < max_cycles and not converged:
        cycle += 1
        counts = _expect(expectation, x, size, cycle)
        if cycle > 1 and counts.log_likelihood > last:
            rate = math.exp(last - counts.log_likelihood)
        last = counts.log_likelihood
        earlier, before = before, x
        limit = max(math.ceil(50 * rate), 15)
        x = bfgs.minimise(before, size, nodes, counts.right, counts.wrong, limit)
        converged = bool(_movement(before, x, size) < tolerance)
        if not converged and cycle % _ACCELERATE_EVERY == 0 and rate > _SLOWEST_ACCELERATED:
            x = _accelerate(earlier, before, x)
    final = _expect(expectation, x, size, cycle, anew=True)
    norm = bfgs.largest_derivative(x, size, nodes, final.right, final.wrong) / patterns.n_llms
    return Estimate(x.reshape(-1, size), final.log_likelihood, cycle, converged, norm)


def _expect(
    expectation: Expectation, x: Floats, size: int, cycle: int, *, anew: bool = False
) -> Counts:
    nodes, _ = grid(NODES)
    counts = expectation(*log_curves(x, size, nodes), anew=anew)
    if not math.isfinite(counts.log_likelihood):
        raise ConvergenceError(
            f"The log-likelihood is {counts.log_likelihood} in cycle {cycle}; use a smaller item "
            "type (2PL), or leave out items that almost all LLMs answer alike.",
            cycle=cycle,
        )
    return counts


def _movement(before: Floats, after: Floats, size: int) -> float:
    """Largest change of a parameter, asymptotes as probabilities."""
    old, new = before.reshape(-1, size), after.reshape(-1, size)
    moved = np.abs(old[:, :2] - new[:, :2]).max()
    for one, other in zip(asymptotes(old), asymptotes(new), strict=True):
        moved = max(moved, np.abs(one - other).max())
    return float(moved)


def _accelerate(earlier: Floats, before: Floats, after: Floats) -> Floats:
    """Extrapolate three successive points (Ramsay 1975)."""
    step = after - before
    bend = step - (before - earlier)
    ratio = math.sqrt((step @ step) / (bend @ bend))
    weight = max(1.0 - ratio, _MOST_ACCELERATION)
    return (1.0 - weight) * after + weight * before
