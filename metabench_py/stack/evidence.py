"""Hyperparameters of the Gaussian process: penalised marginal likelihood with its gradient.

Rasmussen & Williams (2006), chapter 5. The gradient for all rates of a Matérn-3/2 kernel takes one
matrix product, as its derivative by a rate is exp(-r) times a squared difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.gp import ROOT3, Kernel, item_distances, squared_distance

# Centre of the log-normal prior of each kind, for features and scores of unit variance.
CENTRES = {
    "noise": 0.01,
    "slope": 0.05,
    "amplitude": 0.05,
    "rate": 0.05,
    "item_slope": 0.02,
    "item_amplitude": 0.02,
    "item_rate": 0.5,
}
# Prior standard deviations of the logarithms: loose for amplitudes, so that a few LLMs cannot
# make many lengths fit them, tighter for rates and slopes.
PRIOR = {k: 2.0 if k.endswith(("rate", "slope")) else 3.0 for k in CENTRES}
LOG_BOUNDS = (-12.0, 5.0)
STEPS = 100
JITTER = 1e-6


@dataclass(frozen=True, eq=False)
class Settings:
    """Hyperparameters of one output, as logarithms in one vector.

    Attributes
    ----------
    logs
        Noise, slopes, amplitude, rates; with responses also item slopes, amplitude, rates.
    n_features, n_benchmarks
        Their numbers; 0 benchmarks: responses are not used.
    """

    logs: Floats
    n_features: int
    n_benchmarks: int

    @classmethod
    def initial(cls, n_features: int, n_benchmarks: int) -> Settings:
        """Give the prior's centre."""
        return cls(np.log(_by_kind(CENTRES, n_features, n_benchmarks)), n_features, n_benchmarks)

    def where(self, kind: str) -> slice:
        """Give the place of a kind in the vector."""
        at = 0
        for name, n in _counts(self.n_features, self.n_benchmarks):
            if name == kind:
                return slice(at, at + n)
            at += n
        raise KeyError(kind)

    def values(self, kind: str) -> Floats:
        """Give the hyperparameters of a kind."""
        found: Floats = np.exp(self.logs[self.where(kind)])
        return found

    def one(self, kind: str) -> float:
        """Give a single hyperparameter; 0 where responses are not used."""
        found = self.values(kind)
        return float(found[0]) if len(found) else 0.0

    def kernel(self) -> Kernel:
        """Give the smooth parts."""
        return Kernel(
            self.one("amplitude"),
            self.values("rate"),
            self.one("item_amplitude"),
            self.values("item_rate"),
        )


def _counts(n_features: int, n_benchmarks: int) -> tuple[tuple[str, int], ...]:
    return (
        ("noise", 1),
        ("slope", n_features),
        ("amplitude", 1),
        ("rate", n_features),
        ("item_slope", n_benchmarks),
        ("item_amplitude", min(n_benchmarks, 1)),
        ("item_rate", n_benchmarks),
    )


def _by_kind(value: dict[str, float], n_features: int, n_benchmarks: int) -> Floats:
    counts = _counts(n_features, n_benchmarks)
    return np.concatenate([np.full(n, value[kind]) for kind, n in counts])


def log_prior(settings: Settings) -> tuple[float, Floats]:
    """Give the negative logarithm of the hyperparameters' prior density, and its gradient."""
    sizes = settings.n_features, settings.n_benchmarks
    deviation = _by_kind(PRIOR, *sizes)
    shift = (settings.logs - Settings.initial(*sizes).logs) / deviation
    return 0.5 * float(shift @ shift), shift / deviation


def optimise(
    standard: Floats, responses: Floats, sizes: Sequence[int], truth: Floats, relative: Floats
) -> Settings:
    """Find the hyperparameters of greatest posterior density.

    Parameters
    ----------
    standard
        Standardised features of LLMs that are no near-duplicates, shape (n, n_features).
    responses, sizes
        Centred responses, shape (n, n_items), and items a benchmark.
    truth
        Scores of mean 0 and variance 1, shape (n,).
    relative
        Each LLM's noise variance is the noise times this, shape (n,).
    """
    from scipy.optimize import minimize

    start = Settings.initial(standard.shape[1], len(sizes))
    evidence = Evidence(standard, responses, sizes, truth, relative)
    found = minimize(
        evidence,
        start.logs,
        jac=True,
        method="L-BFGS-B",
        bounds=[LOG_BOUNDS] * len(start.logs),
        options={"maxiter": STEPS},
    )
    return Settings(np.asarray(found.x, np.float64), start.n_features, start.n_benchmarks)


class Evidence:
    """Negative log posterior density of the hyperparameters, and its gradient."""

    def __init__(
        self,
        standard: Floats,
        responses: Floats,
        sizes: Sequence[int],
        truth: Floats,
        relative: Floats,
    ) -> None:
        self.standard, self.truth, self.relative = standard, truth, relative
        self.distances = item_distances(responses, responses, sizes)
        grams, at = [], 0
        for size in sizes:
            block = responses[:, at : at + size]
            grams.append(block @ block.T / size)
            at += size
        self.grams = grams
        self.centre = Settings.initial(standard.shape[1], len(sizes))

    def __call__(self, logs: Floats) -> tuple[float, Floats]:
        """Evaluate at the logarithms of the hyperparameters."""
        from scipy.linalg import cho_solve, lapack

        settings = Settings(logs, self.centre.n_features, self.centre.n_benchmarks)
        x, n = self.standard, len(self.truth)
        slopes, rates = settings.values("slope"), settings.values("rate")
        r = ROOT3 * np.sqrt(squared_distance(x * np.sqrt(rates), x * np.sqrt(rates)))
        decay = settings.one("amplitude") * np.exp(-r)
        smooth = (1.0 + r) * decay
        covariance = (x * slopes) @ x.T + smooth
        for variance, gram in zip(settings.values("item_slope"), self.grams, strict=True):
            covariance += variance * gram
        if self.grams:
            r = ROOT3 * np.sqrt(np.tensordot(settings.values("item_rate"), self.distances, axes=1))
            item_decay = settings.one("item_amplitude") * np.exp(-r)
            item_smooth = (1.0 + r) * item_decay
            covariance += item_smooth
        covariance[np.diag_indices(n)] += settings.one("noise") * self.relative + JITTER
        lower, failed = lapack.dpotrf(covariance, lower=1, clean=1)
        if failed:
            return 1e12, np.zeros_like(logs)
        weights = cho_solve((lower, True), self.truth)
        inverse, _ = lapack.dpotri(lower, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        prior, prior_slope = log_prior(settings)
        value = 0.5 * self.truth @ weights + np.log(np.diag(lower)).sum() + prior
        pull = np.outer(weights, weights) - inverse
        gradient = np.zeros_like(logs)

        def put(kind: str, slope: Any) -> None:
            gradient[settings.where(kind)] = -0.5 * settings.values(kind) * slope

        put("noise", np.diag(pull) @ self.relative)
        put("slope", (x * (pull @ x)).sum(axis=0))
        put("amplitude", (pull * smooth).sum() / settings.one("amplitude"))
        mass = pull * decay
        put("rate", -3.0 * ((x**2 * mass.sum(axis=1)[:, None]) - x * (mass @ x)).sum(axis=0))
        if self.grams:
            put("item_slope", [(pull * gram).sum() for gram in self.grams])
            put("item_amplitude", (pull * item_smooth).sum() / settings.one("item_amplitude"))
            mass = pull * item_decay
            put("item_rate", [-1.5 * (mass * one).sum() for one in self.distances])
        return float(value), gradient + prior_slope


def representative(
    groups: NDArray[np.int64], clusters: NDArray[np.int64], most: int, seed: int
) -> NDArray[np.intp]:
    """Choose LLMs for the likelihood: one a near-duplicate cluster, groups as equal as can be.

    Siblings tell a likelihood that scores are all but free of noise; a newcomer has none.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(clusters[order], return_index=True)
    order = order[np.sort(first)]
    turn = np.zeros(len(order), np.int64)
    seen: dict[int, int] = {}
    for i, group in enumerate(groups[order].tolist()):
        turn[i] = seen[group] = seen.get(group, -1) + 1
    chosen: NDArray[np.intp] = np.sort(order[np.argsort(turn, kind="stable")][:most])
    return chosen
