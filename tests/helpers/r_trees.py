"""Other states of R: on no PATH, without a package, with a package that kills it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from metabench_py.rbridge.locate import library_paths, r_home


def bare_environment() -> dict[str, str]:
    """This process's environment without what says anything of R or was put there by R."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("R_") and name != "LD_LIBRARY_PATH"
    }


def without_r(folder: Path) -> dict[str, str]:
    """An environment in which no R is found."""
    (folder / "bin").mkdir(parents=True)
    return {**bare_environment(), "PATH": str(folder / "bin")}


def without_package(folder: Path, *names: str) -> dict[str, str]:
    """An environment whose R is this machine's, whole, except for some packages.

    Its home is a tree of links to the real one; all libraries are one, without these packages.
    """
    home = r_home()
    assert home is not None
    tree = folder / "R"
    (tree / "library").mkdir(parents=True)
    (tree / "bin").mkdir()
    for path in home.iterdir():
        if path.name not in ("library", "bin"):
            (tree / path.name).symlink_to(path)
    for path in (home / "bin").iterdir():
        if path.name != "R":
            (tree / "bin" / path.name).symlink_to(path)
    # R's front end knows its home by a line of its own.
    front = (home / "bin" / "R").read_text()
    assert f"R_HOME_DIR={home}" in front
    (tree / "bin" / "R").write_text(front.replace(f"R_HOME_DIR={home}", f"R_HOME_DIR={tree}"))
    (tree / "bin" / "R").chmod(0o755)
    for library in library_paths():
        for path in library.iterdir():
            target = tree / "library" / path.name
            if path.name not in names and (path / "DESCRIPTION").is_file() and not target.exists():
                target.symlink_to(path)
    empty = folder / "empty"
    empty.mkdir()
    libraries = dict.fromkeys(("R_LIBS", "R_LIBS_SITE", "R_LIBS_USER"), str(empty))
    path = f"{tree / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # RHOME is what the program Rscript goes by.
    # A site may name its libraries in Renviron.site.
    closed = dict.fromkeys(("R_ENVIRON", "R_ENVIRON_USER"), os.devnull)
    return {**bare_environment(), **libraries, **closed, "PATH": path, "RHOME": str(tree)}


def with_deadly_package(folder: Path, name: str, signal: int) -> dict[str, str]:
    """An environment in which loading an R package kills R, as a crash in its C code does."""
    source = folder / "source" / name
    (source / "R").mkdir(parents=True)
    (source / "DESCRIPTION").write_text(
        f"Package: {name}\nVersion: 99.0\nTitle: A Crash\nLicense: GPL-3\n"
        "Description: Crashes.\nAuthor: Nobody\nMaintainer: Nobody <no@no.no>\n"
    )
    (source / "NAMESPACE").write_text("")
    # The R process is gone before the pause is over.
    (source / "R" / "zzz.R").write_text(
        f".onLoad <- function(...) {{ tools::pskill(Sys.getpid(), {signal}L); Sys.sleep(60) }}\n"
    )
    library = folder / "library"
    library.mkdir()
    subprocess.run(
        ["R", "CMD", "INSTALL", "--no-test-load", "--no-byte-compile", f"--library={library}",
         str(source)],
        env=bare_environment(), check=True, capture_output=True,
    )  # fmt: skip
    return {**bare_environment(), "R_LIBS": str(library)}
