"""Fitting the stack: members, weights and the scale of the error, all by grouped folds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Target
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.stack.fit_spline import fit_spline, fit_splines
from metabench_py.stack.folds import group_folds
from metabench_py.stack.inputs import (
    StackInputs,
    benchmarks_of,
    feature_matrix,
    response_matrix,
    targets_of,
)
from metabench_py.stack.model import Member, SplineMember, Stack

LEAST_LLMS = 20


@dataclass(frozen=True)
class StackOptions:
    """How to fit.

    Attributes
    ----------
    folds
        Inner folds, by which weights and penalties are chosen.
    seed
        Of the folds and of whatever is drawn.
    """

    folds: int = 5
    seed: int = 1


@dataclass(frozen=True, eq=False)
class StackFit:
    """A fitted stack and how it came about.

    Attributes
    ----------
    stack
        To predict with.
    held_out
        Each LLM's prediction from the folds without its group, shape (n,) a target.
    report
        JSON values: weights, hyperparameters, seconds, near-duplicate groups.
    """

    stack: Stack
    held_out: dict[Target, Floats]
    report: dict[str, Any]


def fit_stack(
    inputs: StackInputs,
    scores: Mapping[Target, Floats],
    groups: NDArray[Any],
    options: StackOptions | None = None,
    *,
    executor: Executor | None = None,
) -> StackFit:
    """Fit the stack.

    Parameters
    ----------
    inputs
        Of the calibration LLMs; linear predictors out of fold.
    scores
        Full scores (0-100), shape (n,), of each benchmark in `inputs`.
    groups
        Label of each LLM's organisation, shape (n,); a group is in one fold.
    executor
        Runs the parts; None: here, one after the other. The result is the same.

    Raises
    ------
    InputError
        Inputs do not fit each other, or there are too few LLMs or groups.
    """
    began = time.perf_counter()
    options = options or StackOptions()
    benchmarks = benchmarks_of(inputs)
    features = feature_matrix(inputs, benchmarks)
    n = len(features)
    n_items = {b: inputs.responses[b].shape[1] for b in benchmarks if b in inputs.responses}
    response_matrix(inputs, n_items, n)
    truth = _scores(scores, benchmarks, n)
    fold = group_folds(groups, options.folds, options.seed)
    spline, held_out, penalty = fit_splines(features, truth, fold)
    members: dict[str, Member] = {"spline": SplineMember(spline)}
    weights = np.ones((1, len(benchmarks)))
    targets = targets_of(benchmarks)
    predicted = {
        t: held_out.mean(axis=1) if t == "grand" else held_out[:, benchmarks.index(t)]
        for t in targets
    }
    absolute = np.column_stack([np.abs(predicted[t] - scores[t]) for t in targets])
    floor = 0.1 * absolute.mean(axis=0)
    spread = fit_spline(features, np.log(np.maximum(absolute, floor)), 5, (1.0, 1e-2))
    limits = np.column_stack([features.min(axis=0), features.max(axis=0)])
    stack = Stack(benchmarks, n_items, limits, members, weights, spread)
    report = {
        "n_llms": n,
        "options": asdict(options),
        "weights": {b: {"spline": 1.0} for b in benchmarks},
        "penalties": penalty,
        "seconds": round(time.perf_counter() - began, 1),
    }
    return StackFit(stack, predicted, report)


def _scores(scores: Mapping[Target, Floats], benchmarks: tuple[Any, ...], n: int) -> Floats:
    columns = []
    for benchmark in benchmarks:
        column = np.asarray(scores.get(benchmark, ()), np.float64)
        if column.shape != (n,) or not np.isfinite(column).all():
            raise InputError(
                f"The stack needs {n} finite scores of {benchmark}, one an LLM.",
                benchmark=benchmark,
            )
        columns.append(column)
    if n < LEAST_LLMS:
        raise InputError(f"{n} LLMs are too few for the stack; take {LEAST_LLMS} or more.", n=n)
    matrix: Floats = np.column_stack(columns)
    return matrix
