"""The table of parity differences keeps the worst of each case and never hides a NaN."""

from __future__ import annotations

import math
from types import SimpleNamespace

from parity.report import collect, render
from parity.tolerances import TABLE


def report(*rows: list[object], when: str = "call") -> SimpleNamespace:
    return SimpleNamespace(when=when, user_properties=[("parity", row) for row in rows])


def test_worst_of_a_case_is_kept_once_per_phase() -> None:
    small, large = ["MAP", "arc", 1e-6, 5e-5], ["MAP", "arc", 2e-6, 5e-5]
    rows = collect([report(small), report(large), report(small), report(large, when="teardown")])
    assert rows == [("MAP", "arc", 2e-6, 5e-5)]


def test_nan_is_not_hidden() -> None:
    finite, nan = ["ML", "arc", 0.5, 1.0], ["ML", "arc", math.nan, 1.0]
    for order in ([finite, nan], [nan, finite]):
        rows = collect([report(*order)])
        assert math.isnan(rows[0][2])
        assert "nan" in render(rows)[2]


def test_table_is_markdown() -> None:
    lines = render([("MAP", "arc", 2.31e-5, 5e-5), ("EM cycles", "sim-2pl", 0.0, 0.0)])
    assert lines[2] == "| MAP       | arc     |            2.3e-05 |     5e-05 |"
    assert lines[3] == "| EM cycles | sim-2pl |                  0 |         0 |"
    assert len({len(line) for line in lines}) == 1


def test_tolerances_have_distinct_names_and_reasons() -> None:
    assert len(TABLE) > 15
    assert len({t.name for t in TABLE}) == len(TABLE)
    assert all(t.value >= 0 and t.reason for t in TABLE)
