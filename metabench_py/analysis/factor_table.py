"""The table that factors are sought in: one row an LLM, one column a variable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

_TRAIN, _TEST = ("train", "val"), ("test",)


@dataclass(frozen=True, eq=False)
class FactorTable:
    """What is analysed.

    Attributes
    ----------
    names
        LLMs, unique.
    variables
        Names of the columns.
    values
        Shape (n_llms, n_variables), finite.
    test
        Bool, shape (n_llms,): LLMs on which nothing is fitted.
    against
        What factor scores are compared with (a grand score), shape (n_llms,); None: nothing.
    n_left_out
        LLMs of the file without a number in some column, or without a place in the split.
    """

    names: tuple[str, ...]
    variables: tuple[str, ...]
    values: Floats
    test: np.ndarray
    against: Floats | None = None
    n_left_out: int = 0


def load_factor_table(
    path: Path,
    columns: Sequence[str] = BENCHMARKS,
    against: str | None = None,
    split: Path | None = None,
) -> FactorTable:
    """Read a Parquet or CSV table of LLMs.

    Parameters
    ----------
    path
        Columns ``name`` and those of `columns`; ``split`` (train, val, test) where it has one.
    columns
        What to analyse.
    against
        Column to compare factor scores with; ``grand`` if left out and there.
    split
        Table with ``name`` and ``split``, in place of the column; without either all LLMs are
        training LLMs.

    Raises
    ------
    InputError
        A file or a column is absent, a name occurs twice, or a value is no number.
    """
    wanted = tuple(dict.fromkeys(columns))
    table = _read(path, ("name", *wanted))
    names = table["name"]
    if against is None and "grand" in table.columns and "grand" not in wanted:
        against = "grand"
    if against is not None and against not in table.columns:
        raise InputError(f"{path} has no column {against!r} (--against).", path=str(path))
    _numbers(path, table, (*wanted, *(() if against is None else (against,))))
    keep = np.isfinite(table[list(wanted)].to_numpy(np.float64)).all(axis=1)
    if against is not None:
        keep &= np.isfinite(table[against].to_numpy(np.float64))
    sets = _sets(path, table, split)
    keep &= np.array([s is not None for s in sets], dtype=bool)
    rows = np.flatnonzero(keep)
    return FactorTable(
        names=tuple(str(names.iloc[i]) for i in rows),
        variables=wanted,
        values=table[list(wanted)].to_numpy(np.float64)[rows],
        test=np.array([sets[i] == "test" for i in rows], dtype=bool),
        against=None if against is None else table[against].to_numpy(np.float64)[rows],
        n_left_out=int((~keep).sum()),
    )


def _read(path: Path, columns: Sequence[str]) -> DataFrame:
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.", path=str(path))
    try:
        if ".csv" in path.suffixes:
            table = pd.read_csv(path, dtype={"name": str})
        else:
            table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(
            f"{path} is not a readable table, Parquet or CSV ({first}).", path=str(path)
        ) from error
    if "name" not in table.columns and table.index.name == "name":
        table = table.reset_index()
    absent = [name for name in columns if name not in table.columns]
    if absent:
        there = ", ".join(map(str, table.columns[:8]))
        raise InputError(
            f"{path} has no column {absent[0]!r}; there are {there}. Name columns with --column.",
            path=str(path),
        )
    twice = table["name"].duplicated()
    if twice.any():
        row = int(np.argmax(twice.to_numpy()))
        raise InputError(
            f"{path}, row {row + 1}: the LLM {table['name'].iloc[row]!r} is there twice; keep one.",
            path=str(path),
            row=row + 1,
        )
    return table


def _numbers(path: Path, table: DataFrame, columns: Sequence[str]) -> None:
    for name in columns:
        if table[name].dtype.kind not in "iufb":
            raise InputError(
                f"{path}: column {name!r} holds {table[name].dtype}, not numbers.", path=str(path)
            )


def _sets(path: Path, table: DataFrame, split: Path | None) -> list[str | None]:
    if split is not None:
        other = _read(split, ("name", "split"))
        known = dict(zip(other["name"].astype(str), other["split"].astype(str), strict=True))
        given = [known.get(str(name)) for name in table["name"]]
        path = split
    elif "split" in table.columns:
        given = [str(value) for value in table["split"]]
    else:
        return ["train"] * len(table)
    odd = next((value for value in given if value not in (*_TRAIN, *_TEST, None)), None)
    if odd is not None:
        raise InputError(
            f"{path}: {odd!r} in the column 'split' is neither train, val nor test.", path=str(path)
        )
    return [None if value is None else "test" if value in _TEST else "train" for value in given]
