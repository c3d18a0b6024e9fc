"""The embedded bundle's 90 % intervals hold what they claim, on LLMs of organisations unseen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metabench_py.benchmarks import TARGETS, Target
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.schema import ErrorTable
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.conformal import ConformalInterval

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
