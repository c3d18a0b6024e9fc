"""How fast the second stage is: portable splines against mgcv through the bridge.

Run: python tests/bench/bench_gam.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from metabench_py import rbridge
from metabench_py.benchmarks import TARGETS
from metabench_py.gam import PortableGam, SplineTerm, feature_names
from metabench_py.gam.linear import fit_linear
from metabench_py.gam.mgcv import GamOptions, export, fit_gam


def best(task: Callable[[], object], repeats: int = 7) -> float:
    """Shortest of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def line(what: str, seconds: float) -> None:
    print(f"{what:<64}{seconds * 1e3:>12.2f} ms")


def main() -> None:
    rng = np.random.default_rng(1)
    # As large as the original's: 40 basis functions a term, 8 or 10 terms.
    gams = [
        PortableGam(
            target,
            60.0,
            tuple(
                SplineTerm(f, np.arange(44.0), rng.normal(size=40)) for f in feature_names(target)
            ),
        )
        for target in TARGETS
    ]
    texts = [json.dumps(gam.to_dict()) for gam in gams]
    names = feature_names("arc")
    for n in (1, 1_000):
        features = {name: rng.uniform(-5, 50, n) for name in names}
        line(
            f"portable: seven scores of {n:,} LLM(s)",
            best(lambda f=features: [gam.predict(f) for gam in gams]),
        )  # type: ignore[misc]
    line(
        "portable: read seven GAMs from JSON and predict one LLM",
        best(
            lambda: [
                PortableGam.from_dict(json.loads(t)).predict(dict.fromkeys(names, 0.5))
                for t in texts
            ]
        ),
    )
    command = [sys.executable, "-c", "import metabench_py.gam"]
    line(
        "a process that imports metabench_py.gam",
        best(lambda: subprocess.run(command, check=True), 3),
    )
    x = (rng.normal(size=(4_280, 136)) < rng.normal(size=(4_280, 1))).astype(np.int8)
    line(
        "linear predictor, 4,280 LLMs x 136 items",
        best(lambda: fit_linear(x, x.mean(axis=1) * 100), 3),
    )
    if not rbridge.has_package("mgcv"):
        print("R with mgcv is absent: its lines are left out")
        return
    train = {name: rng.normal(size=1_000) for name in names}
    score = 50 + 5 * np.sin(train["arc"]) + rng.normal(size=1_000)
    start = time.perf_counter()
    rbridge.call("gam_formula", response="a", predictors=["b"], basis="ad", k=None)
    line("R started", time.perf_counter() - start)
    few = names[:3]
    start = time.perf_counter()
    predictor, fit = fit_gam(train, score, "arc", predictors=few)
    line("mgcv: 1,000 LLMs, three ad terms, first fit", time.perf_counter() - start)
    again = GamOptions(sp=fit.sp)
    line(
        "mgcv: the same with its smoothing parameters fixed",
        best(lambda: fit_gam(train, score, "arc", predictors=few, options=again), 3),
    )
    line("mgcv: export, checked against predict.gam", best(lambda: export(predictor.handle, "arc")))
    line("mgcv: predict 1,000 LLMs, three terms", best(lambda: predictor.predict(train)))


if __name__ == "__main__":
    main()
