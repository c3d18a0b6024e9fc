"""Figures of studies: adaptive tests, random subsets, architectures, and saved results."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Target
from metabench_py.errors import InputError
from metabench_py.figures.panels import (
    adaptive_panel,
    architecture_panels,
    curve_lines,
    seed_points,
)

if TYPE_CHECKING:
    from metabench_py.calibration.stage_data import BenchmarkData
    from metabench_py.figures.sources import Sources
    from metabench_py.irt.model import Floats
    from metabench_py.report.adaptive_figures import AdaptivePanel

_LENGTHS = (0.1, 0.2, 0.3, 0.5)
_SUBSETS = (0.1, 0.25, 0.5, 0.75)
# Share of the items that adaptive tests give whose scores are drawn.
_GIVEN = 0.3
_FOLDS = 5


def adaptive(sources: Sources) -> Any:
    """Errors of adaptive tests by their length, beside fixed subsets and random items."""
    from metabench_py.report.adaptive_figures import length_figure

    return length_figure(_adaptive_panels(sources))


def adaptive_recovery(sources: Sources) -> Any:
    """Scores from adaptive tests that give a share of the items."""
    from metabench_py.report.recovery_figures import RecoveryPanel, recovery_figure

    return recovery_figure(
        [
            RecoveryPanel(
                one.benchmark, one.score, one.predicted, "held-out", round(one.n_items.mean())
            )
            for one in _adaptive_panels(sources)
        ]
    )


@functools.lru_cache(maxsize=1)
def _adaptive_panels(sources: Sources) -> list[AdaptivePanel]:
    """Test some LLMs on their real answers."""
    from metabench_py.adaptive.compare import compare_static
    from metabench_py.adaptive.settings import CatSettings
    from metabench_py.adaptive.study import CatData, run_study
    from metabench_py.calibration.folds import organisation, organisation_folds
    from metabench_py.calibration.information_filter import information_subsets

    panels = []
    for number, benchmark in enumerate(BENCHMARKS):
        sources.progress("adaptive", number, len(BENCHMARKS))
        bank = sources.banks[benchmark]
        some = _some(sources, benchmark)
        names = some.train.llms
        data = CatData(
            benchmark, bank, some.train.select(bank.items), score=some.train_score,
            fold=organisation_folds(names, _FOLDS, sources.effort.seed),
        )  # fmt: skip
        settings = CatSettings(
            max_items=max(5, round(_GIVEN * len(bank.items))), seed=sources.effort.seed
        )
        study = run_study(data, settings)
        compared = compare_static(
            data, settings, [max(5, round(share * len(bank.items))) for share in _LENGTHS],
            information_subsets, [organisation(name) for name in names],
        )  # fmt: skip
        panels.append(adaptive_panel(data, study, compared))
    return panels


def random_subsets(sources: Sources) -> Any:
    """Errors of random subsets of the items, by the share right and an adaptive spline."""
    from metabench_py.calibration.subsample import SubsampleOptions, subsample
    from metabench_py.report.violin_figures import SubsetPanel, violin_figure

    effort = sources.effort
    panels = []
    for number, benchmark in enumerate(BENCHMARKS):
        sources.progress("random-subsets", number, len(BENCHMARKS))
        data = _some(sources, benchmark)
        n = data.train.n_items

        def errors(n_items: int, subsets: int, data: BenchmarkData = data) -> Floats:
            options = SubsampleOptions(n_items, subsets, _FOLDS, effort.seed)
            found = subsample(data, options, executor=sources.executor)
            return np.asarray(np.sqrt(np.nanmean(found.rmse_validation**2, axis=1)))

        sizes = sorted({max(5, round(share * n)) for share in _SUBSETS})
        panels.append(
            SubsetPanel(
                benchmark,
                {size: errors(size, effort.subsets) for size in sizes},
                float(errors(n, 1)[0]),
                n,
            )
        )
    return violin_figure(panels, f"Score from the share right, {_FOLDS} folds")


def architectures(sources: Sources) -> Any:
    """Residuals of the published grand score by architecture and size, on the test LLMs."""
    from metabench_py.analysis.architectures import analyze_architectures
    from metabench_py.analysis.llm_kinds import load_kinds
    from metabench_py.analysis.residual_table import load_residuals
    from metabench_py.report.architecture_figures import architecture_figure

    residuals = load_residuals(sources.file("features"))
    kinds = load_kinds(sources.file("leaderboard"), residuals.names)
    found = analyze_architectures(residuals, kinds)
    return architecture_figure(*architecture_panels(found))


def versions(sources: Sources) -> Any:
    """Abilities and scores of LLMs that took version A and version B."""
    from metabench_py.figures.sources import read_json
    from metabench_py.report.version_figures import VersionPanel, version_figure

    paths = sources.paths("versions")
    assert paths is not None
    first, second = (
        {one["model"]: one for one in found}
        for found in (_list(read_json(path), path) for path in paths)
    )
    names = sorted(set(first) & set(second))
    if len(names) < 3:
        raise InputError(
            f"{paths[0]} and {paths[1]} have {len(names)} LLMs in common; reconstruct 3 or more "
            "with both versions.",
            path=str(paths[0]),
        )

    def theta(found: dict[str, Any], name: str, target: Target) -> float:
        every = found[name]["abilities"]
        if target != "grand":
            return float(every[target]["theta"])
        return float(np.mean([one["theta"] for one in every.values()]))

    targets: list[Target] = [*BENCHMARKS, "grand"]
    try:
        panels = [
            VersionPanel(
                target,
                *(np.array([theta(f, n, target) for n in names]) for f in (first, second)),
                *(
                    np.array([f[n]["scores"][target]["score"] for n in names], np.float64)
                    for f in (first, second)
                ),
            )
            for target in targets
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{paths[0]} or {paths[1]} lacks a score or an ability ({error!r}); reconstruct all "
            "benchmarks again with both versions.",
            path=str(paths[0]),
        ) from error
    return version_figure(panels)


def seeds(sources: Sources) -> Any:
    """Errors and numbers of items of several calibrations."""
    from metabench_py.analysis.seed_results import load_results
    from metabench_py.analysis.seeds import analyze_seeds
    from metabench_py.report.seed_figures import seed_figure

    folder = sources.file("seeds")
    inside = [str(p) for p in sorted(folder.iterdir()) if p.is_dir()] if folder.is_dir() else []
    if not inside:
        raise InputError(
            f"{folder} holds no folders; put there what `calibrate select` wrote.",
            path=str(folder),
        )
    return seed_figure(seed_points(analyze_seeds(load_results(inside))))


def budget(sources: Sources) -> Any:
    """Errors by the number of items kept, from what ``calibrate curve`` measured."""
    from metabench_py.report.curve_figures import curve_figure

    try:
        lines, title = curve_lines(sources.result("curve"))
    except (KeyError, TypeError) as error:
        path = sources.file("curve")
        raise InputError(
            f"{path} is not what `calibrate curve --json` prints ({error!r}).", path=str(path)
        ) from error
    return curve_figure(lines, title)


def synergy(sources: Sources) -> Any:
    """Gain of a joint reconstruction, from what ``analyze synergy`` simulated."""
    from metabench_py.report.synergy_figures import synergy_figure

    path = sources.file("synergy")
    value = sources.result("synergy")
    try:
        cells, along = value["cells"], value["by_correlation"]
        correlations = sorted({one["correlation"] for one in cells})
        dependences = sorted({one["dependence"] for one in cells})
        gains = np.full((len(dependences), len(correlations)), np.nan)
        for one in cells:
            at = dependences.index(one["dependence"]), correlations.index(one["correlation"])
            gains[at] = np.nan if one["gain"] is None else one["gain"]
        mean, lower, upper = (
            np.array([one[name] for one in along], np.float64)
            for name in ("gain", "lower", "upper")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not what `analyze synergy --json` prints ({error!r}).", path=str(path)
        ) from error
    return synergy_figure(correlations, dependences, gains, mean, lower, upper)


def _list(value: Any, path: Any) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(
        isinstance(one, dict) and {"model", "scores", "abilities"} <= set(one) for one in value
    ):
        return value
    raise InputError(
        f"{path} is not the array that `reconstruct --all DIR --json` prints.", path=str(path)
    )


def _some(sources: Sources, benchmark: str) -> BenchmarkData:
    """Draw some training LLMs with answers and a full score, without the test LLMs."""
    from dataclasses import replace

    from metabench_py.calibration.stage_data import load_stage_data

    paths = sources.paths("responses")
    assert paths is not None
    scores = sources.file("scores")
    data = load_stage_data(paths[0].parent, scores, scores, [benchmark])[benchmark]
    n, most = data.train.n_llms, sources.effort.llms
    if n <= most:
        return data
    at = np.sort(np.random.default_rng(sources.effort.seed).choice(n, most, replace=False))
    return replace(
        data,
        train=data.train.rows([data.train.llms[i] for i in at]),
        train_score=data.train_score[at],
    )
