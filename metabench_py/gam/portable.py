"""A fitted GAM as plain numbers, predicted without R.

Stub of the value type; see PortableGam.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metabench_py.irt.model import Floats


@dataclass(frozen=True, eq=False)
class PortableGam:
    """An additive model: intercept + sum of univariate splines, identity link."""

    target: str
    intercept: float
    terms: tuple[Any, ...]

    def predict(self, features: Mapping[str, Floats]) -> Floats:
        """Predict scores, unclipped, shape (n,)."""
        raise NotImplementedError
