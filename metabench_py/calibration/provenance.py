"""What a bundle says of how it was made."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle.schema import StageFit
from metabench_py.calibration.folds import organisation_numbers
from metabench_py.calibration.inputs import CalibrationInputs
from metabench_py.calibration.stages import Folds
from metabench_py.calibration.work import digest
from metabench_py.rbridge import locate, r_version

if TYPE_CHECKING:
    from metabench_py.calibration.pipeline import CalibrationOptions, Description

# They change nothing, or are told on their own.
_UNTOLD = frozenset({"workers", "choose", "order"})
_SECOND_STAGES: dict[StageFit, str] = {
    "stack": (
        "non-negative mixture of splines, Gaussian processes and boosted trees, and a forest that "
        "adds what the processes leave"
    ),
    "gam": "mgcv::gam, a sum of s(., bs = 'ad')",
    "fast-gam": "mgcv::bam(discrete = TRUE), a sum of s(., bs = 'ps')",
}


def provenance(
    inputs: CalibrationInputs,
    folds: Folds,
    description: Description,
    options: CalibrationOptions,
) -> dict[str, Any]:
    """Say what the estimates were made from and how, for the bundle; JSON values."""
    counts = np.bincount(folds.clusters)
    fits = options.stages(len(inputs.llms))
    uses_r = bool(set(fits) - {"stack"})
    r = {"R": r_version(), "mgcv": locate.package_version("mgcv")} if uses_r else {}
    return {
        "source": description.source,
        "inputs_sha256": _fingerprint(inputs),
        "n_llms": len(inputs.llms),
        "n_organisations": len(np.unique(organisation_numbers(inputs.llms))),
        "n_near_duplicates": int(counts[counts > 1].sum()),
        "n_groups": len(np.unique(folds.groups)),
        "fit_mode": options.mode,
        "item_parameters": (
            "marginal maximum likelihood on all LLMs of each benchmark's matrix, "
            "theta ~ normal(0, 1)"
        ),
        "linear_predictor": (
            "lm of the full score on the responses, on the LLMs with all six matrices and scores"
        ),
        "sub_score": "100 * right / number of items, in training and in use",
        "second_stages": {
            fit: f"{_SECOND_STAGES[fit]}; trained on linear predictors from the other folds, none "
            "of an LLM's own group"
            for fit in fits
        },
        "errors": (
            "Cross-validated: each LLM is predicted by linear models and second stages that saw no "
            "LLM of its organisation and no near-duplicate. The GAMs of the folds keep the "
            "smoothing parameters of the fit on all LLMs; the stack makes all its choices anew. "
            "Item parameters and abilities are those of the fit on all LLMs."
        ),
        "missing": (
            "factors by which intervals widen where a share of the items was masked in held-out "
            "LLMs, at random and in all benchmarks alike"
        ),
        "software": r,
        **_chosen(options, sum(len(one.items) for one in inputs.items.values())),
        "options": {
            **{k: v for k, v in asdict(options).items() if k not in _UNTOLD},
            "second_stage": list(fits),
        },
        **({} if description.run is None else {"run": dict(description.run)}),
    }


def _chosen(options: CalibrationOptions, n_items: int) -> dict[str, Any]:
    """Say how a part of the items was chosen, if it was."""
    if options.choose is None:
        return {}
    return {
        "items": {
            "chosen": options.choose,
            "of": n_items,
            "order": options.order,
            "errors": (
                "Items are chosen on all LLMs. The errors of each fold are those of items chosen "
                "in the same way without its LLMs, so they are those of the way to choose, not of "
                "this very choice."
            ),
        }
    }


def _fingerprint(inputs: CalibrationInputs) -> str:
    parts: list[Any] = []
    for b in BENCHMARKS:
        matrix, chosen = inputs.responses[b], inputs.items[b]
        parts += [
            matrix.values,
            list(matrix.llms),
            list(matrix.items),
            list(asdict(chosen).items()),
        ]
    scores = inputs.scores
    parts += [list(scores.names), *(scores.values[t] for t in TARGETS)]
    return digest(*parts)
