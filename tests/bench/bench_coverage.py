"""Coverage of the intervals on the published test LLMs, which nothing here is fitted on.

The original's GAMs are fitted on the training rows of the published features; errors for the
intervals are cross-validated among them, by organisation. Takes about 15 minutes. The test LLMs are
for a last look, not for choosing: nothing may be tuned on what this prints.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from metabench_py.benchmarks import BENCHMARKS, TARGETS, TITLES
from metabench_py.bundle.schema import ErrorTable
from metabench_py.calibration.folds import organisation_folds
from metabench_py.gam.features import target_features
from metabench_py.gam.mgcv import GamOptions, fit_gam
from metabench_py.reconstruction.conformal import ConformalInterval
from metabench_py.reconstruction.intervals import local_rmse

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared")) / "data"
FOLDS = 5


def main() -> None:
    """Print RMSE, coverage and width for each target."""
    published = pd.read_parquet(SHARED / "published" / "B" / "features.parquet")
    published = published.reset_index() if "name" not in published else published
    scores = pd.read_parquet(SHARED / "llm-scores.parquet").set_index("name")
    scores = scores.loc[published["name"]]
    train = (published["split"] == "train").to_numpy()
    names = [str(name) for name in published["name"]]
    columns = [f"{b}{s}" for b in BENCHMARKS for s in ("", ".l", ".s")] + ["grand.l", "grand.s"]
    table = {c: published[c].to_numpy(np.float64) for c in columns}
    fold = organisation_folds([n for n, t in zip(names, train, strict=True) if t], FOLDS, 1)
    print("| target | RMSE | 90 % conformal | width | local RMSE covers |")
    print("|---|---:|---:|---:|---:|")
    for target in TARGETS:
        features = target_features(table, target)
        score = scores[target].to_numpy(np.float64)
        known = {k: v[train] for k, v in features.items()}
        model, fit = fit_gam(known, score[train], target)
        fixed = GamOptions(sp=fit.sp)
        predicted = np.full(int(train.sum()), np.nan)
        for k in range(FOLDS):
            rest, out = fold != k, fold == k
            part, _ = fit_gam(
                {n: v[rest] for n, v in known.items()}, score[train][rest], target, options=fixed
            )
            predicted[out] = part.predict({n: v[out] for n, v in known.items()})
        errors = ErrorTable(predicted, predicted - score[train])
        new = np.clip(model.predict({n: v[~train] for n, v in features.items()}), 0, 100)
        true = score[~train]
        lower, upper = ConformalInterval.from_errors(errors).interval(new, 0.9)
        inside = (lower <= true) & (true <= upper)
        local = np.abs(new - true) <= local_rmse(errors, new)
        print(
            f"| {TITLES[target]} | {np.sqrt(np.mean((new - true) ** 2)):.3f} "
            f"| {100 * inside.mean():.1f} % | {np.mean(upper - lower):.2f} "
            f"| {100 * local.mean():.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
