"""How the stack's parts run: here or in workers, each on one thread."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from metabench_py.compute import Task, run_tasks
from metabench_py.errors import MissingDependencyError


def run_here_or_there(tasks: list[Task], executor: Executor | None) -> None:
    """Run all tasks; without an executor here, one after the other."""
    if executor is not None:
        run_tasks(tasks, executor)
        return
    for task in tasks:
        task.done(task.function(*task.args))


def one_thread() -> Any:
    """One thread for linear algebra and trees, so that sums are the same wherever they run."""
    try:
        import sklearn  # noqa: F401 - threads can be limited only where it is loaded
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingDependencyError(
            "Fitting the stack needs scikit-learn; install it with `pip install scikit-learn`. "
            "Predicting does not."
        ) from error
    return threadpool_limits(limits=1)
