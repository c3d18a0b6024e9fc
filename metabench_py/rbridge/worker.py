"""Work in a process of its own, which can be killed.

R cannot take an interrupt in a long fit, and a crash of R would take this process with it. The
worker is a fresh interpreter with one BLAS thread. It imports the function by name, so a
script needs no ``__main__`` guard. What goes in and comes out is pickled.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, TypeVar

from metabench_py.errors import InputError, MetabenchError, WorkerError, how_it_ended

T = TypeVar("T")
_CHILD = "from metabench_py.rbridge.worker import _serve; _serve()"


def run_in_worker(function: Callable[..., T], /, *args: Any, limit_s: float | None = None) -> T:
    """Run a module-level function in a process of its own and give its value.

    Warnings of the worker are given again here. On Ctrl-C, or any other exception while waiting,
    the worker is killed.

    Parameters
    ----------
    function
        A function that the worker can import by its module and name.
    *args
        Its arguments; they and the value must be picklable (an RObject is not).
    limit_s
        Seconds after which the worker is killed; None: it may take its time.

    Raises
    ------
    InputError
        The function is not importable: a lambda, a nested one, one of ``__main__``.
    WorkerError
        The process died: R crashed, or it was killed (facts: function, status, as of
        `subprocess.Popen.returncode`), or it took longer than `limit_s`.
    Exception
        What the function raised.
    """
    with Worker() as worker:
        return worker.run(function, *args, limit_s=limit_s)


class Worker:
    """A process for one function, started before the function is known.

    Used as a context manager: a worker that has nothing to do any more is killed at its end.

    Parameters
    ----------
    packages
        R packages to load while nothing is asked yet. What fails in that fails again, with its
        message, in the function that needs it.
    """

    def __init__(self, packages: Sequence[str] = ()) -> None:
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *packages],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Its own group: Ctrl-C reaches us alone, and we kill all of it.
            start_new_session=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            _kill(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def run(self, function: Callable[..., T], /, *args: Any, limit_s: float | None = None) -> T:
        """Run the one function; see `run_in_worker`."""
        name = f"{function.__module__}.{function.__qualname__}"
        if "<" in name or function.__module__ == "__main__":
            raise InputError(f"A worker cannot import {name}: give a function of a module.")
        task = pickle.dumps((list(sys.path), function.__module__, function.__qualname__, args))
        process = self._process
        late = threading.Event()
        timer = threading.Timer(limit_s or 0.0, _stop_late, (process, late))
        timer.daemon = True
        if limit_s is not None:
            timer.start()
        try:
            answer = _exchange(process, task)
        except BaseException:
            _kill(process)
            raise
        finally:
            timer.cancel()
        if not answer and late.is_set():
            raise WorkerError(
                f"The worker process that ran {name} took longer than {limit_s:g} s and was "
                "stopped.",
                function=name,
                status=process.returncode,
            )
        if not answer:
            raise _died(name, process.returncode)
        status, value, warned = pickle.loads(answer)
        for category, text in warned:
            warnings.warn(text, category, stacklevel=3)
        if status == "raised":
            raise value
        result: T = value
        return result


def _exchange(process: subprocess.Popen[bytes], task: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    # A broken pipe: it died at its start; the exit status says more.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(len(task).to_bytes(8, "little"))
        process.stdin.write(task)
        process.stdin.flush()
    # stdin stays open meanwhile: the worker ends itself when it closes, that is, when we die.
    answer = process.stdout.read()
    # Only then close stdin: a worker that has answered must end by itself, with status 0.
    process.wait()
    _close_stdin(process)
    return answer if process.returncode == 0 else b""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # What is left in the buffer would break the pipe again, in place of the exception under way.
    _close_stdin(process)


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _stop_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    # The caller still waits for this process, so its number is nobody else's.
    if process.returncode is None:
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _died(name: str, status: int) -> WorkerError:
    how, cure = how_it_ended(status, "jobs at a time")
    return WorkerError(
        f"The R worker process of {name} {how} before it gave a result. {cure}.",
        function=name,
        status=status,
    )


def _serve() -> None:
    """Do the one task on stdin and write its outcome to what was stdout."""
    tasks = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Nothing that R or a library prints may get between the answers.
    os.dup2(2, 1)
    packages = sys.argv[1:]
    if packages:
        _warm_up(packages)
    header = tasks.read(8)
    if not header:
        # Nothing is asked any more.
        os._exit(0)
    payload = tasks.read(int.from_bytes(header, "little"))
    threading.Thread(target=_end_with_parent, args=(tasks,), daemon=True).start()
    path, module, name, args = pickle.loads(payload)
    sys.path[:] = path
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function: Any = importlib.import_module(module)
            for part in name.split("."):
                function = getattr(function, part)
            outcome = ("returned", function(*args))
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
            if not isinstance(error, MetabenchError):
                # A pickled exception keeps its notes, not its traceback.
                error.add_note(f"In the worker:\n{traceback.format_exc()}")
            outcome = ("raised", error)
    warned = [(warning.category, str(warning.message)) for warning in caught]
    answers.write(_pack(outcome, warned))
    answers.close()
    # R's own clean-up at exit has nothing to do here, and must not spoil a good result.
    os._exit(0)


def _warm_up(packages: Sequence[str]) -> None:
    from metabench_py.rbridge.session import load_packages

    with contextlib.suppress(MetabenchError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_packages(packages)


def _pack(outcome: tuple[str, Any], warned: list[tuple[type[Warning], str]]) -> bytes:
    status, value = outcome
    try:
        packed = pickle.dumps((status, value, warned))
        pickle.loads(packed)
    except Exception as error:  # noqa: BLE001 - classes raise anything when pickled
        text = (
            f"The worker stopped with {type(value).__name__}: {value}"
            if status == "raised"
            else f"The worker's result cannot be handed over ({error})."
        )
        substitute: MetabenchError = WorkerError(text, status=0)
        packed = pickle.dumps(("raised", substitute, []))
    return packed


def _end_with_parent(tasks: BinaryIO) -> None:
    tasks.read(1)
    os._exit(1)
