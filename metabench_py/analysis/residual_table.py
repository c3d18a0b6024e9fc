"""Residuals of a reconstruction, and what kind of model each LLM is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metabench_py.analysis.study_tables import (
    columns_of,
    numbers_of,
    require_column,
    unique_names,
)
from metabench_py.benchmarks import Target
from metabench_py.calibration.tables import read_table, text
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

WhichLlms = Literal["auto", "test", "train", "all"]
_TRAIN, _TEST = ("train", "val", "validation"), ("test",)
# What scrapers write where they could not find out; the original's says "error" and -1.
_UNKNOWN = frozenset({"", "error", "unknown", "none", "nan", "?"})


@dataclass(frozen=True, eq=False)
class Residuals:
    """Scores and their reconstructions, points of 100; arrays of shape (n_llms,), finite.

    Attributes
    ----------
    which
        Whose they are: ``test``, ``train`` or ``all``.
    n_left_out
        LLMs of the set without a score or a reconstruction.
    n_train
        Training LLMs among them, as far as a split tells: their residuals may be too small.
    """

    names: tuple[str, ...]
    score: Floats
    predicted: Floats
    which: str
    n_left_out: int
    n_train: int = 0

    @property
    def residual(self) -> Floats:
        """Reconstructed less true: above 0 the LLM is overrated."""
        return self.predicted - self.score


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
        Table of true scores; None: `path`.
    split
        Table with ``name`` and ``split``; None: the column ``split`` or ``set`` of `path`.
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
        known = dict(zip(unique_names(scores, other), numbers_of(scores, other, name), strict=True))
        true = np.array([known.get(one, np.nan) for one in names])
    sets = _sets(Path(path), table, names, split)
    if which == "auto":
        which = "all" if sets is None else "test"
    keep = np.ones(len(names), dtype=bool)
    if which != "all":
        if sets is None:
            raise InputError(
                f"{path} has no column 'split', so nobody knows its {which} LLMs; give --split, or "
                "take all.",
                path=str(path),
            )
        wanted = _TEST if which == "test" else _TRAIN
        keep = np.array([one in wanted for one in sets])
    there = np.isfinite(true) & np.isfinite(guessed)
    rows = np.flatnonzero(keep & there)
    if len(rows) < 3:
        raise InputError(
            f"{path}: {len(rows)} LLMs ({which}) have a score and a reconstruction; that is too "
            "few.",
            path=str(path),
        )
    return Residuals(
        tuple(names[i] for i in rows),
        true[rows],
        guessed[rows],
        which,
        n_left_out=int((keep & ~there).sum()),
        n_train=0 if sets is None else sum(sets[i] in _TRAIN for i in rows),
    )


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
    table = read_table(path, (name,))
    kinds = [text(one) for one in require_column(path, table, architecture)]
    sizes = numbers_of(path, table, size)
    there = {one: i for i, one in enumerate(unique_names(path, table, name))}
    folded: dict[str, int | None] = {}
    for one, i in there.items():
        # Two that differ in case alone: neither is meant.
        folded[one.casefold()] = None if one.casefold() in folded else i
    rows: list[int | None] = []
    for one in names:
        row = there.get(one)
        if row is None:
            other = one if "/" in one else one.replace("__", "/", 1)
            row = there.get(other, folded.get(other.casefold()))
        rows.append(row)
    if all(row is None for row in rows):
        raise InputError(
            f"Not one of the {len(names)} LLMs is in {path} (the first is {names[0]!r}, there "
            f"{next(iter(there))!r}); name the column of names with --name-column.",
            path=str(path),
        )
    sizes = np.where(sizes > 0, sizes, np.nan)
    return Kinds(
        architecture=tuple(
            None if row is None or kinds[row].lower() in _UNKNOWN else kinds[row] for row in rows
        ),
        size=np.array([np.nan if row is None else sizes[row] for row in rows]),
        unmatched=tuple(one for one, row in zip(names, rows, strict=True) if row is None),
        n_exact=sum(one in there for one in names),
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
            raise InputError(
                f"{path} has no rows of {target!r} in its column 'benchmark'; choose another "
                "--target.",
                path=str(path),
            )
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
        raise InputError(f"{path} has no rows of {target!r}.", path=str(path))
    return table[["name", "predicted"]]


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
) -> list[str | None] | None:
    if split is not None:
        other = read_table(split, ("name", "split"))
        parts = [text(one) for one in other["split"]]
        known = dict(zip(unique_names(split, other), parts, strict=True))
        found: list[str | None] = [known.get(name) for name in names]
        path = split
    else:
        column = next((c for c in ("split", "set") if c in table.columns), None)
        if column is None:
            return None
        found = [text(value) for value in table[column]]
    odd = next((one for one in found if one not in (*_TRAIN, *_TEST, None)), None)
    if odd is not None:
        raise InputError(
            f"{path}: {odd!r} in the column of sets is neither train, val, validation nor test.",
            path=str(path),
        )
    return found
