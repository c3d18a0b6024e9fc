"""What the studies of runs need of a bundle: answers in, abilities and scores out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark, Target
from metabench_py.irt.model import Floats, ItemParameters

Answers = Mapping[Benchmark, NDArray[np.int8]]


@dataclass(frozen=True, eq=False)
class Scored:
    """Abilities and reconstructed scores; every array has shape (n,).

    Attributes
    ----------
    theta, se
        By benchmark.
    scores
        By target, not clipped to 0-100.
    sds
        Standard deviation of the true scores around these, in points, by target; empty where
        nobody asked (`Scorer.with_errors`).
    """

    theta: dict[Benchmark, Floats]
    se: dict[Benchmark, Floats]
    scores: dict[Target, Floats]
    sds: dict[Target, Floats] = field(default_factory=dict)


class Scorer(Protocol):
    """Scores answers with one bundle; whoever calls a study makes it."""

    @property
    def parameters(self) -> Mapping[Benchmark, ItemParameters]:
        """Items of each benchmark."""

    def __call__(self, answers: Answers) -> Scored:
        """Score int8 answers, for each benchmark shape (n, n_items): 1, 0, -1 not answered."""

    def with_errors(self, answers: Answers) -> Scored:
        """Score answers, and tell how far true scores stray from such reconstructed ones."""
