"""From the options of a selection to its search: the space, the optimiser, the study's name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metabench_py.benchmarks import ItemType
from metabench_py.calibration.few_llms import affordable
from metabench_py.calibration.search import (
    HIGHEST_THRESHOLD,
    Optimiser,
    OptunaOptimiser,
    SearchSpace,
)
from metabench_py.calibration.selector import Choice, Selector
from metabench_py.calibration.work import digest

if TYPE_CHECKING:
    from metabench_py.calibration.select import SelectOptions


def search_space(selector: Selector, options: SelectOptions) -> SearchSpace:
    """Give what may be chosen: item types that so many LLMs can estimate, and so on."""
    kinds: tuple[ItemType, ...] = options.item_types or affordable(
        ("2PL", "3PL", "4PL"), len(selector.learning)
    )
    return SearchSpace(
        item_types=kinds,
        methods=options.methods,
        grids=options.grids,
        highest_threshold=_highest_threshold(selector, kinds, options),
        budget=selector.rule.budget is not None,
    )


def _highest_threshold(
    selector: Selector, kinds: tuple[ItemType, ...], options: SelectOptions
) -> float:
    """Give the threshold above which too few items are left, by any item type."""
    if options.budget is not None or options.optimiser != "optuna" or not _searches(options):
        return HIGHEST_THRESHOLD
    tenth = [0.0]
    for kind in kinds:
        first = Choice(kind, options.methods[0], options.grids[0])
        largest = np.sort(selector.maxima(first).max(axis=0))[::-1]
        if len(largest) >= selector.rule.least_items:
            tenth.append(float(largest[selector.rule.least_items - 1]))
    return min(max(tenth), HIGHEST_THRESHOLD)


def _searches(options: SelectOptions) -> bool:
    return options.penalty > 0 or options.budget is not None or options.total_budget is not None


def needs_search(options: SelectOptions, space: SearchSpace) -> bool:
    """Tell whether there is more than one choice to try."""
    if not _searches(options) or options.n_trials == 1:
        return False
    one = len(space.item_types) == len(space.methods) == len(space.grids) == 1
    return not (one and options.threshold is not None)


def make_optimiser(
    options: SelectOptions, space: SearchSpace, storage: Path | None, name: str
) -> Optimiser:
    """Open the optimiser; `storage` and `name` are for resuming."""
    if options.optimiser == "rBayesianOptimization":
        from metabench_py.calibration.search_r import RBayesianOptimiser

        return RBayesianOptimiser(space, options.seed, options.n_initial, options.threshold)
    return OptunaOptimiser(space, options.seed, storage, name, options.n_initial, options.threshold)


def study_name(selector: Selector, options: SelectOptions, space: SearchSpace) -> str:
    """Name a search by all that its results depend on."""
    data = selector.data
    asked = {
        key: value for key, value in asdict(options).items() if key not in ("n_trials", "engine")
    }
    return digest(
        data.train.values,
        list(data.train.llms),
        list(data.train.items),
        data.train_score,
        asked,
        asdict(space),
        [selector.rule.engine, selector.engine.version],
    )
