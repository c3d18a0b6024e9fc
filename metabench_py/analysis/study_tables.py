"""Columns and LLMs of the tables that studies read; rows that complaints name are the file's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metabench_py.calibration.tables import fail, text
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

if TYPE_CHECKING:
    from pandas import DataFrame, Series


def require_column(path: Path, table: DataFrame, name: str) -> Series:
    """Give a column.

    Raises
    ------
    InputError
        There is none of that name; the message says which there are.
    """
    if name not in table.columns:
        raise InputError(
            f"{path} has no column {name!r}; there are {columns_of(table)}.",
            path=str(path),
            column=name,
        )
    return table[name]


def columns_of(table: DataFrame) -> str:
    """Name the columns of a table, for messages."""
    names = [str(name) for name in table.columns if name != "index"]
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def numbers_of(path: Path, table: DataFrame, name: str) -> Floats:
    """Give a column of numbers, NaN where it is empty.

    Raises
    ------
    InputError
        It is absent or holds other things; the message names the row.
    """
    import pandas as pd

    column = require_column(path, table, name)
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = np.isnan(values) & column.notna().to_numpy()
    if odd.any():
        row = int(np.argmax(odd))
        fail(path, file_row(table, row), f"{name} is {column.iloc[row]!r}, not a number")
    return values


def unique_names(path: Path, table: DataFrame, key: str = "name") -> list[str]:
    """Give the LLMs' names.

    Raises
    ------
    InputError
        One is there twice, or a row has none; the message names the row.
    """
    names = [text(name) for name in require_column(path, table, key)]
    seen: set[str] = set()
    for row, name in enumerate(names):
        if not name or name in seen:
            what = f"the LLM {name!r} is there twice; keep one" if name else "no name"
            fail(path, file_row(table, row), what)
        seen.add(name)
    return names


def file_row(table: DataFrame, row: int) -> int:
    """Give a row's number in the file, from 1: a table may hold some of its rows."""
    return int(table.index[row]) + 1


def rows_of(names: Sequence[str], known: Sequence[str]) -> list[int | None]:
    """Look LLMs up by name.

    Parameters
    ----------
    known
        Different names.

    Returns
    -------
    list
        The row of each name in `known`: of the same one, else of the only one that differs from
        it in ``__`` for ``/`` or in case; None where there is none.
    """
    there = {one: i for i, one in enumerate(known)}
    folded: dict[str, int | None] = {}
    for one, i in there.items():
        # Two that differ in case alone: neither is meant.
        folded[one.casefold()] = None if one.casefold() in folded else i
    rows: list[int | None] = []
    for name in names:
        row = there.get(name)
        if row is None:
            other = name if "/" in name else name.replace("__", "/", 1)
            row = there.get(other, folded.get(other.casefold()))
        rows.append(row)
    return rows
