"""Calls of the R functions in bridge/r/statistics.R."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabench_py.rbridge import call
from metabench_py.rbridge.session import _get_session

STATISTICS = Path(__file__).resolve().parent.parent / "bridge" / "r" / "statistics.R"


def statistics(name: str, **arguments: Any) -> Any:
    session = _get_session()
    if "statistics_groups" not in session.scripts:
        session.ri.baseenv["sys.source"](str(STATISTICS), envir=session.scripts)
    return call(f"statistics_{name}", **arguments)
