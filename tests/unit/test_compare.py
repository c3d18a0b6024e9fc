"""Runs compared: shared errors, pairs, ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.bundles import tiny_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metabench_py import load_bundle
from metabench_py.analysis.compare import (
    MOST_RUNS,
    SHARED_PART,
    Comparison,
    compare_runs,
    discordance,
    sign_test,
)
from metabench_py.analysis.influence import influence_of, shared_error
from metabench_py.analysis.scoring import Answers
from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.cli.analyze.scoring import BundleScorer
from metabench_py.errors import InputError
from metabench_py.irt.model import probability


@pytest.fixture(scope="module")
def scorer() -> BundleScorer:
    return BundleScorer(load_bundle())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BundleScorer:
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    return BundleScorer(tiny_bundle(out))


def simulated(scorer: BundleScorer, theta: float, seed: int) -> Answers:
    random = np.random.default_rng(seed)
    answers = {}
    for benchmark, parameters in scorer.parameters.items():
        right = probability(parameters, theta)[0]
        answers[benchmark] = (random.random(len(right)) < right).astype(np.int8)
    return answers


def copied(answers: Answers, share: float, other: Answers, seed: int) -> Answers:
    """A relative of a run: as many answers are another run's."""
    random = np.random.default_rng(seed)
    return {
        b: np.where(random.random(len(answers[b])) < share, answers[b], other[b]).astype(np.int8)
        for b in BENCHMARKS
    }


@given(st.integers(0, 40), st.integers(0, 40))
def test_sign_test(b: int, c: int) -> None:
    wanted = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert sign_test(b, c) == pytest.approx(wanted)


def test_discordance_counts_what_both_answered() -> None:
    first = np.array([1, 1, 0, 0, -1, 1], np.int8)
    second = np.array([0, 1, 1, 0, 1, -1], np.int8)
    found = discordance(first, second)
    assert (found.first_only, found.second_only, found.n_both_answered) == (1, 1, 4)


def test_influences_say_how_far_an_estimate_may_stray(scorer: BundleScorer) -> None:
    """Over many runs of one ability the influences' size is the estimate's spread."""
    runs = [simulated(scorer, 0.3, seed) for seed in range(25)]
    found = [influence_of(run, scorer) for run in runs]
    for benchmark in ("arc", "mmlu"):
        seen = np.std([one.scored.theta[benchmark][0] for one in found])
        told = np.sqrt(np.mean([(one.theta[benchmark] ** 2).sum() for one in found]))
        # 25 runs know a spread to 14 %.
        assert told == pytest.approx(seen, rel=0.35), benchmark
    told = np.sqrt(np.mean([(one.scores["grand"] ** 2).sum() for one in found]))
    assert told == pytest.approx(np.std([one.scored.scores["grand"][0] for one in found]), rel=0.35)


def test_an_item_without_an_answer_has_no_influence(scorer: BundleScorer) -> None:
    run = {b: values.copy() for b, values in simulated(scorer, 0.0, 1).items()}
    run["arc"][3] = -1
    found = influence_of(run, scorer)
    assert found.theta["arc"][3] == 0.0
    assert (found.theta["arc"] != 0.0).sum() == len(run["arc"]) - 1


def test_relatives_share_their_errors(scorer: BundleScorer) -> None:
    sizes = tuple(len(scorer.parameters[b].items) for b in BENCHMARKS)
    parent = simulated(scorer, 0.5, 1)
    stranger = simulated(scorer, 0.5, 2)
    shares = []
    own = influence_of(parent, scorer).scores["grand"]
    for share in (0.0, 0.5, 0.9, 1.0):
        child = influence_of(copied(parent, share, stranger, 3), scorer).scores["grand"]
        shares.append(shared_error(own, child, sizes))
    assert shares == sorted(shares)
    assert abs(shares[0]) < 0.2
    # The same answers: all but the item that is taken to differ.
    assert 0.97 < shares[3] < 1.0


def test_shared_error_of_opposites_and_of_nothing() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=50)
    assert shared_error(a, -a, (50,)) == -1.0
    assert shared_error(np.zeros(5), np.zeros(5), (5,)) == 0.0


def test_the_same_answers_are_a_tie(scorer: BundleScorer) -> None:
    run = simulated(scorer, 0.2, 5)
    found = compare_runs({"a": run, "b": run}, scorer)
    pair = found.pairs[0]
    for target in TARGETS:
        assert pair.scores[target].difference == 0.0
        assert pair.scores[target].probability == 0.5
        # Relatives differ by less than strangers would.
        sds = [rank.sd for rank in found.ranks[target]]
        assert 0.0 < pair.scores[target].sd < np.hypot(*sds)
        assert [rank.rank for rank in found.ranks[target]] == [1, 1]
        assert found.ranks[target][0].best == pytest.approx(0.5, abs=0.02)
    assert all(d.first_only == d.second_only == 0 for d in pair.items.values())


def test_a_better_run_is_found(scorer: BundleScorer) -> None:
    runs = {f"m{t}": simulated(scorer, t, seed) for seed, t in enumerate((-1.0, 0.5, 0.6, 1.5))}
    found = compare_runs(runs, scorer)
    ranks = dict(zip(found.runs, found.ranks["grand"], strict=True))
    assert ranks["m1.5"].rank == 1
    assert ranks["m1.5"].best > 0.999
    assert (ranks["m-1.0"].lower, ranks["m-1.0"].upper) == (4, 4)
    assert found.pair("m1.5", "m-1.0", "grand") > 0.999
    assert 0.005 < found.pair("m0.5", "m0.6", "grand") < 0.995
    first = next(pair for pair in found.pairs if pair.first == "m-1.0")
    assert first.abilities["arc"].probability < 0.001
    assert first.scores["grand"].upper < 0.0


def consistent(found: Comparison) -> None:
    for target in TARGETS:
        ranks = found.ranks[target]
        assert sum(rank.best for rank in ranks) == pytest.approx(1.0)
        for rank in ranks:
            assert 1 <= rank.lower <= rank.upper <= len(ranks)
    for pair in found.pairs:
        for one in pair.scores.values():
            assert one.lower <= one.difference <= one.upper
            assert one.detectable > one.upper - one.difference
            assert abs(one.shared) <= SHARED_PART
            assert (one.probability > 0.5) == (one.difference > 0.0)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_swapping_runs_swaps_everything(tiny: BundleScorer, seed: int) -> None:
    runs = {name: simulated(tiny, 0.3, seed + i) for i, name in enumerate("abc")}
    found = compare_runs(runs, tiny)
    turned = compare_runs(dict(reversed(runs.items())), tiny)
    consistent(found)
    for first, second in (("a", "b"), ("a", "c"), ("b", "c")):
        for target in TARGETS:
            assert found.pair(first, second, target) == pytest.approx(
                turned.pair(first, second, target)
            )
            assert found.pair(second, first, target) == pytest.approx(
                1.0 - found.pair(first, second, target)
            )
    with pytest.raises(KeyError):
        found.pair("a", "x", "grand")


def test_refuses(tiny: BundleScorer) -> None:
    run = simulated(tiny, 0.0, 1)
    with pytest.raises(InputError, match=f"Compare 2 to {MOST_RUNS} runs, not 1"):
        compare_runs({"a": run}, tiny)
    with pytest.raises(InputError, match="between 0 and 1"):
        compare_runs({"a": run, "b": run}, tiny, level=95)


def test_plot(tmp_path: Path) -> None:
    from metabench_py.report.compare_figures import plot_comparison

    path = tmp_path / "c.svg"
    chances = np.array([[0.5, 0.9], [0.1, 0.5]])
    names = ("a", "<script> & " + "x" * 60)
    plot_comparison(names, np.array([60.0, 50.0]), np.array([1.0, 1.0]), chances, "Grand", path)
    text = path.read_text()
    assert "<script>" not in text
    assert len(text) > 5_000


@pytest.mark.parametrize("n", [2, 3, 6])
def test_plot_cuts_no_title_and_draws_no_score_beyond_0_and_100(n: int) -> None:
    from metabench_py.report.compare_figures import comparison_figure

    names = [f"EleutherAI__pythia-of-a-long-NAME-{i}" for i in range(n)]
    scores = np.linspace(0.0, 100.0, n)
    figure = comparison_figure(names, scores, np.full(n, 0.7), np.full((n, n), 0.5), "Grand score")
    figure.draw_without_rendering()
    left, right = figure.axes
    for axes in (left, right):
        # The titles stand at the left.
        assert axes._left_title.get_window_extent().x1 <= figure.bbox.x1
    ends = np.array([path.vertices[:, 0] for path in left.collections[0].get_paths()])
    assert (ends.min(), ends.max()) == (0.0, 100.0)
