"""Runs of a part of the items: those of a small bundle, out of all that a variant has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import InputError, LogError
from metabench_py.harness.documents import made_documents
from metabench_py.harness.installed import Installed
from metabench_py.harness.itemfiles import item_ids
from metabench_py.harness.taskfiles import write_task_files
from metabench_py.harness.variants import Variant
from metabench_py.harness.verify import Verified

Chosen = Mapping[Benchmark, Sequence[str]]


def items_in_order(
    variant: Variant,
    files: Mapping[Benchmark, Path] | None,
    installed: Installed,
    work: Path,
) -> dict[Benchmark, list[str]]:
    """List all items of a variant as lm-eval goes through them.

    Of its own data set the plain tasks are asked, whose items come in the same order: making the
    permuted documents here would shuffle them otherwise than the run does.

    Parameters
    ----------
    files
        Item files; None: lm-eval's own data set.
    work
        Folder for task files and the data sets' cache.

    Raises
    ------
    WorkerError
        lm-eval does not reach its data set.
    """
    if files is not None:
        return {b: item_ids(path, b) for b, path in files.items()}
    plain = Variant(variant.version, False)
    write_task_files(work / "tasks", installed, plain)
    made = made_documents(
        work / "tasks", plain.tasks, work, "Offline, give the items with --items DIR."
    )
    return {b: [item for item, _ in made[task]] for task, b in plain.tasks.items()}


def samples_of(
    tasks: Mapping[str, Benchmark],
    chosen: Chosen,
    every: Mapping[Benchmark, Sequence[str]],
    limit: float | None = None,
) -> list[str]:
    """Make lm-eval's arguments that run chosen items alone.

    The documents are made of all items, so the permuted ones are those of a whole run.

    Parameters
    ----------
    every
        As `items_in_order` gives them.
    limit
        Items a task, or a share below 1; the first of the chosen are taken.

    Raises
    ------
    InputError
        An item is not among all.
    """
    samples = {}
    for task, benchmark in tasks.items():
        place = {item: i for i, item in enumerate(every[benchmark])}
        absent = [item for item in chosen[benchmark] if item not in place]
        if absent:
            raise InputError(
                f"{TITLES[benchmark]}: lm-eval's items lack {len(absent)} of the bundle's, the "
                f"first is {absent[0]!r}. Give files of the bundle's own items with --items.",
                item=absent[0],
            )
        places = [place[item] for item in chosen[benchmark]]
        samples[task] = places[: limited(len(places), limit)]
    return ["--samples", json.dumps(samples)]


def limited(n: int, limit: float | None) -> int:
    """Items that lm-eval runs of `n` under a limit."""
    if limit is None:
        return n
    return math.ceil(n * limit) if limit < 1 else min(n, int(limit))


def check_chosen(
    verified: Mapping[str, Verified], tasks: Mapping[str, Benchmark], chosen: Chosen
) -> None:
    """Refuse logs of other items than were chosen.

    Raises
    ------
    LogError
        One has such an item.
    """
    for task, about in verified.items():
        others = set(about.items) - set(chosen[tasks[task]])
        if others:
            path = about.log.path
            raise LogError(
                f"{path}: lm-eval ran the item {min(others)!r}, which was not chosen; its items "
                "come in another order than they were listed.",
                path=str(path),
                line=None,
            )
