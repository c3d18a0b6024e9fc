"""Figures of items and of LLMs that need the bundle alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Target
from metabench_py.report import irt_figures
from metabench_py.report.ability_figures import distribution_figure
from metabench_py.report.figures import score_figure
from metabench_py.report.parameter_figures import ParameterPanel, parameter_figure
from metabench_py.report.recovery_figures import RecoveryPanel, recovery_figure

if TYPE_CHECKING:
    from metabench_py.figures.sources import Sources

_ASKED = ("as it is", "options permuted (but GSM8K)")
# The paper's four items.
_FOUR = (
    ("a = 1, d = 2", 1.0, 2.0),
    ("a = 1, d = 1", 1.0, 1.0),
    ("a = 2.5, d = 0", 2.5, 0.0),
    ("a = 0.5, d = 0", 0.5, 0.0),
)


def item_model(sources: Sources) -> Any:
    """Four items that explain slope and intercept."""
    del sources
    return irt_figures.item_model_figure(_FOUR)


def item_curves(sources: Sources) -> Any:
    """Curves of the bundle's items."""
    return irt_figures.icc_figure(sources.banks)


def item_information(sources: Sources) -> Any:
    """Information of the bundle's items."""
    return irt_figures.item_information_figure(sources.banks)


def total_information(sources: Sources) -> Any:
    """Information of all items of a benchmark, over abilities of LLMs where they are known."""
    abilities = sources.abilities if sources.lack("responses") is None else None
    return irt_figures.total_information_figure(sources.banks, abilities)


def expected_scores(sources: Sources) -> Any:
    """Share of items right that an ability leads to."""
    return irt_figures.expected_score_figure(sources.banks)


def recovery(sources: Sources) -> Any:
    """Held-out predictions that the bundle keeps for its intervals."""
    bundle = sources.bundle
    what = "held-out" if bundle.errors_kind == "cross-validated" else "test"
    sizes: dict[str, int] = {name: len(bank.items) for name, bank in sources.banks.items()}
    sizes["grand"] = sum(sizes.values())
    order: list[Target] = [*BENCHMARKS, "grand"]
    return recovery_figure(
        [
            RecoveryPanel(
                target,
                errors.predicted - errors.error,
                np.clip(errors.predicted, 0.0, 100.0),
                what,
                sizes.get(target),
            )
            for target in order
            if (errors := bundle.errors.get(target)) is not None
        ]
    )


def score_distributions(sources: Sources) -> Any:
    """Scores of all LLMs, or of training and test LLMs where a table tells them."""
    targets: list[Target] = [*BENCHMARKS, "grand"]
    drawn: dict[str, dict[str, Any]] = {}
    if sources.lack("scores") is None:
        levels = np.linspace(0.0, 1.0, 1001)
        for target in targets:
            drawn[target] = {
                f"{group} ({len(part):,} LLMs)": (
                    np.nanquantile(part[target].to_numpy(np.float64), levels), levels,
                )
                for group, part in sources.scores.groupby("split", sort=False)
            }  # fmt: skip
        return distribution_figure(drawn)
    bundle = sources.bundle
    for target in targets:
        if target in bundle.population:
            drawn[target] = {
                "calibration LLMs": (bundle.population[target], bundle.population_levels)
            }
    return distribution_figure(drawn)


def example_scores(sources: Sources) -> Any:
    """Scores of the shipped example, plain and permuted, with their intervals."""
    results = sources.example
    return score_figure(results, sources.bundle, _ASKED)


def example_abilities(sources: Sources) -> Any:
    """Abilities of the shipped example, over the information of the items."""
    estimates = {
        label: {str(b): (found.abilities[b].theta, found.abilities[b].se) for b in BENCHMARKS}
        for label, found in zip(_ASKED, sources.example, strict=True)
    }
    return irt_figures.ability_figure(sources.banks, estimates)


def item_parameters(sources: Sources) -> Any:
    """Item parameters of the bundle against the published ones, where these are known."""
    return parameter_figure(
        [
            ParameterPanel(name, published.select(sources.banks[name].items), sources.banks[name])
            for name, published in sources.published_banks.items()
        ],
        ("published", "bundle"),
    )
