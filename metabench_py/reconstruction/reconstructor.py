"""Reconstructs scores with one bundle, one set of engines and one kind of interval."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import NormalDist

import numpy as np

from metabench_py import __version__
from metabench_py.benchmarks import BENCHMARKS, TITLES, Benchmark, EngineName, Target
from metabench_py.bundle.schema import Bundle
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.irt.engine import Engine, get_engine
from metabench_py.irt.model import Floats
from metabench_py.logs.model import ModelResponses
from metabench_py.logs.reader import FIRST_ROW
from metabench_py.reconstruction.choose import SecondStageName, choose_second_stage, open_stage
from metabench_py.reconstruction.conformal import DEFAULT_LEVEL, ConformalInterval
from metabench_py.reconstruction.intervals import local_rmse, percentile
from metabench_py.reconstruction.missing import growth_factors, imputation_sd
from metabench_py.reconstruction.result import (
    INTERVALS,
    Ability,
    Flag,
    Interval,
    Reconstruction,
    Score,
)
from metabench_py.reconstruction.second_stage import SecondStage
from metabench_py.reconstruction.stages import FirstStage, Responses, first_stage
from metabench_py.responses import MISSING


class Reconstructor:
    """Turns responses into scores; set up once, used for many LLMs.

    Parameters
    ----------
    bundle
        From `metabench_py.load_bundle`.
    engine
        Who estimates abilities: ``mirt``, ``native``, or ``auto`` (mirt where R has it).
    second_stage
        Who predicts scores: ``stack``; ``mgcv``; ``portable``, mgcv's fit without R; ``gam``,
        mgcv where R has it and the bundle's fits are vouched for, else portable; or ``auto``,
        the bundle's default (a GAM without R where the engine is native).
    interval
        ``conformal``; ``local-rmse``, the original's; ``theta``, the original's hidden option:
        the span of the score and those with every theta moved by `se_factor` standard errors
        down and up.
    level
        Share of LLMs that a conformal interval is to hold, between 0 and 1.
    se_factor
        For ``theta``.
    only
        Score this benchmark from its own answers alone; None: all six and the grand score.

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
        second_stage: SecondStageName = "auto",
        interval: Interval = "conformal",
        level: float = DEFAULT_LEVEL,
        se_factor: float = 1.0,
        only: Benchmark | None = None,
    ) -> None:
        if interval not in INTERVALS:
            raise InputError(f"No interval {interval!r}; choose {', '.join(INTERVALS)}.")
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
        self.benchmarks: tuple[Benchmark, ...] = BENCHMARKS if only is None else (only,)
        self._stored, self.second_stage = choose_second_stage(bundle, engine, second_stage, only)
        self.engine: Engine = get_engine(engine)
        self._second: SecondStage = open_stage(bundle, self._stored, self.second_stage)
        self.targets: tuple[Target, ...] = self._second.targets

    def __call__(self, models: Sequence[ModelResponses]) -> list[Reconstruction | ConvergenceError]:
        """Reconstruct; an LLM that has no usable ability gives its error, the others go on."""
        if not models:
            return []
        values = {b: np.stack([m.values[b] for m in models]) for b in self.benchmarks}
        stage = first_stage(values, self.bundle.benchmarks, self.engine)
        raw = self._second.predict(stage)
        scores = self._scores(raw, values, stage)
        outside = self._second.outside(stage)
        table = stage.features()
        results: list[Reconstruction | ConvergenceError] = []
        for row, model in enumerate(models):
            if all(np.isfinite(raw[t][row]) for t in self.targets):
                results.append(self._result(model, row, stage, table, scores, outside[row]))
            else:
                results.append(_no_ability(model.model, stage, row))
        return results

    @cached_property
    def _conformal(self) -> dict[Target, ConformalInterval]:
        return {t: ConformalInterval.from_errors(self._stored.errors[t]) for t in self.targets}

    def _scores(
        self, raw: Mapping[Target, Floats], values: Responses, stage: FirstStage
    ) -> dict[Target, list[Score]]:
        clipped = {t: np.clip(raw[t], 0.0, 100.0) for t in self.targets}
        bounds = (
            self._moved(raw, stage)
            if self.interval == "theta"
            else self._around(clipped, values, stage)
        )
        level = self.level if self.interval == "conformal" else None
        scores: dict[Target, list[Score]] = {}
        for target in self.targets:
            numbers = [clipped[target], *(np.clip(b, 0.0, 100.0) for b in bounds[target])]
            ranks = [self._percentile(target, column) for column in numbers]
            scores[target] = [self._score(level, numbers, ranks, row) for row in range(stage.n)]
        return scores

    def _score(
        self, level: float | None, numbers: list[Floats], ranks: list[Floats | None], row: int
    ) -> Score:
        score, lower, upper = (float(column[row]) for column in numbers)
        rank, low, high = (None if r is None else float(r[row]) for r in ranks)
        factor = self.se_factor if self.interval == "theta" else None
        return Score(score, lower, upper, self.interval, level, rank, low, high, factor)

    def _percentile(self, target: Target, score: Floats) -> Floats | None:
        population = self.bundle.population.get(target)
        if population is None:
            return None
        return percentile(population, self.bundle.population_levels, score)

    def _moved(
        self, raw: Mapping[Target, Floats], stage: FirstStage
    ) -> dict[Target, tuple[Floats, Floats]]:
        """Span of the score and those with every theta moved down and up.

        The original gives the two moved scores alone. Where a curve falls they are turned around,
        and where it bends both may lie on one side of the score.
        """
        down, up = (self._second.predict(stage, s) for s in (-self.se_factor, self.se_factor))
        three = {t: (down[t], raw[t], up[t]) for t in self.targets}
        return {t: (np.min(v, axis=0), np.max(v, axis=0)) for t, v in three.items()}

    def _around(
        self, scores: Mapping[Target, Floats], values: Responses, stage: FirstStage
    ) -> dict[Target, tuple[Floats, Floats]]:
        """Score less and plus half a width, larger where answers are missing."""
        half, deviations = self._half_widths(scores, stage)
        growth = self._stored.growth
        if growth is not None:
            factors = growth_factors(growth, stage)
            half = {t: half[t] * factors[t] for t in self.targets}
        else:
            for row in range(stage.n):
                if any((values[b][row] == MISSING).any() for b in self.benchmarks):
                    models = self.bundle.benchmarks
                    sd = imputation_sd(values, stage, row, models, self.engine, self._second)
                    for target in self.targets:
                        half[target][row] = np.hypot(half[target][row], deviations * sd[target])
        return {t: (scores[t] - half[t], scores[t] + half[t]) for t in self.targets}

    def _half_widths(
        self, scores: Mapping[Target, Floats], stage: FirstStage
    ) -> tuple[dict[Target, Floats], float]:
        """Half the intervals' widths, and how many standard deviations they are meant to hold."""
        if self.interval == "local-rmse":
            return {t: local_rmse(self._stored.errors[t], scores[t]) for t in self.targets}, 1.0
        scale = self._second.scale(stage)
        half: dict[Target, Floats] = {}
        for target in self.targets:
            conformal, score = self._conformal[target], scores[target]
            _, upper = conformal.interval(score, self.level, scale[target])
            half[target] = upper - score
        return half, NormalDist().inv_cdf(0.5 + self.level / 2.0)

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
            if source is not None and source.filter == FIRST_ROW:
                flags.append(
                    Flag(
                        "gsm8k-by-position",
                        "the log names no filter; each item's first row is strict-match",
                    )
                )
        whole = "grand" in self.targets
        return Reconstruction(
            model=model.model,
            version=self.bundle.version,
            permuted=model.permuted,
            scores={t: scores[t][row] for t in self.targets},
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
                for b in self.benchmarks
            },
            grand_subscore=float(table["grand.s"][row]) if whole else None,
            grand_linear_predictor=float(table["grand.l"][row]) if whole else None,
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


def _no_ability(model: str, stage: FirstStage, row: int) -> ConvergenceError:
    bad = [b for b in stage.benchmarks if not np.isfinite(stage.abilities[b].theta[row])]
    where = ", ".join(TITLES[b] for b in bad) or "one benchmark"
    return ConvergenceError(
        f"{model}: the ability in {where} is infinite or not determined by these answers, so "
        "there is no score. Calibrate with MAP or EAP, which always have one.",
        model=model,
    )
