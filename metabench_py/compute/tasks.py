"""Named tasks whose results are taken in the caller's thread as soon as they are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Task:
    """One call.

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


def run_tasks(tasks: Sequence[Task], executor: Executor) -> None:
    """Run all tasks.

    The first error ends the work: no further task starts, and it is raised once the running
    ones have ended, so that their results are not lost.
    """
    futures = {executor.submit(task.function, *task.args): task for task in tasks}
    failure: BaseException | None = None
    for future in as_completed(futures):
        if future.cancelled():
            continue
        try:
            value = future.result()
        except Exception as error:  # noqa: BLE001 - raised below
            failure = failure or error
            for other in futures:
                other.cancel()
            continue
        futures[future].done(value)
    if failure is not None:
        raise failure
