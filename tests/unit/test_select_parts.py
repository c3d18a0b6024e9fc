"""Budgets, what few LLMs allow, score errors, curves for few LLMs, the optimiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metabench_py.calibration.budget import ErrorCurve, error_curve, share_out, trial_sizes
from metabench_py.calibration.few_llms import affordable, warnings_for
from metabench_py.calibration.recovery import average_ranks, recover, score_errors, spearman
from metabench_py.calibration.search import OptunaOptimiser, SearchSpace, Trial, best, search
from metabench_py.calibration.selector import Choice
from metabench_py.errors import InputError


def test_an_error_curve_is_found_again() -> None:
    sizes = [10, 20, 40, 80]
    curve = error_curve(sizes, [(4.0 + 90.0 / n) ** 0.5 for n in sizes], 80)
    assert (curve.floor, curve.slope) == pytest.approx((4.0, 90.0))
    rising = error_curve([10, 20], [1.0, 2.0], 20)
    assert (rising.floor, rising.slope) == (2.5, 0.0)
    steep = error_curve([10, 20], [10.0, 1.0], 20)
    assert steep.floor == 0.0
    assert steep.slope > 0.0


def test_shares_follow_the_roots_of_the_slopes() -> None:
    curves = {"a": ErrorCurve(1.0, 400.0, 900), "b": ErrorCurve(9.0, 100.0, 900)}
    assert share_out(curves, 300) == {"a": 200, "b": 100}


def test_shares_stop_at_what_there_is() -> None:
    curves = {"a": ErrorCurve(1.0, 400.0, 50), "b": ErrorCurve(9.0, 0.0, 7)}
    assert share_out(curves, 40) == {"a": 33, "b": 7}
    assert share_out(curves, 500) == {"a": 50, "b": 7}
    with pytest.raises(InputError, match="take 17 or more"):
        share_out(curves, 16)


def test_trial_sizes_end_at_all_items() -> None:
    assert trial_sizes(60) == [10, 16, 26, 41, 60]
    assert trial_sizes(10) == [10]
    assert trial_sizes(4) == [4]


def test_few_llms_get_small_models_and_warnings() -> None:
    kinds = ("2PL", "3PL", "4PL")
    assert affordable(kinds, 40) == ("2PL",)
    assert affordable(kinds, 600) == ("2PL", "3PL")
    assert affordable(kinds, 4000) == kinds
    assert affordable(("4PL",), 40) == ("4PL",)
    texts = warnings_for("arc", ("2PL", "3PL"), 40, 4, 0)
    assert [text.split(":")[0] for text in texts] == ["arc"] * 4
    assert "40 LLMs are few for a 3PL" in texts[1]
    assert "4 validation LLMs tell an RMSE only to ± 35 %" in texts[2]
    assert "no test LLMs" in texts[3]
    assert warnings_for("arc", kinds, 4000, 400, 400) == []


def test_score_errors_by_hand() -> None:
    found = score_errors([10.0, 20.0, 40.0], [11.0, 18.0, 40.0], [-1.0, 1.0, 0.0])
    assert (found.mae, found.sse, found.n) == (1.0, 5.0, 3)
    assert found.rmse == pytest.approx((5 / 3) ** 0.5)
    assert found.upper == pytest.approx(2.96)
    assert found.spearman == pytest.approx(0.5)
    alone = score_errors([10.0], [12.0], [0.0])
    assert (alone.upper, alone.spearman, alone.rmse) == (None, None, 2.0)


def test_ranks_share_ties() -> None:
    assert average_ranks([3.0, 1.0, 3.0, 2.0, 3.0]).tolist() == [4.0, 1.0, 4.0, 2.0, 4.0]
    assert spearman([1.0, 1.0], [1.0, 2.0]) is None


def test_curves_by_the_number_of_llms() -> None:
    random = np.random.default_rng(3)

    def curve(n: int) -> str:
        theta = random.normal(size=n)
        score = 50 + 10 * np.tanh(theta) + random.normal(size=n)
        found = recover({"theta": theta}, score, [{"theta": theta}])
        assert found.fitted.tolist() == pytest.approx(found.predicted[0].tolist())
        assert float(np.sqrt(np.mean((found.fitted - score) ** 2))) < 4.0
        return found.curve

    assert curve(12) == "line"
    assert curve(200) == "adaptive"


@pytest.mark.usefixtures("needs_r")
def test_thirty_llms_get_a_plain_spline() -> None:
    theta = np.linspace(-2, 2, 30)
    found = recover({"theta": theta}, 50 + 10 * np.tanh(theta), [{"theta": theta[:3]}])
    assert found.curve == "spline"
    # A straight line is 2.5 points off.
    assert np.abs(found.fitted - 50 - 10 * np.tanh(theta)).max() < 0.8


def bowl(choice: Choice) -> Trial:
    """Best at 3PL, MAP, range, 1.3."""
    value = (choice.threshold - 1.3) ** 2 + (choice.item_type != "3PL")
    value += 0.5 * (choice.method != "MAP") + 0.1 * (choice.grid != "range")
    return Trial(choice, value, 20, value)


def test_the_search_is_repeatable_and_finds_the_bowl() -> None:
    pytest.importorskip("optuna")
    runs = [search(OptunaOptimiser(SearchSpace(), 1), bowl, 55) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0][0].choice == Choice()
    assert best(runs[0]).objective < 0.1
    other = search(OptunaOptimiser(SearchSpace(), 2), bowl, 5)
    assert other[1:] != runs[0][1:5]


def test_an_interrupted_search_goes_on_to_the_same_end(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    whole = search(OptunaOptimiser(SearchSpace(), 1), bowl, 20)
    path = tmp_path / "search.db"
    for n in (1, 7, 18):
        search(OptunaOptimiser(SearchSpace(), 1, path), bowl, n)
        # Killed while evaluating: a proposal without a result.
        OptunaOptimiser(SearchSpace(), 1, path).propose()
    calls = []

    def counted(choice: Choice) -> Trial:
        calls.append(choice)
        return bowl(choice)

    assert search(OptunaOptimiser(SearchSpace(), 1, path), counted, 20) == whole
    assert len(calls) == 2
    # Another study does not take up what this one found.
    assert OptunaOptimiser(SearchSpace(), 1, path, "other").trials() == []


def test_a_search_cut_off_in_its_first_trial_starts_with_it_again(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    whole = search(OptunaOptimiser(SearchSpace(), 1), bowl, 8)
    path = tmp_path / "search.db"
    for _ in range(2):
        # Killed while the first choice is being judged.
        OptunaOptimiser(SearchSpace(), 1, path).propose()
    assert search(OptunaOptimiser(SearchSpace(), 1, path), bowl, 8) == whole


def test_a_space_with_a_budget_has_passes_and_no_threshold() -> None:
    pytest.importorskip("optuna")
    space = SearchSpace(("2PL",), budget=True)
    trials = search(OptunaOptimiser(space, 1), bowl, 12)
    assert {trial.choice.threshold for trial in trials} == {0.0}
    assert len({trial.choice.passes for trial in trials}) > 2
    assert {trial.choice.item_type for trial in trials} == {"2PL"}


def test_an_empty_space() -> None:
    with pytest.raises(InputError, match="one item type"):
        SearchSpace(item_types=())
