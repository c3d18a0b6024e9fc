"""Person fit lz against mirt's Zh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.analysis.person_fit import person_fit

from . import tolerances
from .cases import CASES, load_case
from .report import Record


@pytest.mark.parametrize("name", CASES)
def test_lz_is_zh(golden: Path, name: str, record: Record) -> None:
    case = load_case(golden / "irt" / name)
    reference = pd.read_csv(case.folder / "personfit.csv")
    answers = case.responses.values[reference["row"].to_numpy() - 1]
    found = person_fit(answers, case.parameters, reference["theta"])
    worst = float(np.abs(found - reference["Zh"]).max())
    record("person fit", name, worst, tolerances.PERSON_FIT)
