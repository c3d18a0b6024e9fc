"""Responses to scores: batches, missing answers, intervals, failures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.bundles import tiny_bundle
from helpers.logs import log_path, write_model

from metabench_py import reconstruct
from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import Bundle
from metabench_py.bundle.schema import ErrorTable
from metabench_py.errors import BundleError, ConvergenceError, InputError, LogError, MetabenchError
from metabench_py.logs import find_all, find_model
from metabench_py.reconstruction import Reconstruction, Reconstructor
from metabench_py.reconstruction.api import LogReader, metrics_of, open_bundle, reconstruct_many
from metabench_py.reconstruction.conformal import ConformalInterval
from metabench_py.reconstruction.intervals import local_rmse, percentile


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def results(bundle: Bundle, tmp_path: Path) -> Path:
    for seed in range(4):
        write_model(tmp_path / f"org__m{seed}", bundle, seed)
    return tmp_path


def one(bundle: Bundle, results: Path, model: str = "org__m0", **options: Any) -> Reconstruction:
    return reconstruct(model, results=results, bundle=bundle, engine="native", **options)


def everyone(
    bundle: Bundle, results: Path, **options: Any
) -> dict[str, Reconstruction | MetabenchError]:
    reader = LogReader(bundle, allow_missing=options.pop("allow_missing", False))
    machine = Reconstructor(bundle, engine="native", **options)
    return dict(reconstruct_many(find_all(results), reader, machine))


def test_many_equal_one_by_one(bundle: Bundle, results: Path) -> None:
    together = everyone(bundle, results)
    assert list(together) == [f"org__m{i}" for i in range(4)]
    for name, result in together.items():
        assert isinstance(result, Reconstruction)
        alone = one(bundle, results, name)
        for target in TARGETS:
            assert result.scores[target].score == pytest.approx(
                alone.scores[target].score, abs=1e-9
            )
            assert result.scores[target].lower == pytest.approx(
                alone.scores[target].lower, abs=1e-9
            )


def test_a_bad_model_does_not_stop_the_others(bundle: Bundle, results: Path) -> None:
    log_path(results / "org__m1", "arc").write_text("garbage\n")
    done = everyone(bundle, results)
    assert isinstance(done["org__m1"], LogError)
    assert sum(isinstance(result, Reconstruction) for result in done.values()) == 3


def test_features_are_what_the_second_stage_gets(bundle: Bundle, results: Path) -> None:
    result = one(bundle, results)
    answers = {b: LogReader(bundle)(find_model("org__m0", results)).values[b] for b in BENCHMARKS}
    for benchmark in BENCHMARKS:
        model, ability = bundle.benchmarks[benchmark], result.abilities[benchmark]
        assert ability.subscore == pytest.approx(100 * answers[benchmark].mean())
        expected = model.intercept + answers[benchmark] @ model.weights
        assert ability.linear_predictor == pytest.approx(expected)
        assert (ability.n_items, ability.n_answered) == (5, 5)
    means = np.mean([result.abilities[b].subscore for b in BENCHMARKS])
    assert result.grand_subscore == pytest.approx(means)


def test_bounds_hold_the_score_within_0_and_100(bundle: Bundle, results: Path) -> None:
    for interval in ("conformal", "local-rmse"):
        for result in everyone(bundle, results, interval=interval).values():
            assert isinstance(result, Reconstruction)
            for score in result.scores.values():
                assert 0 <= score.lower <= score.score <= score.upper <= 100
                assert score.interval == interval
                assert score.level == (0.9 if interval == "conformal" else None)


def test_a_higher_level_is_wider(bundle: Bundle, results: Path) -> None:
    narrow, wide = (one(bundle, results, level=level) for level in (0.5, 0.9))
    for target in TARGETS:
        assert wide.scores[target].lower <= narrow.scores[target].lower
        assert wide.scores[target].upper >= narrow.scores[target].upper


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_theta_interval_spans_the_score_and_the_moved_ones(
    bundle: Bundle, results: Path, factor: float
) -> None:
    outside = 0
    for result in everyone(bundle, results, interval="theta", se_factor=factor).values():
        assert isinstance(result, Reconstruction)
        score = result.scores["grand"]
        moved = []
        for sign in (-factor, factor):
            features: dict[str, Any] = {
                b: a.theta + sign * a.se for b, a in result.abilities.items()
            }
            features["grand.l"] = result.grand_linear_predictor
            features["grand.s"] = result.grand_subscore
            arrays = {name: np.array([value]) for name, value in features.items()}
            moved.append(float(np.clip(bundle.gams["grand"].predict(arrays)[0], 0, 100)))
        assert score.lower == pytest.approx(min(score.score, *moved))
        assert score.upper == pytest.approx(max(score.score, *moved))
        for one_score in result.scores.values():
            assert one_score.lower <= one_score.score <= one_score.upper
            outside += one_score.score in (one_score.lower, one_score.upper)
    # The curves bend: both moved scores may lie on one side.
    assert outside


def test_missing_answers_widen(bundle: Bundle, results: Path) -> None:
    whole = one(bundle, results)
    path = log_path(results / "org__m0", "arc")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(LogError, match="--allow-missing"):
        one(bundle, results)
    part = one(bundle, results, allow_missing=True)
    assert part.abilities["arc"].n_answered == 2
    assert "missing-items" in [flag.flag for flag in part.flags]
    assert part.abilities["arc"].se > whole.abilities["arc"].se
    half = part.scores["arc"].upper - part.scores["arc"].lower
    conformal = everyone(bundle, results, allow_missing=True)["org__m1"]
    assert isinstance(conformal, Reconstruction)
    assert half > 0
    # The same score without the added uncertainty has a narrower interval.
    conformal_arc = ConformalInterval.from_errors(bundle.errors["arc"])
    _, bare = conformal_arc.interval(part.scores["arc"].score)
    assert part.scores["arc"].upper >= min(100.0, float(bare)) - 1e-9
    # Other models of the batch are as they were.
    assert conformal.scores == one(bundle, results, "org__m1").scores
    # And it is the same each time.
    assert part.scores == one(bundle, results, allow_missing=True).scores


def test_local_rmse_is_the_original_s() -> None:
    random = np.random.default_rng(3)
    predicted, error = random.uniform(0, 100, 60).round(1), random.normal(size=60)
    order = np.argsort(predicted, kind="stable")
    p, e = predicted[order], error[order]
    wanted = np.array([-5.0, 0.0, 31.7, 50.0, 99.0, 120.0])
    for at, ours in zip(wanted, local_rmse(ErrorTable(predicted, error), wanted), strict=True):
        i, j = np.argmin(np.abs(p - (at - 2))), np.argmin(np.abs(p - (at + 2)))
        assert ours == pytest.approx(np.sqrt(np.mean(e[i : j + 1] ** 2)))


def test_percentile() -> None:
    levels = np.array([0.0, 0.5, 1.0])
    ranks = percentile(np.array([10.0, 40.0, 90.0]), levels, np.array([5.0, 40.0, 65.0, 95.0]))
    assert ranks.tolist() == [0.0, 50.0, 75.0, 100.0]


def test_other_metric_is_flagged(bundle: Bundle, results: Path) -> None:
    result = one(bundle, results, metrics=["arc=acc_norm"])
    assert result.logs["arc"]["metric"] == "acc_norm"
    assert [flag.flag for flag in result.flags if flag.detail.startswith("ARC")] == ["other-metric"]
    plain = one(bundle, results)
    # The helper writes acc_norm as the contrary of acc.
    assert result.abilities["arc"].n_correct == 5 - plain.abilities["arc"].n_correct


def test_metric_overrides(bundle: Bundle) -> None:
    assert metrics_of(bundle)["gsm8k"] == "exact_match"
    assert metrics_of(bundle, ["acc_norm"])["gsm8k"] == "exact_match"
    assert set(metrics_of(bundle, ["acc_norm", "mmlu=acc"]).values()) == {
        "acc_norm",
        "acc",
        "exact_match",
    }
    for bad in ("arx=acc", "arc=", ""):
        with pytest.raises(InputError, match="--metric"):
            metrics_of(bundle, [bad])


def test_metric_of_a_benchmark_that_is_not_read(bundle: Bundle, results: Path) -> None:
    assert metrics_of(bundle, ["acc_norm"], "arc")["arc"] == "acc_norm"
    assert metrics_of(bundle, ["gsm8k=x"], "gsm8k")["gsm8k"] == "x"
    with pytest.raises(InputError, match=r"--metric gsm8k=foo is not for arc.*arc=foo"):
        one(bundle, results, only="arc", metrics=["gsm8k=foo"])
    # A metric without a benchmark is for all but GSM8K.
    with pytest.raises(InputError, match="--metric acc is not for gsm8k"):
        metrics_of(bundle, ["acc"], "gsm8k")


def test_infinite_ability_is_an_error_of_that_model(bundle: Bundle, results: Path) -> None:
    models = {
        b: replace(
            m,
            score_method="ML",
            # Rising curves without asymptotes, so that ML ends at infinity for all right.
            parameters=replace(
                m.parameters,
                a1=np.abs(m.parameters.a1) + 0.5,
                g=np.zeros(5),
                u=np.ones(5),
            ),
        )
        for b, m in bundle.benchmarks.items()
    }
    by_ml = replace(bundle, benchmarks=models)
    path = log_path(results / "org__m2", "winogrande")
    path.write_text(path.read_text().replace('"acc": 0.0', '"acc": 1.0'))
    done = everyone(by_ml, results)
    assert isinstance(done["org__m2"], ConvergenceError)
    assert "WinoGrande" in str(done["org__m2"])


def test_json_is_valid_and_complete(bundle: Bundle, results: Path) -> None:
    value = one(bundle, results).to_dict()
    json.dumps(value, allow_nan=False)
    assert value["schema"] == 1
    assert list(value["scores"]) == list(TARGETS)
    assert set(value["scores"]["grand"]) == {
        "score", "lower", "upper", "interval", "level", "percentile", "percentile_lower",
        "percentile_upper", "se_factor", "subscore", "linear_predictor",
    }  # fmt: skip
    assert value["bundle"] == {"name": "tiny", "sha256": bundle.sha256}
    assert value["engine"] == {"irt": "native", "second_stage": "portable"}


def test_options_are_checked(bundle: Bundle) -> None:
    for options in (
        {"interval": "bayes"},
        {"second_stage": "lm"},
        {"level": 90.0},
        {"se_factor": -1.0},
        {"se_factor": float("nan")},
    ):
        with pytest.raises(InputError):
            Reconstructor(bundle, engine="native", **options)  # type: ignore[arg-type]


def test_version_and_bundle_must_agree(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="is of version B, not A"):
        open_bundle(bundle.path, "A")
    with pytest.raises(InputError, match="no version 'C'"):
        open_bundle(None, "C")
    monkeypatch.setenv("METABENCH_BUNDLES", str(bundle.path / "absent"))
    with pytest.raises(BundleError, match="bundle pull --version A"):
        open_bundle(None, "A")


def test_a_bundle_of_a_private_version_reads_the_plain_tasks(
    bundle: Bundle, tmp_path: Path
) -> None:
    answers = write_model(tmp_path / "m", bundle, 3)
    reader = LogReader(replace(bundle, version="mine"))
    with pytest.raises(
        LogError,
        match=r"lacks the log of ARC.*this bundle.s tasks; .* those that .metabench-py items tasks",
    ):
        reader(find_model("m", tmp_path))
    for path in (tmp_path / "m").iterdir():
        path.rename(path.with_name(path.name.replace("_secondary", "")))
    read = reader(find_model("m", tmp_path))
    np.testing.assert_array_equal(read.values["arc"], answers["arc"])
