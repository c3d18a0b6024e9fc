"""Calls on a Slurm cluster: many as a job array, single ones through Dask workers in jobs."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Any

from metabench_py.compute.arrays import ArrayRun, SlurmJobs
from metabench_py.compute.calls import ONE_THREAD, Call, check_importable
from metabench_py.compute.dask_cluster import DaskExecutor, few_failures, require_distributed
from metabench_py.compute.local import RETRIES
from metabench_py.compute.place import Place
from metabench_py.errors import MissingDependencyError

DEFAULT_JOBS = 10
# From so many calls on, an array: it needs no process that hands out work.
LEAST_ARRAY = 20


class SlurmExecutor(Executor):
    """Runs calls as jobs of one partition.

    ``submit`` goes to Dask workers, one a job, which start at the first call. ``map`` of many
    calls is a job array, which also goes on when this process dies: the same map finds it again.

    Parameters
    ----------
    place
        Partition, limits, and how many jobs at a time.
    scratch
        Folder that the cluster's machines see, at the same path.
    least_array
        From how many calls on ``map`` is a job array.
    """

    def __init__(self, place: Place, scratch: Path, least_array: int = LEAST_ARRAY) -> None:
        assert place.slurm is not None
        if shutil.which("sbatch") is None:
            raise MissingDependencyError(
                "--slurm: no sbatch on PATH. Run on a login node of the cluster, or load its "
                "Slurm module."
            )
        require_distributed()
        self._place = place
        self._scratch = scratch
        self._least_array = least_array
        self._jobs = SlurmJobs(place.slurm, sbatch_options(place))
        self._runs: list[ArrayRun] = []
        self._dask: DaskExecutor | None = None
        self._cluster: Any = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have it done by a Dask worker in a job; see `concurrent.futures.Executor.submit`."""
        return self._workers().submit(fn, *args, **kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Do all; values in order, as of `concurrent.futures.Executor.map`."""
        calls = list(zip(*iterables, strict=False))
        if len(calls) < self._least_array:
            columns = zip(*calls, strict=True)
            return super().map(fn, *columns, timeout=timeout, chunksize=chunksize)
        check_importable(fn)
        run = ArrayRun.begin(
            self._jobs,
            self._scratch / "arrays",
            [Call(fn, args, {}) for args in calls],
            at_a_time=self._place.workers or DEFAULT_JOBS,
            retries=RETRIES,
        )
        self._runs.append(run)
        return run.values(timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for single calls; end the Dask workers. Arrays that nobody reads are cancelled."""
        if self._dask is not None:
            self._dask.shutdown(wait, cancel_futures=cancel_futures)
        self._end()

    def kill(self) -> None:
        """Cancel all jobs now."""
        if self._dask is not None:
            self._dask.kill()
        self._end()

    def _end(self) -> None:
        for run in self._runs:
            run.cancel()
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.shutdown()
        else:
            self.kill()

    def _workers(self) -> DaskExecutor:
        if self._dask is None:
            self._cluster = _start_cluster(self._place, self._scratch)
            client = require_distributed().Client(self._cluster, set_as_default=False)
            self._dask = DaskExecutor(client, f"Dask in Slurm's partition {self._place.slurm}")
        return self._dask


def sbatch_options(place: Place) -> tuple[str, ...]:
    """Options of one job: one core, its limits, what the user adds."""
    return (
        "--ntasks=1",
        "--cpus-per-task=1",
        f"--time={place.slurm_time}",
        f"--mem={place.slurm_memory}",
        *place.slurm_options,
    )


def _start_cluster(place: Place, scratch: Path) -> Any:
    try:
        jobqueue = importlib.import_module("dask_jobqueue")
    except ImportError as error:
        raise MissingDependencyError(
            "dask-jobqueue is not installed: pip install 'metabench-py[cluster]'."
        ) from error
    logs = scratch / "slurm-logs"
    logs.mkdir(parents=True, exist_ok=True)
    with few_failures(RETRIES):
        cluster: Any = jobqueue.SLURMCluster(
            queue=place.slurm,
            cores=1,
            processes=1,
            memory=_dask_memory(place.slurm_memory),
            job_mem=place.slurm_memory,
            walltime=place.slurm_time,
            job_extra_directives=list(place.slurm_options),
            job_script_prologue=[f"export {name}={value}" for name, value in ONE_THREAD.items()],
            python=sys.executable,
            local_directory=str(scratch),
            log_directory=str(logs),
            scheduler_options={"dashboard": False, "host": os.environ.get("METABENCH_HOST")},
        )
    with contextlib.ExitStack() as undo:
        undo.callback(cluster.close)
        cluster.scale(jobs=place.workers or DEFAULT_JOBS)
        undo.pop_all()
    return cluster


def _dask_memory(text: str) -> str:
    """Slurm's 4G is Dask's 4GiB."""
    return f"{text}iB" if text[-1:].isalpha() else f"{text}MiB"
