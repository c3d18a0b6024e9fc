"""The simulated leaderboard of tests/golden/pipeline, as the fit and select stages get it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.responses import ResponseMatrix

NAMES = ("arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande")


def benchmark_data(golden: Path, benchmark: str) -> BenchmarkData:
    """Training and test LLMs with the 60 items of the subsampling stage."""
    matrix, score, test = _whole(golden, benchmark)
    train = [name for name in matrix.llms if name not in test]
    held = [name for name in matrix.llms if name in test]
    return BenchmarkData(
        benchmark,
        matrix.rows(train),
        matrix.rows(held),
        np.array([score[name] for name in train]),
        np.array([score[name] for name in held]),
    )


def write_folder(golden: Path, folder: Path, benchmarks: tuple[str, ...] = NAMES) -> Path:
    """Write the same as a folder with matrices, scores.parquet and split.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    table: dict[str, dict[str, float]] = {}
    held: set[str] = set()
    for benchmark in benchmarks:
        matrix, score, test = _whole(golden, benchmark)
        matrix.save(folder / f"{benchmark}.parquet")
        for name, value in score.items():
            table.setdefault(name, {})[benchmark] = value
        held |= test
    scores = pd.DataFrame.from_dict(table, orient="index").rename_axis("name").reset_index()
    scores.to_parquet(folder / "scores.parquet", index=False)
    split = ["test" if name in held else "train" for name in scores["name"]]
    pd.DataFrame({"name": scores["name"], "split": split}).to_parquet(
        folder / "split.parquet", index=False
    )
    return folder


def _whole(golden: Path, benchmark: str) -> tuple[ResponseMatrix, dict[str, float], set[str]]:
    stages = golden / "pipeline"
    bits = pd.read_csv(stages / "preprocess" / f"{benchmark}-data.csv.gz", dtype=str)
    kept = json.loads((stages / "preprocess" / f"{benchmark}.json").read_text())["kept_items"]
    items = pd.read_csv(
        stages / "crossvalidate" / f"{benchmark}-2PL-items.csv", dtype={"item": str}
    )
    llms = pd.read_csv(stages / "preprocess" / f"{benchmark}-llms.csv")
    split = json.loads((stages / "split" / "split-seed1.json").read_text())
    values = np.array([[int(bit) for bit in row] for row in bits["bits"]], dtype=np.int8)
    matrix = ResponseMatrix(tuple(bits["source"]), tuple(kept), values)
    score = dict(zip(llms["source"], llms["score_pct"].astype(float), strict=True))
    return matrix.select(list(items["item"])), score, set(split["llms_test"])
