"""How fast and how large `metabench-py reconstruct` is, as whole processes.

Run: python tests/bench/bench_reconstruct.py
The rows of raw logs need the reference data (METABENCH_SHARED); those of mirt need it in R.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from metabench_py import rbridge
from metabench_py.logs.find import example_folder

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("METABENCH_SHARED", ROOT.parent / "shared")) / "data"
MODEL = "EleutherAI__pythia-14m"
REPEATS = 3
RAW_MODELS = 20
MODELS = 1000


def run(*arguments: str | Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of one process."""
    command = [sys.executable, "-m", "metabench_py", "reconstruct", *map(str, arguments)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said.decode())
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def best(*arguments: str | Path) -> tuple[float, float]:
    return min(run(*arguments) for _ in range(REPEATS))


def line(what: str, seconds: float, memory: float | None = None) -> None:
    size = f"{memory:>8.0f} MB" if memory is not None else ""
    print(f"{what:<58}{seconds:>8.2f} s{size}", flush=True)


def copies(source: Path, target: Path, number: int) -> Path:
    for i in range(number):
        shutil.copytree(source, target / f"org__model-{i:04}")
    return target


def orjson_pass(folder: Path) -> float:
    start = time.perf_counter()
    for path in sorted(folder.rglob("*.jsonl")):
        if "_permute_" in path.name:
            continue
        with path.open("rb") as stream:
            for text in stream:
                orjson.loads(text)
    return time.perf_counter() - start


def main() -> None:
    example = example_folder() / MODEL
    line("one model, native", *best(example, "--engine", "native"))
    if rbridge.has_package("mgcv"):
        line("one model, mgcv", *best(example, "--engine", "native", "--second-stage", "mgcv"))
    if rbridge.has_package("mirt"):
        line("one model, mirt and mgcv", *best(example, "--engine", "mirt"))
    with tempfile.TemporaryDirectory() as name:
        folder = copies(example, Path(name), MODELS)
        line(f"{MODELS} models, reduced logs, native", *run("--all", folder, "--engine", "native"))
    raw = SHARED / "harness-results" / MODEL
    if not raw.is_dir():
        print("(no raw logs here)")
        return
    line("one model, raw logs, native", *best(raw, "--engine", "native"))
    with tempfile.TemporaryDirectory() as name:
        folder = copies(raw, Path(name), RAW_MODELS)
        once = min(orjson_pass(folder) for _ in range(REPEATS))
        line(f"{RAW_MODELS} models, raw logs: one orjson pass", once)
        seconds, memory = best("--all", folder, "--engine", "native")
        line(f"{RAW_MODELS} models, raw logs, native ({seconds / once:.1f} x)", seconds, memory)


if __name__ == "__main__":
    main()
