"""What a bundle holds, as values in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import Benchmark, ItemType, ScoreMethod, Target
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.engine import FitMode
from metabench_py.irt.model import Floats, ItemParameters

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class BenchmarkModel:
    """First stage of one benchmark.

    Attributes
    ----------
    parameters
        Item parameters; their order is the bundle's item order.
    intercept, weights
        Linear predictor of the full score (0-100): intercept + responses @ weights.
    metric
        Which metric of the sample logs is the item's response.
    fit
        Provenance of the item parameters: engine, version, mode, log_likelihood, iterations,
        converged, n_llms; whatever is known.
    """

    benchmark: Benchmark
    item_type: ItemType
    score_method: ScoreMethod
    metric: str
    parameters: ItemParameters
    intercept: float
    weights: Floats
    fit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ErrorTable:
    """Errors (predicted minus true, in score points) of LLMs that a target's GAM had not seen.

    Attributes
    ----------
    predicted, error
        Shape (n,), in the order in which they were stored.
    """

    predicted: Floats
    error: Floats


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded bundle.

    Attributes
    ----------
    errors_kind
        ``cross-validated`` (calibration LLMs out of fold, by organisation) or ``test-set``
        (an imported original bundle has only those).
    population
        Scores of the calibration LLMs at `population_levels` (0 to 1), by target; may lack
        targets for an imported bundle.
    rds
        Stripped R fits by target; only paths, read by the mgcv predictor after the trust check.
    manifest
        The manifest as read.
    """

    path: Path
    name: str
    version: str
    sha256: str
    benchmarks: dict[Benchmark, BenchmarkModel]
    gams: dict[Target, PortableGam]
    rds: dict[Target, Path]
    errors: dict[Target, ErrorTable]
    errors_kind: str
    population: dict[Target, Floats]
    population_levels: Floats
    manifest: dict[str, Any]


__all__ = ["SCHEMA_VERSION", "BenchmarkModel", "Bundle", "ErrorTable", "FitMode"]
