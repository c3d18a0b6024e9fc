"""Tables and places that the stages write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from metabench_py.errors import InputError, StorageError
from metabench_py.storage import check_writable

_TEXT = frozenset(
    {"benchmark", "item", "item_type", "score_method", "method", "grid", "name", "set", "model"}
)
_WHOLE = frozenset({"order", "number", "passes", "n_items", "n_free", "iterations", "n_misfits"})
_TRUTH = frozenset({"converged"})
SUMMARY = "summary.json"
# By what a summary is known that was written before it named its stage.
_ONCE = {"fit": "best", "select": "n_items"}


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


def check_out(
    out: Path, replace: bool, stage: str, data: Path, others: Sequence[Path | None] = ()
) -> None:
    """Refuse a place that cannot be written, or where something would be lost, before any work.

    Parameters
    ----------
    data, others
        Folder of matrices and further files that are read; None: not given.

    Raises
    ------
    StorageError
        A folder is there and may not be replaced, or nothing can be written there.
    InputError
        It holds what is read, or other things than a result of this stage.
    """
    out = Path(out)
    check_writable(out)
    if _holds(out, data):
        raise InputError(
            f"{out} holds the matrices themselves; write to another folder.", path=str(out)
        )
    for read in others:
        if read is not None and _holds(out, read):
            raise InputError(f"{out} holds {read}; write to another folder.", path=str(out))
    if not out.exists():
        return
    if not replace:
        raise StorageError(
            f"{out} exists already; choose another folder or add --replace.", path=str(out)
        )
    if not (out.is_dir() and (made_by(stage, out) or not any(out.iterdir()))):
        raise InputError(
            f"{out} was not made by calibrate {stage}, so it is not replaced; choose another.",
            path=str(out),
        )


def _holds(out: Path, path: Path) -> bool:
    return out.resolve() in (Path(path).resolve(), *Path(path).resolve().parents)


def made_by(stage: str, folder: Path) -> bool:
    """Tell whether a folder holds a result of this stage, by its summary."""
    try:
        summary = orjson.loads((folder / SUMMARY).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False
    if not isinstance(summary, dict):
        return False
    return bool(summary["stage"] == stage if "stage" in summary else _ONCE.get(stage) in summary)
