"""A large value that many calls need: written once, read once by each worker."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from metabench_py.errors import StorageError
from metabench_py.storage import atomic_path

T = TypeVar("T")
_folder: Path | None = None
_written: list[Path] = []
# Only what is large is worth a file.
LEAST_BYTES = 100_000


@contextlib.contextmanager
def spilling_to(folder: Path) -> Iterator[None]:
    """Choose where shared values lie; they are removed at the end of the block.

    Not before: calls that wait in a cluster hold no reference to the value. For a cluster, take a
    folder that its machines see.
    """
    global _folder
    before, first = _folder, len(_written)
    _folder = folder
    try:
        yield
    finally:
        _folder = before
        for path in _written[first:]:
            path.unlink(missing_ok=True)
        del _written[first:]


class Shared(Generic[T]):
    """Hands a value to many calls without sending it each time.

    Made before the calls and given as an argument; the function takes ``shared.value``. A worker
    reads it from a file at the first call and keeps it for those that follow.
    """

    def __init__(self, value: T) -> None:
        self.value = value
        self._packed: bytes | None = None
        self._digest: str | None = None
        self._file: Path | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the pickled value."""
        if self._digest is None:
            self._packed = pickle.dumps(self.value, protocol=5)
            self._digest = hashlib.sha256(self._packed).hexdigest()
        return self._digest

    def __reduce__(self) -> tuple[Any, ...]:
        digest = self.digest
        if self._packed is not None and len(self._packed) < LEAST_BYTES:
            return (_same, (self._packed,))
        if self._file is None or not self._file.exists():
            self._file = self._write()
        return (_read, (str(self._file), digest))

    def _write(self) -> Path:
        folder = _folder or Path(tempfile.gettempdir())
        packed = self._packed or pickle.dumps(self.value, protocol=5)
        self._packed = None
        path = folder / f"metabench-{os.getpid()}-{self.digest[:20]}.value"
        with atomic_path(path) as temporary:
            temporary.write_bytes(packed)
        path.chmod(0o600)
        if _folder is not None:
            _written.append(path)
        else:
            # A pool of this machine holds its calls, and they this.
            weakref.finalize(self, path.unlink, missing_ok=True)
        return path


def _same(packed: bytes) -> Shared[Any]:
    return Shared(pickle.loads(packed))


# A stage has one such value or two; more would fill the worker's memory.
@functools.lru_cache(maxsize=4)
def _read(path: str, digest: str) -> Shared[Any]:
    try:
        packed = Path(path).read_bytes()
    except OSError as error:
        raise StorageError(
            f"A worker cannot read {path} ({error.strerror}); choose a --work folder that all "
            "machines of the cluster see.",
            path=path,
        ) from error
    if hashlib.sha256(packed).hexdigest() != digest:
        raise StorageError(f"{path}: not what was written there; run again.", path=path)
    return Shared(pickle.loads(packed))
