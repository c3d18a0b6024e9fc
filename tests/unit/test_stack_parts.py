"""The stack's parts by themselves: splines, trees, the process, weights, near-duplicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metabench_py.errors import InputError
from metabench_py.stack import fit_gp
from metabench_py.stack.evidence import Evidence, Settings, representative
from metabench_py.stack.fit_gp import fit_output, join_outputs
from metabench_py.stack.fit_trees import (
    ALONE,
    boost,
    export_boosted,
    export_random,
    fit_random,
    randomise,
)
from metabench_py.stack.folds import group_folds
from metabench_py.stack.gp import item_distances
from metabench_py.stack.gp_data import gp_data
from metabench_py.stack.inducing import inducing_points
from metabench_py.stack.near_duplicates import join_labels, near_duplicates
from metabench_py.stack.placement import SparseEvidence, fixed_parts, placed
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
    model = randomise(columns, left, 1)
    forest = export_random(model, unit)
    new = on_grid(rng.normal(scale=2, size=(3000, 8)))
    again = Forest.from_arrays(forest.to_arrays(), 8, 2)
    assert forest.to_arrays()["level"].dtype == np.int8
    for some in (new, columns):
        # Every tree is off by half a step at most.
        most = len(forest.roots) * forest.step / 2
        assert (np.abs(forest.predict(some) - model.predict(some) * unit) <= most).all()
        assert np.array_equal(again.predict(some), forest.predict(some))
    # No leaf is one LLM's own.
    for tree in model.estimators_:
        leaf = tree.tree_.children_left < 0
        assert tree.tree_.n_node_samples[leaf].min() >= 2
    # Nothing to learn: nothing is added.
    assert not fit_random(columns, np.zeros((600, 2)), 1).predict(new).any()


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


def process_data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4)) * [1, 10, 5, 1] + [0, 50, 40, 0]
    chance = 1 / (1 + np.exp(-(features[:, :1] + rng.normal(size=30))))
    responses = (rng.random((n, 30)) < chance).astype(float)
    truth = 50 + features[:, 1] + 5 * np.sin(features[:, 0]) + 4 * responses[:, 0]
    return features, responses, truth + rng.normal(scale=0.5, size=n)


def test_the_likelihoods_gradient_is_its_slope() -> None:
    from scipy.optimize import approx_fprime

    features, responses, truth = process_data(40, 4)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    centred = responses - responses.mean(axis=0)
    noises = np.linspace(0.5, 2, 40)
    for sizes, answers in (((10, 20), centred), ((), centred[:, :0])):
        evidence = Evidence(standard, answers, sizes, (truth - truth.mean()) / truth.std(), noises)
        rng = np.random.default_rng(5)
        at = evidence.centre.logs + rng.normal(scale=0.5, size=len(evidence.centre.logs))
        slope = approx_fprime(at, lambda p, e=evidence: e(p)[0], 1e-6)
        assert np.abs(evidence(at)[1] - slope).max() < 1e-3


def test_the_sparse_likelihoods_gradient_is_its_slope() -> None:
    from scipy.optimize import approx_fprime

    features, responses, truth = process_data(60, 4)
    truth = (truth - truth.mean()) / truth.std()
    clusters, rows = np.array([0, 0, *range(2, 60)]), np.arange(60) % 3 > 0
    for sizes, answers in (((10, 20), responses), ((), responses[:, :0])):
        data = gp_data(features, answers, sizes, clusters, clusters, clusters % 5, 1)
        few = type(data.inducing)(data.inducing.features[:9], data.inducing.responses[:9])
        data = replace(data, inducing=few)
        start = Settings.initial(4, len(sizes))
        fixed = fixed_parts(data, np.linspace(0.5, 2, 60), start, rows)
        evidence = SparseEvidence(data.standard[rows], truth[rows], fixed, start)
        n, shape = len(start.logs), few.features.shape

        def value(at: np.ndarray, e=evidence, n=n, shape=shape) -> float:
            return e(at[:n], at[n:].reshape(shape))[0]

        rng = np.random.default_rng(5)
        at = np.concatenate([start.logs, few.features.ravel()])
        at[1:9] += rng.normal(scale=0.3, size=8)
        at[n:] += rng.normal(scale=0.1, size=few.features.size)
        _, by_logs, by_points = evidence(at[:n], at[n:].reshape(shape))
        slope = approx_fprime(at, value, 1e-6)
        # What belongs to responses stays as it is.
        moving = np.ones(len(at), dtype=bool)
        for kind in ("item_slope", "item_amplitude", "item_rate"):
            moving[:n][start.where(kind)] = False
        found = np.concatenate([by_logs, by_points.ravel()])
        assert np.abs(found - slope)[moving].max() < 1e-4
        assert np.abs(slope[n:]).max() > 0.1
        assert len(np.unique(moving)) == (2 if sizes else 1)


def test_placed_points_tell_more_and_none_is_an_llms_own_row() -> None:
    features, responses, truth = process_data(900, 12)
    truth = 50 + 8 * np.sin(2 * features[:, 0]) * np.cos(features[:, 3]) + 0.1 * truth
    score = (truth - truth.mean()) / truth.std()
    none = np.arange(900)
    data = gp_data(features, responses[:, :0], (), none, none, none % 5, 1)
    few = type(data.inducing)(data.inducing.features[:40], data.inducing.responses[:40])
    data = replace(data, inducing=few)
    start = Settings.initial(4, 0)
    every = np.ones(900, dtype=bool)
    settings, points = placed(data, score, np.ones(900), start, every)
    fixed = fixed_parts(data, np.ones(900), start, every)
    evidence = SparseEvidence(data.standard, score, fixed, start)
    before = evidence(start.logs, data.inducing.features)[0]
    kept = evidence(settings.logs, data.inducing.features)[0]
    after = evidence(settings.logs, points.features)[0]
    assert after < kept < before
    apart = np.abs(points.features[:, None] - data.standard).max(axis=2)
    assert apart.min() > 1e-4
    again = placed(data, score, np.ones(900), start, every)[1]
    assert np.array_equal(points.features, again.features)
    # A point that would come to an LLM stays the mean that it was, whoever the likelihood sees.
    seen = none < 860
    some = placed(data, score, np.ones(900), start, seen)[1]
    data = replace(data, standard=np.concatenate([data.standard[seen], some.features]))
    stays = placed(data, score, np.ones(900), start, seen)[1]
    assert np.array_equal(stays.features, few.features)
    assert not np.array_equal(some.features, few.features)


def test_with_responses_points_move_and_hyperparameters_stay() -> None:
    features, responses, truth = process_data(200, 14)
    score, none = (truth - truth.mean()) / truth.std(), np.arange(200)
    data = gp_data(features, responses, (10, 20), none, none, none % 5, 1)
    start, every = Settings.initial(4, 2), np.ones(200, dtype=bool)
    settings, points = placed(data, score, np.ones(200), start, every)
    assert np.array_equal(settings.logs, start.logs)
    evidence = SparseEvidence(
        data.standard, score, fixed_parts(data, np.ones(200), start, every), start
    )
    at_means, moved = (evidence(start.logs, p.features)[0] for p in (data.inducing, points))
    assert moved < at_means - 1.0
    assert np.array_equal(points.responses, data.inducing.responses)


def test_a_folds_prediction_knows_nothing_of_its_scores(monkeypatch) -> None:
    features, responses, truth = process_data(200, 13)
    none = np.arange(200)
    data = gp_data(features, responses, (10, 20), none, none, none % 5, 1)
    # Hyperparameters start from a sample of all LLMs, which is not what is looked at here.
    monkeypatch.setattr(fit_gp, "optimise", lambda *_: Settings.initial(4, 2))
    monkeypatch.setattr(fit_gp, "NOISES", (1.0,))
    for fold in (0, 1):
        own, other = data.fold == fold, truth.copy()
        other[own] = np.random.default_rng(1).permutation(truth[own])
        one, two = (fit_output(data, y, np.ones(200), move=True) for y in (truth, other))
        change = np.abs(one.held_out - two.held_out)
        assert change[own].max() < 1e-6
        assert change[~own].max() > 0.1


def test_an_llm_of_great_noise_does_not_pull_its_neighbours() -> None:
    features, responses, truth = process_data(200, 15)
    none, wrong = np.arange(200), truth.copy()
    wrong[:10] += 40.0
    data = gp_data(features, responses[:, :0], (), none, none, none % 5, 1)
    relative = np.ones(200)
    relative[:10] = 1e4
    others, ones = none >= 10, np.ones(200)
    for move in (False, True):
        right = fit_output(data, truth, ones, move=move).held_out
        pulled = [
            np.abs(fit_output(data, wrong, noise, move=move).held_out - right)[others].mean()
            for noise in (ones, relative)
        ]
        assert pulled[1] < 0.1 * pulled[0]


def test_the_sparse_process_is_the_exact_one_where_points_suffice(monkeypatch) -> None:
    # With the LLMs themselves as inducing points FITC is the exact process.
    features, responses, truth = process_data(60, 6)
    new_features, new_responses, _ = process_data(20, 7)
    none = np.arange(60)
    data = gp_data(features, responses, (10, 20), none, none, none % 5, 1)
    data = replace(data, inducing=type(data.inducing)(data.standard, data.responses))
    monkeypatch.setattr(fit_gp, "NOISES", (1.0,))
    fitted = fit_output(data, truth, np.ones(60), move=False)
    sparse = join_outputs(data, [fitted])
    found = sparse.predict(new_features, new_responses)[:, 0]

    settings, unit = fitted.settings, truth.std()
    centre = responses.mean(axis=0)

    def covariance(x: np.ndarray, answers: np.ndarray) -> np.ndarray:
        items = item_distances(answers, responses, (10, 20))
        value = 100.0 + (x * settings.values("slope")) @ data.standard.T
        for variance, block in zip(
            settings.values("item_slope"), (slice(0, 10), slice(10, 30)), strict=True
        ):
            size = block.stop - block.start
            value += (
                variance * (answers - centre)[:, block] @ (responses - centre)[:, block].T / size
            )
        return value + settings.kernel().between(x, data.standard, items)

    noise = settings.one("noise") * np.eye(60)
    weights = np.linalg.solve(
        covariance(data.standard, responses) + noise, (truth - truth.mean()) / unit
    )
    standard = (new_features - data.mean) / data.deviation
    exact = truth.mean() + unit * covariance(standard, new_responses) @ weights
    assert np.abs(found - exact).max() < 1e-2


def test_no_inducing_point_is_an_llms_own_row() -> None:
    for n in (30, 700):
        features, responses, _ = process_data(n, 9)
        # Copies, which a mean of three rows could give away.
        features[5:10], responses[5:10] = features[5], responses[5]
        # Their out-of-fold predictors differ a little.
        features[5:10, 0] += 1e-3 * np.arange(5)
        standard = (features - features.mean(axis=0)) / features.std(axis=0)
        points = inducing_points(standard, responses, 1)
        assert 20 <= len(points) <= 500
        apart = np.abs(points.features[:, None] - standard).max(axis=2)
        assert apart.min() > 1e-4
        assert (responses[:, None] != points.responses).any(axis=2).all()
        again = inducing_points(standard, responses, 1)
        assert np.array_equal(points.features, again.features)
        steps = points.responses * 255
        assert np.allclose(steps, np.rint(steps))


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


def test_the_likelihood_sees_one_llm_of_a_cluster_and_groups_in_turn() -> None:
    groups = np.array([0] * 50 + list(range(1, 11)))
    clusters = np.arange(60)
    clusters[50:55] = 50
    chosen = representative(groups, clusters, 12, 1)
    assert len(chosen) == 12
    assert (groups[chosen] == 0).sum() == 12 - 6
    assert (clusters[chosen] == 50).sum() == 1
