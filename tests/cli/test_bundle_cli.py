"""``metabench-py bundle ...`` as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.bundles import edit_manifest, tiny_draft
from typer.testing import CliRunner, Result

from metabench_py.bundle import load_bundle
from metabench_py.bundle.released import released_files
from metabench_py.bundle.write import write_bundle
from metabench_py.cli.bundle import bundle_app
from metabench_py.errors import BundleError, InputError, StorageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tiny_draft(), tmp_path / "tiny")


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(bundle_app, [str(a) for a in arguments])


def test_show(folder: Path) -> None:
    result = _run("show", folder)
    assert result.exit_code == 0
    for text in (
        "tiny  (version T, schema 2)",
        "CC0-1.0",
        "source: synthetic",
        "cross-validated",
        load_bundle(folder).sha256,
    ):
        assert text in result.stdout
    row = next(line for line in result.stdout.splitlines() if line.startswith("GSM8K"))
    assert row.split() == ["GSM8K", "5", "4PL", "MAP", "exact_match", "native", "converged", "30"]
    assert "all six" in result.stdout
    assert " 30\n" in result.stdout


def test_show_json(folder: Path) -> None:
    shown = json.loads(_run("show", folder, "--json").stdout)
    assert shown["benchmarks"]["mmlu"]["n_items"] == 5
    assert shown["benchmarks"]["mmlu"]["quadrature"]["nodes"] == 61
    assert shown["targets"]["grand"]["n_errors"] == 30
    assert shown["sha256"] == load_bundle(folder).sha256
    assert shown["rds"] == shown["rds_untrusted"] == []


def test_show_says_which_r_fits_are_not_vouched_for(tmp_path: Path) -> None:
    rds = tmp_path / "grand.rds"
    rds.write_bytes(b"x")
    folder = write_bundle(tiny_draft({"grand": rds}), tmp_path / "b")
    assert "not vouched for" in _run("show", folder).stdout
    assert "not vouched for" not in _run("show", folder, "--trust").stdout


def test_verify(folder: Path) -> None:
    result = _run("verify", folder)
    assert result.exit_code == 0
    assert "ok    items.parquet" in result.stdout
    assert "FAIL" not in result.stdout
    (folder / "gam" / "arc.json").write_text("{}")
    (folder / "errors.parquet").unlink()
    result = _run("verify", folder)
    assert result.exit_code == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert "gam/arc.json" in failed[1]
    assert "errors.parquet" in failed[0]
    assert "ok    items.parquet" in result.stdout


def test_verify_json(folder: Path) -> None:
    assert json.loads(_run("verify", folder, "--json").stdout)["ok"] is True
    edit_manifest(folder, schema=99)
    result = _run("verify", folder, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert [c["what"] for c in report["checks"]] == ["manifest.json"]


def test_export(folder: Path, tmp_path: Path) -> None:
    assert _run("export", folder, "--out", tmp_path / "csv").exit_code == 0
    lines = (tmp_path / "csv" / "items.csv").read_text().splitlines()
    assert lines[0] == "benchmark,item,a1,d,g,u,b,weight"
    assert len(lines) == 31
    assert _run("export", folder, "--as", "bundle", "--out", tmp_path / "copy").exit_code == 0
    assert load_bundle(tmp_path / "copy").sha256 == load_bundle(folder).sha256
    again = _run("export", folder, "--out", tmp_path / "csv")
    assert isinstance(again.exception, StorageError)
    assert _run("export", folder, "--out", tmp_path / "csv", "--replace").exit_code == 0
    odd = _run("export", folder, "--as", "pdf", "--out", tmp_path / "pdf")
    assert isinstance(odd.exception, InputError)


def test_import_lists_all_missing_files_at_once(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    result = _run("import", tmp_path, "--version", "b", "--out", tmp_path / "b")
    assert isinstance(result.exception, BundleError)
    said = str(result.exception)
    assert "19 of 19" in said
    assert "analysis/reduced/gsm8k-2PL-EAPsum-0.001-seed=1.rds" in said
    assert "analysis/gams/gam-grand-seed=1.rds" in said
    assert "bundle pull" in said
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("command", ["import", "pull"])
def test_unknown_version(tmp_path: Path, command: str) -> None:
    source = [str(tmp_path)] if command == "import" else []
    result = _run(command, *source, "--version", "C", "--out", tmp_path / "b")
    assert isinstance(result.exception, InputError)
    assert "choose A or B" in str(result.exception)


@pytest.mark.parametrize("command", ["import", "pull"])
def test_without_r_nothing_is_read_or_downloaded(tmp_path: Path, command: str) -> None:
    for path in released_files("A").paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    arguments = ["--version", "A", "--out", str(tmp_path / "out")]
    if command == "import":
        arguments = [str(tmp_path), "--trust", *arguments]
    else:
        arguments += ["--address", "http://127.0.0.1:1", "--downloads", str(tmp_path / "d")]
    code = (
        "import sys\n"
        "from metabench_py.cli.bundle import bundle_app\n"
        "from metabench_py.errors import RUnavailableError\n"
        "try:\n"
        f"    bundle_app([{command!r}, *sys.argv[1:]])\n"
        "except RUnavailableError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "R_HOME": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "where no R is" in done.stdout, done.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "d").exists()
