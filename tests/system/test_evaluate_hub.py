"""`items build` and `evaluate` by the real `datasets` library, from a stand-in of the Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.hub_content import Hub, Repo
from helpers.hub_server import serve
from helpers.items import ids_of, item_bundle, write_stand_ins

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.harness.itemfiles import item_ids
from metabench_py.harness.sources import SOURCES

pytestmark = pytest.mark.usefixtures("needs_harness")

FAKES = Path(__file__).resolve().parent.parent / "helpers" / "fake_lm.py"
CONFIGS = dict(
    zip(BENCHMARKS, ("ARC", "GSM8K", "HellaSwag", "MMLU", "TruthfulQA", "Winogrande"), strict=True)
)


def repository(configs: dict[str, dict[str, bytes]]) -> Repo:
    """A data set as the Hub has it: Parquet files, and a card that says what they are."""
    files: dict[str, bytes] = {}
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, content in splits.items():
            path = f"{config}/{split}-00000-of-00001.parquet"
            files[path] = content
            lines += [f"  - split: {split}", f"    path: {path}"]
    files["README.md"] = "\n".join([*lines, "---", ""]).encode()
    return Repo(files)


@pytest.fixture(scope="module")
def hub(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("sources")
    items = shared_data / "items"
    repos: dict[str, Repo] = {}
    for benchmark, source in SOURCES.items():
        write_stand_ins([items / v / f"{benchmark}.parquet" for v in "AB"], benchmark, folder)
        splits = {source.items: (folder / f"{benchmark}-items.parquet").read_bytes()}
        if source.examples is not None:
            splits[source.examples] = (folder / f"{benchmark}-examples.parquet").read_bytes()
        repos[source.path] = repository({source.config: splits})
    repos["HCAI/metabench"] = repository(
        {
            config: {
                split: (items / v / f"{benchmark}.parquet").read_bytes()
                for split, v in (("primary", "A"), ("secondary", "B"))
            }
            for benchmark, config in CONFIGS.items()
        }
    )
    with serve(Hub(repos)) as served:
        yield served


def run(hub: Hub, home: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(home)}
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-m", "metabench_py", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_items_are_built_from_the_hub(hub: Hub, shared_data: Path, tmp_path: Path) -> None:
    wanted = ids_of(shared_data / "items" / "B", 3)
    bundle = item_bundle(tmp_path / "bundle", wanted, version="mine")
    done = run(hub, tmp_path / "home", "items", "build", bundle.path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr[-3000:]
    for benchmark in BENCHMARKS:
        made = item_ids(tmp_path / "out" / f"{benchmark}.parquet", benchmark)
        assert sorted(made) == sorted(wanted[benchmark])
    assert hub.count("cais/mmlu") > 0
    # And they run.
    done = run(
        hub, tmp_path / "home", "evaluate", "org/hashing", "--model", "fake-hashing", "--import",
        FAKES, "--items", tmp_path / "out", "--output", tmp_path / "results", "--bundle",
        bundle.path, "--engine", "native", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert {a["n_answered"] for a in json.loads(done.stdout)["abilities"].values()} == {3}


def test_the_published_data_set_is_the_default(hub: Hub, shared_data: Path, tmp_path: Path) -> None:
    bundle = item_bundle(tmp_path / "bundle", ids_of(shared_data / "items" / "B"))
    done = run(
        hub, tmp_path / "home", "evaluate", "org/perfect", "--model", "fake-perfect", "--import",
        FAKES, "--output", tmp_path, "--bundle", bundle.path, "--engine", "native", "--json",
        "--permute", "--metric", "acc",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    value = json.loads(done.stdout)
    assert {b: a["n_correct"] for b, a in value["abilities"].items()} == {
        b: a["n_items"] for b, a in value["abilities"].items()
    }
    assert sum(a["n_items"] for a in value["abilities"].values()) == 751
    assert hub.count("HCAI/metabench") > 0


def test_an_adaptive_run_asks_items_of_the_published_data_set(
    hub: Hub, shared_data: Path, tmp_path: Path
) -> None:
    before = hub.count("HCAI/metabench")
    bundle = item_bundle(tmp_path / "bundle", ids_of(shared_data / "items" / "B"))
    done = run(
        hub, tmp_path / "home", "adapt", "run", "org/perfect", "--model", "fake-perfect",
        "--import", FAKES, "--output", tmp_path / "out", "--bundle", bundle.path,
        "--benchmark", "winogrande", "--max-items", 8, "--batch", 4, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one = json.loads(done.stdout)["benchmarks"]["winogrande"]
    assert one["n_correct"] == one["n_items"] == 8
    assert hub.count("HCAI/metabench") > before


def test_a_hub_that_lacks_the_data_set(shared_data: Path, tmp_path: Path) -> None:
    bundle = item_bundle(tmp_path / "bundle", ids_of(shared_data / "items" / "B", 1))
    with serve(Hub()) as empty:
        done = run(
            empty, tmp_path / "home", "items", "build", bundle.path, "--out", tmp_path / "out"
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: The data set allenai/ai2_arc (ARC-Challenge) cannot be loaded")
    assert not (tmp_path / "out").exists()
