"""Runs lm-eval on chosen items alone, round after round, for tests that choose as they go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import InputError
from metabench_py.harness.child import check_saved, run_lm_eval
from metabench_py.harness.documents import made_documents
from metabench_py.harness.installed import find_lm_eval
from metabench_py.harness.itemfiles import item_ids
from metabench_py.harness.plan import Plan
from metabench_py.harness.taskfiles import write_task_files
from metabench_py.harness.verify import verify_logs
from metabench_py.logs.names import LogName
from metabench_py.logs.reader import read_log

Answers = dict[Benchmark, dict[str, int]]


class ChosenItems:
    """Asks a model items by their ids; each call is a run of lm-eval.

    Parameters
    ----------
    plan
        Model, items and places; its private folder holds the rounds, and the responses, so that
        an item asked before an interruption is not asked again.
    metrics
        Which metric of the logs is an answer, by benchmark.

    Raises
    ------
    MissingDependencyError
        lm-eval, or what the backend needs, is absent.
    InputError
        The plan is of permuted options or of a part of the items.
    """

    def __init__(self, plan: Plan, metrics: Mapping[Benchmark, str]) -> None:
        if plan.variant.permuted:
            raise InputError("Items are shuffled by their place in a run; choose no permuted ones.")
        if plan.settings.limit is not None:
            raise InputError("A limit and chosen items exclude each other; leave --limit out.")
        self.plan, self.metrics = plan, dict(metrics)
        self._installed = find_lm_eval(plan.settings.backend)
        self._tasks = {benchmark: task for task, benchmark in plan.tasks.items()}
        self._place: dict[Benchmark, dict[str, int]] = {}

    @property
    def version(self) -> str:
        """Version of lm-eval."""
        return self._installed.version

    def __call__(self, wanted: Mapping[Benchmark, Sequence[str]]) -> Answers:
        """Ask items of one benchmark or several.

        Returns
        -------
        By benchmark and item 1, 0, or -1 where the model's output was NaN.

        Raises
        ------
        InputError
            lm-eval's data set lacks an item.
        InterruptedRunError, WorkerError, LogError, StorageError
            As `metabench_py.harness.run.run_variant`.
        """
        asked = {b: list(items) for b, items in wanted.items() if items}
        samples = {self._tasks[b]: self._places(b, items) for b, items in asked.items()}
        work = self.plan.work
        shutil.rmtree(work / "output", ignore_errors=True)
        self._write_tasks()
        report = run_lm_eval(self.plan, list(samples), ["--samples", json.dumps(samples)])
        check_saved(self.plan, report)
        tasks: dict[str, Benchmark] = {self._tasks[b]: b for b in asked}
        found = verify_logs(work / "output", tasks, {b: len(i) for b, i in asked.items()})
        return {b: self._answers(found[self._tasks[b]].log, b, items) for b, items in asked.items()}

    def _answers(self, log: LogName, benchmark: Benchmark, items: list[str]) -> dict[str, int]:
        read = read_log(log.path, benchmark, self.metrics[benchmark], tuple(items))
        self._keep(log, benchmark)
        return {item: int(value) for item, value in zip(items, read.values, strict=True)}

    def _keep(self, log: LogName, benchmark: Benchmark) -> None:
        """Move a round's log away from where the next one comes."""
        folder = self.plan.work / "rounds" / benchmark
        folder.mkdir(parents=True, exist_ok=True)
        log.path.replace(folder / log.path.name)

    def _places(self, benchmark: Benchmark, items: Sequence[str]) -> list[int]:
        if not self._place:
            self._place = self._find_places()
        absent = [item for item in items if item not in self._place[benchmark]]
        if absent:
            raise InputError(
                f"{TITLES[benchmark]}: lm-eval's items lack {len(absent)} of those wanted, the "
                f"first is {absent[0]!r}. Give files of the bundle's own items with --items.",
                item=absent[0],
            )
        return [self._place[benchmark][item] for item in items]

    def _find_places(self) -> dict[Benchmark, dict[str, int]]:
        files = self.plan.items
        if files is not None:
            return {b: _numbered(item_ids(files[b], b)) for b in self._tasks}
        self._write_tasks()
        work = self.plan.work
        made = made_documents(
            work / "tasks", self._tasks.values(), work, "Offline, give the items with --items DIR."
        )
        return {b: _numbered([item for item, _ in made[t]]) for b, t in self._tasks.items()}

    def _write_tasks(self) -> None:
        self.plan.work.mkdir(parents=True, exist_ok=True)
        write_task_files(
            self.plan.work / "tasks", self._installed, self.plan.variant, self.plan.items
        )

    def finish(self, time: str) -> dict[Benchmark, Path]:
        """Join the rounds' logs to one a benchmark in the model's folder, as of one run.

        They read like any log with items missing, for instance by
        ``metabench-py reconstruct MODEL --allow-missing``.
        """
        joined: dict[Benchmark, Path] = {}
        for benchmark, task in self._tasks.items():
            parts = sorted((self.plan.work / "rounds" / benchmark).glob("samples_*.jsonl"))
            if not parts:
                continue
            target = self.plan.folder / f"samples_{task}_{time}.jsonl"
            _join(parts, target)
            joined[benchmark] = target
        shutil.rmtree(self.plan.work, ignore_errors=True)
        return joined


def _numbered(items: Sequence[str]) -> dict[str, int]:
    return {item: i for i, item in enumerate(items)}


def _join(parts: Sequence[Path], target: Path) -> None:
    from metabench_py.storage import atomic_path

    seen: set[bytes] = set()
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        for part in parts:
            for line in part.read_bytes().splitlines():
                # A round that was interrupted after its log is run again.
                if line not in seen:
                    stream.write(line + b"\n")
                    seen.add(line)
