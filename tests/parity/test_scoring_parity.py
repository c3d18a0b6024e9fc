"""Both engines' scores and information against mirt 1.42: simulated cases, published thetas."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from metabench_py.benchmarks import REDUCTIONS, SCORE_METHODS, Benchmark, ScoreMethod
from metabench_py.irt.engine import Abilities, Engine
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.irt.native import NativeEngine
from metabench_py.responses import ResponseMatrix

from . import tolerances
from .cases import CASES, LARGE, Case, load_case, parameters_of
from .report import Record

# mirt itself says where its search did not converge.
pytestmark = pytest.mark.filterwarnings("ignore:mirt's:metabench_py.rbridge.session.RWarning")

ENGINES = ("native", "mirt")
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
REPLAYED = {**THETA, "MAP": tolerances.REPLAY, "WLE": tolerances.REPLAY}


def scorings() -> list[object]:
    """Engine, case, method; slow where mirt searches long."""
    runs: list[object] = []
    for engine in ENGINES:
        for case in CASES:
            for method in SCORE_METHODS:
                long = method == "WLE" or (method in ("MAP", "ML") and case in LARGE)
                marks = [pytest.mark.slow] if engine == "mirt" and long else []
                runs.append(pytest.param(engine, case, method, marks=marks))
    return runs


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "native":
        return NativeEngine()
    request.getfixturevalue("needs_mirt")
    from metabench_py.irt.mirt import MirtEngine

    return MirtEngine(own_process=False)


@pytest.fixture
def case(request: pytest.FixtureRequest, golden: Path) -> Case:
    return load_case(golden / "irt" / request.param)


both_engines = pytest.mark.parametrize("engine", ENGINES, indirect=True)
every_case = pytest.mark.parametrize("case", CASES, indirect=True)


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
    tolerance: tolerances.Tolerance,
) -> None:
    """Theta everywhere; the SE everywhere by quadrature and for 99 % at a mode."""
    unlike = np.isinf(theta) | np.isinf(ours.theta)
    unlike &= theta != ours.theta
    if method == "ML":
        record("infinite ML", where, int(unlike.sum()), tolerances.INFINITE)
    both = np.isfinite(theta)
    assert both.mean() > 0.9
    worst = np.abs(ours.theta[both] - theta[both]).max()
    record(f"{method} theta", where, worst, tolerance)
    # mirt gives no SE to an infinite theta, nor at its upper bound; ours are infinite there.
    known = both & np.isfinite(se)
    assert (theta[~known] > 19.99).sum() + (theta == -np.inf).sum() == (~known).sum()
    assert np.isinf(ours.se[~known]).all()
    apart = np.abs(ours.se[known] - se[known])
    quadrature = method in ("EAP", "EAPsum")
    worst = apart.max() if quadrature else np.quantile(apart, 0.99)
    record(f"{method} SE" + ("" if quadrature else ", 99 %"), where, float(worst), SE[method])


@pytest.mark.parametrize(("engine", "case", "method"), scorings(), indirect=["engine", "case"])
def test_simulated_cases(engine: Engine, case: Case, method: ScoreMethod, record: Record) -> None:
    if f"theta_{method}" not in case.scores:
        # mirt has no EAPsum with missing answers: ours are held to brute force in the unit
        # tests, and to each other here.
        assert (case.name, method) == ("sim-2pl-missing", "EAPsum")
        if engine.name == "native":
            return
        native = NativeEngine().score(case.responses, case.parameters, method)
        theta, se = native.theta, native.se
    else:
        theta = case.scores[f"theta_{method}"].to_numpy(np.float64)
        se = case.scores[f"se_{method}"].to_numpy(np.float64)
    ours = engine.score(case.responses, case.parameters, method)
    where = f"{case.name}, {engine.name}"
    tolerance = (REPLAYED if engine.name == "mirt" else THETA)[method]
    compare(record, where, method, ours, theta, se, tolerance)
    if method == "MAP":
        check_objective(record, where, case.responses, case.parameters, ours.theta, theta)


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


@every_case
@both_engines
def test_all_wrong_and_all_right_are_infinite(engine: Engine, case: Case) -> None:
    values = case.responses.values
    wrong = (values != 1).all(axis=1)
    right = (values != 0).all(axis=1)
    extreme = np.flatnonzero(wrong | right)
    assert extreme.size
    some = case.responses.rows([case.responses.llms[i] for i in extreme])
    ours = engine.score(some, case.parameters, "ML")
    assert (ours.theta == np.where(wrong[extreme], -np.inf, np.inf)).all()
    assert np.isinf(ours.se).all()


@every_case
@both_engines
def test_information(engine: Engine, case: Case, record: Record) -> None:
    table = pd.read_csv(case.folder / "information.csv")
    ours = engine.information(case.parameters, table["theta"].to_numpy(np.float64))
    where = f"{case.name}, {engine.name}"
    worst = np.abs(ours - table[list(case.parameters.items)].to_numpy()).max()
    record("item information", where, worst, tolerances.INFORMATION)
    worst = np.abs(ours.sum(axis=1) - table["test"].to_numpy()).max()
    record("test information", where, worst, tolerances.INFORMATION)


@pytest.mark.parametrize(
    "engine",
    ["native", pytest.param("mirt", marks=pytest.mark.slow)],
    indirect=True,
)
@pytest.mark.parametrize("benchmark", PUBLISHED)
def test_published_thetas(
    engine: Engine, benchmark: Benchmark, shared_data: Path, record: Record
) -> None:
    folder = shared_data / "published" / "B"
    parameters = parameters_of(pd.read_parquet(folder / f"items-{benchmark}.parquet"))
    published = pd.read_parquet(folder / f"theta-{benchmark}.parquet").set_index("name")
    responses = ResponseMatrix.load(shared_data / "llm-responses" / "B" / f"{benchmark}.parquet")
    published = published.loc[list(responses.llms)]
    theta = published["theta"].to_numpy(np.float64)
    method = REDUCTIONS["B"][benchmark].score_method
    ours = engine.score(responses, parameters, method)
    where = f"published {benchmark}, {engine.name}"
    # Published on another machine: mirt too ends elsewhere within its own stopping rule.
    se = cast("Floats", published["se"].to_numpy())
    compare(record, where, method, ours, theta, se, THETA[method])
    if method == "MAP":
        check_objective(record, where, responses, parameters, ours.theta, theta)
