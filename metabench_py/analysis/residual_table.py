"""Residuals of a reconstruction, read from tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metabench_py.analysis.study_tables import (
    columns_of,
    file_row,
    numbers_of,
    require_column,
    rows_of,
    unique_names,
)
from metabench_py.benchmarks import Target
from metabench_py.calibration.tables import fail, read_table, text
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

WhichLlms = Literal["auto", "test", "train", "all"]
_TRAIN, _TEST = ("train", "val", "validation"), ("test",)


@dataclass(frozen=True, eq=False)
class Residuals:
    """Scores and their reconstructions, points of 100; arrays of shape (n_llms,), finite.

    Attributes
    ----------
    which
        Whose they are: ``test``, ``train`` or ``all``.
    n_left_out
        LLMs of the set without a score or a reconstruction.
    n_unplaced
        LLMs that are in no set, where sets count; they are left out too.
    n_train
        Training LLMs among them, as far as a split tells: their residuals may be too small.
    """

    names: tuple[str, ...]
    score: Floats
    predicted: Floats
    which: str
    n_left_out: int
    n_train: int = 0
    n_unplaced: int = 0

    @property
    def residual(self) -> Floats:
        """Reconstructed less true: above 0 the LLM is overrated."""
        return self.predicted - self.score


def load_residuals(
    path: Path,
    target: Target = "grand",
    *,
    predicted: str | None = None,
    score: str | None = None,
    scores: Path | None = None,
    split: Path | None = None,
    which: WhichLlms = "auto",
) -> Residuals:
    """Read reconstructions and true scores.

    Parameters
    ----------
    path
        A table (Parquet, CSV) with ``name`` and the columns below, of ``calibrate select`` its
        ``llms.parquet``, or what ``reconstruct`` wrote (.json, .jsonl, .csv).
    predicted
        Column of reconstructions; left out: ``TARGET.published_prediction``, ``predicted`` or
        ``p``, whichever is there.
    score
        Column of true scores; left out: ``score`` or that of the target's name.
    scores
        Table of true scores; None: `path`. Names may differ, see `rows_of`.
    split
        Table with ``name`` and ``split`` (names as in `scores`); None: the column ``split`` or
        ``set`` of `path`.
    which
        LLMs to take; ``auto``: the test LLMs where a split is known, else all.

    Raises
    ------
    InputError
        Something is absent or no number, a name occurs twice, or no LLM is left.
    """
    table, column = _reconstructed(Path(path), target, predicted)
    names = unique_names(path, table)
    guessed = numbers_of(path, table, column)
    if scores is None:
        candidates = (score,) if score else ("score", target)
        true = numbers_of(path, table, _first(path, table, candidates, "--score or --scores"))
    else:
        other = read_table(scores, ("name",))
        name = _first(scores, other, (score,) if score else (target, "score"), "--score")
        values = numbers_of(scores, other, name)
        rows_there = rows_of(names, unique_names(scores, other))
        true = np.array([np.nan if row is None else values[row] for row in rows_there])
    sets = _sets(Path(path), table, names, split)
    if which == "auto":
        which = "all" if sets is None else "test"
    keep, n_unplaced = np.ones(len(names), dtype=bool), 0
    if which != "all":
        if sets is None:
            raise InputError(
                f"{path} has no column 'split', so nobody knows its {which} LLMs; give --split, or "
                "take all.",
                path=str(path),
            )
        wanted = _TEST if which == "test" else _TRAIN
        keep = np.array([one in wanted for one in sets])
        n_unplaced = sum(not one for one in sets)
    there = np.isfinite(true) & np.isfinite(guessed)
    rows = np.flatnonzero(keep & there)
    if len(rows) < 3:
        where = f" in {scores}" if scores is not None else ""
        chosen = "" if which == "all" else f" of the {which} LLMs"
        raise InputError(
            f"{path}: of {len(names)} LLMs {int(there.sum())} have a score{where} and a "
            f"reconstruction; {len(rows)}{chosen} are too few. Compare the names (the first is "
            f"{names[0]!r}), or choose others with --llms.",
            path=str(path),
        )
    return Residuals(
        tuple(names[i] for i in rows),
        true[rows],
        guessed[rows],
        which,
        n_left_out=int((keep & ~there).sum()),
        n_train=0 if sets is None else sum(sets[i] in _TRAIN for i in rows),
        n_unplaced=n_unplaced,
    )


def _reconstructed(path: Path, target: Target, predicted: str | None) -> tuple[DataFrame, str]:
    """Give a table with the target's reconstructions, one row an LLM, and the column's name."""
    if path.suffix in (".json", ".jsonl"):
        return _results(path, target), "predicted"
    # What reconstruct writes calls LLMs "model".
    table = read_table(path, ("name",)) if not _by_model(path) else _csv_results(path, target)
    if "benchmark" in table.columns:
        table = table[table["benchmark"] == target]
        if not len(table):
            raise _no_rows(path, target, "benchmark")
    usual = (f"{target}.published_prediction", "predicted", "p")
    return table, _first(path, table, (predicted,) if predicted else usual, "--predicted")


def _by_model(path: Path) -> bool:
    if path.suffix != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        head = stream.readline().strip().split(",")
    return {"model", "target", "score"} <= set(head)


def _csv_results(path: Path, target: Target) -> DataFrame:
    table = read_table(path, ("model", "target", "score"))
    table = table[table["target"] == target].rename(columns={"model": "name", "score": "predicted"})
    if not len(table):
        raise _no_rows(path, target, "target")
    return table[["name", "predicted"]]


def _no_rows(path: Path, target: Target, column: str) -> InputError:
    return InputError(
        f"{path} has no rows of {target!r} in its column {column!r}; choose another --target.",
        path=str(path),
    )


def _results(path: Path, target: Target) -> DataFrame:
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: no such file.", path=str(path))
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            found = [json.loads(line) for line in content.splitlines() if line.strip()]
        else:
            value = json.loads(content)
            found = value if isinstance(value, list) else [value]
        rows = [(str(one["model"]), _score(one, target)) for one in found]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not what reconstruct writes with --json or --jsonl "
            f"({type(error).__name__}: {error}).",
            path=str(path),
        ) from error
    if not rows:
        raise InputError(f"{path} holds no results.", path=str(path))
    return pd.DataFrame(rows, columns=["name", "predicted"])


def _score(result: Mapping[str, Any], target: Target) -> float:
    value = result["scores"].get(target, {}).get("score")
    return np.nan if value is None else float(value)


def _first(path: Path, table: DataFrame, names: Sequence[str], option: str) -> str:
    for name in names:
        if name in table.columns:
            return name
    if len(names) == 1:
        require_column(path, table, names[0])
    raise InputError(
        f"{path} has none of the columns {', '.join(names)}; name it with {option} (there are "
        f"{columns_of(table)}).",
        path=str(path),
    )


def _sets(
    path: Path, table: DataFrame, names: Sequence[str], split: Path | None
) -> list[str] | None:
    """Give the set of each LLM, empty where it is in none; None where nobody tells sets."""
    if split is None:
        column = next((c for c in ("split", "set") if c in table.columns), None)
        return None if column is None else _set_names(path, table, column)
    other = read_table(split, ("name", "split"))
    sets = _set_names(split, other, "split")
    return ["" if row is None else sets[row] for row in rows_of(names, unique_names(split, other))]


def _set_names(path: Path, table: DataFrame, column: str) -> list[str]:
    sets = [text(value) for value in table[column]]
    for row, one in enumerate(sets):
        if one not in (*_TRAIN, *_TEST, ""):
            fail(
                path, file_row(table, row),
                f"{column} is {one!r}, neither train, val, validation nor test",
            )  # fmt: skip
    return sets
