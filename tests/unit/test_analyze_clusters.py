"""Items by clusters: k-means, drawing, choosing, judging, all benchmarks together."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.item_studies import N_FOLDS, study
from matplotlib.figure import Figure

from metabench_py.analysis.cluster_choice import (
    ClusterOptions,
    cluster_fold,
    parameter_points,
    sample_items,
)
from metabench_py.analysis.cluster_joint import enough_for_joint, joint_recovery
from metabench_py.analysis.clusters import cluster_folds, judge_clusters
from metabench_py.analysis.kmeans import kmeans
from metabench_py.compute import LocalPool, Shared
from metabench_py.errors import InputError
from metabench_py.irt.model import ItemParameters

SMALL = ClusterOptions(
    n_items=10, clusters=(3, 5), item_types=("2PL",), methods=("EAP", "MAP"), draws=2, starts=3
)


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0], [6.0, 6.0]])
    label = np.repeat(np.arange(4), 15)
    return centres[label] + random.normal(0.0, 0.5, (60, 2)), label


def test_kmeans_finds_what_is_apart() -> None:
    points, label = blobs()
    found = kmeans(points, 4)
    assert (found.label == label).all()
    np.testing.assert_allclose(found.centres[2], points[label == 2].mean(axis=0))
    inside = sum(
        ((points[label == c] - points[label == c].mean(axis=0)) ** 2).sum() for c in range(4)
    )
    assert found.inertia == pytest.approx(inside)


@pytest.mark.parametrize("k", [2, 7, 20])
def test_no_single_move_lowers_the_inertia(k: int) -> None:
    points = np.random.default_rng(k).normal(size=(60, 3))
    found = kmeans(points, k, seed=2, starts=2)
    assert sorted(set(found.label.tolist())) == list(range(k))

    def inertia(label: np.ndarray) -> float:
        parts = [points[label == c] for c in range(k)]
        return float(sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts))

    assert found.inertia == pytest.approx(inertia(found.label))
    for i in range(60):
        if (found.label == found.label[i]).sum() == 1:
            continue
        for other in range(k):
            moved = found.label.copy()
            moved[i] = other
            if other != found.label[i]:
                assert inertia(moved) >= found.inertia - 1e-9


def test_kmeans_with_equal_points_and_bad_numbers() -> None:
    points = np.repeat(np.array([[0.0, 1.0], [2.0, 3.0], [9.0, 9.0]]), 4, axis=0)
    found = kmeans(points, 3)
    assert found.inertia == 0.0
    assert np.bincount(found.label).tolist() == [4, 4, 4]
    again = kmeans(points, 2, seed=5)
    assert again.label.tolist() == kmeans(points, 2, seed=5).label.tolist()
    with pytest.raises(InputError, match="4 clusters of 3 different points"):
        kmeans(points, 4)
    with pytest.raises(InputError, match="0 starts"):
        kmeans(points, 2, starts=0)


def test_items_are_drawn_round_after_round() -> None:
    label = np.array([0, 0, 0, 0, 1, 1, 2])
    for seed in range(5):
        random = np.random.default_rng(seed)
        chosen = sample_items(label, 6, random)
        assert len(set(chosen.tolist())) == 6
        assert label[chosen].tolist() == [0, 1, 2, 0, 1, 0]
    everything = sample_items(label, 99, np.random.default_rng(0))
    assert sorted(everything.tolist()) == list(range(7))


def test_scaling() -> None:
    parameters = ItemParameters(
        ("a", "b", "c"), np.array([1.0, 2.0, 3.0]), np.array([-10.0, 0.0, 10.0]),
        np.zeros(3), np.ones(3),
    )  # fmt: skip
    raw = parameter_points(parameters, "raw")
    np.testing.assert_array_equal(raw[:, 1], [-10.0, 0.0, 10.0])
    standard = parameter_points(parameters, "standard")
    np.testing.assert_allclose(standard.std(axis=0), [1.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(standard[:, 3], 1.0)


def test_a_fold_is_judged_without_its_scores() -> None:
    data = study()
    first = cluster_fold(Shared(data), 0, SMALL, None)
    out = data.fold == 0
    moved = replace(
        data,
        score=np.where(out, 100.0 - data.score, data.score),
        answers=np.where(out[:, None], 1 - data.answers, data.answers).astype(np.int8),
    )
    again = cluster_fold(Shared(moved), 0, SMALL, None)
    assert first.trials == again.trials
    assert first.chosen.tolist() == again.chosen.tolist()
    np.testing.assert_array_equal(first.parameters.a1, again.parameters.a1)
    # Abilities are found in batches, whose other LLMs have answered otherwise.
    np.testing.assert_allclose(first.predicted[~out], again.predicted[~out], rtol=1e-9)


def test_given_parameters_are_clustered() -> None:
    data = study()
    flat = np.zeros(30)
    # Three kinds of items; the third and fourth parameter do not vary.
    given = ItemParameters(data.items, np.arange(30) % 3 + 1.0, flat, flat, flat + 1.0)
    options = replace(SMALL, clusters=(3,), n_items=6, draws=1)
    found = cluster_fold(Shared(data), 0, options, (given, "2PL"))
    assert found.label.tolist() == (np.arange(30) % 3).tolist()
    assert (found.chosen % 3).tolist() == [0, 1, 2, 0, 1, 2]


def test_chooses_judges_and_joins() -> None:
    one, other = study(323, 24, seed=1, test=True), study(323, 24, seed=1, test=True)
    # The second benchmark: the same LLMs, half of the items each.
    data = {
        "arc": replace(one, items=one.items[:12], answers=one.answers[:, :12]),
        "mmlu": replace(other, items=other.items[12:], answers=other.answers[:, 12:],
                        benchmark="mmlu"),
    }  # fmt: skip
    options = replace(SMALL, n_items=6, clusters=(2, 3))
    told = []
    # A worker has one BLAS thread, with which adaptive GAMs take a tenth of the time.
    with LocalPool(1) as pool:
        folds = cluster_folds(
            data, options, executor=pool, progress=lambda done, total: told.append((done, total))
        )
        assert enough_for_joint(data) is None
        joint = joint_recovery(data, folds, executor=pool)
    assert told[-1] == (2 * (N_FOLDS + 1), 2 * (N_FOLDS + 1))
    found = judge_clusters(data["arc"], options, folds["arc"])
    by = {way.selection: way for way in found.judged}
    spread = float(one.score.std())
    assert by["all"].held_out.rmse < by["clusters"].held_out.rmse < spread
    assert by["random"].spread is not None
    assert by["random"].spread > 0
    single = judge_clusters(data["arc"], replace(options, draws=1), folds["arc"])
    assert [way.spread for way in single.judged] == [None] * 4
    assert by["clusters"].test is not None
    assert by["clusters"].held_out.n == int((one.fold >= 0).sum())
    assert len(found.trials) == 4
    assert len(found.items) == 6
    assert set(found.items) <= set(data["arc"].items)
    assert found.best.rmse == min(t.rmse for t in folds["arc"][-1].trials)
    value = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [way["selection"] for way in value["recovery"]] == [
        "clusters", "random", "information", "all",
    ]  # fmt: skip
    assert [r.target for r in joint.recovered] == ["grand", "arc", "mmlu"]
    assert joint.n_llms == int((one.fold >= 0).sum())
    for r in joint.recovered:
        # Twice as many items of one ability tell more.
        assert r.train < r.joint < r.separate + 0.3
        assert r.test is not None
    separate = {r.target: r.separate for r in joint.recovered}
    assert separate["arc"] == pytest.approx(by["clusters"].held_out.rmse)
    assert json.loads(json.dumps(joint.to_dict()))["n_test"] == joint.n_test


def test_why_there_is_no_joint_study() -> None:
    data = study()
    assert "two benchmarks" in str(enough_for_joint({"arc": data}))
    assert enough_for_joint({"arc": data, "mmlu": data}) is None
    four = dict.fromkeys(("a", "b", "c", "d"), data)
    assert "300 training LLMs are in all 4" in str(enough_for_joint(four))
    apart = replace(data, llms=tuple(f"x/{name}" for name in data.llms))
    assert "0 training LLMs" in str(enough_for_joint({"arc": data, "mmlu": apart}))


def test_options_are_checked() -> None:
    wrong: tuple[dict[str, object], ...] = (
        {"scaling": "log"}, {"item_types": ()}, {"clusters": (1,)}, {"draws": 0}, {"starts": 0},
        {"validation_share": 1.0},
    )  # fmt: skip
    for one in wrong:
        with pytest.raises(InputError):
            ClusterOptions(**one)  # type: ignore[arg-type]
    data = study()
    with pytest.raises(InputError, match="choosing 30 of 30 items; take 4 to 29"):
        ClusterOptions(n_items=30).numbers(data)
    with pytest.raises(InputError, match="12 clusters for 10 of 30 items"):
        ClusterOptions(n_items=10, clusters=(12,)).numbers(data)
    assert ClusterOptions().numbers(data) == (10, 15)
    assert ClusterOptions(n_items=6).numbers(data) == (3,)
    alone = replace(data, llms=tuple(f"same/{i}" for i in range(300)))
    with pytest.raises(InputError, match="1 organisations do not part"):
        cluster_fold(Shared(alone), 0, SMALL, None)


def test_figure_has_a_row_a_benchmark_and_one_for_all() -> None:
    from metabench_py.report.cluster_figures import ClusterPanel, clusters_figure

    random = np.random.default_rng(0)
    panel = ClusterPanel(
        "arc", random.normal(size=20), random.normal(size=20), np.arange(20) % 4,
        np.arange(20) < 8, {"2PL": ([2, 4], [3.0, 2.5])},
        {"clusters": (2.5, 0.0), "random": (2.6, 0.1), "all": (2.0, 0.0)},
    )  # fmt: skip
    alone = clusters_figure([panel])
    assert isinstance(alone, Figure)
    assert len(alone.axes) == 3
    both = clusters_figure([panel, panel], {"grand": (2.0, 1.5), "arc": (3.0, 2.0)})
    assert len(both.axes) == 7
    heights = [bar.get_height() for bar in both.axes[6].patches]
    assert heights == [2.0, 3.0, 1.5, 2.0]
