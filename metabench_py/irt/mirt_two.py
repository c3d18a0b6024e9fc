"""Two abilities: a 2PL by R's mirt and its MHRM algorithm (Cai 2010)."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np

from metabench_py import rbridge
from metabench_py.errors import ConvergenceError, RError, RUnavailableError
from metabench_py.irt.engine import IrtFit
from metabench_py.irt.model import LOGIT_LIMIT, Floats, ItemParameters
from metabench_py.rbridge import locate
from metabench_py.responses import MISSING, ResponseMatrix

_NODES, _LIMIT = 61, 6.0
# LLMs at a time: 15 MB of nodes.
_CHUNK = 500


@dataclass(frozen=True, eq=False)
class TwoDimensionalFit:
    """A 2PL of two abilities.

    Attributes
    ----------
    fit
        With the items' intercepts and first slopes.
    slopes
        As estimated, not rotated, shape (n_items, 2); one slope is fixed at 0.
    theta_train, theta_other
        MAP abilities, rotated (oblimin) as the original's, shape (n_llms, 2).
    """

    fit: IrtFit
    slopes: Floats
    theta_train: Floats
    theta_other: Floats


def require_two_dimensional() -> None:
    """Check that R has mirt.

    Raises
    ------
    RUnavailableError
        R or mirt is absent.
    """
    try:
        rbridge.require_package("mirt")
    except RUnavailableError as error:
        raise RUnavailableError(
            f"A model of two abilities is fitted by R's mirt alone (MHRM). {error}", **error.facts
        ) from error


def fit_two_dimensional(
    train: ResponseMatrix,
    other: ResponseMatrix,
    *,
    tolerance: float = 1e-4,
    max_cycles: int = 1000,
    seed: int = 1,
) -> TwoDimensionalFit:
    """Fit in this process's R, as the original calls it.

    Parameters
    ----------
    train
        Every LLM has an answer, and every item varies.
    other
        LLMs to score besides; the same items.
    seed
        The algorithm draws at random.

    Raises
    ------
    RUnavailableError
        R or mirt is absent.
    ConvergenceError
        mirt stopped without an estimate.
    """
    require_two_dimensional()
    names = tuple(f"i{j + 1}" for j in range(train.n_items))
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = rbridge.call(
                "irt_fit_two",
                responses=rbridge.IntegerMatrix(train.values, missing=MISSING, colnames=names),
                others=rbridge.IntegerMatrix(
                    other.select(train.items).values, missing=MISSING, colnames=names
                ),
                tolerance=float(tolerance),
                max_cycles=int(max_cycles),
                seed=int(seed),
            )
        except RError as error:
            why = str(error.facts.get("r_message")).rstrip(".")
            raise ConvergenceError(
                f"mirt gave no two-dimensional estimates: {why}.", item_type="2PL"
            ) from error
    n = train.n_items
    slopes = np.asarray(found["slopes"], dtype=np.float64)
    fit = IrtFit(
        parameters=ItemParameters(train.items, slopes[:, 0], found["d"], np.zeros(n), np.ones(n)),
        item_type="2PL",
        # mirt's own is a random estimate, and none where it did not converge.
        log_likelihood=_log_likelihood(train, slopes, np.asarray(found["d"], dtype=np.float64)),
        iterations=int(found["iterations"][0]),
        converged=bool(found["converged"][0]),
        seconds=time.perf_counter() - start,
        engine="mirt",
        engine_version=locate.package_version("mirt") or "unknown",
        mode="mirt-path",
        messages=tuple(str(warning.message) for warning in caught),
    )
    return TwoDimensionalFit(fit, slopes, found["train"], found["other"])


def _log_likelihood(responses: ResponseMatrix, slopes: Floats, d: Floats) -> float:
    """Marginal log-likelihood under independent standard normal abilities, by quadrature."""
    axis = np.linspace(-_LIMIT, _LIMIT, _NODES)
    nodes = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    weights = -0.5 * (nodes**2).sum(axis=1)
    weights -= np.log(np.exp(weights).sum())
    logit = np.clip(nodes @ slopes.T + d, -LOGIT_LIMIT, LOGIT_LIMIT)
    log_right = -np.logaddexp(0.0, -logit)
    log_wrong = -np.logaddexp(0.0, logit)
    total = 0.0
    for start in range(0, responses.n_llms, _CHUNK):
        part = responses.values[start : start + _CHUNK]
        joint = (part == 1).astype(np.float64) @ log_right.T
        joint += (part == 0).astype(np.float64) @ log_wrong.T
        joint += weights
        top = joint.max(axis=1, keepdims=True)
        total += float((top[:, 0] + np.log(np.exp(joint - top).sum(axis=1))).sum())
    return total
