"""Draws by R's random numbers, against what R and caret draw in a plain script."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.r_probes import probe

from metabench_py import rbridge
from metabench_py.errors import InputError, RUnavailableError
from metabench_py.rbridge.sampling import folds, partition, sample, sample_each

pytestmark = pytest.mark.usefixtures("needs_r")


def rscript(code: str, *arguments: str) -> list[int]:
    """Run R in a process of its own, with nothing of ours; the whole numbers that it prints."""
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", code, *arguments], capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


@pytest.fixture(scope="module")
def numbers(golden: Path) -> dict[str, Any]:
    path = golden / "pipeline" / "split" / "rng-and-caret.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture(params=["base", "caret"])
def by(request: pytest.FixtureRequest) -> Any:
    if request.param == "caret":
        request.getfixturevalue("needs_caret")
    return request.param


@pytest.mark.parametrize(
    ("n", "size", "seed"), [(100, 100, 1), (14_042, 350, 42), (7, 3, -5), (1, 1, 0), (10**9, 5, 9)]
)
def test_sample_is_what_a_script_draws(n: int, size: int, seed: int) -> None:
    expected = rscript(f"set.seed({seed}); cat(sample({n}L, {size}L))")
    assert (sample(n, size, seed) + 1).tolist() == expected


def test_golden_samples(numbers: dict[str, Any]) -> None:
    assert (sample(100, 100, 1) + 1).tolist() == numbers["set.seed(1);sample(100)"]
    assert (sample(1000, 20, 1) + 1).tolist() == numbers["set.seed(1);sample(1000,20)"]
    expected = numbers["set.seed(1);sort(sample(1:150,60))"]
    assert (np.sort(sample(150, 60, 1)) + 1).tolist() == expected


def test_many_seeds_in_one_call() -> None:
    expected = rscript("for (k in c(3, 1, 3)) { set.seed(k); cat(sample(50, 4), '') }")
    assert (sample_each(50, 4, [3, 1, 3]) + 1).ravel().tolist() == expected
    assert sample_each(50, 0, [1, 2]).shape == (2, 0)
    assert sample_each(50, 1, [1, 2, 3]).shape == (3, 1)
    assert sample_each(50, 4, []).shape == (0, 4)


def test_the_state_of_r_is_left_as_it_was() -> None:
    """Neither our draws nor anybody else's choice of generator changes the other's."""
    first = sample(50, 5, 8)
    probe("generator", kind="Wichmann-Hill", sample_kind="Rounding")
    try:
        np.testing.assert_array_equal(sample(50, 5, 8), first)
        assert probe("state")["kind"][0] == "Wichmann-Hill"
    finally:
        probe("generator", kind="Mersenne-Twister", sample_kind="Rejection")
    probe("forget_state")
    sample(50, 5, 8)
    partition(np.arange(20.0), 0.1, 1, by="base")
    assert probe("session")["objects"] == []
    probe("generator", kind="Mersenne-Twister", sample_kind="Rejection")
    before = probe("state")["seed"]
    assert len(before) > 600
    sample(50, 5, 8)
    np.testing.assert_array_equal(probe("state")["seed"], before)


def test_golden_partitions(numbers: dict[str, Any], by: Any) -> None:
    y = np.array(numbers["caret_y"])
    cases: Sequence[tuple[Any, int, str]] = (
        (y, 1, "set.seed(1);createDataPartition(y,p=0.1,list=F)"),
        (np.round(y), 2, "set.seed(2);createDataPartition(round(y),p=0.1,list=F)"),
    )
    for score, seed, name in cases:
        assert (partition(score, 0.1, seed, by) + 1).tolist() == numbers[name]


def test_golden_folds(numbers: dict[str, Any], by: Any) -> None:
    y = np.array(numbers["caret_y"])
    for score, seed, name in (
        (y, 1, "set.seed(1);createFolds(y,k=5)"),
        (np.round(y), 2, "set.seed(2);createFolds(round(y),k=5)"),
    ):
        found = folds(score, 5, seed, by)
        for k, rows in enumerate(numbers[name].values()):
            assert (np.flatnonzero(found == k) + 1).tolist() == rows


PARTITION = """
score <- scan(file = commandArgs(TRUE)[1], quiet = TRUE)
set.seed(11)
cut_at <- unique(quantile(score, seq(0, 1, length.out = min(5, length(score)))))
quarter <- cut(score, cut_at, include.lowest = TRUE)
drawn <- integer()
for (level in levels(quarter)) {
  rows <- which(quarter == level)
  # caret draws nothing where there is one row.
  few <- if (length(rows) == 1) 1 else sample(seq_along(rows), ceiling(0.1 * length(rows)))
  drawn <- c(drawn, rows[few])
}
cat(sort(drawn))
"""


@pytest.mark.parametrize("n", [4, 7, 400, 4_000])
def test_partition_is_what_a_script_draws(n: int, tmp_path: Path) -> None:
    score = np.round(np.random.default_rng(n).uniform(20, 90, n), 2)
    np.savetxt(tmp_path / "score", score, fmt="%.2f")
    expected = rscript(PARTITION, str(tmp_path / "score"))
    assert (partition(score, 0.1, 11, by="base") + 1).tolist() == expected


@pytest.mark.usefixtures("needs_caret")
@pytest.mark.parametrize("seed", range(5))
def test_base_draws_as_caret(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for n in (6, 23, 150, 1_001):
        for score in (rng.uniform(0, 100, n), np.round(rng.normal(0, 3, n)), rng.normal(0, 1e5, n)):
            for share in (0.1, 0.5):
                ours, theirs = (partition(score, share, seed, by) for by in ("base", "caret"))
                np.testing.assert_array_equal(ours, theirs)
            for k in (2, 5):
                ours, theirs = (folds(score, k, seed, by) for by in ("base", "caret"))
                np.testing.assert_array_equal(ours, theirs)


def test_the_published_split(shared_data: Path, by: Any) -> None:
    """The test LLMs of the simulated pipeline, by the original's own script."""
    import pandas as pd

    folder = shared_data.parent / "golden" / "pipeline" / "split"
    table = pd.read_csv(folder / "merged-scores.csv")
    split = json.loads((folder / "split-seed1.json").read_text())
    drawn = partition(table["mean"], split["p"], split["seed"], by)
    assert (drawn + 1).tolist() == split["indices"]
    assert table["source"][drawn].tolist() == split["llms_test"]


def test_partition_holds_all_quarters() -> None:
    score = np.random.default_rng(5).normal(size=4_000)
    drawn = partition(score, 0.1, 3, by="base")
    quarter = np.digitize(score, np.quantile(score, [0.25, 0.5, 0.75]))
    assert np.bincount(quarter[drawn]).tolist() == [100, 100, 100, 100]
    assert (np.diff(drawn) > 0).all()
    found = folds(score, 5, 3, by="base")
    assert np.bincount(found).tolist() == [800] * 5


@pytest.mark.parametrize(
    ("score", "says"),
    [
        ([1.0], "2 or more"),
        ([[1.0, 2.0]], "one dimension"),
        ([1.0, np.nan, 2.0], "Score 2 of 3 is nan"),
        ([5.0, 5.0, 5.0], "All 3 scores are 5"),
    ],
)
def test_scores_that_cannot_be_split(score: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        partition(score, 0.1, 1)
    with pytest.raises(InputError):
        folds(score, 2, 1)


def test_arguments_are_checked() -> None:
    with pytest.raises(InputError, match="11 of 10"):
        sample(10, 11, 1)
    with pytest.raises(InputError, match="does not fit R's integers"):
        sample(10, 1, 2**31)
    for share in (0.0, 1.0, np.nan):
        with pytest.raises(InputError, match="not between 0 and 1"):
            partition([1.0, 2.0], share, 1)
    with pytest.raises(InputError, match="2 or more"):
        folds([1.0, 2.0], 1, 1)
    with pytest.raises(InputError, match="cannot be split"):
        folds([1.0, 2.0], 5, 1)
    if not rbridge.has_package("caret"):
        with pytest.raises(RUnavailableError, match="'caret'"):
            partition([1.0, 2.0, 3.0], 0.5, 1, by="caret")
