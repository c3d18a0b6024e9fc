"""Figures of the studies of items: logistic curves, pruned answers, clusters."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.figures.panels import answers_panel, cluster_panel, logistic_panel

if TYPE_CHECKING:
    from metabench_py.analysis.study_data import StudyData
    from metabench_py.figures.sources import Sources

_FOLDS = 5


def logistic(sources: Sources) -> Any:
    """Scores from logistic regressions of the items, and errors by their number."""
    from metabench_py.analysis.logistic import LogisticOptions, analyze_logistic
    from metabench_py.report.logistic_figures import logistic_figure

    found = analyze_logistic(
        _some(sources), LogisticOptions(seed=sources.effort.seed),
        executor=sources.executor,
        progress=lambda done, total: sources.progress("logistic", done, total),
    )  # fmt: skip
    return logistic_figure([logistic_panel(name, one) for name, one in found.items()])


def answers(sources: Sources) -> Any:
    """Items removed one by one, and the answers to them predicted."""
    from metabench_py.analysis.answer_folds import AnswersOptions
    from metabench_py.analysis.answers import analyze_answers
    from metabench_py.report.answer_figures import answers_figure

    found = analyze_answers(
        _some(sources), AnswersOptions(seed=sources.effort.seed),
        executor=sources.executor,
        progress=lambda done, total: sources.progress("answers", done, total),
    )  # fmt: skip
    return answers_figure([answers_panel(name, one) for name, one in found.items()])


def clusters(sources: Sources) -> Any:
    """Items drawn from clusters of the bundle's item parameters."""
    from metabench_py.analysis.cluster_choice import ClusterOptions
    from metabench_py.analysis.clusters import cluster_folds, judge_clusters
    from metabench_py.report.cluster_figures import clusters_figure

    models = {str(b): m for b, m in sources.bundle.benchmarks.items()}
    # One model and one estimate of abilities in place of six pairs: a sixth of the time.
    options = ClusterOptions(item_types=("2PL",), methods=("MAP",), seed=sources.effort.seed)
    data = _some(sources, {name: model.parameters.items for name, model in models.items()})
    found = cluster_folds(
        data, options, {name: (models[name].parameters, models[name].item_type) for name in data},
        executor=sources.executor,
        progress=lambda done, total: sources.progress("clusters", done, total),
    )  # fmt: skip
    studies = {name: judge_clusters(one, options, found[name]) for name, one in data.items()}
    return clusters_figure([cluster_panel(name, one) for name, one in studies.items()])


def _some(
    sources: Sources, items: Mapping[str, Collection[str]] | None = None
) -> dict[str, StudyData]:
    """Draw some LLMs that all benchmarks have, training LLMs with a score.

    `items` are those to take of each benchmark; None: all that have answers.
    """
    from metabench_py.analysis.study_data import load_studies
    from metabench_py.responses import ResponseMatrix

    paths = sources.paths("responses")
    assert paths is not None
    matrices = dict(zip(BENCHMARKS, map(ResponseMatrix.load, paths), strict=True))
    common = set(sources.scores.index[sources.scores["split"] != "test"])
    for matrix in matrices.values():
        common &= set(matrix.llms)
    names = sorted(common)
    most, seed = sources.effort.llms, sources.effort.seed
    if len(names) > most:
        names = [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:most]]
    with tempfile.TemporaryDirectory(prefix="metabench-") as folder:
        for benchmark, matrix in matrices.items():
            some = matrix.rows(names)
            if items is not None:
                known = set(items[benchmark])
                some = some.select([item for item in some.items if item in known])
            some.save(Path(folder) / f"{benchmark}.parquet")
        return load_studies(Path(folder), sources.file("scores"), folds=_FOLDS, seed=seed)
