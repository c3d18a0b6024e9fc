"""R's mirt through the bridge: fit, scores, information, item fit, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.cases import load_case

from metabench_py.benchmarks import SCORE_METHODS, ScoreMethod
from metabench_py.errors import ConvergenceError, InputError, ResponseError
from metabench_py.irt.engine import FitOptions, get_engine
from metabench_py.irt.mirt import MirtEngine
from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.irt.native import NativeEngine
from metabench_py.rbridge import RWarning
from metabench_py.responses import MISSING, ResponseMatrix

pytestmark = pytest.mark.usefixtures("needs_mirt")


def simulated(
    n: int, k: int, seed: int, *, asymptotes: bool = False
) -> tuple[ResponseMatrix, ItemParameters, Floats]:
    rng = np.random.default_rng(seed)
    parameters = ItemParameters(
        # Names that R or mirt would change or take for its own.
        tuple(["660", "anatomy.12", "group", "a b", "F1", "ü"][:k]) + tuple(map(str, range(6, k))),
        rng.normal(1.2, 0.5, k),
        rng.normal(0, 1, k),
        rng.uniform(0, 0.2, k) if asymptotes else np.zeros(k),
        rng.uniform(0.9, 1, k) if asymptotes else np.ones(k),
    )
    theta = rng.normal(size=n)
    values = (rng.random((n, k)) < probability(parameters, theta)).astype(np.int8)
    llms = tuple(f"llm-{i}" for i in range(n))
    return ResponseMatrix(llms, parameters.items, values), parameters, theta


def replaced(responses: ResponseMatrix, values: np.ndarray) -> ResponseMatrix:
    return ResponseMatrix(responses.llms, responses.items, values)


def hostile() -> tuple[ResponseMatrix, ItemParameters, Floats]:
    """An item all right, one all wrong, one and an LLM without answers, single gaps."""
    responses, parameters, theta = simulated(40, 8, 1, asymptotes=True)
    values = responses.values.copy()
    values[:, 2], values[:, 3], values[:, 4] = 1, 0, MISSING
    values[0] = MISSING
    values[1, :3] = MISSING
    values[2:9, 7] = MISSING
    return replaced(responses, values), parameters, theta


@pytest.fixture
def engine(needs_mirt: None) -> MirtEngine:
    return MirtEngine(own_process=False)


def test_auto_takes_mirt() -> None:
    assert get_engine("auto").name == get_engine("mirt").name == "mirt"
    assert get_engine("auto").version.split(".")[0] == "1"


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_scores_of_hostile_answers_agree_with_native(
    engine: MirtEngine, method: ScoreMethod
) -> None:
    responses, parameters, _ = hostile()
    ours = engine.score(responses, parameters, method)
    native = NativeEngine().score(responses, parameters, method)
    tolerance = 5e-5 if method in ("MAP", "ML", "WLE") else 1e-6
    np.testing.assert_allclose(ours.theta, native.theta, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.se, native.se, rtol=0, atol=tolerance)
    assert (ours.method, ours.engine) == (method, "mirt")


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_an_llm_scores_alone_as_among_others(engine: MirtEngine, method: ScoreMethod) -> None:
    responses, parameters, _ = hostile()
    among = engine.score(responses, parameters, method)
    for row in (1, 20):
        alone = engine.score(responses.rows([f"llm-{row}"]), parameters, method)
        assert alone.theta == pytest.approx([among.theta[row]], abs=1e-12)
        assert alone.se == pytest.approx([among.se[row]], abs=1e-12)


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_llms_without_answers(engine: MirtEngine, method: ScoreMethod) -> None:
    responses, parameters, _ = hostile()
    nobody = engine.score(responses.rows(["llm-0"]), parameters, method)
    prior = method in ("MAP", "EAP", "EAPsum")
    np.testing.assert_array_equal(nobody.theta, [0.0 if prior else np.nan])
    np.testing.assert_array_equal(nobody.se, [1.0 if prior else np.nan])


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_one_item(engine: MirtEngine, method: ScoreMethod) -> None:
    responses, parameters, _ = simulated(9, 1, 2)
    ours = engine.score(responses, parameters, method)
    native = NativeEngine().score(responses, parameters, method)
    np.testing.assert_allclose(ours.theta, native.theta, rtol=0, atol=5e-5)
    np.testing.assert_allclose(ours.se, native.se, rtol=0, atol=5e-5)


def test_items_are_matched_by_name(engine: MirtEngine) -> None:
    responses, parameters, _ = simulated(10, 6, 3)
    turned = responses.select(tuple(reversed(responses.items)))
    expected = engine.score(responses, parameters, "MAP")
    np.testing.assert_array_equal(engine.score(turned, parameters, "MAP").theta, expected.theta)
    with pytest.raises(ResponseError, match="660"):
        engine.score(responses.select(responses.items[1:]), parameters, "MAP")


def test_unknown_method(engine: MirtEngine) -> None:
    responses, parameters, _ = simulated(3, 3, 4)
    with pytest.raises(InputError, match="'median'"):
        engine.score(responses, parameters, "median")  # type: ignore[arg-type]


def test_a_search_that_runs_away_is_told_by_name(engine: MirtEngine, golden: Path) -> None:
    case = load_case(golden / "irt" / "sim-4pl")
    # mirt's search takes the second to its limit of 20.
    some = case.responses.rows(["llm-100", "llm-138", "llm-101"])
    with pytest.warns(RWarning, match="ML search .* 1 of 3 LLMs, the first is 'llm-138'"):
        found = engine.score(some, case.parameters, "ML")
    assert found.theta[1] == pytest.approx(20, abs=1e-3)
    assert found.se[1] == np.inf
    assert np.isfinite(found.se[[0, 2]]).all()


def test_many_llms_are_scored_in_a_worker_alike() -> None:
    responses, parameters, _ = simulated(1010, 4, 5)
    apart = MirtEngine().score(responses, parameters, "MAP")
    here = MirtEngine(own_process=False).score(responses, parameters, "MAP")
    np.testing.assert_array_equal(apart.theta, here.theta)
    np.testing.assert_array_equal(apart.se, here.se)


@pytest.mark.parametrize("theta", [0.5, [0.5], [-7.0, 0.0, 2.5], []])
def test_information(engine: MirtEngine, theta: Any) -> None:
    _, parameters, _ = simulated(2, 6, 6, asymptotes=True)
    found = engine.information(parameters, theta)
    assert found.shape == (np.size(theta), 6)
    np.testing.assert_allclose(found, information(parameters, theta), rtol=0, atol=1e-12)


def test_item_fit_is_what_its_formulas_say(engine: MirtEngine) -> None:
    responses, parameters, theta = hostile()
    theta = theta.copy()
    theta[0] = np.nan
    found = engine.item_fit(responses, parameters, theta)
    values = responses.values
    answered = values != MISSING
    expected = probability(parameters, np.nan_to_num(theta))
    variance = expected * (1 - expected)
    squared = np.where(answered, (values - expected) ** 2, 0)
    with np.errstate(invalid="ignore"):
        outfit = (squared / variance).sum(axis=0) / answered.sum(axis=0)
        infit = squared.sum(axis=0) / np.where(answered, variance, 0).sum(axis=0)
    assert found.items == parameters.items
    np.testing.assert_allclose(found.outfit, outfit, rtol=1e-12)
    np.testing.assert_allclose(found.infit, infit, rtol=1e-12)
    # Nobody answered this one.
    assert np.isnan(found.outfit[4])
    assert np.isfinite(np.delete(np.stack([found.z_outfit, found.z_infit]), 4, axis=1)).all()


def test_item_fit_needs_abilities_and_answers(engine: MirtEngine) -> None:
    responses, parameters, theta = simulated(5, 4, 7)
    with pytest.raises(InputError, match="5 finite abilities"):
        engine.item_fit(responses, parameters, theta[:4])
    with pytest.raises(InputError, match="5 finite abilities"):
        engine.item_fit(responses, parameters, np.full(5, np.inf))
    with pytest.raises(InputError, match="two LLMs"):
        engine.item_fit(responses.rows(["llm-0"]), parameters, theta[:1])


def test_fit_leaves_out_llms_without_answers() -> None:
    responses, _, _ = simulated(150, 6, 8)
    plain = MirtEngine().fit(responses, "2PL")
    assert plain.parameters.items == responses.items
    assert (plain.converged, plain.messages, plain.mode) == (True, (), "mirt-path")
    assert (plain.engine, plain.engine_version) == ("mirt", MirtEngine().version)
    assert 1 < plain.iterations < 1000
    values = np.vstack([responses.values, np.full((2, 6), MISSING)])
    more = ResponseMatrix((*responses.llms, "x", "y"), responses.items, values.astype(np.int8))
    padded = MirtEngine(own_process=False).fit(more, "2PL")
    assert padded.log_likelihood == plain.log_likelihood
    np.testing.assert_array_equal(padded.parameters.a1, plain.parameters.a1)


def test_fit_and_native_give_the_same_likelihood() -> None:
    """The log-likelihood written out anew, by the model's own curves and mirt's nodes."""
    responses, _, _ = simulated(200, 7, 9)
    values = responses.values.copy()
    values[np.random.default_rng(9).random(values.shape) < 0.1] = MISSING
    fit = MirtEngine(own_process=False).fit(replaced(responses, values), "3PL")
    nodes = np.linspace(-6, 6, 61)
    prior = np.exp(-(nodes**2) / 2)
    right = probability(fit.parameters, nodes)
    likelihood = np.where(
        values[:, None] == 1, right, np.where(values[:, None] == 0, 1 - right, 1.0)
    ).prod(axis=2)
    expected = np.log(likelihood @ (prior / prior.sum())).sum()
    # mirt reports it at the parameters before the last step.
    assert fit.log_likelihood == pytest.approx(expected, abs=1e-2)
    assert (fit.parameters.g > 0).any()
    assert (fit.parameters.u == 1).all()


def test_a_fit_without_enough_cycles_says_so() -> None:
    responses, _, _ = simulated(80, 5, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = MirtEngine(own_process=False).fit(responses, "2PL", FitOptions(max_cycles=2))
    assert (fit.converged, fit.iterations) == (False, 2)
    assert "2 iterations" in fit.messages[0]


def test_fits_that_cannot_be() -> None:
    responses, _, _ = simulated(60, 3, 11)
    with pytest.raises(ConvergenceError, match=r"3PL estimates: .*degrees of freedom.*[^.]\.$"):
        MirtEngine().fit(responses, "3PL")
    with pytest.raises(InputError, match="converged"):
        MirtEngine().fit(responses, "2PL", FitOptions(mode="converged"))
    values = responses.values.copy()
    values[:, 1] = 1
    values[4, 1] = MISSING
    with pytest.raises(ResponseError, match=r"1 of 3 items .*'anatomy.12'"):
        MirtEngine().fit(replaced(responses, values), "2PL")


LONG = """
import numpy as np
from metabench_py.irt.engine import FitOptions
from metabench_py.irt.mirt import MirtEngine
from metabench_py.irt.model import ItemParameters
from metabench_py.responses import ResponseMatrix
rng = np.random.default_rng(1)
values = (rng.random((4000, 60)) < 1 / (1 + np.exp(-rng.normal(size=(4000, 1))))).astype(np.int8)
items = tuple(map(str, range(60)))
responses = ResponseMatrix(tuple(map(str, range(4000))), items, values)
parameters = ItemParameters(items, np.ones(60), np.zeros(60), np.zeros(60), np.ones(60))
engine = MirtEngine()
print("ready", flush=True)
if {fit}:
    engine.fit(responses, "4PL", FitOptions(tolerance=1e-12, max_cycles=100_000))
else:
    engine.score(responses, parameters, "WLE")
"""


@pytest.mark.parametrize("fit", [True, False], ids=["fit", "score"])
def test_ctrl_c_ends_mirt_at_once(fit: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LONG.format(fit=fit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            worker = busy_child(process.pid)
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert time.monotonic() - start < 5
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert not Path(f"/proc/{worker}").exists()


def busy_child(parent: int) -> int:
    """Wait until the worker has loaded mirt and computed for a second of its own."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        pytest.skip("this system does not tell a process's children")
    deadline = time.monotonic() + 60
    loaded_at: float | None = None
    while time.monotonic() < deadline:
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                if "mirt.so" in Path(f"/proc/{child}/maps").read_text():
                    if loaded_at is None:
                        loaded_at = time.monotonic()
                    elif time.monotonic() - loaded_at > 1:
                        return int(child)
        time.sleep(0.05)
    raise AssertionError("the worker did not load mirt")
