"""Simulated answers for the studies of items: LLMs of several organisations, files and values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from metabench_py.analysis.study_data import StudyData
from metabench_py.responses import ResponseMatrix

N_FOLDS = 3


def simulate(
    n: int = 300, m: int = 30, seed: int = 0, strength: float = 1.5
) -> tuple[ResponseMatrix, np.ndarray]:
    """Answers by a 2PL, and scores as of a much longer test of the same ability."""
    random = np.random.default_rng(seed)
    theta = random.normal(size=n)
    slope = strength * random.uniform(0.6, 1.4, m)
    easy = random.normal(0.0, 1.2, m)
    right = random.random((n, m)) < 1.0 / (1.0 + np.exp(-(np.outer(theta, slope) + easy)))
    names = tuple(f"org{i % 17}/model-{i}" for i in range(n))
    matrix = ResponseMatrix(names, tuple(f"q{j}" for j in range(m)), right.astype(np.int8))
    return matrix, 100.0 / (1.0 + np.exp(-1.2 * theta))


def study(n: int = 300, m: int = 30, seed: int = 0, *, test: bool = False) -> StudyData:
    matrix, score = simulate(n, m, seed)
    fold = np.arange(n) % 17 % N_FOLDS
    if test:
        fold = np.where(np.arange(n) % 17 == 16, -1, fold)
    varied = np.ones(m, bool)
    for held in range(N_FOLDS):
        seen = matrix.values[(fold != -1) & (fold != held)]
        varied &= seen.any(axis=0) & ~seen.all(axis=0)
    assert varied.all()
    return StudyData(
        "arc", matrix.llms, matrix.items, matrix.values, score, fold, N_FOLDS, own_score=False
    )


def write_study(folder: Path, *names: str, n: int = 300, m: int = 30) -> tuple[Path, Path]:
    """A folder of matrices of the same LLMs, and a table of scores with a split."""
    (folder / "responses").mkdir()
    table: dict[str, object] = {}
    for seed, name in enumerate(names):
        # The same abilities: only the items differ.
        random = np.random.default_rng(99)
        theta = random.normal(size=n)
        items = np.random.default_rng(seed)
        slope, easy = items.uniform(0.8, 2.0, m), items.normal(0.0, 1.0, m)
        right = items.random((n, m)) < 1.0 / (1.0 + np.exp(-(np.outer(theta, slope) + easy)))
        llms = tuple(f"org{i % 17}/model-{i}" for i in range(n))
        matrix = ResponseMatrix(llms, tuple(f"{name}-{j}" for j in range(m)), right.astype(np.int8))
        matrix.save(folder / "responses" / f"{name}.parquet")
        table["name"] = list(llms)
        table[name] = 100.0 / (1.0 + np.exp(-theta - 0.1 * seed))
    table["split"] = ["test" if i % 17 == 16 else "train" for i in range(n)]
    scores = folder / "scores.parquet"
    pd.DataFrame(table).to_parquet(scores)
    return folder / "responses", scores
