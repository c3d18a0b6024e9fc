"""``metabench-py reconstruct`` as a person or a script uses it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.bundles import tiny_bundle
from helpers.logs import log_path, write_model
from typer.testing import CliRunner, Result

from metabench_py.benchmarks import TARGETS
from metabench_py.bundle import Bundle
from metabench_py.cli.app import app
from metabench_py.cli.reconstruct import split_arguments
from metabench_py.errors import InputError, LogError, ModelNotFoundError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def results(bundle: Bundle, tmp_path: Path) -> Path:
    for seed in range(2):
        write_model(tmp_path / f"org__m{seed}", bundle, seed)
    return tmp_path


@pytest.fixture
def options(bundle: Bundle, results: Path) -> list[str]:
    return ["--results", str(results), "--bundle", str(bundle.path), "--engine", "native"]


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["reconstruct", *map(str, arguments)])


def process(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """A real process: exit codes, streams, nothing of this one's state."""
    return subprocess.run(
        [sys.executable, "-m", "metabench_py", "reconstruct", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["m"], (["m"], None, False)),
        (["m", "B"], (["m"], "B", False)),
        (["m", "A", "F"], (["m"], "A", False)),
        (["m", "B", "TRUE"], (["m"], "B", True)),
        (["m", "n", "B", "T"], (["m", "n"], "B", True)),
        (["A"], (["A"], None, False)),
        (["T"], (["T"], None, False)),
        ([], ([], None, False)),
    ],
)
def test_positional_arguments_are_the_original_s(given: list[str], meant: object) -> None:
    assert split_arguments(given) == meant


@pytest.mark.parametrize("given", [["m", "T"], ["B", "T"]])
def test_permuted_needs_a_version(given: list[str]) -> None:
    with pytest.raises(InputError, match="comes the version"):
        split_arguments(given)


def test_table(options: list[str]) -> None:
    result = run("org__m0", *options)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "org__m0  (metabench B, 30 items)"
    assert lines[2].split() == [
        "score",
        "90",
        "%",
        "interval",
        "percentile",
        "theta",
        "se",
        "right",
    ]
    assert [line.split()[0] for line in lines[3:10]] == [
        "Grand", "ARC", "GSM8K", "HellaSwag", "MMLU", "TruthfulQA", "WinoGrande",
    ]  # fmt: skip
    assert "the native engine" in lines[-1]
    assert "Note (gsm8k-by-position)" in result.stderr


def test_original_s_arguments(options: list[str]) -> None:
    assert run("org__m0", "B", "F", *options).stdout == run("org__m0", *options).stdout


def test_json_of_one_is_an_object(options: list[str]) -> None:
    value = json.loads(run("org__m0", "--json", *options).stdout)
    assert value["model"] == "org__m0"
    assert list(value["scores"]) == list(TARGETS)


def test_json_of_several_is_an_array(options: list[str], results: Path) -> None:
    value = json.loads(run("org__m0", "org__m1", "--json", *options).stdout)
    assert [v["model"] for v in value] == ["org__m0", "org__m1"]
    assert json.loads(run("--all", results, "--json", *options).stdout) == value
    lines = run("--all", results, "--jsonl", *options).stdout.splitlines()
    assert [json.loads(line) for line in lines] == value


def test_csv_has_a_row_a_score(options: list[str]) -> None:
    text = run("org__m0", "--csv", *options).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    value = json.loads(run("org__m0", "--json", *options).stdout)
    assert [row["target"] for row in rows] == list(TARGETS)
    for row in rows:
        assert float(row["score"]) == value["scores"][row["target"]]["score"]
    assert float(rows[1]["theta"]) == value["abilities"]["arc"]["theta"]
    assert rows[0]["theta"] == ""
    assert float(rows[0]["subscore"]) == value["scores"]["grand"]["subscore"]


def test_table_of_many(options: list[str], results: Path) -> None:
    result = run("--all", results, *options)
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "model", "org__m0", "org__m1",
    ]  # fmt: skip
    assert "Note (gsm8k-by-position): 2 of 2 models" in result.stderr


def test_out_takes_its_format_from_the_name(options: list[str], tmp_path: Path) -> None:
    for suffix in ("json", "jsonl", "csv"):
        out = tmp_path / f"r.{suffix}"
        result = run("org__m0", "--out", out, *options)
        assert (result.exit_code, result.stdout) == (0, "")
        assert out.read_text() == run("org__m0", f"--{suffix}", *options).stdout
    result = run("org__m0", "--out", tmp_path / "r.xlsx", *options)
    assert isinstance(result.exception, InputError)


def test_one_bad_model_of_many(options: list[str], results: Path) -> None:
    log_path(results / "org__m1", "mmlu").write_bytes(b"\x00")
    done = process("org__m0", "org__m1", "org__m9", "--json", *options)
    assert done.returncode == 1
    assert [v["model"] for v in json.loads(done.stdout)] == ["org__m0"]
    assert "Error: org__m1: " in done.stderr
    assert "line 1: binary content" in done.stderr
    assert "Error: org__m9: No model 'org__m9'" in done.stderr
    assert done.stderr.endswith("2 of 3 models failed.\n")


def test_errors_are_one_message_and_a_code(options: list[str], results: Path) -> None:
    done = process("org__m7", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: No model 'org__m7' in {results}; did you mean org__m1 or org__m0?\n"
    )


def test_bad_arguments(options: list[str], results: Path, tmp_path: Path) -> None:
    for arguments, kind in (
        (("org__m9",), ModelNotFoundError),
        ((), InputError),
        (("org__m0", "--all", results), InputError),
        (("org__m0", "--json", "--csv"), InputError),
        (("org__m0", "--level", "90"), InputError),
        (("org__m0", "--metric", "nothing"), LogError),
        (("org__m0", "A"), InputError),
        (("org__m0", "--plot", tmp_path / "p.docx"), InputError),
        (("--all", results, "--plot", tmp_path / "p.png"), InputError),
    ):
        result = run(*arguments, *options)
        assert isinstance(result.exception, kind), arguments
    assert run("org__m0", "--engine", "stan", *options[:4]).exit_code == 2


def test_damaged_bundle(options: list[str], bundle: Bundle, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    path = copy / "items.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = process("org__m0", *options[:2], "--bundle", copy, "--engine", "native")
    assert done.returncode == 2
    assert "items.parquet" in done.stderr


def test_without_r(options: list[str], tmp_path: Path) -> None:
    """auto goes on without R; mirt by name says what to install."""
    bare = {"PATH": str(tmp_path), "R_HOME": str(tmp_path / "no-R"), "LD_LIBRARY_PATH": ""}
    done = process("org__m0", *options[:4], "--json", **bare)
    assert done.returncode == 0, done.stderr
    engine = json.loads(done.stdout)["engine"]
    assert engine == {"irt": "native", "second_stage": "portable"}
    done = process("org__m0", *options[:4], "--engine", "mirt", **bare)
    assert done.returncode == 4
    assert "--engine native" in done.stderr or "install" in done.stderr.lower()
    done = process("org__m0", *options, "--second-stage", "mgcv", **bare)
    assert done.returncode == 4


def test_plot(options: list[str], tmp_path: Path) -> None:
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        path = tmp_path / f"plot{suffix}"
        assert run("org__m0", "org__m1", "--plot", path, *options).exit_code == 0
        assert path.read_bytes().startswith(magic)


def test_full_disk_leaves_nothing(options: list[str]) -> None:
    done = process("org__m0", *options, "--json", "--out", "/dev/full/r.json")
    assert done.returncode == 1
    assert "Cannot write /dev/full/r.json" in done.stderr


def test_reader_that_goes_away(options: list[str]) -> None:
    code = f"{sys.executable} -m metabench_py reconstruct org__m0 --json {' '.join(options)}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {code} | head -c 1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_hot_path_is_light(options: list[str]) -> None:
    """Nothing that takes long to import, and no R, where the native engine does it all."""
    code = (
        "import sys\n"
        "sys.argv = ['metabench-py', 'reconstruct', 'org__m0', '--json', *sys.argv[1:]]\n"
        "from metabench_py.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'pandas', 'numba', 'scipy', 'matplotlib', 'rpy2', 'torch', 'rich.console'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *options], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_shipped_example(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metabench_py", "reconstruct", "example", "--engine", "native"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("EleutherAI__pythia-14m  (metabench B, 751 items)")


def test_all_of_a_version_and_permuted(bundle: Bundle, tmp_path: Path) -> None:
    for seed in range(2):
        write_model(tmp_path / f"m{seed}", bundle, seed, permuted=True)
    options = ["--all", tmp_path, "--bundle", bundle.path, "--engine", "native", "--json"]
    done = run(*options, "B", "T")
    assert done.exit_code == 0, done.output
    assert [(r["model"], r["permuted"]) for r in json.loads(done.stdout)] == [
        ("m0", True), ("m1", True),
    ]  # fmt: skip
    assert "2 of 2 models failed" in run(*options, "B").output
    assert split_arguments(["B"], named=False) == ([], "B", False)
    assert split_arguments(["m", "B"], named=False) == (["m"], "B", False)
    with pytest.raises(InputError, match="comes the version: --all DIR"):
        split_arguments(["T"], named=False)


def test_models_of_one_name_are_told_apart(options: list[str], results: Path) -> None:
    again = results / "again" / "org__m0"
    shutil.copytree(results / "org__m0", again)
    done = run("org__m0", again, "org__m1", *options, "--json")
    names = [result["model"] for result in json.loads(done.stdout)]
    assert names == [str(results / "org__m0"), str(again), "org__m1"]
    done = run("org__m0", results / "org__m0", *options)
    assert isinstance(done.exception, InputError)
    assert "named twice" in str(done.exception)


def test_how_far_abilities_move_is_told(options: list[str]) -> None:
    done = run("org__m0", *options, "--interval", "theta", "--se-factor", 2)
    assert "theta ± 2 SE" in done.stdout
    assert "theta ± SE" in run("org__m0", *options, "--interval", "theta").stdout
    value = json.loads(
        run("org__m0", *options, "--interval", "theta", "--se-factor", 2, "--json").stdout
    )
    assert value["scores"]["arc"]["se_factor"] == 2.0
    for useless in (["--interval", "theta", "--level", "0.5"], ["--se-factor", "2"]):
        done = run("org__m0", *options, *useless)
        assert isinstance(done.exception, InputError)
        assert "is for --interval" in str(done.exception)
