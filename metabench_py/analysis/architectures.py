"""Whether reconstructions are worse for some architectures or sizes of LLMs than for others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.factors import rank_correlation
from metabench_py.analysis.group_tests import (
    GroupTest,
    PairTest,
    brown_forsythe,
    holm,
    json_values,
    kruskal_wallis,
    omega_squared,
    pairwise_welch,
    welch_anova,
)
from metabench_py.analysis.llm_kinds import Kinds
from metabench_py.analysis.residual_table import Residuals
from metabench_py.calibration.folds import organisation_numbers
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

# Fewer owners tell nothing of how owners differ.
LEAST_OWNERS = 5
_SMALLEST_GROUP = 3


@dataclass(frozen=True)
class GroupErrors:
    """Errors of some LLMs, points of 100.

    Attributes
    ----------
    n, n_owners
        LLMs, and whose they are (the name up to its first slash).
    score
        Mean true score.
    bias, rmse
        Mean residual (reconstructed less true), root mean square residual; with intervals by
        owners, NaN below `LEAST_OWNERS` of them.
    """

    name: str
    n: int
    n_owners: int
    score: float
    bias: float
    bias_lower: float
    bias_upper: float
    rmse: float
    rmse_lower: float
    rmse_upper: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null."""
        return json_values(asdict(self))


@dataclass(frozen=True)
class SizeTrend:
    """How something goes with the logarithm of the size.

    Attributes
    ----------
    of
        ``residual`` or ``absolute residual``.
    spearman, p, adjusted
        Rank correlation and its two-sided p (Student's t), and this by Holm over all tests.
    slope, lower, upper
        Points for ten times the size, by least squares; the interval is by owners.
    n
        LLMs of known size.
    """

    of: str
    n: int
    spearman: float
    p: float
    adjusted: float
    slope: float
    lower: float
    upper: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null."""
        return json_values(asdict(self))


@dataclass(frozen=True, eq=False)
class Architectures:
    """What was found.

    Attributes
    ----------
    everyone
        Errors of all LLMs.
    groups
        Architectures of `least` LLMs or more, the largest first.
    others
        Smaller ones and how many LLMs they have; they are in no test.
    tests
        Of the groups' differences, and their p by Holm over these and the size trends.
    omega_squared
        Share of the residuals' variance that the groups explain, less what chance would; NaN for
        a single group.
    pairs
        Means of any two groups.
    trends
        Of residual and absolute residual with size; empty where too few sizes are known.
    """

    residuals: Residuals
    kinds: Kinds
    everyone: GroupErrors
    groups: tuple[GroupErrors, ...]
    others: dict[str, int]
    tests: tuple[tuple[GroupTest, float], ...]
    omega_squared: float
    pairs: tuple[PairTest, ...]
    trends: tuple[SizeTrend, ...]
    least: int
    level: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        from metabench_py import __version__

        kinds, n = self.kinds, len(self.residuals.names)
        return {
            "schema": 1,
            "llms": self.residuals.which,
            "n_llms": n,
            "n_train": self.residuals.n_train,
            "n_without_numbers": self.residuals.n_left_out,
            "n_without_set": self.residuals.n_unplaced,
            "n_matched": n - len(kinds.unmatched),
            "n_matched_exactly": kinds.n_exact,
            "unmatched": list(kinds.unmatched),
            "n_without_architecture": kinds.n_unknown,
            "n_without_size": int((~np.isfinite(kinds.size)).sum()) - len(kinds.unmatched),
            "least": self.least,
            "level": self.level,
            "everyone": self.everyone.to_dict(),
            "groups": [one.to_dict() for one in self.groups],
            "others": self.others,
            "tests": [
                {**test.to_dict(), **json_values({"adjusted": adjusted})}
                for test, adjusted in self.tests
            ],
            **json_values({"omega_squared": self.omega_squared}),
            "pairs": [one.to_dict() for one in self.pairs],
            "trends": [one.to_dict() for one in self.trends],
            "software": {"metabench-py": __version__, "numpy": np.__version__},
        }


def analyze_architectures(
    residuals: Residuals,
    kinds: Kinds,
    *,
    least: int = 10,
    level: float = 0.95,
) -> Architectures:
    """Compare residuals between architectures, and along sizes.

    The tests take LLMs as independent. Those of an owner often are variants of each other, so that
    p are too small rather than too large; intervals let the residuals of an owner depend on each
    other (jackknife over owners, Student's t of as many degrees of freedom as owners less one).

    Parameters
    ----------
    least
        LLMs that an architecture must have to be tested.
    level
        Of intervals.

    Raises
    ------
    InputError
        A number is out of its range, or no architecture has enough LLMs.
    """
    if least < _SMALLEST_GROUP:
        raise InputError(f"Groups of {least} LLMs tell nothing; take {_SMALLEST_GROUP} or more.")
    if not 0.0 < level < 1.0:
        raise InputError(f"A level of {level} is not between 0 and 1.")
    counts = Counter(one for one in kinds.architecture if one is not None)
    large = [name for name, n in counts.most_common() if n >= least]
    if not large:
        biggest = max(counts.values(), default=0)
        raise InputError(
            f"No architecture has {least} LLMs; the largest has {biggest}. Take a smaller --least."
        )
    owners = owner_numbers(residuals.names)
    kind = np.array([one or "" for one in kinds.architecture])
    given = _Given(residuals, owners, level)
    values = [residuals.residual[kind == name] for name in large]
    tests: list[GroupTest] = []
    pairs: tuple[PairTest, ...] = ()
    if len(large) > 1:
        tests = [welch_anova(values), kruskal_wallis(values), brown_forsythe(values)]
        pairs = pairwise_welch(large, values, level)
    trends = _trends(kinds.size, given)
    adjusted = holm([*(one.p for one in tests), *(one.p for one in trends)])
    return Architectures(
        residuals,
        kinds,
        everyone=_group("all", np.ones(len(kind), dtype=bool), given),
        groups=tuple(_group(name, kind == name, given) for name in large),
        others={name: n for name, n in counts.most_common() if n < least},
        tests=tuple(zip(tests, map(float, adjusted), strict=False)),
        omega_squared=omega_squared(values) if len(large) > 1 else math.nan,
        pairs=pairs,
        trends=tuple(
            replace(one, adjusted=float(p))
            for one, p in zip(trends, adjusted[len(tests) :], strict=True)
        ),
        least=least,
        level=level,
    )


def owner_numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """Give each LLM the running number of its owner: the name up to ``/`` or ``__``."""
    return organisation_numbers([n if "/" in n else n.replace("__", "/", 1) for n in names])


def _group(name: str, mask: NDArray[np.bool_], given: _Given) -> GroupErrors:
    left, owners = given.residuals.residual[mask], given.owners[mask]
    bias, rmse = float(left.mean()), math.sqrt(float(np.mean(left**2)))
    half = given.half_width([left], owners, lambda n, total: total / n)
    # The RMSE's logarithm, which is closer to normal.
    wide = (
        given.half_width([left**2], owners, lambda n, squares: 0.5 * np.log(squares / n))
        if rmse > 0
        else math.nan
    )
    factor = math.exp(wide)
    return GroupErrors(
        name, len(left), len(np.unique(owners)), float(given.residuals.score[mask].mean()),
        bias, bias - half, bias + half, rmse, rmse / factor, rmse * factor,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Given:
    """What intervals need: residuals, whose LLMs they are of, and the level."""

    residuals: Residuals
    owners: NDArray[np.int64]
    level: float

    def half_width(
        self, values: Sequence[Floats], owners: NDArray[np.int64], estimate: Callable[..., Floats]
    ) -> float:
        """Half an interval by the jackknife over owners; NaN below `LEAST_OWNERS` of them.

        `estimate` is told how many LLMs are left without each owner, and their sums of `values`,
        shape (n_owners,) each. Cameron & Miller (2015), Journal of Human Resources 50, VI.B.
        """
        from scipy import stats

        number = np.unique(owners, return_inverse=True)[1]
        k = int(number.max()) + 1
        if k < LEAST_OWNERS:
            return math.nan
        sums = (np.bincount(number, weights=one) for one in (np.ones(len(owners)), *values))
        with np.errstate(divide="ignore", invalid="ignore"):
            without = estimate(*(one.sum() - one for one in sums))
        if not np.isfinite(without).all():
            return math.nan
        se = math.sqrt((k - 1.0) ** 2 / k) * float(without.std(ddof=1))
        return float(stats.t.ppf(0.5 + self.level / 2.0, k - 1)) * se


def _slope(n: Floats, x: Floats, y: Floats, xx: Floats, xy: Floats) -> Floats:
    return (xy - x * y / n) / (xx - x * x / n)


def _trends(size: Floats, given: _Given) -> list[SizeTrend]:
    from scipy import stats

    mask = np.isfinite(size)
    x, left = np.log10(size[mask]), given.residuals.residual[mask]
    n = len(x)
    if n < 10 or np.ptp(x) == 0:
        return []
    found = []
    for of, y in (("residual", left), ("absolute residual", np.abs(left))):
        r = rank_correlation(x, y)
        spread = 1.0 - r * r
        p = math.nan
        if r == r:
            t = math.inf if spread <= 0 else abs(r) * math.sqrt((n - 2) / spread)
            p = 2.0 * float(stats.t.sf(t, n - 2))
        centred = x - x.mean()
        squares = float(centred @ centred)
        slope = float(centred @ y) / squares
        half = given.half_width([centred, y, centred**2, centred * y], given.owners[mask], _slope)
        found.append(SizeTrend(of, n, r, p, math.nan, slope, slope - half, slope + half))
    return found
