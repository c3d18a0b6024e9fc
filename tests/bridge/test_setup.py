"""setup.R as a user runs it: real R, a real repository on this disk, no mock."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.r_trees import bare_environment, without_package

from metabench_py import rbridge
from metabench_py.rbridge.locate import setup_script

pytestmark = pytest.mark.usefixtures("needs_r")

# A closed door: whatever this machine reaches, R does not.
UNREACHABLE = "http://127.0.0.1:1"
NOBODY = 65534


def setup(
    *arguments: str, environment: dict[str, str], user: int | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["Rscript", str(setup_script()), *arguments],
        env=environment, user=user, capture_output=True, text=True, timeout=300, check=False,
        cwd="/",
    )  # fmt: skip


def states(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, ...]]:
    """Package -> its words in the table."""
    lines = done.stdout.splitlines()
    # R's installers write to stdout too; the table is at the end.
    start = next((i for i, line in enumerate(lines) if line.startswith("package  ")), None)
    assert start is not None, done
    lines = lines[start:]
    assert lines[0].endswith("without it")
    return {line.split()[0]: tuple(line.split()) for line in lines[1:]}


def build(repository: Path, name: str, version: str, code: str) -> None:
    """Put a source package into a CRAN-like repository, by R's own tools."""
    folder = repository.parent / "sources" / version / name
    (folder / "R").mkdir(parents=True)
    (folder / "DESCRIPTION").write_text(
        f"Package: {name}\nVersion: {version}\nTitle: A Stand-in\nLicense: GPL-3\n"
        "Description: Stands in for the real one.\nAuthor: Nobody\nMaintainer: Nobody <no@no.no>\n"
    )
    (folder / "NAMESPACE").write_text("export(answer)\n")
    (folder / "R" / "answer.R").write_text(code)
    contrib = repository / "src" / "contrib"
    contrib.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["R", "CMD", "build", "--no-build-vignettes", str(folder)],
        cwd=contrib, check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["Rscript", "--vanilla", "-e", f"tools::write_PACKAGES({str(contrib)!r}, type = 'source')"],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="metabench-setup-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    if not rbridge.has_package("mgcv"):
        # needs_r skips, or fails where that is asked for.
        return None
    folder = tmp_path_factory.mktemp("built") / "repository"
    build(folder, "rBayesianOptimization", "1.2", "answer <- function() 42\n")
    build(folder, "catR", "3.17", "answer <- function( 42\n")
    return folder


@pytest.fixture
def repository(place: Path, built: Path) -> Path:
    return Path(shutil.copytree(built, place / "repository"))


def environment(place: Path, mirror: str, library: str = "R_LIBS") -> dict[str, str]:
    """R with a library of its own, asking one mirror."""
    profile = place / "Rprofile"
    profile.write_text(f'options(repos = c(CRAN = "{mirror}"))\n')
    folder = place / "library"
    if library == "R_LIBS":
        folder.mkdir(exist_ok=True)
    return {
        **bare_environment(), "R_PROFILE_USER": str(profile), library: str(folder),
        "HOME": str(place), "LC_ALL": "C.UTF-8",
    }  # fmt: skip


def test_no_host_is_named() -> None:
    text = setup_script().read_text()
    assert "://" not in text
    assert "cran." not in text.lower().replace("r-cran-", "")


def test_check_prints_the_table_and_asks_no_mirror(place: Path) -> None:
    done = setup("--check", environment=environment(place, UNREACHABLE))
    assert done.returncode == 0
    found = states(done)
    assert found["mgcv"][1][0].isdigit()
    assert "present" in found["mgcv"]
    assert set(found) == {
        "mgcv", "mirt", "caret", "psych", "GPArotation", "catR", "rBayesianOptimization",
    }  # fmt: skip
    assert "mirror" not in done.stderr
    assert list((place / "library").iterdir()) == []


def test_a_mirror_that_cannot_be_reached_is_said_plainly(place: Path) -> None:
    done = setup(environment=environment(place, UNREACHABLE))
    assert f"The mirror cannot be reached or is empty: {UNREACHABLE}" in done.stderr
    assert "Nothing was installed. Name a mirror" in done.stderr
    assert "options(repos" in done.stderr
    assert "missing" in states(done)["rBayesianOptimization"]
    assert list((place / "library").iterdir()) == []
    # mgcv is there, so the exit status is good, unless what is absent was asked for by name.
    assert done.returncode == 0
    named = setup("rBayesianOptimization", environment=environment(place, UNREACHABLE))
    assert named.returncode == 1
    assert list(states(named)) == ["mgcv", "rBayesianOptimization"]


def test_no_mirror_configured_takes_the_first_of_rs_list(place: Path) -> None:
    given = environment(place, UNREACHABLE)
    # No profile sets a mirror, and a proxy keeps R from reaching whichever it takes.
    given |= {"R_PROFILE_USER": os.devnull, "R_PROFILE": os.devnull}
    given |= dict.fromkeys(("http_proxy", "https_proxy", "ftp_proxy"), UNREACHABLE)
    done = setup("rBayesianOptimization", environment=given)
    assert done.stderr.startswith("No CRAN mirror is configured; R takes the first of its own list")
    assert "The mirror cannot be reached or is empty: http" in done.stderr
    assert "@CRAN@" not in done.stderr
    assert done.returncode == 1


def test_installs_what_is_missing_and_only_that(place: Path, repository: Path) -> None:
    given = environment(place, f"file://{repository}")
    done = setup("rBayesianOptimization", environment=given)
    assert done.returncode == 0, done.stderr
    row = states(done)["rBayesianOptimization"]
    assert (row[1], "present" in row) == ("1.2", True)
    assert "without" not in row
    installed = place / "library" / "rBayesianOptimization"
    answer = subprocess.run(
        ["Rscript", "-e", "cat(rBayesianOptimization::answer())"],
        env=given, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout == "42"
    # Again: nothing happens, although the mirror has a newer one by now.
    stamp = (installed / "DESCRIPTION").stat().st_mtime_ns
    build(repository, "rBayesianOptimization", "1.3", "answer <- function() 43\n")
    again = setup("rBayesianOptimization", environment=given)
    assert again.returncode == 0
    assert "Installing" not in again.stderr
    assert states(again)["rBayesianOptimization"][1] == "1.2"
    assert (installed / "DESCRIPTION").stat().st_mtime_ns == stamp


def test_one_that_does_not_build_does_not_stop_the_others(place: Path, repository: Path) -> None:
    done = setup(environment=environment(place, f"file://{repository}"))
    found = states(done)
    assert "present" in found["rBayesianOptimization"]
    assert "missing" in found["catR"]
    assert "Not installed: catR. The lines above say why" in done.stderr
    assert "The mirror does not have:" in done.stderr
    # What is required is there.
    assert done.returncode == 0


def test_a_package_that_does_not_load_is_told(place: Path) -> None:
    given = environment(place, UNREACHABLE)
    broken = place / "library" / "catR"
    broken.mkdir()
    (broken / "DESCRIPTION").write_text("Package: catR\nVersion: 3.17\n")
    done = setup("--check", "catR", environment=given)
    assert done.returncode == 1
    assert "catR does not load: " in done.stderr
    assert " ".join(states(done)["catR"]).startswith("catR 3.17 adaptive")
    assert "does not load" in done.stdout


def test_without_what_is_required_the_status_is_one(tmp_path: Path) -> None:
    given = without_package(tmp_path, "mgcv", "mirt", "caret")
    done = setup("--check", environment=given)
    assert done.returncode == 1
    assert "missing" in states(done)["mgcv"]
    assert "required: no calibration" in done.stdout


def test_the_users_library_where_the_systems_is_closed(place: Path, repository: Path) -> None:
    user = NOBODY if os.geteuid() == 0 else None
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    given = environment(place, f"file://{repository}", library="R_LIBS_USER")
    if user is not None:
        os.chown(place, user, user)
    done = setup("rBayesianOptimization", environment=given, user=user)
    assert done.returncode == 0, done.stderr
    assert f"Installing rBayesianOptimization into {place / 'library'}" in done.stderr
    assert (place / "library" / "rBayesianOptimization" / "DESCRIPTION").is_file()


def test_no_library_at_all(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("another user's R is run as root only")
    (place / "closed").mkdir()
    given = environment(place, UNREACHABLE, library="R_LIBS_USER")
    given["R_LIBS_USER"] = str(place / "closed" / "library")
    done = setup("rBayesianOptimization", environment=given, user=NOBODY)
    assert done.returncode == 1
    assert "Nothing was installed: no library is writable, and" in done.stderr
    assert "missing" in states(done)["rBayesianOptimization"]


def test_an_unknown_name_is_refused(place: Path) -> None:
    done = setup("ggplot2", environment=environment(place, UNREACHABLE))
    assert done.returncode == 2
    assert "Not known here: ggplot2. Usage" in done.stderr
    assert done.stdout == ""
