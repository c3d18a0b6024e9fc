"""Reads what `evaluate` recorded about a run beside its logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RECORD_SCHEMA = 1
RECORD_PREFIX = "metabench-run_"


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a run's record; None if it is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("schema") != RECORD_SCHEMA:
        return None
    return value


def run_flags(folder: Path, files: Iterable[str]) -> list[tuple[str, str]]:
    """Collect the flags of the runs that wrote these logs (names of files in `folder`)."""
    wanted = set(files)
    flags: list[tuple[str, str]] = []
    for path in sorted(folder.glob(f"{RECORD_PREFIX}*.json")):
        record = read_record(path)
        if record is None:
            flags.append(("run-record-unreadable", f"{path.name} is left aside"))
            continue
        logs = record.get("logs")
        if not isinstance(logs, dict) or wanted.isdisjoint(logs):
            continue
        for flag in record.get("flags") or ():
            if isinstance(flag, dict) and {"flag", "detail"} <= flag.keys():
                pair = (str(flag["flag"]), str(flag["detail"]))
                if pair not in flags:
                    flags.append(pair)
    return flags
