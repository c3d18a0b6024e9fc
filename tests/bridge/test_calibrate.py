"""A small simulated calibration from end to end, with real mgcv; interruption and resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import load_bundle
from metabench_py.bundle.verify import verify_bundle
from metabench_py.calibration import (
    CalibrationOptions,
    Description,
    calibrate,
    calibrate_bundle,
    load_inputs,
)
from metabench_py.calibration.folds import organisation
from metabench_py.compute import LocalPool, Task, run_tasks
from metabench_py.errors import InputError, WorkerError
from metabench_py.gam.linear import fit_linear
from metabench_py.gam.mgcv import load_rds
from metabench_py.storage import sha256
from tests.helpers.calibration import write_world

pytestmark = pytest.mark.usefixtures("needs_r")

OPTIONS = CalibrationOptions(
    engine="native",
    mode="mirt-path",
    second_stage=("gam",),
    folds=3,
    seed=2,
    basis_size=8,
    workers=2,
)
ABOUT = {"name": "simulated", "version": "S", "licence": "CC0-1.0", "source": "simulated"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, world: tuple[Path, Path, Path], needs_r: None
) -> Path:
    folder = tmp_path_factory.mktemp("made")
    said: list[tuple[str, int, int]] = []
    out = calibrate(
        *world,
        folder / "bundle",
        **ABOUT,
        licence_text="# Free\n",
        options=OPTIONS,
        work=folder / "work",
        progress=lambda *step: said.append(step),
    )
    # Six fits; seven GAMs and one of each benchmark alone; three grouped folds, three random ones
    # and three of the benchmarks alone; one bundle.
    assert [number for _, number, _ in said] == list(range(1, 30))
    assert {total for _, _, total in said} == {29}
    assert (out / "LICENSE.md").read_text() == "# Free\n"
    return out


def test_bundle_loads_and_verifies(made: Path) -> None:
    assert all(check.ok for check in verify_bundle(made))
    bundle = load_bundle(made, trust=True)
    assert bundle.version == "S"
    assert set(bundle.rds) == set(TARGETS)
    assert bundle.errors_kind == "cross-validated"
    provenance = bundle.manifest["provenance"]
    assert provenance["fit_mode"] == "mirt-path"
    assert "smoothing parameters of the fit on all" in provenance["errors"]
    assert bundle.benchmarks["arc"].fit["mode"] == "mirt-path"
    # Nobody vouches for the .rds of a bundle that somebody else made.
    assert load_bundle(made).rds == {}


def test_estimates_are_those_of_the_inputs(made: Path, world: tuple[Path, Path, Path]) -> None:
    inputs, bundle = load_inputs(*world), load_bundle(made)
    for b in BENCHMARKS:
        model = bundle.benchmarks[b]
        assert model.parameters.items == inputs.items[b].items
        responses = inputs.responses[b].rows(inputs.llms).values
        linear = fit_linear(responses, inputs.scores.of(inputs.llms)[b])
        np.testing.assert_allclose(model.weights, linear.weights, rtol=1e-12)
        # Easier items have the larger intercept: the fit found what was simulated.
        share = inputs.responses[b].values.mean(axis=0)
        assert np.corrcoef(share, model.parameters.d)[0, 1] > 0.9
    scores = inputs.scores.of(inputs.llms)["grand"]
    assert bundle.population["grand"][0] == scores.min()
    assert bundle.population["grand"][-1] == scores.max()
    assert bundle.population["grand"][100] == pytest.approx(np.median(scores), abs=1e-9)


def test_portable_and_r_fits_predict_alike(made: Path) -> None:
    bundle = load_bundle(made, trust=True)
    random = np.random.default_rng(0)
    for target in TARGETS:
        gam = bundle.gams[target]
        features = {
            name: random.uniform(0, 100, 40) if "." in name else random.normal(size=40)
            for name in gam.features
        }
        in_r = load_rds(bundle.rds[target], target).predict(features)
        np.testing.assert_allclose(gam.predict(features), in_r, rtol=1e-9, atol=1e-9)


def test_errors_are_held_out_and_grouped(made: Path, world: tuple[Path, Path, Path]) -> None:
    inputs, bundle = load_inputs(*world), load_bundle(made)
    scores = inputs.scores.of(inputs.llms)
    organisations = {organisation(name) for name in inputs.llms}
    for target in TARGETS:
        table = bundle.errors[target]
        assert table.group is not None
        assert len(np.unique(table.group)) == len(organisations)
        # predicted - error gives back the true scores, rounded, in whatever order.
        np.testing.assert_allclose(
            np.sort(table.predicted - table.error), np.sort(scores[target]), atol=1e-6
        )
        spread = scores[target].std()
        rmse = np.sqrt(np.mean(table.error**2))
        assert rmse < 0.75 * spread, target
        assert rmse > 0.05 * spread, target
    # Six benchmarks of 8 items tell more about the mean than about one of them.
    rmse = {t: np.sqrt(np.mean(bundle.errors[t].error ** 2)) for t in TARGETS}
    assert rmse["grand"] < min(rmse[b] for b in BENCHMARKS)


def test_finished_work_is_taken_again(
    made: Path, world: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    work = made.parent / "work"
    before = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    assert len(before) == 6 + 7 * 2 + 6 + 3 * 3
    said: list[str] = []
    again = calibrate(
        *world,
        tmp_path / "bundle",
        **ABOUT,
        licence_text="# Free\n",
        options=replace(OPTIONS, workers=1),
        work=work,
        progress=lambda what, number, total: said.append(what),
    )
    assert said[:3] == [
        f"{n} finished results taken from the work folder" for n in (6, 13, 3 * OPTIONS.folds)
    ]
    assert {path.name: path.stat().st_mtime_ns for path in work.iterdir()} == before
    # Nothing in a bundle depends on when or where it was made.
    for path in made.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(made)).read_bytes() == path.read_bytes()


def test_other_inputs_are_fitted_again(
    made: Path, world: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    work = made.parent / "work"
    inputs = load_inputs(*world)
    arc = inputs.responses["arc"]
    values = arc.values.copy()
    values[0, 0] = 1 - values[0, 0]
    changed = replace(inputs, responses={**inputs.responses, "arc": replace(arc, values=values)})
    from metabench_py.calibration.first_stage import FirstStage, first_stage_tasks
    from metabench_py.calibration.work import WorkFolder

    done: dict[str, FirstStage] = {}
    tasks = first_stage_tasks(changed, "native", "mirt-path", WorkFolder(work), done)
    assert [task.name for task in tasks] == ["item parameters of arc"]
    assert set(done) == set(BENCHMARKS) - {"arc"}


class _StopError(Exception):
    pass


def test_interrupted_calibration_goes_on(
    made: Path, world: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    inputs = load_inputs(*world)
    out = tmp_path / "bundle"
    about = Description(**ABOUT, licence_text="# Free\n")

    def stop(what: str, number: int, total: int) -> None:
        if number == 8:
            raise _StopError

    with pytest.raises(_StopError):
        calibrate_bundle(inputs, out, about, OPTIONS, progress=stop)
    assert not out.exists()
    kept = {path.name for path in (tmp_path / ".bundle.bundle-work").iterdir()}
    assert {f"irt-{b}.json" for b in BENCHMARKS} <= kept
    # A GAM whose .rds was damaged meanwhile is fitted again.
    finished = next(path for path in sorted(kept) if path.endswith(".rds"))
    (tmp_path / ".bundle.bundle-work" / finished).write_bytes(b"damaged")
    said: list[str] = []
    calibrate_bundle(
        inputs, out, about, OPTIONS, progress=lambda what, number, total: said.append(what)
    )
    assert said[0] == "6 finished results taken from the work folder"
    assert not (tmp_path / ".bundle.bundle-work").exists()
    one, two = (json.loads((p / "manifest.json").read_text()) for p in (made, out))
    assert one["files"] == two["files"]
    assert sha256(made / "manifest.json") == sha256(out / "manifest.json")


def test_abilities_that_are_infinite_are_refused(
    world: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    from metabench_py.errors import ConvergenceError

    inputs = load_inputs(*world)
    items = {b: replace(i, score_method="ML") for b, i in inputs.items.items()}
    with pytest.raises(ConvergenceError, match="choose MAP, EAP or EAPsum"):
        calibrate_bundle(
            replace(inputs, items=items), tmp_path / "bundle", Description(**ABOUT), OPTIONS
        )
    assert not (tmp_path / "bundle").exists()


def test_a_dead_worker_is_an_error_and_the_rest_is_kept() -> None:
    import os

    got: list[int] = []
    tasks = [
        Task("fine", divmod_first, (7, 2), got.append),
        Task("dead", os._exit, (3,), got.append),
        Task("bad", divmod_first, (7, 0), got.append),
    ]
    with LocalPool(1) as pool:
        with pytest.raises(WorkerError, match="ended with status 3"):
            run_tasks(tasks, pool)
        assert got == [3]
        with pytest.raises(InputError):
            run_tasks(tasks[2:], pool)


def divmod_first(a: int, b: int) -> int:
    if b == 0:
        raise InputError("zero")
    return divmod(a, b)[0]
