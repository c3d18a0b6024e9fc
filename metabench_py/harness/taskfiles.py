"""Writes the folder of task files that one lm-eval run loads, and nothing else.

Each file includes the installed lm-eval's own, so prompts, metrics and filters stay its. On local
items it only says where they are. Loading this folder alone takes a second; all of lm-eval's
13,000 task files take twenty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import Benchmark
from metabench_py.harness.installed import Installed
from metabench_py.harness.variants import SPLITS, Variant


@dataclass(frozen=True)
class Scored:
    """How lm-eval reports reconstructed scores.

    Attributes
    ----------
    task_class
        ``module.Class`` that runs the tasks in place of lm-eval's.
    bundle
        The bundle's folder; None for the installed one.
    group_metric
        Metric of the tasks that the group reports.
    """

    task_class: str
    bundle: str | None
    group_metric: str


def write_task_files(
    folder: Path,
    installed: Installed,
    variant: Variant,
    items: Mapping[Benchmark, Path] | None = None,
    with_gsm8k: bool = False,
    scored: Scored | None = None,
) -> list[str]:
    """Write the files of one variant's group and tasks; gives the names to run.

    Parameters
    ----------
    items
        Parquet file of each benchmark's items; lm-eval's own data set on the Hub if left out.
    with_gsm8k
        Also the unpermuted GSM8K task, which a permuted result needs.
    scored
        Let lm-eval report reconstructed scores; GSM8K then joins a permuted group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = dict(variant.tasks)
    names = [variant.group]
    if (with_gsm8k or scored) and variant.gsm8k_task not in tasks:
        tasks[variant.gsm8k_task] = "gsm8k"
        if scored is None:
            names.append(variant.gsm8k_task)
    for task, benchmark in tasks.items():
        content: dict[str, Any] = {
            "include": str(installed.tasks / f"{task}.yaml"),
            "task": task,
        }
        if items is not None:
            split = SPLITS[variant.version]
            content |= {
                "dataset_path": "parquet",
                "dataset_name": None,
                "dataset_kwargs": {"data_files": {split: str(items[benchmark].resolve())}},
            }
        if scored is not None:
            content["metadata"] = {
                "version": 0.0,
                "metabench_group": variant.group,
                "metabench_benchmark": benchmark,
                "metabench_bundle": scored.bundle,
            }
        _write(folder / f"{task}.yaml", content, None if scored is None else scored.task_class)
    group: dict[str, Any] = {
        "include": str(installed.tasks / f"{variant.group}.yaml"),
        "group": variant.group,
    }
    if scored is not None:
        group["task"] = list(tasks)
        group["aggregate_metric_list"] = [
            {"metric": m, "aggregation": "mean", "weight_by_size": False, "filter_list": ["none"]}
            for m in ("acc", scored.group_metric)
        ]
    _write(folder / f"{variant.group}.yaml", group, None)
    return names


def _write(path: Path, content: Mapping[str, Any], task_class: str | None) -> None:
    # JSON values are YAML values.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in content.items()]
    if task_class is not None:
        lines.append(f"class: !function {task_class}\n")
    path.write_text("".join(lines), encoding="utf-8")
