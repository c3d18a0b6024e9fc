"""Which file of a details data set holds which config: pure, from card and file names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from metabench_py.hub.sources import config_name

_FILE = re.compile(
    r"(?:.*/)?details_(?P<task>harness\|.+\|\d+)_"
    r"(?P<date>\d{4}-\d{2}-\d{2}T\d{2}[-:]\d{2}[-:]\d{2}(?:[.:-]\d+)?)\.parquet"
)


@dataclass(frozen=True)
class HubFile:
    """One file of a repository.

    Attributes
    ----------
    sha256
        Of the content, for files in LFS; else empty.
    git_sha1
        Git's hash of the content, for files that are not in LFS; else empty.
    """

    path: str
    size: int | None = None
    sha256: str = ""
    git_sha1: str = ""

    @property
    def digest(self) -> str:
        """Whichever hash there is."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True, eq=False)
class Listing:
    """A repository at one commit."""

    repository: str
    revision: str
    files: Mapping[str, HubFile]
    card: Mapping[str, Any]
    gated: bool = False


@dataclass(frozen=True)
class Choice:
    """The file to read for one config; `note` says what was chosen among, if anything."""

    file: HubFile
    note: str = ""


def choose_files(listing: Listing) -> dict[str, Choice]:
    """For each config the file of its newest run.

    The card's split ``latest`` decides; where the card has no such config, the names of the
    files do. Of several files the one with the newest date in its name is taken, and said so.
    """
    by_name = _by_name(listing.files)
    by_last: dict[str, list[str]] = {}
    for path in listing.files:
        by_last.setdefault(path.rpartition("/")[2], []).append(path)
    chosen: dict[str, Choice] = {}
    for config, patterns in latest_patterns(listing.card).items():
        found = list(dict.fromkeys(p for pattern in patterns for p in _matching(pattern, by_last)))
        if found:
            chosen[config] = _newest(found, listing, "files of the card's latest split")
        elif config in by_name:
            # A card that was not renewed when its files were.
            choice = _newest(by_name[config], listing, "files of this task")
            note = "the card's latest split names no file that is there; by file name"
            chosen[config] = Choice(choice.file, "; ".join(n for n in (note, choice.note) if n))
    for config, paths in by_name.items():
        if config not in chosen:
            choice = _newest(paths, listing, "files of this task")
            note = "config not in the card; by file name"
            chosen[config] = Choice(choice.file, "; ".join(n for n in (note, choice.note) if n))
    return chosen


def latest_patterns(card: Mapping[str, Any]) -> dict[str, list[str]]:
    """Path patterns of the split ``latest`` by config; configs without one are left out."""
    configs = card.get("configs")
    result: dict[str, list[str]] = {}
    for config in configs if isinstance(configs, list) else []:
        if not isinstance(config, Mapping) or not isinstance(config.get("config_name"), str):
            continue
        patterns = _latest(config.get("data_files"))
        if patterns:
            result[config["config_name"]] = patterns
    return result


def _latest(data_files: Any) -> list[str]:
    if isinstance(data_files, Mapping):
        return _paths(data_files.get("latest"))
    if isinstance(data_files, list):
        return [
            path
            for entry in data_files
            if isinstance(entry, Mapping) and entry.get("split") == "latest"
            for path in _paths(entry.get("path"))
        ]
    return []


def _paths(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [v for v in values if isinstance(v, str)]


def _by_name(paths: Iterable[str]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for path in paths:
        if match := _FILE.fullmatch(path):
            result.setdefault(config_name(match["task"]), []).append(path)
    return result


def _matching(pattern: str, by_last: Mapping[str, list[str]]) -> Iterable[str]:
    """Give the paths that a pattern of the card means; `by_last` has them by last component."""
    # "**/" stands for any folder, the top one included, which fnmatch does not know.
    anywhere = pattern.startswith("**/")
    rest = pattern.removeprefix("**/")
    if not set(rest) & set("*?["):
        # Nearly all cards: a plain name, which need not be compared with every path.
        paths = by_last.get(rest.rpartition("/")[2], [])
        return (p for p in paths if p == rest or (anywhere and p.endswith("/" + rest)))
    every = (path for paths in by_last.values() for path in paths)
    return (p for p in every if fnmatchcase(p, pattern) or (anywhere and fnmatchcase(p, rest)))


def _newest(paths: list[str], listing: Listing, what: str) -> Choice:
    newest = max(paths, key=lambda path: (file_date(path), path))
    note = f"newest of {len(paths)} {what}" if len(paths) > 1 else ""
    return Choice(listing.files[newest], note)


def file_date(path: str) -> str:
    """Date in a details file's name, in a form that sorts; empty if there is none."""
    match = _FILE.fullmatch(path)
    return match["date"].replace(":", "-").replace(".", "-") if match else ""
