"""Logistic scoring: its regressions, its prior, its posterior, its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.item_studies import simulate, study, write_study
from matplotlib.figure import Figure

from metabench_py.analysis.kernel_density import bandwidth, density
from metabench_py.analysis.logistic import LogisticOptions, analyze_logistic, study_fold
from metabench_py.analysis.logistic_fit import fit_curves, fit_logistic
from metabench_py.analysis.score_posterior import ScorePosterior
from metabench_py.analysis.study_data import load_studies
from metabench_py.compute import LocalPool, Shared
from metabench_py.errors import ConvergenceError, InputError, ResponseError
from metabench_py.responses import ResponseMatrix


def test_curves_are_at_the_optimum() -> None:
    matrix, score = simulate()
    curves = fit_curves(score, matrix.values)
    left = matrix.values - 1.0 / (1.0 + np.exp(-curves.logits(score)))
    np.testing.assert_allclose(left.sum(axis=0), 0.0, atol=1e-7)
    np.testing.assert_allclose(score @ left, 0.0, atol=1e-5)
    assert (curves.slope > 0).all()
    assert not curves.separated.any()
    assert ((curves.explained > 0) & (curves.explained < 1)).all()


def test_a_score_that_parts_right_from_wrong_is_told() -> None:
    score = np.linspace(10.0, 90.0, 200)
    answers = np.column_stack([score > 50.0, np.arange(200) % 2 == 0]).astype(np.int8)
    curves = fit_curves(score, answers)
    assert curves.separated.tolist() == [True, False]
    assert np.isfinite(curves.slope).all()
    # The far side's logarithms are finite, so that a posterior stays one.
    posterior = ScorePosterior.of(curves, score)
    mode, mean, sd = posterior.predict(answers, [0])
    assert (mode[score > 50] > 49).all()
    assert (mean[score < 50] < 50).all()
    assert np.isfinite(sd).all()


def test_ridge_regression_is_at_the_optimum() -> None:
    matrix, _ = simulate(400, 12)
    x, y = matrix.values[:, 1:].astype(float), matrix.values[:, 0].astype(float)
    for ridge in (0.0, 2.5):
        model = fit_logistic(x, y, ridge)
        left = y - model.predict(x)
        assert model.converged
        assert left.sum() == pytest.approx(0.0, abs=1e-7)
        np.testing.assert_allclose(x.T @ left, ridge * model.weights, atol=1e-7)
    twice = np.column_stack([x, x[:, 0]])
    assert fit_logistic(twice, y, 1.0).converged
    with pytest.raises(ConvergenceError, match="ridge above 0"):
        fit_logistic(np.column_stack([x, np.zeros(len(x))]), y)


def test_density_is_that_of_kernels() -> None:
    values = np.random.default_rng(2).beta(4, 2, 500) * 100
    grid = np.linspace(0.0, 100.0, 1024)
    width = bandwidth(values)
    plain = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(axis=1)
    plain /= len(values) * width * np.sqrt(2 * np.pi)
    found = density(values, 1024, 0.0, 100.0)
    np.testing.assert_allclose(found, plain, atol=2e-3 * plain.max())
    assert found.sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=0.02)
    with pytest.raises(InputError, match="two or more"):
        bandwidth([3.0])


def test_posterior_by_hand() -> None:
    matrix, score = simulate()
    curves = fit_curves(score, matrix.values)
    posterior = ScorePosterior.of(curves, score, 201)
    columns = [3, 0, 17]
    product = density(score, 201, 0.0, 100.0)
    for item in columns:
        p = 1.0 / (1.0 + np.exp(-(curves.slope[item] * posterior.grid + curves.intercept[item])))
        product = product * np.where(matrix.values[5, item] == 1, p, 1.0 - p)
    product /= product.sum()
    mode, mean, sd = posterior.predict(matrix.values[5:6], columns)
    assert mode[0] == posterior.grid[product.argmax()]
    assert mean[0] == pytest.approx(product @ posterior.grid)
    assert sd[0] == pytest.approx(np.sqrt(product @ (posterior.grid - mean[0]) ** 2))
    # Without answers there is the prior alone.
    alone, _, _ = posterior.predict(matrix.values[:2], [])
    assert (alone == posterior.grid[density(score, 201, 0.0, 100.0).argmax()]).all()


def test_a_fold_is_predicted_without_its_scores() -> None:
    data = study()
    options = LogisticOptions(sizes=(5,), draws=2)
    first = study_fold(Shared(data), 0, (5,), options)
    moved = replace(data, score=np.where(data.fold == 0, 100.0 - data.score, data.score))
    again = study_fold(Shared(moved), 0, (5,), options)
    assert first.held.keys() == again.held.keys()
    assert len(first.held) == 3 + 3 + 6 + 2
    for key, predicted in first.held.items():
        np.testing.assert_array_equal(predicted, again.held[key], err_msg=str(key))
    # Nor do its answers fit a curve.
    flipped = np.where((data.fold == 0)[:, None], 1 - data.answers, data.answers).astype(np.int8)
    third = study_fold(Shared(replace(data, answers=flipped)), 0, (5,), options)
    np.testing.assert_array_equal(first.curves.slope, third.curves.slope)


def test_recovers_scores_and_tells_all_methods() -> None:
    data = study(400, 40, test=True)
    with LocalPool(1) as pool:
        told: list[tuple[int, int]] = []
        found = analyze_logistic(
            {"arc": data},
            LogisticOptions(sizes=(10,), draws=3),
            executor=pool,
            progress=lambda done, total: told.append((done, total)),
        )["arc"]
    assert told == [(i, 4) for i in range(1, 5)]
    by = {(r.choice, r.method): r for r in found.recovered}
    assert len(by) == 11
    spread = data.score.std()
    assert by["all", "mode"].rmse < 0.45 * spread
    assert by["all", "mode"].rmse < by["random", "mode"].rmse < spread
    assert by["all", "mean"].rmse_test is not None
    assert by["random", "mean"].rmse_train is None
    held = ~np.isnan(found.held_out)
    assert (held == (data.fold >= 0)).all()
    error = (found.held_out - data.score)[held]
    assert by["all", "mode"].rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    seen = (found.in_sample - data.score)[held]
    assert by["all", "mode"].rmse_train == pytest.approx(np.sqrt(np.mean(seen**2)))
    value = found.to_dict()
    assert (value["n_llms"], value["n_test"]) == (int(held.sum()), int((~held).sum()))
    assert len(value["items"]) == 40


def test_options_and_sizes_are_checked() -> None:
    for wrong in ({"sizes": (1,)}, {"draws": 0}, {"points": 50}):
        with pytest.raises(InputError):
            LogisticOptions(**wrong)  # type: ignore[arg-type]
    with LocalPool(1) as pool, pytest.raises(InputError, match="31 items; there are 30 only"):
        analyze_logistic({"arc": study()}, LogisticOptions(sizes=(31,)), executor=pool)


def test_data_of_a_folder(tmp_path: Path) -> None:
    folder, scores = write_study(tmp_path, "arc", "mmlu")
    data = load_studies(folder, scores, folds=3)
    assert list(data) == ["arc", "mmlu"]
    arc = data["arc"]
    assert not arc.own_score
    assert arc.n_test == 300 // 17
    organisations = [name.split("/")[0] for name in arc.llms]
    for held in range(3):
        inside = {o for o, f in zip(organisations, arc.fold, strict=True) if f == held}
        outside = {o for o, f in zip(organisations, arc.fold, strict=True) if f != held}
        assert inside
        assert not inside & outside
    assert (data["mmlu"].fold == arc.fold).all()
    alone = load_studies(folder / "arc.parquet", folds=3)["arc"]
    assert alone.own_score
    assert alone.n_test == 0
    np.testing.assert_allclose(alone.score, 100 * alone.answers.mean(axis=1))


def test_near_duplicates_of_two_organisations_share_a_fold(tmp_path: Path) -> None:
    matrix, _ = simulate(120, 210)
    values = matrix.values.copy()
    values[1] = values[0]
    path = tmp_path / "arc.parquet"
    ResponseMatrix(matrix.llms, matrix.items, values).save(path)
    for seed in range(6):
        fold = load_studies(path, folds=3, seed=seed)["arc"].fold
        assert fold[0] == fold[1]


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    matrix, score = simulate(120, 12)
    values = matrix.values.copy()
    values[:3, 4] = -1
    values[:, 7] = np.where(values[:, 7] == -1, -1, 1)
    path = tmp_path / "mine.parquet"
    ResponseMatrix(matrix.llms, matrix.items, values).save(path)
    table = pd.DataFrame({"name": matrix.llms, "mine": score}).iloc[:-5]
    table.to_csv(tmp_path / "s.csv", index=False)
    one = load_studies(path, tmp_path / "s.csv", folds=3)["mine"]
    assert len(one.llms) == 112
    assert one.items == tuple(f"q{j}" for j in range(12) if j != 7)
    assert one.notes() == [
        "mine: 3 LLMs lack an answer; left out.",
        "mine: 5 LLMs have no score; left out.",
        "mine: item 'q7' is answered alike by (nearly) all LLMs; left out.",
    ]


def test_the_share_right_is_of_the_items_that_are_left(tmp_path: Path) -> None:
    matrix, _ = simulate(120, 12)
    values = matrix.values.copy()
    values[:, :4] = 1
    path = tmp_path / "mine.parquet"
    ResponseMatrix(matrix.llms, matrix.items, values).save(path)
    one = load_studies(path, folds=3)["mine"]
    assert one.answers.shape == (120, 8)
    np.testing.assert_allclose(one.score, 100.0 * one.answers.mean(axis=1))


def test_unusable_data(tmp_path: Path) -> None:
    folder, scores = write_study(tmp_path, "arc")
    (tmp_path / "mine.parquet").write_bytes((folder / "arc.parquet").read_bytes())
    with pytest.raises(InputError, match="no column 'mine'"):
        load_studies(tmp_path / "mine.parquet", scores)
    with pytest.raises(InputError, match="give the folder"):
        load_studies(folder / "arc.parquet", scores, only=["mmlu"])
    with pytest.raises(InputError, match="no responses of mmlu"):
        load_studies(folder, scores, only=["mmlu"])
    with pytest.raises(InputError, match="30 folds need as many organisations"):
        load_studies(folder, scores, folds=30)
    table = pd.read_parquet(scores)
    pd.concat([table, table[:1]]).to_parquet(tmp_path / "twice.parquet")
    with pytest.raises(InputError, match="'org0/model-0' is there twice"):
        load_studies(folder, tmp_path / "twice.parquet")
    table.assign(name="other/" + table["name"]).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"other.parquet: no score in arc .*spelt alike"):
        load_studies(folder, tmp_path / "other.parquet")
    table.assign(arc=50.0).to_parquet(tmp_path / "flat.parquet")
    with pytest.raises(InputError, match=r"arc: all \d+ .* outside fold 1 have the score 50"):
        load_studies(folder, tmp_path / "flat.parquet", folds=3)
    with pytest.raises(ResponseError, match=r"gone.parquet: no such file"):
        load_studies(tmp_path / "gone.parquet")


def test_a_leaderboard_is_refused_where_its_scores_are_others(tmp_path: Path) -> None:
    folder, scores = write_study(tmp_path, "arc", "mmlu", "truthfulqa")
    table = pd.read_parquet(scores).assign(link="x", complete=True, avg=50.0)
    table.to_parquet(scores)
    for only in ((), ("mmlu",), ("arc", "truthfulqa")):
        with pytest.raises(InputError, match=r"is a leaderboard's table.*Leave --scores out") as it:
            load_studies(folder, scores, only=only, folds=3)
        assert "--scores-from-leaderboard" not in str(it.value)
    assert list(load_studies(folder, scores, only=("arc",), folds=3)) == ["arc"]


def test_an_item_that_nobody_answered_is_named(tmp_path: Path) -> None:
    matrix, _ = simulate(60, 6)
    values = matrix.values.copy()
    values[:, 3] = -1
    values[5, 2] = -1
    path = tmp_path / "mine.parquet"
    ResponseMatrix(matrix.llms, matrix.items, values).save(path)
    with pytest.raises(InputError, match=r"mine.parquet: .*'q3' lacks the most answers \(60 of 60"):
        load_studies(path)


def test_figure_has_a_row_a_benchmark() -> None:
    from metabench_py.report.logistic_figures import LogisticPanel, logistic_figure

    random = np.random.default_rng(0)
    panel = LogisticPanel(
        "arc", random.normal(0.1, 0.05, 200), random.normal(size=200), random.uniform(0, 100, 50),
        random.uniform(0, 100, 50), {"a": ([10, 100], [3.0, 2.0]), "b": ([10, 100], [4.0, 2.0])},
    )  # fmt: skip
    figure = logistic_figure([panel, replace(panel, benchmark="mine")])
    assert isinstance(figure, Figure)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [titles[0], titles[3]] == ["ARC: items", "mine: items"]
    assert len(figure.axes[0].lines) == 100
