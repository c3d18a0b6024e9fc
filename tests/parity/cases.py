"""The simulated cases of tests/golden/irt: responses, and what mirt 1.42 made of them."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metabench_py.irt.model import ItemParameters
from metabench_py.responses import ResponseMatrix

CASES = ("sim-2pl", "sim-2pl-hostile", "sim-2pl-missing", "sim-3pl", "sim-4pl")
# A search or fit by mirt takes it 10 s and more.
LARGE = ("sim-3pl", "sim-4pl")


@dataclass(frozen=True, eq=False)
class Case:
    """Responses, mirt's parameters and scores; other tables lie in the folder."""

    name: str
    parameters: ItemParameters
    responses: ResponseMatrix
    scores: pd.DataFrame
    manifest: dict[str, Any]
    folder: Path


def parameters_of(table: pd.DataFrame) -> ItemParameters:
    columns = (table[name].to_numpy(np.float64) for name in ("a1", "d", "g", "u"))
    return ItemParameters(tuple(table["item"].astype(str)), *columns)


@functools.cache
def load_case(folder: Path) -> Case:
    answers = pd.read_csv(folder / "responses.csv")
    responses = ResponseMatrix(
        tuple(f"llm-{i}" for i in range(len(answers))),
        tuple(answers.columns),
        answers.fillna(-1).to_numpy().astype(np.int8),
    )
    return Case(
        folder.name,
        parameters_of(pd.read_csv(folder / "items.csv")),
        responses,
        pd.read_csv(folder / "scores.csv"),
        json.loads((folder / "manifest.json").read_text()),
        folder,
    )
