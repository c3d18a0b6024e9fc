"""A bundle of a part of the items, whose errors are of items chosen without each fold's LLMs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.calibration import write_world

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import load_bundle
from metabench_py.bundle.verify import verify_bundle
from metabench_py.calibration import CalibrationOptions, calibrate, load_inputs
from metabench_py.calibration.chosen_items import choose_parts, restricted
from metabench_py.calibration.inputs import CalibrationInputs
from metabench_py.calibration.item_orders import listed_items, order_data
from metabench_py.calibration.pipeline import make_folds
from metabench_py.calibration.stage_fitters import StackFitter
from metabench_py.calibration.stages import StageWork
from metabench_py.calibration.work import WorkFolder
from metabench_py.compute import Task
from metabench_py.errors import InputError

OPTIONS = CalibrationOptions(
    engine="native", second_stage=("stack",), folds=3, seed=2, choose=64, order="greedy"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_world(tmp_path_factory.mktemp("world"), n_llms=140, n_items=12)


@pytest.fixture(scope="module")
def inputs(world: tuple[Path, Path, Path]) -> CalibrationInputs:
    return load_inputs(*world)


def here(tasks: list[Task], planned: int) -> None:
    """Do them in this process."""
    assert len(tasks) <= planned
    for task in tasks:
        task.done(task.function(*task.args))


def names(inputs: CalibrationInputs) -> list[tuple[str, str]]:
    return [(b, item) for b in BENCHMARKS for item in inputs.items[b].items]


def test_every_fold_has_its_own_items(inputs: CalibrationInputs, tmp_path: Path) -> None:
    folds = make_folds(inputs, 3, 2)
    work = WorkFolder(tmp_path)
    whole, grouped, random = choose_parts(inputs, folds, OPTIONS, work, here)
    every = names(inputs)
    wanted: list[tuple[Any, Any, int | None]] = [(whole, folds.grouped, None)]
    wanted += [(part, folds.grouped, k) for k, part in enumerate(grouped)]
    wanted += [(part, folds.random, k) for k, part in enumerate(random)]
    assert len(wanted) == 7
    chosen = set()
    for part, fold, held_out in wanted:
        kept = listed_items(order_data(inputs, fold), "greedy", 64, held_out=held_out)
        assert names(part.inputs) == [every[i] for i in sorted(kept)]
        assert len(names(part.inputs)) == 64
        for b in BENCHMARKS:
            items = part.inputs.items[b].items
            assert len(items) >= 10
            assert part.inputs.responses[b].items == items
            assert part.first[b].parameters.items == items
            assert len(part.first[b].theta) == 140
        chosen.add(tuple(names(part.inputs)))
    assert len(chosen) > 4
    # Finished choices and fits are taken again.
    again = choose_parts(inputs, folds, OPTIONS, work, lambda tasks, _n: _nothing(tasks))
    assert [names(p.inputs) for p in again[1]] == [names(p.inputs) for p in grouped]


def _nothing(tasks: list[Task]) -> None:
    assert tasks == []


def test_a_fold_is_predicted_from_its_own_items(inputs: CalibrationInputs, tmp_path: Path) -> None:
    folds = make_folds(inputs, 3, 2)
    stages = StageWork(("stack",), folds, None, 2, WorkFolder(tmp_path))
    bases: Any = {"grouped": ["a", "b", "c"], "random": ["d", "e", "f"]}
    stages.bases = {how: [(name, {}) for name in found] for how, found in bases.items()}
    fitter = StackFitter(2)
    for how, found in bases.items():
        plans = stages._held_out(how, "stack", "", fitter, [])
        assert [(plan.learners, plan.folds) for plan in plans] == [
            (name, (fold,)) for fold, name in enumerate(found)
        ]


def test_from_matrices_to_a_small_bundle(
    world: tuple[Path, Path, Path], inputs: CalibrationInputs, tmp_path: Path
) -> None:
    said: list[tuple[str, int, int]] = []
    about: Any = {"name": "few", "version": "S", "licence": "CC0-1.0", "source": "simulated"}
    out = calibrate(
        *world, tmp_path / "few", **about, options=OPTIONS,
        progress=lambda *step: said.append(step),
    )  # fmt: skip
    assert [number for _, number, _ in said] == list(range(1, len(said) + 1))
    assert {total for _, _, total in said} == {len(said)}
    assert {"items", "items without grouped fold 2"} <= {what for what, _, _ in said}
    assert all(check.ok for check in verify_bundle(out))
    bundle = load_bundle(out)
    kept = listed_items(order_data(inputs, make_folds(inputs, 3, 2).grouped), "greedy", 64)
    few = restricted(inputs, kept)
    for b in BENCHMARKS:
        assert bundle.benchmarks[b].parameters.items == few.items[b].items
    told = bundle.manifest["provenance"]
    assert (told["items"]["chosen"], told["items"]["of"], told["items"]["order"]) == (
        64, 72, "greedy",
    )  # fmt: skip
    assert "choose" not in told["options"]
    scores = inputs.scores.of(inputs.llms)
    for target in TARGETS:
        table = bundle.default.errors[target]
        restored = np.sort(table.predicted - table.error)
        np.testing.assert_allclose(restored, np.sort(scores[target]), atol=2e-6)
        assert np.sqrt(np.mean(table.error**2)) < 0.7 * scores[target].std()


def test_what_cannot_be_chosen(world: tuple[Path, Path, Path], tmp_path: Path) -> None:
    about: Any = {"name": "few", "version": "S", "licence": "CC0-1.0", "source": "simulated"}
    for n in (59, 73):
        options = replace(OPTIONS, choose=n)
        with pytest.raises(InputError, match=f"{n} items cannot be listed: take 60 or more"):
            calibrate(*world, tmp_path / "few", **about, options=options)
    with pytest.raises(InputError, match="The seed is -1; give 0 or more"):
        CalibrationOptions(seed=-1)
    with pytest.raises(InputError, match="Order 'best': choose greedy, ridge"):
        replace(OPTIONS, order="best")  # type: ignore[arg-type]
