"""What kind of model each LLM is: architecture and size, read from a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metabench_py.analysis.study_tables import columns_of, numbers_of, rows_of, unique_names
from metabench_py.calibration.tables import read_table, text
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

# What scrapers write where they could not find out; the original's says "error" and -1.
_UNKNOWN = frozenset({"", "error", "unknown", "none", "nan", "?"})


@dataclass(frozen=True, eq=False)
class Kinds:
    """What each of some LLMs is.

    Attributes
    ----------
    architecture
        None where it is not known, or the LLM is not in the table.
    size
        Thousand millions of parameters, shape (n_llms,); NaN where it is not known.
    unmatched
        LLMs whose names are not in the table.
    n_exact
        LLMs whose names are there as they are; the others differ in ``__`` for ``/`` or in case.
    """

    architecture: tuple[str | None, ...]
    size: Floats
    unmatched: tuple[str, ...]
    n_exact: int

    @property
    def n_unknown(self) -> int:
        """LLMs that are in the table, but of an unknown architecture."""
        return sum(one is None for one in self.architecture) - len(self.unmatched)


def load_kinds(
    path: Path,
    names: Sequence[str],
    *,
    name: str = "name",
    architecture: str = "arch",
    size: str = "size",
) -> Kinds:
    """Look LLMs up in a table such as ``scrape leaderboard`` writes.

    Parameters
    ----------
    names
        LLMs.
    name, architecture, size
        Columns; sizes in thousand millions of parameters, unknown where empty or not above 0.

    Raises
    ------
    InputError
        A column is absent, a name occurs twice, or not one LLM is in the table.
    """
    table = read_table(path, ())
    for column, option in (
        (name, "--name-column"), (architecture, "--architecture-column"), (size, "--size-column")
    ):  # fmt: skip
        if column not in table.columns:
            raise InputError(
                f"{path} has no column {column!r}; name it with {option} (there are "
                f"{columns_of(table)}).",
                path=str(path),
                column=column,
            )
    kinds = [text(one) for one in table[architecture]]
    sizes = numbers_of(path, table, size)
    known = unique_names(path, table, name)
    rows = rows_of(names, known)
    if all(row is None for row in rows):
        raise InputError(
            f"Not one of the {len(names)} LLMs is in {path} (the first is {names[0]!r}, there "
            f"{known[0]!r}); name the column of names with --name-column.",
            path=str(path),
        )
    sizes = np.where(sizes > 0, sizes, np.nan)
    return Kinds(
        architecture=tuple(
            None if row is None or kinds[row].lower() in _UNKNOWN else kinds[row] for row in rows
        ),
        size=np.array([np.nan if row is None else sizes[row] for row in rows]),
        unmatched=tuple(one for one, row in zip(names, rows, strict=True) if row is None),
        n_exact=len(set(names) & set(known)),
    )
