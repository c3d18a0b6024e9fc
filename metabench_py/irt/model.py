"""The item model: four-parameter logistic, as mirt parameterises it.

P(right | theta) = g + (u - g) / (1 + exp(-(a1 * theta + d)))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.errors import InputError

Floats = NDArray[np.float64]

# mirt clips the logit here before exponentiating.
LOGIT_LIMIT = 35.0


@dataclass(frozen=True, eq=False)
class ItemParameters:
    """Parameters of some items; all arrays have shape (n_items,).

    Attributes
    ----------
    items
        Item ids.
    a1
        Discrimination (slope) in logits per unit of theta; may be negative.
    d
        Easiness intercept in logits (not a difficulty: see `difficulty`).
    g, u
        Lower and upper asymptote, probabilities, g < u.
    """

    items: tuple[str, ...]
    a1: Floats
    d: Floats
    g: Floats
    u: Floats

    def __post_init__(self) -> None:
        n = len(self.items)
        for name in ("a1", "d", "g", "u"):
            values = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if values.shape != (n,) or not np.isfinite(values).all():
                raise InputError(
                    f"Item parameter {name} must be {n} finite numbers, one an item.",
                    parameter=name,
                )
            object.__setattr__(self, name, values)
        bad = ~((self.g >= 0) & (self.g < self.u) & (self.u <= 1))
        if bad.any():
            item = self.items[int(np.argmax(bad))]
            raise InputError(f"Item {item!r}: asymptotes must satisfy 0 <= g < u <= 1.", item=item)

    @property
    def difficulty(self) -> Floats:
        """Difficulty b = -d / a1: the theta at the curve's steepest point."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return -self.d / self.a1

    def select(self, items: Sequence[str]) -> ItemParameters:
        """Take these items, in this order."""
        position = {item: i for i, item in enumerate(self.items)}
        absent = [item for item in items if item not in position]
        if absent:
            raise InputError(f"No parameters for item {absent[0]!r}.", items=absent)
        at = [position[item] for item in items]
        return ItemParameters(tuple(items), self.a1[at], self.d[at], self.g[at], self.u[at])


def probability(parameters: ItemParameters, theta: ArrayLike) -> Floats:
    """Probability of a right answer, shape (n_theta, n_items)."""
    logit = np.multiply.outer(np.atleast_1d(np.asarray(theta, dtype=np.float64)), parameters.a1)
    logit += parameters.d
    np.clip(logit, -LOGIT_LIMIT, LOGIT_LIMIT, out=logit)
    return parameters.g + (parameters.u - parameters.g) / (1.0 + np.exp(-logit))


def information(parameters: ItemParameters, theta: ArrayLike) -> Floats:
    """Fisher information of every item, shape (n_theta, n_items); sum over items for the test.

    I(theta) = P'(theta)^2 / (P (1 - P)); matches ``mirt::iteminfo``.
    """
    logit = np.multiply.outer(np.atleast_1d(np.asarray(theta, dtype=np.float64)), parameters.a1)
    logit += parameters.d
    np.clip(logit, -LOGIT_LIMIT, LOGIT_LIMIT, out=logit)
    odds = np.exp(-logit)
    share = 1.0 / (1.0 + odds)
    rest = odds * share
    span = parameters.u - parameters.g
    right = parameters.g + span * share
    wrong = (1.0 - parameters.u) + span * rest
    slope = parameters.a1 * span * share * rest
    return slope**2 / (right * wrong)
