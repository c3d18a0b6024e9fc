"""A small folder of data, laid out as the reference data, drawn from the embedded bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from metabench_py.adaptive.engine import generate_responses
from metabench_py.benchmarks import BENCHMARKS
from metabench_py.bundle import default_bundle_path, load_bundle
from metabench_py.irt.model import probability

N_TRAIN, N_TEST = 200, 50
ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "PhiForCausalLM")


def write_figure_data(folder: Path, seed: int = 1) -> Path:
    """Write responses, scores, published features and items, and a leaderboard."""
    random = np.random.default_rng(seed)
    n = N_TRAIN + N_TEST
    names = [f"org{i % 40}/model-{i}" for i in range(n)]
    split = ["train"] * N_TRAIN + ["test"] * N_TEST
    general = random.standard_normal(n)
    scores = pd.DataFrame({"name": names, "split": split})
    features = pd.DataFrame({"name": names, "split": split})
    (folder / "llm-responses" / "B").mkdir(parents=True)
    (folder / "published" / "B").mkdir(parents=True)
    bundle = load_bundle(default_bundle_path())
    for benchmark in BENCHMARKS:
        bank = bundle.benchmarks[benchmark].parameters
        theta = 0.9 * general + 0.4 * random.standard_normal(n)
        answers = generate_responses(bank, theta, random).values
        right = 100.0 * probability(bank, theta).mean(axis=1)
        scores[benchmark] = np.clip(right + random.normal(0.0, 1.0, n), 0.0, 100.0)
        features[benchmark] = theta + random.normal(0.0, 0.1, n)
        features[f"{benchmark}.l"] = right + random.normal(0.0, 1.0, n)
        features[f"{benchmark}.s"] = 100.0 * answers.mean(axis=1)
        table = pd.DataFrame(answers[:N_TRAIN], columns=list(bank.items))
        table.insert(0, "name", names[:N_TRAIN])
        table.to_parquet(folder / "llm-responses" / "B" / f"{benchmark}.parquet", index=False)
        items = pd.DataFrame({"item": bank.items, "a1": bank.a1, "d": bank.d})
        items[["g", "u"]] = np.column_stack([bank.g, bank.u])
        items.to_parquet(folder / "published" / "B" / f"items-{benchmark}.parquet", index=False)
    scores["grand"] = scores[list(BENCHMARKS)].mean(axis=1)
    for suffix in (".l", ".s"):
        columns = [b + suffix for b in BENCHMARKS]
        features[f"grand{suffix}"] = features[columns].mean(axis=1)
    features["grand"] = scores["grand"]
    features["grand.published_prediction"] = scores["grand"] + random.normal(0.0, 0.7, n)
    scores.to_parquet(folder / "llm-scores.parquet", index=False)
    features.to_parquet(folder / "published" / "B" / "features.parquet", index=False)
    kinds = pd.DataFrame({"name": names})
    kinds["arch"] = [ARCHITECTURES[i % len(ARCHITECTURES)] for i in range(n)]
    kinds["size"] = 10.0 ** random.uniform(-1.0, 2.0, n)
    kinds.to_csv(folder / "open-llm-leaderboard.csv", index=False)
    return folder
