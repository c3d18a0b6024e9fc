"""Native scoring and information against mirt 1.42: simulated cases and the published thetas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from metabench_py.benchmarks import REDUCTIONS, SCORE_METHODS, Benchmark, ScoreMethod
from metabench_py.irt.engine import Abilities
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.irt.native import NativeEngine
from metabench_py.responses import ResponseMatrix

from . import tolerances
from .report import Record

ENGINE = NativeEngine()
CASES = ("sim-2pl", "sim-2pl-hostile", "sim-2pl-missing", "sim-3pl", "sim-4pl")
# HellaSwag's published parameters are not among the released files.
PUBLISHED: tuple[Benchmark, ...] = ("arc", "gsm8k", "mmlu", "truthfulqa", "winogrande")
THETA = {
    "MAP": tolerances.MAP,
    "EAP": tolerances.EAP,
    "EAPsum": tolerances.EAP_SUM,
    "ML": tolerances.ML,
    "WLE": tolerances.WLE,
}
SE = {**THETA, "MAP": tolerances.MAP_SE, "ML": tolerances.MODE_SE, "WLE": tolerances.MODE_SE}


@dataclass(frozen=True, eq=False)
class Case:
    """Parameters, responses and what mirt made of them."""

    name: str
    parameters: ItemParameters
    responses: ResponseMatrix
    scores: pd.DataFrame
    folder: Path


def parameters_of(table: pd.DataFrame) -> ItemParameters:
    columns = (table[name].to_numpy(np.float64) for name in ("a1", "d", "g", "u"))
    return ItemParameters(tuple(table["item"].astype(str)), *columns)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, golden: Path) -> Case:
    folder = golden / "irt" / request.param
    answers = pd.read_csv(folder / "responses.csv")
    responses = ResponseMatrix(
        tuple(f"llm-{i}" for i in range(len(answers))),
        tuple(answers.columns),
        answers.fillna(-1).to_numpy().astype(np.int8),
    )
    return Case(
        request.param,
        parameters_of(pd.read_csv(folder / "items.csv")),
        responses,
        pd.read_csv(folder / "scores.csv"),
        folder,
    )


def log_posterior(values: np.ndarray, parameters: ItemParameters, theta: Floats) -> Floats:
    """Written out anew, so that the engine does not vouch for itself."""
    logit = np.clip(theta[:, None] * parameters.a1 + parameters.d, -35.0, 35.0)
    span = parameters.u - parameters.g
    right = np.log(parameters.g + span / (1.0 + np.exp(-logit)))
    wrong = np.log(1.0 - parameters.u + span / (1.0 + np.exp(logit)))
    return np.where(values == 1, right, np.where(values == 0, wrong, 0)).sum(1) - theta**2 / 2


def compare(
    record: Record,
    where: str,
    method: ScoreMethod,
    ours: Abilities,
    theta: Floats,
    se: Floats,
) -> None:
    """Theta everywhere; the SE everywhere by quadrature and for 99 % at a mode."""
    unlike = np.isinf(theta) | np.isinf(ours.theta)
    unlike &= theta != ours.theta
    if method == "ML":
        record("infinite ML", where, int(unlike.sum()), tolerances.INFINITE)
    both = np.isfinite(theta)
    assert both.mean() > 0.9
    worst = np.abs(ours.theta[both] - theta[both]).max()
    record(f"{method} theta", where, worst, THETA[method])
    # mirt gives no SE to an infinite theta, nor at its upper bound; ours are infinite there.
    known = both & np.isfinite(se)
    assert (theta[~known] > 19.99).sum() + (theta == -np.inf).sum() == (~known).sum()
    assert np.isinf(ours.se[~known]).all()
    apart = np.abs(ours.se[known] - se[known])
    quadrature = method in ("EAP", "EAPsum")
    worst = apart.max() if quadrature else np.quantile(apart, 0.99)
    record(f"{method} SE" + ("" if quadrature else ", 99 %"), where, float(worst), SE[method])


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_simulated_cases(case: Case, method: ScoreMethod, record: Record) -> None:
    if f"theta_{method}" not in case.scores:
        # mirt has no EAPsum with missing answers; ours is held to brute force in the unit tests.
        assert (case.name, method) == ("sim-2pl-missing", "EAPsum")
        return
    ours = ENGINE.score(case.responses, case.parameters, method)
    theta = case.scores[f"theta_{method}"].to_numpy(np.float64)
    se = case.scores[f"se_{method}"].to_numpy(np.float64)
    compare(record, case.name, method, ours, theta, se)
    if method == "MAP":
        check_objective(record, case.name, case.responses, case.parameters, ours.theta, theta)


def check_objective(
    record: Record,
    where: str,
    responses: ResponseMatrix,
    parameters: ItemParameters,
    ours: Floats,
    theirs: Floats,
) -> None:
    values = responses.select(parameters.items).values
    lost = log_posterior(values, parameters, theirs) - log_posterior(values, parameters, ours)
    record("MAP objective below mirt's", where, max(0.0, lost.max()), tolerances.MAP_OBJECTIVE)


def test_all_wrong_and_all_right_are_infinite(case: Case) -> None:
    ours = ENGINE.score(case.responses, case.parameters, "ML")
    answered = case.responses.values
    wrong = (answered != 1).all(axis=1)
    right = (answered != 0).all(axis=1)
    assert wrong.any() or right.any()
    assert (ours.theta[wrong] == -np.inf).all()
    assert (ours.theta[right] == np.inf).all()
    assert np.isinf(ours.se[wrong | right]).all()


def test_information(case: Case, record: Record) -> None:
    table = pd.read_csv(case.folder / "information.csv")
    ours = ENGINE.information(case.parameters, table["theta"].to_numpy(np.float64))
    worst = np.abs(ours - table[list(case.parameters.items)].to_numpy()).max()
    record("item information", case.name, worst, tolerances.INFORMATION)
    worst = np.abs(ours.sum(axis=1) - table["test"].to_numpy()).max()
    record("test information", case.name, worst, tolerances.INFORMATION)


@pytest.mark.parametrize("benchmark", PUBLISHED)
def test_published_thetas(benchmark: Benchmark, shared_data: Path, record: Record) -> None:
    folder = shared_data / "published" / "B"
    parameters = parameters_of(pd.read_parquet(folder / f"items-{benchmark}.parquet"))
    published = pd.read_parquet(folder / f"theta-{benchmark}.parquet").set_index("name")
    responses = ResponseMatrix.load(shared_data / "llm-responses" / "B" / f"{benchmark}.parquet")
    published = published.loc[list(responses.llms)]
    theta = published["theta"].to_numpy(np.float64)
    method = REDUCTIONS["B"][benchmark].score_method
    ours = ENGINE.score(responses, parameters, method)
    where = f"published {benchmark}"
    compare(record, where, method, ours, theta, cast("Floats", published["se"].to_numpy()))
    if method == "MAP":
        check_objective(record, where, responses, parameters, ours.theta, theta)
