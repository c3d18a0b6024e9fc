"""Looks at everything that metabench-py stands on, and says what to do about what is amiss.

The main job (scores from logs) needs no R: only what it needs can be ``broken``.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metabench_py import __version__
from metabench_py.errors import MetabenchError, RUnavailableError, WorkerError
from metabench_py.rbridge import locate
from metabench_py.rbridge.probe import PackageState, RFacts, probe_apart
from metabench_py.rbridge.session import install_package, install_r

State = Literal["ok", "warning", "broken"]

_NEEDED = ("numpy", "orjson", "pyarrow", "typer")
# What is used besides, and for what.
_USED = {"numba": "fitting item parameters", "pandas": "calibration", "matplotlib": "figures"}
_R_NEEDED_FOR = {
    "mgcv": "without it scores come from the bundle's portable splines, and no bundle is made",
    "mirt": "without it the native engine fits and scores",
}
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
_REINSTALL = "Reinstall it: pip install --force-reinstall metabench-py"
_HARNESS = "pip install 'metabench-py[harness]'"
_OLDEST_HARNESS = (0, 4, 10)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what
        Its name.
    state
        ``ok``; ``warning``: something works worse or not at all, but not the main job;
        ``broken``: the main job does not run.
    detail
        What was found.
    cure
        What to do; empty where nothing is to be done.
    """

    what: str
    state: State
    detail: str
    cure: str = ""


def examine() -> Iterator[Finding]:
    """Look at Python, R, the embedded bundle, the main job and the evaluation harness.

    Yields
    ------
    Finding
        In a fixed order, as soon as each is known.
    """
    yield Finding(
        "metabench-py", "ok",
        f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}",
    )  # fmt: skip
    yield _python_packages()
    yield from _r()
    yield _threads()
    yield _bundle()
    yield from _more_bundles()
    yield _main_job()
    yield from _harness()


def is_sound(findings: list[Finding]) -> bool:
    """Tell whether the main job runs."""
    return all(finding.state != "broken" for finding in findings)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python_packages() -> Finding:
    versions = {name: _version(name) for name in (*_NEEDED, *_USED)}
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    absent = [name for name, version in versions.items() if version is None]
    if not absent:
        return Finding("Python packages", "ok", found)
    broken = any(name in _NEEDED for name in absent)
    uses = ", ".join(f"{name} ({_USED.get(name, 'the main job')})" for name in absent)
    return Finding(
        "Python packages",
        "broken" if broken else "warning",
        f"not installed: {uses}",
        f"pip install {' '.join(absent)}",
    )


def _r() -> Iterator[Finding]:
    home = locate.r_home()
    if home is None:
        named = os.environ.get("R_HOME")
        where = f"R_HOME names {named}, where no R is" if named else "not installed or not on PATH"
        yield Finding("R", "warning", f"{where}; the native engine needs none", install_r())
        return
    version = locate.description(home / "library" / "base").get("Version", "of unknown version")
    bound = _version("rpy2")
    if bound is None or not locate.rpy2_installed():
        yield Finding("R", "ok", f"{version} in {home}")
        yield Finding(
            "rpy2", "warning", "not installed, so R is out of reach",
            "pip install rpy2==3.6.5 rpy2-rinterface==3.6.5 (first have r-base-dev)",
        )  # fmt: skip
        return
    try:
        facts = probe_apart(tuple(_R_NEEDED_FOR))
    except WorkerError as error:
        yield Finding(
            "R", "warning", f"{version} in {home} crashed when it was started: {error}",
            "Reinstall rpy2 for this R: pip install --force-reinstall --no-cache-dir --no-deps "
            "rpy2-rinterface==3.6.5; until then say --engine native",
        )  # fmt: skip
        return
    except RUnavailableError as error:
        detail, _, cure = str(error).partition(" Have R's headers")
        yield Finding("R", "warning", detail, f"Have R's headers{cure}" if cure else "")
        return
    except MetabenchError as error:
        yield Finding("R", "warning", f"{version} in {home}: {error}", _REINSTALL)
        return
    yield from _running_r(facts, bound)


def _running_r(facts: RFacts, bound: str) -> Iterator[Finding]:
    yield Finding("R", "ok", f"{facts.version} in {facts.home}")
    if facts.mode == "API":
        yield Finding("rpy2", "ok", f"{bound}, API mode")
    else:
        yield Finding(
            "rpy2", "warning", f"{bound}, {facts.mode} mode: slower, and not tested with this R",
            "Have R's headers (apt-get install r-base-dev), then pip install --force-reinstall "
            "--no-cache-dir --no-deps rpy2-rinterface==3.6.5; and unset RPY2_CFFI_MODE",
        )  # fmt: skip
    for package in facts.packages:
        yield _r_package(package)
    if not facts.blas:
        yield Finding("R's BLAS", "ok", "R does not say which")
    elif facts.reference_blas:
        yield Finding(
            "R's BLAS", "warning",
            f"the reference one ({facts.blas}): GAM fits take 3 to 10 times as long",
            "On Debian or Ubuntu: apt-get install libopenblas0-pthread; elsewhere point R's "
            "libRblas at OpenBLAS",
        )  # fmt: skip
    else:
        yield Finding("R's BLAS", "ok", facts.blas)


def _r_package(package: PackageState) -> Finding:
    name = f"R's {package.name}"
    if package.problem is None:
        return Finding(name, "ok", str(package.version))
    detail = package.problem
    if package.version is not None:
        detail = f"{package.version} does not load: {_one_line(package.problem)}"
    return Finding(
        name, "warning", f"{detail}; {_R_NEEDED_FOR[package.name]}", install_package(package.name)
    )


def _threads() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = {name: os.environ[name] for name in _THREADS if os.environ.get(name)}
    detail = f"{cores} cores for this process; one BLAS thread a worker"
    if not given:
        return Finding("threads", "ok", f"{detail}, and one in R here unless {_THREADS[0]} says so")
    said = ", ".join(f"{name}={value}" for name, value in given.items())
    odd = [name for name, value in given.items() if not value.isdigit() or int(value) < 1]
    if odd:
        return Finding("threads", "warning", f"{detail}; {said}", f"Give {odd[0]} a whole number")
    return Finding("threads", "ok", f"{detail}; R here as {said}")


def _bundle() -> Finding:
    name = "embedded bundle"
    try:
        from metabench_py.bundle.read import default_bundle_path
    except ImportError as error:
        return Finding(name, "broken", _one_line(str(error)), _REINSTALL)
    path = default_bundle_path()
    if not path.is_dir():
        return Finding(name, "broken", f"absent: {path}", f"{_REINSTALL}; or say --bundle DIR")
    return _verified(name, path, "broken")


def _more_bundles() -> Iterator[Finding]:
    """Check the bundles that ship beside the default one, without which the main job runs."""
    try:
        from metabench_py.bundle.read import default_bundle_path, embedded_bundles
    except ImportError:
        # Told of the default one already.
        return
    for name, path in embedded_bundles().items():
        if path != default_bundle_path():
            yield _verified(f"embedded bundle {name}", path, "warning")


def _verified(name: str, path: Path, otherwise: State) -> Finding:
    try:
        from metabench_py.bundle.verify import verify_bundle

        checks = list(verify_bundle(path))
    except (ImportError, MetabenchError, OSError) as error:
        return Finding(name, otherwise, _one_line(str(error)), _REINSTALL)
    failed = [check for check in checks if not check.ok]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        detail = f"{failed[0].what}: {_one_line(failed[0].detail)}{more}"
        return Finding(name, otherwise, detail, _REINSTALL)
    return Finding(name, "ok", f"whole, {len(checks)} checks passed; {path}")


def _main_job() -> Finding:
    """Score the shipped example as a user would, natively."""
    name = "main job"
    start = time.perf_counter()
    try:
        from metabench_py.reconstruction import reconstruct

        result = reconstruct("example", engine="native")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is the finding
        return Finding(
            name, "broken", f"the shipped example gives no scores: {_one_line(str(error))}",
            _REINSTALL,
        )  # fmt: skip
    grand = result.scores["grand"]
    seconds = time.perf_counter() - start
    return Finding(
        name, "ok",
        f"{result.model} scored in {seconds:.1f} s without R: grand score {grand.score:.1f} "
        f"({grand.lower:.1f} to {grand.upper:.1f})",
    )  # fmt: skip


def _harness() -> Iterator[Finding]:
    version = _version("lm_eval")
    if version is None:
        yield Finding("lm-eval", "warning", "not installed; only evaluating needs it", _HARNESS)
    elif tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < _OLDEST_HARNESS:
        oldest = ".".join(map(str, _OLDEST_HARNESS))
        yield Finding("lm-eval", "warning", f"{version} is older than {oldest}", _HARNESS)
    else:
        yield Finding("lm-eval", "ok", version)
    version = _version("torch")
    if version is None:
        yield Finding("torch", "warning", "not installed; only evaluating needs it", _HARNESS)
    else:
        yield Finding("torch", "ok", version)


def _one_line(text: str) -> str:
    return " ".join(text.split())
