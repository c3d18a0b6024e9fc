"""Talks to the Hub, by `huggingface_hub`: token, endpoint, offline mode and cache are its own.

Everything here may be called from several threads. Bodies are checked against the length and
hash that the Hub's listing gives; a broken transfer goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from urllib.parse import quote

from metabench_py.errors import (
    DownloadError,
    InputError,
    MetabenchError,
    MissingDependencyError,
    StorageError,
)
from metabench_py.hub.answers import hub_file, names_of, refusal_of
from metabench_py.hub.listing import HubFile, Listing
from metabench_py.hub.retry import (
    Gate,
    RetryRule,
    StoppedError,
    is_broken_connection,
    is_of_the_disk,
    reason,
    status_of,
    with_retries,
)
from metabench_py.hub.transfer import (
    IN_MEMORY,
    Answer,
    FileSink,
    MemorySink,
    Sink,
    damage_of,
    receive,
    resume,
)
from metabench_py.hub.wire import Wire, chunks

RepositoryKind = Literal["dataset", "model"]
_CHUNK = 1 << 16
INSTALL = "pip install 'metabench-py[hub]'"


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


@dataclass(frozen=True)
class _Folder:
    """Where a repository's files of one commit are, and whether some may be here already."""

    url: str
    cached: bool


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
        from huggingface_hub import constants, file_download

        self._hub, self._constants, self._file_download = hub, constants, file_download
        self.rule = rule or RetryRule()
        self.gate = Gate(stop)
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip(
            "/"
        )
        self._api = hub.HfApi(endpoint=self.endpoint, token=token)
        self._headers = hub.utils.build_hf_headers(token=token, library_name="metabench-py")
        self._offline = bool(constants.HF_HUB_OFFLINE)
        self._wire = Wire(self.rule.timeout)
        # Memory of earlier bodies, as much as there were threads at a time.
        self._spare: list[mmap.mmap] = []
        self._folders: dict[tuple[str, str, str], _Folder] = {}

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
        files = {f.path: f for f in map(hub_file, info.siblings or [])}
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
        folder = self._folder(repository, revision, kind)
        if folder.cached:
            cached = self._hub.try_to_load_from_cache(
                repository, file.path, repo_type=kind, revision=revision
            )
            if isinstance(cached, str) and not damage_of(Path(cached), file):
                return Path(cached)
        self._get(folder, file, FileSink(scratch))
        return scratch

    @contextlib.contextmanager
    def body(
        self,
        repository: str,
        revision: str,
        file: HubFile,
        scratch: Path,
        kind: RepositoryKind = "dataset",
    ) -> Iterator[memoryview | Path]:
        """Get one file as `fetch` does, but most by their content: the disk never sees them.

        What is given is there in the block only; `scratch` is gone afterwards.
        """
        folder = self._folder(repository, revision, kind)
        if folder.cached or file.size is None or file.size > IN_MEMORY:
            try:
                yield self.fetch(repository, revision, file, scratch, kind)
            finally:
                scratch.unlink(missing_ok=True)
            return
        try:
            memory = self._spare.pop()
        except IndexError:
            # Not from the heap, which would keep it: `rest` gives it back to the system.
            memory = mmap.mmap(-1, IN_MEMORY)
        try:
            sink = MemorySink(memory)
            self._get(folder, file, sink)
            yield sink.content()
        finally:
            self._spare.append(memory)

    def rest(self) -> None:
        """Give back the memory that bodies were kept in."""
        self._spare.clear()

    def read(
        self,
        repository: str,
        revision: str,
        file: HubFile,
        scratch: Path,
        kind: RepositoryKind = "dataset",
    ) -> bytes:
        """Content of a small file."""
        with self.body(repository, revision, file, scratch, kind) as got:
            return got.read_bytes() if isinstance(got, Path) else bytes(got)

    def _folder(self, repository: str, revision: str, kind: RepositoryKind) -> _Folder:
        # The client checks every part of a name anew each time; once a repository is enough.
        key = (repository, revision, kind)
        if key not in self._folders:
            url: str = self._hub.hf_hub_url(
                repository, "x", repo_type=kind, revision=revision, endpoint=self.endpoint
            )
            name = self._file_download.repo_folder_name(repo_id=repository, repo_type=kind)
            cached = Path(self._constants.HF_HUB_CACHE, name).is_dir()
            self._folders[key] = _Folder(url.removesuffix("x"), cached)
        return self._folders[key]

    def _get(self, folder: _Folder, file: HubFile, sink: Sink) -> None:
        url = folder.url + quote(file.path)
        self._ask(url, lambda: self._transfer(url, file, sink))

    def _transfer(self, url: str, file: HubFile, sink: Sink) -> None:
        # Compressed transfer would make ranges and lengths count other bytes.
        headers = {**self._headers, "Accept-Encoding": "identity"}
        begun = resume(sink, file)
        if begun:
            headers["Range"] = f"bytes={begun}-"
        with self._stream(url, headers) as answer:
            receive(answer, begun, sink, file, self.rule, self.stop)

    @contextlib.contextmanager
    def _stream(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        if not self._offline:
            with self._wire.get(url, headers) as direct:
                if direct is not None:
                    yield Answer(direct.status, direct.headers, chunks(direct))
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
                yield Answer(response.status_code, response.headers, body)
        else:
            # Clients before 1.0 stand on requests.
            with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
                self._hub.utils.hf_raise_for_status(response)
                body = response.iter_content(_CHUNK)
                yield Answer(response.status_code, response.headers, body)

    def _ask(self, what: str, action: Any) -> Any:
        try:
            return with_retries(what, action, self.rule, self.gate)
        except (StoppedError, MetabenchError):
            raise
        except Exception as error:
            if status_of(error) == 401 and "RepositoryNotFoundError" not in names_of(error):
                raise InputError(
                    "The Hub refuses the token; log in again (hf auth login) or unset HF_TOKEN."
                ) from error
            if is_of_the_disk(error):
                raise StorageError(
                    f"Cannot keep what comes from {what} ({error}); free some space and run again."
                ) from error
            refused = refusal_of(what, error)
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
