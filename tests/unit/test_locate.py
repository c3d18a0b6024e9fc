"""Where R and its packages are, found on disk: no R is started, and none is needed here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from metabench_py.errors import RUnavailableError
from metabench_py.rbridge import has_package, locate, require_package

VARIABLES = (
    "R_HOME", "R_LIBS", "R_LIBS_USER", "R_LIBS_SITE", "R_ENVIRON", "R_ENVIRON_USER",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that looks like R 4.9's home, in an environment that says nothing else of R."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "R"
    package(folder / "library", "base", "4.9.1")
    (folder / "etc").mkdir()
    monkeypatch.setenv("R_HOME", str(folder))
    forget()
    yield folder
    forget()


def forget() -> None:
    for function in (locate.r_home, locate.library_paths, locate.package_folder):
        function.cache_clear()


def package(library: Path, name: str, version: str = "1.0-2") -> Path:
    (library / name).mkdir(parents=True)
    (library / name / "DESCRIPTION").write_text(
        f"Package: {name}\nTitle: A title\n  of two lines\nVersion: {version}\n"
    )
    return library


def test_a_home_without_r_is_none(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locate.r_home() == home
    monkeypatch.setenv("R_HOME", str(tmp_path / "nowhere"))
    forget()
    assert locate.r_home() is None
    assert locate.library_paths() == ()
    assert not has_package("mgcv")
    with pytest.raises(RUnavailableError, match=r"names .*nowhere, where no R is\. Unset R_HOME"):
        require_package("mgcv")


def test_no_r_on_the_path(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("R_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    forget()
    assert locate.r_home() is None
    with pytest.raises(RUnavailableError, match=r"not installed or not on PATH.*setup\.R"):
        require_package("mgcv")


@pytest.mark.parametrize(
    ("answer", "status"), [("/nowhere", 0), ("", 0), ("boom", 1)], ids=["wrong", "silent", "fails"]
)
def test_an_r_that_does_not_know_its_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    program = tmp_path / "bin" / "R"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {answer}\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.delenv("R_HOME")
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    forget()
    assert locate.r_home() is None
    program.write_text(f"#!/bin/sh\necho {home}\n")
    forget()
    assert locate.r_home() == home


def test_libraries_in_rs_order(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {name: package(tmp_path / name, "mgcv", name) for name in ("one", "two", "site")}
    user = package(tmp_path / "user" / "R" / "x86_64-pc-linux-gnu-library" / "4.9", "mirt")
    monkeypatch.setenv("R_LIBS", f"{folders['two']}{os.pathsep}{tmp_path / 'absent'}")
    (home / "etc" / "Renviron").write_text(
        "# a comment\n"
        "R_LIBS_USER=${R_LIBS_USER:-'%U'}\n"
        "SITE='" + str(folders["site"]) + "'\n"
        "R_LIBS_SITE=${R_LIBS_SITE-${NOT_SET:-${SITE}}:%S}\n"
    )
    assert locate.library_paths() == (folders["two"], user, folders["site"], home / "library")
    assert locate.package_version("mgcv") == "two"
    assert locate.package_folder("mirt") == user / "mirt"
    assert locate.package_version("psych") is None


def test_a_variable_that_names_itself_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R_LIBS_SITE", "${R_LIBS_SITE}")
    (home / "etc" / "Renviron").write_text("R_LIBS_SITE=${R_LIBS_SITE:-x}${R_LIBS_SITE}\n")
    assert locate.library_paths() == (home / "library",)


def test_the_users_renviron_counts(home: Path, tmp_path: Path) -> None:
    mine = package(tmp_path / "mine", "mgcv")
    (tmp_path / ".Renviron").write_text(f"R_LIBS={mine}\n")
    assert locate.library_paths() == (mine, home / "library")


def test_a_named_renviron_takes_the_place_of_the_users(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, named = (package(tmp_path / name, "mgcv") for name in ("mine", "named"))
    (tmp_path / ".Renviron").write_text(f"R_LIBS={mine}\n")
    (tmp_path / "other").write_text(f'R_LIBS="{named}"\n')
    monkeypatch.setenv("R_ENVIRON_USER", str(tmp_path / "other"))
    assert locate.library_paths() == (named, home / "library")


def test_description(tmp_path: Path) -> None:
    fields = locate.description(package(tmp_path, "x") / "x")
    assert fields == {"Package": "x", "Title": "A title", "Version": "1.0-2"}
    assert locate.description(tmp_path / "absent") == {}


def test_our_r_code_is_found() -> None:
    names = {path.name for path in locate.r_scripts_folder().glob("*.R")}
    assert {"envelope.R", "gam.R", "irt.R", "sampling.R"} <= names
    assert locate.setup_script().is_file()


def test_a_missing_package_says_where_it_was_looked_for(home: Path) -> None:
    with pytest.raises(RUnavailableError) as caught:
        require_package("mirt")
    said = str(caught.value)
    assert str(home / "library") in said
    assert f"Rscript {locate.setup_script()}" in said
    assert "native engine" in said
    assert caught.value.package == "mirt"


def test_an_renviron_that_cannot_be_read_is_passed_over(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder in its place cannot be read by the superuser either.
    monkeypatch.setenv("R_ENVIRON_USER", str(tmp_path))
    assert locate.library_paths()
