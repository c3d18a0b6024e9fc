"""The local pool, the journal and shared values, with real processes that really die."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from helpers import work

from metabench_py.compute import Journal, LocalPool, Place, Shared, Task, open_executor, run_tasks
from metabench_py.compute.journal import key_of
from metabench_py.errors import InputError, WorkerError


@pytest.fixture(scope="module")
def pool() -> LocalPool:
    with LocalPool(2) as pool:
        yield pool


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition, limit_s: float = 20.0) -> bool:
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_a_pool_gives_what_one_process_gives(pool: LocalPool) -> None:
    expected = [work.draw(seed) for seed in range(40)]
    for got, wanted in zip(pool.map(work.draw, range(40)), expected, strict=True):
        assert got.tobytes() == wanted.tobytes()


def test_workers_have_one_thread_each_and_are_kept(pool: LocalPool) -> None:
    assert set(pool.submit(work.threads_seen).result().values()) == {"1"}
    pids = set(pool.map(work.pid, [0.05] * 12))
    assert pids == set(pool.pids())
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_an_error_of_a_call_is_raised_with_its_facts(pool: LocalPool) -> None:
    with pytest.raises(InputError, match="3 is odd") as caught:
        pool.submit(work.refuse, 3).result()
    assert caught.value.facts == {"number": 3}
    with pytest.raises(ZeroDivisionError) as plain:
        pool.submit(divmod, 1, 0).result()
    assert "In the worker" in plain.value.__notes__[0]
    assert pool.submit(work.refuse, 4).result() == 4


def test_warnings_of_a_worker_are_given_here(pool: LocalPool) -> None:
    with pytest.warns(RuntimeWarning, match="number 7"):
        assert pool.submit(work.warn, 7).result() == 7


def test_what_a_worker_cannot_import_is_refused_at_once(pool: LocalPool) -> None:
    with pytest.raises(InputError, match="function of a module"):
        pool.submit(lambda: 1)
    with pytest.raises(InputError, match="function of a module"):
        pool.submit(functools.partial(lambda x: x, 1))
    with pytest.raises(InputError, match="cannot be handed to a worker"):
        pool.submit(work.pid, threading.Lock()).result()


def test_a_result_that_cannot_travel_is_an_error(pool: LocalPool) -> None:
    with pytest.raises(WorkerError, match="cannot be handed over"):
        pool.submit(threading.Lock).result()


def test_a_killed_worker_costs_one_retry_of_its_own_call(tmp_path: Path) -> None:
    with LocalPool(2) as pool:
        futures = [
            pool.submit(work.die_once, tmp_path / "a", 5),
            *(pool.submit(work.slow_draw, seed, 0.05, tmp_path) for seed in range(8)),
        ]
        assert futures[0].result() == 5
        for future in futures[1:]:
            future.result()
    # Nobody else's work was done twice.
    assert all((tmp_path / str(seed)).read_text() == "x" for seed in range(8))


def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    wanted = [[float(x) for x in work.draw(seed)] for seed in range(60)]
    kills = 0
    with LocalPool(2, retries=12) as pool:
        futures = [pool.submit(work.slow_draw, seed, 0.04, tmp_path) for seed in range(60)]
        while not all(future.done() for future in futures):
            time.sleep(float(random.uniform(0.05, 0.25)))
            if kills < 10 and (alive := pool.pids()):
                os.kill(alive[int(random.integers(len(alive)))], signal.SIGKILL)
                kills += 1
        assert [future.result() for future in futures] == wanted
    assert kills >= 5
    done_again = sum(len((tmp_path / str(seed)).read_text()) - 1 for seed in range(60))
    assert done_again <= kills


def test_a_call_that_always_kills_its_worker_is_an_error() -> None:
    with LocalPool(1, retries=1) as pool:
        dead, fine = pool.submit(os._exit, 3), pool.submit(work.refuse, 2)
        with pytest.raises(WorkerError, match=r"ended with status 3 .* 2 times"):
            dead.result()
        killed = pool.submit(os.kill, 0, signal.SIGKILL)
        with pytest.raises(WorkerError, match="memory is short"):
            killed.result()
        assert fine.result() == 2


def test_an_exception_in_the_block_ends_all_workers_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), LocalPool(2) as pool:  # noqa: PT012
        futures = [pool.submit(work.pid, 60) for _ in range(4)]
        assert wait_until(lambda: len(pool.pids()) == 2)
        pids = pool.pids()
        raise KeyboardInterrupt
    assert time.monotonic() - start < 30
    assert all(gone(pid) for pid in pids)
    for future in futures:
        with pytest.raises((WorkerError, CancelledError)):
            future.result(timeout=5)
    with pytest.raises(RuntimeError):
        pool.submit(work.pid)


_MAIN = """
import sys
sys.path.insert(0, {tests!r})
from helpers import work
from metabench_py.compute import LocalPool
with LocalPool(2) as pool:
    futures = [pool.submit(work.pid, 60) for _ in range(2)]
    first = pool.submit(work.pid)
    while len(pool.pids()) < 2:
        pass
    print(*pool.pids(), flush=True)
    futures[0].result()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_the_main_process(how: signal.Signals) -> None:
    code = _MAIN.format(tests=str(Path(work.__file__).parents[1]))
    main = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert main.stdout is not None
    pids = [int(pid) for pid in main.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.5)
    assert not any(gone(pid) for pid in pids)
    main.send_signal(how)
    main.wait(timeout=20)
    assert wait_until(lambda: all(gone(pid) for pid in pids))
    main.stdout.close()


def test_the_first_error_ends_the_work_and_keeps_what_is_done() -> None:
    got: list[int] = []
    tasks = [Task(f"task {n}", work.refuse, (n,), got.append) for n in (2, 3, 4, 6, 8, 10)]
    with LocalPool(1) as pool, pytest.raises(InputError, match="3 is odd"):
        run_tasks(tasks, pool)
    assert got[0] == 2


def test_shared_values_travel_once(tmp_path: Path) -> None:
    matrix = np.random.default_rng(3).normal(size=(500, 200))
    wanted = [float(matrix[np.random.default_rng(s).integers(500)].sum()) for s in range(20)]
    with open_executor(Place(workers=2), tmp_path) as pool:
        shared = Shared(matrix)
        assert len(pickle.dumps(shared)) < 1000
        assert list(pool.map(functools.partial(work.sum_of, shared), range(20))) == wanted
        assert len(list(tmp_path.glob("*.value"))) == 1
        small = Shared(matrix[:3])
        assert pool.submit(work.sum_of, small, 0).result() == work.sum_of(small, 0)
        assert len(list(tmp_path.glob("*.value"))) == 1
    assert list(tmp_path.glob("*.value")) == []


def test_keys_tell_calls_apart() -> None:
    one, two = Shared(np.zeros(5)), Shared(np.ones(5))
    keys = [
        key_of(work.draw, (1,), {}),
        key_of(work.draw, (2,), {}),
        key_of(work.draw, (1, 5), {}),
        key_of(work.draw, (1,), {"n": 5}),
        key_of(work.refuse, (1,), {}),
        key_of(work.sum_of, (one, 1), {}),
        key_of(work.sum_of, (two, 1), {}),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(work.sum_of, (Shared(np.zeros(5)), 1), {}) == keys[5]


@pytest.mark.parametrize("workers", [None, 2])
def test_a_journal_does_nothing_twice(tmp_path: Path, workers: int | None) -> None:
    counts: list[tuple[int, int]] = []
    pool = None if workers is None else LocalPool(workers)
    path = tmp_path / "stage.journal"
    with Journal(pool, path) as journal:
        first = list(journal.map(work.slow_draw, range(6), [0.0] * 6, [tmp_path] * 6))
        single = journal.submit(work.slow_draw, 6, 0.0, tmp_path).result()
        with pytest.raises(InputError):
            journal.submit(work.refuse, 3).result()
    with Journal(pool, path, lambda *now: counts.append(now)) as journal:
        assert journal.found == 7
        again = list(journal.map(work.slow_draw, range(8), [0.0] * 8, [tmp_path] * 8))
        with pytest.raises(InputError):
            journal.submit(work.refuse, 3).result()
    assert again[:6] == first
    assert again[6] == single
    assert all((tmp_path / str(seed)).read_text() == "x" for seed in range(8))
    assert counts[-2:] == [(8, 8), (8, 9)]
    if pool is not None:
        pool.shutdown()


def test_a_cut_off_or_damaged_journal_loses_only_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "stage.journal"
    with Journal(None, path) as journal:
        wanted = list(journal.map(work.slow_draw, range(5), [0.0] * 5, [tmp_path] * 5))
    whole = path.read_bytes()
    random = np.random.default_rng(2)
    for cut in [*random.integers(0, len(whole), 12), len(whole)]:
        path.write_bytes(whole[: int(cut)])
        with Journal(None, path) as journal:
            assert list(journal.map(work.slow_draw, range(5), [0.0] * 5, [tmp_path] * 5)) == wanted
        assert path.read_bytes() == whole
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 1
    path.write_bytes(bytes(middle))
    with Journal(None, path) as journal:
        assert 1 <= journal.found < 5
        assert list(journal.map(work.slow_draw, range(5), [0.0] * 5, [tmp_path] * 5)) == wanted


def test_a_place_is_checked() -> None:
    with pytest.raises(InputError, match="choose one"):
        Place(dask="tcp://here:1", slurm="batch")
    with pytest.raises(InputError, match="1 or more"):
        Place(workers=0)
    with pytest.raises(InputError, match="1 or more"):
        LocalPool(0)
