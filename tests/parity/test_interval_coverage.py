"""The embedded bundle's 90 % intervals hold what they claim, on LLMs of organisations unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Target
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.schema import ErrorTable
from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats
from metabench_py.logs.model import ModelResponses
from metabench_py.reconstruction.conformal import ConformalInterval
from metabench_py.reconstruction.reconstructor import Reconstructor
from metabench_py.responses import MISSING, ResponseMatrix

from . import tolerances
from .report import Record

FOLDS = 10


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


@pytest.mark.parametrize("name", ["stack", "gam"])
@pytest.mark.parametrize("target", TARGETS)
def test_grouped_coverage(bundle: Bundle, name: str, target: Target, record: Record) -> None:
    predicted, inside = held_out_coverage(bundle, name, target)
    case = f"embedded bundle, {name}, {target}"
    record("coverage off 90 %", case, abs(float(inside.mean()) - 0.9), tolerances.COVERAGE)
    fifths = np.array_split(inside[np.argsort(predicted, kind="stable")], 5)
    worst = min(float(fifth.mean()) for fifth in fifths)
    record("coverage below 90 %, worst fifth", case, 0.9 - worst, tolerances.COVERAGE_OF_A_FIFTH)


def held_out_coverage(
    bundle: Bundle, name: str, target: Target
) -> tuple[Floats, NDArray[np.bool_]]:
    """Predicted scores, and whether the interval holds the true one.

    Errors are out of fold already; here the interval's own width and quantile are, too.
    """
    table = bundle.stages[name].errors[target]
    assert table.group is not None
    random = np.random.default_rng(1)
    fold = random.integers(FOLDS, size=table.group.max() + 1)[table.group]
    inside = np.zeros(table.error.size, dtype=bool)
    scale = np.ones(table.error.size) if table.scale is None else table.scale
    for k in range(FOLDS):
        held_out = fold == k
        kept = ErrorTable(
            table.predicted[~held_out], table.error[~held_out], scale=scale[~held_out]
        )
        conformal = ConformalInterval.from_errors(kept)
        lower, upper = conformal.interval(table.predicted[held_out], 0.9, scale[held_out])
        # The error is predicted minus true.
        true = table.predicted[held_out] - table.error[held_out]
        inside[held_out] = (lower <= true) & (true <= upper)
    return table.predicted, inside


@pytest.mark.parametrize("kept", [0.05, 0.1])
def test_coverage_of_few_answers(
    bundle: Bundle, shared_data: Path, kept: float, record: Record
) -> None:
    """LLMs of the calibration: what they were fitted to is little beside what they lack."""
    rng = np.random.default_rng(1)
    truth = pd.read_parquet(shared_data / "llm-scores.parquet").set_index("name")
    matrices = {
        b: ResponseMatrix.load(shared_data / "llm-responses" / "B" / f"{b}.parquet")
        for b in BENCHMARKS
    }
    names = sorted(set(truth.index).intersection(*(m.llms for m in matrices.values())))
    some = [names[i] for i in rng.permutation(len(names))[:300]]
    values = {}
    for b in BENCHMARKS:
        items = bundle.benchmarks[b].parameters.items
        answers = matrices[b].rows(some).select(items).values.astype(np.int8)
        for row in answers:
            row[rng.permutation(len(items))[round(kept * len(items)) :]] = MISSING
        values[b] = answers
    models = [
        ModelResponses(name, "B", False, {b: values[b][i] for b in BENCHMARKS}, {}, ())
        for i, name in enumerate(some)
    ]
    results = Reconstructor(bundle, engine="native")(models)
    for target in TARGETS:
        inside = []
        for name, one in zip(some, results, strict=True):
            assert not isinstance(one, ConvergenceError)
            score = one.scores[target]
            inside.append(score.lower <= truth.loc[name, target] <= score.upper)
        where = f"embedded bundle, {kept:.0%} of the answers, {target}"
        off = abs(float(np.mean(inside)) - 0.9)
        record("coverage off 90 %", where, off, tolerances.COVERAGE_OF_FEW_ANSWERS)
