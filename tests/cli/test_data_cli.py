"""`data check`, `convert` and `pull`: good data, bad data, hostile archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.hub_server import FaultKind, Faults, Hub, serve
from typer.testing import CliRunner

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.cli.app import app
from metabench_py.data.check import check_folder
from metabench_py.data.convert import convert
from metabench_py.errors import (
    DownloadError,
    InputError,
    MetabenchError,
    ResponseError,
    StorageError,
)
from metabench_py.hub.retry import RetryRule
from metabench_py.hub.zenodo import pull_data, unpack
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

    def test_prompts_of_the_original_scraper(self, folder: Path) -> None:
        (folder / "prompts" / "arc.parquet").unlink()
        lines = [f'{i},"Q{i}, and more"' for i in range(1, 9)]
        (folder / "arc_prompts.csv").write_text("item,prompt\n" + "\n".join(lines) + "\n")
        assert findings(folder) == set()

    def test_real_responses(self, shared_data: Path) -> None:
        health = check_folder(shared_data / "llm-responses" / "B")
        assert health.usable
        assert {s.benchmark: (s.n_llms, s.n_items) for s in health.summaries}["arc"] == (4280, 100)


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


def archive(*members: tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = archive(
    (entry("data/", tarfile.DIRTYPE), b""),
    ("data/arc.csv", b"source,item,correct\n"),
    ("data/more/large.bin", np.random.default_rng(0).bytes(3_000_000)),
)
RECORD = "/api/records/12819251"


@pytest.fixture
def zenodo() -> Iterator[Hub]:
    hub = Hub()
    with serve(hub):
        publish(hub, GOOD)
        yield hub


def publish(hub: Hub, content: bytes, checksum: str | None = None) -> None:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    file = {"key": "data.tar.gz", "size": len(content), "checksum": checksum or f"md5:{digest}"}
    hub.other = {
        RECORD: json.dumps({"files": [{"key": "other"}, file]}).encode(),
        f"{RECORD}/files/data.tar.gz/content": content,
    }


QUICK = RetryRule(attempts=4, pause=0.01, timeout=1.0)


class TestPull:
    def pull(self, zenodo: Hub, out: Path, **options: bool) -> Path:
        return pull_data(out, address=zenodo.address, rule=QUICK, **options)

    def test_command(self, zenodo: Hub, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert data("pull", "--out", out, "--address", zenodo.address)[0] == 0
        assert (out / "data" / "arc.csv").read_bytes() == b"source,item,correct\n"
        assert (out / "data" / "more" / "large.bin").stat().st_size == 3_000_000
        assert list(tmp_path.iterdir()) == [out]
        with pytest.raises(StorageError, match="say --replace"):
            data("pull", "--out", out, "--address", zenodo.address)
        (out / "mine").write_text("x")
        self.pull(zenodo, out, replace=True)
        assert not (out / "mine").exists()

    @pytest.mark.parametrize("fault", ["429", "500", "reset", "truncated", "stall", "drip"])
    @pytest.mark.parametrize("where", [RECORD, "/content"])
    def test_faults(self, zenodo: Hub, tmp_path: Path, fault: FaultKind, where: str) -> None:
        zenodo.faults = Faults(stall_seconds=2.0)
        zenodo.planned = {where: [fault]}
        self.pull(zenodo, tmp_path / "out")
        assert (tmp_path / "out" / "data" / "arc.csv").exists()

    def test_goes_on_where_it_stopped(self, zenodo: Hub, tmp_path: Path) -> None:
        zenodo.planned = {"/content": ["truncated", "500", "500", "500"]}
        with pytest.raises(DownloadError, match="run the same command again to go on"):
            self.pull(zenodo, tmp_path / "out")
        part = tmp_path / "out.data.tar.gz.part"
        assert part.stat().st_size == len(GOOD) // 2
        zenodo.sent = 0
        self.pull(zenodo, tmp_path / "out", keep_archive=True)
        assert zenodo.sent < 0.6 * len(GOOD)
        assert (tmp_path / "data.tar.gz").read_bytes() == GOOD

    def test_other_content(self, zenodo: Hub, tmp_path: Path) -> None:
        publish(zenodo, GOOD, "md5:" + "0" * 32)
        with pytest.raises(DownloadError, match="another checksum"):
            self.pull(zenodo, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_damaged_part(self, zenodo: Hub, tmp_path: Path) -> None:
        (tmp_path / "out.data.tar.gz.part").write_bytes(b"something else")
        self.pull(zenodo, tmp_path / "out")

    def test_nobody_there(self, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match=r"no connection .* give a mirror \(--address\)"):
            pull_data(tmp_path / "out", address="http://127.0.0.1:9", rule=QUICK)
        with pytest.raises(InputError, match="not a http"):
            pull_data(tmp_path / "out", address="ftp://x")

    def test_no_such_record(self, zenodo: Hub, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="404"):
            pull_data(tmp_path / "out", address=zenodo.address, record="1", rule=QUICK)
        with pytest.raises(InputError, match="no file x"):
            pull_data(tmp_path / "out", address=zenodo.address, name="x", rule=QUICK)

    @pytest.mark.parametrize(
        ("member", "message"),
        [
            (("../evil", b"x"), "leads outside"),
            (("/etc/evil", b"x"), "leads outside"),
            (("a/../../evil", b"x"), "leads outside"),
            (("c:\\evil", b"x"), "leads outside"),
            ((entry("link", tarfile.SYMTYPE, "/etc"), b""), "link or a device"),
            ((entry("link", tarfile.LNKTYPE, "data/arc.csv"), b""), "link or a device"),
            ((entry("pipe", tarfile.FIFOTYPE), b""), "link or a device"),
            ((entry("dev", tarfile.CHRTYPE), b""), "link or a device"),
            (("data/arc.csv", b"again"), "comes twice"),
        ],
    )
    def test_hostile_archives(
        self, zenodo: Hub, tmp_path: Path, member: tuple[str, bytes], message: str
    ) -> None:
        publish(zenodo, archive(("data/arc.csv", b"x"), member))
        inner = tmp_path / "inner"
        with pytest.raises(InputError, match=message):
            self.pull(zenodo, inner / "out")
        assert [p.name for p in inner.iterdir()] == ["out.data.tar.gz.part"]
        assert [p.name for p in tmp_path.iterdir()] == ["inner"]

    def test_bomb(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.tar.gz"
        path.write_bytes(archive(("zeros", b"\0" * 5_000_000)))
        (tmp_path / "out").mkdir()
        with pytest.raises(InputError, match="more than a data set could"):
            unpack(path, tmp_path / "out", largest=1_000_000)

    @pytest.mark.parametrize(
        "content",
        [b"not an archive", GOOD[: len(GOOD) // 2], gzip.compress(b"no tar" * 500)],
        # Compressed bytes hold the time, and so would their names.
        ids=["text", "cut", "no-tar"],
    )
    def test_broken_archive(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.tar.gz"
        path.write_bytes(content)
        (tmp_path / "out").mkdir()
        with pytest.raises(InputError, match="not a whole"):
            unpack(path, tmp_path / "out")
