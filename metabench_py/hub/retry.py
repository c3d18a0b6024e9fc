"""What is tried again, when, and what is not: for the Hub's client and for urllib alike."""

from __future__ import annotations

import email.utils
import errno
import http.client
import json
import random
import re
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError

from metabench_py.errors import DownloadError, MetabenchError

T = TypeVar("T")

# Too many requests, server trouble, and the statuses that proxies invent.
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_RESET = re.compile(r"\bt=(\d+)")
# A server that asks for more than this is not waited for; the next run goes on.
LONGEST_WAIT = 900.0


class DamagedBodyError(Exception):
    """A body is short, long, too slow, or has another hash than the Hub says."""


class StoppedError(Exception):
    """The run is being stopped; raised in the threads that still work."""


@dataclass(frozen=True)
class RetryRule:
    """How often and how patiently one address is tried.

    Attributes
    ----------
    attempts
        Tries in all.
    pause
        Seconds before the second try, doubled before each later one (and varied by a half, so
        that parallel downloads do not come back together).
    timeout
        Seconds without any byte before a try counts as failed.
    slowest
        Bytes a second below which a transfer is given up, once `timeout` has passed.
    """

    attempts: int = 6
    pause: float = 1.0
    timeout: float = 30.0
    slowest: float = 1000.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after this try, which counts from 1."""
        return min(self.pause * 2.0 ** (attempt - 1), 60.0) * random.uniform(0.5, 1.5)


class Gate:
    """Holds all threads back while the server asks for a pause."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()
        self._until = 0.0
        self._lock = threading.Lock()

    def close_for(self, seconds: float) -> None:
        """Let nobody through for so long (never shorter than asked for before)."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, seconds: float = 0.0) -> None:
        """Wait so long, and while the gate is closed.

        Raises
        ------
        StoppedError
            The run is being stopped.
        """
        until = time.monotonic() + seconds
        while True:
            if self.stop.is_set():
                raise StoppedError
            left = max(until, self._until) - time.monotonic()
            if left <= 0:
                return
            self.stop.wait(min(left, 1.0))


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: busy server, broken connection, damaged body."""
    if isinstance(error, DamagedBodyError | json.JSONDecodeError | http.client.HTTPException):
        return True
    status = status_of(error)
    return is_broken_connection(error) if status is None else is_transient_status(status)


def is_transient_status(status: int) -> bool:
    """Whether a server that answers so may answer otherwise soon."""
    return status in _TRANSIENT_STATUS


def is_broken_connection(error: BaseException) -> bool:
    """Whether no whole answer came at all."""
    if status_of(error) is not None or isinstance(error, MetabenchError):
        return False
    # Offline mode is a ConnectionError by class, but a decision by nature.
    if type(error).__name__ == "OfflineModeIsEnabled" or _is_bad_certificate(error):
        return False
    if is_of_the_disk(error):
        return False
    return isinstance(error, (OSError, http.client.HTTPException, *_client_errors()))


_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG})


def is_of_the_disk(error: BaseException) -> bool:
    """Whether it is our own disk that fails; trying again would not make room."""
    if isinstance(error, FileNotFoundError | PermissionError | FileExistsError):
        return True
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def _is_bad_certificate(error: BaseException) -> bool:
    reason = error.reason if isinstance(error, URLError) else error
    return isinstance(reason, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(
        error
    )


def _client_errors() -> tuple[type[BaseException], ...]:
    """Give the base errors of the HTTP library under the Hub's client (it changed over time)."""
    utils = sys.modules.get("huggingface_hub.utils")
    return utils.HfHubHTTPError.__bases__ if utils is not None else ()


def status_of(error: BaseException) -> int | None:
    """HTTP status of an error answer; None if there was no answer."""
    if isinstance(error, HTTPError):
        return error.code
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def retry_after(error: BaseException, now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait (``Retry-After``, or the Hub's ``RateLimit``)."""
    headers: Any = (
        error.headers
        if isinstance(error, HTTPError)
        else getattr(getattr(error, "response", None), "headers", None)
    )
    if headers is None:
        return None
    text = str(headers.get("Retry-After") or "").strip()
    if text.replace(".", "", 1).isdigit():
        return float(text)
    if text:
        try:
            when = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    if status_of(error) == 429 and (match := _RESET.search(str(headers.get("RateLimit") or ""))):
        return float(match[1])
    return None


def reason(error: BaseException) -> str:
    """One short line about an error."""
    status = status_of(error)
    if status is not None:
        meaning = http.client.responses.get(status, "")
        return f"the server answers {status} {meaning}".rstrip()
    if isinstance(error, URLError):
        return f"no connection ({error.reason})"
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return first or type(error).__name__


def with_retries(what: str, action: Callable[[], T], rule: RetryRule, gate: Gate) -> T:
    """Do something on the network, again if that may help.

    Parameters
    ----------
    what
        Address or name for the message.

    Raises
    ------
    DownloadError
        All tries failed for passing reasons (facts: url, attempts, connection).
    Exception
        Any other error as it is, at the first try.
    """
    for attempt in range(1, rule.attempts + 1):
        gate.wait()
        try:
            return action()
        except Exception as error:
            if isinstance(error, HTTPError):
                error.close()
            if not is_transient(error):
                raise
            asked = retry_after(error)
            if attempt == rule.attempts or (asked or 0) > LONGEST_WAIT:
                more = f"; it asks to wait {asked:.0f} s" if asked else ""
                raise DownloadError(
                    f"{what}: {reason(error)} ({attempt} of {rule.attempts} tries{more}).",
                    url=what,
                    attempts=attempt,
                    connection=is_broken_connection(error),
                ) from error
            if asked is not None and status_of(error) in (429, 503):
                gate.close_for(asked)
                # Not all at once when the pause ends.
                gate.wait(asked + random.uniform(0, rule.pause))
            else:
                gate.wait(rule.delay(attempt))
    raise AssertionError("unreachable")
