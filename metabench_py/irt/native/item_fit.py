"""Infit and outfit of every item at given abilities (Wright & Masters 1982)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.errors import InputError
from metabench_py.irt.engine import ItemFit
from metabench_py.irt.model import Floats, ItemParameters, probability
from metabench_py.responses import MISSING, ResponseMatrix

# The cube-root transformation holds no further (as in mirt).
_LARGEST_SPREAD = 1.4142
# mirt lets no variance of an answer be smaller, lest one surprise outweighs all else.
_LEAST_VARIANCE = 1e-5**0.5


def item_fit(responses: ResponseMatrix, parameters: ItemParameters, theta: ArrayLike) -> ItemFit:
    """Compare answers with the model's expectation; matches ``mirt::itemfit``.

    Parameters
    ----------
    responses
        Must have every item of `parameters`; others are ignored.
    theta
        Ability of every LLM, shape (n_llms,); the original takes MAP estimates. That of an
        LLM without any answer does not matter.

    Raises
    ------
    ResponseError
        An item is not in the matrix.
    InputError
        `theta` has another length or is not finite, or fewer than two LLMs have answers.
    """
    values = responses.select(parameters.items).values
    at = np.asarray(theta, dtype=np.float64)
    answered = (values != MISSING).any(axis=1)
    if at.shape != (len(values),) or not np.isfinite(at[answered]).all():
        raise InputError(f"Item fit needs {len(values)} finite abilities, one an LLM.")
    if answered.sum() < 2:
        raise InputError("Item fit needs the answers of two LLMs or more.")
    values, at = values[answered], at[answered]
    known = values != MISSING
    right = probability(parameters, at)
    wrong = 1.0 - right
    variance = right * wrong
    variance = _where(known, np.where(variance**2 < 1e-5, _LEAST_VARIANCE, variance))
    residual = _where(known, (values - right) ** 2)
    fourth = _where(known, right * wrong * (right**3 + wrong**3))
    n = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        outfit = _sum(residual / variance) / n
        spread = _sum(fourth / variance**2) / n**2 - 1.0 / n
        infit = _sum(residual) / _sum(variance)
        weighted = _sum(fourth - variance**2)
        return ItemFit(
            items=parameters.items,
            outfit=outfit,
            z_outfit=_deviate(outfit, np.sqrt(spread)),
            infit=infit,
            z_infit=_deviate(infit, np.sqrt(weighted) / _sum(variance)),
        )


def _where(known: NDArray[np.bool_], values: Floats) -> Floats:
    return np.where(known, values, np.nan)


def _sum(values: Floats) -> Floats:
    total: Floats = np.nansum(values, axis=0)
    return total


def _deviate(square: Floats, spread: Floats) -> Floats:
    """Wilson & Hilferty's (1931) cube root of a mean square, as a standard normal deviate."""
    q = np.minimum(spread, _LARGEST_SPREAD)
    return (np.cbrt(square) - 1.0) * 3.0 / q + q / 3.0
