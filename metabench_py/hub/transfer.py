"""Takes one file's body: keeps it, goes on where it broke, compares it with the Hub's listing."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from metabench_py.hub.listing import HubFile
from metabench_py.hub.retry import DamagedBodyError, RetryRule, StoppedError

# A file of at most so many bytes never touches the disk; most files of a scrape are smaller.
IN_MEMORY = 4_000_000


@dataclass(frozen=True, eq=False)
class Answer:
    """A server's answer whose body still comes."""

    status: int
    headers: Any
    chunks: Iterator[bytes]


class Sink(Protocol):
    """Keeps what came of a body, over several tries."""

    def size(self) -> int:
        """Bytes that are there."""

    def there(self) -> Iterator[bytes | memoryview]:
        """Give them."""

    def open(self) -> contextlib.AbstractContextManager[Callable[[bytes], int]]:
        """Give the function that appends bytes."""

    def drop(self) -> None:
        """Forget what is there."""


class FileSink:
    """Keeps a body in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """Bytes that are there."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def there(self) -> Iterator[bytes | memoryview]:
        """Give them."""
        with self._path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                yield chunk

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[bytes], int]]:
        """Give the function that appends bytes."""
        with self._path.open("ab") as stream:
            yield stream.write

    def drop(self) -> None:
        """Forget what is there."""
        self._path.unlink(missing_ok=True)


class MemorySink:
    """Keeps a body in memory that is there already: fresh pages cost more than what fills them.

    Parameters
    ----------
    memory
        At least as long as the whole body.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory, self._size = memoryview(memory), 0

    def size(self) -> int:
        """Bytes that are there."""
        return self._size

    def there(self) -> Iterator[bytes | memoryview]:
        """Give them."""
        yield self.content()

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[bytes], int]]:
        """Give the function that appends bytes."""
        yield self._append

    def _append(self, chunk: bytes) -> int:
        self._memory[self._size : self._size + len(chunk)] = chunk
        self._size += len(chunk)
        return len(chunk)

    def drop(self) -> None:
        """Forget what is there."""
        self._size = 0

    def content(self) -> memoryview:
        """All that is there; it changes when the memory is used again."""
        return self._memory[: self._size]


def resume(sink: Sink, file: HubFile) -> int:
    """Say at which byte to go on; what cannot be a beginning of this file is dropped."""
    begun = sink.size()
    if begun and (file.size is None or begun >= file.size):
        sink.drop()
        return 0
    return begun


def receive(
    answer: Answer,
    begun: int,
    sink: Sink,
    file: HubFile,
    rule: RetryRule,
    stop: threading.Event,
) -> None:
    """Take the body and compare length and hash.

    Parameters
    ----------
    begun
        Byte that was asked for; a server may send all the same from the first on.

    Raises
    ------
    DamagedBodyError
        It broke (what came is kept), is too slow, or is not the file (nothing is kept).
    StoppedError
        The run is being stopped.
    """
    since, got = time.monotonic(), 0
    seen = _Seen(file)
    if begun and answer.status == 206 and _starts_at(answer.headers, begun):
        seen.read(sink.there())
    else:
        sink.drop()
    with sink.open() as write:
        for chunk in answer.chunks:
            seen.update(chunk)
            if seen.is_over:
                break
            write(chunk)
            got += len(chunk)
            if stop.is_set():
                raise StoppedError
            seconds = time.monotonic() - since
            if seconds > rule.timeout and got / seconds < rule.slowest:
                raise DamagedBodyError(f"only {got / seconds:.0f} bytes a second come")
    expected = answer.headers.get("Content-Length")
    plain = "Content-Encoding" not in answer.headers
    short = plain and expected is not None and expected.isdigit() and got < int(expected)
    if short and not seen.is_over:
        raise DamagedBodyError(f"the connection broke, {int(expected) - got} bytes are missing")
    if damage := seen.damage():
        sink.drop()
        raise DamagedBodyError(damage)


def damage_of(path: Path, file: HubFile) -> str:
    """Say what is wrong with a file that is there; empty if nothing is."""
    seen = _Seen(file)
    seen.read(FileSink(path).there())
    return seen.damage()


class _Seen:
    """Length and hash of what came so far, beside what the listing says.

    Parameters
    ----------
    file
        Of unknown length, it can be compared by its SHA-256 alone.
    """

    def __init__(self, file: HubFile) -> None:
        self._file, self._size = file, 0
        self._hash: Any = None
        if file.sha256:
            self._hash = hashlib.sha256()
        elif file.git_sha1 and file.size is not None:
            # Git's: over the length and the content.
            self._hash = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, chunk: bytes | memoryview) -> None:
        """Count and hash it."""
        self._size += len(chunk)
        if self._hash is not None:
            self._hash.update(chunk)

    def read(self, chunks: Iterator[bytes | memoryview]) -> None:
        """Take all of them."""
        for chunk in chunks:
            self.update(chunk)

    @property
    def is_over(self) -> bool:
        """Whether more came than the file has."""
        return self._file.size is not None and self._size > self._file.size

    def damage(self) -> str:
        """Say what is wrong; empty if nothing is."""
        file = self._file
        if file.size is not None and self._size != file.size:
            return f"{self._size} bytes came in place of {file.size}"
        if self._hash is not None and self._hash.hexdigest() != file.digest:
            kind = "SHA-256" if file.sha256 else "git hash"
            return f"another content than the Hub's listing says ({kind})"
        return ""


def _starts_at(headers: Mapping[str, str], begun: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {begun}-")
