"""Item response models of one benchmark, judged by the scores that they give back on test LLMs.

Follows the original's crossvalidate step and its evaluations: a model on the training LLMs,
abilities of all, score ~ s(F1) + s(sub), item fit, information criteria.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metabench_py.benchmarks import EngineName, FitMode, ItemType, ScoreMethod
from metabench_py.calibration.few_llms import affordable, warnings_for
from metabench_py.calibration.first_stage import choose_engine
from metabench_py.calibration.recovery import Recovery, ScoreErrors, recover, score_errors
from metabench_py.calibration.selector import finite_theta, open_engine
from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.errors import InputError
from metabench_py.irt.engine import FitOptions, IrtFit, ItemFit
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING, ResponseMatrix

# Free parameters of an item.
N_FREE: dict[ItemType, int] = {"2PL": 2, "3PL": 3, "4PL": 4}
# Mean squares outside of these are called misfits, as in the original.
FIT_RANGE = (0.5, 1.5)


@dataclass(frozen=True)
class CrossValidationOptions:
    """What to fit and how.

    Attributes
    ----------
    item_types
        None: all that so many LLMs can estimate.
    methods
        Ability estimates to recover scores from.
    two_dimensional
        Also fit a 2PL of two abilities (R's mirt, by MHRM).
    seed
        Of its random search.
    """

    item_types: tuple[ItemType, ...] | None = None
    methods: tuple[ScoreMethod, ...] = ("MAP", "EAPsum")
    engine: EngineName = "auto"
    mode: FitMode = "converged"
    max_cycles: int = 1000
    two_dimensional: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError("Give one score method or more.")
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; give 0 or more.", option="seed")


@dataclass(frozen=True, eq=False)
class Recovered:
    """Abilities by one method, and the scores that they give back.

    Attributes
    ----------
    theta_train, theta_test
        Shape (n_llms, n_dimensions).
    recovery
        Of score ~ s(F1) + s(sub), with the test LLMs' predictions.
    train, test
        Errors; None without test LLMs.
    """

    theta_train: Floats
    theta_test: Floats
    recovery: Recovery
    train: ScoreErrors
    test: ScoreErrors | None


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """One model of one benchmark.

    Attributes
    ----------
    model
        ``2PL``, ``3PL``, ``4PL``, or ``2PL-2`` with two abilities.
    fit
        Item parameters and how they were found; of ``2PL-2`` without slopes (see `slopes`).
    slopes
        Shape (n_items, n_dimensions).
    n_free
        Estimated parameters.
    aic, bic
        Information criteria; smaller is better.
    subscore_train, subscore_test
        Share of right answers among those given, in percent.
    recovered
        By score method.
    item_fit
        At the training LLMs' MAP abilities; None with two abilities.
    warnings
        What so few LLMs cannot tell, and what the fit said.
    """

    benchmark: str
    model: str
    fit: IrtFit
    slopes: Floats
    n_free: int
    aic: float
    bic: float
    train: ResponseMatrix
    test: ResponseMatrix
    train_score: Floats
    test_score: Floats
    subscore_train: Floats
    subscore_test: Floats
    recovered: Mapping[ScoreMethod, Recovered]
    item_fit: ItemFit | None
    warnings: tuple[str, ...]

    @property
    def n_misfits(self) -> int:
        """Items whose infit or outfit is outside of 0.5 to 1.5."""
        if self.item_fit is None:
            return 0
        low, high = FIT_RANGE
        bad = [(s <= low) | (s >= high) for s in (self.item_fit.infit, self.item_fit.outfit)]
        return int((bad[0] | bad[1]).sum())


# Names a benchmark and its models.
Progress = Callable[[str, str], None]


def crossvalidate_benchmarks(
    data: Mapping[str, BenchmarkData],
    options: CrossValidationOptions,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> dict[tuple[str, str], CrossValidation]:
    """Fit every model to every benchmark.

    Parameters
    ----------
    executor
        Runs one model of one benchmark a task; None: one after the other, here.

    Returns
    -------
    By benchmark and model, in the order of both.
    """
    engine, _ = choose_engine(options.engine, options.mode)
    options = replace(options, engine=engine)
    if options.two_dimensional:
        from metabench_py.irt.mirt_two import require_two_dimensional

        require_two_dimensional()
    tasks: list[tuple[BenchmarkData, str, CrossValidationOptions]] = []
    for one in data.values():
        models: tuple[str, ...] = options.item_types or affordable(
            ("2PL", "3PL", "4PL"), one.train.n_llms
        )
        if options.two_dimensional:
            models = (*models, "2PL-2")
        tasks += [(one, model, options) for model in models]
    run = map if executor is None else executor.map
    result: dict[tuple[str, str], CrossValidation] = {}
    for found in run(crossvalidate, *zip(*tasks, strict=True)):
        result[found.benchmark, found.model] = found
        if progress is not None:
            progress(found.benchmark, found.model)
    return result


def crossvalidate(
    data: BenchmarkData, model: str, options: CrossValidationOptions
) -> CrossValidation:
    """Fit one model to one benchmark's training LLMs and judge it on the test LLMs."""
    varied = (data.train.values == 1).any(axis=0) & (data.train.values == 0).any(axis=0)
    flat = [data.train.items[i] for i in np.flatnonzero(~varied)]
    messages = []
    if flat:
        data = data.without(frozenset(flat))
        messages.append(
            f"{data.benchmark}: {len(flat)} items left out, for all training LLMs answered them "
            f"alike (the first is {flat[0]!r})."
        )
    sub_train, sub_test = subscores(data.train), subscores(data.test)
    if np.allclose(sub_train, data.train_score, atol=1e-9):
        messages.append(
            f"{data.benchmark}: the items are all that the score is made of, so it is recovered "
            "exactly whatever the model; draw some of them first (calibrate subsample)."
        )
    if model == "2PL-2":
        fit, slopes, theta = _two_dimensional(data, options)
        n_free = 3 * data.train.n_items - 1
        kinds: tuple[ItemType, ...] = ("2PL",)
        item_fit = None
    else:
        kind: ItemType = model  # type: ignore[assignment]
        engine = open_engine("mirt" if options.engine == "mirt" else "native")
        fit = engine.fit(
            data.train, kind, FitOptions(mode=options.mode, max_cycles=options.max_cycles)
        )
        slopes = fit.parameters.a1[:, None]
        n_free = N_FREE[kind] * data.train.n_items
        kinds = (kind,)

        def score(responses: ResponseMatrix, method: ScoreMethod) -> Floats:
            if not responses.n_llms:
                return np.empty(0)
            return finite_theta(engine, responses, fit.parameters, method, data.benchmark)

        theta = {
            method: (score(data.train, method)[:, None], score(data.test, method)[:, None])
            for method in options.methods
        }
        modes = theta["MAP"][0][:, 0] if "MAP" in theta else score(data.train, "MAP")
        item_fit = engine.item_fit(data.train, fit.parameters, modes)
    messages += [f"{data.benchmark} {model}: {message}" for message in fit.messages]
    few = warnings_for(data.benchmark, kinds, data.train.n_llms, None, data.test.n_llms)
    return CrossValidation(
        benchmark=data.benchmark,
        model=model,
        fit=fit,
        slopes=slopes,
        n_free=n_free,
        aic=2.0 * n_free - 2.0 * fit.log_likelihood,
        bic=n_free * math.log(data.train.n_llms) - 2.0 * fit.log_likelihood,
        train=data.train,
        test=data.test,
        train_score=data.train_score,
        test_score=data.test_score,
        subscore_train=sub_train,
        subscore_test=sub_test,
        recovered={
            method: _recovered(data, at, held, sub_train, sub_test)
            for method, (at, held) in theta.items()
        },
        item_fit=item_fit,
        warnings=(*data.left_out(), *few, *messages),
    )


def subscores(responses: ResponseMatrix) -> Floats:
    """Share of right answers among those given, in percent, shape (n_llms,)."""
    n = (responses.values != MISSING).sum(axis=1)
    share: Floats = 100.0 * (responses.values == 1).sum(axis=1) / np.maximum(n, 1)
    return share


def _recovered(
    data: BenchmarkData, at: Floats, held: Floats, sub_train: Floats, sub_test: Floats
) -> Recovered:
    def features(theta: Floats, sub: Floats) -> dict[str, Floats]:
        return {**{f"F{j + 1}": theta[:, j] for j in range(theta.shape[1])}, "sub": sub}

    found = recover(
        features(at, sub_train), data.train_score, [features(held, sub_test)], data.benchmark
    )
    test = None
    if data.test.n_llms:
        test = score_errors(data.test_score, found.predicted[0], held[:, 0])
    return Recovered(at, held, found, score_errors(data.train_score, found.fitted, at[:, 0]), test)


def _two_dimensional(
    data: BenchmarkData, options: CrossValidationOptions
) -> tuple[Any, Floats, dict[ScoreMethod, tuple[Floats, Floats]]]:
    from metabench_py.irt.mirt_two import fit_two_dimensional

    found = fit_two_dimensional(data.train, data.test, seed=options.seed)
    return found.fit, found.slopes, {"MAP": (found.theta_train, found.theta_other)}
