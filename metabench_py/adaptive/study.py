"""One benchmark's adaptive tests under one choice of settings, and grids of such choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabench_py.adaptive.catr import simulate_by_catr
from metabench_py.adaptive.engine import CatResult, generate_responses, score_all, simulate
from metabench_py.adaptive.recovery import Summary, agreement, predict_scores, summarise
from metabench_py.adaptive.settings import CatSettings
from metabench_py.adaptive.sympson import sympson_hetter
from metabench_py.compute import Shared, Task, run_tasks
from metabench_py.errors import InputError, ResponseError
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.responses import MISSING, ResponseMatrix

CatEngine = Literal["native", "catR"]


@dataclass(frozen=True, eq=False)
class CatData:
    """What tests of one benchmark are simulated on.

    Attributes
    ----------
    responses
        Answers to every item of `parameters`.
    truth
        Abilities that drawn answers come from, shape (n_llms,); None: real answers, whose truth
        is the ability from all of them.
    score, fold
        Full scores (0-100, NaN where not known) and folds, shape (n_llms,); None: no scores.
    """

    benchmark: str
    parameters: ItemParameters
    responses: ResponseMatrix
    truth: Floats | None = None
    score: Floats | None = None
    fold: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        answered = (self.responses.select(self.parameters.items).values != MISSING).any(axis=1)
        if not answered.any():
            raise ResponseError(f"{self.benchmark}: no LLM has answered an item of the bank.")


@dataclass(frozen=True, eq=False)
class Study:
    """Tests of all LLMs under one choice of settings.

    Attributes
    ----------
    full_theta
        From all answers by the same estimator, shape (n_llms,).
    predicted
        Full scores predicted out of fold from the tests' abilities, shape (n_llms,); None
        without full scores.
    full_score
        How well scores are predicted from all answers, the limit of any test.
    """

    benchmark: str
    settings: CatSettings
    result: CatResult
    full_theta: Floats
    predicted: Floats | None
    summary: Summary
    full_score: Any

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "benchmark": self.benchmark,
            "settings": self.settings.to_dict(),
            **self.summary.to_dict(),
            "score_from_all_items": None if self.full_score is None else self.full_score.to_dict(),
        }


def drawn(benchmark: str, parameters: ItemParameters, theta: Floats, seed: int) -> CatData:
    """Draw answers of LLMs of these abilities."""
    random = np.random.default_rng(seed)
    return CatData(benchmark, parameters, generate_responses(parameters, theta, random), theta)


def run_study(data: CatData, settings: CatSettings, engine: CatEngine = "native") -> Study:
    """Test all LLMs and compare with their full abilities and scores.

    Raises
    ------
    RUnavailableError
        catR was asked for and is absent.
    """
    filter = None
    if settings.exposure == "sympson-hetter":
        filter = sympson_hetter(data.parameters, settings)
    if engine == "catR":
        result = simulate_by_catr(data.responses, data.parameters, settings)
    else:
        result = simulate(data.responses, data.parameters, settings, filter=filter)
    full, _ = score_all(data.responses, data.parameters, settings.estimator)
    predicted = by_score = by_full = None
    if data.score is not None and data.fold is not None:
        predicted = _predict(result.theta, data.score, data.fold)
        by_score = agreement(predicted, data.score)
        by_full = agreement(_predict(full, data.score, data.fold), data.score)
    truth = full if data.truth is None else data.truth
    return Study(
        data.benchmark, settings, result, full, predicted,
        summarise(result, truth, by_score), by_full,
    )  # fmt: skip


def _predict(theta: Floats, score: Floats, fold: NDArray[np.int64]) -> Floats:
    finite = np.isfinite(theta)
    result = np.full(len(theta), np.nan)
    result[finite] = predict_scores(theta[finite], score[finite], fold[finite])
    return result


def grid_of(base: CatSettings, axes: Mapping[str, Sequence[Any]]) -> list[CatSettings]:
    """Give every combination of the axes' values, the first axis changing slowest.

    Parameters
    ----------
    axes
        Values by name of a setting; an empty list leaves it as in `base`.
    """
    grid = [base]
    for name, values in axes.items():
        if values:
            grid = [_with(one, name, value) for one in grid for value in values]
    return grid


def _with(settings: CatSettings, name: str, value: Any) -> CatSettings:
    changes: dict[str, Any] = {name: value}
    if name == "max_items" and value is not None:
        changes["min_items"] = min(settings.min_items, value)
    return replace(settings, **changes)


@dataclass(frozen=True, eq=False)
class GridRow:
    """One benchmark under one choice of settings of a grid."""

    benchmark: str
    settings: CatSettings
    summary: Summary

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "benchmark": self.benchmark,
            "settings": self.settings.to_dict(),
            **self.summary.to_dict(),
        }


def run_grid(
    data: Sequence[CatData],
    grid: Sequence[CatSettings],
    executor: Executor,
    progress: Callable[[], None] = lambda: None,
) -> list[GridRow]:
    """Run every choice on every benchmark; rows in the order of benchmarks, then of the grid.

    Each has the seed of its settings, so the rows are the same wherever they run.
    """
    if not grid:
        raise InputError("The grid is empty; give one choice or more.")
    found: dict[tuple[int, int], GridRow] = {}
    tasks = []
    for i, one in enumerate(data):
        shared = Shared(one)
        for j, settings in enumerate(grid):

            def done(row: GridRow, at: tuple[int, int] = (i, j)) -> None:
                found[at] = row
                progress()

            name = f"{one.benchmark} {settings.name()}"
            tasks.append(Task(name, _grid_row, (shared, settings), done))
    run_tasks(tasks, executor)
    return [found[i, j] for i in range(len(data)) for j in range(len(grid))]


def _grid_row(shared: Shared[CatData], settings: CatSettings) -> GridRow:
    study = run_study(shared.value, settings)
    return GridRow(study.benchmark, settings, study.summary)


def best_rows(rows: Sequence[GridRow], slack: float) -> list[GridRow]:
    """Give of each benchmark the shortest tests whose error is within `slack` of the least one.

    The error is that of the full score where it is known, else of the ability.

    Parameters
    ----------
    slack
        Share of the least error: 0.05 allows 5 % more.
    """
    best = []
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        own = [(row, error) for row in rows if row.benchmark == benchmark
               and (error := _error(row)) is not None]  # fmt: skip
        if own:
            limit = min(error for _, error in own) * (1.0 + slack)
            good = [(row.summary.mean_items, error, k) for k, (row, error) in enumerate(own)
                    if error <= limit]  # fmt: skip
            best.append(own[min(good)[2]][0])
    return best


def _error(row: GridRow) -> float | None:
    return (row.summary.score or row.summary.theta).rmse
