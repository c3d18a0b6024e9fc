"""Fits item parameters natively: checks, then one of the two modes."""

from __future__ import annotations

import math
import time

import numpy as np

from metabench_py import __version__
from metabench_py.benchmarks import ITEM_TYPES, ItemType
from metabench_py.errors import ConvergenceError, InputError, ResponseError
from metabench_py.irt.engine import FitOptions, IrtFit
from metabench_py.irt.model import ItemParameters
from metabench_py.irt.native.counts import Patterns
from metabench_py.irt.native.objective import asymptotes
from metabench_py.irt.native.path import SIZES, Estimate, follow
from metabench_py.responses import MISSING, ResponseMatrix


def fit(
    responses: ResponseMatrix, item_type: ItemType, options: FitOptions | None = None
) -> IrtFit:
    """Estimate item parameters by marginal maximum likelihood.

    LLMs that answered nothing carry no information and are left out.

    Parameters
    ----------
    responses
        Every item must be answered right by some LLM and wrong by another.
    item_type
        2PL, 3PL or 4PL for all items.
    options
        Mode, tolerance and cycles; see `FitOptions`.

    Raises
    ------
    InputError
        An option is out of range.
    ResponseError
        Too few LLMs or items, or an item that all LLMs answered alike.
    ConvergenceError
        The search gave no usable numbers.
    """
    options = options or FitOptions()
    _check_options(item_type, options)
    _check_responses(responses)
    start = time.perf_counter()
    patterns = Patterns.of(responses)
    found = follow(patterns, SIZES[item_type], options.tolerance, options.max_cycles)
    return IrtFit(
        parameters=_parameters(responses.items, found),
        item_type=item_type,
        log_likelihood=found.log_likelihood,
        iterations=found.iterations,
        converged=found.converged,
        seconds=time.perf_counter() - start,
        engine="native",
        engine_version=__version__,
        mode=options.mode,
        messages=found.messages,
    )


def _parameters(items: tuple[str, ...], found: Estimate) -> ItemParameters:
    g, u = asymptotes(found.rows)
    bad = ~(np.isfinite(found.rows).all(axis=1) & (g < u))
    if bad.any():
        item = items[int(np.argmax(bad))]
        raise ConvergenceError(
            f"Item {item!r} has no usable parameters after {found.iterations} cycles; leave it out "
            "or use a smaller item type.",
            item=item,
        )
    return ItemParameters(items, found.rows[:, 0], found.rows[:, 1], g, u)


def _check_options(item_type: str, options: FitOptions) -> None:
    if item_type not in ITEM_TYPES:
        raise InputError(f"No item type {item_type!r}; there are {', '.join(ITEM_TYPES)}.")
    if options.mode not in ("mirt-path", "converged"):
        raise InputError(f"No fit mode {options.mode!r}; there are mirt-path and converged.")
    if not (math.isfinite(options.tolerance) and options.tolerance > 0):
        raise InputError(f"The tolerance must be a positive number, not {options.tolerance!r}.")
    if isinstance(options.max_cycles, bool) or not isinstance(options.max_cycles, int):
        raise InputError(f"The cycles must be a whole number, not {options.max_cycles!r}.")
    if options.max_cycles < 1:
        raise InputError(f"There must be at least 1 cycle, not {options.max_cycles}.")


def _check_responses(responses: ResponseMatrix) -> None:
    answered = int((responses.values != MISSING).any(axis=1).sum())
    if responses.n_items < 2 or answered < 2:
        raise ResponseError(
            f"A fit needs at least 2 items and 2 LLMs with answers; the matrix has "
            f"{responses.n_items} items and {answered} such LLMs.",
            n_items=responses.n_items,
            n_llms=answered,
        )
    right = (responses.values == 1).sum(axis=0)
    wrong = (responses.values == 0).sum(axis=0)
    flat = [item for item, r, w in zip(responses.items, right, wrong, strict=True) if not r * w]
    if flat:
        raise ResponseError(
            f"{len(flat)} of {responses.n_items} items were answered alike by all LLMs, the first "
            f"is {flat[0]!r}; leave them out, they tell LLMs not apart.",
            items=flat,
            item=flat[0],
        )
