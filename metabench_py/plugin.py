"""Lets lm-eval itself report reconstructed scores.

lm-eval's entry points (``lm_eval.models``, ``filters``, ``metrics``, ``aggregations``; in its main
branch since September 2026, not in 0.4.13) do not reach that far: tasks are no plugins there, the
metrics of a multiple-choice task are a fixed set, and an aggregation sees one task's values
without their items, while a score needs the six benchmarks' answers item by item. What reaches is
its task files: ``metabench-py items tasks --scores`` writes some that name `ScoredTask` as their
class. Each task then reports ``metabench_score`` and ``metabench_theta`` of its benchmark and
``metabench_grand`` of all six; the group's mean over six equal grand scores is the grand score.

Works in one process; data-parallel workers each see a share of the answers only, and the scores
become NaN.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Version
from metabench_py.bundle import load_bundle
from metabench_py.errors import MetabenchError
from metabench_py.logs.model import ModelResponses
from metabench_py.reconstruction import Reconstruction, Reconstructor
from metabench_py.responses import MISSING

METRICS = ("metabench_score", "metabench_theta", "metabench_grand")
_log = logging.getLogger("lm_eval.metabench_py")
_Task: Any = importlib.import_module("lm_eval.api.task").ConfigurableTask
# Answers of the run that is going on, by group and benchmark: item to 0 or 1.
_answers: dict[str, dict[Benchmark, dict[str, float]]] = {}


class ScoredTask(_Task):  # type: ignore[misc]
    """A metabench task whose aggregations are the reconstruction.

    The task file's ``metadata`` says ``metabench_group``, ``metabench_benchmark`` and
    ``metabench_bundle`` (a folder, or null for the installed one).
    """

    def __init__(self, config: dict[str, Any] | None = None, **options: Any) -> None:
        config = {key: value for key, value in (config or {}).items() if key != "class"}
        about = config["metadata"]
        self._group: str = about["metabench_group"]
        self._benchmark: Benchmark = about["metabench_benchmark"]
        self._bundle: str | None = about["metabench_bundle"]
        # Before the base class, which asks for the aggregations.
        super().__init__(config=config, **options)
        _answers.setdefault(self._group, {})[self._benchmark] = {}

    def process_results(self, doc: dict[str, Any], results: Any) -> dict[str, Any]:
        """Score one document as lm-eval does; note its item."""
        values: dict[str, Any] = super().process_results(doc, results)
        metric = _setup(self._bundle)[0].benchmarks[self._benchmark].metric
        if metric in values:
            item = str(doc["metabench_idx"])
            item = f"{doc['subject']}.{item}" if self._benchmark == "mmlu" else item
            # GSM8K comes once for each filter, strict-match first: that one counts.
            answers = _answers[self._group][self._benchmark]
            if item not in answers:
                answers[item] = float(values[metric])
                values |= dict.fromkeys(METRICS, item)
        return values

    def aggregation(self) -> dict[str, Callable[[list[Any]], float]]:
        """Give lm-eval's aggregations and ours."""
        ours = {m: partial(_report, self._group, self._benchmark, self._bundle, m) for m in METRICS}
        return {**super().aggregation(), **ours}

    def higher_is_better(self) -> dict[str, bool]:
        """Tell that more is better, for ours too."""
        return {**super().higher_is_better(), **dict.fromkeys(METRICS, True)}


@lru_cache(maxsize=4)
def _setup(bundle: str | None) -> tuple[Any, Reconstructor]:
    loaded = load_bundle(bundle)
    return loaded, Reconstructor(loaded, engine="native")


def _report(
    group: str, benchmark: Benchmark, bundle: str | None, metric: str, items: list[str]
) -> float:
    """Aggregate: the number that a metric reports for a task."""
    answers = _answers[group]
    if set(items) != set(answers[benchmark]):
        # Gathered from several processes, of which this one saw a part.
        return math.nan
    key = tuple((b, tuple(answers.get(b, {}).items())) for b in BENCHMARKS)
    result = _reconstruct(bundle, key)
    if result is None:
        return math.nan
    if metric == "metabench_theta":
        return result.abilities[benchmark].theta
    return result.scores["grand" if metric == "metabench_grand" else benchmark].score


@lru_cache(maxsize=4)
def _reconstruct(bundle: str | None, key: tuple[Any, ...]) -> Reconstruction | None:
    loaded, reconstructor = _setup(bundle)
    values = {}
    for benchmark, pairs in key:
        given = dict(pairs)
        if not given:
            _log.warning("No answers to %s: there are no metabench scores", benchmark)
            return None
        items = loaded.benchmarks[benchmark].parameters.items
        values[benchmark] = np.array([given.get(i, MISSING) for i in items], dtype=np.int8)
    version: Version = "B" if loaded.version == "B" else "A"
    responses = ModelResponses("lm-eval", version, False, values, {}, ())
    result = reconstructor([responses])[0]
    if isinstance(result, MetabenchError):
        _log.warning("%s", result)
        return None
    return result
