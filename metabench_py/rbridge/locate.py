"""Where R and its packages are, found without starting R."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def r_scripts_folder() -> Path:
    """Folder of our R functions: inside the wheel, or beside the package in a checkout."""
    inside = _HERE.parent / "r_scripts"
    return inside if inside.is_dir() else _HERE.parent.parent / "r_scripts"


@functools.cache
def r_home() -> Path | None:
    """R's home folder: R_HOME, else what the R on the PATH says; None without R."""
    home = os.environ.get("R_HOME")
    if home:
        return Path(home) if Path(home).is_dir() else None
    program = shutil.which("R")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "RHOME"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    folder = Path(answer.stdout.strip())
    return folder if folder.is_dir() else None


@functools.cache
def library_paths() -> tuple[Path, ...]:
    """Folders in which R looks for packages, as R itself says (profiles left out)."""
    home = r_home()
    if home is None:
        return ()
    program = home / "bin" / "Rscript"
    try:
        answer = subprocess.run(
            [str(program), "--no-init-file", "--no-site-file", "-e",
             "cat(.libPaths(), sep = '\\n')"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(Path(line) for line in answer.stdout.splitlines() if line)


@functools.cache
def _guessed_paths() -> tuple[Path, ...]:
    """Library folders that need no R process to find."""
    home = r_home()
    names = [os.environ.get(n, "") for n in ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE")]
    found = [Path(p).expanduser() for text in names for p in text.split(":") if p]
    if home is not None:
        found += [
            home / "library",
            home / "site-library",
            home.parent.parent / "local/lib/R/site-library",
            Path("/usr/local/lib/R/site-library"),
            Path("/usr/lib/R/site-library"),
        ]
    return tuple(found)


@functools.cache
def package_folder(name: str) -> Path | None:
    """Folder of an installed R package, or None."""
    for paths in (_guessed_paths, library_paths):
        for folder in paths():
            if (folder / name / "DESCRIPTION").is_file():
                return folder / name
    return None
