"""Reads one sample log: which item was answered right."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark
from metabench_py.errors import LogError
from metabench_py.logs.documents import MISMATCH, has_document, same_document
from metabench_py.responses import MISSING

# A row with its documents has some 30 kB; these say that a file is something else.
_LONGEST_LINE = 1 << 26
_MOST_ROWS = 200_000
GSM8K_FILTER = "strict-match"
FIRST_ROW = "first row"
_BOM = b"\xef\xbb\xbf"
# What a row has beside its metrics.
_NO_METRIC = frozenset(
    "doc_id doc target arguments resps filtered_resps filter metrics doc_hash prompt_hash "
    "target_hash".split()
)

Key = int | str | tuple[str, int | str]


@dataclass(frozen=True, eq=False)
class LogResponses:
    """One benchmark's responses from one log.

    Attributes
    ----------
    values
        int8, shape (n_items,), in the order of the items asked for; -1 where the log has none.
    nan_items
        Items whose log-likelihoods were NaN: the run is broken there, so they count as missing.
    filter
        Which of GSM8K's two filters was read: by its name, or ``first row``; None for others.
    unverified
        Rows without document (reduced ones): that the document scored is the one asked about
        cannot be checked there.
    others
        Items of the log that were not asked for, in its order.
    """

    path: Path
    values: NDArray[np.int8]
    nan_items: tuple[str, ...]
    filter: str | None
    unverified: int = 0
    others: tuple[str, ...] = ()


def item_lookup(benchmark: Benchmark, items: tuple[str, ...]) -> dict[Key, int]:
    """Position of each item by the key that the logs have: a number, for MMLU with its subject."""
    lookup: dict[Key, int] = {}
    for position, item in enumerate(items):
        subject, _, number = item.rpartition(".")
        for index in (number, int(number) if number.isdigit() else number):
            lookup[(subject, index) if benchmark == "mmlu" else index] = position
    return lookup


def read_log(
    path: Path,
    benchmark: Benchmark,
    metric: str,
    items: tuple[str, ...],
    lookup: Mapping[Key, int] | None = None,
) -> LogResponses:
    """Read a sample log of lm-eval, raw or reduced to item keys, filter and metrics.

    Rows of other items are left aside: a bundle may hold a part of a run's items.

    Parameters
    ----------
    metric
        Which metric of a row is the item's response.
    items
        Ids of the items asked for.
    lookup
        `item_lookup` of these items, where many logs are read.

    Raises
    ------
    LogError
        The file is unreadable, cut off, not JSON lines, not UTF-8; a row lacks the metric or
        its value is not 0 or 1; an item occurs twice; none is among `items`; the document
        scored is not the one asked about.
    """
    lookup = item_lookup(benchmark, items) if lookup is None else lookup
    values = np.full(len(items), MISSING, dtype=np.int8)
    nan_items: list[str] = []
    # GSM8K has a row for each of two filters; logs of 2024 do not name them, strict-match is first.
    two_rows = benchmark == "gsm8k"
    subjects = benchmark == "mmlu"
    seen: dict[int, int] = {}
    filters: set[str | None] = set()
    # Item to its line.
    others: dict[str, int] = {}
    known = False
    unverified = 0
    number = 0
    try:
        with path.open("rb") as stream:
            while line := stream.readline(_LONGEST_LINE):
                number += 1
                if number > _MOST_ROWS:
                    _fail(path, number, f"more than {_MOST_ROWS:,} rows; it is no metabench log")
                try:
                    row = orjson.loads(line)
                    doc = row["doc"]
                    key = doc["metabench_idx"]
                    position = lookup.get((doc["subject"], key) if subjects else key)
                    value = None if position is None else row[metric]
                except (orjson.JSONDecodeError, KeyError, TypeError):
                    row = _parse(path, number, line)
                    if row is None:
                        continue
                    position, value = _look(path, number, row, metric, lookup, benchmark)
                    doc = row["doc"]
                if position is None:
                    others.setdefault(_shown(doc, subjects), number)
                    continue
                known = True
                if value not in (0, 1):
                    _bad_value(path, number, items[position], metric, value)
                if not has_document(row):
                    unverified += 1
                elif not same_document(doc, row["doc_hash"]):
                    # orjson reads whole numbers beyond 64 bits as decimal ones; json does not.
                    if not same_document(_parse(path, number, line)["doc"], row["doc_hash"]):
                        item = items[position]
                        _fail(path, number, f"item {item!r}: {MISMATCH}", item=item)
                if two_rows:
                    name = row.get("filter")
                    if name is not None and not isinstance(name, str):
                        _fail(path, number, "the filter's name is no text")
                    filters.add(name)
                    if name not in (None, GSM8K_FILTER):
                        continue
                    if name is None and 0 < seen.get(position, 0):
                        if seen[position] < 0:
                            _twice(path, number, items[position])
                        seen[position] = -number
                        continue
                if position in seen:
                    _twice(path, number, items[position])
                seen[position] = number
                # GSM8K's outputs are texts; "nan" there is a word.
                if not two_rows and _has_nan(row):
                    nan_items.append(items[position])
                    continue
                values[position] = value
    except OSError as error:
        raise LogError(
            f"{path}: cannot be read ({error.strerror or error}).", path=str(path), line=None
        ) from error
    if not number:
        raise LogError(
            f"{path} is empty: the run was cut off before it wrote. Run lm-eval again.",
            path=str(path),
            line=None,
        )
    if others and not known:
        item, first = next(iter(others.items()))
        what = f"item {item!r} is not in the bundle, nor is any other item of the log"
        _fail(path, first, f"{what}; name the bundle whose items were run (--bundle)", item=item)
    used = _used_filter(path, filters) if two_rows else None
    if used == FIRST_ROW:
        _check_pairs(path, seen, items)
    return LogResponses(path, values, tuple(nan_items), used, unverified, tuple(others))


def _used_filter(path: Path, filters: set[str | None]) -> str:
    if GSM8K_FILTER in filters:
        if None in filters:
            _fail(path, None, "only some rows name their filter; run lm-eval again")
        return GSM8K_FILTER
    if filters == {None}:
        return FIRST_ROW
    names = ", ".join(sorted(str(name) for name in filters))
    _fail(path, None, f"no rows of the filter {GSM8K_FILTER!r}, only of {names}")


def _check_pairs(path: Path, seen: Mapping[int, int], items: tuple[str, ...]) -> None:
    """Refuse an item of one row: whether it is strict-match cannot be told without its other."""
    # A second row has made the number negative.
    for position, number in seen.items():
        if number > 0:
            _fail(
                path,
                number,
                f"item {items[position]!r} has one row, and a log that does not name its filters "
                "has two an item, strict-match first; run lm-eval again",
                item=items[position],
            )


def _parse(path: Path, number: int, line: bytes) -> Any:
    """Read a line that the fast way could not; None where it is blank."""
    if number == 1 and line.startswith(_BOM):
        line = line[len(_BOM) :]
    if not line.strip():
        return None
    if len(line) >= _LONGEST_LINE:
        _fail(path, number, f"longer than {_LONGEST_LINE >> 20} MiB; it is no sample log")
    if b"\0" in line:
        _fail(path, number, "binary content (or UTF-16); a sample log is UTF-8 text")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        _fail(path, number, f"not UTF-8 (byte {error.start + 1} of the line)")
    try:
        # orjson refuses the NaN that Python's json writes.
        row = json.loads(text)
    except json.JSONDecodeError as error:
        if not line.endswith(b"\n"):
            _fail(
                path,
                number,
                "the last line is cut off, so the run did not finish writing; run lm-eval again",
            )
        _fail(path, number, f"not JSON ({error.msg} at column {error.colno})")
    except RecursionError:
        _fail(path, number, "JSON nested too deeply; it is no sample log")
    if not isinstance(row, dict):
        _fail(path, number, "not a JSON object; a sample log has one object a line")
    return row


def _look(
    path: Path,
    number: int,
    row: dict[str, Any],
    metric: str,
    lookup: Mapping[Key, int],
    benchmark: Benchmark,
) -> tuple[int | None, Any]:
    """Find a row's item (None: not asked for) and metric, or say what is wrong with it."""
    doc = row.get("doc")
    if not isinstance(doc, dict) or "metabench_idx" not in doc:
        _fail(
            path,
            number,
            "no doc.metabench_idx, so it is not of a metabench task; "
            "run lm-eval on the task group metabench or metabench_secondary",
        )
    subjects = benchmark == "mmlu"
    if subjects and "subject" not in doc:
        _fail(path, number, "no doc.subject, which MMLU items need")
    key: Any = doc["metabench_idx"]
    shown = _shown(doc, subjects)
    try:
        position = lookup.get((doc["subject"], key) if subjects else key)
    except TypeError:
        _fail(path, number, f"item {shown!r} is no text or number", item=shown)
    if position is None:
        return None, None
    if metric not in row:
        there = sorted(k for k in row if k not in _NO_METRIC)
        if "bypass" in there:
            _fail(path, number, "lm-eval ran with --predict_only and scored nothing; run it again")
        has = f"it has {', '.join(there)} (choose with --metric)" if there else "it has no metrics"
        _fail(path, number, f"no metric {metric!r}; {has}", item=shown)
    return position, row[metric]


def _shown(doc: Mapping[str, Any], subjects: bool) -> str:
    """Give an item's id."""
    key = str(doc["metabench_idx"])
    return f"{doc['subject']}.{key}" if subjects else key


def _has_nan(row: dict[str, Any]) -> bool:
    """Whether the model's outputs hold NaN, or nothing but infinities.

    lm-eval writes them as text or as NaN. It then takes the first option for the likeliest one,
    which is the right one throughout TruthfulQA.
    """
    for key in ("resps", "filtered_resps"):
        parts = [row.get(key)]
        finite = infinite = 0
        while parts:
            part = parts.pop()
            if isinstance(part, list):
                parts.extend(part)
            elif part == "nan" or (isinstance(part, float) and math.isnan(part)):
                return True
            elif part in ("inf", "-inf") or (isinstance(part, float) and math.isinf(part)):
                infinite += 1
            elif part not in ("True", "False") and not isinstance(part, bool):
                finite += 1
        if infinite and not finite:
            return True
    return False


def _bad_value(path: Path, number: int, item: str, metric: str, value: Any) -> NoReturn:
    if isinstance(value, float) and math.isnan(value):
        text = f"item {item!r}: {metric} is NaN, the run is broken; run lm-eval again"
    else:
        text = f"item {item!r}: {metric} is {str(value)[:40]!r}, neither 0 nor 1"
    _fail(path, number, text, item=item)


def _twice(path: Path, number: int, item: str) -> NoReturn:
    _fail(path, number, f"item {item!r} occurs a second time; keep one run's rows", item=item)


def _fail(path: Path, line: int | None, what: str, **facts: Any) -> NoReturn:
    where = f"{path}, line {line}" if line else str(path)
    # A log may hold halves of characters, which no terminal takes.
    what = what.encode("utf-8", "backslashreplace").decode("utf-8")
    raise LogError(f"{where}: {what}.", path=str(path), line=line, **facts)
