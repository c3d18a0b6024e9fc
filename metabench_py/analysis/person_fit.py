"""How well a run's answers follow the item model: lz."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.irt.model import Floats, ItemParameters, probability
from metabench_py.responses import MISSING

# A probability of 0 or 1 would make the logarithm infinite.
_LEAST = 1e-12


def person_fit(answers: NDArray[np.int8], parameters: ItemParameters, theta: ArrayLike) -> Floats:
    """Standardised log-likelihood lz (Drasgow, Levine & Williams 1985), mirt's Zh.

    Low values: easy items wrong and hard ones right, as of a run that knows some items by heart.
    At an estimated ability it is not quite standard normal; simulate for a p.

    Parameters
    ----------
    answers
        int8, shape (n, n_items): 1, 0, -1 not answered.
    theta
        Ability of each, shape (n,).

    Returns
    -------
    ndarray
        Shape (n,); NaN where nothing was answered.
    """
    right = np.clip(probability(parameters, theta), _LEAST, 1.0 - _LEAST)
    log_right, log_wrong = np.log(right), np.log1p(-right)
    answered = np.asarray(answers) != MISSING
    given = np.where(np.asarray(answers) == 1, log_right, log_wrong)
    expected = right * log_right + (1.0 - right) * log_wrong
    variance = right * (1.0 - right) * (log_right - log_wrong) ** 2
    total = ((given - expected) * answered).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = total / np.sqrt((variance * answered).sum(axis=1))
    return result
