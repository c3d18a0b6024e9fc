"""What the stand-in of the Hub holds, and which of its answers are spoilt.

`Faults` spoils a share of the answers, decided by seed, address and how often that address was
asked for: the same whatever the order of the requests.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

FaultKind = Literal["429", "500", "503", "reset", "truncated", "corrupt", "drip", "stall"]
ALL_FAULTS: tuple[FaultKind, ...] = (
    "429", "500", "503", "reset", "truncated", "corrupt", "drip",
)  # fmt: skip
LFS_SUFFIXES = (".parquet", ".safetensors", ".bin")


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def lfs_pointer(digest: str, size: int) -> bytes:
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
    ).encode()


@dataclass
class Repo:
    """One repository at one commit.

    Attributes
    ----------
    card
        Metadata block of the README (``{"configs": [...]}``).
    info
        Further keys of the info answer (``safetensors``, ``config``, ``tags``).
    state
        ``gated``: info is public, files answer 403. ``deleted``: 404. ``hidden``: 401, as the
        Hub answers about a missing repository to somebody without a token.
    """

    files: dict[str, bytes]
    card: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    kind: Literal["datasets", "models"] = "datasets"
    state: Literal["open", "gated", "deleted", "hidden"] = "open"

    @property
    def commit(self) -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        for path in sorted(self.files):
            digest.update(path.encode() + hashlib.sha256(self.files[path]).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class Faults:
    """Which share of the answers is spoilt, and how."""

    rate: float = 0.0
    seed: int = 0
    kinds: tuple[FaultKind, ...] = ALL_FAULTS
    retry_after: str = "0"
    # After so many spoilt answers in a row at one address a sound one follows.
    most_in_a_row: int = 3
    drip_seconds: float = 0.05
    stall_seconds: float = 30.0

    def choose(self, key: str, number: int, has_digest: bool) -> FaultKind | None:
        """Fault of the `number`-th answer at this address."""
        if not self.rate:
            return None
        run = 0
        for n in range(max(1, number - self.most_in_a_row), number + 1):
            draw = random.Random(f"{self.seed}|{key}|{n}")
            bad = draw.random() < self.rate and run < self.most_in_a_row
            run = run + 1 if bad else 0
            fault = draw.choice(self.kinds) if bad else None
        # Nothing could tell a wrong checksum where there is none.
        return "500" if fault == "corrupt" and not has_digest else fault


@dataclass
class Hub:
    """What to serve, and what was asked for."""

    repos: dict[str, Repo] = field(default_factory=dict)
    # Repositories or organisations that moved: old name -> new name.
    moved: dict[str, str] = field(default_factory=dict)
    faults: Faults = Faults()
    latency: float = 0.0
    # Faults for one address, taken before the random ones: path part -> kinds.
    planned: dict[str, list[FaultKind]] = field(default_factory=dict)
    # Files outside any repository: path -> content (a Zenodo record and its file).
    other: dict[str, bytes] = field(default_factory=dict)
    address: str = ""
    # Large files come from another host, as on the Hub: the client tells them apart by it.
    cdn: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    given: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _commits: dict[int, str] = field(default_factory=dict)
    _digests: dict[int, tuple[str, str]] = field(default_factory=dict)

    def commit(self, repo: Repo) -> str:
        if id(repo) not in self._commits:
            self._commits[id(repo)] = repo.commit
        return self._commits[id(repo)]

    def digests(self, content: bytes) -> tuple[str, str]:
        """SHA-256 and git's SHA-1."""
        known = self._digests.get(id(content))
        if known is None:
            known = (hashlib.sha256(content).hexdigest(), git_sha1(content))
            self._digests[id(content)] = known
        return known

    def count(self, needle: str) -> int:
        """Number of requests whose path contains this."""
        return sum(needle in path for _, path in self.requests)
