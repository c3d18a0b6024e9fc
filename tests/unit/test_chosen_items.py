"""Chosen items: what is refused before lm-eval starts, and how rounds' logs are joined."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError
from metabench_py.harness import Settings, Variant, chosen
from metabench_py.harness.child import driver_specification
from metabench_py.harness.chosen import ChosenItems
from metabench_py.harness.installed import Installed
from metabench_py.harness.plan import Plan

METRICS = {b: "exact_match" if b == "gsm8k" else "acc" for b in BENCHMARKS}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    files = {}
    for benchmark in BENCHMARKS:
        table = {"metabench_idx": [7, 3, 9], "subject": ["x", "x", "y"]}
        files[benchmark] = tmp_path / f"{benchmark}.parquet"
        pq.write_table(pa.table(table), files[benchmark])
    return Plan(Variant("B", False), Settings("org/m"), tmp_path / "out", files)


@pytest.fixture
def ask(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> ChosenItems:
    monkeypatch.setattr(chosen, "find_lm_eval", lambda _backend: Installed("0.4.11", Path("/t")))
    return ChosenItems(plan, METRICS)


def test_only_plain_whole_runs(plan: Plan) -> None:
    with pytest.raises(InputError, match="permuted"):
        ChosenItems(replace(plan, variant=Variant("B", True)), METRICS)
    with pytest.raises(InputError, match="--limit"):
        ChosenItems(replace(plan, settings=Settings("org/m", limit=3)), METRICS)


def test_items_are_asked_by_their_places(
    ask: ChosenItems, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Enough(Exception):
        """The run would begin here."""

    def stop(plan: Plan, names: list[str], more: list[str]) -> dict[str, Any]:
        seen.append((names, driver_specification(plan, names, more)["arguments"][-2:]))
        raise Enough

    monkeypatch.setattr(chosen, "run_lm_eval", stop)
    with pytest.raises(Enough):
        ask({"arc": ["9", "7"], "mmlu": ["x.3"], "gsm8k": []})
    ((names, (option, samples)),) = seen
    assert names == ["metabench_arc_secondary", "metabench_mmlu_secondary"]
    assert option == "--samples"
    wanted = {"metabench_arc_secondary": [2, 0], "metabench_mmlu_secondary": [1]}
    assert json.loads(samples) == wanted
    with pytest.raises(InputError, match=r"ARC: .* lack 1 of those wanted, the first is '4'"):
        ask({"arc": ["9", "4"]})


def test_joined_logs_have_every_row_once(ask: ChosenItems, plan: Plan) -> None:
    folder = plan.work / "rounds" / "arc"
    folder.mkdir(parents=True)
    # The second round was interrupted after its log and run again.
    for time, text in (("01", "a\nb\n"), ("02", "c\n"), ("03", "c\nd\n")):
        (folder / f"samples_metabench_arc_secondary_2026-01-01T00-00-{time}.jsonl").write_text(text)
    joined = ask.finish("2026-01-02T00-00-00.000001")
    (path,) = joined.values()
    assert path.name == "samples_metabench_arc_secondary_2026-01-02T00-00-00.000001.jsonl"
    assert path.parent == plan.folder
    assert path.read_text() == "a\nb\nc\nd\n"
    assert not plan.work.exists()
