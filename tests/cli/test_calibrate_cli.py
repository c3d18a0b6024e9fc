"""``calibrate bundle``: bad inputs end in one clear sentence and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench_py.cli.calibrate import calibrate_app
from metabench_py.errors import BundleError, InputError, MetabenchError, StorageError
from tests.helpers.bundles import tiny_draft
from tests.helpers.calibration import write_world


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, str]:
    responses, scores, items = write_world(tmp_path / "world", n_llms=30, n_items=4)
    return {
        "--responses": str(responses),
        "--scores": str(scores),
        "--items": str(items),
        "--out": str(tmp_path / "bundle"),
        "--name": "test",
        "--version-label": "T",
        "--licence": "CC0-1.0",
        "--source": "simulated",
    }


def run(arguments: dict[str, str], *flags: str) -> MetabenchError:
    words = [word for pair in arguments.items() for word in pair]
    result = CliRunner().invoke(calibrate_app, ["bundle", *words, *flags])
    assert isinstance(result.exception, MetabenchError), result.output
    assert not list(Path(arguments["--out"]).parent.glob(".*"))
    return result.exception


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--responses", "nowhere", "nowhere: no such folder"),
        ("--scores", "nowhere.csv", "nowhere.csv: no such file"),
        ("--items", "nowhere.csv", "nowhere.csv: no such file"),
        ("--engine", "stan", "--engine stan: choose auto, mirt, native"),
        ("--mode", "fast", "--mode fast: choose mirt-path, converged"),
        ("--licence-file", "nowhere.md", "nowhere.md: not a readable text file"),
    ],
)
def test_bad_option(arguments: dict[str, str], option: str, value: str, says: str) -> None:
    error = run({**arguments, option: value})
    assert isinstance(error, InputError)
    assert says in str(error)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--folds", "2", "2 folds are too few"),
        ("--folds", "100", "100 folds need as many organisations"),
        ("--workers", "0", "0 workers cannot work"),
    ],
)
@pytest.mark.usefixtures("needs_r")
def test_bad_number(arguments: dict[str, str], option: str, value: str, says: str) -> None:
    assert says in str(run({**arguments, option: value}))


def test_mirt_has_no_converged_mode(arguments: dict[str, str], needs_r: None) -> None:
    error = run({**arguments, "--engine": "mirt", "--mode": "converged"})
    assert "R's mirt has no mode 'converged'" in str(error)


def test_existing_folders_are_not_overwritten(arguments: dict[str, str]) -> None:
    from metabench_py.bundle.write import write_bundle

    out = Path(arguments["--out"])
    write_bundle(tiny_draft(), out)
    manifest = (out / "manifest.json").read_bytes()
    error = run(arguments)
    assert isinstance(error, StorageError)
    assert "--replace" in str(error)
    assert (out / "manifest.json").read_bytes() == manifest
    (out / "manifest.json").unlink()
    error = run(arguments, "--replace")
    assert isinstance(error, BundleError)
    assert "is not a bundle" in str(error)


def test_bad_row_is_named(arguments: dict[str, str]) -> None:
    items = Path(arguments["--items"])
    items.write_text(items.read_text().replace("arc,13,2PL", "arc,13,9PL"))
    error = run(arguments)
    assert str(items) in str(error)
    assert "row 2: item_type '9PL'" in str(error)


def test_option_that_is_left_out(arguments: dict[str, str]) -> None:
    del arguments["--licence"]
    words = [word for pair in arguments.items() for word in pair]
    result = CliRunner().invoke(calibrate_app, ["bundle", *words])
    assert result.exit_code == 2
    assert "--licence" in result.output
