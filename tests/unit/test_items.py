"""Item files: built from stand-ins of the source data sets, checked, selected."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.items import ids_of, write_stand_ins

from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.errors import DownloadError, InputError, LogError, MissingDependencyError
from metabench_py.harness.build import build_items, build_rows, item_schema, write_items
from metabench_py.harness.check import check_bundle, check_files, check_logs
from metabench_py.harness.itemfiles import item_files, item_ids, read_items
from metabench_py.harness.select import select_items
from metabench_py.harness.sources import FolderSources, HubSources, leaderboard_draws
from metabench_py.harness.variants import N_ITEMS, Variant
from metabench_py.logs import find_model

# Published rows that differ from the leaderboard's draw: of two equal training texts the
# publishers found the other one (the index differs, the text does not), and in HellaSwag one that
# begins alike.
TWINS = {"arc": {558, 1122}, "winogrande": {469}}


def test_draws_repeat_the_leaderboard() -> None:
    # GSM8K's item 1169 is the test split's second question, and these are its examples.
    draw = leaderboard_draws(1319, 7473, 5)[1168]
    assert draw.row == 1
    assert draw.examples == (6851, 5067, 2916, 1277, 6381)
    assert {d.row for d in leaderboard_draws(50, 10, 2)} == set(range(50))
    assert leaderboard_draws(3, 0, 0)[0].examples == ()


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_published_files_are_built_again(
    shared_data: Path, tmp_path: Path, benchmark: Benchmark
) -> None:
    """From the rows at the places where the leaderboard's draws put them, and only from these."""
    files = [shared_data / "items" / v / f"{benchmark}.parquet" for v in "AB"]
    write_stand_ins(files, benchmark, tmp_path)
    for path in files:
        rows = build_rows(benchmark, item_ids(path, benchmark), FolderSources(tmp_path))
        write_items(tmp_path / path.name, benchmark, rows)
        made, published = pq.read_table(tmp_path / path.name), pq.read_table(path)
        assert made.schema.equals(published.schema.remove_metadata())
        here = {_key(row): row for row in made.to_pylist()}
        assert len(here) == published.num_rows
        for row in published.to_pylist():
            mine = here[_key(row)]
            for name in row:
                if name == "__index_level_0__" or (
                    "_idx_shot_" in name and row["metabench_idx"] in TWINS.get(benchmark, ())
                ):
                    continue
                if benchmark in ("hellaswag", "winogrande") and name.startswith("all"):
                    # The publishers kept the prompt that was run, which had other spaces, and in
                    # HellaSwag the example that begins alike.
                    continue
                if benchmark == "hellaswag" and "_shot_" in name:
                    continue
                assert mine[name] == row[name], (row["metabench_idx"], name)


def _key(row: dict[str, object]) -> object:
    return row.get("mb_sub_idx", row["metabench_idx"])


def test_build_makes_a_folder(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "items" / "B"
    for benchmark in BENCHMARKS:
        write_stand_ins([source / f"{benchmark}.parquet"], benchmark, tmp_path / "sources")
    wanted = ids_of(source, 4)
    told: list[str] = []
    build_items(
        wanted,
        FolderSources(tmp_path / "sources"),
        tmp_path / "out",
        progress=lambda what, number, total: told.append(f"{what} {number}/{total}"),
    )
    assert told[-1] == "WinoGrande 6/6"
    found = item_files(tmp_path / "out", "B")
    assert {b: sorted(item_ids(found[b], b)) for b in BENCHMARKS} == {
        b: sorted(wanted[b]) for b in BENCHMARKS
    }


@pytest.mark.parametrize(
    ("benchmark", "item", "message"),
    [
        ("arc", "0", "'0' is no ARC item: numbers go from 1 to 6"),
        ("arc", "7", "numbers go from 1 to 6"),
        ("arc", "anatomy.1", "is no ARC item"),
        ("mmlu", "astrology.1", "there is no subject 'astrology'"),
        ("mmlu", "anatomy.3", "numbers go from 1 to 2"),
    ],
)
def test_ids_that_no_source_has(
    tmp_path: Path, benchmark: Benchmark, item: str, message: str
) -> None:
    rows = [{"question": "?", "subject": "anatomy", "choices": None, "answer": None}] * 2
    rows = rows if benchmark == "mmlu" else [{"question": "?"}] * 6
    pool = rows if benchmark == "mmlu" else [{"question": "?"}] * 30
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{benchmark}-items.parquet")
    pq.write_table(pa.Table.from_pylist(pool), tmp_path / f"{benchmark}-examples.parquet")
    with pytest.raises(InputError, match=message):
        build_rows(benchmark, [item], FolderSources(tmp_path))


def test_sources_that_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"arc-examples\.parquet is absent.*train of allenai"):
        build_rows("arc", ["1"], FolderSources(tmp_path))
    (tmp_path / "arc-examples.parquet").write_text("no")
    with pytest.raises(InputError, match="no readable Parquet file"):
        build_rows("arc", ["1"], FolderSources(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"metabench-py\[hub\]"):
        HubSources().rows("arc", "items")


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to do, whatever the library raised."""

    class Library:
        @staticmethod
        def load_dataset(path: str, config: str, split: str) -> None:
            raise ConnectionError(f"Couldn't reach\n{path} {config} {split}")

    monkeypatch.setitem(sys.modules, "datasets", Library)  # type: ignore[arg-type]
    with pytest.raises(DownloadError, match=r"openai/gsm8k \(main\).*--sources DIR") as caught:
        HubSources().rows("gsm8k", "examples")
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Item files of three items each, without texts."""
    for benchmark in BENCHMARKS:
        rows = []
        for number in (5, 3, 9):
            row = {"metabench_idx": number}
            if benchmark == "mmlu":
                row |= {"subject": "anatomy"}
            rows.append(row)
        table = pa.Table.from_pylist(rows, schema=item_schema(benchmark))
        pq.write_table(table, tmp_path / f"{benchmark}.parquet")
    return tmp_path


def test_folders_of_files(folder: Path) -> None:
    assert item_ids(item_files(folder, "A")["mmlu"], "mmlu") == [
        "anatomy.5", "anatomy.3", "anatomy.9",
    ]  # fmt: skip
    (folder / "B").mkdir()
    with pytest.raises(InputError, match=r"B lacks arc\.parquet, .*items build"):
        item_files(folder, "B")
    (folder / "B").rmdir()
    (folder / "arc.parquet").unlink()
    with pytest.raises(InputError, match=r"lacks arc\.parquet;"):
        item_files(folder, "B")


def test_files_that_hold_something_else(folder: Path) -> None:
    (folder / "gsm8k.parquet").write_bytes((folder / "arc.parquet").read_bytes())
    with pytest.raises(InputError, match="no column 'answer'; it does not hold GSM8K items"):
        read_items(folder / "gsm8k.parquet", "gsm8k")
    twice = pa.Table.from_pylist([{"metabench_idx": 4}] * 2)
    pq.write_table(twice, folder / "arc.parquet")
    with pytest.raises(InputError, match="row 2: the item '4' occurs a second time"):
        item_ids(folder / "arc.parquet", "arc")


def test_check_against_a_bundle(folder: Path) -> None:
    files = item_files(folder, "B")
    assert all(check.ok for check in check_files(files))
    items = {b: ["3", "5", "9"] for b in BENCHMARKS} | {
        "mmlu": ["anatomy.3", "anatomy.5", "anatomy.9"],
        "arc": ["3", "5", "11"],
    }
    checks = list(check_bundle(files, items))
    assert [check.ok for check in checks] == [False, True, True, True, True, True]
    assert checks[0].detail == (
        "1 of the bundle's items are absent (11); 1 items are not the bundle's (9)"
    )


def test_check_against_logs_by_items(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lm-eval is not installed, items and order are all that can be compared."""

    def absent(*_arguments: object) -> None:
        raise MissingDependencyError("lm-eval is not installed")

    monkeypatch.setattr("metabench_py.harness.check.find_lm_eval", absent)
    logs = tmp_path / "m"
    logs.mkdir()
    name = "samples_metabench_{}_2025-01-01T00-00-00.0.jsonl"
    row = '{{"doc": {{"metabench_idx": {}}}}}\n'
    (logs / name.format("arc_secondary")).write_text("".join(map(row.format, (5, 3, 9))))
    (logs / name.format("gsm8k_secondary")).write_text("".join(map(row.format, (5, 5, 9, 3))))
    (logs / name.format("hellaswag_secondary")).write_text("".join(map(row.format, (5, 3, 8))))
    found = find_model("m", tmp_path)
    checks = list(check_logs(item_files(folder, "B"), Variant("B", False), found))
    assert [(check.what[:4], check.ok) for check in checks[:4]] == [
        ("docu", None), ("ARC ", True), ("GSM8", False), ("Hell", False),
    ]  # fmt: skip
    assert checks[2].detail == "the order differs"
    assert checks[3].detail == "2 items differ (8, 9)"
    assert [check.ok for check in checks[4:]] == [None] * 3
    (logs / name.format("arc_secondary")).write_text('{"doc": 4}\n')
    with pytest.raises(LogError, match="line 1: no row"):
        list(check_logs(item_files(folder, "B"), Variant("B", False), found))


def test_select_takes_items_from_many_files(shared_data: Path, tmp_path: Path) -> None:
    items = shared_data / "items"
    wanted = {b: [*ids_of(items / "B", 2)[b], *ids_of(items / "A", 2)[b]] for b in BENCHMARKS}
    made = select_items(items, wanted, tmp_path)
    for benchmark in BENCHMARKS:
        assert item_ids(made[benchmark], benchmark) == wanted[benchmark]
    with pytest.raises(InputError, match=r"lacks 1 of 1 ARC items \(9999\)"):
        select_items(items, {"arc": ["9999"]}, tmp_path / "no")


def test_sizes_are_the_published_ones(shared_data: Path) -> None:
    for version, sizes in N_ITEMS.items():
        found = item_files(shared_data / "items", version)
        assert {b: len(item_ids(found[b], b)) for b in BENCHMARKS} == sizes
    assert [sum(N_ITEMS[v].values()) for v in N_ITEMS] == [858, 751]
