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
    batch: list[Future[Outcome]] = []
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
                _take(arrived, batch)
                out -= len(batch)
                waiting.extend(reversed(list(finish([future.result() for future in batch]))))
                batch.clear()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            # What was taken but perhaps not recorded comes once more; recording twice is harmless.
            _take_rest(arrived, batch)
            list(finish([f.result() for f in batch if not f.cancelled() and not f.exception()]))
            raise


def _take(arrived: queue.SimpleQueue[Future[Outcome]], batch: list[Future[Outcome]]) -> None:
    # In place, so that Ctrl-C in the middle loses nothing.
    batch.append(arrived.get())
    _take_rest(arrived, batch, 255)


def _take_rest(
    arrived: queue.SimpleQueue[Future[Outcome]],
    batch: list[Future[Outcome]],
    most: int | None = None,
) -> None:
    while most is None or most > 0:
        try:
            batch.append(arrived.get_nowait())
        except queue.Empty:
            return
        most = None if most is None else most - 1
