"""Tables and places that the stages write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabench_py.errors import InputError, StorageError

_TEXT = frozenset(
    {"benchmark", "item", "item_type", "score_method", "method", "grid", "name", "set", "model"}
)
_WHOLE = frozenset({"order", "number", "passes", "n_items", "n_free", "iterations", "n_misfits"})
_TRUTH = frozenset({"converged"})


class Columns:
    """Columns that grow together."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}

    def extend(self, **columns: list[Any]) -> None:
        """Add rows; every column must be given, with as many values as the others."""
        assert len({len(values) for values in columns.values()}) == 1
        assert not self.values or set(columns) == set(self.values)
        for name, values in columns.items():
            self.values.setdefault(name, []).extend(values)


def write_columns(path: Path, columns: Columns) -> None:
    """Write Parquet; a column's kind follows from its name, so that empty ones have it too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(name: str) -> Any:
        if name in _TEXT:
            return pa.string()
        if name in _WHOLE:
            return pa.int64()
        return pa.bool_() if name in _TRUTH else pa.float64()

    arrays = {name: pa.array(values, kind(name)) for name, values in columns.values.items()}
    pq.write_table(pa.table(arrays), path)


def check_out(out: Path, replace: bool, stage: str) -> None:
    """Refuse a folder that is there, or that another program made, before any work is done.

    Raises
    ------
    StorageError
        It is there and may not be replaced.
    InputError
        It holds other things than a stage's result.
    """
    out = Path(out)
    if out.exists() and not replace:
        raise StorageError(
            f"{out} exists already; choose another folder or add --replace.", path=str(out)
        )
    if out.exists() and not (out.is_dir() and (out / "summary.json").is_file()):
        raise InputError(
            f"{out} was not made by calibrate {stage}, so it is not replaced; choose another.",
            path=str(out),
        )
