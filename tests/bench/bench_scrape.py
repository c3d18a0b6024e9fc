"""`metabench-py scrape responses` beside a plain loop: models a second, and memory.

Run: python tests/bench/bench_scrape.py [--models N] [--plain-models N]
     [--files tokens|full|small] [--latency MS ...]

A stand-in of the Hub runs in a process of its own and serves 62 files a model (57 MMLU subjects
and the five other benchmarks). What is in them decides what a run costs:

- ``tokens``, the default, is what a details data set on the Hub holds: as many items as the
  benchmarks have, prompts with all their few shots (25 for ARC, 10 for HellaSwag, 5 for MMLU),
  the metrics, and ``input_tokens``, in which the leaderboard's logger wrote out the tokens of
  each choice after its prompt. That column is most of the 290 MB a model.
- ``full`` is the same without tokens, as the logs of other tools.
- ``small`` has 20 items a file and short prompts: what a request costs is all there is. No real
  data set is like that.

Six data sets are generated (two of each schema generation) and served under all names in turn;
nothing in either way knows that. Latency is added to every answer: 0, and 20 ms as of a near
server.

The plain loops do for each file what the original's scraper does, without its pool of processes:
ask for the card, download into the client's cache, read the whole file with pandas, append to a
CSV. "original" downloads by snapshot_download, as it does, and "plain loop" by hf_hub_download,
which costs less; the third asks for each card only once. A loop costs the same for each model, so
the loops get a few models only, and to be fair their imports are not counted (ours are). All
results are compared. Memory is the peak resident set of the process, and of all its children
together if it had any; a way that starts one is stopped.
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
CHARACTERS_A_TOKEN = 4.3
CHOICES = {"arc": 4, "gsm8k": 1, "hellaswag": 4, "mmlu": 4, "truthfulqa": 5, "winogrande": 2}
LATENCIES_MS = (0.0, 20.0)
FILES = ("tokens", "full", "small")
DISTINCT = 6
WAYS = ("scrape", "original", "plain loop", "plain loop, card once")


def token_column(n: int, benchmark: str, draw: Any) -> Any:
    """The tokens of each choice after its prompt: list<list<int64>>, one row an item."""
    import numpy as np
    import pyarrow as pa

    length, choices = int(PROMPT[benchmark] / CHARACTERS_A_TOKEN), CHOICES[benchmark]
    # Few tokens are most of a text.
    prompts = np.minimum(draw.zipf(1.3, (n, 1, length)), 32_000)
    numbers = np.repeat(prompts, choices, axis=1).reshape(-1)
    lists = pa.ListArray.from_arrays(np.arange(0, len(numbers) + 1, length, np.int32), numbers)
    return pa.ListArray.from_arrays(np.arange(0, len(lists) + 1, choices, np.int32), lists)


def build(n_models: int, with_tokens: bool) -> Any:
    """A hub of models with full-size files; every `DISTINCT`-th has the same."""
    import numpy as np
    from helpers.hub_content import Hub, Repo
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

    from metabench_py.benchmarks import BENCHMARKS
    from metabench_py.hub.sources import FULL_SIZE, PARTS

    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("etaoinshrdlu"), draw.integers(2, 9))) for _ in range(4000)]
    text = " ".join(words[w] for w in draw.integers(0, len(words), 400_000))
    hub = Hub()
    prompts: dict[str, list[str]] = {}
    tokens: dict[str, Any] = {}
    names = model_names(n_models)
    for i, model in enumerate(names):
        if i >= DISTINCT:
            hub.repos[details_repo(model)] = hub.repos[details_repo(names[i % DISTINCT])]
            continue
        files, configs = {}, {}
        for benchmark in BENCHMARKS:
            parts = PARTS[benchmark]
            for number, part in enumerate(parts):
                n = FULL_SIZE[benchmark] // len(parts)
                n += number < FULL_SIZE[benchmark] % len(parts)
                if part.config not in prompts:
                    starts = draw.integers(0, len(text) - PROMPT[benchmark], n)
                    prompts[part.config] = [text[s : s + PROMPT[benchmark]] for s in starts]
                    column = token_column(n, benchmark, draw) if with_tokens else None
                    tokens[part.config] = column
                task = task_of(benchmark, part.subject or None)
                path = file_name(task, "2023-10-16T01-48-55.123456", 1 + i % 3)
                metric = METRICS.get(benchmark, "acc")
                answers = (draw.random(n) < 0.6).astype(float)
                files[path] = details_bytes(
                    answers, prompts[part.config], metric, 1 + i % 3, tokens[part.config]
                )
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
    from helpers.hub_content import Hub
    from helpers.hub_files import Spec, Truth, details_data_set, details_repo, model_names

    spec, truth, hub = Spec(n_items=20, prompt=200), Truth(), Hub()
    for i, model in enumerate(model_names(n_models)):
        hub.repos[details_repo(model)] = details_data_set(model, spec, 1 + i % 3, truth)
    return hub


def serve_forever(n_models: int, files: str) -> None:
    """Serve; lines on stdin set the latency."""
    from helpers.hub_files import model_names
    from helpers.hub_server import serve

    hub = build_small(n_models) if files == "small" else build(n_models, files == "tokens")
    size = sum(len(c) for repo in hub.repos.values() for c in repo.files.values()) / n_models
    with serve(hub):
        about = {"address": hub.address, "megabytes": size / 1e6, "models": model_names(n_models)}
        print(json.dumps(about), flush=True)
        for line in sys.stdin:
            hub.latency = float(line)
            hub.requests.clear()
            print("ok", flush=True)


def snapshot(repository: str, pattern: str) -> Path:
    """Get a file as the original does: by a snapshot of what the card's pattern matches."""
    from huggingface_hub import snapshot_download

    wanted = pattern.split("/")[-1]
    # The client's patterns know no "**/" that stands for nothing: the name alone, too.
    patterns = [pattern, wanted]
    folder = snapshot_download(repository, repo_type="dataset", allow_patterns=patterns)
    return next(Path(root) / wanted for root, _, files in os.walk(folder) if wanted in files)


def plain_loop(names: list[str], out: Path, way: str) -> None:
    """The original's way, in one process; says what it took in s and CPU s."""
    import pandas as pd
    from huggingface_hub import HfApi, hf_hub_download

    from metabench_py.benchmarks import BENCHMARKS
    from metabench_py.hub.sources import PARTS, details_repository

    start, before = time.perf_counter(), time.process_time()
    for name in names:
        repository = details_repository(name, "open-llm-leaderboard-old")
        info = None
        for benchmark in BENCHMARKS:
            for part in PARTS[benchmark]:
                if info is None or way != "plain loop, card once":
                    info = HfApi().repo_info(repository, repo_type="dataset")
                configs = info.card_data.to_dict()["configs"]
                config = next(c for c in configs if c["config_name"] == part.config)
                pattern = next(f for f in config["data_files"] if f["split"] == "latest")["path"][0]
                if way == "original":
                    local = snapshot(repository, pattern)
                else:
                    wanted = pattern.split("/")[-1]
                    path = next(s.rfilename for s in info.siblings if s.rfilename.endswith(wanted))
                    local = Path(hf_hub_download(repository, path, repo_type="dataset"))
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
    print(time.perf_counter() - start, time.process_time() - before)


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    seconds: float
    cpu: float
    memory_mb: float


def run(command: list[str], environment: dict[str, str]) -> Cost:
    """Run to the end and measure."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=errors)
        done = 0
        while not done:
            if children := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text():
                process.kill()
                raise SystemExit(f"{command}: has children ({children}), whose memory counts too")
            time.sleep(0.02)
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(errors.read().decode())
        cpu = usage.ru_utime + usage.ru_stime
        if "--plain" in command:
            seconds, cpu = map(float, said.read().split())
    return Cost(seconds, cpu, usage.ru_maxrss / 1024)


def same(ours: Path, theirs: Path) -> None:
    """Compare both results; stop if they differ."""
    import pandas as pd

    from metabench_py.benchmarks import BENCHMARKS
    from metabench_py.responses import ResponseMatrix

    for benchmark in BENCHMARKS:
        matrix = ResponseMatrix.load(ours / f"{benchmark}.parquet")
        long = pd.read_csv(theirs / f"{benchmark}.csv", dtype={"item": str})
        wide = long.pivot(index="source", columns="item", values="correct")
        wide = wide[list(matrix.items)]
        if not (wide.to_numpy() == matrix.rows(wide.index).values).all():
            raise SystemExit(f"{benchmark}: the results differ")


def main(n_models: int, n_plain: int, files: str, latencies_ms: list[float]) -> None:
    """Measure all ways at all latencies; print a Markdown table."""
    server = subprocess.Popen(
        [sys.executable, str(HERE), "--models", str(n_models), "--serve", "--files", files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    about = json.loads(server.stdout.readline())
    print(
        f"{n_models} models x 62 files ({files}), {about['megabytes']:.0f} MB a model, {n_plain} "
        f"for the loops; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n"
    )
    print(
        "| latency | way | models | s | CPU s | models/s | peak MB |\n|---|---|---|---|---|---|---|"
    )
    scratch = Path(tempfile.mkdtemp(prefix="bench-scrape-"))
    names, few = scratch / "models.txt", scratch / "few.txt"
    names.write_text("\n".join(about["models"]))
    few.write_text("\n".join(about["models"][:n_plain]))
    try:
        for latency in latencies_ms:
            costs = {}
            for way in WAYS:
                server.stdin.write(f"{latency / 1000}\n")
                server.stdin.flush()
                server.stdout.readline()
                out = scratch / str(WAYS.index(way))
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
                    arguments = [str(HERE), "--plain", str(few), str(out), "--way", way]
                n = n_models if way == "scrape" else n_plain
                cost = run([sys.executable, *arguments], environment)
                costs[way] = (cost, n / cost.seconds, cost.cpu / n)
                print(
                    f"| {latency:.0f} ms | {way} | {n} | {cost.seconds:.1f} | "
                    f"{cost.cpu:.1f} | {n / cost.seconds:.2f} | {cost.memory_mb:.0f} |",
                    flush=True,
                )
                if way != "scrape":
                    # In a process of its own: a child's peak begins with its parent's.
                    compare = [sys.executable, str(HERE), "--same", str(scratch / "0")]
                    subprocess.run([*compare, str(out)], check=True)
                    shutil.rmtree(out / "home")
            ours, rate, cpu = costs.pop("scrape")
            for way, (plain, plain_rate, plain_cpu) in costs.items():
                print(
                    f"| | scrape beside {way} | | {rate / plain_rate:.1f} x faster | "
                    f"{plain_cpu / cpu:.1f} x less | | "
                    f"{ours.memory_mb / plain.memory_mb:.2f} of its memory |",
                    flush=True,
                )
    finally:
        server.stdin.close()
        server.wait()
        shutil.rmtree(scratch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--plain-models", type=int, default=4)
    parser.add_argument("--files", choices=FILES, default="tokens")
    parser.add_argument("--latency", type=float, nargs="*", default=LATENCIES_MS, metavar="MS")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--plain", nargs=2, type=Path)
    parser.add_argument("--same", nargs=2, type=Path)
    parser.add_argument("--way", choices=WAYS, default="plain loop")
    given = parser.parse_args()
    if given.serve:
        serve_forever(given.models, given.files)
    elif given.same:
        same(*given.same)
    elif given.plain:
        plain_loop(given.plain[0].read_text().split(), given.plain[1], given.way)
    else:
        n_plain = min(given.models, given.plain_models)
        main(given.models, n_plain, given.files, given.latency)
