"""Abilities at a mode: MAP, ML and WLE, by an ascent that stays in its basin.

Posteriors under large or negative slopes can have several modes; mirt takes the local one that its
search reaches from the EAP, so every step here goes uphill from there and none is long enough to
cross a valley unseen. Warm (1989) for WLE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import LOGIT_LIMIT, Floats, ItemParameters
from metabench_py.irt.native.quadrature import START_NODES, eap
from metabench_py.responses import MISSING

Criterion = Literal["MAP", "ML", "WLE"]

# mirt searches within these bounds, and calls an ML estimate infinite beyond this SE.
THETA_LIMIT = 20.0
INFINITE_SE = 30.0
# R's nlm stops on such a relative gradient, before it comes to the bound.
_FLAT_GRADIENT = 1e-6
# R's nlm differentiates forward, by this step times max(|theta|, 1), so mirt's estimates lie
# half a step below the mode. At the edge of a steep GAM the third decimal of a score shows it.
_FORWARD_STEP = 1e-6
# Its second derivatives are of the points ahead, one such step times max(theta, 1) from each other,
# so that they hold for one step ahead of the mode.
_HESSIAN_STEP = 1e-4
_LONGEST_STEP = 0.25
_MAX_ITERATIONS = 400
_GRADIENT_TOLERANCE = 1e-9
_STEP_TOLERANCE = 1e-11
# A curvature above this where the gradient is none: the bottom of a valley, no mode.
_VALLEY = 1e-6
# LLMs x items at once: a dozen arrays of 4 MB, so that they stay near the cache.
_CHUNK_CELLS = 500_000


@dataclass(frozen=True, eq=False)
class _Point:
    """Objective and its first two derivatives at a theta an LLM, shape (n,)."""

    value: Floats
    gradient: Floats
    curvature: Floats


def find_modes(
    values: NDArray[np.int8], parameters: ItemParameters, criterion: Criterion
) -> tuple[Floats, Floats]:
    """Estimate theta and its standard error, both of shape (n_llms,).

    The standard error is from the curvature of the criterion itself at the mode. LLMs without an
    answer get the prior under MAP and NaN under ML and WLE.
    """
    theta = np.empty(len(values))
    se = np.empty(len(values))
    step = max(1, _CHUNK_CELLS // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        theta[part], se[part] = _ascend(values[part], parameters, criterion)
    silent = (values == MISSING).all(axis=1)
    # Without an answer there is no search, but the prior's own mode.
    inside = (np.abs(theta) < THETA_LIMIT) & ~silent
    theta[inside] -= 0.5 * _FORWARD_STEP * np.maximum(np.abs(theta[inside]), 1.0)
    if criterion != "MAP":
        theta[silent] = np.nan
        se[silent] = np.nan
    if criterion == "ML":
        _mark_infinite(values, parameters, theta, se)
    return theta, se


def _mark_infinite(
    values: NDArray[np.int8], parameters: ItemParameters, theta: Floats, se: Floats
) -> None:
    """All wrong is -Inf, all right Inf, and so is what the data do not pin down.

    A search that is still climbing at the upper bound stays there, with an infinite standard
    error: mirt's forward differences leave the bounds there and give it no standard error to
    tell; at the lower bound they do not.
    """
    answered = (values != MISSING).any(axis=1)
    vague = answered & ((se > INFINITE_SE) | np.isnan(se))
    edge = np.flatnonzero(answered & (theta >= THETA_LIMIT))
    if edge.size:
        there = _objective(values[edge], parameters, theta[edge], "ML")
        relative = np.abs(there.gradient) * THETA_LIMIT / np.maximum(np.abs(there.value), 1.0)
        vague[edge] = relative <= _FLAT_GRADIENT
        se[edge] = np.inf
    theta[vague] = np.copysign(np.inf, theta[vague])
    se[vague] = np.inf
    for wrong, infinite in ((1, -np.inf), (0, np.inf)):
        extreme = answered & (values != wrong).all(axis=1)
        theta[extreme] = infinite
        se[extreme] = np.inf


def _ascend(
    values: NDArray[np.int8], parameters: ItemParameters, criterion: Criterion
) -> tuple[Floats, Floats]:
    theta, _ = eap(values, parameters, START_NODES)
    at = _objective(values, parameters, theta, criterion)
    active = np.arange(len(values))
    for _ in range(_MAX_ITERATIONS):
        step = _newton_step(at)
        # Items that mirror each other may put the EAP on the bottom of a valley.
        valley = (at.curvature > _VALLEY) & (np.abs(theta[active]) < THETA_LIMIT)
        climbing = (np.abs(at.gradient) > _GRADIENT_TOLERANCE) | valley
        moving = climbing & (np.abs(step) > _STEP_TOLERANCE)
        active = active[moving]
        if not active.size:
            break
        at = _Point(at.value[moving], at.gradient[moving], at.curvature[moving])
        theta[active], at = _climb(
            values[active], parameters, criterion, theta[active], step[moving], at
        )
    beyond = theta + _HESSIAN_STEP * np.maximum(theta, 1.0)
    curvature = _objective(values, parameters, beyond, criterion).curvature
    with np.errstate(invalid="ignore", divide="ignore"):
        se = 1.0 / np.sqrt(-curvature)
    return theta, se


def _newton_step(at: _Point) -> Floats:
    """Newton's step where the objective is concave, else a step uphill; never a long one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        uphill = np.where(at.gradient < 0, -1.0, 1.0)
        step = np.where(at.curvature < 0, -at.gradient / at.curvature, uphill)
    return np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)


def _climb(
    values: NDArray[np.int8],
    parameters: ItemParameters,
    criterion: Criterion,
    theta: Floats,
    step: Floats,
    at: _Point,
) -> tuple[Floats, _Point]:
    """Take the step, halved for those LLMs whose objective would fall."""
    new = np.clip(theta + step, -THETA_LIMIT, THETA_LIMIT)
    there = _objective(values, parameters, new, criterion)
    # Rounding of a sum of logs of this size.
    slack = 1e-13 * (1.0 + np.abs(at.value))
    for _ in range(40):
        fell = np.flatnonzero(~(there.value >= at.value - slack))
        if not fell.size:
            break
        step[fell] *= 0.5
        new[fell] = np.clip(theta[fell] + step[fell], -THETA_LIMIT, THETA_LIMIT)
        again = _objective(values[fell], parameters, new[fell], criterion)
        there.value[fell] = again.value
        there.gradient[fell] = again.gradient
        there.curvature[fell] = again.curvature
    # At the bound there is nowhere to go.
    there.gradient[np.abs(new) >= THETA_LIMIT] = 0.0
    return new, there


def _objective(
    values: NDArray[np.int8], parameters: ItemParameters, theta: Floats, criterion: Criterion
) -> _Point:
    a1, span = parameters.a1, parameters.u - parameters.g
    logit = np.multiply.outer(theta, a1)
    logit += parameters.d
    np.clip(logit, -LOGIT_LIMIT, LOGIT_LIMIT, out=logit)
    if criterion != "WLE" and not parameters.g.any() and (parameters.u == 1).all():
        value, gradient, curvature = _two_parameters(values, a1, logit)
        if criterion == "MAP":
            _add_prior(theta, value, gradient, curvature)
        return _Point(value, gradient, curvature)
    odds = np.exp(np.negative(logit, out=logit), out=logit)
    share = 1.0 / (1.0 + odds)
    rest = np.multiply(odds, share, out=odds)
    right = parameters.g + span * share
    wrong = (1.0 - parameters.u) + span * rest
    slope = (a1 * span) * (share * rest)
    bend = (a1 * slope) * (rest - share)

    # What was observed: P(right), P(wrong), or nothing (probability 1, no slope).
    sign = values + (values - 1)  # 1 right, -1 wrong, -3 missing
    sign[values == MISSING] = 0
    observed = np.where(values == 1, right, wrong)
    observed[values == MISSING] = 1.0
    relative = sign * slope / observed
    value = np.log(observed).sum(axis=1)
    gradient = relative.sum(axis=1)
    curvature = (sign * bend / observed).sum(axis=1) - np.einsum("ij,ij->i", relative, relative)
    if criterion == "MAP":
        _add_prior(theta, value, gradient, curvature)
    elif criterion == "WLE":
        third = (a1**3 * span) * (share * rest) * (1.0 - 6.0 * share * rest)
        _add_information(values, right, wrong, slope, bend, third, value, gradient, curvature)
    return _Point(value, gradient, curvature)


def _two_parameters(
    values: NDArray[np.int8], a1: Floats, logit: Floats
) -> tuple[Floats, Floats, Floats]:
    """Log-likelihood and derivatives of the 2PL, where the general ones simplify."""
    answered = values != MISSING
    # The logit is clipped, so this does not overflow.
    odds = np.exp(logit)
    rest = 1.0 / (1.0 + odds)
    share = odds * rest
    residual = values - share
    weight = share * rest
    value = np.where(values == 1, logit, 0.0)
    value -= np.log1p(odds, out=odds)
    if not answered.all():
        for part in (residual, weight, value):
            part[~answered] = 0.0
    return value.sum(axis=1), residual @ a1, -(weight @ a1**2)


def _add_prior(theta: Floats, value: Floats, gradient: Floats, curvature: Floats) -> None:
    """Add the log of the standard normal prior, without its constant."""
    value -= 0.5 * theta**2
    gradient -= theta
    curvature -= 1.0


def _add_information(
    values: NDArray[np.int8],
    right: Floats,
    wrong: Floats,
    slope: Floats,
    bend: Floats,
    third: Floats,
    value: Floats,
    gradient: Floats,
    curvature: Floats,
) -> None:
    """Add half the log of the answered items' information, with derivatives.

    mirt's WLE: its mode is Warm's (1989) estimate for the 2PL, and near it for the 3PL and 4PL.
    """
    spread = right * wrong
    tilt = slope * (wrong - right)
    turn = bend * (wrong - right) - 2.0 * slope**2
    first = 2.0 * slope * bend / spread - slope**2 * tilt / spread**2
    second = (
        2.0 * (bend**2 + slope * third) / spread
        - 4.0 * slope * bend * tilt / spread**2
        - slope**2 * turn / spread**2
        + 2.0 * slope**2 * tilt**2 / spread**3
    )
    answered = values != MISSING
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.where(answered, slope**2 / spread, 0.0).sum(axis=1)
        d1 = np.where(answered, first, 0.0).sum(axis=1) / total
        d2 = np.where(answered, second, 0.0).sum(axis=1) / total
        value += 0.5 * np.log(total)
    gradient += 0.5 * d1
    curvature += 0.5 * (d2 - d1**2)
