"""`scrape` as users run it: its own process, the real client, a stand-in of the Hub."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers.hub_content import Faults, Hub
from helpers.hub_files import Spec, Truth, details_repo, generate, task_of
from helpers.hub_server import serve

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.responses import ResponseMatrix


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Hub, Truth]]:
    hub, truth = generate(Spec(n_models=7, n_items=7, subjects=57))
    with serve(hub):
        yield hub, truth


@pytest.fixture
def hub(served: tuple[Hub, Truth]) -> Iterator[Hub]:
    hub, _ = served
    hub.requests.clear()
    hub.given.clear()
    yield hub
    hub.faults, hub.latency = Faults(), 0.0
    hub.planned.clear()


@pytest.fixture
def truth(served: tuple[Hub, Truth]) -> Truth:
    return served[1]


def environment(hub: Hub, home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    return {
        **kept,
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "metabench_py", "scrape", *map(str, arguments)]


def run(hub: Hub, tmp_path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, "--out", tmp_path / "out"),
        env=environment(hub, tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def models(tmp_path: Path, truth: Truth) -> Path:
    path = tmp_path / "models.txt"
    path.write_text("# mine\n" + "\n".join(truth.models) + "\n")
    return path


def check_matrices(folder: Path, truth: Truth) -> None:
    """Every matrix that is there equals the truth; all six are there."""
    for benchmark in BENCHMARKS:
        check_matrix(folder / f"{benchmark}.parquet", truth.answers[benchmark])


def check_matrix(path: Path, answers: dict[str, dict[str, int]]) -> None:
    matrix = ResponseMatrix.load(path)
    found = {
        name: dict(zip(matrix.items, row.tolist(), strict=True))
        for name, row in zip(matrix.llms, matrix.values, strict=True)
    }
    assert found == answers
    assert list(matrix.llms) == sorted(matrix.llms, key=str.lower)


def test_all_benchmarks_with_faults(hub: Hub, truth: Truth, models: Path, tmp_path: Path) -> None:
    hub.faults = Faults(rate=0.15, seed=3)
    done = run(hub, tmp_path, "responses", "--models", models, "--pause", "0.01", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["done"] == 7 * 62
    assert report["not_there"] == {}
    assert report["matrices"]["mmlu"]["n_items"] == 57 * 7
    check_matrices(tmp_path / "out", truth)
    assert "434 of 434: 434 done, 0 failed, 0 skipped" in done.stderr
    assert not (tmp_path / "out" / ".downloads").exists()

    # Once more: nothing is asked for but nothing changes either.
    hub.requests.clear()
    again = run(hub, tmp_path, "responses", "--models", models, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["skipped"] == 7 * 62
    assert hub.requests == []
    check_matrices(tmp_path / "out", truth)


def test_killed_and_resumed(hub: Hub, truth: Truth, models: Path, tmp_path: Path) -> None:
    hub.faults, hub.latency = Faults(rate=0.1, seed=5), 0.01
    _kill_and_resume(hub, truth, models, tmp_path, kills=4)


def _kill_and_resume(
    hub: Hub, truth: Truth, models: Path, tmp_path: Path, kills: int, longest: float = 3.0
) -> None:
    """Kill at random moments; then finish, and compare with the truth and the requests."""
    draw = random.Random(11)
    arguments = command(
        "responses", "--models", models, "--out", tmp_path / "out", "--pause", "0.05"
    )
    hits = 0
    for _ in range(kills):
        process = subprocess.Popen(
            arguments,
            env=environment(hub, tmp_path / "home"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(draw.uniform(0.7, longest))
        hits += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        for benchmark in BENCHMARKS:
            path = tmp_path / "out" / f"{benchmark}.parquet"
            if path.exists():
                check_matrix(path, truth.answers[benchmark])
    assert hits, "no kill came in time; the hub is too fast for this test"
    last = run(hub, tmp_path, "responses", "--models", models, "--pause", "0.05")
    assert last.returncode == 0, last.stderr
    check_matrices(tmp_path / "out", truth)
    status = json.loads(run(hub, tmp_path, "status", "--json").stdout)
    assert {b: counts["done"] for b, counts in status["files"].items()} == {
        b: len(truth.models) * (57 if b == "mmlu" else 1) for b in BENCHMARKS
    }
    assert status["errors"] == []


@pytest.mark.slow
def test_two_hundred_models_killed_twenty_times(tmp_path: Path) -> None:
    hub, truth = generate(Spec(n_models=200, n_items=6))
    hub.faults = Faults(rate=0.15, seed=1)
    names = tmp_path / "models.txt"
    names.write_text("\n".join(truth.models))
    with serve(hub):
        whole = tmp_path / "whole"
        done = run(hub, whole, "responses", "--models", names, "--jobs", "16", "--pause", "0.05")
        assert done.returncode == 0, done.stderr
        check_matrices(whole / "out", truth)
        hub.given.clear()
        _kill_and_resume(hub, truth, names, tmp_path / "killed", kills=20, longest=6.0)


def test_ctrl_c(hub: Hub, truth: Truth, models: Path, tmp_path: Path) -> None:
    hub.latency = 0.05
    process = subprocess.Popen(
        command("responses", "--models", models, "--out", tmp_path / "out"),
        env=environment(hub, tmp_path / "home"),
        stderr=subprocess.PIPE,
        text=True,
    )
    while hub.count("/cdn/") < 20:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "run the same command to go on" in stderr
    assert "Traceback" not in stderr
    served_before = hub.count("/cdn/")
    hub.latency = 0.0
    assert run(hub, tmp_path, "responses", "--models", models).returncode == 0
    check_matrices(tmp_path / "out", truth)
    # At most the files in flight came twice.
    assert hub.count("/cdn/") <= 7 * 62 + 8
    assert served_before >= 20


def test_dry_run_asks_nothing_and_leaves_nothing(hub: Hub, models: Path, tmp_path: Path) -> None:
    done = run(hub, tmp_path, "responses", "--models", models, "--benchmark", "arc", "--dry-run")
    assert done.stdout == (
        "Would fetch 7 files of 7 models (7 wanted); 0 files are settled already.\n"
    )
    assert hub.requests == []
    assert not (tmp_path / "out").exists()


def test_only_metric_columns_are_read(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    """Prompts that cannot be decoded do no harm: nothing reads them."""
    from metabench_py.hub.details_file import read_answers

    repo = hub.repos[details_repo(truth.models[0])]
    path = next(p for p in repo.files if task_of("arc") in p)
    local = tmp_path / "arc.parquet"
    local.write_bytes(repo.files[path])
    chunks = pq.ParquetFile(local).metadata.row_group(0)
    wanted = list(truth.answers["arc"][truth.models[0]].values())
    content = bytearray(repo.files[path])
    for i in range(chunks.num_columns):
        chunk = chunks.column(i)
        if chunk.path_in_schema != "acc_norm":
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            content[start : start + chunk.total_compressed_size] = bytes(
                chunk.total_compressed_size
            )
    local.write_bytes(content)
    assert read_answers(local, "acc_norm").tolist() == wanted


def test_the_datasets_library_reads_the_same(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    """What users would otherwise do, `load_dataset`, finds the same answers in the stand-in."""
    pytest.importorskip("datasets", reason="the package datasets is absent (extra hub)")
    code = (
        "import sys, datasets\n"
        "data = datasets.load_dataset(sys.argv[1], sys.argv[2], split='latest')\n"
        "for name in ('acc_norm', 'metrics.acc_norm'):\n"
        "    if name in data.column_names:\n"
        "        print(*data[name])\n"
        "if 'metrics' in data.column_names:\n"
        "    print(*(row['acc_norm'] for row in data['metrics']))\n"
    )
    for model in truth.models[:3]:
        done = subprocess.run(
            [sys.executable, "-c", code, details_repo(model), "harness_arc_challenge_25"],
            env=environment(hub, tmp_path / "home"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        wanted = truth.answers["arc"][model].values()
        assert [float(word) for word in done.stdout.split()] == [float(v) for v in wanted]


def test_status_before_anything(hub: Hub, tmp_path: Path) -> None:
    done = run(hub, tmp_path, "status")
    assert done.returncode == 2
    assert "nothing was scraped into this folder yet" in done.stderr


def test_no_leaderboard_yet(hub: Hub, tmp_path: Path) -> None:
    done = run(hub, tmp_path, "responses")
    assert done.returncode == 2
    assert "run `metabench-py scrape leaderboard` first" in done.stderr


def test_hub_out_of_reach(tmp_path: Path, models: Path) -> None:
    """One line that says what to do."""
    nobody = Hub(address="http://127.0.0.1:9")
    done = run(nobody, tmp_path, "responses", "--models", models)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: Cannot reach the Hub at http://127.0.0.1:9 (")
    assert "HF_ENDPOINT" in lines[0]


def test_offline_mode(hub: Hub, tmp_path: Path, models: Path) -> None:
    environment_ = {**environment(hub, tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command("responses", "--models", models, "--out", tmp_path / "out"),
        env=environment_,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "Error: The Hub's client is in offline mode; unset HF_HUB_OFFLINE and run again."
    ]


def test_without_the_client(hub: Hub, tmp_path: Path, models: Path) -> None:
    """The extra is not installed: how to get it, and no empty ledger."""
    block = tmp_path / "block"
    block.mkdir()
    (block / "huggingface_hub.py").write_text("raise ImportError('not installed')\n")
    environment_ = {**environment(hub, tmp_path), "PYTHONPATH": str(block)}
    done = subprocess.run(
        command("responses", "--models", models, "--out", tmp_path / "out"),
        env=environment_,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "pip install 'metabench-py[hub]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_two_runs_at_a_time(hub: Hub, models: Path, tmp_path: Path) -> None:
    from metabench_py.hub.ledger import open_ledger

    with open_ledger(tmp_path / "out" / "ledger.sqlite"):
        done = run(hub, tmp_path, "responses", "--models", models)
        assert done.returncode == 2
        assert "another run is writing" in done.stderr
        # Looking is allowed.
        assert run(hub, tmp_path, "status").returncode == 0


def test_import_stays_light() -> None:
    code = (
        "import sys, metabench_py, metabench_py.cli.app\n"
        "bad = {'huggingface_hub', 'datasets', 'httpx2', 'pyarrow', 'sqlite3'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
