"""Scores answers for the studies of runs, with a bundle's own two stages and errors."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from metabench_py.analysis.scoring import Answers, Scored
from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle import Bundle
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.irt.native import NativeEngine
from metabench_py.reconstruction.conformal import ConformalInterval
from metabench_py.reconstruction.stages import first_stage, second_stage

# Half a conformal interval of this level holds so many standard deviations as a normal one.
_LEVEL = 0.9


class BundleScorer:
    """Native engine and portable second stage: thousands of answer patterns a second."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._engine = NativeEngine()
        self._intervals = {t: ConformalInterval.from_errors(bundle.errors[t]) for t in TARGETS}

    @property
    def parameters(self) -> dict[Benchmark, ItemParameters]:
        """Items of each benchmark, in the bundle's order."""
        return {b: self.bundle.benchmarks[b].parameters for b in BENCHMARKS}

    def __call__(self, answers: Answers) -> Scored:
        """Score answers; see `metabench_py.analysis.scoring.Scorer`."""
        stage = first_stage(answers, self.bundle.benchmarks, self._engine)
        return Scored(
            theta={b: stage.abilities[b].theta for b in BENCHMARKS},
            se={b: stage.abilities[b].se for b in BENCHMARKS},
            scores=second_stage(stage.features(), self.bundle.gams),
        )

    def error_sd(self, target: Target, scores: Floats) -> Floats:
        """Half a conformal interval, as the standard deviation of a normal of that level."""
        lower, upper = self._intervals[target].interval(np.clip(scores, 0.0, 100.0), _LEVEL)
        deviations = NormalDist().inv_cdf(0.5 + _LEVEL / 2.0)
        result: Floats = (upper - lower) / (2.0 * deviations)
        return result
