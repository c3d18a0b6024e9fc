"""What a bundle holds, as values in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark, FitMode, ItemType, ScoreMethod, Target
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats, ItemParameters

if TYPE_CHECKING:
    from metabench_py.stack.model import Stack

SCHEMA_VERSION = 2
# Schema 1 has one second stage, the GAM, and nothing about a benchmark alone.
FIRST_SCHEMA = 1

StageName = Literal["stack", "gam"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)
# How a second stage is fitted: `fast-gam` is a GAM too, by mgcv::bam with one penalty a term.
StageFit = Literal["stack", "gam", "fast-gam"]
STAGE_FITS: tuple[StageFit, ...] = get_args(StageFit)
# What the rows of one benchmark alone are called in errors.parquet.
SINGLE = "single"

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
    """Errors (predicted minus true, in score points) of LLMs that a second stage had not seen.

    Attributes
    ----------
    predicted, error
        Shape (n,), in the order in which they were stored; finite.
    group
        Group of each LLM (organisation and near-duplicates) as a running number, int64, shape
        (n,); None if not stored.
    scale
        Local scale of the error that the second stage told beforehand, above 0, shape (n,);
        None where it tells none.
    """

    predicted: Floats
    error: Floats
    group: NDArray[np.int64] | None = None
    scale: Floats | None = None


@dataclass(frozen=True, eq=False)
class Growth:
    """How much wider an interval must be if a share of one benchmark's items was not answered.

    Attributes
    ----------
    shares
        Shares of unanswered items, ascending within 0 to 1, shape (n,).
    factors
        By target, and by the benchmark whose items were not answered, shape (n,); at least 1.
    """

    shares: Floats
    factors: dict[Target, dict[Benchmark, Floats]]


@dataclass(frozen=True, eq=False)
class StoredStage:
    """A second stage of all targets, or that of one benchmark alone.

    Attributes
    ----------
    fit
        How it was made.
    model
        A stack, or one portable GAM a target.
    errors
        Of held-out LLMs, by target.
    evaluation
        Errors and intervals by random and by grouped folds, see `calibration.evaluation`; JSON
        values, empty where nobody cross-validated.
    growth
        None: not measured.
    about
        What it was fitted on and how; JSON values.
    """

    fit: StageFit
    model: Stack | dict[Target, PortableGam]
    errors: dict[Target, ErrorTable]
    evaluation: dict[str, Any] = field(default_factory=dict)
    growth: Growth | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> StageName:
        """What ``--second-stage`` calls it."""
        return "stack" if self.fit == "stack" else "gam"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded bundle.

    Attributes
    ----------
    stages
        Second stages by name, the default first.
    singles
        Second stages of one benchmark alone; may be empty.
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
    stages: dict[StageName, StoredStage]
    singles: dict[Benchmark, StoredStage]
    rds: dict[Target, Path]
    errors_kind: ErrorsKind
    population: dict[Target, Floats]
    population_levels: Floats
    manifest: dict[str, Any]
    rds_untrusted: tuple[Target, ...] = ()

    @property
    def default(self) -> StoredStage:
        """The second stage that is taken where nobody chooses."""
        return next(iter(self.stages.values()))

    @property
    def errors(self) -> dict[Target, ErrorTable]:
        """Held-out errors of the default second stage."""
        return self.default.errors

    @property
    def gams(self) -> dict[Target, PortableGam]:
        """The GAMs as portable splines; empty where the bundle has none."""
        return gams_of(self.stages.get("gam"))


@dataclass(frozen=True, eq=False)
class BundleDraft:
    """What `write_bundle` needs to make a bundle; the attributes are as in `Bundle`.

    Attributes
    ----------
    licence
        Licence of the estimates, for instance ``CC BY-NC-SA 4.0``.
    provenance
        What the estimates were made from and how; JSON values.
    stages
        Each under its own name, the default first.
    rds
        Stripped R fits of the GAMs to copy into the bundle, by target; may be empty.
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
    stages: dict[StageName, StoredStage]
    errors_kind: ErrorsKind
    singles: dict[Benchmark, StoredStage] = field(default_factory=dict)
    rds: dict[Target, Path] = field(default_factory=dict)
    population: dict[Target, Floats] = field(default_factory=dict)
    population_levels: Floats = field(default_factory=lambda: np.empty(0))
    licence_text: str | None = None


def gams_of(stage: StoredStage | None) -> dict[Target, PortableGam]:
    """Give a second stage's GAMs; empty if it is none or a stack."""
    return stage.model if stage is not None and isinstance(stage.model, dict) else {}


__all__ = [
    "ERRORS_KINDS",
    "FIRST_SCHEMA",
    "QUADRATURE",
    "SCHEMA_VERSION",
    "SINGLE",
    "STAGE_FITS",
    "STAGE_NAMES",
    "BenchmarkModel",
    "Bundle",
    "BundleDraft",
    "ErrorTable",
    "ErrorsKind",
    "FitMode",
    "Growth",
    "StageFit",
    "StageName",
    "StoredStage",
    "gams_of",
]
