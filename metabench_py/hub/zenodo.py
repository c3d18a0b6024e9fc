"""Gets the published data set from Zenodo: resumable, checked, safely unpacked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import metabench_py
from metabench_py.errors import DownloadError, InputError, StorageError
from metabench_py.hub.retry import DamagedBodyError, Gate, RetryRule, reason, with_retries
from metabench_py.storage import atomic_folder, check_replaceable, write_json

DEFAULT_ADDRESS = "https://zenodo.org"
ADDRESS_VARIABLE = "METABENCH_ZENODO_URL"
RECORD = "12819251"
ARCHIVE = "data.tar.gz"
# What the archive may grow to, and how many files it may hold.
LARGEST = 64 << 30
MOST_FILES = 100_000
_CHUNK = 1 << 20
# What was pulled; lies beside the data.
PULLED = "pulled.json"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Archive:
    """The file as the record describes it."""

    url: str
    size: int
    md5: str


def pull_data(
    out: Path,
    *,
    record: str = RECORD,
    name: str = ARCHIVE,
    address: str | None = None,
    replace: bool = False,
    keep_archive: bool = False,
    rule: RetryRule | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download the archive, check it, unpack it into a new folder.

    The part that is there already is kept beside `out` (``.part``), so an interrupted download
    goes on where it stopped. `out` appears whole or not at all.

    Parameters
    ----------
    address
        Server in place of Zenodo's; also by ``METABENCH_ZENODO_URL``.
    progress
        Called with bytes there and bytes in all.

    Raises
    ------
    DownloadError
        The server cannot be reached or gives another file.
    InputError
        The archive holds something that has no place in a folder of data.
    StorageError
        `out` exists, or the disk is full.
    """
    if out.exists() and not replace:
        raise StorageError(
            f"{out} exists already; say --replace, or choose another folder.", path=str(out)
        )
    check_replaceable(out, (PULLED,))
    address = (address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS).rstrip("/")
    if urlsplit(address).scheme not in ("http", "https"):
        raise InputError(f"{address!r} is not a http(s) address.", address=address)
    rule, gate = rule or RetryRule(), Gate()
    archive = _describe(address, record, name, rule, gate)
    part = out.with_name(out.name + "." + name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with_retries(archive.url, lambda: _transfer(archive, part, rule, progress), rule, gate)
    except DownloadError as error:
        raise DownloadError(
            f"{error} What is there is kept; run the same command again to go on.", **error.facts
        ) from error
    except OSError as error:
        if isinstance(error.strerror, str) and not getattr(error, "code", None):
            raise StorageError(f"Cannot write {part}: {error.strerror}.") from error
        raise DownloadError(f"{archive.url}: {reason(error)}.", url=archive.url) from error
    with atomic_folder(out, replace=replace, marks=(PULLED,)) as folder:
        unpack(part, folder)
        write_json(folder / PULLED, {"record": record, "archive": name, "md5": archive.md5})
    if keep_archive:
        part.replace(out.with_name(name))
    else:
        part.unlink()
    return out


def _describe(address: str, record: str, name: str, rule: RetryRule, gate: Gate) -> Archive:
    url = f"{address}/api/records/{quote(record)}"

    def ask() -> Any:
        with _open(url, {}, rule) as response:
            return json.load(response)

    try:
        # Somebody waits for the first word: less patience than for the archive itself.
        few = dataclasses.replace(rule, attempts=min(rule.attempts, 4))
        data = with_retries(url, ask, few, gate)
        for file in data["files"]:
            if file["key"] == name:
                kind, _, digest = str(file["checksum"]).partition(":")
                if kind != "md5" or len(digest) != 32:
                    raise InputError(f"{url}: the checksum of {name} is no MD5: {kind}.")
                where = f"{url}/files/{quote(name)}/content"
                return Archive(where, int(file["size"]), digest)
    except DownloadError as error:
        raise DownloadError(
            f"{error} Check the network and the proxy (HTTPS_PROXY), or give a mirror (--address).",
            **error.facts,
        ) from error
    except OSError as error:
        raise DownloadError(f"{url}: {reason(error)}.", url=url, attempts=1) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DownloadError(f"{url}: not the description of a record.", url=url) from error
    raise InputError(f"{url}: this record has no file {name}.")


def _open(url: str, headers: dict[str, str], rule: RetryRule) -> Any:
    agent = {"User-Agent": f"metabench-py/{metabench_py.__version__}"}
    return urlopen(Request(url, headers={**agent, **headers}), timeout=rule.timeout)


def _transfer(archive: Archive, part: Path, rule: RetryRule, progress: Progress | None) -> None:
    begun = part.stat().st_size if part.exists() else 0
    if begun > archive.size:
        part.unlink()
        begun = 0
    if begun < archive.size:
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        with _open(archive.url, headers, rule) as response:
            start = f"bytes {begun}-"
            if response.status != 206 or not response.headers["Content-Range"].startswith(start):
                begun = 0
            with part.open("r+b" if begun else "wb") as stream:
                stream.seek(begun)
                _copy(response, stream, archive, begun, rule, progress)
    size = part.stat().st_size
    if size < archive.size:
        raise DamagedBodyError(f"the connection broke, {archive.size - size} bytes are missing")
    digest = hashlib.md5(usedforsecurity=False)
    with part.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    if size != archive.size or digest.hexdigest() != archive.md5:
        part.unlink()
        raise DamagedBodyError("the file has another checksum (MD5) than the record says")


def _copy(
    response: Any,
    stream: IO[bytes],
    archive: Archive,
    begun: int,
    rule: RetryRule,
    progress: Progress | None,
) -> None:
    since, got = time.monotonic(), 0
    # read1 gives what is there, so that nothing is lost when the connection breaks.
    while chunk := response.read1(_CHUNK):
        stream.write(chunk)
        got += len(chunk)
        if progress is not None:
            progress(begun + got, archive.size)
        seconds = time.monotonic() - since
        if seconds > rule.timeout and got / seconds < rule.slowest:
            raise DamagedBodyError(f"only {got / seconds:.0f} bytes a second come")


def unpack(archive: Path, folder: Path, largest: int = LARGEST) -> None:
    """Unpack a .tar.gz: plain files and folders only, nothing outside `folder`.

    Raises
    ------
    InputError
        An entry is a link or a device, leads outside, comes twice, or there is too much.
    """
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for number, member in enumerate(tar):
                target = folder / _safe(archive, member)
                if number >= MOST_FILES or (total := total + member.size) > largest:
                    raise InputError(f"{archive}: holds more than a data set could; not unpacked.")
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                if target.exists():
                    raise InputError(f"{archive}: {member.name!r} comes twice; not unpacked.")
                # Content only: owner, mode and time of the archive do not matter here.
                with target.open("xb") as stream:
                    if source is not None:
                        shutil.copyfileobj(source, stream, _CHUNK)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive}: not a whole .tar.gz ({error}).") from error


def _safe(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()):
        raise InputError(f"{archive}: {member.name!r} is a link or a device; not unpacked.")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise InputError(f"{archive}: {member.name!r} leads outside the folder; not unpacked.")
    return path
