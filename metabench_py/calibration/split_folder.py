"""The split on files: a table of scores in, a table of train and test LLMs out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench_py.calibration.split import Split, SplitOptions, split
from metabench_py.calibration.tables import fail, read_table, text
from metabench_py.errors import InputError, StorageError
from metabench_py.irt.model import Floats
from metabench_py.responses import ResponseMatrix
from metabench_py.storage import atomic_path, write_json

# Columns of a table of scores that are no benchmark.
_NO_SCORES = frozenset({"name", "index", "split", "set", "grand", "mean"})


def load_score_table(path: Path) -> tuple[tuple[str, ...], dict[str, Floats]]:
    """Read ``name`` and one column a benchmark (any names; 0-100, empty where absent).

    Columns ``grand``, ``mean``, ``split`` and ``set`` are passed over.

    Returns
    -------
    tuple
        Names, and scores by benchmark, shape (n,), NaN where there is none.

    Raises
    ------
    InputError
        The file is not such a table; the message names the row.
    """
    import pandas as pd

    path = Path(path)
    table = read_table(path, ("name",))
    names = [text(name) for name in table["name"]]
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            fail(path, number, "no name")
        if name in seen:
            fail(path, number, f"{name!r} is in row {seen[name]} already; keep one of them")
        seen[name] = number
    scores: dict[str, Floats] = {}
    for column in [c for c in table.columns if c not in _NO_SCORES]:
        raw = table[column]
        numbers = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        odd = np.isinf(numbers) | (np.isnan(numbers) & raw.notna().to_numpy())
        if odd.any():
            at = int(np.argmax(odd))
            fail(path, at + 1, f"{column} of {names[at]!r} is {raw.iloc[at]!r}, not a score")
        scores[str(column)] = numbers
    if not scores:
        raise InputError(f"{path}: no column with a benchmark's scores.", path=str(path))
    return tuple(names), scores


def split_folder(
    data: Path,
    out: Path | None = None,
    options: SplitOptions | None = None,
    *,
    scores: Path | None = None,
    replace: bool = False,
) -> Split:
    """Split the LLMs of a preprocessed folder.

    Writes ``split.parquet`` (name, split: ``train`` or ``test``) and ``split.json``.

    Parameters
    ----------
    data
        Folder that holds ``scores.parquet``.
    out
        Folder to write to; None: `data`.
    scores
        Another table of scores, see `load_score_table`.
    replace
        Overwrite a split that is there.

    Raises
    ------
    InputError, RUnavailableError
        See `split`; nothing was written.
    StorageError
        A split is there, or the folder cannot be written.
    """
    options = options or SplitOptions()
    folder = Path(out or data)
    target = folder / "split.parquet"
    if target.exists() and not replace:
        raise StorageError(
            f"{target} exists already; choose another folder or say --replace.", path=str(target)
        )
    path = Path(scores) if scores is not None else Path(data) / "scores.parquet"
    try:
        found = split(*load_score_table(path), options)
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}", **{**error.facts, "path": str(path)}) from error
    write_json(folder / "split.json", found.to_dict(options))
    # Last: where it is, the rest is.
    write_split(target, found.llms, found.test)
    return found


def write_split(path: Path, llms: tuple[str, ...], test: NDArray[np.bool_]) -> None:
    """Write the table of train and test LLMs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"name": list(llms), "split": np.where(test, "test", "train").tolist()}
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def load_split(path: Path) -> dict[str, bool]:
    """Read ``split.parquet`` (or CSV): whether each LLM is a test LLM.

    Raises
    ------
    InputError
        The file is not such a table; the message names the row.
    """
    path = Path(path)
    table = read_table(path, ("name", "split"))
    found: dict[str, bool] = {}
    for number, (raw, part) in enumerate(
        zip(table["name"].tolist(), table["split"].tolist(), strict=True), start=1
    ):
        name, where = text(raw), text(part).lower()
        if not name or name in found:
            fail(path, number, f"{name!r} occurs twice" if name else "no name")
        if where not in ("train", "test"):
            fail(path, number, f"the split of {name!r} is {part!r}, neither 'train' nor 'test'")
        found[name] = where == "test"
    return found


def check_split(path: Path, split: Collection[str], matrices: Iterable[ResponseMatrix]) -> None:
    """Refuse a split of other LLMs: it would hold nobody out.

    Raises
    ------
    InputError
        None of its LLMs is in a matrix.
    """
    if split and not any(name in split for matrix in matrices for name in matrix.llms):
        raise InputError(
            f"{path}: none of its {len(split)} LLMs is in the matrices; names must be spelt alike "
            "in all files.",
            path=str(path),
        )
