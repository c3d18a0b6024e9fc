"""Bundles of several second stages: round trip, damage, and the schema before."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.bundles import (
    edit_manifest,
    reseal,
    stack_draft,
    tiny_draft,
    tiny_growth,
    tiny_lessons,
    tiny_stack,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import load_bundle
from metabench_py.bundle.arrays import pack_arrays, unpack_arrays
from metabench_py.bundle.export import copy_bundle, export_tables
from metabench_py.bundle.schema import Growth, StoredStage
from metabench_py.bundle.verify import verify_bundle
from metabench_py.bundle.write import write_bundle
from metabench_py.cli.bundle import bundle_app
from metabench_py.errors import BundleError
from metabench_py.gam.features import single_names
from metabench_py.gam.portable import PortableGam, SplineTerm
from metabench_py.stack.model import Stack


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(stack_draft(), tmp_path_factory.mktemp("stack") / "b")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "b"))


def test_round_trip(pristine: Path) -> None:
    draft, bundle = stack_draft(), load_bundle(pristine)
    assert list(bundle.stages) == ["stack", "gam"]
    assert bundle.default.name == "stack"
    assert bundle.errors is bundle.stages["stack"].errors
    inputs, _ = tiny_lessons()
    model = bundle.default.model
    assert isinstance(model, Stack)
    for target, values in tiny_stack().predict(inputs).items():
        np.testing.assert_array_equal(model.predict(inputs)[target], values)
        np.testing.assert_array_equal(
            model.scale(inputs)[target], tiny_stack().scale(inputs)[target]
        )
    for name, stage in draft.stages.items():
        got = bundle.stages[name]
        assert got.evaluation == stage.evaluation
        assert got.about == stage.about
        for target in TARGETS:
            want, table = stage.errors[target], got.errors[target]
            np.testing.assert_array_equal(table.predicted, want.predicted)
            np.testing.assert_array_equal(table.error, want.error)
            if name == "gam":
                assert table.scale is None
            else:
                np.testing.assert_array_equal(table.scale, want.scale)
    assert tuple(bundle.singles) == BENCHMARKS
    for b, single in bundle.singles.items():
        assert set(single.errors) == {b}
        assert isinstance(single.model, Stack)
        assert single.model.targets == (b,)
        assert single.growth is not None
        np.testing.assert_array_equal(single.growth.factors[b][b], [1.2, 2.0])
    assert all(check.ok for check in verify_bundle(pristine))
    assert bundle.manifest["targets"]["arc"]["rmse"] == pytest.approx(
        np.sqrt(np.mean(draft.stages["stack"].errors["arc"].error ** 2))
    )


def test_a_gam_of_one_benchmark_alone(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    terms = tuple(
        SplineTerm(name, np.linspace(-3, 103, 12), random.normal(size=8))
        for name in single_names("arc")
    )
    gam = PortableGam("arc", 50.0, terms)
    draft = tiny_draft()
    errors = {"arc": draft.stages["gam"].errors["arc"]}
    single = StoredStage(fit="fast-gam", model={"arc": gam}, errors=errors)
    bundle = load_bundle(write_bundle(replace(draft, singles={"arc": single}), tmp_path / "b"))
    model = bundle.singles["arc"].model
    assert isinstance(model, dict)
    assert model["arc"].to_dict() == gam.to_dict()
    assert bundle.singles["arc"].fit == "fast-gam"


def test_a_bundle_without_a_gam(tmp_path: Path) -> None:
    draft = stack_draft()
    out = write_bundle(replace(draft, stages={"stack": draft.stages["stack"]}), tmp_path / "b")
    assert not (out / "gam").exists()
    assert load_bundle(out).gams == {}
    assert all(check.ok for check in verify_bundle(out))


def test_a_bundle_of_schema_1_still_loads(tmp_path: Path) -> None:
    """As versions before wrote it: no second stages in the manifest, no such column."""
    import pyarrow.parquet as pq

    folder = write_bundle(tiny_draft(), tmp_path / "b")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["second_stages"], manifest["single_stages"]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 1}))
    table = pq.read_table(folder / "errors.parquet").drop_columns(["second_stage", "scale"])
    pq.write_table(table, folder / "errors.parquet")
    reseal(folder, "errors.parquet")
    old, new = load_bundle(folder), load_bundle(write_bundle(tiny_draft(), tmp_path / "new"))
    assert list(old.stages) == ["gam"]
    assert old.singles == {}
    assert old.default.growth is None
    for target in TARGETS:
        np.testing.assert_array_equal(old.errors[target].error, new.errors[target].error)
        assert old.gams[target].to_dict() == new.gams[target].to_dict()
    assert all(check.ok for check in verify_bundle(folder))
    shown = CliRunner().invoke(bundle_app, ["show", str(folder)])
    assert "second stage gam, the default" in shown.stdout


def test_show_tells_errors_by_both_kinds_of_folds(pristine: Path) -> None:
    shown = CliRunner().invoke(bundle_app, ["show", str(pristine)])
    assert shown.exit_code == 0, shown.exception
    lines = shown.stdout.splitlines()
    start = lines.index("second stage stack, the default (stack)")
    head, first, second = (line.split() for line in lines[start + 1 : start + 4])
    assert head[:5] == ["target", "folds", "LLMs", "RMSE", "MAE"]
    assert first[:8] == ["Grand", "score", "grouped", "30", "1.000", "0.800", "91.0", "%"]
    assert second[:3] == ["random", "30", "1.000"]
    assert "second stage gam (mgcv::gam)" in lines
    assert any(line.startswith("ARC alone") for line in lines)
    as_json = json.loads(CliRunner().invoke(bundle_app, ["show", str(pristine), "--json"]).stdout)
    told = as_json["second_stages"][0]["evaluation"]["grouped"]["targets"]["mmlu"]
    assert told["coverage"] == 0.91


def test_export_and_copy(pristine: Path, tmp_path: Path) -> None:
    out = export_tables(load_bundle(pristine), tmp_path / "csv")
    lines = (out / "errors.csv").read_text().splitlines()
    assert lines[0] == "second_stage,target,predicted,error,scale,group"
    assert len(lines) == 1 + 30 * (7 + 7 + 6)
    arrays = json.loads((out / "stack.json").read_text())
    assert arrays["limits"] == tiny_stack().limits.tolist()
    copy_bundle(pristine, tmp_path / "copy")
    assert load_bundle(tmp_path / "copy").sha256 == load_bundle(pristine).sha256


@pytest.mark.parametrize("name", ["stack.npz", "single/arc.npz", "errors.parquet"])
def test_a_flipped_byte_names_the_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match="differs from the hash") as caught:
        load_bundle(folder)
    assert caught.value.facts["file"] == name


@pytest.mark.parametrize("change", ["absent", "nan", "of arc alone", "no arrays"])
def test_a_damaged_stack_is_named(folder: Path, change: str) -> None:
    arrays: dict[str, Any] = dict(unpack_arrays((folder / "stack.npz").read_bytes()))
    if change == "absent":
        del arrays["weights"]
    elif change == "nan":
        arrays["limits"] = np.full_like(arrays["limits"], np.nan)
    elif change == "of arc alone":
        arrays = dict(tiny_stack("arc").to_arrays())
    content = b"PK" if change == "no arrays" else pack_arrays(arrays)
    (folder / "stack.npz").write_bytes(content)
    reseal(folder, "stack.npz")
    with pytest.raises(BundleError, match=r"stack\.npz"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"second_stages": []}, "missing or of the wrong type"),
        ({"second_stages": [{"name": "lm", "fit": "lm"}]}, "no known 'name'"),
        ({"second_stages": [{"name": "stack", "fit": "gam"}]}, "no known 'name'"),
        ({"second_stages": [{"name": "gam", "fit": "gam"}] * 2}, "two second stages"),
        ({"single_stages": {"chess": {"name": "gam", "fit": "gam"}}}, "chess"),
        ({"single_stages": {"arc": {"name": "gam", "fit": "gam"}}}, r"single/arc\.json"),
    ],
)
def test_a_manifest_that_does_not_fit_its_files(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    edit_manifest(folder, **change)
    with pytest.raises(BundleError, match=said):
        load_bundle(folder)


def grown(*factors: float) -> dict[str, dict[str, list[float]]]:
    return {t: {b: list(factors) for b in BENCHMARKS} for t in TARGETS}


@pytest.mark.parametrize(
    "value",
    [
        {"shares": [0.5], "factors": grown(0.9)},
        {"shares": [0.5, 0.25], "factors": grown(1.0, 1.1)},
        {"shares": [0.5], "factors": {"arc": {"arc": [1.1]}}},
        {"shares": [0.5], "factors": {t: {"arc": [1.1]} for t in TARGETS}},
        {"shares": [0.5], "factors": {t: [1.1] for t in TARGETS}},
        {"shares": [], "factors": grown()},
        {"shares": [2.0], "factors": grown(1.1)},
        {"shares": [True], "factors": grown(1.1)},
        [],
        3,
    ],
)
def test_unusable_growth_is_refused(folder: Path, value: Any) -> None:
    stages = json.loads((folder / "manifest.json").read_text())["second_stages"]
    stages[0]["missing"] = value
    edit_manifest(folder, second_stages=stages)
    with pytest.raises(BundleError, match="'missing' of a second stage"):
        load_bundle(folder)


def test_drafts_that_lack_something(tmp_path: Path) -> None:
    draft = stack_draft()
    stack = draft.stages["stack"]
    for stages, said in (
        ({"stack": replace(stack, model=tiny_stack("arc"))}, "missing"),
        ({"gam": stack}, "under gam is stack"),
        ({"stack": replace(stack, about={"x": float("nan")})}, "told of stack"),
    ):
        with pytest.raises(BundleError, match=said):
            write_bundle(replace(draft, stages=stages), tmp_path / "b")
    singles = {"arc": replace(draft.singles["arc"], model=tiny_stack("mmlu"))}
    with pytest.raises(BundleError, match="arc alone"):
        write_bundle(replace(draft, singles=singles), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    assert isinstance(tiny_growth("arc"), Growth)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["stack.npz", "single/mmlu.npz", "errors.parquet"]),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
    ),
    keep=st.floats(0, 1),
)
def test_whatever_is_in_a_file_ends_in_a_bundle_or_a_clear_error(
    pristine: Path, name: str, edits: list[tuple[float, int]], keep: float
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(pristine, Path(scratch) / "b"))
        content = bytearray((folder / name).read_bytes())
        for place, value in edits:
            content[int(place * len(content))] = value
        (folder / name).write_bytes(content[: int(min(1.0, 2 * keep) * len(content))])
        reseal(folder, name)
        refusal = ""
        try:
            load_bundle(folder)
        except BundleError as error:
            refusal = str(error)
    assert not refusal or str(folder) in refusal
