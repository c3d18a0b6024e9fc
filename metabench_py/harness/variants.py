"""The four variants of metabench, as lm-eval's task groups."""

from __future__ import annotations

from dataclasses import dataclass

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Version, task_name

# Items of lm-eval's data set (HCAI/metabench on the Hub), splits primary and secondary.
N_ITEMS: dict[Version, dict[Benchmark, int]] = {
    "A": {
        "arc": 145, "gsm8k": 237, "hellaswag": 93, "mmlu": 96, "truthfulqa": 154, "winogrande": 133,
    },
    "B": {
        "arc": 100, "gsm8k": 249, "hellaswag": 58, "mmlu": 102, "truthfulqa": 136,
        "winogrande": 106,
    },
}  # fmt: skip
SPLITS: dict[Version, str] = {"A": "primary", "B": "secondary"}


@dataclass(frozen=True)
class Variant:
    """One of lm-eval's metabench groups.

    Attributes
    ----------
    version
        Whose items; a user's own bundle runs under the task names of A.
    permuted
        With the answer options shuffled; GSM8K, which has none, is no part of the group then.
    """

    version: Version
    permuted: bool

    @property
    def name(self) -> str:
        """Short name, for folders and messages."""
        return f"{self.version}-permuted" if self.permuted else self.version

    @property
    def group(self) -> str:
        """lm-eval's name of the task group."""
        secondary = "_secondary" if self.version == "B" else ""
        return f"metabench{secondary}{'_permute' if self.permuted else ''}"

    @property
    def tasks(self) -> dict[str, Benchmark]:
        """The group's tasks, in its order."""
        return {
            task_name(b, self.version, self.permuted): b
            for b in BENCHMARKS
            if not (self.permuted and b == "gsm8k")
        }

    @property
    def gsm8k_task(self) -> str:
        """The GSM8K task of this version, which a permuted run borrows."""
        return task_name("gsm8k", self.version, False)
