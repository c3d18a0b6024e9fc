"""`metabench-py scrape responses` beside a plain loop: models a second, and memory.

Run: python tests/bench/bench_scrape.py [--models N] [--small]
A stand-in of the Hub runs in a process of its own and serves files of the real ones' shape: as
many items as the benchmarks have, prompts with their few shots. The plain loop does for each file
what the original's scraper does: ask for the card, download into the client's cache, read the
whole file with pandas, append to a CSV; and a leaner one without asking for the card each time.
Both results are compared. --small serves files of 20 items with short prompts, so that what a
request costs is all there is; the default is full-size files. Latency is added to every answer:
0, and 20 ms as of a near server.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1]))

# Characters of a prompt, few shots included, about as in the real files.
PROMPT = {
    "arc": 5500, "gsm8k": 3500, "hellaswag": 4500, "mmlu": 3000, "truthfulqa": 1500,
    "winogrande": 700,
}  # fmt: skip
LATENCIES = (0.0, 0.02)


def build(n_models: int) -> Any:
    """A hub of models with full-size files."""
    import numpy as np
    from helpers.hub_files import (
        METRICS,
        card_of,
        config_of,
        details_bytes,
        details_repo,
        file_name,
        model_names,
        task_of,
    )
    from helpers.hub_server import Hub, Repo

    from metabench_py.benchmarks import BENCHMARKS
    from metabench_py.hub.sources import FULL_SIZE, PARTS

    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("etaoinshrdlu"), draw.integers(2, 9))) for _ in range(4000)]
    text = " ".join(words[w] for w in draw.integers(0, len(words), 400_000))
    hub = Hub()
    prompts: dict[str, list[str]] = {}
    for i, model in enumerate(model_names(n_models)):
        files, configs = {}, {}
        for benchmark in BENCHMARKS:
            parts = PARTS[benchmark]
            for number, part in enumerate(parts):
                n = FULL_SIZE[benchmark] // len(parts)
                n += number < FULL_SIZE[benchmark] % len(parts)
                if part.config not in prompts:
                    starts = draw.integers(0, len(text) - PROMPT[benchmark], n)
                    prompts[part.config] = [text[s : s + PROMPT[benchmark]] for s in starts]
                task = task_of(benchmark, part.subject or None)
                path = file_name(task, "2023-10-16T01-48-55.123456", 1 + i % 3)
                metric = METRICS.get(benchmark, "acc")
                answers = (draw.random(n) < 0.6).astype(float)
                files[path] = details_bytes(answers, prompts[part.config], metric, 1 + i % 3)
                configs[config_of(task)] = (path, "2023-10-16T01-48-55.123456")
        hub.repos[details_repo(model)] = Repo(files, card_of(configs, 1 + i % 3))
    # Hashes beforehand: that work is no part of serving.
    for repo in hub.repos.values():
        hub.commit(repo)
        for content in repo.files.values():
            hub.digests(content)
    return hub


def build_small(n_models: int) -> Any:
    """A hub of models with small files; all have a card, which the plain loop needs."""
    from helpers.hub_files import Spec, Truth, details_data_set, details_repo, model_names
    from helpers.hub_server import Hub

    spec, truth, hub = Spec(n_items=20, prompt=200), Truth(), Hub()
    for i, model in enumerate(model_names(n_models)):
        hub.repos[details_repo(model)] = details_data_set(model, spec, 1 + i % 3, truth)
    return hub


def serve_forever(n_models: int, small: bool) -> None:
    """Serve; lines on stdin set the latency."""
    from helpers.hub_files import model_names
    from helpers.hub_server import serve

    hub = (build_small if small else build)(n_models)
    size = sum(len(c) for repo in hub.repos.values() for c in repo.files.values())
    with serve(hub):
        about = {"address": hub.address, "megabytes": size / 1e6, "models": model_names(n_models)}
        print(json.dumps(about), flush=True)
        for line in sys.stdin:
            hub.latency = float(line)
            hub.requests.clear()
            print("ok", flush=True)


def plain_loop(names: list[str], out: Path, ask_each_time: bool) -> None:
    """The original's way, in one process."""
    import pandas as pd
    from huggingface_hub import HfApi, hf_hub_download

    from metabench_py.benchmarks import BENCHMARKS
    from metabench_py.hub.sources import PARTS, details_repository

    for name in names:
        repository = details_repository(name, "open-llm-leaderboard-old")
        info = None
        for benchmark in BENCHMARKS:
            for part in PARTS[benchmark]:
                if info is None or ask_each_time:
                    info = HfApi().repo_info(repository, repo_type="dataset")
                configs = info.card_data.to_dict()["configs"]
                config = next(c for c in configs if c["config_name"] == part.config)
                pattern = next(f for f in config["data_files"] if f["split"] == "latest")["path"][0]
                wanted = pattern.split("/")[-1]
                path = next(s.rfilename for s in info.siblings if s.rfilename.endswith(wanted))
                local = hf_hub_download(repository, path, repo_type="dataset")
                raw = pd.read_parquet(local)
                if part.metric in raw.columns:
                    answers = raw[part.metric]
                elif f"metrics.{part.metric}" in raw.columns:
                    answers = raw[f"metrics.{part.metric}"]
                else:
                    answers = raw["metrics"].map(lambda m, key=part.metric: m[key])
                items = [part.item(row) for row in range(len(raw))]
                frame = pd.DataFrame({"source": name, "item": items, "correct": answers})
                target = out / f"{benchmark}.csv"
                frame.to_csv(target, mode="a", index=False, header=not target.exists())


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    seconds: float
    cpu: float
    memory_mb: float


def run(command: list[str], environment: dict[str, str]) -> Cost:
    """Run to the end and measure."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    seconds = time.perf_counter() - start
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def same(ours: Path, theirs: Path) -> None:
    """Compare both results; stop if they differ."""
    import pandas as pd

    from metabench_py.benchmarks import BENCHMARKS
    from metabench_py.responses import ResponseMatrix

    for benchmark in BENCHMARKS:
        matrix = ResponseMatrix.load(ours / f"{benchmark}.parquet")
        long = pd.read_csv(theirs / f"{benchmark}.csv", dtype={"item": str})
        wide = long.pivot(index="source", columns="item", values="correct")
        wide = wide.loc[list(matrix.llms), list(matrix.items)]
        if not (wide.to_numpy() == matrix.values).all():
            raise SystemExit(f"{benchmark}: the results differ")


def main(n_models: int, small: bool) -> None:
    """Measure all ways at all latencies; print a Markdown table."""
    server = subprocess.Popen(
        [sys.executable, str(HERE), "--models", str(n_models), "--serve"] + ["--small"] * small,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    about = json.loads(server.stdout.readline())
    print(
        f"{n_models} models x 62 files, {about['megabytes']:.0f} MB; {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start\n"
    )
    print("| latency | way | s | CPU s | models/s | peak MB |\n|---|---|---|---|---|---|")
    scratch = Path(tempfile.mkdtemp(prefix="bench-scrape-"))
    names = scratch / "models.txt"
    names.write_text("\n".join(about["models"]))
    try:
        for latency in LATENCIES:
            costs = {}
            for way in ("scrape", "plain loop", "plain loop, card once"):
                server.stdin.write(f"{latency}\n")
                server.stdin.flush()
                server.stdout.readline()
                out = scratch / way.replace(" ", "-")
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                environment = {
                    **os.environ,
                    "HF_ENDPOINT": about["address"],
                    "HF_HOME": str(out / "home"),
                    "HF_HUB_DISABLE_TELEMETRY": "1",
                    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                }
                if way == "scrape":
                    arguments = ["-m", "metabench_py", "scrape", "responses"]
                    arguments += ["--models", str(names), "--out", str(out)]
                else:
                    arguments = [str(HERE), "--plain", str(names), str(out)]
                    arguments += ["--ask-each-time"] if way == "plain loop" else []
                costs[way] = cost = run([sys.executable, *arguments], environment)
                print(
                    f"| {1000 * latency:.0f} ms | {way} | {cost.seconds:.1f} | {cost.cpu:.1f} | "
                    f"{n_models / cost.seconds:.2f} | {cost.memory_mb:.0f} |",
                    flush=True,
                )
                if way != "scrape":
                    # In a process of its own: a child's peak begins with its parent's.
                    compare = [sys.executable, str(HERE), "--same", str(scratch / "scrape")]
                    subprocess.run([*compare, str(out)], check=True)
                    shutil.rmtree(out / "home")
            ours, plain = costs["scrape"], costs["plain loop"]
            print(
                f"| | | {plain.seconds / ours.seconds:.1f} x faster than the plain loop | "
                f"{plain.cpu / ours.cpu:.1f} x less CPU | | "
                f"{ours.memory_mb / plain.memory_mb:.2f} of its memory |"
            )
    finally:
        server.stdin.close()
        server.wait()
        shutil.rmtree(scratch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--plain", nargs=2, type=Path)
    parser.add_argument("--same", nargs=2, type=Path)
    parser.add_argument("--ask-each-time", action="store_true")
    given = parser.parse_args()
    if given.serve:
        serve_forever(given.models, given.small)
    elif given.same:
        same(*given.same)
    elif given.plain:
        plain_loop(given.plain[0].read_text().split(), given.plain[1], given.ask_each_time)
    else:
        main(given.models, given.small)
