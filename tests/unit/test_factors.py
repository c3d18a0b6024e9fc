"""Factor analysis: its parts, its table, its errors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metabench_py.analysis.chi_square import chi_square_cdf, noncentral_cdf, noncentrality
from metabench_py.analysis.factor_fit import choose_engine, degrees_of_freedom
from metabench_py.analysis.factor_table import FactorTable, load_factor_table
from metabench_py.analysis.factors import analyze_factors, rank_correlation
from metabench_py.analysis.minres import minres, oblimin
from metabench_py.errors import InputError, RUnavailableError


def two_factor_data(n: int = 400, seed: int = 0) -> FactorTable:
    random = np.random.default_rng(seed)
    factors = random.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], n)
    pattern = np.array([[0.9, 0], [0.8, 0], [0.7, 0], [0, 0.9], [0, 0.8], [0, 0.7]])
    noise = random.normal(size=(n, 6)) * np.sqrt(1 - (pattern**2).sum(axis=1))
    values = factors @ pattern.T + noise
    names = tuple(f"m{i}" for i in range(n))
    return FactorTable(
        names, tuple("abcdef"), values, np.arange(n) % 10 == 0, against=factors.sum(axis=1)
    )


@given(st.floats(0.01, 900), st.integers(1, 40))
def test_chi_square(x: float, dof: int) -> None:
    assert chi_square_cdf(x, dof) == pytest.approx(stats.chi2.cdf(x, dof), abs=1e-12)


@given(st.floats(0.1, 400), st.integers(1, 20), st.floats(0, 400))
def test_noncentral_chi_square(x: float, dof: int, shift: float) -> None:
    wanted = stats.ncx2.cdf(x, dof, shift) if shift > 0 else stats.chi2.cdf(x, dof)
    assert noncentral_cdf(x, dof, shift) == pytest.approx(wanted, abs=1e-9)


def test_noncentrality_inverts() -> None:
    shift = noncentrality(60.0, 9, 0.05)
    assert stats.ncx2.cdf(60.0, 9, shift) == pytest.approx(0.05, abs=1e-6)
    assert noncentrality(2.0, 9, 0.95) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_minres_beats_a_general_search(seed: int) -> None:
    from scipy.optimize import minimize

    correlation = np.corrcoef(two_factor_data(200, seed).values, rowvar=False)
    off = ~np.eye(6, dtype=bool)

    def left(flat: np.ndarray) -> float:
        loadings = flat.reshape(6, 2)
        return float(((correlation - loadings @ loadings.T)[off] ** 2).sum())

    loadings, uniquenesses = minres(correlation, 2)
    random = np.random.default_rng(seed)
    others = [minimize(left, random.uniform(-0.9, 0.9, 12)).fun for _ in range(4)]
    assert left(loadings.ravel()) <= min(others) + 1e-8
    np.testing.assert_allclose((loadings**2).sum(axis=1) + uniquenesses, 1.0)


def test_a_variable_that_one_factor_explains_is_held_at_the_bound() -> None:
    random = np.random.default_rng(3)
    factor = random.normal(size=500)
    values = np.column_stack([factor, *(factor + random.normal(size=500) for _ in range(3))])
    loadings, uniquenesses = minres(np.corrcoef(values, rowvar=False), 1)
    assert uniquenesses[0] == pytest.approx(0.005, abs=0.03)
    assert np.abs(loadings).max() < 1.0


def test_a_uniqueness_below_zero_is_told() -> None:
    # Correlations of one factor with the loadings 1.05, 0.8, 0.7, 0.6.
    loadings = np.array([1.05, 0.8, 0.7, 0.6])
    correlation = np.outer(loadings, loadings)
    np.fill_diagonal(correlation, 1.0)
    random = np.random.default_rng(5).normal(size=(200, 4))
    random = np.linalg.svd(random - random.mean(axis=0), full_matrices=False)[0]
    values = random @ np.linalg.cholesky(correlation).T
    table = FactorTable(
        tuple(f"m{i}" for i in range(200)), tuple("abcd"), values, np.zeros(200, bool)
    )
    with pytest.warns(UserWarning, match=r"1 factor: 'a' has a uniqueness of -0\.\d+ \(an ultra-"):
        analyze_factors(table, 1, engine="native", n_samples=1)


def test_oblimin_finds_the_simple_structure() -> None:
    pattern = np.array([[0.95, 0], [0.85, 0], [0.75, 0], [0, 0.9], [0, 0.8], [0, 0.7]])
    phi = np.array([[1, 0.4], [0.4, 1]])
    # Any square root of the common part is an unrotated solution.
    mixed = pattern @ np.linalg.cholesky(phi)
    mixed = mixed @ np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    found, correlation = oblimin(mixed)
    np.testing.assert_allclose(found @ correlation @ found.T, pattern @ phi @ pattern.T, atol=1e-9)
    np.testing.assert_allclose(found, pattern, atol=1e-6)
    np.testing.assert_allclose(correlation, phi, atol=1e-6)


def test_recovers_what_was_simulated() -> None:
    found = analyze_factors(two_factor_data(4000), 2, engine="native", n_samples=5)
    two = found.fits[1]
    assert found.parallel.n_factors == found.parallel.n_components == 2
    assert two.p_value > 0.01
    assert two.rmsea < 0.03
    assert two.cfi > 0.99
    assert two.phi[0, 1] == pytest.approx(0.3, abs=0.06)
    strong = np.abs(two.loadings).max(axis=1)
    np.testing.assert_allclose(strong, [0.9, 0.8, 0.7, 0.9, 0.8, 0.7], atol=0.06)
    one = found.fits[0]
    assert one.p_value < 1e-6
    assert one.rmsea_lower < one.rmsea < one.rmsea_upper


def test_scores_are_standardised_on_the_training_llms_alone() -> None:
    table = two_factor_data()
    found = analyze_factors(table, 1, engine="native", n_samples=1)
    moved = FactorTable(
        table.names, table.variables, table.values + 5.0 * table.test[:, None], table.test,
        table.against,
    )  # fmt: skip
    again = analyze_factors(moved, 1, engine="native", n_samples=1)
    np.testing.assert_allclose(again.scores[~table.test], found.scores[~table.test])
    assert (again.scores[table.test] > found.scores[table.test] + 1).all()
    # The original's way takes any shift of the test LLMs away again.
    assert found.scores_by_own is not None
    np.testing.assert_allclose(again.scores_by_own, found.scores_by_own, atol=1e-10)


def test_rank_correlation() -> None:
    random = np.random.default_rng(1)
    x, y = random.integers(0, 5, 50).astype(float), random.normal(size=50)
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert math.isnan(rank_correlation(np.ones(3), np.arange(3.0)))


def test_degrees_of_freedom() -> None:
    assert [degrees_of_freedom(6, k) for k in (1, 2, 3, 4)] == [9, 4, 0, -3]


def test_json_has_no_nan() -> None:
    value = analyze_factors(two_factor_data(), 3, engine="native", n_samples=1).to_dict()
    three = value["solutions"][2]
    assert (three["dof"], three["rmsea"], three["cfi"], three["p_value"]) == (0, None, None, None)
    assert value["spearman"].keys() == {"train", "test", "test_by_own"}


def test_refuses_what_has_no_factors() -> None:
    table = two_factor_data(60)

    def refused(match: str, n_factors: int = 1, **changes: object) -> None:
        changed = FactorTable(**{**vars(table), **changes})  # type: ignore[arg-type]
        with pytest.raises(InputError, match=match):
            analyze_factors(changed, n_factors, engine="native")

    refused("determine 1 to 3 factors, not 4", 4)
    refused("determine 1 to 3 factors, not 0", 0)
    refused("2 variables have no factors", variables=("a", "b"), values=table.values[:, :2])
    refused("12 training LLMs are too few", test=np.arange(60) >= 12)
    same = table.values.copy()
    same[:, 2] = 1.0
    refused("'c' is the same for all training LLMs", values=same)
    twice = table.values.copy()
    twice[:, 2] = twice[:, :2].sum(axis=1)
    refused("depend on each other", values=twice)


def test_absent_psych_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from metabench_py import rbridge
    from metabench_py.rbridge import session

    monkeypatch.setattr(session, "package_folder", lambda name: None)
    monkeypatch.setattr(session, "_require_home", lambda: Path("/"))
    monkeypatch.setattr(session, "rpy2_installed", lambda: True)
    monkeypatch.setattr(rbridge, "has_package", lambda name: False)
    with pytest.raises(RUnavailableError, match=r"r-cran-psych.*native engine"):
        choose_engine("psych")
    assert choose_engine("auto") == "native"


def write(folder: Path, **columns: object) -> Path:
    path = folder / "t.parquet"
    pd.DataFrame({"name": ["m1", "m2", "m3"], **columns}).to_parquet(path)
    return path


def test_table(tmp_path: Path) -> None:
    path = write(tmp_path, a=[1.0, np.nan, 3.0], b=[1, 2, 3], grand=[4.0, 5.0, 6.0])
    table = load_factor_table(path, ("a", "b"))
    assert table.names == ("m1", "m3")
    assert table.n_left_out == 1
    assert table.against is not None
    assert table.against.tolist() == [4.0, 6.0]
    assert not table.test.any()
    csv = tmp_path / "t.csv"
    pd.read_parquet(path).to_csv(csv, index=False)
    assert load_factor_table(csv, ("a", "b")).names == table.names


def test_split_of_another_table(tmp_path: Path) -> None:
    split = tmp_path / "s.csv"
    split.write_text("name,split\nm1,test\nm3,val\n")
    path = write(tmp_path, a=[1.0, 2.0, 3.0])
    table = load_factor_table(path, ("a",), split=split)
    assert table.names == ("m1", "m3")
    assert table.test.tolist() == [True, False]
    split.write_text("name,split\nm1,tset\n")
    with pytest.raises(InputError, match="'tset' in the column 'split'"):
        load_factor_table(path, ("a",), split=split)


def test_unusable_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_factor_table(tmp_path / "x.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"not a table")
    with pytest.raises(InputError, match="not a readable table"):
        load_factor_table(tmp_path / "bad.parquet")
    path = write(tmp_path, a=["x", "y", "z"], b=[1, 2, 3])
    with pytest.raises(InputError, match="no column 'c'; there are name, a, b"):
        load_factor_table(path, ("c",))
    with pytest.raises(InputError, match="'a' holds"):
        load_factor_table(path, ("a",))
    with pytest.raises(InputError, match="no column 'g'"):
        load_factor_table(path, ("b",), against="g")
    path = write(tmp_path, name=["m1", "m1", "m2"], b=[1, 2, 3])
    with pytest.raises(InputError, match="row 2: the LLM 'm1' is there twice"):
        load_factor_table(path, ("b",))
