"""Atomic writes, hashes and JSON: every file that we write goes through here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metabench_py.errors import StorageError

# Ends the name of what is not finished, so that nobody else's `.NAME.xxxxxxxx` is taken for it.
_UNFINISHED = ".unfinished"


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    return _digest(path, hashlib.sha256())


def git_blob_sha1(path: Path) -> str:
    """SHA-1 that git gives this file's content (``git hash-object``)."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    return _digest(path, digest)


def _digest(path: Path, digest: Any) -> str:
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return str(digest.hexdigest())


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it onto `target` if the block succeeds.

    Raises
    ------
    StorageError
        The disk is full or the folder is not writable; `target` is as it was.
    """
    target = Path(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(_UNFINISHED, f".{target.name}.", target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise StorageError(
            f"Cannot write {target}: {error.strerror or error}. Nothing was changed there; "
            "free some space or choose another place and run again.",
            path=str(target),
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, names: str) -> None:
    """Remove what killed writers left half-written in a folder, and nothing else.

    Parameters
    ----------
    names
        Regular expression of the targets' whole names.
    """
    pattern = re.compile(rf"\.(?:{names})\.[a-z0-9_]{{8}}{re.escape(_UNFINISHED)}(?:\.old)?")
    for left in [path for path in folder.iterdir() if pattern.fullmatch(path.name)]:
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def check_writable(target: Path) -> None:
    """Refuse a place where nothing can be made, before the work.

    Raises
    ------
    StorageError
        The closest folder above it that is there is a file, or not to be written into.
    """
    # `Path.exists` raises where a folder may not be looked into.
    parents = target.absolute().parents
    above = next((parent for parent in parents if os.path.exists(parent)), target)
    if not above.is_dir():
        reason = f"{above} is a file, not a folder"
    elif not os.access(above, os.W_OK | os.X_OK):
        reason = f"{above} does not let you write into it"
    else:
        return
    raise StorageError(
        f"Cannot write {target}: {reason}; choose another place and run again.", path=str(target)
    )


def check_replaceable(target: Path, marks: Sequence[str]) -> None:
    """Refuse to replace what we have not made.

    Parameters
    ----------
    marks
        Names of files or folders, one of which lies in every folder of this kind that we make.

    Raises
    ------
    StorageError
        `target` is there, is not an empty folder, and has none of them.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise StorageError(
            f"{target} is a file, so no folder takes its place; choose another name.",
            path=str(target),
        )
    if any((target / mark).exists() for mark in marks) or not any(target.iterdir()):
        return
    raise StorageError(
        f"{target} holds other things than this command makes ({' or '.join(marks)} is not there), "
        "so it is not replaced; choose another folder.",
        path=str(target),
    )


@contextlib.contextmanager
def atomic_folder(
    target: Path, *, replace: bool = False, marks: Sequence[str] = ()
) -> Iterator[Path]:
    """Give a temporary folder beside `target`; rename it onto `target` if the block succeeds.

    Parameters
    ----------
    replace
        Take the place of an existing folder; else an existing one is an error.
    marks
        Only of a folder that has one of these (`check_replaceable`).
    """
    # What a link points to is replaced, not the link.
    target = target.resolve() if Path(target).is_symlink() else Path(target)
    if target.exists() and not replace:
        raise StorageError(
            f"{target} exists already; choose another folder or remove it first.",
            path=str(target),
        )
    check_replaceable(target, marks)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(_UNFINISHED, f".{target.name}.", target.parent))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if target.exists():
            old = temporary.with_name(temporary.name + ".old")
            target.replace(old)
            temporary.replace(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(target)
    except OSError as error:
        raise StorageError(
            f"Cannot write {target}: {error.strerror or error}. Nothing was changed there; "
            "free some space or choose another place and run again.",
            path=str(target),
        ) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write JSON atomically; NaN and infinities are an error, not invalid JSON."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
