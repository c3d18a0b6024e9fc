"""A small simulated calibration of two second stages: the fast GAM in R, and the stack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import load_bundle
from metabench_py.bundle.verify import verify_bundle
from metabench_py.calibration import CalibrationOptions, calibrate, load_inputs
from metabench_py.calibration.evaluation import SHARES
from metabench_py.calibration.folds import organisation_numbers
from metabench_py.calibration.pipeline import make_folds
from metabench_py.gam.mgcv import GamOptions, export, fit_gam, load_rds
from metabench_py.stack.model import Stack
from tests.helpers.calibration import write_world

pytestmark = pytest.mark.usefixtures("needs_r")

OPTIONS = CalibrationOptions(
    engine="native",
    mode="mirt-path",
    second_stage=("stack", "fast-gam"),
    folds=3,
    seed=2,
    basis_size=8,
    workers=2,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Also with a copy of an LLM under another organisation's name."""
    responses, scores, items = write_world(tmp_path_factory.mktemp("world"), n_llms=200)
    table = pd.read_csv(scores)
    table.loc[len(table)] = [f"copycat/{table['name'][0].split('/')[1]}", *table.iloc[0, 1:]]
    table.to_csv(scores, index=False)
    for benchmark in BENCHMARKS:
        path = responses / f"{benchmark}.parquet"
        frame = pd.read_parquet(path)
        named = "name" in frame.columns
        frame = frame if named else frame.reset_index()
        frame.loc[len(frame)] = [table["name"].iloc[-1], *frame.iloc[0, 1:]]
        kinds = dict.fromkeys(frame.columns[1:], "Int8")
        frame = frame.astype(kinds)
        (frame if named else frame.set_index(frame.columns[0])).to_parquet(path, index=not named)
    return responses, scores, items


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, world: tuple[Path, Path, Path], needs_r: None
) -> Path:
    folder = tmp_path_factory.mktemp("made")
    return calibrate(
        *world, folder / "bundle", name="simulated", version="S", licence="CC0-1.0",
        source="simulated", options=OPTIONS, work=folder / "work",
    )  # fmt: skip


def test_both_second_stages_are_in_the_bundle(made: Path) -> None:
    assert all(check.ok for check in verify_bundle(made))
    bundle = load_bundle(made, trust=True)
    assert list(bundle.stages) == ["stack", "gam"]
    assert bundle.stages["gam"].fit == "fast-gam"
    assert isinstance(bundle.default.model, Stack)
    assert set(bundle.rds) == set(TARGETS)
    assert tuple(bundle.singles) == BENCHMARKS
    assert bundle.manifest["provenance"]["options"]["second_stage"] == ["stack", "fast-gam"]


def test_fast_portable_and_r_fits_predict_alike(made: Path) -> None:
    bundle = load_bundle(made, trust=True)
    random = np.random.default_rng(0)
    for target in TARGETS:
        gam = bundle.gams[target]
        features = {
            name: random.uniform(0, 100, 40) if "." in name else random.normal(size=40)
            for name in gam.features
        }
        in_r = load_rds(bundle.rds[target], target).predict(features)
        np.testing.assert_allclose(gam.predict(features), in_r, rtol=1e-9, atol=1e-9)


def test_every_error_is_told_by_both_kinds_of_folds(
    made: Path, world: tuple[Path, Path, Path]
) -> None:
    inputs, bundle = load_inputs(*world), load_bundle(made)
    scores = inputs.scores.of(inputs.llms)
    for name, stage in bundle.stages.items():
        assert set(stage.evaluation) == {"grouped", "random"}
        for target in TARGETS:
            table = stage.errors[target]
            np.testing.assert_allclose(
                np.sort(table.predicted - table.error), np.sort(scores[target]), atol=2e-6
            )
            assert (table.scale is None) == (name == "gam")
            for told in stage.evaluation.values():
                one = told["targets"][target]
                assert one["n"] == len(inputs.llms)
                assert 0.02 * scores[target].std() < one["rmse"] < 0.75 * scores[target].std()
                assert one["mae"] < one["rmse"]
                assert 0.8 < one["coverage"] < 0.97
        grand = stage.evaluation["grouped"]["targets"]["grand"]["rmse"]
        single = [stage.evaluation["grouped"]["targets"][b]["rmse"] for b in BENCHMARKS]
        assert grand < min(single)
    # One benchmark alone tells less than all six.
    for b, stage in bundle.singles.items():
        alone = stage.evaluation["grouped"]["targets"][b]["rmse"]
        assert alone > 0.95 * bundle.default.evaluation["grouped"]["targets"][b]["rmse"]


def test_errors_grow_with_the_share_of_masked_items(made: Path) -> None:
    bundle = load_bundle(made)
    for stage in (*bundle.stages.values(), *bundle.singles.values()):
        assert stage.growth is not None
        np.testing.assert_array_equal(stage.growth.shares, SHARES)
        for target, own in stage.growth.factors.items():
            for masked, factors in own.items():
                assert (np.diff(factors) >= 0).all()
                assert factors[0] >= 1.0
                if masked == target:
                    assert factors[0] < factors[-1] < 20.0
            # What a benchmark's own items say, no other benchmark's say better.
            if target != "grand":
                assert max(own, key=lambda b, own=own: own[b][-1]) == target


def test_a_near_duplicate_stays_with_its_original(world: tuple[Path, Path, Path]) -> None:
    inputs = load_inputs(*world)
    copy = next(name for name in inputs.llms if name.startswith("copycat/"))
    original = next(
        name for name in inputs.llms if name != copy and name.endswith("/" + copy.split("/")[1])
    )
    a, b = inputs.llms.index(copy), inputs.llms.index(original)
    folds = make_folds(inputs, 3, 2)
    assert folds.groups[a] == folds.groups[b]
    assert folds.grouped[a] == folds.grouped[b]
    assert folds.random[a] == folds.random[b]
    # By random folds organisations are torn apart, by grouped ones never.
    numbers = organisation_numbers(inputs.llms)
    torn = [len(set(folds.random[numbers == n])) > 1 for n in set(numbers)]
    assert sum(torn) > len(torn) / 2
    assert all(len(set(folds.grouped[numbers == n])) == 1 for n in set(numbers))


def test_everything_is_taken_again(
    made: Path, world: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    work = made.parent / "work"
    said: list[str] = []
    again = calibrate(
        *world, tmp_path / "bundle", name="simulated", version="S", licence="CC0-1.0",
        source="simulated", options=OPTIONS, work=work,
        progress=lambda what, number, total: said.append(what),
    )  # fmt: skip
    assert [line.split()[0] for line in said[:3]] == ["6", "14", "15"]
    assert len(said) == 4
    one, two = (json.loads((p / "manifest.json").read_text()) for p in (made, again))
    assert one == two
    # A stack whose file was damaged meanwhile is fitted again.
    (work / "stack-arc.npz").write_bytes(b"damaged")
    said.clear()
    calibrate(
        *world, tmp_path / "bundle", name="simulated", version="S", licence="CC0-1.0",
        source="simulated", options=OPTIONS, work=work, replace=True,
        progress=lambda what, number, total: said.append(what),
    )  # fmt: skip
    assert "stack of arc alone" in said
    assert json.loads((tmp_path / "bundle" / "manifest.json").read_text()) == one


def test_fast_fits_keep_given_smoothing_parameters() -> None:
    random = np.random.default_rng(1)
    features = {name: random.normal(size=300) for name in ("a", "b")}
    score = 50 + 10 * np.sin(features["a"]) + features["b"] + random.normal(size=300)
    free, fit = fit_gam(features, score, "arc", predictors=("a", "b"), options=GamOptions.fast(10))
    fixed = GamOptions(basis="ps", k=10, bam=True, discrete=True, sp=fit.sp)
    again, same = fit_gam(features, score, "arc", predictors=("a", "b"), options=fixed)
    np.testing.assert_allclose(same.sp, fit.sp)
    np.testing.assert_allclose(again.predict(features), free.predict(features), atol=1e-6)
    assert fit.converged
    portable = export(free.handle, "arc")
    np.testing.assert_allclose(portable.predict(features), free.predict(features), rtol=1e-9)
    rmse = np.sqrt(np.mean((free.predict(features) - score) ** 2))
    assert 0.85 < rmse < 1.1
