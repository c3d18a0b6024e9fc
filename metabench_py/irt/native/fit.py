"""Fits item parameters natively: checks, then one of the two modes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from metabench_py import __version__
from metabench_py.benchmarks import ITEM_TYPES, ItemType
from metabench_py.errors import ConvergenceError, InputError, ResponseError
from metabench_py.irt.engine import FitOptions, IrtFit
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.irt.native.counts import Patterns
from metabench_py.irt.native.marginal import SLOPE_LIMIT
from metabench_py.irt.native.objective import asymptotes
from metabench_py.irt.native.optimum import maximise, steep_items
from metabench_py.irt.native.path import SIZES, follow
from metabench_py.responses import MISSING, ResponseMatrix

# Where mirt's rule stops at an optimum, no derivative per LLM is above 1e-4; a false stop has 1e-2.
_STILL_RISING = 1e-3


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
    run = _maximise if options.mode == "converged" else _follow
    parameters, found = run(responses.items, patterns, SIZES[item_type], options)
    return IrtFit(
        parameters=parameters,
        item_type=item_type,
        log_likelihood=found.log_likelihood,
        iterations=found.iterations,
        converged=found.converged,
        seconds=time.perf_counter() - start,
        engine="native",
        engine_version=__version__,
        mode=options.mode,
        gradient_norm=found.gradient_norm,
        messages=found.messages,
    )


@dataclass(frozen=True)
class _Found:
    log_likelihood: float
    iterations: int
    converged: bool
    gradient_norm: float
    messages: tuple[str, ...]


def _maximise(
    items: tuple[str, ...], patterns: Patterns, size: int, options: FitOptions
) -> tuple[ItemParameters, _Found]:
    found = maximise(patterns, size, options.tolerance, options.max_cycles)
    curves = found.curves
    parameters = _parameters(items, curves.a, curves.d, curves.g, curves.u, found.iterations)
    messages = []
    if not found.converged:
        messages.append(
            f"No optimum after {found.iterations} iterations: a derivative of the log-likelihood "
            f"is still {found.gradient_norm:.1e} per LLM."
        )
    steep = steep_items(curves)
    if steep:
        messages.append(
            f"{len(steep)} of {len(items)} items have a slope at the bound of {SLOPE_LIMIT:g} "
            f"(the first is {items[steep[0]]!r}): the likelihood would have them steeper still."
        )
    return parameters, _Found(
        found.log_likelihood,
        found.iterations,
        found.converged,
        found.gradient_norm,
        tuple(messages),
    )


def _follow(
    items: tuple[str, ...], patterns: Patterns, size: int, options: FitOptions
) -> tuple[ItemParameters, _Found]:
    found = follow(patterns, size, options.tolerance, options.max_cycles)
    g, u = asymptotes(found.rows)
    parameters = _parameters(items, found.rows[:, 0], found.rows[:, 1], g, u, found.iterations)
    norm = found.gradient_norm
    messages = []
    if not found.converged:
        messages.append(f"Stopped at the limit of {found.iterations} cycles; mirt would go on.")
    if found.converged and norm > _STILL_RISING:
        message = (
            f"mirt's stopping rule was met after {found.iterations} cycles, but this is no optimum "
            f"(a derivative of the log-likelihood is {norm:.1e} per LLM)"
        )
        if size > 3:
            closest = int(np.argmin(u - g))
            message += (
                f": mirt searches over all items at once, and one whose upper asymptote meets the "
                f"lower one stops them all (closest is item {items[closest]!r}, "
                f"{g[closest]:.3f} and {u[closest]:.3f})"
            )
        messages.append(message + ". The mode 'converged' goes on.")
    return parameters, _Found(
        found.log_likelihood, found.iterations, found.converged, norm, tuple(messages)
    )


def _parameters(
    items: tuple[str, ...], a: Floats, d: Floats, g: Floats, u: Floats, iterations: int
) -> ItemParameters:
    bad = ~(np.isfinite(a) & np.isfinite(d) & (g < u))
    if bad.any():
        item = items[int(np.argmax(bad))]
        raise ConvergenceError(
            f"Item {item!r} has no usable parameters after {iterations} iterations; leave it out "
            "or use a smaller item type.",
            item=item,
        )
    return ItemParameters(items, a, d, g, u)


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
