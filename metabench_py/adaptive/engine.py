"""Adaptive tests of many LLMs at once: on real answers that are there already, or drawn ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.adaptive.criteria import worth
from metabench_py.adaptive.exposure import Picker
from metabench_py.adaptive.settings import CatSettings, Estimator
from metabench_py.adaptive.state import Integers, State
from metabench_py.adaptive.tables import ItemTables
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.responses import MISSING, ResponseMatrix

Stop = Literal["precision", "length", "no items"]


@dataclass(frozen=True, eq=False)
class CatResult:
    """Adaptive tests of some LLMs; arrays have shape (n_llms,) unless said.

    Attributes
    ----------
    theta, se
        Final estimates; without any item the prior's (WLE: NaN).
    n_items
        Length of each test.
    used
        Positions of the items in the order given, shape (n_llms, longest); -1 after the end.
    theta_path, se_path
        After each item, shape (n_llms, longest); NaN after the end. Within a batch the values
        are those before it.
    stop
        Why each test ended.
    chosen
        How often each item was chosen, whether given or not, shape (n_items,).
    """

    items: tuple[str, ...]
    theta: Floats
    se: Floats
    n_items: Integers
    used: Integers
    theta_path: Floats
    se_path: Floats
    stop: tuple[Stop, ...]
    chosen: Integers

    @property
    def exposure(self) -> Floats:
        """Share of the LLMs that each item was given to, shape (n_items,)."""
        counts = np.bincount(self.used[self.used >= 0], minlength=len(self.items))
        result: Floats = counts / max(len(self.theta), 1)
        return result

    @property
    def overlap(self) -> float:
        """Share of items that two LLMs have in common on average (Chen, Ankenmann & Spray 2003)."""
        n, length = len(self.theta), float(self.n_items.mean()) if len(self.theta) else 0.0
        if n < 2 or length == 0.0:
            return float("nan")
        counts = self.exposure * n
        pairs = float((counts * (counts - 1.0)).sum()) / (n * (n - 1.0))
        return pairs / length


def simulate(
    responses: ResponseMatrix,
    parameters: ItemParameters,
    settings: CatSettings,
    *,
    filter: Floats | None = None,
    tables: ItemTables | None = None,
) -> CatResult:
    """Test every LLM of a matrix adaptively, with the answers that the matrix holds.

    Parameters
    ----------
    responses
        Must have every item of `parameters`. An item that an LLM lacks an answer to is never
        given to it.
    filter
        Of `sympson-hetter`, see `metabench_py.adaptive.sympson_hetter`.
    tables
        Of `parameters`, where many simulations share them.

    Raises
    ------
    InputError
        Sympson-Hetter's filter is absent or does not fit.
    ResponseError
        An item is not in the matrix.
    """
    tables = tables or ItemTables.of(parameters)
    values = responses.select(parameters.items).values
    n, n_items = values.shape
    if (settings.exposure == "sympson-hetter") != (filter is not None):
        raise InputError("Give a filter with sympson-hetter, and with nothing else.")
    if filter is not None and np.shape(filter) != (n_items,):
        raise InputError(f"A filter of shape {np.shape(filter)} is not of {n_items} items.")
    longest = settings.longest(n_items)
    state = State(tables, n, longest, settings.estimator)
    random = np.random.default_rng(settings.seed)
    picker = Picker(settings, random, filter, np.zeros(n_items, np.int64))
    theta_path, se_path = np.full((n, longest), np.nan), np.full((n, longest), np.nan)
    free = values != MISSING
    stop: list[Stop] = ["no items"] * n
    active = np.flatnonzero(free.any(axis=1))
    while active.size:
        asked = active
        for ability, size in batches(state.counts[active[0]], settings):
            # All active LLMs have the same number of items, short batches of the last ones apart.
            asked = _give_batch(state, picker, values, free, asked, ability, size, theta_path,
                                se_path)  # fmt: skip
        state.estimate(active)
        last = state.counts[active] - 1
        theta_path[active, last], se_path[active, last] = state.theta[active], state.se[active]
        active = go_on(state, settings, active, free, stop)
    theta, se = _without_none(state)
    return CatResult(
        parameters.items, theta, se, state.counts, state.used, theta_path, se_path, tuple(stop),
        picker.chosen,
    )  # fmt: skip


def _without_none(state: State) -> tuple[Floats, Floats]:
    """Abilities and standard errors, NaN where WLE has nothing to estimate from."""
    if state.estimator != "WLE":
        return state.theta, state.se
    some = state.counts > 0
    return np.where(some, state.theta, np.nan), np.where(some, state.se, np.nan)


def batches(given: int, settings: CatSettings) -> list[tuple[float | str | None, int]]:
    """Say what comes before the next estimate: (ability, items); None: the estimate so far."""
    if given > 0:
        return [(None, settings.batch)]
    if settings.n_random:
        return [("random", settings.n_random)]
    return [(theta, 1) for theta in settings.start]


def _give_batch(
    state: State,
    picker: Picker,
    values: NDArray[np.int8],
    free: NDArray[np.bool_],
    rows: Integers,
    ability: float | str | None,
    size: int,
    theta_path: Floats,
    se_path: Floats,
) -> Integers:
    """Give so many items to each LLM without estimating in between; gives who may have more."""
    longest = state.used.shape[1]
    rows = rows[(state.counts[rows] < longest) & free[rows].any(axis=1)]
    open_to = free[rows]
    worths = worth_at(state, rows, open_to, ability, picker)
    for _ in range(size):
        may = (state.counts[rows] < longest) & open_to.any(axis=1)
        rows, open_to, worths = rows[may], open_to[may], worths[may]
        if not rows.size:
            break
        worths = np.where(open_to, worths, -np.inf)
        items = picker.pick(worths, state, rows, open_to)
        free[rows] = open_to
        last = state.counts[rows]
        theta_path[rows, last], se_path[rows, last] = state.theta[rows], state.se[rows]
        state.give(rows, items, values[rows, items])
    return rows


def worth_at(
    state: State,
    rows: Integers,
    free: NDArray[np.bool_],
    ability: float | str | None,
    picker: Picker,
) -> Floats:
    """Give items' worth at a starting ability, at random, or by the criterion at the estimate."""
    if isinstance(ability, str):
        return np.where(
            free, picker.random.random((len(state.counts), free.shape[1]))[rows], -np.inf
        )
    if ability is not None:
        at = information(state.tables.parameters, ability)
        return np.where(free, at, -np.inf)
    return worth(state, rows, free, picker.settings.criterion)


def go_on(
    state: State,
    settings: CatSettings,
    active: Integers,
    free: NDArray[np.bool_],
    stop: list[Stop],
) -> Integers:
    """Note which tests have ended and why; gives the others."""
    counts = state.counts[active]
    rules: list[tuple[Stop, NDArray[np.bool_]]] = [
        ("no items", np.asarray(~free[active].any(axis=1)))
    ]
    if settings.max_items is not None:
        rules.append(("length", counts >= settings.max_items))
    if settings.se is not None:
        precise = (state.se[active] <= settings.se) & (counts >= settings.min_items)
        rules.append(("precision", precise))
    ended = np.zeros(len(active), np.bool_)
    # The later rule names the reason.
    for reason, over in rules:
        ended |= over
        for row in active[over]:
            stop[int(row)] = reason
    ended |= counts >= state.used.shape[1]
    return active[~ended]


def score_all(
    responses: ResponseMatrix, parameters: ItemParameters, estimator: Estimator = "MAP"
) -> tuple[Floats, Floats]:
    """Estimate abilities from all answers, as a test of all items would end; theta and se."""
    tables = ItemTables.of(parameters)
    values = responses.select(parameters.items).values
    state = State(tables, len(values), len(parameters.items), estimator)
    state.give_all(values)
    state.estimate(np.flatnonzero(state.counts > 0))
    return _without_none(state)


def generate_responses(
    parameters: ItemParameters, theta: ArrayLike, random: np.random.Generator
) -> ResponseMatrix:
    """Draw answers of LLMs of given abilities, named ``simulated-1`` and so on."""
    at = np.asarray(theta, np.float64)
    right = random.random((len(at), len(parameters.items))) < probability(parameters, at)
    names = tuple(f"simulated-{i + 1}" for i in range(len(at)))
    return ResponseMatrix(names, parameters.items, right.astype(np.int8))
