"""Lists of models: what the user wants to scrape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metabench_py.benchmarks import Benchmark
from metabench_py.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

LEADERBOARD = "leaderboard"


def read_names(path: Path) -> list[str]:
    """Model names of a text file (one a line, # begins a comment) or of a table's ``name``.

    Raises
    ------
    InputError
        The file is absent, has no such column, or holds no name.
    """
    path = Path(path)
    if path.suffix in (".csv", ".parquet"):
        names = [str(name) for name in read_table(path)["name"].dropna()]
    else:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a readable text file ({error}).") from error
        names = [line.split("#")[0].strip() for line in lines]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise InputError(f"{path}: no model names.", path=str(path))
    return names


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet table that has a column ``name``.

    Raises
    ------
    InputError
        It is absent, not such a table, or has no names.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.", path=str(path))
    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: not a readable CSV or Parquet file ({error}).", path=str(path)
        ) from error
    if "name" not in table.columns:
        raise InputError(
            f"{path}: no column 'name'; the columns are {', '.join(map(str, table.columns[:8]))}.",
            path=str(path),
        )
    return table


def find_leaderboard(folder: Path) -> Path:
    """Path of the leaderboard table in a folder.

    Raises
    ------
    InputError
        There is none.
    """
    for suffix in (".parquet", ".csv"):
        path = Path(folder) / f"{LEADERBOARD}{suffix}"
        if path.is_file():
            return path
    raise InputError(
        f"{folder}: no {LEADERBOARD}.parquet or .csv; run `metabench-py scrape leaderboard` first, "
        "or name the models (--models).",
        path=str(folder),
    )


def from_leaderboard(
    path: Path, benchmarks: Sequence[Benchmark]
) -> dict[str, tuple[Benchmark, ...]]:
    """Take the benchmarks by model: those of which the leaderboard has a score."""
    table = read_table(path)
    absent = [b for b in benchmarks if b not in table.columns]
    if absent:
        raise InputError(
            f"{path}: no column {absent[0]!r}, so this is not a leaderboard table.", path=str(path)
        )
    scored = table[list(benchmarks)].notna().to_numpy()
    wanted = {
        str(name): tuple(b for b, yes in zip(benchmarks, row, strict=True) if yes)
        for name, row in zip(table["name"], scored, strict=True)
    }
    return {name: chosen for name, chosen in wanted.items() if chosen}
