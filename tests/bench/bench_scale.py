"""Tasks a second, here and on clusters: the subsampling stage by each executor, and an estimate.

Run: python tests/bench/bench_scale.py [--subsets N] [--quick]
The same subsets of a simulated benchmark (1,000 LLMs x 1,000 items, subsets of 350, 5 folds) are
judged by one process, by pools of 1 and 2, by Dask with 1 and 2 workers, and by a real Slurm of one
node on loopback (where it can be started: root, Debian's slurmctld), as an array of 1 and 2 jobs at
a time. All results are compared, bit for bit. Pools and clusters start within the time; a second
measure of the same pool says what the start takes. Then what the full run would take on 100 cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "system"))

import numpy as np  # noqa: E402
from slurm_daemons import PARTITION, absent, running_slurm  # noqa: E402

from metabench_py.calibration.plan import Size, measure, plan  # noqa: E402
from metabench_py.calibration.stage_data import BenchmarkData  # noqa: E402
from metabench_py.calibration.subsample import SubsampleOptions, subsample  # noqa: E402
from metabench_py.compute import Place, open_executor  # noqa: E402
from metabench_py.responses import ResponseMatrix  # noqa: E402

LLMS, ITEMS, PICKED, FOLDS = 1000, 1000, 350, 5


def simulated() -> BenchmarkData:
    """A benchmark, half of it like the real ones: abilities, slopes, difficulties."""
    random = np.random.default_rng(1)
    theta = random.normal(size=LLMS)
    slope, easy = random.lognormal(0.2, 0.3, ITEMS), random.normal(size=ITEMS)
    chance = 1 / (1 + np.exp(-(slope * theta[:, None] + easy)))
    values = (random.uniform(size=chance.shape) < chance).astype(np.int8)
    names = tuple(f"llm-{i}" for i in range(LLMS))
    matrix = ResponseMatrix(names, tuple(map(str, range(ITEMS))), values)
    score = 100 * values.mean(axis=1)
    held = names[:100]
    return BenchmarkData(
        "simulated", matrix.rows(names[100:]), matrix.rows(held), score[100:], score[:100]
    )


def judged(executor: Executor | None, data: BenchmarkData, subsets: int) -> tuple[float, bytes]:
    """Seconds, and the errors' bytes."""
    options = SubsampleOptions(n_items=PICKED, subsets=subsets, folds=FOLDS)
    start = time.perf_counter()
    found = subsample(data, options, executor=executor)
    seconds = time.perf_counter() - start
    return seconds, found.rmse_validation.tobytes() + found.rmse_test.tobytes()


@contextlib.contextmanager
def dask(workers: int, folder: Path) -> Iterator[Place]:
    """A cluster of this machine."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0",
        host="127.0.0.1", silence_logs=50, local_directory=str(folder),
    ) as cluster:  # fmt: skip
        yield Place(dask=cluster.scheduler_address)


def measure_ways(subsets: int) -> None:
    """Print a row a way as soon as it is measured: with the start, and once more."""
    data = simulated()
    print(
        "| way | workers | s with start | GAMs/s | s once more | GAMs/s |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )

    def row(way: str, workers: int, cold: float, warm: float) -> None:
        gams = subsets * FOLDS
        print(
            f"| {way} | {workers} | {cold:.1f} | {gams / cold:.0f} | {warm:.1f} | "
            f"{gams / warm:.0f} |",
            flush=True,
        )

    # Compiled code is kept on disk from here on.
    judged(None, data, 8)
    seconds, wanted = judged(None, data, subsets)
    row("this process", 1, seconds, seconds)

    def note(way: str, workers: int, opened: Any) -> None:
        start = time.perf_counter()
        with opened as executor:
            _, got = judged(executor, data, subsets)
            cold = time.perf_counter() - start
            warm, again = judged(executor, data, subsets)
        if not got == again == wanted:
            raise SystemExit(f"{way}, {workers} workers: the results differ")
        row(way, workers, cold, warm)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for workers in (1, 2):
            note("local pool", workers, open_executor(Place(workers=workers), folder / "pool"))
        for workers in (1, 2):
            with dask(workers, folder) as place:
                note("Dask, workers there", workers, open_executor(place, folder / "dask"))
        if reason := absent():
            print(f"\nNo Slurm here: {reason}")
            return
        with running_slurm(folder / "slurm"):
            for workers in (1, 2):
                place = Place(
                    workers=workers, slurm=PARTITION, slurm_time="01:00:00", slurm_memory="2G"
                )
                note("Slurm array", workers, open_executor(place, folder / "work"))


def main(subsets: int, quick: bool) -> None:
    """Print Markdown tables."""
    print(
        f"{subsets} subsets x {FOLDS} folds, {LLMS} LLMs x {ITEMS} items, subsets of {PICKED}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n",
        flush=True,
    )
    measure_ways(subsets)
    print("\nAll results were the same, bit for bit.\n")
    if quick:
        return
    costs = measure()
    found = plan(Size(llms=5000, items=5000), 100, costs)
    print(
        "The full run (6 x 10,000 x 5, 5,000 LLMs x 5,000 items) on 100 cores, unit costs of now:\n"
    )
    print("| stage | tasks | core hours | hours |\n|---|---|---|---|")
    for stage in found.stages:
        print(f"| {stage.stage} | {stage.tasks:,} | {stage.core_hours:.2f} | {stage.hours:.3f} |")
    print(f"| all | | {found.core_hours:.2f} | {found.hours:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--subsets", type=int, default=400)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    main(given.subsets, given.quick)
