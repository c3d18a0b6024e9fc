"""Reads the six logs of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TITLES, Benchmark, Version, task_name
from metabench_py.errors import LogError
from metabench_py.logs.documents import UNVERIFIED
from metabench_py.logs.find import ModelLogs
from metabench_py.logs.names import LogName
from metabench_py.logs.reader import Key, item_lookup, read_log
from metabench_py.logs.record import run_flags
from metabench_py.responses import MISSING

_NAMED = 5


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is read of one benchmark: its items in the bundle's order, and the metric."""

    items: tuple[str, ...]
    metric: str
    lookup: Mapping[Key, int]

    @classmethod
    def of(cls, benchmark: Benchmark, items: tuple[str, ...], metric: str) -> Wanted:
        """Prepare the look-up of the items once for many models."""
        return cls(items, metric, item_lookup(benchmark, items))


@dataclass(frozen=True, eq=False)
class Source:
    """Where a benchmark's responses come from."""

    log: LogName
    metric: str
    filter: str | None


@dataclass(frozen=True, eq=False)
class ModelResponses:
    """One model's responses.

    Attributes
    ----------
    values
        For each benchmark int8, shape (n_items,): 1, 0, or -1 where not answered.
    flags
        (name, detail) of what the reader should know.
    """

    model: str
    version: Version
    permuted: bool
    values: dict[Benchmark, NDArray[np.int8]]
    sources: dict[Benchmark, Source]
    flags: tuple[tuple[str, str], ...]


def read_model(
    found: ModelLogs,
    wanted: Mapping[Benchmark, Wanted],
    version: Version,
    permuted: bool = False,
    allow_missing: bool = False,
    time: str | None = None,
    own_tasks: str | None = None,
) -> ModelResponses:
    """Read the newest log of each benchmark of `wanted`, or those of the run at `time`.

    Permuted runs take GSM8K, which has no permuted task, from the unpermuted log (the newest
    one, where the run at `time` has none).

    Parameters
    ----------
    own_tasks
        How to get the tasks of a user's own bundle, in words; None: they are lm-eval's.

    Raises
    ------
    LogError
        A benchmark has no log of that version, a log is not usable, or it lacks items (unless
        `allow_missing`, which still needs one answer a benchmark).
    """
    flags: list[tuple[str, str]] = []
    values: dict[Benchmark, NDArray[np.int8]] = {}
    sources: dict[Benchmark, Source] = {}
    lacking: list[str] = []
    unverified: list[str] = []
    others = 0
    chosen = _choose(found, tuple(wanted), version, permuted, time, flags, own_tasks)
    for benchmark, log in chosen.items():
        want = wanted[benchmark]
        read = read_log(log.path, benchmark, want.metric, want.items, want.lookup)
        values[benchmark] = read.values
        sources[benchmark] = Source(log, want.metric, read.filter)
        others += len(read.others)
        if read.unverified:
            unverified.append(TITLES[benchmark])
        if read.nan_items:
            detail = f"{TITLES[benchmark]}: {len(read.nan_items)} items have NaN log-likelihoods"
            flags.append(("nan-responses", f"{detail} and count as not answered"))
        absent = np.flatnonzero(read.values == MISSING)
        if not absent.size:
            continue
        named = ", ".join(want.items[i] for i in absent[:_NAMED])
        named += " ..." if absent.size > _NAMED else ""
        text = f"{TITLES[benchmark]} lacks {absent.size} of {len(want.items)} items ({named})"
        if read.nan_items:
            text += f", {len(read.nan_items)} of them because the model gave NaN"
        if read.others:
            more = f"{len(read.others)} that are not in the bundle ({read.others[0]}"
            text += f", and has {more}{', ...' if len(read.others) > 1 else ''})"
        if absent.size == len(want.items):
            raise LogError(
                f"{log.path}: no item has a usable answer; run lm-eval again.",
                path=str(log.path),
                line=None,
            )
        lacking.append(text)
        flags.append(("missing-items", text))
    if lacking and not allow_missing:
        raise LogError(
            f"{found.folder}: {'; '.join(lacking)}. Run lm-eval on all items, or give "
            "--allow-missing to score with what is there, with wider intervals.",
            path=str(found.folder),
            line=None,
        )
    if unverified:
        which = "all six" if len(unverified) == len(BENCHMARKS) else ", ".join(unverified)
        detail = (
            f"{which}: the logs are reduced and carry no documents, so it cannot be checked that "
            "the documents scored are those asked about"
        )
        flags.append((UNVERIFIED, detail))
    if others:
        detail = f"{others} items of the logs are not in the bundle and are left aside"
        flags.append(("other-items", detail))
    flags += run_flags(found.folder, (source.log.path.name for source in sources.values()))
    return ModelResponses(found.model, version, permuted, values, sources, tuple(flags))


def _choose(
    found: ModelLogs,
    benchmarks: tuple[Benchmark, ...],
    version: Version,
    permuted: bool,
    time: str | None,
    flags: list[tuple[str, str]],
    own_tasks: str | None,
) -> dict[Benchmark, LogName]:
    chosen: dict[Benchmark, LogName] = {}
    older = 0
    if time is not None:
        # As the files' names have it.
        time = time.replace(":", "-")
    if time is not None and not any(log.time.startswith(time) for log in found.logs):
        there = sorted({log.time for log in found.logs})
        raise LogError(
            f"{found.folder} has no logs of the time {time}; there are {', '.join(there)}.",
            path=str(found.folder),
            line=None,
        )
    for benchmark in benchmarks:
        shuffled = permuted and benchmark != "gsm8k"
        logs = sorted(
            (
                log
                for log in found.logs
                if (log.benchmark, log.version, log.permuted) == (benchmark, version, shuffled)
            ),
            key=lambda log: log.time,
        )
        if time is not None:
            of_time = [log for log in logs if log.time.startswith(time)]
            logs = of_time or (logs[-1:] if permuted and not shuffled else [])
        if logs:
            chosen[benchmark] = logs[-1]
            older += len(logs) - 1
    if len(chosen) < len(benchmarks):
        _refuse_incomplete(found, benchmarks, version, permuted, time, set(chosen), own_tasks)
    times = {log.time for b, log in chosen.items() if not (permuted and b == "gsm8k")}
    if older:
        flags.append(("older-logs", f"{older} older logs were left aside; the newest count"))
    if len(times) > 1:
        flags.append(
            ("mixed-runs", f"the logs are of {len(times)} runs ({', '.join(sorted(times))})")
        )
    return chosen


def _refuse_incomplete(
    found: ModelLogs,
    benchmarks: tuple[Benchmark, ...],
    version: Version,
    permuted: bool,
    time: str | None,
    chosen: set[Benchmark],
    own_tasks: str | None,
) -> None:
    absent = [b for b in benchmarks if b not in chosen]
    names = ", ".join(TITLES[b] for b in absent)
    if own_tasks is not None and time is None:
        raise LogError(
            f"{found.folder} lacks the log of {names} from this bundle's tasks"
            f"{', permuted' if permuted else ''}; run lm-eval on {own_tasks}.",
            path=str(found.folder),
            line=None,
            benchmarks=absent,
        )
    group = (
        "metabench" + ("_secondary" if version == "B" else "") + ("_permute" if permuted else "")
    )
    there = sorted({(log.version, log.permuted) for log in found.logs})
    of_kind = any((log.version, log.permuted) == (version, permuted) for log in found.logs)
    if not of_kind and (not chosen or (permuted and chosen == {"gsm8k"})):
        kinds = ", ".join(f"version {v}{' permuted' if p else ''}" for v, p in there)
        raise LogError(
            f"{found.folder} has no logs of version {version}{' permuted' if permuted else ''}, "
            f"only of {kinds}. Give the version as second argument, or run lm-eval on {group}.",
            path=str(found.folder),
            line=None,
        )
    kind = [
        log
        for log in found.logs
        if log.benchmark in absent and (log.version, log.permuted) == (version, permuted)
    ]
    if time is not None and kind:
        times = ", ".join(sorted({log.time for log in kind}))
        raise LogError(
            f"{found.folder}: the run at {time} has no log of {names}; there are some of {times}. "
            "Give one of these as --run, or leave it out for the newest.",
            path=str(found.folder),
            line=None,
            benchmarks=absent,
        )
    tasks = ", ".join(task_name(b, version, permuted) for b in absent)
    raise LogError(
        f"{found.folder} lacks the log of {names}; run lm-eval on {tasks} (the group {group} has "
        f"{'the five that are permuted' if permuted else 'all six'}).",
        path=str(found.folder),
        line=None,
        benchmarks=absent,
    )
