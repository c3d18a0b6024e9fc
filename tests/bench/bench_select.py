"""How fast a search over 55 selections is, against mirt's and mgcv's way where R has mirt.

Run: OPENBLAS_NUM_THREADS=1 python tests/bench/bench_select.py
Prints one Markdown table. The responses are real ones of ARC (version B, 100 items) with the full
scores, from the reference data (METABENCH_SHARED). The native search is timed whole: full fits,
abilities, 55 evaluations, the final refit. mirt's way is timed for three of the same evaluations
(refit of at most 500 cycles, abilities, mgcv's GAM) and scaled by the number of evaluations that
refit; its full fits are not counted, for the original takes them from an earlier step. CPU seconds
are all threads', and hardly change with what else the machine does.
"""

from __future__ import annotations

import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from metabench_py import rbridge
from metabench_py.benchmarks import FitMode
from metabench_py.calibration.recovery import recover
from metabench_py.calibration.select import Selection, SelectOptions, select_benchmarks
from metabench_py.calibration.selector import Choice
from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.irt.engine import FitOptions
from metabench_py.irt.native import NativeEngine
from metabench_py.responses import ResponseMatrix

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("METABENCH_SHARED", ROOT.parent / "shared")) / "data"
EVALUATIONS = 55
TIMED = 3
CYCLES = 500


def load() -> BenchmarkData:
    table = pd.read_parquet(SHARED / "llm-scores.parquet").reset_index()
    score = dict(zip(table["name"], table["arc"].astype(float), strict=True))
    matrix = ResponseMatrix.load(SHARED / "llm-responses" / "B" / "arc.parquet")
    train = matrix.rows([name for name in matrix.llms if name in score])
    values = np.array([score[name] for name in train.llms])
    return BenchmarkData("arc", train, train.rows(()), values, np.empty(0))


def native(data: BenchmarkData, mode: FitMode) -> tuple[Selection, float, float]:
    options = SelectOptions(
        item_types=("2PL", "3PL", "4PL"), engine="native", mode=mode, n_trials=EVALUATIONS
    )
    wall, cpu = time.perf_counter(), time.process_time()
    found = select_benchmarks({"arc": data}, options)["arc"]
    return found, time.perf_counter() - wall, time.process_time() - cpu


def by_mirt(data: BenchmarkData, found: Selection, choice: Choice, items: list[str]) -> list[float]:
    """Seconds of one evaluation, wall and CPU."""
    from metabench_py.irt.mirt import MirtEngine

    engine = MirtEngine(own_process=False)
    some = data.train.select(items)
    score = dict(zip(data.train.llms, data.train_score, strict=True))
    names = [
        [llm for llm, which in zip(found.llms, found.sets, strict=True) if which == part]
        for part in ("train", "validation")
    ]
    learning, held = (some.rows(part) for part in names)
    wall, cpu = time.perf_counter(), time.process_time()
    fit = engine.fit(learning, choice.item_type, FitOptions(max_cycles=CYCLES))
    theta, other = (
        engine.score(part, fit.parameters, choice.method).theta for part in (learning, held)
    )
    recover(
        {"theta": theta}, np.array([score[name] for name in names[0]]), [{"theta": other}],
        solver="mgcv",
    )  # fmt: skip
    return [time.perf_counter() - wall, time.process_time() - cpu]


def warm_up(data: BenchmarkData) -> None:
    """Compile, and start R."""
    few = ResponseMatrix(data.train.llms[:300], data.train.items[:12], data.train.values[:300, :12])
    small = BenchmarkData("arc", few, few.rows(()), data.train_score[:300], np.empty(0))
    for mode in ("mirt-path", "converged"):
        options = SelectOptions(
            item_types=("2PL", "3PL", "4PL"), engine="native", mode=mode, n_trials=3, n_bins=20
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            select_benchmarks({"arc": small}, options)
    for kind in ("2PL", "3PL", "4PL"):
        NativeEngine().fit(few, kind, FitOptions(max_cycles=20))


def main() -> None:
    if not SHARED.is_dir():
        print(f"(no reference data in {SHARED})")
        return
    data = load()
    warm_up(data)
    size = f"ARC-B, {data.train.n_llms:,} LLMs x {data.train.n_items} items"
    print(f"{size}, {EVALUATIONS} evaluations; Python {platform.python_version()}, R "
          f"{rbridge.r_version()}; load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    print("| what | wall s | CPU s | note |\n|---|---:|---:|---|", flush=True)
    costs = {}
    for mode in ("converged", "mirt-path"):
        found, wall, cpu = native(data, mode)
        costs[mode] = (wall, cpu)
        refits = [t for t in found.trials if t.rmse is not None]
        note = (
            f"{len(refits)} evaluations refit; chosen {len(found.items)} items, "
            f"{found.choice.item_type}, validation RMSE {found.validation.rmse:.3f}"
        )
        print(f"| select, native, {mode} | {wall:.1f} | {cpu:.1f} | {note} |", flush=True)
    if not rbridge.has_package("mirt"):
        print("\nR's mirt is absent: native alone.")
        return
    from metabench_py.calibration.select import prepare_selector

    selector, *_ = prepare_selector(data, SelectOptions(engine="native", mode="mirt-path"))
    timed = [refits[len(refits) * (2 * i + 1) // (2 * TIMED)].choice for i in range(TIMED)]
    seconds = []
    for choice in timed:
        items = list(selector.select(choice))
        seconds.append(by_mirt(data, found, choice, items))
        wall, cpu = seconds[-1]
        note = f"{len(items)} items, {choice.item_type}, {choice.method}"
        print(f"| one evaluation, mirt and mgcv | {wall:.1f} | {cpu:.1f} | {note} |", flush=True)
    wall, cpu = np.mean(seconds, axis=0) * len(refits)
    note = f"scaled from {TIMED} evaluations to {len(refits)}"
    print(f"| select, mirt and mgcv | {wall:.0f} | {cpu:.0f} | {note} |")
    for mode, (ours, ours_cpu) in costs.items():
        print(f"\n{mode}: {wall / ours:.1f} times mirt's way by wall, {cpu / ours_cpu:.1f} by CPU "
              "(target 8)")  # fmt: skip


if __name__ == "__main__":
    main()
