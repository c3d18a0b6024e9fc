"""The whole reconstruction against the original script, for a real LLM's logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metabench_py import reconstruct
from metabench_py.benchmarks import EngineName
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.upstream import import_upstream

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
    for target, theirs in script["reconstruction"].items():
        score, moved = ours["scores"][target], by_theta["scores"][target]
        record("reconstruct score", where, abs(score["score"] - theirs["score"]), tolerances.SCORE)
        for bound in ("lower", "upper"):
            apart = abs(score[bound] - theirs[bound])
            record("reconstruct local-rmse bound", where, apart, tolerances.BOUND)
        # Ours are in order and within 0 to 100; the original's may be neither.
        ends = sorted(
            min(max(theirs[key], 0.0), 100.0) for key in ("theta_minus_1se", "theta_plus_1se")
        )
        for bound, end in zip(("lower", "upper"), ends, strict=True):
            record("reconstruct theta bound", where, abs(moved[bound] - end), tolerances.BOUND)
