"""The ledger: what of which model is there, in one SQLite file.

Answers lie in it beside the state of their file and are written in the same transaction, so
after a kill at any moment each file's answers are there whole and once, or not at all.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError, StorageError

# absent: the Hub has no such model or config; gated: not for us; refused: another "no";
# invalid: the file is not usable. These are final. failed: the next run tries again.
ModelState = Literal["listed", "absent", "gated", "refused", "failed"]
PartState = Literal["done", "absent", "gated", "refused", "invalid", "failed"]
FINAL: frozenset[str] = frozenset({"done", "absent", "gated", "refused", "invalid"})

_SCHEMA = 1
_TABLES = """
CREATE TABLE model (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, repository TEXT NOT NULL, revision TEXT NOT NULL,
    error TEXT NOT NULL, time TEXT NOT NULL
);
CREATE TABLE part (
    model TEXT NOT NULL, config TEXT NOT NULL, state TEXT NOT NULL, revision TEXT NOT NULL,
    path TEXT NOT NULL, digest TEXT NOT NULL, n_items INTEGER NOT NULL, answers BLOB,
    note TEXT NOT NULL, error TEXT NOT NULL, time TEXT NOT NULL, PRIMARY KEY (model, config)
);
CREATE INDEX part_by_config ON part (config, model);
CREATE TABLE document (
    kind TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, digest TEXT NOT NULL,
    value TEXT NOT NULL, error TEXT NOT NULL, time TEXT NOT NULL, PRIMARY KEY (kind, key)
);
"""


@dataclass(frozen=True)
class ModelRow:
    """One model's data set; `revision` is the commit that all its files are taken from."""

    name: str
    state: ModelState
    repository: str = ""
    revision: str = ""
    error: str = ""
    time: str = ""


@dataclass(frozen=True, eq=False)
class PartRow:
    """One file of one model.

    Attributes
    ----------
    answers
        int8, shape (n_items,): 1, 0, -1; None unless done.
    note
        What was chosen among, where there was a choice.
    """

    model: str
    config: str
    state: PartState
    revision: str = ""
    path: str = ""
    digest: str = ""
    answers: NDArray[np.int8] | None = None
    note: str = ""
    error: str = ""
    time: str = ""


@dataclass(frozen=True)
class DocumentRow:
    """A small parsed thing: one leaderboard result, one model's details."""

    kind: str
    key: str
    state: PartState
    digest: str = ""
    value: Any = None
    error: str = ""
    # Not recorded: whether it was the network, and not the server's answer.
    unreachable: bool = False


class Ledger:
    """Open by `open_ledger`; one process writes at a time, others may read.

    Parameters
    ----------
    connection
        Of a database with this schema.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self.path = path

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is put in the block.

        Raises
        ------
        StorageError
            The disk is full, or the file is damaged.
        """
        try:
            with self._db:
                yield
        except sqlite3.Error as error:
            raise StorageError(
                f"{self.path}: {error}. What was recorded before is kept; free some space and run "
                "again.",
                path=str(self.path),
            ) from error

    def put_model(self, row: ModelRow) -> None:
        """Record a model's data set."""
        self._db.execute(
            "INSERT OR REPLACE INTO model VALUES (?, ?, ?, ?, ?, ?)",
            (row.name, row.state, row.repository, row.revision, row.error, _now()),
        )

    def put_part(self, row: PartRow) -> None:
        """Record one file; a later row of the same model and config takes its place."""
        blob = None if row.answers is None else zlib.compress(row.answers.tobytes(), 1)
        self._db.execute(
            "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.model, row.config, row.state, row.revision, row.path, row.digest,
                0 if row.answers is None else len(row.answers), blob, row.note, row.error, _now(),
            ),
        )  # fmt: skip

    def put_document(self, row: DocumentRow) -> None:
        """Record a small parsed thing."""
        self._db.execute(
            "INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                row.kind,
                row.key,
                row.state,
                row.digest,
                json.dumps(row.value, ensure_ascii=False),
                row.error,
                _now(),
            ),
        )

    def forget(self, model: str) -> None:
        """Drop everything about a model."""
        self._db.execute("DELETE FROM model WHERE name = ?", (model,))
        self._db.execute("DELETE FROM part WHERE model = ?", (model,))

    def models(self) -> dict[str, ModelRow]:
        """All models by name."""
        rows = self._db.execute("SELECT name, state, repository, revision, error, time FROM model")
        return {row[0]: ModelRow(*row) for row in rows}

    def part_states(self) -> dict[tuple[str, str], str]:
        """State by model and config."""
        rows = self._db.execute("SELECT model, config, state FROM part")
        return {(model, config): state for model, config, state in rows}

    def parts(self, configs: Iterable[str], state: PartState | None = None) -> Iterator[PartRow]:
        """Rows of these configs, without their answers, by model and config."""
        for config in configs:
            rows = self._db.execute(
                "SELECT model, config, state, revision, path, digest, note, error, time FROM part "
                "WHERE config = ? AND (? IS NULL OR state = ?) ORDER BY model",
                (config, state, state),
            )
            for model, name, found, revision, path, digest, note, error, time in rows:
                yield PartRow(
                    model, name, found, revision, path, digest, None, note, error, time
                )  # fmt: skip

    def sizes(self, config: str) -> dict[str, int]:
        """Count items by model, of the files that are done."""
        return dict(
            self._db.execute(
                "SELECT model, n_items FROM part WHERE config = ? AND state = 'done'", (config,)
            )
        )

    def answers(self, config: str) -> Iterator[tuple[str, NDArray[np.int8]]]:
        """Answers of one config, model by model."""
        rows = self._db.execute(
            "SELECT model, answers FROM part WHERE config = ? AND state = 'done'", (config,)
        )
        for model, blob in rows:
            yield model, np.frombuffer(zlib.decompress(blob), np.int8)

    def documents(self, kind: str) -> Iterator[DocumentRow]:
        """All of one kind, by key."""
        rows = self._db.execute(
            "SELECT key, state, digest, value, error FROM document WHERE kind = ? ORDER BY key",
            (kind,),
        )
        for key, state, digest, value, error in rows:
            yield DocumentRow(kind, key, state, digest, json.loads(value), error)

    def drop_documents(self, kind: str, keys: Iterable[str]) -> None:
        """Drop these of one kind."""
        self._db.executemany(
            "DELETE FROM document WHERE kind = ? AND key = ?", [(kind, key) for key in keys]
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Files by config and state."""
        result: dict[str, dict[str, int]] = {}
        rows = self._db.execute("SELECT config, state, COUNT(*) FROM part GROUP BY config, state")
        for config, state, n in rows:
            result.setdefault(config, {})[state] = n
        return result


@contextlib.contextmanager
def open_ledger(path: Path, *, write: bool = True) -> Iterator[Ledger]:
    """Open, or make, the ledger of a folder.

    Raises
    ------
    InputError
        There is none to read, another run is writing to it, or a newer version made it.
    StorageError
        It is not a ledger, or cannot be written.
    """
    path = Path(path)
    if not write and not path.is_file():
        raise InputError(
            f"{path}: no such file; nothing was scraped into this folder yet.", path=str(path)
        )
    with contextlib.ExitStack() as stack:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_only_writer(path))
        try:
            connection = stack.enter_context(contextlib.closing(_connect(path, write)))
        except sqlite3.Error as error:
            raise StorageError(
                f"{path}: not a usable ledger ({error}); choose another folder or move it away.",
                path=str(path),
            ) from error
        yield Ledger(connection, path)


def _connect(path: Path, write: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30.0)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA:
            raise InputError(
                f"{path}: made by a newer version of metabench-py (ledger {version}); update.",
                path=str(path),
            )
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            # Enough against a killed process; only a power cut could lose the last seconds.
            connection.execute("PRAGMA synchronous = NORMAL")
            if version < _SCHEMA:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_SCHEMA}; COMMIT;"
                )
        elif version < _SCHEMA:
            raise InputError(f"{path}: nothing was scraped into this folder yet.", path=str(path))
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    lock = path.with_name(path.name + ".lock")
    try:
        stream: IO[str] = lock.open("w")
    except OSError as error:
        raise StorageError(f"Cannot write {lock}: {error.strerror}.", path=str(lock)) from error
    with stream:
        try:
            # The system drops this lock when the process dies, however it dies.
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError as error:
            raise InputError(
                f"{path}: another run is writing to this folder; wait for it or choose another.",
                path=str(path),
            ) from error
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
