"""Calls on a real Dask cluster of this machine, R in each worker."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import work

from metabench_py.compute import LocalPool, Place, Shared, open_executor
from metabench_py.errors import InputError, WorkerError

pytest.importorskip("distributed", reason="Dask is absent (the extra cluster)")
# Dask's own threads and loops close when they like.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    import dask
    from distributed import LocalCluster

    # The workers must find the functions of these tests.
    path = os.pathsep.join(p for p in sys.path if p)
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ.PYTHONPATH": path}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            host="127.0.0.1",
            silence_logs=50,
        ) as made,
    ):
        yield made


@pytest.fixture
def executor(cluster: Any, tmp_path: Path) -> Iterator[Any]:
    with open_executor(Place(dask=cluster.scheduler_address), tmp_path) as made:
        yield made


def test_dask_gives_what_the_pool_gives(executor: Any) -> None:
    with LocalPool(2) as pool:
        wanted = [x.tobytes() for x in pool.map(work.draw, range(30))]
    assert [x.tobytes() for x in executor.map(work.draw, range(30))] == wanted


@pytest.mark.usefixtures("needs_r")
def test_r_runs_in_every_worker(executor: Any) -> None:
    with LocalPool(1) as pool:
        wanted = list(pool.map(work.r_draw, range(6)))
    assert list(executor.map(work.r_draw, range(6))) == wanted


def test_errors_warnings_and_shared_values_travel(executor: Any) -> None:
    with pytest.raises(InputError, match="3 is odd") as caught:
        executor.submit(work.refuse, 3).result()
    assert caught.value.facts == {"number": 3}
    with pytest.warns(RuntimeWarning, match="number 7"):
        assert executor.submit(work.warn, 7).result() == 7
    matrix = np.random.default_rng(3).normal(size=(500, 200))
    wanted = [work.sum_of(Shared(matrix), seed) for seed in range(5)]
    # Nobody here keeps the value while the calls wait.
    assert list(executor.map(functools.partial(work.sum_of, Shared(matrix)), range(5))) == wanted


def test_a_killed_worker_costs_one_retry(executor: Any, tmp_path: Path) -> None:
    assert executor.submit(work.die_once, tmp_path / "a", 5).result() == 5


def test_workers_with_several_threads_are_refused(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0",
            silence_logs=50,
        ) as made,
        pytest.raises(InputError, match="2 threads, and R takes one"),
        open_executor(Place(dask=made.scheduler_address), tmp_path),
    ):  # fmt: skip
        pass


def test_no_scheduler_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metabench_py.compute.dask_cluster._CONNECT_S", 1)
    with (
        pytest.raises(InputError, match="no Dask scheduler answers"),
        open_executor(Place(dask="tcp://127.0.0.1:9"), tmp_path),
    ):
        pass


def test_a_killed_scheduler_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    address_file = tmp_path / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
             "--port", "0", "--no-dashboard", "--scheduler-file", str(address_file)],
            env=environment, **quiet,
        ),
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny",
             "--no-dashboard", "--scheduler-file", str(address_file),
             "--local-directory", str(tmp_path)],
            env=environment, **quiet,
        ),
    ]  # fmt: skip
    try:
        until = time.monotonic() + 30
        while not address_file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(address_file.read_text())["address"]
        with open_executor(Place(dask=address), tmp_path) as executor:
            assert executor.submit(work.refuse, 2).result() == 2
            future = executor.submit(work.pid, 60)
            time.sleep(1)
            started[0].send_signal(signal.SIGKILL)
            with pytest.raises(WorkerError, match="finished results are kept"):
                future.result(timeout=120)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
