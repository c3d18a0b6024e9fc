"""Fitting the stack's members, each part a task that a worker may do."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.compute import Task, run_tasks
from metabench_py.errors import MissingDependencyError
from metabench_py.irt.model import Floats
from metabench_py.stack.fit_data import FitData
from metabench_py.stack.fit_gp import GpChoice, GpData, GpOutput, gp_data, join_outputs
from metabench_py.stack.fit_gp import fit_output as fit_gp_output
from metabench_py.stack.fit_spline import FEW_LLMS, SplineChoice, fit_splines
from metabench_py.stack.fit_trees import ALONE, TOGETHER, Boosting, fit_boosted, fit_random
from metabench_py.stack.members import Member, ProcessMember, SplineMember, TreesMember
from metabench_py.stack.trees import Forest
from metabench_py.stack.views import Views, fit_views

# Slopes of a line, and trees for the rest.
Boosted = tuple[Floats, Forest]


@dataclass(frozen=True, eq=False)
class StackChoices:
    """Everything that a fit chose by folds or likelihood, for refits on other rows.

    Attributes
    ----------
    spline
        Penalties.
    process
        Hyperparameters, one an output.
    weights
        Shape (n_members, n_outputs).
    """

    spline: SplineChoice
    process: tuple[GpChoice, ...]
    weights: Floats


@dataclass(frozen=True, eq=False)
class FittedMembers:
    """All members, and what was chosen on the way.

    Attributes
    ----------
    views
        What trees look at; None: too few LLMs for trees.
    held_out
        Predictions from the other folds, shape (n_members, n, n_outputs).
    """

    views: Views | None
    members: dict[str, Member]
    held_out: Floats
    spline: SplineChoice
    process: tuple[GpChoice, ...]


def fit_members(
    data: FitData, kept: StackChoices | None, seed: int, executor: Executor | None
) -> FittedMembers:
    """Fit all members on all LLMs and without each fold.

    Parameters
    ----------
    kept
        Choices of an earlier fit; None: choose.
    """
    shared = gp_data(
        data.features,
        data.responses,
        tuple(data.n_items.values()),
        data.groups,
        data.clusters,
        data.fold,
        seed,
    )
    processes: dict[int, GpOutput] = {}
    boosted: dict[int, tuple[Boosted, Floats]] = {}
    enough = len(data.features) >= FEW_LLMS
    views = fit_views(data.features, data.responses) if enough else None
    columns = None if views is None else views.columns(data.features, data.responses)
    tasks = []
    for i, benchmark in enumerate(data.benchmarks):
        truth = data.truth[:, i]
        choice = None if kept is None else kept.process[i]
        tasks.append(
            Task(
                f"process of {benchmark}",
                process_task,
                (shared, truth, choice),
                partial(processes.__setitem__, i),
            )
        )
        if columns is not None:
            how = TOGETHER if len(data.benchmarks) > 1 else ALONE
            tasks.append(
                Task(
                    f"trees of {benchmark}",
                    boosted_task,
                    (columns, truth, data.fold, how, seed),
                    partial(boosted.__setitem__, i),
                )
            )
    _run(tasks, executor)
    spline, spline_out, chosen = fit_splines(
        data.features, data.truth, data.fold, data.counts, None if kept is None else kept.spline
    )
    order = range(len(data.benchmarks))
    outputs = [processes[i] for i in order]
    process_out = np.column_stack([o.held_out for o in outputs])
    rest = None
    # Alone, a benchmark's three features do not tell families apart.
    if columns is not None and len(data.benchmarks) > 1:
        rest, rest_out = _rest(data, columns, outputs, seed, executor)
        process_out += rest_out
    members: dict[str, Member] = {
        "spline": SplineMember(spline),
        "process": ProcessMember(join_outputs(shared, outputs), rest),
    }
    held_out = [spline_out, process_out]
    if boosted:
        members["trees"] = TreesMember(
            np.column_stack([boosted[i][0][0] for i in order]),
            tuple(boosted[i][0][1] for i in order),
        )
        held_out.append(np.column_stack([boosted[i][1] for i in order]))
    process = tuple(o.choice for o in outputs)
    return FittedMembers(views, members, np.stack(held_out), chosen, process)


def _rest(
    data: FitData,
    columns: Floats,
    outputs: list[GpOutput],
    seed: int,
    executor: Executor | None,
) -> tuple[Forest, Floats]:
    """Fit what the process leaves, and predict it for each fold without the fold."""
    # Only one of each cluster, so that every leaf is a mean of different LLMs.
    first = np.zeros(len(data.clusters), dtype=bool)
    first[np.unique(data.clusters, return_index=True)[1]] = True
    folds = np.unique(data.fold)
    held_out = np.zeros_like(data.truth)
    found: list[Forest] = []
    tasks = []
    for f in range(len(folds) + 1):
        out = data.fold == folds[f] if f < len(folds) else np.zeros(len(first), dtype=bool)
        left = data.truth - np.column_stack([o.fitted[f] for o in outputs])
        rows = first & ~out
        tasks.append(
            Task(
                f"rest without fold {f}" if f < len(folds) else "rest",
                random_task,
                (columns[rows], left[rows], columns[out], seed),
                partial(_take_rest, out=out, held_out=held_out, found=found),
            )
        )
    _run(tasks, executor)
    return found[0], held_out


def _take_rest(
    result: tuple[Forest | None, Floats],
    out: NDArray[np.bool_],
    held_out: Floats,
    found: list[Forest],
) -> None:
    forest, predicted = result
    held_out[out] = predicted
    if forest is not None:
        found.append(forest)


def _run(tasks: list[Task], executor: Executor | None) -> None:
    if executor is not None:
        run_tasks(tasks, executor)
        return
    for task in tasks:
        task.done(task.function(*task.args))


def process_task(data: GpData, truth: Floats, choice: GpChoice | None) -> GpOutput:
    """Fit one output of the Gaussian process (a worker calls it)."""
    with one_thread():
        return fit_gp_output(data, truth, choice)


def boosted_task(
    columns: Floats, truth: Floats, fold: NDArray[np.int64], how: Boosting, seed: int
) -> tuple[Boosted, Floats]:
    """Fit one output's trees on all LLMs and without each fold (a worker calls it)."""
    with one_thread():
        held_out = np.zeros(len(truth))
        for k in np.unique(fold):
            out = fold == k
            slopes, forest = fit_boosted(columns[~out], truth[~out], how, seed)
            held_out[out] = columns[out] @ slopes + forest.predict(columns[out])[:, 0]
        return fit_boosted(columns, truth, how, seed), held_out


def random_task(
    columns: Floats, left: Floats, new: Floats, seed: int
) -> tuple[Forest | None, Floats]:
    """Fit a forest and predict the new LLMs; the forest itself only where there are none."""
    with one_thread():
        forest = fit_random(columns, left, seed)
        return (None if len(new) else forest), forest.predict(new)


def one_thread() -> Any:
    """One thread for linear algebra and trees, so that sums are the same wherever they run."""
    try:
        import sklearn  # noqa: F401 - threads can be limited only where it is loaded
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingDependencyError(
            "Fitting the stack needs scikit-learn; install it with `pip install scikit-learn`. "
            "Predicting does not."
        ) from error
    return threadpool_limits(limits=1)
