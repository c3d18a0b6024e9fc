"""A pool of fresh interpreters on this machine.

Not `ProcessPoolExecutor`: when one of its workers dies, all that was asked of it is lost, and
nobody knows which task did it; its workers outlive a parent that is killed; and a script needs a
``__main__`` guard. Here each thread of the pool owns one worker process, so a death is that of one
task, which is done again; workers see their stdin close when this process dies, and end.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess  # noqa: TID251 - this room starts workers
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from metabench_py.compute.calls import ONE_THREAD, Call, Outcome, Result, check_importable
from metabench_py.errors import InputError, WorkerError, how_it_ended

_CHILD = "from metabench_py.compute.child import serve; serve()"
RETRIES = 2


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalPool(Executor):
    """Runs calls in worker processes: fresh interpreters, one R and one BLAS thread each.

    Used as a context manager, an exception (Ctrl-C too) kills all workers at once.

    Parameters
    ----------
    workers
        Processes at a time; None: one a core. They start when there is work for them.
    retries
        How often a call is done again whose worker died.
    """

    def __init__(self, workers: int | None = None, retries: int = RETRIES) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"{workers} workers cannot work; take 1 or more.", workers=workers)
        self.workers = workers or available_cores()
        self.retries = retries
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._processes: set[_Process] = set()
        self._lock = threading.Lock()
        self._idle = 0
        self._closed = self._killed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Result:
        """Have it done; see `concurrent.futures.Executor.submit`.

        Raises
        ------
        InputError
            A worker cannot import the function.

        Notes
        -----
        The future's exception is a WorkerError if the worker died once more often than `retries`.
        """
        check_importable(fn)
        job = _Job(Call(fn, args, kwargs), Result())
        with self._lock:
            if self._closed:
                raise RuntimeError("The pool is shut down.")
            self._waiting.put(job)
            if self._idle > 0:
                self._idle -= 1
            elif len(self._threads) < self.workers:
                # Daemons: at the end of this process, its workers see their stdin close.
                thread = threading.Thread(target=self._serve, daemon=True)
                self._threads.append(thread)
                thread.start()
        return job.future

    def pids(self) -> list[int]:
        """Process ids of the workers that live now."""
        with self._lock:
            return sorted(process.pid for process in self._processes)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; see `concurrent.futures.Executor.shutdown`."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        if cancel_futures:
            self._cancel_waiting()
        for _ in threads:
            self._waiting.put(None)
        if wait:
            for thread in threads:
                thread.join()

    def kill(self) -> None:
        """End all workers now; what is not done fails or is cancelled."""
        with self._lock:
            self._closed = self._killed = True
            processes = list(self._processes)
        self._cancel_waiting()
        for process in processes:
            process.kill()
        self.shutdown()

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

    def _cancel_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._waiting.get_nowait()
                if job is not None:
                    job.future.cancel()

    def _serve(self) -> None:
        """Do waiting calls, one after the other, in a worker of this thread's own."""
        process: _Process | None = None
        try:
            while (job := self._waiting.get()) is not None:
                if job.future.set_running_or_notify_cancel():
                    process = self._do(job, process)
                with self._lock:
                    self._idle += 1
        finally:
            if process is not None:
                self._end(process)

    def _do(self, job: _Job, process: _Process | None) -> _Process | None:
        try:
            # Only now: many calls with large arguments would fill the memory.
            payload = job.call.pack()
            for attempt in range(self.retries + 1):
                if process is None or not process.alive():
                    process = self._start(process)
                answer = process.exchange(payload)
                if answer is not None:
                    job.future.take(pickle.loads(answer))
                    return process
                status = process.wait()
                self._end(process)
                process = None
                if self._killed:
                    raise WorkerError("The work was stopped.", function=job.call.name(), status=-9)
                if attempt == self.retries:
                    raise died(job.call.name(), status, attempt + 1)
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            job.future.take(Outcome(error=error))
        return process

    def _start(self, dead: _Process | None) -> _Process:
        if dead is not None:
            self._end(dead)
        with self._lock:
            if self._killed:
                raise WorkerError("The work was stopped.", status=-9)
            process = _Process()
            self._processes.add(process)
        return process

    def _end(self, process: _Process) -> None:
        process.close()
        with self._lock:
            self._processes.discard(process)


@dataclass(frozen=True, eq=False)
class _Job:
    call: Call
    future: Result


class _Process:
    """One worker process and its two pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                **ONE_THREAD,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
            # Its own group: Ctrl-C reaches us alone, and we kill all of it.
            start_new_session=True,
        )
        self.pid = self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def exchange(self, payload: bytes) -> bytes | None:
        """Send a call and wait for its outcome; None if the worker died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(len(payload).to_bytes(8, "little"))
            self._process.stdin.write(payload)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return None
        size = self._process.stdout.read(8)
        if len(size) < 8:
            return None
        wanted = int.from_bytes(size, "little")
        answer = self._process.stdout.read(wanted)
        return answer if len(answer) == wanted else None

    def wait(self) -> int:
        """Wait for the end of a worker that closed its pipe; give its status."""
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        # Not reaped yet, so that the number is nobody else's.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def died(name: str, status: int, times: int) -> WorkerError:
    """Say how a worker ended (`status` as of `subprocess.Popen.returncode`), and what to do."""
    how, cure = how_it_ended(status, "workers")
    return WorkerError(
        f"The worker process of {name} {how} before it gave a result, {times} times. {cure}.",
        function=name,
        status=status,
    )
