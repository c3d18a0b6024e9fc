"""Stages of a run: each done once for its inputs, settings and code; resumable after a kill.

A finished stage is a folder ``NAME-KEY`` of files and ``stage.json``; its key is the hash of the
content of its inputs, its settings and the code that it runs. It is written under another name and
renamed at its end, so that a folder of that name is whole. What it needs on the way (finished
calls, a search's storage) lies in ``NAME-KEY.partial`` until then.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from metabench_py.calibration.code_version import code_version
from metabench_py.calibration.work import digest
from metabench_py.compute import Journal
from metabench_py.errors import InputError, StorageError
from metabench_py.storage import atomic_folder, remove_unfinished, sha256, write_json

# What a run put at its place; lies beside the stages.
PUBLISHED = "published.json"
_RECORD = "stage.json"
# Of a stage's key, in its folder's name.
_KEY_DIGITS = 20
# What tells people how it went, and holds no results: seconds, counts.
_NOT_RESULTS = frozenset({_RECORD, "summary.json"})


class RunProgress(Protocol):
    """Told how a run goes."""

    def begin(self, stage: str) -> None:
        """Say that a stage begins."""

    def count(self, done: int, asked: int) -> None:
        """Say how many calls of the stage are done, of those asked for so far."""

    def say(self, text: str) -> None:
        """Say what a stage is at."""

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        """Say that it is done, or was done before."""


class Quiet:
    """Says nothing."""

    def begin(self, stage: str) -> None:
        """Say nothing."""

    def count(self, done: int, asked: int) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        """Say nothing."""


@dataclass(frozen=True, eq=False)
class Room:
    """What a stage's function gets.

    Attributes
    ----------
    out
        Folder to write into; empty. A function that makes its folder itself may remove it.
    kept
        Folder that outlives an interruption.
    executor
        Runs calls; those that were done before an interruption are not done again.
    progress
        For what the stage is at.
    """

    out: Path
    kept: Path
    executor: Executor
    progress: RunProgress


@dataclass(frozen=True, eq=False)
class Stage:
    """One step.

    Attributes
    ----------
    name
        Unique in a run.
    inputs
        Files and folders that it reads, by what they are to it.
    settings
        All that it does depends on these, the inputs and the code; JSON values.
    code
        Modules whose code it runs, theirs and that of what they import.
    function
        Does it.
    """

    name: str
    inputs: Mapping[str, Path]
    settings: Mapping[str, Any]
    code: tuple[str, ...]
    function: Callable[[Room], None]

    def key(self) -> str:
        """Hash of all that its result depends on."""
        contents = {name: content_of(path) for name, path in sorted(self.inputs.items())}
        return digest([self.name, contents, dict(self.settings), code_version(self.code)])


@dataclass(frozen=True, eq=False)
class Done:
    """A finished stage.

    Attributes
    ----------
    seconds
        That it took when it was done; over all interruptions only the last part.
    cached
        It was there already.
    """

    name: str
    folder: Path
    key: str
    seconds: float
    cached: bool


@dataclass
class StageRunner:
    """Runs stages, or finds them finished.

    Attributes
    ----------
    work
        Folder of all stages.
    executor
        For the stages' calls; None: this process.
    """

    work: Path
    executor: Executor | None
    progress: RunProgress = field(default_factory=Quiet)
    done: list[Done] = field(default_factory=list)

    def run(self, stage: Stage) -> Path:
        """Run one unless it is done; give its folder.

        Raises
        ------
        InputError, StorageError, ...
            What the stage's function raises; nothing of it is left but what helps to go on.
        """
        self.progress.begin(stage.name)
        key = stage.key()
        folder = self.work / f"{stage.name}-{key[:_KEY_DIGITS]}"
        record = _finished(folder, key)
        cached = record is not None
        if record is None:
            # A damaged one, or none.
            shutil.rmtree(folder, ignore_errors=True)
            record = self._do(stage, key, folder)
        self.done.append(Done(stage.name, folder, key, record["seconds"], cached))
        self.progress.end(stage.name, record["seconds"], cached)
        return folder

    def _do(self, stage: Stage, key: str, folder: Path) -> dict[str, Any]:
        kept = folder.with_name(folder.name + ".partial")
        start = time.monotonic()
        try:
            kept.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"Cannot write {kept}: {error.strerror}; set another 'work' folder in the "
                "run's file.",
                path=str(kept),
            ) from error
        with (
            Journal(self.executor, kept / "calls.journal", self.progress.count) as journal,
            atomic_folder(folder) as out,
        ):
            if journal.found:
                self.progress.say(f"going on: {journal.found} calls were done before")
            stage.function(Room(out, kept, journal, self.progress))
            record = {
                "schema": 1,
                "key": key,
                "stage": stage.name,
                "settings": dict(stage.settings),
                "seconds": round(time.monotonic() - start, 3),
                "files": _files(out),
            }
            write_json(out / _RECORD, record)
        shutil.rmtree(kept, ignore_errors=True)
        return record


@contextlib.contextmanager
def locked(work: Path) -> Iterator[None]:
    """Keep a second run out of a work folder, and clear what a killed one left half-written.

    Raises
    ------
    InputError
        Another run uses the folder.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        stream = (work / ".lock").open("a")
    except OSError as error:
        raise StorageError(
            f"Cannot write into {work}: {error.strerror}; set another 'work' folder in the "
            "run's file.",
            path=str(work),
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another run uses {work}; wait for its end, or set another 'work' folder in "
                "this one's file.",
                path=str(work),
            ) from error
        # Of stages and of a run's own files alone: the user may have named a folder of theirs.
        remove_unfinished(work, rf"[\w-]+-[0-9a-f]{{{_KEY_DIGITS}}}|{re.escape(PUBLISHED)}")
        yield


def content_of(path: Path) -> str:
    """Hash of a file's content, or of a folder's file names and contents (its results alone).

    Raises
    ------
    InputError
        There is nothing.
    """
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder.", path=str(path))
    files = _files(path)
    return digest([[name, files[name]] for name in sorted(files) if name not in _NOT_RESULTS])


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _RECORD and not path.name.startswith(".")
    }


def _finished(folder: Path, key: str) -> dict[str, Any] | None:
    """Read a finished stage's record; None if it is absent, of something else, or damaged."""
    try:
        record = orjson.loads((folder / _RECORD).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(record, dict) or record.get("key") != key:
        return None
    return record if record.get("files") == _files(folder) else None
