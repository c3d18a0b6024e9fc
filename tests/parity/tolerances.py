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

Z_OUTFIT_MISSING = Tolerance(
    "z.outfit, missing answers",
    0.05,
    "mirt divides by the answers to other items (R recycles them along rows); ours by the item's",
)

# Model comparison and item selection.
CRITERIA = Tolerance("AIC and BIC", 1e-5, "twice the log-likelihood")
BIN_EDGES = Tolerance("quantiles of ability", 1e-5, "MAP's, between which they interpolate")
RECOVERED = Tolerance(
    "recovered score", 5e-3, "the same abilities; mgcv's search stops where GCV is flat"
)
RECOVERY_RMSE = Tolerance(
    "recovery RMSE",
    0.02,
    "thetas differ by 4e-6, as MAP; from there mgcv's search ends at other smoothing parameters",
)

RECOVERY_UPPER = Tolerance(
    "recovery MAE + 1.96 SD", 4e-2, "as the RMSE, of a statistic that is twice as large"
)

# Reconstruction, in score points.
LINEAR = Tolerance("linear predictor", 1e-9, "least squares; only rounding differs")
SUBSCORE = Tolerance("sub-score", 1e-9, "a mean of zeros and ones; only rounding differs")
SCORE = Tolerance("score", 1e-4, "theta's difference, amplified by the steepest spline")
BOUND = Tolerance("interval bound", 1e-4, "as the score")

COVERAGE = Tolerance("interval coverage", 0.02, "shares; 2,461 LLMs of few large organisations")
COVERAGE_OF_FEW_ANSWERS = Tolerance(
    "interval coverage, few answers", 0.06, "shares; 300 LLMs, factors go on beyond 90 % masked"
)
COVERAGE_OF_A_FIFTH = Tolerance(
    "interval coverage of a fifth", 0.06, "what an interval may miss where it is worst: 84 % hold"
)

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

# Subsampling, in score points: the adaptive spline without R.
SUBSAMPLE_RMSE = Tolerance(
    "subsample RMSE, 94 % of splines",
    1e-4,
    "mgcv's steps, exactly; the other 6 % are long searches along flat GCV with penalties of "
    "e^20 and more, where mgcv itself differs as much when the rows are put in another order",
)
SUBSAMPLE_RMSE_TYPICAL = Tolerance(
    "subsample RMSE, half of the splines", 1e-9, "mgcv's steps, exactly; only rounding differs"
)
MINIMAX = Tolerance(
    "minimax RMSE", 5e-3, "as the RMSE; one of six lies on such a spline (the others: 1e-9)"
)
ADAPTIVE = Tolerance("adaptive spline", 1e-5, "mgcv's steps; rounding grows along the path")
ADAPTIVE_FLAT = Tolerance(
    "adaptive spline, flat GCV", 0.1, "mgcv's rounding at penalties of e^30 sends it elsewhere"
)
ADAPTIVE_GCV = Tolerance(
    "adaptive GCV at given parameters", 1e-9, "the same number from another factorisation"
)
GCV_EXCESS = Tolerance(
    "our GCV above mgcv's", 1e-9, "at both minima by the same arithmetic; 0 where ours is lower"
)
SUM_GCV = Tolerance("GCV of a sum", 1e-5, "mgcv's steps; both round where penalties are e^30")
SUM_GCV_FLAT = Tolerance(
    "GCV of a sum, flat", 1e-2, "mgcv itself ended 4e-3 lower on another machine"
)
SUM_RMSE_FLAT = Tolerance("test RMSE of a sum, flat", 1e-2, "as its GCV")
SUM_EDF = Tolerance("edf of a sum", 1e-3, "as its GCV")
SUM_PREDICTED = Tolerance(
    "score by a sum", 1e-4, "as its GCV; of LLMs beyond the training data too"
)
REORDERED = Tolerance(
    "RMSE beside mgcv's own changes", 2.0, "times what mgcv moves in six orders of the rows"
)

# Factor analysis.
PSYCH = Tolerance("psych", 1e-9, "psych again, on the same correlations; only rounding differs")
MINRES = Tolerance("minimum residuals", 1e-6, "psych's search stops at a relative gain of 2e-9")
MINRES_SEVERAL = Tolerance(
    "several factors", 1e-3, "psych stops early, and its rotation at a gradient of 1e-5"
)
PERSON_FIT = Tolerance("person fit", 1e-10, "a closed form; only rounding differs")
PAIR_CALIBRATION = Tolerance(
    "pair probability", 0.06, "a share; pairs of 80 LLMs depend on each other"
)
PAIR_COVERAGE = Tolerance("pair interval", 0.03, "a share; as the probability")
SYNERGY_ERROR = Tolerance(
    "synergy RMSE",
    0.03,
    "mirt's and mgcv's steps, where GCV is flat the search ends elsewhere; a test LLM beyond the "
    "abilities of the others, where ours is flat, moves one by 0.015",
)
SYNERGY_ERROR_TYPICAL = Tolerance(
    "synergy RMSE, half of the GAMs", 5e-4, "the same steps on abilities that differ by 4e-6"
)
SCORE_ERROR = Tolerance("RMSE and MAE", 1e-12, "a mean of given errors; only rounding differs")
RANKS = Tolerance("rank correlation", 5e-5, "the reference has four digits")

# Adaptive testing.
CAT_ROOT = Tolerance("catR's root", 1e-9, "the root of the same derivatives; only rounding differs")
CAT_EAP = Tolerance(
    "catR's EAP and its SE",
    1e-6,
    "catR's trapezoids halve the end nodes, the engines' sum does not",
)
CAT_SE = Tolerance("catR's SE", 1e-9, "a closed form at the same root")
CAT_THETA = Tolerance("catR's thetaEst", 1.3e-4, "R's uniroot stops at an interval of 1.2e-4")
CAT_WORTH = Tolerance("catR's item worth", 1e-9, "closed forms and the same trapezoids")
CAT_ITEMS = Tolerance("catR's items", 0.0, "number of tests with another item")

TABLE: tuple[Tolerance, ...] = tuple(
    value for value in tuple(globals().values()) if isinstance(value, Tolerance)
)
