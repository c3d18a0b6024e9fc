"""What each item is worth to an LLM next: the criteria of selection.

Lord (1980) for Fisher information, Chang & Ying (1996) for Kullback-Leibler information, van der
Linden (1998) for maximum expected information. The values are those of R's catR.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench_py.adaptive.settings import Criterion
from metabench_py.adaptive.state import Integers, State
from metabench_py.adaptive.tables import wrong_probability
from metabench_py.irt.model import Floats, information, probability


def worth(state: State, rows: Integers, free: NDArray[np.bool_], criterion: Criterion) -> Floats:
    """Give every item's worth to some LLMs.

    Parameters
    ----------
    free
        Items that may be given, shape (n_rows, n_items).

    Returns
    -------
    Shape (n_rows, n_items); -inf where an item is not free. ``random`` gives all free items 0.
    """
    if criterion == "MFI":
        # Early in a test many LLMs have the same answers, hence the same ability.
        theta, of = np.unique(state.theta[rows], return_inverse=True)
        values = information(state.tables.parameters, theta)[of.ravel()]
    elif criterion in ("KL", "KLP"):
        values = kullback_leibler(state, rows, by_posterior=criterion == "KLP")
    elif criterion == "MEI":
        values = expected_information(state, rows, free)
    else:
        values = np.zeros(free.shape)
    return np.where(free, values, -np.inf)


def kullback_leibler(state: State, rows: Integers, *, by_posterior: bool) -> Floats:
    """Divergence of each item at the estimate from it at other abilities, averaged over these.

    The integral by the trapezoid rule over the nodes, of the likelihood (its highest value 1) or
    of the posterior density up to the same factor.
    """
    tables = state.tables
    weights = state.likelihood(rows)
    if by_posterior:
        weights *= np.exp(-0.5 * tables.nodes**2) / np.sqrt(2.0 * np.pi)
    weights *= tables.spacing
    weights[:, [0, -1]] *= 0.5
    theta = state.theta[rows]
    right = probability(tables.parameters, theta)
    wrong = wrong_probability(tables.parameters, theta)
    total = weights.sum(axis=1, keepdims=True)
    result: Floats = total * (right * np.log(right) + wrong * np.log(wrong))
    result -= right * (weights @ tables.log[1].T)
    result -= wrong * (weights @ tables.log[0].T)
    return result


def expected_information(state: State, rows: Integers, free: NDArray[np.bool_]) -> Floats:
    """Observed information of each item at the ability estimated after it, averaged over both.

    Answers are as likely as the present estimate says.
    """
    tables = state.tables
    if state.estimator == "EAP":
        posterior = state.posterior(rows)
        after = np.empty((2, *free.shape))
        for answer in (0, 1):
            curves = np.exp(tables.log[answer])
            after[answer] = (posterior * tables.nodes) @ curves.T / (posterior @ curves.T)
    else:
        from metabench_py.adaptive.kernels import ahead

        after = ahead(
            rows, free, state.log, state.slope, state.information, state.bias, tables.log,
            tables.slope, tables.information, tables.bias, tables.nodes, state.used,
            state.answers, state.counts, state.bank, state.estimator == "WLE",
        )  # fmt: skip
    right = probability(tables.parameters, state.theta[rows])
    result: Floats = (1.0 - right) * observed_information(state.bank, after[0], 0)
    result += right * observed_information(state.bank, after[1], 1)
    return result


def observed_information(bank: Floats, theta: Floats, answer: int) -> Floats:
    """Minus the second derivative of an answer's log-probability.

    Parameters
    ----------
    bank
        a1, d, g, u in rows, shape (4, n_items).
    theta
        An ability for each item, shape (..., n_items).
    """
    a1, d, g, u = bank
    share = 1.0 / (1.0 + np.exp(-np.clip(a1 * theta + d, -35.0, 35.0)))
    rest = 1.0 / (1.0 + np.exp(np.clip(a1 * theta + d, -35.0, 35.0)))
    first = a1 * (u - g) * share * rest
    second = a1 * first * (rest - share)
    if answer == 0:
        chance, first, second = (1.0 - u) + (u - g) * rest, -first, -second
    else:
        chance = g + (u - g) * share
    result: Floats = (first / chance) ** 2 - second / chance
    return result
