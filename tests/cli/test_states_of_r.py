"""The commands where R is absent, lacks a package, or crashes in the middle: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.calibration import write_world
from helpers.r_trees import bare_environment, with_deadly_package, without_package, without_r

from metabench_py import rbridge
from metabench_py.bundle import load_bundle
from metabench_py.bundle.read import default_stage
from metabench_py.bundle.released import released_files

pytestmark = pytest.mark.usefixtures("needs_r")

# What needs mgcv, and what needs mirt; all say --engine native or the like where that helps.
NEEDS_MGCV = ("second-stage", "import", "pull", "calibrate")
NEEDS_R = (*NEEDS_MGCV, "mirt")


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metabench_py", *arguments],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    if not rbridge.has_package("mgcv"):
        # needs_r skips, or fails where that is asked for.
        return {}
    folder = tmp_path_factory.mktemp("r")
    return {
        "none": without_r(folder / "none"),
        "wrong home": {**bare_environment(), "R_HOME": str(folder / "nowhere")},
        "no mgcv": without_package(folder / "bare", "mgcv", "mirt", "caret"),
        "crash": with_deadly_package(folder / "deadly", "mgcv", int(signal.SIGSEGV)),
    }


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[str]]:
    for path in released_files("A").paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    responses, scores, items = write_world(tmp_path / "world", n_llms=120, n_items=4)
    out = str(tmp_path / "out")
    return {
        "second-stage": ["reconstruct", "example", "--second-stage", "mgcv"],
        "mirt": ["reconstruct", "example", "--engine", "mirt"],
        "import": ["bundle", "import", str(tmp_path), "--version", "A", "--trust", "--out", out],
        "pull": ["bundle", "pull", "--version", "A", "--out", out, "--address",
                 "http://127.0.0.1:1", "--downloads", str(tmp_path / "downloads")],
        "calibrate": ["calibrate", "bundle", "--responses", str(responses), "--scores",
                      str(scores), "--items", str(items), "--out", out, "--name", "t",
                      "--version-label", "T", "--licence", "CC0-1.0", "--source", "simulated",
                      "--folds", "3", "--engine", "native", "--second-stage", "gam",
                      "--basis-size", "8"],
    }  # fmt: skip


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """Give the one error on stderr; no traceback, no result, nothing half made."""
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


@pytest.mark.parametrize("state", ["none", "wrong home"])
@pytest.mark.parametrize("command", NEEDS_R)
def test_no_r(
    states: dict[str, dict[str, str]], commands: dict[str, list[str]], tmp_path: Path,
    state: str, command: str,
) -> None:  # fmt: skip
    done = run(states[state], *commands[command])
    said = one_error(done)
    assert done.returncode == 4
    if state == "none":
        assert "R is not installed or not on PATH. On Debian or Ubuntu: apt-get install" in said
        assert "setup.R" in said
        assert "--engine native" in said
    else:
        assert "where no R is. Unset R_HOME" in said
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "downloads").exists()


@pytest.mark.parametrize("command", NEEDS_MGCV)
def test_r_without_mgcv(
    states: dict[str, dict[str, str]], commands: dict[str, list[str]], tmp_path: Path, command: str
) -> None:
    done = run(states["no mgcv"], *commands[command])
    said = one_error(done)
    assert done.returncode == 4
    assert "R has no package 'mgcv' (looked in " in said
    assert "apt-get install r-cran-mgcv; else: Rscript" in said
    assert not (tmp_path / "out").exists()


def test_r_without_mirt(states: dict[str, dict[str, str]], commands: dict[str, list[str]]) -> None:
    done = run(states["no mgcv"], *commands["mirt"])
    said = one_error(done)
    assert done.returncode == 4
    assert "R has no package 'mirt'" in said
    assert "use the native engine" in said


@pytest.mark.parametrize("state", ["none", "wrong home", "no mgcv", "crash"])
def test_native_needs_no_r(states: dict[str, dict[str, str]], state: str) -> None:
    """And so does auto, where R has nothing for it."""
    engines = ["native"] if state == "crash" else ["native", "auto"]
    for engine in engines:
        done = run(states[state], "reconstruct", "example", "--engine", engine, "--json")
        assert done.returncode == 0, done.stderr
        second = "stack" if default_stage(None) == "stack" else "portable"
        assert json.loads(done.stdout)["engine"] == {"irt": "native", "second_stage": second}


def test_calibrating_a_stack_needs_no_r(
    states: dict[str, dict[str, str]], commands: dict[str, list[str]], tmp_path: Path
) -> None:
    """And without R it is what a calibration makes, unless told otherwise."""
    command = [word for word in commands["calibrate"] if word not in ("--second-stage", "gam")]
    done = run(states["none"], *command)
    assert done.returncode == 0, done.stderr
    bundle = load_bundle(tmp_path / "out")
    assert list(bundle.stages) == ["stack"]
    assert bundle.manifest["provenance"]["software"] == {}
    assert bundle.manifest["provenance"]["options"]["second_stage"] == ["stack"]


@pytest.mark.parametrize("command", ["second-stage", "calibrate"])
def test_r_crashing_in_the_middle(
    states: dict[str, dict[str, str]], commands: dict[str, list[str]], tmp_path: Path, command: str
) -> None:
    done = run(states["crash"], *commands[command])
    said = one_error(done)
    assert done.returncode == 1
    assert "crashed (SIGSEGV) before it gave a result" in said
    assert "metabench-py doctor" in said
    assert not (tmp_path / "out").exists()


def doctor(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any]]:
    done = run(environment, "doctor", "--json", *arguments)
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    return done.returncode, {"ok": report["ok"], **{c["what"]: c for c in report["checks"]}}


def test_doctor_here() -> None:
    status, report = doctor(bare_environment())
    assert report["main job"]["state"] == "ok", report["main job"]
    assert (status, report["ok"]) == (0, True)
    for what in ("metabench-py", "Python packages", "R", "rpy2", "R's mgcv", "embedded bundle"):
        assert report[what]["state"] == "ok", report[what]
        assert report[what]["cure"] == ""
    assert report["rpy2"]["detail"].endswith("API mode")
    assert "without R: grand score" in report["main job"]["detail"]
    assert {"R's mirt", "R's BLAS", "threads", "lm-eval", "torch"} <= set(report)


def test_doctor_for_people() -> None:
    done = run(bare_environment(), "doctor")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert all(line[:6] in ("ok    ", "warn  ") for line in lines[:-2])
    assert lines[-1].startswith("Reconstructing works")
    for line in lines[:-2]:
        assert (" -> " in line) == line.startswith("warn"), line


@pytest.mark.parametrize(
    ("state", "what", "says"),
    [
        ("none", "R", "not installed or not on PATH"),
        ("wrong home", "R", "where no R is"),
        ("no mgcv", "R's mgcv", "not installed; without it scores come from the bundle's"),
        ("crash", "R", r"crashed when it was started"),
    ],
)
def test_doctor_survives_every_state_of_r(
    states: dict[str, dict[str, str]], state: str, what: str, says: str
) -> None:
    status, report = doctor(states[state])
    assert (status, report["ok"]) == (0, True)
    assert report[what]["state"] == "warning"
    assert says in report[what]["detail"]
    assert report[what]["cure"]
    assert report["main job"]["state"] == "ok"


def test_doctor_warns_of_abi_mode() -> None:
    _, report = doctor({**bare_environment(), "RPY2_CFFI_MODE": "ABI"})
    assert report["rpy2"]["state"] == "warning"
    assert "ABI mode" in report["rpy2"]["detail"]
    assert "rpy2-rinterface" in report["rpy2"]["cure"]


def test_doctor_warns_of_the_reference_blas() -> None:
    folder = Path("/usr/lib/x86_64-linux-gnu/blas")
    if not (folder / "libblas.so.3").exists():
        pytest.skip("no reference BLAS beside R's own here")
    _, report = doctor({**bare_environment(), "LD_LIBRARY_PATH": str(folder)})
    assert report["R's BLAS"]["state"] == "warning"
    assert "openblas" in report["R's BLAS"]["cure"]


def test_doctor_tells_threads() -> None:
    _, report = doctor({**bare_environment(), "OPENBLAS_NUM_THREADS": "many"})
    assert report["threads"]["state"] == "warning"
    assert "OPENBLAS_NUM_THREADS=many" in report["threads"]["detail"]
    cores = len(os.sched_getaffinity(0))
    assert report["threads"]["detail"].startswith(f"{cores} cores")


def test_a_damaged_bundle_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shutil

    from metabench_py import doctor as room
    from metabench_py.bundle import read

    whole = read.default_bundle_path()
    copy = tmp_path / "default"
    shutil.copytree(whole, copy)
    monkeypatch.setattr(read, "default_bundle_path", lambda: copy)
    assert room._bundle().state == "ok"
    content = bytearray((copy / "items.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "items.parquet").write_bytes(bytes(content))
    found = room._bundle()
    assert (found.state, found.cure[:9]) == ("broken", "Reinstall")
    assert found.detail.startswith("items.parquet: ")
    assert not room.is_sound([found])
    job = room._main_job()
    assert job.state == "broken"
    assert "items.parquet" in job.detail
    # One that ships beside it is checked too, but the main job runs without.
    shutil.copytree(whole, tmp_path / "small")
    (more,) = room._more_bundles()
    assert (more.what, more.state) == ("embedded bundle small", "ok")
    (tmp_path / "small" / "population.parquet").unlink()
    (more,) = room._more_bundles()
    assert (more.state, more.detail[:20]) == ("warning", "population.parquet: ")
    assert room.is_sound([more])
    shutil.rmtree(copy)
    assert room._bundle().detail.startswith("absent: ")
