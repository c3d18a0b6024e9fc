"""What a calibration reads: every fault named with file, row and item."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.calibration.inputs import load_inputs, load_items
from metabench_py.calibration.scores import load_scores
from metabench_py.errors import InputError, ResponseError
from metabench_py.responses import ResponseMatrix
from tests.helpers.calibration import write_world

World = tuple[Path, Path, Path]
Edit = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return write_world(tmp_path, n_llms=30, n_items=4)


def rewrite(path: Path, edit: Edit) -> None:
    edit(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


def put(row: int, column: str, value: str) -> Edit:
    def edit(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return edit


def test_reads_what_is_there(world: World) -> None:
    inputs = load_inputs(*world)
    assert tuple(inputs.items) == tuple(inputs.responses) == BENCHMARKS
    assert inputs.items["arc"].items == ("3", "13", "23", "33")
    assert inputs.items["arc"].metric == "acc_norm"
    assert inputs.items["gsm8k"].metric == "exact_match"
    assert inputs.llms == tuple(sorted(inputs.scores.names))
    given = pd.read_csv(world[1]).set_index("name")
    known = inputs.scores.of(inputs.llms)
    np.testing.assert_allclose(known["mmlu"], given["mmlu"].loc[list(inputs.llms)], rtol=1e-14)
    np.testing.assert_allclose(
        known["grand"], given[list(BENCHMARKS)].mean(axis=1).loc[list(inputs.llms)], rtol=1e-14
    )


def test_parquet_reads_as_csv(world: World, tmp_path: Path) -> None:
    responses, scores, items = world
    csv = load_inputs(*world)
    pd.read_csv(scores).to_parquet(tmp_path / "scores.parquet")
    # Whole-number ids in a Parquet file are ids all the same.
    pd.read_csv(items).to_parquet(tmp_path / "items.parquet")
    parquet = load_inputs(responses, tmp_path / "scores.parquet", tmp_path / "items.parquet")
    assert parquet.items == csv.items
    assert parquet.llms == csv.llms
    np.testing.assert_array_equal(parquet.scores.values["grand"], csv.scores.values["grand"])


def test_scores_indexed_by_name_read_too(world: World, tmp_path: Path) -> None:
    pd.read_csv(world[1]).set_index("name").to_parquet(tmp_path / "scores.parquet")
    assert load_scores(tmp_path / "scores.parquet").names == load_scores(world[1]).names


def test_items_are_taken_in_the_lists_order(world: World) -> None:
    responses, scores, items = world
    rewrite(items, lambda table: table.iloc[::-1])
    before = ResponseMatrix.load(responses / "arc.parquet")
    after = load_inputs(responses, scores, items).responses["arc"]
    assert after.items == ("33", "23", "13", "3")
    np.testing.assert_array_equal(after.values, before.values[:, ::-1])


def test_metric_of_the_list_wins(world: World) -> None:
    rewrite(world[2], lambda table: table.assign(metric="acc"))
    assert load_items(world[2])["arc"].metric == "acc"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (put(2, "benchmark", "boolq"), "row 3: unknown benchmark 'boolq'"),
        (put(1, "item", "3"), "row 2: item '3' of arc is in row 1 already"),
        (put(1, "item", ""), "row 2: the item id is"),
        (put(1, "item_type", "5PL"), "row 2: item_type '5PL' is not one of 2PL, 3PL, 4PL"),
        (put(1, "item_type", "3PL"), "row 2: 3PL, MAP, acc_norm for item '13', but arc began"),
        (put(0, "score_method", "map"), "row 1: score_method 'map' is not one of MAP"),
        (lambda t: t[t.benchmark != "mmlu"], "no items of mmlu; a bundle needs all six"),
        (lambda t: t.drop(columns="item_type"), "no column 'item_type'"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_bad_item_list(world: World, edit: Edit, says: str) -> None:
    rewrite(world[2], edit)
    with pytest.raises(InputError, match=says) as caught:
        load_items(world[2])
    assert str(world[2]) in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (put(4, "arc", "abc"), "row 5: arc of 'org.*' is 'abc', not a score from 0 to 100"),
        (put(4, "arc", "101"), "row 5: arc of .* is '101'"),
        (put(4, "arc", "-1"), "row 5: arc of .* is '-1'"),
        (put(4, "arc", "inf"), "row 5: arc of .* is 'inf'"),
        (put(4, "name", ""), "row 5: no name"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "row 31: 'org.*' is in row 1 already"),
        (lambda t: t.drop(columns=["mmlu", "arc"]), "no column 'arc', 'mmlu'"),
        (lambda t: t.assign(arc="0.5"), "arc never exceeds 1, so these are shares"),
        (lambda t: t.assign(split="test"), "no LLM outside the test split"),
        (lambda t: t.assign(arc=None), "no LLM outside the test split has all six"),
        (lambda t: t.assign(grand="50"), "row 1: grand of .* is 50, but the mean"),
    ],
)
def test_bad_scores(world: World, edit: Edit, says: str) -> None:
    rewrite(world[1], edit)
    with pytest.raises(InputError, match=says) as caught:
        load_scores(world[1])
    assert str(world[1]) in str(caught.value)


def test_test_split_and_missing_scores_are_left_out(world: World) -> None:
    def edit(table: pd.DataFrame) -> pd.DataFrame:
        table["split"] = "train"
        table.loc[0, "split"] = "test"
        table.loc[1, "arc"] = None
        return table

    before = load_scores(world[1]).names
    rewrite(world[1], edit)
    scores = load_scores(world[1])
    assert scores.names == before[2:]
    assert (scores.n_test, scores.n_incomplete) == (1, 1)
    assert not set(before[:2]) & set(load_inputs(*world).llms)


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"\xff\xfe\x00broken"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_unreadable_files(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    path.write_bytes(content)
    for load in (load_items, load_scores):
        with pytest.raises(InputError, match=f"table.{suffix}"):
            load(path)


def test_absent_files(world: World, tmp_path: Path) -> None:
    responses, scores, items = world
    with pytest.raises(InputError, match=r"nothing\.csv: no such file"):
        load_scores(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="no such folder"):
        load_inputs(tmp_path / "nothing", scores, items)
    (responses / "mmlu.parquet").unlink()
    (responses / "arc.parquet").unlink()
    with pytest.raises(InputError, match=r"no responses of arc, mmlu; expected arc\.parquet"):
        load_inputs(responses, scores, items)


def test_two_files_of_one_benchmark(world: World) -> None:
    (world[0] / "arc.csv").write_text("source,item,correct\n")
    with pytest.raises(InputError, match=r"both arc\.parquet and arc\.csv"):
        load_inputs(*world)


def test_item_that_the_matrix_lacks(world: World) -> None:
    rewrite(world[2], put(3, "item", "999"))
    with pytest.raises(ResponseError, match=r"arc\.parquet: 1 of 4 items .* '999'") as caught:
        load_inputs(*world)
    assert caught.value.facts["items"] == ["999"]


@pytest.mark.parametrize(("value", "how"), [(1, "right"), (0, "wrong"), (-1, "wrong")])
def test_item_that_everybody_answers_alike(world: World, value: int, how: str) -> None:
    path = world[0] / "truthfulqa.parquet"
    matrix = ResponseMatrix.load(path)
    values = matrix.values.copy()
    values[:, 2] = value
    ResponseMatrix(matrix.llms, matrix.items, values).save(path)
    with pytest.raises(ResponseError, match=f"item '23' was answered {how}"):
        load_inputs(*world)


def test_value_that_is_no_response(world: World) -> None:
    path = world[0] / "arc.parquet"
    table = pd.read_parquet(path)
    table["13"] = table["13"].astype("int8")
    table.loc[3, "13"] = 2
    table.to_parquet(path)
    with pytest.raises(ResponseError, match=r"arc\.parquet.*item '13': 2 is neither"):
        load_inputs(*world)


def test_llms_with_missing_answers_are_not_in_the_second_stage(world: World) -> None:
    path = world[0] / "winogrande.parquet"
    matrix = ResponseMatrix.load(path)
    values = matrix.values.copy()
    values[5, 1] = -1
    ResponseMatrix(matrix.llms, matrix.items, values).save(path)
    inputs = load_inputs(*world)
    assert matrix.llms[5] in inputs.responses["winogrande"].llms
    assert matrix.llms[5] not in inputs.llms
    assert len(inputs.llms) == 29


def test_names_that_do_not_meet(world: World) -> None:
    rewrite(world[1], lambda table: table.assign(name=table.name.str.replace("/", "__")))
    with pytest.raises(InputError, match="names must be spelt alike"):
        load_inputs(*world)


def test_a_leaderboard_is_refused_unless_insisted_on(world: World) -> None:
    leaderboard = pd.read_csv(world[1]).assign(link="x", complete=True, avg=50.0)
    leaderboard.to_csv(world[1], index=False)
    with pytest.raises(InputError, match=r"scores\.csv is a leaderboard's table.*--scores-from-l"):
        load_inputs(*world)
    inputs = load_inputs(*world, scores_from_leaderboard=True)
    assert len(inputs.llms) == 30


def test_scores_from_whole_matrices(world: World) -> None:
    responses, _, items = world
    rewrite(items, lambda table: table[table["item"] != "33"])
    inputs = load_inputs(responses, None, items)
    whole = ResponseMatrix.load(responses / "gsm8k.parquet").rows(inputs.llms)
    np.testing.assert_allclose(
        inputs.scores.of(inputs.llms)["gsm8k"], 100 * (whole.values == 1).mean(axis=1)
    )
    assert inputs.items["gsm8k"].items == ("3", "13", "23")
    assert inputs.scores.n_incomplete == 0


def test_matrices_of_the_chosen_items_have_no_full_score(world: World) -> None:
    responses, _, items = world
    with pytest.raises(InputError, match=r"matrix of arc holds the chosen items alone.*--scores"):
        load_inputs(responses, None, items)


def test_a_split_of_other_llms_is_refused(world: World, tmp_path: Path) -> None:
    names = load_scores(world[1]).names
    for ending, fits in (("", True), ("-x", False)):
        pd.DataFrame({"name": [n + ending for n in names], "split": "test"}).iloc[:3].to_csv(
            tmp_path / "split.csv", index=False
        )
        if fits:
            found = load_inputs(*world, split=tmp_path / "split.csv")
            assert not set(names[:3]) & set(found.llms)
        else:
            with pytest.raises(InputError, match=r"split\.csv: none of its 3 LLMs is in the matr"):
                load_inputs(*world, split=tmp_path / "split.csv")
