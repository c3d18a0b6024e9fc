"""The HTML report's page, without a browser: what it tells, and that hostile names stay names."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.markup import TEXTS, read
from helpers.report_runs import simulated_runs
from hypothesis import given, settings

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.errors import InputError
from metabench_py.irt.model import ItemParameters, probability
from metabench_py.reconstruction.result import Flag, Score
from metabench_py.report.flag_words import known_flags, words_for
from metabench_py.report.html_report import MOST_RUNS, render_report, write_report
from metabench_py.report.html_tables import percentile
from metabench_py.report.markup import clean, csp_hash
from metabench_py.report.run_values import ReportRun, item_answers, standardised_residuals

PACKAGE = Path(__file__).resolve().parents[2] / "metabench_py"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


@pytest.fixture(scope="module")
def runs(bundle: Bundle) -> list[ReportRun]:
    return simulated_runs(bundle, {"good": 1.0, HOSTILE: -0.5})


def test_residuals_are_those_of_the_formula() -> None:
    parameters = ItemParameters(
        ("a", "b", "c"), np.array([1.0, 2.0, 1.0]), np.array([0.0, -1.0, 9.0]), np.zeros(3),
        np.ones(3),
    )  # fmt: skip
    found = standardised_residuals(np.array([1, 0, -1], np.int8), parameters, 0.5)
    first = 1 / (1 + math.exp(-0.5))
    assert found[0] == pytest.approx((1 - first) / math.sqrt(first * (1 - first)))
    assert found[1] == pytest.approx(-1.0)
    assert math.isnan(found[2])


def test_surprising_items_come_first_and_unanswered_last(runs: list[ReportRun]) -> None:
    run = runs[0]
    assert run.answers is not None
    values = run.answers["arc"].copy()
    values[:4] = -1
    items = item_answers(replace(run, answers={**run.answers, "arc": values}), "arc")
    sizes = [abs(one.residual) for one in items[:-4]]
    assert sizes == sorted(sizes, reverse=True)
    assert [one.answer for one in items[-4:]] == [-1] * 4
    assert run.bundle is not None
    parameters = run.bundle.benchmarks["arc"].parameters
    at = parameters.items.index(items[0].item)
    theta = run.result.abilities["arc"].theta
    assert items[0].expected == pytest.approx(probability(parameters, theta)[0, at])


def test_every_flag_of_the_package_has_words() -> None:
    raised = set()
    for path in [*PACKAGE.glob("logs/*.py"), *PACKAGE.glob("reconstruction/*.py"),
                 *PACKAGE.glob("harness/*.py")]:  # fmt: skip
        text = path.read_text(encoding="utf-8")
        raised |= set(re.findall(r"(?:\bFlag\(|flags\.append\(\s*\()\s*\"([a-z0-9-]+)\"", text))
        raised |= set(re.findall(r"\"flag\": \"([a-z0-9-]+)\"", text))
    assert {"mixed-runs", "extrapolated", "limited-run", "missing-items"} <= raised
    assert raised <= known_flags()


def test_an_unknown_flag_is_told_by_its_name() -> None:
    words = words_for(Flag("new-thing", "x"))
    assert (words.title, words.weight) == ("New thing", "caution")


def test_the_page_tells_all_scores_and_flags(runs: list[ReportRun]) -> None:
    result = replace(runs[0].result, flags=(Flag("mixed-runs", "two times"),))
    text = read(render_report([replace(runs[0], result=result)])).text
    for target in TARGETS:
        score = result.scores[target]
        assert f"{score.lower:.1f} to {score.upper:.1f}" in text
    for told in ("two times", "Choose one run with --run TIME", "751 of 751", "metabench-B"):
        assert told in text
    assert "Comparison" not in text


def test_hostile_text_stays_text_everywhere(runs: list[ReportRun]) -> None:
    result = runs[1].result
    hostile = replace(
        result,
        version=HOSTILE,
        flags=(Flag(HOSTILE, HOSTILE),),
        logs={HOSTILE: {"file": HOSTILE, "metric": HOSTILE, "filter": HOSTILE}},
        engine={"irt": HOSTILE, "second_stage": HOSTILE},
        bundle={"name": HOSTILE, "sha256": HOSTILE},
        software={HOSTILE: HOSTILE},
    )
    bad = ReportRun(hostile, HOSTILE, runs[1].bundle, runs[1].answers, (HOSTILE,))
    page = render_report([bad, runs[0]], title=HOSTILE)
    plain = render_report([runs[0], replace(runs[0], label="other")])
    assert HOSTILE not in page
    for found in (read(page), read(plain)):
        # The results' JSON, and the one script of ours.
        assert found.tags.count("script") == 2
        assert not any(name.startswith("on") or name == "style" for name, _ in found.attributes)


@settings(max_examples=25)
@given(TEXTS, TEXTS)
def test_any_name_gives_the_same_tags(runs: list[ReportRun], name: str, detail: str) -> None:
    def page(name: str, detail: str) -> str:
        result = replace(runs[0].result, model=name, flags=(Flag("mixed-runs", detail),))
        # Without items, which make a page long, and hold no text from outside.
        return render_report([ReportRun(result, name), ReportRun(result, name + "2")])

    made = page(name, detail)
    assert read(made).tags == read(page("m", "d")).tags
    made.encode("utf-8")
    block = re.search(r'<script type="application/json" id="results">(.*?)</script>', made, re.S)
    assert block is not None
    assert json.loads(block[1])[0]["model"] == clean(name)


def test_the_policy_allows_our_own_style_and_script_alone(runs: list[ReportRun]) -> None:
    page = render_report(runs[:1])
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    (given_policy,) = [
        value for name, value in read(page).attributes
        if name == "content" and "default-src" in (value or "")
    ]  # fmt: skip
    assert given_policy is not None
    assert given_policy.startswith("default-src 'none'; ")
    assert f"script-src {csp_hash(script)};" in given_policy
    assert f"style-src {csp_hash(style)};" in given_policy
    assert "unsafe" not in given_policy
    addresses = [
        value for name, value in read(page).attributes if name in ("src", "href", "action")
    ]
    assert all(value == "data:," or (value or "").startswith("#") for value in addresses)


def test_ids_are_unique_and_links_lead_somewhere(runs: list[ReportRun]) -> None:
    attributes = read(render_report(runs)).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {
        (value or "")[1:] for name, value in attributes if name == "href" and value != "data:,"
    }
    tables = {value for name, value in attributes if name in ("data-table", "data-figure")}
    assert links | tables <= set(ids)


def test_the_same_runs_give_the_same_file(runs: list[ReportRun], tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, runs)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_many_runs_get_their_surprising_items_alone(runs: list[ReportRun]) -> None:
    many = [replace(runs[0], label=f"m{i}") for i in range(13)]
    page = render_report(many)
    # In each table's caption and label.
    assert page.count("(the first 25 of 249)") == 2 * 13
    assert page.count("<svg") == 1 + 13 * (1 + len(BENCHMARKS))


@pytest.mark.parametrize("n", [0, MOST_RUNS + 1])
def test_too_few_or_many_are_refused(runs: list[ReportRun], n: int) -> None:
    with pytest.raises(InputError, match=f"1 to {MOST_RUNS} results, not {n}"):
        render_report([runs[0]] * n)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_shown_as_dashes(runs: list[ReportRun], value: float) -> None:
    result = runs[0].result
    scores = {t: Score(value, value, value, "theta", None, None) for t in TARGETS}
    abilities = {b: replace(a, theta=value, se=value) for b, a in result.abilities.items()}
    broken = replace(result, scores=scores, abilities=abilities)
    page = render_report([replace(runs[0], result=broken), runs[1]])
    told = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    assert not re.search(r"\b(nan|inf)\b", told, re.I)


def test_a_percentile_shows_its_interval_where_there_is_one() -> None:
    score = Score(1, 0, 2, "conformal", 0.9, 2.0, percentile_lower=1.0, percentile_upper=3.0)
    assert read(percentile(score)).text == "2.01.0 to 3.0"
    assert read(percentile(Score(1, 0, 2, "conformal", 0.9, 2.0))).text == "2.0"
