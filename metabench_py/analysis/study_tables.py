"""Columns of the tables that studies read."""

from __future__ import annotations

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
        fail(path, row + 1, f"{name} is {column.iloc[row]!r}, not a number")
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
    for row, name in enumerate(names, start=1):
        if not name or name in seen:
            fail(path, row, f"the LLM {name!r} is there twice; keep one" if name else "no name")
        seen.add(name)
    return names
