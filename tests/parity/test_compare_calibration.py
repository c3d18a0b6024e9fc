"""Probabilities and intervals of comparisons, held against real LLMs' full scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py import load_bundle
from metabench_py.analysis.compare import Comparison, compare_runs
from metabench_py.benchmarks import BENCHMARKS, Target
from metabench_py.cli.analyze.scoring import BundleScorer
from metabench_py.responses import ResponseMatrix

from . import tolerances
from .report import Record

Found = tuple[list[Comparison], pd.DataFrame]


@pytest.fixture(scope="module")
def found(shared_data: Path) -> Found:
    """LLMs that have all answers, 40 at a time: neighbours by name, many of them relatives."""
    scorer = BundleScorer(load_bundle())
    truth = pd.read_parquet(shared_data / "llm-scores.parquet").set_index("name")
    folder = shared_data / "llm-responses" / "B"
    matrices = {b: ResponseMatrix.load(folder / f"{b}.parquet") for b in BENCHMARKS}
    sets = [set(matrix.llms) for matrix in matrices.values()]
    names = [name for name in truth.index if all(name in known for known in sets)]
    comparisons = []
    for start in (300, 1500):
        chosen = names[start : start + 40]
        values = {
            b: matrices[b].rows(chosen).select(scorer.parameters[b].items).values
            for b in BENCHMARKS
        }
        runs = {name: {b: values[b][i] for b in BENCHMARKS} for i, name in enumerate(chosen)}
        comparisons.append(compare_runs(runs, scorer, level=0.9))
    return comparisons, truth


@pytest.mark.parametrize("target", ["grand", "arc", "hellaswag", "winogrande"])
def test_probabilities_come_true(found: Found, target: Target, record: Record) -> None:
    comparisons, truth = found
    told, right, inside = [], [], []
    for pair in (pair for one in comparisons for pair in one.pairs):
        true = truth.loc[pair.first, target] - truth.loc[pair.second, target]
        one = pair.scores[target]
        inside.append(one.lower <= true <= one.upper)
        chance = max(one.probability, 1.0 - one.probability)
        if 0.6 <= chance < 0.97:
            told.append(chance)
            right.append((one.difference > 0) == (true > 0))
    assert len(told) > 100
    # Too sure of itself is the error that counts.
    excess = float(np.mean(told) - np.mean(right))
    record("probability told less share right", target, excess, tolerances.PAIR_CALIBRATION)
    short = 0.9 - float(np.mean(inside))
    record("90 % interval's coverage, short by", target, short, tolerances.PAIR_COVERAGE)
