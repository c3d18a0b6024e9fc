"""Preprocessing of one benchmark: items, LLMs, missing answers, limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metabench_py.calibration.item_statistics import item_statistics, reasons
from metabench_py.calibration.preprocess import PreprocessOptions, preprocess
from metabench_py.calibration.quantiles import quantiles
from metabench_py.errors import InputError, ResponseError
from metabench_py.responses import ResponseMatrix


def matrix(values: Any) -> ResponseMatrix:
    array = np.asarray(values, np.int8)
    return ResponseMatrix(
        tuple(f"org/m{i}" for i in range(array.shape[0])),
        tuple(str(j + 1) for j in range(array.shape[1])),
        array,
    )


def answers(n_llms: int = 60, n_items: int = 30, seed: int = 0) -> np.ndarray:
    """Answers by ability, with some spread in everything."""
    generator = np.random.default_rng(seed)
    ability, easiness = generator.normal(size=(n_llms, 1)), generator.normal(size=n_items)
    chance = 1 / (1 + np.exp(-2 * ability - easiness))
    return (generator.random((n_llms, n_items)) < chance).astype(np.int8)


NO_LIMITS = PreprocessOptions(tail=0, least_sd=0, easiest=1, least_discrimination=0)


@pytest.mark.parametrize("rule", ["point-biserial", "original"])
def test_statistics_are_their_definitions(rule: Any) -> None:
    values, score = answers(), np.random.default_rng(1).normal(size=60)
    found = item_statistics(values, score, rule)
    np.testing.assert_allclose(found.sd, values.std(axis=0, ddof=1), rtol=1e-13)
    np.testing.assert_array_equal(found.difficulty, values.sum(axis=0) * 0.75 / 60)
    r = np.array([np.corrcoef(column, score)[0, 1] for column in values.T])
    factor = 1.0 if rule == "point-biserial" else 1 - values.mean(axis=0)
    np.testing.assert_allclose(found.discrimination, r * factor, atol=1e-13)
    assert (found.answered == 60).all()


@pytest.mark.parametrize("rule", ["point-biserial", "original"])
def test_a_missing_answer_counts_for_nothing(rule: Any) -> None:
    """An item's numbers are those of the LLMs that answered it, alone."""
    generator = np.random.default_rng(2)
    values, score = answers(), generator.normal(size=60)
    values[generator.random(values.shape) < 0.3] = -1
    found = item_statistics(values, score, rule)
    for j, column in enumerate(values.T):
        known = column >= 0
        alone = item_statistics(column[known][:, None], score[known], rule)
        assert found.answered[j] == known.sum() == alone.answered[0]
        assert found.sd[j] == alone.sd[0]
        assert found.difficulty[j] == alone.difficulty[0]
        assert found.discrimination[j] == pytest.approx(alone.discrimination[0], abs=1e-13)


def test_items_in_blocks_are_items_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    values, score = answers(), np.arange(60.0)
    whole = item_statistics(values, score)
    monkeypatch.setattr("metabench_py.calibration.item_statistics._BLOCK", 7)
    parts = item_statistics(values, score)
    np.testing.assert_allclose(parts.discrimination, whole.discrimination, atol=1e-14)
    np.testing.assert_array_equal(parts.sd, whole.sd)


def test_items_without_a_discrimination() -> None:
    values = np.array([[1, 0, -1, 1], [1, 0, -1, -1], [1, 0, -1, -1]], np.int8)
    found = item_statistics(values, np.array([1.0, 2.0, 4.0]))
    assert np.isnan(found.discrimination).all()
    assert found.answered.tolist() == [3, 3, 0, 1]
    why = reasons(found, least_sd=0.01, easiest=0.95, least_discrimination=0.05)
    # Nobody answered, or one: no standard deviation either.
    assert why.tolist() == ["variance"] * 4
    # The original's formula has a value for what everybody had right.
    original = item_statistics(values, np.array([1.0, 2.0, 4.0]), "original")
    assert original.discrimination[0] == 0
    assert np.isnan(original.discrimination[1])


def test_limits_are_taken_as_the_original_takes_them() -> None:
    n = 400
    score = np.arange(n, dtype=float)
    columns = []
    for right in (380, 379, 399):
        column = np.zeros(n, np.int8)
        column[n - right :] = 1
        columns.append(column)
    negative = 1 - columns[1]
    found = item_statistics(np.column_stack([*columns, negative]), score)
    why = reasons(found, least_sd=0.06, easiest=0.95, least_discrimination=0.1)
    # Exactly 95 % right is too easy by rounding; one right answer fewer is not. The wrong way
    # round stays.
    assert why.tolist() == ["too_easy", "", "variance", ""]
    assert found.discrimination[3] < -0.1
    all_easy = reasons(found, least_sd=0.0, easiest=0.01, least_discrimination=1.0)
    assert set(all_easy) == {"too_easy"}


def test_duplicates_go_before_scores_and_the_first_stays() -> None:
    values = answers(40, 12)
    prompts = {str(j + 1): f"prompt {j}" for j in range(12)}
    prompts |= {"5": "prompt 1", "9": "prompt 1"}
    del prompts["12"]
    found = preprocess("any", matrix(values), prompts, NO_LIMITS)
    assert found.items.reason.tolist() == ["", "", "", "", "duplicate", *[""] * 3, "duplicate",
                                           *[""] * 3]  # fmt: skip
    rest = np.delete(values, [4, 8], axis=1)
    np.testing.assert_array_equal(found.scores, rest.sum(axis=1) / 10 * 100)
    assert found.responses.items == ("1", "2", "3", "4", "6", "7", "8", "10", "11", "12")
    np.testing.assert_array_equal(found.responses.values, rest)
    assert np.isnan(found.items.sd[4])
    assert (found.counts.duplicate, found.counts.prompts_missing, found.max_points) == (2, 1, 10)
    # Without prompts nobody knows.
    assert preprocess("any", matrix(values), None, NO_LIMITS).counts.prompts_missing is None


def test_the_tail_is_the_minimum_with_its_ties() -> None:
    values = np.tril(np.ones((30, 30), np.int8))
    values[2] = values[1]
    values = np.vstack([values[1:], values[1:2]])
    found = preprocess("any", matrix(values), options=PreprocessOptions(easiest=1))
    # Three LLMs have 2 points; the 30th is the first of them again.
    assert found.counts.llms_tail == 3
    assert found.tail_threshold == 2
    assert found.responses.llms == tuple(f"org/m{i}" for i in range(2, 29))
    assert found.to_dict()["tail_threshold"] == 2
    everybody = preprocess("any", matrix(values), options=NO_LIMITS)
    assert everybody.responses.n_llms == 30
    assert everybody.to_dict()["tail_threshold"] is None


def test_who_answered_too_few_items_is_left_out() -> None:
    values = answers(40, 20)
    values[3, :11] = -1
    values[7, :10] = -1
    values[9] = -1
    found = preprocess("any", matrix(values), options=NO_LIMITS)
    assert {"org/m3", "org/m9"}.isdisjoint(found.responses.llms)
    assert found.counts.llms_incomplete == 2
    assert found.counts.answers_missing == 10
    position = found.responses.llms.index("org/m7")
    assert found.scores[position] == pytest.approx(100 * values[7, 10:].mean())
    # An LLM without any answer has no score, whatever the limit.
    no_least = PreprocessOptions(tail=0, least_answered=0)
    assert preprocess("any", matrix(values), options=no_least).counts.llms_incomplete == 1


def test_a_benchmark_may_have_its_own_limit() -> None:
    values = answers(200, 30, seed=3)
    values[:, 0] = np.random.default_rng(5).integers(0, 2, 200)
    options = PreprocessOptions(discriminations={"mine": 1.0})
    with pytest.raises(ResponseError, match=r"no item is left; of 30, 0 by duplicate.*by low_disc"):
        preprocess("mine", matrix(values), options=options)
    assert preprocess("other", matrix(values), options=options).least_discrimination == 0.05
    assert preprocess("winogrande", matrix(values)).least_discrimination == 0.02


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        (np.ones((5, 4)), {}, "^mine: 0 of 5 LLMs have more than the lowest 4 of 4 points"),
        (np.ones((5, 4)), {"tail": 0}, "^mine: no item is left"),
        (-np.ones((5, 4)), {}, "^mine: 0 of 5 LLMs answered at least 50%"),
        (np.eye(2), {"tail": 0}, "^mine: 2 of 2 LLMs answered .* but 3 are needed"),
    ],
)
def test_nothing_left(values: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ResponseError, match=says):
        preprocess("mine", matrix(values), options=PreprocessOptions(**options))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"item_rule": "rpb"}, "choose point-biserial, original"),
        ({"order": "de"}, "choose c, icu"),
        ({"tail": -0.1}, "tail is -0.1"),
        ({"tail": 1.0}, "leaves no LLM"),
        ({"easiest": 95.0}, "easiest is 95"),
        ({"least_sd": float("nan")}, "least_sd is nan"),
        ({"discriminations": {"arc": 2.0}}, "least_discrimination of arc is 2"),
    ],
)
def test_options_are_checked(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        PreprocessOptions(**options)


def test_quantiles_are_those_of_numpy() -> None:
    values = np.random.default_rng(4).normal(size=403)
    shares = [0, 0.001, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(quantiles(values, shares), np.quantile(values, shares), rtol=1e-14)
    assert quantiles(np.array([3.0]), [0, 0.5, 1]).tolist() == [3, 3, 3]
    # Between equal values nothing is rounded.
    assert quantiles(np.full(10, 0.1), [0.3])[0] == 0.1
