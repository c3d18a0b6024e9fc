"""The leaderboard's result files as one table: pure, the rules of the original's scraper.

The newest file of a model that parses counts. ARC and HellaSwag are ``acc_norm``, MMLU the mean
``acc`` of its 57 subjects (results of its version 0 are skipped), TruthfulQA ``mc2`` (NaN counts
0), WinoGrande and GSM8K ``acc``; all times 100. These are not the scores that calibration takes:
those are means over items, and TruthfulQA's is MC1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench_py.benchmarks import Benchmark
from metabench_py.errors import InputError
from metabench_py.hub.sources import SUBJECTS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "name", "link", "complete", "avg", "arc", "hellaswag", "mmlu", "truthfulqa", "winogrande",
    "gsm8k", "available", "merged", "flagged", "moe", "sha", "precision",
)  # fmt: skip

# In the order of the columns: what a result's key contains, and the metric.
_SCORES: dict[Benchmark, tuple[str, str]] = {
    "arc": ("arc:challenge", "acc_norm"),
    "hellaswag": ("hellaswag", "acc_norm"),
    "mmlu": ("hendrycksTest", "acc"),
    "truthfulqa": ("truthfulqa:mc", "mc2"),
    "winogrande": ("winogrande", "acc"),
    "gsm8k": ("gsm8k", "acc"),
}
_MMLU_VERSION_KEYS = ("harness|hendrycksTest-abstract_algebra|5", "hendrycksTest-abstract_algebra")
_PRECISIONS = {
    "torch.float16": "float16",
    "float16": "float16",
    "torch.bfloat16": "bfloat16",
    "bfloat16": "bfloat16",
    "8bit": "8bit",
    "4bit": "4bit",
    "GPTQ": "GPTQ",
    "None": "GPTQ",
}


def newest_first(paths: Iterable[str]) -> dict[str, list[str]]:
    """Group result files by model folder, in the folders' order; in each the newest first."""
    folders: dict[str, list[str]] = {}
    for path in sorted(paths, key=lambda path: path.split("/")):
        folder, _, name = path.rpartition("/")
        if folder and name.startswith("results_") and name.endswith(".json"):
            folders.setdefault(folder, []).append(path)
    return {
        folder: sorted(found, key=lambda p: p.rpartition("/")[2].replace(":", "-"), reverse=True)
        for folder, found in folders.items()
    }


def parse_result(content: bytes) -> dict[str, Any]:
    """Read one result file.

    Returns
    -------
    dict
        `COLUMNS`; a score that the file lacks is None, ``avg`` the mean of those it has.

    Raises
    ------
    InputError
        It is no such file, or holds no score at all.
    """
    try:
        data = json.loads(content)
        config, results, versions = (
            _mapping(data, key) for key in ("config_general", "results", "versions")
        )
        name = config["model_name"]
        if not isinstance(name, str) or not name:
            raise InputError("model_name is not a name.")
        scores: dict[str, float | None] = {b: _score(b, results, versions) for b in _SCORES}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not a result file ({type(error).__name__}: {error}).") from error
    there = [score for score in scores.values() if score is not None]
    if not there:
        raise InputError("no score of any of the six benchmarks.")
    return {
        "name": name,
        "link": f"https://huggingface.co/{name}",
        "complete": len(there) == len(scores),
        "avg": sum(there) / len(there),
        **scores,
        "available": True,
        "merged": False,
        "flagged": False,
        "moe": "moe" in name.lower(),
        "sha": str(config.get("model_sha") or ""),
        "precision": _PRECISIONS.get(config.get("model_dtype") or "", "?"),
    }


def _mapping(data: Any, key: str) -> Mapping[str, Any]:
    value = data[key]
    if not isinstance(value, Mapping):
        raise TypeError(f"{key} is not a table")
    return value


def _score(
    benchmark: Benchmark, results: Mapping[str, Any], versions: Mapping[str, Any]
) -> float | None:
    needle, metric = _SCORES[benchmark]
    if benchmark == "mmlu" and any(versions.get(key) == 0 for key in _MMLU_VERSION_KEYS):
        return None
    found = [value.get(metric) for key, value in results.items() if needle in key]
    if not found or any(value is None for value in found):
        return None
    if benchmark == "mmlu" and len(found) != len(SUBJECTS):
        # A mean of some subjects is another quantity.
        return None
    mean = float(np.mean([float(value) for value in found]))
    if math.isnan(mean):
        return 0.0 if benchmark == "truthfulqa" else None
    return mean * 100.0


def make_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Put rows together: the first of each name, sorted by name regardless of case."""
    import pandas as pd

    first: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        first.setdefault(row["name"], row)
    names = sorted(first, key=lambda name: (name.lower(), name))
    table = pd.DataFrame([first[name] for name in names], columns=list(COLUMNS))
    for column in ("avg", *_SCORES):
        table[column] = table[column].astype("float64")
    for column in ("complete", "available", "merged", "flagged", "moe"):
        table[column] = table[column].astype("bool")
    return table
