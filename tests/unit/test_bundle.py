"""Bundles: what is written is read back, and what is damaged is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.bundles import edit_manifest, reseal, tiny_draft, tiny_gam

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import load_bundle
from metabench_py.bundle.schema import ErrorTable
from metabench_py.bundle.verify import verify_bundle
from metabench_py.bundle.write import write_bundle
from metabench_py.errors import BundleError

FILES = (
    "items.parquet",
    "errors.parquet",
    "population.parquet",
    "README.md",
    *(f"gam/{t}.json" for t in TARGETS),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tiny_draft(), tmp_path / "tiny")


def test_round_trip_is_exact(folder: Path) -> None:
    draft, bundle = tiny_draft(), load_bundle(folder)
    assert (bundle.name, bundle.version) == ("tiny", "T")
    assert bundle.manifest["licence"] == "CC0-1.0"
    assert bundle.manifest["provenance"]["source"] == "synthetic"
    assert tuple(bundle.benchmarks) == BENCHMARKS
    assert tuple(bundle.gams) == TARGETS
    for benchmark, model in draft.benchmarks.items():
        got = bundle.benchmarks[benchmark]
        assert got.parameters.items == model.parameters.items
        for name in ("a1", "d", "g", "u"):
            assert np.array_equal(getattr(got.parameters, name), getattr(model.parameters, name))
        assert np.array_equal(got.weights, model.weights)
        assert (got.intercept, got.metric, got.fit) == (model.intercept, model.metric, model.fit)
        assert (got.item_type, got.score_method) == (model.item_type, model.score_method)
    for target in TARGETS:
        want, table = draft.stages["gam"].errors[target], bundle.errors[target]
        assert np.array_equal(table.predicted, want.predicted)
        assert np.array_equal(table.error, want.error)
        assert table.group is not None
        assert np.array_equal(table.group, want.group)
        assert np.array_equal(bundle.population[target], draft.population[target])
        assert bundle.gams[target].to_dict() == tiny_gam(target).to_dict()
        about = bundle.manifest["targets"][target]
        assert about["predicted_lower"] == want.predicted.min()
        assert about["rmse"] == pytest.approx(np.sqrt(np.mean(want.error**2)))


def test_population_and_groups_may_be_absent(tmp_path: Path) -> None:
    draft = tiny_draft()
    gam = draft.stages["gam"]
    errors = {t: ErrorTable(e.predicted, e.error) for t, e in gam.errors.items()}
    stages = {"gam": replace(gam, errors=errors)}
    out = write_bundle(replace(draft, population={}, stages=stages), tmp_path / "b")
    bundle = load_bundle(out)
    assert not bundle.population
    assert bundle.population_levels.size == 0
    assert bundle.errors["arc"].group is None


def test_same_draft_same_bytes(tmp_path: Path) -> None:
    first = load_bundle(write_bundle(tiny_draft(), tmp_path / "1"))
    second = load_bundle(write_bundle(tiny_draft(), tmp_path / "2"))
    assert first.sha256 == second.sha256


@pytest.mark.parametrize("name", FILES)
def test_flipped_byte_names_the_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match="differs from the hash") as caught:
        load_bundle(folder)
    assert caught.value.facts["file"] == name
    assert name in str(caught.value)
    failed = [check.what for check in verify_bundle(folder) if not check.ok]
    assert failed == [name]


@pytest.mark.parametrize("name", FILES)
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match="missing") as caught:
        load_bundle(folder)
    assert caught.value.facts["file"] == name


def test_newer_schema_says_upgrade(folder: Path) -> None:
    edit_manifest(folder, schema=3)
    with pytest.raises(BundleError, match=r"schema 3 is newer.*pip install --upgrade"):
        load_bundle(folder)


@pytest.mark.parametrize("schema", [None, "1", 0, True, 1.0])
def test_odd_schema(folder: Path, schema: object) -> None:
    edit_manifest(folder, schema=schema)
    with pytest.raises(BundleError, match="schema"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "gam/../../outside", "..\\outside", "C:/x", "", "a\0b"]
)
def test_path_that_leaves_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_text("secret")
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit_manifest(folder, files={**files, name: "0" * 64})
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        load_bundle(folder)


def test_symlink_that_leaves_the_folder(folder: Path) -> None:
    outside = folder.parent / "items.parquet"
    (folder / "items.parquet").rename(outside)
    (folder / "items.parquet").symlink_to(outside)
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        load_bundle(folder)


def test_symlinked_subfolder_that_leaves(folder: Path) -> None:
    (folder / "gam").rename(folder.parent / "elsewhere")
    (folder / "gam").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        load_bundle(folder)


def test_bundle_behind_a_symlink_is_fine(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert load_bundle(folder.parent / "link").name == "tiny"


def test_extra_gam_target(folder: Path) -> None:
    (folder / "gam" / "chess.json").write_text("{}")
    reseal(folder, "gam/chess.json")
    with pytest.raises(BundleError, match="chess"):
        load_bundle(folder)


@pytest.mark.parametrize("field", ["targets", "benchmarks"])
@pytest.mark.parametrize("change", ["extra", "absent"])
def test_targets_and_benchmarks_are_complete(folder: Path, field: str, change: str) -> None:
    entries = json.loads((folder / "manifest.json").read_text())[field]
    if change == "extra":
        entries["chess"] = {}
    else:
        del entries["mmlu"]
    edit_manifest(folder, **{field: entries})
    with pytest.raises(BundleError, match="chess" if change == "extra" else "lacks mmlu"):
        load_bundle(folder)


def _edit(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(folder / name)), folder / name)
    reseal(folder, name)


def _with_value(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    cells = table.column(column).to_pylist()
    cells[row] = value
    at = table.schema.get_field_index(column)
    return table.set_column(at, column, pa.array(cells, table.schema.field(column).type))


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("items.parquet", "a1", float("nan"), "row 3, column 'a1': nan is not finite"),
        ("items.parquet", "weight", float("inf"), "not finite"),
        ("items.parquet", "d", None, "empty cells"),
        ("items.parquet", "g", 0.999, "asymptotes"),
        ("items.parquet", "item", "17", "occurs twice"),
        ("items.parquet", "item", "", "empty"),
        ("items.parquet", "benchmark", "chess", "chess"),
        ("items.parquet", "benchmark", "mmlu", "does not agree"),
        ("errors.parquet", "error", float("nan"), "not finite"),
        ("errors.parquet", "target", "chess", "chess"),
        ("errors.parquet", "target", None, "unknown"),
        ("population.parquet", "score", float("nan"), "not finite"),
        ("population.parquet", "score", 1e6, "decrease"),
        ("population.parquet", "level", 0.05, "do not increase"),
        ("population.parquet", "target", "chess", "chess"),
    ],
)
def test_bad_cell(folder: Path, name: str, column: str, value: object, said: str) -> None:
    _edit(folder, name, lambda table: _with_value(table, column, 2, value))
    with pytest.raises(BundleError, match=said) as caught:
        load_bundle(folder)
    assert str(folder) in str(caught.value)


def test_pipe_in_place_of_a_file_does_not_block(folder: Path) -> None:
    (folder / "items.parquet").unlink()
    os.mkfifo(folder / "items.parquet")
    with pytest.raises(BundleError, match="missing"):
        load_bundle(folder)


def test_parquet_that_claims_billions_of_rows(folder: Path) -> None:
    n = 6_000_000
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), pa.array(["grand"]))
    zeros = pa.array(np.zeros(n))
    table = pa.table({"target": names, "predicted": zeros, "error": zeros})
    pq.write_table(table, folder / "errors.parquet", compression="zstd")
    assert (folder / "errors.parquet").stat().st_size < 100_000
    reseal(folder, "errors.parquet")
    with pytest.raises(BundleError, match="more than 5,000,000 rows"):
        load_bundle(folder)


def test_loading_is_fast_and_light(folder: Path) -> None:
    """Loading needs neither R nor the heavy libraries."""
    code = (
        "import sys, time; from metabench_py.bundle import load_bundle\n"
        "import pyarrow.parquet\n"
        f"load_bundle({str(folder)!r}); start = time.perf_counter()\n"
        f"load_bundle({str(folder)!r}); seconds = time.perf_counter() - start\n"
        "heavy = {'rpy2', 'pandas', 'numba', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "print(sorted(heavy), seconds < 0.25)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True"]


def test_missing_column(folder: Path) -> None:
    _edit(folder, "items.parquet", lambda table: table.drop_columns(["u"]))
    with pytest.raises(BundleError, match=r"items\.parquet: no column 'u'"):
        load_bundle(folder)


def test_column_of_another_type(folder: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("a1")
        return table.set_column(at, "a1", table.column("a1").cast(pa.string()))

    _edit(folder, "items.parquet", change)
    with pytest.raises(BundleError, match="'a1' is not double"):
        load_bundle(folder)


def test_missing_benchmark_rows(folder: Path) -> None:
    _edit(folder, "items.parquet", lambda table: table.slice(5))
    with pytest.raises(BundleError, match="no items of arc"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["items.parquet", "errors.parquet", "population.parquet"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 50])
def test_malformed_parquet(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    reseal(folder, name)
    with pytest.raises(BundleError, match="not a readable Parquet file") as caught:
        load_bundle(folder)
    assert caught.value.facts["file"] == name


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"target": "arc", "intercept": NaN}', b"\xff\xfe", b"null", b"{}"],
)
def test_malformed_gam(folder: Path, content: bytes) -> None:
    (folder / "gam" / "arc.json").write_bytes(content)
    reseal(folder, "gam/arc.json")
    with pytest.raises(BundleError, match=r"gam/arc\.json: not a portable GAM"):
        load_bundle(folder)


def test_gam_of_an_unknown_feature(folder: Path) -> None:
    gam = json.loads((folder / "gam" / "arc.json").read_text())
    gam["terms"][0]["feature"] = "elo"
    (folder / "gam" / "arc.json").write_text(json.dumps(gam))
    reseal(folder, "gam/arc.json")
    with pytest.raises(BundleError, match=r"gam/arc\.json: needs the feature 'elo'"):
        load_bundle(folder)


def test_gam_of_another_target(folder: Path) -> None:
    (folder / "gam" / "arc.json").write_bytes((folder / "gam" / "mmlu.json").read_bytes())
    reseal(folder, "gam/arc.json")
    with pytest.raises(BundleError, match="'mmlu', not of 'arc'"):
        load_bundle(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": NaN}', "\x00"])
def test_malformed_manifest(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(folder)


@pytest.mark.parametrize("field", ["name", "version", "licence", "files", "targets"])
def test_manifest_field_of_another_type(folder: Path, field: str) -> None:
    edit_manifest(folder, **{field: 3})
    with pytest.raises(BundleError, match=field):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("item_type", "5PL"),
        ("score_method", "guess"),
        ("metric", None),
        ("intercept", "1"),
        ("intercept", True),
        ("fit", []),
    ],
)
def test_bad_benchmark_entry(folder: Path, field: str, value: object) -> None:
    entries = json.loads((folder / "manifest.json").read_text())["benchmarks"]
    entries["gsm8k"][field] = value
    edit_manifest(folder, benchmarks=entries)
    with pytest.raises(BundleError, match="gsm8k"):
        load_bundle(folder)


def test_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as stream:
        stream.truncate(5 << 20)
    with pytest.raises(BundleError, match="larger than"):
        load_bundle(folder)


def test_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a bundle"):
        load_bundle(tmp_path)
    with pytest.raises(BundleError, match="No bundle 'nowhere'"):
        load_bundle("nowhere")


def test_unknown_rds_is_left_out_unless_trusted(tmp_path: Path) -> None:
    rds = tmp_path / "grand.rds"
    rds.write_bytes(b"whatever")
    out = write_bundle(tiny_draft({"grand": rds}), tmp_path / "b")
    bundle = load_bundle(out)
    assert bundle.rds == {}
    assert bundle.rds_untrusted == ("grand",)
    trusted = load_bundle(out, trust=True)
    assert trusted.rds == {"grand": out / "gam" / "grand.rds"}
    assert trusted.rds_untrusted == ()
    (out / "gam" / "grand.rds").write_bytes(b"Whatever")
    with pytest.raises(BundleError, match=r"gam/grand\.rds"):
        load_bundle(out, trust=True)


def test_verify_finds_strays(folder: Path) -> None:
    assert all(check.ok for check in verify_bundle(folder))
    (folder / "gam" / "more.rds").write_bytes(b"x")
    (folder / "dangling").symlink_to("nowhere")
    failed = {check.what for check in verify_bundle(folder) if not check.ok}
    assert failed == {"gam/more.rds", "dangling"}
