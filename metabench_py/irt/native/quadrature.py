"""Abilities by quadrature: EAP, and EAPsum over sum scores.

Bock & Mislevy (1982) for EAP; Lord & Wingersky (1984) for the distribution of the sum score;
Thissen, Pommerich, Billeaud & Williams (1995) for EAPsum.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats, ItemParameters, probability
from metabench_py.responses import MISSING

NODES = 61
# mirt starts MAP, ML and WLE from an EAP on a finer grid.
START_NODES = 121
LIMIT = 6.0
# LLMs x nodes (or items, if these are more) at once: 40 MB.
_CHUNK_CELLS = 5_000_000
# A smaller sum of joint probabilities has lost digits to underflow.
_UNDERFLOW = 1e-280


@functools.cache
def grid(n_nodes: int) -> tuple[Floats, Floats]:
    """Nodes on [-6, 6] and the normalised prior weights N(0, 1), both of shape (n_nodes,)."""
    nodes = np.linspace(-LIMIT, LIMIT, n_nodes)
    weights = np.exp(-0.5 * nodes**2)
    weights /= weights.sum()
    return nodes, weights


def log_likelihood_grid(
    values: NDArray[np.int8], parameters: ItemParameters, nodes: Floats
) -> Floats:
    """Log-likelihood of every LLM's answers at every node, shape (n_llms, n_nodes)."""
    right = probability(parameters, nodes)
    log_right = np.log(right)
    log_wrong = np.log(_wrong(parameters, nodes))
    result = (values == 1).astype(np.float64) @ log_right.T
    result += (values == 0).astype(np.float64) @ log_wrong.T
    return result


def _wrong(parameters: ItemParameters, nodes: Floats) -> Floats:
    """Probability of a wrong answer without the cancellation of 1 - P, (n_nodes, n_items)."""
    mirrored = ItemParameters(
        parameters.items, -parameters.a1, -parameters.d, 1.0 - parameters.u, 1.0 - parameters.g
    )
    return probability(mirrored, nodes)


def eap(
    values: NDArray[np.int8], parameters: ItemParameters, n_nodes: int = NODES
) -> tuple[Floats, Floats]:
    """Posterior mean and sd of theta, both of shape (n_llms,)."""
    nodes, weights = grid(n_nodes)
    step = max(1, _CHUNK_CELLS // max(n_nodes, values.shape[1]))
    theta = np.empty(len(values))
    se = np.empty(len(values))
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        posterior = log_likelihood_grid(values[part], parameters, nodes)
        posterior -= posterior.max(axis=1, keepdims=True)
        np.exp(posterior, out=posterior)
        posterior *= weights
        theta[part], se[part] = _moments(posterior, nodes)
    return theta, se


def _moments(posterior: Floats, nodes: Floats) -> tuple[Floats, Floats]:
    posterior = posterior / posterior.sum(axis=1, keepdims=True)
    mean = posterior @ nodes
    variance = np.einsum("ij,ij->i", posterior, (nodes - mean[:, None]) ** 2)
    return mean, np.sqrt(variance)


def score_distribution(right: Floats) -> Floats:
    """Distribution of the sum score at every node (Lord & Wingersky 1984).

    Parameters
    ----------
    right
        Probability of a right answer, shape (n_nodes, n_items).

    Returns
    -------
    Shape (n_items + 1, n_nodes): P(sum score = row | node).
    """
    n_nodes, n_items = right.shape
    table = np.zeros((n_items + 1, n_nodes))
    table[0] = 1.0
    for item in range(n_items):
        share = right[:, item]
        top = item + 1
        table[1 : top + 1] = table[1 : top + 1] * (1.0 - share) + table[:top] * share
        table[0] *= 1.0 - share
    return table


def eap_sum(values: NDArray[np.int8], parameters: ItemParameters) -> tuple[Floats, Floats]:
    """Posterior mean and sd of theta given the number of right answers, shape (n_llms,).

    With missing answers the sum score is over each LLM's answered items.
    """
    nodes, weights = grid(NODES)
    right, wrong = probability(parameters, nodes), _wrong(parameters, nodes)
    answered = values != MISSING
    score = (values == 1).sum(axis=1)
    theta = np.empty(len(values))
    se = np.empty(len(values))
    for mask, members in _by_pattern(answered):
        # Equal scores must have equal abilities, to the last bit.
        distinct, of = np.unique(score[members], return_inverse=True)
        joint = score_distribution(right[:, mask])[distinct] * weights
        if (joint.sum(axis=1) < _UNDERFLOW).any():
            # Thousands of items can make a score this unlikely at every node.
            log_joint = _log_score_distribution(right[:, mask], wrong[:, mask])[distinct]
            log_joint += np.log(weights)
            joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        mean, spread = _moments(joint, nodes)
        theta[members], se[members] = mean[of.ravel()], spread[of.ravel()]
    return theta, se


def _log_score_distribution(right: Floats, wrong: Floats) -> Floats:
    """Log of `score_distribution`, slower, without underflow."""
    n_nodes, n_items = right.shape
    log_right, log_wrong = np.log(right), np.log(wrong)
    table = np.full((n_items + 1, n_nodes), -np.inf)
    table[0] = 0.0
    for item in range(n_items):
        top = item + 1
        table[1 : top + 1] = np.logaddexp(
            table[1 : top + 1] + log_wrong[:, item], table[:top] + log_right[:, item]
        )
        table[0] += log_wrong[:, item]
    return table


def _by_pattern(
    answered: NDArray[np.bool_],
) -> list[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Group LLMs by which items they answered."""
    if answered.all():
        return [(np.ones(answered.shape[1], dtype=np.bool_), np.arange(len(answered)))]
    packed = np.packbits(answered, axis=1)
    _, first, group = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    bounds = np.cumsum(np.bincount(group.ravel()))[:-1]
    return [(answered[i], rows) for i, rows in zip(first, np.split(order, bounds), strict=True)]
