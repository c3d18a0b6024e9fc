"""Tables that people give, CSV or Parquet, and complaints about their rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from metabench_py.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """Read a table that has these columns and at least one row; CSV cells stay text."""
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: no such file.", path=str(path))
    try:
        if ".csv" in path.suffixes:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
        else:
            table = pd.read_parquet(path).reset_index()
    except (ValueError, OSError) as error:
        # pyarrow's errors and the decoder's are ValueErrors.
        raise InputError(
            f"{path}: not a readable CSV or Parquet file ({error}).", path=str(path)
        ) from error
    absent = [column for column in needed if column not in table.columns]
    if absent:
        raise InputError(
            f"{path}: no column {', '.join(map(repr, absent))}; needs {', '.join(needed)}.",
            path=str(path),
            columns=absent,
        )
    if table.empty:
        raise InputError(f"{path}: no rows.", path=str(path))
    return table


def text(value: Any) -> str:
    """Give a cell as text, empty where it is missing."""
    return "" if value is None or value != value else str(value).strip()


def item_id(value: Any, path: Path, number: int) -> str:
    """Give an item id; where it is none, complain about row `number`."""
    item = text(value)
    if not item or isinstance(value, float):
        fail(path, number, f"the item id is {value!r}; ids are text or whole numbers")
    return item


def fail(path: Path, number: int, what: str) -> NoReturn:
    """Raise the InputError that names file and row."""
    # Rows count from 1 without the header.
    raise InputError(f"{path}: row {number}: {what}.", path=str(path), row=number)
