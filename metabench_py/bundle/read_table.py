"""Columns of a bundle's Parquet files, every type and value checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.bundle.folder import BundleFolder, fail

_ROW_LIMIT = 5_000_000


def read_columns(
    folder: BundleFolder,
    file: str,
    content: bytes,
    texts: tuple[str, ...],
    numbers: tuple[str, ...],
    whole: tuple[str, ...] = (),
    few: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Columns of a Parquet file: lists of text, finite float64 arrays, optional int64 arrays.

    Parameters
    ----------
    texts, numbers
        Columns that must be there.
    whole
        Columns of whole numbers that may be there.
    few
        Columns of few different texts: `Few` in place of lists, which is much faster.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(pa.BufferReader(content))
        # A few kilobytes of Parquet can claim billions of rows.
        if parquet.metadata.num_rows > _ROW_LIMIT:
            fail(folder.path, file, f"more than {_ROW_LIMIT:,} rows")
        table = parquet.read(columns=[*texts, *few, *numbers, *whole], use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        fail(folder.path, file, f"not a readable Parquet file ({error})")
    absent = [c for c in (*texts, *few, *numbers) if c not in table.column_names]
    if absent:
        fail(folder.path, file, f"no column {absent[0]!r}")
    columns: dict[str, Any] = {}
    for name in (*texts, *few):
        if not pa.types.is_string(table.schema.field(name).type):
            fail(folder.path, file, f"the column {name!r} is not text")
        column = table.column(name)
        columns[name] = Few.of(column) if name in few else column.to_pylist()
    for name in (*numbers, *(c for c in whole if c in table.column_names)):
        kind = pa.float64() if name in numbers else pa.int64()
        column = table.column(name)
        if column.type != kind or column.null_count:
            fail(folder.path, file, f"the column {name!r} is not {kind} or has empty cells")
        values = _numbers(column, np.float64 if name in numbers else np.int64)
        if name in numbers and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            fail(folder.path, file, f"row {row + 1}, column {name!r}: {values[row]} is not finite")
        columns[name] = values
    return columns


@dataclass(frozen=True, eq=False)
class Few:
    """A column of few different texts.

    Attributes
    ----------
    names
        The different ones; None for an empty cell.
    number
        Which of them is in each row, shape (n,).
    """

    names: tuple[str | None, ...]
    number: NDArray[np.int32]

    @classmethod
    def of(cls, column: Any) -> Few:
        """Read a column of text."""
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        codes = encoded.indices
        number = np.frombuffer(codes.buffers()[1], np.int32, len(codes), 4 * codes.offset)
        return cls(tuple(encoded.dictionary.to_pylist()), number)

    def where(self, name: str) -> NDArray[np.bool_]:
        """Tell in which rows a name is."""
        if name not in self.names:
            return np.zeros(len(self.number), dtype=bool)
        found: NDArray[np.bool_] = self.number == self.names.index(name)
        return found


def _numbers(column: Any, kind: type[np.float64 | np.int64]) -> NDArray[Any]:
    """Copy of a column without empty cells (pyarrow's own conversion imports pandas: 0.5 s)."""
    chunks = [np.frombuffer(c.buffers()[1], kind, len(c), 8 * c.offset) for c in column.chunks if c]
    return np.concatenate(chunks) if chunks else np.empty(0, kind)


def check_names(
    folder: BundleFolder, file: str, names: Sequence[Any], known: tuple[str, ...]
) -> None:
    """Refuse a name that is not known."""
    unknown = sorted({str(n) for n in set(names) - set(known)})
    if unknown:
        fail(folder.path, file, f"unknown name {unknown[0]!r}; known are {', '.join(known)}")
