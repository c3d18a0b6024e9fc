"""Values across the border: what arrives in R, and what comes back."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pytest
from helpers.r_probes import handle, probe

from metabench_py.rbridge.values import IntegerMatrix, RObject

pytestmark = pytest.mark.usefixtures("needs_r")


@pytest.mark.parametrize(
    ("value", "r_class", "back"),
    [
        (True, "logical", [True]),
        (7, "integer", [7]),
        (np.int64(-7), "integer", [-7]),
        (0.5, "numeric", [0.5]),
        (np.float32(0.5), "numeric", [0.5]),
        ("arc", "character", ["arc"]),
        ("", "character", [""]),
        ([""], "character", [""]),
        (["a", None], "character", ["a", None]),
        (("é", "项目", "🦙"), "character", ["é", "项目", "🦙"]),
        ([1, 2], "integer", [1, 2]),
        ([1, 2.5], "numeric", [1.0, 2.5]),
        (np.array(["x", "y"]), "character", ["x", "y"]),
        (np.array(["x", None], dtype=object), "character", ["x", None]),
        (np.array([True, False]), "logical", [True, False]),
        (np.arange(3, dtype=np.int8), "integer", [0, 1, 2]),
        (np.array([1.5, np.nan, -np.inf]), "numeric", [1.5, np.nan, -np.inf]),
        (np.empty(0), "numeric", []),
        (np.empty(0, np.int32), "integer", []),
        (np.array(3), "integer", [3]),
    ],
)  # fmt: skip
def test_vectors(value: Any, r_class: str, back: list[Any]) -> None:
    assert probe("class", value=value) == [r_class]
    found = probe("identity", value=value)
    if isinstance(back[:1], list) and back and isinstance(back[0], str):
        assert found == back
    else:
        np.testing.assert_array_equal(found, back)


@pytest.mark.parametrize(
    ("value", "r_class", "back"),
    [
        (None, "NULL", None),
        ([], "list", []),
        ([1, "x"], "list", [[1], ["x"]]),
        ([True, 1], "list", [[True], [1]]),
        ({"a": 1, "b": {"c": "d"}}, "list", {"a": [1], "b": {"c": ["d"]}}),
    ],
)
def test_lists(value: Any, r_class: str, back: Any) -> None:
    assert probe("class", value=value) == [r_class]
    assert probe("identity", value=value) == back


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float64, np.bool_])
@pytest.mark.parametrize("order", ["C", "F"])
def test_matrices_keep_their_shape(dtype: Any, order: Any) -> None:
    value = np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype, order=order)
    seen = probe("describe", value=value)
    assert (seen["dim"].tolist(), seen["total"].tolist()) == ([2, 3], [4])
    np.testing.assert_array_equal(probe("identity", value=value[:, ::-1]), value[:, ::-1])


def test_what_comes_back() -> None:
    found = probe("values")
    assert found["whole"].dtype == np.int32
    np.testing.assert_array_equal(found["whole_na"], [1.0, np.nan])
    assert found["flag"].dtype == np.bool_
    np.testing.assert_array_equal(found["flag_na"], [1.0, np.nan])
    np.testing.assert_array_equal(found["double"], [0.5, np.nan, np.inf])
    assert found["text"] == ["a", None, "é"]
    assert found["nothing"] is None
    assert [len(e) for e in found["empty"]] == [0, 0, 0, 0]
    assert found["factor"] == ["low", None, "high"]
    assert found["matrix"].tolist() == [[1, 3, 5], [2, 4, 6]]
    assert found["frame"]["x"].tolist() == [1, 2]
    assert found["frame"]["y"] == ["p", "q"]
    assert found["nested"]["a"]["b"].tolist() == [1.0]
    assert found["unnamed"][1] == ["x"]
    for name in ("formula", "function_", "date"):
        assert isinstance(found[name], RObject)


def test_a_missing_answer_is_rs_na() -> None:
    """The smallest int32 is R's own NA, so it never gets there as a number."""
    matrix = IntegerMatrix(
        np.array([[0, 1], [-1, 1], [1, -1]], np.int8), missing=-1, colnames=("660", "anatomy.12")
    )
    seen = probe("describe", value=matrix)
    assert seen["typeof"] == ["integer"]
    assert seen["colnames"] == ["660", "anatomy.12"]
    assert (seen["n_missing"].tolist(), seen["total"].tolist()) == ([2], [3])
    found = probe("identity", value=matrix)
    np.testing.assert_array_equal(found, [[0, 1], [np.nan, 1], [1, np.nan]])
    # Without a value for NA, -1 is a number.
    seen = probe("describe", value=IntegerMatrix(matrix.values))
    assert (seen["n_missing"].tolist(), seen["total"].tolist()) == ([0], [1])


@pytest.mark.parametrize(
    "value",
    [
        -(2**31),
        2**31,
        np.array([1, -(2**31)]),
        np.array([2**63], np.uint64),
        IntegerMatrix(np.array([[-(2**31)]])),
        IntegerMatrix(np.array([[2**31]])),
        IntegerMatrix(np.array([[1.0]])),
        IntegerMatrix(np.array([1])),
        IntegerMatrix(np.array([[1, 0]]), colnames=("one",)),
        np.zeros((2, 2, 2)),
        np.array([1 + 2j]),
        np.array(["x", 1.0], dtype=object),
        np.array(["2024-11-26"], dtype="datetime64[D]"),
        b"bytes",
        object(),
        {1, 2},
    ],
)
def test_what_r_has_no_value_for(value: Any) -> None:
    with pytest.raises(TypeError):
        probe("identity", value=value)


def test_four_million_cells_travel_fast() -> None:
    """0.04 s as int32 against 4 to 14 s as int64 through lists or as a data frame."""
    values = np.random.default_rng(1).integers(-1, 2, size=(4_000, 1_000), dtype=np.int8)
    matrix = IntegerMatrix(values, missing=-1, colnames=tuple(f"i{i}" for i in range(1_000)))
    probe("describe", value=IntegerMatrix(values[:2]))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert probe("keep", value=matrix)[0]
        seconds.append(time.perf_counter() - start)
    # A busy machine may be ten times slower, and still far from the slow ways.
    assert min(seconds) < 0.5
    seen = probe("describe", value=matrix)
    assert seen["n_missing"][0] == (values == -1).sum()
    assert seen["total"][0] == (values == 1).sum()


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_results_and_arguments_are_copies(dtype: Any) -> None:
    sent = np.array([[1, 2], [3, 4]], dtype)
    probe("keep", value=sent)
    sent[:] = 9
    first = probe("kept")
    np.testing.assert_array_equal(first, [[1, 2], [3, 4]])
    assert first.flags.owndata or first.base.flags.owndata
    first[:] = 7
    np.testing.assert_array_equal(probe("kept"), [[1, 2], [3, 4]])


def test_a_handle_goes_back_and_does_not_leave_the_process() -> None:
    formula = handle()
    assert repr(formula) == "RObject(formula)"
    assert probe("class", value=formula) == ["formula"]
    assert probe("class", value={"f": formula}) == ["list"]
    with pytest.raises(TypeError, match=r"save it as \.rds"):
        pickle.dumps(formula)
