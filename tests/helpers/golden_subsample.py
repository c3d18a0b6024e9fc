"""The subsampling stage of tests/golden/pipeline: all LLMs and kept items, folds, draws."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metabench_py.calibration.stage_data import BenchmarkData
from metabench_py.calibration.subsample_errors import Problem
from metabench_py.gam.adaptive import AdaptiveOptions
from metabench_py.responses import ResponseMatrix

NAMES = ("arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande")


@dataclass(frozen=True, eq=False)
class Golden:
    """What the original drew and found.

    Attributes
    ----------
    fold, picks
        From 0; shape (n_train,) and (40, 60).
    rmse
        Validation and test, shape (40, 5, 2).
    known, gam
        Other facts; the spline of the first subset without the first fold.
    """

    data: BenchmarkData
    fold: np.ndarray
    picks: np.ndarray
    rmse: np.ndarray
    known: dict[str, Any]
    gam: dict[str, Any]

    def problem(self, search: str = "mgcv-path", second_stage: str = "native") -> Problem:
        data = self.data
        return Problem(
            np.ascontiguousarray(np.vstack([data.train.values, data.test.values]).T),
            np.concatenate([data.train_score, data.test_score]),
            np.concatenate([self.fold, np.full(data.test.n_llms, -1)]),
            5,
            AdaptiveOptions(search=search),  # type: ignore[arg-type]
            second_stage,
        )

    def first(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Training x and y and test x of the golden spline."""
        kept = self.fold != 0
        share = self.data.train.values[:, self.picks[0]].mean(axis=1)
        test = self.data.test.values[:, self.picks[0]].mean(axis=1)
        return share[kept], self.data.train_score[kept], test


def load(golden: Path, benchmark: str) -> Golden:
    data = benchmark_data(golden, benchmark)
    folder = golden / "pipeline" / "random"
    known = json.loads((folder / f"{benchmark}.json").read_text())
    fold = np.empty(data.train.n_llms, np.int64)
    for number, rows in enumerate(known["folds"].values()):
        fold[np.array(rows) - 1] = number
    drawn = pd.read_csv(folder / f"{benchmark}-indices.csv")["indices_1based"]
    picks = np.array([[int(i) - 1 for i in row.split()] for row in drawn])
    rmse = pd.read_csv(folder / f"{benchmark}-rmse.csv")[["rmse.val", "rmse.test"]].to_numpy()
    gam = json.loads((folder / f"{benchmark}-gam-seed1-fold1.json").read_text())
    return Golden(data, fold, picks, rmse.reshape(len(picks), 5, 2), known, gam)


def benchmark_data(golden: Path, benchmark: str) -> BenchmarkData:
    """Training and test LLMs with all kept items, in the original's order."""
    stages = golden / "pipeline"
    bits = pd.read_csv(stages / "preprocess" / f"{benchmark}-data.csv.gz", dtype=str)
    kept = json.loads((stages / "preprocess" / f"{benchmark}.json").read_text())["kept_items"]
    llms = pd.read_csv(stages / "preprocess" / f"{benchmark}-llms.csv")
    split = json.loads((stages / "split" / "split-seed1.json").read_text())
    values = np.array([[int(bit) for bit in row] for row in bits["bits"]], dtype=np.int8)
    matrix = ResponseMatrix(tuple(bits["source"]), tuple(kept), values)
    score = dict(zip(llms["source"], llms["score_pct"].astype(float), strict=True))
    held = set(split["llms_test"])
    train = [name for name in matrix.llms if name not in held]
    test = [name for name in matrix.llms if name in held]
    return BenchmarkData(
        benchmark,
        matrix.rows(train),
        matrix.rows(test),
        np.array([score[name] for name in train]),
        np.array([score[name] for name in test]),
    )


def write_folder(golden: Path, folder: Path, benchmarks: tuple[str, ...] = NAMES) -> Path:
    """Write the same as a folder with matrices, scores.parquet and split.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    table: dict[str, dict[str, float]] = {}
    held: set[str] = set()
    for benchmark in benchmarks:
        data = benchmark_data(golden, benchmark)
        names = (*data.train.llms, *data.test.llms)
        values = np.vstack([data.train.values, data.test.values])
        ResponseMatrix(names, data.train.items, values).save(folder / f"{benchmark}.parquet")
        scores = (*data.train_score, *data.test_score)
        for name, score in zip(names, scores, strict=True):
            table.setdefault(name, {})[benchmark] = score
        held |= set(data.test.llms)
    whole = pd.DataFrame.from_dict(table, orient="index").rename_axis("name").reset_index()
    whole.to_parquet(folder / "scores.parquet", index=False)
    split = ["test" if name in held else "train" for name in whole["name"]]
    pd.DataFrame({"name": whole["name"], "split": split}).to_parquet(
        folder / "split.parquet", index=False
    )
    return folder
