"""lm-eval in a process of its own: its orders, its environment, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from metabench_py.errors import (
    MetabenchError,
    MissingDependencyError,
    StorageError,
    WorkerError,
)
from metabench_py.harness.driver import INTERRUPTED
from metabench_py.harness.installed import INSTALL
from metabench_py.harness.plan import Plan
from metabench_py.harness.settings import lm_eval_arguments
from metabench_py.storage import write_json

_PATIENCE = 120.0


class InterruptedRunError(MetabenchError):
    """The user, or the system, stopped the run; it can go on."""

    exit_code = INTERRUPTED


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


def check_saved(plan: Plan, report: Mapping[str, Any]) -> None:
    """Refuse a run whose logs lm-eval could not save."""
    if report["save_errors"]:
        raise StorageError(
            f"lm-eval could not save its logs ({_short(str(report['save_errors'][0]))}); free "
            "some space, and go on with --resume.",
            path=str(plan.work),
        )
