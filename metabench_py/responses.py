"""ResponseMatrix: who answered which item right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import ResponseError
from metabench_py.storage import atomic_path

MISSING = -1
_NAME_COLUMNS = ("name", "llm", "__index_level_0__")
_WRITE_BUFFER = 1 << 16


@dataclass(frozen=True, eq=False)
class ResponseMatrix:
    """Item responses of some LLMs.

    Attributes
    ----------
    llms
        Names, unique, one a row.
    items
        Item ids, unique strings, one a column (``"660"``, ``"anatomy.12"``).
    values
        int8, shape (n_llms, n_items), C order: 1 right, 0 wrong, -1 not answered.
    """

    llms: tuple[str, ...]
    items: tuple[str, ...]
    values: NDArray[np.int8]

    def __post_init__(self) -> None:
        given = np.asarray(self.values)
        if given.dtype.kind not in "biuf":
            raise ResponseError("Responses must be whole numbers: 1 right, 0 wrong, -1 missing.")
        if given.shape != (len(self.llms), len(self.items)):
            raise ResponseError(
                f"The matrix is {given.shape}, but there are {len(self.llms)} LLM names and "
                f"{len(self.items)} item ids."
            )
        for what, names in (("LLM", self.llms), ("item", self.items)):
            if len(set(names)) != len(names):
                twice = Counter(names).most_common(1)[0][0]
                raise ResponseError(f"The {what} {twice!r} occurs twice; keep one of them.")
        # Before the cast, which would turn NaN and 257 into answers.
        bad = np.argwhere((given != 1) & (given != 0) & (given != MISSING))
        if bad.size:
            row, column = bad[0]
            raise ResponseError(
                f"LLM {self.llms[row]!r}, item {self.items[column]!r}: "
                f"{given[row, column]} is neither 1 (right), 0 (wrong) nor -1 (missing).",
                row=self.llms[row],
                item=self.items[column],
            )
        object.__setattr__(self, "values", np.ascontiguousarray(given, dtype=np.int8))

    @property
    def n_llms(self) -> int:
        """Number of rows."""
        return len(self.llms)

    @property
    def n_items(self) -> int:
        """Number of columns."""
        return len(self.items)

    def select(self, items: Sequence[str]) -> ResponseMatrix:
        """Take these items, in this order.

        Raises
        ------
        ResponseError
            An item is not in the matrix.
        """
        if tuple(items) == self.items:
            return self
        position = {item: i for i, item in enumerate(self.items)}
        absent = [item for item in items if item not in position]
        if absent:
            raise ResponseError(
                f"{len(absent)} of {len(items)} items are not in the response matrix, "
                f"the first is {absent[0]!r}.",
                items=absent,
            )
        columns = [position[item] for item in items]
        return ResponseMatrix(self.llms, tuple(items), self.values[:, columns])

    def rows(self, llms: Iterable[str]) -> ResponseMatrix:
        """Take these LLMs, in this order."""
        position = {name: i for i, name in enumerate(self.llms)}
        names = tuple(llms)
        absent = [name for name in names if name not in position]
        if absent:
            raise ResponseError(
                f"{len(absent)} LLMs are not in the response matrix, the first is {absent[0]!r}.",
                llms=absent,
            )
        return ResponseMatrix(names, self.items, self.values[[position[n] for n in names]])

    @classmethod
    def load(cls, path: Path) -> ResponseMatrix:
        """Read Parquet (one row an LLM) or long CSV (``source,item,correct``).

        Raises
        ------
        ResponseError
            The file is absent or is not such a table; the message names row and item.
        """
        path = Path(path)
        if not path.is_file():
            raise ResponseError(f"{path}: no such file.", path=str(path))
        try:
            return _load_csv(path) if ".csv" in path.suffixes else _load_parquet(path)
        except ResponseError as error:
            if str(path) in str(error):
                raise
            raise ResponseError(f"{path}: {error}", **{**error.facts, "path": str(path)}) from error

    def save(self, path: Path) -> None:
        """Write Parquet: column ``name``, then one nullable int8 column an item."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if "name" in self.items:
            raise ResponseError(
                f"{path}: an item is called 'name', which is the column of the LLMs' names; "
                "rename the item.",
                path=str(path),
                item="name",
            )
        table = pa.Table.from_arrays(self._columns(), ["name", *self.items])
        with atomic_path(Path(path)) as temporary:
            # Thousands of short columns: without a buffer each is several small writes.
            with (
                pa.OSFile(str(temporary), "wb") as file,
                pa.BufferedOutputStream(file, _WRITE_BUFFER) as stream,
            ):
                # What 0 and 1 range over is known, and Parquet's own types are the columns'.
                pq.write_table(table, stream, write_statistics=False, store_schema=False)

    def _columns(self) -> list[Any]:
        """Make Arrow's columns on the matrix's own bytes: `pa.array` would load pandas first."""
        import pyarrow as pa

        names = [name.encode() for name in self.llms]
        ends = np.cumsum([0, *map(len, names)], dtype=np.int32)
        text = (pa.py_buffer(ends), pa.py_buffer(b"".join(names)))
        answers = np.ascontiguousarray(self.values.T)
        known = answers != MISSING
        whole = known.all(axis=1).tolist()
        # Two buffers for all columns, each of which begins further on: an item has few bytes.
        bits = pa.py_buffer(np.packbits(known, bitorder="little"))
        data = pa.py_buffer(answers)
        return [
            pa.StringArray.from_buffers(self.n_llms, *text),
            *(
                pa.Array.from_buffers(
                    pa.int8(),
                    self.n_llms,
                    [None if whole[item] else bits, data],
                    offset=item * self.n_llms,
                )
                for item in range(self.n_items)
            ),
        ]


def _load_parquet(path: Path) -> ResponseMatrix:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column, times = Counter(pq.read_schema(path).names or [""]).most_common(1)[0]
        if times > 1:
            raise ResponseError(f"the column {column!r} occurs twice; keep one.", item=column)
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ResponseError(
            f"{path}: not a readable Parquet file ({_first_line(error)})."
        ) from error
    key = next((c for c in _NAME_COLUMNS if c in table.column_names), None)
    if key is None:
        raise ResponseError(
            f"{path}: no column 'name' or 'llm' with the LLMs' names; "
            f"the first columns are {', '.join(table.column_names[:3])}."
        )
    given = table.column(key).to_pylist()
    if None in given or "" in given:
        row = min(given.index(none) for none in (None, "") if none in given) + 1
        raise ResponseError(
            f"row {row}: no name in the column {key!r}; name it or drop it.", row=row
        )
    names = tuple(map(str, given))
    items = tuple(c for c in table.column_names if c != key)
    values = np.empty((len(names), len(items)), dtype=np.int8)
    for j, item in enumerate(items):
        column = table.column(item)
        try:
            numbers = column.cast(pa.float64()).to_numpy()
        except pa.ArrowException as error:
            raise ResponseError(
                f"item {item!r} holds {column.type}, not 0/1 numbers.", item=item
            ) from error
        missing = np.isnan(numbers)
        bad = ~missing & (numbers != 0) & (numbers != 1)
        if bad.any():
            row = int(np.argmax(bad))
            raise ResponseError(
                f"LLM {names[row]!r}, item {item!r}: {numbers[row]:g} is neither 0, 1 nor missing.",
                row=names[row],
                item=item,
            )
        values[:, j] = np.where(missing, MISSING, numbers)
    return ResponseMatrix(names, items, values)


def _load_csv(path: Path) -> ResponseMatrix:
    import pandas as pd

    try:
        long = pd.read_csv(
            path,
            dtype={"source": str, "item": str},
            keep_default_na=False,
            na_values={"correct": ["", "NA", "NaN"]},
        )
    except (ValueError, OSError) as error:
        raise ResponseError(f"{path}: not a readable CSV ({_first_line(error)}).") from error
    absent = [c for c in ("source", "item", "correct") if c not in long.columns]
    if absent:
        raise ResponseError(f"{path}: no column {absent[0]!r}; needs source, item, correct.")
    for column, what in (("source", "LLM"), ("item", "item")):
        unnamed = long[column].isna() | (long[column] == "")
        if unnamed.any():
            line = int(np.argmax(unnamed.to_numpy())) + 2
            raise ResponseError(f"line {line}: the {what}'s name is empty.", row=line)
    correct = pd.to_numeric(long["correct"], errors="coerce")
    bad = long["correct"].notna() & ~correct.isin([0, 1])
    if bad.any():
        line = int(np.argmax(bad.to_numpy())) + 2
        raise ResponseError(
            f"line {line}: {str(long['correct'].iloc[line - 2])!r} is neither 0, 1 nor empty.",
            row=line,
        )
    twice = long.duplicated(["source", "item"])
    if twice.any():
        line = int(np.argmax(twice.to_numpy())) + 2
        row = long.iloc[line - 2]
        raise ResponseError(
            f"line {line}: LLM {row['source']!r} answers item {row['item']!r} a second time.",
            row=row["source"],
            item=row["item"],
        )
    rows, names = pd.factorize(long["source"])
    columns, items = pd.factorize(long["item"])
    values = np.full((len(names), len(items)), MISSING, dtype=np.int8)
    values[rows, columns] = correct.fillna(MISSING).astype(np.int8)
    return ResponseMatrix(tuple(names), tuple(items), values)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
