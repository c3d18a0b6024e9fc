"""Reads lm-eval's logs back: that a run ended well is known from its files alone.

lm-eval ends with code 0 when it could not save, so neither its code nor its table counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metabench_py.benchmarks import SCORED_METRIC, TITLES, Benchmark
from metabench_py.errors import LogError
from metabench_py.logs.names import LogName, parse_log_name
from metabench_py.logs.reader import read_log


@dataclass(frozen=True)
class Verified:
    """A log that was read back.

    Attributes
    ----------
    n_items
        Items with a usable answer.
    n_nan
        Items whose outputs were NaN.
    items
        All items, in the log's order.
    """

    log: LogName
    n_items: int
    n_nan: int
    items: tuple[str, ...]


def verify_logs(
    folder: Path, tasks: Mapping[str, Benchmark], expected: Mapping[Benchmark, int]
) -> dict[str, Verified]:
    """Read back what lm-eval wrote under a folder, by task.

    Parameters
    ----------
    expected
        Items that each log must have.

    Raises
    ------
    LogError
        A log is absent, damaged, has too few or too many items, or its documents are not those
        that the model was asked about.
    """
    logs: dict[str, LogName] = {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        log = parse_log_name(path)
        if log is None:
            continue
        task = path.name.removeprefix("samples_").rsplit("_", 1)[0]
        if task in tasks:
            logs[task] = log
    absent = [task for task in tasks if task not in logs]
    if absent:
        raise LogError(
            f"lm-eval wrote no log of {', '.join(absent)} under {folder}.",
            path=str(folder),
            line=None,
        )
    return {t: _verify(logs[t], benchmark, expected[benchmark]) for t, benchmark in tasks.items()}


def _verify(log: LogName, benchmark: Benchmark, expected: int) -> Verified:
    items = tuple(_items(log.path, benchmark))
    read = read_log(log.path, benchmark, SCORED_METRIC[benchmark], items)
    if len(items) != expected:
        raise LogError(
            f"{log.path}: {len(items)} items of {TITLES[benchmark]}, not the {expected} that were "
            "to be run; begin the run anew.",
            path=str(log.path),
            line=None,
        )
    if read.unverified:
        raise LogError(
            f"{log.path}: {read.unverified} rows have no document or hash; lm-eval's logs always "
            "have, so something changed the file.",
            path=str(log.path),
            line=None,
        )
    return Verified(log, len(items) - len(read.nan_items), len(read.nan_items), items)


def _items(path: Path, benchmark: Benchmark) -> dict[str, None]:
    """Item ids of a log's rows; what is wrong with a row, `read_log` tells."""
    found: dict[str, None] = {}
    with path.open("rb") as stream:
        for line in stream:
            try:
                doc = json.loads(line)["doc"]
                item = str(doc["metabench_idx"])
                found[f"{doc['subject']}.{item}" if benchmark == "mmlu" else item] = None
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    return found
