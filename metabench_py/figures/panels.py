"""What studies found, as the values that their figures draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench_py.benchmarks import TARGETS, Target
from metabench_py.report.adaptive_figures import AdaptivePanel
from metabench_py.report.answer_figures import AnswersPanel
from metabench_py.report.architecture_figures import ArchitecturePanel
from metabench_py.report.cluster_figures import ClusterPanel
from metabench_py.report.curve_figures import Line
from metabench_py.report.logistic_figures import LogisticPanel
from metabench_py.report.seed_figures import SeedPoint

if TYPE_CHECKING:
    from metabench_py.adaptive.compare import StaticComparison
    from metabench_py.adaptive.study import CatData, Study
    from metabench_py.analysis.answers import AnswersStudy
    from metabench_py.analysis.architectures import Architectures
    from metabench_py.analysis.clusters import ClusterStudy
    from metabench_py.analysis.logistic import LogisticStudy
    from metabench_py.analysis.seeds import SeedStudy
    from metabench_py.irt.model import Floats


def logistic_panel(name: str, one: LogisticStudy) -> LogisticPanel:
    """Give what `logistic_figure` draws of a benchmark."""
    from metabench_py.analysis.study_data import TEST

    train = one.data.training(TEST)
    errors: dict[str, tuple[list[int], list[float]]] = {}
    for choice, method, label in (
        ("random", "mode", "logistic, random items"),
        ("random", "share", "share right, random items"),
        ("steepest", "irt", "2PL, steepest items"),
        ("steepest", "mode", "logistic, steepest items"),
        ("steepest", "share", "share right, steepest items"),
    ):
        picked = sorted(
            (r.n_items, r.rmse)
            for r in one.recovered
            if r.choice in (choice, "all") and r.method == method
        )
        errors[label] = ([n for n, _ in picked], [rmse for _, rmse in picked])
    return LogisticPanel(
        name, one.curves.slope, one.curves.intercept, one.data.score[train],
        one.held_out[train], errors,
    )  # fmt: skip


def answers_panel(name: str, one: AnswersStudy) -> AnswersPanel:
    """Give what `answers_figure` draws of a benchmark."""
    from metabench_py.analysis.study_data import TEST

    train = one.data.training(TEST)
    items = one.sizes[-1].items
    return AnswersPanel(
        name,
        one.curve_held_out,
        [size.n_items for size in one.sizes],
        {
            "linear, random items": [size.random.held_out for size in one.sizes],
            "GAM": [size.gam.held_out for size in one.sizes],
            "linear, lasso's items": [size.lasso.held_out for size in one.sizes],
            "predicted answers": [size.score.held_out for size in one.sizes],
        },
        np.array([item.majority for item in items]),
        np.array([item.accuracy for item in items]),
        100.0 * one.data.answers[train].mean(axis=1),
        one.share[train],
    )


def cluster_panel(name: str, one: ClusterStudy) -> ClusterPanel:
    """Give what `clusters_figure` draws of a benchmark."""
    validation: dict[str, tuple[list[int], list[float]]] = {}
    for kind in dict.fromkeys(t.item_type for t in one.trials):
        best: dict[int, float] = {}
        for trial in one.trials:
            if trial.item_type == kind:
                best[trial.n_clusters] = min(best.get(trial.n_clusters, np.inf), trial.rmse)
        validation[kind] = (sorted(best), [best[k] for k in sorted(best)])
    chosen = set(one.items)
    return ClusterPanel(
        name,
        one.parameters.a1,
        one.parameters.d,
        one.label,
        np.array([item in chosen for item in one.parameters.items]),
        validation,
        {way.selection: (way.held_out.rmse, way.spread or 0.0) for way in one.judged},
    )


def architecture_panels(found: Architectures) -> tuple[list[ArchitecturePanel], Floats, Floats]:
    """Give what `architecture_figure` draws: panels, and sizes with residuals where known."""
    residuals = found.residuals
    kind = np.array([one or "" for one in found.kinds.architecture])
    panels = [
        ArchitecturePanel(
            one.name,
            residuals.predicted[kind == one.name],
            residuals.residual[kind == one.name],
            (one.bias, one.bias_lower, one.bias_upper),
            (one.rmse, one.rmse_lower, one.rmse_upper),
        )
        for one in found.groups
    ]
    known = np.isfinite(found.kinds.size)
    return panels, found.kinds.size[known], residuals.residual[known]


def seed_points(found: SeedStudy) -> list[SeedPoint]:
    """Give what `seed_figure` draws of several calibrations."""
    # Selections where there are any: what else there is has the same benchmarks.
    stages = [one.row.stage for one in found.rows]
    shown = next(name for name in ("select", "bundle", "fit") if name in stages)
    return [
        SeedPoint(
            one.row.benchmark, one.setting, one.row.rmse, one.row.mae, one.row.spearman,
            one.row.n_items, one.best,
        )
        for one in found.rows
        if one.row.stage == shown
        or (shown == "select" and one.row.stage == "bundle" and one.row.benchmark == "grand")
    ]  # fmt: skip


def adaptive_panel(data: CatData, study: Study, compared: StaticComparison) -> AdaptivePanel:
    """Give what `adaptive_figure` draws of a benchmark; its LLMs have scores."""
    assert data.score is not None
    assert study.predicted is not None
    lengths = compared.lengths
    return AdaptivePanel(
        benchmark=data.benchmark,
        n_items=study.result.n_items,
        theta=study.result.theta,
        se=study.result.se,
        score=data.score,
        predicted=study.predicted,
        exposure=study.result.exposure,
        lengths=[at.n_items for at in lengths],
        rmse={
            "adaptive": _errors([at.adaptive.rmse for at in lengths]),
            "fixed": _errors([at.fixed.rmse for at in lengths]),
            "fixed, linear": _errors([at.fixed_linear.rmse for at in lengths]),
            "random": _errors([at.chance.rmse for at in lengths]),
        },
        everything=_errors([compared.everything.rmse])[0],
    )


_ORDERS = {
    "greedy": "greedy (held-out error)",
    "ridge": "largest ridge weights",
    "information": "information filtering",
    "random": "random",
}


def curve_lines(curve: Mapping[str, Any]) -> tuple[dict[str, dict[Target, Line]], str]:
    """Give what `curve_figure` draws of an item-budget curve: lines by order, and a title.

    Parameters
    ----------
    curve
        As `ItemCurve.to_dict` gives it.
    """
    lines: dict[str, dict[Target, Line]] = {}
    for order in curve["options"]["orders"]:
        points = [point for point in curve["points"] if point["order"] == order]
        lines[_ORDERS[order]] = {
            target: Line(
                [point["n_items"] for point in points],
                *(
                    [point["errors"][target][name] for point in points]
                    for name in ("rmse", "lower", "upper")
                ),
            )
            for target in TARGETS
        }
    folds = curve["options"]["folds"]
    return lines, f"Items kept by, with 90 % bands\n({curve['n_llms']:,} LLMs, {folds} folds)"


def _errors(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]
