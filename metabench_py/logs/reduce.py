"""Reduces sample logs to numbers: item key, filter and metrics, no texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from metabench_py.errors import LogError
from metabench_py.storage import atomic_path

METRICS = ("acc", "acc_norm", "exact_match")


def reduce_log(source: Path, target: Path, metrics: Sequence[str] = METRICS) -> None:
    """Write a log's rows with item key, filter and metrics alone; `read_log` reads the result.

    Raises
    ------
    LogError
        A line of `source` is not a row of a metabench sample log.
    """
    with atomic_path(target) as temporary, temporary.open("wb") as out:
        for number, line in enumerate(source.read_bytes().splitlines(), 1):
            try:
                row = orjson.loads(line)
                doc: dict[str, Any] = {"metabench_idx": row["doc"]["metabench_idx"]}
                if "subject" in row["doc"]:
                    doc["subject"] = row["doc"]["subject"]
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise LogError(
                    f"{source}, line {number}: not a row of a metabench sample log.",
                    path=str(source),
                    line=number,
                ) from error
            kept = {key: row[key] for key in ("filter", *metrics) if key in row}
            out.write(orjson.dumps({"doc": doc, **kept}) + b"\n")
