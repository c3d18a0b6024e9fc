"""Names of the second stage's predictors, as the original has them, and how to join them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Target
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

# theta has the benchmark's bare name, the linear predictor ".l", the sub-score ".s".
FEATURES_COMMON: tuple[str, ...] = ("grand.l", "grand.s", *BENCHMARKS)


def feature_names(target: Target) -> tuple[str, ...]:
    """Predictors of a target's GAM: the common ones, and this benchmark's own .l and .s."""
    return FEATURES_COMMON if target == "grand" else (*FEATURES_COMMON, "this.l", "this.s")


def single_names(benchmark: Benchmark) -> tuple[str, ...]:
    """Predictors of a benchmark's GAM where only this benchmark was run."""
    return ("this.l", "this.s", benchmark)


def join_features(
    theta: Mapping[Benchmark, ArrayLike],
    linear: Mapping[Benchmark, ArrayLike],
    subscore: Mapping[Benchmark, ArrayLike],
) -> dict[str, Floats]:
    """Join the six benchmarks' abilities, linear predictors and sub-scores.

    Parameters
    ----------
    theta, linear, subscore
        For each benchmark one value an LLM, shape (n,).

    Returns
    -------
    ``arc``, ``arc.l``, ``arc.s``, ... and the means over benchmarks ``grand.l`` and ``grand.s``.
    """
    table: dict[str, Floats] = {}
    for suffix, values in (("", theta), (".l", linear), (".s", subscore)):
        for benchmark in BENCHMARKS:
            if benchmark not in values:
                raise InputError(f"No feature {benchmark + suffix!r}; all six are needed.")
            column = np.atleast_1d(np.asarray(values[benchmark], dtype=np.float64))
            table[benchmark + suffix] = column
    if len({column.shape for column in table.values()}) != 1:
        raise InputError("The features of the six benchmarks must be of the same LLMs.")
    for suffix in (".l", ".s"):
        table["grand" + suffix] = np.mean([table[b + suffix] for b in BENCHMARKS], axis=0)
    return table


def single_features(
    benchmark: Benchmark, theta: ArrayLike, linear: ArrayLike, subscore: ArrayLike
) -> dict[str, Floats]:
    """Join one benchmark's ability, linear predictor and sub-score, shape (n,) each.

    Returns
    -------
    ``arc``, ``arc.l`` and ``arc.s`` for ARC.
    """
    names = (benchmark, f"{benchmark}.l", f"{benchmark}.s")
    return {
        name: np.atleast_1d(np.asarray(values, dtype=np.float64))
        for name, values in zip(names, (theta, linear, subscore), strict=True)
    }


def target_features(table: Mapping[str, Floats], target: Target) -> dict[str, Floats]:
    """Take a target's predictors from a joined table, its own .l and .s as this.l and this.s.

    A table of one benchmark (`single_features`) gives those of `single_names`.
    """
    names = feature_names(target)
    if "grand.l" not in table and target != "grand":
        names = single_names(target)
    return {
        name: table[name.replace("this", target) if name.startswith("this.") else name]
        for name in names
    }
