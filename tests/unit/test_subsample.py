"""Random subsets of items: draws, choice, missing answers, files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.golden_subsample import benchmark_data, write_folder

from metabench_py.calibration.stage_data import BenchmarkData, load_stage_data
from metabench_py.calibration.subsample import (
    SubsampleOptions,
    SubsampleResult,
    basis_size,
    draw_folds,
    draw_subsets,
    subsample,
)
from metabench_py.calibration.subsample_errors import shares
from metabench_py.calibration.subsample_folder import finished_work, subsample_folder
from metabench_py.compute import Journal
from metabench_py.errors import InputError, StorageError
from metabench_py.gam.adaptive import AdaptiveOptions, fit_adaptive
from metabench_py.responses import ResponseMatrix

SMALL = SubsampleOptions(n_items=30, subsets=12)


@pytest.fixture(scope="module")
def arc() -> BenchmarkData:
    return benchmark_data(Path(__file__).resolve().parents[1] / "golden", "arc")


def test_a_subset_does_not_depend_on_how_many_are_drawn() -> None:
    many = draw_subsets(125, replace(SMALL, subsets=30))
    assert np.array_equal(many[:12], draw_subsets(125, SMALL))
    assert not np.array_equal(many[:12], draw_subsets(125, replace(SMALL, seed=2)))
    assert (np.diff(many, axis=1) > 0).all()
    assert many.min() >= 0
    assert many.max() < 125
    assert len({tuple(row) for row in many}) == 30


def test_every_item_is_drawn_about_equally_often() -> None:
    counts = np.bincount(draw_subsets(50, SubsampleOptions(n_items=10, subsets=5000)).ravel())
    # Binomial with mean 1000 and standard deviation 28.
    assert np.abs(counts - 1000).max() < 130


def test_folds_have_llms_of_all_scores(arc: BenchmarkData) -> None:
    fold = draw_folds(arc.train.llms, arc.train_score, SMALL)
    assert np.bincount(fold).tolist() == [72] * 5
    means = [arc.train_score[fold == k].mean() for k in range(5)]
    assert np.ptp(means) < 0.5
    rows = np.random.default_rng(1).permutation(len(fold))
    names = tuple(arc.train.llms[i] for i in rows)
    assert np.array_equal(draw_folds(names, arc.train_score[rows], SMALL), fold[rows])
    assert not np.array_equal(
        draw_folds(arc.train.llms, arc.train_score, replace(SMALL, seed=2)), fold
    )


def test_errors_are_those_of_single_splines(arc: BenchmarkData) -> None:
    found = subsample(arc, SMALL)
    row, held = 7, 3
    share = arc.train.values[:, found.picks[row]].mean(axis=1)
    train = found.fold != held
    fit = fit_adaptive(share[train], arc.train_score[train])
    left = arc.train_score[~train] - fit.predict(share[~train])
    assert found.rmse_validation[row, held] == pytest.approx(np.sqrt((left**2).mean()), rel=1e-4)
    test = arc.test_score - fit.predict(arc.test.values[:, found.picks[row]].mean(axis=1))
    assert found.rmse_test[row, held] == pytest.approx(np.sqrt((test**2).mean()), rel=1e-4)
    worst = found.rmse_validation.max(axis=1)
    assert found.chosen == int(np.argmin(worst))
    assert found.chosen_items == tuple(arc.train.items[i] for i in found.picks[found.chosen])


def test_the_first_of_equal_subsets_is_chosen() -> None:
    rmse = np.array([[3.0, 4.0], [2.0, 3.0], [3.0, 1.0], [np.nan, 1.0]])
    picks = np.arange(4)[:, None]
    found = SubsampleResult("x", tuple("abcd"), picks, np.zeros(4, np.int64), rmse, rmse)
    assert found.worst.tolist() == [4.0, 3.0, 3.0, np.inf]
    assert found.chosen == 1


def test_workers_and_interruptions_change_nothing(arc: BenchmarkData, tmp_path: Path) -> None:
    here = subsample(arc, SMALL)
    with ThreadPoolExecutor(3) as pool:
        there = subsample(arc, SMALL, executor=pool)
    told: list[tuple[str, int, int]] = []

    class StopError(Exception):
        pass

    def stop(what: str, number: int, total: int) -> None:
        told.append((what, number, total))
        if number == 5:
            raise StopError

    journal = tmp_path / "calls.journal"
    with pytest.raises(StopError), Journal(None, journal) as keeper:
        subsample(arc, SMALL, executor=keeper, progress=stop)
    assert told == [("arc", i, 12) for i in range(6)]
    with Journal(None, journal) as keeper:
        assert keeper.found == 5
        again = subsample(arc, SMALL, executor=keeper)
    for other in (there, again):
        assert np.array_equal(other.rmse_validation, here.rmse_validation)
        assert np.array_equal(other.rmse_test, here.rmse_test)


def test_missing_answers_count_for_nothing(arc: BenchmarkData) -> None:
    answers = np.array([[1, 0, -1, -1], [1, 1, 1, -1], [0, 0, 0, -1]], np.int8)
    values, group = shares(answers, np.array([0, 1]))
    assert values[group[:3]].tolist() == [1.0, 0.5, 1.0]
    assert group[3] == -1
    train = arc.train.values.copy()
    train[np.random.default_rng(1).random(train.shape) < 0.1] = -1
    train[0] = -1
    holed = replace(arc, train=ResponseMatrix(arc.train.llms, arc.train.items, train))
    found = subsample(holed, SMALL)
    assert np.isfinite(found.rmse_validation).all()
    whole = subsample(arc, SMALL)
    assert 0 < np.median(found.worst) - np.median(whole.worst) < 1.0


def test_more_items_err_less(arc: BenchmarkData) -> None:
    medians = [
        np.median(subsample(arc, replace(SMALL, n_items=n)).rmse_validation) for n in (10, 30, 90)
    ]
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 2 * medians[2]


def test_converged_search(arc: BenchmarkData) -> None:
    found = subsample(arc, replace(SMALL, search="converged"))
    path = subsample(arc, SMALL)
    assert not np.array_equal(found.rmse_validation, path.rmse_validation)
    np.testing.assert_allclose(found.rmse_validation, path.rmse_validation, rtol=0.1)


def test_few_llms_get_a_smaller_basis(arc: BenchmarkData) -> None:
    few = replace(arc, train=arc.train.rows(arc.train.llms[:40]), train_score=arc.train_score[:40])
    fold = draw_folds(few.train.llms, few.train_score, SMALL)
    assert basis_size(fold, SMALL) == 16
    assert basis_size(fold, replace(SMALL, basis_size=24)) == 24
    assert np.isfinite(subsample(few, SMALL).rmse_validation).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_items": 126}, "arc: A subset of 126 items cannot be drawn from 125"),
        ({"folds": 200}, "arc: 360 training LLMs are too few for 200 folds"),
    ],
)
def test_what_cannot_be_done(arc: BenchmarkData, change: dict[str, int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        subsample(arc, replace(SMALL, **change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"folds": 1}, "1 folds: take 2 or more"),
        ({"subsets": 0}, "0 subsets: take 1 or more"),
        ({"rule": "caret"}, "'caret': choose stratified, original"),
        ({"second_stage": "lm"}, "'lm': choose native, mgcv"),
        ({"search": "fast"}, "'fast': choose mgcv-path, converged"),
        ({"basis_size": 4}, "4 basis functions: take 8 or more"),
        ({"seed": -1}, "-1 as a seed"),
    ],
)
def test_odd_options(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SubsampleOptions(**change)  # type: ignore[arg-type]


def test_folder(golden: Path, tmp_path: Path) -> None:
    before = write_folder(golden, tmp_path / "before", ("arc", "mmlu"))
    out = tmp_path / "out"
    found = subsample_folder(before, out, SMALL, null_items=(20,), null_subsets=5)
    after = load_stage_data(out)
    assert sorted(after) == ["arc", "mmlu"]
    for name, data in after.items():
        assert data.train.items == found.chosen[name].chosen_items
        assert data.train.llms == load_stage_data(before)[name].train.llms
        assert data.test.n_llms == 40
    errors = pd.read_parquet(out / "subsample.parquet")
    assert list(errors.columns) == ["benchmark", "seed", "fold", "rmse_validation", "rmse_test"]
    assert len(errors) == 2 * 12 * 5
    row = errors[(errors.benchmark == "mmlu") & (errors.seed == 3) & (errors.fold == 2)]
    assert row["rmse_test"].item() == found.chosen["mmlu"].rmse_test[2, 1]
    null = pd.read_parquet(out / "null" / "errors.parquet")
    assert set(null["n_items"]) == {20}
    assert len(null) == 2 * 5 * 5
    assert found.null["arc", 20].rmse_validation.mean() > found.chosen["arc"].rmse_validation.mean()
    with pytest.raises(StorageError, match="exists already"):
        subsample_folder(before, out, SMALL)
    with pytest.raises(InputError, match="arc: 200 items cannot be drawn from 125"):
        subsample_folder(before, tmp_path / "more", SMALL, null_items=(200,))
    with pytest.raises(InputError, match="holds the matrices themselves"):
        subsample_folder(before, before, SMALL, replace_out=True)
    assert not (tmp_path / "more").exists()


def test_finished_work_is_kept_after_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen = []

    def fail() -> None:
        with finished_work(None, out) as journal:
            journal.write_bytes(b"a call")
            seen.append(journal)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen[0].is_file()
    with finished_work(None, out) as again:
        assert again == seen[0]
    assert not again.parent.exists()


def test_basis_options_reach_the_spline(arc: BenchmarkData) -> None:
    small = subsample(arc, replace(SMALL, basis_size=10))
    large = subsample(arc, SMALL)
    assert not np.array_equal(small.rmse_validation, large.rmse_validation)
    assert AdaptiveOptions().basis_size == 40
