"""Talks to the Hub, by `huggingface_hub`: token, endpoint, offline mode and cache are its own.

Everything here may be called from several threads. Bodies are checked against the length and
hash that the Hub's listing gives; a broken transfer goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Literal
from urllib.parse import quote

from metabench_py.errors import (
    DownloadError,
    InputError,
    MetabenchError,
    MissingDependencyError,
    StorageError,
)
from metabench_py.hub.listing import HubFile, Listing
from metabench_py.hub.retry import (
    DamagedBodyError,
    Gate,
    RetryRule,
    StoppedError,
    is_broken_connection,
    is_of_the_disk,
    reason,
    status_of,
    with_retries,
)
from metabench_py.hub.wire import Wire, chunks

RepositoryKind = Literal["dataset", "model"]
_CHUNK = 1 << 16
INSTALL = "pip install 'metabench-py[hub]'"


class RefusedError(MetabenchError):
    """The Hub says no for good (facts: state = absent, gated or refused)."""

    state: Literal["absent", "gated", "refused"]


def require_client() -> ModuleType:
    """Load the Hub's client.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependencyError(
            f"Getting data from the Hub needs the package huggingface_hub: {INSTALL}",
            package="huggingface_hub",
        ) from error
    return huggingface_hub


@dataclass(frozen=True, eq=False)
class _Answer:
    status: int
    headers: Any
    chunks: Iterator[bytes]


class HubClient:
    """What this room asks of the Hub.

    Parameters
    ----------
    endpoint
        Address of the Hub; left out, ``HF_ENDPOINT`` or the public one.
    token
        Left out, ``HF_TOKEN`` or the one that ``hf auth login`` saved.
    stop
        Set by others to make every running transfer end soon.
    """

    def __init__(
        self,
        rule: RetryRule | None = None,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        hub = require_client()
        from huggingface_hub import constants

        self._hub = hub
        self.rule = rule or RetryRule()
        self.gate = Gate(stop)
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip(
            "/"
        )
        self._api = hub.HfApi(endpoint=self.endpoint, token=token)
        self._headers = hub.utils.build_hf_headers(token=token, library_name="metabench-py")
        self._offline = bool(constants.HF_HUB_OFFLINE)
        self._wire = Wire(self.rule.timeout)
        self._folders: dict[tuple[str, str, str], str] = {}

    @property
    def stop(self) -> threading.Event:
        """The event that ends all transfers."""
        return self.gate.stop

    def check(self) -> None:
        """Find out in seconds whether there is a Hub at all.

        Raises
        ------
        DownloadError
            There is none, or offline mode is on; one line that says what to do.
        """
        for attempt in range(1, 4):
            try:
                session = self._hub.utils.get_session()
                session.head(self.endpoint, headers=self._headers, timeout=self.rule.timeout)
            except Exception as error:
                if is_broken_connection(error) and attempt < 3:
                    self.gate.wait(self.rule.pause * attempt / 2)
                    continue
                raise self._unreachable(error) from error
            return

    def _unreachable(self, error: BaseException) -> DownloadError:
        if type(error).__name__ == "OfflineModeIsEnabled":
            return DownloadError(
                "The Hub's client is in offline mode; unset HF_HUB_OFFLINE and run again.",
                url=self.endpoint,
                attempts=0,
                connection=True,
            )
        return DownloadError(
            f"Cannot reach the Hub at {self.endpoint} ({reason(error)}). Check the network and "
            "the proxy (HTTPS_PROXY), or set HF_ENDPOINT to a mirror, and run the same command "
            "again; what is already there is kept.",
            url=self.endpoint,
            attempts=3,
            connection=True,
        )

    def listing(self, repository: str, revision: str | None = None) -> Listing:
        """Card and files of a data set at one commit.

        Raises
        ------
        RefusedError
            It is absent, or not for us.
        DownloadError
            The Hub does not answer.
        """
        info = self._ask(
            f"{self.endpoint}/datasets/{repository}",
            lambda: self._api.dataset_info(
                repository, revision=revision, files_metadata=True, timeout=self.rule.timeout
            ),
        )
        files = {f.path: f for f in map(_hub_file, info.siblings or [])}
        # One key of the card: `to_dict` would copy all of it deeply.
        configs = info.card_data.get("configs") if info.card_data is not None else None
        # A redirected repository answers under its new name.
        return Listing(
            info.id or repository, info.sha, files, {"configs": configs}, bool(info.gated)
        )

    def model(self, name: str) -> Any:
        """Ask what the Hub knows of a model (``ModelInfo``: safetensors, config, tags, siblings).

        Raises
        ------
        RefusedError, DownloadError
            As for `listing`.
        """
        return self._ask(
            f"{self.endpoint}/{name}",
            lambda: self._api.model_info(name, timeout=self.rule.timeout),
        )

    def fetch(
        self,
        repository: str,
        revision: str,
        file: HubFile,
        scratch: Path,
        kind: RepositoryKind = "dataset",
    ) -> Path:
        """Get one file, checked.

        Parameters
        ----------
        scratch
            Where to put it; bytes that are there are taken as the file's beginning.

        Returns
        -------
        Path
            `scratch`, or the file in the Hub client's own cache if it is there already.

        Raises
        ------
        RefusedError, DownloadError
            As for `listing`; a hash that stays wrong is a DownloadError.
        """
        cached = self._hub.try_to_load_from_cache(
            repository, file.path, repo_type=kind, revision=revision
        )
        if isinstance(cached, str) and not _damage(Path(cached), file):
            return Path(cached)
        url = self._folder(repository, revision, kind) + quote(file.path)
        self._ask(url, lambda: self._transfer(url, file, scratch))
        return scratch

    def _folder(self, repository: str, revision: str, kind: RepositoryKind) -> str:
        """Address of a repository's files, as the Hub's client gives it."""
        key = (repository, revision, kind)
        if key not in self._folders:
            # The client checks every part of a name anew each time; once is enough.
            url: str = self._hub.hf_hub_url(
                repository, "x", repo_type=kind, revision=revision, endpoint=self.endpoint
            )
            self._folders[key] = url.removesuffix("x")
        return self._folders[key]

    def read(
        self,
        repository: str,
        revision: str,
        file: HubFile,
        scratch: Path,
        kind: RepositoryKind = "dataset",
    ) -> bytes:
        """Content of a small file."""
        path = self.fetch(repository, revision, file, scratch, kind)
        try:
            return path.read_bytes()
        finally:
            if path == scratch:
                scratch.unlink(missing_ok=True)

    def _transfer(self, url: str, file: HubFile, target: Path) -> None:
        begun = target.stat().st_size if target.exists() else 0
        # Compressed transfer would make ranges and lengths count other bytes.
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if begun and file.size is not None and begun < file.size:
            headers["Range"] = f"bytes={begun}-"
        elif begun:
            target.unlink()
            begun = 0
        with self._stream(url, headers) as answer:
            if answer.status != 206 or not _starts_at(answer.headers, begun):
                begun = 0
            since, got = time.monotonic(), 0
            seen = _Seen(file)
            with target.open("r+b" if begun else "wb") as stream:
                if begun:
                    seen.read(stream)
                for chunk in answer.chunks:
                    stream.write(chunk)
                    seen.update(chunk)
                    got += len(chunk)
                    if self.stop.is_set():
                        raise StoppedError
                    seconds = time.monotonic() - since
                    if seconds > self.rule.timeout and got / seconds < self.rule.slowest:
                        raise DamagedBodyError(f"only {got / seconds:.0f} bytes a second come")
        expected = answer.headers.get("Content-Length")
        plain = "Content-Encoding" not in answer.headers
        if plain and expected is not None and expected.isdigit() and got < int(expected):
            raise DamagedBodyError(f"the connection broke, {int(expected) - got} bytes are missing")
        if damage := seen.damage():
            target.unlink()
            raise DamagedBodyError(damage)

    @contextlib.contextmanager
    def _stream(self, url: str, headers: Mapping[str, str]) -> Iterator[_Answer]:
        if not self._offline:
            with self._wire.get(url, headers) as direct:
                if direct is not None:
                    yield _Answer(direct.status, direct.headers, chunks(direct))
                    return
        session: Any = self._hub.utils.get_session()
        timeout = self.rule.timeout
        if callable(getattr(session, "stream", None)):
            with session.stream(
                "GET", url, headers=headers, timeout=timeout, follow_redirects=True
            ) as response:
                if response.status_code >= 400:
                    response.read()
                self._hub.utils.hf_raise_for_status(response)
                # As they come from the socket, where the server did as asked.
                plain = response.headers.get("Content-Encoding", "identity") == "identity"
                body = response.iter_raw() if plain else response.iter_bytes(_CHUNK)
                yield _Answer(response.status_code, response.headers, body)
        else:
            # Clients before 1.0 stand on requests.
            with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
                self._hub.utils.hf_raise_for_status(response)
                body = response.iter_content(_CHUNK)
                yield _Answer(response.status_code, response.headers, body)

    def _ask(self, what: str, action: Any) -> Any:
        try:
            return with_retries(what, action, self.rule, self.gate)
        except (StoppedError, MetabenchError):
            raise
        except Exception as error:
            if status_of(error) == 401 and "RepositoryNotFoundError" not in _names(error):
                raise InputError(
                    "The Hub refuses the token; log in again (hf auth login) or unset HF_TOKEN."
                ) from error
            if is_of_the_disk(error):
                raise StorageError(
                    f"Cannot keep what comes from {what} ({error}); free some space and run again."
                ) from error
            refused = _refusal(what, error)
            if refused is None:
                raise self._unreachable(error) from error
            raise refused from error


class Outage:
    """Ends a run when the network is gone: many connections in a row fail, not one model."""

    def __init__(self, client: HubClient, most: int = 12) -> None:
        self._client, self._most, self._in_a_row = client, most, 0

    def count(self, broken: bool) -> None:
        """Count an outcome.

        Raises
        ------
        DownloadError
            Too many connections failed, one after the other.
        """
        self._in_a_row = self._in_a_row + 1 if broken else 0
        if self._in_a_row >= self._most:
            raise DownloadError(
                f"The Hub at {self._client.endpoint} does not answer any more. What is there is "
                "kept; check the network and run the same command again.",
                url=self._client.endpoint,
                attempts=self._in_a_row,
                connection=True,
            )


def _refusal(what: str, error: Exception) -> RefusedError | None:
    names = _names(error)
    status = status_of(error)
    if "GatedRepoError" in names or (status == 403 and "DisabledRepoError" not in names):
        text = "the repository is gated; ask for access on its page and log in (hf auth login)"
        return RefusedError(f"{what}: {text}.", url=what, state="gated")
    if names & {"RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"}:
        gone = "this revision" if "RevisionNotFoundError" in names else "it"
        return RefusedError(
            f"{what}: the Hub does not have {gone}, or not for us.", url=what, state="absent"
        )
    if "HFValidationError" in names:
        return RefusedError(f"{what}: no repository can have this name.", url=what, state="absent")
    if status is not None:
        state = "absent" if status in (404, 410) else "refused"
        return RefusedError(f"{what}: {reason(error)}.", url=what, state=state)
    return None


def _names(error: BaseException) -> set[str]:
    # By name along the class tree: older clients keep these classes elsewhere.
    return {kind.__name__ for kind in type(error).__mro__}


def _hub_file(sibling: Any) -> HubFile:
    lfs = sibling.lfs
    if lfs is None:
        return HubFile(sibling.rfilename, sibling.size, git_sha1=sibling.blob_id or "")
    # A class since 0.22, a dictionary before.
    digest, size = (
        (lfs.get("sha256"), lfs.get("size")) if isinstance(lfs, dict) else (lfs.sha256, lfs.size)
    )
    return HubFile(sibling.rfilename, size, sha256=digest or "")


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

    def update(self, chunk: bytes) -> None:
        """Count and hash it."""
        self._size += len(chunk)
        if self._hash is not None:
            self._hash.update(chunk)

    def read(self, stream: IO[bytes]) -> None:
        """Take all that is there."""
        while chunk := stream.read(1 << 20):
            self.update(chunk)

    def damage(self) -> str:
        """Say what is wrong; empty if nothing is."""
        file = self._file
        if file.size is not None and self._size != file.size:
            return f"{self._size} bytes came in place of {file.size}"
        if self._hash is not None and self._hash.hexdigest() != file.digest:
            kind = "SHA-256" if file.sha256 else "git hash"
            return f"another content than the Hub's listing says ({kind})"
        return ""


def _damage(path: Path, file: HubFile) -> str:
    """Say what is wrong with a file; empty if nothing is."""
    seen = _Seen(file)
    with path.open("rb") as stream:
        seen.read(stream)
    return seen.damage()


def _starts_at(headers: Any, begun: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {begun}-")
