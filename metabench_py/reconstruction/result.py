"""The result: one value that the table, JSON and CSV render.

JSON schema 1, the keys of `Reconstruction.to_dict`:

- ``schema``, ``model``, ``version``, ``permuted``
- ``scores``: for ``grand`` and the six benchmarks (for one of them where only it was scored)
  ``score``, ``lower``, ``upper`` (0-100), ``interval`` (conformal, local-rmse, theta), ``level``
  (share of LLMs, null where the interval claims none), ``se_factor`` (standard errors of ability
  that a theta interval moves, else null), ``percentile`` among the calibration LLMs
  and its bounds ``percentile_lower``, ``percentile_upper``, those of the score's interval (null
  where the bundle has no calibration LLMs); ``grand`` also ``subscore`` and ``linear_predictor``
- ``abilities``: for each benchmark ``theta``, ``se``, ``method``, ``n_items``, ``n_answered``,
  ``n_correct``, ``subscore``, ``linear_predictor``
- ``flags``: objects of ``flag`` and ``detail``
- ``logs``: for each benchmark ``file``, ``metric``, ``filter``; empty where there were no logs
- ``engine``: ``irt`` and ``second_stage`` (stack, mgcv, portable); ``bundle``: ``name`` and
  ``sha256``; ``software``: versions
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, ScoreMethod, Target

RESULT_SCHEMA = 1
Interval = Literal["conformal", "local-rmse", "theta"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)


@dataclass(frozen=True)
class Score:
    """A reconstructed score with its interval, in points of 0 to 100."""

    score: float
    lower: float
    upper: float
    interval: Interval
    level: float | None
    percentile: float | None
    percentile_lower: float | None = None
    percentile_upper: float | None = None
    se_factor: float | None = None

    @property
    def interval_name(self) -> str:
        """Say what the interval is, in a few words."""
        if self.interval == "conformal":
            return f"{100 * (self.level or 0):g} % interval"
        if self.interval == "local-rmse":
            return "± local RMSE"
        factor = "" if self.se_factor in (None, 1.0) else f"{self.se_factor:g} "
        return f"theta ± {factor}SE"


@dataclass(frozen=True)
class Ability:
    """First stage of one benchmark.

    Attributes
    ----------
    theta, se
        Ability and its standard error, in standard deviations of the prior.
    subscore
        Right answers, in percent of the items; one that was not answered counts with its expected
        response at the ability.
    linear_predictor
        The full score by the linear model of the responses, in points.
    """

    theta: float
    se: float
    method: ScoreMethod
    n_items: int
    n_answered: int
    n_correct: int
    subscore: float
    linear_predictor: float


@dataclass(frozen=True)
class Flag:
    """Something that the reader of a result should know."""

    flag: str
    detail: str


@dataclass(frozen=True)
class Reconstruction:
    """One LLM's reconstructed scores; see the module's text for the JSON.

    Where one benchmark alone was scored, `scores` and `abilities` have only it, and what is told
    of the grand score is None.
    """

    model: str
    version: str
    permuted: bool
    scores: dict[Target, Score]
    abilities: dict[Benchmark, Ability]
    grand_subscore: float | None
    grand_linear_predictor: float | None
    flags: tuple[Flag, ...]
    logs: dict[str, dict[str, str | None]]
    engine: dict[str, str]
    bundle: dict[str, str]
    software: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; infinities and NaN, which JSON lacks, become null."""
        scores = {
            t: {k: _json(v) for k, v in vars(self.scores[t]).items()}
            for t in TARGETS
            if t in self.scores
        }
        if "grand" in scores:
            scores["grand"] |= {
                "subscore": _json(self.grand_subscore),
                "linear_predictor": _json(self.grand_linear_predictor),
            }
        return {
            "schema": RESULT_SCHEMA,
            "model": self.model,
            "version": self.version,
            "permuted": self.permuted,
            "scores": scores,
            "abilities": {
                b: {k: _json(v) for k, v in vars(self.abilities[b]).items()}
                for b in BENCHMARKS
                if b in self.abilities
            },
            "flags": [vars(flag) for flag in self.flags],
            "logs": self.logs,
            "engine": self.engine,
            "bundle": self.bundle,
            "software": self.software,
        }


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
