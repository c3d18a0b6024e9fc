"""Names of the second stage's predictors, as the original has them."""

from __future__ import annotations

from metabench_py.benchmarks import BENCHMARKS, Target

# theta has the benchmark's bare name, the linear predictor ".l", the sub-score ".s".
FEATURES_COMMON: tuple[str, ...] = ("grand.l", "grand.s", *BENCHMARKS)


def feature_names(target: Target) -> tuple[str, ...]:
    """Predictors of a target's GAM: the common ones, and this benchmark's own .l and .s."""
    return FEATURES_COMMON if target == "grand" else (*FEATURES_COMMON, "this.l", "this.s")
