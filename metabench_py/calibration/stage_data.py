"""What ``fit`` and ``select`` start from: a folder of matrices, full scores, and a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench_py.calibration.matrices import Source, find_sources, load_source
from metabench_py.calibration.scores import refuse_leaderboard, score_column
from metabench_py.calibration.split_folder import check_split, load_split
from metabench_py.calibration.tables import fail, read_table, text
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING, ResponseMatrix

SCORES_FILE = "scores.parquet"
SPLIT_FILE = "split.parquet"


@dataclass(frozen=True, eq=False)
class BenchmarkData:
    """One benchmark's training and test LLMs.

    Attributes
    ----------
    train, test
        Responses; the test matrix may have no rows.
    train_score, test_score
        Full scores (0-100), shape (n_llms,).
    n_left_out
        LLMs of the matrix without a full score, or without an answer.
    """

    benchmark: str
    train: ResponseMatrix
    test: ResponseMatrix
    train_score: Floats
    test_score: Floats
    n_left_out: int = 0

    def left_out(self) -> tuple[str, ...]:
        """Say how many LLMs are left out; nothing where none is."""
        if not self.n_left_out:
            return ()
        n = self.n_left_out + self.train.n_llms + self.test.n_llms
        return (
            f"{self.benchmark}: {self.n_left_out} of {n} LLMs have no full score, or no answers, "
            "and are left out.",
        )

    def without(self, items: frozenset[str]) -> BenchmarkData:
        """Leave these items out."""
        kept = [item for item in self.train.items if item not in items]
        if not kept:
            raise InputError(
                f"{self.benchmark}: all {self.train.n_items} items are excluded; none is left.",
                benchmark=self.benchmark,
            )
        return replace(self, train=self.train.select(kept), test=self.test.select(kept))


def load_stage_data(
    folder: Path,
    scores: Path | None = None,
    split: Path | None = None,
    only: Sequence[str] = (),
) -> dict[str, BenchmarkData]:
    """Read a stage's folder; rows keep the order of the matrices.

    Parameters
    ----------
    folder
        Matrices, see `find_sources`.
    scores
        Table: name, one column a benchmark (0-100). None: ``scores.parquet`` of the folder.
    split
        Table: name, split (``train`` or ``test``). None: ``split.parquet`` of the folder, or no
        test LLMs where it has none.
    only
        Benchmarks to read; empty: all that are there.

    Raises
    ------
    InputError, ResponseError
        Something is absent or wrong; the message names file, row and item.
    """
    folder = Path(folder)
    sources = find_sources(folder, only).found
    table = _load_scores(
        _given_or_there(folder, scores, SCORES_FILE), tuple(one.benchmark for one in sources)
    )
    split_path = split or (folder / SPLIT_FILE)
    known = load_split(split_path) if split or split_path.is_file() else {}
    matrices = {one.benchmark: load_source(one, "c") for one in sources}
    check_split(split_path, known, matrices.values())
    test = frozenset(name for name, held_out in known.items() if held_out)
    return {
        one.benchmark: _join(one, matrices[one.benchmark], table[one.benchmark], test)
        for one in sources
    }


def _given_or_there(folder: Path, given: Path | None, name: str) -> Path:
    path = given or folder / name
    if given is None and not path.is_file():
        raise InputError(
            f"{folder}: no {name} with the full scores; give --scores.", path=str(folder)
        )
    return path


def _load_scores(path: Path, benchmarks: tuple[str, ...]) -> dict[str, dict[str, float]]:
    table = read_table(path, ("name", *benchmarks))
    refuse_leaderboard(
        path, table.columns, "Leave --scores out to take those of calibrate preprocess.", benchmarks
    )
    names = _names(path, [text(name) for name in table["name"]])
    result: dict[str, dict[str, float]] = {}
    for benchmark in benchmarks:
        numbers = score_column(path, table[benchmark], names)
        known = np.isfinite(numbers)
        result[benchmark] = {names[i]: float(numbers[i]) for i in np.flatnonzero(known)}
    return result


def _names(path: Path, names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            fail(path, number, "no name")
        if name in seen:
            fail(path, number, f"{name!r} is in row {seen[name]} already; keep one of them")
        seen[name] = number
    return names


def _join(
    source: Source, matrix: ResponseMatrix, score: Mapping[str, float], test: frozenset[str]
) -> BenchmarkData:
    benchmark, path = source.benchmark, source.parts[0][1]
    answered = (matrix.values != MISSING).any(axis=1)
    scored: NDArray[np.bool_] = np.array([name in score for name in matrix.llms], dtype=bool)
    held: NDArray[np.bool_] = np.array([name in test for name in matrix.llms], dtype=bool)
    parts = []
    for mask in (scored & answered & ~held, scored & answered & held):
        names = tuple(matrix.llms[i] for i in np.flatnonzero(mask))
        values = np.array([score[name] for name in names], dtype=np.float64)
        parts.append((ResponseMatrix(names, matrix.items, matrix.values[mask]), values))
    (train, train_score), (test_rows, test_score) = parts
    if train.n_llms < 2:
        raise InputError(
            f"{path}: {train.n_llms} training LLMs have answers and a full score of {benchmark}; "
            "names must be spelt alike in all files.",
            path=str(path),
            benchmark=benchmark,
        )
    n_left_out = matrix.n_llms - train.n_llms - test_rows.n_llms
    return BenchmarkData(benchmark, train, test_rows, train_score, test_score, n_left_out)
