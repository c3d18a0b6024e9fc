"""What a stack is fitted on: checked inputs, groups that stay together, folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark, Target
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.stack.folds import group_folds
from metabench_py.stack.inputs import (
    StackInputs,
    benchmarks_of,
    feature_matrix,
    names_of,
    response_matrix,
)
from metabench_py.stack.near_duplicates import join_labels, near_duplicates

LEAST_LLMS = 20
# A linear predictor is left out whose error is so many times that of a line in the sub-score.
USELESS = 1.5


@dataclass(frozen=True, eq=False)
class FitData:
    """See `fit_stack`; every array has a row an LLM.

    Attributes
    ----------
    raw, features
        As given, and with constants in place of what is left out, shape (n, n_features).
    left_out
        Names of features that no member uses.
    responses
        Shape (n, n_items).
    truth
        Scores, shape (n, n_benchmarks).
    clusters, groups
        Near-duplicates, and organisations joined by them, shape (n,).
    fold
        Inner fold, shape (n,).
    counts
        What each LLM counts: one over its cluster's size, shape (n,).
    """

    benchmarks: tuple[Benchmark, ...]
    n_items: dict[Benchmark, int]
    raw: Floats
    features: Floats
    left_out: tuple[str, ...]
    responses: Floats
    truth: Floats
    clusters: NDArray[np.int64]
    groups: NDArray[np.int64]
    fold: NDArray[np.int64]
    counts: Floats


def fit_data(
    inputs: StackInputs,
    scores: Mapping[Target, Floats],
    groups: NDArray[Any],
    folds: int,
    seed: int,
) -> FitData:
    """Check the inputs, join groups, deal folds; see `fit_stack`."""
    benchmarks = benchmarks_of(inputs)
    features = feature_matrix(inputs, benchmarks)
    n = len(features)
    n_items = {
        b: int(np.asarray(inputs.responses[b]).shape[1])
        for b in benchmarks
        if b in inputs.responses
    }
    if n_items and len(n_items) != len(benchmarks):
        raise InputError("The stack takes the responses of all its benchmarks, or of none.")
    checked = response_matrix(inputs, n_items, n)
    truth = _scores(scores, benchmarks, n)
    if np.shape(groups) != (n,):
        raise InputError(f"The stack needs {n} group labels, one an LLM.")
    clusters = near_duplicates(list(checked.values()), truth)
    joined = join_labels(np.asarray(groups), clusters)
    _, number, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    useless = _useless(features, truth, benchmarks)
    return FitData(
        benchmarks,
        n_items,
        features,
        # Constant columns: no member uses them.
        np.where(useless, features.mean(axis=0), features),
        tuple(name for name, out in zip(names_of(benchmarks), useless, strict=True) if out),
        np.concatenate([np.zeros((n, 0)), *checked.values()], axis=1),
        truth,
        clusters,
        joined,
        group_folds(joined, folds, seed),
        1.0 / sizes[number],
    )


def _useless(
    features: Floats, truth: Floats, benchmarks: tuple[Benchmark, ...]
) -> NDArray[np.bool_]:
    """Say which linear predictors know less than the sub-score, shape (n_features,).

    With hardly more LLMs than items least squares gives noise of hundreds of points.
    """
    names = names_of(benchmarks)
    useless = np.zeros(len(names), dtype=bool)
    for i, benchmark in enumerate(benchmarks):
        share = features[:, names.index(f"{benchmark}.s")]
        line = np.column_stack([np.ones(len(share)), share])
        coefficients = np.linalg.lstsq(line, truth[:, i], rcond=None)[0]
        by_share = np.sqrt(np.mean((line @ coefficients - truth[:, i]) ** 2))
        column = names.index(f"{benchmark}.l")
        by_linear = np.sqrt(np.mean((features[:, column] - truth[:, i]) ** 2))
        useless[column] = by_linear > USELESS * by_share
    if useless.any() and "grand.l" in names:
        useless[names.index("grand.l")] = True
    return useless


def _scores(scores: Mapping[Target, Floats], benchmarks: tuple[Benchmark, ...], n: int) -> Floats:
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
