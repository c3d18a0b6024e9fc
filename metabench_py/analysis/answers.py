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
from numpy.typing import NDArray

from metabench_py.analysis.answer_pruning import (
    ORIGINAL_PENALTY,
    PRUNE_RULES,
    PruneRule,
    lasso,
    prune,
)
from metabench_py.analysis.logistic_fit import fit_logistic
from metabench_py.analysis.study_data import TEST, StudyData
from metabench_py.calibration.recovery import Recovery, recover
from metabench_py.compute import Shared, Task, run_tasks
from metabench_py.errors import InputError
from metabench_py.gam.linear import fit_linear
from metabench_py.irt.model import Floats

_USUAL_SIZES = (10, 25, 50, 100)
# A probability that is not nearer to 0 or 1 keeps a logarithm finite.
_SURE = 1e-6
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AnswersOptions:
    """What is tried.

    Attributes
    ----------
    sizes
        Numbers of items left for which answers are predicted; empty: some.
    rule
        Which item is removed next, see `prune`.
    ridge
        Of the logistic regressions; 0: none, as the original.
    draws, seed
        Random subsets beside the pruned ones.
    """

    sizes: tuple[int, ...] = ()
    rule: PruneRule = "error"
    ridge: float = 1.0
    draws: int = 10
    seed: int = 1

    def __post_init__(self) -> None:
        if any(size < 2 for size in self.sizes):
            raise InputError(f"{min(self.sizes)} items left: take 2 or more.")
        if self.rule not in PRUNE_RULES:
            raise InputError(f"Rule {self.rule!r}: choose {', '.join(PRUNE_RULES)}.")
        if not self.ridge >= 0.0:
            raise InputError(f"A ridge of {self.ridge}: take 0 or more.")
        if self.draws < 1:
            raise InputError(f"{self.draws} random subsets: draw 1 or more.")

    def of(self, data: StudyData) -> tuple[int, ...]:
        """Sizes for a benchmark, ascending.

        Raises
        ------
        InputError
            One leaves no item to predict.
        """
        n = len(data.items)
        wanted = self.sizes or tuple(size for size in _USUAL_SIZES if size < 0.9 * n)
        if not wanted or max(wanted) >= n:
            raise InputError(
                f"{data.benchmark}: {max(wanted, default=10)} of {n} items leave none to predict; "
                "take fewer.",
                benchmark=data.benchmark,
            )
        return tuple(sorted(set(wanted)))


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
    folds
        Folds in which it was removed.
    """

    item: str
    accuracy: float
    majority: float
    explained: float
    folds: int


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
        Mean over LLMs and removed items.
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
    sizes = {name: options.of(one) for name, one in data.items()}
    found: dict[tuple[str, int], _Fold] = {}
    total = sum(one.n_folds + 1 for one in data.values())
    tasks = []
    for name, one in data.items():
        shared = Shared(one)
        for held in (TEST, *range(one.n_folds)):

            def done(value: _Fold, key: tuple[str, int] = (name, held)) -> None:
                found[key] = value
                if progress is not None:
                    progress(len(found), total)

            call = (shared, held, sizes[name], options)
            tasks.append(Task(f"{name}, fold {held + 1}", study_fold, call, done))
    run_tasks(tasks, executor)
    return {
        name: _joined(one, options, {h: found[name, h] for h in (TEST, *range(one.n_folds))})
        for name, one in data.items()
    }


@dataclass(frozen=True, eq=False)
class _Pair:
    """Predictions of the LLMs fitted on, and of those held out."""

    seen: Floats
    held: Floats


@dataclass(frozen=True, eq=False)
class _Size:
    gam: _Pair
    lasso: _Pair
    random: tuple[_Pair, ...]
    share: _Pair
    score: _Pair
    items: NDArray[np.int64]
    probability: Floats
    training_share: Floats
    n_loose: int


@dataclass(frozen=True, eq=False)
class _Fold:
    removed: NDArray[np.int64]
    linear: _Pair
    lasso_best: _Pair
    lasso_original: _Pair
    lasso_items: tuple[int, int]
    sizes: dict[int, _Size]


def study_fold(
    shared: Shared[StudyData], held: int, sizes: tuple[int, ...], options: AnswersOptions
) -> _Fold:
    """Fit without a fold and predict it (a worker calls it); -1: all training LLMs, the test's."""
    data = shared.value
    train, out = data.training(held), data.fold == held
    answers, score, other = data.answers[train], data.score[train], data.answers[out]
    pruned = prune(answers, score, options.rule)
    path = lasso(answers, score, data.fold[train])
    fixed = lasso(answers, score, None, (ORIGINAL_PENALTY,))
    seen, unseen = pruned.predict(answers), pruned.predict(other)
    lasso_seen, lasso_unseen = path.predict(answers), path.predict(other)
    made: dict[int, _Size] = {}
    for size in sizes:
        kept = pruned.kept(size)
        share = answers[:, kept].mean(axis=1), other[:, kept].mean(axis=1)
        gam = recover(
            {"linear": seen[:, size - 1], "share": share[0]},
            score,
            [{"linear": unseen[:, size - 1], "share": share[1]}],
            data.benchmark,
        )
        chosen = np.flatnonzero(path.weights[path.of_size(size)])
        random = []
        for draw in range(options.draws):
            generator = np.random.default_rng([options.seed, size, draw])
            columns = np.sort(generator.choice(len(data.items), size, replace=False))
            random.append(_linear(answers, other, score, columns))
        made[size] = _predict_rest(
            data, train, out, kept, options.ridge,
            _clipped(gam),
            _linear(answers, other, score, chosen),
            tuple(random),
        )  # fmt: skip
    return _Fold(
        pruned.removed,
        _Pair(seen, unseen),
        _Pair(lasso_seen[:, path.best], lasso_unseen[:, path.best]),
        _Pair(fixed.predict(answers)[:, 0], fixed.predict(other)[:, 0]),
        (int(path.sizes[path.best]), int(fixed.sizes[0])),
        made,
    )


def _predict_rest(
    data: StudyData,
    train: NDArray[np.bool_],
    out: NDArray[np.bool_],
    kept: NDArray[np.int64],
    ridge: float,
    gam: _Pair,
    by_lasso: _Pair,
    random: tuple[_Pair, ...],
) -> _Size:
    """Predict the answers to the items that are not kept."""
    rest = np.setdiff1d(np.arange(len(data.items)), kept)
    answers, other = data.answers[train].astype(np.float64), data.answers[out].astype(np.float64)
    known, asked = answers[:, kept], other[:, kept]
    seen, unseen = np.empty((len(known), len(rest))), np.empty((len(asked), len(rest)))
    n_loose = 0
    for j, item in enumerate(rest):
        model = fit_logistic(known, answers[:, item], ridge)
        n_loose += not model.converged
        seen[:, j], unseen[:, j] = model.predict(known), model.predict(asked)
    n = len(data.items)
    share = _Pair(
        100.0 * (known.sum(axis=1) + seen.sum(axis=1)) / n,
        100.0 * (asked.sum(axis=1) + unseen.sum(axis=1)) / n,
    )
    score = share
    if not data.own_score:
        curve = recover(
            {"share": share.seen}, data.score[train], [{"share": share.held}], data.benchmark
        )
        score = _clipped(curve)
    return _Size(
        gam, by_lasso, random, share, score, rest, unseen, answers[:, rest].mean(axis=0), n_loose
    )


def _linear(
    answers: NDArray[np.int8], other: NDArray[np.int8], score: Floats, columns: NDArray[np.int64]
) -> _Pair:
    fit = fit_linear(answers[:, columns], score)
    return _Pair(fit.predict(answers[:, columns]), fit.predict(other[:, columns]))


def _clipped(curve: Recovery) -> _Pair:
    # Beyond the training LLMs a spline goes straight on.
    return _Pair(np.clip(curve.fitted, 0.0, 100.0), np.clip(curve.predicted[0], 0.0, 100.0))


def _joined(data: StudyData, options: AnswersOptions, folds: Mapping[int, _Fold]) -> AnswersStudy:
    whole = folds[TEST]
    train, test = data.training(TEST), data.fold == TEST
    right = 100.0 * data.answers.mean(axis=1)

    def gather(pick: Callable[[_Fold], _Pair]) -> Floats:
        """Predict every training LLM by the fit without its fold, the last axis kept."""
        first = pick(folds[0]).held
        values = np.full((len(data.llms), *first.shape[1:]), np.nan)
        for held in range(data.n_folds):
            values[data.fold == held] = pick(folds[held]).held
        return values

    def errors(pick: Callable[[_Fold], _Pair], truth: Floats) -> Rmse:
        values, pair = gather(pick), pick(whole)
        return Rmse(
            _rms(pair.seen - truth[train]),
            _rms(values[train] - truth[train]),
            _rms(pair.held - truth[test]) if data.n_test else None,
        )

    def judged(size: int) -> SizeResult:
        draws = [
            errors(lambda f, d=draw: f.sizes[size].random[d], data.score)  # type: ignore[misc]
            for draw in range(options.draws)
        ]
        tests = [one.test for one in draws if one.test is not None]
        items = _item_answers(data, folds, size)
        weight = np.array([one.folds for one in items], np.float64)
        return SizeResult(
            size,
            errors(lambda f: _Pair(f.linear.seen[:, size - 1], f.linear.held[:, size - 1]),
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


def _item_answers(data: StudyData, folds: Mapping[int, _Fold], size: int) -> tuple[ItemAnswer, ...]:
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
        ItemAnswer(data.items[i], hit / n, often / n, 1.0 - left / base, int(times))
        for i, (n, hit, often, left, base, times) in sorted(sums.items())
    )


def _deviance(y: Floats, p: Floats) -> float:
    return float(-2.0 * (y * np.log(p) + (1.0 - y) * np.log1p(-p)).sum())


def _rms(error: Floats) -> float:
    return float(np.sqrt(np.mean(error**2)))
