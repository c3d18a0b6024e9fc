"""What the name of a sample log says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Version

# The whole name is matched: "arc" must not take "arc_secondary" or "arc_permute" for its own.
_NAME = re.compile(
    rf"samples_metabench_({'|'.join(BENCHMARKS)})(_secondary)?(_permute)?"
    r"_(\d{4}-\d{2}-\d{2}T\d{2}[-:.]\d{2}[-:.]\d{2}[-:.\d]*)\.jsonl"
)
# lm-eval replaces runs of these in a model's name by "__".
_UNSAFE = re.compile(r"[\"<>:/|\\?*\[\]]+")
# Where `evaluate` keeps a run that has not ended; its logs are nobody's yet.
WORK_FOLDER = ".metabench-work"


@dataclass(frozen=True)
class LogName:
    """One sample log, as its name tells.

    Attributes
    ----------
    time
        lm-eval's time stamp; sorts as text.
    """

    path: Path
    benchmark: Benchmark
    version: Version
    permuted: bool
    time: str


def parse_log_name(path: Path) -> LogName | None:
    """Read a file's name; None if it is no metabench sample log."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    benchmark, secondary, permute, time = match.groups()
    return LogName(
        path,
        cast(Benchmark, benchmark),
        "B" if secondary else "A",
        permute is not None,
        time.replace(":", "-"),
    )


def folder_name(model: str) -> str:
    """Name that lm-eval gives the folder of a model's logs."""
    return _UNSAFE.sub("__", model)
