"""Pytest plugin: parity tests record what they measured; the run ends with the table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from .tolerances import Tolerance

_PROPERTY = "parity"

# quantity, case, largest absolute difference, tolerance
Record = Callable[[str, str, float, Tolerance], None]


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Record a measured difference, then fail the test if it is above its tolerance.

    Call it as ``record(quantity, case, worst, tolerance)``; NaN fails.
    """

    def keep(quantity: str, case: str, worst: float, tolerance: Tolerance) -> None:
        # Plain values: xdist sends them from its workers.
        row = [quantity, case, float(worst), tolerance.value]
        request.node.user_properties.append((_PROPERTY, row))
        assert worst <= tolerance.value, (
            f"{quantity}, {case}: differs by {worst:.3g}, more than {tolerance.value:.3g} "
            f"({tolerance.name}: {tolerance.reason})"
        )

    return keep


def collect(reports: Iterable[Any]) -> list[tuple[str, str, float, float]]:
    """Rows of the table: the largest difference by quantity and case, in the order of both."""
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    for report in reports:
        if getattr(report, "when", None) != "call":
            continue
        for name, row in report.user_properties:
            if name != _PROPERTY:
                continue
            quantity, case, difference, tolerance = row
            before = worst.get((quantity, case), (-math.inf, tolerance))[0]
            # A NaN is worst of all, and stays.
            if not (difference <= before or math.isnan(before)):
                worst[quantity, case] = (difference, tolerance)
    return [(*key, *worst[key]) for key in sorted(worst)]


def render(rows: list[tuple[str, str, float, float]]) -> list[str]:
    """Lines of a Markdown table."""
    head = ("quantity", "case", "largest difference", "tolerance")
    cells = [(q, c, f"{d:.1e}" if d else "0", f"{t:.0e}" if t else "0") for q, c, d, t in rows]
    width = [max(len(row[i]) for row in (head, *cells)) for i in range(4)]

    def line(row: tuple[str, ...]) -> str:
        left = (text.ljust(w) for text, w in zip(row[:2], width[:2], strict=True))
        right = (text.rjust(w) for text, w in zip(row[2:], width[2:], strict=True))
        return "| " + " | ".join((*left, *right)) + " |"

    rule = (*("-" * w for w in width[:2]), *("-" * (w - 1) + ":" for w in width[2:]))
    return [line(head), line(rule), *map(line, cells)]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of all parity tests that ran."""
    reports = (r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, ()))
    rows = collect(reports)
    if not rows:
        return
    terminalreporter.section("parity: largest differences from the reference")
    for text in render(rows):
        terminalreporter.write_line(text)
