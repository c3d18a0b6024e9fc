"""Sympson & Hetter's filter, found by simulation (Sympson & Hetter 1985).

An item that is chosen is given with a probability of its own. The probabilities are set so that
no item goes to more than a share of the LLMs; the more LLMs would get it, the lower it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metabench_py.adaptive.engine import generate_responses, simulate
from metabench_py.adaptive.settings import CatSettings
from metabench_py.adaptive.tables import ItemTables
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats, ItemParameters

_ROUNDS = 20
_ENOUGH = 0.02


def sympson_hetter(
    parameters: ItemParameters,
    settings: CatSettings,
    *,
    n_llms: int = 1000,
    theta: Floats | None = None,
) -> Floats:
    """Find the probability that a chosen item is given.

    Parameters
    ----------
    settings
        With `max_exposure`, the largest share of LLMs.
    n_llms
        Simulated LLMs in each round.
    theta
        Abilities to draw LLMs from; None: the prior N(0, 1).

    Returns
    -------
    Shape (n_items,), above 0 and at most 1.

    Raises
    ------
    InputError
        Tests are so long that some items must go to more LLMs.
    """
    n_items = len(parameters.items)
    longest = settings.longest(n_items)
    if settings.se is None and longest > settings.max_exposure * n_items:
        raise InputError(
            f"Tests of {longest} of {n_items} items give the average item to "
            f"{100 * longest / n_items:.0f} % of the LLMs, above the largest exposure of "
            f"{100 * settings.max_exposure:g} %; take shorter tests or allow more."
        )
    random = np.random.default_rng(settings.seed)
    tables = ItemTables.of(parameters)
    filter = np.ones(n_items)
    plain = replace(settings, exposure="sympson-hetter")
    best, least = filter, np.inf
    for round_ in range(_ROUNDS):
        at = random.standard_normal(n_llms) if theta is None else random.choice(theta, n_llms)
        drawn = generate_responses(parameters, at, random)
        found = simulate(
            drawn, parameters, replace(plain, seed=settings.seed + round_), filter=filter,
            tables=tables,
        )  # fmt: skip
        worst = float(found.exposure.max())
        if worst < least:
            best, least = filter, worst
        if worst <= settings.max_exposure + _ENOUGH:
            return filter
        chosen = found.chosen / n_llms
        with np.errstate(divide="ignore"):
            filter = np.minimum(1.0, settings.max_exposure / chosen)
    return best
