"""Items by clusters: k-means of item parameters, some items of each cluster, and what they tell.

For several numbers of clusters and item types, items are clustered by their parameters, drawn one a
cluster (round after round until there are enough), and a model is refitted to them; the choice that
gives validation LLMs' scores back best is judged on LLMs that had no part in it. Design:
``analysis/clustering.R`` of the original; here clusters, choice and refit never see the
organisations that they are judged on, and as many random or information-filtered items, and all
items, are judged beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.cluster_choice import (
    ClusterFold,
    ClusterOptions,
    ClusterTrial,
    Selection,
    cluster_fold,
)
from metabench_py.analysis.study_data import TEST, StudyData
from metabench_py.analysis.study_run import Progress, run_folds
from metabench_py.benchmarks import ItemType
from metabench_py.calibration.recovery import ScoreErrors, score_errors
from metabench_py.irt.model import ItemParameters


@dataclass(frozen=True)
class Judged:
    """A way to choose items.

    Attributes
    ----------
    held_out
        Errors on the LLMs of other organisations, over all folds; of ``random``, the mean of the
        draws' (then `spread` is the standard deviation of their RMSE, None of one draw).
    test
        On the test LLMs, by the choice on all training LLMs; None without.
    """

    selection: Selection
    held_out: ScoreErrors
    test: ScoreErrors | None
    spread: float | None = None


@dataclass(frozen=True, eq=False)
class ClusterStudy:
    """One benchmark.

    Attributes
    ----------
    n_items
        Chosen.
    trials
        Validation errors of every choice, mean over the fits without a fold and the one on all.
    folds
        What each fold chose.
    best, items, label, parameters
        The choice on all training LLMs: which, its items in the order they were drawn, the cluster
        of every item of `parameters`.
    judged
        Clusters, random, information, all.
    """

    data: StudyData
    options: ClusterOptions
    n_items: int
    trials: tuple[ClusterTrial, ...]
    folds: tuple[ClusterTrial, ...]
    best: ClusterTrial
    items: tuple[str, ...]
    label: NDArray[np.int64]
    parameters: ItemParameters
    judged: tuple[Judged, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        number = dict(zip(self.parameters.items, self.label.tolist(), strict=True))
        return {
            **self.data.about(),
            "n_chosen": self.n_items,
            "scaling": self.options.scaling,
            "best": asdict(self.best),
            "items": [{"item": item, "cluster": number[item]} for item in self.items],
            "clusters": number,
            "trials": [asdict(one) for one in self.trials],
            "folds": [asdict(one) for one in self.folds],
            "recovery": [asdict(one) for one in self.judged],
        }


def cluster_folds(
    data: Mapping[str, StudyData],
    options: ClusterOptions,
    given: Mapping[str, tuple[ItemParameters, ItemType]] | None = None,
    *,
    executor: Executor,
    progress: Progress | None = None,
) -> dict[str, dict[int, ClusterFold]]:
    """Choose without each fold in turn, and (-1) on all training LLMs.

    Parameters
    ----------
    given
        Item parameters to cluster by, and their model; None: fitted on the LLMs that choose.
        Parameters that were fitted elsewhere may have seen the LLMs held out.
    executor
        Runs one fold of one benchmark a call.

    Raises
    ------
    InputError
        Numbers of items or clusters do not fit the data, or an item has no parameters.
    ConvergenceError
        A model gives no usable numbers.
    """
    arguments: dict[str, tuple[Any, ...]] = {}
    for name, one in data.items():
        options.numbers(one)
        known = None if given is None else (given[name][0].select(one.items), given[name][1])
        arguments[name] = options, known
    return run_folds(data, cluster_fold, arguments, executor=executor, progress=progress)


def judge_clusters(
    data: StudyData, options: ClusterOptions, folds: Mapping[int, ClusterFold]
) -> ClusterStudy:
    """Put a benchmark's folds together."""
    whole, train, test = folds[TEST], data.training(TEST), data.fold == TEST

    def judged(key: tuple[Selection, int] | None) -> tuple[ScoreErrors, ScoreErrors | None]:
        theta, predicted = np.full(len(data.llms), np.nan), np.full(len(data.llms), np.nan)
        for held in range(data.n_folds):
            out, one = data.fold == held, folds[held]
            pair = (one.theta[out], one.predicted[out]) if key is None else one.rivals[key]
            theta[out], predicted[out] = pair
        errors = score_errors(data.score[train], predicted[train], theta[train])
        if not data.n_test:
            return errors, None
        at, ahead = (whole.theta[test], whole.predicted[test]) if key is None else whole.rivals[key]
        return errors, score_errors(data.score[test], ahead, at)

    draws = [judged(("random", draw)) for draw in range(options.draws)]
    keys = list(dict.fromkeys((t.n_clusters, t.item_type, t.method) for t in whole.trials))
    trials = []
    for key in keys:
        same = [
            t
            for one in folds.values()
            for t in one.trials
            if (t.n_clusters, t.item_type, t.method) == key
        ]
        ranks = [t.spearman for t in same if t.spearman is not None]
        trials.append(
            ClusterTrial(
                *key,
                float(np.mean([t.rmse for t in same])),
                float(np.mean([t.mae for t in same])),
                float(np.mean(ranks)) if ranks else None,
            )
        )
    tests = [one for _, one in draws if one is not None]
    return ClusterStudy(
        data,
        options,
        len(whole.chosen),
        tuple(trials),
        tuple(folds[held].best for held in range(data.n_folds)),
        whole.best,
        tuple(data.items[i] for i in whole.chosen),
        whole.label,
        whole.parameters,
        (
            Judged("clusters", *judged(None)),
            Judged(
                "random",
                _mean([one for one, _ in draws]),
                _mean(tests) if tests else None,
                float(np.std([one.rmse for one, _ in draws])) if len(draws) > 1 else None,
            ),
            Judged("information", *judged(("information", 0))),
            Judged("all", *judged(("all", 0))),
        ),
    )


def _mean(errors: list[ScoreErrors]) -> ScoreErrors:
    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return ScoreErrors(
        mae=float(np.mean([one.mae for one in errors])),
        upper=mean([one.upper for one in errors]),
        rmse=float(np.mean([one.rmse for one in errors])),
        sse=float(np.mean([one.sse for one in errors])),
        spearman=mean([one.spearman for one in errors]),
        n=errors[0].n,
    )
