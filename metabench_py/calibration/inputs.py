"""What a calibration starts from: items, item responses and full scores, all checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from metabench_py.benchmarks import (
    BENCHMARKS,
    ITEM_TYPES,
    SCORE_METHODS,
    SCORED_METRIC,
    TARGETS,
    Benchmark,
    ItemType,
    ScoreMethod,
    Target,
)
from metabench_py.errors import InputError, ResponseError
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING, ResponseMatrix

if TYPE_CHECKING:
    import pandas as pd

RESPONSE_SUFFIXES = (".parquet", ".csv", ".csv.gz")
# Full scores are means over hundreds of items; a column that never exceeds 1 holds shares.
_SHARE_LIMIT = 1.0
# How far a given grand score may be from the mean of the six, in score points.
GRAND_TOLERANCE = 0.01


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


def load_inputs(responses: Path, scores: Path, items: Path) -> CalibrationInputs:
    """Read and check all three.

    Parameters
    ----------
    responses
        Folder with one matrix a benchmark: ``arc.parquet``, ``gsm8k.csv``, ...
    scores
        Parquet or CSV: ``name``, optional ``split`` (rows of ``test`` are left out), one
        column a benchmark with the full score, 0-100.
    items
        Parquet or CSV: ``benchmark``, ``item``, ``item_type``, ``score_method``, optional
        ``metric``.

    Raises
    ------
    InputError, ResponseError
        Something is absent or wrong; the message names file, row and item.
    """
    lists = load_items(items)
    known = load_scores(scores)
    matrices = load_responses(responses, lists)
    return CalibrationInputs(lists, matrices, known, _common(matrices, known, responses, scores))


def load_items(path: Path) -> dict[Benchmark, ItemList]:
    """Read the list of chosen items."""
    path = Path(path)
    table = _read_table(path, ("benchmark", "item", "item_type", "score_method"))
    rows: dict[Benchmark, list[tuple[str, str, str, str]]] = {b: [] for b in BENCHMARKS}
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(table.to_dict("records"), start=1):
        item = _item_id(row["item"], path, number)
        benchmark = cast("Benchmark", _text(row["benchmark"]).lower())
        if benchmark not in rows:
            _fail(
                path,
                number,
                f"unknown benchmark {row['benchmark']!r}; known are {', '.join(BENCHMARKS)}",
            )
        if (benchmark, item) in seen:
            _fail(
                path,
                number,
                f"item {item!r} of {benchmark} is in row {seen[benchmark, item]} already",
            )
        seen[benchmark, item] = number
        kind, method = _text(row["item_type"]), _text(row["score_method"])
        if kind not in ITEM_TYPES:
            _fail(path, number, f"item_type {kind!r} is not one of {', '.join(ITEM_TYPES)}")
        if method not in SCORE_METHODS:
            _fail(path, number, f"score_method {method!r} is not one of {', '.join(SCORE_METHODS)}")
        metric = _text(row.get("metric")) or SCORED_METRIC[benchmark]
        if rows[benchmark] and rows[benchmark][0][1:] != (kind, method, metric):
            first = ", ".join(rows[benchmark][0][1:])
            _fail(
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


def load_scores(path: Path) -> Scores:
    """Read the full scores; LLMs of the test split or without a score are counted, not used."""
    import pandas as pd

    path = Path(path)
    table = _read_table(path, ("name", *BENCHMARKS))
    names = [_text(name) for name in table["name"]]
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            _fail(path, number, "no name")
        if name in seen:
            _fail(path, number, f"{name!r} is in row {seen[name]} already; keep one of them")
        seen[name] = number
    columns: dict[str, Floats] = {}
    for target in [t for t in TARGETS if t in table.columns]:
        raw = table[target]
        numbers = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        odd = (np.isnan(numbers) & raw.notna().to_numpy()) | (numbers < 0) | (numbers > 100)
        if odd.any():
            at = int(np.argmax(odd))
            _fail(
                path,
                at + 1,
                f"{target} of {names[at]!r} is {raw.iloc[at]!r}, not a score from 0 to 100",
            )
        if np.isfinite(numbers).any() and np.nanmax(numbers) <= _SHARE_LIMIT:
            raise InputError(
                f"{path}: {target} never exceeds 1, so these are shares; multiply them by 100.",
                path=str(path),
                column=target,
            )
        columns[target] = numbers
    mean = np.mean([columns[b] for b in BENCHMARKS], axis=0)
    if "grand" in columns:
        apart = np.abs(columns["grand"] - mean) > GRAND_TOLERANCE
        if apart.any():
            at = int(np.argmax(apart))
            _fail(
                path,
                at + 1,
                f"grand of {names[at]!r} is {columns['grand'][at]:g}, but the mean of its six "
                f"scores is {mean[at]:g}; correct it or leave the column out",
            )
    columns["grand"] = mean
    test = np.zeros(len(names), dtype=bool)
    if "split" in table.columns:
        test = np.array([_text(split).lower() == "test" for split in table["split"]], dtype=bool)
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


def load_responses(
    folder: Path, lists: Mapping[Benchmark, ItemList]
) -> dict[Benchmark, ResponseMatrix]:
    """Read one matrix a benchmark and take the chosen items."""
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
    return {b: _matrix(paths[b][0], lists[b]) for b in lists}


def _matrix(path: Path, chosen: ItemList) -> ResponseMatrix:
    matrix = ResponseMatrix.load(path)
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


def _read_table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
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


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _item_id(value: Any, path: Path, number: int) -> str:
    item = _text(value)
    if not item or isinstance(value, float):
        _fail(path, number, f"the item id is {value!r}; ids are text or whole numbers")
    return item


def _fail(path: Path, number: int, what: str) -> NoReturn:
    # Rows count from 1 without the header.
    raise InputError(f"{path}: row {number}: {what}.", path=str(path), row=number)
