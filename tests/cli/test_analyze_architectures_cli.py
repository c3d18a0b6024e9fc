"""``metabench-py analyze architectures`` as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from metabench_py.cli.app import app
from metabench_py.errors import InputError


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["analyze", "architectures", *map(str, arguments)])


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(3)
    n = 120
    names = [f"o{i % 17}/m{i}" for i in range(n)]
    kind = np.array(["LlamaForCausalLM", "MistralForCausalLM"])[np.arange(n) % 2]
    score = random.uniform(30, 80, n)
    predicted = score + random.normal(0, 1, n) + 2.0 * (np.arange(n) % 2)
    split = np.where(np.arange(n) < 20, "train", "test")
    frame = pd.DataFrame({"name": names, "score": score, "predicted": predicted, "split": split})
    frame.to_parquet(tmp_path / "r.parquet")
    models = pd.DataFrame({"name": names[:-8], "arch": kind[:-8], "size": 7.0 + np.arange(n - 8)})
    models.loc[30:32, "arch"] = "PhiForCausalLM"
    models.to_csv(tmp_path / "m.csv", index=False)
    return tmp_path / "r.parquet", tmp_path / "m.csv"


def test_table_and_plot(tables: tuple[Path, Path], tmp_path: Path) -> None:
    plot = tmp_path / "p.svg"
    result = run(tables[0], "--models", tables[1], "--plot", plot)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Grand score: 100 LLMs (test)")
    assert [line.split()[0] for line in lines[3:6]] == [
        "MistralForCausalLM", "LlamaForCausalLM", "all"
    ]  # fmt: skip
    assert "In no group, for fewer than 10 LLMs: PhiForCausalLM 3." in lines
    assert "1 of 1 pairs differ in their means (Welch's t, p by Holm < 0.05):" in lines
    assert any(line.startswith("Size and residual (92 LLMs): Spearman") for line in lines)
    assert "8 of 100 LLMs are not in" in result.stderr
    assert "o10/m112" in result.stderr
    svg = plot.read_text()
    assert svg.startswith("<?xml")
    assert len(svg) > 10_000


def test_json_names_all_that_are_not_matched(tables: tuple[Path, Path]) -> None:
    result = run(tables[0], "--models", tables[1], "--llms", "all", "--least", 3, "--json")
    value = json.loads(result.stdout)
    assert value["n_llms"] == 120
    assert value["n_train"] == 20
    assert "Note: 20 are training LLMs" in result.stderr
    assert len(value["unmatched"]) == 8
    assert [one["name"] for one in value["groups"]][-1] == "PhiForCausalLM"
    assert len(value["pairs"]) == 3
    assert value["tests"][0]["name"] == "Welch"
    bias = {one["name"]: one["bias"] for one in value["groups"]}
    apart = bias["MistralForCausalLM"] - bias["LlamaForCausalLM"]
    assert apart == pytest.approx(2, abs=0.5)


def test_what_reconstruct_wrote_needs_a_table_of_scores(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    frame = pd.read_parquet(tables[0])
    path = tmp_path / "r.jsonl"
    path.write_text(
        "".join(
            json.dumps({"model": name.replace("/", "__"), "scores": {"grand": {"score": value}}})
            + "\n"
            for name, value in zip(frame["name"], frame["predicted"], strict=True)
        )
    )
    options = ("--models", tables[1], "--llms", "all")
    assert "--scores" in str(run(path, *options).exception)
    scores = tmp_path / "scores.csv"
    frame[["name", "score"]].rename(columns={"score": "grand"}).to_csv(scores, index=False)
    done = run(path, "--scores", scores, *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Grand score: 120 LLMs (all)")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert "analyze architectures RESULTS --scores FILE --models" in readme


def test_other_columns(tables: tuple[Path, Path], tmp_path: Path) -> None:
    models = tmp_path / "other.csv"
    pd.read_csv(tables[1]).set_axis(["llm", "kind", "billions"], axis=1).to_csv(models, index=False)
    options = ("--name-column", "llm", "--architecture-column", "kind", "--size-column", "billions")
    theirs = run(tables[0], "--models", models, *options).stdout
    assert theirs == run(tables[0], "--models", tables[1]).stdout


def test_published_reconstructions(shared_data: Path) -> None:
    result = run(
        shared_data / "published" / "B" / "features.parquet", "--models",
        shared_data / "open-llm-leaderboard.csv", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["n_llms"] == 464
    assert value["everyone"]["rmse"] == pytest.approx(0.675, abs=5e-4)
    assert value["groups"][0]["name"] == "MistralForCausalLM"


def test_bad_arguments(tables: tuple[Path, Path], tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "none.parquet", "--models", tables[1]),
        (tables[0], "--models", tmp_path / "none.csv"),
        (*tables[:1], "--models", tables[1], "--predicted", "q"),
        (*tables[:1], "--models", tables[1], "--level", 2),
        (*tables[:1], "--models", tables[1], "--plot", tmp_path / "p.docx"),
    ):
        assert isinstance(run(*arguments).exception, InputError), arguments
    assert run(tables[0]).exit_code == 2
