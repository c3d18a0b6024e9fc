"""Response matrices: what is saved is loaded, and what is not 0, 1 or missing is named."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench_py.errors import ResponseError
from metabench_py.responses import MISSING, ResponseMatrix


def matrix() -> ResponseMatrix:
    return ResponseMatrix(
        ("org__a", "b"), ("660", "anatomy.12", "007"), np.array([[1, 0, -1], [0, -1, 1]])
    )


def write_parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def write_csv(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "long.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_values_are_int8_rows(tmp_path: Path) -> None:
    m = matrix()
    assert m.values.dtype == np.int8
    assert m.values.flags.c_contiguous
    assert (m.n_llms, m.n_items) == (2, 3)
    same = ResponseMatrix(m.llms, m.items, np.asfortranarray(m.values.astype(float)))
    assert np.array_equal(same.values, m.values)
    assert same.values.flags.c_contiguous


def test_parquet_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "arc.parquet"
    matrix().save(path)
    loaded = ResponseMatrix.load(path)
    assert (loaded.llms, loaded.items) == (matrix().llms, matrix().items)
    assert np.array_equal(loaded.values, matrix().values)
    schema = pq.read_schema(path)
    assert [str(t) for t in schema.types] == ["string", "int8", "int8", "int8"]


names = st.lists(st.text(max_size=5).filter(lambda s: s not in ("name", "")), unique=True)


@given(names, names, st.data())
def test_any_matrix_survives(
    tmp_path_factory: pytest.TempPathFactory, llms: list[str], items: list[str], data: st.DataObject
) -> None:
    row = st.lists(st.integers(-1, 1), min_size=len(items), max_size=len(items))
    rows = data.draw(st.lists(row, min_size=len(llms), max_size=len(llms)))
    values = np.array(rows, dtype=np.int8).reshape(len(llms), len(items))
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    ResponseMatrix(tuple(llms), tuple(items), values).save(path)
    loaded = ResponseMatrix.load(path)
    assert (loaded.llms, loaded.items) == (tuple(llms), tuple(items))
    assert np.array_equal(loaded.values, values)


def test_what_pandas_writes_reads_in(tmp_path: Path) -> None:
    frame = pd.DataFrame({"1": [1, 0], "2": [np.nan, 1.0], "3": [True, False]}, index=["a", "b"])
    frame.to_parquet(tmp_path / "unnamed.parquet")
    frame.rename_axis("name").to_parquet(tmp_path / "named.parquet")
    frame.rename_axis("llm").reset_index().to_parquet(tmp_path / "column.parquet")
    for name in ("unnamed", "named", "column"):
        loaded = ResponseMatrix.load(tmp_path / f"{name}.parquet")
        assert (loaded.llms, loaded.items) == (("a", "b"), ("1", "2", "3"))
        assert loaded.values.tolist() == [[1, MISSING, 1], [0, 1, 0]]


def test_long_csv(tmp_path: Path) -> None:
    text = "source,item,correct\nb,007,1\nb,7,0\nNA,7,1.0\nNA,nan,NA\nb,nan,\nc,7,1\n"
    loaded = ResponseMatrix.load(write_csv(tmp_path, text))
    assert loaded.llms == ("b", "NA", "c")
    assert loaded.items == ("007", "7", "nan")
    assert loaded.values.tolist() == [[1, 0, -1], [-1, 1, -1], [-1, 1, -1]]


def test_csv_of_true_and_false(tmp_path: Path) -> None:
    text = "source,item,correct\na,1,True\na,2,False\na,3,\n"
    assert ResponseMatrix.load(write_csv(tmp_path, text)).values.tolist() == [[1, 0, -1]]


def test_compressed_csv(tmp_path: Path) -> None:
    path = tmp_path / "long.csv.gz"
    pd.DataFrame({"source": ["a"], "item": ["1"], "correct": [1]}).to_csv(path, index=False)
    assert ResponseMatrix.load(path).values.tolist() == [[1]]


def test_select_and_rows_reorder() -> None:
    m = matrix().select(["007", "660"]).rows(["b", "org__a"])
    assert (m.llms, m.items) == (("b", "org__a"), ("007", "660"))
    assert m.values.tolist() == [[1, 0], [-1, 1]]
    with pytest.raises(ResponseError, match=r"1 of 2 items are not .* first is 'x'") as caught:
        matrix().select(["660", "x"])
    assert caught.value.facts["items"] == ["x"]
    with pytest.raises(ResponseError, match=r"1 LLMs are not .* 'who'"):
        matrix().rows(["who"])


@pytest.mark.parametrize("value", [2, -2, 257, 0.5, np.nan, np.inf, -129])
def test_other_values_are_refused_by_llm_and_item(value: float) -> None:
    with pytest.raises(ResponseError, match="LLM 'b', item 'j'") as caught:
        ResponseMatrix(("a", "b"), ("i", "j"), np.array([[0, 1], [1, value]]))
    assert caught.value.facts == {"row": "b", "item": "j"}
    assert pickle.loads(pickle.dumps(caught.value)).facts == caught.value.facts


@pytest.mark.parametrize(
    ("llms", "items", "values", "said"),
    [
        (("a", "a"), ("i",), [[1], [0]], "LLM 'a' occurs twice"),
        (("a",), ("i", "i"), [[1, 0]], "item 'i' occurs twice"),
        (("a", "b"), ("i",), [[1, 0]], r"matrix is \(1, 2\), but there are 2 LLM names and 1"),
        (("a",), ("i",), [1], r"matrix is \(1,\)"),
        (("a",), ("i",), [["1"]], "whole numbers"),
    ],
)
def test_inconsistent_matrices(
    llms: tuple[str, ...], items: tuple[str, ...], values: list[Any], said: str
) -> None:
    with pytest.raises(ResponseError, match=said):
        ResponseMatrix(llms, items, np.array(values))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"name": ["a", "b"], "i": [1, 2]}, "LLM 'b', item 'i': 2 is neither"),
        ({"name": ["a", "b"], "i": [1, -1]}, "LLM 'b', item 'i': -1 is neither"),
        ({"name": ["a", "b"], "i": [0.0, np.inf]}, "LLM 'b', item 'i': inf is neither"),
        ({"name": ["a", "b"], "i": ["0", "yes"]}, "item 'i' holds string"),
        ({"name": ["a", "b"], "i": [[0], [1]]}, "item 'i' holds list"),
        ({"name": ["a", None], "i": [0, 1]}, "row 2: no name in the column 'name'"),
        ({"name": ["a", "a"], "i": [0, 1]}, "'a' occurs twice"),
        ({"model": ["a", "b"], "i": [0, 1]}, "no column 'name' or 'llm'.*model, i"),
    ],
)
def test_bad_parquet_names_file_and_cell(
    tmp_path: Path, columns: dict[str, list[Any]], said: str
) -> None:
    path = write_parquet(tmp_path / "bad.parquet", **columns)
    with pytest.raises(ResponseError, match=said) as caught:
        ResponseMatrix.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_parquet_with_a_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    arrays = [pa.array(["a"]), pa.array([1]), pa.array([0])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["name", "i", "i"]), path)
    with pytest.raises(ResponseError, match=r"twice\.parquet: the column 'i' occurs twice"):
        ResponseMatrix.load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source,item,correct\na,i,1\na,j,yes\n", "line 3: 'yes' is neither"),
        ("source,item,correct\na,i,2\n", "line 2: '2' is neither"),
        ("source,item,correct\na,i,inf\n", "line 2: 'inf' is neither"),
        ("source,item,correct\na,i,1\nb,i,1\na,i,1\n", "line 4: LLM 'a' answers item 'i'"),
        ("source,item,correct\na,i,1\na\n", "line 3: the item's name is empty"),
        ("source,item,correct\na,i,1\n,i,1\n", "line 3: the LLM's name is empty"),
        ("name,item,correct\na,i,1\n", "no column 'source'; needs source, item, correct"),
        ("source,item,correct\na,i,1\na,j,1,9,9\n", "not a readable CSV"),
        ("", "not a readable CSV"),
        (b"source,item,correct\n\xe9,i,1\n", "not a readable CSV"),
        (bytes(range(256)) * 20, "not a readable CSV"),
    ],
)
def test_bad_csv_names_file_and_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = write_csv(tmp_path, text)
    with pytest.raises(ResponseError, match=said) as caught:
        ResponseMatrix.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1xxxx", b"PAR1" + bytes(40) + b"PAR1"])
def test_damaged_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    with pytest.raises(ResponseError, match="not a readable Parquet file") as caught:
        ResponseMatrix.load(path)
    assert "\n" not in str(caught.value)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.parquet", tmp_path):
        with pytest.raises(ResponseError, match="no such file"):
            ResponseMatrix.load(path)


def test_an_item_called_name_is_not_saved_over_the_names(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    with pytest.raises(ResponseError, match="an item is called 'name'"):
        ResponseMatrix(("a",), ("name",), np.array([[1]])).save(path)
    assert not path.exists()


def test_real_matrices_load(shared_data: Path) -> None:
    loaded = ResponseMatrix.load(shared_data / "llm-responses" / "B" / "truthfulqa.parquet")
    assert loaded.values.shape == (4280, 136)
    assert set(np.unique(loaded.values)) == {0, 1}
