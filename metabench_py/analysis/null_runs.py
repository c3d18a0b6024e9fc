"""Runs of one model, what is measured of them, and the runs of simulated clean LLMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.person_fit import person_fit
from metabench_py.analysis.scoring import Answers, Scorer
from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target, Version
from metabench_py.irt.model import Floats, probability
from metabench_py.responses import MISSING

# Beyond this an estimate tells nothing of where it is.
_FARTHEST = 4.0


@dataclass(frozen=True, eq=False)
class Run:
    """A model's answers to one version, in plain or permuted order.

    Attributes
    ----------
    answers
        For each benchmark int8, shape (n_items,). GSM8K has no permuted order: a permuted run
        carries the plain run's answers.
    """

    version: Version
    permuted: bool
    answers: Answers

    @property
    def label(self) -> str:
        """``B`` or ``B-permuted``."""
        return f"{self.version}-permuted" if self.permuted else self.version


def compared_benchmarks(suspect: Run, reference: Run) -> tuple[Benchmark, ...]:
    """Benchmarks that can tell a suspect from this reference.

    Where all answers to the same items are the same, the order of the options never reached the
    model (GSM8K has none; a log-likelihood of each option alone does not depend on it).
    """
    if suspect.version != reference.version:
        return BENCHMARKS
    return tuple(b for b in BENCHMARKS if not _same(suspect, reference, b))


def _same(one: Run, other: Run, benchmark: Benchmark) -> bool:
    return bool(np.array_equal(one.answers[benchmark], other.answers[benchmark]))


@dataclass(frozen=True, eq=False)
class Measured:
    """Of n LLMs: by run (a list), then by benchmark or target, arrays of shape (n,).

    Attributes
    ----------
    z
        By pair of suspect and reference: standardised ability differences.
    pooled
        Their sum by the root of their number, shape (n, n_pairs).
    statistics
        Pooled and largest z of each pair in turn, shape (n, 2 n_pairs).
    """

    theta: list[dict[Benchmark, Floats]]
    se: list[dict[Benchmark, Floats]]
    scores: list[dict[Target, Floats]]
    lz: list[dict[Benchmark, Floats]]
    z: list[dict[Benchmark, Floats]]
    pooled: Floats
    statistics: Floats


def measure(
    answers: Sequence[Answers],
    runs: Sequence[Run],
    scorers: Mapping[Version, Scorer],
    pairs: Sequence[tuple[int, int]],
) -> Measured:
    """Score one LLM, or many.

    Parameters
    ----------
    answers
        One a run; for each benchmark int8, shape (n_items,) or (n, n_items).
    """
    theta, se, scores, lz = [], [], [], []
    for run, given in zip(runs, answers, strict=True):
        scorer = scorers[run.version]
        many = {b: np.atleast_2d(given[b]) for b in BENCHMARKS}
        found = scorer(many)
        theta.append(found.theta)
        se.append(found.se)
        scores.append({t: np.clip(found.scores[t], 0.0, 100.0) for t in TARGETS})
        lz.append(
            {b: person_fit(many[b], scorer.parameters[b], found.theta[b]) for b in BENCHMARKS}
        )
    z: list[dict[Benchmark, Floats]] = []
    columns: list[Floats] = []
    for i, k in pairs:
        own: dict[Benchmark, Floats] = {}
        for b in compared_benchmarks(runs[i], runs[k]):
            own[b] = (theta[i][b] - theta[k][b]) / np.hypot(se[i][b], se[k][b])
        z.append(own)
        table = np.stack(list(own.values()))
        columns += [table.sum(axis=0) / np.sqrt(len(table)), table.max(axis=0)]
    statistics: Floats = np.stack(columns, axis=1)
    return Measured(theta, se, scores, lz, z, statistics[:, ::2], statistics)


@dataclass(frozen=True, eq=False)
class Simulator:
    """Draws LLMs that are equally able in all runs.

    Attributes
    ----------
    theta, se
        Ability of all runs together and its standard error, by benchmark.
    """

    runs: Sequence[Run]
    scorers: Mapping[Version, Scorer]
    pairs: Sequence[tuple[int, int]]
    theta: dict[Benchmark, float]
    se: dict[Benchmark, float]

    @classmethod
    def of(
        cls,
        runs: Sequence[Run],
        scorers: Mapping[Version, Scorer],
        pairs: Sequence[tuple[int, int]],
        seen: Measured,
    ) -> Simulator:
        """Pool a model's abilities, weighted by their precision."""
        theta: dict[Benchmark, float] = {}
        se: dict[Benchmark, float] = {}
        for b in BENCHMARKS:
            at = [r for r in range(len(runs)) if _copied(runs, r, b) is None]
            weights = np.array([seen.se[r][b][0] ** -2 for r in at])
            values = np.array([seen.theta[r][b][0] for r in at])
            theta[b] = float(np.clip(weights @ values / weights.sum(), -_FARTHEST, _FARTHEST))
            se[b] = float(weights.sum() ** -0.5)
        return cls(runs, scorers, pairs, theta, se)

    def measure(
        self,
        n: int,
        random: np.random.Generator,
        memoriser: int | None = None,
        share: float = 0.0,
    ) -> Measured:
        """Draw n LLMs and score them.

        Parameters
        ----------
        memoriser
            In this run a `share` of the items is answered right by heart; None: in no run.
        """
        abilities = {b: random.normal(self.theta[b], self.se[b], n) for b in BENCHMARKS}
        drawn: list[dict[Benchmark, NDArray[np.int8]]] = []
        for r, run in enumerate(self.runs):
            own: dict[Benchmark, NDArray[np.int8]] = {}
            for b in BENCHMARKS:
                twin = _copied(self.runs, r, b)
                if twin is not None:
                    own[b] = drawn[twin][b]
                    continue
                right = probability(self.scorers[run.version].parameters[b], abilities[b])
                values = (random.random(right.shape) < right).astype(np.int8)
                if r == memoriser:
                    values[random.random(right.shape) < share] = 1
                values[:, np.asarray(run.answers[b]) == MISSING] = MISSING
                own[b] = values
            drawn.append(own)
        return measure(drawn, self.runs, self.scorers, self.pairs)


def _copied(runs: Sequence[Run], r: int, benchmark: Benchmark) -> int | None:
    """Find the earlier run of the same items whose answers are the same; None: there is none."""
    for i in range(r):
        if runs[i].version == runs[r].version and _same(runs[i], runs[r], benchmark):
            return i
    return None
