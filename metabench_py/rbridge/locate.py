"""Where R and its packages are, found on disk without starting R."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# The innermost ${NAME}, ${NAME-default} or ${NAME:-default}.
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^{}]*))?\}")


def r_scripts_folder() -> Path:
    """Folder of our R functions: inside the wheel, or beside the package in a checkout."""
    inside = _HERE.parent / "r_scripts"
    return inside if inside.is_dir() else _HERE.parent.parent / "r_scripts"


def setup_script() -> Path:
    """Our ``setup.R``: inside the wheel, or at the top of a checkout."""
    inside = r_scripts_folder() / "setup.R"
    return inside if inside.is_file() else r_scripts_folder().parent / "setup.R"


@functools.cache
def r_home() -> Path | None:
    """R's home folder: R_HOME, else what the R on the PATH says; None without R."""
    home = os.environ.get("R_HOME")
    if home:
        return Path(home) if (Path(home) / "library" / "base").is_dir() else None
    program = shutil.which("R")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "--no-environ", "RHOME"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    folder = Path(answer.stdout.strip())
    return folder if (folder / "library" / "base").is_dir() else None


def rpy2_installed() -> bool:
    """Tell whether rpy2's R interface is there to import; imports nothing."""
    try:
        return importlib.util.find_spec("rpy2.rinterface") is not None
    except ImportError:
        return False


@functools.cache
def library_paths() -> tuple[Path, ...]:
    """Folders in which R looks for packages, in its order.

    Read from the environment and from the Renviron files that R reads at its start (see R's
    ``?Startup`` and ``?.libPaths``); profiles, which our session leaves out, have no say.
    """
    home = r_home()
    if home is None:
        return ()
    known = _environment(home)
    version = re.match(r"\d+\.\d+", description(home / "library" / "base").get("Version", ""))
    # %U, %S and %v as in ?.libPaths; the platform in %U is any that the user has.
    user = f"~/R/*-library/{version.group() if version else '*'}"
    found: list[Path] = []
    for name in ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE"):
        for entry in known.get(name, "").split(os.pathsep):
            text = entry.replace("%U", user).replace("%S", str(home / "site-library"))
            text = text.replace("%v", version.group() if version else "*")
            text = re.sub(r"%[pa]", "*", os.path.expanduser(text))
            found += _folders(text)
    found.append(home / "library")
    return tuple(dict.fromkeys(found))


def _folders(pattern: str) -> Iterator[Path]:
    if "*" in pattern:
        yield from (path for path in Path("/").glob(pattern.lstrip("/")) if path.is_dir())
    elif pattern and Path(pattern).is_dir():
        yield Path(pattern)


def _environment(home: Path) -> dict[str, str]:
    """Give the environment as R has it after its Renviron files: system's, site's, user's."""
    known = dict(os.environ)
    own = os.environ.get("R_ENVIRON_USER")
    users = [Path(own)] if own else [Path(".Renviron"), Path("~/.Renviron").expanduser()]
    user = next((lines for path in users if (lines := _lines(path)) is not None), None)
    site = Path(os.environ.get("R_ENVIRON") or home / "etc" / "Renviron.site")
    for lines in (_lines(home / "etc" / "Renviron"), _lines(site), user):
        for line in lines or ():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                known[name.strip()] = _expand(value.strip().strip("'\""), known)
    known.setdefault("R_LIBS_USER", "%U")
    known.setdefault("R_LIBS_SITE", "%S")
    return known


def _lines(path: Path) -> list[str] | None:
    """Give a file's lines; None where it is absent or may not be read, which R passes over."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None


def _expand(text: str, known: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return known.get(match[1]) or (match[2] or "").strip("'\"")

    # From the inside out; a variable that names itself must not go on for ever.
    for _ in range(10):
        text, found = _VARIABLE.subn(value, text)
        if not found:
            break
    return text


@functools.cache
def package_folder(name: str) -> Path | None:
    """Folder of an installed R package, or None."""
    for folder in library_paths():
        if (folder / name / "DESCRIPTION").is_file():
            return folder / name
    return None


def package_version(name: str) -> str | None:
    """Version of an installed R package, or None."""
    folder = package_folder(name)
    return None if folder is None else description(folder).get("Version")


def description(folder: Path) -> dict[str, str]:
    """Give the one-line fields of a package's DESCRIPTION file."""
    try:
        lines = (folder / "DESCRIPTION").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if line[:1].strip())
    return {key: value.strip() for key, _, value in pairs}
