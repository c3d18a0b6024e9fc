"""Scores answers for the studies of runs, with a bundle's own two stages and errors."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from metabench_py.analysis.scoring import Answers, Scored
from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle import Bundle
from metabench_py.bundle.schema import StoredStage
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.irt.native import NativeEngine
from metabench_py.reconstruction.conformal import ConformalInterval
from metabench_py.reconstruction.missing import growth_factors
from metabench_py.reconstruction.second_stage import stored_stage
from metabench_py.reconstruction.stages import FirstStage, first_stage

# Half a conformal interval of this level holds so many standard deviations as a normal one.
_LEVEL = 0.9


class BundleScorer:
    """Native engine and one of the bundle's second stages, which needs no R.

    Parameters
    ----------
    stage
        None: the bundle's default.
    """

    def __init__(self, bundle: Bundle, stage: StoredStage | None = None) -> None:
        self.bundle = bundle
        self._engine = NativeEngine()
        self._stored = stage or bundle.default
        self._second = stored_stage(self._stored.model)
        self._intervals = {
            t: ConformalInterval.from_errors(self._stored.errors[t]) for t in TARGETS
        }

    @property
    def parameters(self) -> dict[Benchmark, ItemParameters]:
        """Items of each benchmark, in the bundle's order."""
        return {b: self.bundle.benchmarks[b].parameters for b in BENCHMARKS}

    def __call__(self, answers: Answers) -> Scored:
        """Score answers; see `metabench_py.analysis.scoring.Scorer`."""
        return self._score(self._first(answers))

    def with_errors(self, answers: Answers) -> Scored:
        """Score answers, with half a conformal interval as a normal one's of that level."""
        stage = self._first(answers)
        scored = self._score(stage)
        scale = self._second.scale(stage)
        growth = self._stored.growth
        factors = {} if growth is None else growth_factors(growth, stage)
        deviations = NormalDist().inv_cdf(0.5 + _LEVEL / 2.0)
        sds: dict[Target, Floats] = {}
        for target in TARGETS:
            score = np.clip(scored.scores[target], 0.0, 100.0)
            lower, upper = self._intervals[target].interval(score, _LEVEL, scale[target])
            sds[target] = (upper - lower) / (2.0 * deviations) * factors.get(target, 1.0)
        return replace(scored, sds=sds)

    def _first(self, answers: Answers) -> FirstStage:
        return first_stage(answers, self.bundle.benchmarks, self._engine)

    def _score(self, stage: FirstStage) -> Scored:
        return Scored(
            theta={b: stage.abilities[b].theta for b in BENCHMARKS},
            se={b: stage.abilities[b].se for b in BENCHMARKS},
            scores=self._second.predict(stage),
        )
