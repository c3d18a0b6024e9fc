"""`data check` and `convert`: good data and bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.cli.app import app
from metabench_py.data.check import check_folder
from metabench_py.data.convert import convert
from metabench_py.errors import InputError, MetabenchError, ResponseError
from metabench_py.responses import ResponseMatrix


def data(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if isinstance(result.exception, MetabenchError):
        raise result.exception
    return result.exit_code, result.stdout


def matrix(n: int = 6, k: int = 8, seed: int = 0) -> ResponseMatrix:
    values = np.random.default_rng(seed).integers(0, 2, (n, k)).astype(np.int8)
    # Every item right and wrong at least once.
    values[0], values[1] = 1, 0
    return ResponseMatrix(
        tuple(f"org/model-{i}" for i in range(n)), tuple(str(i + 1) for i in range(k)), values
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    (path / "prompts").mkdir(parents=True)
    for benchmark in BENCHMARKS:
        one = matrix()
        one.save(path / f"{benchmark}.parquet")
        prompts = pd.DataFrame({"item": one.items, "prompt": [f"Q{i}?" for i in one.items]})
        prompts.to_parquet(path / "prompts" / f"{benchmark}.parquet")
    return path


def findings(folder: Path) -> set[tuple[str, str]]:
    return {(f.level, f.benchmark) for f in check_folder(folder).findings}


class TestCheck:
    def test_sound(self, folder: Path) -> None:
        code, output = data("check", folder)
        assert code == 0
        assert output.splitlines()[-1] == "usable"
        assert "6 LLMs are in all of them." in output
        code, output = data("check", folder, "--json")
        value = json.loads(output)
        assert value["findings"] == []
        assert value["matrices"][0]["n_items"] == 8
        assert (value["matrices"][0]["score_min"], value["matrices"][0]["score_max"]) == (0, 100)
        assert data("check", folder, "--strict")[0] == 0

    def change(self, folder: Path, **parts: object) -> None:
        one = matrix()
        values = one.values.copy()
        for row, column, value in parts.pop("cells", ()):  # type: ignore[attr-defined]
            values[row, column] = value
        llms = parts.pop("llms", one.llms)
        ResponseMatrix(llms, one.items, values).save(folder / "arc.parquet")  # type: ignore[arg-type]

    def test_missing_answers(self, folder: Path) -> None:
        self.change(folder, cells=[(2, 3, -1), (2, 4, -1), (3, 3, -1)])
        (finding,) = check_folder(folder).findings
        assert (finding.level, finding.benchmark) == ("warning", "arc")
        assert finding.text.startswith("3 answers are missing, of 2 LLMs and 2 items")
        assert finding.examples == ("org/model-2", "org/model-3")
        assert data("check", folder)[0] == 0
        assert data("check", folder, "--strict")[0] == 1

    def test_item_that_nobody_answered(self, folder: Path) -> None:
        self.change(folder, cells=[(slice(None), 5, -1)])
        assert ("error", "arc") in findings(folder)
        code, output = data("check", folder)
        assert code == 1
        assert "1 items that no LLM answered; drop them (6)" in output

    def test_llm_that_answered_nothing(self, folder: Path) -> None:
        self.change(folder, cells=[(4, slice(None), -1)])
        assert ("error", "arc") in findings(folder)

    def test_constant_item(self, folder: Path) -> None:
        self.change(folder, cells=[(slice(None), 2, 1)])
        (finding,) = check_folder(folder).findings
        assert finding.text.startswith("1 items that every LLM, or none, has right")
        assert finding.examples == ("3",)

    def test_other_values(self, folder: Path) -> None:
        table = pd.DataFrame({"name": ["a", "b"], "1": [0.0, 0.5]})
        table.to_parquet(folder / "arc.parquet")
        code, output = data("check", folder)
        assert code == 1
        assert "0.5 is neither 0, 1 nor missing" in output

    def test_llms_missing_from_a_benchmark(self, folder: Path) -> None:
        self.change(folder, llms=(*(f"org/model-{i}" for i in range(5)), "org/else"))
        health = check_folder(folder)
        assert health.n_common == 5
        missing = {f.benchmark: f.examples for f in health.findings}
        assert missing["arc"] == ("org/model-5",)
        assert missing["mmlu"] == ("org/else",)

    def test_no_common_llm(self, folder: Path) -> None:
        self.change(folder, llms=tuple("abcdef"))
        assert ("error", "") in findings(folder)

    def test_benchmark_missing(self, folder: Path) -> None:
        (folder / "arc.parquet").unlink()
        assert findings(folder) == {("warning", "")}

    def test_two_files_of_one_benchmark(self, folder: Path) -> None:
        (folder / "arc.csv").write_text("source,item,correct\n")
        assert findings(folder) == {("error", "arc")}

    def test_nothing_there(self, tmp_path: Path) -> None:
        assert data("check", tmp_path)[0] == 1
        with pytest.raises(InputError, match="no such folder"):
            data("check", tmp_path / "no")

    def test_prompts(self, folder: Path) -> None:
        path = folder / "prompts" / "arc.parquet"
        table = pd.read_parquet(path)
        table["prompt"] = ["same", "same", *table["prompt"][2:]]
        table.to_parquet(path)
        (finding,) = check_folder(folder).findings
        assert (finding.level, finding.examples) == ("warning", ("1 = 2",))
        table[:-1].to_parquet(path)
        assert ("error", "arc") in findings(folder)
        pd.concat([table, table[:1].assign(item="99")]).to_parquet(path)
        assert any("belong to no item" in f.text for f in check_folder(folder).findings)
        pd.concat([table, table[:1]]).to_parquet(path)
        assert any("two prompts" in f.text for f in check_folder(folder).findings)
        path.write_bytes(b"broken")
        assert ("error", "arc") in findings(folder)
        path.unlink()
        assert findings(folder) == {("note", "arc")}

    @pytest.mark.parametrize("name", ["arc_prompts.csv", "arc-prompts.csv.gz"])
    def test_prompts_beside_the_matrix(self, folder: Path, name: str) -> None:
        (folder / "prompts" / "arc.parquet").unlink()
        lines = [f'{i},"Q{i}, and more"' for i in range(1, 9)]
        text = "item,prompt\n" + "\n".join(lines) + "\n"
        (folder / name).write_bytes(
            gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        )
        assert findings(folder) == set()

    def test_real_responses(self, shared_data: Path) -> None:
        health = check_folder(shared_data / "llm-responses" / "B")
        assert health.usable
        assert {s.benchmark: (s.n_llms, s.n_items) for s in health.summaries}["arc"] == (4280, 100)
        # Hundreds of LLMs may have the same answers.
        assert max(len(e) for f in health.findings for e in f.examples) < 600


class TestConvert:
    @pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
    def test_there_and_back(self, tmp_path: Path, suffix: str) -> None:
        one = matrix(20, 30)
        values = one.values.copy()
        values[3, 4] = -1
        one = ResponseMatrix(one.llms, one.items, values)
        one.save(tmp_path / "a.parquet")
        assert data("convert", tmp_path / "a.parquet", tmp_path / f"b{suffix}")[0] == 0
        code, output = data("convert", tmp_path / f"b{suffix}", tmp_path / "c.parquet")
        assert (code, output) == (0, f"{tmp_path / 'c.parquet'}: 20 LLMs, 30 items\n")
        back = ResponseMatrix.load(tmp_path / "c.parquet")
        assert (back.llms, back.items) == (one.llms, one.items)
        assert (back.values == one.values).all()
        # The CSV is what the matrix's own reader takes, too.
        again = ResponseMatrix.load(tmp_path / f"b{suffix}")
        assert (again.values == one.values).all()

    def test_many_blocks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("metabench_py.data.convert._BLOCK", 4096)
        one = matrix(300, 70)
        one.save(tmp_path / "a.parquet")
        convert([tmp_path / "a.parquet"], tmp_path / "b.csv")
        back = convert([tmp_path / "b.csv"], tmp_path / "c.parquet")
        assert (back.values == one.values).all()

    def test_other_spellings(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text(
            'item,source,correct,more\n1,a,1.0,x\n2,a,0,x\n1,"b, c",True,x\n2,"b, c",NA,x\n'
        )
        one = convert([path], tmp_path / "b.parquet")
        assert one.llms == ("a", "b, c")
        assert one.values.tolist() == [[1, 0], [1, -1]]

    def test_subjects_of_the_original(self, tmp_path: Path) -> None:
        for subject in ("anatomy", "virology"):
            (tmp_path / f"mmlu_{subject}.csv").write_text("source,item,correct\na,1,1\na,2,0\n")
        paths = [tmp_path / "mmlu_anatomy.csv", tmp_path / "mmlu_virology.csv"]
        assert data("convert", *paths, tmp_path / "mmlu.parquet")[0] == 0
        one = ResponseMatrix.load(tmp_path / "mmlu.parquet")
        assert one.items == ("anatomy.1", "anatomy.2", "virology.1", "virology.2")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("source,item,correct\na,1,1\na,2,2\n", r"line 3: '2' is neither 0, 1 nor empty"),
            ("source,item,correct\na,1,1\n,2,1\n", r"line 3: the source is empty"),
            ("source,item,correct\na,1,1\nb,1,1\na,1,0\n", r"line 4: LLM 'a' answers item '1' a s"),
            ("source,item\na,1\n", r"not a CSV with source, item, correct"),
            ("", r"not a CSV"),
            ("source,item,correct\na,1,1\nb,1\n", r"not a CSV"),
        ],
    )
    def test_unusable(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "a.csv"
        path.write_text(text)
        with pytest.raises(ResponseError, match=message):
            convert([path], tmp_path / "b.parquet")
        assert not (tmp_path / "b.parquet").exists()

    @pytest.mark.parametrize("block", [27, 1 << 20])
    @pytest.mark.parametrize(("keep", "value"), [("first", 1), ("last", 0)])
    def test_duplicates(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, keep: str, value: int
    ) -> None:
        monkeypatch.setattr("metabench_py.data.convert._BLOCK", block)
        path = tmp_path / "a.csv"
        path.write_text("source,item,correct\na,1,1\nb,1,1\na,1,0\n")
        one = convert([path], tmp_path / "b.parquet", keep)  # type: ignore[arg-type]
        assert one.values.tolist() == [[value], [1]]

    def test_endings(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("source,item,correct\n")
        with pytest.raises(InputError, match="Give one or more"):
            convert([tmp_path / "a.csv"], tmp_path / "b.txt")
        with pytest.raises(InputError, match="no such file"):
            convert([tmp_path / "no.csv"], tmp_path / "b.parquet")
        with pytest.raises(InputError, match="choose refuse, first or last"):
            data("convert", tmp_path / "a.csv", tmp_path / "b.parquet", "--duplicates", "any")
