"""How studies of items run: a call without each fold of each benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

import numpy as np

from metabench_py.analysis.study_data import TEST, StudyData
from metabench_py.compute import Shared, Task, run_tasks
from metabench_py.irt.model import Floats

T = TypeVar("T")
Progress = Callable[[int, int], None]


def run_folds(
    data: Mapping[str, StudyData],
    function: Callable[..., T],
    arguments: Mapping[str, tuple[Any, ...]],
    *,
    executor: Executor,
    progress: Progress | None = None,
) -> dict[str, dict[int, T]]:
    """Call a function without each fold in turn, and (-1) on all training LLMs.

    Parameters
    ----------
    function
        Module-level; takes the shared data, the fold left out, and `arguments`.
    arguments
        By benchmark; picklable.
    executor
        Runs one fold of one benchmark a call.
    progress
        Told how many of how many calls are done.

    Returns
    -------
    Its values by benchmark and fold, in the data's order.
    """
    values: dict[tuple[str, int], T] = {}
    tasks: list[Task] = []
    for name, one in data.items():
        shared = Shared(one)
        for held in (TEST, *range(one.n_folds)):

            def done(value: T, key: tuple[str, int] = (name, held)) -> None:
                values[key] = value
                if progress is not None:
                    progress(len(values), len(tasks))

            what = "all training LLMs" if held == TEST else f"without fold {held + 1}"
            call = (shared, held, *arguments[name])
            tasks.append(Task(f"{name}, {what}", function, call, done))
    run_tasks(tasks, executor)
    return {
        name: {held: values[name, held] for held in (TEST, *range(one.n_folds))}
        for name, one in data.items()
    }


def rms(error: Floats) -> float:
    """Root mean square of all that is in an array."""
    return float(np.sqrt(np.mean(error**2)))
