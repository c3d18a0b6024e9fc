"""Runs for reports: answers drawn from a bundle's item model, reconstructed by the real stages."""

from __future__ import annotations

import numpy as np

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.bundle import Bundle
from metabench_py.irt.model import probability
from metabench_py.logs.model import ModelResponses
from metabench_py.reconstruction.reconstructor import Reconstructor
from metabench_py.reconstruction.result import Reconstruction
from metabench_py.report.run_values import ReportRun


def simulated_runs(bundle: Bundle, abilities: dict[str, float]) -> list[ReportRun]:
    """One run an LLM, by its name and ability."""
    random = np.random.default_rng(3)
    models = []
    for name, theta in abilities.items():
        values = {}
        for benchmark in BENCHMARKS:
            right = probability(bundle.benchmarks[benchmark].parameters, theta)[0]
            values[benchmark] = (random.random(len(right)) < right).astype(np.int8)
        models.append(ModelResponses(name, "B", False, values, {}, ()))
    results = Reconstructor(bundle, engine="native", second_stage="portable")(models)
    runs = []
    for model, result in zip(models, results, strict=True):
        assert isinstance(result, Reconstruction)
        runs.append(ReportRun(result, result.model, bundle, model.values))
    return runs
