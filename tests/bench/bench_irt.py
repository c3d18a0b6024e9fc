"""How fast the native engine scores and fits, against R's mirt where R has it.

Run: OPENBLAS_NUM_THREADS=1 python tests/bench/bench_irt.py
Prints one Markdown table. The responses are real ones of TruthfulQA (version B), from the
reference data (METABENCH_SHARED). One process has R, mirt and the native engine loaded; CPU
seconds are all threads', and hardly change with what else the machine does.
"""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from metabench_py import rbridge
from metabench_py.benchmarks import FitMode
from metabench_py.irt.engine import Abilities, FitOptions, IrtFit
from metabench_py.irt.model import ItemParameters
from metabench_py.irt.native import NativeEngine
from metabench_py.responses import ResponseMatrix

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("METABENCH_SHARED", ROOT.parent / "shared")) / "data"
REPEATS = 3
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Seconds of one run."""

    wall: float
    cpu: float


def timed(task: Callable[[], T], repeats: int = 1) -> tuple[T, Cost]:
    """Give the last value, and the shortest of some runs."""
    costs = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        value = task()
        costs.append(Cost(time.perf_counter() - wall, time.process_time() - cpu))
    return value, min(costs, key=lambda cost: cost.wall)


def load() -> tuple[ResponseMatrix, ItemParameters]:
    table = pd.read_parquet(SHARED / "published" / "B" / "items-truthfulqa.parquet")
    parameters = ItemParameters(
        tuple(table["item"].astype(str)),
        *(table[name].to_numpy(np.float64) for name in ("a1", "d", "g", "u")),
    )
    responses = ResponseMatrix.load(SHARED / "llm-responses" / "B" / "truthfulqa.parquet")
    return responses.select(parameters.items), parameters


def line(what: str, native: Cost, mirt: Cost | None, target: str, note: str) -> None:
    cells = [what, f"{native.wall:.3f}", f"{native.cpu:.3f}"]
    if mirt is None:
        cells += [""] * 4
    else:
        cells += [f"{mirt.wall:.1f}", f"{mirt.cpu:.1f}"]
        cells += [times(mirt.wall / native.wall), times(mirt.cpu / native.cpu)]
    print(f"| {' | '.join([*cells, target, note])} |", flush=True)


def times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 20 else f"{ratio:,.0f}"


class Mirt:
    """What mirt made of the data, and at what cost."""

    def __init__(self, responses: ResponseMatrix, parameters: ItemParameters) -> None:
        from metabench_py.irt.mirt import MirtEngine

        engine = MirtEngine(own_process=False)
        some = responses.rows(responses.llms[:2])
        # Loads mirt.
        engine.score(some, parameters, "EAP")
        self.version = f"R {rbridge.r_version()}, mirt {engine.version}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rbridge.RWarning)
            self.abilities, self.scoring = timed(lambda: engine.score(responses, parameters, "MAP"))
        self.fit, self.fitting = timed(lambda: engine.fit(responses, "2PL"))


def score_row(responses: ResponseMatrix, parameters: ItemParameters, mirt: Mirt | None) -> None:
    def score() -> Abilities:
        return NativeEngine().score(responses, parameters, "MAP")

    ours, cost = timed(score, REPEATS)
    note = f"{1e6 * cost.wall / responses.n_llms:.0f} µs an LLM"
    if mirt is not None:
        apart = np.abs(ours.theta - mirt.abilities.theta).max()
        note += f"; thetas differ by {apart:.0e} at most"
    line("score MAP", cost, mirt and mirt.scoring, "100", note)


def fit_row(responses: ResponseMatrix, mode: FitMode, target: str, mirt: Mirt | None) -> None:
    def fit(some: ResponseMatrix = responses) -> IrtFit:
        return NativeEngine().fit(some, "2PL", FitOptions(mode=mode))

    # numba compiles at the first fit.
    fit(ResponseMatrix(responses.llms[:300], responses.items[:8], responses.values[:300, :8]))
    ours, cost = timed(fit, REPEATS)
    note = f"{ours.iterations} iterations, log-likelihood {ours.log_likelihood:.3f}"
    if ours.gradient_norm is not None:
        note += f", gradient {ours.gradient_norm:.0e}"
    if mirt is not None:
        note += f"; mirt: {mirt.fit.iterations} cycles, {mirt.fit.log_likelihood:.3f}"
    line(f"fit 2PL, {mode}", cost, mirt and mirt.fitting, target, note)


def main() -> None:
    if not SHARED.is_dir():
        print(f"(no reference data in {SHARED})")
        return
    responses, parameters = load()
    mirt = Mirt(responses, parameters) if rbridge.has_package("mirt") else None
    size = f"TruthfulQA-B, {responses.n_llms:,} LLMs x {responses.n_items} items"
    versions = f"Python {platform.python_version()}, {mirt.version if mirt else 'without mirt'}"
    print(f"{size}; {versions}; load {os.getloadavg()[0]:.1f}; native: best of {REPEATS} runs\n")
    head = ("native s", "native CPU s", "mirt s", "mirt CPU s", "ratio", "ratio of CPU", "target")
    print(f"| what | {' | '.join(head)} | note |")
    print(f"|---|{'---:|' * len(head)}---|")
    score_row(responses, parameters, mirt)
    fit_row(responses, "mirt-path", "8", mirt)
    fit_row(responses, "converged", "100", mirt)
    if mirt is None:
        print("\nR's mirt is absent: native alone.")


if __name__ == "__main__":
    main()
