"""How fast and how large `metabench-py reconstruct` is, as whole processes.

Run: python tests/bench/bench_reconstruct.py
Prints one Markdown table. Rows with the original's fits or raw logs need the reference data
(METABENCH_SHARED); those of mirt need it in R. CPU seconds tell how calm the machine was.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from metabench_py import rbridge
from metabench_py.logs.find import example_folder

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("METABENCH_SHARED", ROOT.parent / "shared")) / "data"
MODEL = "EleutherAI__pythia-14m"
REPEATS = 3
RAW_MODELS = 100
MODELS = 1000


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    seconds: float
    cpu: float
    memory_mb: float
    stdout: bytes


def run(command: list[str]) -> Cost:
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdout is not None
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    seconds = time.perf_counter() - start
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, stdout)


def ours(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "metabench_py", "reconstruct", *map(str, arguments), "--jsonl"]


def best(command: list[str], repeats: int = REPEATS) -> Cost:
    """Give the quickest of some runs, after one that warms the disk's cache."""
    run(command)
    return min((run(command) for _ in range(repeats)), key=lambda cost: cost.seconds)


def line(what: str, cost: Cost, target: str = "") -> None:
    print(
        f"| {what} | {cost.seconds:.2f} | {cost.cpu:.2f} | {cost.memory_mb:.0f} | {target} |",
        flush=True,
    )


def copies(source: Path, target: Path, number: int) -> Path:
    for i in range(number):
        shutil.copytree(source, target / f"org__model-{i:04}")
    return target


def orjson_pass(folder: Path) -> float:
    """Seconds for reading these logs' JSON and nothing else."""
    start = time.perf_counter()
    for path in sorted(folder.rglob("*.jsonl")):
        if "_permute_" in path.name:
            continue
        with path.open("rb") as stream:
            for text in stream:
                orjson.loads(text)
    return time.perf_counter() - start


def one_model(example: Path) -> None:
    line("one LLM, native", best(ours(example, "--engine", "native")), "0.8 s, 300 MB")
    if rbridge.has_package("mgcv"):
        command = ours(example, "--engine", "native", "--second-stage", "mgcv")
        line("one LLM, native and mgcv", best(command), "3.5 s")
    if rbridge.has_package("mirt"):
        cost = best(ours(example))
        assert json.loads(cost.stdout)["engine"]["irt"] == "mirt"
        line("one LLM, mirt and mgcv", cost, "5 s")


def originals_way(example: Path, folder: Path) -> None:
    """Released fits: an R script that loads them, and our engines with the imported bundle."""
    released = SHARED / "upstream"
    if not (released.is_dir() and rbridge.has_package("mirt") and shutil.which("Rscript")):
        return
    bundle = folder / "released"
    command = [sys.executable, "-m", "metabench_py", "bundle", "import", str(released)]
    run([*command, "--version", "B", "--out", str(bundle), "--trust"])
    script = Path(__file__).with_name("rscript_way.R")
    theirs = best(["Rscript", str(script), str(released / "analysis"), str(example)])
    line("one LLM, released fits, Rscript with mirt and mgcv", theirs)
    expected = dict(text.split() for text in theirs.stdout.decode().splitlines())
    for what, extra in (("mirt and mgcv", ["--trust"]), ("native", ["--engine", "native"])):
        cost = best(ours(example, "--bundle", bundle, *extra))
        line(f"one LLM, released fits, {what}", cost)
        # The same work: the same scores.
        for target, score in json.loads(cost.stdout)["scores"].items():
            assert abs(score["score"] - float(expected[target])) < 1e-3, target


def many_models(example: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = copies(example, Path(name), MODELS)
        line(f"{MODELS:,} LLMs, native", run(ours("--all", folder, "--engine", "native")))
        if rbridge.has_package("mirt"):
            line(f"{MODELS:,} LLMs, mirt and mgcv", run(ours("--all", folder)))


def raw_logs(raw: Path) -> None:
    line("one LLM, raw logs, native", best(ours(raw, "--engine", "native")))
    with tempfile.TemporaryDirectory() as name:
        folder = copies(raw, Path(name), RAW_MODELS)
        once = min(orjson_pass(folder) for _ in range(REPEATS))
        cost = best(ours("--all", folder, "--engine", "native"))
        line(
            f"{RAW_MODELS} LLMs, raw logs, native ({cost.seconds / once:.1f} x one pass of orjson)",
            cost,
        )


def main() -> None:
    example = example_folder() / MODEL
    versions = [f"Python {platform.python_version()}", f"{os.cpu_count()} cores"]
    load = os.getloadavg()[0]
    print(f"{', '.join(versions)}, load {load:.1f}; best of {REPEATS} runs\n")
    print("| what | seconds | CPU seconds | peak MB | target |")
    print("|---|---:|---:|---:|---|")
    one_model(example)
    with tempfile.TemporaryDirectory() as name:
        originals_way(example, Path(name))
    many_models(example)
    raw = SHARED / "harness-results" / MODEL
    if raw.is_dir():
        raw_logs(raw)
    for absent in (p for p in ("mgcv", "mirt") if not rbridge.has_package(p)):
        print(f"\nR's {absent} is absent: its rows are left out.")


if __name__ == "__main__":
    main()
