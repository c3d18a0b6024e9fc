"""Properties of the stack's parts for any input."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError
from metabench_py.stack.fit_gp import fit_output, join_outputs
from metabench_py.stack.fit_trees import Boosting, fit_boosted, fit_random
from metabench_py.stack.folds import group_folds
from metabench_py.stack.gp_data import gp_data
from metabench_py.stack.inputs import StackInputs, names_of
from metabench_py.stack.members import (
    Member,
    ProcessMember,
    SplineMember,
    TreesMember,
)
from metabench_py.stack.model import Stack
from metabench_py.stack.near_duplicates import join_labels, near_duplicates
from metabench_py.stack.spline import SplineBasis, SplineModel, cardinal
from metabench_py.stack.views import fit_views
from metabench_py.stack.weights import simplex_weights

labels = hnp.arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 12))
numbers = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))


@given(labels, st.integers(0, 2**16), st.integers(2, 8))
def test_a_group_is_in_one_fold_and_no_fold_is_empty(groups, seed, k) -> None:
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        with pytest.raises(InputError):
            group_folds(groups, k, seed)
        return
    fold = group_folds(groups, k, seed)
    assert set(fold) == set(range(min(k, n_groups)))
    assert len(set(zip(groups.tolist(), fold.tolist(), strict=True))) == n_groups


@given(st.data())
def test_joined_labels_are_the_finest_that_keep_all_together(data) -> None:
    one = data.draw(labels)
    other = data.draw(hnp.arrays(np.int64, len(one), elements=st.integers(0, 12)))
    joined = join_labels(one, other)
    for label in (one, other):
        assert len(set(zip(label.tolist(), joined.tolist(), strict=True))) == len(set(label))
    # Joining again, in any order, changes nothing.
    assert np.array_equal(join_labels(other, joined, one), joined)


@given(st.integers(0, 2**16))
def test_near_duplicates_do_not_depend_on_the_order(seed) -> None:
    rng = np.random.default_rng(seed)
    origin = rng.random((12, 300)) < 0.5
    responses = origin[rng.integers(0, 12, 40)] ^ (rng.random((40, 300)) < 0.002)
    order = rng.permutation(40)
    clusters = near_duplicates([responses.astype(np.int8)])
    shuffled = near_duplicates([responses[order].astype(np.int8)])
    together = clusters[:, None] == clusters
    assert np.array_equal(together[np.ix_(order, order)], shuffled[:, None] == shuffled)


@given(
    hnp.arrays(np.float64, st.integers(2, 12), elements=numbers, unique=True).map(np.sort),
    hnp.arrays(np.float64, 7, elements=numbers),
)
def test_a_spline_reproduces_lines_everywhere(knots, x) -> None:
    if np.diff(knots).min() < 1e-2:
        return
    values = cardinal(x, knots)
    assert np.allclose(values.sum(axis=1), 1.0, atol=1e-6)
    assert np.allclose(values @ knots, x, atol=1e-5)


@given(
    st.integers(1, 5),
    st.integers(0, 2**16),
    st.floats(0, 1e4),
)
def test_weights_are_convex_and_never_worse_than_the_best_member(n_members, seed, strength) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=60)
    predicted = truth[:, None] + rng.normal(size=(60, n_members)) * rng.uniform(0, 5, n_members)
    prior = rng.dirichlet(np.ones(n_members))
    weights = simplex_weights(predicted, truth, prior, strength, np.ones(60))
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)
    free = simplex_weights(predicted, truth, prior, 0.0, np.ones(60))
    error = ((predicted - truth[:, None]) ** 2).sum(axis=0)
    assert ((predicted @ free - truth) ** 2).sum() <= error.min() * (1 + 1e-6) + 1e-6


@cache
def small_stack() -> Stack:
    rng = np.random.default_rng(1)
    n_features = len(names_of(BENCHMARKS))
    features = rng.normal(size=(60, n_features))
    truth = rng.normal(size=(60, 6))
    basis = SplineBasis.at_quantiles(features, 4)
    outputs = SplineModel(basis, rng.normal(size=6), rng.normal(size=(basis.width, 6)))
    spread = SplineModel(basis, rng.normal(size=7), 0.1 * rng.normal(size=(basis.width, 7)))
    limits = np.column_stack([features.min(axis=0), features.max(axis=0)])
    responses = np.zeros((60, 0))
    views = fit_views(features, responses)
    columns = views.columns(features, responses)
    how = Boosting(4, 4, 0.3, 5)
    boosted = [fit_boosted(columns, y, how, 1) for y in truth.T]
    ones = np.ones(60)
    number = np.arange(60)
    data = gp_data(features, responses, (), number, number, number % 3, 1)
    process = join_outputs(data, [fit_output(data, y, ones, move=False) for y in truth.T])
    members: dict[str, Member] = {
        "spline": SplineMember(outputs),
        "process": ProcessMember(process),
        "trees": TreesMember(
            np.column_stack([slopes for slopes, _ in boosted]), tuple(f for _, f in boosted)
        ),
    }
    rest = fit_random(columns, truth, n_features, 8, 1)
    return Stack(BENCHMARKS, {}, limits, views, members, np.full((3, 6), 1 / 3), rest, spread)


@settings(max_examples=400)
@given(st.data())
def test_damaged_arrays_are_refused_or_harmless(data) -> None:
    arrays = small_stack().to_arrays()
    name = data.draw(st.sampled_from(sorted(arrays)))
    what = data.draw(st.sampled_from(["absent", "type", "shape", "value"]))
    if what == "absent":
        del arrays[name]
    elif what == "type":
        arrays[name] = arrays[name].astype(data.draw(st.sampled_from(["O", "U8", "c16", "?"])))
    elif what == "shape":
        shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
        arrays[name] = np.zeros(shape, arrays[name].dtype)
    else:
        damaged = arrays[name].copy()
        assume(damaged.size > 0)
        if damaged.dtype.kind == "f":
            value = data.draw(st.floats(width=8 * damaged.dtype.itemsize))
        else:
            bounds = np.iinfo(damaged.dtype)
            value = data.draw(st.integers(int(bounds.min), int(bounds.max)))
        damaged.flat[data.draw(st.integers(0, damaged.size - 1))] = value
        arrays[name] = damaged
    try:
        stack = Stack.from_arrays(arrays)
    except InputError:
        return
    table = {feature: np.zeros(2) for feature in stack.features}
    # A damaged number of items asks for responses that a healthy stack of this kind needs not.
    inputs = StackInputs(table, {b: np.zeros((2, n)) for b, n in stack.n_items.items()})
    predicted = stack.predict(inputs)
    assert all(np.isfinite(values).all() for values in predicted.values())
    assert all((values > 0).all() for values in stack.scale(inputs).values())
