"""Calls on a Dask cluster."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from types import TracebackType
from typing import Any

from metabench_py.compute.calls import Call, Outcome, Result, check_importable, run_call
from metabench_py.errors import InputError, MissingDependencyError, WorkerError

_CONNECT_S = 30


class DaskExecutor(Executor):
    """Runs calls on the workers of a Dask client.

    Dask does a call again whose worker died, as often as its setting
    ``distributed.scheduler.allowed-failures`` says (3).

    Parameters
    ----------
    client
        A `distributed.Client`; closed at the end.
    name
        For messages.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self._lock = threading.Lock()
        self._running: dict[Any, Result] = {}
        self._closed = False

    @classmethod
    def connect(cls, address: str) -> DaskExecutor:
        """Connect to a running scheduler.

        Raises
        ------
        InputError
            It does not answer, has no workers, or they have more than one thread each.
        """
        distributed = require_distributed()
        try:
            client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"--dask {address}: no Dask scheduler answers there ({error}); start one by "
                "`dask scheduler`, and workers by `dask worker ADDRESS --nthreads 1 --nworkers N`.",
                address=address,
            ) from error
        try:
            _check_workers(client, address)
        except BaseException:
            client.close()
            raise
        return cls(client, f"the Dask cluster at {address}")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Result:
        """Have it done; see `concurrent.futures.Executor.submit`."""
        check_importable(fn)
        if self._closed:
            raise RuntimeError("The executor is shut down.")
        result = Result()
        # Packed by us: Dask would look into the arguments for futures of its own.
        future = self._client.submit(_run_packed, Call(fn, args, kwargs).pack(), pure=False)
        with self._lock:
            self._running[future] = result
        future.add_done_callback(self._finish)
        result.add_done_callback(lambda given: given.cancelled() and future.cancel())
        return result

    def _finish(self, future: Any) -> None:
        with self._lock:
            result = self._running.pop(future, None)
        if result is None or not result.set_running_or_notify_cancel():
            return
        result.take(self._outcome(future))

    def _outcome(self, future: Any) -> Outcome:
        killed_worker = require_distributed().KilledWorker
        try:
            outcome = future.result(timeout=_CONNECT_S)
        except killed_worker as error:
            return Outcome(
                error=WorkerError(
                    f"A call's workers on {self._name} died, again and again ({error.task}). Look "
                    "at their logs; give them more memory or run fewer.",
                    status=-9,
                )
            )
        except BaseException as error:  # noqa: BLE001 - Dask's own, of many kinds
            return Outcome(
                error=WorkerError(
                    f"Lost {self._name} ({type(error).__name__}: {error}). Start it again and "
                    "repeat the command; finished results are kept.",
                    status=-1,
                )
            )
        assert isinstance(outcome, Outcome)
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what runs, then close the connection."""
        self._closed = True
        with self._lock:
            running = dict(self._running)
        if cancel_futures:
            for result in running.values():
                result.cancel()
        elif wait:
            for result in running.values():
                with contextlib.suppress(BaseException):
                    result.exception()
        self._client.close()

    def kill(self) -> None:
        """Cancel everything and close the connection."""
        self._closed = True
        with self._lock:
            running = dict(self._running)
        for result in running.values():
            result.cancel()
        with contextlib.suppress(Exception):
            self._client.cancel(list(running), force=True)
        self._client.close()

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


def _run_packed(packed: bytes) -> Outcome:
    import pickle

    from metabench_py.compute.calls import noted

    try:
        call = pickle.loads(packed)
    except Exception as error:  # noqa: BLE001 - unpickling imports modules, which raise anything
        return Outcome(error=noted(error))
    return run_call(call)


def _check_workers(client: Any, address: str) -> None:
    with contextlib.suppress(TimeoutError):
        client.wait_for_workers(1, timeout=_CONNECT_S)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise InputError(
            f"--dask {address}: the scheduler has no workers; start some by "
            f"`dask worker {address} --nthreads 1 --nworkers N`.",
            address=address,
        )
    many = [name for name, worker in workers.items() if worker["nthreads"] != 1]
    if many:
        raise InputError(
            f"--dask {address}: the worker {many[0]} has {workers[many[0]]['nthreads']} threads, "
            "and R takes one a process; start workers by `dask worker ... --nthreads 1 "
            "--nworkers N`.",
            address=address,
        )


def require_distributed() -> Any:
    """Give the module.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise MissingDependencyError(
            "Dask is not installed: pip install 'metabench-py[cluster]'."
        ) from error


@contextlib.contextmanager
def few_failures(retries: int) -> Iterator[None]:
    """Set how often Dask's scheduler, made in the block, does a call again."""
    dask = importlib.import_module("dask")
    with dask.config.set({"distributed.scheduler.allowed-failures": retries}):
        yield
