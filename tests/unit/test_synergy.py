"""The synergy study: its simulation, its means, its places."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from metabench_py.analysis import synergy, synergy_simulation
from metabench_py.analysis.synergy import Synergy, analyze_synergy
from metabench_py.analysis.synergy_simulation import (
    SynergyData,
    SynergyOptions,
    SynergyRun,
    simulate,
    synergy_data,
)
from metabench_py.compute import LocalPool
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.gam.additive import fit_additive
from metabench_py.report.synergy_figures import synergy_figure

SMALL = SynergyOptions(
    correlations=(0.0, 1.0), dependences=(0.4,), seeds=(1, 2), n_llms=160, n_items=20
)


def made_up(
    options: SynergyOptions, correlation: float, dependence: float, seed: int
) -> SynergyRun:
    gain = (1 - correlation) * (0.5 + dependence) + 0.1 * seed
    beyond = int(correlation == 1.0)
    return SynergyRun(correlation, dependence, seed, 2.0, 3.0, 2.0, 3.0 - gain, beyond)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Synergy:
    """Means of numbers that are made up."""
    monkeypatch.setattr(synergy, "simulate", made_up)
    return analyze_synergy(replace(SMALL, correlations=(1.0, 0.0), dependences=(0.0, 0.5)))


def test_all_settings_in_order(found: Synergy) -> None:
    keys = [(run.correlation, run.dependence, run.seed) for run in found.runs]
    assert keys == sorted(keys)
    assert len(keys) == 8
    assert [(c.correlation, c.dependence) for c in found.cells] == [
        (0.0, 0.0), (0.0, 0.5), (1.0, 0.0), (1.0, 0.5)
    ]  # fmt: skip


def test_means_and_intervals(found: Synergy) -> None:
    cell = found.cells[1]
    assert cell.gain == pytest.approx(1.15)
    # Student's t of one degree of freedom.
    half = 12.706204736 * np.std([1.1, 1.2], ddof=1) / math.sqrt(2)
    assert cell.upper - cell.gain == cell.gain - cell.lower == pytest.approx(half)
    assert cell.share == pytest.approx(1.15 / 3)
    assert (cell.separate, cell.joint) == pytest.approx((3.0, 1.85))
    np.testing.assert_allclose(found.grid(), [[0.65, 0.15], [1.15, 0.15]])
    first = found.by_correlation[0]
    assert first.gain == pytest.approx(0.9)
    # Settings of a seed count as one.
    assert first.n == 2
    assert first.upper - first.gain == pytest.approx(half)


def test_json(found: Synergy) -> None:
    value = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(value["runs"]) == 8
    assert value["n_failed"] == 0
    assert value["n_beyond"] == 4
    single = analyze_synergy(replace(SMALL, seeds=(1,)))
    assert single.to_dict()["cells"][0]["lower"] is None


def test_workers_do_not_matter() -> None:
    told: list[tuple[int, int]] = []
    options = replace(SMALL, seeds=(3,))
    with LocalPool(1) as pool:
        one = analyze_synergy(options, executor=pool)
    with LocalPool(2) as pool:
        two = analyze_synergy(
            options, executor=pool, progress=lambda done, total: told.append((done, total))
        )
    assert one.runs == two.runs
    assert told == [(1, 2), (2, 2)]
    assert all(0 < run.joint_train < run.separate_train + 0.3 for run in one.runs)


def test_abilities_are_correlated_as_asked() -> None:
    options = replace(SMALL, n_llms=2000, n_items=60)
    for rho in (0.0, 0.6):
        theta = synergy_data(options, rho, 0.0, 5).theta
        r = np.corrcoef(theta["theta.1"], theta["theta.2"])[0, 1]
        # The tests' reliability, some 0.95, takes a little away.
        assert r == pytest.approx(0.95 * rho, abs=0.06)


def test_the_second_ability_is_in_the_first_test_alone() -> None:
    options = replace(SMALL, n_llms=2000, n_items=60)

    def with_other(dependence: float) -> float:
        data = synergy_data(options, 0.0, dependence, 5)
        return float(np.corrcoef(data.score, data.theta["theta.2"])[0, 1])

    assert abs(with_other(0.0)) < 0.06
    assert with_other(0.8) > 0.4


def test_settings_of_a_seed_share_their_draws() -> None:
    one, other = (synergy_data(SMALL, rho, 0.0, 4) for rho in (0.2, 0.3))
    assert np.corrcoef(one.score, other.score)[0, 1] > 0.9
    different = synergy_data(SMALL, 0.2, 0.0, 5)
    assert abs(np.corrcoef(one.score, different.score)[0, 1]) < 0.4


def test_test_llms_are_drawn_of_all_scores() -> None:
    data = synergy_data(SMALL, 0.5, 0.5, 1)
    assert data.test.sum() == 16
    order = np.argsort(data.score, kind="stable")
    assert [int(data.test[part].sum()) for part in np.array_split(order, 2)] == [8, 8]


def test_a_joint_gam_gains_where_a_test_asks_for_two_abilities() -> None:
    options = replace(SMALL, n_llms=500, n_items=100)
    runs = [simulate(options, 0.0, 0.4, seed) for seed in (1, 2)]
    assert np.mean([run.gain for run in runs]) > 0.2
    assert abs(simulate(options, 0.0, 0.0, 1).gain) < 0.15


def test_fewer_seen_items_make_larger_errors() -> None:
    whole = simulate(replace(SMALL, n_items=60), 0.9, 0.0, 1)
    few = simulate(replace(SMALL, n_items=60, seen=8), 0.9, 0.0, 1)
    assert few.separate_test > 1.5 * whole.separate_test


def test_where_few_items_are_seen_a_like_ability_helps() -> None:
    options = replace(SMALL, n_items=60, seen=8, n_llms=300)
    like, other = (simulate(options, rho, 0.0, 1) for rho in (1.0, 0.0))
    assert like.gain > 0.1 * like.separate_test
    assert like.gain > other.gain + 0.5


def test_one_llm_beyond_the_others_does_not_outweigh_them() -> None:
    """Straight on, the joint GAM gives it 148 points; it has 23."""
    options = SynergyOptions(seen=20)
    data = synergy_data(options, 0.0, 0.0, 4)
    theta, train = data.theta, ~data.test
    beyond = theta["theta.2"] > theta["theta.2"][train].max()
    assert beyond.sum() == data.n_beyond == 1
    learned = {name: values[train] for name, values in theta.items()}
    straight = fit_additive(learned, data.score[train]).gam.predict(theta)
    assert straight[beyond][0] - data.score[beyond][0] > 100
    run = simulate(options, 0.0, 0.0, 4)
    assert run.n_beyond == 1
    # The other test tells nothing here.
    assert abs(run.gain) < 0.05 * run.separate_test


def test_abilities_within_those_of_the_training_llms() -> None:
    theta = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])
    test = np.array([True, False, False, False, True])
    data = SynergyData({"theta.1": theta, "theta.2": theta[::-1]}, theta, test)
    assert data.within()["theta.1"].tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]
    assert data.n_beyond == 2
    inside = SynergyData({"theta.1": theta}, theta, np.array([False, True, True, True, False]))
    assert inside.n_beyond == 0
    np.testing.assert_array_equal(inside.within()["theta.1"], theta)


def test_three_tests() -> None:
    data = synergy_data(replace(SMALL, n_tests=3), 0.5, 0.5, 1)
    assert list(data.theta) == ["theta.1", "theta.2", "theta.3"]


def test_a_failed_simulation_is_told_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: SynergyOptions, *setting: float) -> SynergyData:
        if setting == (0.0, 0.4, 1) or everywhere:
            raise ConvergenceError("no fit")
        return real(options, *setting)  # type: ignore[arg-type]

    real, everywhere = synergy_data, False
    monkeypatch.setattr(synergy_simulation, "synergy_data", fail)
    options = replace(SMALL, correlations=(0.0,))
    found = analyze_synergy(options)
    assert found.runs[0].message == "no fit"
    assert [cell.n for cell in found.cells] == [1]
    assert found.cells[0].gain == found.runs[1].gain
    assert found.to_dict()["n_failed"] == 1
    json.dumps(found.to_dict(), allow_nan=False)
    everywhere = True
    with pytest.raises(ConvergenceError, match="No simulation gave a result; the first: no fit"):
        analyze_synergy(options)


def test_refuses() -> None:
    for match, options in (
        ("correlation must be between 0 and 1: 1.5", {"correlations": (1.5,)}),
        ("dependence must be between", {"dependences": ()}),
        ("is given twice: 0.1, 0.1", {"dependences": (0.1, 0.1)}),
        ("seeds of 0 or more, each once, not 1, 1", {"seeds": (1, 1)}),
        ("seeds of 0 or more, each once, not -1", {"seeds": (-1,)}),
        ("seeds of 0 or more, each once, not none", {"seeds": ()}),
        ("1 test has nothing to join", {"n_tests": 1}),
        ("Abilities from 30 of 20 items", {"seen": 30}),
        ("share of 1", {"test_share": 1.0}),
        ("100 LLMs are too few for a GAM of 2 abilities; take 104", {"n_llms": 100}),
    ):
        with pytest.raises(InputError, match=match):
            replace(SMALL, **options)


def test_figure_of_one_correlation_goes_over_the_dependences() -> None:
    none = np.array([math.nan])
    gains = np.array([[0.1], [0.4], [0.2]])
    (axes,) = synergy_figure([0.3], [0.0, 0.5, 1.0], gains, none, none, none).axes
    assert axes.get_xlabel() == "Dependence on other abilities"
    assert axes.lines[-1].get_xydata().tolist() == [[0.0, 0.1], [0.5, 0.4], [1.0, 0.2]]


def test_figure_where_simulations_failed() -> None:
    gains = np.array([[math.nan, math.nan], [0.4, 0.6], [0.2, 0.9]])
    mean = np.array([0.3, 0.75])
    figure = synergy_figure([0.0, 1.0], [0.0, 0.5, 1.0], gains, mean, mean - 1, mean + 1)
    labels = [line.get_label() for axes in figure.axes for line in axes.lines]
    assert "dependence 1, where it is largest" in labels
