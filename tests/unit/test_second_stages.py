"""Second stages in use: choice, the stack, one benchmark alone, missing answers, intervals."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from helpers.bundles import stack_draft, tiny_bundle, tiny_growth, tiny_stack
from helpers.logs import log_path, write_model
from typer.testing import CliRunner

from metabench_py import reconstruct
from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.read import default_stage
from metabench_py.bundle.schema import BenchmarkModel
from metabench_py.bundle.write import write_bundle
from metabench_py.cli.analyze.scoring import BundleScorer
from metabench_py.cli.app import app
from metabench_py.errors import ConvergenceError, InputError, LogError
from metabench_py.irt.model import ItemParameters, probability
from metabench_py.irt.native import NativeEngine
from metabench_py.logs import find_model
from metabench_py.reconstruction import Reconstruction, Reconstructor
from metabench_py.reconstruction.api import LogReader
from metabench_py.reconstruction.choose import may_use_r
from metabench_py.reconstruction.conformal import ConformalInterval
from metabench_py.reconstruction.intervals import percentile
from metabench_py.reconstruction.missing import growth_factors
from metabench_py.reconstruction.second_stage import StackStage, stored_stage
from metabench_py.reconstruction.stages import FirstStage, first_stage
from metabench_py.responses import MISSING
from metabench_py.stack.inputs import StackInputs


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    return load_bundle(write_bundle(replace(stack_draft(), version="B"), out))


@pytest.fixture(scope="module")
def gam_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def results(bundle: Bundle, tmp_path: Path) -> Path:
    for seed in range(3):
        write_model(tmp_path / f"org__m{seed}", bundle, seed)
    return tmp_path


def one(bundle: Bundle, results: Path, model: str = "org__m0", **options: Any) -> Reconstruction:
    return reconstruct(model, results=results, bundle=bundle, engine="native", **options)


def first(bundle: Bundle, results: Path, *, only: Benchmark | None = None) -> FirstStage:
    read = LogReader(bundle, only=only, allow_missing=True)(find_model("org__m0", results))
    values = {b: v[None] for b, v in read.values.items()}
    return first_stage(values, bundle.benchmarks, NativeEngine())


def test_the_default_is_the_bundle_s_first(
    bundle: Bundle, gam_bundle: Bundle, results: Path
) -> None:
    stage = first(bundle, results)
    result = one(bundle, results)
    assert result.engine["second_stage"] == "stack"
    for target, expected in StackStage(tiny_stack()).predict(stage).items():
        assert result.scores[target].score == np.clip(expected[0], 0, 100)
    for name in ("gam", "portable"):
        by_gam = one(bundle, results, second_stage=name)
        assert by_gam.engine["second_stage"] == "portable"
        assert by_gam.scores == one(gam_bundle, results).scores
    assert default_stage(bundle.path) == "stack"
    assert default_stage(gam_bundle.path) == "gam"
    assert default_stage("nowhere") is None
    assert not may_use_r(bundle, "native", "auto")


def test_many_equal_one_by_one(bundle: Bundle, results: Path) -> None:
    reader = LogReader(bundle)
    read = [reader(find_model(f"org__m{i}", results)) for i in range(3)]
    for i, result in enumerate(Reconstructor(bundle, engine="native")(read)):
        assert isinstance(result, Reconstruction)
        alone = one(bundle, results, f"org__m{i}")
        for target in TARGETS:
            assert result.scores[target].lower == pytest.approx(alone.scores[target].lower)


def test_what_a_bundle_lacks_is_said(bundle: Bundle, gam_bundle: Bundle, results: Path) -> None:
    with pytest.raises(InputError, match="no second stage 'stack', only gam"):
        one(gam_bundle, results, second_stage="stack")
    with pytest.raises(InputError, match="no second stage for ARC alone"):
        one(gam_bundle, results, only="arc")
    with pytest.raises(InputError, match="scored by the bundle's stack only"):
        one(bundle, results, only="arc", second_stage="portable")


def test_the_interval_takes_the_told_scale(bundle: Bundle, results: Path) -> None:
    result, stage = one(bundle, results, level=0.8), first(bundle, results)
    scale = tiny_stack().scale(stack_inputs(stage))
    for target in TARGETS:
        score = result.scores[target]
        conformal = ConformalInterval.from_errors(bundle.errors[target])
        lower, upper = conformal.interval(score.score, 0.8, scale[target][0])
        assert score.lower == pytest.approx(max(0.0, float(lower)))
        assert score.upper == pytest.approx(min(100.0, float(upper)))


def stack_inputs(stage: FirstStage) -> StackInputs:
    return StackInputs(stage.features(), stage.filled)


def test_a_percentile_has_the_bounds_of_its_score(bundle: Bundle, results: Path) -> None:
    for target, score in one(bundle, results).scores.items():
        numbers = np.array([score.lower, score.score, score.upper])
        low, mid, high = percentile(bundle.population[target], bundle.population_levels, numbers)
        assert (score.percentile_lower, score.percentile, score.percentile_upper) == (
            low,
            mid,
            high,
        )
    value = one(bundle, results).to_dict()["scores"]["arc"]
    assert value["percentile_lower"] <= value["percentile"] <= value["percentile_upper"]


def test_comparisons_use_the_same_errors(bundle: Bundle, results: Path) -> None:
    result = one(bundle, results, level=0.9)
    answers = LogReader(bundle)(find_model("org__m0", results)).values
    sds = BundleScorer(bundle).with_errors({b: v[None] for b, v in answers.items()}).sds
    for target in TARGETS:
        score = result.scores[target]
        half = NormalDist().inv_cdf(0.95) * sds[target][0]
        assert max(0.0, score.score - half) == pytest.approx(score.lower)
        assert min(100.0, score.score + half) == pytest.approx(score.upper)


def test_an_llm_without_a_finite_ability_does_not_stop_the_others(
    bundle: Bundle, results: Path
) -> None:
    models = {
        b: replace(
            m,
            score_method="ML",
            parameters=replace(
                m.parameters, a1=np.abs(m.parameters.a1) + 0.5, g=np.zeros(5), u=np.ones(5)
            ),
        )
        for b, m in bundle.benchmarks.items()
    }
    by_ml = replace(bundle, benchmarks=models)
    reader = LogReader(by_ml)
    read = [reader(find_model(f"org__m{i}", results)) for i in range(3)]
    for model, right in zip(read, (1, 0, None), strict=True):
        for b in BENCHMARKS:
            model.values[b][:] = [1, 0, 1, 0, 1] if right is None else right
    done = Reconstructor(by_ml, engine="native")(read)
    assert isinstance(done[0], ConvergenceError)
    assert isinstance(done[1], ConvergenceError)
    assert isinstance(done[2], Reconstruction)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_one_benchmark_alone_needs_its_own_log_only(
    bundle: Bundle, results: Path, benchmark: Benchmark
) -> None:
    for other in BENCHMARKS:
        if other != benchmark:
            log_path(results / "org__m0", other).unlink()
    with pytest.raises(LogError, match="lacks the log of"):
        one(bundle, results)
    result = one(bundle, results, only=benchmark)
    assert list(result.scores) == [benchmark]
    assert list(result.abilities) == [benchmark]
    assert result.grand_subscore is None
    stage = first(bundle, results, only=benchmark)
    expected = stored_stage(bundle.singles[benchmark].model).predict(stage)[benchmark][0]
    assert result.scores[benchmark].score == np.clip(expected, 0, 100)
    value = result.to_dict()
    assert list(value["scores"]) == list(value["abilities"]) == list(value["logs"]) == [benchmark]
    json.dumps(value, allow_nan=False)


def test_one_benchmark_alone_on_the_command_line(bundle: Bundle, results: Path) -> None:
    words = ["reconstruct", "org__m0", "org__m1", "--results", str(results)]
    words += ["--bundle", str(bundle.path), "--engine", "native", "--only", "gsm8k"]
    table = CliRunner().invoke(app, words)
    assert table.exit_code == 0, table.exception
    assert "GSM8K interval" in table.stdout
    assert "ARC" not in table.stdout
    as_csv = CliRunner().invoke(app, [*words, "--csv"]).stdout.splitlines()
    assert len(as_csv) == 3
    single = CliRunner().invoke(app, [words[0], words[1], *words[3:]])
    assert "scores by the stack" in single.stdout
    assert isinstance(CliRunner().invoke(app, [*words, "--plot", "a.png"]).exception, InputError)


def _missing(results: Path, keep: int) -> None:
    path = log_path(results / "org__m0", "arc")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:keep]))


def test_missing_answers_widen_by_the_bundle_s_factor(bundle: Bundle, results: Path) -> None:
    _missing(results, 2)
    result, stage = one(bundle, results, allow_missing=True), first(bundle, results)
    scale = stored_stage(bundle.default.model).scale(stage)
    factors = growth_factors(tiny_growth(*TARGETS), stage)
    for target in TARGETS:
        score = result.scores[target]
        conformal = ConformalInterval.from_errors(bundle.errors[target])
        _, upper = conformal.interval(score.score, 0.9, scale[target][0])
        wider = score.score + factors[target][0] * (float(upper) - score.score)
        assert score.upper == pytest.approx(min(100.0, wider))
    assert factors["arc"][0] > factors["grand"][0] > 1.0


def _stage(absent: dict[Benchmark, int]) -> FirstStage:
    stage = FirstStage({}, {}, {}, {}, {}, {})
    for b in BENCHMARKS:
        stage.abilities[b] = None  # type: ignore[assignment]
        stage.filled[b] = np.zeros((1, 8))
        stage.told[b] = np.array([1.0 - absent.get(b, 0) / 8])
    return stage


def test_growth_factors_by_hand() -> None:
    growth = tiny_growth(*TARGETS)
    assert all(f[0] == 1.0 for f in growth_factors(growth, _stage({})).values())
    # Three quarters of one benchmark give what was measured so, for every score.
    alone = growth_factors(growth, _stage({"arc": 6}))
    assert alone["arc"][0] == pytest.approx(2.0)
    assert alone["grand"][0] == alone["mmlu"][0] == pytest.approx(1.1)
    # Those of several add up, in variances.
    both = growth_factors(growth, _stage({"arc": 6, "mmlu": 2}))
    assert both["arc"][0] == pytest.approx(2.0)
    assert both["mmlu"][0] == pytest.approx(np.sqrt(1.44 + 1.21 - 1.0))
    everywhere = growth_factors(growth, _stage(dict.fromkeys(BENCHMARKS, 6)))
    assert everywhere["grand"][0] == pytest.approx(np.sqrt(1 + 6 * 0.21))
    assert everywhere["arc"][0] == pytest.approx(np.sqrt(4 + 5 * 0.21))
    # Beyond the last share the squares go on as between the last two, in items unanswered for one
    # answered and one more: 2 / 7, 6 / 3, and 8 / 1 where nothing is answered.
    most = growth_factors(growth, _stage({"arc": 8}))
    assert most["arc"][0] == pytest.approx(np.sqrt(4 + (4 - 1.44) / (2 - 2 / 7) * (8 - 2)))


def test_a_bundle_without_factors_imputes(gam_bundle: Bundle, results: Path) -> None:
    assert gam_bundle.default.growth is None
    _missing(results, 1)
    score = one(gam_bundle, results, allow_missing=True).scores["grand"]
    _, upper = ConformalInterval.from_errors(gam_bundle.errors["grand"]).interval(score.score)
    assert score.upper > min(100.0, float(upper)) or score.upper == 100.0


def test_scoring_with_a_stack_loads_nothing_heavy(bundle: Bundle, results: Path) -> None:
    code = (
        "import sys, metabench_py\n"
        f"metabench_py.reconstruct('org__m0', results={str(results)!r}, "
        f"bundle={str(bundle.path)!r}, engine='native')\n"
        "print(sorted({'rpy2', 'pandas', 'numba', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_answers_that_are_missing_count_as_expected_in_the_stack(bundle: Bundle) -> None:
    values = {b: np.array([[1, 0, 1, MISSING, 0]], dtype=np.int8) for b in BENCHMARKS}
    stage = first_stage(values, bundle.benchmarks, NativeEngine())
    for b in BENCHMARKS:
        assert stage.filled[b][0, 0] == 1.0
        assert 0.0 < stage.filled[b][0, 3] < 1.0


def test_a_subscore_does_not_depend_on_which_items_were_answered() -> None:
    random = np.random.default_rng(17)
    n_items = 60
    parameters = ItemParameters(
        tuple(f"{i}" for i in range(n_items)),
        random.uniform(0.8, 2.0, n_items),
        np.linspace(2.5, -2.5, n_items),
        np.zeros(n_items),
        np.ones(n_items),
    )
    model = BenchmarkModel("arc", "2PL", "MAP", "acc", parameters, 0.0, np.ones(n_items))
    chance = probability(parameters, random.normal(size=400))
    values = (random.random(chance.shape) < chance).astype(np.int8)
    whole = first_stage({"arc": values}, {"arc": model}, NativeEngine()).subscore["arc"]
    np.testing.assert_array_equal(whole, 100.0 * values.sum(axis=1) / n_items)
    for hidden in (slice(30, 60), slice(0, 30)):
        part = values.copy()
        part[:, hidden] = MISSING
        stage = first_stage({"arc": part}, {"arc": model}, NativeEngine())
        of_answered = 100.0 * stage.n_correct["arc"] / 30
        assert abs((of_answered - whole).mean()) > 15.0
        assert abs((stage.subscore["arc"] - whole).mean()) < 1.0
        assert np.abs(stage.subscore["arc"] - whole).mean() < 6.0
        # Easy or hard items alone tell less of most LLMs than as many of all kinds.
        assert (stage.told["arc"] <= 0.5).all()
        assert stage.told["arc"].mean() < 0.45
    mixed = values.copy()
    mixed[:, ::2] = MISSING
    told = first_stage({"arc": mixed}, {"arc": model}, NativeEngine()).told["arc"]
    assert 0.45 < told.mean() <= 0.5
    none = first_stage({"arc": np.full((1, n_items), MISSING)}, {"arc": model}, NativeEngine())
    assert none.subscore["arc"][0] == pytest.approx(whole.mean(), abs=5.0)
