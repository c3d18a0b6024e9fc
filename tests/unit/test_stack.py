"""The stack as a whole: what it learns, that it is deterministic, and its plain arrays."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.compute import LocalPool
from metabench_py.errors import InputError
from metabench_py.gam.features import join_features
from metabench_py.gam.linear import fit_linear, out_of_fold, subscore
from metabench_py.stack import fit_members
from metabench_py.stack.fit import StackFit, fit_stack
from metabench_py.stack.fit_rest import TREES, TREES_WITH_RESPONSES
from metabench_py.stack.folds import group_folds
from metabench_py.stack.inputs import StackInputs, feature_matrix
from metabench_py.stack.members import Seen
from metabench_py.stack.model import Stack

N_ITEMS = 40


class World:
    """Simulated LLMs: abilities that go together, answers, and scores that are not linear."""

    def __init__(self, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        items = np.random.default_rng(99)
        self.groups = rng.integers(0, max(n // 4, 5), n)
        common = rng.normal(size=n)
        self.theta, self.responses, self.scores = {}, {}, {}
        for b in BENCHMARKS:
            theta = 0.8 * common + 0.6 * rng.normal(size=n)
            slope, easy = items.lognormal(0.3, 0.3, N_ITEMS), items.normal(size=N_ITEMS)
            chance = 1 / (1 + np.exp(-(theta[:, None] * slope + easy)))
            self.responses[b] = (rng.random((n, N_ITEMS)) < chance).astype(np.int8)
            # A rough ability, as few items tell it.
            self.theta[b] = theta + rng.normal(scale=0.25, size=n)
            self.scores[b] = 25 + 60 / (1 + np.exp(-1.2 * theta)) + rng.normal(scale=0.5, size=n)
        self.scores["grand"] = np.mean([self.scores[b] for b in BENCHMARKS], axis=0)

    def inputs(self, other: World | None = None, responses: bool = True) -> StackInputs:
        """Inputs; linear predictors out of fold, or by the models of another world."""
        if other is None:
            fold = group_folds(self.groups, 5, 1)
            linear = {b: out_of_fold(self.responses[b], self.scores[b], fold) for b in BENCHMARKS}
        else:
            linear = {
                b: fit_linear(other.responses[b], other.scores[b]).predict(self.responses[b])
                for b in BENCHMARKS
            }
        table = join_features(
            self.theta, linear, {b: subscore(self.responses[b]) for b in BENCHMARKS}
        )
        answers = {b: r.astype(np.float64) for b, r in self.responses.items()}
        return StackInputs(table, answers if responses else {})


@pytest.fixture(scope="module")
def world() -> World:
    return World(150, 1)


@pytest.fixture(scope="module")
def fit(world: World) -> StackFit:
    return fit_stack(world.inputs(), world.scores, world.groups)


def rmse(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


def test_it_beats_the_linear_predictor_on_new_llms(world: World, fit: StackFit) -> None:
    new = World(600, 2)
    inputs = new.inputs(world)
    predicted = fit.stack.predict(inputs)
    assert set(predicted) == set(TARGETS)
    for b in BENCHMARKS:
        linear = rmse(inputs.table[f"{b}.l"], new.scores[b])
        assert rmse(predicted[b], new.scores[b]) < 0.8 * linear
    assert predicted["grand"] == pytest.approx(np.mean([predicted[b] for b in BENCHMARKS], axis=0))
    # Held-out errors, by which intervals are calibrated, tell those on new LLMs.
    for t in TARGETS:
        ours = rmse(fit.held_out[t], world.scores[t])
        assert 0.7 < ours / rmse(predicted[t], new.scores[t]) < 1.4


def test_scales_are_positive_and_bounded_far_away(world: World, fit: StackFit) -> None:
    inputs = world.inputs()
    scale = fit.stack.scale(inputs)
    far = StackInputs({k: v * 50 for k, v in inputs.table.items()}, inputs.responses)
    for t in TARGETS:
        error = np.abs(fit.held_out[t] - world.scores[t]).mean()
        assert (scale[t] > 0).all()
        assert (fit.held_out_scale[t] > 0).all()
        assert 0.5 < scale[t].mean() / error < 2.0
        assert np.isfinite(fit.stack.scale(far)[t]).all()
        assert fit.stack.scale(far)[t].max() < 20 * error


def test_the_scale_follows_a_spread_that_depends_on_a_feature() -> None:
    from metabench_py.stack.fit_scale import fit_scale

    rng = np.random.default_rng(3)
    features = rng.normal(size=(2000, 5))
    true = np.exp(0.5 * features[:, 0])
    errors = (true * rng.normal(size=2000))[:, None]
    model, held_out, _ = fit_scale(features, errors, np.arange(2000) % 5)
    scale = np.exp(model.predict(features))[:, 0]
    assert np.corrcoef(np.log(scale), features[:, 0])[0, 1] > 0.97
    # E|N(0, s)| is s times the root of 2 / pi.
    assert np.median(held_out[:, 0] / true) == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)


def test_a_pool_gives_the_same_bits(world: World, fit: StackFit) -> None:
    with LocalPool(2) as pool:
        other = fit_stack(world.inputs(), world.scores, world.groups, executor=pool)
    one, two = fit.stack.to_arrays(), other.stack.to_arrays()
    assert set(one) == set(two)
    for name in one:
        assert np.array_equal(one[name], two[name]), name


def test_arrays_round_trip_bit_for_bit(world: World, fit: StackFit, tmp_path) -> None:
    inputs = world.inputs()
    np.savez_compressed(tmp_path / "stack.npz", **fit.stack.to_arrays())
    began = time.perf_counter()
    with np.load(tmp_path / "stack.npz", allow_pickle=False) as stored:
        again = Stack.from_arrays(dict(stored))
    again.predict(inputs.rows(np.arange(1)))
    assert time.perf_counter() - began < 1.0
    for t in TARGETS:
        assert np.array_equal(again.predict(inputs)[t], fit.stack.predict(inputs)[t])
        assert np.array_equal(again.scale(inputs)[t], fit.stack.scale(inputs)[t])
    assert again.ranges() == fit.stack.ranges()
    low, high = again.ranges()["mmlu.s"]
    assert (low, high) == (inputs.table["mmlu.s"].min(), inputs.table["mmlu.s"].max())
    for values in fit.stack.to_arrays().values():
        assert values.dtype.kind in "fiu"


def test_every_array_is_needed_and_checked(fit: StackFit) -> None:
    arrays = fit.stack.to_arrays()
    for name in arrays:
        less = {k: v for k, v in arrays.items() if k != name}
        with pytest.raises(InputError):
            Stack.from_arrays(less)
        with pytest.raises(InputError):
            Stack.from_arrays({**arrays, name: np.zeros((3, 3, 3))})
        if arrays[name].dtype.kind == "f" and arrays[name].size:
            for bad in (np.nan, np.inf, 1e300):
                broken = arrays[name].astype(np.float64)
                broken.flat[0] = bad
                with pytest.raises(InputError):
                    Stack.from_arrays({**arrays, name: broken})


def test_a_deviation_that_would_overflow_is_refused(fit: StackFit) -> None:
    arrays = fit.stack.to_arrays()
    deviation = arrays["process.deviation"].copy()
    deviation[0] = 1e-239
    with pytest.raises(InputError, match="all but 0"):
        Stack.from_arrays({**arrays, "process.deviation": deviation})


def test_features_alone_leave_room_for_more_trees(world: World, monkeypatch) -> None:
    monkeypatch.setattr(fit_members, "FEW_LLMS", 150)
    fit = fit_stack(world.inputs(responses=False), world.scores, world.groups)
    assert fit.stack.rest is not None
    assert len(fit.stack.rest.roots) == TREES > TREES_WITH_RESPONSES


def test_many_llms_get_all_members_and_moved_points(world: World, monkeypatch) -> None:
    # What takes 1,000 LLMs, with the 150 of this world.
    monkeypatch.setattr(fit_members, "FEW_LLMS", 150)
    inputs = world.inputs()
    fit = fit_stack(inputs, world.scores, world.groups)
    members = fit.stack.members
    assert list(members) == ["spline", "process", "trees"]
    # What the process leaves is added in full, whatever the process itself weighs.
    assert fit.stack.rest is not None
    assert len(fit.stack.rest.roots) == TREES_WITH_RESPONSES
    features = feature_matrix(inputs, BENCHMARKS)
    responses = np.concatenate(list(inputs.responses.values()), axis=1)
    seen = Seen(features, responses, fit.stack.views.columns(features, responses))
    parts = [w * m.predict(seen) for w, m in zip(fit.stack.weights, members.values(), strict=True)]
    whole = np.sum(parts, axis=0) + fit.stack.rest.predict(seen.columns)
    assert np.allclose(fit.stack.predict(inputs)["mmlu"], whole[:, BENCHMARKS.index("mmlu")])
    points = np.stack([p.features for p in members["process"].model.inducing])
    # Each benchmark's are its own, and none is an LLM.
    standard = (feature_matrix(inputs, BENCHMARKS) - members["process"].model.mean) / (
        members["process"].model.deviation
    )
    assert all(not np.array_equal(points[0], other) for other in points[1:])
    assert np.abs(points[0][:, None] - standard).max(axis=2).min() > 1e-3
    again = Stack.from_arrays(fit.stack.to_arrays())
    new = World(600, 2)
    predicted = again.predict(new.inputs(world))
    for t in TARGETS:
        assert np.array_equal(predicted[t], fit.stack.predict(new.inputs(world))[t])
        # Held-out errors, by which intervals are calibrated, tell those on new LLMs.
        ours = rmse(fit.held_out[t], world.scores[t])
        assert 0.7 < ours / rmse(predicted[t], new.scores[t]) < 1.4
    with LocalPool(2) as pool:
        other = fit_stack(inputs, world.scores, world.groups, executor=pool)
    one, two = fit.stack.to_arrays(), other.stack.to_arrays()
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("n", [30, 60])
def test_very_few_llms_do_not_explode(n: int) -> None:
    some, new = World(n, 5), World(300, 6)
    fit = fit_stack(some.inputs(), some.scores, some.groups)
    inputs = new.inputs(some)
    # Linear predictors of 30 LLMs on 40 items are off without bound; thetas and sub-scores not.
    for b in BENCHMARKS:
        inputs.table[f"{b}.l"][:] = np.clip(inputs.table[f"{b}.l"], 0, 100)
    predicted = fit.stack.predict(inputs)["grand"]
    assert rmse(predicted, new.scores["grand"]) < 5.0


def test_without_responses_and_one_benchmark_alone(world: World) -> None:
    inputs = world.inputs(responses=False)
    alone = StackInputs({k: v for k, v in inputs.table.items() if k.startswith("arc")}, {})
    fit = fit_stack(alone, {"arc": world.scores["arc"]}, world.groups)
    assert fit.stack.targets == ("arc",)
    again = Stack.from_arrays(fit.stack.to_arrays())
    predicted = again.predict(inputs)
    assert set(predicted) == {"arc"}
    assert rmse(predicted["arc"], world.scores["arc"]) < 5.0


def test_what_is_not_usable_is_named(world: World, fit: StackFit) -> None:
    inputs = world.inputs()
    with pytest.raises(InputError, match=r"mmlu\.s"):
        fit.stack.predict(
            StackInputs({k: v for k, v in inputs.table.items() if k != "mmlu.s"}, inputs.responses)
        )
    with pytest.raises(InputError, match="responses of arc"):
        fit.stack.predict(StackInputs(inputs.table, {}))
    infinite = {**inputs.table, "arc": np.full(150, np.inf)}
    with pytest.raises(InputError, match="'arc' of LLM number 1"):
        fit.stack.predict(StackInputs(infinite, inputs.responses))
    wrong = {**inputs.responses, "gsm8k": inputs.responses["gsm8k"][:, :-1]}
    with pytest.raises(InputError, match="gsm8k"):
        fit.stack.predict(StackInputs(inputs.table, wrong))
    missing = {**inputs.responses, "gsm8k": inputs.responses["gsm8k"] - 1.0}
    with pytest.raises(InputError, match="expected response"):
        fit.stack.predict(StackInputs(inputs.table, missing))
    few = np.arange(10)
    with pytest.raises(InputError, match="too few"):
        fit_stack(inputs.rows(few), {t: v[few] for t, v in world.scores.items()}, world.groups[few])
    with pytest.raises(InputError, match="of all its benchmarks"):
        fit_stack(
            StackInputs(inputs.table, {"arc": inputs.responses["arc"]}), world.scores, world.groups
        )


def test_predicting_loads_numpy_only(fit: StackFit) -> None:
    code = (
        "import metabench_py.stack.model, sys\n"
        "print(*{'scipy', 'sklearn', 'pandas', 'rpy2', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
