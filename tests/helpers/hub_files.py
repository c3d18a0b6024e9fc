"""Generates what the Hub holds: details data sets, leaderboard results, and the truth of both."""

from __future__ import annotations

import functools
import io
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from helpers.hub_content import Hub, Repo

ORG = "open-llm-leaderboard-old"
RESULTS = f"{ORG}/results"
# Written out once more, so that a wrong name in the package shows.
TASKS = {
    "arc": "harness|arc:challenge|25",
    "gsm8k": "harness|gsm8k|5",
    "hellaswag": "harness|hellaswag|10",
    "truthfulqa": "harness|truthfulqa:mc|0",
    "winogrande": "harness|winogrande|5",
}
METRICS = {"arc": "acc_norm", "hellaswag": "acc_norm", "truthfulqa": "mc1"}
SUBJECTS = (
    "abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology "
    "college_chemistry college_computer_science college_mathematics college_medicine "
    "college_physics computer_security conceptual_physics econometrics electrical_engineering "
    "elementary_mathematics formal_logic global_facts high_school_biology high_school_chemistry "
    "high_school_computer_science high_school_european_history high_school_geography "
    "high_school_government_and_politics high_school_macroeconomics high_school_mathematics "
    "high_school_microeconomics high_school_physics high_school_psychology "
    "high_school_statistics high_school_us_history high_school_world_history human_aging "
    "human_sexuality international_law jurisprudence logical_fallacies machine_learning "
    "management marketing medical_genetics miscellaneous moral_disputes moral_scenarios nutrition "
    "philosophy prehistory professional_accounting professional_law professional_medicine "
    "professional_psychology public_relations security_studies sociology us_foreign_policy "
    "virology world_religions"
).split()
DATE = "2023-10-16T{hour:02d}-48-55.123456"


@dataclass(frozen=True)
class Spec:
    """Size of a generated hub.

    Attributes
    ----------
    n_items
        Items of each benchmark but MMLU, where they are of each subject.
    subjects
        How many of the 57.
    prompt
        Characters of a prompt.
    """

    n_models: int = 6
    n_items: int = 9
    subjects: int = 57
    prompt: int = 60
    seed: int = 0
    org: str = ORG


@dataclass
class Truth:
    """What must come out: benchmark -> model -> item -> answer."""

    answers: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    prompts: dict[str, dict[str, str]] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)


def model_names(n: int) -> list[str]:
    """Names like the Hub's; every tenth has no organisation."""
    return [f"gpt{i}" if i % 10 == 4 else f"Org-{i % 7}/Model.{i}-7B_x" for i in range(n)]


def details_repo(model: str, org: str = ORG) -> str:
    return f"{org}/details_{model.replace('/', '__')}"


def task_of(benchmark: str, subject: str | None = None) -> str:
    return f"harness|hendrycksTest-{subject}|5" if subject else TASKS[benchmark]


def config_of(task: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in task)


def file_name(task: str, date: str, generation: int) -> str:
    """The first files lay at the top, with colons in the date; later ones in a folder a run."""
    if generation == 1:
        day, time = date.split("T")
        return f"details_{task}_{day}T{time.replace('-', ':')}.parquet"
    return f"{date}/details_{task}_{date}.parquet"


def details_bytes(
    answers: NDArray[Any],
    prompts: Sequence[str],
    metric: str,
    generation: int,
    tokens: pa.Array | None = None,
) -> bytes:
    """A details file in one of the three schema generations."""
    values = pa.array(answers, pa.float64(), from_pandas=True)
    other = pa.array(1.0 - np.nan_to_num(np.asarray(answers, float)))
    # The wrong metric is there too, with other numbers.
    decoy = {"acc": "acc_norm", "acc_norm": "acc", "mc1": "mc2"}[metric]
    n = len(prompts)
    columns: dict[str, pa.Array] = {"example": pa.array(prompts), "full_prompt": pa.array(prompts)}
    if generation == 1:
        columns |= {decoy: other, metric: values}
    elif generation == 2:
        columns |= {f"metrics.{decoy}": other, f"metrics.{metric}": values}
    else:
        columns["metrics"] = pa.StructArray.from_arrays([other, values], names=[decoy, metric])
        columns["hashes"] = pa.array([{"example": f"{i:x}"} for i in range(n)])
    if tokens is None:
        tokens = pa.array([[[i, i + 1]] for i in range(n)])
    columns["input_tokens"] = tokens
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def card_of(files: dict[str, tuple[str, str]], generation: int) -> dict[str, Any]:
    """Metadata block: config -> (path, date)."""
    return {
        "pretty_name": "Evaluation run",
        "configs": [
            {
                "config_name": config,
                "data_files": [
                    {"split": date.replace("-", "_").replace(".", "_"), "path": [pattern]},
                    {"split": "latest", "path": [pattern]},
                ],
            }
            for config, (path, date) in files.items()
            for pattern in (f"**/{path.split('/')[-1]}" if generation != 2 else path,)
        ],
    }


def details_data_set(
    model: str, spec: Spec, generation: int, truth: Truth, *, card: bool = True
) -> Repo:
    """The details of one model; its answers go into `truth`."""
    random = np.random.default_rng([spec.seed, *model.encode()])
    date = DATE.format(hour=generation)
    files: dict[str, bytes] = {}
    configs: dict[str, tuple[str, str]] = {}
    for benchmark in (*TASKS, "mmlu"):
        row: dict[str, int] = {}
        for subject in SUBJECTS[: spec.subjects] if benchmark == "mmlu" else [None]:
            task = task_of(benchmark, subject)
            answers = (random.random(spec.n_items) < 0.6).astype(float)
            items = [f"{subject}.{i}" if subject else str(i) for i in range(1, spec.n_items + 1)]
            prompts = [_prompt(f"{task} {i}", spec.prompt) for i in items]
            path = file_name(task, date, generation)
            metric = METRICS.get(benchmark, "acc")
            files[path] = details_bytes(answers, prompts, metric, generation)
            configs[config_of(task)] = (path, date)
            row.update(zip(items, answers.astype(int).tolist(), strict=True))
            truth.prompts.setdefault(benchmark, {}).update(zip(items, prompts, strict=True))
        truth.answers.setdefault(benchmark, {})[model] = row
    described = card_of(configs, generation) if card else {"pretty_name": "Evaluation run"}
    # YAML takes JSON as it is.
    files["README.md"] = f"---\n{json.dumps(described)}\n---\n".encode()
    files["results_" + date + ".json"] = b"{}"
    return Repo(files, card=described)


def generate(spec: Spec) -> tuple[Hub, Truth]:
    """A hub of details data sets; generations and cards take turns."""
    hub, truth = Hub(), Truth()
    truth.models = model_names(spec.n_models)
    for i, model in enumerate(truth.models):
        repo = details_data_set(model, spec, 1 + i % 3, truth, card=i % 5 != 3)
        hub.repos[details_repo(model, spec.org)] = repo
    return hub, truth


@functools.cache
def _prompt(head: str, length: int) -> str:
    draw = np.random.default_rng([*head.encode()])
    letters = np.frombuffer((string.ascii_letters + "     ").encode(), np.uint8)
    return f"{head}: " + bytes(letters[draw.integers(0, len(letters), length)]).decode()


def result_json(model: str, **changes: Any) -> dict[str, Any]:
    """A complete result file of the leaderboard; scores are known simple numbers."""
    results: dict[str, Any] = {
        "harness|arc:challenge|25": {"acc": 0.1, "acc_norm": 0.5},
        "harness|hellaswag|10": {"acc": 0.1, "acc_norm": 0.75},
        "harness|truthfulqa:mc|0": {"mc1": 0.1, "mc2": 0.25},
        "harness|winogrande|5": {"acc": 0.625},
        "harness|gsm8k|5": {"acc": 0.125},
        "all": {"acc": 0.0},
    }
    for i, subject in enumerate(SUBJECTS):
        results[task_of("mmlu", subject)] = {"acc": i / 56, "acc_norm": 0.0}
    value = {
        "config_general": {"model_name": model, "model_sha": "abc", "model_dtype": "torch.float16"},
        "results": results,
        "versions": {task_of("mmlu", SUBJECTS[0]): 1, "all": 0},
    }
    value.update(changes)
    return value


def results_data_set(files: dict[str, Any]) -> Repo:
    """The leaderboard's data set of result files: path -> value, or text as it is."""
    bodies = {
        path: (value if isinstance(value, str) else json.dumps(value)).encode()
        for path, value in files.items()
    }
    return Repo({"README.md": b"results\n", **bodies})
