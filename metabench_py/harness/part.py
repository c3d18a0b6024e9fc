"""Runs of a part of the items: those of a small bundle, out of lm-eval's data set or of files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from metabench_py.benchmarks import TITLES, Benchmark, task_name
from metabench_py.errors import InputError, LogError
from metabench_py.harness.documents import made_documents
from metabench_py.harness.installed import Installed
from metabench_py.harness.select import select_items
from metabench_py.harness.taskfiles import write_task_files
from metabench_py.harness.variants import Variant
from metabench_py.harness.verify import Verified

Chosen = Mapping[Benchmark, Sequence[str]]


def chosen_files(
    files: Mapping[Benchmark, Path], chosen: Chosen, out: Path
) -> dict[Benchmark, Path]:
    """Write files of the chosen items, unless they are there: a resumed run has its own.

    Raises
    ------
    InputError
        The files lack an item.
    """
    wanted = {benchmark: out / f"{benchmark}.parquet" for benchmark in files}
    if not all(path.is_file() for path in wanted.values()):
        select_items(files["arc"].parent, {b: chosen[b] for b in files}, out)
    return wanted


def chosen_samples(
    tasks: Mapping[str, Benchmark],
    variant: Variant,
    chosen: Chosen,
    limit: float | None,
    installed: Installed,
    work: Path,
) -> list[str]:
    """Make lm-eval's arguments that choose items out of its own data set.

    Places are counted in the plain tasks, whose items come in the same order; to make the
    permuted documents here would shuffle them otherwise than the run does.

    Parameters
    ----------
    limit
        Items a task, or a share below 1; the first ones are taken.
    work
        Folder for task files and the data sets' cache.

    Raises
    ------
    InputError
        The data set lacks an item.
    WorkerError
        lm-eval does not reach its data set.
    """
    plain = Variant(variant.version, False)
    write_task_files(work / "tasks", installed, plain)
    named = {b: task_name(b, variant.version, False) for b in tasks.values()}
    made = made_documents(
        work / "tasks", named.values(), work, "Offline, give the items with --items DIR."
    )
    samples = {}
    for task, benchmark in tasks.items():
        place = {item: i for i, (item, _) in enumerate(made[named[benchmark]])}
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
                f"{path}: lm-eval ran {min(others)!r}, which was not chosen; take the items from "
                "files, with --items DIR.",
                path=str(path),
                line=None,
            )
