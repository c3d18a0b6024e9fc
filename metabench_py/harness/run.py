"""Runs one variant: in a private folder, verified, then moved to where the logs belong."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import (
    InputError,
    StorageError,
)
from metabench_py.harness.child import check_saved, run_lm_eval
from metabench_py.harness.installed import Installed, find_lm_eval
from metabench_py.harness.part import check_chosen, items_in_order, samples_of
from metabench_py.harness.plan import Plan
from metabench_py.harness.taskfiles import write_task_files
from metabench_py.harness.verify import Verified, verify_logs
from metabench_py.logs.record import RECORD_PREFIX, RECORD_SCHEMA, read_record
from metabench_py.storage import sha256, write_json

Say = Callable[[str], None]


def find_finished(plan: Plan, installed: Installed) -> dict[str, Any] | None:
    """Find the record of the same run that has ended well and whose logs are as they were."""
    wanted = plan.fingerprint(installed)
    for path in sorted(plan.folder.glob(f"{RECORD_PREFIX}{plan.variant.name}_*.json"))[::-1]:
        record = read_record(path)
        if record is None or record.get("made_with") != wanted:
            continue
        if all(
            (plan.folder / name).is_file() and sha256(plan.folder / name) == about["sha256"]
            for name, about in record["logs"].items()
        ):
            return record
    return None


def run_variant(
    plan: Plan, *, resume: bool = False, restart: bool = False, say: Say = lambda _text: None
) -> dict[str, Any]:
    """Run lm-eval on one variant, verify its logs, move them to the model's folder.

    Parameters
    ----------
    resume
        Leave out what has ended well, go on with what was interrupted.
    restart
        Begin anew where an interrupted run is.

    Returns
    -------
    dict
        The run's record, which also lies beside the logs.

    Raises
    ------
    MissingDependencyError
        lm-eval, or what the backend needs, is absent.
    InterruptedRunError
        Ctrl-C or a termination; with `resume` it goes on.
    InputError
        An interrupted run is there and neither `resume` nor `restart` was said, or it was made
        with other settings.
    WorkerError
        lm-eval failed.
    LogError
        What it wrote is not what was to be run.
    """
    installed = find_lm_eval(plan.settings.backend)
    name = f"{plan.settings.model}, version {plan.variant.name}"
    if resume and (record := find_finished(plan, installed)) is not None:
        say(f"{name}: has ended before; not run again")
        return record
    expected = plan.expected()
    _prepare(plan, installed, resume, restart, say)
    say(f"{name}: {sum(expected.values())} items, lm-eval {installed.version}")
    started = time.time()
    report = _run(plan, installed)
    verified = _verify(plan, expected, report)
    record = _keep(plan, installed, verified, report, time.time() - started)
    shutil.rmtree(plan.work, ignore_errors=True)
    for parent in (plan.work.parent, plan.work.parent.parent):
        with contextlib.suppress(OSError):
            parent.rmdir()
    return record


def _run(plan: Plan, installed: Installed) -> dict[str, Any]:
    """Write the task files and run lm-eval on all items, or on the chosen ones."""
    names = write_task_files(
        plan.work / "tasks", installed, plan.variant, plan.items, plan.with_gsm8k
    )
    if plan.chosen is None:
        return run_lm_eval(plan, names)
    every = items_in_order(plan.variant, plan.items, installed, plan.work / "listed")
    more = samples_of(plan.tasks, plan.chosen, every, plan.settings.limit)
    # lm-eval takes either a limit or samples.
    whole = replace(plan, settings=replace(plan.settings, limit=None))
    return run_lm_eval(whole, list(plan.tasks), more)


def _prepare(plan: Plan, installed: Installed, resume: bool, restart: bool, say: Say) -> None:
    """Make the private folder, or take up the one of an interrupted run."""
    path = plan.work / "made-with.json"
    wanted = plan.fingerprint(installed)
    if path.is_file() and not restart:
        if not resume:
            raise InputError(
                f"An interrupted run of version {plan.variant.name} is in {plan.work}. Give "
                "--resume to go on with it, or --restart to begin anew.",
                path=str(plan.work),
            )
        before = json.loads(path.read_text(encoding="utf-8"))
        if before != wanted:
            changed = [k for k in {**wanted, **before} if before.get(k) != wanted.get(k)]
            raise InputError(
                f"The interrupted run in {plan.work} was made with other {', '.join(changed)}; "
                "give the same arguments again, or --restart to begin anew.",
                path=str(plan.work),
            )
        say("Goes on with an interrupted run")
        # Half-written logs; the responses and the shuffled documents stay.
        shutil.rmtree(plan.work / "output", ignore_errors=True)
        return
    shutil.rmtree(plan.work, ignore_errors=True)
    write_json(path, wanted)


def _verify(
    plan: Plan, expected: Mapping[Benchmark, int], report: Mapping[str, Any]
) -> dict[str, Verified]:
    check_saved(plan, report)
    verified = verify_logs(plan.work / "output", plan.tasks, expected)
    if plan.chosen is not None:
        check_chosen(verified, plan.tasks, plan.chosen)
    return verified


def _keep(
    plan: Plan,
    installed: Installed,
    verified: Mapping[str, Verified],
    report: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Move the logs to the model's folder and write the record."""
    flags = []
    for task, about in verified.items():
        if about.n_nan:
            detail = f"{TITLES[plan.tasks[task]]}: the model gave NaN for {about.n_nan} items"
            flags.append({"flag": "nan-in-run", "detail": detail})
    if truncated := report["warnings"].get("truncated"):
        detail = (
            f"lm-eval warned {truncated} times that a prompt was longer than the model's window "
            "and was cut from the left, so the model saw fewer examples than others"
        )
        flags.append({"flag": "truncated-prompts", "detail": detail})
    if plan.settings.limit is not None:
        detail = f"only a part of the items was run (--limit {plan.settings.limit:g})"
        flags.append({"flag": "limited-run", "detail": detail})
    record = {
        "schema": RECORD_SCHEMA,
        "model": plan.settings.model,
        "variant": plan.variant.name,
        "version": plan.variant.version,
        "permuted": plan.variant.permuted,
        "time": max(about.log.time for about in verified.values()),
        "made_with": plan.fingerprint(installed),
        "seconds": round(seconds, 1),
        "logs": {
            about.log.path.name: {
                "task": task,
                "items": about.n_items,
                "sha256": sha256(about.log.path),
            }
            for task, about in verified.items()
        },
        "flags": flags,
        "software": report["software"],
    }
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        sources = [about.log.path for about in verified.values()]
        results = sorted(verified_folder(sources).glob("results_*.json"))
        for path in (*sources, *results):
            path.replace(plan.folder / path.name)
    except OSError as error:
        raise StorageError(
            f"Cannot move the logs to {plan.folder}: {error.strerror or error}.",
            path=str(plan.folder),
        ) from error
    write_json(plan.folder / f"{RECORD_PREFIX}{plan.variant.name}_{record['time']}.json", record)
    return record


def verified_folder(sources: list[Path]) -> Path:
    """Folder that lm-eval made for the model, whatever it called it."""
    return sources[0].parent
