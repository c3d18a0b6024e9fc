"""What holds for every cubic spline term and every additive model."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench_py.gam import PortableGam, SplineTerm
from metabench_py.irt.model import Floats

number = st.floats(-1e3, 1e3, allow_nan=False)


@st.composite
def knots(draw: st.DrawFn, n_basis: int) -> Floats:
    gaps = draw(st.lists(st.floats(0.05, 20.0), min_size=n_basis + 3, max_size=n_basis + 3))
    return draw(number) + np.concatenate([[0.0], np.cumsum(gaps)])


@st.composite
def terms(draw: st.DrawFn, feature: str = "x") -> SplineTerm:
    n = draw(st.integers(4, 12))
    coefficients = draw(st.lists(number, min_size=n, max_size=n))
    return SplineTerm(feature, draw(knots(n)), np.array(coefficients))


def de_boor(term: SplineTerm, x: float) -> float:
    """Cox-de Boor recursion: the textbook's slow definition, inside the knots only."""
    t = term.knots

    def basis(i: int, degree: int) -> float:
        if degree == 0:
            return float(t[i] <= x < t[i + 1])
        left = (x - t[i]) / (t[i + degree] - t[i]) * basis(i, degree - 1)
        right = (t[i + degree + 1] - x) / (t[i + degree + 1] - t[i + 1]) * basis(i + 1, degree - 1)
        return float(left + right)

    return sum(float(c) * basis(i, 3) for i, c in enumerate(term.coefficients))


def scale(term: SplineTerm) -> float:
    return float(np.abs(term.coefficients).max()) + 1.0


@given(terms(), st.floats(0.0, 0.999999))
def test_equals_the_recursive_definition(term: SplineTerm, share: float) -> None:
    x = term.lower + share * (term.upper - term.lower)
    assert abs(float(term.evaluate(x)) - de_boor(term, x)) <= 1e-9 * scale(term)


@given(st.integers(4, 12).flatmap(knots), number, st.floats(-1e4, 1e4))
def test_partition_of_unity(t: Floats, constant: float, x: float) -> None:
    term = SplineTerm("x", t, np.full(len(t) - 4, constant))
    assert abs(float(term.evaluate(x)) - constant) <= 1e-9 * scale(term)


@given(st.integers(4, 12).flatmap(knots), number, st.floats(-10, 10), st.floats(-1e3, 1e3))
def test_a_straight_line_stays_one_everywhere(t: Floats, a: float, b: float, x: float) -> None:
    """Greville's abscissae as coefficients make the identity, inside and outside."""
    greville = (t[1:-3] + t[2:-2] + t[3:-1]) / 3.0
    value = float(SplineTerm("x", t, a + b * greville).evaluate(x))
    assert abs(value - (a + b * x)) <= 1e-8 * (1 + abs(a) + abs(b) * (abs(x) + np.abs(t).max()))


@given(terms(), st.floats(0.0, 100.0), st.floats(0.01, 100.0))
def test_linear_beyond_the_knots(term: SplineTerm, start: float, step: float) -> None:
    for end, sign in ((term.lower, -1.0), (term.upper, 1.0)):
        y = term.evaluate(end + sign * (start + step * np.arange(3.0)))
        assert abs(y[2] - 2 * y[1] + y[0]) <= 1e-9 * (1 + np.abs(y).max())


@given(terms())
def test_smooth_across_the_knots(term: SplineTerm) -> None:
    """The value does not jump, and beyond the ends goes on from it."""
    inner = term.knots[3 : len(term.coefficients) + 1]
    span = np.diff(term.knots).min()
    step = 1e-7 * span
    jump = np.abs(term.evaluate(inner + step) - term.evaluate(inner - step))
    assert (jump <= 1e-5 * scale(term) + 1e-9).all()


@settings(max_examples=50)
@given(st.data())
def test_additivity_and_json(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
    gam = PortableGam(
        "grand", data.draw(number), tuple(data.draw(terms(feature=name)) for name in names)
    )
    n = data.draw(st.integers(1, 5))
    features = {
        name: np.array(data.draw(st.lists(number, min_size=n, max_size=n))) for name in names
    }
    score = gam.predict(features)
    parts = [term.evaluate(features[term.feature]) for term in gam.terms]
    size = 1.0 + abs(gam.intercept) + sum(np.abs(p).max() for p in parts)
    np.testing.assert_allclose(score, gam.intercept + sum(parts), atol=1e-12 * size)
    # One LLM at a time gives what all give together.
    each = [gam.predict({k: v[i : i + 1] for k, v in features.items()})[0] for i in range(n)]
    assert np.array_equal(score, each)
    again = PortableGam.from_dict(json.loads(json.dumps(gam.to_dict())))
    assert np.array_equal(again.predict(features), score)
