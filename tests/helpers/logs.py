"""Sample logs with random answers, as lm-eval writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Version, task_name
from metabench_py.bundle.schema import Bundle

TIME = "2024-11-26T10-50-23.349203"


def log_path(
    folder: Path,
    benchmark: Benchmark,
    version: Version = "B",
    permuted: bool = False,
    time: str = TIME,
) -> Path:
    return folder / f"samples_{task_name(benchmark, version, permuted)}_{time}.jsonl"


def doc_hash(doc: Mapping[str, Any]) -> str:
    """The hash that lm-eval writes of the document asked about."""
    text = json.dumps(doc, indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def rows(benchmark: Benchmark, answers: Mapping[str, int], **extra: Any) -> list[dict[str, Any]]:
    """One row an item; GSM8K two, strict-match first, without a filter's name as in 2024."""
    made = []
    for number, (item, right) in enumerate(answers.items()):
        subject, _, index = item.rpartition(".")
        doc: dict[str, Any] = {"question": f"Why {item}? ç", "metabench_idx": int(index)}
        if subject:
            doc["subject"] = subject
        row = {"doc_id": number, "doc": doc, "resps": [["-1.5", "False"]], **extra}
        row["doc_hash"] = doc_hash(doc)
        if benchmark == "gsm8k":
            made += [row | {"exact_match": float(right)}, row | {"exact_match": 1.0}]
        else:
            made.append(row | {"acc": float(right), "acc_norm": 1.0 - right})
    return made


def write_rows(path: Path, values: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def write_model(
    folder: Path, bundle: Bundle, seed: int = 0, permuted: bool = False, time: str = TIME
) -> dict[Benchmark, np.ndarray]:
    """Write the six logs of a model; gives its answers in the order of the bundle's items."""
    random = np.random.default_rng(seed)
    answers: dict[Benchmark, np.ndarray] = {}
    for benchmark in BENCHMARKS:
        items = bundle.benchmarks[benchmark].parameters.items
        answers[benchmark] = random.integers(0, 2, len(items))
        shuffled = random.permutation(len(items))
        given = {items[i]: int(answers[benchmark][i]) for i in shuffled}
        path = log_path(folder, benchmark, "B", permuted and benchmark != "gsm8k", time)
        write_rows(path, rows(benchmark, given))
    return answers
