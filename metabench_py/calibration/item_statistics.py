"""Spread, difficulty and discrimination of items, and which items these leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING

ItemRule = Literal["point-biserial", "original"]
Reason = Literal["", "duplicate", "variance", "too_easy", "low_disc"]

ITEM_RULES: tuple[ItemRule, ...] = get_args(ItemRule)
# In the order in which they are tried; an item has the first that holds.
REASONS: tuple[Reason, ...] = get_args(Reason)[1:]
# Share of right answers by guessing that the original corrects every benchmark for.
GUESS_RATE = 0.25
# Items at a time: their answers as doubles take 50 MB for 6,000 LLMs.
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class ItemStatistics:
    """What the answers say about each item; arrays of shape (n_items,).

    Attributes
    ----------
    answered
        How many LLMs answered it; the others count for nothing here.
    sd
        Standard deviation of the 0/1 answers (n - 1 in the denominator).
    difficulty
        Share of right answers times 0.75, the original's correction for guessing: the easier the
        item, the higher.
    discrimination
        By the rule, see `item_statistics`; NaN where it has none.
    """

    answered: NDArray[np.int64]
    sd: Floats
    difficulty: Floats
    discrimination: Floats


def item_statistics(
    values: NDArray[np.int8], score: Floats, rule: ItemRule = "point-biserial"
) -> ItemStatistics:
    """Describe each item by its answers and the scores of who gave them.

    Parameters
    ----------
    values
        Shape (n_llms, n_items): 1 right, 0 wrong, -1 not answered.
    score
        Shape (n_llms,), in any unit.
    rule
        ``point-biserial``: the correlation of answer and score, from the means m1 and m0 of who
        was right and who was wrong. ``original``: that of the original's preprocessing, which has
        the mean of all in place of m0 and so is the correlation times the share of wrong answers
        (an easy item looks flat).
    """
    n_items = values.shape[1]
    centred = score - score.mean()
    answered = np.empty(n_items, np.int64)
    sd, difficulty, discrimination = (np.full(n_items, np.nan) for _ in range(3))
    for start in range(0, n_items, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = values[:, part]
        right = (block == 1).astype(np.float64)
        n1, sum1 = right.sum(axis=0), centred @ right
        known = block != MISSING
        if known.all():
            n = np.full(len(n1), float(len(score)))
            total = np.full(len(n1), centred.sum())
            squares = np.full(len(n1), centred @ centred)
        else:
            weight = known.astype(np.float64)
            n, total, squares = weight.sum(axis=0), centred @ weight, centred**2 @ weight
        n0 = n - n1
        with np.errstate(all="ignore"):
            mean, mean1, mean0 = total / n, sum1 / n1, (total - sum1) / n0
            spread = np.sqrt((squares - n * mean**2) / (n - 1))
            other = mean if rule == "original" else mean0
            # The last factor is 0 where all were right, whatever the means are.
            found = (mean1 - other) / spread * np.sqrt(n1 * n0 / (n * (n - 1)))
            sd[part] = np.sqrt(n1 * n0 / (n * (n - 1)))
            # In this order: an item of exactly 95 % right answers is decided by its rounding.
            difficulty[part] = n1 * (1 - GUESS_RATE) / n
        answered[part] = n.astype(np.int64)
        discrimination[part] = np.where(np.isfinite(found), found, np.nan)
    return ItemStatistics(answered, sd, difficulty, discrimination)


def reasons(
    statistics: ItemStatistics, *, least_sd: float, easiest: float, least_discrimination: float
) -> NDArray[np.str_]:
    """Say why each item is left out, shape (n_items,); empty: it is kept.

    Parameters
    ----------
    least_sd
        ``variance``: the standard deviation is not above it, or there is none.
    easiest
        ``too_easy``: more than this share of the answers is right.
    least_discrimination
        ``low_disc``: the discrimination is nearer to 0. Items that discriminate the wrong way
        stay, as does one that has no discrimination although its answers differ.
    """
    flat = ~(statistics.sd > least_sd)
    easy = statistics.difficulty > easiest * (1 - GUESS_RATE)
    low = np.abs(statistics.discrimination) < least_discrimination
    found: NDArray[np.str_] = np.select(
        [flat, easy, low], ["variance", "too_easy", "low_disc"], default=""
    )
    return found
