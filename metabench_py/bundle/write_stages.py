"""Writes a bundle's second stages: models, held-out errors, what the manifest says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle.arrays import pack_arrays
from metabench_py.bundle.folder import ERRORS, STACK, single_file
from metabench_py.bundle.schema import SINGLE, BundleDraft, ErrorTable, StoredStage
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats


def write_stages(folder: Path, draft: BundleDraft) -> None:
    """Write every second stage's model and ``errors.parquet`` into a folder."""
    rows: list[tuple[str, Target, ErrorTable]] = []
    for name, stage in draft.stages.items():
        if isinstance(stage.model, dict):
            (folder / "gam").mkdir(exist_ok=True)
            for target in TARGETS:
                _write_gam(folder / f"gam/{target}.json", stage.model[target])
        else:
            (folder / STACK).write_bytes(pack_arrays(stage.model.to_arrays()))
        rows += [(name, t, stage.errors[t]) for t in TARGETS]
    for benchmark in BENCHMARKS:
        if (single := draft.singles.get(benchmark)) is not None:
            _write_single(folder, benchmark, single)
            rows.append((SINGLE, benchmark, single.errors[benchmark]))
    _write_errors(folder / ERRORS, rows)


def stage_manifest(stage: StoredStage) -> dict[str, Any]:
    """Give what the manifest says of a second stage."""
    known: dict[str, Any] = {
        "name": stage.name,
        "fit": stage.fit,
        "targets": targets_manifest(stage),
        "evaluation": stage.evaluation,
        "about": stage.about,
    }
    if stage.growth is not None:
        known["missing"] = {
            "shares": stage.growth.shares.tolist(),
            "factors": {
                t: {b: f.tolist() for b, f in own.items()}
                for t, own in stage.growth.factors.items()
            },
        }
    return known


def targets_manifest(stage: StoredStage) -> dict[str, Any]:
    """Give what the manifest says of a second stage's errors."""
    return {t: _target(stage.errors[t]) for t in TARGETS if t in stage.errors}


def _target(table: ErrorTable) -> dict[str, Any]:
    # Predictions beyond this range are extrapolated: nobody checked the errors there.
    return {
        "n_errors": int(table.error.size),
        "predicted_lower": float(table.predicted.min()),
        "predicted_upper": float(table.predicted.max()),
        "rmse": float(np.sqrt(np.mean(table.error**2))),
    }


def _write_single(folder: Path, benchmark: Benchmark, stage: StoredStage) -> None:
    path = folder / single_file(benchmark, stage.fit)
    path.parent.mkdir(exist_ok=True)
    if isinstance(stage.model, dict):
        _write_gam(path, stage.model[benchmark])
    else:
        path.write_bytes(pack_arrays(stage.model.to_arrays()))


def _write_gam(path: Path, gam: PortableGam) -> None:
    text = json.dumps(gam.to_dict(), allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_errors(path: Path, rows: list[tuple[str, Target, ErrorTable]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [table for _, _, table in rows]
    columns: dict[str, Any] = {
        "second_stage": pa.array([s for s, _, e in rows for _ in range(e.error.size)], pa.string()),
        "target": pa.array([t for _, t, e in rows for _ in range(e.error.size)], pa.string()),
        "predicted": np.concatenate([e.predicted for e in tables]).astype(np.float64),
        "error": np.concatenate([e.error for e in tables]).astype(np.float64),
        "scale": np.concatenate([_scale(e) for e in tables]).astype(np.float64),
    }
    groups = [e.group for e in tables if e.group is not None]
    if groups:
        columns["group"] = np.concatenate(groups).astype(np.int64)
    # Rounded numbers end in zero bytes, which shrink once they stand together.
    floats = ["predicted", "error", "scale"]
    names = ["second_stage", "target", "group"]
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in names if name in columns],
        use_byte_stream_split=floats,
    )


def _scale(table: ErrorTable) -> Floats:
    return np.ones(table.error.size) if table.scale is None else table.scale
