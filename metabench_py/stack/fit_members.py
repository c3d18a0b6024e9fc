"""Fitting the stack's members, each part a task that a worker may do."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from metabench_py.compute import Task
from metabench_py.irt.model import Floats
from metabench_py.stack.evidence import Settings
from metabench_py.stack.fit_data import FitData
from metabench_py.stack.fit_gp import GpOutput, join_outputs
from metabench_py.stack.fit_gp import fit_output as fit_gp_output
from metabench_py.stack.fit_rest import fit_rest
from metabench_py.stack.fit_scale import fit_scale
from metabench_py.stack.fit_spline import FEW_LLMS, SplineChoice, fit_splines
from metabench_py.stack.fit_trees import ALONE, TOGETHER, Boosting, fit_boosted
from metabench_py.stack.gp_data import GpData, gp_data
from metabench_py.stack.members import (
    Member,
    ProcessMember,
    SplineMember,
    TreesMember,
)
from metabench_py.stack.tasks import one_thread, run_here_or_there
from metabench_py.stack.trees import Forest
from metabench_py.stack.views import Views, fit_views

# Slopes of a line, and trees for the rest.
Boosted = tuple[Floats, Forest]


@dataclass(frozen=True, eq=False)
class FittedMembers:
    """All members, and what was chosen on the way.

    Attributes
    ----------
    views
        What trees look at; None: too few LLMs for trees.
    held_out
        Predictions from the other folds, shape (n_members, n, n_outputs).
    rest, rest_out
        What the process leaves (None: too few LLMs for trees, or one benchmark), and what that
        predicts from the other folds, shape (n, n_outputs).
    spline, process
        Penalties, and hyperparameters with the noise's factor, one an output.
    """

    views: Views | None
    members: dict[str, Member]
    held_out: Floats
    rest: Forest | None
    rest_out: Floats
    spline: SplineChoice
    process: tuple[tuple[Settings, float], ...]


def fit_members(data: FitData, seed: int, executor: Executor | None) -> FittedMembers:
    """Fit all members on all LLMs and without each fold."""
    enough = len(data.features) >= FEW_LLMS
    # Alone, a benchmark's three features do not tell families apart, and points fill their space.
    together = enough and len(data.benchmarks) > 1
    spline, spline_out, chosen = fit_splines(data.features, data.truth, data.fold, data.counts)
    views = fit_views(data.features, data.responses) if enough else None
    columns = np.zeros((len(data.features), 0))
    if views is not None:
        columns = views.columns(data.features, data.responses)
    shared = gp_data(
        data.features,
        data.responses,
        tuple(data.n_items.values()),
        data.groups,
        data.clusters,
        data.fold,
        seed,
    )
    relative = _relative_noise(data, spline_out) if together else np.ones_like(data.truth)
    processes: dict[int, GpOutput] = {}
    boosted: dict[int, tuple[Boosted, Floats]] = {}
    tasks = []
    for i, benchmark in enumerate(data.benchmarks):
        truth = data.truth[:, i]
        tasks.append(
            Task(
                f"process of {benchmark}",
                process_task,
                (shared, truth, relative[:, i], together),
                partial(processes.__setitem__, i),
            )
        )
        if enough:
            tasks.append(
                Task(
                    f"trees of {benchmark}",
                    boosted_task,
                    (columns, truth, data.fold, TOGETHER if together else ALONE, seed),
                    partial(boosted.__setitem__, i),
                )
            )
    run_here_or_there(tasks, executor)
    order = range(len(data.benchmarks))
    outputs = [processes[i] for i in order]
    process = join_outputs(shared, outputs)
    members: dict[str, Member] = {
        "spline": SplineMember(spline),
        "process": ProcessMember(process),
    }
    held_out = {"spline": spline_out, "process": np.column_stack([o.held_out for o in outputs])}
    if enough:
        members["trees"] = TreesMember(
            np.column_stack([boosted[i][0][0] for i in order]),
            tuple(boosted[i][0][1] for i in order),
        )
        held_out["trees"] = np.column_stack([boosted[i][1] for i in order])
    rest, rest_out = None, np.zeros_like(data.truth)
    if together:
        fitted = np.stack([o.fitted for o in outputs], axis=2)
        rest, rest_out = fit_rest(data, columns, fitted, seed, executor)
    return FittedMembers(
        views,
        members,
        np.stack([held_out[kind] for kind in members]),
        rest,
        rest_out,
        chosen,
        tuple((o.settings, o.noise) for o in outputs),
    )


def _relative_noise(data: FitData, held_out: Floats) -> Floats:
    """Say how much more each LLM's score varies than the middle one's, shape (n, n_outputs).

    Where scores vary widely, a process that took all LLMs alike would follow them too closely.
    """
    _, scale, _ = fit_scale(data.features, held_out - data.truth, data.fold)
    logs = 2.0 * np.log(scale)
    relative: Floats = np.exp(logs - logs.mean(axis=0))
    return relative


def process_task(data: GpData, truth: Floats, relative: Floats, move: bool) -> GpOutput:
    """Fit one output of the Gaussian process (a worker calls it)."""
    with one_thread():
        return fit_gp_output(data, truth, relative, move=move)


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
