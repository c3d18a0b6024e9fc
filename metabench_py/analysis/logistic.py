"""Scores without item response theory: a logistic regression of each item's answers on the score.

Each item's curve over the score, and a prior by the density of the training LLMs' scores, give
the posterior of an LLM's score from its answers. Design: ``analysis/logistic.R`` of the original,
which takes the posterior's mode and judges it on the LLMs that the curves were fitted on. Here LLMs
of organisations that no fit has seen are judged as well; beside the mode there is the posterior's
mean, and two rivals on the same items: splines of the share right and of a 2PL's ability.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.logistic_fit import LogisticCurves, fit_curves
from metabench_py.analysis.score_posterior import ScorePosterior
from metabench_py.analysis.study_data import TEST, StudyData
from metabench_py.analysis.study_run import Progress, rms, run_folds
from metabench_py.benchmarks import FitMode
from metabench_py.calibration.recovery import recover
from metabench_py.compute import Shared
from metabench_py.errors import InputError
from metabench_py.irt.engine import FitOptions
from metabench_py.irt.model import Floats

Method = Literal["mode", "mean", "share", "irt"]
Choice = Literal["all", "steepest", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
_USUAL_SIZES = (10, 20, 50, 100, 200, 350)


@dataclass(frozen=True)
class LogisticOptions:
    """What is tried.

    Attributes
    ----------
    sizes
        Numbers of items; empty: some below the number of all. All items are always tried.
    draws
        Random subsets of each size.
    points
        Of the grid of scores from 0 to 100 (1024 in the original).
    mode
        How the 2PL is fitted.
    seed
        Of the random subsets.
    """

    sizes: tuple[int, ...] = ()
    draws: int = 5
    points: int = 1024
    mode: FitMode = "converged"
    seed: int = 1

    def __post_init__(self) -> None:
        if any(size < 2 for size in self.sizes):
            raise InputError(f"A subset of {min(self.sizes)} items: take 2 or more.")
        if self.draws < 1:
            raise InputError(f"{self.draws} random subsets: draw 1 or more.")
        if self.points < 101:
            raise InputError(f"A grid of {self.points} scores is too coarse; take 101 or more.")


@dataclass(frozen=True)
class Recovered:
    """How well a method gives back the score from some items, in points of 100.

    Attributes
    ----------
    choice
        ``all`` items; the ``steepest`` ones by the training LLMs' regressions, for standard
        deviations of the score; or ``random`` ones, of which the mean over draws is told.
    method
        ``mode`` and ``mean`` of the posterior; ``share``: a spline of the share right; ``irt``: a
        spline of a 2PL's MAP ability (both clipped to 0-100).
    rmse_train
        Of the LLMs that everything was fitted on (what the original reports); `None` for subsets
        drawn at random.
    rmse, mae, bias
        Of LLMs of other organisations, over all folds; predicted less true.
    rmse_test
        Of the test LLMs; None where there are none.
    """

    choice: Choice
    n_items: int
    method: Method
    rmse_train: float | None
    rmse: float
    mae: float
    bias: float
    rmse_test: float | None


@dataclass(frozen=True, eq=False)
class LogisticStudy:
    """One benchmark.

    Attributes
    ----------
    curves
        Of all training LLMs, in the order of the data's items.
    recovered
        All methods with all items, then subsets.
    held_out
        Prediction of every training LLM by the posterior's mode from all items, by fits without
        its fold; NaN for test LLMs; shape (n_llms,).
    in_sample
        The same by fits that have seen it, as the original's figure; NaN for test LLMs.
    """

    data: StudyData
    options: LogisticOptions
    curves: LogisticCurves
    recovered: tuple[Recovered, ...]
    held_out: Floats
    in_sample: Floats

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        curves = self.curves
        spread = float(self.data.score[self.data.training(TEST)].std())
        return {
            **self.data.about(),
            "score_sd": spread,
            "items": [
                {
                    "item": item,
                    "slope": float(curves.slope[i]),
                    "se": float(curves.se[i]) if np.isfinite(curves.se[i]) else None,
                    "intercept": float(curves.intercept[i]),
                    "standardised_slope": float(curves.slope[i] * spread),
                    "explained": float(curves.explained[i]),
                    "separated": bool(curves.separated[i]),
                }
                for i, item in enumerate(self.data.items)
            ],
            "recovery": [asdict(one) for one in self.recovered],
        }


def analyze_logistic(
    data: Mapping[str, StudyData],
    options: LogisticOptions | None = None,
    *,
    executor: Executor,
    progress: Progress | None = None,
) -> dict[str, LogisticStudy]:
    """Regress, reconstruct and judge.

    Parameters
    ----------
    executor
        Runs one fold of one benchmark a call.
    progress
        Told how many of how many calls are done.

    Raises
    ------
    InputError
        A size is larger than the number of items.
    ConvergenceError
        A 2PL gives no usable numbers.
    """
    options = options or LogisticOptions()
    folds = run_folds(
        data, study_fold, {name: (_sizes(one, options), options) for name, one in data.items()},
        executor=executor, progress=progress,
    )  # fmt: skip
    return {name: _joined(one, options, folds[name]) for name, one in data.items()}


@dataclass(frozen=True, eq=False)
class _Fold:
    """What one fit predicts.

    Attributes
    ----------
    held
        By choice, size, draw and method: predictions of the fold (of the test LLMs, for the fit
        on all training LLMs).
    seen
        Of the training LLMs, for the fit on all of them.
    """

    curves: LogisticCurves
    held: dict[tuple[Choice, int, int, Method], Floats]
    seen: dict[tuple[Choice, int, int, Method], Floats]


def study_fold(
    shared: Shared[StudyData], held: int, sizes: tuple[int, ...], options: LogisticOptions
) -> _Fold:
    """Fit without a fold and predict it (a worker calls it); -1: all training LLMs, the test's."""
    data = shared.value
    train = data.training(held)
    out = data.fold == held
    curves = fit_curves(data.score[train], data.answers[train])
    posterior = ScorePosterior.of(curves, data.score[train], options.points)
    everything = range(len(data.items))
    steepest = np.argsort(-np.abs(curves.slope), kind="stable")
    subsets: dict[tuple[Choice, int, int], NDArray[np.int64]] = {
        ("all", len(data.items), 0): np.array(everything)
    }
    for size in sizes:
        subsets["steepest", size, 0] = np.sort(steepest[:size])
        for draw in range(options.draws):
            # The same items in every fold, so that a draw is one subset.
            random = np.random.default_rng([options.seed, size, draw])
            chosen = random.choice(len(data.items), size, replace=False)
            subsets["random", size, draw] = np.sort(chosen)
    found: dict[bool, dict[tuple[Choice, int, int, Method], Floats]] = {False: {}, True: {}}
    for key, columns in subsets.items():
        whole = held == TEST and key[0] != "random"
        for seen, mask in ((False, out), *(((True, train),) if whole else ())):
            mode, mean, _ = posterior.predict(data.answers[mask], columns.tolist())
            found[seen][*key, "mode"], found[seen][*key, "mean"] = mode, mean
        features = {"share": data.answers[:, columns].mean(axis=1)}
        for method in ("share", "irt") if key[0] != "random" else ("share",):
            if method == "irt":
                features = _ability(data, train, columns, options.mode)
            ((name, column),) = features.items()
            curve = recover(
                {name: column[train]}, data.score[train], [{name: column[out]}], data.benchmark
            )
            # Beyond the training LLMs a spline goes straight on.
            found[False][*key, method] = np.clip(curve.predicted[0], 0.0, 100.0)
            if whole:
                found[True][*key, method] = np.clip(curve.fitted, 0.0, 100.0)
    return _Fold(curves, found[False], found[True])


def _ability(
    data: StudyData, train: NDArray[np.bool_], columns: NDArray[np.int64], mode: FitMode
) -> dict[str, Floats]:
    from metabench_py.irt.native import NativeEngine

    engine, at = NativeEngine(), columns.tolist()
    fit = engine.fit(data.matrix(train, at), "2PL", FitOptions(mode=mode))
    everyone = data.matrix(np.ones(len(data.llms), bool), at)
    return {"theta": engine.score(everyone, fit.parameters, "MAP").theta}


def _sizes(data: StudyData, options: LogisticOptions) -> tuple[int, ...]:
    n = len(data.items)
    wanted = options.sizes or tuple(size for size in _USUAL_SIZES if size < 0.9 * n)
    if max(wanted, default=0) > n:
        raise InputError(
            f"{data.benchmark}: a subset of {max(wanted)} items; there are {n} only.",
            benchmark=data.benchmark,
        )
    return tuple(sorted({size for size in wanted if size < n}))


def _joined(data: StudyData, options: LogisticOptions, folds: Mapping[int, _Fold]) -> LogisticStudy:
    whole = folds[TEST]
    train = data.training(TEST)
    # One entry a subset and method; random draws are averaged.
    keys = list(whole.held)
    errors: dict[tuple[Choice, int, Method], list[tuple[float, float, float, float | None]]] = {}
    predictions: dict[tuple[Choice, int, int, Method], Floats] = {}
    for key in keys:
        predicted = np.full(len(data.llms), np.nan)
        for held in range(data.n_folds):
            predicted[data.fold == held] = folds[held].held[key]
        predictions[key] = predicted
        error = predicted[train] - data.score[train]
        test = whole.held[key] - data.score[data.fold == TEST]
        choice, size, _, method = key
        errors.setdefault((choice, size, method), []).append(
            (
                rms(error),
                float(np.abs(error).mean()),
                float(error.mean()),
                rms(test) if len(test) else None,
            )
        )
    recovered = []
    for (choice, size, method), each in errors.items():
        rmse, mae, bias = (float(np.mean([one[i] for one in each])) for i in range(3))
        tests = [one[3] for one in each if one[3] is not None]
        seen = whole.seen.get((choice, size, 0, method))
        recovered.append(
            Recovered(
                choice, size, method,
                None if seen is None else rms(seen - data.score[train]),
                rmse, mae, bias,
                float(np.mean(tests)) if tests else None,
            )
        )  # fmt: skip
    in_sample = np.full(len(data.llms), np.nan)
    in_sample[train] = whole.seen["all", len(data.items), 0, "mode"]
    return LogisticStudy(
        data,
        options,
        whole.curves,
        tuple(recovered),
        predictions["all", len(data.items), 0, "mode"],
        in_sample,
    )
