"""The order of texts that R's ``merge`` and ``sort`` give under most locales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabench_py.rbridge.session import call


def icu_order(texts: Sequence[str]) -> NDArray[np.int64]:
    """Sort by the root order of ICU, as an R with ICU does under every locale but ``C``.

    Punctuation comes before digits, digits before letters, and case decides last
    (``org41`` before ``Org41``).

    Returns
    -------
    ndarray
        Positions from 0, shape (n,): the first is that of the smallest text.

    Raises
    ------
    RUnavailableError
        R is absent.
    RError
        This R was built without ICU.
    """
    if not texts:
        return np.empty(0, np.int64)
    found: NDArray[np.int32] = np.atleast_1d(call("collation_order", texts=list(texts)))
    return found.astype(np.int64) - 1
