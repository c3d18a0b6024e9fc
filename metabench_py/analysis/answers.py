"""Answers without item response theory: which items tell the score, and what they tell of the rest.

Items are removed one after the other from a linear predictor of the score; the answers to those
removed are predicted from the answers to those left by logistic regressions, and the share right is
put together from both. Design: ``analysis/answer-reconstruction.R`` of the original (which averages
the predicted answers alone); here a fit never sees the organisations that it is judged on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metabench_py.analysis.answer_folds import AnswersFold, AnswersOptions, Pair, study_fold
from metabench_py.analysis.answer_pruning import ORIGINAL_PENALTY
from metabench_py.analysis.study_data import TEST, StudyData
from metabench_py.analysis.study_run import Progress, rms, run_folds
from metabench_py.irt.model import Floats

# A probability that is not nearer to 0 or 1 keeps a logarithm finite.
_SURE = 1e-6


@dataclass(frozen=True)
class Rmse:
    """Errors in points of 100: of the LLMs fitted on, of other organisations, of test LLMs."""

    train: float | None
    held_out: float
    test: float | None


@dataclass(frozen=True)
class ItemAnswer:
    """How well the answers to a removed item are predicted, on LLMs of other organisations.

    Attributes
    ----------
    accuracy, majority
        Share of right predictions; of those by the training LLMs' more frequent answer.
    explained
        Share of the deviance explained; below 0: worse than the share of right answers.
    folds, n_llms
        Folds in which it was removed, and LLMs in these.
    """

    item: str
    accuracy: float
    majority: float
    explained: float
    folds: int
    n_llms: int


@dataclass(frozen=True)
class SizeResult:
    """What so many items tell.

    Attributes
    ----------
    linear, gam, lasso, random
        Of the score: by the pruned items' linear predictor; by a GAM of it and their share right;
        by a linear predictor of the first so many items that the lasso takes (at most); by linear
        predictors of random items (mean).
    share
        Of the share right in the whole matrix: known answers and predicted probabilities.
    score
        Of the score: a spline of this share; the share itself where it is the score.
    accuracy, majority
        Mean over all predicted answers.
    n_loose
        Regressions (of all folds) whose search did not end: without a ridge, separated answers.
    """

    n_items: int
    linear: Rmse
    gam: Rmse
    lasso: Rmse
    random: Rmse
    share: Rmse
    score: Rmse
    accuracy: float
    majority: float
    n_loose: int
    items: tuple[ItemAnswer, ...]


@dataclass(frozen=True, eq=False)
class AnswersStudy:
    """One benchmark.

    Attributes
    ----------
    removed
        Items in the order of their removal, of the fit on all training LLMs.
    curve_train, curve_held_out, curve_test
        RMSE of the linear predictor of d items at d - 1, shape (n_items,); test: NaN without.
    lasso_best, lasso_original
        RMSE and number of items of the lasso by cross-validated penalty, and by the original's.
    share
        Predicted share right of every training LLM from the largest size, by fits without its
        fold; NaN for test LLMs; shape (n_llms,).
    """

    data: StudyData
    options: AnswersOptions
    removed: tuple[str, ...]
    curve_train: Floats
    curve_held_out: Floats
    curve_test: Floats
    lasso_best: tuple[Rmse, int]
    lasso_original: tuple[Rmse, int]
    sizes: tuple[SizeResult, ...]
    share: Floats

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        test = self.curve_test.tolist() if self.data.n_test else None
        return {
            **self.data.about(),
            "rule": self.options.rule,
            "ridge": self.options.ridge,
            "removed": list(self.removed),
            "linear": {
                "n_items": list(range(1, len(self.removed) + 1)),
                "rmse_train": self.curve_train.tolist(),
                "rmse": self.curve_held_out.tolist(),
                "rmse_test": test,
            },
            "lasso": {
                "cross_validated": {**asdict(self.lasso_best[0]), "n_items": self.lasso_best[1]},
                f"penalty_{ORIGINAL_PENALTY:g}": {
                    **asdict(self.lasso_original[0]), "n_items": self.lasso_original[1],
                },
            },
            "sizes": [asdict(one) for one in self.sizes],
        }  # fmt: skip


def analyze_answers(
    data: Mapping[str, StudyData],
    options: AnswersOptions | None = None,
    *,
    executor: Executor,
    progress: Progress | None = None,
) -> dict[str, AnswersStudy]:
    """Prune, predict and judge.

    Parameters
    ----------
    executor
        Runs one fold of one benchmark a call.
    progress
        Told how many of how many calls are done.

    Raises
    ------
    InputError
        A size is too large, or there are too few LLMs.
    MissingDependencyError
        scikit-learn is absent.
    ConvergenceError
        Without a ridge, items left determine each other.
    """
    options = options or AnswersOptions()
    folds = run_folds(
        data, study_fold, {name: (options.of(one), options) for name, one in data.items()},
        executor=executor, progress=progress,
    )  # fmt: skip
    return {name: _joined(one, options, folds[name]) for name, one in data.items()}


def _joined(
    data: StudyData, options: AnswersOptions, folds: Mapping[int, AnswersFold]
) -> AnswersStudy:
    whole = folds[TEST]
    train, test = data.training(TEST), data.fold == TEST
    right = 100.0 * data.answers.mean(axis=1)

    def gather(pick: Callable[[AnswersFold], Pair]) -> Floats:
        """Predict every training LLM by the fit without its fold, the last axis kept."""
        first = pick(folds[0]).held
        values = np.full((len(data.llms), *first.shape[1:]), np.nan)
        for held in range(data.n_folds):
            values[data.fold == held] = pick(folds[held]).held
        return values

    def errors(pick: Callable[[AnswersFold], Pair], truth: Floats) -> Rmse:
        values, pair = gather(pick), pick(whole)
        return Rmse(
            rms(pair.seen - truth[train]),
            rms(values[train] - truth[train]),
            rms(pair.held - truth[test]) if data.n_test else None,
        )

    def judged(size: int) -> SizeResult:
        draws = [
            errors(lambda f, d=draw: f.sizes[size].random[d], data.score)  # type: ignore[misc]
            for draw in range(options.draws)
        ]
        tests = [one.test for one in draws if one.test is not None]
        items = _item_answers(data, folds, size)
        weight = np.array([one.n_llms for one in items], np.float64)
        return SizeResult(
            size,
            errors(lambda f: Pair(f.linear.seen[:, size - 1], f.linear.held[:, size - 1]),
                   data.score),
            errors(lambda f: f.sizes[size].gam, data.score),
            errors(lambda f: f.sizes[size].lasso, data.score),
            Rmse(
                float(np.mean([one.train for one in draws if one.train is not None])),
                float(np.mean([one.held_out for one in draws])),
                float(np.mean(tests)) if tests else None,
            ),
            errors(lambda f: f.sizes[size].share, right),
            errors(lambda f: f.sizes[size].score, data.score),
            float(np.average([one.accuracy for one in items], weights=weight)),
            float(np.average([one.majority for one in items], weights=weight)),
            sum(one.sizes[size].n_loose for one in folds.values()),
            items,
        )  # fmt: skip

    largest = max(whole.sizes)
    curve = gather(lambda f: f.linear)[train] - data.score[train, None]
    ahead = whole.linear.held - data.score[test, None]
    return AnswersStudy(
        data,
        options,
        tuple(data.items[i] for i in whole.removed),
        np.sqrt(np.mean((whole.linear.seen - data.score[train, None]) ** 2, axis=0)),
        np.sqrt(np.mean(curve**2, axis=0)),
        np.sqrt(np.mean(ahead**2, axis=0)) if data.n_test else np.full(len(data.items), np.nan),
        (errors(lambda f: f.lasso_best, data.score), whole.lasso_items[0]),
        (errors(lambda f: f.lasso_original, data.score), whole.lasso_items[1]),
        tuple(judged(size) for size in whole.sizes),
        gather(lambda f: f.sizes[largest].share),
    )


def _item_answers(
    data: StudyData, folds: Mapping[int, AnswersFold], size: int
) -> tuple[ItemAnswer, ...]:
    """Judge each item's predictions in the folds in which it was removed."""
    sums: dict[int, list[float]] = {}
    for held in range(data.n_folds):
        part = folds[held].sizes[size]
        truth = data.answers[data.fold == held].astype(np.float64)
        for j, item in enumerate(part.items.tolist()):
            y, p = truth[:, item], np.clip(part.probability[:, j], _SURE, 1.0 - _SURE)
            base = min(max(float(part.training_share[j]), _SURE), 1.0 - _SURE)
            entry = sums.setdefault(item, [0.0] * 6)
            for k, value in enumerate(
                (
                    len(y),
                    float(((p > 0.5) == (y == 1)).sum()),
                    float(((base > 0.5) == (y == 1)).sum()),
                    _deviance(y, p),
                    _deviance(y, np.full(len(y), base)),
                    1,
                )
            ):
                entry[k] += value
    return tuple(
        ItemAnswer(data.items[i], hit / n, often / n, 1.0 - left / base, int(times), int(n))
        for i, (n, hit, often, left, base, times) in sorted(sums.items())
    )


def _deviance(y: Floats, p: Floats) -> float:
    return float(-2.0 * (y * np.log(p) + (1.0 - y) * np.log1p(-p)).sum())
