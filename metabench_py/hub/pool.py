"""Runs tasks in a bounded number of threads; what a task leads to is run before new ones."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


class Progress(Protocol):
    """Is told how the work goes; all calls come from one thread."""

    def start(self, what: str, total: int, skipped: int) -> None:
        """`total` things to do; `skipped` more are there already."""

    def advance(self, done: int = 0, failed: int = 0) -> None:
        """So many more are done, or failed."""

    def say(self, text: str) -> None:
        """Something that the user should read."""

    def stop(self) -> None:
        """End: the work is over, well or not."""


class Silent:
    """Progress that nobody watches."""

    def start(self, what: str, total: int, skipped: int) -> None:
        """Ignore."""

    def advance(self, done: int = 0, failed: int = 0) -> None:
        """Ignore."""

    def say(self, text: str) -> None:
        """Ignore."""

    def stop(self) -> None:
        """Ignore."""


def run_bounded(
    tasks: Iterator[Task],
    work: Callable[[Task], Outcome],
    finish: Callable[[list[Outcome]], Iterable[Task]],
    jobs: int,
    stop: threading.Event,
) -> None:
    """Work through all tasks.

    Parameters
    ----------
    work
        Runs in a thread.
    finish
        Takes outcomes in the calling thread, in small batches, and gives the tasks that follow
        from them.
    jobs
        Threads. At most twice as many tasks are handed out and not taken back.
    stop
        Set here when something goes wrong, Ctrl-C included, so that running work ends soon;
        work that succeeds all the same is still handed to `finish`.
    """
    arrived: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
    waiting: list[Task] = []
    out = 0
    with ThreadPoolExecutor(jobs, thread_name_prefix="hub") as pool:
        try:
            while True:
                while out < 2 * jobs:
                    task = waiting.pop() if waiting else next(tasks, None)
                    if task is None:
                        break
                    pool.submit(work, task).add_done_callback(arrived.put)
                    out += 1
                if not out:
                    return
                batch = _take(arrived)
                out -= len(batch)
                waiting.extend(reversed(list(finish([future.result() for future in batch]))))
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            finish(_succeeded(arrived))
            raise


def _take(arrived: queue.SimpleQueue[Future[Outcome]]) -> list[Future[Outcome]]:
    batch = [arrived.get()]
    while len(batch) < 256:
        try:
            batch.append(arrived.get_nowait())
        except queue.Empty:
            break
    return batch


def _succeeded(arrived: queue.SimpleQueue[Future[Outcome]]) -> list[Outcome]:
    outcomes = []
    while not arrived.empty():
        future = arrived.get_nowait()
        if not future.cancelled() and future.exception() is None:
            outcomes.append(future.result())
    return outcomes
