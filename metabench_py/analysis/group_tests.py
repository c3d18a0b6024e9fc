"""Tests of differences between groups, each as base R has it, and Holm's correction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metabench_py.irt.model import Floats


@dataclass(frozen=True)
class GroupTest:
    """One test.

    Attributes
    ----------
    statistic, p
        NaN where the values do not determine them.
    dof
        Degrees of freedom; of an F statistic its two.
    """

    name: str
    statistic: float
    dof: tuple[float, ...]
    p: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null."""
        return json_values(asdict(self))


@dataclass(frozen=True)
class PairTest:
    """Welch's t test of two groups' means.

    Attributes
    ----------
    difference, lower, upper
        Mean of the first less that of the second, with its interval (not corrected).
    p, adjusted
        Two-sided; by Holm over all pairs.
    """

    first: str
    second: str
    difference: float
    lower: float
    upper: float
    p: float
    adjusted: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null."""
        return json_values(asdict(self))


def welch_anova(groups: Sequence[Floats]) -> GroupTest:
    """Test whether means are equal, variances may differ: ``oneway.test`` (Welch 1951)."""
    from scipy import stats

    n = np.array([len(one) for one in groups], float)
    mean = np.array([one.mean() for one in groups])
    variance = np.array([one.var(ddof=1) for one in groups])
    k = len(groups)
    if (variance <= 0).any():
        return GroupTest("Welch", math.nan, (k - 1.0, math.nan), math.nan)
    weight = n / variance
    total = weight.sum()
    centre = (weight * mean).sum() / total
    spread = ((1.0 - weight / total) ** 2 / (n - 1.0)).sum() / (k**2 - 1.0)
    statistic = (weight * (mean - centre) ** 2).sum() / ((k - 1) * (1.0 + 2.0 * (k - 2) * spread))
    dof = (k - 1.0, 1.0 / (3.0 * spread))
    return GroupTest("Welch", float(statistic), dof, float(stats.f.sf(statistic, *dof)))


def kruskal_wallis(groups: Sequence[Floats]) -> GroupTest:
    """Test whether ranks are alike, corrected for ties: ``kruskal.test``."""
    from scipy import stats

    dof = (len(groups) - 1.0,)
    if np.ptp(np.concatenate(groups)) == 0:
        return GroupTest("Kruskal-Wallis", math.nan, dof, math.nan)
    found = stats.kruskal(*groups)
    return GroupTest("Kruskal-Wallis", float(found.statistic), dof, float(found.pvalue))


def brown_forsythe(groups: Sequence[Floats]) -> GroupTest:
    """Test whether spreads around the medians are equal: ``anova`` of the absolute deviations."""
    from scipy import stats

    apart = [np.abs(one - np.median(one)) for one in groups]
    n = sum(map(len, groups))
    dof = (len(groups) - 1.0, float(n - len(groups)))
    if all(np.ptp(one) == 0 for one in apart):
        return GroupTest("Brown-Forsythe", math.nan, dof, math.nan)
    found = stats.f_oneway(*apart)
    return GroupTest("Brown-Forsythe", float(found.statistic), dof, float(found.pvalue))


def pairwise_welch(
    names: Sequence[str], groups: Sequence[Floats], level: float = 0.95
) -> tuple[PairTest, ...]:
    """Test all pairs: ``pairwise.t.test(pool.sd = FALSE, p.adjust.method = "holm")``."""
    from scipy import stats

    pairs = list(itertools.combinations(range(len(groups)), 2))
    found = []
    for i, k in pairs:
        one, other = groups[i], groups[k]
        parts = [g.var(ddof=1) / len(g) for g in (one, other)]
        difference, se = float(one.mean() - other.mean()), math.sqrt(sum(parts))
        if se == 0:
            found.append((difference, math.nan, math.nan, math.nan))
            continue
        dof = sum(parts) ** 2 / sum(
            part**2 / (len(g) - 1) for part, g in zip(parts, (one, other), strict=True)
        )
        half = float(stats.t.ppf(0.5 + level / 2.0, dof)) * se
        p = 2.0 * float(stats.t.sf(abs(difference) / se, dof))
        found.append((difference, difference - half, difference + half, p))
    adjusted = holm([one[3] for one in found])
    return tuple(
        PairTest(names[i], names[k], *one, float(p))
        for (i, k), one, p in zip(pairs, found, adjusted, strict=True)
    )


def omega_squared(groups: Sequence[Floats]) -> float:
    """Share of the variance that the groups explain, less what chance would (Hays 1963)."""
    everyone = np.concatenate(groups)
    k, n = len(groups), len(everyone)
    total = float(((everyone - everyone.mean()) ** 2).sum())
    within = float(sum(((one - one.mean()) ** 2).sum() for one in groups))
    error = within / (n - k)
    return (total - within - (k - 1) * error) / (total + error) if total > 0 else math.nan


def holm(p: ArrayLike) -> Floats:
    """Correct for several tests: ``p.adjust(method = "holm")``; NaN stay and do not count."""
    values = np.asarray(p, np.float64)
    result = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.minimum(1.0, np.maximum.accumulate(factors * values[order]))
    return result


def json_values(values: dict[str, Any]) -> dict[str, Any]:
    """Make NaN and infinities, which JSON lacks, null; in lists too."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        return [plain(one) for one in value] if isinstance(value, tuple | list) else value

    return {name: plain(value) for name, value in values.items()}
