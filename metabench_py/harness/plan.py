"""What one run is: a variant, settings, which items, and where its logs belong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import Benchmark
from metabench_py.harness.installed import Installed
from metabench_py.harness.itemfiles import item_ids
from metabench_py.harness.part import Chosen, limited
from metabench_py.harness.settings import Settings
from metabench_py.harness.variants import N_ITEMS, Variant
from metabench_py.logs.names import WORK_FOLDER, folder_name
from metabench_py.storage import sha256


@dataclass(frozen=True)
class Plan:
    """One variant's run.

    Attributes
    ----------
    items
        Parquet file of each benchmark's items; None: lm-eval's data set on the Hub.
    with_gsm8k
        Also run unpermuted GSM8K, which no other run has.
    chosen
        Run these items of each benchmark alone; None: all.
    output
        lm-eval's output folder, which holds one folder a model.
    """

    variant: Variant
    settings: Settings
    output: Path
    items: Mapping[Benchmark, Path] | None = None
    with_gsm8k: bool = False
    chosen: Chosen | None = None

    @property
    def tasks(self) -> dict[str, Benchmark]:
        """Tasks to run."""
        more: dict[str, Benchmark] = {self.variant.gsm8k_task: "gsm8k"} if self.with_gsm8k else {}
        return {**self.variant.tasks, **more}

    @property
    def folder(self) -> Path:
        """Where the model's logs belong."""
        return self.output / model_folder(self.settings.model)

    @property
    def work(self) -> Path:
        """Where the run is until it has ended well."""
        return self.output / WORK_FOLDER / model_folder(self.settings.model) / self.variant.name

    def expected(self) -> dict[Benchmark, int]:
        """Items that each log must have."""
        counts: dict[Benchmark, int] = {}
        for benchmark in self.tasks.values():
            if self.chosen is not None:
                n = len(self.chosen[benchmark])
            elif self.items is None:
                n = N_ITEMS[self.variant.version][benchmark]
            else:
                n = len(item_ids(self.items[benchmark], benchmark))
            counts[benchmark] = limited(n, self.settings.limit)
        return counts

    def fingerprint(self, installed: Installed) -> dict[str, Any]:
        """Everything that the logs depend on; an interrupted run goes on only with the same."""
        return self.fingerprint_of(installed.version)

    def fingerprint_of(self, version: str) -> dict[str, Any]:
        """Give the same for a version of lm-eval."""
        made: dict[str, Any] = {
            "settings": self.settings.to_dict(),
            "tasks": list(self.tasks),
            "items": None if self.items is None else {b: sha256(p) for b, p in self.items.items()},
            "lm_eval": version,
        }
        if self.chosen is not None:
            made["chosen"] = {b: list(self.chosen[b]) for b in self.tasks.values()}
        return made


def model_folder(model: str) -> str:
    """Name of the folder of a model's logs: lm-eval's, but never a hidden one."""
    while model.startswith("./"):
        model = model[2:]
    return folder_name(model.rstrip("/")).lstrip(".") or "model"
