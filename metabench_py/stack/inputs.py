"""What the stack predicts from: joined features and the item responses themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats


@dataclass(frozen=True, eq=False)
class StackInputs:
    """One row an LLM.

    Attributes
    ----------
    table
        Features as `gam.features.join_features` names them: ``arc`` (theta), ``arc.l`` (linear
        predictor), ``arc.s`` (sub-score), ..., each of shape (n,). In calibration the linear
        predictors must be out of fold.
    responses
        For each benchmark 1 right, 0 wrong, or the expected response where an item was not
        answered, shape (n, n_items). Empty: responses are not used.
    """

    table: Mapping[str, Floats]
    responses: Mapping[Benchmark, Floats]

    def rows(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> StackInputs:
        """Take some LLMs."""
        return StackInputs(
            {name: column[which] for name, column in self.table.items()},
            {benchmark: values[which] for benchmark, values in self.responses.items()},
        )


def names_of(benchmarks: Sequence[Benchmark]) -> tuple[str, ...]:
    """Names of the features that a stack on these benchmarks uses, in its order."""
    own = tuple(f"{b}{suffix}" for b in benchmarks for suffix in ("", ".l", ".s"))
    return (*own, "grand.l", "grand.s") if len(benchmarks) == len(BENCHMARKS) else own


def targets_of(benchmarks: Sequence[Benchmark]) -> tuple[Target, ...]:
    """Targets of a stack on these benchmarks: they, and grand where all six are there."""
    whole = len(benchmarks) == len(BENCHMARKS)
    return tuple(t for t in TARGETS if t in benchmarks or (t == "grand" and whole))


def benchmarks_of(inputs: StackInputs) -> tuple[Benchmark, ...]:
    """Benchmarks whose three features are in the table."""
    found = tuple(b for b in BENCHMARKS if b in inputs.table)
    if not found:
        raise InputError("The stack needs the features of at least one benchmark.")
    return found


def feature_matrix(inputs: StackInputs, benchmarks: Sequence[Benchmark]) -> Floats:
    """Join the features, shape (n, n_features).

    Raises
    ------
    InputError
        A feature is absent, of another length, or not a finite number.
    """
    names = names_of(benchmarks)
    absent = [name for name in names if name not in inputs.table]
    if absent:
        raise InputError(
            f"The stack needs the feature {absent[0]!r}, which is not there; it was fitted on "
            f"{', '.join(benchmarks)}.",
            feature=absent[0],
        )
    columns = [np.atleast_1d(np.asarray(inputs.table[name], np.float64)) for name in names]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise InputError("The features of a stack must be of the same LLMs, one value each.")
    matrix: Floats = np.column_stack(columns)
    bad = ~np.isfinite(matrix)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"The feature {names[column]!r} of LLM number {row + 1} is not a finite number; score "
            "it with an ability estimate that is finite (MAP or EAP).",
            feature=names[column],
            row=row,
        )
    return matrix


def response_matrix(
    inputs: StackInputs, n_items: Mapping[Benchmark, int], n_llms: int
) -> dict[Benchmark, Floats]:
    """Check the responses of the benchmarks of `n_items`, each of shape (n_llms, n_items).

    Raises
    ------
    InputError
        A benchmark is absent, of another shape, or not between 0 and 1.
    """
    checked: dict[Benchmark, Floats] = {}
    for benchmark, n in n_items.items():
        if benchmark not in inputs.responses:
            raise InputError(
                f"The stack needs the item responses of {benchmark}.", benchmark=benchmark
            )
        values = np.asarray(inputs.responses[benchmark], np.float64)
        if values.shape != (n_llms, n):
            raise InputError(
                f"The responses of {benchmark} are of shape {values.shape}; the stack was fitted "
                f"on {n} items and there are {n_llms} LLMs.",
                benchmark=benchmark,
            )
        # Written so that NaN fails.
        if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
            raise InputError(
                f"The responses of {benchmark} must be between 0 and 1; give the expected response "
                "where an item was not answered.",
                benchmark=benchmark,
            )
        checked[benchmark] = values
    return checked
