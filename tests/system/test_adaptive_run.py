"""`adapt run` with the real lm-eval, the real items and language models without torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.items import ids_of, item_bundle

from metabench_py.bundle import Bundle

pytestmark = pytest.mark.usefixtures("needs_harness")

FAKES = Path(__file__).resolve().parent.parent / "helpers" / "fake_lm.py"


def command(name: str, items: Path, bundle: Bundle, output: Path, *more: Any) -> list[str]:
    arguments = [
        sys.executable, "-m", "metabench_py", "adapt", "run", f"org/{name}", "--model",
        f"fake-{name}", "--import", FAKES, "--items", items, "--bundle", bundle.path, "--output",
        output, *more,
    ]  # fmt: skip
    return [str(argument) for argument in arguments]


def good(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def items(shared_data: Path) -> Path:
    return shared_data / "items"


@pytest.fixture(scope="module")
def bundle(items: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return item_bundle(tmp_path_factory.mktemp("bundles") / "b", ids_of(items / "B"))


def test_all_benchmarks_and_the_scores(items: Path, bundle: Bundle, tmp_path: Path) -> None:
    arguments = command("hashing", items, bundle, tmp_path, "--se", 0.5, "--max-items", 12)
    done = good([*arguments, "--batch", "6"])
    assert "org/hashing" in done.stdout
    # Scores of all six, from the items that were asked.
    assert "Grand score" in done.stdout
    folder = tmp_path / "org__hashing"
    found = json.loads((folder / "metabench-adaptive_B.json").read_text())
    assert found["finished"] is True
    assert len(found["benchmarks"]) == 6
    for benchmark, one in found["benchmarks"].items():
        assert one["stop"] in ("precision", "length")
        (log,) = folder.glob(f"samples_metabench_{benchmark}_secondary_2*.jsonl")
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        asked = {
            f"{row['doc']['subject']}.{row['doc']['metabench_idx']}"
            if benchmark == "mmlu"
            else str(row["doc"]["metabench_idx"])
            for row in rows
        }
        assert asked == {item for item, _ in one["answers"]}
    # What was asked alone is what a whole run answers.
    evaluated = good(
        [
            *(sys.executable, "-m", "metabench_py", "evaluate", "org/hashing", "--model"),
            *("fake-hashing", "--import", str(FAKES), "--items", str(items), "--bundle"),
            *(str(bundle.path), "--output", str(tmp_path / "whole"), "--no-reconstruct"),
        ]
    )
    assert "Logs of version B" in evaluated.stderr
    for benchmark, one in found["benchmarks"].items():
        metric = bundle.benchmarks[benchmark].metric  # type: ignore[index]
        (log,) = (tmp_path / "whole" / "org__hashing").glob(
            f"samples_metabench_{benchmark}_secondary_2*.jsonl"
        )
        whole = {}
        for line in log.read_text().splitlines():
            row = json.loads(line)
            item = str(row["doc"]["metabench_idx"])
            if benchmark == "mmlu":
                item = f"{row['doc']['subject']}.{item}"
            whole.setdefault(item, int(row[metric]))
        assert {item: whole[item] for item, _ in one["answers"]} == dict(one["answers"])
    assert not (tmp_path / ".metabench-work" / "org__hashing" / "B").exists()


def test_a_perfect_model_climbs(items: Path, bundle: Bundle, tmp_path: Path) -> None:
    arguments = command(
        "perfect", items, bundle, tmp_path, "--benchmark", "winogrande", "--max-items", 15,
        "--batch", 5, "--json",
    )  # fmt: skip
    value = json.loads(good(arguments).stdout)
    one = value["benchmarks"]["winogrande"]
    assert one["n_correct"] == one["n_items"]
    thetas = [theta for _, theta, _ in one["rounds"]]
    assert thetas == sorted(thetas)
    assert thetas[-1] > 1.0


def test_interrupt_and_resume(items: Path, bundle: Bundle, tmp_path: Path) -> None:
    calls, path = tmp_path / "calls.txt", tmp_path / "out/org__hashing/metabench-adaptive_B.json"
    arguments = command(
        "hashing", items, bundle, tmp_path / "out", "--benchmark", "arc", "--benchmark", "mmlu",
        "--max-items", 12, "--se", 0.01, "--batch", 4, "--model-args", f"slow=0.1,calls={calls}",
        "--json",
    )  # fmt: skip
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    begun = time.monotonic()
    # In the midst of the second round.
    while not path.is_file() or calls.read_text().count("\n") < 40:
        assert process.poll() is None
        assert time.monotonic() - begun < 300
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors[-2000:]
    assert "Traceback" not in errors
    kept = json.loads(path.read_text())
    assert kept["finished"] is False
    refused = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    value = json.loads(good([*arguments, "--resume"]).stdout)
    # lm-eval numbers each round's documents from 0, so only how many were asked can be compared.
    asked = calls.read_text().count("\n")
    again = tmp_path / "again.txt"
    whole = [text.replace(str(calls), str(again)) for text in arguments]
    whole[whole.index(str(tmp_path / "out"))] = str(tmp_path / "whole")
    other = json.loads(good(whole).stdout)
    assert other["benchmarks"] == value["benchmarks"]
    # Nothing is asked twice but the one that was being answered.
    assert 0 <= asked - again.read_text().count("\n") <= 1
    for name, one in value["benchmarks"].items():
        assert one["n_items"] == 12
        before = kept["benchmarks"][name]["answers"]
        assert one["answers"][: len(before)] == before
