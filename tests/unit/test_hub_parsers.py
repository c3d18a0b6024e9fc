"""The pure part of the Hub room: which file, which column, which number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.hub_files import (
    SUBJECTS,
    config_of,
    details_bytes,
    file_name,
    result_json,
    task_of,
)

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError, ResponseError
from metabench_py.hub import leaderboard, model_details, sources
from metabench_py.hub.details_file import read_answers, read_prompts
from metabench_py.hub.listing import HubFile, Listing, choose_files, file_date
from metabench_py.hub.models import from_leaderboard, read_names

ARC = "harness_arc_challenge_25"
DAY = "2023-10-16T01-48-55.123456"
LATER = "2023-10-17T01-48-55.123456"


def parse(**changes: Any) -> dict[str, Any]:
    import json

    return leaderboard.parse_result(json.dumps(result_json("a/b", **changes)).encode())


def results(**changes: Any) -> dict[str, Any]:
    """The complete results with some entries changed; None drops one."""
    value = {**result_json("a/b")["results"], **changes}
    return {key: entry for key, entry in value.items() if entry is not None}


class TestSources:
    def test_names_are_those_of_the_hub(self) -> None:
        configs = [part.config for b in BENCHMARKS for part in sources.PARTS[b]]
        assert len(configs) == 62 == len(set(configs))
        assert configs[:3] == [ARC, "harness_gsm8k_5", "harness_hellaswag_10"]
        assert configs[-2:] == ["harness_truthfulqa_mc_0", "harness_winogrande_5"]
        assert "harness_hendrycksTest_high_school_us_history_5" in configs
        assert sources.SUBJECTS == tuple(SUBJECTS)

    def test_metrics(self) -> None:
        assert [sources.PARTS[b][0].metric for b in BENCHMARKS] == [
            "acc_norm", "acc", "acc_norm", "acc", "mc1", "acc",
        ]  # fmt: skip

    def test_items_count_from_one(self) -> None:
        assert sources.PARTS["arc"][0].item(0) == "1"
        assert sources.PARTS["mmlu"][1].item(11) == "anatomy.12"

    @pytest.mark.parametrize(
        ("model", "repository"),
        [("a/b", "org/details_a__b"), ("gpt2", "org/details_gpt2")],
    )
    def test_repository(self, model: str, repository: str) -> None:
        assert sources.details_repository(model, "org") == repository


class TestListing:
    def listing(self, paths: list[str], card: Any) -> Listing:
        return Listing("org/details", "c0ffee", {p: HubFile(p) for p in paths}, card)

    def card(self, path: Any, split: str = "latest", config: str = ARC) -> dict[str, Any]:
        files = [{"split": split, "path": path}]
        return {"configs": [{"config_name": config, "data_files": files}]}

    @pytest.mark.parametrize("generation", [1, 2, 3])
    def test_card_by_pattern(self, generation: int) -> None:
        path = file_name(task_of("arc"), DAY, generation)
        name = path.split("/")[-1]
        for pattern in ([f"**/{name}"], f"**/{name}", [path], [f"**/*{DAY[:10]}*.parquet"]):
            chosen = choose_files(self.listing([path, "README.md"], self.card(pattern)))
            assert chosen[ARC].file.path == path
            assert chosen[ARC].note == ""

    def test_latest_split_wins_over_newer_files(self) -> None:
        old, new = (file_name(task_of("arc"), day, 3) for day in (DAY, LATER))
        chosen = choose_files(self.listing([new, old], self.card([old])))
        assert chosen[ARC].file.path == old

    @pytest.mark.parametrize(
        "card",
        [{}, {"configs": None}, {"configs": "broken"}, {"configs": [{"config_name": ARC}]}],
    )
    def test_no_configs_in_the_card(self, card: Any) -> None:
        old, new = (file_name(task_of("arc"), day, 3) for day in (DAY, LATER))
        chosen = choose_files(self.listing([new, old], card))
        assert chosen[ARC].file.path == new
        assert "not in the card" in chosen[ARC].note
        assert "newest of 2" in chosen[ARC].note

    def test_other_split_only(self) -> None:
        path = file_name(task_of("arc"), DAY, 3)
        chosen = choose_files(self.listing([path], self.card([path], split="2023_10_16")))
        assert "not in the card" in chosen[ARC].note

    def test_card_names_a_file_that_is_not_there(self) -> None:
        path = file_name(task_of("arc"), DAY, 3)
        chosen = choose_files(self.listing([path], self.card(["**/gone.parquet"])))
        assert chosen[ARC].file.path == path
        assert "names no file that is there" in chosen[ARC].note

    def test_several_files_in_latest(self) -> None:
        old, new = (file_name(task_of("arc"), day, 3) for day in (DAY, LATER))
        chosen = choose_files(self.listing([new, old], self.card([old, new])))
        assert chosen[ARC].file.path == new
        assert chosen[ARC].note == "newest of 2 files of the card's latest split"

    def test_tasks_do_not_mix(self) -> None:
        paths = [file_name(task_of("mmlu", s), DAY, 3) for s in SUBJECTS]
        chosen = choose_files(self.listing(paths, {}))
        assert set(chosen) == {config_of(task_of("mmlu", s)) for s in SUBJECTS}
        name = config_of(task_of("mmlu", "college_mathematics"))
        assert "hendrycksTest-college_mathematics|5" in chosen[name].file.path

    def test_dates_with_colons_and_dashes_compare(self) -> None:
        colons = file_name(task_of("arc"), LATER, 1)
        dashes = file_name(task_of("arc"), DAY, 3)
        assert file_date(colons) > file_date(dashes)
        assert file_date("README.md") == ""


class TestDetailsFile:
    @pytest.mark.parametrize("generation", [1, 2, 3])
    @pytest.mark.parametrize("metric", ["acc", "acc_norm", "mc1"])
    def test_three_schemas(self, tmp_path: Path, generation: int, metric: str) -> None:
        answers = np.array([1.0, 0.0, np.nan, 1.0])
        path = tmp_path / "file.parquet"
        path.write_bytes(details_bytes(answers, list("abcd"), metric, generation))
        found = read_answers(path, metric)
        assert found.dtype == np.int8
        assert found.tolist() == [1, 0, -1, 1]
        assert list(read_prompts(path)) == list("abcd")

    @pytest.mark.parametrize("kind", [pa.bool_(), pa.int64(), pa.float32()])
    def test_number_types(self, tmp_path: Path, kind: pa.DataType) -> None:
        path = tmp_path / "file.parquet"
        pq.write_table(pa.table({"acc": pa.array([1, 0, None]).cast(kind)}), path)
        assert read_answers(path, "acc").tolist() == [1, 0, -1]

    def test_missing_struct(self, tmp_path: Path) -> None:
        path = tmp_path / "file.parquet"
        pq.write_table(pa.table({"metrics": pa.array([{"acc": 1.0}, None])}), path)
        assert read_answers(path, "acc").tolist() == [1, -1]

    def test_row_groups(self, tmp_path: Path) -> None:
        path = tmp_path / "file.parquet"
        values = [{"acc": float(i % 3 == 0)} for i in range(10)]
        pq.write_table(pa.table({"metrics": values}), path, row_group_size=3)
        assert read_answers(path, "acc").tolist() == [int(i % 3 == 0) for i in range(10)]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"acc": [1.0, 0.5]}, r"row 2: acc is 0.5, neither 0 nor 1"),
            ({"acc_norm": [1.0]}, r"no metric 'acc'; the columns are acc_norm"),
            ({"metrics": [{"mc2": 1.0}]}, r"no metric 'acc'"),
            ({"acc": pa.array([], pa.float64())}, r"no rows"),
            ({"acc": ["yes"]}, r"not a readable details file"),
        ],
    )
    def test_unusable(self, tmp_path: Path, columns: Any, message: str) -> None:
        path = tmp_path / "file.parquet"
        pq.write_table(pa.table(columns), path)
        with pytest.raises(ResponseError, match=message):
            read_answers(path, "acc")

    def test_not_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "file.parquet"
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(ResponseError, match="not a readable details file"):
            read_answers(path, "acc")
        with pytest.raises(ResponseError, match="not a readable details file"):
            list(read_prompts(path))


class TestLeaderboardRules:
    def test_columns(self) -> None:
        row = parse()
        assert tuple(row) == leaderboard.COLUMNS
        assert row["name"] == "a/b"
        assert row["link"] == "https://huggingface.co/a/b"
        assert (row["sha"], row["precision"]) == ("abc", "float16")
        assert (row["available"], row["merged"], row["flagged"], row["moe"]) == (
            True, False, False, False,
        )  # fmt: skip

    def test_metrics_times_hundred(self) -> None:
        row = parse()
        scores = {b: row[b] for b in BENCHMARKS}
        assert scores == pytest.approx(
            {"arc": 50, "hellaswag": 75, "mmlu": 50, "truthfulqa": 25, "winogrande": 62.5,
             "gsm8k": 12.5}
        )  # fmt: skip
        assert row["avg"] == pytest.approx(sum(scores.values()) / 6)
        assert row["complete"]

    def test_missing_benchmark(self) -> None:
        row = parse(results=results(**{"harness|gsm8k|5": None}))
        assert row["gsm8k"] is None
        assert not row["complete"]
        assert row["avg"] == pytest.approx((50 + 75 + 50 + 25 + 62.5) / 5)

    def test_missing_metric(self) -> None:
        assert parse(results=results(**{"harness|arc:challenge|25": {"acc": 1.0}}))["arc"] is None

    @pytest.mark.parametrize(
        "key", ["harness|hendrycksTest-abstract_algebra|5", "hendrycksTest-abstract_algebra"]
    )
    def test_version_zero_of_mmlu_is_skipped(self, key: str) -> None:
        assert parse(versions={key: 0})["mmlu"] is None
        assert parse(versions={key: 1})["mmlu"] == pytest.approx(50)

    def test_some_subjects_are_not_mmlu(self) -> None:
        assert parse(results=results(**{task_of("mmlu", "virology"): None}))["mmlu"] is None

    def test_nan_of_truthfulqa_counts_zero(self) -> None:
        row = parse(results=results(**{"harness|truthfulqa:mc|0": {"mc2": math.nan}}))
        assert row["truthfulqa"] == 0.0
        assert row["complete"]

    def test_nan_elsewhere_is_no_score(self) -> None:
        row = parse(results=results(**{"harness|gsm8k|5": {"acc": math.nan}}))
        assert row["gsm8k"] is None

    @pytest.mark.parametrize(
        ("given", "precision"),
        [("torch.bfloat16", "bfloat16"), ("8bit", "8bit"), ("4bit", "4bit"), ("None", "GPTQ"),
         ("GPTQ", "GPTQ"), ("torch.float32", "?"), (None, "?")],
    )  # fmt: skip
    def test_precision(self, given: str | None, precision: str) -> None:
        config = {"model_name": "a/b", "model_dtype": given}
        assert parse(config_general=config)["precision"] == precision

    def test_moe_by_name(self) -> None:
        assert parse(config_general={"model_name": "a/MoE-4x7B"})["moe"]

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"null", b'{"results": {}}', b"\xff\xfe",
         b'{"config_general": {}, "results": {}, "versions": {}}',
         b'{"config_general": {"model_name": "a/b"}, "results": {"x": {}}, "versions": {}}',
         b'{"config_general": {"model_name": "a/b"}, "results": {"gsm8k": {"acc": "?"}},'
         b' "versions": {}}'],
    )  # fmt: skip
    def test_not_a_result(self, content: bytes) -> None:
        with pytest.raises(InputError):
            leaderboard.parse_result(content)

    def test_table_order_and_duplicates(self) -> None:
        names = ["b/Z", "A/y", "a/X", "b/Z", "a/x"]
        rows = [{**parse(), "name": n, "avg": float(i)} for i, n in enumerate(names)]
        table = leaderboard.make_table(rows)
        assert table["name"].tolist() == ["a/X", "a/x", "A/y", "b/Z"]
        assert table["avg"].tolist() == [2.0, 4.0, 1.0, 0.0]

    def test_empty_table_has_columns(self) -> None:
        assert tuple(leaderboard.make_table([]).columns) == leaderboard.COLUMNS

    def test_newest_first(self) -> None:
        paths = [
            "a/b/results_2023-08-28T20:18:28.1.json",
            "a/b/results_2023-09-01T00-00-00.1.json",
            "gpt2/results_2023-07-01T00:00:00.1.json",
            "a/b/other.json",
            "README.md",
            "results_2024-01-01T00-00-00.1.json",
        ]
        assert leaderboard.newest_first(paths) == {
            "a/b": [paths[1], paths[0]],
            "gpt2": [paths[2]],
        }

    def test_against_the_original_table(self, shared_data: Path) -> None:
        import pandas as pd

        original = pd.read_csv(shared_data / "open-llm-leaderboard.csv")
        assert tuple(original.columns[:16]) == leaderboard.COLUMNS
        ours = leaderboard.make_table(original.to_dict("records"))
        # Names that differ by case only: the original's order among them is its sort's accident.
        assert ours["name"].str.lower().tolist() == original["name"].str.lower().tolist()
        ours = ours.set_index("name").loc[original["name"]].reset_index()
        scores = original[list(BENCHMARKS)]
        assert (ours["complete"] == scores.notna().all(axis=1)).all()
        pd.testing.assert_frame_equal(
            ours[["avg", "arc"]], original[["avg", "arc"]], check_exact=True
        )
        assert np.allclose(scores.mean(axis=1), original["avg"], rtol=1e-12)


class TestModelDetails:
    @pytest.mark.parametrize(
        ("name", "millions"),
        [("a/Llama-2-7B", 7e3), ("a/opt-350m", 350), ("a/Mixtral-8x7B-v0.1", 56e3),
         ("a/Yi-4Bx2", 8e3), ("a/pythia-1.4b-deduped", 1400), ("x7b/no-size", None),
         ("a/balthazar-2x10.7b-v1", 21.4e3), ("a/phi-bnb-4bit", None), ("a/v0.1", None),
         ("a/Llama2-13B-chat-0.4M", 13e3), ("70B/gpt", None), ("a/gpt-YA-1-1_160M", 160)],
    )  # fmt: skip
    def test_size_in_name(self, name: str, millions: float | None) -> None:
        assert model_details.size_in_name(name) == pytest.approx(millions)

    def test_guess_agrees_with_the_original(self, shared_data: Path) -> None:
        """Where the original had only the name, it took the same sizes (but for 8 of 2,803)."""
        import pandas as pd

        table = pd.read_csv(shared_data / "open-llm-leaderboard.csv")
        guessed = table[table["nparams"].isin(["offline", "error"])]
        ours = np.array([model_details.size_in_name(n) or -1000 for n in guessed["name"]]) / 1000
        assert len(guessed) > 2500
        assert np.sum(~np.isclose(ours, guessed["size"])) <= 8

    @pytest.mark.parametrize(
        ("n", "text"),
        [(7_241_732_096, "7.24B"), (46_702_792_704, "46.7B"), (13_015_864_320, "13B"),
         (124_439_808, "124M"), (900, "900")],
    )  # fmt: skip
    def test_short_count(self, n: int, text: str) -> None:
        assert model_details.short_count(n) == text

    def test_architecture(self) -> None:
        assert model_details.architecture(b'{"architectures": ["A", "B"]}') == "A"
        assert model_details.architecture(b"{}") is None
        assert model_details.architecture(b"not json") is None


class TestModelLists:
    def test_text(self, tmp_path: Path) -> None:
        path = tmp_path / "models.txt"
        path.write_text("# head\na/b\n\n  gpt2  # old\na/b\n")
        assert read_names(path) == ["a/b", "gpt2"]

    def test_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "models.txt"
        path.write_text("# nothing\n")
        with pytest.raises(InputError, match="no model names"):
            read_names(path)
        with pytest.raises(InputError, match="no such file"):
            read_names(tmp_path / "absent.csv")

    def test_only_scored_benchmarks(self, tmp_path: Path) -> None:
        path = tmp_path / "leaderboard.csv"
        path.write_text("name,arc,gsm8k\na/b,1.0,\nc/d,,\ne/f,2,3\n")
        assert from_leaderboard(path, ("arc", "gsm8k")) == {
            "a/b": ("arc",),
            "e/f": ("arc", "gsm8k"),
        }
        assert read_names(path) == ["a/b", "c/d", "e/f"]
        with pytest.raises(InputError, match="not a leaderboard table"):
            from_leaderboard(path, ("arc", "mmlu"))
