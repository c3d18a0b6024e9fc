"""Folds by organisation."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.calibration import CalibrationOptions
from metabench_py.calibration.folds import (
    group_folds,
    organisation,
    organisation_folds,
    organisation_numbers,
)
from metabench_py.calibration.stage_fitters import require_fitters
from metabench_py.errors import InputError, MissingDependencyError


def names(*sizes: int) -> list[str]:
    return [f"org{i}/m{j}" for i, size in enumerate(sizes) for j in range(size)]


def test_organisation_is_the_part_before_the_slash() -> None:
    assert organisation("meta/llama/8b") == "meta"
    assert organisation("gpt2") == "gpt2"


def test_organisations_stay_together_and_folds_are_even() -> None:
    random = np.random.default_rng(0)
    llms = names(*random.integers(1, 30, 120))
    random.shuffle(llms)
    fold = organisation_folds(llms, 10, seed=1)
    for number in np.unique(organisation_numbers(llms)):
        assert len(np.unique(fold[organisation_numbers(llms) == number])) == 1
    sizes = np.bincount(fold, minlength=10)
    # The smallest organisations come last, so folds differ by less than the largest of these.
    assert sizes.max() - sizes.min() <= 2


def test_order_of_the_names_does_not_matter() -> None:
    llms = names(3, 3, 3, 2, 2, 1, 1, 5)
    fold = dict(zip(llms, organisation_folds(llms, 3, seed=4), strict=True))
    back = llms[::-1]
    assert dict(zip(back, organisation_folds(back, 3, seed=4), strict=True)) == fold


def test_seed_moves_equally_large_organisations() -> None:
    llms = names(*[2] * 20)
    folds = {tuple(organisation_folds(llms, 5, seed)) for seed in range(5)}
    assert len(folds) == 5


@pytest.mark.parametrize(
    ("k", "says"), [(2, "take 3 or more"), (5, "as many organisations, but the 8 LLMs are of 4")]
)
def test_impossible_folds(k: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        organisation_folds(names(2, 2, 2, 2), k, seed=1)


def test_too_few_basis_functions_are_refused_before_any_fit() -> None:
    with pytest.raises(InputError, match="7 basis functions: an adaptive spline needs 8 or more"):
        CalibrationOptions(basis_size=7)
    assert CalibrationOptions(basis_size=8).basis_size == 8


def test_near_duplicates_of_two_organisations_are_in_one_fold() -> None:
    llms = names(3, 3, 3, 2, 2, 1, 1, 5)
    groups = organisation_numbers(llms).copy()
    groups[groups == 7] = 0
    fold = group_folds(llms, groups, 3, seed=1)
    assert len(set(fold[groups == 0])) == 1
    # What a group's number is, and in which order its LLMs come, does not matter.
    again = group_folds(llms, groups.max() - groups, 3, seed=1)
    np.testing.assert_array_equal(fold, again)


def test_groups_of_organisations_are_organisation_folds() -> None:
    llms = names(*np.random.default_rng(2).integers(1, 9, 40))
    fold = group_folds(llms, organisation_numbers(llms), 4, seed=3)
    np.testing.assert_array_equal(fold, organisation_folds(llms, 4, seed=3))


@pytest.mark.parametrize("stages", [(), ("lm",), ("gam", "fast-gam"), ("stack", "stack")])
def test_second_stages_are_known_and_called_differently(stages: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"[Ss]econd stage"):
        CalibrationOptions(second_stage=stages)  # type: ignore[arg-type]


def test_what_is_left_open_is_what_r_and_the_llms_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metabench_py.calibration.pipeline.has_package", lambda name: True)
    assert CalibrationOptions().stages(2461) == ("stack", "gam")
    assert CalibrationOptions().stages(430) == ("stack",)
    assert CalibrationOptions(basis_size=8).stages(90) == ("stack", "gam")
    # Ten terms of 39 or 29 and a constant, in nine tenths of the LLMs.
    for stage, enough in (("gam", 435), ("fast-gam", 324)):
        options = CalibrationOptions(second_stage=(stage,))
        assert options.stages(enough) == (stage,)
        with pytest.raises(InputError, match=f"few for {stage}, .* take {enough} or more"):
            options.stages(enough - 1)
    assert CalibrationOptions(second_stage=("gam",), basis_size=8).stages(90) == ("gam",)
    monkeypatch.setattr("metabench_py.calibration.pipeline.has_package", lambda name: False)
    assert CalibrationOptions().stages(2461) == ("stack",)
    monkeypatch.setattr("metabench_py.calibration.pipeline.has_scikit_learn", lambda: False)
    assert CalibrationOptions().stages(2461) == ("stack",)
    monkeypatch.setattr("metabench_py.calibration.pipeline.has_package", lambda name: True)
    assert CalibrationOptions().stages(2461) == ("gam",)


def test_a_stack_without_scikit_learn_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install scikit-learn"):
        require_fitters(("stack",))
    require_fitters(())


def test_organisations_of_models_and_of_their_log_folders_are_the_same() -> None:
    names = ["org/a", "org__b", "org/c__d", "alone", "other__e"]
    assert [organisation(name) for name in names] == ["org", "org", "org", "alone", "other"]
