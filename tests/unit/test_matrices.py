"""Finding and reading matrices and prompts of any benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.calibration.matrices import find_sources, load_prompts, load_source
from metabench_py.errors import InputError, ResponseError
from metabench_py.responses import ResponseMatrix


def save(path: Path, llms: str, items: str = "ab") -> None:
    names = llms.split()
    values = np.arange(len(names) * len(items)).reshape(len(names), len(items)) % 3 % 2
    matrix = ResponseMatrix(tuple(names), tuple(items), values.astype(np.int8))
    if path.suffix == ".parquet":
        matrix.save(path)
        return
    long = [(n, i, values[r, c]) for r, n in enumerate(names) for c, i in enumerate(items)]
    pd.DataFrame(long, columns=["source", "item", "correct"]).to_csv(path, index=False)


def prompts(path: Path, **items: str) -> None:
    path.parent.mkdir(exist_ok=True)
    frame = pd.DataFrame({"item": list(items), "prompt": list(items.values())})
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)


def test_what_is_a_matrix(tmp_path: Path) -> None:
    save(tmp_path / "zoo.csv.gz", "x y")
    save(tmp_path / "arc.parquet", "x y")
    save(tmp_path / "mine.v2.parquet", "x y")
    prompts(tmp_path / "zoo-prompts.csv", a="A")
    prompts(tmp_path / "arc_prompts.csv.gz", a="A")
    pd.DataFrame({"name": ["x"], "arch": ["Llama"]}).to_csv(tmp_path / "board.csv", index=False)
    pd.DataFrame({"name": ["x"], "split": ["test"]}).to_parquet(tmp_path / "llms.parquet")
    pd.DataFrame({"name": ["x"], "arc": [1.0]}).to_parquet(tmp_path / "scores.parquet")
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".arc.parquet.x1").touch()
    found = find_sources(tmp_path)
    assert [source.benchmark for source in found.found] == ["arc", "mine.v2", "zoo"]
    assert [about.split(" (")[0] for about in found.aside] == ["board.csv", "llms.parquet"]
    one = find_sources(tmp_path, ["zoo"])
    assert [source.benchmark for source in one.found] == ["zoo"]


def test_what_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "arc.parquet", "x y")
    (tmp_path / "own.parquet").write_bytes(b"PAR1 not")
    found = find_sources(tmp_path).found
    assert [source.benchmark for source in found] == ["arc", "own"]
    with pytest.raises(ResponseError, match=r"own\.parquet: not a readable Parquet"):
        load_source(found[1], "c")
    # A known name is a matrix, whatever it looks like.
    (tmp_path / "mmlu_law.csv").write_text("llm,law\nx,1\n")
    with pytest.raises(ResponseError, match=r"mmlu_law\.csv: no column 'source'"):
        load_source(find_sources(tmp_path, ["mmlu"]).found[0], "c")


def test_another_benchmark_is_no_part(tmp_path: Path) -> None:
    save(tmp_path / "mmlu_pro.parquet", "a b")
    save(tmp_path / "mmlu.parquet", "a b")
    assert [source.benchmark for source in find_sources(tmp_path).found] == ["mmlu", "mmlu_pro"]


def test_parts_are_joined(tmp_path: Path) -> None:
    save(tmp_path / "mmlu_law.csv", "b/1 a/2 C/3 _/4", "12")
    save(tmp_path / "mmlu_anatomy.parquet", "a/2 x/9 b/1 C/3", "1")
    (source,) = find_sources(tmp_path).found
    assert [part for part, _ in source.parts] == ["anatomy", "law"]
    matrix = load_source(source, "c")
    assert matrix.llms == ("C/3", "a/2", "b/1")
    assert matrix.items == ("anatomy.1", "law.1", "law.2")
    law = ResponseMatrix.load(tmp_path / "mmlu_law.csv").rows(matrix.llms)
    np.testing.assert_array_equal(matrix.values[:, 1:], law.values)
    # A part that is asked for by name is a benchmark.
    (alone,) = find_sources(tmp_path, ["mmlu_law"]).found
    assert load_source(alone, "c").items == ("1", "2")
    assert load_source(alone, "c").llms == ("b/1", "a/2", "C/3", "_/4")


def test_what_does_not_fit_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_sources(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no responses of any benchmark.*There are no matrices"):
        find_sources(tmp_path)
    save(tmp_path / "arc.parquet", "x y")
    with pytest.raises(InputError, match=r"no responses of own, new.*There are arc\."):
        find_sources(tmp_path, ["own", "arc", "new"])
    save(tmp_path / "arc.csv", "x y")
    with pytest.raises(InputError, match=r"both arc\.csv and arc\.parquet"):
        find_sources(tmp_path)
    (tmp_path / "arc.csv").unlink()
    save(tmp_path / "mmlu_law.csv", "x y")
    save(tmp_path / "mmlu.csv", "x y")
    with pytest.raises(InputError, match=r"both mmlu\.csv and mmlu_law\.csv; the first holds all"):
        find_sources(tmp_path)
    assert find_sources(tmp_path, ["arc"]).found
    (tmp_path / "mmlu.csv").unlink()
    save(tmp_path / "mmlu_art.csv", "X Y")
    with pytest.raises(ResponseError, match=r"mmlu_law\.csv: no LLM of it is in all parts of mmlu"):
        load_source(find_sources(tmp_path, ["mmlu"]).found[0], "c")


@pytest.mark.parametrize(
    "name",
    ["own-prompts.csv", "own_prompts.csv.gz", "own-prompts.parquet", "prompts/own.parquet"],
)
def test_prompts_are_found(tmp_path: Path, name: str) -> None:
    save(tmp_path / "own.parquet", "x y", "12")
    (source,) = find_sources(tmp_path).found
    assert load_prompts(tmp_path, source) is None
    prompts(tmp_path / name, **{"1": 'two\nlines, "quoted" ', "2": " "})
    assert load_prompts(tmp_path, source) == {"1": 'two\nlines, "quoted" '}


def test_prompts_of_parts(tmp_path: Path) -> None:
    save(tmp_path / "mmlu_law.csv", "x y", "12")
    save(tmp_path / "mmlu_art.csv", "x y", "12")
    (source,) = find_sources(tmp_path).found
    prompts(tmp_path / "mmlu_law_prompts.csv", **{"1": "A", "2": "B"})
    assert load_prompts(tmp_path, source) == {"law.1": "A", "law.2": "B"}
    prompts(tmp_path / "prompts" / "mmlu.csv", **{"law.1": "C"})
    assert load_prompts(tmp_path, source) == {"law.1": "C"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,prompt\n1,A\n", "no column 'item'"),
        ("item,prompt\n1,A\n1,B\n", "row 2: item '1' has a prompt in row 1 already"),
        ("item,prompt\n,A\n", "row 1: the item id"),
        ("item,prompt\n", "no rows"),
    ],
)
def test_bad_prompts(tmp_path: Path, text: str, says: str) -> None:
    save(tmp_path / "own.parquet", "x y")
    path = tmp_path / "own-prompts.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        load_prompts(tmp_path, find_sources(tmp_path).found[0])
    assert str(path) in str(caught.value)


def test_what_is_no_matrix_says_why(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("name,q1,q2\na/b,1,0\n")
    (tmp_path / "semicolons.csv").write_text("source;item;correct\na/b;q1;1\n")
    pd.DataFrame({"q1": [1, 0]}).to_parquet(tmp_path / "nameless.parquet", index=False)
    pd.DataFrame({"name": ["a/b"], "q1": ["1"]}).to_parquet(tmp_path / "texts.parquet")
    with pytest.raises(InputError) as caught:
        find_sources(tmp_path)
    told = str(caught.value)
    for about in (
        "wide.csv (a CSV matrix has a row an answer and the columns source,item,correct)",
        "semicolons.csv (a CSV matrix",
        "nameless.parquet (no column of the LLMs' names",
        "texts.parquet (column 'q1' is ",
    ):
        assert about in told
