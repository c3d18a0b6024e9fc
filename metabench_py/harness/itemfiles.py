"""Folders of item files: one Parquet file a benchmark, a row an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabench_py.benchmarks import BENCHMARKS, TITLES, Benchmark, Version
from metabench_py.errors import InputError

# What lm-eval's task files read of a row, besides the few-shot columns.
_NEEDED: dict[Benchmark, tuple[str, ...]] = {
    "arc": ("question", "choices", "answerKey"),
    "gsm8k": ("question", "answer"),
    "hellaswag": ("activity_label", "ctx_a", "ctx_b", "endings", "label"),
    "mmlu": ("question", "subject", "choices", "answer"),
    "truthfulqa": ("question", "mc1_targets"),
    "winogrande": ("sentence", "option1", "option2", "answer"),
}


def item_files(folder: Path, version: Version) -> dict[Benchmark, Path]:
    """Find the item files in a folder, or in its subfolder ``items`` or named like the version.

    Raises
    ------
    InputError
        A file is absent.
    """
    inside = (folder / version, folder / "items")
    chosen = next((path for path in inside if path.is_dir()), folder)
    files = {b: chosen / f"{b}.parquet" for b in BENCHMARKS}
    absent = [path.name for path in files.values() if not path.is_file()]
    if absent:
        raise InputError(
            f"{chosen} lacks {', '.join(absent)}; an items folder has one Parquet file for each "
            "benchmark (get one with: metabench-py items build).",
            path=str(chosen),
        )
    return files


def read_items(path: Path, benchmark: Benchmark, columns: tuple[str, ...] | None = None) -> Any:
    """Read an item file as an Arrow table.

    Raises
    ------
    InputError
        It is not readable, or lacks columns that the tasks read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path} is no readable Parquet file ({str(error).splitlines()[0]}).", path=str(path)
        ) from error
    needed = ("metabench_idx", *_NEEDED[benchmark]) if columns is None else columns
    absent = [name for name in needed if name not in table.column_names]
    if absent:
        raise InputError(
            f"{path} has no column {absent[0]!r}; it does not hold {TITLES[benchmark]} items.",
            path=str(path),
        )
    return table


def item_ids(path: Path, benchmark: Benchmark) -> list[str]:
    """Ids of a file's items, as bundles and response matrices name them.

    Raises
    ------
    InputError
        The file is not readable, or an item occurs twice.
    """
    columns = ("subject", "metabench_idx") if benchmark == "mmlu" else ("metabench_idx",)
    table = read_items(path, benchmark, columns)
    numbers = table.column("metabench_idx").to_pylist()
    ids = [str(number) for number in numbers]
    if benchmark == "mmlu":
        subjects = table.column("subject").to_pylist()
        ids = [f"{subject}.{number}" for subject, number in zip(subjects, ids, strict=True)]
    seen: set[str] = set()
    for row, item in enumerate(ids, 1):
        if item in seen:
            raise InputError(f"{path}, row {row}: the item {item!r} occurs a second time.")
        seen.add(item)
    return ids
