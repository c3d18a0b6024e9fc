"""A hash of the code that modules run: a finished result of other code is not taken."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import metabench_py
from metabench_py.rbridge import locate

_PACKAGE = Path(metabench_py.__file__).parent
# They change how work is done and told, not what comes out.
_NO_MATTER = ("cli", "compute", "errors", "report", "storage")
# Their versions can change numbers.
_LIBRARIES = ("numba", "numpy", "optuna", "scipy")
_R_PACKAGES = ("caret", "mgcv", "mirt")


@functools.lru_cache(maxsize=64)
def code_version(modules: tuple[str, ...]) -> str:
    """Hash of these modules and of all of ours that they import, directly or not.

    Comments, layout and docstrings do not count. The versions of the libraries that compute do,
    and of R's packages where R is used.
    """
    files = sorted(closure(modules))
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode())
        total.update(_meaning(path).encode())
    for name in _LIBRARIES:
        total.update(f"{name} {_version(name)}\0".encode())
    if any(path.is_relative_to(_PACKAGE / "rbridge") for path in files):
        for script in sorted(locate.r_scripts_folder().glob("*.R")):
            total.update(script.read_bytes())
        for name in _R_PACKAGES:
            total.update(f"{name} {locate.package_version(name)}\0".encode())
    return total.hexdigest()


def closure(modules: tuple[str, ...]) -> set[Path]:
    """Source files of these modules and of ours that they import."""
    found: set[Path] = set()
    waiting = [path for name in modules for path in _paths(name)]
    while waiting:
        path = waiting.pop()
        if path in found or path.relative_to(_PACKAGE).parts[0].removesuffix(".py") in _NO_MATTER:
            continue
        found.add(path)
        for name in _imported(path):
            waiting += _paths(name)
    return found


def _imported(path: Path) -> tuple[str, ...]:
    return _read(path)[0]


def _meaning(path: Path) -> str:
    return _read(path)[1]


# The stages of a run share most of their modules.
@functools.lru_cache(maxsize=512)
def _read(path: Path) -> tuple[tuple[str, ...], str]:
    """Give the names that a module imports, and a text of what it does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = tuple(_names(tree))
    return names, _without_docstrings(tree)


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            # `from metabench_py.rbridge import locate` names a module in its list.
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _paths(module: str) -> list[Path]:
    parts = module.split(".")
    if parts[0] != "metabench_py" or len(parts) == 1:
        return []
    base = _PACKAGE.joinpath(*parts[1:])
    return [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()]


def _without_docstrings(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return ast.dump(tree)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
