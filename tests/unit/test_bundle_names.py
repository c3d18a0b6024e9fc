"""Bundles by name and version, and those that ship."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.bundles import tiny_draft

import metabench_py
from metabench_py import reconstruct
from metabench_py.benchmarks import BENCHMARKS
from metabench_py.bundle import default_bundle_path, load_bundle, read, resolve_bundle
from metabench_py.bundle.export import copy_bundle
from metabench_py.bundle.read import bundle_for_version, embedded_bundles
from metabench_py.bundle.verify import verify_bundle
from metabench_py.bundle.write import write_bundle
from metabench_py.errors import BundleError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tiny_draft(), tmp_path / "tiny")


def test_names_and_versions(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABENCH_BUNDLES", str(tmp_path / "home"))
    with pytest.raises(BundleError, match="--bundle"):
        bundle_for_version("T")
    with pytest.raises(BundleError, match="bundle pull --version A"):
        bundle_for_version("A")
    copy_bundle(folder, tmp_path / "home" / "mine")
    assert resolve_bundle("mine") == tmp_path / "home" / "mine"
    assert bundle_for_version("T") == tmp_path / "home" / "mine"
    with pytest.raises(BundleError, match="mine"):
        resolve_bundle("yours")
    assert resolve_bundle(folder) == folder


def test_embedded_bundle_loads() -> None:
    if not (default_bundle_path() / "manifest.json").is_file():
        with pytest.raises(BundleError, match="reinstall"):
            load_bundle()
    else:
        bundle = load_bundle()
        assert bundle.version == "B"
        assert not bundle.rds_untrusted
        assert all(check.ok for check in verify_bundle(bundle.path))
        assert bundle_for_version("B") == default_bundle_path()


def test_bundles_that_ship_beside_the_default(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_bundle(folder, tmp_path / "bundle" / "default")
    small = write_bundle(replace(tiny_draft(), name="small"), tmp_path / "bundle" / "T-few")
    monkeypatch.setattr(read, "default_bundle_path", lambda: tmp_path / "bundle" / "default")
    monkeypatch.setenv("METABENCH_BUNDLES", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert list(embedded_bundles()) == ["T-few", "default"]
    assert resolve_bundle("T-few") == small
    assert load_bundle("T-few").name == "small"
    # A version still means the default, and a pulled bundle does not hide an embedded one.
    assert bundle_for_version("T") == tmp_path / "bundle" / "default"
    copy_bundle(folder, tmp_path / "home" / "T-few")
    assert resolve_bundle("T-few") == small
    with pytest.raises(BundleError, match=r"one of default, T-few\."):
        resolve_bundle("T-more")


def test_embedded_bundles_stay_small() -> None:
    for name in ("default", "B-200"):
        files = [path for path in Path(load_bundle(name).path).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) <= 3_000_000


def test_the_small_bundle_that_ships() -> None:
    small, whole = load_bundle("B-200"), load_bundle()
    assert (small.name, small.version) == ("metabench-B-200", "B")
    assert all(check.ok for check in verify_bundle(small.path))
    counts = {b: len(model.parameters.items) for b, model in small.benchmarks.items()}
    assert sum(counts.values()) == 200
    assert min(counts.values()) >= 10
    for b, model in small.benchmarks.items():
        assert set(model.parameters.items) < set(whole.benchmarks[b].parameters.items)
    # Its errors are of items that the LLMs predicted had no part in choosing.
    assert small.manifest["provenance"]["items"]["chosen"] == 200
    ratio = small.manifest["targets"]["grand"]["rmse"] / whole.manifest["targets"]["grand"]["rmse"]
    assert 1.3 < ratio < 2.0
    # The logs of a whole run do.
    one, all_ = (reconstruct("example", bundle=name, engine="native") for name in ("B-200", None))
    assert "other-items" in {flag.flag for flag in one.flags}
    grand, better = one.scores["grand"], all_.scores["grand"]
    assert grand.lower < better.score < grand.upper
    assert grand.upper - grand.lower > better.upper - better.lower


def test_renewing_the_embedded_bundle_pins_its_fits(tmp_path: Path) -> None:
    """In a copy of the package, so that the real list stays."""
    package = Path(metabench_py.__file__).parent
    shutil.copytree(package, tmp_path / "metabench_py", ignore=shutil.ignore_patterns("default"))
    (tmp_path / "grand.rds").write_bytes(b"a fit")
    code = (
        "from pathlib import Path\n"
        "from helpers.bundles import tiny_draft\n"
        "from metabench_py.bundle import default_bundle_path, load_bundle\n"
        "from metabench_py.bundle.write import write_bundle\n"
        f"assert default_bundle_path().is_relative_to({str(tmp_path)!r})\n"
        "draft = tiny_draft({'grand': Path('grand.rds')})\n"
        "write_bundle(draft, Path('elsewhere'))\n"
        "assert load_bundle('elsewhere').rds_untrusted == ('grand',)\n"
        "write_bundle(draft, default_bundle_path())\n"
        "assert list(load_bundle().rds) == ['grand']\n"
        "assert list(load_bundle('elsewhere').rds) == ['grand']\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_the_readme_tells_the_errors_of_the_bundles_that_ship() -> None:
    readme = " ".join((Path(__file__).parents[2] / "README.md").read_text("utf-8").split())
    small, whole = (
        load_bundle(name).default.evaluation["grouped"]["targets"]["grand"]["rmse"]
        for name in ("B-200", None)
    )
    assert f"a grand error of {small:.2f} points in place of {whole:.2f}" in readme
    errors = load_bundle().default.evaluation["grouped"]["targets"]
    cells = " | ".join(f"{errors[b]['rmse']:.2f}" for b in BENCHMARKS)
    assert f"| {cells} | {whole:.3f} |" in readme
