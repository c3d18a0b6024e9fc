"""First stage: item parameters by marginal maximum likelihood, and every LLM's ability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from metabench_py.benchmarks import Benchmark, EngineName, FitMode, ItemType, ScoreMethod
from metabench_py.calibration.inputs import CalibrationInputs
from metabench_py.calibration.work import WorkFolder, digest
from metabench_py.compute import Task
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.irt.engine import FitOptions, get_engine
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.responses import ResponseMatrix

FitEngine = Literal["mirt", "native"]


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What the first stage gives for one benchmark.

    Attributes
    ----------
    parameters
        Of the fit on all LLMs of the matrix.
    fit
        Engine, mode, log-likelihood and so on, as the bundle's manifest has it.
    theta
        Ability of every LLM of the matrix, in its order, shape (n_llms,).
    """

    parameters: ItemParameters
    fit: dict[str, Any]
    theta: Floats


def choose_engine(engine: EngineName, mode: FitMode) -> tuple[FitEngine, str]:
    """Choose who fits, and say its version.

    ``auto`` is R's mirt where R has it and the mode is its own, else the native engine.

    Raises
    ------
    InputError
        mirt was asked for a mode that it does not have.
    RUnavailableError
        mirt was asked for and is absent.
    """
    if engine == "mirt" and mode != "mirt-path":
        raise InputError(
            f"R's mirt has no mode {mode!r}; take --engine native, or --mode mirt-path.", mode=mode
        )
    chosen = get_engine("native" if mode != "mirt-path" else engine)
    return cast("FitEngine", chosen.name), chosen.version


def first_stage_tasks(
    inputs: CalibrationInputs,
    engine: EngineName,
    mode: FitMode,
    work: WorkFolder,
    results: dict[Benchmark, FirstStage],
    which: str = "",
) -> list[Task]:
    """Tasks that are left to do; finished results are put into `results` at once.

    Parameters
    ----------
    which
        Goes into the results' names in `work`, where several item lists are fitted.
    """
    name, version = choose_engine(engine, mode)
    tasks = []
    for benchmark, chosen in inputs.items.items():
        responses = inputs.responses[benchmark]
        key = digest(
            responses.values,
            list(responses.llms),
            list(responses.items),
            [chosen.item_type, chosen.score_method, name, version, mode],
        )
        stage = f"irt{which}-{benchmark}"
        found = work.get(stage, key)
        if found is not None:
            results[benchmark] = _from_values(responses.items, found)
            continue

        def done(
            values: dict[str, Any],
            benchmark: Benchmark = benchmark,
            stage: str = stage,
            key: str = key,
            items: tuple[str, ...] = responses.items,
        ) -> None:
            work.put(stage, key, values)
            results[benchmark] = _from_values(items, values)

        arguments = (responses, chosen.item_type, chosen.score_method, name, mode, benchmark)
        tasks.append(Task(f"item parameters of {benchmark}", fit_and_score, arguments, done))
    return tasks


def fit_and_score(
    responses: ResponseMatrix,
    item_type: ItemType,
    method: ScoreMethod,
    engine_name: FitEngine,
    mode: FitMode,
    benchmark: str,
) -> dict[str, Any]:
    """Fit one benchmark and score its LLMs (a worker calls it)."""
    if engine_name == "mirt":
        from metabench_py.irt.mirt import MirtEngine

        engine: Any = MirtEngine(own_process=False)
    else:
        engine = get_engine("native")
    fit = engine.fit(responses, item_type, FitOptions(mode=mode))
    theta = engine.score(responses, fit.parameters, method).theta
    if not np.isfinite(theta).all():
        at = int(np.argmin(np.isfinite(theta)))
        raise ConvergenceError(
            f"{benchmark}: the {method} ability of {responses.llms[at]!r} is {theta[at]}, which a "
            "GAM cannot take; choose MAP, EAP or EAPsum as its score_method.",
            benchmark=benchmark,
            llm=responses.llms[at],
        )
    parameters = fit.parameters
    return {
        **{name: getattr(parameters, name) for name in ("a1", "d", "g", "u")},
        "theta": theta,
        "fit": {
            "engine": fit.engine,
            "engine_version": fit.engine_version,
            "mode": fit.mode,
            "log_likelihood": fit.log_likelihood,
            "iterations": fit.iterations,
            "converged": fit.converged,
            "gradient_norm": fit.gradient_norm,
            "n_llms": responses.n_llms,
            "messages": list(fit.messages),
        },
    }


def _from_values(items: tuple[str, ...], values: dict[str, Any]) -> FirstStage:
    numbers = {name: np.asarray(values[name]) for name in ("a1", "d", "g", "u")}
    return FirstStage(
        ItemParameters(items, **numbers), values["fit"], np.asarray(values["theta"], np.float64)
    )


def abilities_of(
    results: dict[Benchmark, FirstStage], inputs: CalibrationInputs
) -> dict[Benchmark, Floats]:
    """Abilities of the second stage's LLMs, by benchmark, shape (n,)."""
    theta = {}
    for benchmark, stage in results.items():
        position = {name: i for i, name in enumerate(inputs.responses[benchmark].llms)}
        theta[benchmark] = stage.theta[[position[name] for name in inputs.llms]]
    return theta
