"""Reading a model's sample logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.bundles import tiny_bundle
from helpers.logs import doc_hash, log_path, rows, write_model, write_rows

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.bundle import Bundle
from metabench_py.errors import LogError
from metabench_py.logs import find_model, read_model
from metabench_py.logs.model import ModelResponses, Wanted
from metabench_py.logs.reader import read_log
from metabench_py.logs.reduce import reduce_log

ITEMS = ("7", "17", "27")
GOOD = dict(zip(ITEMS, (1, 0, 1), strict=True))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "org__model"


def wanted(bundle: Bundle) -> dict[Any, Wanted]:
    models = bundle.benchmarks
    return {b: Wanted.of(b, models[b].parameters.items, models[b].metric) for b in BENCHMARKS}


def read(bundle: Bundle, folder: Path, **options: Any) -> ModelResponses:
    return read_model(find_model(str(folder), Path("absent")), wanted(bundle), "B", **options)


def test_reads_answers_by_item_not_by_row(bundle: Bundle, folder: Path) -> None:
    answers = write_model(folder, bundle)
    result = read(bundle, folder)
    assert result.model == "org__model"
    assert result.flags == ()
    for benchmark in BENCHMARKS:
        np.testing.assert_array_equal(result.values[benchmark], answers[benchmark])
    assert result.sources["gsm8k"].filter == "first row"


def test_gsm8k_by_the_filter_s_name(tmp_path: Path) -> None:
    strict = rows("arc", GOOD, filter="strict-match", exact_match=0.0)
    flexible = rows("arc", GOOD, filter="flexible-extract", exact_match=1.0)
    # Flexible first, so that taking the first row would be wrong.
    path = write_rows(tmp_path / "log.jsonl", [*flexible, *strict])
    result = read_log(path, "gsm8k", "exact_match", ITEMS)
    assert result.filter == "strict-match"
    assert result.values.tolist() == [0, 0, 0]


def test_gsm8k_without_strict_match(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "log.jsonl", rows("arc", GOOD, filter="flexible-extract", exact_match=1.0)
    )
    with pytest.raises(LogError, match=r"no rows of the filter 'strict-match', only of flexible"):
        read_log(path, "gsm8k", "exact_match", ITEMS)


def test_permuted_takes_gsm8k_from_the_plain_run(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle, 1)
    permuted = write_model(folder, bundle, 2, permuted=True, time="2024-11-26T10-51-57.4")
    for name in folder.glob("*gsm8k*51-57*"):
        name.unlink()
    result = read(bundle, folder, permuted=True)
    np.testing.assert_array_equal(result.values["arc"], permuted["arc"])
    assert not result.sources["gsm8k"].log.permuted
    assert not result.sources["arc"].log.path.samefile(log_path(folder, "arc"))
    # The plain run's GSM8K is meant, so it is no mixture.
    assert result.flags == ()


def test_newest_run_counts(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle, 1)
    newer = write_model(folder, bundle, 2, time="2024-12-01T00-00-00.0")
    result = read(bundle, folder)
    np.testing.assert_array_equal(result.values["mmlu"], newer["mmlu"])
    assert [flag for flag, _ in result.flags] == ["older-logs"]


def test_mixed_runs_are_flagged(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    old = log_path(folder, "arc")
    old.rename(log_path(folder, "arc", time="2024-12-01T00-00-00.0"))
    assert [flag for flag, _ in read(bundle, folder).flags] == ["mixed-runs"]


def test_wrong_version(bundle: Bundle, folder: Path) -> None:
    for benchmark in BENCHMARKS:
        write_rows(log_path(folder, benchmark, "A"), rows(benchmark, {"1": 1}))
    with pytest.raises(LogError, match=r"no logs of version B, only of version A\. Give the"):
        read(bundle, folder)
    with pytest.raises(LogError, match="metabench_secondary_permute"):
        read(bundle, folder, permuted=True)


def test_missing_benchmark(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    log_path(folder, "hellaswag").unlink()
    with pytest.raises(
        LogError, match="lacks the log of HellaSwag; run lm-eval on metabench_hellaswag_secondary"
    ):
        read(bundle, folder)


def test_missing_items(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    path = log_path(folder, "arc")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[2:]))
    with pytest.raises(LogError, match=r"ARC lacks 2 of 5 items \(.*--allow-missing"):
        read(bundle, folder)
    result = read(bundle, folder, allow_missing=True)
    assert (result.values["arc"] == -1).sum() == 2
    assert [flag for flag, _ in result.flags] == ["missing-items"]


def test_nan_outputs_count_as_missing(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    path = log_path(folder, "truthfulqa")
    values = [json.loads(line) for line in path.read_text().splitlines()]
    values[0]["resps"] = [["nan", "False"]]
    values[1]["filtered_resps"] = [[float("nan"), False]]
    write_rows(path, values)
    with pytest.raises(LogError, match="2 of them because the model gave NaN"):
        read(bundle, folder)
    result = read(bundle, folder, allow_missing=True)
    assert [flag for flag, _ in result.flags] == ["nan-responses", "missing-items"]


def test_nan_everywhere_is_refused(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    items = bundle.benchmarks["truthfulqa"].parameters.items
    broken = rows("truthfulqa", dict.fromkeys(items, 1), resps=[["nan", "False"]])
    write_rows(log_path(folder, "truthfulqa"), broken)
    with pytest.raises(LogError, match="no item has a usable answer"):
        read(bundle, folder, allow_missing=True)


def test_items_of_a_larger_run_are_left_aside(bundle: Bundle, folder: Path) -> None:
    """A bundle may hold a part of a run's items."""
    answers = write_model(folder, bundle)
    more = rows("arc", {"8": 1, "9": 0, "18": 1})
    # NaN, which the fast reader does not take, and no metric: nobody asks.
    more[1]["resps"] = [float("nan")]
    del more[2]["acc"]
    path = log_path(folder, "arc")
    values = [json.loads(line) for line in path.read_text().splitlines()]
    write_rows(path, [*more[:2], *values, more[2]])
    twice = log_path(folder, "gsm8k")
    write_rows(
        twice,
        [*rows("gsm8k", {"8": 0}), *(json.loads(line) for line in twice.read_text().splitlines())],
    )
    result = read(bundle, folder)
    np.testing.assert_array_equal(result.values["arc"], answers["arc"])
    np.testing.assert_array_equal(result.values["gsm8k"], answers["gsm8k"])
    detail = "4 items of the logs are not in the bundle and are left aside"
    assert result.flags == (("other-items", detail),)
    write_rows(path, [*more, *values[1:]])
    with pytest.raises(
        LogError, match=r"ARC lacks 1 of 5 .* 3 that are not in the bundle \(8, \.\.\."
    ):
        read(bundle, folder)
    assert [f for f, _ in read(bundle, folder, allow_missing=True).flags] == [
        "missing-items", "other-items",
    ]  # fmt: skip


def test_reduced_log_reads_the_same(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    write_model(folder, bundle)
    for path in sorted(folder.iterdir()):
        reduce_log(path, tmp_path / "reduced" / path.name)
    plain, reduced = read(bundle, folder), read(bundle, tmp_path / "reduced")
    for benchmark in BENCHMARKS:
        np.testing.assert_array_equal(plain.values[benchmark], reduced.values[benchmark])
    assert "resps" not in (tmp_path / "reduced" / path.name).read_text()


def test_reducing_something_else_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "notes.txt"
    source.write_text("hello\n")
    with pytest.raises(LogError, match="line 1: not a row"):
        reduce_log(source, tmp_path / "out.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt"]


def test_scored_document_must_be_the_one_asked_about(bundle: Bundle, folder: Path) -> None:
    """The trap of the permuted tasks: options shuffled again between asking and scoring."""
    write_model(folder, bundle)
    path = log_path(folder, "arc")
    values = [json.loads(line) for line in path.read_text().splitlines()]
    values[3]["doc"]["question"] = "Another order of the options"
    write_rows(path, values)
    item = str(values[3]["doc"]["metabench_idx"])
    with pytest.raises(LogError, match=r"line 4: item .*shuffled the options again") as caught:
        read(bundle, folder, allow_missing=True)
    assert (caught.value.facts["line"], caught.value.facts["item"]) == (4, item)


def test_second_filter_s_rows_are_checked_too(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    path = log_path(folder, "gsm8k")
    values = [json.loads(line) for line in path.read_text().splitlines()]
    values[1]["doc_hash"] = "0" * 64
    write_rows(path, values)
    with pytest.raises(LogError, match=r"line 2: .*evaluate MODEL --permute"):
        read(bundle, folder)


@pytest.mark.parametrize(
    "doc",
    [
        {"question": 'Ünïcode "quotes" \\ / \x01 \x7f \u2028', "choices": [], "more": {}},
        {"question": 1e16, "small": 1.5e-7, "whole": 3.0, "none": None, "truth": [True]},
        {"question": 10**30, "nested": {"a": [{"b": [1, [2]]}]}},
    ],
)
def test_hash_is_lm_eval_s_for_every_kind_of_value(tmp_path: Path, doc: dict[str, Any]) -> None:
    full = {**doc, "metabench_idx": 7}
    row = {"doc": full, "doc_hash": doc_hash(full), "acc": 1.0}
    path = write_rows(tmp_path / "log.jsonl", [row])
    read_one = read_log(path, "arc", "acc", ITEMS)
    assert (read_one.values.tolist(), read_one.unverified) == ([1, -1, -1], 0)


def test_reduced_logs_are_flagged(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    write_model(folder, bundle)
    assert read(bundle, folder).flags == ()
    for path in sorted(folder.iterdir()):
        reduce_log(path, tmp_path / "reduced" / path.name)
    ((name, detail),) = read(bundle, tmp_path / "reduced").flags
    assert (name, detail[:8]) == ("documents-unverified", "all six:")
    reduce_log(log_path(folder, "mmlu"), log_path(folder, "mmlu"))
    ((name, detail),) = read(bundle, folder).flags
    assert (name, detail[:5]) == ("documents-unverified", "MMLU:")


def test_a_run_by_its_time(bundle: Bundle, folder: Path) -> None:
    first = write_model(folder, bundle, 1)
    write_model(folder, bundle, 2, time="2024-12-01T00-00-00.0")
    result = read(bundle, folder, time="2024-11-26")
    np.testing.assert_array_equal(result.values["mmlu"], first["mmlu"])
    assert result.flags == ()
    with pytest.raises(LogError, match=r"no logs of the time 2023; there are 2024-11-26T.*, 2024-"):
        read(bundle, folder, time="2023")
    permuted = write_model(folder, bundle, 3, permuted=True, time="2025-01-01T00-00-00.0")
    for name in folder.glob("*gsm8k*2025*"):
        name.unlink()
    result = read(bundle, folder, permuted=True, time="2025")
    np.testing.assert_array_equal(result.values["arc"], permuted["arc"])
    assert result.sources["gsm8k"].log.time == "2024-12-01T00-00-00.0"


def test_flags_of_the_run_s_record(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    record = {
        "schema": 1,
        "logs": {log_path(folder, "arc").name: {}},
        "flags": [{"flag": "truncated-prompts", "detail": "3 prompts"}],
    }
    (folder / "metabench-run_B.json").write_text(json.dumps(record))
    assert read(bundle, folder).flags == (("truncated-prompts", "3 prompts"),)
    # Of another run: nothing to say.
    other = record | {"logs": {"another.jsonl": {}}}
    (folder / "metabench-run_B.json").write_text(json.dumps(other))
    assert read(bundle, folder).flags == ()
    (folder / "metabench-run_B.json").write_text("{")
    assert [flag for flag, _ in read(bundle, folder).flags] == ["run-record-unreadable"]


def test_infinite_outputs_count_as_missing(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    path = log_path(folder, "truthfulqa")
    values = [json.loads(line) for line in path.read_text().splitlines()]
    values[0]["resps"] = [["-inf", "False"], ["-inf", "False"]]
    # One impossible option is no defect.
    values[1]["resps"] = [["-inf", "False"], ["-3.5", "False"]]
    write_rows(path, values)
    result = read(bundle, folder, allow_missing=True)
    assert (result.values["truthfulqa"] == -1).sum() == 1


def test_nan_is_a_word_in_generated_text(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    path = log_path(folder, "gsm8k")
    values = [json.loads(line) | {"resps": [["nan"]]} for line in path.read_text().splitlines()]
    write_rows(path, values)
    assert read(bundle, folder).flags == ()


def test_a_run_that_lacks_logs_says_which_runs_have_them(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    write_model(folder, bundle, permuted=True, time="2024-11-26T10-51-57.4")
    log_path(folder, "arc").rename(log_path(folder, "arc", time="2024-12-01T00-00-00.0"))
    with pytest.raises(LogError, match=r"run at 2024-11-26T10-50 has no log of ARC; there are .*"
                       r"of 2024-12-01T00-00-00\.0\. Give"):  # fmt: skip
        read(bundle, folder, time="2024-11-26T10:50")
    with pytest.raises(LogError, match=r"no log of ARC, HellaSwag.* of 2024-11-26T10-51-57\.4\."):
        read(bundle, folder, time="2024-11-26T10-50", permuted=True)
    log_path(folder, "mmlu", permuted=True, time="2024-11-26T10-51-57.4").unlink()
    with pytest.raises(LogError, match=r"lacks the log of MMLU.*_permute has the five that are"):
        read(bundle, folder, permuted=True)


def test_logs_of_a_bundle_of_ones_own_are_asked_for_by_its_tasks(
    bundle: Bundle, folder: Path
) -> None:
    write_model(folder, bundle)
    for kind in ({}, {"permuted": True}):
        with pytest.raises(LogError, match=r"from this bundle's tasks.*; run lm-eval on mine\."):
            read_model(
                find_model(str(folder), Path("absent")), wanted(bundle), "A",
                own_tasks="mine", **kind,
            )  # fmt: skip
