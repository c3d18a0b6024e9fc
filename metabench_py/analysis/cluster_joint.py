"""Scores from the abilities of several benchmarks together, by GAMs.

As ``analysis/evaluate.clust.R`` of the original: the mean score by the mean linear predictor and
all abilities; a benchmark's score by these and its own linear predictor. The original's mean
linear predictor leaves two benchmarks out; here it is of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.cluster_choice import ClusterFold
from metabench_py.analysis.study_data import TEST, StudyData
from metabench_py.analysis.study_run import Progress, rms
from metabench_py.calibration.recovery import ENOUGH_FOR_ADAPTIVE, recover
from metabench_py.compute import Task, run_tasks
from metabench_py.irt.model import Floats

GRAND = "grand"
_MEAN_LINEAR, _OWN_LINEAR = "mean_linear", "own_linear"


@dataclass(frozen=True)
class JointRecovery:
    """RMSE in points of 100, on the LLMs that are in every benchmark.

    Attributes
    ----------
    target
        ``grand`` (the mean of the benchmarks' scores) or a benchmark.
    train
        Of the GAM on all training LLMs, on these.
    joint, separate
        On LLMs of other organisations: of the joint GAM, and of each benchmark's own spline (of
        ``grand``: the mean of these).
    test
        Of the joint GAM on the test LLMs; None without.
    """

    target: str
    train: float
    joint: float
    separate: float
    test: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class JointStudy:
    """All benchmarks together; `n_llms` training LLMs are in every one."""

    n_llms: int
    n_test: int
    recovered: tuple[JointRecovery, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "n_llms": self.n_llms,
            "n_test": self.n_test,
            "recovery": [one.to_dict() for one in self.recovered],
        }


@dataclass(frozen=True, eq=False)
class _Common:
    """What all benchmarks have of the LLMs in every one; arrays of shape (n_llms,)."""

    fold: NDArray[np.int64]
    score: dict[str, Floats]
    rows: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, data: Mapping[str, StudyData]) -> _Common:
        names = sorted(set.intersection(*(set(one.llms) for one in data.values())))
        rows, score = {}, {}
        fold = np.zeros(len(names), np.int64)
        for name, one in data.items():
            position = {llm: i for i, llm in enumerate(one.llms)}
            rows[name] = np.array([position[llm] for llm in names], np.int64)
            score[name] = one.score[rows[name]]
            fold = one.fold[rows[name]]
        if len(names):
            score[GRAND] = np.mean([score[name] for name in data], axis=0)
        return cls(fold, score, rows)


def enough_for_joint(data: Mapping[str, StudyData]) -> str | None:
    """Say why there is no joint study; None: there can be one."""
    if len(data) < 2:
        return "A joint reconstruction needs two benchmarks or more."
    common, n_folds = _Common.of(data), next(iter(data.values())).n_folds
    fold = common.fold[common.fold != TEST]
    sizes = [int((fold == held).sum()) for held in range(n_folds)]
    least = ENOUGH_FOR_ADAPTIVE * (len(data) + 2)
    if min(sizes) == 0 or len(fold) - max(sizes) < least:
        return (
            f"{len(fold)} training LLMs are in all {len(data)} benchmarks; a joint reconstruction "
            f"needs {least} or more in every fit."
        )
    return None


def joint_recovery(
    data: Mapping[str, StudyData],
    folds: Mapping[str, Mapping[int, ClusterFold]],
    *,
    executor: Executor,
    progress: Progress | None = None,
) -> JointStudy:
    """Reconstruct all scores from all benchmarks' chosen items; see `enough_for_joint`.

    Parameters
    ----------
    executor
        Runs one GAM a call.
    """
    common = _Common.of(data)
    n_folds = next(iter(data.values())).n_folds
    train = common.fold != TEST
    targets = [GRAND, *data]
    predicted = {t: np.full(len(common.fold), np.nan) for t in targets}
    fitted: dict[str, Floats] = {}
    ahead: dict[str, Floats] = {}
    separate = {t: np.full(len(common.fold), np.nan) for t in targets}
    count = [0]
    tasks: list[Task] = []
    for held in (TEST, *range(n_folds)):
        known, out = train & (common.fold != held), common.fold == held
        parts = {name: folds[name][held] for name in data}
        linear = {name: one.linear[common.rows[name]] for name, one in parts.items()}
        base = {
            _MEAN_LINEAR: np.mean(list(linear.values()), axis=0),
            # Numbered, as a benchmark's name need not do for a predictor's.
            **{
                f"theta{i}": one.theta[common.rows[name]]
                for i, (name, one) in enumerate(parts.items())
            },
        }
        if held != TEST:
            for name, one in parts.items():
                separate[name][out] = one.predicted[common.rows[name]][out]
        for target in targets:
            own = {} if target == GRAND else {_OWN_LINEAR: linear[target]}
            features = {**base, **own}

            def done(
                value: tuple[Floats, Floats], key: tuple[str, int] = (target, held), at: Any = out
            ) -> None:
                name, fold = key
                if fold == TEST:
                    fitted[name], ahead[name] = value
                else:
                    predicted[name][at] = value[1]
                count[0] += 1
                if progress is not None:
                    progress(count[0], len(tasks))

            call = (
                {name: column[known] for name, column in features.items()},
                common.score[target][known],
                {name: column[out] for name, column in features.items()},
                target,
            )
            tasks.append(Task(f"{target}, fold {held + 1}", joint_fit, call, done))
    run_tasks(tasks, executor)
    separate[GRAND] = np.mean([separate[name] for name in data], axis=0)
    test = common.fold == TEST
    return JointStudy(
        int(train.sum()),
        int(test.sum()),
        tuple(
            JointRecovery(
                target,
                rms(fitted[target] - common.score[target][train]),
                rms((predicted[target] - common.score[target])[train]),
                rms((separate[target] - common.score[target])[train]),
                rms(ahead[target] - common.score[target][test]) if test.any() else None,
            )
            for target in targets
        ),
    )


def joint_fit(
    features: Mapping[str, Floats], score: Floats, other: Mapping[str, Floats], name: str
) -> tuple[Floats, Floats]:
    """Fit one GAM (a worker calls it): scores of the LLMs fitted on, and of the others; 0-100."""
    found = recover(features, score, [other], name)
    return np.clip(found.fitted, 0.0, 100.0), np.clip(found.predicted[0], 0.0, 100.0)
