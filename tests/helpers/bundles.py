"""A small synthetic bundle, and tools to damage one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle.schema import BenchmarkModel, BundleDraft, ErrorTable
from metabench_py.gam.features import feature_names
from metabench_py.gam.portable import PortableGam, SplineTerm
from metabench_py.irt.model import ItemParameters


def tiny_model(benchmark: Benchmark, n: int = 5) -> BenchmarkModel:
    """A 4PL model of `n` items; the numbers depend on the benchmark only."""
    random = np.random.default_rng(BENCHMARKS.index(benchmark))
    prefix = "anatomy." if benchmark == "mmlu" else ""
    return BenchmarkModel(
        benchmark=benchmark,
        item_type="4PL",
        score_method="MAP",
        metric="exact_match" if benchmark == "gsm8k" else "acc",
        parameters=ItemParameters(
            tuple(f"{prefix}{10 * i + 7}" for i in range(n)),
            random.normal(1.0, 1.0, n),
            random.normal(size=n),
            random.uniform(0.0, 0.3, n),
            random.uniform(0.7, 1.0, n),
        ),
        intercept=float(random.normal(20.0)),
        weights=random.normal(size=n),
        fit={"engine": "native", "mode": "converged", "n_llms": 30},
    )


def tiny_gam(target: Target) -> PortableGam:
    """A second-stage model with a curve in each of its features."""
    random = np.random.default_rng(TARGETS.index(target))
    terms = tuple(
        SplineTerm(
            name, np.linspace(-3.0, 103.0 if "." in name else 3.0, 12), random.normal(size=8)
        )
        for name in feature_names(target)
    )
    return PortableGam(target, 40.0 + TARGETS.index(target), terms)


def tiny_draft(rds: dict[Any, Path] | None = None) -> BundleDraft:
    """Everything that a bundle needs, from random numbers."""
    random = np.random.default_rng(7)
    levels = np.linspace(0.0, 1.0, 11)
    return BundleDraft(
        name="tiny",
        version="T",
        licence="CC0-1.0",
        provenance={"source": "synthetic"},
        benchmarks={b: tiny_model(b) for b in BENCHMARKS},
        gams={t: tiny_gam(t) for t in TARGETS},
        errors={
            t: ErrorTable(
                np.sort(random.uniform(20, 80, 30)), random.normal(size=30), np.arange(30) // 3
            )
            for t in TARGETS
        },
        errors_kind="cross-validated",
        rds=rds or {},
        population={t: np.sort(random.uniform(0, 100, 11)) for t in TARGETS},
        population_levels=levels,
    )


def edit_manifest(folder: Path, **fields: Any) -> None:
    """Set fields of the manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | fields))


def reseal(folder: Path, *names: str) -> None:
    """Make the manifest agree with changed or new files, as an attacker or a mistake would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    files = manifest["files"]
    for name in names:
        files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit_manifest(folder, files=files)
