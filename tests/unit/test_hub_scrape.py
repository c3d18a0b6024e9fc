"""What a run records, leaves out and does again; against the stand-in of the Hub."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.hub_content import Faults, Hub
from helpers.hub_files import (
    ORG,
    SUBJECTS,
    Spec,
    Truth,
    config_of,
    details_bytes,
    details_data_set,
    details_repo,
    generate,
    task_of,
)
from helpers.hub_server import serve

from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.errors import DownloadError, InputError, StorageError
from metabench_py.hub.ledger import Ledger, ModelRow, PartRow, open_ledger
from metabench_py.hub.pool import Silent, run_bounded
from metabench_py.hub.retry import RetryRule
from metabench_py.hub.scrape import Tally, plan, scrape_responses
from metabench_py.hub.status import summarise
from metabench_py.hub.transport import HubClient
from metabench_py.responses import ResponseMatrix

SPEC = Spec(n_models=4, n_items=5)
ARC = config_of(task_of("arc"))


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def world() -> Iterator[tuple[Hub, Truth]]:
    hub, truth = generate(SPEC)
    with serve(hub):
        yield hub, truth


@pytest.fixture
def hub(world: tuple[Hub, Truth]) -> Hub:
    return world[0]


@pytest.fixture
def truth(world: tuple[Hub, Truth]) -> Truth:
    return world[1]


def scrape(
    hub: Hub,
    models: list[str],
    folder: Path,
    benchmarks: tuple[Benchmark, ...] = BENCHMARKS,
    **options: object,
) -> Tally:
    recheck = bool(options.pop("recheck", False))
    rule = RetryRule(attempts=4, pause=0.01, timeout=2.0)
    with open_ledger(folder / "ledger.sqlite") as ledger:
        todo = plan(ledger, dict.fromkeys(models, benchmarks), recheck=recheck)
        return scrape_responses(
            folder,
            ledger,
            HubClient(rule, endpoint=hub.address),
            todo,
            benchmarks=benchmarks,
            progress=Silent(),
            **options,  # type: ignore[arg-type]
        )


def status(folder: Path) -> dict[str, dict[str, str]]:
    """Error texts by model and config."""
    with open_ledger(folder / "ledger.sqlite", write=False) as ledger:
        found: dict[str, dict[str, str]] = {}
        for entry in summarise(ledger)["errors"]:
            found.setdefault(entry["model"], {})[entry["config"]] = entry["state"]
        return found


def replace_file(hub: Hub, model: str, task: str, content: bytes | None) -> None:
    repo = hub.repos[details_repo(model)]
    path = next(p for p in repo.files if task in p)
    if content is None:
        del repo.files[path]
    else:
        repo.files[path] = content
    hub._commits.clear()


def test_gated_deleted_and_hidden(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    gated, deleted, hidden, whole = truth.models
    hub.repos[details_repo(gated)].state = "gated"
    hub.repos[details_repo(deleted)].state = "deleted"
    hub.repos[details_repo(hidden)].state = "hidden"
    tally = scrape(hub, truth.models, tmp_path)
    assert tally.done == 62
    assert tally.by_state == {"gated": 62, "absent": 124}
    assert status(tmp_path) == {
        gated: {"": "gated"}, deleted: {"": "absent"}, hidden: {"": "absent"},
    }  # fmt: skip
    for benchmark in BENCHMARKS:
        assert ResponseMatrix.load(tmp_path / f"{benchmark}.parquet").llms == (whole,)
    # The gated model's 62 files were not all asked for.
    refusals = sum(details_repo(gated) in path for _, path in hub.requests)
    assert refusals < 30
    # Final is final: nothing is asked for again,
    hub.requests.clear()
    again = scrape(hub, truth.models, tmp_path)
    assert (again.done, again.failed, hub.requests) == (0, 0, [])
    # but when the user wants to know.
    for model in (gated, deleted, hidden):
        hub.repos[details_repo(model)].state = "open"
    assert scrape(hub, truth.models, tmp_path, recheck=True).done == 3 * 62
    assert status(tmp_path) == {}


def test_earlier_organisation(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    model = truth.models[0]
    hub.repos[details_repo(model, "open-llm-leaderboard")] = hub.repos.pop(details_repo(model))
    assert scrape(hub, [model], tmp_path, ("arc",)).done == 1
    assert scrape(hub, [model], tmp_path / "x", ("arc",), organisations=(ORG,)).by_state == {
        "absent": 1
    }


def test_unusable_file_and_missing_config(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    bad, lacking = truth.models[:2]
    odd = details_bytes(np.array([0.5, 1, 0, 1, 1]), list("abcde"), "acc_norm", 3)
    replace_file(hub, bad, task_of("arc"), odd)
    replace_file(hub, lacking, task_of("mmlu", "virology"), None)
    tally = scrape(hub, truth.models, tmp_path)
    assert tally.by_state == {"invalid": 1, "absent": 1}
    assert status(tmp_path) == {
        bad: {ARC: "invalid"},
        lacking: {config_of(task_of("mmlu", "virology")): "absent"},
    }
    arc = ResponseMatrix.load(tmp_path / "arc.parquet")
    assert set(arc.llms) == set(truth.models) - {bad}
    mmlu = ResponseMatrix.load(tmp_path / "mmlu.parquet")
    assert set(mmlu.llms) == set(truth.models) - {lacking}
    assert next(m for m in tally.matrices if m.benchmark == "mmlu").n_partial == 1
    # No half row unless asked for; then its gap is missing, not wrong.
    scrape(hub, truth.models, tmp_path, partial=True)
    mmlu = ResponseMatrix.load(tmp_path / "mmlu.parquet")
    row = mmlu.rows([lacking]).values[0]
    gap = [item.startswith("virology.") for item in mmlu.items]
    assert (row[gap] == -1).all()
    assert (row[~np.array(gap)] >= 0).all()


def test_another_number_of_items(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    odd = truth.models[2]
    short = details_bytes(np.ones(3), list("abc"), "acc_norm", 2)
    replace_file(hub, odd, task_of("arc"), short)
    (matrix,) = scrape(hub, truth.models, tmp_path, ("arc",)).matrices
    assert matrix.odd == (odd,)
    assert (matrix.n_llms, matrix.n_items) == (3, 5)
    assert any("left out" in note for note in matrix.notes())
    assert any("the whole benchmark has 1172" in note for note in matrix.notes())


def test_what_was_chosen_is_noted(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    # The fourth model's card has no configs.
    model = truth.models[3]
    assert scrape(hub, [model], tmp_path, ("arc",)).noted == 1
    with open_ledger(tmp_path / "ledger.sqlite", write=False) as ledger:
        (note,) = summarise(ledger)["notes"]
    assert (note["model"], note["config"]) == (model, ARC)
    assert "by file name" in note["text"]


def test_all_files_of_a_model_are_from_one_commit(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    model = truth.models[0]
    scrape(hub, [model], tmp_path, ("arc",))
    first = revisions(tmp_path)
    # The data set is rewritten: its old commit is gone, as after a forced push.
    later = Truth()
    hub.repos[details_repo(model)] = details_data_set(model, Spec(n_items=5, seed=99), 2, later)
    hub._commits.clear()
    scrape(hub, [model], tmp_path, ("arc", "gsm8k", "winogrande"))
    assert revisions(tmp_path) == {hub.repos[details_repo(model)].commit} != first
    matrix = ResponseMatrix.load(tmp_path / "gsm8k.parquet")
    assert dict(zip(matrix.items, matrix.values[0], strict=True)) == later.answers["gsm8k"][model]
    arc = ResponseMatrix.load(tmp_path / "arc.parquet")
    assert dict(zip(arc.items, arc.values[0], strict=True)) == later.answers["arc"][model]


def revisions(folder: Path) -> set[str]:
    with open_ledger(folder / "ledger.sqlite", write=False) as ledger:
        configs = [config_of(task_of(b)) for b in ("arc", "gsm8k", "winogrande")]
        return {row.revision for row in ledger.parts(configs)}


def test_network_that_goes_away(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    """The run ends instead of failing thousands of models; what is there becomes a matrix."""
    scrape(hub, truth.models[:2], tmp_path, ("arc",))
    hub.faults = Faults(rate=1.0, kinds=("reset",), most_in_a_row=10**9)
    models = truth.models + [f"no/Model{i}" for i in range(40)]
    (tmp_path / "arc.parquet").unlink()
    with pytest.raises(DownloadError, match=r"does not answer any more|Cannot reach"):
        scrape(hub, models, tmp_path, ("arc", "gsm8k"))
    assert set(ResponseMatrix.load(tmp_path / "arc.parquet").llms) == set(truth.models[:2])
    hub.faults = Faults()
    assert scrape(hub, truth.models, tmp_path, ("arc", "gsm8k")).done == 2 + 4
    assert status(tmp_path).keys() <= {m for m in models if m not in truth.models}


def test_failed_files_are_tried_by_the_next_run(hub: Hub, truth: Truth, tmp_path: Path) -> None:
    hub.planned = {task_of("gsm8k"): ["500"] * 4}
    tally = scrape(hub, truth.models[:1], tmp_path, ("arc", "gsm8k"))
    assert tally.by_state == {"failed": 1}
    assert status(tmp_path) == {truth.models[0]: {config_of(task_of("gsm8k")): "failed"}}
    assert scrape(hub, truth.models[:1], tmp_path, ("arc", "gsm8k")).done == 1
    assert status(tmp_path) == {}


class TestPool:
    def test_follow_ups_come_first_and_all_are_done(self) -> None:
        done: list[int] = []

        def finish(batch: list[int]) -> list[int]:
            done.extend(batch)
            return [n + 100 for n in batch if n < 300]

        run_bounded(iter(range(50)), lambda n: n, finish, 4, threading.Event())
        assert sorted(done) == sorted(n + k for n in range(50) for k in (0, 100, 200, 300))

    def test_no_more_than_so_many_at_a_time(self) -> None:
        running, most, lock = 0, 0, threading.Lock()
        barrier = threading.Event()

        def work(n: int) -> int:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            barrier.wait(0.005)
            with lock:
                running -= 1
            return n

        run_bounded(iter(range(60)), work, lambda _: [], 3, threading.Event())
        assert most == 3

    def test_an_error_keeps_what_is_done(self) -> None:
        kept: list[int] = []
        stop = threading.Event()

        def work(n: int) -> int:
            if n == 20:
                raise StorageError("full")
            return n

        with pytest.raises(StorageError, match="full"):
            run_bounded(iter(range(10**9)), work, lambda b: kept.extend(b) or [], 2, stop)
        assert stop.is_set()
        assert set(range(18)) <= set(kept)
        assert len(kept) == len(set(kept)) < 100


class TestLedger:
    def row(self, model: str, answers: list[int]) -> PartRow:
        return PartRow(model, ARC, "done", answers=np.array(answers, np.int8))

    def test_answers_come_back(self, tmp_path: Path) -> None:
        with open_ledger(tmp_path / "l.sqlite") as ledger:
            with ledger.transaction():
                ledger.put_part(self.row("a", [1, 0, -1]))
                ledger.put_part(self.row("a", [0, 0, 1]))
            ((name, answers),) = ledger.answers(ARC)
        assert (name, answers.tolist()) == ("a", [0, 0, 1])

    def test_half_a_transaction_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "l.sqlite"
        with open_ledger(path) as ledger:

            def interrupted() -> None:
                with ledger.transaction():
                    ledger.put_part(self.row("a", [1]))
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                interrupted()
            assert list(ledger.answers(ARC)) == []

    def test_forget(self, tmp_path: Path) -> None:
        with open_ledger(tmp_path / "l.sqlite") as ledger, ledger.transaction():
            for model in "ab":
                ledger.put_model(ModelRow(model, "listed", "r", "c"))
                ledger.put_part(self.row(model, [1]))
            ledger.forget("a")
            assert list(ledger.models()) == ["b"]
            assert ledger.sizes(ARC) == {"b": 1}

    def test_not_a_ledger(self, tmp_path: Path) -> None:
        path = tmp_path / "l.sqlite"
        path.write_bytes(b"something else " * 100)
        with pytest.raises(StorageError, match="not a usable ledger"), open_ledger(path):
            pass

    def test_newer_ledger(self, tmp_path: Path) -> None:
        path = tmp_path / "l.sqlite"
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
        with pytest.raises(InputError, match="newer version"), open_ledger(path):
            pass

    def test_one_writer(self, tmp_path: Path) -> None:
        path = tmp_path / "l.sqlite"
        with open_ledger(path):
            with pytest.raises(InputError, match="another run"), open_ledger(path):
                pass
            with open_ledger(path, write=False) as reader:
                assert isinstance(reader, Ledger)


def test_generated_names_cover_all_subjects(truth: Truth) -> None:
    items = truth.answers["mmlu"][truth.models[0]]
    assert {item.split(".")[0] for item in items} == set(SUBJECTS)
