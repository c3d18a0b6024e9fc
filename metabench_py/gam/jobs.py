"""Many GAM fits at once, each in a process that can be killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metabench_py.gam.mgcv import GamFit, GamOptions, export, fit_gam, save_stripped
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats


@dataclass(frozen=True, eq=False)
class GamJob:
    """One fit to be made in a worker; all of it is picklable.

    Attributes
    ----------
    features, score, target, predictors, options
        As for `fit_gam`.
    predict
        Features of other LLMs (a held-out fold) to predict; None: none.
    rds
        Where to save the stripped fit; None: nowhere.
    name
        For messages; None: the target.
    """

    target: str
    features: Mapping[str, Floats]
    score: Floats
    predictors: tuple[str, ...] | None = None
    options: GamOptions = field(default_factory=GamOptions)
    predict: Mapping[str, Floats] | None = None
    rds: Path | None = None
    name: str | None = None


@dataclass(frozen=True, eq=False)
class GamResult:
    """What a job gives.

    Attributes
    ----------
    portable
        The fit as splines.
    fitted
        Prediction for the training LLMs, shape (n,).
    predicted
        Prediction for `GamJob.predict`, by ``predict.gam``; None if not asked for.
    """

    fit: GamFit
    portable: PortableGam
    fitted: Floats
    predicted: Floats | None = None


def run_job(job: GamJob) -> GamResult:
    """Do one job in this process (a worker calls it)."""
    predictor, fit = fit_gam(
        job.features, job.score, job.target, predictors=job.predictors, options=job.options
    )
    portable = export(predictor.handle, job.target)
    if job.rds is not None:
        save_stripped(predictor.handle, job.rds)
    return GamResult(
        fit=fit,
        portable=portable,
        fitted=predictor.predict(job.features),
        predicted=None if job.predict is None else predictor.predict(job.predict),
    )
