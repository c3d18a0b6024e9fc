"""Seeds and settings: reading results, best settings, spreads."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabench_py.analysis.seed_results import SeedRow, load_results
from metabench_py.analysis.seeds import analyze_seeds
from metabench_py.benchmarks import BENCHMARKS
from metabench_py.cli.analyze.seeds import _text
from metabench_py.errors import InputError


def selected(
    folder: Path, seed: int = 1, penalty: float = 0.005, n_items: int = 50, rmse: float = 1.5,
    error: float = 2.0, test: tuple[str, ...] = ("t1", "t2"), **options: Any,
) -> Path:  # fmt: skip
    """Write what `calibrate select` writes, as far as it is read."""
    folder.mkdir(parents=True)
    names = ["v1", "v2", *test]
    score = np.arange(len(names), dtype=float)
    pd.DataFrame(
        {
            "benchmark": "arc", "name": names, "theta": score, "score": score,
            "set": ["validation"] * 2 + ["test"] * len(test),
            "predicted": score + error * np.where(np.arange(len(names)) % 2, 1, -1),
        }
    ).to_parquet(folder / "llms.parquet")  # fmt: skip
    summary = {
        "options": {"penalty": penalty, "seed": seed, "budget": None, **options},
        "benchmarks": {
            "arc": {
                "choice": {
                    "item_type": "2PL", "method": "MAP", "grid": "range", "threshold": 0.1,
                    "passes": 1,
                },
                "n_items": n_items, "n_available": 100,
                "errors": {"validation": {"rmse": rmse}, "test": {"rmse": 0} if test else None},
            }
        },
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def row(**changes: Any) -> SeedRow:
    known: dict[str, Any] = {
        "source": "x", "stage": "select", "split": "1", "seed": 1, "options": {"penalty": 0.005},
        "benchmark": "arc", "item_type": "2PL", "method": "MAP", "grid": "range",
        "threshold": 0.1, "n_items": 50, "n_available": 100, "rmse_validation": 1.5,
        "judged": "test", "rmse": 1.6, "mae": 1.2, "spearman": 0.98, "n_llms": 40,
    }  # fmt: skip
    return SeedRow(**{**known, **changes})


def test_selections_are_read(tmp_path: Path) -> None:
    inputs = [
        selected(tmp_path / "a", seed=1, test=("t1", "t2")),
        selected(tmp_path / "b", seed=2, test=("t1", "t2"), error=3.0),
        selected(tmp_path / "c", seed=1, test=("t3",)),
    ]
    rows = load_results([*map(str, inputs[:2]), f"five={inputs[2]}"])
    assert [(one.split, one.seed) for one in rows] == [("A", 1), ("A", 2), ("five", 1)]
    assert [one.rmse for one in rows] == pytest.approx([2.0, 3.0, 2.0])
    assert rows[0].judged == "test"
    assert rows[0].n_llms == 2
    assert rows[0].penalty == 0.005
    assert "seed" not in rows[0].options
    json.dumps([one.to_dict() for one in rows], allow_nan=False)


def test_results_of_one_split_need_not_have_the_same_llms(tmp_path: Path) -> None:
    """As when an LLM lacks answers of a benchmark."""
    tests = (("t1", "t2"), ("t3",), ("t2", "t4"), ("v2",))
    inputs = [selected(tmp_path / str(i), seed=i, test=test) for i, test in enumerate(tests)]
    # v2 is held out in the last and not in the others.
    assert [one.split for one in load_results(list(map(str, inputs)))] == ["A", "B", "A", "C"]


def test_without_test_llms_the_validation_llms_judge(tmp_path: Path) -> None:
    (one,) = load_results([str(selected(tmp_path / "a", test=()))])
    assert one.judged == "validation"
    assert one.n_llms == 2


def test_the_work_folder_of_a_run_names_its_splits(tmp_path: Path) -> None:
    for seed, test in ((7, ("t1", "t2")), (9, ("t3",))):
        folder = tmp_path / f"split-{seed}abc"
        folder.mkdir()
        (folder / "stage.json").write_text(json.dumps({"settings": {"seed": seed}}))
        table = {"name": ["v1", *test], "split": ["train", *(["test"] * len(test))]}
        pd.DataFrame(table).to_parquet(folder / "split.parquet")
        (selected(tmp_path / f"select-{seed}", test=test) / "stage.json").write_text("{}")
    # Not finished.
    selected(tmp_path / "select-x.partial", error=9.0)
    rows = load_results([str(tmp_path)])
    assert sorted(one.split for one in rows) == ["7", "9"]


def test_a_copy_counts_once_and_a_contradiction_is_refused(tmp_path: Path) -> None:
    one, copy = selected(tmp_path / "a"), selected(tmp_path / "b")
    assert len(load_results([str(one), str(copy)])) == 1
    other = selected(tmp_path / "c", error=5.0)
    with pytest.raises(InputError, match=r"same seed, split and settings for arc.*NAME=FOLDER"):
        load_results([str(one), str(other)])
    assert len(load_results([str(one), f"other={other}"])) == 2


def test_the_embedded_bundle() -> None:
    from metabench_py.bundle import load_bundle, resolve_bundle

    folder = resolve_bundle(None)
    rows = load_results([str(folder)])
    grand = next(one for one in rows if one.benchmark == "grand")
    assert grand.n_items == len(pd.read_parquet(folder / "items.parquet"))
    assert grand.judged == "cross-validated"
    left = load_bundle(folder).errors["grand"].error
    assert grand.rmse == pytest.approx(math.sqrt((left**2).mean()))
    assert 0.5 < grand.rmse < 1
    assert grand.spearman > 0.99
    assert [one.row.benchmark for one in analyze_seeds(rows).rows] == [*BENCHMARKS, "grand"]


def test_bundles_in_a_work_folder(tmp_path: Path) -> None:
    from metabench_py.bundle import resolve_bundle

    stage = tmp_path / "bundle-abc"
    shutil.copytree(resolve_bundle(None), stage / "bundle")
    (stage / "stage.json").write_text("{}")
    (selected(tmp_path / "select-abc") / "stage.json").write_text("{}")
    rows = load_results([str(tmp_path)])
    assert [one.stage for one in rows] == ["select"] + ["bundle"] * 7
    found = analyze_seeds(rows)
    assert [one.row.stage for one in found.rows] == ["select"] + ["bundle"] * 7
    assert sum(one.best for one in found.rows) == 1


def test_unusable_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_results([str(tmp_path / "x")])
    with pytest.raises(InputError, match="A=: no folder follows"):
        load_results(["A="])
    with pytest.raises(InputError, match="holds no result of calibrate select"):
        load_results([str(tmp_path)])
    folder = selected(tmp_path / "a")
    (folder / "summary.json").write_text('{"stage": "preprocess"}')
    with pytest.raises(InputError, match="not that of calibrate select or fit"):
        load_results([str(folder)])
    (folder / "summary.json").write_text('{"options": {}, "benchmarks": {"arc": {}}}')
    with pytest.raises(InputError, match="not that of calibrate select or fit"):
        load_results([str(folder)])
    (folder / "summary.json").write_text((selected(tmp_path / "b") / "summary.json").read_text())
    llms = pd.read_parquet(folder / "llms.parquet")
    for broken in (llms[llms["set"] != "test"], llms.assign(predicted=np.nan)):
        broken.to_parquet(folder / "llms.parquet")
        with pytest.raises(InputError, match=r"a/llms.parquet has no numbers .* judges arc"):
            load_results([str(folder)])
    (folder / "summary.json").write_text("{")
    with pytest.raises(InputError, match="not readable JSON"):
        load_results([str(folder)])


def test_best_settings_and_spread() -> None:
    rows = []
    for split, sizes in (("1", (80, 50, 30)), ("2", (90, 60, 30))):
        for penalty, n, rmse in zip((0.001, 0.005, 0.01), sizes, (1.4, 1.5, 1.9), strict=True):
            rows.append(
                row(split=split, options={"penalty": penalty, "mode": "converged"}, n_items=n,
                    rmse_validation=rmse, rmse=rmse + 0.1 * int(split))
            )  # fmt: skip
    found = analyze_seeds(rows)
    best = [(one.row.split, one.setting) for one in found.rows if one.best]
    assert best == [("1", "penalty 0.005"), ("2", "penalty 0.005")]
    assert found.rows[0].objective == pytest.approx(1.4 + 0.005 * 80)
    by = {one.setting: one for one in found.spread}
    assert by["penalty 0.001"].rmse == pytest.approx((1.55, math.sqrt(0.005), 1.5, 1.6))
    assert by["penalty 0.001"].n_items[2:] == (80, 90)
    assert by["penalty 0.001"].n == by["penalty 0.001"].n_splits == 2
    (chosen,) = found.best_spread
    assert chosen.rmse[0] == pytest.approx(1.65)
    dear = analyze_seeds(rows, cost=0.1)
    assert {one.setting for one in dear.rows if one.best} == {"penalty 0.01"}
    json.dumps(found.to_dict(), allow_nan=False)


def test_settings_say_what_differs() -> None:
    rows = [
        row(options={"penalty": 0.005, "budget": budget, "mode": "converged"}, n_items=budget)
        for budget in (40, 80)
    ]
    assert [one.setting for one in analyze_seeds(rows).rows] == [
        "penalty 0.005, budget 40", "penalty 0.005, budget 80"
    ]  # fmt: skip


def test_order_and_single_results() -> None:
    rows = [row(split=split, seed=None) for split in ("B", "10", "9")]
    found = analyze_seeds(rows)
    assert [one.row.split for one in found.rows] == ["9", "10", "B"]
    single = analyze_seeds(rows[:1])
    assert math.isnan(single.spread[0].rmse[1])
    assert single.to_dict()["spread"][0]["rmse"]["sd"] is None


def test_errors_of_those_who_chose_are_told() -> None:
    warning = "Errors of validation LLMs are too small"
    assert warning in _text(analyze_seeds([row(judged="validation")]))
    assert warning not in _text(analyze_seeds([row()]))


def test_refuses() -> None:
    with pytest.raises(InputError, match="cost must be"):
        analyze_seeds([row()], cost=-1)
    with pytest.raises(InputError, match="No results"):
        analyze_seeds([])
    with pytest.raises(InputError, match="No result of 'mmlu'; there are arc"):
        analyze_seeds([row()], only=("mmlu",))


# Items and RMSE at penalties 0.001, 0.005 and 0.01, and the one that was picked, by seed and
# benchmark: the notes in analysis/reduced/best.R of the original (None: it failed).
PICKED = (
    ((196, 1.527), (249, 1.345), (103, 2.057), 0), ((191, 2.314), (237, 2.056), (196, 2.358), 1),
    ((136, 1.396), (129, 1.419), (70, 1.710), 1), ((197, 1.629), (100, 1.954), (111, 1.914), 1),
    ((196, 1.560), (163, 1.894), (109, 2.288), 1), ((129, 2.089), (87, 2.193), (67, 2.217), 2),
    ((196, 1.587), (249, 1.203), (145, 1.708), 2), ((198, 2.387), (198, 2.280), (165, 2.512), 1),
    ((197, 1.332), (100, 1.464), (100, 1.464), 2), ((171, 1.594), (92, 2.366), (82, 2.330), 0),
    ((197, 1.729), (156, 1.724), (66, 2.731), 1), (None, (87, 2.342), (66, 2.624), 1),
    ((197, 2.115), (249, 1.372), (86, 2.452), 0), ((196, 2.543), (249, 2.093), (153, 2.954), 1),
    ((141, 1.190), (160, 1.181), (93, 1.596), 2), ((149, 1.818), (100, 1.812), (90, 1.981), 2),
    ((181, 1.546), (185, 1.558), (70, 2.413), 0), ((197, 1.905), (76, 2.089), (67, 2.136), 1),
    ((162, 2.114), (114, 2.215), (68, 2.596), 0), ((187, 2.459), (228, 2.167), (228, 2.167), 1),
    ((112, 1.349), (94, 1.388), (93, 1.452), 1), ((99, 2.392), (79, 2.551), (79, 2.551), 0),
    ((195, 1.431), (187, 1.462), (120, 1.898), 1), (None, (77, 2.015), (68, 2.036), 2),
)  # fmt: skip


def agreements(cost: float) -> int:
    rows, wanted = [], {}
    for number, (*results, pick) in enumerate(PICKED):
        for penalty, result in zip((0.001, 0.005, 0.01), results, strict=True):
            if result is not None:
                n, rmse = result
                rows.append(
                    row(split=str(number), options={"penalty": penalty}, n_items=n,
                        rmse_validation=rmse)
                )  # fmt: skip
        wanted[str(number)] = results[pick]
    found = analyze_seeds(rows, cost)
    # Penalties with the same result are the same pick.
    return sum(
        any(
            one.best and (one.row.n_items, one.row.rmse_validation) == wanted[split]
            for one in found.rows
            if one.row.split == split
        )
        for split in wanted
    )


def test_the_rule_beside_the_originals_picks() -> None:
    assert agreements(0.005) == 18
    # Neither a tenth of the cost nor ten times as much comes near.
    assert max(agreements(0.0005), agreements(0.05)) <= 12
