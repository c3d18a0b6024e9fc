"""What each item's answer does to a score, and how far two runs share their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.scoring import Answers, Scored, Scorer
from metabench_py.benchmarks import BENCHMARKS, Benchmark, Target
from metabench_py.irt.model import Floats, probability
from metabench_py.responses import MISSING


@dataclass(frozen=True, eq=False)
class Influence:
    """One run's abilities and scores, and how each answer moved them.

    An answer's influence is its residual (answer less the item model's probability at the run's
    ability) times what the estimate changes from a wrong to a right answer. Items that were not
    answered have none.

    Attributes
    ----------
    scored
        Of the one run; arrays of shape (1,).
    scores
        Influences on each target's score, in points, shape (n_items of all benchmarks,).
    theta
        Influences on each benchmark's ability, shape (n_items of the benchmark,).
    """

    scored: Scored
    scores: dict[Target, Floats]
    theta: dict[Benchmark, Floats]


def influence_of(answers: Answers, scorer: Scorer) -> Influence:
    """Score a run, and once more with each answer turned around.

    Parameters
    ----------
    answers
        For each benchmark int8, shape (n_items,).
    """
    sizes = {b: len(answers[b]) for b in BENCHMARKS}
    n_rows = 1 + sum(sizes.values())
    batch: dict[Benchmark, NDArray[np.int8]] = {}
    places: dict[Benchmark, slice] = {}
    first = 1
    for benchmark in BENCHMARKS:
        given = np.asarray(answers[benchmark], np.int8)
        values = np.tile(given, (n_rows, 1))
        own = np.arange(len(given))
        values[first + own, own] = np.where(given == MISSING, MISSING, 1 - given)
        batch[benchmark] = values
        places[benchmark] = slice(first, first + len(given))
        first += len(given)
    found = scorer(batch)
    residuals: dict[Benchmark, Floats] = {}
    for benchmark in BENCHMARKS:
        given = np.asarray(answers[benchmark], np.int8)
        expected = probability(scorer.parameters[benchmark], found.theta[benchmark][:1])[0]
        # From wrong to right: the turned-around row is the wrong one where the answer is right.
        sign = np.where(given == 1, 1.0, -1.0)
        residuals[benchmark] = np.where(given == MISSING, 0.0, sign * (given - expected))
    return Influence(
        scored=Scored(
            theta={b: found.theta[b][:1] for b in BENCHMARKS},
            se={b: found.se[b][:1] for b in BENCHMARKS},
            scores={t: values[:1] for t, values in found.scores.items()},
        ),
        scores={
            t: np.concatenate([residuals[b] for b in BENCHMARKS]) * (values[0] - values[1:])
            for t, values in found.scores.items()
        },
        theta={
            b: residuals[b] * (found.theta[b][0] - found.theta[b][places[b]]) for b in BENCHMARKS
        },
    )


def shared_error(first: Floats, second: Floats, sizes: tuple[int, ...]) -> float:
    """Correlation of two runs' errors on the same items.

    Where both runs stray from the item model in the same answers, their errors cancel out of the
    difference. One item more in each benchmark is taken to be answered differently: runs with
    the same answers to some items are not known to be the same.

    Parameters
    ----------
    first, second
        Influences of the same items, shape (n_items,).
    sizes
        Items of each benchmark, in their order.

    Returns
    -------
    float
        Between -1 and 1; 0 where the estimates do not vary.
    """
    apart = single = 0.0
    start = 0
    for n in sizes:
        a, b = first[start : start + n], second[start : start + n]
        start += n
        own = float(a @ a + b @ b)
        single += own
        apart += float((a - b) @ (a - b)) + own / max(n, 1)
    return float(np.clip(1.0 - apart / single, -1.0, 1.0)) if single > 0.0 else 0.0
