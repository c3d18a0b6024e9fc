"""The draw of test LLMs without R, and its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabench_py.calibration.split import SplitOptions, split
from metabench_py.calibration.split_folder import load_score_table, load_split, split_folder
from metabench_py.errors import InputError, StorageError


def scores(n: int = 400, seed: int = 0) -> tuple[list[str], dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    names = [f"org{i % 7}/m{i}" for i in range(n)]
    return names, {b: generator.uniform(0, 100, n) for b in ("arc", "own")}


def test_a_share_of_each_quarter_rounded_up() -> None:
    names, table = scores(390)
    found = split(names, table)
    assert found.sizes == (98, 97, 97, 98)
    assert found.drawn == (10, 10, 10, 10)
    assert found.test.sum() == 40
    mean = (table["arc"] + table["own"]) / 2
    quarter = np.digitize(mean, np.quantile(mean, [0.25, 0.5, 0.75]), right=True)
    assert np.bincount(quarter[found.test]).tolist() == [10, 10, 10, 10]
    assert found.common == tuple(sorted(names))
    assert set(found.test_llms) == {n for n, t in zip(names, found.test, strict=True) if t}
    assert list(found.test_llms) == sorted(found.test_llms)


def test_the_order_of_llms_and_benchmarks_does_not_matter() -> None:
    names, table = scores()
    shuffled = np.random.default_rng(1).permutation(len(names))
    again = split([names[i] for i in shuffled], {b: table[b][shuffled] for b in ("own", "arc")})
    assert set(again.test_llms) == set(split(names, table).test_llms)
    other = split(names, table, SplitOptions(seed=2))
    assert set(other.test_llms) != set(again.test_llms)


def test_the_draw_is_pinned() -> None:
    """A seed gives these LLMs on every machine and in every version."""
    names = [f"m{i:02d}" for i in range(40)]
    found = split(names, {"arc": np.arange(40.0)}, SplitOptions(seed=3, share=0.2))
    assert found.test_llms == PINNED


PINNED = ("m00", "m04", "m16", "m19", "m20", "m28", "m31", "m34")


def test_only_common_llms_are_test_llms() -> None:
    names, table = scores(100)
    table["arc"][:30] = np.nan
    found = split(names, table)
    assert not found.test[:30].any()
    assert len(found.common) == 70
    assert found.llms == tuple(names)


def test_ties_make_fewer_groups() -> None:
    found = split([f"m{i}" for i in range(40)], {"arc": np.repeat([1.0, 2.0, 2.0, 3.0], 10)})
    # Quartiles 1.75, 2, 2.25: two of the cuts hold the same LLMs apart.
    assert found.breaks.tolist() == [1.0, 1.75, 2.0, 2.25, 3.0]
    assert found.sizes == (10, 20, 0, 10)
    assert found.drawn == (1, 2, 0, 1)
    two = split([f"m{i}" for i in range(40)], {"arc": np.repeat([1.0, 2.0], 20)})
    assert two.breaks.tolist() == [1.0, 1.5, 2.0]
    assert (two.sizes, two.drawn) == ((20, 20), (2, 2))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "no scores"),
        ({"arc": [1.0, np.nan, np.nan], "b": [1.0, 2.0, 3.0]}, "1 of 3 LLMs have a score in each"),
        ({"arc": [5.0, 5.0, 5.0]}, "all have a mean of 5"),
        ({"arc": [1.0, 2.0, np.nan]}, "All 2 common LLMs would be test LLMs"),
    ],
)
def test_what_cannot_be_split(table: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        split(["a", "b", "c"], {b: np.array(x) for b, x in table.items()}, SplitOptions(share=0.9))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"share": 0.0}, "share of 0"),
        ({"share": 1.0}, "share of 1"),
        ({"seed": -1}, "seed is -1"),
        ({"rule": "thirds"}, "choose quarters, original"),
        ({"order": "de"}, "choose c, icu"),
        ({"partitioner": "me"}, "choose caret, base"),
    ],
)
def test_options_are_checked(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SplitOptions(**options)


def write(path: Path, names: list[str], table: dict[str, np.ndarray]) -> Path:
    frame = pd.DataFrame({"name": names, **table})
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


def test_files(tmp_path: Path) -> None:
    names, table = scores(50)
    table["arc"][4] = np.nan
    write(tmp_path / "scores.parquet", names, table)
    found = split_folder(tmp_path)
    parts = load_split(tmp_path / "split.parquet")
    assert list(parts) == names
    assert [name for name, test in parts.items() if test] == [
        n for n, t in zip(names, found.test, strict=True) if t
    ]
    summary = json.loads((tmp_path / "split.json").read_text())
    assert summary["llms_common"] == 49
    assert summary["test"] == sum(parts.values()) == len(summary["test_llms"])
    assert sum(q["test"] for q in summary["quarters"]) == summary["test"]
    with pytest.raises(StorageError, match="exists already"):
        split_folder(tmp_path)
    split_folder(tmp_path, options=SplitOptions(seed=9), replace=True)
    assert load_split(tmp_path / "split.parquet") != parts
    # A table of the user's own, elsewhere.
    mine = write(tmp_path / "mine.csv", names, {**table, "grand": np.zeros(50)})
    other = split_folder(tmp_path / "absent", tmp_path / "out", scores=mine)
    assert other.test_llms == found.test_llms
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"split.parquet", "split.json"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("llm,arc\na,1\n", "no column 'name'"),
        ("name,arc\na,1\na,2\n", "row 2: 'a' is in row 1 already"),
        ("name,arc\na,1\n,2\n", "row 2: no name"),
        ("name,arc\na,1\nb,much\n", "row 2: arc of 'b' is 'much'"),
        ("name,arc\na,1\nb,inf\n", "row 2: arc of 'b' is 'inf'"),
        ("name,grand\na,1\n", "no column with a benchmark's scores"),
        ("name,arc\na,1\nb,1\n", "all have a mean of 1"),
    ],
)
def test_bad_score_tables(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        split_folder(tmp_path, scores=path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "split.parquet").exists()


def test_score_tables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("name,split,arc,own\na,train,1,\nb,test,2.5,3\n")
    names, table = load_score_table(path)
    assert names == ("a", "b")
    assert list(table) == ["arc", "own"]
    np.testing.assert_array_equal(table["own"], [np.nan, 3.0])
    with pytest.raises(InputError, match=r"nothing.csv: no such file"):
        load_score_table(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,split\na,train\na,test\n", "row 2: 'a' occurs twice"),
        ("name,split\na,train\nb,val\n", "row 2: the split of 'b' is 'val'"),
    ],
)
def test_bad_splits(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        load_split(tmp_path / "split.csv")
