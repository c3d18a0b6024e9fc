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

# Ends between pieces (n_pieces - 1,), origin of each piece, polynomial of each (4, n_pieces).
_Pieces = tuple[Floats, Floats, Floats]


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
    def _pieces(self) -> _Pieces:
        return _pieces(self.knots[None], self.coefficients[None])[0]

    def evaluate(self, values: ArrayLike) -> Floats:
        """Value of the term, same shape as `values`; NaN where these are not finite."""
        return _evaluate(self._pieces, np.asarray(values, dtype=np.float64))

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

    @cached_property
    def _pieces(self) -> list[_Pieces]:
        """Pieces of every term; made together where terms have one size, which is much faster."""
        by_size: dict[int, list[int]] = {}
        for i, term in enumerate(self.terms):
            by_size.setdefault(len(term.coefficients), []).append(i)
        made: dict[int, _Pieces] = {}
        for members in by_size.values():
            knots = np.stack([self.terms[i].knots for i in members])
            coefficients = np.stack([self.terms[i].coefficients for i in members])
            made.update(zip(members, _pieces(knots, coefficients), strict=True))
        return [made[i] for i in range(len(self.terms))]

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
        for pieces, values in zip(self._pieces, columns, strict=True):
            score += _evaluate(pieces, values)
        return score

    def contributions(self, features: Mapping[str, ArrayLike]) -> dict[str, Floats]:
        """Give what each term adds to the intercept, in score points, shape (n,) by feature."""
        columns = feature_columns(features, self.features, self.target)
        return {
            name: _evaluate(pieces, values)
            for name, pieces, values in zip(self.features, self._pieces, columns, strict=True)
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


def _pieces(t: Floats, c: Floats) -> list[_Pieces]:
    """Polynomial pieces of splines of one size.

    The derivatives of a B-spline are B-splines of lower degree on differenced coefficients (de
    Boor 1978, chapter X); at a knot few of their basis functions are left, so each piece's
    Taylor coefficients follow without a linear system.

    Parameters
    ----------
    t
        Knots, shape (n_splines, n + 4).
    c
        Coefficients, shape (n_splines, n).
    """
    n = c.shape[1]

    def at(start: int) -> Floats:
        """Knots from there on, one a piece."""
        return t[:, start : start + n - DEGREE]

    def mix(a: Floats, b: Floats, left: Floats, right: Floats) -> Floats:
        weight = (at(3) - left) / (right - left)
        return a + weight * (b - a)

    first = 3.0 * np.diff(c) / (t[:, 4 : n + 3] - t[:, 1:n])
    second = 2.0 * np.diff(first) / (t[:, 4 : n + 2] - t[:, 2:n])
    third = np.diff(second) / (t[:, 4 : n + 1] - t[:, 3:n])
    lower = mix(c[:, :-3], c[:, 1:-2], at(1), at(4))
    value = mix(lower, mix(c[:, 1:-2], c[:, 2:-1], at(2), at(5)), at(2), at(4))
    slope = mix(first[:, :-2], first[:, 1:-1], at(2), at(4))
    inner = np.stack([value, slope, second[:, :-1] / 2.0, third / 6.0], axis=1)
    # Value and slope at either end make the straight lines.
    v, s, q, r = inner[:, :, -1].T
    h = t[:, n] - t[:, n - 1]
    lines = np.zeros((len(c), 4, n - 1))
    lines[:, :, 1:-1] = inner
    lines[:, :2, 0] = inner[:, :2, 0]
    lines[:, 0, -1] = v + h * (s + h * (q + h * r))
    lines[:, 1, -1] = s + h * (2.0 * q + h * 3.0 * r)
    ends = t[:, DEGREE : n + 1]
    origins = np.concatenate([ends[:, :1], ends], axis=1)
    return list(zip(ends, origins, lines, strict=True))


def _evaluate(pieces: _Pieces, x: Floats) -> Floats:
    ends, origins, (value, slope, square, cube) = pieces
    at = np.searchsorted(ends, x, side="right")
    if not np.isfinite(x).all():
        x = np.where(np.isfinite(x), x, np.nan)
    h = x - origins[at]
    result: Floats = value[at] + h * (slope[at] + h * (square[at] + h * cube[at]))
    return result


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
    # A set of types, because a bundle has thousands of numbers; True would pass as 1.
    if isinstance(values, list | tuple) and not {type(v) for v in values} <= {int, float}:
        raise InputError(f"{where}: {name} must be numbers.")
    try:
        vector = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: {name} must be numbers.") from None
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise InputError(f"{where}: {name} must be a list of finite numbers.")
    vector.flags.writeable = False
    return vector
