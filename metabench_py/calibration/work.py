"""Finished results of a calibration, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from metabench_py.calibration.code_version import code_version
from metabench_py.errors import InputError, StorageError
from metabench_py.storage import write_json

# Lies in a work folder that was made beside a command's --out: only such a one is removed.
_MARK = ".metabench-work"
# What the commands keep: calls, searches (SQLite, with what it puts beside), fits.
_KEPT = re.compile(r".+\.(journal|db(-journal|-shm|-wal)?|json|npz|rds|unfinished)")


@dataclass(frozen=True)
class WorkFolder:
    """A folder with one JSON file a finished result, named by what it was made from.

    A result is taken again only if its key agrees: the hash of all that it depends on.
    """

    path: Path

    def get(self, stage: str, key: str) -> dict[str, Any] | None:
        """Give a finished result; None if absent, of other inputs, or damaged."""
        try:
            found = orjson.loads(self._file(stage).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(
                f"Cannot read {self._file(stage)}: {error.strerror}.", path=str(self.path)
            ) from error
        except orjson.JSONDecodeError:
            return None
        if not isinstance(found, dict) or found.get("key") != key:
            return None
        value = found.get("value")
        return value if isinstance(value, dict) else None

    def put(self, stage: str, key: str, value: dict[str, Any]) -> None:
        """Keep a finished result, whole or not at all; arrays become lists."""
        write_json(self._file(stage), {"key": key, "value": _plain(value)}, indent=None)

    def _file(self, stage: str) -> Path:
        return self.path / f"{stage}.json"


@contextlib.contextmanager
def finished_calls(
    stage: str, modules: tuple[str, ...], work: Path | None, out: Path
) -> Iterator[Path]:
    """Give the file of a stage's finished calls (a Journal), one for each version of the code.

    Parameters
    ----------
    modules
        Whose code, with all that they import, the results depend on.
    work, out
        See `work_folder`.
    """
    with work_folder(stage, work, out) as folder:
        yield folder / f"{stage}-{code_version(modules)[:16]}.journal"


@contextlib.contextmanager
def work_folder(command: str, work: Path | None, out: Path) -> Iterator[Path]:
    """Make the folder of a command's finished results, and give it.

    A block that fails leaves what helps to go on; a folder that was made for it and has nothing
    of that is removed.

    Parameters
    ----------
    work
        The folder. None: ``.NAME.COMMAND-work`` beside `out`; once the block succeeds, what we
        made in it is removed.

    Raises
    ------
    InputError
        The folder beside `out` is not of our making.
    StorageError
        It cannot be made.
    """
    # Not `.NAME.work`, where `calibrate run` keeps its stages.
    folder = work or out.parent / f".{out.name}.{command}-work"
    try:
        new = _make(folder, marked=work is None)
    except OSError as error:
        raise StorageError(
            f"Cannot write {folder}: {error.strerror}; choose another --work folder.",
            path=str(folder),
        ) from error
    try:
        yield folder
    except BaseException:
        if new or work is None:
            _clear(folder, empty_only=True)
        raise
    if work is None:
        _clear(folder)


def _make(folder: Path, marked: bool) -> bool:
    """Make a work folder; tell whether it was not there."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if marked and not any(folder.iterdir()):
        (folder / _MARK).touch()
    if marked and not (folder / _MARK).exists():
        raise InputError(
            f"{folder} is not of our making, so no results are kept there; rename it or give "
            "--work another folder.",
            path=str(folder),
        )
    return new


def _clear(folder: Path, empty_only: bool = False) -> None:
    """Remove what we made in it (`empty_only`: of that, what is empty), and it if that was all."""
    with contextlib.suppress(OSError):
        for path in [path for path in folder.iterdir() if _KEPT.fullmatch(path.name)]:
            if path.is_file() and not (empty_only and path.stat().st_size):
                path.unlink()
        if all(path.name == _MARK for path in folder.iterdir()):
            (folder / _MARK).unlink(missing_ok=True)
            folder.rmdir()


def digest(*parts: Any) -> str:
    """SHA-256 of arrays and JSON values."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            head = f"{part.dtype.str}{part.shape}"
            content = np.ascontiguousarray(part).tobytes()
        else:
            head = "json"
            content = json.dumps(part, sort_keys=True).encode()
        # Lengths in between, so that two parts never read as another two.
        total.update(f"{head}:{len(content)};".encode())
        total.update(content)
    return total.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
