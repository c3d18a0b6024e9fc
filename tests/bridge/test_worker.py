"""Work in a process that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import r_probes

from metabench_py.errors import InputError, RError, RUnavailableError, WorkerError
from metabench_py.rbridge import RWarning
from metabench_py.rbridge.worker import Worker, run_in_worker

TESTS = Path(__file__).resolve().parent.parent
INTERRUPTED = """
import signal
import sys
# A shell's background job inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from helpers import r_probes
from metabench_py.rbridge.worker import run_in_worker
try:
    run_in_worker(r_probes.loop, sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def wait_for(path: Path, seconds: float = 60) -> int:
    """Wait for a process's number in a file."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.is_file() and path.read_text().endswith("\n"):
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError(f"nobody wrote {path}")


def ends(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_values_come_back() -> None:
    assert run_in_worker(r_probes.add, 1.5, 2.0) == 3.5
    array = np.arange(200_000.0).reshape(2, -1)
    np.testing.assert_array_equal(run_in_worker(r_probes.give_back, array), array)
    assert run_in_worker(r_probes.give_back, None) is None


def test_one_blas_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
    names = ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"]
    assert run_in_worker(r_probes.environment, names) == ["1", "1"]


@pytest.mark.usefixtures("needs_r")
def test_warnings_and_errors_of_r_come_back() -> None:
    with pytest.warns(RWarning) as caught:
        assert run_in_worker(r_probes.warn, 2) == ["done"]
    assert [str(w.message) for w in caught] == [
        "R's probe_warn: slope 1",
        "R's probe_warn: slope 0",
    ]
    with pytest.raises(RError, match="no luck") as error:
        run_in_worker(r_probes.stop, "no luck")
    assert error.value.r_class == ("simpleError", "error", "condition")
    with pytest.warns(FutureWarning, match="in Python"):
        assert run_in_worker(r_probes.warn_in_python, "in Python") == 1


def test_errors_of_python_come_back_with_their_place() -> None:
    with pytest.raises(IndexError, match="list index out of range") as caught:
        run_in_worker(r_probes.bad_index)
    assert "in bad_index" in caught.value.__notes__[0]
    with pytest.raises(WorkerError, match="stopped with Unpicklable: 1 and 2"):
        run_in_worker(r_probes.raise_unpicklable)


@pytest.mark.usefixtures("needs_r")
def test_a_handle_cannot_be_handed_over() -> None:
    with pytest.raises(WorkerError, match="cannot be handed over"):
        run_in_worker(r_probes.handle)


@pytest.mark.usefixtures("needs_r")
def test_what_the_worker_prints_does_not_spoil_the_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_in_worker(r_probes.say).tolist() == [True]
    out, err = capfd.readouterr()
    assert out == ""
    assert "past Python" in err


def test_only_functions_of_modules() -> None:
    def nested() -> None:
        raise AssertionError

    for function in (nested, lambda: 1):
        with pytest.raises(InputError, match="give a function of a module"):
            run_in_worker(function)


@pytest.mark.usefixtures("needs_r")
@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGKILL, r"was killed \(SIGKILL\).*fewer jobs"),
        (signal.SIGSEGV, r"crashed \(SIGSEGV\).*metabench-py doctor.*native engine"),
        (signal.SIGABRT, r"crashed \(SIGABRT\).*metabench-py doctor"),
    ],
)
def test_r_that_dies_in_the_middle_is_an_error(number: int, says: str) -> None:
    with pytest.raises(WorkerError, match=says) as caught:
        run_in_worker(r_probes.die, int(number))
    assert caught.value.status == -number
    assert caught.value.function == "helpers.r_probes.die"
    # The command line ends with the class's code, never with a number of the worker's.
    assert caught.value.exit_code == 1


@pytest.mark.usefixtures("needs_r")
def test_r_that_quits_is_an_error() -> None:
    with pytest.raises(WorkerError, match="before it gave a result"):
        run_in_worker(r_probes.quit_r, 0)


def test_a_worker_that_leaves_is_an_error() -> None:
    with pytest.raises(WorkerError, match="ended with status 3") as caught:
        run_in_worker(r_probes.leave, 3)
    assert caught.value.status == 3


@pytest.mark.usefixtures("needs_r")
def test_a_killed_worker_is_an_error(tmp_path: Path) -> None:
    found = tmp_path / "pid"
    threading.Thread(target=lambda: os.kill(wait_for(found), signal.SIGKILL), daemon=True).start()
    with pytest.raises(WorkerError, match="was killed"):
        run_in_worker(r_probes.loop, str(found))


@pytest.mark.usefixtures("needs_r")
def test_a_worker_may_have_a_limit(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(WorkerError, match=r"took longer than 0\.5 s"):
        run_in_worker(r_probes.sleep, 60, limit_s=0.5)
    assert time.monotonic() - start < 20
    assert run_in_worker(r_probes.sleep, 0, limit_s=60) == "awake"


@pytest.mark.usefixtures("needs_r")
def test_a_worker_loads_packages_before_it_is_asked() -> None:
    with Worker(["mgcv", "absent"]) as worker:
        assert "mgcv" in worker.run(r_probes.loaded)
    assert "mgcv" not in run_in_worker(r_probes.loaded)


@pytest.mark.parametrize("packages", [[], ["mgcv"]])
def test_a_worker_that_is_not_asked_ends(packages: list[str]) -> None:
    with Worker(packages) as worker:
        pid = worker._process.pid
    assert ends(pid)


def test_a_worker_whose_r_does_not_start_says_so_when_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("R_HOME", "/nowhere")
    with Worker(["mgcv"]) as worker, pytest.raises(RUnavailableError, match="R_HOME names"):
        worker.run(r_probes.loaded)


def _interruptible(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(path)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("needs_r")
def test_ctrl_c_ends_the_worker_in_the_midst_of_an_r_loop(tmp_path: Path) -> None:
    with _interruptible(tmp_path / "pid") as parent:
        worker = wait_for(tmp_path / "pid")
        parent.send_signal(signal.SIGINT)
        assert parent.communicate(timeout=20)[0] == "interrupted\n"
    assert ends(worker)


@pytest.mark.usefixtures("needs_r")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_parents_death_ends_the_worker(tmp_path: Path, number: int) -> None:
    with _interruptible(tmp_path / "pid") as parent:
        worker = wait_for(tmp_path / "pid")
        assert not ends(worker, 0.2)
        parent.send_signal(number)
        parent.communicate(timeout=20)
    assert ends(worker)


def test_a_broken_pipe_does_not_hide_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while a large task is being written to a worker that is gone."""
    from metabench_py.rbridge import worker

    def interrupted(process: subprocess.Popen[bytes], task: bytes) -> bytes:
        assert process.stdin is not None
        process.stdin.write(task[:100])
        process.kill()
        process.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "_exchange", interrupted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(KeyboardInterrupt):
            run_in_worker(r_probes.add, 1.0, 2.0)
