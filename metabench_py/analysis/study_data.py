"""What the studies of items start from: answers, scores, and folds by organisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.calibration.folds import group_folds, organisation_numbers
from metabench_py.calibration.inputs import RESPONSE_SUFFIXES
from metabench_py.calibration.matrices import find_sources, load_source
from metabench_py.calibration.scores import refuse_leaderboard, score_column
from metabench_py.calibration.split_folder import load_split
from metabench_py.calibration.tables import read_table, text
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING, ResponseMatrix
from metabench_py.stack.near_duplicates import LEAST_ITEMS, join_labels, near_duplicates

TEST = -1
_LEAST_IN_FOLD = 2


@dataclass(frozen=True, eq=False)
class StudyData:
    """One benchmark's LLMs that answered everything and have a score.

    Attributes
    ----------
    answers
        int8, shape (n_llms, n_items): 1 right, 0 wrong.
    score
        0-100, shape (n_llms,).
    fold
        0 to `n_folds` - 1, or -1: a test LLM; shape (n_llms,). LLMs of an organisation, and
        near-duplicates, share a fold.
    own_score
        Whether the score is the share of right answers to `items`.
    flat
        Items left out because all training LLMs of some fold's fit answered them alike.
    n_incomplete, n_unscored
        LLMs left out for a missing answer; for a missing score.
    """

    benchmark: str
    llms: tuple[str, ...]
    items: tuple[str, ...]
    answers: NDArray[np.int8]
    score: Floats
    fold: NDArray[np.int64]
    n_folds: int
    own_score: bool
    flat: tuple[str, ...] = ()
    n_incomplete: int = 0
    n_unscored: int = 0

    @property
    def n_test(self) -> int:
        """Test LLMs."""
        return int((self.fold == TEST).sum())

    def training(self, held: int) -> NDArray[np.bool_]:
        """Who a fit without fold `held` sees; all training LLMs where it is -1."""
        mask: NDArray[np.bool_] = (self.fold != TEST) & (self.fold != held)
        return mask

    def matrix(self, mask: NDArray[np.bool_], columns: Sequence[int]) -> ResponseMatrix:
        """Answers of some LLMs to some items."""
        at = list(columns)
        return ResponseMatrix(
            tuple(name for name, take in zip(self.llms, mask, strict=True) if take),
            tuple(self.items[i] for i in at),
            self.answers[mask][:, at],
        )

    def notes(self) -> list[str]:
        """Tell in sentences what was left out."""
        found = []
        if self.n_incomplete:
            found.append(f"{self.n_incomplete} LLMs lack an answer")
        if self.n_unscored:
            found.append(f"{self.n_unscored} LLMs have no score")
        if self.flat:
            more = f" and {len(self.flat) - 1} more" if len(self.flat) > 1 else ""
            found.append(f"item {self.flat[0]!r}{more} is answered alike by (nearly) all LLMs")
        return [f"{self.benchmark}: {one}; left out." for one in found]

    def about(self) -> dict[str, Any]:
        """Give what a result says of its data; JSON values."""
        return {
            "n_llms": int((self.fold != TEST).sum()),
            "n_test": self.n_test,
            "n_items": len(self.items),
            "n_folds": self.n_folds,
            "score": "share of right answers in the matrix" if self.own_score else "full score",
            "items_left_out": list(self.flat),
            "n_incomplete": self.n_incomplete,
            "n_unscored": self.n_unscored,
        }


def load_studies(
    responses: Path,
    scores: Path | None = None,
    split: Path | None = None,
    only: Sequence[str] = (),
    *,
    folds: int = 5,
    seed: int = 1,
) -> dict[str, StudyData]:
    """Read matrices and scores, and give every training LLM a fold, the same in all benchmarks.

    Parameters
    ----------
    responses
        A matrix, named by its benchmark (``arc.parquet``), or a folder of such.
    scores
        Table: name, one column a benchmark (0-100). None: the share of right answers.
    split
        Table: name, split (``train``, ``test``). None: the column ``split`` of `scores`, or no
        test LLMs.
    only
        Benchmarks to read; empty: all.
    folds, seed
        See `group_folds`.

    Raises
    ------
    InputError, ResponseError
        Something is absent or wrong; the message names file, row and item.
    """
    matrices = _matrices(Path(responses), only)
    points = None if scores is None else _scores(Path(scores), tuple(matrices))
    held: Mapping[str, bool] = {}
    if split is not None:
        held = load_split(split)
    elif scores is not None and "split" in read_table(Path(scores), ("name",)).columns:
        held = load_split(Path(scores))
    parts = {
        name: _complete(name, matrix, Path(responses), scores, points)
        for name, matrix in matrices.items()
    }
    training = sorted({n for one in parts.values() for n in one.llms if not held.get(n, False)})
    if not training:
        raise InputError(f"{responses}: no LLM is left to learn from.", path=str(responses))
    groups = _groups(training, parts)
    fold = dict(zip(training, group_folds(training, groups, folds, seed).tolist(), strict=True))
    return {name: _folded(one, fold, folds) for name, one in parts.items()}


def _matrices(path: Path, only: Sequence[str]) -> dict[str, ResponseMatrix]:
    suffix = next((s for s in RESPONSE_SUFFIXES if path.name.endswith(s)), path.suffix)
    # A name that ends as a matrix's is no folder, even where there is no such file.
    if path.is_file() or (suffix in RESPONSE_SUFFIXES and not path.exists()):
        name = path.name.removesuffix(suffix)
        if only and list(only) != [name]:
            raise InputError(
                f"{path} is the matrix of {name!r}, not of {', '.join(only)}; give the folder.",
                path=str(path),
            )
        return {name: ResponseMatrix.load(path)}
    return {s.benchmark: load_source(s, "c") for s in find_sources(path, only).found}


def _scores(path: Path, benchmarks: tuple[str, ...]) -> dict[str, dict[str, float]]:
    table = read_table(path, ("name", *benchmarks))
    refuse_leaderboard(
        path,
        table.columns,
        "Leave --scores out to take the share of right answers in the matrices, or choose "
        "other benchmarks with --benchmark.",
        benchmarks,
    )
    names = [text(name) for name in table["name"]]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"{path}: the LLM {twice!r} is there twice; keep one.", path=str(path))
    return {
        b: {
            name: float(value)
            for name, value in zip(names, score_column(path, table[b], names), strict=True)
            if np.isfinite(value)
        }
        for b in benchmarks
    }


def _complete(
    benchmark: str,
    matrix: ResponseMatrix,
    responses: Path,
    scores: Path | None,
    points: dict[str, dict[str, float]] | None,
) -> StudyData:
    absent = matrix.values == MISSING
    whole = ~absent.any(axis=1)
    if not whole.any():
        item = int(absent.sum(axis=0).argmax())
        raise InputError(
            f"{responses}: {benchmark}: no LLM answered all {matrix.n_items} items; "
            f"{matrix.items[item]!r} lacks the most answers ({int(absent[:, item].sum())} of "
            f"{matrix.n_llms}). Leave such items out.",
            path=str(responses),
            benchmark=benchmark,
        )
    scored = np.ones(matrix.n_llms, bool)
    share = 100.0 * (matrix.values == 1).mean(axis=1)
    if points is not None:
        known = points[benchmark]
        scored = np.array([name in known for name in matrix.llms], bool)
        share = np.array([known.get(name, np.nan) for name in matrix.llms])
    kept = whole & scored
    if not kept.any():
        one = matrix.llms[int(np.flatnonzero(whole)[0])]
        raise InputError(
            f"{scores}: no score in {benchmark} of any LLM that has all answers, such as "
            f"{one!r} of {responses}; names must be spelt alike in both files.",
            path=str(scores),
            benchmark=benchmark,
        )
    return StudyData(
        benchmark,
        tuple(matrix.llms[i] for i in np.flatnonzero(kept)),
        matrix.items,
        matrix.values[kept],
        share[kept],
        np.zeros(int(kept.sum()), np.int64),
        0,
        points is None,
        n_incomplete=int((~whole).sum()),
        n_unscored=int((whole & ~scored).sum()),
    )


def _groups(names: list[str], parts: Mapping[str, StudyData]) -> NDArray[np.int64]:
    """Organisations, joined where LLMs that are in every matrix are near-duplicates."""
    groups = organisation_numbers(names)
    position = {name: i for i, name in enumerate(names)}
    common = set(names).intersection(*(one.llms for one in parts.values()))
    n_items = sum(len(one.items) for one in parts.values())
    if len(common) < 2 or n_items < LEAST_ITEMS:
        return groups
    order = sorted(common)
    answers = []
    for one in parts.values():
        row = {name: i for i, name in enumerate(one.llms)}
        answers.append(one.answers[[row[name] for name in order]])
    same = np.arange(len(names)) + len(names)
    same[[position[name] for name in order]] = near_duplicates(answers)
    return join_labels(groups, same)


def _folded(one: StudyData, fold: Mapping[str, int], n_folds: int) -> StudyData:
    number = np.array([fold.get(name, TEST) for name in one.llms], np.int64)
    for held in range(n_folds):
        size = int((number == held).sum())
        if size < _LEAST_IN_FOLD:
            raise InputError(
                f"{one.benchmark}: fold {held + 1} of {n_folds} holds {size} of its LLMs; take "
                "fewer folds.",
                benchmark=one.benchmark,
            )
    right = one.answers == 1
    varied = np.ones(len(one.items), bool)
    for held in range(n_folds):
        seen = right[(number != TEST) & (number != held)]
        varied &= seen.any(axis=0) & ~seen.all(axis=0)
    if int(varied.sum()) < 2:
        raise InputError(
            f"{one.benchmark}: {int(varied.sum())} items are answered right by some training LLMs "
            "and wrong by others; two or more are needed.",
            benchmark=one.benchmark,
        )
    answers = np.ascontiguousarray(one.answers[:, varied])
    found = replace(
        one,
        items=tuple(one.items[i] for i in np.flatnonzero(varied)),
        answers=answers,
        # Of the items that are left, so that what is told of the share right holds of the score.
        score=100.0 * answers.mean(axis=1) if one.own_score else one.score,
        fold=number,
        n_folds=n_folds,
        flat=tuple(one.items[i] for i in np.flatnonzero(~varied)),
    )
    for held in range(n_folds):
        seen_scores = found.score[found.training(held)]
        if np.ptp(seen_scores) == 0.0:
            raise InputError(
                f"{one.benchmark}: all {len(seen_scores)} training LLMs outside fold {held + 1} "
                f"have the score {seen_scores[0]:g}, which tells nothing; give scores that differ.",
                benchmark=one.benchmark,
            )
    return found
