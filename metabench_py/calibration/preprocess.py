"""First stage of making a sparse benchmark: leave out what cannot measure.

Of each benchmark: items whose prompt occurred before, LLMs at the lowest end of the scores, and
items without spread, too easy, or unrelated to the score. Source: Kipnis et al. (2025), metabench,
and the preprocessing of its repository.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.calibration.item_statistics import (
    ITEM_RULES,
    REASONS,
    ItemRule,
    ItemStatistics,
    item_statistics,
    reasons,
)
from metabench_py.calibration.ordering import ORDERS, Order
from metabench_py.calibration.quantiles import quantiles
from metabench_py.errors import InputError, ResponseError
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING, ResponseMatrix

# Fewer have no spread to speak of.
LEAST_LLMS = 3


@dataclass(frozen=True)
class PreprocessOptions:
    """What is left out; the defaults are the original's limits.

    Attributes
    ----------
    item_rule
        How items discriminate, see `item_statistics`.
    order
        Order of LLMs where files are joined, see `sorted_names`.
    tail
        LLMs whose score is not above this quantile of all scores are left out, so at least the
        lowest one; 0 leaves nobody out.
    least_sd, easiest, least_discrimination
        Limits of the items, see `reasons`.
    discriminations
        Benchmarks with a limit of their own in place of `least_discrimination`.
    least_answered
        LLMs that answered a smaller share of a benchmark's items are left out of it.
    """

    item_rule: ItemRule = "point-biserial"
    order: Order = "c"
    tail: float = 0.001
    least_sd: float = 0.01
    easiest: float = 0.95
    least_discrimination: float = 0.05
    discriminations: Mapping[str, float] = field(default_factory=lambda: {"winogrande": 0.02})
    least_answered: float = 0.5

    def __post_init__(self) -> None:
        if self.item_rule not in ITEM_RULES:
            raise InputError(f"Item rule {self.item_rule!r}: choose {', '.join(ITEM_RULES)}.")
        if self.order not in ORDERS:
            raise InputError(f"Order {self.order!r}: choose {', '.join(ORDERS)}.")
        limits = {
            "tail": self.tail,
            "least_sd": self.least_sd,
            "easiest": self.easiest,
            "least_discrimination": self.least_discrimination,
            "least_answered": self.least_answered,
            **{f"least_discrimination of {b}": x for b, x in self.discriminations.items()},
        }
        for name, value in limits.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value:g}; give a share from 0 to 1.", option=name)
        if self.tail == 1:
            raise InputError("tail is 1, which leaves no LLM.", option="tail")

    def limit_of(self, benchmark: str) -> float:
        """Least discrimination of this benchmark's items."""
        return self.discriminations.get(benchmark, self.least_discrimination)


@dataclass(frozen=True, eq=False)
class ItemTable:
    """All items of a benchmark; arrays of shape (n_items,).

    Attributes
    ----------
    sd, difficulty, discrimination
        See `ItemStatistics`; NaN for duplicates, which are gone before anything is computed.
    reason
        Why an item is left out: ``duplicate``, ``variance``, ``too_easy``, ``low_disc`` (the first
        that holds); empty: it is kept.
    """

    items: tuple[str, ...]
    sd: Floats
    difficulty: Floats
    discrimination: Floats
    reason: NDArray[np.str_]


@dataclass(frozen=True)
class Counts:
    """How many were there, were left out, and are kept."""

    llms_read: int
    llms_incomplete: int
    llms_tail: int
    llms_kept: int
    items_read: int
    duplicate: int
    variance: int
    too_easy: int
    low_disc: int
    items_kept: int
    answers_missing: int
    prompts_missing: int | None


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """One benchmark without what was left out.

    Attributes
    ----------
    responses
        Kept LLMs x kept items.
    scores
        Score of every kept LLM, 0-100: right answers of those given, over all items but
        duplicates, also the ones left out later. Shape (n_llms,).
    items
        Every item, and why it is left out.
    max_points
        Number of items without duplicates.
    tail_threshold
        Right answers of `max_points` that the LLMs left out as the tail do not exceed; NaN where
        none is left out.
    """

    benchmark: str
    responses: ResponseMatrix
    scores: Floats
    items: ItemTable
    counts: Counts
    max_points: int
    tail_threshold: float
    least_discrimination: float

    def to_dict(self) -> dict[str, Any]:
        """For the summary."""
        threshold = None if math.isnan(self.tail_threshold) else self.tail_threshold
        return {
            **asdict(self.counts),
            "max_points": self.max_points,
            "tail_threshold": threshold,
            "least_discrimination": self.least_discrimination,
        }


def preprocess(
    benchmark: str,
    responses: ResponseMatrix,
    prompts: Mapping[str, str] | None = None,
    options: PreprocessOptions | None = None,
) -> Preprocessed:
    """Leave out what cannot measure, of one benchmark.

    Missing answers count for nothing: a score is the share of right answers among those given (on
    the scale of all items), an item's numbers are of the LLMs that answered it. (The original
    stops at them.)

    Parameters
    ----------
    benchmark
        Its name; any.
    responses
        All its items.
    prompts
        By item; an item whose prompt occurred at an item before it is left out. None: not known.
    options
        None: the defaults.

    Raises
    ------
    ResponseError
        Nothing is left (facts: benchmark).
    """
    options = options or PreprocessOptions()
    duplicate = _duplicates(responses.items, prompts or {})
    firsts = np.flatnonzero(~duplicate)
    values = responses.values if not duplicate.any() else responses.values[:, firsts]
    answered = (values != MISSING).sum(axis=1, dtype=np.int64)
    enough = (answered > 0) & (answered >= options.least_answered * len(firsts))
    if enough.sum() < LEAST_LLMS:
        raise ResponseError(
            f"{benchmark}: {enough.sum()} of {responses.n_llms} LLMs answered at least "
            f"{options.least_answered:.0%} of the {len(firsts)} items, but {LEAST_LLMS} are "
            "needed; take a smaller least share, or more LLMs.",
            benchmark=benchmark,
        )
    right = (values == 1).sum(axis=1, dtype=np.int64)
    # Whole numbers where nothing is missing, so that ties stay ties.
    points = np.where(answered == len(firsts), right, right / np.maximum(answered, 1) * len(firsts))
    threshold = math.nan
    above = enough
    if options.tail > 0:
        threshold = float(quantiles(points[enough], [options.tail])[0])
        above = enough & (points > threshold)
    if above.sum() < LEAST_LLMS:
        raise ResponseError(
            f"{benchmark}: {above.sum()} of {enough.sum()} LLMs have more than the lowest "
            f"{threshold:g} of {len(firsts)} points, but {LEAST_LLMS} are needed; give more LLMs, "
            "or a tail of 0.",
            benchmark=benchmark,
        )
    rows = np.flatnonzero(above)
    if len(rows) < responses.n_llms:
        values = values[rows]
    limit = options.limit_of(benchmark)
    statistics = item_statistics(values, points[rows], options.item_rule)
    reason = reasons(
        statistics,
        least_sd=options.least_sd,
        easiest=options.easiest,
        least_discrimination=limit,
    )
    kept = np.flatnonzero(reason == "")
    table = _table(responses.items, duplicate, statistics, reason)
    removed = {name: int((table.reason == name).sum()) for name in REASONS}
    if not len(kept):
        raise ResponseError(
            f"{benchmark}: no item is left; of {responses.n_items}, "
            + ", ".join(f"{n} by {name}" for name, n in removed.items())
            + ". Loosen the limits, or give more LLMs.",
            benchmark=benchmark,
        )
    return Preprocessed(
        benchmark,
        ResponseMatrix(
            tuple(responses.llms[i] for i in rows),
            tuple(responses.items[firsts[j]] for j in kept),
            values[:, kept],
        ),
        points[rows] / len(firsts) * 100,
        table,
        Counts(
            llms_read=responses.n_llms,
            llms_incomplete=int((~enough).sum()),
            llms_tail=int((enough & ~above).sum()),
            llms_kept=len(rows),
            items_read=responses.n_items,
            items_kept=len(kept),
            answers_missing=int((len(firsts) - answered[rows]).sum()),
            prompts_missing=_lacking(responses.items, prompts),
            **removed,
        ),
        len(firsts),
        threshold,
        limit,
    )


def _lacking(items: tuple[str, ...], prompts: Mapping[str, str] | None) -> int | None:
    return None if prompts is None else sum(item not in prompts for item in items)


def _duplicates(items: tuple[str, ...], prompts: Mapping[str, str]) -> NDArray[np.bool_]:
    seen: set[str] = set()
    found = np.zeros(len(items), bool)
    for i, item in enumerate(items):
        prompt = prompts.get(item)
        if prompt is not None:
            found[i] = prompt in seen
            seen.add(prompt)
    return found


def _table(
    items: tuple[str, ...],
    duplicate: NDArray[np.bool_],
    statistics: ItemStatistics,
    reason: NDArray[np.str_],
) -> ItemTable:
    """Put the duplicates back among the others."""

    def full(column: Floats) -> Floats:
        found = np.full(len(items), np.nan)
        found[~duplicate] = column
        return found

    why = np.full(len(items), "duplicate", dtype="<U10")
    why[~duplicate] = reason
    return ItemTable(
        items,
        full(statistics.sd),
        full(statistics.difficulty),
        full(statistics.discrimination),
        why,
    )
