"""Every parity tolerance: its name, its number and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """How far our number may be from the reference.

    Attributes
    ----------
    name
        Quantity, as the printed table has it.
    value
        Largest absolute difference, in the quantity's own unit.
    reason
        Where the difference comes from.
    """

    name: str
    value: float
    reason: str


# Item response theory: scoring.
EAP = Tolerance("EAP", 1e-10, "the same sum over 61 nodes; only rounding differs")
EAP_SUM = Tolerance("EAPsum", 1e-10, "the same recursion and sum; only rounding differs")
MAP = Tolerance("MAP", 5e-5, "mirt's search stops at a relative gradient of 1e-6, ours at 1e-9")
MAP_OBJECTIVE = Tolerance(
    "MAP objective", 1e-7, "how far ours may be below mirt's: rounding of a sum of logs"
)
MAP_SE = Tolerance(
    "MAP SE", 1e-3, "mirt differentiates numerically; for 99 % of LLMs, the rest sit on flat peaks"
)
WLE = Tolerance("WLE", 5e-5, "as MAP")
ML = Tolerance("ML", 3e-4, "as MAP, but without a prior the likelihood is flatter")
MODE_SE = Tolerance(
    "ML and WLE SE", 1e-3, "mirt differentiates numerically; for 99 % of LLMs, as MAP SE"
)
INFINITE = Tolerance("infinite ML", 0.0, "number of LLMs whose infinity or its sign differs")
REPLAY = Tolerance("mirt's own search", 1e-6, "mirt again, from parameters of 15 digits")
INFORMATION = Tolerance("information", 1e-9, "a closed form; only rounding differs")

# Item response theory: fitting.
LOG_LIKELIHOOD = Tolerance("log-likelihood", 1e-5, "the same cycles; a sum over all LLMs rounds")
LOG_LIKELIHOOD_3PL = Tolerance(
    "log-likelihood, 3PL", 1e-3, "a rounding fork in the search: mirt differs between its own runs"
)
PARAMETERS = Tolerance("item parameters", 1e-6, "the same cycles; rounding grows along the path")
PARAMETERS_3PL = Tolerance("item parameters, 3PL", 2e-3, "as its log-likelihood")
ITEM_FIT = Tolerance("item fit", 1e-9, "a closed form; only rounding differs")
CYCLES = Tolerance("EM cycles", 0.0, "the same stopping rule on the same path")

# Reconstruction, in score points.
LINEAR = Tolerance("linear predictor", 1e-9, "least squares; only rounding differs")
SUBSCORE = Tolerance("sub-score", 1e-9, "a mean of zeros and ones; only rounding differs")
SCORE = Tolerance("score", 1e-4, "theta's difference, amplified by the steepest spline")
BOUND = Tolerance("interval bound", 1e-4, "as the score")

COVERAGE = Tolerance("interval coverage", 0.02, "shares; 2,461 LLMs of few large organisations")

# Second stage, in score points.
PORTABLE_GAM = Tolerance("portable GAM", 1e-9, "the same spline, evaluated in another basis")
PUBLISHED_GAM = Tolerance("published GAM", 1e-6, "the fit predicts what was published with it")
GAM_REFIT = Tolerance(
    "refitted grand GAM", 1e-6, "the search for smoothing parameters stops where GCV is flat"
)
GAM_REFIT_SPECIFIC = Tolerance(
    "refitted specific GAM", 1e-5, "as the grand one; the search is longer (MMLU: 175 steps)"
)
GAM_RMSE = Tolerance("test RMSE", 5e-4, "the reference is published to three digits")

# Preprocessing and split.
ITEM_STATISTIC = Tolerance("item SD, discrimination", 1e-12, "closed forms; only rounding differs")
ITEM_DIFFICULTY = Tolerance(
    "item difficulty", 0.0, "the same operations; a limit hangs on its bits"
)
RAW_SCORE = Tolerance("raw score", 1e-12, "a share of right answers; a mean of six rounds")

TABLE: tuple[Tolerance, ...] = tuple(
    value for value in tuple(globals().values()) if isinstance(value, Tolerance)
)
