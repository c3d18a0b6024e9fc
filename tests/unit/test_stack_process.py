"""The stack's Gaussian process: its likelihoods, where its points lie, what it predicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metabench_py.stack import fit_gp
from metabench_py.stack.evidence import Evidence, Settings, representative
from metabench_py.stack.fit_gp import fit_output, join_outputs
from metabench_py.stack.gp import item_distances
from metabench_py.stack.gp_data import gp_data
from metabench_py.stack.inducing import inducing_points
from metabench_py.stack.placement import SparseEvidence, fixed_parts, placed


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


def test_the_likelihood_sees_one_llm_of_a_cluster_and_groups_in_turn() -> None:
    groups = np.array([0] * 50 + list(range(1, 11)))
    clusters = np.arange(60)
    clusters[50:55] = 50
    chosen = representative(groups, clusters, 12, 1)
    assert len(chosen) == 12
    assert (groups[chosen] == 0).sum() == 12 - 6
    assert (clusters[chosen] == 50).sum() == 1
