"""The marginal log-likelihood of unbounded item parameters: value, gradient, curvature.

The gradient is that of the expected complete-data log-likelihood (Fisher's identity: Louis 1982),
so one E-step gives both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metabench_py.irt.model import LOGIT_LIMIT, Floats
from metabench_py.irt.native.counts import Expectation, Patterns
from metabench_py.irt.native.quadrature import NODES, grid

# Between two nodes, 0.2 apart, a slope of 10 moves the logit by 2; the data say nothing on more.
SLOPE_LIMIT = 10.0
# Asymptotes closer to 0 and 1 than this are 0 and 1 to any number of LLMs.
_ASYMPTOTE_LIMIT = 30.0
# Expected counts below this are rounding.
_NEGLIGIBLE = 1e-12


@dataclass(frozen=True, eq=False)
class Curves:
    """Item parameters of free coordinates, shape (n_items,) each.

    Attributes
    ----------
    a, d, g, u
        Slope, intercept, asymptotes.
    above
        1 - u, without cancellation.
    jacobian
        Derivatives of a, d, g, u by the coordinates, shape (n_items, 4, size).
    """

    a: Floats
    d: Floats
    g: Floats
    u: Floats
    above: Floats
    jacobian: Floats

    @classmethod
    def of(cls, z: Floats) -> Curves:
        """Compute them.

        a = 10 tanh(z0 / 10), d = z1, g = logistic(z2), u = g + (1 - g) logistic(z3): slopes stay
        within 10 and u above g wherever the search goes.
        """
        n, size = z.shape
        a = SLOPE_LIMIT * np.tanh(z[:, 0] / SLOPE_LIMIT)
        jacobian = np.zeros((n, 4, size))
        jacobian[:, 0, 0] = 1.0 - (a / SLOPE_LIMIT) ** 2
        jacobian[:, 1, 1] = 1.0
        g, below, u = np.zeros(n), np.ones(n), np.ones(n)
        share, rest = np.ones(n), np.zeros(n)
        if size > 2:
            g, below = _logistic(z[:, 2])
            jacobian[:, 2, 2] = g * below
        if size > 3:
            share, rest = _logistic(z[:, 3])
            u = np.minimum(g + below * share, 1.0)
            jacobian[:, 3, 2] = g * below * rest
            jacobian[:, 3, 3] = below * share * rest
        return cls(a, z[:, 1].copy(), g, u, below * rest, jacobian)


def coordinates(a: Floats, d: Floats, g: Floats, u: Floats, size: int) -> Floats:
    """Give the free coordinates of parameters, shape (n_items, size)."""
    z = np.empty((len(a), size))
    z[:, 0] = SLOPE_LIMIT * np.arctanh(np.clip(a / SLOPE_LIMIT, -0.999, 0.999))
    z[:, 1] = d
    with np.errstate(divide="ignore"):
        if size > 2:
            z[:, 2] = np.log(g) - np.log1p(-g)
        if size > 3:
            z[:, 3] = np.log(u - g) - np.log1p(-u)
    return np.clip(z, -_ASYMPTOTE_LIMIT, _ASYMPTOTE_LIMIT) if size > 2 else z


def _logistic(x: Floats) -> tuple[Floats, Floats]:
    """Logistic function, and one minus it."""
    odds = np.exp(-np.abs(x))
    large, small = 1.0 / (1.0 + odds), odds / (1.0 + odds)
    return np.where(x >= 0, large, small), np.where(x >= 0, small, large)


@dataclass(frozen=True, eq=False)
class Point:
    """The marginal log-likelihood at some coordinates, per LLM and negated.

    Attributes
    ----------
    z
        Coordinates, shape (n_items, size).
    value
        Minus log-likelihood per LLM.
    gradient
        Its derivatives, shape (n_items, size).
    information
        Complete-data information per LLM of each item, shape (n_items, size, size).
    """

    z: Floats
    value: float
    gradient: Floats
    information: Floats


class Marginal:
    """The objective over some response patterns."""

    def __init__(self, patterns: Patterns) -> None:
        self._expectation = Expectation(patterns)
        self.n = patterns.n_llms
        self.nodes, _ = grid(NODES)

    def at(self, z: Floats, *, anew: bool = False) -> Point:
        """Evaluate it; `anew` makes the E-step forget its windows."""
        curves = Curves.of(z)
        logit = np.multiply.outer(curves.a, self.nodes) + curves.d[:, None]
        np.clip(logit, -LOGIT_LIMIT, LOGIT_LIMIT, out=logit)
        share, rest = _logistic(logit)
        span = (curves.u - curves.g)[:, None]
        right = curves.g[:, None] + span * share
        wrong = curves.above[:, None] + span * rest
        counts = self._expectation(np.log(right), np.log(wrong), anew=anew)
        pull = counts.right / right - counts.wrong / wrong
        steep = span * share * rest
        # Derivatives of P by a, d, g, u, shape (4, n_items, n_nodes).
        by = np.stack([steep * self.nodes, steep, rest, share])
        natural = np.einsum("kiq,iq->ik", by, pull)
        people = counts.right + counts.wrong
        weight = np.where(people > _NEGLIGIBLE, people / (right * wrong), 0.0)
        outer = np.einsum("kiq,liq,iq->ikl", by, by, weight)
        jacobian = curves.jacobian
        gradient = -np.einsum("iks,ik->is", jacobian, natural) / self.n
        information = np.einsum("iks,ikl,ilt->ist", jacobian, outer, jacobian) / self.n
        return Point(z, -counts.log_likelihood / self.n, gradient, information)
