"""Downloads the original's released files at the pinned commit and checks every hash.

The repository stores these files as plain git blobs (its Git LFS rule covers archives only),
so the pinned blob SHA-1 is that of the .rds itself.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import metabench_py
from metabench_py.benchmarks import Version
from metabench_py.bundle.read import bundles_home
from metabench_py.bundle.released import released_files
from metabench_py.bundle.trust import Upstream, upstream_files
from metabench_py.bundle.upstream import import_upstream
from metabench_py.errors import DownloadError, InputError, StorageError
from metabench_py.rbridge import require_package
from metabench_py.storage import atomic_path, git_blob_sha1

DEFAULT_ADDRESS = "https://raw.githubusercontent.com"
ADDRESS_VARIABLE = "METABENCH_UPSTREAM_URL"

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_SIZE_LIMIT = 512 << 20
_CHUNK = 1 << 20

Progress = Callable[[str, int, int], None]


class _WrongContentError(Exception):
    """The body is whole but is not the pinned file."""


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: broken connections, busy servers, damaged bodies."""
    if isinstance(error, HTTPError):
        return error.code in (408, 425, 429) or error.code >= 500
    if isinstance(error, URLError) and isinstance(error.reason, ssl.SSLCertVerificationError):
        return False
    return isinstance(error, http.client.HTTPException | OSError | _WrongContentError)


def pull_released(
    version: Version,
    folder: Path,
    *,
    address: str | None = None,
    attempts: int = 4,
    pause: float = 1.0,
    timeout: float = 60.0,
    upstream: Upstream | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download the released files of one version into ``folder/analysis``.

    Files that are there with the right hash are kept, so an interrupted pull goes on where it
    stopped. No file appears under its name before its hash is checked.

    Parameters
    ----------
    address
        Server to use in place of GitHub's; also by ``METABENCH_UPSTREAM_URL``.
    attempts, pause
        Tries a file, and seconds before the second one (doubled before each later one).
    timeout
        Seconds without any byte before a try counts as failed.
    upstream
        The pins; the package's list if left out.
    progress
        Called with path, running number and total before each file.

    Returns
    -------
    list of Path
        The files, in the order of the list.

    Raises
    ------
    DownloadError
        A file cannot be had, or has another hash than the pinned one.
    StorageError
        It cannot be written.
    """
    address = (address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS).rstrip("/")
    if urlsplit(address).scheme not in ("http", "https"):
        raise InputError(f"{address!r} is not a http(s) address.", address=address)
    upstream = upstream or upstream_files()
    paths = released_files(version).paths
    done: list[Path] = []
    for number, path in enumerate(paths, start=1):
        target = folder / path
        digest = upstream.files[path]
        if progress is not None:
            progress(path, number, len(paths))
        if not (target.is_file() and git_blob_sha1(target) == digest):
            url = f"{address}/{upstream.repository}/{upstream.commit}/{quote(path, safe='/=')}"
            content = _download(url, digest, attempts, pause, timeout)
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
        done.append(target)
    return done


def _download(url: str, digest: str, attempts: int, pause: float, timeout: float) -> bytes:
    for attempt in range(1, attempts + 1):
        try:
            return _fetch(url, digest, timeout)
        except (http.client.HTTPException, OSError, _WrongContentError) as error:
            if isinstance(error, HTTPError):
                error.close()
            if attempt == attempts or not is_transient(error):
                raise DownloadError(
                    f"{url}: {_reason(error)} ({attempt} of {attempts} tries). What is already "
                    "downloaded is kept; run the same command again to go on.",
                    url=url,
                    attempts=attempt,
                ) from error
            time.sleep(pause * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _fetch(url: str, digest: str, timeout: float) -> bytes:
    request = Request(url, headers={"User-Agent": f"metabench-py/{metabench_py.__version__}"})
    content = bytearray()
    with urlopen(request, timeout=timeout) as response:
        expected = response.headers.get("Content-Length")
        while chunk := response.read(_CHUNK):
            content += chunk
            if len(content) > _SIZE_LIMIT:
                raise _WrongContentError(f"larger than {_SIZE_LIMIT >> 20} MB")
    # read(n) does not complain about a short body, unlike read().
    if expected is not None and expected.isdigit() and len(content) < int(expected):
        raise http.client.IncompleteRead(b"", int(expected) - len(content))
    found = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    found.update(content)
    if found.hexdigest() != digest:
        what = "a Git LFS pointer" if content.startswith(_LFS_POINTER) else "another file"
        raise _WrongContentError(
            f"the server gave {what} (git hash {found.hexdigest()[:12]}…) in place of the pinned "
            f"one ({digest[:12]}…)"
        )
    return bytes(content)


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError):
        return f"no connection ({error.reason})"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection broke, {error.expected} bytes are missing"
    return str(error) or type(error).__name__


def pull_bundle(
    version: Version,
    out: Path | None = None,
    *,
    downloads: Path | None = None,
    address: str | None = None,
    replace: bool = False,
    upstream: Upstream | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download the released files and import them as a bundle.

    Parameters
    ----------
    out
        Bundle folder; left out, the bundle ``upstream-A`` or ``upstream-B`` in the user's data
        folder, where `reconstruct` finds it by version.
    downloads
        Where the .rds files are kept; left out, beside the bundles.

    Returns
    -------
    Path
        The bundle.
    """
    upstream = upstream or upstream_files()
    out = out or bundles_home() / f"upstream-{version}"
    if out.exists() and not replace:
        raise StorageError(
            f"{out} exists already; say --replace, or choose another folder.", path=str(out)
        )
    # Without R the download would be in vain.
    require_package("mgcv")
    downloads = downloads or bundles_home().parent / "downloads" / upstream.commit[:12]
    pull_released(version, downloads, address=address, upstream=upstream, progress=progress)
    return import_upstream(
        downloads, version, out, replace=replace, upstream=upstream, progress=progress
    )
