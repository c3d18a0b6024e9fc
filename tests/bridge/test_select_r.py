"""What selection and model comparison take from R: two abilities, the original's optimiser."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.calibration.search import SearchSpace, Trial, best, search
from metabench_py.calibration.search_r import RBayesianOptimiser
from metabench_py.calibration.selector import Choice
from metabench_py.irt.mirt_two import fit_two_dimensional
from metabench_py.irt.native import NativeEngine
from metabench_py.responses import ResponseMatrix


def two_abilities(n_llms: int, seed: int) -> ResponseMatrix:
    random = np.random.default_rng(seed)
    theta = random.normal(size=(n_llms, 2))
    slopes = np.array([[2.0, 0.0]] * 5 + [[0.0, 2.0]] * 5)
    chance = 1 / (1 + np.exp(-theta @ slopes.T))
    values = (random.uniform(size=chance.shape) < chance).astype(np.int8)
    names = tuple(f"m{i}" for i in range(n_llms))
    return ResponseMatrix(names, tuple(f"q{j}" for j in range(10)), values)


@pytest.mark.usefixtures("needs_mirt")
def test_two_abilities_are_told_apart() -> None:
    train = two_abilities(300, 1)
    found = fit_two_dimensional(train, train.rows(train.llms[:7]), max_cycles=120)
    assert found.slopes.shape == (10, 2)
    assert (found.theta_train.shape, found.theta_other.shape) == ((300, 2), (7, 2))
    assert found.theta_other == pytest.approx(found.theta_train[:7], abs=1e-4)
    one = NativeEngine().fit(train, "2PL")
    assert found.fit.log_likelihood > one.log_likelihood + 50
    # Directions of the two groups of items are about at right angles.
    unit = found.slopes / np.linalg.norm(found.slopes, axis=1, keepdims=True)
    cosine = np.abs(unit @ unit.T)
    assert cosine[:5, :5].mean() > 0.85
    assert cosine[:5, 5:].mean() < 0.5
    again = fit_two_dimensional(train, train.rows(()), max_cycles=120)
    assert again.slopes.tolist() == found.slopes.tolist()


@pytest.mark.slow
@pytest.mark.usefixtures("needs_bayes")
def test_the_original_optimiser_climbs() -> None:
    def bowl(choice: Choice) -> Trial:
        value = (choice.threshold - 1.3) ** 2
        return Trial(choice, value, 20, value)

    space = SearchSpace(("2PL",), ("MAP",), ("range",))
    found = search(RBayesianOptimiser(space, 1, n_initial=4), bowl, 8)
    assert len(found) == 8
    assert {trial.choice.item_type for trial in found} == {"2PL"}
    assert best(found).objective < min(trial.objective for trial in found[:4])
    assert best(found).objective < 0.01
