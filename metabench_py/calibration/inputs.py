"""What a calibration starts from: items, item responses and full scores, all checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from metabench_py.benchmarks import (
    BENCHMARKS,
    ITEM_TYPES,
    SCORE_METHODS,
    SCORED_METRIC,
    Benchmark,
    ItemType,
    ScoreMethod,
)
from metabench_py.calibration.scores import Scores, load_scores, scores_of_responses
from metabench_py.calibration.split_folder import check_split, load_split
from metabench_py.calibration.tables import fail, item_id, read_table, text
from metabench_py.errors import InputError, ResponseError
from metabench_py.responses import MISSING, ResponseMatrix

RESPONSE_SUFFIXES = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class ItemList:
    """The chosen items of one benchmark.

    Attributes
    ----------
    items
        Item ids, in the bundle's order.
    metric
        Which metric of the sample logs is the response.
    """

    benchmark: Benchmark
    items: tuple[str, ...]
    item_type: ItemType
    score_method: ScoreMethod
    metric: str


@dataclass(frozen=True, eq=False)
class CalibrationInputs:
    """Everything that a calibration needs.

    Attributes
    ----------
    items, responses
        By benchmark; the matrices hold the chosen items only, in the list's order.
    scores
        Full scores.
    llms
        LLMs of the second stage, sorted: those with all scores that answered every item.
    """

    items: dict[Benchmark, ItemList]
    responses: dict[Benchmark, ResponseMatrix]
    scores: Scores
    llms: tuple[str, ...]


def load_inputs(
    responses: Path,
    scores: Path | None,
    items: Path | Mapping[Benchmark, ItemList],
    *,
    scores_from_leaderboard: bool = False,
    split: Path | None = None,
) -> CalibrationInputs:
    """Read and check all three.

    Parameters
    ----------
    responses
        Folder with one matrix a benchmark: ``arc.parquet``, ``gsm8k.csv``, ...
    scores
        Parquet or CSV: ``name``, optional ``split`` (rows of ``test`` are left out), one
        column a benchmark with the full score, 0-100. None: the share of right answers in the
        matrices, which must then hold all items.
    items
        Parquet or CSV: ``benchmark``, ``item``, ``item_type``, ``score_method``, optional
        ``metric``; or the lists themselves.
    scores_from_leaderboard
        See `load_scores`.
    split
        Table: name, split (``train`` or ``test``); test LLMs have no part in anything. (Those
        that `scores` marks have one in the item parameters.)

    Raises
    ------
    InputError, ResponseError
        Something is absent or wrong; the message names file, row and item.
    """
    lists = load_items(items) if isinstance(items, Path) else dict(items)
    known = None
    if scores is not None:
        known = load_scores(scores, from_leaderboard=scores_from_leaderboard)
    whole = _matrices(responses, lists)
    if split is not None:
        parts = load_split(split)
        check_split(split, parts, (matrix for _, matrix in whole.values()))
        test = {name for name, held_out in parts.items() if held_out}
        whole = {b: (path, _without(matrix, test)) for b, (path, matrix) in whole.items()}
    matrices = {b: _chosen(*whole[b], lists[b]) for b in lists}
    if known is None:
        chosen = {b: len(lists[b].items) for b in lists}
        known = scores_of_responses({b: m for b, (_, m) in whole.items()}, chosen, responses)
    common = _common(matrices, known, responses, scores or responses)
    return CalibrationInputs(lists, matrices, known, common)


def load_items(path: Path) -> dict[Benchmark, ItemList]:
    """Read the list of chosen items."""
    path = Path(path)
    table = read_table(path, ("benchmark", "item", "item_type", "score_method"))
    rows: dict[Benchmark, list[tuple[str, str, str, str]]] = {b: [] for b in BENCHMARKS}
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(table.to_dict("records"), start=1):
        item = item_id(row["item"], path, number)
        benchmark = cast("Benchmark", text(row["benchmark"]).lower())
        if benchmark not in rows:
            fail(
                path,
                number,
                f"unknown benchmark {row['benchmark']!r}; known are {', '.join(BENCHMARKS)}",
            )
        if (benchmark, item) in seen:
            fail(
                path,
                number,
                f"item {item!r} of {benchmark} is in row {seen[benchmark, item]} already",
            )
        seen[benchmark, item] = number
        kind, method = text(row["item_type"]), text(row["score_method"])
        if kind not in ITEM_TYPES:
            fail(path, number, f"item_type {kind!r} is not one of {', '.join(ITEM_TYPES)}")
        if method not in SCORE_METHODS:
            fail(path, number, f"score_method {method!r} is not one of {', '.join(SCORE_METHODS)}")
        metric = text(row.get("metric")) or SCORED_METRIC[benchmark]
        if rows[benchmark] and rows[benchmark][0][1:] != (kind, method, metric):
            first = ", ".join(rows[benchmark][0][1:])
            fail(
                path,
                number,
                f"{kind}, {method}, {metric} for item {item!r}, but {benchmark} began with "
                f"{first}; a benchmark has one model, one method and one metric",
            )
        rows[benchmark].append((item, kind, method, metric))
    absent = [b for b in BENCHMARKS if not rows[b]]
    if absent:
        raise InputError(
            f"{path}: no items of {', '.join(absent)}; a bundle needs all six benchmarks.",
            path=str(path),
            benchmarks=absent,
        )
    return {
        b: ItemList(b, tuple(r[0] for r in rows[b]), rows[b][0][1], rows[b][0][2], rows[b][0][3])  # type: ignore[arg-type]
        for b in BENCHMARKS
    }


def load_matrix(path: Path) -> ResponseMatrix:
    """Read a matrix; LLMs are named without spaces at the ends, as tables name them.

    Raises
    ------
    ResponseError
        The file is not a matrix, or a name occurs twice.
    """
    matrix = ResponseMatrix.load(path)
    names = tuple(name.strip() for name in matrix.llms)
    if names == matrix.llms:
        return matrix
    try:
        return ResponseMatrix(names, matrix.items, matrix.values)
    except ResponseError as error:
        raise ResponseError(f"{path}: {error}", **{**error.facts, "path": str(path)}) from error


def _matrices(
    folder: Path, lists: Mapping[Benchmark, ItemList]
) -> dict[Benchmark, tuple[Path, ResponseMatrix]]:
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; give the one that holds {BENCHMARKS[0]}.parquet and so on.",
            path=str(folder),
        )
    paths = {b: [p for s in RESPONSE_SUFFIXES if (p := folder / (b + s)).is_file()] for b in lists}
    absent = [b for b, found in paths.items() if not found]
    if absent:
        raise InputError(
            f"{folder}: no responses of {', '.join(absent)}; expected {absent[0]}.parquet or "
            f"{absent[0]}.csv.",
            path=str(folder),
            benchmarks=absent,
        )
    for found in paths.values():
        if len(found) > 1:
            raise InputError(
                f"{folder}: both {found[0].name} and {found[1].name}; keep one of them.",
                path=str(folder),
            )
    return {b: (paths[b][0], load_matrix(paths[b][0])) for b in lists}


def _without(matrix: ResponseMatrix, test: set[str]) -> ResponseMatrix:
    return matrix.rows(name for name in matrix.llms if name not in test)


def _chosen(path: Path, matrix: ResponseMatrix, chosen: ItemList) -> ResponseMatrix:
    try:
        matrix = matrix.select(chosen.items)
    except ResponseError as error:
        raise ResponseError(
            f"{path}: {error} Correct the item list or this file.",
            **{**error.facts, "path": str(path)},
        ) from error
    right, wrong = (matrix.values == 1).any(axis=0), (matrix.values == 0).any(axis=0)
    if not (right & wrong).all():
        item = matrix.items[int(np.argmin(right & wrong))]
        how = "right" if right[matrix.items.index(item)] else "wrong or not at all"
        raise ResponseError(
            f"{path}: item {item!r} was answered {how} by every LLM, so it has no parameters; "
            "leave it out of the item list.",
            path=str(path),
            item=item,
        )
    return matrix


def _common(
    matrices: Mapping[Benchmark, ResponseMatrix], scores: Scores, folder: Path, path: Path
) -> tuple[str, ...]:
    common = set(scores.names)
    for benchmark, matrix in matrices.items():
        complete = (matrix.values != MISSING).all(axis=1)
        names = {name for name, whole in zip(matrix.llms, complete, strict=True) if whole}
        if not common & names:
            raise InputError(
                f"{folder}: no LLM with scores in {path} answered every item of {benchmark} and of "
                "the benchmarks before it; names must be spelt alike in all files.",
                path=str(folder),
                benchmark=benchmark,
            )
        common &= names
    return tuple(sorted(common))
