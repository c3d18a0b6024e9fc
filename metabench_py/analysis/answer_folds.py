"""What the study of answers fits without a fold: prunings, lassos, regressions of answers."""

from __future__ import annotations

from dataclasses import dataclass

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
from metabench_py.analysis.study_data import StudyData
from metabench_py.calibration.recovery import Recovery, recover
from metabench_py.compute import Shared
from metabench_py.errors import InputError
from metabench_py.gam.linear import fit_linear
from metabench_py.irt.model import Floats

_USUAL_SIZES = (10, 25, 50, 100)


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
            One leaves no item to predict, or some fit has too few LLMs for all items.
        """
        n = len(data.items)
        fewest = min(int(data.training(held).sum()) for held in range(data.n_folds))
        if fewest < n + 2:
            raise InputError(
                f"{data.benchmark}: {fewest} LLMs outside a fold do not determine a linear "
                f"predictor of {n} items; take fewer items (a subset), more LLMs or more folds.",
                benchmark=data.benchmark,
            )
        wanted = self.sizes or tuple(size for size in _USUAL_SIZES if size < 0.9 * n)
        if not wanted or max(wanted) >= n:
            raise InputError(
                f"{data.benchmark}: {max(wanted, default=10)} of {n} items leave none to predict; "
                "take fewer.",
                benchmark=data.benchmark,
            )
        return tuple(sorted(set(wanted)))


@dataclass(frozen=True, eq=False)
class Pair:
    """Predictions of the LLMs fitted on, and of those held out; a row an LLM."""

    seen: Floats
    held: Floats


@dataclass(frozen=True, eq=False)
class SizeFold:
    """What so many items tell in one fit; see `SizeResult`.

    Attributes
    ----------
    items
        Columns of the removed items, ascending, shape (n_removed,).
    probability
        Of a right answer of the LLMs held out, shape (n_held, n_removed).
    training_share
        Share of right answers of the LLMs fitted on, 0 to 1, shape (n_removed,).
    """

    gam: Pair
    lasso: Pair
    random: tuple[Pair, ...]
    share: Pair
    score: Pair
    items: NDArray[np.int64]
    probability: Floats
    training_share: Floats
    n_loose: int


@dataclass(frozen=True, eq=False)
class AnswersFold:
    """What one fit predicts.

    Attributes
    ----------
    removed
        Columns in the order of their removal, shape (n_items,).
    linear
        Column d - 1: by the d items that are left last; shape (n_llms, n_items).
    lasso_items
        Items with a weight: of the best penalty, of the original's.
    """

    removed: NDArray[np.int64]
    linear: Pair
    lasso_best: Pair
    lasso_original: Pair
    lasso_items: tuple[int, int]
    sizes: dict[int, SizeFold]


def study_fold(
    shared: Shared[StudyData], held: int, sizes: tuple[int, ...], options: AnswersOptions
) -> AnswersFold:
    """Fit without a fold and predict it (a worker calls it); -1: all training LLMs, the test's."""
    data = shared.value
    train, out = data.training(held), data.fold == held
    answers, score, other = data.answers[train], data.score[train], data.answers[out]
    pruned = prune(answers, score, options.rule)
    path = lasso(answers, score, data.fold[train])
    fixed = lasso(answers, score, None, (ORIGINAL_PENALTY,))
    seen, unseen = pruned.predict(answers), pruned.predict(other)
    lasso_seen, lasso_unseen = path.predict(answers), path.predict(other)
    made: dict[int, SizeFold] = {}
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
    return AnswersFold(
        pruned.removed,
        Pair(seen, unseen),
        Pair(lasso_seen[:, path.best], lasso_unseen[:, path.best]),
        Pair(fixed.predict(answers)[:, 0], fixed.predict(other)[:, 0]),
        (int(path.sizes[path.best]), int(fixed.sizes[0])),
        made,
    )


def _predict_rest(
    data: StudyData,
    train: NDArray[np.bool_],
    out: NDArray[np.bool_],
    kept: NDArray[np.int64],
    ridge: float,
    gam: Pair,
    by_lasso: Pair,
    random: tuple[Pair, ...],
) -> SizeFold:
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
    share = Pair(
        100.0 * (known.sum(axis=1) + seen.sum(axis=1)) / n,
        100.0 * (asked.sum(axis=1) + unseen.sum(axis=1)) / n,
    )
    score = share
    if not data.own_score:
        curve = recover(
            {"share": share.seen}, data.score[train], [{"share": share.held}], data.benchmark
        )
        score = _clipped(curve)
    return SizeFold(
        gam, by_lasso, random, share, score, rest, unseen, answers[:, rest].mean(axis=0), n_loose
    )


def _linear(
    answers: NDArray[np.int8], other: NDArray[np.int8], score: Floats, columns: NDArray[np.int64]
) -> Pair:
    fit = fit_linear(answers[:, columns], score)
    return Pair(fit.predict(answers[:, columns]), fit.predict(other[:, columns]))


def _clipped(curve: Recovery) -> Pair:
    # Beyond the training LLMs a spline goes straight on.
    return Pair(np.clip(curve.fitted, 0.0, 100.0), np.clip(curve.predicted[0], 0.0, 100.0))
