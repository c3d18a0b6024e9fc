"""A sparse Gaussian process on features and item responses, as it predicts.

The mean is linear in features and responses plus smooth parts: Matérn-3/2 kernels between an LLM
and made-up LLMs (inducing points, each a mean of several LLMs), one kernel on the features and one
on the share of items that are answered differently, by benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.stack.arrays import Arrays, take, take_floats

ROOT3 = float(np.sqrt(3.0))
# Inducing responses are stored in steps of this share.
STEPS = 255.0
# LLMs at a time.
CHUNK = 512


@dataclass(frozen=True, eq=False)
class Inducing:
    """Made-up LLMs.

    Attributes
    ----------
    features
        Standardised, shape (m, n_features); exact in float32.
    responses
        Means of 0-1 answers, shape (m, n_items), in steps of 1/255.
    """

    features: Floats
    responses: Floats

    def __len__(self) -> int:
        return len(self.features)


def squared_distance(one: Floats, other: Floats) -> Floats:
    """Squared Euclidean distances, shape (n_one, n_other)."""
    product = one @ other.T
    found: Floats = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * product
    np.maximum(found, 0.0, out=found)
    return found


def item_distances(one: Floats, other: Floats, sizes: Sequence[int]) -> Floats:
    """Mean squared difference of the answers by benchmark, (n_benchmarks, n_one, n_other).

    For 0-1 answers it is the share of items that two LLMs answer differently.
    """
    parts, at = [], 0
    for size in sizes:
        block = slice(at, at + size)
        parts.append(squared_distance(one[:, block], other[:, block]) / size)
        at += size
    return np.stack(parts) if parts else np.zeros((0, len(one), len(other)))


def matern(square: Floats) -> Floats:
    """Matérn-3/2 correlation of scaled squared distances."""
    r = ROOT3 * np.sqrt(square)
    value: Floats = (1.0 + r) * np.exp(-r)
    return value


@dataclass(frozen=True, eq=False)
class Kernel:
    """Of the smooth parts of one output.

    Attributes
    ----------
    amplitude, rates
        Variance, and inverse squared length of each feature, shape (n_features,).
    item_amplitude, item_rates
        The same for the share of different answers, by benchmark, shape (n_benchmarks,).
    """

    amplitude: float
    rates: Floats
    item_amplitude: float
    item_rates: Floats

    def between(self, one: Floats, other: Floats, items: Floats) -> Floats:
        """Covariances, shape (n_one, n_other).

        Parameters
        ----------
        one, other
            Standardised features.
        items
            `item_distances`; none (shape (0, ...)): responses are not used.
        """
        root = np.sqrt(self.rates)
        value = self.amplitude * matern(squared_distance(one * root, other * root))
        if len(items):
            value += self.item_amplitude * matern(np.tensordot(self.item_rates, items, axes=1))
        return value

    @property
    def variance(self) -> float:
        """Of a single LLM."""
        return self.amplitude + (self.item_amplitude if len(self.item_rates) else 0.0)


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """Posterior means of all outputs.

    Attributes
    ----------
    sizes
        Items a benchmark, of those whose responses are used.
    mean, deviation
        Of the features, shape (n_features,).
    inducing
        One set an output, each with the same responses.
    kernels
        One an output.
    constant, slopes, item_slopes, weights
        Of the linear and smooth parts: shapes (n_outputs,), (n_features, n_outputs),
        (n_items, n_outputs), (m, n_outputs).
    """

    sizes: tuple[int, ...]
    mean: Floats
    deviation: Floats
    inducing: tuple[Inducing, ...]
    kernels: tuple[Kernel, ...]
    constant: Floats
    slopes: Floats
    item_slopes: Floats
    weights: Floats

    def predict(self, features: Floats, responses: Floats) -> Floats:
        """Predict, shape (n, n_outputs)."""
        standard = (features - self.mean) / self.deviation
        predicted: Floats = self.constant + standard @ self.slopes
        if self.sizes:
            predicted += responses @ self.item_slopes
        for start in range(0, len(features), CHUNK):
            some = slice(start, start + CHUNK)
            items = item_distances(responses[some], self.inducing[0].responses, self.sizes)
            for i, (kernel, points) in enumerate(zip(self.kernels, self.inducing, strict=True)):
                near = kernel.between(standard[some], points.features, items)
                predicted[some, i] += near @ self.weights[:, i]
        return predicted

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give plain arrays; inducing points in the digits that they have."""
        return {
            "sizes": np.array(self.sizes, np.int32),
            "mean": self.mean,
            "deviation": self.deviation,
            "inducing_features": np.stack([p.features for p in self.inducing]).astype(np.float32),
            "inducing_responses": np.rint(self.inducing[0].responses * STEPS).astype(np.uint8),
            "amplitudes": np.array([[k.amplitude, k.item_amplitude] for k in self.kernels]),
            "rates": np.array([k.rates for k in self.kernels]),
            "item_rates": np.array([k.item_rates for k in self.kernels]),
            "constant": self.constant,
            "slopes": self.slopes,
            "item_slopes": self.item_slopes,
            "weights": self.weights,
        }

    @classmethod
    def from_arrays(
        cls, arrays: Arrays, n_features: int, n_items: int, n_outputs: int
    ) -> GaussianProcess:
        """Read `to_arrays` back.

        Raises
        ------
        InputError
            An array is absent or not usable.
        """
        sizes = tuple(int(n) for n in take(arrays, "sizes", (None,), "iu"))
        if any(n <= 0 for n in sizes) or sum(sizes) != n_items:
            raise InputError("The stack's process was fitted on other items; write it again.")
        points = take_floats(arrays, "inducing_features", (n_outputs, None, n_features))
        m = points.shape[1]
        answers = take(arrays, "inducing_responses", (m, n_items), "u").astype(np.float64) / STEPS
        amplitudes = take_floats(arrays, "amplitudes", (n_outputs, 2))
        rates = take_floats(arrays, "rates", (n_outputs, n_features))
        item_rates = take_floats(arrays, "item_rates", (n_outputs, len(sizes)))
        deviation = take_floats(arrays, "deviation", (n_features,))
        if (amplitudes < 0).any() or (rates < 0).any() or (item_rates < 0).any():
            raise InputError("The stack's process has a negative variance or rate.")
        # A fit takes 1 in place of what is smaller.
        if (deviation < 1e-9).any():
            raise InputError("The stack's process has a deviation of 0, or all but 0.")
        return cls(
            sizes,
            take_floats(arrays, "mean", (n_features,)),
            deviation,
            tuple(Inducing(own, answers) for own in points),
            tuple(
                Kernel(float(a[0]), r, float(a[1]), h)
                for a, r, h in zip(amplitudes, rates, item_rates, strict=True)
            ),
            take_floats(arrays, "constant", (n_outputs,)),
            take_floats(arrays, "slopes", (n_features, n_outputs)),
            take_floats(arrays, "item_slopes", (n_items, n_outputs)),
            take_floats(arrays, "weights", (m, n_outputs)),
        )
