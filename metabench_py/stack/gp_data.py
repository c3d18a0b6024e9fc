"""What all outputs of the sparse process share: standardised features, points, folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.evidence import representative
from metabench_py.stack.gp import Inducing
from metabench_py.stack.inducing import inducing_points

# LLMs that the marginal likelihood looks at.
MOST_LIKELIHOOD = 800


@dataclass(frozen=True, eq=False)
class GpData:
    """What all outputs share.

    Attributes
    ----------
    mean, deviation
        Of the features; where one is constant, 1.
    varying
        1 for a feature that is not constant, else 0, shape (n_features,).
    standard
        Standardised features, shape (n, n_features).
    responses, centred, sizes
        Shape (n, n_items), the same less their means, and items a benchmark.
    inducing
        Made-up LLMs.
    fold
        Fold of each LLM, shape (n,).
    copies
        Size of each LLM's near-duplicate cluster, shape (n,): together they count as one.
    chosen
        LLMs for the likelihood.
    """

    mean: Floats
    deviation: Floats
    varying: Floats
    standard: Floats
    responses: Floats
    centred: Floats
    sizes: tuple[int, ...]
    inducing: Inducing
    fold: NDArray[np.int64]
    copies: Floats
    chosen: NDArray[np.intp]


def gp_data(
    features: Floats,
    responses: Floats,
    sizes: Sequence[int],
    groups: NDArray[np.int64],
    clusters: NDArray[np.int64],
    fold: NDArray[np.int64],
    seed: int,
) -> GpData:
    """Standardise, and choose inducing points and the LLMs for the likelihood."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    varying = deviation > 1e-9
    deviation = np.where(varying, deviation, 1.0)
    standard = (features - mean) / deviation
    _, number, copies = np.unique(clusters, return_inverse=True, return_counts=True)
    return GpData(
        mean,
        deviation,
        varying.astype(np.float64),
        standard,
        responses,
        responses - responses.mean(axis=0),
        tuple(sizes),
        inducing_points(standard, responses, seed),
        fold,
        copies[number].astype(np.float64),
        representative(groups, clusters, MOST_LIKELIHOOD, seed),
    )
