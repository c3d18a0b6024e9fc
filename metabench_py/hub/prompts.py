"""Scrapes the items' prompts: item -> prompt, one table a benchmark."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import Benchmark
from metabench_py.errors import DownloadError, InputError, ResponseError
from metabench_py.hub.answers import RefusedError
from metabench_py.hub.details_file import read_prompts
from metabench_py.hub.ledger import Ledger
from metabench_py.hub.listing import Choice, Listing, choose_files
from metabench_py.hub.pool import Progress, run_bounded
from metabench_py.hub.sources import PARTS, Part, details_repository
from metabench_py.hub.transport import HubClient
from metabench_py.storage import atomic_path

FOLDER = "prompts"
SCRATCH = ".downloads"
# Models to try for a file before its prompts count as not to be had.
_MODELS_TRIED = 5


@dataclass(frozen=True)
class PromptTable:
    """One table that was written.

    Attributes
    ----------
    duplicates
        Groups of items with the same prompt.
    """

    benchmark: Benchmark
    path: str
    n_items: int
    duplicates: tuple[tuple[str, ...], ...]
    models: tuple[str, ...]


def reference_models(ledger: Ledger, benchmark: Benchmark) -> list[str]:
    """Models of which all files of a benchmark are there, of the usual size; ten at most."""
    parts = PARTS[benchmark]
    sizes = [ledger.sizes(part.config) for part in parts]
    usual = [Counter(found.values()).most_common(1)[0][0] if found else 0 for found in sizes]
    whole = set(sizes[0]).intersection(*sizes[1:])
    fit = (m for m in whole if all(s[m] == n for s, n in zip(sizes, usual, strict=True)))
    return sorted(fit, key=str.lower)[:10]


def scrape_prompts(
    folder: Path,
    client: HubClient,
    models: Mapping[Benchmark, Sequence[str]],
    organisations: Sequence[str],
    *,
    jobs: int,
    progress: Progress,
) -> list[PromptTable]:
    """Read every prompt of one model's files, and write ``prompts/<benchmark>.parquet``.

    All models were given the same prompts, so one file a config is enough; where a model's file
    cannot be had, the next model's is taken.

    Raises
    ------
    DownloadError
        A file cannot be had from any of the models; nothing is written for its benchmark.
    InputError
        No models for a benchmark.
    """
    for benchmark, names in models.items():
        if not names:
            raise InputError(
                f"No model with all files of {benchmark} is known; run `metabench-py scrape "
                "responses` first, or name a model (--model)."
            )
    client.check()
    scratch = folder / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    finder = _Finder(client, organisations)
    got: dict[str, tuple[str, list[str]]] = {}

    def work(task: tuple[Part, int]) -> tuple[tuple[Part, int], str, list[str] | Exception]:
        part, number = task
        model = models[part.benchmark][number]
        local = scratch / f"{part.config}.parquet"
        try:
            listing, choice = finder.find(model, part)
            path = client.fetch(listing.repository, listing.revision, choice.file, local)
            return task, model, list(read_prompts(path))
        except (RefusedError, DownloadError, ResponseError) as error:
            return task, model, error
        finally:
            local.unlink(missing_ok=True)

    def finish(outcomes: list[Any]) -> Iterator[tuple[Part, int]]:
        for (part, number), model, found in outcomes:
            if not isinstance(found, Exception):
                got[part.config] = (model, found)
                progress.advance(done=1)
            elif number + 1 < min(len(models[part.benchmark]), _MODELS_TRIED):
                yield part, number + 1
            else:
                raise DownloadError(
                    f"The prompts of {part.config} cannot be had from any of {number + 1} models; "
                    f"the last one: {found}",
                    url=client.endpoint,
                    attempts=number + 1,
                    connection=False,
                ) from found

    parts = [part for benchmark in models for part in PARTS[benchmark]]
    progress.start("prompts", len(parts), 0)
    try:
        tasks: Iterator[tuple[Part, int]] = ((part, 0) for part in parts)
        run_bounded(tasks, work, finish, jobs, client.stop)
    finally:
        progress.stop()
        for path in scratch.iterdir():
            path.unlink(missing_ok=True)
        scratch.rmdir()
    return [_write(folder / FOLDER, benchmark, got) for benchmark in models]


class _Finder:
    """Remembers listings, as one model has up to 62 files."""

    def __init__(self, client: HubClient, organisations: Sequence[str]) -> None:
        self.client, self.organisations = client, organisations
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Listing, dict[str, Choice]]] = {}

    def find(self, model: str, part: Part) -> tuple[Listing, Choice]:
        with self._lock:
            if model not in self._known:
                self._known[model] = self._ask(model)
        listing, chosen = self._known[model]
        if part.config not in chosen:
            raise RefusedError(f"{listing.repository}: no {part.config}.", state="absent")
        return listing, chosen[part.config]

    def _ask(self, model: str) -> tuple[Listing, dict[str, Choice]]:
        for number, organisation in enumerate(self.organisations, start=1):
            try:
                listing = self.client.listing(details_repository(model, organisation))
                return listing, choose_files(listing)
            except RefusedError:
                if number == len(self.organisations):
                    raise
        raise InputError("No organisation to look into; name one (--org).")


def _write(
    folder: Path, benchmark: Benchmark, got: Mapping[str, tuple[str, list[str]]]
) -> PromptTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"{benchmark}.parquet"
    items: list[str] = []
    same: dict[bytes, list[str]] = {}
    schema = pa.schema([("item", pa.string()), ("prompt", pa.string())])
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for part in PARTS[benchmark]:
            prompts = got[part.config][1]
            ids = [part.item(row) for row in range(len(prompts))]
            items += ids
            writer.write_table(pa.table([ids, prompts], schema=schema))
            for item, prompt in zip(ids, prompts, strict=True):
                digest = hashlib.sha256(prompt.encode()).digest()
                same.setdefault(digest, []).append(item)
    return PromptTable(
        benchmark,
        str(path),
        len(items),
        tuple(tuple(group) for group in same.values() if len(group) > 1),
        tuple(dict.fromkeys(got[part.config][0] for part in PARTS[benchmark])),
    )
