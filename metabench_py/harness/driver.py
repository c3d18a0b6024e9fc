"""Runs lm-eval's own command line in a process of its own (``python -m``; not for import).

It adds what the command line lacks: only our task folder is loaded, the data sets' cache is on
(without it the permuted tasks score other documents than they asked about), modules that register
a backend are imported, responses survive an interrupt, and a report says what lm-eval only warns
of.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import logging
import re
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

INTERRUPTED = 130
_TRUNCATED = re.compile(r"truncat", re.IGNORECASE)


class Warnings(logging.Handler):
    """Counts the warnings that change what a log means."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.counts: Counter[str] = Counter()
        self.save_errors: list[str] = []
        self._failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Sort one message."""
        text = record.getMessage()
        if self._failed:
            self.save_errors.append(text)
        # lm-eval says first that it could not save, then why.
        self._failed = text.startswith("Could not save")
        if record.levelno >= logging.WARNING and _TRUNCATED.search(text):
            self.counts["truncated"] += 1


def main(specification: Path) -> int:
    """Run what the specification says; writes the report that it names."""
    spec: dict[str, Any] = json.loads(specification.read_text(encoding="utf-8"))
    report: dict[str, Any] = {"error": None, "interrupted": False}
    warnings = Warnings()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    code = 0
    try:
        _run(spec, warnings)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _keep_responses()
        report["interrupted"] = True
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        report["error"] = f"lm-eval ended with code {code}" if code else None
    except Exception as error:  # noqa: BLE001 - whatever a backend raises is reported
        _keep_responses()
        report["error"] = f"{type(error).__name__}: {error}"
        Path(spec["traceback"]).write_text(traceback.format_exc(), encoding="utf-8")
        code = 1
    report |= {
        "warnings": dict(warnings.counts),
        "save_errors": warnings.save_errors,
        "software": _versions(),
    }
    Path(spec["report"]).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return code


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _run(spec: dict[str, Any], warnings: Warnings) -> None:
    tasks: Any = importlib.import_module("lm_eval.tasks")
    cli_evaluate = importlib.import_module("lm_eval.__main__").cli_evaluate
    importlib.import_module("datasets").enable_caching()
    for name in spec["imports"]:
        _import(name)

    class OurTasksOnly(tasks.TaskManager):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "include_defaults": False})

    tasks.TaskManager = OurTasksOnly
    logging.getLogger("lm_eval").addHandler(warnings)
    sys.argv = ["lm_eval", *spec["arguments"]]
    cli_evaluate()


def _import(name: str) -> None:
    """Import a module by its name or its file."""
    path = Path(name)
    if path.suffix != ".py":
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)


def _keep_responses() -> None:
    """Write out the responses that are still on their way to the database."""
    with contextlib.suppress(Exception):
        database = importlib.import_module("sqlitedict").SqliteDict
        for thing in gc.get_objects():
            if isinstance(thing, database):
                thing.commit(blocking=True)
                thing.close()


def _versions() -> dict[str, str]:
    import importlib.metadata

    versions = {}
    for package in ("lm_eval", "datasets", "transformers", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
