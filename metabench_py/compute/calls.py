"""One call of a function, as every place runs it, and what comes back."""

from __future__ import annotations

import functools
import pickle
import traceback
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from metabench_py.errors import InputError, MetabenchError, WorkerError

# Of a worker: one thread each, as the processes share the cores.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


@dataclass(frozen=True, eq=False)
class Call:
    """A function and its arguments, on their way to a worker."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def name(self) -> str:
        """Name of the function, for messages."""
        return name_of(self.function)

    def pack(self) -> bytes:
        """Pickle it.

        Raises
        ------
        InputError
            The function or an argument cannot travel.
        """
        try:
            return pickle.dumps(self, protocol=5)
        except MetabenchError:
            raise
        except Exception as error:  # pickle raises whatever a class does
            raise InputError(
                f"The arguments of {self.name()} cannot be handed to a worker ({error}).",
                function=self.name(),
            ) from error


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a call gave: a value, or the error that it raised; and its warnings."""

    value: Any = None
    error: BaseException | None = None
    warned: tuple[tuple[type[Warning], str], ...] = ()


def run_call(call: Call) -> Outcome:
    """Do it, here."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value, raised = None, None
        try:
            value = call.function(*call.args, **call.kwargs)
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
            raised = noted(error)
    return Outcome(value, raised, tuple((w.category, str(w.message)) for w in caught))


def noted(error: Exception) -> Exception:
    """Give an error its traceback as a note, which survives pickling; ours say enough."""
    if not isinstance(error, MetabenchError):
        error.add_note(f"In the worker:\n{traceback.format_exc()}")
    return error


def pack_outcome(outcome: Outcome) -> bytes:
    """Pickle it; what cannot travel becomes an error that says so."""
    try:
        packed = pickle.dumps(outcome, protocol=5)
        if outcome.error is not None:
            pickle.loads(packed)
    except Exception as error:  # noqa: BLE001 - classes raise anything when pickled
        raised = outcome.error
        text = (
            f"The worker stopped with {type(raised).__name__}: {raised}"
            if raised is not None
            else f"The worker's result cannot be handed over ({error})."
        )
        packed = pickle.dumps(Outcome(error=WorkerError(text, status=0)), protocol=5)
    return packed


class Result(Future[Any]):
    """A future that gives the worker's warnings again to the first who asks for the result."""

    warned: tuple[tuple[type[Warning], str], ...] = ()

    def take(self, outcome: Outcome) -> None:
        """Finish with this."""
        self.warned = outcome.warned
        if outcome.error is not None:
            self.set_exception(outcome.error)
        else:
            self.set_result(outcome.value)

    def result(self, timeout: float | None = None) -> Any:
        """As of `concurrent.futures.Future.result`."""
        try:
            return super().result(timeout)
        finally:
            if self.done():
                warned, self.warned = self.warned, ()
                warn_again(warned)


def warn_again(warned: tuple[tuple[type[Warning], str], ...]) -> None:
    """Give a worker's warnings here."""
    for category, text in warned:
        warnings.warn(text, category, stacklevel=4)


def name_of(function: Callable[..., Any]) -> str:
    """Name of a function for messages; of a partial, the function inside."""
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", "?")
    return f"{module}.{getattr(function, '__qualname__', type(function).__name__)}"


def check_importable(function: Callable[..., Any]) -> None:
    """Refuse what a worker cannot import.

    Raises
    ------
    InputError
        A lambda, a nested function, one of ``__main__``.
    """
    name = name_of(function)
    if "<" in name or name.startswith("__main__."):
        raise InputError(f"A worker cannot import {name}: give a function of a module.")
