"""`evaluate` with the real lm-eval, the real items and language models without torch."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.items import ids_of, item_bundle

from metabench_py.benchmarks import BENCHMARKS, SCORED_METRIC
from metabench_py.bundle import Bundle
from metabench_py.harness import Variant

pytestmark = pytest.mark.usefixtures("needs_harness")

FAKES = Path(__file__).resolve().parent.parent / "helpers" / "fake_lm.py"
N_ITEMS = {"A": 858, "A-permuted": 621, "B": 751, "B-permuted": 502}


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "metabench_py", *map(str, arguments)]


def run(*arguments: Any, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, cwd=cwd)


def good(*arguments: Any) -> subprocess.CompletedProcess[str]:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def fake(name: str, items: Path, output: Path, *more: Any) -> list[Any]:
    return [
        "evaluate", f"org/{name}", "--model", f"fake-{name}", "--import", FAKES, "--items", items,
        "--output", output, "--engine", "native", *more,
    ]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def logs_of(folder: Path, variant: Variant) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for task in variant.tasks:
        (path,) = folder.glob(f"samples_{task}_2*.jsonl")
        found[task] = rows_of(path)
    return found


@pytest.fixture(scope="module")
def items(shared_data: Path) -> Path:
    return shared_data / "items"


@pytest.fixture(scope="module")
def bundle_b(items: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return item_bundle(tmp_path_factory.mktemp("bundles") / "b", ids_of(items / "B"))


@pytest.fixture(scope="module")
def few(items: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """A user's own bundle: some items of both versions; and lm-eval tasks of it with scores."""
    folder = tmp_path_factory.mktemp("own")
    wanted = {b: [*ids_of(items / "A", 4)[b], *ids_of(items / "B", 4)[b]] for b in BENCHMARKS}
    bundle = item_bundle(folder / "bundle", wanted, version="mine", name="mine")
    good(
        "items", "tasks", bundle.path, "--out", folder / "tasks", "--items", items, "--scores"
    )  # fmt: skip
    return bundle, folder / "tasks"


def test_a_perfect_model_is_perfect_in_all_four_variants(items: Path, tmp_path: Path) -> None:
    good(*fake("perfect", items, tmp_path, "--all-variants", "--no-reconstruct"))
    folder = tmp_path / "org__perfect"
    records = {}
    for path in folder.glob("metabench-run_*.json"):
        record = json.loads(path.read_text())
        records[record["variant"]] = record
        assert record["flags"] == []
    counted = {
        name: sum(log["items"] for log in record["logs"].values())
        for name, record in records.items()
    }
    assert counted == N_ITEMS
    for version in ("A", "B"):
        for permuted in (False, True):
            variant = Variant(version, permuted)
            for task, rows in logs_of(folder, variant).items():
                metric = SCORED_METRIC[variant.tasks[task]]
                assert [row[metric] for row in rows] == [1.0] * len(rows), task
    # The permuted documents are others than the plain ones: every key has moved.
    plain = logs_of(folder, Variant("B", False))["metabench_mmlu_secondary"]
    moved = logs_of(folder, Variant("B", True))["metabench_mmlu_secondary_permute"]
    assert [row["doc"]["mb_sub_idx"] for row in plain] == [r["doc"]["mb_sub_idx"] for r in moved]
    assert all(a["doc"]["answer"] != b["doc"]["answer"] for a, b in zip(plain, moved, strict=True))
    assert not (tmp_path / ".metabench-work").exists()


def test_scores_and_the_same_again(items: Path, bundle_b: Bundle, tmp_path: Path) -> None:
    results, tables = [], []
    for name in ("one", "two"):
        arguments = fake("hashing", items, tmp_path / name, "--bundle", bundle_b.path)
        done = good(*arguments, "--also", "permuted")
        tables.append(done.stdout)
        folder = tmp_path / name / "org__hashing"
        found = {}
        for variant in (Variant("B", False), Variant("B", True)):
            for task, rows in logs_of(folder, variant).items():
                found[task] = [
                    [row[k] for k in row if k in ("doc_hash", "acc", "acc_norm", "exact_match")]
                    for row in rows
                ]
            path = folder / f"metabench-result_{variant.name}.json"
            found[variant.name] = json.loads(path.read_text())
            # The logs' times differ, and nothing else.
            found[variant.name].pop("logs")
        results.append(found)
    assert results[0] == results[1]
    assert tables[0] == tables[1]
    assert "org__hashing  (metabench B, 751 items)" in tables[0]
    assert "org__hashing  (metabench B, permuted, 751 items)" in tables[0]
    # What evaluate printed, reconstruct finds in the logs.
    again = good(
        "reconstruct", "org/hashing", "B", "T", "--results", tmp_path / "one", "--bundle",
        bundle_b.path, "--engine", "native", "--json",
    )  # fmt: skip
    value = json.loads(again.stdout)
    value.pop("logs")
    assert value == results[0]["B-permuted"]
    assert "documents-unverified" not in again.stderr


def test_permuted_alone_brings_its_gsm8k(few: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, tasks = few
    arguments = fake("hashing", tasks, tmp_path, "--bundle", bundle.path, "--json")
    done = good(*arguments, "--permute")
    value = json.loads(done.stdout)
    assert (value["version"], value["permuted"]) == ("mine", True)
    assert value["logs"]["gsm8k"]["file"].startswith("samples_metabench_gsm8k_2")
    assert value["logs"]["arc"]["file"].startswith("samples_metabench_arc_permute_2")


def test_interrupt_and_resume(few: tuple[Bundle, Path], tmp_path: Path) -> None:
    """Ctrl-C, as a terminal sends it, in the midst of the answers; nothing is asked twice."""
    bundle, tasks = few
    calls = tmp_path / "calls.txt"
    arguments = fake(
        "hashing", tasks, tmp_path / "out", "--bundle", bundle.path, "--model-args",
        f"slow=0.05,calls={calls}",
    )  # fmt: skip
    process = subprocess.Popen(
        command(*arguments), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    begun = time.monotonic()
    while not calls.is_file() or calls.read_text().count("\n") < 40:
        assert process.poll() is None
        assert time.monotonic() - begun < 300
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors[-2000:]
    assert "Traceback" not in errors
    assert "--resume" in errors.splitlines()[-1]
    before = calls.read_text().splitlines()

    refused = run(*arguments)
    assert refused.returncode == 2
    assert "Give --resume to go on with it, or --restart" in refused.stderr
    assert calls.read_text().splitlines() == before

    good(*arguments, "--resume")
    asked = Counter(calls.read_text().splitlines())
    again = [request for request, times in asked.items() if times > 1]
    # At most the one that was being answered.
    assert len(again) <= 1
    assert len(asked) > len(before) >= 40
    whole = fake("hashing", tasks, tmp_path / "whole", "--bundle", bundle.path)
    good(*whole)
    files = [
        json.loads((tmp_path / part / "org__hashing" / "metabench-result_A.json").read_text())
        for part in ("out", "whole")
    ]
    assert files[0]["abilities"] == files[1]["abilities"]

    done = good(*arguments, "--resume")
    assert "has ended before; not run again" in done.stderr
    assert Counter(calls.read_text().splitlines()) == asked


@pytest.mark.parametrize("kill", [False, True])
def test_a_backend_that_fails(items: Path, tmp_path: Path, kill: bool) -> None:
    arguments = fake("crashing", items, tmp_path, "--no-reconstruct")
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **({"FAKE_KILL": "1"} if kill else {})},
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    if kill:
        assert re.match(r"Error: lm-eval was killed by signal 9 .*--resume goes on", last)
    else:
        assert last.startswith("Error: lm-eval failed: ValueError: the weights melted. The whole")
        assert "Traceback" not in done.stderr
        (kept,) = tmp_path.rglob("traceback.txt")
        assert "melted" in kept.read_text()
    assert not list(tmp_path.glob("org__crashing/*"))


def test_unknown_backend_is_one_line(items: Path, tmp_path: Path) -> None:
    done = run(*fake("unheard-of", items, tmp_path, "--no-reconstruct"))
    assert done.returncode == 1
    assert "no model for this name found" in done.stderr.splitlines()[-1]


def test_a_model_of_nan_gets_no_scores(few: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, tasks = few
    done = run(*fake("broken", tasks, tmp_path, "--bundle", bundle.path))
    assert done.returncode == 2
    assert "because the model gave NaN" in done.stderr or "no item has a usable" in done.stderr
    (record,) = (tmp_path / "org__broken").glob("metabench-run_*.json")
    flags = json.loads(record.read_text())["flags"]
    assert {flag["flag"] for flag in flags} == {"nan-in-run"}
    assert len(flags) == 5


def test_limit_and_arguments_for_lm_eval(items: Path, bundle_b: Bundle, tmp_path: Path) -> None:
    arguments = fake("hashing", items, tmp_path, "--bundle", bundle_b.path, "--limit", 3)
    done = good(*arguments, "--json", "--", "--show_config")
    value = json.loads(done.stdout)
    assert {a["n_answered"] for a in value["abilities"].values()} == {3}
    assert {"missing-items", "limited-run"} <= {flag["flag"] for flag in value["flags"]}
    # --show_config makes lm-eval print its whole configuration.
    assert '"task_hashes"' in done.stderr or '"configs"' in done.stderr


def test_documents_are_those_of_the_2024_logs(shared_data: Path, bundle_b: Bundle) -> None:
    logs = shared_data / "harness-results" / "EleutherAI__pythia-14m"
    done = good(
        "items", "check", shared_data / "items", "--version", "B", "--bundle", bundle_b.path,
        "--logs", logs, "--json",
    )  # fmt: skip
    checks = json.loads(done.stdout)["checks"]
    assert [check["ok"] for check in checks] == [True] * 18
    assert sum(check["detail"].endswith("documents, row for row") for check in checks) == 6


TRAP = """
import sys
import datasets
datasets.disable_caching()
sys.path.insert(0, sys.argv.pop(1))
import fake_lm
from lm_eval.__main__ import cli_evaluate
import lm_eval.tasks
class Ours(lm_eval.tasks.TaskManager):
    def __init__(self, *a, **k):
        super().__init__(*a, **{**k, "include_defaults": False})
lm_eval.tasks.TaskManager = Ours
cli_evaluate()
"""


def test_the_trap_of_the_permuted_tasks(items: Path, bundle_b: Bundle, tmp_path: Path) -> None:
    """Without the cache lm-eval scores other documents than it asked about: it is told."""
    from metabench_py.harness.installed import find_lm_eval
    from metabench_py.harness.itemfiles import item_files
    from metabench_py.harness.taskfiles import write_task_files

    write_task_files(
        tmp_path / "tasks", find_lm_eval(), Variant("B", True), item_files(items, "B"),
        with_gsm8k=True,
    )  # fmt: skip
    subprocess.run(
        [
            sys.executable, "-c", TRAP, FAKES.parent, "run", "--model", "fake-perfect",
            "--model_args", "pretrained=org/trapped", "--tasks",
            "metabench_secondary_permute,metabench_gsm8k_secondary", "--include_path",
            tmp_path / "tasks", "--output_path", tmp_path, "--log_samples",
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    (path,) = (tmp_path / "org__trapped").glob("samples_metabench_arc_secondary_permute_*")
    right = [row["acc"] for row in rows_of(path)]
    assert 0.15 < sum(right) / len(right) < 0.6
    done = run(
        "reconstruct", "org/trapped", "B", "T", "--results", tmp_path, "--bundle",
        bundle_b.path, "--engine", "native",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"samples_metabench_arc_secondary_permute_.*, line \d+: item", done.stderr)
    assert "shuffled the options again between asking and scoring" in done.stderr


def test_lm_eval_itself_reports_scores(few: tuple[Bundle, Path], tmp_path: Path) -> None:
    """The task class in lm-eval's own command line gives what reconstruct gives."""
    bundle, tasks = few
    code = TRAP.replace("datasets.disable_caching()", "")
    subprocess.run(
        [
            sys.executable, "-c", code, FAKES.parent, "run", "--model", "fake-hashing",
            "--model_args", "pretrained=org/scored", "--tasks", "metabench", "--include_path",
            tasks / "metabench", "--output_path", tmp_path, "--log_samples",
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    (path,) = (tmp_path / "org__scored").glob("results_*.json")
    told = json.loads(path.read_text())["results"]
    done = good(
        "reconstruct", "org/scored", "--results", tmp_path, "--bundle", bundle.path, "--engine",
        "native", "--json",
    )  # fmt: skip
    value = json.loads(done.stdout)
    for task, benchmark in Variant("A", False).tasks.items():
        kind = "strict-match" if benchmark == "gsm8k" else "none"
        score = value["scores"][benchmark]["score"]
        assert told[task][f"metabench_score,{kind}"] == pytest.approx(score, abs=1e-9)
        theta = value["abilities"][benchmark]["theta"]
        assert told[task][f"metabench_theta,{kind}"] == pytest.approx(theta, abs=1e-9)
    grand = value["scores"]["grand"]["score"]
    assert told["metabench"]["metabench_grand,none"] == pytest.approx(grand, abs=1e-9)
