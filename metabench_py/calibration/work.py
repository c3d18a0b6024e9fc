"""Finished results of a calibration, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from metabench_py.calibration.code_version import code_version
from metabench_py.errors import StorageError
from metabench_py.storage import write_json


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
    work
        Its folder; None: ``.NAME.work`` beside `out`, removed once the block succeeds.
    """
    folder = work or out.parent / f".{out.name}.work"
    yield folder / f"{stage}-{code_version(modules)[:16]}.journal"
    if work is None:
        shutil.rmtree(folder, ignore_errors=True)


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
