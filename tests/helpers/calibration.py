"""A small simulated world to calibrate on: LLMs of some organisations, items, scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.responses import ResponseMatrix


def write_world(
    folder: Path, n_llms: int = 260, n_items: int = 8, n_organisations: int = 40
) -> tuple[Path, Path, Path]:
    """Write responses, scores and items of simulated LLMs; give the three paths.

    The full score is the expected share of right answers among many items of the same kind.
    """
    random = np.random.default_rng(5)
    names = [f"org{random.integers(n_organisations)}/model-{i}" for i in range(n_llms)]
    common = random.normal(size=n_llms)
    scores: dict[str, object] = {"name": names}
    rows = []
    responses = folder / "responses"
    responses.mkdir(parents=True)
    for benchmark in BENCHMARKS:
        theta = 0.9 * common + np.sqrt(1 - 0.9**2) * random.normal(size=n_llms)
        difficulty = random.uniform(-1.2, 1.2, 60)
        chance = 1 / (1 + np.exp(-1.5 * (theta[:, None] - difficulty)))
        items = tuple(str(10 * i + 3) for i in range(n_items))
        answers = (random.uniform(size=(n_llms, n_items)) < chance[:, :n_items]).astype(np.int8)
        ResponseMatrix(tuple(names), items, answers).save(responses / f"{benchmark}.parquet")
        scores[benchmark] = 100 * chance.mean(axis=1)
        rows += [(benchmark, item, "2PL", "MAP") for item in items]
    pd.DataFrame(scores).to_csv(folder / "scores.csv", index=False)
    columns = ["benchmark", "item", "item_type", "score_method"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "items.csv", index=False)
    return responses, folder / "scores.csv", folder / "items.csv"
