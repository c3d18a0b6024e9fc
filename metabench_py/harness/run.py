"""Runs one variant: in a private folder, verified, then moved to where the logs belong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import (
    InputError,
    MetabenchError,
    MissingDependencyError,
    StorageError,
    WorkerError,
)
from metabench_py.harness.driver import INTERRUPTED
from metabench_py.harness.installed import INSTALL, Installed, find_lm_eval
from metabench_py.harness.itemfiles import item_ids
from metabench_py.harness.part import Chosen, check_chosen, items_in_order, limited, samples_of
from metabench_py.harness.settings import Settings, lm_eval_arguments
from metabench_py.harness.taskfiles import write_task_files
from metabench_py.harness.variants import N_ITEMS, Variant
from metabench_py.harness.verify import Verified, verify_logs
from metabench_py.logs.names import WORK_FOLDER, folder_name
from metabench_py.logs.record import RECORD_PREFIX, RECORD_SCHEMA, read_record
from metabench_py.storage import sha256, write_json

Say = Callable[[str], None]
_PATIENCE = 120.0


class InterruptedRunError(MetabenchError):
    """The user, or the system, stopped the run; it can go on."""

    exit_code = INTERRUPTED


@dataclass(frozen=True)
class Plan:
    """One variant's run.

    Attributes
    ----------
    items
        Parquet file of each benchmark's items; None: lm-eval's data set on the Hub.
    with_gsm8k
        Also run unpermuted GSM8K, which no other run has.
    chosen
        Run these items of each benchmark alone; None: all.
    output
        lm-eval's output folder, which holds one folder a model.
    """

    variant: Variant
    settings: Settings
    output: Path
    items: Mapping[Benchmark, Path] | None = None
    with_gsm8k: bool = False
    chosen: Chosen | None = None

    @property
    def tasks(self) -> dict[str, Benchmark]:
        """Tasks to run."""
        more: dict[str, Benchmark] = {self.variant.gsm8k_task: "gsm8k"} if self.with_gsm8k else {}
        return {**self.variant.tasks, **more}

    @property
    def folder(self) -> Path:
        """Where the model's logs belong."""
        return self.output / model_folder(self.settings.model)

    @property
    def work(self) -> Path:
        """Where the run is until it has ended well."""
        return self.output / WORK_FOLDER / model_folder(self.settings.model) / self.variant.name

    def expected(self) -> dict[Benchmark, int]:
        """Items that each log must have."""
        counts: dict[Benchmark, int] = {}
        for benchmark in self.tasks.values():
            if self.chosen is not None:
                n = len(self.chosen[benchmark])
            elif self.items is None:
                n = N_ITEMS[self.variant.version][benchmark]
            else:
                n = len(item_ids(self.items[benchmark], benchmark))
            counts[benchmark] = limited(n, self.settings.limit)
        return counts

    def fingerprint(self, installed: Installed) -> dict[str, Any]:
        """Everything that the logs depend on; an interrupted run goes on only with the same."""
        return self.fingerprint_of(installed.version)

    def fingerprint_of(self, version: str) -> dict[str, Any]:
        """Give the same for a version of lm-eval."""
        made: dict[str, Any] = {
            "settings": self.settings.to_dict(),
            "tasks": list(self.tasks),
            "items": None if self.items is None else {b: sha256(p) for b, p in self.items.items()},
            "lm_eval": version,
        }
        if self.chosen is not None:
            made["chosen"] = {b: list(self.chosen[b]) for b in self.tasks.values()}
        return made


def model_folder(model: str) -> str:
    """Name of the folder of a model's logs: lm-eval's, but never a hidden one."""
    while model.startswith("./"):
        model = model[2:]
    return folder_name(model.rstrip("/")).lstrip(".") or "model"


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


def driver_specification(plan: Plan, names: list[str], more: Sequence[str] = ()) -> dict[str, Any]:
    """Say what the driver is to do (pure); `more` are further arguments of lm-eval."""
    work = plan.work.resolve()
    arguments = lm_eval_arguments(
        plan.settings, names, work / "tasks", work / "output", work / "responses"
    )
    return {
        "arguments": [*arguments, *more],
        "imports": list(plan.settings.imports),
        "report": str(work / "report.json"),
        "traceback": str(work / "traceback.txt"),
    }


def environment(plan: Plan, current: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of lm-eval's process (pure).

    The data sets' cache is private to the run: the shuffled documents of the permuted tasks are
    found again there, and no other run's.
    """
    return {
        **current,
        "HF_DATASETS_CACHE": str(plan.work.resolve() / "cache"),
        # The cache's keys hash functions; with random hashes a resumed run would miss them.
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": current.get("TOKENIZERS_PARALLELISM", "false"),
    }


def run_lm_eval(plan: Plan, names: list[str], more: Sequence[str] = ()) -> dict[str, Any]:
    """Run lm-eval in the plan's private folder, where its task files are; gives its report."""
    specification = plan.work / "run.json"
    report = plan.work / "report.json"
    report.unlink(missing_ok=True)
    write_json(specification, driver_specification(plan, names, more))
    command = [sys.executable, "-m", "metabench_py.harness.driver", str(specification.resolve())]
    # lm-eval's bars and its table go to stderr; stdout is for our result.
    process = subprocess.Popen(command, env=environment(plan, os.environ), stdout=2)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        _stop(process)
        code = INTERRUPTED
    if code == INTERRUPTED:
        raise InterruptedRunError(
            f"Interrupted. Its responses are kept in {plan.work}; go on with the same command "
            "and --resume."
        )
    found = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None
    if code:
        _fail(plan, code, found)
    if found is None:
        raise WorkerError(f"lm-eval ended without a report; its folder is {plan.work}.")
    return dict(found)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let the child end in order: from a terminal it has got the signal as well."""
    with contextlib.suppress(KeyboardInterrupt):
        for patience, send in ((3.0, signal.SIGINT), (_PATIENCE, signal.SIGKILL)):
            try:
                process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                process.send_signal(send)
    process.kill()
    process.wait()


def _fail(plan: Plan, code: int, report: Mapping[str, Any] | None) -> None:
    if report is None or not report.get("error"):
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        more = " (out of memory?)" if code == -signal.SIGKILL else ""
        raise WorkerError(
            f"lm-eval {how}{more}; its messages are above. What it has done is kept: --resume "
            "goes on.",
            code=code,
        )
    error = str(report["error"])
    if "No module named" in error:
        raise MissingDependencyError(
            f"lm-eval lacks a package: {error}. Install it; lm-eval with Hugging Face models "
            f"comes with: {INSTALL}"
        )
    offline = any(
        word in error for word in ("ConnectionError", "OfflineMode", "Couldn't reach", "MaxRetry")
    )
    if offline and plan.items is None:
        raise WorkerError(
            f"lm-eval does not reach the Hub for its data set or the model ({_short(error)}). "
            "Offline, give the items with --items DIR and the model as a folder.",
            code=code,
        )
    raise WorkerError(
        f"lm-eval failed: {_short(error)}. The whole traceback is in "
        f"{plan.work / 'traceback.txt'}; --resume goes on where it was.",
        code=code,
    )


def _short(error: str) -> str:
    line = " ".join(error.split())
    return (line if len(line) <= 400 else line[:400] + " ...").rstrip(".")


def _verify(
    plan: Plan, expected: Mapping[Benchmark, int], report: Mapping[str, Any]
) -> dict[str, Verified]:
    check_saved(plan, report)
    verified = verify_logs(plan.work / "output", plan.tasks, expected)
    if plan.chosen is not None:
        check_chosen(verified, plan.tasks, plan.chosen)
    return verified


def check_saved(plan: Plan, report: Mapping[str, Any]) -> None:
    """Refuse a run whose logs lm-eval could not save."""
    if report["save_errors"]:
        raise StorageError(
            f"lm-eval could not save its logs ({_short(str(report['save_errors'][0]))}); free "
            "some space, and go on with --resume.",
            path=str(plan.work),
        )


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
