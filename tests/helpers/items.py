"""Bundles of real items, and stand-ins of the source data sets made from item files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.bundles import tiny_draft, tiny_model
from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.write import write_bundle
from metabench_py.harness.build import _EXAMPLE
from metabench_py.harness.itemfiles import item_ids
from metabench_py.harness.sources import SOURCES, leaderboard_draws
from metabench_py.irt.model import ItemParameters

# Rows of the real splits.
SIZES: dict[Benchmark, tuple[int, int]] = {
    "arc": (1172, 1119),
    "gsm8k": (1319, 7473),
    "hellaswag": (10042, 39905),
    "truthfulqa": (817, 0),
    "winogrande": (1267, 40398),
}


def item_bundle(
    out: Path, items: Mapping[Benchmark, Sequence[str]], version: str = "B", name: str = "some"
) -> Bundle:
    """A bundle of these items, with random parameters."""
    models = {}
    random = np.random.default_rng(5)
    for benchmark in BENCHMARKS:
        ids = tuple(items[benchmark])
        model = tiny_model(benchmark)
        models[benchmark] = replace(
            model,
            parameters=ItemParameters(
                ids,
                random.uniform(0.5, 2.0, len(ids)),
                random.normal(size=len(ids)),
                np.zeros(len(ids)),
                np.ones(len(ids)),
            ),
            weights=random.uniform(0.0, 80.0 / len(ids), len(ids)),
        )
    draft = replace(tiny_draft(), version=version, name=name, benchmarks=models)
    return load_bundle(write_bundle(draft, out))


def ids_of(folder: Path, most: int | None = None) -> dict[Benchmark, list[str]]:
    """Item ids of a folder of item files."""
    return {b: item_ids(folder / f"{b}.parquet", b)[:most] for b in BENCHMARKS}


def write_stand_ins(files: Sequence[Path], benchmark: Benchmark, out: Path) -> None:
    """Write splits of the real size that hold the rows which item files tell of.

    Where a published example is not at the place drawn (a duplicate text was found instead), the
    stand-in has the published one there, unless another item has the place already.
    """
    source = SOURCES[benchmark]
    columns = [name for name in source.columns if name != "metabench_idx"]
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    if benchmark == "mmlu":
        everything, pool = _mmlu(rows, columns)
    else:
        n_items, n_pool = SIZES[benchmark]
        draws = leaderboard_draws(n_items, n_pool, source.n_examples)
        everything = [dict.fromkeys(columns)] * n_items
        pool = [dict.fromkeys(columns)] * n_pool
        for row in rows:
            draw = draws[row["metabench_idx"] - 1]
            everything[draw.row] = {name: row[name] for name in columns}
            for place, index in enumerate(draw.examples, 1):
                pool[index] = dict.fromkeys(columns) | {
                    key: row[f"{name}_shot_{place}"] for name, key in _EXAMPLE[benchmark] if key
                }
    schema = pq.read_schema(files[0]).remove_metadata()
    wanted = pa.schema([schema.field(name) for name in columns])
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(everything, wanted), out / f"{benchmark}-items.parquet")
    if pool:
        pq.write_table(pa.Table.from_pylist(pool, wanted), out / f"{benchmark}-examples.parquet")


def _mmlu(rows: list[Any], columns: list[str]) -> tuple[list[Any], list[Any]]:
    everything, pool = [], []
    for subject in sorted({row["subject"] for row in rows}):
        own = [row for row in rows if row["subject"] == subject]
        n = max(row["metabench_idx"] for row in own) + 3
        draws = leaderboard_draws(n, 0, 0)
        part = [dict.fromkeys(columns) | {"subject": subject} for _ in range(n)]
        for row in own:
            part[draws[row["metabench_idx"] - 1].row] = {name: row[name] for name in columns}
        everything += part
        pool += [
            {key: own[0][f"{name}_shot_{place}"] for name, key in _EXAMPLE["mmlu"] if key}
            | {"subject": subject}
            for place in range(1, 6)
        ]
    return everything, pool
