"""Runs tasks in processes of their own, several at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metabench_py.rbridge.worker import run_in_worker


@dataclass(frozen=True, eq=False)
class Task:
    """One call in a worker process.

    Attributes
    ----------
    name
        For progress.
    function, args
        A module-level function and picklable arguments.
    done
        Takes the value, in the caller's thread, as soon as it is there.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    done: Callable[[Any], None]


def run_tasks(tasks: Sequence[Task], workers: int) -> None:
    """Run all tasks, at most `workers` at a time, each in a fresh process.

    The first error ends the work: no further task starts, and it is raised once the running
    ones have ended, so that their results are not lost.
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    finished: queue.SimpleQueue[tuple[Task, Any, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                finished.put((task, run_in_worker(task.function, *task.args), None))
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                stopped.set()
                finished.put((task, None, error))

    # Daemons: when this process ends, its workers see their stdin close and end too.
    threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(workers, len(tasks)))]
    for thread in threads:
        thread.start()
    failure: BaseException | None = None
    try:
        pending = len(tasks)
        while pending:
            try:
                task, value, error = finished.get(timeout=0.5)
            except queue.Empty:
                if any(thread.is_alive() for thread in threads) or not finished.empty():
                    continue
                break
            pending -= 1
            if error is not None:
                failure = failure or error
            else:
                task.done(value)
    finally:
        stopped.set()
    if failure is not None:
        raise failure
