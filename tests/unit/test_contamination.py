"""The contamination check: what it finds, how often it errs, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metabench_py import load_bundle
from metabench_py.analysis.alarm import AlarmRule, wilson
from metabench_py.analysis.contamination import Contamination, check_contamination
from metabench_py.analysis.null_runs import Run, compared_benchmarks
from metabench_py.analysis.person_fit import person_fit
from metabench_py.benchmarks import BENCHMARKS, Version
from metabench_py.cli.analyze.scoring import BundleScorer
from metabench_py.errors import InputError
from metabench_py.irt.model import probability


@pytest.fixture(scope="module")
def scorer() -> BundleScorer:
    return BundleScorer(load_bundle())


def run_of(
    scorer: BundleScorer,
    version: Version,
    permuted: bool,
    random: np.random.Generator,
    known: float = 0.0,
    like: Run | None = None,
) -> Run:
    """Answers of an LLM of ability 0.2 that knows a share of the items; GSM8K as in `like`."""
    answers = {}
    for b, parameters in scorer.parameters.items():
        right = probability(parameters, 0.2)[0]
        values = (random.random(len(right)) < right).astype(np.int8)
        values[random.random(len(right)) < known] = 1
        answers[b] = like.answers[b] if like is not None and b == "gsm8k" else values
    return Run(version, permuted, answers)


def checked(
    scorer: BundleScorer, known: float, seed: int, n: int = 400, rate: float = 0.02
) -> Contamination:
    random = np.random.default_rng(seed)
    plain = run_of(scorer, "B", False, random, known)
    permuted = run_of(scorer, "B", True, random, like=plain)
    return check_contamination(
        [plain, permuted], {"B": scorer}, n_simulations=n, alarm_rate=rate, seed=seed
    )


def test_a_clean_model_raises_no_alarm(scorer: BundleScorer) -> None:
    found = checked(scorer, 0.0, 3)
    assert (found.verdict, found.runs) == ("no sign", ("B", "B-permuted"))
    (one,) = found.suspicions
    assert not one.alarm
    assert one.unchanged == ("gsm8k",)
    assert set(one.abilities) == set(BENCHMARKS) - {"gsm8k"}
    share, lower, upper = found.false_alarms
    assert lower <= share <= upper
    # The rate that was asked for is in the interval of the rate that was seen.
    assert lower <= 0.02
    assert list(found.power.values()) == sorted(found.power.values())
    assert found.power[0.4] > 0.95


def test_a_model_that_knows_items_by_heart_is_found(scorer: BundleScorer) -> None:
    found = checked(scorer, 0.3, 3)
    assert found.verdict == "alarm"
    assert found.p_value <= 0.02
    (one,) = found.suspicions
    assert (one.suspect, one.reference, one.alarm) == ("B", "B-permuted", True)
    assert one.pooled > 3.0
    assert one.scores["grand"].difference > 2 * one.scores["grand"].se > 0
    flips = one.flips["mmlu"]
    assert len(flips.plain_only) > flips.expected > len(flips.permuted_only) - 10
    assert set(flips.plain_only) <= set(scorer.parameters["mmlu"].items)


def test_of_two_versions_the_memorised_one_is_named(scorer: BundleScorer) -> None:
    random = np.random.default_rng(5)
    runs = [
        run_of(scorer, "A", False, random),
        run_of(scorer, "B", False, random, 0.25),
    ]
    runs.append(run_of(scorer, "B", True, random, like=runs[1]))
    # One bundle stands for both versions: their items are other answers all the same.
    found = check_contamination(
        runs, {"A": scorer, "B": scorer}, n_simulations=400, alarm_rate=0.05
    )
    alarms = {(one.suspect, one.reference): one.alarm for one in found.suspicions}
    assert alarms == {
        ("A", "B"): False, ("A", "B-permuted"): False, ("B", "A"): True, ("B", "B-permuted"): True,
    }  # fmt: skip
    assert found.suspicions[0].flips == {}
    assert set(found.suspicions[0].abilities) == set(BENCHMARKS)


def test_clean_models_raise_alarms_at_the_rate_that_was_asked_for(scorer: BundleScorer) -> None:
    n, rate = 10, 0.1
    alarms = sum(checked(scorer, 0.0, 100 + i, 80, rate).verdict == "alarm" for i in range(n))
    # More than this in one of a thousand such tests.
    assert alarms <= stats.binom.ppf(0.999, n, rate)


def test_answers_that_no_order_changes_tell_nothing(scorer: BundleScorer) -> None:
    random = np.random.default_rng(1)
    plain = run_of(scorer, "B", False, random)
    other = Run("B", True, {**plain.answers, "mmlu": 1 - plain.answers["mmlu"]})
    assert compared_benchmarks(plain, other) == ("mmlu",)
    assert compared_benchmarks(plain, Run("A", False, plain.answers)) == BENCHMARKS
    with pytest.raises(InputError, match="these runs tell nothing"):
        check_contamination([plain, Run("B", True, plain.answers)], {"B": scorer})


def test_refuses(scorer: BundleScorer) -> None:
    random = np.random.default_rng(1)
    plain, permuted = (run_of(scorer, "B", order, random) for order in (False, True))
    a_permuted = run_of(scorer, "A", True, random)
    both = {"A": scorer, "B": scorer}
    for runs, match in (
        ([plain], "needs 2 to 4 runs"),
        ([plain, plain], "B is given twice"),
        ([permuted, a_permuted], "one plain run is needed"),
    ):
        with pytest.raises(InputError, match=match):
            check_contamination(runs, both)
    with pytest.raises(InputError, match="no bundle of version A"):
        check_contamination([plain, a_permuted], {"B": scorer})
    for options, match in (
        ({"alarm_rate": 1.0}, "between 0 and 0.5"),
        ({"n_simulations": 100}, "take 700 or more"),
    ):
        with pytest.raises(InputError, match=match):
            check_contamination([plain, permuted], {"B": scorer}, **options)  # type: ignore[arg-type]


@given(st.integers(1, 5), st.sampled_from([0.01, 0.05, 0.2]), st.integers(0, 10**6))
def test_alarm_rule_keeps_its_rate(n_statistics: int, rate: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    clean = random.normal(size=(600, n_statistics))
    rule = AlarmRule(clean, rate)
    # The clean LLMs themselves, and new ones, whose share has a spread of its own.
    assert rule.alarms(clean).mean() <= rate
    fresh = rule.alarms(random.normal(size=(2000, n_statistics))).mean()
    assert fresh <= rate + 6 * np.sqrt(rate * (1 - rate) * (1 / 600 + 1 / 2000))
    assert rule.alarms(np.full((1, n_statistics), 50.0)).all()


@given(st.integers(1, 3000), st.data())
def test_wilson(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    wanted = stats.binomtest(hits, n).proportion_ci(0.95, "wilson")
    share, lower, upper = wilson(hits, n)
    assert (lower, upper) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert lower - 1e-12 <= share <= upper + 1e-12


def test_person_fit_is_standard_at_the_true_ability(scorer: BundleScorer) -> None:
    random = np.random.default_rng(2)
    parameters = scorer.parameters["arc"]
    theta = random.normal(size=3000)
    right = probability(parameters, theta)
    answers = (random.random(right.shape) < right).astype(np.int8)
    lz = person_fit(answers, parameters, theta)
    assert abs(lz.mean()) < 0.08
    assert lz.std() == pytest.approx(1.0, abs=0.08)
    # Answers that have nothing to do with the items fit badly.
    shuffled = random.permuted(answers, axis=1)
    assert np.median(person_fit(shuffled, parameters, theta)) < -1.0


def test_person_fit_leaves_unanswered_items_out(scorer: BundleScorer) -> None:
    parameters = scorer.parameters["arc"]
    answers = np.ones((2, len(parameters.items)), np.int8)
    answers[0, 5:] = -1
    answers[1] = -1
    lz = person_fit(answers, parameters, np.zeros(2))
    some = parameters.select(parameters.items[:5])
    assert lz[0] == pytest.approx(person_fit(answers[:1, :5], some, np.zeros(1))[0])
    assert np.isnan(lz[1])
