"""The split against the original's: the same LLMs for the same seed, in either locale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabench_py.calibration.preprocess_folder import preprocess_folder
from metabench_py.calibration.split import Split, SplitOptions, split
from metabench_py.calibration.split_folder import load_score_table, load_split, split_folder

from . import tolerances
from .report import Record

pytestmark = pytest.mark.usefixtures("needs_r")


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The scores are the same for either item rule and order.
    path = tmp_path_factory.mktemp("split") / "out"
    preprocess_folder(golden / "pipeline" / "inputs", path)
    return path


@pytest.fixture(params=["base", "caret"])
def by(request: pytest.FixtureRequest) -> Any:
    if request.param == "caret":
        request.getfixturevalue("needs_caret")
    return request.param


def drawn(folder: Path, **options: Any) -> Split:
    table = load_score_table(folder / "scores.parquet")
    return split(*table, SplitOptions(rule="original", **options))


def test_split(folder: Path, golden: Path, by: Any, record: Record) -> None:
    reference = golden / "pipeline" / "split"
    facts = json.loads((reference / "split-seed1.json").read_text())
    merged = pd.read_csv(reference / "merged-scores.csv")
    found = drawn(folder, seed=1, partitioner=by)
    assert list(found.common) == merged["source"].tolist()
    assert list(found.test_llms) == facts["llms_test"]
    position = {name: i for i, name in enumerate(found.common, start=1)}
    assert [position[name] for name in found.test_llms] == facts["indices"]
    assert list(found.sizes) == facts["group_sizes"]
    worst = np.abs(found.mean - merged["mean"].to_numpy()).max()
    record("mean score", f"split, {by}", float(worst), tolerances.RAW_SCORE)
    worst = np.abs(found.breaks - facts["quantile_breaks_type7"]).max()
    record("quartiles of the mean score", f"split, {by}", float(worst), tolerances.RAW_SCORE)


def test_split_in_the_c_locale(folder: Path, golden: Path, by: Any) -> None:
    path = golden / "pipeline" / "split" / "split-seed1-LC_ALL_C.json"
    facts = json.loads(path.read_text())
    found = drawn(folder, seed=1, order="c", partitioner=by)
    assert list(found.common) == facts["merged_order"]
    assert list(found.test_llms) == facts["llms_test"]


def test_split_on_files(folder: Path, golden: Path, by: Any, tmp_path: Path) -> None:
    options = SplitOptions(rule="original", partitioner=by)
    split_folder(folder, tmp_path, options)
    parts = load_split(tmp_path / "split.parquet")
    reference = golden / "pipeline" / "split"
    merged = pd.read_csv(reference / "merged-scores.csv").set_index("source")
    assert {name: parts[name] for name in merged.index} == merged["in_test"].to_dict()
    # LLMs that lack a benchmark are for training.
    assert len(parts) > len(merged)
    assert sum(parts.values()) == merged["in_test"].sum()


def test_our_rule_draws_as_many_of_each_quarter(folder: Path) -> None:
    table = load_score_table(folder / "scores.parquet")
    ours, theirs = split(*table), drawn(folder, partitioner="base")
    assert (ours.sizes, ours.drawn) == (theirs.sizes, theirs.drawn)
    np.testing.assert_allclose(ours.breaks, theirs.breaks, rtol=1e-14)
    assert set(ours.test_llms) != set(theirs.test_llms)
