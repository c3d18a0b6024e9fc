"""The six benchmarks and the two versions, as frozen data.

Source: Kipnis et al. (2025), metabench, ICLR; the IRT choices are those of the released
reconstruction script, the task names those of lm-evaluation-harness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Benchmark = Literal["arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande"]
Target = Literal["grand", "arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande"]
Version = Literal["A", "B"]
ItemType = Literal["2PL", "3PL", "4PL"]
ScoreMethod = Literal["MAP", "EAP", "EAPsum", "ML", "WLE"]
EngineName = Literal["auto", "mirt", "native"]
FitMode = Literal["mirt-path", "converged"]

BENCHMARKS: tuple[Benchmark, ...] = get_args(Benchmark)
TARGETS: tuple[Target, ...] = get_args(Target)
VERSIONS: tuple[Version, ...] = get_args(Version)
ITEM_TYPES: tuple[ItemType, ...] = get_args(ItemType)
SCORE_METHODS: tuple[ScoreMethod, ...] = get_args(ScoreMethod)

TITLES: dict[str, str] = {
    "grand": "Grand score",
    "arc": "ARC",
    "gsm8k": "GSM8K",
    "hellaswag": "HellaSwag",
    "mmlu": "MMLU",
    "truthfulqa": "TruthfulQA",
    "winogrande": "WinoGrande",
}


@dataclass(frozen=True)
class Reduction:
    """How the original reduced one benchmark in one version.

    Attributes
    ----------
    item_type, score_method
        The IRT model and the ability estimate of the released reconstruction.
    penalty
        Lambda of the item selection; part of the released file's name.
    """

    item_type: ItemType
    score_method: ScoreMethod
    penalty: str


REDUCTIONS: dict[Version, dict[Benchmark, Reduction]] = {
    "A": {
        "arc": Reduction("4PL", "MAP", "0.005"),
        "gsm8k": Reduction("2PL", "EAPsum", "0.005"),
        "hellaswag": Reduction("3PL", "MAP", "0.005"),
        "mmlu": Reduction("3PL", "MAP", "0.001"),
        "truthfulqa": Reduction("3PL", "MAP", "0.001"),
        "winogrande": Reduction("3PL", "MAP", "0.001"),
    },
    "B": {
        "arc": Reduction("2PL", "MAP", "0.005"),
        "gsm8k": Reduction("2PL", "EAPsum", "0.001"),
        "hellaswag": Reduction("3PL", "MAP", "0.01"),
        "mmlu": Reduction("3PL", "MAP", "0.01"),
        "truthfulqa": Reduction("2PL", "EAPsum", "0.01"),
        "winogrande": Reduction("4PL", "MAP", "0.005"),
    },
}

# The metric that the calibration LLMs were scored by (the leaderboard's), and the one that
# the original reconstruction script reads from the logs.
SCORED_METRIC: dict[Benchmark, str] = {
    "arc": "acc_norm",
    "gsm8k": "exact_match",
    "hellaswag": "acc_norm",
    "mmlu": "acc",
    "truthfulqa": "acc",
    "winogrande": "acc",
}
UPSTREAM_METRIC: dict[Benchmark, str] = {
    b: "exact_match" if b == "gsm8k" else "acc" for b in BENCHMARKS
}


def task_name(benchmark: Benchmark, version: Version, permuted: bool) -> str:
    """Name of the lm-evaluation-harness task (GSM8K has no permuted one)."""
    name = f"metabench_{benchmark}"
    if version == "B":
        name += "_secondary"
    if permuted and benchmark != "gsm8k":
        name += "_permute"
    return name
