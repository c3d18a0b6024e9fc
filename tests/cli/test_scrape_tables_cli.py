"""`scrape leaderboard`, `prompts`, `details` in the process itself, against the stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.hub_content import Faults, Hub, Repo
from helpers.hub_files import (
    RESULTS,
    SUBJECTS,
    Spec,
    Truth,
    config_of,
    details_repo,
    generate,
    result_json,
    results_data_set,
    task_of,
)
from helpers.hub_server import serve
from typer.testing import CliRunner

from metabench_py.cli.app import app
from metabench_py.errors import DownloadError, InputError
from metabench_py.hub.leaderboard import COLUMNS

QUICK = ("--pause", "0.01", "--timeout", "3")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    hub = Hub()
    with serve(hub):
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


def scrape(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["scrape", *map(str, arguments), *QUICK])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def results(**models: Any) -> Repo:
    return results_data_set(models)


LEADERBOARD = {
    # Newest that parses: the newest is broken, the next one counts, the oldest does not.
    "Org/Model-7B/results_2023-10-03T00-00-00.1.json": "{broken",
    "Org/Model-7B/results_2023-10-02T00-00-00.1.json": result_json("Org/Model-7B"),
    "Org/Model-7B/results_2023-10-01T00:00:00.1.json": result_json("Org/Model-7B", results={}),
    # The same name in another folder: the first folder's row stays.
    "Org/Model-7B_copy/results_2023-10-02T00-00-00.1.json": result_json(
        "Org/Model-7B", config_general={"model_name": "Org/Model-7B", "model_sha": "other"}
    ),
    "gpt2/results_2023-07-01T00-00-00.1.json": result_json("gpt2"),
    "aorg/Mixtral-8x7B/results_2023-07-01T00-00-00.1.json": result_json("aorg/Mixtral-8x7B"),
    "Zorg/lost/results_2023-07-01T00-00-00.1.json": "[]",
}


def test_leaderboard(hub: Hub, tmp_path: Path) -> None:
    hub.repos[RESULTS] = results_data_set(LEADERBOARD)
    hub.faults = Faults(rate=0.15, seed=2)
    out = tmp_path / "leaderboard.csv"
    report = json.loads(scrape("leaderboard", "--out", out, "--json"))
    assert (report["n_models"], report["n_complete"], report["done"]) == (3, 3, 4)
    assert report["problems"] == ["Zorg/lost: none of its 1 result files is usable"]
    table = pd.read_csv(out)
    assert tuple(table.columns) == COLUMNS
    assert table["name"].tolist() == ["aorg/Mixtral-8x7B", "gpt2", "Org/Model-7B"]
    assert table["sha"].tolist() == ["abc"] * 3

    # Again: only the listing is asked for, and what is new.
    hub.faults = Faults()
    hub.requests.clear()
    new = {"new/Model/results_2024-01-01T00-00-00.1.json": result_json("new/Model")}
    hub.repos[RESULTS] = results_data_set({**LEADERBOARD, **new})
    hub._commits.clear()
    report = json.loads(scrape("leaderboard", "--out", out, "--json"))
    assert (report["n_models"], report["done"], report["skipped"]) == (4, 1, 4)
    assert hub.count("/resolve/") == 1
    assert "new/Model" in set(pd.read_csv(out)["name"])


def test_leaderboard_file_that_cannot_be_had(hub: Hub, tmp_path: Path) -> None:
    """An older file must not stand in for one that the network kept back today."""
    hub.repos[RESULTS] = results_data_set(LEADERBOARD)
    hub.planned = {"Model-7B/results_2023-10-02": ["500"] * 6}
    out = tmp_path / "leaderboard.parquet"
    output = scrape("leaderboard", "--out", out, code=1)
    assert "3 models" in output
    assert pd.read_parquet(out).set_index("name").loc["Org/Model-7B", "sha"] == "other"
    scrape("leaderboard", "--out", out)
    assert pd.read_parquet(out).set_index("name").loc["Org/Model-7B", "sha"] == "abc"


def test_earlier_name_of_the_results(hub: Hub, tmp_path: Path) -> None:
    hub.repos["open-llm-leaderboard/results"] = results_data_set(LEADERBOARD)
    scrape("leaderboard", "--out", tmp_path / "a.csv")
    with pytest.raises(InputError, match="Name the data set of result files with --repo"):
        scrape("leaderboard", "--out", tmp_path / "b.csv", "--repo", "no/where")
    with pytest.raises(InputError, match=r"ends in \.parquet or \.csv"):
        scrape("leaderboard", "--out", tmp_path / "b.txt")


def test_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with pytest.raises(DownloadError, match="Cannot reach the Hub"):
        scrape("leaderboard", "--out", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def model(config: Any = None, total: int | None = None, **more: Any) -> Repo:
    info: dict[str, Any] = {"config": config, **more}
    if total is not None:
        info["safetensors"] = {"parameters": {"BF16": total}, "total": total}
    return Repo({"README.md": b"x"}, info=info, kind="models")


def test_details(hub: Hub, tmp_path: Path) -> None:
    hub.repos[RESULTS] = results_data_set(LEADERBOARD)
    out = tmp_path / "leaderboard.csv"
    scrape("leaderboard", "--out", out)
    llama = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    hub.repos["Org/Model-7B"] = model(llama, 6_738_415_616, tags=["merge", "llama"])
    # No metadata but a config.json; the size is in the name only.
    hub.repos["aorg/Mixtral-8x7B"] = model(tags=["moe"])
    hub.repos["aorg/Mixtral-8x7B"].files["config.json"] = (
        b'{"architectures": ["MixtralForCausalLM"]}'
    )
    hub.faults = Faults(rate=0.15, seed=4)
    before = pd.read_csv(out)
    report = json.loads(scrape("details", "--out", tmp_path, "--json"))
    assert report["size_from"] == {"safetensors": 1, "name": 1, "unknown": 1}
    table = pd.read_csv(out).set_index("name")
    assert table["nparams"].tolist()[0::2] == ["56B", "6.74B"]
    assert table["arch"].tolist()[0::2] == ["MixtralForCausalLM", "LlamaForCausalLM"]
    assert table["size"].tolist()[0::2] == [56.0, 6.738]
    assert pd.isna(table.loc["gpt2", "size"])
    assert table["available"].tolist() == [True, False, True]
    assert table["merged"].tolist() == [False, False, True]
    assert table["moe"].tolist() == [True, False, False]
    # The rest of the table is as it was.
    same = ["name", "link", "complete", "avg", "arc", "sha", "precision"]
    pd.testing.assert_frame_equal(table.reset_index()[same], before[same])
    # Known models are not asked for again, absent ones neither.
    hub.requests.clear()
    scrape("details", "--out", tmp_path)
    assert hub.requests == []


@pytest.fixture
def truth(hub: Hub) -> Truth:
    generated, truth = generate(Spec(n_models=3, n_items=6))
    hub.repos.update(generated.repos)
    return truth


def test_prompts(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    models = tmp_path / "models.txt"
    models.write_text("\n".join(truth.models))
    with pytest.raises(InputError, match="nothing was scraped"):
        scrape("prompts", "--out", tmp_path)
    scrape("responses", "--out", tmp_path, "--models", models)
    hub.faults = Faults(rate=0.15, seed=8)
    tables = json.loads(scrape("prompts", "--out", tmp_path, "--json"))
    assert [t["n_items"] for t in tables] == [6, 6, 6, 6 * 57, 6, 6]
    assert all(t["duplicates"] == [] for t in tables)
    for benchmark, prompts in truth.prompts.items():
        table = pd.read_parquet(tmp_path / "prompts" / f"{benchmark}.parquet")
        assert dict(zip(table["item"], table["prompt"], strict=True)) == prompts
    # And the check that uses them.
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--json"])
    health = json.loads(result.stdout)
    assert result.exit_code == 0
    assert health["usable"]
    assert health["n_common"] == 3


def test_duplicate_prompts_and_a_second_model(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    from helpers.hub_files import details_bytes

    first, second = truth.models[:2]
    repo = hub.repos[details_repo(second)]
    path = next(p for p in repo.files if task_of("arc") in p)
    repo.files[path] = details_bytes([1, 0, 1], ["same", "other", "same"], "acc_norm", 2)
    hub.repos[details_repo(first)].state = "gated"
    arguments = ("prompts", "--out", tmp_path, "--benchmark", "arc", "--json")
    (table,) = json.loads(scrape(*arguments, "--model", first, "--model", second))
    assert table["duplicates"] == [["1", "3"]]
    assert table["models"] == [second]
    with pytest.raises(DownloadError, match=config_of(task_of("arc"))):
        scrape(*arguments, "--model", first)


def test_status_lists_everything(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    hub.repos[RESULTS] = results_data_set(LEADERBOARD)
    hub.repos[details_repo(truth.models[0])].state = "deleted"
    models = tmp_path / "models.txt"
    models.write_text("\n".join(truth.models))
    scrape("leaderboard", "--out", tmp_path / "leaderboard.parquet")
    scrape("responses", "--out", tmp_path, "--models", models, "--benchmark", "mmlu,arc")
    result = CliRunner().invoke(app, ["scrape", "status", "--out", str(tmp_path), "--errors"])
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["done", "failed", "absent", "gated", "refused", "invalid"]
    assert lines[1].split() == ["ARC", "2", "0", "0", "0", "0", "0"]
    assert lines[2].split() == ["MMLU", str(2 * len(SUBJECTS)), "0", "0", "0", "0", "0"]
    assert lines[3].split() == ["models", "2", "0", "1", "0", "0", "0"]
    assert lines[4].split() == ["leaderboard", "4", "0", "0", "0", "0", "2"]
    assert any(line.startswith(f"{truth.models[0]}: absent: http") for line in lines)
