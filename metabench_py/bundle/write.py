"""Writes a bundle: a folder of JSON and Parquet that a person can inspect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import metabench_py
from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle.check_draft import check_draft
from metabench_py.bundle.folder import ERRORS, ITEMS, LICENCE, MANIFEST, POPULATION, STACK
from metabench_py.bundle.read import default_bundle_path
from metabench_py.bundle.schema import (
    QUADRATURE,
    SCHEMA_VERSION,
    BenchmarkModel,
    BundleDraft,
)
from metabench_py.bundle.trust import pin_default_bundle
from metabench_py.bundle.write_stages import stage_manifest, targets_manifest, write_stages
from metabench_py.errors import BundleError, StorageError
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
    check_draft(draft)
    check_place(out, replace)
    with atomic_folder(out, replace=replace, marks=(MANIFEST,)) as folder:
        _write_items(folder / ITEMS, draft)
        write_stages(folder, draft)
        if draft.population:
            _write_population(folder / POPULATION, draft)
        for target, rds in draft.rds.items():
            shutil.copyfile(rds, folder / f"gam/{target}.rds")
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
        # Of the default second stage.
        "targets": targets_manifest(next(iter(draft.stages.values()))),
        "second_stages": [stage_manifest(stage) for stage in draft.stages.values()],
        "single_stages": {
            b: stage_manifest(draft.singles[b]) for b in BENCHMARKS if b in draft.singles
        },
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


def _readme(draft: BundleDraft) -> str:
    rows = [
        (f"`{MANIFEST}`", "name, provenance, models, SHA-256 of every file"),
        (f"`{ITEMS}`", "item parameters (a1, d, g, u) and weight in the linear predictor"),
    ]
    if "stack" in draft.stages:
        rows.append((f"`{STACK}`", "the second stage `stack`: plain arrays, NumPy's .npz"))
    if "gam" in draft.stages:
        rows.append(("`gam/*.json`", "the second stage `gam` as portable splines"))
        what = "the same models for R's mgcv, without training data (where present)"
        rows.append(("`gam/*.rds`", what))
    if draft.singles:
        rows.append(("`single/*`", "second stages of one benchmark alone"))
    what = "predicted score, error (predicted minus true) and its scale told beforehand, of LLMs"
    rows.append((f"`{ERRORS}`", f"{what} not in the fit"))
    rows.append((f"`{POPULATION}`", "quantiles of the calibration LLMs' scores (where present)"))
    table = "\n".join(f"| {file} | {text} |" for file, text in rows)
    return f"""# {draft.name}

A metabench-py bundle, version {draft.version}. Licence of the estimates: {draft.licence}.

| file | what |
|---|---|
{table}

P(right) = g + (u - g) / (1 + exp(-(a1 * theta + d))), theta ~ N(0, 1).
"""
