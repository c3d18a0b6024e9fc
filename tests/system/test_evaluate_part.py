"""`evaluate` with a bundle of a part of the items: these alone are run, as in a whole run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers.items import ids_of, item_bundle

from metabench_py.benchmarks import BENCHMARKS, SCORED_METRIC
from metabench_py.bundle import Bundle
from metabench_py.harness import Variant

pytestmark = pytest.mark.usefixtures("needs_harness")

FAKES = Path(__file__).resolve().parent.parent / "helpers" / "fake_lm.py"
VARIANTS = (Variant("B", False), Variant("B", True))


def good(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metabench_py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def evaluate(bundle: Bundle, items: Path, output: Path, *more: Any) -> list[dict[str, Any]]:
    done = good(
        "evaluate", "org/hashing", "--model", "fake-hashing", "--import", FAKES, "--items", items,
        "--output", output, "--engine", "native", "--bundle", bundle.path, "--json", *more,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return found if isinstance(found, list) else [found]


def answers(folder: Path, variant: Variant) -> dict[str, dict[str, tuple[float, str]]]:
    """By task and item: the answer, and the hash of the document asked about."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    for task, benchmark in variant.tasks.items():
        (path,) = folder.glob(f"samples_{task}_2*.jsonl")
        found[task] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            item = f"{row['doc'].get('subject')}.{row['doc']['metabench_idx']}"
            found[task].setdefault(item, (row[SCORED_METRIC[benchmark]], row["doc_hash"]))
    return found


@pytest.fixture(scope="module")
def items(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen items of each benchmark."""
    folder = tmp_path_factory.mktemp("items") / "B"
    folder.mkdir()
    for benchmark in BENCHMARKS:
        table = pq.read_table(shared_data / "items" / "B" / f"{benchmark}.parquet")
        pq.write_table(table.slice(0, 12), folder / f"{benchmark}.parquet")
    return folder.parent


def test_a_part_of_a_whole_run(items: Path, tmp_path: Path) -> None:
    every = ids_of(items / "B")
    # Every other one, the last first.
    some = {b: ids[::-2] for b, ids in every.items()}
    whole = item_bundle(tmp_path / "whole", every)
    part = item_bundle(tmp_path / "part", some)
    evaluate(whole, items, tmp_path / "all", "--also", "permuted")
    results = evaluate(part, items, tmp_path / "few", "--also", "permuted")
    for variant, result in zip(VARIANTS, results, strict=True):
        assert "other-items" not in {flag["flag"] for flag in result["flags"]}
        few = answers(tmp_path / "few" / "org__hashing", variant)
        full = answers(tmp_path / "all" / "org__hashing", variant)
        for task, given in few.items():
            assert len(given) == 6
            assert given == {item: full[task][item] for item in given}
        # The whole run's logs give the part's scores, too.
        asked = ["reconstruct", "org__hashing", "B", "T" if variant.permuted else "F"]
        more = ["--results", tmp_path / "all", "--bundle", part.path, "--engine", "native"]
        again = json.loads(good(*asked, *more, "--json").stdout)
        assert again["scores"] == result["scores"]
        told = {flag["flag"]: flag["detail"] for flag in again["flags"]}
        assert told["other-items"].startswith("36 items of the logs")


def test_a_part_with_a_limit(items: Path, tmp_path: Path) -> None:
    part = item_bundle(tmp_path / "part", {b: ids[::-2] for b, ids in ids_of(items / "B").items()})
    (result,) = evaluate(part, items, tmp_path / "few", "--limit", 2)
    assert {one["n_answered"] for one in result["abilities"].values()} == {2}
    assert "limited-run" in {flag["flag"] for flag in result["flags"]}
