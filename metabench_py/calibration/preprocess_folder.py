"""The first stage on files: a folder of matrices in, a folder of smaller ones out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.calibration.folder_tables import SUMMARY, check_out
from metabench_py.calibration.matrices import Source, find_sources, load_prompts, load_source
from metabench_py.calibration.ordering import sorted_names
from metabench_py.calibration.preprocess import (
    ItemTable,
    Preprocessed,
    PreprocessOptions,
    preprocess,
)
from metabench_py.errors import InputError, ResponseError
from metabench_py.irt.model import Floats
from metabench_py.storage import atomic_folder, sha256, write_json

# what, number, total
Progress = Callable[[str, int, int], None]
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class PreprocessReport:
    """What a run left out.

    Attributes
    ----------
    benchmarks
        Counts and thresholds by benchmark, see `Preprocessed.to_dict`.
    items
        All items by benchmark.
    n_llms, n_common
        LLMs kept in any benchmark, and in all of them.
    aside
        Tables of the folder that are no matrices.
    """

    options: PreprocessOptions
    benchmarks: dict[str, dict[str, Any]]
    items: dict[str, ItemTable]
    n_llms: int
    n_common: int
    aside: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": SCHEMA,
            "stage": "preprocess",
            "options": asdict(self.options),
            "llms": self.n_llms,
            "llms_common": self.n_common,
            "benchmarks": self.benchmarks,
            "not_read": list(self.aside),
        }


def preprocess_folder(
    responses: Path,
    out: Path,
    options: PreprocessOptions | None = None,
    *,
    benchmarks: Sequence[str] = (),
    prompts: Path | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> PreprocessReport:
    """Preprocess every matrix of a folder, one after the other.

    Writes ``<benchmark>.parquet`` (kept LLMs x kept items), ``items.parquet`` (every item),
    ``scores.parquet`` (0-100; every LLM kept in any benchmark, without a score where it is not in
    one) and ``summary.json``, all or nothing.

    Parameters
    ----------
    responses
        Folder, see `find_sources`.
    out
        Folder to make.
    benchmarks
        Take these only.
    prompts
        Folder of prompts, see `load_prompts`; None: that of the responses.
    replace
        Take the place of a folder that is there.

    Raises
    ------
    InputError, ResponseError
        A file is not usable, or nothing of a benchmark is left; `out` is as it was.
    StorageError
        `out` exists, or cannot be written.
    """
    options = options or PreprocessOptions()
    sources = find_sources(responses, benchmarks)
    check_out(out, replace, "preprocess", responses, (prompts,))
    _check_named(options, [source.benchmark for source in sources.found], prompts)
    summaries: dict[str, dict[str, Any]] = {}
    tables: dict[str, ItemTable] = {}
    scores: dict[str, dict[str, float]] = {}
    with atomic_folder(Path(out), replace=replace, marks=(SUMMARY,)) as folder:
        for number, source in enumerate(sources.found, start=1):
            if progress is not None:
                progress(source.benchmark, number, len(sources.found))
            found = _one(source, Path(prompts or responses), options)
            name = source.benchmark
            found.responses.save(folder / f"{name}.parquet")
            files = {path.name: sha256(path) for _, path in source.parts}
            summaries[name] = {**found.to_dict(), "files": files}
            tables[name] = found.items
            scores[name] = dict(zip(found.responses.llms, found.scores.tolist(), strict=True))
        _write_items(folder / "items.parquet", tables)
        names = sorted_names(set().union(*scores.values()), options.order)
        write_scores(folder / "scores.parquet", names, scores)
        n_common = len(set.intersection(*(set(known) for known in scores.values())))
        report = PreprocessReport(options, summaries, tables, len(names), n_common, sources.aside)
        write_json(folder / SUMMARY, report.to_dict())
    return report


def _one(source: Source, folder: Path, options: PreprocessOptions) -> Preprocessed:
    matrix = load_source(source, options.order)
    prompts = load_prompts(folder, source)
    if prompts and not prompts.keys() & set(matrix.items):
        raise InputError(
            f"{folder}: the prompts of {source.benchmark} are of other items (the first is "
            f"{next(iter(prompts))!r}, that of the responses {matrix.items[0]!r}); correct their "
            "column 'item', or take them away.",
            path=str(folder),
            benchmark=source.benchmark,
        )
    try:
        return preprocess(source.benchmark, matrix, prompts, options)
    except ResponseError as error:
        path = source.parts[0][1]
        raise ResponseError(f"{path}: {error}", **{**error.facts, "path": str(path)}) from error


def _check_named(
    options: PreprocessOptions, benchmarks: Sequence[str], prompts: Path | None
) -> None:
    """Refuse what would be passed over: a limit of an unknown benchmark, an absent folder."""
    unknown = options.discriminations.keys() - {*benchmarks, *BENCHMARKS}
    if unknown:
        raise InputError(
            f"A least discrimination of {min(unknown)!r}, which is not here; there are "
            f"{', '.join(benchmarks)}."
        )
    if prompts is not None and not Path(prompts).is_dir():
        raise InputError(f"{prompts}: no such folder of prompts.", path=str(prompts))


def _write_items(path: Path, tables: dict[str, ItemTable]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(table, name) for table in tables.values()])

    columns = {
        "benchmark": [name for name, table in tables.items() for _ in table.items],
        "item": [item for table in tables.values() for item in table.items],
        "sd": joined("sd"),
        "difficulty": joined("difficulty"),
        "discrimination": joined("discrimination"),
        "reason": joined("reason").tolist(),
    }
    pq.write_table(pa.table(columns), path)


def write_scores(path: Path, names: Sequence[str], scores: dict[str, dict[str, float]]) -> None:
    """Write one row an LLM, one column a benchmark; NaN where there is no score."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if "name" in scores:
        raise InputError("A benchmark cannot be called 'name'; rename its file.")
    columns: dict[str, Any] = {"name": list(names)}
    for benchmark, known in scores.items():
        columns[benchmark] = np.array([known.get(name, np.nan) for name in names])
    pq.write_table(pa.table(columns), path)
