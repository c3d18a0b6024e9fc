"""Figures of the published LLMs' abilities, and of scores predicted from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Target
from metabench_py.errors import InputError
from metabench_py.report.ability_figures import AbilityPanel, correlation_figure, theta_score_figure
from metabench_py.report.factor_figures import factor_figure
from metabench_py.report.recovery_figures import RecoveryPanel, recovery_figure

if TYPE_CHECKING:
    from pandas import DataFrame

    from metabench_py.figures.sources import Sources
    from metabench_py.irt.model import Floats


_BASIS = 40


def theta_score(sources: Sources) -> Any:
    """Full scores over abilities, with an adaptive spline fitted on the training LLMs."""
    from metabench_py.gam.adaptive import fit_adaptive

    panels = []
    for number, benchmark in enumerate(BENCHMARKS):
        sources.progress("theta-score", number, len(BENCHMARKS))
        table = _joined(sources, benchmark, [benchmark])
        train = _train(table)
        theta, score = _values(table, benchmark), _values(table, "score")
        # Beyond the bulk of the LLMs a few of them pull the spline wherever they are.
        low, high = np.quantile(theta[train], [0.005, 0.995])
        at = np.linspace(float(low), float(high), 201)
        curve = fit_adaptive(theta[train], score[train]).predict(at)
        panels.append(
            AbilityPanel(benchmark, theta, score, at, curve, _sizes(sources).get(benchmark))
        )
    return theta_score_figure(panels)


def recovery_test(sources: Sources) -> Any:
    """Predict the test LLMs' scores by additive adaptive splines of all published features.

    The paper's second stage, fitted on the training LLMs without R.
    """
    from metabench_py.gam.adaptive import LEAST_BASIS, AdaptiveOptions
    from metabench_py.gam.additive import fit_additive
    from metabench_py.gam.features import feature_names, target_features

    targets: list[Target] = [*BENCHMARKS, "grand"]
    sizes = _sizes(sources)
    panels = []
    for number, target in enumerate(targets):
        sources.progress("recovery-test", number, len(targets))
        own = [target + name.removeprefix("this") for name in feature_names(target)
               if name.startswith("this")]  # fmt: skip
        common = [name for name in feature_names(target) if not name.startswith("this")]
        table = _joined(sources, target, [*common, *own])
        train, score = _train(table), _values(table, "score")
        features = target_features({c: _values(table, c) for c in (*common, *own)}, target)
        # As mgcv's default, or with fewer LLMs what leaves half of them as degrees of freedom.
        size = int(np.clip(train.sum() // (2 * len(features)), LEAST_BASIS, _BASIS))
        fit = fit_additive(
            {k: v[train] for k, v in features.items()}, score[train], AdaptiveOptions(size), target
        )
        predicted = fit.gam.predict({k: v[~train] for k, v in features.items()})
        panels.append(
            RecoveryPanel(
                target, score[~train], np.clip(predicted, 0.0, 100.0), "test", sizes.get(target)
            )
        )
    return recovery_figure(panels)


def correlations(sources: Sources) -> Any:
    """Rank correlations of abilities, and of full scores, over the same LLMs."""
    thetas = sources.features[list(BENCHMARKS)].dropna()
    scores = sources.scores[list(BENCHMARKS)].dropna()
    both = thetas.index.intersection(scores.index)
    return correlation_figure(
        {
            "Abilities": thetas.loc[both].corr("spearman").to_numpy(np.float64),
            "Full scores": scores.loc[both].corr("spearman").to_numpy(np.float64),
        },
        BENCHMARKS,
        len(both),
    )


def factors(sources: Sources) -> Any:
    """Fit one to three factors to the abilities."""
    from metabench_py.analysis.factor_table import load_factor_table
    from metabench_py.analysis.factors import analyze_factors

    found = analyze_factors(
        load_factor_table(sources.file("features")), engine="native", seed=sources.effort.seed
    )
    return factor_figure(
        found.table.variables,
        [one.loadings for one in found.fits],
        found.parallel.factor_values,
        found.parallel.factor_random,
        int((~found.table.test).sum()),
    )


def _sizes(sources: Sources) -> dict[str, int]:
    """Items that published features come from: the bundle's, unless it has a part of them."""
    if "items" in sources.bundle.manifest.get("provenance", {}):
        return {}
    sizes: dict[str, int] = {b: len(bank.items) for b, bank in sources.banks.items()}
    return {**sizes, "grand": sum(sizes.values())}


def _joined(sources: Sources, target: Target, columns: list[str]) -> DataFrame:
    """Features of LLMs beside their full score; LLMs that lack one are left out."""
    absent = next((name for name in columns if name not in sources.features.columns), None)
    if absent is not None:
        path = sources.file("features")
        raise InputError(f"{path} has no column {absent!r}.", path=str(path))
    table = sources.features[["split", *columns]].copy()
    table["score"] = sources.scores[target].reindex(table.index)
    return table.dropna()


def _train(table: DataFrame) -> Any:
    return (table["split"] != "test").to_numpy()


def _values(table: DataFrame, column: str) -> Floats:
    return table[column].to_numpy(np.float64)
