"""Scores LLMs from item parameters, in NumPy alone."""

from __future__ import annotations

import numpy as np

from metabench_py.benchmarks import SCORE_METHODS, ScoreMethod
from metabench_py.errors import InputError
from metabench_py.irt.engine import Abilities
from metabench_py.irt.model import ItemParameters
from metabench_py.irt.native.modes import find_modes
from metabench_py.irt.native.quadrature import eap, eap_sum
from metabench_py.responses import ResponseMatrix


def score(responses: ResponseMatrix, parameters: ItemParameters, method: ScoreMethod) -> Abilities:
    """Estimate abilities; matches ``mirt::fscores`` on response patterns.

    Parameters
    ----------
    responses
        Must have every item of `parameters`; others are ignored.
    method
        MAP, EAP, EAPsum, ML or WLE.

    Raises
    ------
    ResponseError
        An item is not in the matrix.
    InputError
        There is no such method.
    """
    values = responses.select(parameters.items).values
    # LLMs with the same answers have the same ability: estimate each pattern once.
    patterns, row = _unique_rows(values)
    if method == "EAP":
        theta, se = eap(patterns, parameters)
    elif method == "EAPsum":
        theta, se = eap_sum(patterns, parameters)
    elif method in ("MAP", "ML", "WLE"):
        theta, se = find_modes(patterns, parameters, method)
    else:
        raise InputError(f"No score method {method!r}; there are {', '.join(SCORE_METHODS)}.")
    return Abilities(theta[row], se[row], method, "native")


def _unique_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(values) < 2 or values.shape[1] == 0:
        return values, np.arange(len(values))
    keys = np.ascontiguousarray(values).view(np.dtype((np.void, values.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return values[first], inverse.ravel()
