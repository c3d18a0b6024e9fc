"""Which .rds files R may read.

An .rds is code-adjacent: R before 4.4 can execute what a crafted one carries
(CVE-2024-27322). So R reads one only if its hash is in the package's own list,
``trusted.json``, or the user vouches for it with ``--trust``. A bundle that names its own
hashes proves integrity, not trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from metabench_py.errors import TrustError
from metabench_py.storage import git_blob_sha1, sha256, write_json

_LIST = Path(__file__).resolve().parent / "trusted.json"


@dataclass(frozen=True)
class Upstream:
    """The original's released files.

    Attributes
    ----------
    repository
        ``owner/name`` on GitHub.
    commit
        The commit whose files are pinned.
    files
        Git blob SHA-1 by path.
    """

    repository: str
    commit: str
    files: dict[str, str]


@cache
def _trusted() -> dict[str, Any]:
    trusted: dict[str, Any] = orjson.loads(_LIST.read_bytes())
    return trusted


def upstream_files() -> Upstream:
    """Give the pinned list of the original's released files."""
    return Upstream(**_trusted()["upstream"])


def is_pinned(digest: str) -> bool:
    """Whether this SHA-256 is that of an .rds of the embedded bundle."""
    return digest in _trusted()["default_bundle"].values()


def vouch_released(
    source: Path, paths: Sequence[str], trust: bool = False, upstream: Upstream | None = None
) -> list[str]:
    """Check the original's released files before R reads any of them.

    Parameters
    ----------
    paths
        Paths inside `source`, as in the original's repository.
    upstream
        The pins; the package's list if left out.

    Returns
    -------
    list of str
        The paths that only the user vouches for.

    Raises
    ------
    TrustError
        Some are not the pinned files and `trust` is False; all are named with their hashes.
    """
    pins = (upstream or upstream_files()).files
    unpinned = [path for path in paths if git_blob_sha1(source / path) != pins.get(path)]
    if unpinned and not trust:
        listed = "".join(f"\n  {path}  SHA-256 {sha256(source / path)}" for path in unpinned)
        raise TrustError(
            f"{source}: {len(unpinned)} of {len(paths)} files are not the original's pinned ones, "
            "and R can execute what a crafted .rds carries. Get the released ones (bundle pull), "
            f"or if you know where these come from, run again with --trust.{listed}",
            path=str(source),
            files=unpinned,
        )
    return unpinned


def pin_default_bundle(folder: Path) -> None:
    """Put the hashes of the embedded bundle's .rds files into the list, in place of the old."""
    trusted = dict(_trusted())
    trusted["default_bundle"] = {
        p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*.rds"))
    }
    write_json(_LIST, trusted, indent=1)
    _trusted.cache_clear()
