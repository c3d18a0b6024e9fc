"""The golden pipeline, stage by stage, as a user runs it, beside the same steps in R.

Run: OPENBLAS_NUM_THREADS=1 python tests/bench/bench_pipeline.py [--without-r] [--stages A,B]
     [--subsets N]
Each of our stages is one command, each of R's one script a benchmark, as the original has them.
Seconds are CPU seconds of all processes, their starts, imports and packages included; one worker
and one BLAS thread. R does what the golden run did and no more, written plainly; of the random
subsets it judges a few (--subsets) and the loop's time is scaled to 40. It needs mirt, mgcv,
caret, dplyr, tidyr and ggplot2.

The golden column is another thing: wall seconds by the golden manifests, of one core of two that
other jobs shared at a load of up to 8 (its own single-step timings, in CPU seconds, add up to
about half). Golden stages have more than one step of ours: the 3PL of ARC and HellaSwag belongs to
``fit``, the second stage is the GAMs of the grand score (40 and 20 basis functions a term) and of
ARC (20), without cross-validated errors. What ``calibrate bundle`` does more has a line of its own
and is in no sum.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "pipeline"
R_STEPS = Path(__file__).with_suffix(".R")
NAMES = ("arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande")
# By the manifests: preprocess, split, random, crossvalidate, reduce, meta.
GOLDEN_WALL = {
    "preprocess": 26.8, "split": 3.8, "subsample": 162.3, "fit": 51.5, "select": 47.4, "meta": 60.8,
}  # fmt: skip
SUBSETS = 40
TARGET = 8.0
SECOND_STAGE = (("grand", 40), ("grand", 20), ("arc", 20))


def spent(command: Sequence[str | Path]) -> float:
    """CPU seconds of a command and all that it starts."""
    return run(command)[0]


def run(command: Sequence[str | Path]) -> tuple[float, str]:
    """Its seconds, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, done.stdout


def ours(folder: Path) -> dict[str, Callable[[], float]]:
    """Every stage by the command line."""

    def calibrate(stage: str, *options: str | Path) -> float:
        return spent([sys.executable, "-m", "metabench_py", "calibrate", stage, *options])

    cleaned, few = folder / "cleaned", folder / "few"
    known = ("--scores", cleaned / "scores.parquet", "--split", cleaned / "split.parquet")
    path = ("--engine", "native", "--mode", "mirt-path", *known)
    both = ("--benchmark", "arc", "--benchmark", "hellaswag")
    # The golden run recovers scores from MAP, and has EAPsum beside it.
    fits = {kind: ("--item-type", kind, "--method", "MAP", *path) for kind in ("2PL", "3PL")}
    return {
        "preprocess": lambda: calibrate(
            "preprocess", "--responses", GOLDEN / "inputs", "--out", cleaned,
            "--item-rule", "original", "--order", "icu",
        ),
        "split": lambda: calibrate(
            "split", "--data", cleaned, "--rule", "original", "--partitioner", "base"
        ),
        "subsample": lambda: calibrate(
            "subsample", "--data", cleaned, "--out", few, "--items", "60", "--subsets",
            str(SUBSETS), "--rule", "original", "--partitioner", "base", "--workers", "1", *known,
        ),
        "fit": lambda: calibrate("fit", "--data", few, "--out", folder / "2pl", *fits["2PL"])
        + calibrate("fit", "--data", few, "--out", folder / "3pl", *both, *fits["3PL"]),
        "select": lambda: calibrate(
            "select", "--data", few, "--out", folder / "chosen", "--penalty", "0", "--threshold",
            "0", "--intervals", "250", "--item-type", "2PL", "--method", "MAP", *path,
        ),
        "meta": lambda: spent([sys.executable, Path(__file__), "--second-stage"]),
    }  # fmt: skip


def bundle(folder: Path) -> float:
    """What comes after: seven GAMs by mgcv, and their errors on held-out organisations."""
    cleaned = folder / "cleaned"
    return spent(
        [
            sys.executable, "-m", "metabench_py", "calibrate", "bundle", "--responses",
            folder / "few", "--scores", cleaned / "scores.parquet", "--split",
            cleaned / "split.parquet", "--items", folder / "chosen" / "items.parquet", "--out",
            folder / "bundle", "--name", "golden", "--version-label", "G", "--licence", "CC0-1.0",
            "--source", "simulated", "--mode", "mirt-path", "--basis-size", "10",
            "--second-stage", "gam",
        ]
    )  # fmt: skip


def second_stage() -> None:
    """The golden GAMs by the native solver, in this process."""
    import numpy as np
    import pandas as pd

    from metabench_py.gam.adaptive import AdaptiveOptions
    from metabench_py.gam.additive import fit_additive
    from metabench_py.gam.features import feature_names

    table = pd.read_csv(GOLDEN / "meta" / "grand-frame.csv.gz")
    arc = pd.read_csv(GOLDEN / "meta" / "specific-arc-k20.csv.gz")
    table = table.assign(arc_score=arc["target"], **{n: arc[n] for n in ("this.l", "this.s")})
    train = table[table["set"] == "train"]
    for target, size in SECOND_STAGE:
        features = {name: train[name].to_numpy(np.float64) for name in feature_names(target)}
        score = train["grand" if target == "grand" else "arc_score"].to_numpy(np.float64)
        fit = fit_additive(features, score, AdaptiveOptions(basis_size=size), target)
        fit.gam.predict({name: table[name].to_numpy(np.float64) for name in features})


def in_r(folder: Path, subsets: int) -> dict[str, Callable[[], float]]:
    """The same by R's packages."""
    names = folder / "names"
    names.mkdir()
    for benchmark in NAMES:
        known = json.loads((GOLDEN / "preprocess" / f"{benchmark}.json").read_text())
        (names / f"{benchmark}.txt").write_text("\n".join(map(str, known["kept_items"])) + "\n")
    split = json.loads((GOLDEN / "split" / "split-seed1.json").read_text())
    (names / "test.txt").write_text("\n".join(split["llms_test"]) + "\n")

    def command(step: str, name: str, *more: str) -> list[str | Path]:
        return ["Rscript", "--vanilla", R_STEPS, step, GOLDEN, names, name, *more]

    def r(step: str, name: str, *more: str) -> float:
        return spent(command(step, name, *more))

    def each(step: str, *more: str) -> float:
        return sum(r(step, name, *more) for name in NAMES)

    def random() -> float:
        total = 0.0
        for name in NAMES:
            seconds, loop = run(command("random", name, str(subsets)))
            total += seconds + float(loop) * (SUBSETS / subsets - 1)
        return total

    return {
        "preprocess": lambda: each("preprocess"),
        "split": lambda: r("split", "all"),
        "subsample": random,
        "fit": lambda: each("fit", "2PL") + sum(r("fit", n, "3PL") for n in ("arc", "hellaswag")),
        "select": lambda: each("select"),
        "meta": lambda: r("meta", ",".join(f"{t}{k}" for t, k in SECOND_STAGE)),
    }


def main(stages: Sequence[str], with_r: bool, subsets: int) -> None:
    """Print a row a stage as it is done, and the sums."""
    print(
        "| stage | golden wall s | R, CPU s | ours, CPU s | R / ours |\n|---|---:|---:|---:|---:|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        commands = ours(folder)
        theirs = in_r(folder, subsets) if with_r else {}
        total = {"golden": 0.0, "r": 0.0, "ours": 0.0, "beside": 0.0}
        # Warm: what numba compiles is kept on disk from the first run on.
        for stage, command in commands.items():
            if stage == "meta" and stage not in stages:
                continue
            # The later stages read what it makes.
            mine = command()
            if stage not in stages:
                continue
            his = theirs[stage]() if stage in theirs else None
            total["golden"] += GOLDEN_WALL[stage]
            total["ours"] += mine
            ratio = ""
            if his is not None:
                total["r"] += his
                total["beside"] += mine
                ratio = f"{his / mine:.1f}"
            text = "" if his is None else f"{his:.1f}"
            print(
                f"| {stage} | {GOLDEN_WALL[stage]:.1f} | {text} | {mine:.2f} | {ratio} |",
                flush=True,
            )
        ratio = f"{total['r'] / total['beside']:.1f}" if total["beside"] else ""
        print(
            f"| all of these | {total['golden']:.1f} | {total['r']:.1f} | {total['ours']:.2f} | "
            f"{ratio} |"
        )
        if "bundle" in stages:
            print(f"| more: calibrate bundle | | | {bundle(folder):.1f} | |")
    print(f"\nTarget: {TARGET:.0f} times; load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--without-r", action="store_true")
    parser.add_argument("--stages", default=",".join((*GOLDEN_WALL, "bundle")))
    parser.add_argument("--subsets", type=int, default=8)
    parser.add_argument("--second-stage", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.second_stage:
        second_stage()
    else:
        main(given.stages.split(","), not given.without_r, given.subsets)
