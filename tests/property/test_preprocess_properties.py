"""What must hold for any responses, and for any scores that are split."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from metabench_py.calibration.item_statistics import item_statistics
from metabench_py.calibration.preprocess import PreprocessOptions, preprocess
from metabench_py.calibration.quantiles import quantiles
from metabench_py.calibration.split import SplitOptions, split
from metabench_py.errors import InputError, ResponseError
from metabench_py.responses import ResponseMatrix

shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=25)
answers = arrays(np.int8, shapes, elements=st.integers(-1, 1))


def matrix(values: np.ndarray) -> ResponseMatrix:
    llms, items = (
        tuple(f"{c}{i}" for i in range(n)) for c, n in zip("mi", values.shape, strict=True)
    )
    return ResponseMatrix(llms, items, values)


@given(
    answers,
    st.lists(st.sampled_from("ABCDEFG"), max_size=25),
    st.sampled_from(["original", "point-biserial"]),
    st.floats(0, 0.9), st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_every_item_and_llm_is_kept_or_counted(values, letters, rule, tail, easiest, answered):
    given_ = matrix(values)
    prompts = dict(zip(given_.items, letters, strict=False))
    options = PreprocessOptions(item_rule=rule, tail=tail, easiest=easiest, least_answered=answered)
    try:
        found = preprocess("any", given_, prompts, options)
    except ResponseError:
        return
    n = found.counts
    assert n.llms_read == n.llms_incomplete + n.llms_tail + n.llms_kept == values.shape[0]
    left_out = n.duplicate + n.variance + n.too_easy + n.low_disc
    assert n.items_read == left_out + n.items_kept == values.shape[1]
    assert n.duplicate == len(prompts) - len(set(prompts.values()))
    kept = tuple(np.array(given_.items)[found.items.reason == ""])
    assert found.responses.items == kept
    # What is kept is as it was, in its order.
    again = given_.rows(found.responses.llms).select(kept)
    np.testing.assert_array_equal(found.responses.values, again.values)
    assert list(found.responses.llms) == [m for m in given_.llms if m in found.responses.llms]
    assert ((found.scores >= 0) & (found.scores <= 100)).all()
    assert found.counts.llms_tail > 0 or tail == 0
    at = found.items.reason == ""
    assert (found.items.sd[at] > options.least_sd).all()
    assert not (np.abs(found.items.discrimination[at]) < options.least_discrimination).any()


@given(answers, st.data())
def test_statistics_do_not_depend_on_the_order_of_llms(values, data):
    score = np.array(data.draw(st.lists(st.integers(0, 50), min_size=len(values),
                                        max_size=len(values))), float)  # fmt: skip
    order = np.array(data.draw(st.permutations(range(len(values)))))
    one, two = item_statistics(values, score), item_statistics(values[order], score[order])
    for name in ("answered", "sd", "difficulty"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (np.abs(one.discrimination[np.isfinite(one.discrimination)]) <= 1 + 1e-9).all()


@given(
    st.lists(st.floats(0, 100, width=32), min_size=2, max_size=120),
    st.floats(0.01, 0.6), st.integers(0, 2**31),
)  # fmt: skip
def test_a_split_has_the_share_of_each_quarter(mean, share, seed):
    names = [f"m{i:03d}" for i in range(len(mean))]
    try:
        found = split(names, {"arc": np.array(mean)}, SplitOptions(share=share, seed=seed))
    except InputError:
        assume(False)
    assert sum(found.sizes) == len(mean)
    assert found.drawn == tuple(math.ceil(share * n) for n in found.sizes)
    assert found.test.sum() == sum(found.drawn)
    assert 1 <= len(found.sizes) <= 4
    # Names decide nothing but the order.
    renamed = split([f"x/{n}" for n in names], {"arc": np.array(mean)},
                    SplitOptions(share=share, seed=seed))  # fmt: skip
    np.testing.assert_array_equal(renamed.test, found.test)


@given(
    arrays(float, st.integers(1, 60), elements=st.floats(-1e6, 1e6)),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_quantiles_are_those_of_numpy(values, shares):
    found = quantiles(values, shares)
    assert found == pytest.approx(np.quantile(values, shares), rel=1e-9, abs=1e-6)
    assert (found >= values.min()).all()
    assert (found <= values.max()).all()
