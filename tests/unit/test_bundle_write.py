"""Writing and exporting bundles: nothing half-written, nothing of others replaced."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.bundles import tiny_draft

from metabench_py.benchmarks import TARGETS
from metabench_py.bundle import load_bundle
from metabench_py.bundle.export import copy_bundle, export_tables
from metabench_py.bundle.schema import ErrorTable
from metabench_py.bundle.write import write_bundle
from metabench_py.errors import BundleError, StorageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tiny_draft(), tmp_path / "tiny")


def test_existing_folder_is_kept(folder: Path) -> None:
    before = load_bundle(folder).sha256
    with pytest.raises(StorageError, match="exists already"):
        write_bundle(tiny_draft(), folder)
    write_bundle(replace(tiny_draft(), name="other"), folder, replace=True)
    assert load_bundle(folder).name == "other"
    assert load_bundle(folder).sha256 != before
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="not a bundle, so it is not replaced"):
        write_bundle(tiny_draft(), tmp_path, replace=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def _gam_with(draft: Any, **changes: Any) -> dict[str, object]:
    return {"stages": {"gam": replace(draft.stages["gam"], **changes)}}


def _spoil_weight(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[1] = np.nan
    return values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: {"stages": {}}, "no second stage"),
        (lambda d: {"stages": {"stack": d.stages["gam"]}}, "under stack is gam"),
        (
            lambda d: _gam_with(
                d, model={t: g for t, g in d.stages["gam"].model.items() if t != "arc"}
            ),
            "missing .'arc'",
        ),
        (
            lambda d: _gam_with(
                d, errors={**d.stages["gam"].errors, "chess": ErrorTable(np.ones(1), np.ones(1))}
            ),
            "unknown .'chess'",
        ),
        (lambda d: {"errors_kind": "guessed"}, "errors_kind"),
        (
            lambda d: {
                "benchmarks": {
                    **d.benchmarks,
                    "arc": replace(
                        d.benchmarks["arc"], weights=_spoil_weight(d.benchmarks["arc"].weights)
                    ),
                }
            },
            "arc: a linear weight",
        ),
        (
            lambda d: _gam_with(
                d, errors={**d.stages["gam"].errors, "arc": ErrorTable(np.ones(3), np.ones(4))}
            ),
            "differ in length",
        ),
        (
            lambda d: _gam_with(
                d,
                errors={
                    **d.stages["gam"].errors,
                    "arc": ErrorTable(np.ones(2), np.ones(2), scale=np.array([1.0, 0.0])),
                },
            ),
            "scale that is not above 0",
        ),
        (lambda d: {"population_levels": d.population_levels[::-1]}, "levels must increase"),
        (lambda d: {"provenance": {"when": float("nan")}}, "provenance"),
    ],
)
def test_bad_draft_writes_nothing(
    tmp_path: Path, change: Callable[[object], dict[str, object]], said: str
) -> None:
    draft = tiny_draft()
    with pytest.raises(BundleError, match=said):
        write_bundle(replace(draft, **change(draft)), tmp_path / "b")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses to let any file grow beyond this, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 300, 2000, 4000])
def test_full_disk_leaves_nothing(tmp_path: Path, size: int) -> None:
    with _file_size_limit(size), pytest.raises(StorageError, match="Nothing was changed"):
        write_bundle(tiny_draft(), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_keeps_the_old_bundle(folder: Path, tmp_path: Path) -> None:
    before = load_bundle(folder).sha256
    with _file_size_limit(2000), pytest.raises(StorageError):
        write_bundle(replace(tiny_draft(), name="other"), folder, replace=True)
    assert load_bundle(folder).sha256 == before
    with _file_size_limit(2000), pytest.raises(StorageError):
        export_tables(load_bundle(folder), tmp_path / "tables")
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError):
        write_bundle(tiny_draft(), tmp_path / "b")
    tmp_path.chmod(0o700)


def test_export_tables_have_all_digits(folder: Path, tmp_path: Path) -> None:
    import csv

    bundle = load_bundle(folder)
    export_tables(bundle, tmp_path / "tables")
    with (tmp_path / "tables" / "items.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    model = bundle.benchmarks["arc"]
    arc = [row for row in rows if row["benchmark"] == "arc"]
    assert [row["item"] for row in arc] == list(model.parameters.items)
    assert [float(row["a1"]) for row in arc] == model.parameters.a1.tolist()
    assert [float(row["weight"]) for row in arc] == model.weights.tolist()
    assert float(arc[0]["b"]) == -model.parameters.d[0] / model.parameters.a1[0]
    left = {
        p.relative_to(tmp_path / "tables").as_posix() for p in (tmp_path / "tables").rglob("*.*")
    }
    assert left == {
        "items.csv",
        "errors.csv",
        "population.csv",
        "manifest.json",
        *(f"gam/{t}.json" for t in TARGETS),
    }


def test_copy_takes_only_named_files(folder: Path, tmp_path: Path) -> None:
    (folder / "stray.rds").write_bytes(b"x")
    copy_bundle(folder, tmp_path / "copy")
    assert not (tmp_path / "copy" / "stray.rds").exists()
    assert load_bundle(tmp_path / "copy").sha256 == load_bundle(folder).sha256


def test_an_export_replaces_exports_alone(folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(folder)
    out, thesis = tmp_path / "out", tmp_path / "work" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years")
    export_tables(bundle, out)
    export_tables(bundle, out, replace=True)
    copy_bundle(folder, tmp_path / "copy")
    copy_bundle(folder, tmp_path / "copy", replace=True)
    for place in (thesis.parent, tmp_path / "copy"):
        with pytest.raises(StorageError, match="so it is not replaced"):
            export_tables(bundle, place, replace=True)
    with pytest.raises(BundleError, match="so it is not replaced"):
        copy_bundle(folder, thesis.parent, replace=True)
    with pytest.raises(StorageError, match="is the bundle itself"):
        copy_bundle(folder, folder, replace=True)
    assert thesis.read_text() == "years"
    assert load_bundle(tmp_path / "copy").sha256 == load_bundle(folder).sha256 == bundle.sha256
