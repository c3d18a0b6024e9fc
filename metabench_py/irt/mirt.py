"""The mirt engine: R's mirt through the bridge."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metabench_py import rbridge
from metabench_py.benchmarks import SCORE_METHODS, ItemType, ScoreMethod
from metabench_py.errors import ConvergenceError, InputError, RError, ResponseError
from metabench_py.irt.engine import Abilities, FitOptions, IrtFit, ItemFit
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.rbridge import locate
from metabench_py.rbridge.worker import run_in_worker
from metabench_py.responses import MISSING, ResponseMatrix

_PRIOR_METHODS = ("MAP", "EAP", "EAPsum")
# Scoring more LLMs than this takes mirt many seconds to minutes, worth a start of R.
_MANY = 1000


class MirtEngine:
    """R's mirt.

    Parameters
    ----------
    own_process
        Fit, and score many LLMs, in a process of its own, which Ctrl-C ends; else in this one,
        where R holds Ctrl-C back until it has ended.

    Raises
    ------
    RUnavailableError
        R or mirt is absent.
    """

    name = "mirt"

    def __init__(self, *, own_process: bool = True) -> None:
        rbridge.require_package("mirt")
        self._own_process = own_process

    @property
    def version(self) -> str:
        """Version of mirt."""
        return locate.package_version("mirt") or "unknown"

    def fit(
        self, responses: ResponseMatrix, item_type: ItemType, options: FitOptions | None = None
    ) -> IrtFit:
        """Estimate item parameters as the original does: mirt's EM with a normal density.

        LLMs that answered nothing carry no information and are left out, as mirt does.

        Raises
        ------
        InputError
            The mode is not ``mirt-path``.
        ResponseError
            An item was answered alike by all LLMs.
        ConvergenceError
            mirt stopped without an estimate.
        """
        options = options or FitOptions()
        if options.mode != "mirt-path":
            raise InputError(
                f"R's mirt has no mode {options.mode!r}; use the native engine for it.",
                mode=options.mode,
            )
        _check_varied(responses)
        kept = (responses.values != MISSING).any(axis=1)
        arguments = (
            responses.values[kept],
            item_type,
            float(options.tolerance),
            int(options.max_cycles),
        )
        start = time.perf_counter()
        with _collected() as messages:
            try:
                found = self._run(_fit, *arguments)
            except RError as error:
                why = str(error.facts.get("r_message")).rstrip(".")
                raise ConvergenceError(
                    f"mirt gave no {item_type} estimates: {why}.",
                    item_type=item_type,
                ) from error
        return IrtFit(
            parameters=ItemParameters(
                responses.items, found["a1"], found["d"], found["g"], found["u"]
            ),
            item_type=item_type,
            log_likelihood=float(found["log_likelihood"][0]),
            iterations=int(found["iterations"][0]),
            converged=bool(found["converged"][0]),
            seconds=time.perf_counter() - start,
            engine=self.name,
            engine_version=self.version,
            mode="mirt-path",
            messages=tuple(messages),
        )

    def score(
        self, responses: ResponseMatrix, parameters: ItemParameters, method: ScoreMethod
    ) -> Abilities:
        """Estimate abilities by ``mirt::fscores``, options as the original's.

        EAPsum with missing answers, or of one item, which mirt does not have, is the
        Lord-Wingersky recursion over each LLM's answered items on mirt's curves, nodes and prior.

        Raises
        ------
        ResponseError
            An item is not in the matrix.
        InputError
            There is no such method.

        Warns
        -----
        RWarning
            mirt's search did not report convergence for some LLMs.
        """
        if method not in SCORE_METHODS:
            raise InputError(f"No score method {method!r}; there are {', '.join(SCORE_METHODS)}.")
        answers = responses.select(parameters.items).values
        theta = np.full(len(answers), 0.0 if method in _PRIOR_METHODS else np.nan)
        se = np.full(len(answers), 1.0 if method in _PRIOR_METHODS else np.nan)
        answered = np.flatnonzero((answers != MISSING).any(axis=1))
        if answered.size:
            run = self._run if answered.size > _MANY else _here
            found = run(_score, answers[answered], _as_arguments(parameters), method)
            theta[answered] = found["theta"]
            se[answered] = found["se"]
            # mirt has no standard error where the estimate runs away.
            se[np.isnan(se) & ~np.isnan(theta)] = np.inf
            lost = answered[~found["found"]]
            if lost.size:
                warnings.warn(
                    f"mirt's {method} search did not report convergence for {lost.size} of "
                    f"{responses.n_llms} LLMs, the first is {responses.llms[lost[0]]!r}; "
                    "their abilities may be off.",
                    rbridge.RWarning,
                    stacklevel=2,
                )
        return Abilities(theta=theta, se=se, method=method, engine=self.name)

    def information(self, parameters: ItemParameters, theta: ArrayLike) -> Floats:
        """Item information by ``mirt::iteminfo``, shape (n_theta, n_items)."""
        at = np.atleast_1d(np.asarray(theta, dtype=np.float64))
        if at.size == 0:
            return np.empty((0, len(parameters.items)))
        found: Floats = rbridge.call("irt_information", theta=at, **_as_arguments(parameters))
        return found

    def item_fit(
        self, responses: ResponseMatrix, parameters: ItemParameters, theta: ArrayLike
    ) -> ItemFit:
        """Infit and outfit of every item by ``mirt::itemfit``.

        Parameters
        ----------
        theta
            Ability of every LLM, shape (n_llms,); the original takes MAP estimates. That of an
            LLM without any answer does not matter.

        Raises
        ------
        InputError
            `theta` has another length or is not finite, or fewer than two LLMs have answers.
        """
        answers = responses.select(parameters.items).values
        at = np.asarray(theta, dtype=np.float64)
        answered = (answers != MISSING).any(axis=1)
        if at.shape != (len(answers),) or not np.isfinite(at[answered]).all():
            raise InputError(f"Item fit needs {len(answers)} finite abilities, one an LLM.")
        if answered.sum() < 2:
            raise InputError("Item fit needs the answers of two LLMs or more.")
        found = rbridge.call(
            "irt_item_fit",
            responses=rbridge.IntegerMatrix(answers[answered], missing=MISSING),
            theta=at[answered],
            **_as_arguments(parameters),
        )
        return ItemFit(items=parameters.items, **found)

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        return (run_in_worker if self._own_process else _here)(function, *args)


def _here(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _fit(values: Any, item_type: str, tolerance: float, max_cycles: int) -> dict[str, Any]:
    # Neutral names: mirt gives a meaning of its own to some that data may have.
    names = tuple(f"i{j + 1}" for j in range(values.shape[1]))
    found: dict[str, Any] = rbridge.call(
        "irt_fit",
        responses=rbridge.IntegerMatrix(values, missing=MISSING, colnames=names),
        item_type=item_type,
        tolerance=tolerance,
        max_cycles=max_cycles,
    )
    return found


def _score(values: Any, parameters: dict[str, Floats], method: str) -> dict[str, Any]:
    found: dict[str, Any] = rbridge.call(
        "irt_score",
        responses=rbridge.IntegerMatrix(values, missing=MISSING),
        method=method,
        **parameters,
    )
    return found


def _as_arguments(parameters: ItemParameters) -> dict[str, Floats]:
    return {name: getattr(parameters, name) for name in ("a1", "d", "g", "u")}


def _check_varied(responses: ResponseMatrix) -> None:
    right = (responses.values == 1).sum(axis=0)
    wrong = (responses.values == 0).sum(axis=0)
    flat = [
        item
        for item, alike in zip(responses.items, (right == 0) | (wrong == 0), strict=True)
        if alike
    ]
    if flat:
        raise ResponseError(
            f"{len(flat)} of {responses.n_items} items were answered alike by all LLMs, the first "
            f"is {flat[0]!r}; leave them out, they tell LLMs not apart.",
            items=flat,
        )


@contextmanager
def _collected() -> Iterator[list[str]]:
    """Turn R's warnings into messages of the result."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield messages
        finally:
            messages += [str(warning.message) for warning in caught]
