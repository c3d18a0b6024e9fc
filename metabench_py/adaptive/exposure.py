"""How often an item may be given: chance among the best items, and Sympson & Hetter's filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.adaptive.settings import CatSettings
from metabench_py.adaptive.state import Integers, State
from metabench_py.irt.model import Floats


@dataclass(eq=False)
class Picker:
    """Takes an item for each LLM from the items' worth.

    Attributes
    ----------
    filter
        Sympson & Hetter's probability that a chosen item is also given, shape (n_items,).
    chosen
        How often each item was chosen, whether given or not, shape (n_items,).
    """

    settings: CatSettings
    random: np.random.Generator
    filter: Floats | None
    chosen: Integers

    def pick(
        self, values: Floats, state: State, rows: Integers, free: NDArray[np.bool_]
    ) -> Integers:
        """Take one item for each row of `values`; marks in `free` what must not come again.

        The first of equally good items is taken, except under ``random`` and where chance rules.
        """
        settings = self.settings
        # Drawn for all LLMs, so that one's test does not depend on when others end.
        drawing = settings.criterion == "random" or settings.exposure != "none"
        shape = (len(state.counts) if drawing else 0, free.shape[1])
        chance = self.random.random(shape)[rows] if drawing else np.empty(shape)
        if settings.criterion == "random":
            values = np.where(free, chance, -np.inf)
        elif settings.exposure == "progressive":
            values = self._progressive(values, chance, state, rows)
        elif settings.exposure == "randomesque" and settings.pool > 1:
            k = min(settings.pool, values.shape[1])
            edge = -np.partition(-values, k - 1, axis=1)[:, k - 1]
            best = (values >= edge[:, None]) & free
            values = np.where(best, chance, -np.inf)
        if self.filter is not None:
            picked = self._filtered(values, chance, free)
        else:
            picked = np.argmax(values, axis=1)
            self._count(picked)
        free[np.arange(len(rows)), picked] = False
        return picked

    def _count(self, items: Integers) -> None:
        self.chosen += np.bincount(items, minlength=len(self.chosen))

    def _progressive(self, values: Floats, chance: Floats, state: State, rows: Integers) -> Floats:
        """Mix worth with chance; the share of worth grows with length and precision."""
        settings, given = self.settings, state.counts[rows].astype(np.float64)
        longest = settings.longest(values.shape[1])
        share = np.zeros(len(rows))
        if settings.max_items is not None or settings.se is None:
            powers = np.arange(1, longest, dtype=np.float64) ** settings.acceleration
            sums = np.concatenate([[0.0], np.cumsum(powers)])
            share = sums[np.minimum(given.astype(np.int64), longest - 1)] / max(sums[-1], 1e-300)
        if settings.se is not None:
            with np.errstate(divide="ignore"):
                precise = (settings.se / state.se[rows]) ** 2
            reached = np.maximum(precise, given / max(longest - 1, 1)) ** settings.acceleration
            share = np.maximum(share, np.where(given > 0, reached, 0.0))
        share = np.clip(share, 0.0, 1.0)[:, None]
        highest = values.max(axis=1, keepdims=True)
        mixed = np.where(np.isfinite(values), values, 0.0) * share + chance * highest * (1 - share)
        return np.where(np.isfinite(values), mixed, -np.inf)

    def _filtered(self, values: Floats, chance: Floats, free: NDArray[np.bool_]) -> Integers:
        """Go down from the best item; one that fails its draw is not given to this LLM at all."""
        assert self.filter is not None
        left, picked = values.copy(), np.full(len(values), -1, np.int64)
        waiting = np.arange(len(values))
        while waiting.size:
            best = np.argmax(left[waiting], axis=1)
            # Where all have failed, the best of all is given.
            out = ~np.isfinite(left[waiting, best])
            best = np.where(out, np.argmax(values[waiting], axis=1), best)
            self._count(best[~out])
            given = out | (chance[waiting, best] < self.filter[best])
            picked[waiting[given]] = best[given]
            failed = waiting[~given]
            left[failed, best[~given]] = -np.inf
            free[failed, best[~given]] = False
            waiting = failed
        return picked
