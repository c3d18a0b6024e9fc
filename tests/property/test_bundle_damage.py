"""Whatever happens to a bundle's bytes, loading it ends in values or in a clear error."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from helpers.bundles import edit_manifest, reseal, tiny_draft
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metabench_py.bundle import load_bundle
from metabench_py.bundle.verify import verify_bundle
from metabench_py.bundle.write import write_bundle
from metabench_py.errors import BundleError

FILES = ("items.parquet", "errors.parquet", "population.parquet", "gam/arc.json")
SETTINGS = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tiny_draft(), tmp_path_factory.mktemp("pristine") / "b")


def _load(folder: Path) -> None:
    """Load it or get a BundleError that names the folder; `verify_bundle` agrees."""
    refusal = None
    try:
        load_bundle(folder)
    except BundleError as error:
        refusal = str(error)
    assert refusal is None or str(folder) in refusal
    assert all(check.ok for check in verify_bundle(folder)) == (refusal is None)


@SETTINGS
@given(
    name=st.sampled_from(FILES),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
    ),
    keep=st.floats(0, 1),
)
def test_damaged_files_whose_hashes_agree(
    pristine: Path, name: str, edits: list[tuple[float, int]], keep: float
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "b"
        shutil.copytree(pristine, folder)
        content = bytearray((folder / name).read_bytes())
        for place, value in edits:
            content[int(place * len(content))] = value
        # Half of the time the file is cut, too.
        (folder / name).write_bytes(content[: int(min(1.0, 2 * keep) * len(content))])
        reseal(folder, name)
        _load(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def _places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [path, *(p for key, item in value.items() for p in _places(item, (*path, key)))]


@SETTINGS
@given(data=st.data())
def test_manifest_with_any_value_in_any_place(pristine: Path, data: st.DataObject) -> None:
    manifest = json.loads((pristine / "manifest.json").read_text())
    place = data.draw(st.sampled_from(_places(manifest)[1:]))
    value = data.draw(json_values)
    inner = manifest
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "b"
        shutil.copytree(pristine, folder)
        edit_manifest(folder, **manifest)
        _load(folder)
