"""Reconstructs scores with one bundle, one set of engines and one kind of interval."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np

from metabench_py import __version__
from metabench_py.benchmarks import BENCHMARKS, TARGETS, TITLES, EngineName, Target
from metabench_py.bundle.schema import Bundle
from metabench_py.errors import ConvergenceError, InputError, TrustError
from metabench_py.gam.features import target_features
from metabench_py.irt.engine import Engine, get_engine
from metabench_py.irt.model import Floats
from metabench_py.logs.model import ModelResponses
from metabench_py.reconstruction.conformal import DEFAULT_LEVEL, ConformalInterval
from metabench_py.reconstruction.intervals import local_rmse, percentile
from metabench_py.reconstruction.missing import imputation_sd
from metabench_py.reconstruction.result import (
    INTERVALS,
    Ability,
    Flag,
    Interval,
    Reconstruction,
    Score,
)
from metabench_py.reconstruction.stages import FirstStage, Predictor, first_stage, second_stage
from metabench_py.responses import MISSING

SecondStage = Literal["auto", "mgcv", "portable"]
SECOND_STAGES: tuple[SecondStage, ...] = get_args(SecondStage)


class Reconstructor:
    """Turns responses into scores; set up once, used for many LLMs.

    Parameters
    ----------
    bundle
        From `metabench_py.load_bundle`.
    engine
        Who estimates abilities: ``mirt``, ``native``, or ``auto`` (mirt where R has it).
    second_stage
        Who predicts scores: ``mgcv``, ``portable`` (the same fit without R), or ``auto``:
        portable with the native engine, else mgcv where R has it and the bundle's fits are
        vouched for.
    interval
        ``conformal``; ``local-rmse``, the original's; ``theta``, the original's hidden option:
        the scores with every theta moved by `se_factor` standard errors down and up.
    level
        Share of LLMs that a conformal interval is to hold, between 0 and 1.
    se_factor
        For ``theta``.

    Raises
    ------
    RUnavailableError
        R or a package was asked for by name and is absent.
    TrustError
        mgcv was asked for and the bundle's .rds files are not vouched for.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: EngineName = "auto",
        second_stage: SecondStage = "auto",
        interval: Interval = "conformal",
        level: float = DEFAULT_LEVEL,
        se_factor: float = 1.0,
    ) -> None:
        if interval not in INTERVALS:
            raise InputError(f"No interval {interval!r}; choose {', '.join(INTERVALS)}.")
        if second_stage not in SECOND_STAGES:
            raise InputError(
                f"No second stage {second_stage!r}; choose {', '.join(SECOND_STAGES)}."
            )
        if not 0.0 < level < 1.0:
            raise InputError(
                f"The level of an interval lies between 0 and 1 (90 % is 0.9), not {level:g}.",
                level=level,
            )
        if not 0.0 < se_factor < np.inf:
            raise InputError(f"The number of standard errors must be positive, not {se_factor:g}.")
        self.bundle = bundle
        self.interval: Interval = interval
        self.level = level
        self.se_factor = se_factor
        self.engine: Engine = get_engine(engine)
        self.second_stage = _choose_second_stage(bundle, engine, second_stage)
        self._predictors: Mapping[Target, Predictor] = (
            _load_mgcv(bundle) if self.second_stage == "mgcv" else bundle.gams
        )

    def __call__(self, models: Sequence[ModelResponses]) -> list[Reconstruction | ConvergenceError]:
        """Reconstruct; an LLM that has no usable ability gives its error, the others go on."""
        if not models:
            return []
        values = {b: np.stack([m.values[b] for m in models]) for b in BENCHMARKS}
        stage = first_stage(values, self.bundle.benchmarks, self.engine)
        table = stage.features()
        raw = second_stage(table, self._predictors)
        widen = {t: np.zeros(len(models)) for t in TARGETS}
        for row in range(len(models)):
            if any((values[b][row] == MISSING).any() for b in BENCHMARKS):
                sd = imputation_sd(
                    values, stage, row, self.bundle.benchmarks, self.engine, self._predictors
                )
                for target in TARGETS:
                    widen[target][row] = sd[target]
        scores = self._scores(raw, stage, widen)
        outside = self._outside(table)
        results: list[Reconstruction | ConvergenceError] = []
        for row, model in enumerate(models):
            if all(np.isfinite(raw[t][row]) for t in TARGETS):
                results.append(self._result(model, row, stage, table, scores, outside[row]))
            else:
                results.append(_no_ability(model.model, stage, row))
        return results

    @cached_property
    def _conformal(self) -> dict[Target, ConformalInterval]:
        return {t: ConformalInterval.from_errors(self.bundle.errors[t]) for t in TARGETS}

    def _scores(
        self, raw: Mapping[Target, Floats], stage: FirstStage, widen: Mapping[Target, Floats]
    ) -> dict[Target, list[Score]]:
        moved: list[dict[Target, Floats]] = []
        if self.interval == "theta":
            for shift in (-self.se_factor, self.se_factor):
                moved.append(second_stage(stage.features(shift), self._predictors))
        level = self.level if self.interval == "conformal" else None
        scores: dict[Target, list[Score]] = {}
        for target in TARGETS:
            score = np.clip(raw[target], 0.0, 100.0)
            if self.interval == "theta":
                # A falling curve turns the two around; the original leaves them so.
                lower = np.minimum(moved[0][target], moved[1][target])
                upper = np.maximum(moved[0][target], moved[1][target])
            else:
                half, deviations = self._half_width(target, score)
                half = np.hypot(half, deviations * widen[target])
                lower, upper = score - half, score + half
            lower, upper = np.clip(lower, 0.0, 100.0), np.clip(upper, 0.0, 100.0)
            population = self.bundle.population.get(target)
            rank = (
                None
                if population is None
                else percentile(population, self.bundle.population_levels, score)
            )
            scores[target] = [
                Score(
                    float(score[row]),
                    float(lower[row]),
                    float(upper[row]),
                    self.interval,
                    level,
                    None if rank is None else float(rank[row]),
                )
                for row in range(len(score))
            ]
        return scores

    def _half_width(self, target: Target, score: Floats) -> tuple[Floats, float]:
        """Half the interval's width, and how many standard deviations it is meant to hold."""
        errors = self.bundle.errors[target]
        if self.interval == "local-rmse":
            return local_rmse(errors, score), 1.0
        _, upper = self._conformal[target].interval(score, self.level)
        return upper - score, NormalDist().inv_cdf(0.5 + self.level / 2.0)

    def _outside(self, table: Mapping[str, Floats]) -> list[list[str]]:
        """Features of each LLM beyond what any calibration LLM had."""
        n = len(next(iter(table.values())))
        outside: list[list[str]] = [[] for _ in range(n)]
        for target in TARGETS:
            features = target_features(table, target)
            for term in self.bundle.gams[target].terms:
                name = term.feature.replace("this", target)
                column = features[term.feature]
                for row in np.flatnonzero((column < term.lower) | (column > term.upper)):
                    if name not in outside[row]:
                        outside[row].append(name)
        return outside

    def _result(
        self,
        model: ModelResponses,
        row: int,
        stage: FirstStage,
        table: Mapping[str, Floats],
        scores: Mapping[Target, list[Score]],
        outside: list[str],
    ) -> Reconstruction:
        flags = [Flag(*flag) for flag in model.flags]
        if outside:
            flags.append(Flag("extrapolated", f"beyond the calibration LLMs: {', '.join(outside)}"))
        if self.interval == "conformal" and self.bundle.errors_kind == "test-set":
            flags.append(
                Flag(
                    "interval-from-test-errors",
                    "the bundle has the original's test errors only, not cross-validated ones",
                )
            )
        if self.bundle.benchmarks["gsm8k"].metric == "exact_match":
            source = model.sources.get("gsm8k")
            if source is not None and source.filter == "first row":
                flags.append(
                    Flag(
                        "gsm8k-by-position",
                        "the log names no filter; each item's first row is strict-match",
                    )
                )
        return Reconstruction(
            model=model.model,
            version=self.bundle.version,
            permuted=model.permuted,
            scores={t: scores[t][row] for t in TARGETS},
            abilities={
                b: Ability(
                    theta=float(stage.abilities[b].theta[row]),
                    se=float(stage.abilities[b].se[row]),
                    method=stage.abilities[b].method,
                    n_items=len(self.bundle.benchmarks[b].parameters.items),
                    n_answered=int(stage.n_answered[b][row]),
                    n_correct=int(stage.n_correct[b][row]),
                    subscore=float(stage.subscore[b][row]),
                    linear_predictor=float(stage.linear[b][row]),
                )
                for b in BENCHMARKS
            },
            grand_subscore=float(table["grand.s"][row]),
            grand_linear_predictor=float(table["grand.l"][row]),
            flags=tuple(flags),
            logs={
                b: {"file": s.log.path.name, "metric": s.metric, "filter": s.filter}
                for b, s in model.sources.items()
            },
            engine={"irt": self.engine.name, "second_stage": self.second_stage},
            bundle={"name": self.bundle.name, "sha256": self.bundle.sha256},
            software=self.software,
        )

    @cached_property
    def software(self) -> dict[str, str]:
        """Versions of what computed."""
        versions = {
            "metabench-py": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        if self.engine.name == "mirt" or self.second_stage == "mgcv":
            from metabench_py import rbridge
            from metabench_py.rbridge.locate import package_version

            versions["R"] = rbridge.r_version()
            if self.engine.name == "mirt":
                versions["mirt"] = self.engine.version
            if self.second_stage == "mgcv":
                versions["mgcv"] = package_version("mgcv") or "unknown"
        return versions


def may_use_r(bundle: Bundle, engine: EngineName, second_stage: SecondStage) -> bool:
    """Tell whether a `Reconstructor` of these would start R; looks on disk only."""
    if engine == "mirt" or second_stage == "mgcv":
        return True
    from metabench_py import rbridge

    if engine == "auto" and rbridge.has_package("mirt"):
        return True
    return _choose_second_stage(bundle, engine, second_stage) == "mgcv"


def _choose_second_stage(
    bundle: Bundle, engine: EngineName, wanted: SecondStage
) -> Literal["mgcv", "portable"]:
    if wanted == "portable" or (wanted == "auto" and engine == "native"):
        return "portable"
    from metabench_py import rbridge

    absent = [t for t in TARGETS if t not in bundle.rds]
    if wanted == "auto":
        return "mgcv" if not absent and rbridge.has_package("mgcv") else "portable"
    rbridge.require_package("mgcv")
    if absent:
        if bundle.rds_untrusted:
            raise TrustError(
                f"The R fits in {bundle.path} are not vouched for, and an .rds file can run code "
                "when R reads it. Say --trust if you trust their source, or take "
                "--second-stage portable: the same fit, without R.",
                path=str(bundle.path),
            )
        raise InputError(
            f"{bundle.path} has no R fits (.rds); take --second-stage portable.",
            path=str(bundle.path),
        )
    return "mgcv"


def _load_mgcv(bundle: Bundle) -> dict[Target, Predictor]:
    from metabench_py.gam.mgcv import load_rds

    return {t: load_rds(bundle.rds[t], t) for t in TARGETS}


def _no_ability(model: str, stage: FirstStage, row: int) -> ConvergenceError:
    bad = [b for b in BENCHMARKS if not np.isfinite(stage.abilities[b].theta[row])]
    where = ", ".join(TITLES[b] for b in bad) or "one benchmark"
    return ConvergenceError(
        f"{model}: the ability in {where} is infinite or not determined by these answers, so "
        "there is no score. Calibrate with MAP or EAP, which always have one.",
        model=model,
    )
