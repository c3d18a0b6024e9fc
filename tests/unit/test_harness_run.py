"""What is made of a run's logs and of how lm-eval ended; no lm-eval needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.logs import doc_hash, write_rows

from metabench_py.errors import (
    InputError,
    LogError,
    MissingDependencyError,
    StorageError,
    WorkerError,
)
from metabench_py.harness import Settings, Variant, child
from metabench_py.harness import run as runs
from metabench_py.harness.child import InterruptedRunError
from metabench_py.harness.installed import Installed
from metabench_py.harness.plan import Plan
from metabench_py.harness.verify import verify_logs

TIME = "2026-01-02T03-04-05.678"


def rows(numbers: list[int], **more: Any) -> list[dict[str, Any]]:
    made = []
    for number in numbers:
        doc = {"question": f"Why {number}?", "metabench_idx": number}
        made.append({"doc": doc, "doc_hash": doc_hash(doc), "acc": 1.0, "acc_norm": 1.0, **more})
    return made


def log(folder: Path, task: str, values: list[dict[str, Any]], time: str = TIME) -> Path:
    return write_rows(folder / f"samples_{task}_{time}.jsonl", values)


TASKS: dict[str, Any] = {"metabench_arc_secondary": "arc"}


def test_logs_are_read_back(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="wrote no log of metabench_arc_secondary under"):
        verify_logs(tmp_path, TASKS, {"arc": 3})
    path = log(tmp_path / "any__name", "metabench_arc_secondary", rows([4, 8, 15]))
    log(tmp_path / "any__name", "metabench_arc", rows([4]))
    found = verify_logs(tmp_path, TASKS, {"arc": 3})["metabench_arc_secondary"]
    assert (found.log.path, found.n_items, found.n_nan) == (path, 3, 0)
    with pytest.raises(LogError, match="3 items of ARC, not the 100 that were to be run"):
        verify_logs(tmp_path, TASKS, {"arc": 100})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_hash": "0" * 64}, "line 1: item '4': the document scored is not the one"),
        ({"acc_norm": None}, "neither 0 nor 1"),
        ({"doc": {"metabench_idx": 4}}, "3 rows have no document or hash"),
    ],
)
def test_bad_logs_are_not_kept(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    values = rows([4, 8, 15])
    for value_, number in zip(values, (4, 8, 15), strict=True):
        value_.update(change)
        if "doc" in change:
            value_["doc"] = {"metabench_idx": number}
    log(tmp_path, "metabench_arc_secondary", values)
    with pytest.raises(LogError, match=message):
        verify_logs(tmp_path, TASKS, {"arc": 3})


def test_nan_is_counted(tmp_path: Path) -> None:
    values = rows([4, 8], resps=[[["nan", "False"]]])
    log(tmp_path, "metabench_arc_secondary", values)
    assert verify_logs(tmp_path, TASKS, {"arc": 2})["metabench_arc_secondary"].n_nan == 2


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan with lm-eval replaced by a driver that writes what the test says."""
    monkeypatch.setattr(
        runs, "find_lm_eval", lambda _backend: Installed("0.4.13", Path("/lm/tasks/metabench"))
    )
    made = Plan(Variant("B", True), Settings("o/m", backend="x", limit=2), tmp_path / "out")
    two = dict.fromkeys(made.variant.tasks.values(), 2)
    monkeypatch.setattr(Plan, "expected", lambda _plan: two)
    return made


class Driver:
    """Stands in for lm-eval's process: a real process that ends as told."""

    def __init__(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan, self.starts = plan, 0
        self.code, self.report = 0, {"error": None, "warnings": {}, "save_errors": []}
        self.real = subprocess.Popen
        monkeypatch.setattr(child.subprocess, "Popen", self.start)

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        self.starts += 1
        output = self.plan.work / "output" / "whatever"
        for task, benchmark in self.plan.variant.tasks.items():
            values = rows([4, 8])
            if benchmark == "mmlu":
                for value_ in values:
                    value_["doc"]["subject"] = "anatomy"
                    value_["doc_hash"] = doc_hash(value_["doc"])
            log(output, task, values)
        (output / f"results_{TIME}.json").write_text("{}")
        if self.report is not None:
            report = {"software": {"lm_eval": "0.4.13"}, **self.report}
            (self.plan.work / "report.json").write_text(json.dumps(report))
        end = f"import os; os.kill(os.getpid(), {-self.code})" if self.code < 0 else "pass"
        return self.real([sys.executable, "-c", f"{end}; raise SystemExit({self.code})"])


def test_a_run_is_kept_recorded_and_not_repeated(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(plan, monkeypatch)
    driver.report["warnings"] = {"truncated": 3}
    said: list[str] = []
    record = runs.run_variant(plan, say=said.append)
    names = sorted(p.name for p in plan.folder.iterdir())
    assert names[:2] == [f"metabench-run_B-permuted_{TIME}.json", f"results_{TIME}.json"]
    assert len(names) == 7
    assert [flag["flag"] for flag in record["flags"]] == ["truncated-prompts", "limited-run"]
    assert not (plan.output / ".metabench-work").exists()
    assert runs.run_variant(plan, resume=True, say=said.append) == record
    assert driver.starts == 1
    assert said[-1] == "o/m, version B-permuted: has ended before; not run again"
    # A log that has changed since is no finished run; nor are other settings.
    path = plan.folder / f"samples_metabench_arc_secondary_permute_{TIME}.jsonl"
    path.write_text(path.read_text() + "\n")
    runs.run_variant(plan, resume=True)
    assert driver.starts == 2
    other = Plan(plan.variant, Settings("o/m", backend="x", limit=2, device="cpu"), plan.output)
    driver.plan = other
    runs.run_variant(other, resume=True)
    assert driver.starts == 3


def test_an_interrupted_run_is_not_lost(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(plan, monkeypatch)
    driver.code = 130
    with pytest.raises(InterruptedRunError, match="same command and --resume"):
        runs.run_variant(plan)
    kept = plan.work / "responses_rank0.db"
    kept.write_text("an hour's work")
    with pytest.raises(InputError, match=r"interrupted run .* Give --resume .* or --restart"):
        runs.run_variant(plan)
    assert kept.is_file()
    other = Plan(plan.variant, Settings("o/m", backend="x", limit=1), plan.output)
    with pytest.raises(InputError, match="made with other settings"):
        runs.run_variant(other, resume=True)
    assert kept.is_file()
    with pytest.raises(InterruptedRunError):
        runs.run_variant(plan, resume=True)
    assert kept.is_file()
    with pytest.raises(InterruptedRunError):
        runs.run_variant(plan, restart=True)
    assert not kept.is_file()
    driver.code = 0
    runs.run_variant(plan, resume=True)
    assert not plan.work.exists()


@pytest.mark.parametrize(
    ("code", "report", "error", "message"),
    [
        (-9, None, WorkerError, r"killed by signal 9 \(out of memory\?\).*--resume goes on"),
        (3, None, WorkerError, "ended with code 3"),
        (0, None, WorkerError, "without a report"),
        (
            1,
            {"error": "ValueError: bad\nthing."},
            WorkerError,
            r"ValueError: bad thing\. The whole",
        ),
        (
            1,
            {"error": "ModuleNotFoundError: No module named 'vllm'"},
            MissingDependencyError,
            r"No module named 'vllm'.*metabench-py\[harness\]",
        ),
        (
            1,
            {"error": "ConnectionError: Couldn't reach 'HCAI/metabench' on the Hub"},
            WorkerError,
            "give the items with --items DIR",
        ),
        (0, {"save_errors": ["OSError(28)"]}, StorageError, r"could not save .*OSError\(28\)"),
    ],
)
def test_bad_ends(
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    report: dict[str, Any] | None,
    error: type[Exception],
    message: str,
) -> None:
    driver = Driver(plan, monkeypatch)
    driver.code = code
    if report is None:
        driver.report = None  # type: ignore[assignment]
    else:
        driver.report |= report
    with pytest.raises(error, match=message) as caught:
        runs.run_variant(plan)
    assert "\n" not in str(caught.value)
    assert not list(plan.output.glob("o__m/*"))
    assert plan.work.is_dir()
