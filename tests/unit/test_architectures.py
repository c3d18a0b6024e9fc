"""Residuals by architecture: reading, matching, statistics, errors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.analysis.architectures import analyze_architectures, owner_numbers
from metabench_py.analysis.group_tests import (
    brown_forsythe,
    holm,
    kruskal_wallis,
    omega_squared,
    pairwise_welch,
    welch_anova,
)
from metabench_py.analysis.llm_kinds import Kinds, load_kinds
from metabench_py.analysis.residual_table import Residuals, load_residuals
from metabench_py.analysis.study_tables import rows_of
from metabench_py.errors import InputError


def simulated(
    n: int = 300, shift: float = 0.0, seed: int = 0, owners: int = 60
) -> tuple[Residuals, Kinds]:
    random = np.random.default_rng(seed)
    names = tuple(f"o{random.integers(owners)}/m{i}" for i in range(n))
    kind = random.choice(["A", "B", "C"], n, p=[0.6, 0.35, 0.05])
    score = random.uniform(30, 70, n)
    residual = random.normal(0, 1, n) + shift * (kind == "B")
    size = 10 ** random.uniform(0, 2, n)
    return Residuals(names, score, score + residual, "all", 0), Kinds(tuple(kind), size, (), n)


def test_no_difference_is_not_found_and_one_is() -> None:
    same = analyze_architectures(*simulated(seed=1))
    assert [one.name for one in same.groups] == ["A", "B", "C"]
    assert same.everyone.n == sum(one.n for one in same.groups) == 300
    assert min(adjusted for _, adjusted in same.tests) > 0.05
    assert abs(same.omega_squared) < 0.02
    assert same.everyone.bias_lower < 0 < same.everyone.bias_upper
    moved = analyze_architectures(*simulated(shift=1.0))
    assert moved.tests[0][1] < 1e-6
    b = next(one for one in moved.groups if one.name == "B")
    assert b.bias_lower < 1 < b.bias_upper
    pair = next(one for one in moved.pairs if {one.first, one.second} == {"A", "B"})
    assert pair.adjusted < 1e-6
    assert pair.lower < pair.difference < pair.upper
    # Two of three means are one apart: shares .6, .35, .05 of variance 1.
    assert moved.omega_squared == pytest.approx(0.2275 / 1.2275, abs=0.06)


def test_false_alarms_are_as_rare_as_said() -> None:
    alarms = [
        min(p for _, p in analyze_architectures(*simulated(120, seed=seed)).tests) < 0.05
        for seed in range(40)
    ]
    # Holm holds the family at 5 %: of 40, more than 6 has a chance below 1 %.
    assert sum(alarms) <= 6


def test_intervals_hold_the_truth() -> None:
    held = []
    for seed in range(40):
        found = analyze_architectures(*simulated(200, seed=seed))
        for group in found.groups:
            held += [
                group.bias_lower < 0 < group.bias_upper,
                group.rmse_lower < 1 < group.rmse_upper,
            ]
    assert 0.9 < np.mean(held) < 0.99


def test_owners_that_share_their_errors_widen_the_intervals() -> None:
    residuals, kinds = simulated(400, owners=20)
    random = np.random.default_rng(5)
    owner = owner_numbers(residuals.names)
    shared = Residuals(
        residuals.names, residuals.score, residuals.predicted + random.normal(0, 1, 20)[owner],
        "all", 0,
    )  # fmt: skip

    def width(given: Residuals) -> float:
        one = analyze_architectures(given, kinds).everyone
        return one.bias_upper - one.bias_lower

    assert width(shared) > 2.5 * width(residuals)


def test_intervals_are_of_estimates_without_each_owner() -> None:
    residuals, kinds = simulated(90, owners=8)
    owner, left, x = owner_numbers(residuals.names), residuals.residual, np.log10(kinds.size)

    def half(estimate: Callable[[np.ndarray], float]) -> float:
        without = np.array([estimate(owner != one) for one in range(8)])
        # 2.364624 is Student's t of 7 degrees of freedom.
        return 2.364624 * math.sqrt(7 / 8 * float(((without - without.mean()) ** 2).sum()))

    found = analyze_architectures(residuals, kinds)
    one, trend = found.everyone, found.trends[0]
    assert one.bias_upper - one.bias == pytest.approx(half(lambda m: left[m].mean()), rel=1e-5)
    wide = half(lambda m: 0.5 * math.log(np.mean(left[m] ** 2)))
    assert math.log(one.rmse_upper / one.rmse) == pytest.approx(wide, rel=1e-5)
    slope = half(lambda m: np.polyfit(x[m], left[m], 1)[0])
    assert trend.upper - trend.slope == pytest.approx(slope, rel=1e-5)


def test_size_trend_is_found() -> None:
    residuals, kinds = simulated()
    tilted = Residuals(
        residuals.names, residuals.score, residuals.predicted + 0.8 * np.log10(kinds.size), "all", 0
    )
    bias, spread = analyze_architectures(tilted, kinds).trends
    assert bias.adjusted < 1e-6
    assert bias.lower < 0.8 < bias.upper
    assert bias.lower < bias.slope < bias.upper
    assert spread.of == "absolute residual"
    straight = analyze_architectures(residuals, kinds).trends[0]
    assert straight.lower < 0 < straight.upper


def test_small_groups_are_named_and_not_tested() -> None:
    residuals, kinds = simulated(100)
    some = ("D", "D", *kinds.architecture[2:-2], None, None)
    kinds = Kinds(some, np.full(100, np.nan), residuals.names[-1:], 99)
    found = analyze_architectures(residuals, kinds)
    assert found.others["D"] == 2
    assert kinds.n_unknown == 1
    assert found.trends == ()
    value = found.to_dict()
    assert value["unmatched"] == [residuals.names[-1]]
    assert value["n_matched"] == 99
    assert value["n_without_size"] == 99
    json.dumps(value, allow_nan=False)


def test_one_group_alone_has_no_test() -> None:
    residuals, kinds = simulated(50)
    found = analyze_architectures(residuals, Kinds(("A",) * 50, kinds.size, (), 50))
    assert found.tests == found.pairs == ()
    assert math.isnan(found.omega_squared)
    json.dumps(found.to_dict(), allow_nan=False)


def test_few_owners_have_no_interval() -> None:
    residuals, kinds = simulated(60, owners=3)
    found = analyze_architectures(residuals, kinds)
    assert math.isnan(found.everyone.bias_lower)
    assert found.everyone.n_owners == 3


def test_refuses() -> None:
    residuals, kinds = simulated(60)
    for match, options in (
        ("No architecture has 50 LLMs; the largest has", {"least": 50}),
        ("Groups of 2", {"least": 2}),
        ("level of 1", {"level": 1.0}),
    ):
        with pytest.raises(InputError, match=match):
            analyze_architectures(residuals, kinds, **options)


def test_holm() -> None:
    np.testing.assert_allclose(holm([0.04, 0.01, np.nan, 0.03]), [0.06, 0.03, np.nan, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_groups_that_do_not_vary() -> None:
    flat, other = np.ones(5), np.array([1.0, 2.0, 3.0])
    assert math.isnan(welch_anova([flat, other]).p)
    assert math.isnan(kruskal_wallis([flat, flat]).p)
    assert math.isnan(brown_forsythe([flat, flat]).p)
    assert math.isnan(omega_squared([flat, flat]))
    (pair,) = pairwise_welch(("a", "b"), [flat, flat])
    assert pair.difference == 0
    assert math.isnan(pair.adjusted)


# Reading.
def write(path: Path, **columns: object) -> Path:
    frame = pd.DataFrame(columns)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


NAMES = ["o/a", "o/b", "p/c", "p/d"]


def test_a_table_with_a_split(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.parquet", name=NAMES, grand=[1.0, 2, 3, 4], p=[1.5, 2, 3, np.nan],
        split=["test", "test", "test", "test"],
    )  # fmt: skip
    found = load_residuals(path)
    assert found.which == "test"
    assert found.n_left_out == 1
    assert found.residual.tolist() == [0.5, 0.0, 0.0]
    with pytest.raises(InputError, match=r"of 4 LLMs 3 have .*; 0 of the train LLMs are too"):
        load_residuals(path, which="train")
    assert load_residuals(path, which="all").names == tuple(NAMES[:3])


def test_scores_and_split_of_other_tables(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", name=NAMES, mine=[1.0, 2, 3, 4])
    scores = write(tmp_path / "s.csv", name=NAMES[::-1], arc=[4.0, 3, 2, 0])
    split = write(tmp_path / "split.csv", name=NAMES, split=["val", "train", "train", "test"])
    found = load_residuals(path, "arc", predicted="mine", scores=scores, split=split, which="train")
    assert found.names == ("o/a", "o/b", "p/c")
    assert found.residual.tolist() == [1.0, 0.0, 0.0]


def test_llms_without_a_place_in_the_split_are_counted(tmp_path: Path) -> None:
    names = [*NAMES, "q/e"]
    path = write(tmp_path / "t.csv", name=names, p=[1] * 5, grand=[2] * 5)
    split = write(tmp_path / "s.csv", name=names[:4], split=["test", "test", "test", None])
    found = load_residuals(path, split=split)
    assert (found.names, found.n_unplaced, found.n_left_out) == (("o/a", "o/b", "p/c"), 2, 0)
    assert load_residuals(path, split=split, which="all").n_unplaced == 0


def test_scores_and_split_of_names_with_underscores(tmp_path: Path) -> None:
    """As lm-eval's folders are named, and with them what reconstruct writes."""
    written = [name.replace("/", "__") for name in NAMES]
    path = write(tmp_path / "t.csv", name=written, p=[1, 2, 3, 4])
    scores = write(
        tmp_path / "s.csv", name=NAMES[::-1], grand=[4, 3, 2, 0], split=["test"] * 3 + ["train"]
    )
    found = load_residuals(path, scores=scores, split=scores)
    assert found.names == tuple(written[1:])
    assert found.residual.tolist() == [0.0, 0.0, 0.0]
    assert rows_of(["o__a", "O/A", "x"], NAMES) == [0, 0, None]
    assert rows_of(["o/a", "o/x"], ["o/A", "O/a", "o/x"]) == [None, 2]


def test_llms_of_a_selection(tmp_path: Path) -> None:
    path = write(
        tmp_path / "llms.parquet", benchmark=["arc"] * 4 + ["mmlu"] * 4, name=NAMES * 2,
        set=["test"] * 8, score=[1.0] * 8, predicted=[2.0] * 4 + [3.0] * 4,
    )  # fmt: skip
    assert load_residuals(path, "mmlu").residual.tolist() == [2.0] * 4
    with pytest.raises(InputError, match=r"no rows of 'gsm8k' .* another --target"):
        load_residuals(path, "gsm8k")
    # The file's row, not that among mmlu's.
    table = pd.read_parquet(path)
    table.loc[6, "name"] = "o/a"
    table.to_parquet(path)
    with pytest.raises(InputError, match="row 7: the LLM 'o/a' is there twice"):
        load_residuals(path, "mmlu")


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_what_reconstruct_wrote(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"r.{kind}"
    results = [{"model": n, "scores": {"grand": {"score": float(i)}}} for i, n in enumerate(NAMES)]
    if kind == "json":
        path.write_text(json.dumps(results))
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, results)) + "\n")
    else:
        write(path, model=NAMES * 2, target=["grand"] * 4 + ["arc"] * 4, score=[0, 1, 2, 3] * 2)
    scores = write(tmp_path / "s.parquet", name=NAMES, grand=[1.0] * 4)
    assert load_residuals(path, scores=scores).residual.tolist() == [-1.0, 0.0, 1.0, 2.0]


def test_unusable_reconstructions(tmp_path: Path) -> None:
    bad = tmp_path / "r.json"
    bad.write_text('{"scores": 1}')
    with pytest.raises(InputError, match="not what reconstruct writes"):
        load_residuals(bad)
    with pytest.raises(InputError, match="no such file"):
        load_residuals(tmp_path / "x.jsonl")
    path = write(tmp_path / "t.parquet", name=NAMES, q=[1.0, 2, 3, 4])
    with pytest.raises(InputError, match=r"none of the columns .*--predicted"):
        load_residuals(path)
    with pytest.raises(InputError, match="no column 'z'; there are name, q"):
        load_residuals(path, predicted="z")
    with pytest.raises(InputError, match="--score or --scores"):
        load_residuals(path, predicted="q")
    path = write(tmp_path / "t.csv", name=NAMES, p=["1", "2", "x", "4"], grand=[1, 2, 3, 4])
    with pytest.raises(InputError, match="row 3: p is 'x', not a number"):
        load_residuals(path)
    path = write(tmp_path / "t.csv", name=[*NAMES[:3], "o/a"], p=[1] * 4, grand=[1] * 4)
    with pytest.raises(InputError, match="row 4: the LLM 'o/a' is there twice"):
        load_residuals(path)
    path = write(tmp_path / "t.csv", name=NAMES, p=[1] * 4, grand=[1] * 4, split=["no"] * 4)
    with pytest.raises(InputError, match="row 1: split is 'no', neither train"):
        load_residuals(path)
    path = write(tmp_path / "t.csv", name=NAMES, p=[1] * 4, grand=[1] * 4)
    with pytest.raises(InputError, match="no column 'split'"):
        load_residuals(path, which="test")


def test_kinds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.csv", name=["o/a", "P/C", "q/d", "x/Y", "X/y"],
        arch=["Llama", "error", "", "A", "B"], size=[7.0, -1, 3, 1, 1],
    )  # fmt: skip
    names = ["o/a", "o__a2", "p__c", "q/d", "x/y"]
    found = load_kinds(path, names)
    assert found.architecture == ("Llama", None, None, None, None)
    np.testing.assert_array_equal(found.size, [7.0, np.nan, np.nan, 3.0, np.nan])
    # x/y could be either of two.
    assert found.unmatched == ("o__a2", "x/y")
    assert found.n_exact == 2
    other = write(tmp_path / "n.csv", llm=["o/a"], kind=["GPT"], billions=["2.5"])
    found = load_kinds(other, ["o/a"], name="llm", architecture="kind", size="billions")
    assert (found.architecture, found.size.tolist()) == (("GPT",), [2.5])


def test_unusable_kinds(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", name=["o/a"], arch=["Llama"], size=[7.0])
    with pytest.raises(InputError, match="Not one of the 1 LLMs"):
        load_kinds(path, ["z/z"])
    with pytest.raises(
        InputError,
        match="no column 'kind'; name it with --architecture-col",
    ):
        load_kinds(path, ["o/a"], architecture="kind")
    with pytest.raises(InputError, match="no column 'llm'; name it with --name-column"):
        load_kinds(path, ["o/a"], name="llm")
