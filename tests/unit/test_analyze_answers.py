"""Answer reconstruction: pruning, the lasso, predicted answers."""

from __future__ import annotations

import builtins
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.item_studies import simulate, study
from matplotlib.figure import Figure

from metabench_py.analysis.answer_folds import AnswersOptions, study_fold
from metabench_py.analysis.answer_pruning import lasso, prune
from metabench_py.analysis.answers import analyze_answers
from metabench_py.compute import Shared
from metabench_py.errors import InputError, MissingDependencyError
from metabench_py.gam.linear import fit_linear


@pytest.mark.parametrize("rule", ["error", "coefficient"])
def test_every_step_of_the_pruning_is_least_squares(rule: Any) -> None:
    matrix, score = simulate(200, 12)
    found = prune(matrix.values, score, rule)
    assert sorted(found.removed.tolist()) == list(range(12))
    predicted = found.predict(matrix.values)
    for size in range(1, 13):
        kept = found.kept(size)
        fit = fit_linear(matrix.values[:, kept], score)
        own = fit.predict(matrix.values[:, kept])
        np.testing.assert_allclose(predicted[:, size - 1], own, atol=1e-9)
        if size == 1:
            continue
        # What was removed from here is what the rule says.
        gone = found.removed[12 - size]
        if rule == "coefficient":
            assert kept[np.abs(fit.weights).argmin()] == gone
        else:
            errors = {}
            for item in kept:
                rest = kept[kept != item]
                left = fit_linear(matrix.values[:, rest], score).predict(matrix.values[:, rest])
                errors[item] = ((left - score) ** 2).sum()
            assert min(errors, key=errors.__getitem__) == gone


def test_items_that_others_determine_go_first() -> None:
    matrix, score = simulate(200, 8)
    values = np.column_stack([matrix.values, matrix.values[:, 2], 1 - matrix.values[:, 5]])
    found = prune(values, score)
    assert set(found.removed[:2].tolist()) == {8, 9}
    np.testing.assert_allclose(found.weights[9], found.weights[7])
    assert (found.weights[8:, 8:] == 0).all()


def test_equal_coefficients_are_decided_by_the_error() -> None:
    """The share right of all items has them: rounding must not choose."""
    matrix, _ = simulate(200, 10)
    share = 100.0 * matrix.values.mean(axis=1)
    found = prune(matrix.values, share, "coefficient")
    spread = matrix.values.std(axis=0)
    assert found.removed[0] == prune(matrix.values, share, "error").removed[0]
    assert spread[found.removed[0]] < np.median(spread)


def test_lasso_meets_its_conditions() -> None:
    """Karush, Kuhn & Tucker: of glmnet's objective, (1 / 2n) squares + penalty * |standardised|."""
    matrix, score = simulate(300, 20)
    fold = np.arange(300) % 4
    path = lasso(matrix.values, score, fold)
    x = matrix.values.astype(float)
    spread = x.std(axis=0)
    for row in (3, 40, 80):
        left = score - path.predict(matrix.values)[:, row]
        assert left.mean() == pytest.approx(0.0, abs=1e-9)
        pull = ((x - x.mean(axis=0)) / spread).T @ left / 300
        used = path.weights[row] != 0
        np.testing.assert_allclose(
            pull[used], path.penalties[row] * np.sign(path.weights[row, used]), rtol=1e-3
        )
        assert (np.abs(pull) <= path.penalties[row] * (1 + 1e-3)).all()
    assert path.sizes[0] == 0
    assert path.sizes[-1] == 20
    assert path.sizes[path.of_size(7)] <= 7 < path.sizes[path.of_size(7) + 1]
    assert 0 < path.best < 100
    assert lasso(matrix.values, score, None, (0.9,)).penalties.tolist() == [0.9]


def test_without_scikit_learn_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, score = simulate(100, 5)
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match="pip install scikit-learn"):
        lasso(matrix.values, score, None)


def test_a_fold_is_predicted_without_its_scores() -> None:
    data = study()
    options = AnswersOptions(sizes=(8,), draws=2)
    first = study_fold(Shared(data), 0, (8,), options)
    moved = replace(data, score=np.where(data.fold == 0, 100.0 - data.score, data.score))
    again = study_fold(Shared(moved), 0, (8,), options)
    np.testing.assert_array_equal(first.linear.held, again.linear.held)
    np.testing.assert_array_equal(first.lasso_best.held, again.lasso_best.held)
    for name in ("gam", "lasso", "share", "score"):
        one, other = getattr(first.sizes[8], name), getattr(again.sizes[8], name)
        np.testing.assert_array_equal(one.held, other.held, err_msg=name)
    # Nor do its answers choose items, or fit anything.
    flipped = np.where((data.fold == 0)[:, None], 1 - data.answers, data.answers).astype(np.int8)
    third = study_fold(Shared(replace(data, answers=flipped)), 0, (8,), options)
    np.testing.assert_array_equal(first.removed, third.removed)
    np.testing.assert_array_equal(first.lasso_best.seen, third.lasso_best.seen)
    np.testing.assert_array_equal(first.sizes[8].share.seen, third.sizes[8].share.seen)
    assert (first.linear.held != third.linear.held).any()


def test_predicts_answers_and_scores() -> None:
    data = study(400, 30, test=True)
    options = AnswersOptions(sizes=(5, 15), draws=4)
    with ThreadPoolExecutor(1) as pool:
        found = analyze_answers({"arc": data}, options, executor=pool)["arc"]
    five, fifteen = found.sizes
    assert (five.n_items, fifteen.n_items) == (5, 15)
    assert five.accuracy > five.majority + 0.05
    assert fifteen.linear.held_out < five.linear.held_out < data.score.std()
    assert five.linear.held_out < five.random.held_out
    assert fifteen.share.held_out < five.share.held_out < 100 * data.answers.mean(axis=1).std()
    assert five.linear.test is not None
    assert five.linear.held_out == pytest.approx(found.curve_held_out[4])
    assert five.linear.train == pytest.approx(found.curve_train[4])
    assert five.linear.test == pytest.approx(found.curve_test[4])
    # In sample more items are never worse.
    assert (np.diff(found.curve_train) <= 1e-9).all()
    assert found.lasso_original[1] <= 30
    for size in found.sizes:
        assert sum(item.folds for item in size.items) == (30 - size.n_items) * data.n_folds
        answers = sum(item.n_llms for item in size.items)
        assert answers == (30 - size.n_items) * int((data.fold >= 0).sum())
        right = sum(item.accuracy * item.n_llms for item in size.items)
        assert size.accuracy == pytest.approx(right / answers)
    train = data.fold >= 0
    right = 100 * data.answers[train].mean(axis=1)
    error = np.sqrt(np.mean((found.share[train] - right) ** 2))
    assert fifteen.share.held_out == pytest.approx(error)
    value = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert value["linear"]["n_items"] == list(range(1, 31))
    assert value["removed"] == list(found.removed)


def test_the_share_right_as_score_needs_no_spline() -> None:
    data = study(300, 20)
    own = replace(data, score=100.0 * data.answers.mean(axis=1), own_score=True)
    with ThreadPoolExecutor(1) as pool:
        found = analyze_answers({"arc": own}, AnswersOptions(sizes=(8,), draws=1), executor=pool)
    (size,) = found["arc"].sizes
    assert size.share == size.score
    assert found["arc"].curve_held_out[-1] == pytest.approx(0.0, abs=1e-9)
    assert found["arc"].to_dict()["linear"]["rmse_test"] is None


def test_options_and_sizes_are_checked() -> None:
    for wrong in ({"sizes": (1,)}, {"draws": 0}, {"ridge": -1.0}, {"rule": "best"}):
        with pytest.raises(InputError):
            AnswersOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="30 of 30 items leave none"):
        AnswersOptions(sizes=(30,)).of(study())
    with pytest.raises(InputError, match="arc: 39 LLMs outside a fold do not determine"):
        AnswersOptions(sizes=(5,)).of(study(60, 60, seed=1))
    with pytest.raises(InputError, match="do not determine"):
        prune(np.zeros((10, 9), np.int8), np.zeros(10))


def test_figure_has_a_row_a_benchmark() -> None:
    from metabench_py.report.answer_figures import AnswersPanel, answers_figure

    random = np.random.default_rng(0)
    panel = AnswersPanel(
        "mmlu", np.linspace(8, 2, 40), [10, 20], {"GAM": [4.0, 3.0], "lasso": [5.0, 3.5]},
        random.uniform(0.5, 1, 20), random.uniform(0.6, 1, 20), random.uniform(0, 100, 30),
        random.uniform(0, 100, 30),
    )  # fmt: skip
    figure = answers_figure([panel, panel])
    assert isinstance(figure, Figure)
    assert figure.axes[3].get_title(loc="left") == "MMLU: error of the score"
    (line, *dots) = figure.axes[0].lines
    assert line.get_xdata()[0] == 10
    assert len(dots) == 2
