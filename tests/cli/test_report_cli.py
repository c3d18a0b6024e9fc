"""``metabench-py report`` as a person uses it, on real logs and results."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.bundles import tiny_draft
from helpers.logs import write_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import load_bundle
from metabench_py.bundle.write import write_bundle
from metabench_py.cli.app import app
from metabench_py.errors import InputError
from metabench_py.logs.find import example_folder
from metabench_py.reconstruction import Reconstruction, reconstruct
from metabench_py.reconstruction.read import read_results

EXAMPLE = "EleutherAI__pythia-14m"


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def example() -> Reconstruction:
    return reconstruct("example", engine="native")


@pytest.fixture
def value(example: Reconstruction) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(example.to_dict()))
    return copy


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_a_result_reads_back_as_it_was(example: Reconstruction, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", example.to_dict())
    assert read_results(path) == [example]
    lines = tmp_path / "r.jsonl"
    lines.write_text(f"{json.dumps(example.to_dict())}\n\n{json.dumps(example.to_dict())}\n")
    assert read_results(lines) == [example, example]
    assert read_results(write(path, [example.to_dict()] * 3)) == [example] * 3


def test_keys_of_a_later_version_are_left_aside(
    example: Reconstruction, value: dict[str, Any], tmp_path: Path
) -> None:
    value["extra"] = {"a": 1}
    value["scores"]["arc"]["quantile"] = [1, 2]
    value["abilities"]["arc"]["more"] = None
    assert read_results(write(tmp_path / "r.json", value)) == [example]


def test_a_model_with_its_items(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    done = run("example", "--engine", "native", "--out", out)
    assert done.exit_code == 0, done.output
    page = out.read_text(encoding="utf-8")
    assert "TruthfulQA: 15 right" in page
    assert page.count('data-answer="') > 751


def test_a_result_finds_its_logs(value: dict[str, Any], tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    shutil.copytree(example_folder() / EXAMPLE, beside)
    out = tmp_path / "r.html"
    ways = [
        [write(beside / "metabench-result_B.json", value)],
        [write(tmp_path / "r.json", value), "--results", example_folder()],
    ]
    pages = []
    for way in ways:
        done = run(*way, "--out", out)
        assert done.exit_code == 0, done.output
        assert "Note" not in done.output
        pages.append(out.read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert "TruthfulQA: 15 right" in pages[0]


def test_without_logs_the_items_are_left_out(value: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    done = run(write(tmp_path / "r.json", value), "--out", out, "--results", tmp_path)
    assert done.exit_code == 0
    assert "neither beside it nor in the results folder" in done.output
    page = out.read_text(encoding="utf-8")
    assert "neither beside it nor in the results folder" in page
    assert 'data-answer="' not in page
    assert 'class="ridge"' in page


def test_other_logs_of_that_name_are_not_taken(value: dict[str, Any], tmp_path: Path) -> None:
    value["abilities"]["arc"]["n_correct"] = 50
    path = write(tmp_path / "r.json", value)
    done = run(path, "--results", example_folder(), "--out", tmp_path / "o.html")
    assert done.exit_code == 0
    assert "not those that the result was made of" in done.output


@pytest.mark.parametrize("model", ["../../etc", "/etc", "a\0b", "", "x" * 5000])
def test_a_result_s_names_lead_nowhere_else(
    value: dict[str, Any], tmp_path: Path, model: str
) -> None:
    value["model"] = model
    value["logs"]["arc"]["file"] = f"../{model}/samples_metabench_arc_secondary_2024.jsonl"
    done = run(write(tmp_path / "r.json", value), "--out", tmp_path / "o.html")
    assert done.exit_code == 0, done.output
    assert "neither beside it" in done.output


def test_another_bundle_s_result_is_shown_without_its_figures(
    value: dict[str, Any], tmp_path: Path
) -> None:
    value["bundle"]["sha256"] = "0" * 64
    out = tmp_path / "o.html"
    done = run(write(tmp_path / "r.json", value), "--out", out)
    assert done.exit_code == 0
    assert "name it with --bundle" in done.output
    assert 'class="ridge"' not in out.read_text(encoding="utf-8")


def test_several_results_are_compared(value: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", value)
    out = tmp_path / "o.html"
    done = run(path, "example", "--engine", "native", "--results", example_folder(), "--out", out)
    assert done.exit_code == 0, done.output
    page = out.read_text(encoding="utf-8")
    assert f"{EXAMPLE} (B) #2" in page
    assert "Which is better?" in page


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": True}, "schema true"),
        ({"scores": []}, "scores is []"),
        ({"scores": {}}, "scores.grand is null"),
        ({"scores": {"arc": {}}}, "the result is of ARC alone"),
        ({"abilities": {}}, "abilities.arc is null"),
        ({"model": 3}, "model is 3"),
        ({"flags": [1]}, "a flag is 1"),
        ({"flags": [{"flag": "x"}]}, "flags.detail is null"),
        ({"logs": {"arc": 1}}, "1 stands where"),
        ({"permuted": "no"}, 'permuted is "no"'),
    ],
)
def test_what_is_no_result_is_one_clear_error(
    value: dict[str, Any], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = write(tmp_path / "r.json", value | change)
    with pytest.raises(InputError) as caught:
        read_results(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert not isinstance(run(path, "--out", tmp_path / "o.html").exception, KeyError | TypeError)
    assert not (tmp_path / "o.html").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no result"),
        ("[]", "holds no result"),
        ("{}", "no result"),
        ("3", "no result"),
        ("not json", ":1: not JSON"),
        ('{"schema": 1}\n{', ":2: not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        read_results(path)


def test_bytes_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with pytest.raises(InputError, match="No such file"):
        read_results(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_results(path)


@pytest.mark.parametrize("key", ["score", "interval", "percentile"])
def test_a_score_that_lacks_something(value: dict[str, Any], tmp_path: Path, key: str) -> None:
    del value["scores"]["arc"][key]
    with pytest.raises(InputError, match=f"scores.arc .* lacks '{key}'"):
        read_results(write(tmp_path / "r.json", value))
    value["scores"]["arc"][key] = {"a": 1}
    with pytest.raises(InputError, match=f"scores.arc.{key} is"):
        read_results(write(tmp_path / "r.json", value))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
PLACES = st.sampled_from(
    [("scores", t, "score") for t in TARGETS]
    + [("abilities", b, "n_items") for b in BENCHMARKS]
    + [("flags",), ("logs", "arc"), ("engine",), ("bundle",), ("software",), ("scores", "arc")]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(PLACES, ANYTHING)
def test_any_value_reads_or_is_refused(
    example: Reconstruction, tmp_path: Path, place: tuple[str, ...], value: object
) -> None:
    result: Any = json.loads(json.dumps(example.to_dict()))
    inside = result
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    try:
        (read,) = read_results(write(tmp_path / "r.json", result))
    except InputError as error:
        assert "r.json" in str(error)  # noqa: PT017
    else:
        json.dumps(read.to_dict(), allow_nan=False)


def test_wrong_names(tmp_path: Path) -> None:
    done = run("example", "--out", tmp_path / "r.pdf")
    assert isinstance(done.exception, InputError)
    assert "end its name in .html" in str(done.exception)
    assert isinstance(run("no-such-model", "--out", tmp_path / "r.html").exception, InputError)
    assert run().exit_code == 2


def test_a_bundle_that_ships_beside_the_default_is_found(tmp_path: Path) -> None:
    value = reconstruct("example", bundle="B-200", engine="native").to_dict()
    out = tmp_path / "r.html"
    done = run(write(tmp_path / "r.json", value), "--results", example_folder(), "--out", out)
    assert done.exit_code == 0, done.output
    assert "at hand" not in done.output
    assert 200 < out.read_text(encoding="utf-8").count('data-answer="') < 300


def test_a_bundle_that_would_score_nothing_is_refused(tmp_path: Path) -> None:
    first, second = (
        write_bundle(replace(tiny_draft(), name=name, version="B"), tmp_path / name)
        for name in ("one", "two")
    )
    write_model(tmp_path / "org__m0", load_bundle(first))
    out = tmp_path / "r.html"
    common = ("--results", tmp_path, "--engine", "native", "--out", out)
    done = run("org__m0", "--bundle", first, "--bundle", second, *common)
    assert isinstance(done.exception, InputError)
    assert f"--bundle {second}: models are scored with one alone" in str(done.exception)
    assert not out.exists()
    done = run("org__m0", "--bundle", first, "--bundle", first, *common)
    assert done.exit_code == 0, done.output
    # It may be that of a result.
    made = reconstruct("org__m0", results=tmp_path, bundle=second, engine="native").to_dict()
    result = write(tmp_path / "r.json", made)
    done = run("org__m0", result, "--bundle", first, "--bundle", second, *common)
    assert done.exit_code == 0, done.output
    assert "Note" not in done.output


def test_pairs_are_of_the_results_own_second_stage(tmp_path: Path) -> None:
    plain, permuted = (
        reconstruct("example", second_stage="portable", engine="native", permuted=p)
        for p in (False, True)
    )
    mixed = reconstruct("example", engine="native", permuted=True)
    out = tmp_path / "r.html"
    paths = [write(tmp_path / f"{i}.json", r.to_dict()) for i, r in enumerate((plain, permuted))]
    done = run(*paths, "--results", example_folder(), "--out", out)
    assert done.exit_code == 0, done.output
    page = out.read_text(encoding="utf-8")
    apart = plain.scores["grand"].score - permuted.scores["grand"].score
    assert "Which is better?" in page
    assert f">{apart:+.2f}<" in page
    run(paths[0], write(paths[1], mixed.to_dict()), "--results", example_folder(), "--out", out)
    assert "Which is better?" not in out.read_text(encoding="utf-8")
