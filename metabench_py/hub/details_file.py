"""Reads a details file: answers or prompts, only the columns needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import ResponseError
from metabench_py.responses import MISSING

_PROMPT_COLUMNS = ("full_prompt", "example")


def read_answers(file: Path | memoryview, metric: str) -> NDArray[np.int8]:
    """Read one metric, whichever of the three schemas the file has.

    It is a column, a column called ``metrics.<metric>``, or a field of a struct ``metrics``.
    Only the metric's own column chunk is read.

    Parameters
    ----------
    file
        Where it is, or its content.

    Returns
    -------
    int8, shape (n_items,)
        1 right, 0 wrong, -1 where the file has no value.

    Raises
    ------
    ResponseError
        The file is no Parquet, lacks the metric, or holds something but 0 and 1.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with (
            pa.OSFile(str(file)) if isinstance(file, Path) else pa.BufferReader(file) as stream,
            pq.ParquetFile(stream) as parquet,
        ):
            column = metric_column(parquet.schema_arrow, metric)
            table = parquet.read(columns=[column], use_threads=False)
        values = table.column(0).combine_chunks()
        if pa.types.is_struct(values.type):
            values = values.flatten()[0]
        if values.type != pa.float64():
            values = values.cast(pa.float64())
    except (pa.ArrowException, OSError) as error:
        first = (str(error).strip().splitlines() or ["unreadable"])[0].rstrip(".")
        raise ResponseError(f"not a readable details file ({first}).") from error
    if not len(values):
        raise ResponseError("the file has no rows.")
    numbers, missing = _plain(values)
    bad = ~missing & (numbers != 0) & (numbers != 1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ResponseError(
            f"row {row + 1}: {column} is {numbers[row]:g}, neither 0 nor 1.", column=column
        )
    return np.where(missing, MISSING, numbers).astype(np.int8)


def _plain(values: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give an Arrow array of doubles and where it has none; `to_numpy` would load pandas."""
    bits, data = values.buffers()
    first, n = values.offset, len(values)
    numbers = np.frombuffer(data, np.float64, n, first * np.dtype(np.float64).itemsize)
    missing = np.isnan(numbers)
    if bits is not None:
        known = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
        missing |= known[first : first + n] == 0
    return numbers, missing


def metric_column(schema: object, metric: str) -> str:
    """Name of the metric's column, as Parquet's reader takes it.

    Raises
    ------
    ResponseError
        No column holds it; the message lists those that are there.
    """
    import pyarrow as pa

    assert isinstance(schema, pa.Schema)
    dotted = f"metrics.{metric}"
    for name in (metric, dotted):
        if name in schema.names:
            return name
    if "metrics" in schema.names:
        struct = schema.field("metrics").type
        if pa.types.is_struct(struct) and struct.get_field_index(metric) >= 0:
            return dotted
    raise ResponseError(
        f"no metric {metric!r}; the columns are {', '.join(schema.names[:12])}.", column=metric
    )


def read_prompts(path: Path) -> Iterator[str]:
    """Give the prompts, row by row, from ``full_prompt`` or (older files) ``example``.

    Raises
    ------
    ResponseError
        The file is no Parquet or has neither column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            column = next((c for c in _PROMPT_COLUMNS if c in file.schema_arrow.names), None)
            if column is None:
                raise ResponseError(
                    f"no column {' or '.join(_PROMPT_COLUMNS)}; the columns are "
                    f"{', '.join(file.schema_arrow.names[:12])}.",
                    column=_PROMPT_COLUMNS[0],
                )
            for batch in file.iter_batches(256, columns=[column], use_threads=False):
                for value in batch.column(0).to_pylist():
                    yield "" if value is None else str(value)
    except (pa.ArrowException, OSError) as error:
        first = (str(error).strip().splitlines() or ["unreadable"])[0].rstrip(".")
        raise ResponseError(f"not a readable details file ({first}).") from error
