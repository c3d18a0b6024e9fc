"""Compares a folder of item files with a bundle and with logs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import LogError, MissingDependencyError
from metabench_py.harness.documents import made_documents
from metabench_py.harness.installed import find_lm_eval
from metabench_py.harness.itemfiles import item_ids, read_items
from metabench_py.harness.taskfiles import write_task_files
from metabench_py.harness.variants import Variant
from metabench_py.logs.find import ModelLogs
from metabench_py.logs.names import LogName

_NAMED = 5


@dataclass(frozen=True)
class Check:
    """One comparison; `ok` is None where it could not be made."""

    what: str
    ok: bool | None
    detail: str


def check_files(files: Mapping[Benchmark, Path]) -> Iterator[Check]:
    """Check that the files are readable, hold the right columns and no item twice."""
    for benchmark, path in files.items():
        read_items(path, benchmark)
        yield Check(TITLES[benchmark], True, f"{len(item_ids(path, benchmark))} items in {path}")


def check_bundle(
    files: Mapping[Benchmark, Path], items: Mapping[Benchmark, Sequence[str]]
) -> Iterator[Check]:
    """Compare the items with a bundle's."""
    for benchmark, path in files.items():
        here, there = set(item_ids(path, benchmark)), set(items[benchmark])
        lacking, extra = sorted(there - here), sorted(here - there)
        what = f"{TITLES[benchmark]} and the bundle"
        if not lacking and not extra:
            yield Check(what, True, f"the same {len(there)} items")
            continue
        parts = []
        if lacking:
            parts.append(f"{len(lacking)} of the bundle's items are absent ({_named(lacking)})")
        if extra:
            parts.append(f"{len(extra)} items are not the bundle's ({_named(extra)})")
        yield Check(what, False, "; ".join(parts))


def check_logs(
    files: Mapping[Benchmark, Path], variant: Variant, logs: ModelLogs
) -> Iterator[Check]:
    """Compare the documents that lm-eval makes of the items with those of the newest logs.

    Row for row, by their hashes; by their items alone where lm-eval is not installed.

    Raises
    ------
    WorkerError
        lm-eval could not make the documents.
    """
    chosen: dict[str, LogName] = {}
    for log in sorted(logs.logs, key=lambda log: log.time):
        for task, benchmark in variant.tasks.items():
            if (log.benchmark, log.version, log.permuted) == (benchmark, variant.version, False):
                chosen[task] = log
    hashes: dict[str, list[str]] | None
    try:
        hashes = documents(files, variant)
    except MissingDependencyError as error:
        hashes = None
        yield Check("documents", None, f"only items are compared: {error}")
    for task, benchmark in variant.tasks.items():
        what = f"{TITLES[benchmark]} and the log"
        if task not in chosen:
            yield Check(what, None, f"there is no log of {task}")
            continue
        there = _log_rows(chosen[task].path, benchmark)
        items = item_ids(files[benchmark], benchmark)
        if [item for item, _ in there] != items:
            odd = sorted({item for item, _ in there} ^ set(items))
            text = f"{len(odd)} items differ ({_named(odd)})" if odd else "the order differs"
            yield Check(what, False, text)
        elif hashes is None or any(value is None for _, value in there):
            yield Check(what, True, f"the same {len(items)} items in the same order")
        else:
            wrong = [
                item
                for (item, value), mine in zip(there, hashes[task], strict=True)
                if value != mine
            ]
            detail = f"the same {len(items)} documents, row for row"
            if wrong:
                detail = f"{len(wrong)} of {len(items)} documents differ ({_named(wrong)})"
            yield Check(what, not wrong, detail)


def documents(files: Mapping[Benchmark, Path], variant: Variant) -> dict[str, list[str]]:
    """Hashes of the documents that lm-eval makes of item files, by task.

    Raises
    ------
    MissingDependencyError
        lm-eval is not installed.
    WorkerError
        lm-eval could not make them.
    """
    installed = find_lm_eval()
    with tempfile.TemporaryDirectory(prefix="metabench-documents-") as name:
        folder = Path(name)
        write_task_files(folder / "tasks", installed, variant, files)
        made = made_documents(folder / "tasks", variant.tasks, folder)
    return {task: [value for _, value in rows] for task, rows in made.items()}


def _log_rows(path: Path, benchmark: Benchmark) -> list[tuple[str, str | None]]:
    """Item and document's hash of a log's rows; of GSM8K's two rows an item the first."""
    rows: dict[str, str | None] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                item = str(row["doc"]["metabench_idx"])
                if benchmark == "mmlu":
                    item = f"{row['doc']['subject']}.{item}"
                rows.setdefault(item, row.get("doc_hash"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise LogError(
                    f"{path}, line {number}: no row of a metabench sample log.",
                    path=str(path),
                    line=number,
                ) from error
    return list(rows.items())


def _named(items: Sequence[str]) -> str:
    return ", ".join(items[:_NAMED]) + (" ..." if len(items) > _NAMED else "")
