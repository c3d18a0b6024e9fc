"""A forest of what the process leaves, on all LLMs and without each fold."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from metabench_py.compute import Task
from metabench_py.irt.model import Floats
from metabench_py.stack.fit_data import FitData
from metabench_py.stack.fit_trees import fit_random
from metabench_py.stack.tasks import one_thread, run_here_or_there
from metabench_py.stack.trees import Forest

# Trees: more do no harm, but with item responses a bundle has room for so many only.
TREES, TREES_WITH_RESPONSES = 192, 80


def fit_rest(
    data: FitData,
    columns: Floats,
    fitted: Floats,
    seed: int,
    executor: Executor | None,
) -> tuple[Forest, Floats]:
    """Fit what is left, and predict it for each fold without the fold.

    Parameters
    ----------
    columns
        What trees look at, shape (n, n_columns), the features' first.
    fitted
        The process's predictions of all LLMs, fitted without each fold, and on all LLMs last:
        shape (n_folds + 1, n, n_outputs).

    Returns
    -------
    The forest, and its held-out predictions, shape (n, n_outputs).
    """
    # Only one of each cluster: copies would split for nothing.
    first = np.zeros(len(data.clusters), dtype=bool)
    first[np.unique(data.clusters, return_index=True)[1]] = True
    trees = TREES_WITH_RESPONSES if data.n_items else TREES
    folds = np.unique(data.fold)
    held_out = np.zeros_like(data.truth)
    found: list[Forest] = []
    tasks = []
    for f in range(len(folds) + 1):
        out = data.fold == folds[f] if f < len(folds) else np.zeros(len(first), dtype=bool)
        left = data.truth - fitted[f]
        rows = first & ~out
        tasks.append(
            Task(
                f"rest without fold {f}" if f < len(folds) else "rest",
                random_task,
                (columns[rows], left[rows], columns[out], data.features.shape[1], trees, seed),
                partial(_take, out=out, held_out=held_out, found=found),
            )
        )
    run_here_or_there(tasks, executor)
    return found[0], held_out


def _take(
    result: tuple[Forest | None, Floats],
    out: NDArray[np.bool_],
    held_out: Floats,
    found: list[Forest],
) -> None:
    forest, predicted = result
    held_out[out] = predicted
    if forest is not None:
        found.append(forest)


def random_task(
    columns: Floats, left: Floats, new: Floats, n_features: int, trees: int, seed: int
) -> tuple[Forest | None, Floats]:
    """Fit a forest and predict the new LLMs; the forest itself only where there are none."""
    with one_thread():
        forest = fit_random(columns, left, n_features, trees, seed)
        return (None if len(new) else forest), forest.predict(new)
