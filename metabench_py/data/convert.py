"""Long CSV to Parquet matrix and back, streaming: memory is the int8 matrix and a buffer."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError, ResponseError
from metabench_py.responses import MISSING, ResponseMatrix
from metabench_py.storage import atomic_path

Duplicates = Literal["refuse", "first", "last"]
# Neither an answer nor a missing one: no row of the CSV was about this cell yet.
_UNSEEN = -2
_MEANING = {
    **dict.fromkeys(("1", "1.0", "True", "true", "TRUE"), 1),
    **dict.fromkeys(("0", "0.0", "False", "false", "FALSE"), 0),
    **dict.fromkeys(("", "NA", "NaN", "nan"), MISSING),
}
_COLUMNS = ("source", "item", "correct")
_BLOCK = 8 << 20


def is_csv(path: Path) -> bool:
    """Whether a name says CSV, compressed or not."""
    return path.name.endswith((".csv", ".csv.gz"))


def convert(
    sources: Sequence[Path], target: Path, duplicates: Duplicates = "refuse"
) -> ResponseMatrix:
    """Convert by the names' endings, CSV to Parquet or Parquet to CSV.

    Parameters
    ----------
    sources
        Several CSVs give one matrix; the items of ``mmlu_<subject>.csv`` become
        ``<subject>.<item>``, as the original's scraper named its files.
    duplicates
        What to do about a second answer of an LLM to an item.

    Raises
    ------
    InputError
        The endings do not fit together.
    ResponseError
        A file does not hold what it should; the message names file and line.
    """
    for path in sources:
        if not path.is_file():
            raise InputError(f"{path}: no such file.", path=str(path))
    if all(is_csv(path) for path in sources) and target.suffix == ".parquet":
        matrix = read_long(sources, duplicates)
        matrix.save(target)
        return matrix
    if len(sources) == 1 and sources[0].suffix == ".parquet" and is_csv(target):
        matrix = ResponseMatrix.load(sources[0])
        write_long(matrix, target)
        return matrix
    raise InputError(
        "Give one or more .csv (.csv.gz) files and a .parquet to make, or one .parquet and a .csv."
    )


def write_long(matrix: ResponseMatrix, path: Path) -> None:
    """Write ``source,item,correct``, a row an answer; missing answers are empty."""
    words = {1: "1", 0: "0", MISSING: ""}
    with atomic_path(path) as temporary:
        opened: Any = (
            gzip.open(temporary, "wt", encoding="utf-8", newline="")
            if path.suffix == ".gz"
            else temporary.open("w", encoding="utf-8", newline="")
        )
        with opened as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_COLUMNS)
            for name, row in zip(matrix.llms, matrix.values, strict=True):
                writer.writerows(
                    (name, item, words[value])
                    for item, value in zip(matrix.items, row.tolist(), strict=True)
                )


def read_long(sources: Sequence[Path], duplicates: Duplicates = "refuse") -> ResponseMatrix:
    """Read long CSVs into one matrix, block by block."""
    grid = _Grid(duplicates)
    for path in sources:
        stem = path.name.split(".csv")[0]
        subject = stem.removeprefix("mmlu_") if stem.startswith("mmlu_") else ""
        _read_file(path, f"{subject}." if subject else "", grid)
    return grid.matrix()


class _Grid:
    """A matrix that grows as names and items turn up."""

    def __init__(self, duplicates: Duplicates) -> None:
        self.duplicates = duplicates
        self.rows: dict[str, int] = {}
        self.columns: dict[str, int] = {}
        self.values: NDArray[np.int8] = np.full((64, 256), _UNSEEN, np.int8)

    def put(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], answers: NDArray[np.int8]
    ) -> int | None:
        """Fill in; give the index of the first duplicate, if these are refused."""
        self._grow()
        flat = rows * self.values.shape[1] + columns
        _, first = np.unique(flat, return_index=True)
        fresh = self.values[rows, columns] == _UNSEEN
        if len(first) == len(flat) and fresh.all():
            self.values[rows, columns] = answers
            return None
        if self.duplicates == "refuse":
            single = np.zeros(len(flat), bool)
            single[first] = True
            return int(np.argmin(single & fresh))
        if self.duplicates == "last":
            # The last of several assignments to a cell stays.
            self.values[rows, columns] = answers
        else:
            kept = np.sort(first)
            kept = kept[fresh[kept]]
            self.values[rows[kept], columns[kept]] = answers[kept]
        return None

    def _grow(self) -> None:
        need = (len(self.rows), len(self.columns))
        have = self.values.shape
        if need[0] > have[0] or need[1] > have[1]:
            shape = tuple(
                h if n <= h else max(n, h + h // 2) for n, h in zip(need, have, strict=True)
            )
            grown = np.full(shape, _UNSEEN, np.int8)
            grown[: have[0], : have[1]] = self.values
            self.values = grown

    def matrix(self) -> ResponseMatrix:
        values = self.values[: len(self.rows), : len(self.columns)]
        return ResponseMatrix(
            tuple(self.rows), tuple(self.columns), np.maximum(values, np.int8(MISSING))
        )


def _read_file(path: Path, prefix: str, grid: _Grid) -> None:
    import pyarrow as pa
    import pyarrow.csv as pc

    text = pa.string()
    options = pc.ConvertOptions(
        include_columns=list(_COLUMNS),
        column_types=dict.fromkeys(_COLUMNS, text),
        strings_can_be_null=False,
    )
    line = 2
    try:
        with (
            pa.input_stream(str(path), compression="detect") as stream,
            pc.open_csv(
                stream, read_options=pc.ReadOptions(block_size=_BLOCK), convert_options=options
            ) as reader,
        ):
            for batch in reader:
                _read_batch(path, prefix, grid, batch, line)
                line += batch.num_rows
    except (pa.ArrowException, OSError, KeyError) as error:
        first = (str(error).strip().splitlines() or ["unreadable"])[0].rstrip(".")
        raise ResponseError(
            f"{path}: not a CSV with {', '.join(_COLUMNS)} ({first}).", path=str(path)
        ) from error


def _read_batch(path: Path, prefix: str, grid: _Grid, batch: Any, line: int) -> None:
    codes = []
    for name, known, before in (("source", grid.rows, ""), ("item", grid.columns, prefix)):
        column = batch.column(name).dictionary_encode()
        words = column.dictionary.to_pylist()
        own = column.indices.to_numpy()
        if "" in words:
            at = line + int(np.argmax(own == words.index("")))
            raise ResponseError(f"{path}: line {at}: the {name} is empty.", path=str(path), row=at)
        to_all = [known.setdefault(before + word, len(known)) for word in words]
        codes.append(np.array(to_all, np.int64)[own])
    column = batch.column("correct").dictionary_encode()
    words = column.dictionary.to_pylist()
    own = column.indices.to_numpy()
    strange = [i for i, word in enumerate(words) if word.strip() not in _MEANING]
    if strange:
        at = int(np.argmax(np.isin(own, strange)))
        raise ResponseError(
            f"{path}: line {line + at}: {words[own[at]]!r} is neither 0, 1 nor empty.",
            path=str(path),
            row=line + at,
        )
    meaning = np.array([_MEANING[word.strip()] for word in words], np.int8)
    twice = grid.put(codes[0], codes[1], meaning[own])
    if twice is not None:
        source, item = (batch.column(n)[twice].as_py() for n in ("source", "item"))
        raise ResponseError(
            f"{path}: line {line + twice}: LLM {source!r} answers item {prefix + item!r} a second "
            "time; correct the file, or keep the first or last answer (--duplicates).",
            path=str(path),
            row=line + twice,
        )
