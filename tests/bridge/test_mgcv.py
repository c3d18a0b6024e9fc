"""mgcv through the bridge: fit, predict, strip, save, load, export; lm."""

from __future__ import annotations

import functools
import lzma
import pickle
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from metabench_py import rbridge
from metabench_py.errors import BundleError, InputError, RError, StorageError
from metabench_py.gam.jobs import GamJob, run_job
from metabench_py.gam.linear import fit_linear
from metabench_py.gam.mgcv import (
    GamFit,
    GamOptions,
    MgcvPredictor,
    export,
    fit_gam,
    load_rds,
    save_stripped,
    strip,
    term_order,
)
from metabench_py.irt.model import Floats

pytestmark = pytest.mark.usefixtures("needs_r")

NAMES = ("grand.l", "arc", "this.s")
SMALL = GamOptions(k=10)


def simulated(n: int = 300, seed: int = 1) -> tuple[dict[str, Floats], Floats]:
    rng = np.random.default_rng(seed)
    x = {name: rng.normal(size=n) for name in NAMES}
    y = 50 + 5 * np.sin(3 * x["grand.l"]) + x["arc"] ** 2 + rng.normal(size=n)
    return x, y


@functools.cache
def _fitted() -> tuple[MgcvPredictor, GamFit]:
    x, y = simulated()
    return fit_gam(x, y, "arc", predictors=NAMES, options=SMALL)


@pytest.fixture
def fitted(needs_r: None) -> tuple[MgcvPredictor, GamFit]:
    return _fitted()


@pytest.fixture(scope="module")
def places() -> dict[str, dict[str, Floats]]:
    x, _ = simulated(200, seed=2)
    return {
        "inside": {name: np.clip(v, -2, 2) for name, v in x.items()},
        "outside": {name: 30 * v for name, v in x.items()},
        "far": {name: np.sign(v) * 1e4 for name, v in x.items()},
    }


def test_what_is_known_of_a_fit(fitted: tuple[MgcvPredictor, GamFit]) -> None:
    _, fit = fitted
    assert (fit.n, fit.target, fit.predictors, fit.criterion) == (300, "arc", NAMES, "GCV")
    assert 5 < fit.edf < 28
    assert 0.85 < fit.deviance_explained < 1
    # The noise has variance 1.
    assert 0.7 < fit.scale < 1.4
    assert fit.gcv > fit.scale
    assert fit.sp.shape == (15,)
    assert fit.converged
    assert fit.messages == ()
    assert pickle.loads(pickle.dumps(fit)).to_dict() == fit.to_dict()


@pytest.mark.parametrize("place", ["inside", "outside", "far"])
def test_exported_splines_equal_predict_gam(
    fitted: tuple[MgcvPredictor, GamFit], places: dict[str, dict[str, Floats]], place: str
) -> None:
    predictor, _ = fitted
    expected = predictor.predict(places[place])
    portable = export(predictor.handle, "arc").predict(places[place])
    # Far outside, scores are in the thousands and beyond: 1e-9 of the largest there.
    np.testing.assert_allclose(portable, expected, rtol=0, atol=1e-9 * max(1, abs(expected).max()))
    assert np.ptp(expected) > 1


@pytest.mark.parametrize(
    "options",
    [GamOptions(basis="ps"), GamOptions(k=10, bam=True), GamOptions(k=8, method="REML")],
    ids=["ps", "bam", "REML"],
)
def test_other_fits_export_too(options: GamOptions, places: dict[str, dict[str, Floats]]) -> None:
    x, y = simulated(seed=3)
    predictor, fit = fit_gam(x, y, "arc", predictors=NAMES, options=options)
    portable = export(predictor.handle, "arc")
    np.testing.assert_allclose(
        portable.predict(places["outside"]), predictor.predict(places["outside"]), atol=1e-9
    )
    assert fit.criterion in ("GCV", "REML", "fREML")


SCRIPT = """
data <- read.csv(commandArgs(TRUE)[1])
fit <- mgcv::FUNCTION(score ~ s(grand.l, bs = "ad", k = 10) + s(arc, bs = "ad", k = 10) +
                        s(this.s, bs = "ad", k = 10), data = data)
cat(sprintf("%.17g", c(sum(fit$edf), fit$gcv.ubre, predict(fit, data))))
"""


@pytest.mark.parametrize("bam", [False, True], ids=["gam", "bam"])
def test_a_plain_script_gives_the_same(bam: bool, tmp_path: Path) -> None:
    x, y = simulated(seed=6)
    table = np.column_stack([y, *x.values()])
    header = ",".join(["score", *x])
    np.savetxt(tmp_path / "d.csv", table, fmt="%.17g", delimiter=",", header=header, comments="")
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", SCRIPT.replace("FUNCTION", "bam" if bam else "gam"),
         str(tmp_path / "d.csv")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    edf, criterion, *expected = map(float, done.stdout.split())
    predictor, fit = fit_gam(x, y, "arc", predictors=NAMES, options=GamOptions(k=10, bam=bam))
    assert fit.criterion == ("fREML" if bam else "GCV")
    np.testing.assert_allclose([fit.edf, fit.gcv], [edf, criterion], rtol=1e-9)
    np.testing.assert_allclose(predictor.predict(x), expected, rtol=0, atol=1e-9)


def test_gaps_in_the_training_values_export_exactly() -> None:
    """mgcv leaves basis functions that no value touches out of the centring constraint."""
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.uniform(0, 1, 200), [25.0]])
    y = np.cos(x) + 0.1 * rng.normal(size=201)
    predictor, fit = fit_gam({"arc": x}, y, "grand", predictors=("arc",), options=SMALL)
    probe = {"arc": np.linspace(-40, 60, 500)}
    np.testing.assert_allclose(
        export(predictor.handle, "grand").predict(probe), predictor.predict(probe), atol=1e-9
    )
    assert any("no* information" in text for text in fit.messages)


def test_fixed_smoothing_parameters_repeat_the_fit(
    fitted: tuple[MgcvPredictor, GamFit], places: dict[str, dict[str, Floats]]
) -> None:
    predictor, fit = fitted
    x, y = simulated()
    again, second = fit_gam(x, y, "arc", predictors=NAMES, options=GamOptions(k=10, sp=fit.sp))
    np.testing.assert_allclose(
        again.predict(places["outside"]), predictor.predict(places["outside"]), atol=1e-9
    )
    np.testing.assert_array_equal(second.sp, fit.sp)
    assert second.iterations == 0


def test_stripped_fit_is_small_alike_and_holds_no_training_value(
    fitted: tuple[MgcvPredictor, GamFit], places: dict[str, dict[str, Floats]], tmp_path: Path
) -> None:
    predictor, _ = fitted
    path = tmp_path / "arc.rds"
    save_stripped(predictor.handle, path)
    loaded = load_rds(path, "arc")
    assert loaded.features == NAMES
    for place in places.values():
        np.testing.assert_array_equal(loaded.predict(place), predictor.predict(place))
    assert path.stat().st_size < 8_000
    content = lzma.decompress(path.read_bytes())
    x, y = simulated()
    training = np.concatenate([y, *x.values()])
    # R writes doubles big-endian; no value of 1,200 may be there, nor an environment's marker.
    assert not [v for v in training if struct.pack(">d", v) in content]
    assert b"score" in content
    assert [p.name for p in tmp_path.iterdir()] == ["arc.rds"]
    exported = export(loaded.handle, "arc").to_dict()
    assert exported == export(predictor.handle, "arc").to_dict()
    assert export(strip(loaded.handle), "arc").to_dict() == exported


def test_features_that_are_not_finite_give_nan(fitted: tuple[MgcvPredictor, GamFit]) -> None:
    predictor, _ = fitted
    x = {"grand.l": [0.1, 0.2, np.nan], "arc": [0.0, np.inf, 0.0], "this.s": [0.0, 0.0, 0.0]}
    score = predictor.predict(x)
    portable = export(predictor.handle, "arc").predict(x)
    assert np.isfinite(score).tolist() == [True, False, False]
    np.testing.assert_allclose(portable, score, atol=1e-9)
    assert predictor.predict(dict.fromkeys(NAMES, np.empty(0))).shape == (0,)
    with pytest.raises(InputError, match="absent"):
        predictor.predict({"arc": [1.0]})


def test_a_job_is_picklable_and_predicts_held_out_llms(tmp_path: Path) -> None:
    x, y = simulated()
    new, _ = simulated(50, seed=9)
    job = GamJob("arc", x, y, NAMES, SMALL, predict=new, rds=tmp_path / "arc.rds")
    result = pickle.loads(pickle.dumps(run_job(pickle.loads(pickle.dumps(job)))))
    assert result.fitted.shape == (300,)
    np.testing.assert_allclose(result.portable.predict(new), result.predicted, atol=1e-9)
    assert np.sqrt(np.mean((result.fitted - y) ** 2)) < 1.1
    np.testing.assert_array_equal(load_rds(job.rds, "arc").predict(new), result.predicted)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arc": np.full(300, np.nan)}, "row 1 of 'arc' is nan"),
        ({"arc": np.zeros(299)}, "as many"),
    ],
)
def test_training_data_are_checked(change: dict[str, Floats], says: str) -> None:
    x, y = simulated()
    with pytest.raises(InputError, match=says):
        fit_gam({**x, **change}, y, "arc", predictors=NAMES, options=SMALL)


@pytest.mark.parametrize("names", [(), ("arc", "arc"), ("score",), ("x y",), ("a+system('ls')",)])
def test_names_that_mgcv_would_parse_are_refused(names: tuple[str, ...]) -> None:
    x, y = simulated()
    odd = dict.fromkeys(names, x["arc"])
    with pytest.raises(InputError, match="distinct predictors"):
        fit_gam({**x, **odd}, y, "arc", predictors=names, options=SMALL)


def test_too_few_llms_is_mgcvs_error() -> None:
    x, y = simulated(20)
    with pytest.raises(RError, match="more coefficients than data"):
        fit_gam(x, y, "arc", predictors=NAMES)


def test_files_that_hold_no_gam(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        load_rds(tmp_path / "absent.rds", "arc")
    garbage = tmp_path / "garbage.rds"
    garbage.write_bytes(b"\x1f\x8bnot really")
    with pytest.raises(BundleError, match="not a GAM that R can read"):
        load_rds(garbage, "arc")
    rbridge.call("gam_save", fit={"model": [1.0]}, path=str(tmp_path / "list.rds"))
    with pytest.raises(BundleError, match="no gam of mgcv"):
        load_rds(tmp_path / "list.rds", "arc")


def test_truncated_file(fitted: tuple[MgcvPredictor, GamFit], tmp_path: Path) -> None:
    path = tmp_path / "arc.rds"
    save_stripped(fitted[0].handle, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BundleError, match="not a GAM"):
        load_rds(path, "arc")


def test_nothing_half_written_stays(fitted: tuple[MgcvPredictor, GamFit], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Cannot write"):
        save_stripped(fitted[0].handle, tmp_path / "file" / "arc.rds")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_terms_that_are_no_p_splines_are_refused() -> None:
    x, y = simulated()
    handle = rbridge.call(
        "gam_fit",
        data={"score": y, "arc": x["arc"]},
        response="score",
        predictors=["arc"],
        basis="tp",
    )
    with pytest.raises(RError, match="not a cubic P-spline"):
        export(handle, "arc")
    with pytest.raises(RError, match="not a cubic P-spline"):
        strip(handle)


def test_term_order_is_the_originals() -> None:
    assert term_order("grand")[:3] == ("grand.l", "grand.s", "arc")
    assert term_order("arc")[:5] == ("grand.l", "grand.s", "this.l", "this.s", "arc")


@pytest.mark.parametrize("kind", ["full", "dependent", "few"])
def test_linear_predictor_equals_lm(kind: str) -> None:
    rng = np.random.default_rng(5)
    n = 30 if kind == "few" else 400
    x = (rng.normal(size=(n, 40)) < rng.normal(size=(n, 1))).astype(np.int8)
    if kind == "dependent":
        x[:, 7] = x[:, 3]
        x[:, 11] = 1 - x[:, 5]
        x[:, 20] = 0
        x[:, 21] = x[:, 1] & x[:, 2]
        x[:, 22] = x[:, 1] | x[:, 2]
    y = x.sum(axis=1) + rng.normal(size=n)
    expected = rbridge.call("lm_coefficients", responses=x.astype(np.int32), score=y)
    fit = fit_linear(x, y)
    assert fit.rank == np.isfinite(expected).sum() == {"full": 41, "dependent": 37, "few": 30}[kind]
    ours = np.concatenate([[fit.intercept], fit.weights])
    np.testing.assert_allclose(ours, np.nan_to_num(expected), atol=1e-9)
