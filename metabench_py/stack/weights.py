"""Weights of the members: not negative, summing to 1, drawn towards given ones."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from metabench_py.irt.model import Floats


def simplex_weights(
    predicted: Floats, truth: Floats, prior: Floats, strength: float, counts: Floats
) -> Floats:
    """Find the convex combination of least squared error.

    Parameters
    ----------
    predicted
        Held-out predictions, shape (n, n_members).
    truth
        Shape (n,).
    prior
        Weights that few LLMs are drawn to, shape (n_members,), summing to 1.
    strength
        As many LLMs' worth of evidence the prior has.
    counts
        Weight of each LLM, shape (n,).

    Notes
    -----
    With so few members every subset can be tried: the best on each face of the simplex has a
    closed form, and the best face whose weights are positive is the solution.
    """
    n_members = predicted.shape[1]
    errors = predicted - truth[:, None]
    gram = (errors * counts[:, None]).T @ errors
    # The prior speaks in units of how much the members differ from each other.
    apart = predicted - predicted.mean(axis=1, keepdims=True)
    unit = strength * float((apart**2).sum(axis=1).mean()) / n_members + 1e-12
    gram = gram + unit * np.eye(n_members)
    pull = unit * prior
    best, least = prior, np.inf
    for size in range(1, n_members + 1):
        for face in combinations(range(n_members), size):
            own = np.array(face)
            part = _on_face(gram[np.ix_(own, own)], pull[own])
            if (part < 0).any():
                continue
            full = np.zeros(n_members)
            full[own] = part
            loss = float(full @ gram @ full - 2.0 * pull @ full)
            if loss < least:
                best, least = full, loss
    weights: Floats = best / best.sum()
    return weights


def _on_face(gram: Floats, pull: Floats) -> Floats:
    """Minimise w'Gw - 2 p'w where the weights sum to 1."""
    solved = np.linalg.solve(gram, np.column_stack([pull, np.ones(len(pull))]))
    free, one = solved.T
    weights: Floats = free + one * (1.0 - free.sum()) / one.sum()
    return weights
