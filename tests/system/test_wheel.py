"""The public API and the command line from an installed wheel, away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel's content; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(built, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_public_functions(installed: Path) -> None:
    code = """
import json, pathlib, sys
import metabench_py
assert not {"numpy", "pandas", "rpy2"} & set(sys.modules), "the import starts something"
assert pathlib.Path(metabench_py.__file__).parent.parent == pathlib.Path(sys.argv[1])
bundle = metabench_py.load_bundle()
result = metabench_py.reconstruct("example", engine="native")
assert callable(metabench_py.calibrate)
print(json.dumps({"bundle": bundle.name, "result": result.to_dict()}))
"""
    done = run(installed, "-c", code, str(installed))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["result"]["bundle"]["name"] == found["bundle"]
    assert 20 < found["result"]["scores"]["grand"]["score"] < 30


def test_the_command_line_with_r(installed: Path) -> None:
    done = run(
        installed,
        "-m",
        "metabench_py",
        "reconstruct",
        "example",
        "--second-stage",
        "mgcv",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"]["second_stage"] == "mgcv"


def test_setup_script_is_inside(installed: Path) -> None:
    done = run(
        installed,
        "-c",
        "from metabench_py.rbridge.locate import setup_script; print(setup_script())",
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == installed / "metabench_py" / "r_scripts" / "setup.R"
