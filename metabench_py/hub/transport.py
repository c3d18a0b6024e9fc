"""Talks to the Hub, by `huggingface_hub`: token, endpoint, offline mode and cache are its own.

Everything here may be called from several threads. Bodies are checked against the length and
hash that the Hub's listing gives; a broken transfer goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

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
from metabench_py.storage import git_blob_sha1, sha256

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
        card = info.card_data.to_dict() if info.card_data is not None else {}
        # A redirected repository answers under its new name.
        return Listing(info.id or repository, info.sha, files, card, bool(info.gated))

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
        url = self._hub.hf_hub_url(
            repository, file.path, repo_type=kind, revision=revision, endpoint=self.endpoint
        )
        self._ask(url, lambda: self._transfer(url, file, scratch))
        return scratch

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
        with self._stream(url, headers) as (response, chunks):
            if response.status_code != 206 or not _starts_at(response, begun):
                begun = 0
            expected = response.headers.get("Content-Length")
            since, got = time.monotonic(), 0
            with target.open("r+b" if begun else "wb") as stream:
                stream.seek(begun)
                for chunk in chunks:
                    stream.write(chunk)
                    got += len(chunk)
                    if self.stop.is_set():
                        raise StoppedError
                    seconds = time.monotonic() - since
                    if seconds > self.rule.timeout and got / seconds < self.rule.slowest:
                        raise DamagedBodyError(f"only {got / seconds:.0f} bytes a second come")
        plain = "Content-Encoding" not in response.headers
        if plain and expected is not None and expected.isdigit() and got < int(expected):
            raise DamagedBodyError(f"the connection broke, {int(expected) - got} bytes are missing")
        if damage := _damage(target, file):
            target.unlink()
            raise DamagedBodyError(damage)

    @contextlib.contextmanager
    def _stream(
        self, url: str, headers: Mapping[str, str]
    ) -> Iterator[tuple[Any, Iterator[bytes]]]:
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
                yield response, response.iter_raw() if plain else response.iter_bytes(_CHUNK)
        else:
            # Clients before 1.0 stand on requests.
            with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
                self._hub.utils.hf_raise_for_status(response)
                yield response, response.iter_content(_CHUNK)

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


def _damage(path: Path, file: HubFile) -> str:
    """Say what is wrong with a downloaded file; empty if nothing is."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes came in place of {file.size}"
    if file.sha256 and sha256(path) != file.sha256:
        return "another content than the Hub's listing says (SHA-256)"
    if not file.sha256 and file.git_sha1 and git_blob_sha1(path) != file.git_sha1:
        return "another content than the Hub's listing says (git hash)"
    return ""


def _starts_at(response: Any, begun: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {begun}-")
