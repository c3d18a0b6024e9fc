"""Scrapes small documents into the ledger and writes tables: leaderboard and model details."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench_py.errors import DownloadError, InputError
from metabench_py.hub import leaderboard, model_details
from metabench_py.hub.answers import RefusedError
from metabench_py.hub.ledger import FINAL, DocumentRow, Ledger
from metabench_py.hub.listing import HubFile, Listing
from metabench_py.hub.pool import Progress, run_bounded
from metabench_py.hub.transport import HubClient, Outage
from metabench_py.storage import atomic_path

if TYPE_CHECKING:
    import pandas as pd

SCRATCH = ".downloads"


@dataclass
class Report:
    """What a run did; `problems` say what is not in the table and why."""

    done: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)
    failed: int = 0


def scrape_leaderboard(
    folder: Path,
    ledger: Ledger,
    client: HubClient,
    *,
    repositories: Sequence[str],
    jobs: int,
    progress: Progress,
) -> tuple[pd.DataFrame, Report]:
    """Read the newest result file that parses of every model.

    Files are known by their hash, so a second run fetches only what is new.

    Raises
    ------
    InputError
        None of the repositories is there.
    DownloadError
        The Hub cannot be reached.
    """
    client.check()
    listing = _first_listing(client, repositories)
    folders = leaderboard.newest_first(listing.files)
    if not folders:
        raise InputError(
            f"{listing.repository}: no result files (<model>/results_*.json) in this data set."
        )
    known = {row.key: row for row in ledger.documents("leaderboard")}
    ledger_keys = {path for paths in folders.values() for path in paths}
    with ledger.transaction():
        ledger.drop_documents("leaderboard", set(known) - ledger_keys)
    report, outage = Report(), Outage(client)
    chosen: dict[str, DocumentRow] = {}

    def next_of(name: str, start: int) -> tuple[str, int] | None:
        """First file of this folder, from `start`, that the ledger cannot answer for."""
        for position in range(start, len(folders[name])):
            path = folders[name][position]
            row = known.get(path)
            if row is None or row.digest != listing.files[path].digest or row.state == "failed":
                return name, position
            if row.state == "done":
                chosen[name] = row
                report.skipped += 1
                return None
        report.problems.append(f"{name}: none of its {len(folders[name])} result files is usable")
        return None

    scratch = folder / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)

    def work(task: tuple[str, int]) -> tuple[tuple[str, int], DocumentRow]:
        name, position = task
        file = listing.files[folders[name][position]]
        return task, _result_row(client, listing, file, scratch)

    def finish(
        outcomes: list[tuple[tuple[str, int], DocumentRow]],
    ) -> Iterator[tuple[str, int]]:
        with ledger.transaction():
            for _, row in outcomes:
                ledger.put_document(row)
        follow = []
        for (name, position), row in outcomes:
            outage.count(row.unreachable)
            if row.state == "done":
                chosen[name] = row
                report.done += 1
                progress.advance(done=1)
            elif row.state == "failed":
                # An older file must not take the place of one that could not be had today.
                report.failed += 1
                report.problems.append(f"{row.key}: {row.error}")
                progress.advance(failed=1)
            elif (task := next_of(name, position + 1)) is not None:
                follow.append(task)
            else:
                progress.advance(done=name in chosen, failed=name not in chosen)
        return iter(follow)

    tasks = [task for name in folders if (task := next_of(name, 0)) is not None]
    progress.start("leaderboard", len(tasks), report.skipped)
    try:
        run_bounded(iter(tasks), work, finish, jobs, client.stop)
    finally:
        progress.stop()
        _remove(scratch)
    rows = (chosen[name].value for name in folders if name in chosen)
    return leaderboard.make_table(rows), report


def _first_listing(client: HubClient, repositories: Sequence[str]) -> Listing:
    refused: RefusedError | None = None
    for repository in repositories:
        try:
            return client.listing(repository)
        except RefusedError as error:
            refused = error
    raise InputError(
        f"The Hub has none of {', '.join(repositories)} for us ({refused}) Name the data set of "
        "result files with --repo."
    )


def _result_row(client: HubClient, listing: Listing, file: HubFile, scratch: Path) -> DocumentRow:
    path = scratch / file.path.replace("/", "__")
    try:
        content = client.read(listing.repository, listing.revision, file, path)
        value = leaderboard.parse_result(content)
    except DownloadError as error:
        gone = error.facts["connection"]
        return DocumentRow("leaderboard", file.path, "failed", file.digest, None, str(error), gone)
    except RefusedError as error:
        return DocumentRow("leaderboard", file.path, error.state, file.digest, error=str(error))
    except InputError as error:
        return DocumentRow("leaderboard", file.path, "invalid", file.digest, error=str(error))
    return DocumentRow("leaderboard", file.path, "done", file.digest, value)


def scrape_details(
    folder: Path,
    ledger: Ledger,
    client: HubClient,
    names: Sequence[str],
    *,
    jobs: int,
    recheck: bool,
    progress: Progress,
) -> tuple[dict[str, dict[str, Any]], Report]:
    """Ask the Hub for parameter count, architecture and tags of each model.

    Returns
    -------
    dict
        By model what `model_details.describe` gives; of a model that the Hub does not have,
        what its name tells.
    """
    final = {"done"} if recheck else FINAL
    known = {row.key: row for row in ledger.documents("details") if row.state in final}
    todo = [name for name in names if name not in known]
    report = Report(skipped=len(names) - len(todo))
    outage = Outage(client)
    if todo:
        client.check()
        scratch = folder / SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)

        def work(name: str) -> DocumentRow:
            return _details_row(client, name, scratch)

        def finish(rows: list[DocumentRow]) -> list[str]:
            with ledger.transaction():
                for row in rows:
                    ledger.put_document(row)
            for row in rows:
                known[row.key] = row
                # That a model has gone is an answer too.
                bad = row.state == "failed"
                report.failed += bad
                report.done += not bad
                if bad:
                    report.problems.append(f"{row.key}: {row.error}")
                progress.advance(done=not bad, failed=bad)
                outage.count(row.unreachable)
            return []

        progress.start("details", len(todo), report.skipped)
        try:
            run_bounded(iter(todo), work, finish, jobs, client.stop)
        finally:
            progress.stop()
            _remove(scratch)
    return {
        name: known[name].value or model_details.from_name(name) for name in names
    }, report  # fmt: skip


def _details_row(client: HubClient, name: str, scratch: Path) -> DocumentRow:
    try:
        info = client.model(name)
        value = model_details.describe(name, info)
        if not value["arch"] and any(f.rfilename == "config.json" for f in info.siblings or []):
            file = HubFile("config.json")
            local = scratch / (name.replace("/", "__") + ".config.json")
            content = client.read(name, info.sha, file, local, kind="model")
            value["arch"] = model_details.architecture(content)
    except RefusedError as error:
        # A gated model is there, though its files are not for us.
        gone = model_details.from_name(name, available=error.state == "gated")
        return DocumentRow("details", name, error.state, value=gone, error=str(error))
    except DownloadError as error:
        gone = error.facts["connection"]
        return DocumentRow("details", name, "failed", "", None, str(error), gone)
    return DocumentRow("details", name, "done", value=value)


def merge_details(table: pd.DataFrame, details: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Put details into a table with a column ``name``; other columns stay as they are."""
    merged = table.copy()
    columns = model_details.COLUMNS
    for column in columns:
        values = [details[name][column] if name in details else None for name in merged["name"]]
        if column not in merged.columns:
            merged[column] = values
        else:
            old = merged[column].tolist()
            merged[column] = [
                before if new is None else new for before, new in zip(old, values, strict=True)
            ]
    return merged


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write CSV or, by any other suffix, Parquet."""
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


def _remove(scratch: Path) -> None:
    for path in scratch.iterdir():
        path.unlink(missing_ok=True)
    scratch.rmdir()
