"""A small simulated leaderboard: whole matrices, some items of no use, and a run's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.responses import ResponseMatrix

CONFIG = """\
responses = "responses"
out = "{out}"
name = "small"
version_label = "S"
licence = "CC0"
source = "simulated"

[select]
item_types = ["2PL"]
methods = ["MAP"]
grids = ["quantiles"]
budget = 15
n_trials = 2
n_bins = 20
engine = "native"

[bundle]
engine = "native"
second_stage = ["stack"]
folds = 3
basis_size = 8

[compute]
workers = 2
"""


def write_leaderboard(
    folder: Path,
    benchmarks: Sequence[str] = BENCHMARKS,
    n_llms: int = 300,
    n_items: int = 40,
    out: str = "bundle",
) -> Path:
    """Write ``responses/<benchmark>.parquet`` and ``run.toml``; give the file."""
    random = np.random.default_rng(11)
    names = tuple(f"org{random.integers(40)}/model-{i}" for i in range(n_llms))
    common = random.normal(size=n_llms)
    responses = folder / "responses"
    responses.mkdir(parents=True)
    for benchmark in benchmarks:
        theta = 0.9 * common + np.sqrt(1 - 0.9**2) * random.normal(size=n_llms)
        chance = 1 / (1 + np.exp(-1.5 * (theta[:, None] - random.uniform(-1.5, 1.5, n_items))))
        # Two items tell nothing: everybody's, nobody's.
        chance[:, 0], chance[:, 1] = 0.999, 0.0
        answers = (random.uniform(size=chance.shape) < chance).astype(np.int8)
        items = tuple(str(3 * i + 1) for i in range(n_items))
        ResponseMatrix(names, items, answers).save(responses / f"{benchmark}.parquet")
    path = folder / "run.toml"
    path.write_text(CONFIG.format(out=out))
    return path
