"""The same tests by R's catR, one LLM after another: slow, for those who want the reference."""

from __future__ import annotations

import numpy as np

from metabench_py.adaptive.engine import CatResult, Stop
from metabench_py.adaptive.settings import CatSettings
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.irt.native.quadrature import LIMIT, NODES
from metabench_py.responses import MISSING, ResponseMatrix

_METHODS = {"MAP": "BM", "EAP": "EAP", "WLE": "WL"}


def catr_bank(parameters: ItemParameters) -> Floats:
    """Items as catR has them, columns a, b, c, d; shape (n_items, 4).

    Raises
    ------
    InputError
        An item has a slope of 0, hence no difficulty.
    """
    flat = parameters.a1 == 0
    if flat.any():
        item = parameters.items[int(np.argmax(flat))]
        raise InputError(f"Item {item!r} has a slope of 0, which catR cannot take.", item=item)
    result: Floats = np.column_stack(
        [parameters.a1, parameters.difficulty, parameters.g, parameters.u]
    )
    return result


def simulate_by_catr(
    responses: ResponseMatrix, parameters: ItemParameters, settings: CatSettings
) -> CatResult:
    """Test every LLM by ``catR::randomCAT``.

    Raises
    ------
    RUnavailableError
        R or catR is absent.
    InputError
        catR has no such settings.
    """
    from metabench_py import rbridge

    rbridge.require_package("catR")
    values = responses.select(parameters.items).values
    n, n_items = values.shape
    longest = settings.longest(n_items)
    if settings.exposure == "sympson-hetter" or settings.batch > 1 or settings.min_items > 1:
        raise InputError(
            "catR has no Sympson-Hetter filter, no batches and no least length with a standard "
            "error; take the native engine."
        )
    if settings.exposure == "progressive" or settings.criterion == "random":
        # catR draws there after seeding R anew by the clock.
        raise InputError(
            "catR takes no seed for random or progressive choice; take the native engine."
        )
    found = rbridge.call(
        "cat_simulate",
        answers=rbridge.IntegerMatrix(values, MISSING),
        bank=catr_bank(parameters),
        criterion=settings.criterion,
        method=_METHODS[settings.estimator],
        start=np.array(settings.start),
        n_random=settings.n_random,
        se=-1.0 if settings.se is None else settings.se,
        most=longest,
        randomesque=settings.pool if settings.exposure == "randomesque" else 1,
        seed=settings.seed,
        range=np.array([-LIMIT, LIMIT]),
        n_nodes=NODES,
    )
    used = np.asarray(found["items"], np.int64).reshape(n, longest)
    theta_path = np.asarray(found["theta_path"], np.float64).reshape(n, longest)
    se_path = np.asarray(found["se_path"], np.float64).reshape(n, longest)
    used = np.where(used > 0, used - 1, -1)
    counts = (used >= 0).sum(axis=1)
    stop: list[Stop] = []
    for i in range(n):
        se = se_path[i, counts[i] - 1] if counts[i] else np.inf
        precise = settings.se is not None and se <= settings.se
        short = settings.max_items is not None and counts[i] >= settings.max_items
        stop.append("precision" if precise else "length" if short else "no items")
    given = used[used >= 0]
    return CatResult(
        parameters.items,
        np.asarray(found["theta"], np.float64).ravel(),
        np.asarray(found["se"], np.float64).ravel(),
        counts, used, theta_path, se_path, tuple(stop), np.bincount(given, minlength=n_items),
    )  # fmt: skip
