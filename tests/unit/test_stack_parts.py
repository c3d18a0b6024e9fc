"""The stack's parts by themselves: splines, trees, views, weights, near-duplicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metabench_py.errors import InputError
from metabench_py.stack.fit_trees import (
    ALONE,
    boost,
    export_boosted,
    export_random,
    fit_random,
    randomise,
)
from metabench_py.stack.folds import group_folds
from metabench_py.stack.near_duplicates import join_labels, near_duplicates
from metabench_py.stack.spline import SplineBasis, cardinal
from metabench_py.stack.trees import FARTHEST, LEAF, Forest, on_grid
from metabench_py.stack.views import Views, fit_views
from metabench_py.stack.weights import simplex_weights


def test_splines_are_scipys_natural_splines_and_go_on_as_lines() -> None:
    from scipy.interpolate import CubicSpline

    rng = np.random.default_rng(1)
    knots = np.sort(rng.normal(size=7))
    values = rng.normal(size=7)
    inside = np.linspace(knots[0], knots[-1], 200)
    theirs = CubicSpline(knots, values, bc_type="natural")
    assert np.allclose(cardinal(inside, knots) @ values, theirs(inside), atol=1e-12)
    for end in (0, -1):
        beyond = knots[end] + np.array([-2.0, -1.0] if end == 0 else [1.0, 2.0])
        line = theirs(knots[end]) + theirs(knots[end], 1) * (beyond - knots[end])
        assert np.allclose(cardinal(beyond, knots) @ values, line, atol=1e-12)


def test_a_constant_feature_and_ties_get_no_knots_too_many() -> None:
    features = np.column_stack([np.ones(50), np.repeat([0.0, 1.0], 25), np.arange(50.0)])
    basis = SplineBasis.at_quantiles(features, 12)
    assert [len(k) for k in basis.knots] == [0, 2, 12]
    assert basis.columns(features).shape == (50, 14)


def test_exported_trees_predict_as_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    columns = on_grid(rng.normal(size=(1500, 20)))
    truth = 50 + 10 * columns[:, 0] + 5 * np.abs(columns[:, 3]) + rng.normal(size=1500)
    model = boost(columns, truth, ALONE, 1)
    forest = export_boosted(model)
    assert len(forest.roots) == 250
    assert (forest.feature != LEAF).sum() == 250 * 7
    new = on_grid(rng.normal(scale=30, size=(5000, 20)))
    assert np.abs(new).max() == FARTHEST
    # On thresholds themselves too, and after a round trip.
    on = columns[:300].copy()
    split = forest.feature[forest.feature != LEAF]
    on[np.arange(300), split[:300]] = forest.threshold[:300]
    again = Forest.from_arrays(forest.to_arrays(), 20, 1)
    # A leaf is rounded to half a step, 1/64,000 of the largest leaf.
    most = 250 * float(forest.step[0]) / 2
    assert most < 0.02
    for some in (new, columns, on):
        assert np.abs(forest.predict(some)[:, 0] - model.predict(some)).max() < most
        assert np.array_equal(again.predict(some), forest.predict(some))


def test_exported_random_trees_predict_as_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    columns = on_grid(rng.normal(size=(600, 8)))
    left = np.column_stack([columns[:, 0] * columns[:, 1], np.sin(columns[:, 2])])
    unit = np.array([2.0, 0.5])
    grown = randomise(columns, left, 5, 64, 1)
    forest = export_random(grown, unit)
    new = on_grid(rng.normal(scale=2, size=(3000, 8)))
    again = Forest.from_arrays(forest.to_arrays(), 8, 2)
    assert forest.to_arrays()["level"].dtype == np.int8
    for some in (new, columns):
        # Every tree is off by half a step at most.
        most = len(forest.roots) * forest.step / 2
        theirs = [tree.predict(some[:, : tree.n_features_in_]) for tree in grown]
        assert (np.abs(forest.predict(some) - np.mean(theirs, axis=0) * unit) <= most).all()
        assert np.array_equal(again.predict(some), forest.predict(some))
    # An LLM that calibration saw is remembered, but for the digits that leaves have.
    assert (np.abs(forest.predict(columns) - left * unit) <= most).all()
    # The features alone tell half of the trees where to go.
    assert [tree.n_features_in_ for tree in grown] == [8] * 32 + [5] * 32
    # Nothing to learn: nothing is added.
    assert not fit_random(columns, np.zeros((600, 2)), 5, 64, 1).predict(new).any()


def damage(arrays: dict[str, np.ndarray], name: str, at: int, value: int) -> None:
    arrays[name] = arrays[name].copy()
    arrays[name][at] = value


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        # A child that is its own parent, or in another tree, would be walked for ever.
        ("right", 0, 0),
        ("right", 0, 1),
        ("right", 0, 200),
        # A split in a leaf's place, at the end of a tree, and a column that is not there.
        ("feature", -1, 3),
        ("feature", 0, 20),
        ("feature", 0, LEAF),
        ("roots", 0, 3),
        ("roots", 1, 0),
    ],
)
def test_damaged_trees_are_refused(name: str, at: int, value: int) -> None:
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(200, 20))
    few = replace(ALONE, trees=10)
    arrays = export_boosted(boost(columns, columns[:, 0], few, 1)).to_arrays()
    assert Forest.from_arrays(arrays, 20, 1).predict(columns).shape == (200, 1)
    damage(arrays, name, at, value)
    with pytest.raises(InputError):
        Forest.from_arrays(arrays, 20, 1)


def test_views_are_standardised_whitened_and_leave_constants_out() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4)) + 7
    features = np.column_stack([features, np.full(400, 3.0), features[:, 0] + features[:, 1]])
    responses = (rng.random((400, 60)) < rng.random(400)[:, None]).astype(float)
    views = fit_views(features, responses)
    columns = views.columns(features, responses)
    # Six features, of which one is constant and one a sum of others, so four whitened ones.
    assert columns.shape == (400, 6 + 4 + 40) == (400, views.n_columns)
    # But for the grid.
    assert np.allclose(np.cov(columns[:, 6:10].T, bias=True), np.eye(4), atol=1e-3)
    spread = columns[:, 10:].std(axis=0)
    assert (np.diff(spread) < 1e-6).all()
    # What was constant in calibration does not count in a new LLM.
    other = features.copy()
    other[:, 4] = 99.0
    assert np.array_equal(views.columns(other, responses), columns)
    again = Views.from_arrays(views.to_arrays(), 6, 60)
    assert np.array_equal(again.columns(features, responses), columns)
    assert fit_views(features, responses[:, :0]).n_columns == 10


def test_weights_are_those_of_least_error_and_few_llms_stay_near_the_prior() -> None:
    rng = np.random.default_rng(10)
    truth = rng.normal(size=5000)
    noise = rng.normal(size=(5000, 3)) * [1.0, 2.0, 30.0]
    predicted = truth[:, None] + noise
    counts, prior = np.ones(5000), np.array([0.2, 0.3, 0.5])
    weights = simplex_weights(predicted, truth, prior, 0.0, counts)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    assert weights == pytest.approx([0.8, 0.2, 0.0], abs=0.02)
    few = simplex_weights(predicted[:5], truth[:5], prior, 1e6, counts[:5])
    assert few == pytest.approx(prior, abs=0.01)
    # A member that only harms gets nothing, exactly.
    biased = np.column_stack([truth + noise[:, 0], truth + 2 * noise[:, 0] + 5])
    assert simplex_weights(biased, truth, np.array([0.5, 0.5]), 0.0, counts)[1] == 0.0


def test_near_duplicates_are_found_and_kept_with_their_organisation() -> None:
    rng = np.random.default_rng(11)
    responses = (rng.random((40, 400)) < 0.5).astype(np.int8)
    responses[7], responses[20] = responses[3], responses[3]
    responses[20, :3] ^= 1
    responses[9] = responses[4]
    responses[9, :20] ^= 1
    scores = rng.uniform(20, 80, size=(40, 6))
    scores[30] = scores[31] + 0.05
    clusters = near_duplicates([responses[:, :150], responses[:, 150:]], scores)
    sizes = np.bincount(clusters)
    assert set(np.flatnonzero(clusters == clusters[3])) == {3, 7, 20}
    assert clusters[30] == clusters[31]
    assert (sizes > 1).sum() == 2
    # Few items agree by chance, and so does one score.
    assert np.bincount(near_duplicates([np.zeros((5, 30))])).max() == 1
    assert np.bincount(near_duplicates(scores=np.ones((5, 1)))).max() == 1

    organisations = np.arange(40) // 4
    groups = join_labels(organisations, clusters)
    assert len({groups[i] for i in (0, 3, 7, 4, 20)}) == 1
    fold = group_folds(groups, 5, 1)
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1
    assert set(fold) == set(range(5))
    with pytest.raises(InputError, match="same LLMs"):
        near_duplicates([responses], scores[:5])
    with pytest.raises(InputError, match="two organisations"):
        group_folds(np.zeros(10), 5, 1)
