"""Whether a model knows items by heart: runs of it that should agree, and do not.

A model that was trained on a version's items in their order answers those better than the other
version's, or than its own with permuted answer options. The reference is an LLM that is equally
able in all runs and follows the item model; answers are drawn for it many times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metabench_py.analysis.alarm import AlarmRule, wilson
from metabench_py.analysis.compare import sign_test
from metabench_py.analysis.null_runs import Measured, Run, Simulator, compared_benchmarks, measure
from metabench_py.analysis.scoring import Scorer
from metabench_py.benchmarks import BENCHMARKS, TARGETS, TITLES, Benchmark, Target, Version
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.irt.model import Floats, probability
from metabench_py.responses import MISSING

DEFAULT_ALARM = 0.01
MEMORISED = (0.05, 0.1, 0.2, 0.4)
_MOST_RUNS = 4
_POWER_SHARE = 5


@dataclass(frozen=True)
class RunDifference:
    """One quantity of the suspected run less that of its reference.

    Attributes
    ----------
    difference, se
        Prior standard deviations for an ability; score points for a score, where `se` is the
        spread among simulated clean LLMs.
    p_value
        Share of clean LLMs whose standardised difference is as large (one-sided).
    """

    difference: float
    se: float
    z: float
    p_value: float


@dataclass(frozen=True)
class Flips:
    """Answers of the same items in the suspected run (plain) and its permuted reference.

    Attributes
    ----------
    plain_only, permuted_only
        Items right in one run alone.
    expected
        How many of either kind a clean LLM of this ability has, if the runs are independent.
    p_value
        McNemar's exact test.
    """

    plain_only: tuple[str, ...]
    permuted_only: tuple[str, ...]
    expected: float
    p_value: float


@dataclass(frozen=True)
class Suspicion:
    """A run that may be memorised, beside a run that should be equally hard.

    Attributes
    ----------
    pooled, largest
        All benchmarks' standardised ability differences together, and the largest one.
    p_pooled, p_largest
        One-sided, by simulation.
    alarm
        The least of the two is beyond what the whole check allows.
    unchanged
        Benchmarks whose answers are the same in both orders of the options; they tell nothing.
    flips
        Only where both runs are of the same items.
    """

    suspect: str
    reference: str
    abilities: dict[Benchmark, RunDifference]
    scores: dict[Target, RunDifference]
    pooled: float
    p_pooled: float
    largest: float
    largest_in: Benchmark
    p_largest: float
    alarm: bool
    unchanged: tuple[Benchmark, ...]
    flips: dict[Benchmark, Flips]


@dataclass(frozen=True)
class Fit:
    """Person fit of one run in one benchmark: lz, and the share of clean LLMs with less."""

    lz: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Contamination:
    """What the check found.

    Attributes
    ----------
    verdict
        ``alarm`` or ``no sign``.
    p_value
        Of the most suspicious statistic, all of them taken into account.
    alarm_rate
        Asked for: share of clean LLMs that may raise an alarm.
    false_alarms
        Share of a second, independent set of simulated clean LLMs that did, with a 95 % interval.
    power
        Share of simulated LLMs that raise an alarm, by the share of the suspect's items that they
        know by heart.
    null_pooled
        Pooled statistics of the clean LLMs, shape (n_simulations, n_suspicions).
    """

    runs: tuple[str, ...]
    abilities: dict[str, dict[Benchmark, tuple[float, float]]]
    suspicions: tuple[Suspicion, ...]
    person_fit: dict[str, dict[Benchmark, Fit]]
    verdict: Literal["alarm", "no sign"]
    p_value: float
    alarm_rate: float
    false_alarms: tuple[float, float, float]
    power: dict[float, float]
    n_simulations: int
    null_pooled: Floats

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "schema": 1,
            "runs": list(self.runs),
            "verdict": self.verdict,
            "p_value": self.p_value,
            "alarm_rate": self.alarm_rate,
            "false_alarms": dict(
                zip(("share", "lower", "upper"), self.false_alarms, strict=True)
            ),
            "n_simulations": self.n_simulations,
            "power": [
                {"memorised": share, "alarms": found} for share, found in self.power.items()
            ],
            "suspicions": [
                {
                    **{k: v for k, v in vars(one).items() if k not in _NESTED},
                    "abilities": {b: vars(d) for b, d in one.abilities.items()},
                    "scores": {t: vars(d) for t, d in one.scores.items()},
                    "flips": {b: vars(f) for b, f in one.flips.items()},
                }
                for one in self.suspicions
            ],
            "abilities": {
                run: {b: {"theta": v[0], "se": v[1]} for b, v in found.items()}
                for run, found in self.abilities.items()
            },
            "person_fit": {
                run: {b: vars(fit) for b, fit in found.items()}
                for run, found in self.person_fit.items()
            },
        }  # fmt: skip


_NESTED = ("abilities", "scores", "flips")


def check_contamination(
    runs: Sequence[Run],
    scorers: Mapping[Version, Scorer],
    *,
    alarm_rate: float = DEFAULT_ALARM,
    n_simulations: int = 2000,
    seed: int = 1,
) -> Contamination:
    """Compare two to four runs of one model with those of simulated clean LLMs.

    Clean means: the same ability in all runs, and answers that are independent between them. Real
    runs of the same items agree more than that, which makes alarms rarer than stated; an LLM that
    truly finds permuted options harder makes them more frequent.

    Parameters
    ----------
    runs
        Of different version or order; one at least with plain options.
    scorers
        By version.
    alarm_rate
        Share of clean LLMs that may raise an alarm, between 0 and 0.5.
    n_simulations
        Clean LLMs behind the p-values, and again as many to see the rate.

    Raises
    ------
    InputError
        Runs or options are not usable.
    ConvergenceError
        A run has no finite ability.
    """
    pairs = _pairs(runs, scorers, alarm_rate, n_simulations)
    seen = measure([run.answers for run in runs], runs, scorers, pairs)
    _require_finite(runs, seen)
    simulator = Simulator.of(runs, scorers, pairs, seen)
    random = np.random.default_rng(seed)
    clean = simulator.measure(n_simulations, random)
    null = AlarmRule(clean.statistics, alarm_rate)
    own = null.p_values(seen.statistics)[0]
    fresh = simulator.measure(n_simulations, random)
    n_alarms = int(null.alarms(fresh.statistics).sum())
    suspect = next(i for i, run in enumerate(runs) if not run.permuted)
    power = {
        share: float(
            null.alarms(
                simulator.measure(
                    max(n_simulations // _POWER_SHARE, 50), random, suspect, share
                ).statistics
            ).mean()
        )
        for share in MEMORISED
    }
    suspicions = tuple(
        _suspicion(i, pair, runs, scorers, seen, clean, own, null.threshold, simulator)
        for i, pair in enumerate(pairs)
    )
    return Contamination(
        runs=tuple(run.label for run in runs),
        abilities={
            run.label: {
                b: (float(seen.theta[r][b][0]), float(seen.se[r][b][0])) for b in BENCHMARKS
            }
            for r, run in enumerate(runs)
        },
        suspicions=suspicions,
        person_fit={
            run.label: {b: _fit(seen.lz[r][b][0], clean.lz[r][b]) for b in BENCHMARKS}
            for r, run in enumerate(runs)
        },
        verdict="alarm" if own.min() <= null.threshold else "no sign",
        p_value=float(null.overall(np.array([own.min()]))[0]),
        alarm_rate=alarm_rate,
        false_alarms=wilson(n_alarms, n_simulations),
        power=power,
        n_simulations=n_simulations,
        null_pooled=clean.pooled,
    )


def _pairs(
    runs: Sequence[Run], scorers: Mapping[Version, Scorer], alarm_rate: float, n_simulations: int
) -> list[tuple[int, int]]:
    """Suspect and reference: every run with plain options, beside every other."""
    if not 2 <= len(runs) <= _MOST_RUNS:
        raise InputError(
            f"The check needs 2 to {_MOST_RUNS} runs of one model (A, A permuted, B, B permuted), "
            f"not {len(runs)}.",
            n_runs=len(runs),
        )
    labels = [run.label for run in runs]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InputError(f"The run {twice} is given twice; a run is not compared with itself.")
    if all(run.permuted for run in runs):
        raise InputError("All runs have permuted options; one plain run is needed.")
    absent = sorted({run.version for run in runs} - set(scorers))
    if absent:
        raise InputError(f"There is no bundle of version {absent[0]} to score its run.")
    if not 0.0 < alarm_rate <= 0.5:
        raise InputError(
            f"The share of false alarms lies between 0 and 0.5 (1 % is 0.01), not {alarm_rate:g}.",
            alarm_rate=alarm_rate,
        )
    pairs = [
        (i, k)
        for i, run in enumerate(runs)
        if not run.permuted
        for k in range(len(runs))
        if k != i and compared_benchmarks(run, runs[k])
    ]
    if not pairs:
        raise InputError(
            "All answers are the same in both orders of the options, so these runs tell nothing; "
            "compare with a run of the other version."
        )
    # Each of two statistics a pair has a clean LLM that is its largest, and these must not use
    # the allowed alarms up.
    least = math.ceil((2 * len(pairs) + 5) / alarm_rate)
    if n_simulations < least:
        raise InputError(
            f"{n_simulations} simulated LLMs do not show a rate of {alarm_rate:g} for "
            f"{len(pairs)} pairs of runs; take {least} or more.",
            n_simulations=n_simulations,
        )
    return pairs


def _require_finite(runs: Sequence[Run], seen: Measured) -> None:
    for r, run in enumerate(runs):
        for benchmark in BENCHMARKS:
            if not np.isfinite(seen.theta[r][benchmark][0]):
                raise ConvergenceError(
                    f"Run {run.label}: the ability in {TITLES[benchmark]} is not determined by "
                    "these answers; use a bundle that scores by MAP or EAP.",
                    run=run.label,
                )


def _suspicion(
    number: int,
    pair: tuple[int, int],
    runs: Sequence[Run],
    scorers: Mapping[Version, Scorer],
    seen: Measured,
    clean: Measured,
    own: Floats,
    threshold: float,
    simulator: Simulator,
) -> Suspicion:
    i, k = pair
    benchmarks = compared_benchmarks(runs[i], runs[k])
    abilities = {
        b: RunDifference(
            difference=float(seen.theta[i][b][0] - seen.theta[k][b][0]),
            se=float(np.hypot(seen.se[i][b][0], seen.se[k][b][0])),
            z=float(seen.z[number][b][0]),
            p_value=_upper_share(clean.z[number][b], float(seen.z[number][b][0])),
        )
        for b in benchmarks
    }
    scores: dict[Target, RunDifference] = {}
    for target in TARGETS:
        if target != "grand" and target not in benchmarks:
            continue
        drawn = clean.scores[i][target] - clean.scores[k][target]
        difference = float(seen.scores[i][target][0] - seen.scores[k][target][0])
        se = float(drawn.std(ddof=1))
        scores[target] = RunDifference(
            difference, se, difference / se if se > 0 else 0.0, _upper_share(drawn, difference)
        )
    p_pooled, p_largest = float(own[2 * number]), float(own[2 * number + 1])
    largest_in = max(benchmarks, key=lambda b: float(seen.z[number][b][0]))
    flips: dict[Benchmark, Flips] = {}
    if runs[i].version == runs[k].version:
        flips = {
            b: _flips(runs[i], runs[k], b, scorers[runs[i].version], simulator.theta[b])
            for b in benchmarks
        }
    return Suspicion(
        suspect=runs[i].label,
        reference=runs[k].label,
        abilities=abilities,
        scores=scores,
        pooled=float(seen.pooled[0, number]),
        p_pooled=p_pooled,
        largest=float(seen.z[number][largest_in][0]),
        largest_in=largest_in,
        p_largest=p_largest,
        alarm=min(p_pooled, p_largest) <= threshold,
        unchanged=tuple(b for b in BENCHMARKS if b not in benchmarks),
        flips=flips,
    )


def _flips(plain: Run, permuted: Run, benchmark: Benchmark, scorer: Scorer, theta: float) -> Flips:
    a, b = plain.answers[benchmark], permuted.answers[benchmark]
    parameters = scorer.parameters[benchmark]
    right = probability(parameters, theta)[0]
    both = (a != MISSING) & (b != MISSING)
    up, down = both & (a == 1) & (b == 0), both & (a == 0) & (b == 1)
    return Flips(
        plain_only=tuple(parameters.items[j] for j in np.flatnonzero(up)),
        permuted_only=tuple(parameters.items[j] for j in np.flatnonzero(down)),
        expected=float((right * (1.0 - right))[both].sum()),
        p_value=sign_test(int(up.sum()), int(down.sum())),
    )


def _fit(lz: float, clean: Floats) -> Fit:
    below = int((clean <= lz).sum())
    return Fit(float(lz), (below + 1) / (len(clean) + 1))


def _upper_share(clean: Floats, value: float) -> float:
    return (int((clean >= value).sum()) + 1) / (len(clean) + 1)
