"""Factor analysis of abilities or scores: whether there is one ability behind the benchmarks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metabench_py.analysis.factor_fit import (
    ROTATIONS,
    EngineChoice,
    FactorEngine,
    FactorFit,
    Rotation,
    choose_engine,
    degrees_of_freedom,
    fit,
    number,
)
from metabench_py.analysis.factor_table import FactorTable
from metabench_py.analysis.minres import minres
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

_SEED_LIMIT = 2**31


@dataclass(frozen=True, eq=False)
class ParallelAnalysis:
    """Eigenvalues beside those of random numbers (Horn 1965); arrays of shape (n_variables,).

    Attributes
    ----------
    factor_values, factor_random
        Of the correlations with one factor's communalities; the mean over random samples.
    component_values, component_random
        Of the correlations themselves.
    n_factors, n_components
        How many leading values are above the random ones.
    """

    factor_values: Floats
    factor_random: Floats
    component_values: Floats
    component_random: Floats
    n_factors: int
    n_components: int
    n_samples: int


@dataclass(frozen=True, eq=False)
class FactorAnalysis:
    """Solutions of 1 to k factors, fitted on the training LLMs.

    Attributes
    ----------
    scores
        First factor of the one-factor solution for every LLM of the table, standardised on the
        training LLMs, shape (n_llms,).
    scores_by_own
        The same for the test LLMs as the original has it: standardised on, and weighted by the
        correlations of, the test LLMs themselves, shape (n_test,); None: too few of them.
    spearman
        Rank correlation of factor 1 with the column compared: ``train``, ``test`` and
        ``test_by_own``, where there are any.
    """

    table: FactorTable
    fits: tuple[FactorFit, ...]
    parallel: ParallelAnalysis
    scores: Floats
    scores_by_own: Floats | None
    spearman: dict[str, float]
    engine: FactorEngine
    rotation: Rotation
    software: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN, which JSON lacks, becomes null."""
        variables = self.table.variables
        parallel = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self.parallel).items()
        }
        return {
            "schema": 1,
            "variables": list(variables),
            "n_train": int((~self.table.test).sum()),
            "n_test": int(self.table.test.sum()),
            "n_left_out": self.table.n_left_out,
            "engine": self.engine,
            "rotation": self.rotation,
            "solutions": [one.to_dict(variables) for one in self.fits],
            "parallel": parallel,
            "spearman": {name: number(value) for name, value in self.spearman.items()},
            "software": self.software,
        }


def analyze_factors(
    table: FactorTable,
    n_factors: int = 3,
    *,
    rotation: Rotation = "oblimin",
    engine: EngineChoice = "auto",
    n_samples: int = 20,
    seed: int = 1,
) -> FactorAnalysis:
    """Fit 1 to `n_factors` factors by minimum residuals, as the original does with psych.

    Parameters
    ----------
    n_factors
        At most; as many as the number of variables allows.
    rotation
        ``oblimin`` or ``none``.
    engine
        ``psych`` (R), ``native``, or ``auto``: psych where R has it.
    n_samples
        Random samples of the parallel analysis.

    Raises
    ------
    InputError
        The table has too few LLMs or variables, a variable does not vary, or the variables
        depend on each other.
    RUnavailableError
        psych was asked for by name and is absent.
    ConvergenceError
        The native search does not come to rest.
    """
    _check(table, n_factors, rotation, n_samples, seed)
    chosen = choose_engine(engine)
    train = table.values[~table.test]
    fits = tuple(fit(train, k, rotation, chosen) for k in range(1, n_factors + 1))
    if chosen == "native":
        # psych warns by itself.
        _warn_of_heywood(fits, table.variables)
    first = fits[0]
    centre, spread = train.mean(axis=0), train.std(axis=0, ddof=1)
    scores: Floats = ((table.values - centre) / spread) @ first.weights[:, 0]
    held = table.values[table.test]
    own = None
    if len(held) > len(table.variables):
        own = _scores_by_own(held, first, chosen)
    spearman: dict[str, float] = {}
    if table.against is not None:
        spearman["train"] = rank_correlation(scores[~table.test], table.against[~table.test])
        if len(held) > 2:
            spearman["test"] = rank_correlation(scores[table.test], table.against[table.test])
        if own is not None:
            spearman["test_by_own"] = rank_correlation(own, table.against[table.test])
    return FactorAnalysis(
        table=table,
        fits=fits,
        parallel=parallel_analysis(train, chosen, n_samples, seed),
        scores=scores,
        scores_by_own=own,
        spearman=spearman,
        engine=chosen,
        rotation=rotation,
        software=_software(chosen),
    )


def parallel_analysis(
    values: Floats, engine: FactorEngine, n_samples: int, seed: int
) -> ParallelAnalysis:
    """Compare eigenvalues with those of as many independent normal numbers.

    The random values differ between the engines, which draw with their own generators.
    """
    if engine == "psych":
        from metabench_py import rbridge

        found = rbridge.call("factor_parallel", values=values, n_samples=n_samples, seed=seed)
        return ParallelAnalysis(
            factor_values=found["factor_values"],
            factor_random=found["factor_random"],
            component_values=found["component_values"],
            component_random=found["component_random"],
            n_factors=int(found["n_factors"][0]),
            n_components=int(found["n_components"][0]),
            n_samples=n_samples,
        )
    random = np.random.default_rng(seed)
    drawn = [_eigenvalues(random.standard_normal(values.shape)) for _ in range(n_samples)]
    factor_random = np.mean([one[0] for one in drawn], axis=0)
    component_random = np.mean([one[1] for one in drawn], axis=0)
    factor_values, component_values = _eigenvalues(values)
    return ParallelAnalysis(
        factor_values=factor_values,
        factor_random=factor_random,
        component_values=component_values,
        component_random=component_random,
        n_factors=_leading(factor_values > factor_random),
        n_components=_leading(component_values > component_random),
        n_samples=n_samples,
    )


def _eigenvalues(values: Floats) -> tuple[Floats, Floats]:
    correlation: Floats = np.asarray(np.corrcoef(values, rowvar=False), np.float64)
    _, uniquenesses = minres(correlation, 1)
    factor = np.linalg.eigvalsh(correlation - np.diag(uniquenesses))[::-1]
    component = np.linalg.eigvalsh(correlation)[::-1]
    return np.asarray(factor, np.float64), np.asarray(component, np.float64)


def _leading(above: np.ndarray) -> int:
    return len(above) if above.all() else int(np.argmin(above))


def _scores_by_own(values: Floats, first: FactorFit, engine: FactorEngine) -> Floats:
    """As ``psych::factor.scores`` of new rows."""
    if engine == "psych":
        from metabench_py import rbridge

        found: Floats = rbridge.call(
            "factor_scores_by_own", values=values, loadings=first.loadings, phi=first.phi
        )
        return found[:, 0]
    standard = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    weights = np.linalg.solve(np.corrcoef(values, rowvar=False), first.loadings @ first.phi)
    result: Floats = standard @ weights[:, 0]
    return result


def rank_correlation(x: Floats, y: Floats) -> float:
    """Spearman's, with mean ranks for ties; NaN where one does not vary."""
    import pandas as pd

    a, b = pd.Series(x).rank().to_numpy(), pd.Series(y).rank().to_numpy()
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _warn_of_heywood(fits: Sequence[FactorFit], variables: Sequence[str]) -> None:
    for one in fits:
        at = int(np.argmin(one.uniquenesses))
        if one.uniquenesses[at] <= 0.0:
            warnings.warn(
                f"{one.n_factors} factor{'s' * (one.n_factors > 1)}: {variables[at]!r} has a "
                f"uniqueness of {one.uniquenesses[at]:.3f} (an ultra-Heywood case); read this "
                "solution with care.",
                stacklevel=3,
            )


def _check(
    table: FactorTable, n_factors: int, rotation: Rotation, n_samples: int, seed: int
) -> None:
    n_variables = len(table.variables)
    if rotation not in ROTATIONS:
        raise InputError(f"No rotation {rotation!r}; choose {', '.join(ROTATIONS)}.")
    if n_variables < 3:
        raise InputError(f"{n_variables} variables have no factors; give 3 or more.")
    most = max(k for k in range(1, n_variables) if degrees_of_freedom(n_variables, k) >= 0)
    if not 1 <= n_factors <= most:
        raise InputError(
            f"{n_variables} variables determine 1 to {most} factors, not {n_factors}.",
            n_factors=n_factors,
        )
    if n_samples < 1:
        raise InputError(f"A parallel analysis needs 1 random sample or more, not {n_samples}.")
    if not 0 <= seed < _SEED_LIMIT:
        raise InputError(f"The seed {seed} is not between 0 and 2^31.", seed=seed)
    train = table.values[~table.test]
    if len(train) <= 2 * n_variables:
        raise InputError(
            f"{len(train)} training LLMs are too few for {n_variables} variables; give more than "
            f"{2 * n_variables}.",
            n_llms=len(train),
        )
    for values, what in ((train, "training"), (table.values[table.test], "test")):
        flat = np.ptp(values, axis=0) == 0 if len(values) > n_variables else np.zeros(1, bool)
        if flat.any():
            name = table.variables[int(np.argmax(flat))]
            raise InputError(
                f"{name!r} is the same for all {what} LLMs; leave it out.", variable=name
            )
    if np.linalg.eigvalsh(np.corrcoef(train, rowvar=False))[0] < 1e-8:
        raise InputError(
            f"The variables {', '.join(table.variables)} depend on each other (one is a sum of "
            "others, or there twice); leave one out."
        )


def _software(engine: FactorEngine) -> dict[str, str]:
    from metabench_py import __version__

    versions = {"metabench-py": __version__, "numpy": np.__version__}
    if engine == "psych":
        from metabench_py import rbridge
        from metabench_py.rbridge.locate import package_version

        versions["R"] = rbridge.r_version()
        versions["psych"] = package_version("psych") or "unknown"
        versions["GPArotation"] = package_version("GPArotation") or "unknown"
    return versions
