"""Writes a bundle: a folder of JSON and Parquet that a person can inspect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import metabench_py
from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle.folder import ERRORS, ITEMS, LICENCE, MANIFEST, POPULATION
from metabench_py.bundle.read import default_bundle_path
from metabench_py.bundle.schema import (
    ERRORS_KINDS,
    QUADRATURE,
    SCHEMA_VERSION,
    BenchmarkModel,
    BundleDraft,
    ErrorTable,
)
from metabench_py.bundle.trust import pin_default_bundle
from metabench_py.errors import BundleError, StorageError
from metabench_py.irt.model import Floats
from metabench_py.storage import atomic_folder, sha256


def write_bundle(draft: BundleDraft, out: Path, replace: bool = False) -> Path:
    """Write a bundle folder; on any failure `out` is as it was.

    Writing the embedded bundle's folder also pins its .rds files in ``trusted.json``.

    Parameters
    ----------
    draft
        The estimates.
    out
        Folder to make.
    replace
        Take the place of an existing bundle there. A folder that is no bundle is never
        replaced.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    BundleError
        The draft lacks something or holds numbers that are not finite.
    StorageError
        `out` exists (without `replace`), or the disk is full.
    """
    out = Path(out)
    _check(draft)
    check_place(out, replace)
    with atomic_folder(out, replace=replace) as folder:
        (folder / "gam").mkdir()
        _write_items(folder / ITEMS, draft)
        _write_errors(folder / ERRORS, draft)
        if draft.population:
            _write_population(folder / POPULATION, draft)
        for target in TARGETS:
            text = json.dumps(draft.gams[target].to_dict(), allow_nan=False)
            (folder / f"gam/{target}.json").write_text(text + "\n", encoding="utf-8")
            if target in draft.rds:
                shutil.copyfile(draft.rds[target], folder / f"gam/{target}.rds")
        (folder / "README.md").write_text(_readme(draft), encoding="utf-8")
        if draft.licence_text is not None:
            (folder / LICENCE).write_text(draft.licence_text, encoding="utf-8")
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        hashes = {p.relative_to(folder).as_posix(): sha256(p) for p in files}
        text = json.dumps(_manifest(draft, hashes), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    # Whoever renews the embedded bundle vouches for the fits that were just made.
    if out.resolve() == default_bundle_path():
        pin_default_bundle(out)
    return out


def check_place(out: Path, replace: bool) -> None:
    """Check that a bundle may be written there, before the work of making it.

    Raises
    ------
    BundleError
        Something other than a bundle is there.
    StorageError
        A bundle is there (without `replace`).
    """
    if not out.exists():
        return
    if not (out / MANIFEST).is_file():
        raise BundleError(
            f"{out} exists and is not a bundle, so it is not replaced; choose another folder.",
            path=str(out),
        )
    if not replace:
        raise StorageError(
            f"{out} exists already; choose another folder, or say --replace.", path=str(out)
        )


def _check(draft: BundleDraft) -> None:
    def fail(what: str) -> None:
        raise BundleError(
            f"The bundle {draft.name!r} cannot be written: {what}.", bundle=draft.name
        )

    for kind, wanted, got in (
        ("benchmark", BENCHMARKS, draft.benchmarks),
        ("GAM", TARGETS, draft.gams),
        ("error table", TARGETS, draft.errors),
    ):
        absent = [x for x in wanted if x not in got]
        if absent or len(got) != len(wanted):
            extra = [x for x in got if x not in wanted]
            fail(f"{kind}: missing {absent}, unknown {extra}")
    if draft.errors_kind not in ERRORS_KINDS:
        fail(f"errors_kind is {draft.errors_kind!r}, not one of {', '.join(ERRORS_KINDS)}")
    for benchmark, model in draft.benchmarks.items():
        if model.benchmark != benchmark:
            fail(f"the model under {benchmark} is that of {model.benchmark}")
        n = len(model.parameters.items)
        if n == 0 or len(set(model.parameters.items)) != n:
            fail(f"{benchmark}: items are empty or occur twice")
        if model.weights.shape != (n,):
            fail(f"{benchmark}: {n} items but weights of shape {model.weights.shape}")
        if not (np.isfinite(model.weights).all() and np.isfinite(model.intercept)):
            fail(f"{benchmark}: a linear weight or the intercept is not finite")
    for target, table in draft.errors.items():
        shapes = {table.predicted.shape, table.error.shape}
        if table.group is not None:
            shapes.add(table.group.shape)
        if len(shapes) != 1 or table.predicted.size == 0 or table.predicted.ndim != 1:
            fail(f"errors of {target} are empty or their columns differ in length")
        if not (np.isfinite(table.predicted).all() and np.isfinite(table.error).all()):
            fail(f"errors of {target} are not all finite")
    if len({table.group is None for table in draft.errors.values()}) > 1:
        fail("some error tables have groups and others have none")
    levels = draft.population_levels
    if draft.population and (
        levels.size < 2 or (np.diff(levels) <= 0).any() or levels[0] < 0 or levels[-1] > 1
    ):
        fail("population levels must increase within 0 to 1")
    for target, scores in draft.population.items():
        if target not in TARGETS or scores.shape != levels.shape or not _increasing(scores):
            fail(f"population quantiles of {target} must be finite and must not decrease")
    for what, value in (
        ("provenance", draft.provenance),
        *((f"fit of {b}", m.fit) for b, m in draft.benchmarks.items()),
    ):
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            fail(f"{what} is not JSON ({error})")
    for target in draft.rds:
        if target not in TARGETS:
            fail(f"an .rds of an unknown target {target!r}")


def _increasing(scores: Floats) -> bool:
    return bool(np.isfinite(scores).all() and (np.diff(scores) >= 0).all())


def _write_items(path: Path, draft: BundleDraft) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    models = [draft.benchmarks[b] for b in BENCHMARKS]
    names = [b for b, m in zip(BENCHMARKS, models, strict=True) for _ in m.parameters.items]
    columns: dict[str, Any] = {
        "benchmark": pa.array(names, pa.string()),
        "item": pa.array([i for m in models for i in m.parameters.items], pa.string()),
    }
    for key in ("a1", "d", "g", "u"):
        columns[key] = np.concatenate([getattr(m.parameters, key) for m in models])
    columns["weight"] = np.concatenate([m.weights for m in models]).astype(np.float64)
    pq.write_table(pa.table(columns), path, compression="zstd")


def _write_errors(path: Path, draft: BundleDraft) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: list[ErrorTable] = [draft.errors[t] for t in TARGETS]
    names = [t for t, e in zip(TARGETS, tables, strict=True) for _ in range(e.error.size)]
    columns: dict[str, Any] = {
        "target": pa.array(names, pa.string()),
        "predicted": np.concatenate([e.predicted for e in tables]).astype(np.float64),
        "error": np.concatenate([e.error for e in tables]).astype(np.float64),
    }
    groups = [e.group for e in tables if e.group is not None]
    if groups:
        columns["group"] = np.concatenate(groups).astype(np.int64)
    pq.write_table(pa.table(columns), path, compression="zstd")


def _write_population(path: Path, draft: BundleDraft) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    targets = [t for t in TARGETS if t in draft.population]
    levels = draft.population_levels
    columns: dict[str, Any] = {
        "target": pa.array([t for t in targets for _ in range(levels.size)], pa.string()),
        "level": np.tile(levels, len(targets)).astype(np.float64),
        "score": np.concatenate([draft.population[t] for t in targets]).astype(np.float64),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def _manifest(draft: BundleDraft, hashes: dict[str, str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "name": draft.name,
        "version": draft.version,
        "licence": draft.licence,
        "provenance": {**draft.provenance, "metabench_py": metabench_py.__version__},
        "benchmarks": {b: _benchmark(draft.benchmarks[b]) for b in BENCHMARKS},
        "targets": {t: _target(draft.errors[t]) for t in TARGETS},
        "errors_kind": draft.errors_kind,
        "files": hashes,
    }


def _benchmark(model: BenchmarkModel) -> dict[str, Any]:
    return {
        "item_type": model.item_type,
        "score_method": model.score_method,
        "metric": model.metric,
        "n_items": len(model.parameters.items),
        "intercept": float(model.intercept),
        "quadrature": QUADRATURE,
        "fit": model.fit,
    }


def _target(table: ErrorTable) -> dict[str, Any]:
    # Predictions beyond this range are extrapolated: nobody checked the errors there.
    return {
        "n_errors": int(table.error.size),
        "predicted_lower": float(table.predicted.min()),
        "predicted_upper": float(table.predicted.max()),
        "rmse": float(np.sqrt(np.mean(table.error**2))),
    }


def _readme(draft: BundleDraft) -> str:
    return f"""# {draft.name}

A metabench-py bundle, version {draft.version}. Licence of the estimates: {draft.licence}.

| file | what |
|---|---|
| `{MANIFEST}` | name, provenance, models, SHA-256 of every file |
| `{ITEMS}` | item parameters (a1, d, g, u) and weight in the linear predictor |
| `gam/*.json` | second-stage models as portable splines |
| `gam/*.rds` | the same models for R's mgcv, without training data (where present) |
| `{ERRORS}` | predicted score and error (predicted minus true) of LLMs not in the fit |
| `{POPULATION}` | quantiles of the calibration LLMs' scores (where present) |

P(right) = g + (u - g) / (1 + exp(-(a1 * theta + d))), theta ~ N(0, 1).
"""
