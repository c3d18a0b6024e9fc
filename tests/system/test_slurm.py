"""A real Slurm: job arrays and Dask workers in jobs, and what happens when parts of it die."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import work
from helpers.leaderboard import write_leaderboard
from slurm_daemons import PARTITION, Slurm, absent, running_slurm

from metabench_py.compute import LocalPool, Place, Shared, open_executor
from metabench_py.compute import arrays as arrays_module
from metabench_py.errors import InputError, WorkerError

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PLACE = Place(workers=2, slurm=PARTITION, slurm_time="00:10:00", slurm_memory="1G")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if reason := absent():
        pytest.fail(f"No Slurm: {reason}")
    with running_slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(autouse=True)
def no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network file system here."""
    monkeypatch.setattr(arrays_module, "_GRACE_S", 2.0)
    monkeypatch.setattr(arrays_module, "_ASK_EVERY_S", 1.0)


@pytest.fixture
def shared_path() -> None:
    """Let Dask's workers find the functions of these tests."""
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)


@pytest.mark.usefixtures("slurm")
def test_an_array_gives_what_one_process_gives(tmp_path: Path) -> None:
    matrix = np.random.default_rng(3).normal(size=(500, 200))
    wanted = [work.sum_of(Shared(matrix), seed) for seed in range(150)]
    with open_executor(PLACE, tmp_path) as executor:
        assert [x.tobytes() for x in executor.map(work.draw, range(120))] == [
            work.draw(seed).tobytes() for seed in range(120)
        ]
        # Nobody here keeps the value while the calls wait.
        call = functools.partial(work.sum_of, Shared(matrix))
        values = executor.map(call, range(150))
        del call
        assert list(values) == wanted
    # Nothing of it is left behind.
    assert list((tmp_path / "arrays").iterdir()) == []


@pytest.mark.usefixtures("needs_r", "slurm")
def test_r_runs_in_jobs_of_an_array(tmp_path: Path) -> None:
    with LocalPool(2) as pool:
        wanted = list(pool.map(work.r_draw, range(100)))
    with open_executor(PLACE, tmp_path) as executor:
        assert list(executor.map(work.r_draw, range(100))) == wanted


@pytest.mark.usefixtures("needs_r", "shared_path")
def test_dask_workers_in_jobs_give_what_one_process_gives(slurm: Slurm, tmp_path: Path) -> None:
    with LocalPool(2) as pool:
        wanted = list(pool.map(work.r_draw, range(8)))
        numbers = [x.tobytes() for x in pool.map(work.draw, range(16))]
    with open_executor(PLACE, tmp_path) as executor:
        assert list(executor.map(work.r_draw, range(8))) == wanted
        assert [x.tobytes() for x in executor.map(work.draw, range(16))] == numbers
        assert any("RUNNING" in line for line in slurm.queue())
        # A worker in a job that is killed costs one retry.
        assert executor.submit(work.die_once, tmp_path / "once", 5).result() == 5
        with pytest.raises(InputError, match="3 is odd"):
            executor.submit(work.refuse, 3).result()
    assert wait_for_empty(slurm)


def test_a_killed_job_is_submitted_again(slurm: Slurm, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    stop = threading.Event()
    killed: list[int] = []
    killer = threading.Thread(target=kill_jobs, args=(stop, killed, 4, tmp_path))
    with open_executor(PLACE, tmp_path) as executor:
        killer.start()
        calls = (range(120), [0.02] * 120, [seen] * 120)
        got = list(executor.map(work.slow_draw, *calls))
        stop.set()
        killer.join()
    assert got == [[float(x) for x in work.draw(seed)] for seed in range(120)]
    assert killed
    assert wait_for_empty(slurm)


def test_a_job_that_always_dies_is_an_error_with_its_last_words(
    slurm: Slurm, tmp_path: Path
) -> None:
    with (
        pytest.raises(WorkerError, match="ended without a result, 3 times"),
        open_executor(PLACE, tmp_path) as executor,
    ):
        list(executor.map(os._exit, [3] * 100))
    assert wait_for_empty(slurm)


def test_the_controller_may_be_killed_and_started_again(slurm: Slurm, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()

    def kill_and_start() -> None:
        while not any(seen.iterdir()):
            time.sleep(0.1)
        # What it has not saved yet it would forget; it saves every few seconds.
        time.sleep(6.0)
        slurm.kill("slurmctld")
        time.sleep(3.0)
        slurm.start("slurmctld")
        # It starts once more what it started just before, and then takes the node out of use.
        while not over.wait(4.0):
            slurm.resume()

    over = threading.Event()
    thread = threading.Thread(target=kill_and_start)
    thread.start()
    with open_executor(PLACE, tmp_path) as executor:
        calls = (range(120), [0.25] * 120, [seen] * 120)
        got = list(executor.map(work.slow_draw, *calls))
    over.set()
    thread.join()
    assert got == [[float(x) for x in work.draw(seed)] for seed in range(120)]
    slurm.wait_idle()


_MAIN = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from helpers import work
from metabench_py.compute import Place, open_executor
place = Place(workers=2, slurm={partition!r}, slurm_time="00:10:00", slurm_memory="1G")
with open_executor(place, Path({folder!r})) as executor:
    values = executor.map(work.slow_draw, range(120), [0.05] * 120, [Path({seen!r})] * 120)
    print("begun", flush=True)
    print(sum(value[0] for value in values))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_array_outlives_a_kill_and_ends_with_ctrl_c(
    slurm: Slurm, tmp_path: Path, how: signal.Signals
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    code = _MAIN.format(
        tests=str(Path(work.__file__).parents[1]),
        partition=PARTITION,
        folder=str(tmp_path / "work"),
        seen=str(seen),
    )
    command = [sys.executable, "-c", code]
    errors = tmp_path / "errors.txt"
    with errors.open("w") as stderr:
        main = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert main.stdout is not None
    assert main.stdout.readline() == "begun\n"
    until = time.monotonic() + 30
    while not any(seen.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    main.send_signal(how)
    main.wait(timeout=30)
    main.stdout.close()
    if how == signal.SIGINT:
        assert wait_for_empty(slurm), errors.read_text() + "\n".join(slurm.queue())
        assert "KeyboardInterrupt" in errors.read_text()
        return
    assert slurm.queue()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = sum(float(work.draw(seed)[0]) for seed in range(120))
    assert float(again.stdout.splitlines()[1]) == wanted
    # The jobs went on by themselves: no call was done twice.
    assert {path.read_text() for path in seen.iterdir()} == {"x"}


def test_what_sbatch_refuses_is_said(slurm: Slurm, tmp_path: Path) -> None:
    del slurm
    with (
        pytest.raises(InputError, match=r"sbatch refuses: .*partition"),
        open_executor(Place(workers=1, slurm="nowhere"), tmp_path) as executor,
    ):
        list(executor.map(work.refuse, [2] * 100))


def kill_jobs(stop: threading.Event, killed: list[int], most: int, folder: Path) -> None:
    """Kill -9 processes of the array's jobs, one now and then."""
    while not stop.is_set() and len(killed) < most:
        time.sleep(0.8)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            if b"run_chunk" in line and str(folder).encode() in line:
                os.kill(int(path.parent.name), signal.SIGKILL)
                killed.append(int(path.parent.name))
                break


def wait_for_empty(slurm: Slurm, limit_s: float = 40.0) -> bool:
    until = time.monotonic() + limit_s
    while slurm.queue():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


@pytest.mark.usefixtures("needs_r", "slurm")
def test_a_whole_run_gives_the_same_here_and_in_slurm(tmp_path: Path) -> None:
    """Subsets in an array, searches in Dask workers in jobs, R among them."""
    found = []
    for name, options in (("here", []), ("there", ["--slurm", PARTITION, "--workers", "2"])):
        config = write_leaderboard(tmp_path / name, ("mine", "yours"), out="items")
        stages = "\n[subsample]\nn_items = 20\nsubsets = 400\n"
        config.write_text(config.read_text() + stages)
        command = [sys.executable, "-m", "metabench_py", "calibrate", "run", "--config"]
        more = ["--slurm-memory", "1G", "--slurm-time", "00:10:00"] if options else []
        done = subprocess.run(
            [*command, str(config), *options, *more], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        out = config.parent / "items"
        found.append({p.name: p.read_bytes() for p in out.iterdir()})
        subsampled = next((config.parent / ".items.work").glob("subsample-*"))
        found[-1]["subsample"] = (subsampled / "subsample.parquet").read_bytes()
    assert found[0] == found[1]
