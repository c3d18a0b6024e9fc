"""What a bundle holds, as values in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark, FitMode, ItemType, ScoreMethod, Target
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats, ItemParameters

SCHEMA_VERSION = 1

ErrorsKind = Literal["cross-validated", "test-set"]
ERRORS_KINDS: tuple[ErrorsKind, ...] = get_args(ErrorsKind)

# mirt's defaults: the estimates presuppose them.
QUADRATURE = {"nodes": 61, "lower": -6.0, "upper": 6.0, "prior": "normal(0, 1)"}


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
        Shape (n,), in the order in which they were stored; finite.
    group
        Organisation of each LLM as a running number, int64, shape (n,); None if not stored.
    """

    predicted: Floats
    error: Floats
    group: NDArray[np.int64] | None = None


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
        Stripped R fits by target, only paths: those whose hash the package vouches for, all
        of them where the user trusts the bundle.
    manifest
        The manifest as read.
    rds_untrusted
        Targets whose .rds is in the folder but not vouched for, hence not in `rds`.
    """

    path: Path
    name: str
    version: str
    sha256: str
    benchmarks: dict[Benchmark, BenchmarkModel]
    gams: dict[Target, PortableGam]
    rds: dict[Target, Path]
    errors: dict[Target, ErrorTable]
    errors_kind: ErrorsKind
    population: dict[Target, Floats]
    population_levels: Floats
    manifest: dict[str, Any]
    rds_untrusted: tuple[Target, ...] = ()


@dataclass(frozen=True, eq=False)
class BundleDraft:
    """What `write_bundle` needs to make a bundle; the attributes are as in `Bundle`.

    Attributes
    ----------
    licence
        Licence of the estimates, for instance ``CC BY-NC-SA 4.0``.
    provenance
        What the estimates were made from and how; JSON values.
    rds
        Stripped R fits to copy into the bundle, by target; may be empty.
    population
        May be empty; each array has the shape of `population_levels`.
    licence_text
        Goes into the bundle as ``LICENSE.md``; None: no such file.
    """

    name: str
    version: str
    licence: str
    provenance: dict[str, Any]
    benchmarks: dict[Benchmark, BenchmarkModel]
    gams: dict[Target, PortableGam]
    errors: dict[Target, ErrorTable]
    errors_kind: ErrorsKind
    rds: dict[Target, Path] = field(default_factory=dict)
    population: dict[Target, Floats] = field(default_factory=dict)
    population_levels: Floats = field(default_factory=lambda: np.empty(0))
    licence_text: str | None = None


__all__ = [
    "ERRORS_KINDS",
    "QUADRATURE",
    "SCHEMA_VERSION",
    "BenchmarkModel",
    "Bundle",
    "BundleDraft",
    "ErrorTable",
    "ErrorsKind",
    "FitMode",
]
