"""Writes which items tasks' documents are of, in their order (``python -m``; not for import).

Arguments: the folder of task files, the file to write, the tasks.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(folder: str, out: str, names: list[str]) -> None:
    """Write a JSON object: for each task the items of its documents."""
    manager: Any = importlib.import_module("lm_eval.tasks").TaskManager(
        include_path=folder, include_defaults=False
    )
    items: dict[str, list[str]] = {}
    for name in names:
        if hasattr(manager, "load"):
            task = manager.load([name])["tasks"][name]
        else:
            task = manager.load_task_or_group([name])[name]
        subject = "mmlu" in name
        items[name] = [
            f"{doc['subject']}.{doc['metabench_idx']}" if subject else str(doc["metabench_idx"])
            for doc in task.eval_docs
        ]
    Path(out).write_text(json.dumps(items), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
