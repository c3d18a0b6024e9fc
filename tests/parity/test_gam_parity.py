"""The second stage against the published fits, predictions and test errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from metabench_py import rbridge
from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.gam.features import join_features, target_features
from metabench_py.gam.jobs import GamJob, run_job
from metabench_py.gam.linear import fit_linear, subscore
from metabench_py.gam.mgcv import export, load_rds, save_stripped
from metabench_py.irt.model import Floats

from . import tolerances
from .report import Record

pytestmark = pytest.mark.usefixtures("needs_r")


@dataclass(frozen=True, eq=False)
class Published:
    """Published features and true scores of 4,634 LLMs."""

    names: list[str]
    train: np.ndarray
    table: dict[str, Floats]
    scores: dict[str, Floats]
    prediction: Floats

    def of(self, target: Target, rows: np.ndarray) -> dict[str, Floats]:
        return {k: v[rows] for k, v in target_features(self.table, target).items()}


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Published:
    features = pq.read_table(shared_data / "published" / "B" / "features.parquet")
    scores = pq.read_table(shared_data / "llm-scores.parquet")
    names = features.column("name").to_pylist()
    at = {name: i for i, name in enumerate(scores.column("name").to_pylist())}
    order = np.array([at[name] for name in names])

    def columns(suffix: str) -> dict[Benchmark, Floats]:
        return {b: features.column(b + suffix).to_numpy() for b in BENCHMARKS}

    return Published(
        names=names,
        train=np.array(features.column("split").to_pylist()) == "train",
        table=join_features(columns(""), columns(".l"), columns(".s")),
        scores={t: scores.column(t).to_numpy()[order] for t in TARGETS},
        prediction=features.column("grand.published_prediction").to_numpy(),
    )


def rds(shared_data: Path, target: str) -> Path:
    return shared_data / "upstream" / "analysis" / "gams" / f"gam-{target}-seed=1.rds"


def far(features: Mapping[str, Floats]) -> dict[str, Floats]:
    """Spread each feature to four times its range around its middle."""
    return {k: v.mean() + 4 * (v - v.mean()) for k, v in features.items()}


@pytest.mark.parametrize("target", TARGETS)
def test_exported_splines_equal_predict_gam(
    target: Target, published: Published, shared_data: Path, tmp_path: Path, record: Record
) -> None:
    predictor = load_rds(rds(shared_data, target), target)
    portable = export(predictor.handle, target)
    save_stripped(predictor.handle, tmp_path / "stripped.rds")
    stripped = load_rds(tmp_path / "stripped.rds", target)
    assert (tmp_path / "stripped.rds").stat().st_size < 25_000
    here = published.of(target, np.arange(len(published.train)))
    for place, features in (("features", here), ("far outside", far(here))):
        expected = predictor.predict(features)
        assert np.array_equal(stripped.predict(features), expected)
        worst = np.abs(portable.predict(features) - expected).max()
        record("portable GAM", f"{target}, {place}", worst, tolerances.PORTABLE_GAM)


def test_grand_features_are_means_over_benchmarks(
    published: Published, shared_data: Path, record: Record
) -> None:
    table = pq.read_table(shared_data / "published" / "B" / "features.parquet")
    for name in ("grand.l", "grand.s"):
        worst = np.abs(published.table[name] - table.column(name).to_numpy()).max()
        record("features", name, worst, tolerances.LINEAR)


def test_published_grand_fit_gives_its_published_predictions(
    published: Published, shared_data: Path, record: Record
) -> None:
    predictor = load_rds(rds(shared_data, "grand"), "grand")
    everyone = published.of("grand", np.arange(len(published.train)))
    worst = np.abs(predictor.predict(everyone) - published.prediction).max()
    record("published GAM", "grand", worst, tolerances.PUBLISHED_GAM)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_linear_predictors_and_subscores(
    benchmark: Benchmark, published: Published, shared_data: Path, record: Record
) -> None:
    """Against R's lm as released (HellaSwag) or made again on the LLMs with responses."""
    folder = shared_data / "upstream" / "analysis" / "lms"
    file = rbridge.call("upstream_read", path=str(folder / f"lm-{benchmark}-seed=1.rds"))
    lm = rbridge.call("upstream_linear", fit=file)
    table = pq.read_table(shared_data / "llm-responses" / "B" / f"{benchmark}.parquet")
    index = next(c for c in table.column_names if c in ("name", "__index_level_0__"))
    at = {name: i for i, name in enumerate(table.column(index).to_pylist())}
    rows = [i for i in np.flatnonzero(published.train) if published.names[i] in at]
    items = [c for c in table.column_names if c != index]
    responses = np.column_stack([table.column(c).to_numpy() for c in items])
    responses = responses[[at[published.names[i]] for i in rows]]
    fit = fit_linear(responses, published.scores[benchmark][rows])
    assert fit.n == lm["n_llms"][0]
    expected = dict(zip(lm["item"], lm["weight"], strict=True))
    worst = max(
        np.abs(fit.weights - [expected[item] for item in items]).max(),
        abs(fit.intercept - lm["intercept"][0]),
    )
    record("linear predictor", benchmark, worst, tolerances.LINEAR)
    ours = subscore(responses, extra=1)
    worst = np.abs(ours - published.table[benchmark + ".s"][rows]).max()
    record("sub-score", benchmark, worst, tolerances.SUBSCORE)


# RMSE on the original's 464 test LLMs; HellaSwag's depends on its responses' version.
TEST_RMSE = {
    "grand": (0.675, 0.675),
    "arc": (1.303, 1.303),
    "gsm8k": (1.677, 1.677),
    "hellaswag": (1.183, 1.197),
    "mmlu": (1.379, 1.379),
    "truthfulqa": (1.316, 1.316),
    "winogrande": (1.292, 1.292),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_refit(
    target: Target, published: Published, shared_data: Path, tmp_path: Path, record: Record
) -> None:
    train, test = published.train, ~published.train
    result = run_job(
        GamJob(
            target,
            published.of(target, train),
            published.scores[target][train],
            predict=published.of(target, test),
            rds=tmp_path / f"{target}.rds",
        )
    )
    assert result.fit.converged
    predicted = cast("Floats", result.predicted)
    error = predicted - published.scores[target][test]
    rmse = float(np.sqrt(np.mean(error**2)))
    lower, upper = TEST_RMSE[target]
    off = max(lower - rmse, rmse - upper, 0.0)
    record("refitted GAM, test RMSE", target, off, tolerances.GAM_RMSE)
    earlier = load_rds(rds(shared_data, target), target).predict(published.of(target, test))
    worst = np.abs(predicted - earlier).max()
    same = tolerances.GAM_REFIT if target == "grand" else tolerances.GAM_REFIT_SPECIFIC
    record("refitted GAM, predictions", target, worst, same)
    if target == "grand":
        worst = np.abs(predicted - published.prediction[test]).max()
        record("refitted GAM, published predictions", target, worst, tolerances.GAM_REFIT)
        off = abs(np.abs(error).mean() - 0.513)
        record("refitted GAM, test MAE", target, off, tolerances.GAM_RMSE)
