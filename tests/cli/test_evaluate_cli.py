"""The commands evaluate and items, as far as they go without lm-eval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.bundles import tiny_bundle
from helpers.logs import write_model
from typer.testing import CliRunner, Result

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.bundle import Bundle
from metabench_py.cli.app import app
from metabench_py.cli.evaluate import choose_variants
from metabench_py.errors import BundleError, InputError, LogError, MissingDependencyError
from metabench_py.harness import Variant
from metabench_py.harness.build import item_schema
from metabench_py.harness.installed import Installed
from metabench_py.harness.plan import Plan


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def runs(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Plan, dict[str, Any]]]:
    """Runs as they were asked for; each leaves logs as lm-eval would."""
    made: list[tuple[Plan, dict[str, Any]]] = []

    def run(plan: Plan, **options: Any) -> dict[str, Any]:
        made.append((plan, options))
        write_model(plan.folder, bundle, 1, plan.variant.permuted)
        return {}

    installed = Installed("0.4.13", Path("/lm/tasks/metabench"))
    monkeypatch.setattr("metabench_py.harness.run.run_variant", run)
    monkeypatch.setattr("metabench_py.harness.installed.find_lm_eval", lambda _backend: installed)
    return made


def test_variants_in_their_order() -> None:
    assert choose_variants("B", False, False, False) == [Variant("B", False)]
    assert choose_variants("A", True, False, False) == [Variant("A", True)]
    assert choose_variants("B", False, True, False) == [Variant("B", False), Variant("B", True)]
    assert [v.name for v in choose_variants("B", True, False, True)] == [
        "A", "A-permuted", "B", "B-permuted",
    ]  # fmt: skip


def test_without_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    result = invoke("evaluate", "org/model")
    assert isinstance(result.exception, MissingDependencyError)
    assert "pip install 'metabench-py[harness]'" in str(result.exception)


def test_from_a_model_to_its_table(
    runs: list[tuple[Plan, dict[str, Any]]], bundle: Bundle, tmp_path: Path
) -> None:
    result = invoke(
        "evaluate", "org/model", "--bundle", bundle.path, "--engine", "native", "--output",
        tmp_path, "--also", "permuted", "--model-args", "dtype=float32", "--device", "cpu",
        "--resume", "--", "--gen_kwargs", "temperature=0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "org__model  (metabench B, 30 items)" in result.stdout
    assert "org__model  (metabench B, permuted, 30 items)" in result.stdout
    (plain, options), (permuted, _) = runs
    assert (plain.variant, permuted.variant) == (Variant("B", False), Variant("B", True))
    assert not permuted.with_gsm8k
    assert options["resume"]
    settings = plain.settings
    assert (settings.model_args, settings.device) == (("dtype=float32",), "cpu")
    assert settings.extra == ("--gen_kwargs", "temperature=0")
    value = json.loads((tmp_path / "org__model" / "metabench-result_B.json").read_text())
    assert value["model"] == "org__model"
    assert (tmp_path / "org__model" / "metabench-result_B-permuted.json").is_file()


def test_json_and_a_lone_permuted_run(
    runs: list[tuple[Plan, dict[str, Any]]], bundle: Bundle, tmp_path: Path
) -> None:
    arguments = ("evaluate", "m", "--bundle", bundle.path, "--engine", "native", "--output")
    result = invoke(*arguments, tmp_path, "--permute", "--json")
    value = json.loads(result.stdout)
    assert (value["model"], value["permuted"]) == ("m", True)
    assert runs[-1][0].with_gsm8k
    # Now there is a GSM8K log to borrow.
    invoke(*arguments, tmp_path, "--permute", "--json")
    assert not runs[-1][0].with_gsm8k
    result = invoke(*arguments, tmp_path, "--also", "permuted", "--json")
    assert [v["permuted"] for v in json.loads(result.stdout)] == [False, True]
    result = invoke(*arguments, tmp_path, "--no-reconstruct")
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_small_bundle_s_items_alone_are_run(
    runs: list[tuple[Plan, dict[str, Any]]], bundle: Bundle, tmp_path: Path
) -> None:
    own = {b: list(bundle.benchmarks[b].parameters.items) for b in BENCHMARKS}
    # lm-eval's own data set has more items than the bundle.
    arguments = ("evaluate", "m", "--bundle", bundle.path, "--no-reconstruct", "--output", tmp_path)
    assert invoke(*arguments, "--also", "permuted").exit_code == 0
    assert [plan.chosen == {b: tuple(i) for b, i in own.items()} for plan, _ in runs] == [True] * 2
    # So may files.
    folder = tmp_path / "items"
    folder.mkdir()
    for more in (0, 1):
        for benchmark, ids in own.items():
            numbers = [int(item.rpartition(".")[2]) for item in ids] + [1] * more
            content = [{"metabench_idx": i, "subject": "anatomy"} for i in numbers]
            table = pa.Table.from_pylist(content, schema=item_schema(benchmark))
            pq.write_table(table, folder / f"{benchmark}.parquet")
        assert invoke(*arguments, "--items", folder).exit_code == 0
        assert (runs[-1][0].chosen is not None) == bool(more)
    # Another version's items are not the bundle's.
    assert invoke(*arguments, "--all-variants").exit_code == 0
    assert [plan.chosen is None for plan, _ in runs[-4:]] == [True, True, False, False]


def test_what_is_wrong_is_told_before_the_run(
    runs: list[tuple[Plan, dict[str, Any]]],
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METABENCH_BUNDLES", str(tmp_path / "none"))
    for arguments, kind, message in (
        (("m", "--version", "A"), BundleError, r"bundle pull --version A.*--no-reconstruct"),
        (("m", "--version", "C"), InputError, "choose A or B"),
        (("m", "n"), InputError, "come after --"),
        (("m", "--limit", "0"), InputError, "--limit 0"),
        (("m", "--items", tmp_path), InputError, "lacks arc.parquet"),
        (("m", "--", "--tasks", "arc_easy"), InputError, "set by evaluate itself"),
    ):
        with pytest.raises(kind, match=message):
            raise invoke(
                "evaluate", "--output", tmp_path,
                *(("--bundle", bundle.path) if "--items" in arguments else ()), *arguments,
            ).exception or AssertionError(arguments)  # fmt: skip
    assert runs == []


def test_items_check(bundle: Bundle, tmp_path: Path) -> None:
    for benchmark in BENCHMARKS:
        ids = bundle.benchmarks[benchmark].parameters.items
        rows = [
            {"metabench_idx": int(item.rpartition(".")[2]), "subject": "anatomy"} for item in ids
        ]
        table = pa.Table.from_pylist(rows, schema=item_schema(benchmark))
        pq.write_table(table, tmp_path / f"{benchmark}.parquet")
    result = invoke("items", "check", tmp_path, "--bundle", bundle.path)
    assert result.exit_code == 0
    assert result.stdout.count("ok  ") == 12
    pq.write_table(table.slice(1), tmp_path / "winogrande.parquet")
    result = invoke("items", "check", tmp_path, "--bundle", bundle.path, "--json")
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert [check["ok"] for check in value["checks"]] == [True] * 11 + [False]
    assert "1 of the bundle's items are absent (7)" in value["checks"][-1]["detail"]


def test_items_build_and_tasks_tell_what_they_lack(bundle: Bundle, tmp_path: Path) -> None:
    result = invoke("items", "build", bundle.path, "--out", tmp_path / "o", "--sources", tmp_path)
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "o").exists()
    result = invoke("items", "check", tmp_path)
    assert isinstance(result.exception, InputError)


def test_reconstruct_reads_a_run_by_its_time(bundle: Bundle, tmp_path: Path) -> None:
    write_model(tmp_path / "m", bundle, 1)
    write_model(tmp_path / "m", bundle, 2, time="2025-05-05T00-00-00.0")
    common = ("reconstruct", "m", "--results", tmp_path, "--bundle", bundle.path, "--json")
    newest = json.loads(invoke(*common, "--engine", "native").stdout)
    older = json.loads(invoke(*common, "--engine", "native", "--run", "2024-11-26").stdout)
    assert newest["logs"]["arc"]["file"].endswith("2025-05-05T00-00-00.0.jsonl")
    assert older["logs"]["arc"]["file"].endswith("2024-11-26T10-50-23.349203.jsonl")
    result = invoke(*common, "--run", "2020")
    assert isinstance(result.exception, LogError)
