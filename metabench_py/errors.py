"""The one exception tree.

::

    MetabenchError                 everything that we raise on purpose
    ├── InputError                 a file, a value or an argument is not usable
    │   ├── LogError               a sample log: file, line
    │   ├── ResponseError          a response matrix: file, row, item
    │   ├── BundleError            a bundle: folder, file
    │   └── ModelNotFoundError     no logs of that model: what is there instead
    ├── TrustError                 an .rds whose hash nobody vouches for
    ├── ConvergenceError           an estimation that gave no usable numbers
    ├── MissingDependencyError     a program or package is absent: how to get it
    │   └── RUnavailableError      R, or an R package, is absent
    ├── RError                     an R condition: function, class, message
    ├── WorkerError                a worker process died
    ├── DownloadError              a server did not give the file
    └── StorageError               reading or writing failed (disk full, permission)

Every error carries its facts as keyword attributes, ends with what to do, and survives
pickling (workers send them back).
"""

from __future__ import annotations

import signal
from typing import Any


class MetabenchError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    message
        One or two sentences: what is wrong, where, and what to do.
    **facts
        The same as values, for programs; they become attributes.
    """

    exit_code = 1

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.facts))

    def __str__(self) -> str:
        return self.message


def _rebuild(kind: type[MetabenchError], message: str, facts: dict[str, Any]) -> MetabenchError:
    return kind(message, **facts)


class InputError(MetabenchError):
    """A file, a value or an argument is not usable as it is."""

    exit_code = 2


class LogError(InputError):
    """A sample log cannot be read (facts: path, line)."""


class ResponseError(InputError):
    """A response matrix is not usable (facts: path, row, item)."""


class BundleError(InputError):
    """A bundle is damaged, too new or incomplete (facts: path, file)."""


class ModelNotFoundError(InputError):
    """No logs of that model are in the results folder (facts: model, results, near)."""


class TrustError(MetabenchError):
    """An .rds file's hash is not in the package's list and the user did not say ``--trust``."""

    exit_code = 3


class ConvergenceError(MetabenchError):
    """An estimation gave no usable numbers."""


class MissingDependencyError(MetabenchError):
    """A program or a package is absent; the message says how to install it."""

    exit_code = 4


class RUnavailableError(MissingDependencyError):
    """R, or one of its packages, is absent or does not load."""


class RError(MetabenchError):
    """R signalled an error (facts: function, r_class, r_message)."""


class WorkerError(MetabenchError):
    """A worker process died or was killed."""


def how_it_ended(status: int, fewer: str) -> tuple[str, str]:
    """Say how a worker ended (`status` as of `subprocess.Popen.returncode`), and what to do.

    Parameters
    ----------
    fewer
        What to have fewer of when memory is short.
    """
    if status == -signal.SIGKILL:
        how = "was killed (SIGKILL), as the system does when memory is short"
        return how, f"Try again with fewer {fewer} or more memory"
    if status < 0:
        try:
            signalled = signal.Signals(-status).name
        except ValueError:
            signalled = f"signal {-status}"
        cure = "Look at `metabench-py doctor`, or use the native engine, which needs no R"
        return f"crashed ({signalled})", cure
    return f"ended with status {status}", "Look at what it wrote above and at `metabench-py doctor`"


class DownloadError(MetabenchError):
    """A server did not give the file, or gave another one (facts: url, attempts)."""


class StorageError(MetabenchError):
    """Reading or writing failed for a reason outside the data (disk full, permission)."""
