"""Which of some runs is better: pairs, detectable differences, ranks.

A reconstructed score has an error whose size the bundle's held-out errors tell. Two runs answer
the same items, and where both stray from the item model in the same way their errors cancel out
of the difference (see `metabench_py.analysis.influence`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.influence import Influence, influence_of, shared_error
from metabench_py.analysis.scoring import Answers, Scorer
from metabench_py.benchmarks import BENCHMARKS, TARGETS, TITLES, Benchmark, Target
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING

MOST_RUNS = 40
POWER = 0.8
# Among real LLMs about half of the shared error that the sparse items show is there on the whole
# benchmark; all of it would make the intervals of near twins too narrow.
SHARED_PART = 0.5
_DRAWS = 20_000


@dataclass(frozen=True)
class Difference:
    """First less second run.

    Attributes
    ----------
    difference, sd
        Score points (of 100) for a score, prior standard deviations for an ability.
    lower, upper
        At the comparison's level.
    probability
        That the first run is truly better.
    detectable
        True difference that is found (two-sided, at the level) with a power of 80 %.
    shared
        Correlation of the two errors that is taken into account.
    """

    difference: float
    sd: float
    lower: float
    upper: float
    probability: float
    detectable: float
    shared: float


@dataclass(frozen=True)
class Discordance:
    """Items that one run answered right and the other wrong; p of McNemar's exact test."""

    first_only: int
    second_only: int
    n_both_answered: int
    p_value: float


@dataclass(frozen=True)
class Pair:
    """Two runs compared."""

    first: str
    second: str
    scores: dict[Target, Difference]
    abilities: dict[Benchmark, Difference]
    items: dict[Benchmark, Discordance]


@dataclass(frozen=True)
class Rank:
    """A run's place among the runs, 1 the best.

    Attributes
    ----------
    lower, upper
        Places that hold the true one with the comparison's level.
    best
        Probability to be truly the best.
    """

    score: float
    sd: float
    rank: int
    lower: int
    upper: int
    best: float


@dataclass(frozen=True)
class Comparison:
    """Runs compared on one bundle's items."""

    runs: tuple[str, ...]
    ranks: dict[Target, tuple[Rank, ...]]
    pairs: tuple[Pair, ...]
    level: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "schema": 1,
            "level": self.level,
            "power": POWER,
            "ranks": {
                target: [
                    {"run": run, **vars(rank)} for run, rank in zip(self.runs, ranks, strict=True)
                ]
                for target, ranks in self.ranks.items()
            },
            "pairs": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "scores": {t: vars(d) for t, d in pair.scores.items()},
                    "abilities": {b: vars(d) for b, d in pair.abilities.items()},
                    "items": {b: vars(d) for b, d in pair.items.items()},
                }
                for pair in self.pairs
            ],
        }

    def pair(self, first: str, second: str, target: Target) -> float:
        """Probability that the first run is better on a target."""
        for pair in self.pairs:
            if (pair.first, pair.second) == (first, second):
                return pair.scores[target].probability
            if (pair.second, pair.first) == (first, second):
                return 1.0 - pair.scores[target].probability
        raise KeyError((first, second))


def compare_runs(
    runs: Mapping[str, Answers], scorer: Scorer, *, level: float = 0.95, seed: int = 1
) -> Comparison:
    """Compare runs pairwise and rank them.

    Parameters
    ----------
    runs
        Answers by the run's name; for each benchmark int8, shape (n_items,).
    scorer
        Of the bundle that the answers belong to.
    level
        Of intervals and detectable differences, between 0 and 1.
    seed
        Of the draws behind the ranks.

    Raises
    ------
    InputError
        There are fewer than two runs or too many, or the level is none.
    ConvergenceError
        A run has no finite ability.
    """
    if not 2 <= len(runs) <= MOST_RUNS:
        raise InputError(f"Compare 2 to {MOST_RUNS} runs, not {len(runs)}.", n_runs=len(runs))
    if not 0.0 < level < 1.0:
        raise InputError(
            f"The level of an interval lies between 0 and 1 (95 % is 0.95), not {level:g}.",
            level=level,
        )
    names = tuple(runs)
    found = {name: influence_of(runs[name], scorer) for name in names}
    for name, one in found.items():
        bad = [b for b in BENCHMARKS if not np.isfinite(one.scored.theta[b][0])]
        if bad or not all(np.isfinite(v[0]) for v in one.scored.scores.values()):
            where = TITLES[bad[0]] if bad else "a benchmark"
            raise ConvergenceError(
                f"{name}: the ability in {where} is not determined by these answers, so there is "
                "nothing to compare; leave the run out.",
                model=name,
            )
    sizes = tuple(len(scorer.parameters[b].items) for b in BENCHMARKS)
    scores = {t: np.array([_clip(found[n].scored.scores[t][0]) for n in names]) for t in TARGETS}
    together = {b: np.stack([np.asarray(runs[n][b], np.int8) for n in names]) for b in BENCHMARKS}
    sds = scorer.with_errors(together).sds
    shared = {
        t: _matrix([SHARED_PART * shared_error(a, b, sizes) for a, b in _pairs_of(found, t)], names)
        for t in TARGETS
    }
    pairs = []
    for i in range(len(names)):
        for k in range(i + 1, len(names)):
            first, second = found[names[i]], found[names[k]]
            pairs.append(
                Pair(
                    names[i],
                    names[k],
                    {
                        t: _difference(
                            scores[t][i], scores[t][k], sds[t][i], sds[t][k],
                            shared[t][i, k], level,
                        )
                        for t in TARGETS
                    },
                    {b: _ability(first, second, b, level) for b in BENCHMARKS},
                    {
                        b: discordance(runs[names[i]][b], runs[names[k]][b])
                        for b in BENCHMARKS
                    },
                )
            )  # fmt: skip
    ranks = {t: _ranks(scores[t], sds[t], shared[t], level, seed) for t in TARGETS}
    return Comparison(names, ranks, tuple(pairs), level)


def discordance(first: NDArray[np.int8], second: NDArray[np.int8]) -> Discordance:
    """Count the items that two runs answered differently, of those that both answered."""
    both = (first != MISSING) & (second != MISSING)
    b = int((both & (first == 1) & (second == 0)).sum())
    c = int((both & (first == 0) & (second == 1)).sum())
    return Discordance(b, c, int(both.sum()), sign_test(b, c))


def sign_test(b: int, c: int) -> float:
    """Two-sided exact p of `b` against `c` by a fair coin (McNemar 1947)."""
    n = b + c
    tail: int = sum(math.comb(n, k) for k in range(min(b, c) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def _pairs_of(found: Mapping[str, Influence], target: Target) -> list[tuple[Floats, Floats]]:
    influences = [one.scores[target] for one in found.values()]
    return [
        (influences[i], influences[k])
        for i in range(len(influences))
        for k in range(i + 1, len(influences))
    ]


def _matrix(values: list[float], names: tuple[str, ...]) -> Floats:
    n = len(names)
    result: Floats = np.eye(n)
    upper = np.triu_indices(n, 1)
    result[upper] = values
    result.T[upper] = values
    return result


def _ability(first: Influence, second: Influence, benchmark: Benchmark, level: float) -> Difference:
    a, b = first.theta[benchmark], second.theta[benchmark]
    return _difference(
        float(first.scored.theta[benchmark][0]),
        float(second.scored.theta[benchmark][0]),
        float(first.scored.se[benchmark][0]),
        float(second.scored.se[benchmark][0]),
        SHARED_PART * shared_error(a, b, (len(a),)),
        level,
    )


def _difference(
    first: float, second: float, sd_first: float, sd_second: float, shared: float, level: float
) -> Difference:
    normal = NormalDist()
    difference = float(first - second)
    variance = sd_first**2 + sd_second**2 - 2.0 * shared * sd_first * sd_second
    sd = math.sqrt(max(float(variance), 1e-300))
    half = normal.inv_cdf(0.5 + level / 2.0) * sd
    return Difference(
        difference=difference,
        sd=sd,
        lower=difference - half,
        upper=difference + half,
        probability=normal.cdf(difference / sd),
        detectable=half + normal.inv_cdf(POWER) * sd,
        shared=float(shared),
    )


def _ranks(
    scores: Floats, sds: Floats, shared: Floats, level: float, seed: int
) -> tuple[Rank, ...]:
    """Rank draws of the true scores; pairs' correlations need not fit together at first."""
    values, vectors = np.linalg.eigh(shared)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    root /= np.sqrt((root**2).sum(axis=1, keepdims=True))
    random = np.random.default_rng(seed)
    drawn = scores + sds * (random.standard_normal((_DRAWS, len(scores))) @ root.T)
    places = 1 + (-drawn).argsort(axis=1).argsort(axis=1)
    tail = (1.0 - level) / 2.0
    lower = np.quantile(places, tail, axis=0, method="inverted_cdf")
    upper = np.quantile(places, 1.0 - tail, axis=0, method="inverted_cdf")
    return tuple(
        Rank(
            score=float(scores[i]),
            sd=float(sds[i]),
            rank=1 + int((scores > scores[i]).sum()),
            lower=int(lower[i]),
            upper=int(upper[i]),
            best=float((places[:, i] == 1).mean()),
        )
        for i in range(len(scores))
    )


def _clip(score: float) -> float:
    return float(np.clip(score, 0.0, 100.0))
