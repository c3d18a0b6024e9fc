"""What R is like here, asked in a process of its own, so that a crash of R is only an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench_py.rbridge.session import call
from metabench_py.rbridge.worker import run_in_worker

# Names in the file names of optimised libraries.
_FAST_BLAS = (
    "openblas", "mkl", "blis", "atlas", "accelerate", "veclib", "flexiblas", "armpl", "nvblas",
)  # fmt: skip


@dataclass(frozen=True)
class PackageState:
    """An R package.

    Attributes
    ----------
    version
        None where it is not installed.
    problem
        Why it cannot be used; None where it loads.
    """

    name: str
    version: str | None
    problem: str | None


@dataclass(frozen=True)
class RFacts:
    """R as it runs here.

    Attributes
    ----------
    version, home
        Of R.
    mode
        How rpy2 is bound to R: ``API`` (compiled against it) or ``ABI`` (looked up at run time).
    blas
        File of the BLAS that R uses; empty where R cannot tell.
    """

    version: str
    home: str
    mode: str
    blas: str
    packages: tuple[PackageState, ...]

    @property
    def reference_blas(self) -> bool:
        """Whether the BLAS is the plain reference one, which is several times slower."""
        return bool(self.blas) and is_reference_blas(Path(self.blas))


def is_reference_blas(path: Path) -> bool:
    """Tell from a BLAS library's name, and where it leads, whether it is the reference one."""
    names = f"{path} {path.resolve()}".lower()
    return not any(name in names for name in _FAST_BLAS)


def probe(packages: Sequence[str]) -> RFacts:
    """Start R in this process and look at it.

    Raises
    ------
    RUnavailableError
        R is absent or does not load.
    """
    found: dict[str, Any] = call("doctor_facts", packages=list(packages))
    # Loaded by now, whatever way R was found.
    from rpy2.rinterface_lib import openrlib

    return RFacts(
        version=found["version"][0],
        home=found["home"][0],
        mode=openrlib.cffi_mode.name,
        blas=found["blas"][0],
        packages=tuple(
            PackageState(name, about["version"][0], about["problem"][0])
            for name, about in found["packages"].items()
        ),
    )


def probe_apart(packages: Sequence[str], limit_s: float = 120.0) -> RFacts:
    """Look at R from a process of its own.

    Raises
    ------
    RUnavailableError
        R is absent or does not load.
    WorkerError
        R crashed, or did not answer in time.
    """
    return run_in_worker(probe, packages, limit_s=limit_s)
