"""The whole reconstruction against the original script, for a real LLM's logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metabench_py import reconstruct
from metabench_py.benchmarks import BENCHMARKS, EngineName
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.upstream import import_upstream
from metabench_py.irt.engine import get_engine
from metabench_py.logs import find_model
from metabench_py.reconstruction.api import LogReader
from metabench_py.reconstruction.choose import choose_second_stage, open_stage
from metabench_py.reconstruction.stages import first_stage

from . import tolerances
from .report import Record

MODEL = "EleutherAI__pythia-14m"
ABILITY = {
    "theta": ("theta", tolerances.MAP),
    "se": ("theta_se", tolerances.MAP_SE),
    "subscore": ("subscore", tolerances.SUBSCORE),
    "linear_predictor": ("linear_predictor", tolerances.LINEAR),
}


@pytest.fixture(scope="module")
def imported(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, needs_r: None) -> Bundle:
    """The original's released fits, which cannot travel with the tests."""
    out = tmp_path_factory.mktemp("upstream") / "B"
    return load_bundle(import_upstream(shared_data / "upstream", "B", out, trust=True), trust=True)


@pytest.mark.parametrize("permuted", [False, True], ids=["plain", "permuted"])
@pytest.mark.parametrize("engine", ["native", "mirt"])
@pytest.mark.usefixtures("needs_r")
def test_original_script(
    engine: EngineName,
    permuted: bool,
    imported: Bundle,
    golden: Path,
    shared_data: Path,
    record: Record,
    request: pytest.FixtureRequest,
) -> None:
    if engine == "mirt":
        request.getfixturevalue("needs_mirt")
    name = "pythia-14m-B" + ("-permuted" if permuted else "")
    script = json.loads((golden / "reconstruct" / f"{name}.json").read_text())
    where = f"{name}, {engine}"

    def run(interval: str) -> dict[str, dict[str, dict[str, float]]]:
        return reconstruct(
            MODEL,
            "B",
            permuted,
            results=shared_data / "harness-results",
            bundle=imported,
            engine=engine,
            interval=interval,
        ).to_dict()

    ours = run("local-rmse")
    assert ours["engine"] == {
        "irt": engine,
        "second_stage": "mgcv" if engine == "mirt" else "portable",
    }
    for benchmark, theirs in script["benchmarks"].items():
        ability = ours["abilities"][benchmark]
        for key in ("n_items", "n_correct"):
            assert ability[key] == theirs[key]
        for key, (its_name, tolerance) in ABILITY.items():
            record(f"reconstruct {key}", where, abs(ability[key] - theirs[its_name]), tolerance)
    for key in ("subscore", "linear_predictor"):
        apart = abs(ours["scores"]["grand"][key] - script[f"grand_{key}"])
        record(f"reconstruct grand {key}", where, apart, tolerances.LINEAR)
    by_theta = run("theta")
    read = LogReader(imported, permuted=permuted)(
        find_model(MODEL, shared_data / "harness-results")
    )
    values = {b: read.values[b][None] for b in BENCHMARKS}
    stage = first_stage(values, imported.benchmarks, get_engine(engine))
    second = open_stage(imported, *choose_second_stage(imported, engine))
    ends = {
        "theta_minus_1se": second.predict(stage, -1.0),
        "theta_plus_1se": second.predict(stage, 1.0),
    }
    for target, theirs in script["reconstruction"].items():
        score, moved = ours["scores"][target], by_theta["scores"][target]
        record("reconstruct score", where, abs(score["score"] - theirs["score"]), tolerances.SCORE)
        for bound in ("lower", "upper"):
            apart = abs(score[bound] - theirs[bound])
            record("reconstruct local-rmse bound", where, apart, tolerances.BOUND)
        for key, shifted in ends.items():
            apart = abs(float(shifted[target][0]) - theirs[key])
            record("reconstruct theta bound", where, apart, tolerances.BOUND)
        # Ours lies within 0 to 100 and holds its score; the original's need not.
        span = sorted(min(max(theirs[key], 0.0), 100.0) for key in ("score", *ends))
        for bound, end in (("lower", span[0]), ("upper", span[-1])):
            record("reconstruct theta interval", where, abs(moved[bound] - end), tolerances.BOUND)
