"""Where the Open LLM Leaderboard keeps each model's answers, as frozen data.

Source: the details data sets of the leaderboard's first version (2023-24), one a model, made by
lm-evaluation-harness; names as they are on the Hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from metabench_py.benchmarks import BENCHMARKS, Benchmark

# The organisation was renamed when the leaderboard's second version came; both names occur.
DETAILS_ORGANISATIONS = ("open-llm-leaderboard-old", "open-llm-leaderboard")
RESULTS_REPOSITORIES = ("open-llm-leaderboard-old/results", "open-llm-leaderboard/results")

SUBJECTS: tuple[str, ...] = (
    "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge",
    "college_biology", "college_chemistry", "college_computer_science", "college_mathematics",
    "college_medicine", "college_physics", "computer_security", "conceptual_physics",
    "econometrics", "electrical_engineering", "elementary_mathematics", "formal_logic",
    "global_facts", "high_school_biology", "high_school_chemistry",
    "high_school_computer_science", "high_school_european_history", "high_school_geography",
    "high_school_government_and_politics", "high_school_macroeconomics",
    "high_school_mathematics", "high_school_microeconomics", "high_school_physics",
    "high_school_psychology", "high_school_statistics", "high_school_us_history",
    "high_school_world_history", "human_aging", "human_sexuality", "international_law",
    "jurisprudence", "logical_fallacies", "machine_learning", "management", "marketing",
    "medical_genetics", "miscellaneous", "moral_disputes", "moral_scenarios", "nutrition",
    "philosophy", "prehistory", "professional_accounting", "professional_law",
    "professional_medicine", "professional_psychology", "public_relations", "security_studies",
    "sociology", "us_foreign_policy", "virology", "world_religions",
)  # fmt: skip

# Items of each benchmark's test (TruthfulQA, HellaSwag, WinoGrande: validation) split.
FULL_SIZE: dict[Benchmark, int] = {
    "arc": 1172,
    "gsm8k": 1319,
    "hellaswag": 10042,
    "mmlu": 14042,
    "truthfulqa": 817,
    "winogrande": 1267,
}

# Per-item metric; the leaderboard's own TruthfulQA score is mc2, which is no 0/1 answer.
ITEM_METRIC: dict[Benchmark, str] = {
    "arc": "acc_norm",
    "gsm8k": "acc",
    "hellaswag": "acc_norm",
    "mmlu": "acc",
    "truthfulqa": "mc1",
    "winogrande": "acc",
}

_TASKS: dict[Benchmark, str] = {
    "arc": "harness|arc:challenge|25",
    "gsm8k": "harness|gsm8k|5",
    "hellaswag": "harness|hellaswag|10",
    "truthfulqa": "harness|truthfulqa:mc|0",
    "winogrande": "harness|winogrande|5",
}
_NOT_WORD = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True)
class Part:
    """One file's worth of a benchmark: all of it, or one MMLU subject.

    Attributes
    ----------
    config
        Name in the card (``harness_arc_challenge_25``); the key everywhere in this room.
    task
        Name in the files (``harness|arc:challenge|25``).
    subject
        Of MMLU; else empty.
    """

    benchmark: Benchmark
    config: str
    task: str
    subject: str = ""

    @property
    def metric(self) -> str:
        """Column that holds the answers."""
        return ITEM_METRIC[self.benchmark]

    def item(self, row: int) -> str:
        """Id of the item in this row, which counts from 0; items count from 1."""
        return f"{self.subject}.{row + 1}" if self.subject else str(row + 1)


def config_name(task: str) -> str:
    """Config that the card gives a task: every character but letters and digits is ``_``."""
    return _NOT_WORD.sub("_", task)


def _parts() -> dict[Benchmark, tuple[Part, ...]]:
    parts: dict[Benchmark, tuple[Part, ...]] = {}
    for benchmark in BENCHMARKS:
        if benchmark == "mmlu":
            tasks = [(f"harness|hendrycksTest-{subject}|5", subject) for subject in SUBJECTS]
        else:
            tasks = [(_TASKS[benchmark], "")]
        parts[benchmark] = tuple(
            Part(benchmark, config_name(task), task, subject) for task, subject in tasks
        )
    return parts


PARTS: dict[Benchmark, tuple[Part, ...]] = _parts()
PART_OF_CONFIG: dict[str, Part] = {p.config: p for parts in PARTS.values() for p in parts}


def details_repository(model: str, organisation: str) -> str:
    """Name the data set with a model's details: ``<org>/details_<user>__<model>``."""
    return f"{organisation}/details_{model.replace('/', '__')}"
