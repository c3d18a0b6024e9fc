"""Finished calls of a stage in one file, so that an interrupted stage goes on where it stopped."""

from __future__ import annotations

import hashlib
import io
import pickle
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Any

from metabench_py.compute.calls import Outcome, Result, name_of
from metabench_py.compute.shared import Shared
from metabench_py.errors import StorageError

# Told how many calls are done, and how many were asked for so far.
Counted = Callable[[int, int], None]
_HEAD = 32 + 8 + 4


class Journal(Executor):
    """Passes calls on to another executor, and keeps each value in a file.

    A call whose function and arguments are those of a kept one is not done again. The file is
    appended to; a record that was cut off by a kill is dropped when it is opened next.

    Parameters
    ----------
    executor
        Who does the calls; None: this process, one after the other, as they are asked for.
    path
        The file. It holds pickles, for the eyes of this machine's user alone.
    counted
        Told after each call.
    """

    def __init__(
        self, executor: Executor | None, path: Path, counted: Counted | None = None
    ) -> None:
        self._executor = executor
        self._path = path
        self._counted = counted
        self._lock = threading.Lock()
        self._done = self._asked = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._stream = path.open("r+b")
            self._kept = dict(_records(self._stream))
        except OSError as error:
            raise _unwritable(path, error) from error
        self.found = len(self._kept)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have it done, unless it is kept."""
        key = key_of(fn, args, kwargs)
        self._count(asked=1)
        result = Result()
        if (kept := self._get(key)) is not None:
            result.set_running_or_notify_cancel()
            result.set_result(kept[0])
            self._count(done=1)
        elif self._executor is None:
            result.set_running_or_notify_cancel()
            try:
                value = fn(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the future's
                result.set_exception(error)
            else:
                self._put(key, value)
                result.set_result(value)
        else:
            return self._passed_on(key, self._executor.submit(fn, *args, **kwargs))
        return result

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Do all; values in order, as of `concurrent.futures.Executor.map`."""
        calls = list(zip(*iterables, strict=False))
        keys = [key_of(fn, args, {}) for args in calls]
        self._count(asked=len(calls))
        missing = [i for i, key in enumerate(keys) if key not in self._kept]
        values: Iterator[Any]
        if self._executor is None:
            values = (fn(*calls[i]) for i in missing)
        elif missing:
            columns = zip(*(calls[i] for i in missing), strict=True)
            values = self._executor.map(fn, *columns, timeout=timeout, chunksize=chunksize)
        else:
            values = iter(())
        return self._in_order(keys, set(missing), values)

    def _in_order(
        self, keys: list[bytes], missing: set[int], values: Iterator[Any]
    ) -> Iterator[Any]:
        for i, key in enumerate(keys):
            if i in missing:
                value = next(values)
                self._put(key, value)
            else:
                kept = self._get(key)
                assert kept is not None
                value = kept[0]
                self._count(done=1)
            yield value

    def _passed_on(self, key: bytes, inner: Future[Any]) -> Future[Any]:
        result = Result()

        def finish(future: Future[Any]) -> None:
            if future.cancelled():
                result.cancel()
                result.set_running_or_notify_cancel()
                return
            error, value = future.exception(), None
            if error is None:
                try:
                    # Not the worker's warnings: they are for who asks for the result.
                    self._put(key, value := Future.result(future))
                except StorageError as failed:
                    error = failed
            if result.set_running_or_notify_cancel():
                result.take(Outcome(value, error, getattr(future, "warned", ())))

        inner.add_done_callback(finish)
        result.add_done_callback(lambda given: given.cancelled() and inner.cancel())
        return result

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the file; the other executor stays as it is."""
        del wait, cancel_futures
        with self._lock:
            self._stream.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def _get(self, key: bytes) -> tuple[Any] | None:
        with self._lock:
            packed = self._kept.get(key)
        return None if packed is None else (pickle.loads(packed),)

    def _put(self, key: bytes, value: Any) -> None:
        packed = pickle.dumps(value, protocol=5)
        head = key + len(packed).to_bytes(8, "little") + _checksum(key, packed)
        with self._lock:
            if not self._stream.closed:
                self._kept[key] = packed
                try:
                    self._stream.write(head + packed)
                    self._stream.flush()
                except OSError as error:
                    raise _unwritable(self._path, error) from error
        self._count(done=1)

    def _count(self, done: int = 0, asked: int = 0) -> None:
        with self._lock:
            self._done += done
            self._asked += asked
            counts = self._done, self._asked
        if self._counted is not None:
            self._counted(*counts)


def key_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """SHA-256 of a function's name and arguments; large shared values count by their own."""
    stream = io.BytesIO()
    _KeyPickler(stream, protocol=5).dump((name_of(function), function, args, kwargs))
    return hashlib.sha256(stream.getvalue()).digest()


class _KeyPickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.digest if isinstance(obj, Shared) else None


def _checksum(key: bytes, packed: bytes) -> bytes:
    return zlib.crc32(packed, zlib.crc32(key)).to_bytes(4, "little")


def _records(stream: Any) -> Iterator[tuple[bytes, bytes]]:
    """Read whole records; cut off what follows them."""
    good = 0
    while len(head := stream.read(_HEAD)) == _HEAD:
        key, size = head[:32], int.from_bytes(head[32:40], "little")
        packed = stream.read(size)
        if len(packed) < size or _checksum(key, packed) != head[40:]:
            break
        good += _HEAD + size
        yield key, packed
    stream.seek(good)
    stream.truncate()


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {error.strerror}. Free some space or choose another --work folder, "
        "and run again.",
        path=str(path),
    )
