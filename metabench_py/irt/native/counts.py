"""The E-step: how many LLMs of each ability are expected to answer each item right and wrong.

Bock & Aitkin (1981). Responses are 0/1, so all sums over LLMs are matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metabench_py.irt.model import Floats
from metabench_py.irt.native.quadrature import NODES, grid
from metabench_py.responses import MISSING, ResponseMatrix


@dataclass(frozen=True, eq=False)
class Patterns:
    """Distinct response patterns, as the E-step wants them.

    Attributes
    ----------
    right
        1.0 where the item was answered right, shape (n_patterns, n_items).
    wrong
        The same for wrong answers; None where nothing is missing, so that it is 1 - `right`.
    frequency
        LLMs with the pattern, shape (n_patterns,).
    """

    right: Floats
    wrong: Floats | None
    frequency: Floats

    @property
    def n_llms(self) -> int:
        """LLMs that answered something."""
        return int(self.frequency.sum())

    @classmethod
    def of(cls, responses: ResponseMatrix) -> Patterns:
        """Collapse LLMs with the same answers; who answered nothing carries no information."""
        values = responses.values
        values = values[(values != MISSING).any(axis=1)]
        distinct, frequency = np.unique(values, axis=0, return_counts=True)
        complete = not (distinct == MISSING).any()
        return cls(
            right=(distinct == 1).astype(np.float64),
            wrong=None if complete else (distinct == 0).astype(np.float64),
            frequency=frequency.astype(np.float64),
        )


@dataclass(frozen=True, eq=False)
class Counts:
    """Expected answers at every node, shape (n_items, n_nodes), and the log-likelihood."""

    right: Floats
    wrong: Floats
    log_likelihood: float


def expected_counts(patterns: Patterns, log_right: Floats, log_wrong: Floats) -> Counts:
    """Compute expected counts under the current curves.

    Parameters
    ----------
    log_right, log_wrong
        Log-probability of a right and of a wrong answer, shape (n_items, n_nodes).
    """
    _, prior = grid(NODES)
    if patterns.wrong is None:
        posterior = patterns.right @ (log_right - log_wrong)
        posterior += log_wrong.sum(axis=0) + np.log(prior)
    else:
        posterior = patterns.right @ log_right
        posterior += patterns.wrong @ log_wrong
        posterior += np.log(prior)
    top = posterior.max(axis=1)
    posterior -= top[:, None]
    np.exp(posterior, out=posterior)
    total = posterior.sum(axis=1)
    log_likelihood = float(patterns.frequency @ (np.log(total) + top))
    posterior *= (patterns.frequency / total)[:, None]
    right = patterns.right.T @ posterior
    if patterns.wrong is None:
        wrong = np.maximum(posterior.sum(axis=0) - right, 0.0)
    else:
        wrong = patterns.wrong.T @ posterior
    return Counts(right, wrong, log_likelihood)
