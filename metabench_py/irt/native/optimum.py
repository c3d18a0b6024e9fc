"""The mode ``converged``: item parameters at a true optimum of the marginal likelihood.

Limited-memory BFGS (Nocedal 1980) that starts each direction from the complete-data information
of every item: the first step is an EM step (Jamshidian & Jennrich 1997), the later ones learn what
the E-step hides.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats
from metabench_py.irt.native.counts import Patterns
from metabench_py.irt.native.marginal import SLOPE_LIMIT, Curves, Marginal, Point, coordinates
from metabench_py.irt.native.path import start_values

# The largest derivative per LLM at the optimum, as a share of the tolerance on parameters.
GRADIENT_SHARE = 1e-3
_MEMORY = 30
_ARMIJO = 1e-4
_SHRINK = 0.3
_SHORTEST = 1e-10
# A curve is as steep as allowed, from here.
_AT_LIMIT = 0.99 * SLOPE_LIMIT
# An item's information is damped until its own step moves no coordinate further than this; an
# item that runs away (an asymptote towards 0) would else hold back all others.
_ITEM_STEP = 0.5
_DAMPING = 1e-6
_LONGEST = 2.0
# So many EM steps for each asymptote before the search learns: with asymptotes the first steps are
# long, and tell little of the end.
_WARM_UP = 15


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the search ended.

    Attributes
    ----------
    curves
        The item parameters.
    iterations
        E-steps.
    gradient_norm
        Largest absolute derivative of the log-likelihood per LLM.
    """

    curves: Curves
    log_likelihood: float
    iterations: int
    converged: bool
    gradient_norm: float


def maximise(patterns: Patterns, size: int, tolerance: float, max_iterations: int) -> Optimum:
    """Maximise the marginal likelihood from mirt's starting values.

    Parameters
    ----------
    tolerance
        The search ends where no derivative per LLM exceeds a thousandth of it.
    max_iterations
        E-steps at most.

    Raises
    ------
    ConvergenceError
        The likelihood is no number at the start.
    """
    marginal = Marginal(patterns)
    point = marginal.at(_start(patterns, size))
    if not math.isfinite(point.value):
        raise ConvergenceError("The log-likelihood of the starting values is not finite.")
    search = _Memory()
    iterations = 1
    while iterations < max_iterations and _norm(point) > GRADIENT_SHARE * tolerance:
        step = search.direction(point)
        found, used = _line_search(marginal, point, step, max_iterations - iterations)
        iterations += used
        if found is None:
            if not search.forget():
                break
            continue
        if iterations > _WARM_UP * (size - 2):
            search.learn(point, found)
        point = found
    final = marginal.at(point.z, anew=True)
    norm = _norm(final)
    return Optimum(
        curves=Curves.of(final.z),
        log_likelihood=-final.value * marginal.n,
        iterations=iterations,
        converged=norm <= GRADIENT_SHARE * tolerance,
        gradient_norm=norm,
    )


def steep_items(curves: Curves) -> list[int]:
    """Items whose slope is at its bound."""
    return [int(i) for i in np.flatnonzero(np.abs(curves.a) > _AT_LIMIT)]


def _start(patterns: Patterns, size: int) -> Floats:
    rows = start_values(patterns, size)
    g = 1.0 / (1.0 + np.exp(-rows[:, 2])) if size > 2 else np.zeros(len(rows))
    u = 1.0 / (1.0 + np.exp(-rows[:, 3])) if size > 3 else np.ones(len(rows))
    return coordinates(rows[:, 0], rows[:, 1], g, u, size)


def _norm(point: Point) -> float:
    return float(np.abs(point.gradient).max())


def _line_search(
    marginal: Marginal, point: Point, step: Floats, budget: int
) -> tuple[Point | None, int]:
    """Backtrack along `step`; None where nothing is gained."""
    slope = float(np.sum(point.gradient * step))
    if not slope < 0.0:
        return None, 0
    length = 1.0
    used = 0
    # What rounding in a sum over LLMs may hide.
    noise = 1e-13 * abs(point.value)
    while used < budget and length > _SHORTEST:
        found = marginal.at(point.z + length * step)
        used += 1
        if found.value <= point.value + _ARMIJO * length * slope + noise and (
            found.value < point.value or _norm(found) < _norm(point)
        ):
            return found, used
        length *= _SHRINK
    return None, used


class _Memory:
    """Recent steps and changes of the gradient."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=_MEMORY)

    def learn(self, before: Point, after: Point) -> None:
        """Keep a step that shows positive curvature."""
        step, change = after.z - before.z, after.gradient - before.gradient
        curvature = float(np.sum(step * change))
        if curvature > 1e-10 * float(np.linalg.norm(step) * np.linalg.norm(change)):
            self._pairs.append((step, change, curvature))

    def forget(self) -> bool:
        """Empty the memory; False if it was empty."""
        known = bool(self._pairs)
        self._pairs.clear()
        return known

    def direction(self, point: Point) -> Floats:
        """Two-loop recursion around the items' damped inverse information."""
        inverse = _damped_inverse(point.information, point.gradient)
        result = -point.gradient
        weights = []
        for step, change, curvature in reversed(self._pairs):
            weight = float(np.sum(step * result)) / curvature
            result = result - weight * change
            weights.append(weight)
        result = np.einsum("ist,it->is", inverse, result)
        for (step, change, curvature), weight in zip(self._pairs, reversed(weights), strict=True):
            result = result + (weight - float(np.sum(change * result)) / curvature) * step
        return np.clip(result, -_LONGEST, _LONGEST)


def _damped_inverse(information: Floats, gradient: Floats) -> Floats:
    """Inverse of each item's information, damped (Levenberg 1944) until its step is short."""
    size = gradient.shape[1]
    diagonal = np.einsum("iss->is", information)
    scale = np.maximum(diagonal, 1e-4 * diagonal.max(axis=1, keepdims=True) + 1e-12)
    damping = np.full(len(gradient), _DAMPING)
    inverse = np.empty_like(information)
    open_items = np.arange(len(gradient))
    while open_items.size:
        added = (damping[open_items, None] * scale[open_items])[:, :, None] * np.eye(size)
        inverse[open_items] = np.linalg.inv(information[open_items] + added)
        step = np.einsum("ist,it->is", inverse[open_items], gradient[open_items])
        open_items = open_items[np.abs(step).max(axis=1) > _ITEM_STEP]
        damping[open_items] *= 4.0
    return inverse
