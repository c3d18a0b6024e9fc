"""Full scores of the LLMs: from a table, or from whole response matrices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.calibration.tables import fail, read_table, text
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING, ResponseMatrix

# Full scores are means over hundreds of items; a column that never exceeds 1 holds shares.
_SHARE_LIMIT = 1.0
# How far a given grand score may be from the mean of the six, in score points.
GRAND_TOLERANCE = 0.01
# Columns by which a leaderboard's table is known.
_LEADERBOARD = frozenset({"link", "complete", "avg"})
# Whose scores in it are others.
_OTHER_IN_LEADERBOARD = frozenset({"mmlu", "truthfulqa"})
_CALIBRATION_CURE = (
    "Leave --scores out to take the scores from whole response matrices, or insist with "
    "--scores-from-leaderboard."
)


@dataclass(frozen=True, eq=False)
class Scores:
    """Full scores of the LLMs that may be calibrated on.

    Attributes
    ----------
    names
        LLMs, unique.
    values
        For each target one score an LLM (0-100), shape (n,); the grand score is the mean.
    n_test, n_incomplete
        LLMs of the file that are not used: of the test split; without one of the scores.
    """

    names: tuple[str, ...]
    values: dict[Target, Floats]
    n_test: int = 0
    n_incomplete: int = 0

    def of(self, names: Iterable[str]) -> dict[Target, Floats]:
        """Scores of these LLMs, in this order."""
        position = {name: i for i, name in enumerate(self.names)}
        at = [position[name] for name in names]
        return {target: column[at] for target, column in self.values.items()}


def load_scores(
    path: Path, *, from_leaderboard: bool = False, cure: str = _CALIBRATION_CURE
) -> Scores:
    """Read the full scores; LLMs of the test split or without a score are counted, not used.

    Parameters
    ----------
    from_leaderboard
        Take a leaderboard's table although its scores are others: TruthfulQA is its mc2 (the
        responses are of mc1), MMLU the mean over subjects (not over items).
    cure
        See `refuse_leaderboard`.
    """
    path = Path(path)
    table = read_table(path, ("name", *BENCHMARKS))
    if not from_leaderboard:
        refuse_leaderboard(path, table.columns, cure)
    names = [text(name) for name in table["name"]]
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            fail(path, number, "no name")
        if name in seen:
            fail(path, number, f"{name!r} is in row {seen[name]} already; keep one of them")
        seen[name] = number
    columns: dict[str, Floats] = {}
    for target in [t for t in TARGETS if t in table.columns]:
        columns[target] = score_column(path, table[target], names)
    mean = np.mean([columns[b] for b in BENCHMARKS], axis=0)
    if "grand" in columns:
        apart = np.abs(columns["grand"] - mean) > GRAND_TOLERANCE
        if apart.any():
            at = int(np.argmax(apart))
            fail(
                path,
                at + 1,
                f"grand of {names[at]!r} is {columns['grand'][at]:g}, but the mean of its six "
                f"scores is {mean[at]:g}; correct it or leave the column out",
            )
    columns["grand"] = mean
    test = np.zeros(len(names), dtype=bool)
    if "split" in table.columns:
        test = np.array([text(split).lower() == "test" for split in table["split"]], dtype=bool)
    complete = np.isfinite(mean)
    kept = complete & ~test
    if not kept.any():
        raise InputError(
            f"{path}: no LLM outside the test split has all six scores.", path=str(path)
        )
    return Scores(
        names=tuple(name for name, keep in zip(names, kept, strict=True) if keep),
        values={t: columns[t][kept] for t in TARGETS},
        n_test=int(test.sum()),
        n_incomplete=int((~complete & ~test).sum()),
    )


def refuse_leaderboard(
    path: Path, columns: Collection[str], cure: str, benchmarks: Collection[str] = BENCHMARKS
) -> None:
    """Refuse a leaderboard's table, whose TruthfulQA and MMLU are not what responses measure.

    Parameters
    ----------
    columns
        Of the table.
    cure
        What to do instead, where the caller is: a sentence.
    benchmarks
        Those that are read.
    """
    if set(columns) >= _LEADERBOARD and not _OTHER_IN_LEADERBOARD.isdisjoint(benchmarks):
        raise InputError(
            f"{path} is a leaderboard's table; its TruthfulQA (mc2) and MMLU (mean over subjects) "
            f"are not the share of right answers that items predict. {cure}",
            path=str(path),
        )


def scores_of_responses(
    matrices: Mapping[Benchmark, ResponseMatrix], chosen: Mapping[Benchmark, int], folder: Path
) -> Scores:
    """Take the full scores from whole matrices: the share of right answers, in percent.

    LLMs that lack an answer, or a matrix, are counted as incomplete.

    Parameters
    ----------
    matrices
        All items of each benchmark.
    chosen
        How many of them are chosen; a matrix of these alone has no full score.

    Raises
    ------
    InputError
        A matrix holds the chosen items only, or no LLM is in all six.
    """
    score: dict[Benchmark, dict[str, float]] = {}
    everybody: set[str] = set()
    for benchmark, matrix in matrices.items():
        if matrix.n_items <= chosen[benchmark]:
            raise InputError(
                f"{folder}: the matrix of {benchmark} holds the chosen items alone, so it has no "
                "full score; give --scores, or matrices of all items.",
                path=str(folder),
                benchmark=benchmark,
            )
        whole = (matrix.values != MISSING).all(axis=1)
        share = 100.0 * (matrix.values == 1).mean(axis=1)
        score[benchmark] = {name: float(share[i]) for i, name in enumerate(matrix.llms) if whole[i]}
        everybody |= set(matrix.llms)
    names = sorted(set.intersection(*(set(known) for known in score.values())))
    if not names:
        raise InputError(
            f"{folder}: no LLM answered all items of all six; names must be spelt alike.",
            path=str(folder),
        )
    values: dict[Target, Floats] = {
        b: np.array([known[name] for name in names]) for b, known in score.items()
    }
    values["grand"] = np.mean([values[b] for b in BENCHMARKS], axis=0)
    return Scores(tuple(names), values, n_incomplete=len(everybody) - len(names))


def score_column(path: Path, raw: Any, names: Sequence[str]) -> Floats:
    """Check a table's column of scores; shape (n,), NaN where there is none.

    Raises
    ------
    InputError
        A value is not a score from 0 to 100 (the row and LLM are named), or all are shares.
    """
    import pandas as pd

    numbers: Floats = pd.to_numeric(raw, errors="coerce").to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    odd = (np.isnan(numbers) & raw.notna().to_numpy()) | (numbers < 0) | (numbers > 100)
    if odd.any():
        at = int(np.argmax(odd))
        fail(
            path,
            at + 1,
            f"{raw.name} of {names[at]!r} is {raw.iloc[at]!r}, not a score from 0 to 100",
        )
    if np.isfinite(numbers).any() and np.nanmax(numbers) <= _SHARE_LIMIT:
        raise InputError(
            f"{path}: {raw.name} never exceeds 1, so these are shares; multiply them by 100.",
            path=str(path),
            column=str(raw.name),
        )
    return numbers
