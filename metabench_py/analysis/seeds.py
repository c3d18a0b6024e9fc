"""How much the result of a calibration depends on seeds and settings, and which setting is best.

The original compares five seeds of the split and three penalties (``analysis/reduced/best.R``,
``figures/f.seeds.R``), and picks a penalty for each seed and benchmark by eye. Here the rule is
said: the smallest validation RMSE plus a cost for every item. At 0.005 points an item it makes
18 of the 24 picks that the original's notes tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metabench_py.analysis.group_tests import json_values
from metabench_py.analysis.seed_results import SeedRow, StageOfRow
from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError

COST = 0.005


@dataclass(frozen=True)
class SettingRow:
    """A result beside the others of its seed.

    Attributes
    ----------
    setting
        What it was asked for, as far as results differ in it.
    objective
        Validation RMSE plus the cost of its items; NaN: not chosen by validation.
    best
        It has the smallest objective of its split, seed and benchmark; of equal ones the first.
    """

    row: SeedRow
    setting: str
    objective: float
    best: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **self.row.to_dict(),
            "setting": self.setting,
            **json_values({"objective": self.objective}),
            "best": self.best,
        }


@dataclass(frozen=True)
class Spread:
    """Results of one setting over seeds.

    Attributes
    ----------
    n, n_splits
        Results, and different splits among them.
    rmse, mae, spearman, n_items
        Mean, standard deviation (NaN for one result), least and largest.
    """

    stage: StageOfRow
    benchmark: str
    setting: str
    n: int
    n_splits: int
    rmse: tuple[float, float, float, float]
    mae: tuple[float, float, float, float]
    spearman: tuple[float, float, float, float]
    n_items: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null."""
        known = json_values(asdict(self))
        for name in ("rmse", "mae", "spearman", "n_items"):
            known[name] = dict(zip(("mean", "sd", "lowest", "highest"), known[name], strict=True))
        return known


@dataclass(frozen=True, eq=False)
class SeedStudy:
    """All results, and what they say together.

    Attributes
    ----------
    rows
        By stage, benchmark, split, seed and setting.
    spread
        Of each setting over all splits and seeds.
    best_spread
        Of each benchmark's best settings: what a user who follows the rule gets.
    cost
        Points that an item costs.
    """

    rows: tuple[SettingRow, ...]
    spread: tuple[Spread, ...]
    best_spread: tuple[Spread, ...]
    cost: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        from metabench_py import __version__

        return {
            "schema": 1,
            "cost": self.cost,
            "rows": [one.to_dict() for one in self.rows],
            "spread": [one.to_dict() for one in self.spread],
            "best_spread": [one.to_dict() for one in self.best_spread],
            "software": {"metabench-py": __version__, "numpy": np.__version__},
        }


def analyze_seeds(
    rows: Sequence[SeedRow], cost: float = COST, only: Sequence[str] = ()
) -> SeedStudy:
    """Mark the best setting of every seed, and measure spreads.

    Parameters
    ----------
    cost
        Score points that an item costs, at least 0.
    only
        Benchmarks to take; empty: all.

    Raises
    ------
    InputError
        There is nothing to compare, or the cost is not usable.
    """
    if not (cost >= 0 and math.isfinite(cost)):
        raise InputError(f"An item's cost must be 0 or more, not {cost}.")
    there = list(dict.fromkeys(row.benchmark for row in rows))
    absent = [name for name in only if name not in there]
    if absent:
        raise InputError(f"No result of {absent[0]!r}; there are {', '.join(there)}.")
    some = [row for row in rows if not only or row.benchmark in only]
    if not some:
        raise InputError("No results; give folders of calibrate select, fit or run.")
    settings = _settings(some)
    ordered = sorted(zip(some, settings, strict=True), key=lambda one: _order(*one))
    best: dict[tuple[str, int | None, str], int] = {}
    for i, (row, _) in enumerate(ordered):
        key = (row.split, row.seed, row.benchmark)
        if row.stage == "select" and (
            key not in best or _objective(row, cost) < _objective(ordered[best[key]][0], cost)
        ):
            best[key] = i
    chosen_rows = set(best.values())
    judged = [
        SettingRow(row, setting, _objective(row, cost), i in chosen_rows)
        for i, (row, setting) in enumerate(ordered)
    ]
    groups: dict[tuple[StageOfRow, str, str], list[SeedRow]] = {}
    chosen: dict[tuple[StageOfRow, str, str], list[SeedRow]] = {}
    for one in judged:
        row = one.row
        groups.setdefault((row.stage, row.benchmark, one.setting), []).append(row)
        if one.best:
            chosen.setdefault((row.stage, row.benchmark, "best"), []).append(row)
    return SeedStudy(
        tuple(judged),
        tuple(_spread(key, some) for key, some in groups.items()),
        tuple(_spread(key, some) for key, some in chosen.items()),
        cost,
    )


def _objective(row: SeedRow, cost: float) -> float:
    return row.rmse_validation + cost * row.n_items


def _settings(rows: Sequence[SeedRow]) -> list[str]:
    """Say in which options each result differs from others of its stage."""
    varying: dict[str, list[str]] = {}
    for stage in dict.fromkeys(row.stage for row in rows):
        of = [row.options for row in rows if row.stage == stage]
        names = dict.fromkeys(name for options in of for name in options)
        varying[stage] = [
            name
            for name in names
            if name == "penalty" or len({repr(options.get(name)) for options in of}) > 1
        ]
    return [_told(row, varying[row.stage]) for row in rows]


def _told(row: SeedRow, names: Sequence[str]) -> str:
    words = [_word(name, row.options) for name in names if row.options.get(name) is not None]
    if row.stage == "fit":
        words = [f"{row.item_type} {row.method}", *words]
    return ", ".join(words) or "as given"


def _word(name: str, options: Mapping[str, Any]) -> str:
    value = options[name]
    if isinstance(value, list | tuple):
        value = "/".join(map(str, value))
    told = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{name.replace('_', ' ')} {told}"


def _order(row: SeedRow, setting: str) -> tuple[Any, ...]:
    stages = ("fit", "select", "bundle")
    number = (0, int(row.split), "") if row.split.isdecimal() else (1, 0, row.split)
    # As everywhere: the six, what else there is, the grand score.
    place = BENCHMARKS.index(row.benchmark) if row.benchmark in BENCHMARKS else len(BENCHMARKS)
    penalty = -1.0 if row.penalty is None else row.penalty
    return (
        stages.index(row.stage), row.benchmark == "grand", place, row.benchmark, number,
        -1 if row.seed is None else row.seed, penalty, setting,
    )  # fmt: skip


def _spread(key: tuple[StageOfRow, str, str], rows: Sequence[SeedRow]) -> Spread:
    def told(name: str) -> tuple[float, float, float, float]:
        values = np.array([getattr(row, name) for row in rows], float)
        sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        return float(values.mean()), sd, float(values.min()), float(values.max())

    return Spread(
        *key, len(rows), len({row.split for row in rows}),
        told("rmse"), told("mae"), told("spearman"), told("n_items"),
    )  # fmt: skip
