"""Fitting the stack: members, weights and the scale of the error, all by grouped folds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark, Target
from metabench_py.irt.model import Floats
from metabench_py.stack.evidence import Settings
from metabench_py.stack.fit_data import FitData, fit_data
from metabench_py.stack.fit_members import fit_members
from metabench_py.stack.fit_scale import fit_scale
from metabench_py.stack.inputs import (
    StackInputs,
    targets_of,
)
from metabench_py.stack.model import Stack
from metabench_py.stack.tasks import one_thread
from metabench_py.stack.weights import simplex_weights

# What the weights of splines, process and trees are drawn to, and as how many LLMs that counts.
Prior = tuple[tuple[float, ...], float]
FEW: Prior = ((0.4, 0.6), 300.0)
ALONE: Prior = ((0.15, 0.6, 0.25), 300.0)
TOGETHER: Prior = ((0.03, 0.87, 0.1), 3000.0)


@dataclass(frozen=True, eq=False)
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
    held_out_scale
        Its expected absolute error from the folds without its group, shape (n,) a target.
    groups
        Organisations joined with near-duplicates: what is in one fold together, shape (n,).
    report
        JSON values: weights, hyperparameters, errors, seconds, near-duplicate clusters.
    """

    stack: Stack
    held_out: dict[Target, Floats]
    held_out_scale: dict[Target, Floats]
    groups: NDArray[np.int64]
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
        Of the calibration LLMs; linear predictors out of fold. Responses of all benchmarks in
        the table, or of none.
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
    MissingDependencyError
        scikit-learn is absent.
    """
    began = time.perf_counter()
    options = options or StackOptions()
    data = fit_data(inputs, scores, groups, options.folds, options.seed)
    with one_thread():
        fitted = fit_members(data, options.seed, executor)
        held_out, kinds = fitted.held_out, tuple(fitted.members)
        weights = _weights(held_out, data)
        combined = np.einsum("mno,mo->no", held_out, weights) + fitted.rest_out
        predicted = _by_target(combined, data.benchmarks)
        truth = _by_target(data.truth, data.benchmarks)
        errors = np.column_stack([predicted[t] - truth[t] for t in predicted])
        spread, scale, penalty = fit_scale(data.features, errors, data.fold)
    limits = np.column_stack([data.raw.min(axis=0), data.raw.max(axis=0)])
    stack = Stack(
        data.benchmarks,
        data.n_items,
        limits,
        fitted.views,
        fitted.members,
        weights,
        fitted.rest,
        spread,
    )
    spline, process = fitted.spline, fitted.process
    report = {
        "n_llms": len(data.features),
        "n_groups": int(data.groups.max()) + 1,
        "near_duplicates": _cluster_report(data.clusters),
        "folds": int(data.fold.max()) + 1,
        "seed": options.seed,
        "left_out": list(data.left_out),
        "weights": {
            b: {kind: round(float(w), 4) for kind, w in zip(kinds, weights[:, i], strict=True)}
            for i, b in enumerate(data.benchmarks)
        },
        "rmse": {
            t: round(float(np.sqrt(np.mean(errors[:, i] ** 2))), 4) for i, t in enumerate(predicted)
        },
        "member_rmse": {
            b: {
                kind: round(float(np.sqrt(np.mean((own[:, i] - data.truth[:, i]) ** 2))), 4)
                for kind, own in zip(kinds, held_out, strict=True)
            }
            for i, b in enumerate(data.benchmarks)
        },
        "spline": {"bend": list(spline.bend), "size": list(spline.size)},
        "process": {b: _process_report(*c) for b, c in zip(data.benchmarks, process, strict=True)},
        "scale_penalty": penalty,
        "seconds": round(time.perf_counter() - began, 1),
    }
    scales = {t: scale[:, i] for i, t in enumerate(predicted)}
    return StackFit(stack, predicted, scales, data.groups, report)


def _weights(held_out: Floats, data: FitData) -> Floats:
    prior, strength = FEW
    if len(held_out) > len(prior):
        prior, strength = ALONE if len(data.benchmarks) == 1 else TOGETHER
    centre = np.array(prior)
    columns = [
        simplex_weights(held_out[:, :, i].T, data.truth[:, i], centre, strength, data.counts)
        for i in range(len(data.benchmarks))
    ]
    weights: Floats = np.column_stack(columns)
    return weights


def _by_target(values: Floats, benchmarks: tuple[Benchmark, ...]) -> dict[Target, Floats]:
    return {
        t: values.mean(axis=1) if t == "grand" else values[:, benchmarks.index(t)].copy()
        for t in targets_of(benchmarks)
    }


def _cluster_report(clusters: NDArray[np.int64]) -> dict[str, Any]:
    sizes = np.bincount(clusters)
    return {
        "clusters": int((sizes > 1).sum()),
        "llms": int(sizes[sizes > 1].sum()),
        "largest": int(sizes.max()),
    }


def _process_report(settings: Settings, noise: float) -> dict[str, Any]:
    kinds = (
        "noise", "slope", "amplitude", "rate", "item_slope", "item_amplitude", "item_rate",
    )  # fmt: skip
    return {
        "noise_factor": noise,
        **{k: [float(f"{v:.4g}") for v in settings.values(k)] for k in kinds},
    }
