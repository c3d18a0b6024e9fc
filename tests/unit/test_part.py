"""Runs of a part of the items: what lm-eval is told, and which logs are taken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.logs import rows, write_rows

from metabench_py.benchmarks import BENCHMARKS, Benchmark, task_name
from metabench_py.errors import InputError, LogError
from metabench_py.harness import Settings, Variant, part
from metabench_py.harness import run as runs
from metabench_py.harness.build import item_schema
from metabench_py.harness.installed import Installed
from metabench_py.harness.plan import Plan

INSTALLED = Installed("0.4.13", Path("/lm/tasks/metabench"))
EVERY: dict[Benchmark, list[str]] = {
    b: [f"x.{i}" if b == "mmlu" else f"{i}" for i in (7, 3, 9, 4)] for b in BENCHMARKS
}
CHOSEN: dict[Benchmark, list[str]] = {b: [items[3], items[0]] for b, items in EVERY.items()}


@pytest.fixture
def files(tmp_path: Path) -> dict[Benchmark, Path]:
    made = {b: tmp_path / "items" / f"{b}.parquet" for b in BENCHMARKS}
    (tmp_path / "items").mkdir()
    for benchmark, path in made.items():
        content = [{"metabench_idx": i, "subject": "x"} for i in (7, 3, 9, 4)]
        pq.write_table(pa.Table.from_pylist(content, schema=item_schema(benchmark)), path)
    return made


class Run:
    """Stands in for lm-eval: notes what it is told, and writes logs of some items."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[Plan, list[str], list[str]]] = []
        self.items: dict[Benchmark, list[str]] = CHOSEN
        self.listed = 0
        monkeypatch.setattr(runs, "find_lm_eval", lambda _backend: INSTALLED)
        monkeypatch.setattr(runs, "run_lm_eval", self)
        monkeypatch.setattr(part, "made_documents", self.documents)

    def __call__(self, plan: Plan, names: list[str], more: Any = ()) -> dict[str, Any]:
        self.told.append((plan, names, list(more)))
        for task, benchmark in plan.tasks.items():
            path = plan.work / "output" / "m" / f"samples_{task}_2026-01-02T03-04-05.678.jsonl"
            write_rows(path, rows(benchmark, dict.fromkeys(self.items[benchmark], 1)))
        return {"warnings": {}, "save_errors": [], "software": {}}

    def documents(
        self, _files: Path, tasks: Any, work: Path, _cure: str
    ) -> dict[str, list[tuple[str, str]]]:
        self.listed += 1
        assert work.name == "listed"
        named = {task_name(b, "B", False): b for b in BENCHMARKS}
        return {task: [(item, "") for item in EVERY[named[task]]] for task in tasks}


@pytest.fixture
def lm_eval(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_chosen_items_alone_are_run(
    lm_eval: Run, files: dict[Benchmark, Path], tmp_path: Path, permuted: bool, local: bool
) -> None:
    """By their places among all, so that the permuted documents are those of a whole run."""
    variant = Variant("B", permuted)
    out = tmp_path / "out"
    plan = Plan(variant, Settings("o/m"), out, files if local else None, permuted, CHOSEN)
    record = runs.run_variant(plan)
    ((_, names, (option, samples)),) = lm_eval.told
    assert names == list(plan.tasks)
    assert option == "--samples"
    assert json.loads(samples) == {task: [3, 0] for task in plan.tasks}
    assert len(plan.tasks) == 6
    assert lm_eval.listed == (0 if local else 1)
    assert {log["items"] for log in record["logs"].values()} == {2}
    assert record["made_with"]["chosen"]["arc"] == ["4", "7"]
    # A whole run is another one.
    assert runs.find_finished(plan, INSTALLED) == record
    assert runs.find_finished(replace(plan, chosen=None), INSTALLED) is None


def test_a_limit_takes_the_first_of_the_chosen(lm_eval: Run, tmp_path: Path) -> None:
    lm_eval.items = {b: items[:1] for b, items in CHOSEN.items()}
    settings = Settings("o/m", limit=0.5)
    runs.run_variant(Plan(Variant("B", False), settings, tmp_path, chosen=CHOSEN))
    ((plan, _, (_, samples)),) = lm_eval.told
    assert set(map(tuple, json.loads(samples).values())) == {(3,)}
    # lm-eval takes either a limit or samples.
    assert plan.settings.limit is None


def test_what_is_wrong(lm_eval: Run, files: dict[Benchmark, Path], tmp_path: Path) -> None:
    more = {**CHOSEN, "arc": ["4", "5"]}
    plan = Plan(Variant("B", False), Settings("o/m"), tmp_path / "out", chosen=more)
    with pytest.raises(InputError, match=r"ARC: lm-eval's items lack 1 .* '5'.* --items"):
        runs.run_variant(plan)
    with pytest.raises(InputError, match=r"ARC: lm-eval's items lack 1 .* '5'"):
        runs.run_variant(replace(plan, items=files), restart=True)
    assert lm_eval.told == []
    lm_eval.items = {**CHOSEN, "mmlu": ["x.4", "x.3"]}
    with pytest.raises(LogError, match=r"ran the item 'x\.3', which was not chosen"):
        runs.run_variant(replace(plan, chosen=CHOSEN), restart=True)
    # Whoever then wants all of them is told that another run was going on.
    with pytest.raises(InputError, match="made with other chosen;"):
        runs.run_variant(replace(plan, chosen=None), resume=True)
