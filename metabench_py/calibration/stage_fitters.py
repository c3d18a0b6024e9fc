"""Who fits a second stage on some LLMs: R's mgcv, or the stack's parts."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import TARGETS, Benchmark, Target
from metabench_py.bundle.schema import StageFit
from metabench_py.errors import MissingDependencyError
from metabench_py.gam.features import target_features
from metabench_py.gam.mgcv import GamOptions
from metabench_py.irt.model import Floats
from metabench_py.rbridge import require_package
from metabench_py.reconstruction.second_stage import GamStage, SecondStage, StackStage
from metabench_py.stack.inputs import StackInputs


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a second stage learns from; every array has a row an LLM.

    Attributes
    ----------
    table
        Features of all six benchmarks, or of one; linear predictors out of fold.
    responses
        0-1 responses of the same benchmarks, shape (n, n_items).
    scores
        Full scores by target, shape (n,).
    groups
        What stays together where choices are made by cross-validation, shape (n,).
    """

    table: Mapping[str, Floats]
    responses: Mapping[Benchmark, Floats]
    scores: Mapping[Target, Floats]
    groups: NDArray[np.int64]

    @property
    def targets(self) -> tuple[Target, ...]:
        """What can be predicted: each benchmark, and grand where all are there."""
        whole = "grand.l" in self.table
        return tuple(t for t in TARGETS if t in self.table or (t == "grand" and whole))


def require_fitters(fits: Sequence[StageFit]) -> None:
    """Check that what these second stages are fitted with is there; looks on disk only.

    Raises
    ------
    RUnavailableError
        R or mgcv is absent, and a GAM is to be fitted.
    MissingDependencyError
        scikit-learn is absent, and the stack is to be fitted.
    """
    if set(fits) - {"stack"}:
        require_package("mgcv")
    if "stack" in fits and not has_scikit_learn():
        raise MissingDependencyError(
            "Fitting the stack needs scikit-learn; install it with `pip install scikit-learn`, or "
            "take --second-stage gam."
        )


def has_scikit_learn() -> bool:
    """Whether the stack can be fitted here."""
    return importlib.util.find_spec("sklearn") is not None


class Fitter(Protocol):
    """Fits a second stage; picklable, so that a worker can."""

    def fit(self, lessons: Lessons) -> SecondStage:
        """Fit all of the lessons' targets."""


@dataclass(frozen=True, eq=False)
class GamFitter:
    """R's mgcv.

    Attributes
    ----------
    options
        By target; smoothing parameters may be fixed.
    """

    options: Mapping[Target, GamOptions]

    def fit(self, lessons: Lessons) -> SecondStage:
        """See `Fitter`."""
        from metabench_py.gam.mgcv import export, fit_gam

        gams = {}
        predictors = {}
        for target in lessons.targets:
            features = target_features(lessons.table, target)
            predictor, _ = fit_gam(
                features,
                lessons.scores[target],
                target,
                predictors=None if "grand.l" in lessons.table else tuple(features),
                options=self.options[target],
            )
            gams[target] = export(predictor.handle, target)
            predictors[target] = predictor
        return GamStage(gams, predictors)


@dataclass(frozen=True, eq=False)
class StackFitter:
    """The stack.

    Attributes
    ----------
    seed
        Of its inner folds and draws.
    """

    seed: int = 1

    def fit(self, lessons: Lessons) -> SecondStage:
        """See `Fitter`."""
        from metabench_py.stack.fit import StackOptions, fit_stack

        inputs = StackInputs(lessons.table, lessons.responses)
        options = StackOptions(seed=self.seed)
        return StackStage(fit_stack(inputs, lessons.scores, lessons.groups, options).stack)
