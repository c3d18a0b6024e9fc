"""The choice of a place to run, and its opening."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from metabench_py.compute.local import LocalPool
from metabench_py.compute.shared import spilling_to
from metabench_py.errors import InputError, StorageError


@dataclass(frozen=True)
class Place:
    """Where to run.

    Attributes
    ----------
    workers
        Processes at a time; None: all cores of this machine, or 10 jobs of Slurm.
    dask
        Address of a running Dask scheduler.
    slurm
        Partition of a Slurm cluster.
    slurm_time, slurm_memory
        Limits of one job, as sbatch takes them.
    slurm_options
        More options of sbatch, for instance ``--account=mine``.
    """

    workers: int | None = None
    dask: str | None = None
    slurm: str | None = None
    slurm_time: str = "24:00:00"
    slurm_memory: str = "4G"
    slurm_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(
                f"{self.workers} workers cannot work; take 1 or more.", workers=self.workers
            )
        if self.dask is not None and self.slurm is not None:
            raise InputError("Both --dask and --slurm: choose one.")

    def describe(self) -> str:
        """Say where, in a few words."""
        if self.dask is not None:
            return f"Dask at {self.dask}"
        if self.slurm is not None:
            return f"Slurm partition {self.slurm}"
        return f"{LocalPool(self.workers).workers} processes here"


@contextlib.contextmanager
def open_executor(place: Place, scratch: Path) -> Iterator[Executor]:
    """Open it; at the end its workers are ended, at an exception (Ctrl-C) at once.

    Parameters
    ----------
    scratch
        Folder for what goes to the workers in files. A cluster's machines must see it.

    Raises
    ------
    MissingDependencyError
        Dask, or Slurm's commands, are absent.
    InputError
        The cluster does not answer, or is set up so that R would not run.
    """
    there = scratch.exists()
    try:
        scratch.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot write {scratch}: {error.strerror}; choose another place.", path=str(scratch)
        ) from error
    try:
        with spilling_to(scratch.resolve()), _opened(place, scratch.resolve()) as executor:
            yield executor
        if not there:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        if not there:
            # What an interrupted array has done is kept.
            with contextlib.suppress(OSError):
                scratch.rmdir()


def _opened(place: Place, scratch: Path) -> contextlib.AbstractContextManager[Executor]:
    if place.dask is not None:
        from metabench_py.compute.dask_cluster import DaskExecutor

        return DaskExecutor.connect(place.dask)
    if place.slurm is not None:
        from metabench_py.compute.slurm import SlurmExecutor

        return SlurmExecutor(place, scratch)
    return LocalPool(place.workers)
