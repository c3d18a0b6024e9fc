"""A small synthetic bundle, and tools to damage one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.schema import (
    BenchmarkModel,
    BundleDraft,
    ErrorTable,
    Growth,
    StoredStage,
)
from metabench_py.bundle.write import write_bundle
from metabench_py.gam.features import feature_names
from metabench_py.gam.portable import PortableGam, SplineTerm
from metabench_py.irt.model import Floats, ItemParameters, probability
from metabench_py.irt.native import NativeEngine
from metabench_py.reconstruction.stages import first_stage
from metabench_py.stack.fit import fit_stack
from metabench_py.stack.inputs import StackInputs
from metabench_py.stack.model import Stack


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


def tiny_errors(random: np.random.Generator) -> ErrorTable:
    """Errors of thirty LLMs of ten organisations."""
    return ErrorTable(
        np.sort(random.uniform(20, 80, 30)), random.normal(size=30), np.arange(30) // 3
    )


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
        stages={
            "gam": StoredStage(
                fit="gam",
                model={t: tiny_gam(t) for t in TARGETS},
                errors={t: tiny_errors(random) for t in TARGETS},
            )
        },
        errors_kind="cross-validated",
        rds=rds or {},
        population={t: np.sort(random.uniform(0, 100, 11)) for t in TARGETS},
        population_levels=levels,
    )


def tiny_bundle(folder: Path) -> Bundle:
    """Write the tiny bundle as version B into a new folder, and read it."""
    return load_bundle(write_bundle(replace(tiny_draft(), version="B"), folder))


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


@cache
def tiny_lessons() -> tuple[StackInputs, dict[Target, Floats]]:
    """Features, responses and scores of eighty LLMs on the tiny models' items."""
    random = np.random.default_rng(11)
    common = random.normal(size=80)
    responses: dict[Benchmark, NDArray[np.int8]] = {}
    scores: dict[Target, Floats] = {}
    for b in BENCHMARKS:
        theta = 0.9 * common + 0.4 * random.normal(size=80)
        chance = probability(tiny_model(b).parameters, theta)
        responses[b] = (random.random(chance.shape) < chance).astype(np.int8)
        scores[b] = 50 + 12 * theta
    scores["grand"] = np.mean([scores[b] for b in BENCHMARKS], axis=0)
    stage = first_stage(responses, {b: tiny_model(b) for b in BENCHMARKS}, NativeEngine())
    return StackInputs(stage.features(), stage.filled), scores


@cache
def tiny_stack(only: Benchmark | None = None) -> Stack:
    """A stack of all six benchmarks, or of one alone."""
    inputs, scores = tiny_lessons()
    if only is not None:
        names = (only, f"{only}.l", f"{only}.s")
        inputs = StackInputs(
            {name: inputs.table[name] for name in names}, {only: inputs.responses[only]}
        )
    return fit_stack(inputs, scores, np.arange(80) // 4).stack


def tiny_growth(*targets: Target) -> Growth:
    """Errors that double until three quarters of a benchmark's own items are masked."""

    def factors(target: Target, masked: Benchmark) -> np.ndarray:
        return np.array([1.2, 2.0] if target == masked else [1.0, 1.1])

    return Growth(
        np.array([0.25, 0.75]),
        {t: {b: factors(t, b) for b in BENCHMARKS if b in targets} for t in targets},
    )


def stack_draft() -> BundleDraft:
    """A draft whose default is a stack, with GAMs beside it and each benchmark alone."""
    draft, random = tiny_draft(), np.random.default_rng(8)

    def scaled() -> ErrorTable:
        return replace(tiny_errors(random), scale=random.uniform(0.5, 2.0, 30))

    one = {"n": 30, "rmse": 1.0, "mae": 0.8, "bias": 0.0, "coverage": 0.91, "width": 3.3}
    told = {"folds": 3, "level": 0.9, "how": "by hand", "targets": dict.fromkeys(TARGETS, one)}
    stack = StoredStage(
        fit="stack",
        model=tiny_stack(),
        errors={t: scaled() for t in TARGETS},
        evaluation={"grouped": told, "random": told},
        growth=tiny_growth(*TARGETS),
        about={"why": "a test"},
    )
    singles = {
        b: StoredStage(
            fit="stack",
            model=tiny_stack(b),
            errors={b: scaled()},
            evaluation={"grouped": {**told, "targets": {b: one}}},
            growth=tiny_growth(b),
        )
        for b in BENCHMARKS
    }
    return replace(draft, stages={"stack": stack, "gam": draft.stages["gam"]}, singles=singles)
