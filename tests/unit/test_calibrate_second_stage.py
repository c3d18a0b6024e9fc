"""Out-of-fold predictors, and the work folder."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.bundles import tiny_model

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.calibration.second_stage import (
    Learners,
    full_features,
    held_out_split,
    held_out_stage,
    lessons,
    linear_predictors,
)
from metabench_py.calibration.work import WorkFolder, digest
from metabench_py.errors import StorageError
from metabench_py.gam.linear import fit_linear, subscore

N = 90


def learners(shift: float = 0.0, fold_shifted: int = 0) -> Learners:
    """LLMs in three folds; the scores of one fold can be moved."""
    random = np.random.default_rng(3)
    theta = random.normal(size=N)
    fold = np.arange(N) % 3
    responses, scores = {}, {}
    for b in BENCHMARKS:
        responses[b] = (random.normal(size=(N, 7)) < theta[:, None]).astype(np.int8)
        scores[b] = 50 + 10 * theta + random.normal(size=N) + shift * (fold == fold_shifted)
    grand = np.mean([scores[b] for b in BENCHMARKS], axis=0)
    return Learners(
        responses=responses,
        theta=dict.fromkeys(BENCHMARKS, theta),
        scores={t: grand if t == "grand" else scores[t] for t in TARGETS},
        fold=fold,
        groups=np.arange(N),
    )


def test_held_out_features_come_from_the_other_folds_only() -> None:
    some = learners()
    split = held_out_split(some, 1)
    kept = some.fold != 1
    model = fit_linear(some.responses["arc"][kept], some.scores["arc"][kept])
    np.testing.assert_array_equal(split.held_out, ~kept)
    np.testing.assert_array_equal(split.linear["arc"].weights, model.weights)
    stage = held_out_stage(some, split, {b: tiny_model(b, 7) for b in BENCHMARKS})
    np.testing.assert_array_equal(
        stage.features()["arc.l"], model.predict(some.responses["arc"][~kept])
    )
    # The training LLMs' predictors are out of fold too: fold 0's come from fold 2 alone.
    two = some.fold == 2
    model = fit_linear(some.responses["arc"][two], some.scores["arc"][two])
    zero = some.fold[kept] == 0
    np.testing.assert_array_equal(
        split.train["arc.l"][zero], model.predict(some.responses["arc"][some.fold == 0])
    )


def test_held_out_scores_leak_into_no_feature() -> None:
    before, after = held_out_split(learners(), 0), held_out_split(learners(shift=25.0), 0)
    for name in before.train:
        np.testing.assert_array_equal(before.train[name], after.train[name])
    for b in BENCHMARKS:
        np.testing.assert_array_equal(before.linear[b].weights, after.linear[b].weights)


def test_full_features_use_no_score_of_the_same_fold() -> None:
    before, after = full_features(learners()), full_features(learners(shift=25.0))
    zero = learners().fold == 0
    np.testing.assert_array_equal(before["gsm8k.l"][zero], after["gsm8k.l"][zero])
    assert np.abs(before["gsm8k.l"][~zero] - after["gsm8k.l"][~zero]).mean() > 1.0


def test_one_benchmark_alone_learns_from_its_own_answers() -> None:
    some = learners()
    rows = some.fold != 2
    table = held_out_split(some, 2).train
    own = lessons(some, table, rows, "mmlu")
    assert set(own.table) == {"mmlu", "mmlu.l", "mmlu.s"}
    assert own.targets == ("mmlu",)
    assert list(own.responses) == ["mmlu"]
    np.testing.assert_array_equal(own.scores["mmlu"], some.scores["mmlu"][rows])
    assert lessons(some, table, rows).targets == TARGETS


def test_sub_scores_divide_by_the_number_of_items() -> None:
    some = learners()
    features = full_features(some)
    expected = 100 * some.responses["arc"].sum(axis=1) / 7
    np.testing.assert_allclose(features["arc.s"], expected, rtol=1e-15)
    np.testing.assert_array_equal(features["arc.s"], subscore(some.responses["arc"]))
    np.testing.assert_allclose(
        features["grand.s"], np.mean([features[f"{b}.s"] for b in BENCHMARKS], axis=0), rtol=1e-15
    )


def test_bundle_gets_the_linear_model_of_all_llms() -> None:
    some = learners()
    fit = linear_predictors(some)["mmlu"]
    assert fit.n == N
    expected = fit_linear(some.responses["mmlu"], some.scores["mmlu"])
    np.testing.assert_array_equal(fit.weights, expected.weights)


def test_work_folder_gives_back_what_it_took(tmp_path) -> None:
    work = WorkFolder(tmp_path / "work")
    assert work.get("stage", "key") is None
    numbers = np.random.default_rng(1).normal(size=50)
    work.put("stage", "key", {"numbers": numbers, "about": {"n": np.int64(3)}})
    found = work.get("stage", "key")
    assert found is not None
    np.testing.assert_array_equal(found["numbers"], numbers)
    assert found["about"] == {"n": 3}
    assert work.get("stage", "other key") is None


@pytest.mark.parametrize("content", [b"", b'{"key": "key"', b"[]", b'{"key": "key", "value": 1}'])
def test_damaged_result_is_made_again(tmp_path, content: bytes) -> None:
    work = WorkFolder(tmp_path)
    (tmp_path / "stage.json").write_bytes(content)
    assert work.get("stage", "key") is None


def test_work_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        WorkFolder(tmp_path / "file").put("stage", "key", {})


def test_digest_tells_values_shapes_and_order_apart() -> None:
    one = np.arange(6)
    others = [
        digest(one),
        digest(one.reshape(2, 3)),
        digest(one.astype(float)),
        digest(one[:3], one[3:]),
        digest(one[:2], one[2:]),
        digest(one.tolist()),
        digest("a", "b"),
        digest("ab"),
    ]
    assert len(set(others)) == len(others)
    assert digest(one.reshape(2, 3).T) == digest(np.ascontiguousarray(one.reshape(2, 3).T))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
