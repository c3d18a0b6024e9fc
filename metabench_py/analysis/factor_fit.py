"""One factor solution, by R's psych or in NumPy, with the same fit measures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from metabench_py.analysis.chi_square import chi_square_cdf, noncentrality
from metabench_py.analysis.minres import minres, oblimin
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

FactorEngine = Literal["psych", "native"]
EngineChoice = Literal["auto", "psych", "native"]
Rotation = Literal["oblimin", "none"]
ROTATIONS: tuple[Rotation, ...] = get_args(Rotation)
# The RMSEA's interval.
RMSEA_LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class FactorFit:
    """A solution of some factors of p variables.

    Attributes
    ----------
    loadings
        Pattern, shape (p, n_factors).
    phi
        Correlations of the factors, shape (n_factors, n_factors).
    uniquenesses
        Share of each variable's variance that the factors leave, shape (p,).
    weights
        Of the standardised variables in the factor scores (regression, Thurstone 1935),
        shape (p, n_factors).
    score_r2
        Squared correlation of factor and its scores, shape (n_factors,).
    variance
        Share of all variance that each factor accounts for, shape (n_factors,).
    chi_square, p_value, dof
        Test that the factors suffice; p is NaN without degrees of freedom.
    rmsea, rmsea_lower, rmsea_upper
        With its 90 % interval; NaN without degrees of freedom.
    cfi, tli
        Comparative fit (Bentler 1990), Tucker-Lewis; NaN without degrees of freedom.
    rmsr, crmsr
        Root mean square of the residual correlations, as they are and corrected for the
        degrees of freedom.
    """

    n_factors: int
    loadings: Floats
    phi: Floats
    uniquenesses: Floats
    weights: Floats
    score_r2: Floats
    variance: Floats
    objective: float
    chi_square: float
    p_value: float
    dof: int
    null_chi_square: float
    null_dof: int
    rmsea: float
    rmsea_lower: float
    rmsea_upper: float
    cfi: float
    tli: float
    rmsr: float
    crmsr: float

    def to_dict(self, variables: tuple[str, ...]) -> dict[str, Any]:
        """As JSON values; NaN, which JSON lacks, becomes null."""
        rows = dict(zip(variables, self.loadings.tolist(), strict=True))
        unique = dict(zip(variables, self.uniquenesses.tolist(), strict=True))
        weights = dict(zip(variables, self.weights.tolist(), strict=True))
        plain = {
            name: number(getattr(self, name))
            for name in (
                "objective", "chi_square", "p_value", "dof", "null_chi_square", "null_dof",
                "rmsea", "rmsea_lower", "rmsea_upper", "cfi", "tli", "rmsr", "crmsr",
            )
        }  # fmt: skip
        return {
            "n_factors": self.n_factors,
            "loadings": rows,
            "uniquenesses": unique,
            "weights": weights,
            "phi": self.phi.tolist(),
            "score_r2": self.score_r2.tolist(),
            "variance": self.variance.tolist(),
            "variance_total": float(self.variance.sum()),
            **plain,
        }


def degrees_of_freedom(n_variables: int, n_factors: int) -> int:
    """Correlations beyond the free parameters."""
    return ((n_variables - n_factors) ** 2 - n_variables - n_factors) // 2


def fit(values: Floats, n_factors: int, rotation: Rotation, engine: FactorEngine) -> FactorFit:
    """Find `n_factors` by minimum residuals.

    Parameters
    ----------
    values
        Shape (n_llms, p), finite.

    Raises
    ------
    ConvergenceError
        The native search does not come to rest.
    RUnavailableError
        psych was asked for and is absent.
    """
    if engine == "native":
        return _native(values, n_factors, rotation)
    from metabench_py import rbridge

    found = rbridge.call("factor_fit", values=values, n_factors=n_factors, rotation=rotation)
    one = {k: float(np.ravel(found[k])[0]) for k in _SINGLE}
    dof = int(one["dof"])
    rmsea = found["rmsea"] if dof > 0 else [math.nan] * 3
    return FactorFit(
        n_factors=n_factors,
        loadings=found["loadings"],
        phi=found["phi"],
        uniquenesses=found["uniquenesses"],
        weights=found["weights"],
        score_r2=found["score_r2"],
        variance=found["variance"],
        objective=one["objective"],
        chi_square=one["chi_square"],
        p_value=one["p_value"],
        dof=dof,
        null_chi_square=one["null_chi_square"],
        null_dof=int(one["null_dof"]),
        rmsea=float(rmsea[0]),
        rmsea_lower=float(rmsea[1]),
        rmsea_upper=float(rmsea[2]),
        cfi=_cfi(one["chi_square"], dof, one["null_chi_square"], int(one["null_dof"])),
        tli=one["tli"] if dof > 0 else math.nan,
        rmsr=one["rmsr"],
        crmsr=one["crmsr"] if dof > 0 else math.nan,
    )


_SINGLE = (
    "chi_square", "p_value", "dof", "null_chi_square", "null_dof", "objective", "tli", "rmsr",
    "crmsr",
)  # fmt: skip


def _native(values: Floats, n_factors: int, rotation: Rotation) -> FactorFit:
    n, p = values.shape
    correlation: Floats = np.asarray(np.corrcoef(values, rowvar=False), np.float64)
    loadings, uniquenesses = minres(correlation, n_factors)
    phi = np.eye(n_factors)
    if rotation == "oblimin":
        loadings, phi = oblimin(loadings)
    structure = loadings @ phi
    weights: Floats = np.asarray(np.linalg.solve(correlation, structure), np.float64)
    model = structure @ loadings.T
    residual = correlation - model
    np.fill_diagonal(residual, 0.0)
    np.fill_diagonal(model, 1.0)
    ratio = np.linalg.solve(model, correlation)
    objective = float(np.trace(ratio) - np.linalg.slogdet(ratio)[1] - p)
    dof, null_dof = degrees_of_freedom(p, n_factors), p * (p - 1) // 2
    # Bartlett's corrections; psych's Tucker-Lewis index takes the same one for both models.
    chi = objective * (n - 1 - (2 * p + 5) / 6 - 2 * n_factors / 3)
    null_objective = -float(np.linalg.slogdet(correlation)[1])
    null = null_objective * (n - 1 - (2 * p + 5) / 6)
    null_ratio = null_objective * (n - 1 - (2 * p + 5) / 6 - 2 * n_factors / 3) / null_dof
    squares = float((residual**2).sum())
    rmsea, lower, upper = _rmsea(chi, dof, n)
    return FactorFit(
        n_factors=n_factors,
        loadings=loadings,
        phi=phi,
        uniquenesses=uniquenesses,
        weights=weights,
        score_r2=np.einsum("ik,ik->k", weights, structure),
        variance=np.diag(phi @ loadings.T @ loadings) / p,
        objective=objective,
        chi_square=chi,
        p_value=1.0 - chi_square_cdf(chi, dof) if dof > 0 else math.nan,
        dof=dof,
        null_chi_square=null,
        null_dof=null_dof,
        rmsea=rmsea,
        rmsea_lower=lower,
        rmsea_upper=upper,
        cfi=_cfi(chi, dof, null, null_dof),
        tli=(null_ratio - chi / dof) / (null_ratio - 1.0) if dof > 0 else math.nan,
        rmsr=math.sqrt(squares / (p * (p - 1))),
        crmsr=math.sqrt(squares / (2 * dof)) if dof > 0 else math.nan,
    )


def _cfi(chi: float, dof: int, null_chi: float, null_dof: int) -> float:
    if dof <= 0:
        return math.nan
    beyond = max(chi - dof, 0.0)
    worst = max(null_chi - null_dof, beyond)
    return 1.0 - beyond / worst if worst > 0.0 else 1.0


def _rmsea(chi: float, dof: int, n: int) -> tuple[float, float, float]:
    if dof <= 0:
        return math.nan, math.nan, math.nan
    # The estimate divides by n, its bounds by n - 1, as in psych.
    tail = (1.0 - RMSEA_LEVEL) / 2.0

    def at(share: float) -> float:
        return math.sqrt(noncentrality(chi, dof, share) / (dof * (n - 1)))

    return math.sqrt(max(chi / (dof * n) - 1.0 / (n - 1), 0.0)), at(1.0 - tail), at(tail)


def number(value: float) -> float | int | None:
    """Give a JSON number, or null for what JSON lacks."""
    return value if math.isfinite(value) else None


def choose_engine(wanted: EngineChoice) -> FactorEngine:
    """Take psych where R has it, unless one is named.

    Raises
    ------
    RUnavailableError
        psych was asked for by name and is absent; the message says how to get it.
    InputError
        There is no such engine.
    """
    if wanted not in get_args(EngineChoice):
        raise InputError(f"No engine {wanted!r}; choose {', '.join(get_args(EngineChoice))}.")
    if wanted == "native":
        return "native"
    from metabench_py import rbridge

    if wanted == "psych":
        # Without GPArotation psych cannot turn several factors.
        rbridge.require_package("psych")
        rbridge.require_package("GPArotation")
        return "psych"
    there = rbridge.has_package("psych") and rbridge.has_package("GPArotation")
    return "psych" if there else "native"
