"""A fitted GAM as plain numbers, predicted without R.

mgcv's adaptive smooth of one variable (``bs = "ad"``) is a cubic P-spline basis: B-splines of
Eilers and Marx (1996) on evenly spaced knots. Only its penalty is special, and a prediction
needs no penalty. Once the centring constraint is undone, such a term is its knots and one
coefficient a basis function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

FORMAT = "additive cubic B-splines"
FORMAT_VERSION = 1
DEGREE = 3


@dataclass(frozen=True, eq=False)
class SplineTerm:
    """One smooth function of one feature: a cubic B-spline, straight beyond its knots.

    Attributes
    ----------
    feature
        Name of the predictor.
    knots
        Ascending, shape (n_basis + 4,); the spline is cubic between knots[3] and knots[n_basis],
        and goes on with its end slope on either side, as ``mgcv::predict.gam`` has it.
    coefficients
        One a basis function, in score points, shape (n_basis,).
    """

    feature: str
    knots: Floats
    coefficients: Floats

    def __post_init__(self) -> None:
        where = f"Spline term {self.feature!r}"
        if not isinstance(self.feature, str) or not self.feature:
            raise InputError("A spline term needs the name of its feature.", feature=self.feature)
        for name in ("knots", "coefficients"):
            object.__setattr__(self, name, _vector(getattr(self, name), where, name))
        n = len(self.coefficients)
        if n <= DEGREE or len(self.knots) != n + DEGREE + 1:
            raise InputError(
                f"{where}: a cubic spline of {n} coefficients needs at least 4 of them and "
                f"{n + DEGREE + 1} knots, not {len(self.knots)}.",
                feature=self.feature,
            )
        if not (np.diff(self.knots) > 0).all():
            raise InputError(f"{where}: the knots must ascend.", feature=self.feature)

    @property
    def lower(self) -> float:
        """Where the straight line on the left begins."""
        return float(self.knots[DEGREE])

    @property
    def upper(self) -> float:
        """Where the straight line on the right begins."""
        return float(self.knots[len(self.coefficients)])

    @cached_property
    def _pieces(self) -> tuple[Floats, Floats, Floats]:
        """Ends between pieces, origin of each piece, its polynomial (4, n_pieces).

        The derivatives of a B-spline are B-splines of lower degree on differenced
        coefficients (de Boor 1978, chapter X); at a knot few of their basis functions are
        left, so each piece's Taylor coefficients follow without a linear system.
        """
        t, c = self.knots, self.coefficients
        n = len(c)
        first = 3.0 * np.diff(c) / (t[4 : n + 3] - t[1:n])
        second = 2.0 * np.diff(first) / (t[4 : n + 2] - t[2:n])
        third = np.diff(second) / (t[4 : n + 1] - t[3:n])
        j = np.arange(DEGREE, n)
        x = t[j]
        share = (x - t[j - 1]) / (t[j + 1] - t[j - 1])

        def mix(a: Floats, b: Floats, weight: Floats) -> Floats:
            return (1.0 - weight) * a + weight * b

        value = mix(
            mix(c[j - 3], c[j - 2], (x - t[j - 2]) / (t[j + 1] - t[j - 2])),
            mix(c[j - 2], c[j - 1], (x - t[j - 1]) / (t[j + 2] - t[j - 1])),
            share,
        )
        slope = mix(first[j - 3], first[j - 2], share)
        inner = np.stack([value, slope, second[j - 3] / 2.0, third[j - 3] / 6.0])
        # Value and slope at the right end start the straight line there.
        h = t[n] - x[-1]
        v, s, q, r = inner[:, -1]
        left = np.array([value[0], slope[0], 0.0, 0.0])
        right = np.array([v + h * (s + h * (q + h * r)), s + h * (2.0 * q + h * 3.0 * r), 0.0, 0.0])
        ends = t[DEGREE : n + 1]
        origins = np.concatenate([ends[:1], ends])
        return ends, origins, np.column_stack([left, inner, right])

    def evaluate(self, values: ArrayLike) -> Floats:
        """Value of the term, same shape as `values`; NaN where these are not finite."""
        x = np.asarray(values, dtype=np.float64)
        ends, origins, (value, slope, square, cube) = self._pieces
        at = np.searchsorted(ends, x, side="right")
        if not np.isfinite(x).all():
            x = np.where(np.isfinite(x), x, np.nan)
        h = x - origins[at]
        result: Floats = value[at] + h * (slope[at] + h * (square[at] + h * cube[at]))
        return result

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "feature": self.feature,
            "knots": self.knots.tolist(),
            "coefficients": self.coefficients.tolist(),
        }


@dataclass(frozen=True, eq=False)
class PortableGam:
    """An additive model: intercept + sum of univariate splines, identity link.

    Attributes
    ----------
    target
        What it predicts: ``grand`` or a benchmark.
    intercept
        In score points (0-100).
    terms
        One a feature.
    """

    target: str
    intercept: float
    terms: tuple[SplineTerm, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.target, str) or not self.target:
            raise InputError("A GAM needs the name of its target.")
        if not _is_number(self.intercept) or not np.isfinite(self.intercept):
            raise InputError(
                f"GAM of {self.target!r}: the intercept must be a finite number.",
                target=self.target,
            )
        object.__setattr__(self, "intercept", float(self.intercept))
        object.__setattr__(self, "terms", tuple(self.terms))
        names = self.features
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(
                f"GAM of {self.target!r}: two terms of the feature {twice[0]!r}.",
                target=self.target,
            )

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the predictors, in the order of the terms."""
        return tuple(term.feature for term in self.terms)

    def predict(self, features: Mapping[str, ArrayLike]) -> Floats:
        """Predict scores, unclipped.

        Parameters
        ----------
        features
            For each of `self.features` one value an LLM, shape (n,); others are ignored.

        Returns
        -------
        Shape (n,); NaN where a feature is not finite.

        Raises
        ------
        InputError
            A feature is absent, or they differ in length.
        """
        columns = feature_columns(features, self.features, self.target)
        n = len(columns[0]) if columns else 1
        score = np.full(n, self.intercept)
        for term, values in zip(self.terms, columns, strict=True):
            score += term.evaluate(values)
        return score

    def contributions(self, features: Mapping[str, ArrayLike]) -> dict[str, Floats]:
        """Give what each term adds to the intercept, in score points, shape (n,) by feature."""
        columns = feature_columns(features, self.features, self.target)
        return {
            term.feature: term.evaluate(values)
            for term, values in zip(self.terms, columns, strict=True)
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` reads them back to the last bit."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "target": self.target,
            "intercept": self.intercept,
            "terms": [term.to_dict() for term in self.terms],
        }

    @classmethod
    def from_dict(cls, value: Any) -> PortableGam:
        """Read what `to_dict` made.

        Raises
        ------
        InputError
            Something is absent, of the wrong kind or length, or not finite.
        """
        _keys(value, ("format", "version", "target", "intercept", "terms"), "A portable GAM")
        if value["format"] != FORMAT:
            raise InputError(f"A portable GAM has the format {FORMAT!r}, not {value['format']!r}.")
        if value["version"] != FORMAT_VERSION or isinstance(value["version"], bool):
            raise InputError(
                f"A portable GAM of format version {value['version']!r}; this program reads "
                f"{FORMAT_VERSION}. Update metabench-py or make the file again."
            )
        if not isinstance(value["terms"], list) or not value["terms"]:
            raise InputError("A portable GAM needs a list of terms.")
        terms = []
        for number, term in enumerate(value["terms"], start=1):
            _keys(term, ("feature", "knots", "coefficients"), f"Term {number} of a portable GAM")
            terms.append(SplineTerm(term["feature"], term["knots"], term["coefficients"]))
        return cls(value["target"], value["intercept"], tuple(terms))


def feature_columns(
    features: Mapping[str, ArrayLike], names: Sequence[str], target: str
) -> list[Floats]:
    """Take these features as float64 arrays of one length, shape (n,) each."""
    absent = [name for name in names if name not in features]
    if absent:
        raise InputError(
            f"The GAM of {target!r} needs the feature {absent[0]!r}, which is absent.",
            target=target,
            features=absent,
        )
    columns: list[Floats] = []
    for name in names:
        try:
            column = np.atleast_1d(np.asarray(features[name], dtype=np.float64))
        except (TypeError, ValueError):
            column = np.empty((0, 0))
        if column.ndim != 1 or len(column) != len(columns[0] if columns else column):
            raise InputError(
                f"The feature {name!r} must be one number an LLM, as many as the others.",
                target=target,
                features=[name],
            )
        columns.append(column)
    return columns


def _keys(value: Any, names: tuple[str, ...], what: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{what} must be an object with {', '.join(names)}.")
    for name in names:
        if name not in value:
            raise InputError(f"{what} lacks {name!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)


def _vector(values: Any, where: str, name: str) -> Floats:
    if isinstance(values, list | tuple) and not all(map(_is_number, values)):
        raise InputError(f"{where}: {name} must be numbers.")
    try:
        vector = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: {name} must be numbers.") from None
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise InputError(f"{where}: {name} must be a list of finite numbers.")
    vector.flags.writeable = False
    return vector
