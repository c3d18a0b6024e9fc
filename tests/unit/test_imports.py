"""Which room imports which, read from the sources; what an import starts, seen in a process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import metabench_py

PACKAGE = Path(metabench_py.__file__).parent

# From the ground up; a room imports rooms of lower floors, and those that are named beside it.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "benchmarks"}),
    frozenset({"storage"}),
    frozenset({"rbridge", "responses", "compute"}),
    frozenset({"irt", "gam", "stack", "bundle", "logs"}),
    frozenset(
        {
            "reconstruction", "calibration", "hub", "data", "harness", "adaptive", "analysis",
            "report",
        }
    ),
    frozenset({"doctor", "plugin", "figures"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)  # fmt: skip
# The second stage stands on the first, and a bundle holds both; a calibration measures what
# reconstruction will do; a report draws a result; a study of items recovers scores as a calibration
# does.
BESIDE = {
    "gam": {"irt"},
    "stack": {"irt", "gam"},
    "bundle": {"irt", "gam", "stack"},
    "calibration": {"reconstruction"},
    "report": {"reconstruction"},
    "analysis": {"calibration"},
}
# A third-party module -> the rooms that may import it.
OWNED = {
    "rpy2": {"rbridge"},
    "subprocess": {"rbridge", "harness", "compute"},
    "multiprocessing": set(),
    "distributed": {"compute"},
    "dask_jobqueue": {"compute"},
    "huggingface_hub": {"hub", "data"},
    "datasets": {"hub", "data", "harness"},
    "matplotlib": {"report"},
    "lm_eval": {"harness", "plugin"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every import in a file, also inside functions and for type checkers alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            for name in node.names:
                # `from metabench_py import rbridge` names a room in its list.
                yield (f"{module}.{name.name}" if module == "metabench_py" else module), node.lineno


FILES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = [
    (path, name, line)
    for path in FILES
    for name, line in imported(ast.parse(path.read_text(encoding="utf-8")))
]
ROOMS = {room_of(path) for path in FILES} - {"__init__"}


def floor(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_has_its_floor() -> None:
    assert not ROOMS - set().union(*FLOORS)
    assert len(IMPORTS) > 300


def test_rooms_import_one_way() -> None:
    wrong = []
    for path, name, line in IMPORTS:
        parts = name.split(".")
        room = room_of(path)
        if parts[0] != "metabench_py" or len(parts) < 2 or room == "__init__":
            continue
        other = parts[1]
        if other == room or other not in ROOMS:
            continue
        if floor(other) >= floor(room) and other not in BESIDE.get(room, set()):
            wrong.append(f"{path.relative_to(PACKAGE)}:{line}: {room} imports {other}")
    assert wrong == []


def test_modules_are_imported_in_their_rooms_only() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path, name, line in IMPORTS
        if (owners := OWNED.get(name.split(".")[0])) is not None and room_of(path) not in owners
    ]
    assert wrong == []


def test_the_rule_sees_what_it_should() -> None:
    source = (
        "import rpy2.rinterface as ri\n"
        "def f():\n    from metabench_py import rbridge, __version__\n"
        "    from metabench_py.cli.app import main\n"
    )
    assert list(imported(ast.parse(source))) == [
        ("rpy2.rinterface", 1),
        ("metabench_py.rbridge", 3),
        ("metabench_py.__version__", 3),
        ("metabench_py.cli.app", 4),
    ]
    assert floor("cli") > floor("calibration") > floor("irt") > floor("rbridge") > floor("errors")


HEAVY = (
    "pandas", "numba", "scipy", "rpy2", "matplotlib", "torch", "pyarrow", "lm_eval", "datasets",
    "huggingface_hub",
)  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """Heavy modules that a fresh process has loaded after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('LOADED', *sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = done.stdout.rpartition("LOADED")[2].split()
    return {name.partition(".")[0] for name in modules} & set(HEAVY)


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import metabench_py", set()),
        ("import metabench_py.cli.app", set()),
        ("import metabench_py.rbridge", set()),
        ("import metabench_py.reconstruction, metabench_py.bundle", {"pyarrow"}),
        ("import metabench_py; metabench_py.reconstruct('example', engine='native')", {"pyarrow"}),
    ],
)
def test_an_import_starts_nothing(code: str, allowed: set[str]) -> None:
    assert loaded_after(code) <= allowed
