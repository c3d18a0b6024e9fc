"""The documents that lm-eval makes of task files: which items they are of, and their hashes.

It is a program, too (``python -m``), as lm-eval works with the data sets' cache that its
environment names. Arguments: the folder of task files, the file to write, the tasks.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from metabench_py.errors import WorkerError
from metabench_py.logs.documents import document_hash


def made_documents(
    task_files: Path, tasks: Iterable[str], work: Path, cure: str = ""
) -> dict[str, list[tuple[str, str]]]:
    """Item and hash of each document, in lm-eval's order, by task.

    Parameters
    ----------
    work
        Folder for the data sets' cache and the program's answer.
    cure
        Sentence that tells what to do where lm-eval fails.

    Raises
    ------
    WorkerError
        lm-eval could not make them.
    """
    out = work / "documents.json"
    out.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "metabench_py.harness.documents", str(task_files), str(out), *tasks],
        env={**os.environ, "HF_DATASETS_CACHE": str(work.resolve() / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode or not out.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1].rstrip(".")
        said = f"lm-eval could not make the documents of the items: {last}. {cure}"
        raise WorkerError(said.rstrip())
    found = json.loads(out.read_text(encoding="utf-8"))
    return {task: [(item, value) for item, value in rows] for task, rows in found.items()}


def main(folder: str, out: str, names: list[str]) -> None:
    """Write a JSON object: for each task item and hash of its documents, in their order."""
    manager: Any = importlib.import_module("lm_eval.tasks").TaskManager(
        include_path=folder, include_defaults=False
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        if hasattr(manager, "load"):
            task = manager.load([name])["tasks"][name]
        else:
            task = manager.load_task_or_group([name])[name]
        found[name] = [(_item(doc, "mmlu" in name), document_hash(doc)) for doc in task.eval_docs]
    Path(out).write_text(json.dumps(found), encoding="utf-8")


def _item(doc: dict[str, Any], with_subject: bool) -> str:
    number = str(doc["metabench_idx"])
    return f"{doc['subject']}.{number}" if with_subject else number


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
