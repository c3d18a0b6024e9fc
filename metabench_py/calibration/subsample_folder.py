"""Subsampling on files: a folder of matrices in, a folder with the chosen items out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.calibration.folder_tables import SUMMARY, check_out
from metabench_py.calibration.matrices import find_sources, load_source
from metabench_py.calibration.stage_data import SCORES_FILE, SPLIT_FILE, load_stage_data
from metabench_py.calibration.subsample import (
    Progress,
    SubsampleOptions,
    SubsampleResult,
    options_of,
    subsample,
)
from metabench_py.calibration.work import finished_calls
from metabench_py.errors import InputError
from metabench_py.storage import atomic_folder, write_json

SCHEMA = 1
# A folder of its own, for a stage that reads the folder takes every table in it for a matrix.
NULL = "null"


@dataclass(frozen=True, eq=False)
class SubsampleReport:
    """What a run chose.

    Attributes
    ----------
    chosen
        By benchmark.
    null
        Distributions of subsets of a fixed size, by benchmark and number of items.
    """

    options: SubsampleOptions
    chosen: dict[str, SubsampleResult]
    null: dict[tuple[str, int], SubsampleResult]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": SCHEMA,
            "stage": "subsample",
            "options": options_of(self.options),
            "benchmarks": {name: result.to_dict() for name, result in self.chosen.items()},
            "null": [_null_summary(result) for result in self.null.values()],
        }


def _null_summary(result: SubsampleResult) -> dict[str, Any]:
    validation = result.rmse_validation.mean(axis=1)
    test = result.rmse_test.mean(axis=1)
    levels = (0.025, 0.5, 0.975)
    return {
        "benchmark": result.benchmark,
        "items": result.picks.shape[1],
        "subsets": len(result.picks),
        "rmse_validation_quantiles": np.quantile(validation, levels).tolist(),
        "rmse_test_quantiles": (
            np.quantile(test, levels).tolist() if np.isfinite(test).all() else None
        ),
    }


def subsample_folder(
    data: Path,
    out: Path,
    options: SubsampleOptions | None = None,
    *,
    benchmarks: Sequence[str] = (),
    scores: Path | None = None,
    split: Path | None = None,
    null_items: Sequence[int] = (),
    null_subsets: int | None = None,
    replace_out: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> SubsampleReport:
    """Choose items of every benchmark of a folder.

    Writes ``<benchmark>.parquet`` (all LLMs, the chosen items), ``scores.parquet``,
    ``split.parquet``, ``subsample.parquet`` (benchmark, seed, fold, rmse_validation, rmse_test),
    ``null/errors.parquet`` (the same with
    n_items, if asked for) and ``summary.json``, all or nothing.

    Parameters
    ----------
    data
        Folder that ``preprocess`` made, see `load_stage_data`.
    out
        Folder to make.
    benchmarks
        Take these only.
    scores, split
        Other tables than those of the folder.
    null_items
        Numbers of items to draw null distributions with, nothing being chosen.
    null_subsets
        Subsets of each; None: as many as for the choice.
    replace_out
        Take the place of a folder that is there.
    executor, progress
        See `subsample`.

    Raises
    ------
    InputError, ResponseError
        A file is not usable; nothing was written.
    StorageError
        `out` exists, or cannot be written.
    """
    options = options or SubsampleOptions()
    data, out = Path(data), Path(out)
    check_out(out, replace_out, "subsample", data, (scores, split))
    sources = find_sources(data, benchmarks).found
    inputs = load_stage_data(data, scores, split, [source.benchmark for source in sources])
    null = {
        (name, n): replace(options, n_items=n, subsets=null_subsets or options.subsets)
        for name in inputs
        for n in null_items
    }
    for name, found in inputs.items():
        largest = max([options.n_items, *null_items])
        if largest > found.train.n_items:
            raise InputError(
                f"{data / name}: {largest} items cannot be drawn from {found.train.n_items}; ask "
                "for fewer.",
                benchmark=name,
            )
    with atomic_folder(out, replace=replace_out, marks=(SUMMARY,)) as folder:
        chosen = {
            name: subsample(found, options, executor=executor, progress=progress)
            for name, found in inputs.items()
        }
        nulls = {
            (name, n): subsample(inputs[name], each, executor=executor, progress=progress)
            for (name, n), each in null.items()
        }
        for source in sources:
            matrix = load_source(source, "c")
            items = chosen[source.benchmark].chosen_items
            matrix.select(items).save(folder / f"{source.benchmark}.parquet")
        shutil.copyfile(scores or data / SCORES_FILE, folder / SCORES_FILE)
        split_path = split or data / SPLIT_FILE
        if split_path.is_file():
            shutil.copyfile(split_path, folder / SPLIT_FILE)
        _write_errors(folder / "subsample.parquet", list(chosen.values()))
        if nulls:
            (folder / NULL).mkdir()
            _write_errors(folder / NULL / "errors.parquet", list(nulls.values()), sizes=True)
        report = SubsampleReport(options, chosen, nulls)
        summary = report.to_dict()
        for name, result in chosen.items():
            summary["benchmarks"][name]["chosen_items"] = list(result.chosen_items)
        write_json(folder / SUMMARY, summary)
    return report


def _write_errors(path: Path, results: Sequence[SubsampleResult], *, sizes: bool = False) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {"benchmark": [], "seed": [], "fold": []}
    if sizes:
        columns["n_items"] = []
    for name in ("rmse_validation", "rmse_test"):
        columns[name] = []
    for result in results:
        n, folds = result.rmse_validation.shape
        columns["benchmark"] += [result.benchmark] * (n * folds)
        columns["seed"].append(np.repeat(np.arange(1, n + 1), folds))
        columns["fold"].append(np.tile(np.arange(1, folds + 1), n))
        if sizes:
            columns["n_items"].append(np.full(n * folds, result.picks.shape[1]))
        columns["rmse_validation"].append(result.rmse_validation.ravel())
        columns["rmse_test"].append(result.rmse_test.ravel())
    arrays = {
        name: values if name == "benchmark" else np.concatenate(values)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path)


@contextlib.contextmanager
def finished_work(work: Path | None, out: Path) -> Iterator[Path]:
    """Give the file of finished calls, which other versions of the code do not share.

    Parameters
    ----------
    work, out
        See `work_folder`.
    """
    with finished_calls("subsample", ("metabench_py.calibration.subsample",), work, out) as path:
        yield path
