"""Tests of groups and trends beside base R's."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.analysis.architectures import analyze_architectures
from metabench_py.analysis.group_tests import (
    brown_forsythe,
    kruskal_wallis,
    pairwise_welch,
    welch_anova,
)
from metabench_py.analysis.llm_kinds import Kinds
from metabench_py.analysis.residual_table import Residuals
from tests.helpers.r_statistics import statistics

pytestmark = pytest.mark.usefixtures("needs_r")
SIZES = {"llama": 40, "mistral": 25, "gpt2": 8, "phi": 4}


def draw(ties: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(11)
    group = np.repeat(list(SIZES), list(SIZES.values()))
    spread = {"llama": 1.0, "mistral": 0.6, "gpt2": 3.0, "phi": 1.5}
    values = np.array([random.normal(0.4 * (g == "gpt2"), spread[g]) for g in group])
    return np.round(values, 1) if ties else values, group


@pytest.mark.parametrize("ties", [False, True])
def test_groups(ties: bool) -> None:
    values, group = draw(ties)
    parts = [values[group == name] for name in SIZES]
    theirs = statistics("groups", values=values, group=list(group))
    for name, ours in (
        ("welch", welch_anova(parts)),
        ("kruskal", kruskal_wallis(parts)),
        ("brown_forsythe", brown_forsythe(parts)),
    ):
        wanted = theirs[name]
        np.testing.assert_allclose([ours.statistic, *ours.dof, ours.p], wanted, rtol=1e-10)


def test_pairs() -> None:
    values, group = draw(ties=False)
    ours = pairwise_welch(list(SIZES), [values[group == name] for name in SIZES])
    theirs = statistics("pairs", values=values, group=list(group))
    got = [[one.difference, one.lower, one.upper, one.p] for one in ours]
    np.testing.assert_allclose(got, theirs["pairs"], rtol=1e-10)
    np.testing.assert_allclose([one.adjusted for one in ours], theirs["adjusted"], rtol=1e-10)


def test_size_trend() -> None:
    values, group = draw(ties=True)
    random = np.random.default_rng(2)
    n = len(values)
    size = np.round(10 ** random.normal(1, 0.5, n), 1)
    names = tuple(f"o{i % 9}/m{i}" for i in range(n))
    found = analyze_architectures(
        Residuals(names, np.full(n, 50.0), 50.0 + values, "all", 0),
        Kinds(tuple(group), size, (), n), least=4,
    )  # fmt: skip
    theirs = statistics("trend", x=np.log10(size), y=values)
    trend = found.trends[0]
    np.testing.assert_allclose([trend.spearman, trend.p], theirs["spearman"], rtol=1e-10)
    assert trend.slope == pytest.approx(float(theirs["slope"][0]), rel=1e-9)
