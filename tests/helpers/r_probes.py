"""Calls of the R functions in bridge/r/probes.R, here or in a worker."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

from metabench_py.rbridge import call
from metabench_py.rbridge.session import _get_session
from metabench_py.rbridge.values import RObject

PROBES = Path(__file__).resolve().parent.parent / "bridge" / "r" / "probes.R"


def probe(name: str, **arguments: Any) -> Any:
    session = _get_session()
    if "probe_identity" not in session.scripts:
        session.ri.baseenv["sys.source"](str(PROBES), envir=session.scripts)
    return call(f"probe_{name}", **arguments)


def die(signal: int) -> Any:
    return probe("die", signal=signal)


def loop(path: str) -> Any:
    """Loop in R for ever, once the process's number is in the file."""
    return probe("loop", path=path)


def quit_r(status: int) -> Any:
    return probe("quit", status=status)


def stop(message: str) -> Any:
    return probe("stop", message=message)


def warn(times: int) -> Any:
    return probe("warn", times=times)


def say() -> Any:
    print("from Python")
    os.write(1, b"past Python\n")
    return probe("message")


def handle() -> RObject:
    found = probe("values")["formula"]
    assert isinstance(found, RObject)
    return found


def environment(names: list[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def add(left: float, right: float) -> float:
    return left + right


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "awake"


def give_back(value: Any) -> Any:
    return value


def warn_in_python(text: str) -> int:
    warnings.warn(text, FutureWarning, stacklevel=1)
    return 1


def leave(status: int) -> NoReturn:
    raise SystemExit(status)


def bad_index() -> Any:
    return [][1]


class Unpicklable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_unpicklable() -> NoReturn:
    raise Unpicklable(1, 2)


def loaded() -> list[str]:
    """R packages that are loaded in this process."""
    ri = _get_session().ri
    return [str(name) for name in ri.baseenv["loadedNamespaces"]()]
