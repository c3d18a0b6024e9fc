"""How fast subsampling is: the native adaptive spline beside a loop over mgcv::gam.

Both on one core and one BLAS thread, on the same subsets and folds: the golden ARC data (360
training LLMs, 60 of 125 items) and simulated LLMs as many as a real leaderboard has. The gap is the
median difference of both RMSEs.

Run: OPENBLAS_NUM_THREADS=1 python tests/bench/bench_subsample.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from helpers.golden_subsample import benchmark_data

from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.calibration.subsample import SubsampleOptions, draw_subsets, subsample
from metabench_py.rbridge import locate
from metabench_py.responses import ResponseMatrix

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
# What a person would write in R; the clock runs in R, after mgcv is loaded.
R_LOOP = """
suppressMessages(library(mgcv))
a <- commandArgs(TRUE)
score <- scan(file.path(a[1], "score.txt"), quiet = TRUE)
fold <- scan(file.path(a[1], "fold.txt"), quiet = TRUE)
share <- as.matrix(read.table(file.path(a[1], "share.txt")))
rmse <- matrix(0, ncol(share), 5)
warm <- gam(y ~ s(x, bs = "ad"), data = data.frame(x = share[, 1], y = score))
clock <- proc.time()
for (i in seq_len(ncol(share))) for (k in 1:5) {
  d <- data.frame(x = share[, i], y = score)
  fit <- gam(y ~ s(x, bs = "ad"), data = d[fold != k - 1, ])
  rmse[i, k] <- sqrt(mean((d$y - predict(fit, d))[fold == k - 1]^2))
}
spent <- proc.time() - clock
cat(spent[["elapsed"]], sum(spent[1:2]), "\\n")
write.table(rmse, file.path(a[1], "rmse.txt"), row.names = FALSE, col.names = FALSE)
"""


def simulated(n_llms: int, n_items: int) -> BenchmarkData:
    rng = np.random.default_rng(1)
    ability = rng.normal(size=n_llms)
    slope, ease = rng.lognormal(0, 0.5, n_items), rng.normal(0.5, 1.2, n_items)
    right = rng.random((n_llms, n_items)) < 1 / (1 + np.exp(-(np.outer(ability, slope) + ease)))
    values = right.astype(np.int8)
    llms, items = (tuple(f"{c}{i}" for i in range(n)) for c, n in (("m", n_llms), ("i", n_items)))
    matrix = ResponseMatrix(llms, items, values)
    return BenchmarkData(
        "simulated", matrix, matrix.rows([]), 100 * values.mean(axis=1), np.empty(0)
    )


def native(data: BenchmarkData, options: SubsampleOptions) -> tuple[float, float, np.ndarray]:
    subsample(data, replace(options, subsets=1))
    start, spent = time.perf_counter(), time.process_time()
    found = subsample(data, options)
    return (
        time.perf_counter() - start,
        time.process_time() - spent,
        np.asarray(found.rmse_validation),
    )


def by_mgcv(data: BenchmarkData, options: SubsampleOptions) -> tuple[float, float, np.ndarray]:
    fold = subsample(data, replace(options, subsets=1)).fold
    picks = draw_subsets(data.train.n_items, options)
    share = np.column_stack([data.train.values[:, rows].mean(axis=1) for rows in picks])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savetxt(folder / "score.txt", data.train_score, fmt="%.17g")
        np.savetxt(folder / "fold.txt", fold, fmt="%d")
        np.savetxt(folder / "share.txt", share, fmt="%.17g")
        (folder / "loop.R").write_text(R_LOOP)
        command = ["Rscript", "--vanilla", str(folder / "loop.R"), name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        wall, spent = map(float, done.stdout.split())
        return wall, spent, np.loadtxt(folder / "rmse.txt", ndmin=2)


def main() -> None:
    if locate.package_version("mgcv") is None:
        sys.exit("R with mgcv is absent; this benchmark compares with it.")
    cases = [
        (benchmark_data(GOLDEN, "arc"), SubsampleOptions(n_items=60, subsets=40), 20),
        (simulated(4_280, 1_000), SubsampleOptions(n_items=350, subsets=40), 4),
    ]
    head = (
        "LLMs", "items", "who", "splines", "ms a spline", "CPU ms", "faster (CPU)", "RMSE gap",
    )  # fmt: skip
    print("| " + " | ".join(head) + " |")
    print("|" + "---:|" * len(head))
    for data, options, few in cases:
        wall, spent, ours = native(data, options)
        r_wall, r_spent, theirs = by_mgcv(data, replace(options, subsets=few))
        gap = np.median(np.abs(ours[:few] - theirs))
        n, r_n = ours.size, theirs.size
        size = f"{data.train.n_llms:,} | {options.n_items} of {data.train.n_items:,}"
        times = [t / r_n * 1e3 for t in (r_wall, r_spent)] + [t / n * 1e3 for t in (wall, spent)]
        print(f"| {size} | mgcv | {r_n} | {times[0]:.1f} | {times[1]:.1f} | | |")
        print(
            f"| {size} | native | {n} | {times[2]:.2f} | {times[3]:.2f} "
            f"| {times[1] / times[3]:.1f} | {gap:.0e} |"
        )


if __name__ == "__main__":
    main()
