"""Portable GAMs: values, straight lines outside, JSON, and what is refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from metabench_py.errors import InputError
from metabench_py.gam import PortableGam, SplineTerm

KNOTS = np.arange(-3.0, 8.0)
COEFFICIENTS = np.array([0.5, -1.0, 2.0, 0.25, 3.0, -2.0, 1.5])


@pytest.fixture
def gam() -> PortableGam:
    return PortableGam(
        "grand",
        60.0,
        (SplineTerm("arc", KNOTS, COEFFICIENTS), SplineTerm("arc.l", KNOTS * 2, COEFFICIENTS * 3)),
    )


def test_cardinal_spline_at_its_knots() -> None:
    """At a knot of an even grid a cubic B-spline weighs its coefficients 1/6, 4/6, 1/6."""
    term = SplineTerm("arc", KNOTS, COEFFICIENTS)
    at = np.arange(0.0, 5.0)
    c = COEFFICIENTS
    assert (term.lower, term.upper) == (0.0, 4.0)
    np.testing.assert_allclose(term.evaluate(at), (c[:5] + 4 * c[1:6] + c[2:7]) / 6, rtol=1e-14)


def test_a_polynomial_of_degree_three_is_reproduced() -> None:
    """Marsden's identity: the blossom's values at the knots are the coefficients of x^3."""
    knots = np.array([-4.0, -2.5, -1.0, 0.0, 0.7, 2.0, 2.5, 4.0, 5.0, 7.0, 8.0])
    cubes = np.array([knots[i + 1] * knots[i + 2] * knots[i + 3] for i in range(7)])
    x = np.linspace(0.0, 4.0, 101)
    np.testing.assert_allclose(SplineTerm("x", knots, cubes).evaluate(x), x**3, atol=1e-12)


def test_straight_lines_outside() -> None:
    term = SplineTerm("arc", KNOTS, COEFFICIENTS)
    step = 1e-6
    for end, sign in ((term.lower, -1.0), (term.upper, 1.0)):
        slope = (term.evaluate(end) - term.evaluate(end - sign * step)) / (sign * step)
        far = term.evaluate(end + sign * np.array([1.0, 10.0, 1000.0]))
        expected = term.evaluate(end) + slope * sign * np.array([1.0, 10.0, 1000.0])
        np.testing.assert_allclose(far, expected, rtol=1e-4)
        np.testing.assert_allclose(
            np.diff(far), np.diff(far)[0] * np.array([1.0, 110.0]), rtol=1e-9
        )


def test_missing_and_infinite_features_give_nan(gam: PortableGam) -> None:
    features = {"arc": [0.0, np.nan, np.inf, -np.inf], "arc.l": np.zeros(4)}
    score = gam.predict(features)
    assert np.isfinite(score[0])
    assert np.isnan(score[1:]).all()


def test_prediction_is_the_sum_of_its_parts(gam: PortableGam) -> None:
    features = {"arc": np.linspace(-9, 9, 7), "arc.l": np.linspace(20, -20, 7), "unused": 3}
    parts = gam.contributions(features)
    assert list(parts) == ["arc", "arc.l"]
    np.testing.assert_allclose(gam.predict(features), 60.0 + sum(parts.values()), rtol=1e-15)
    assert gam.predict({"arc": 0.0, "arc.l": 0.0}).shape == (1,)


def test_json_round_trip_is_exact(gam: PortableGam) -> None:
    again = PortableGam.from_dict(json.loads(json.dumps(gam.to_dict(), allow_nan=False)))
    x = {"arc": np.linspace(-5, 9, 50), "arc.l": np.linspace(-5, 19, 50)}
    assert again.target == "grand"
    assert again.features == ("arc", "arc.l")
    assert np.array_equal(again.predict(x), gam.predict(x))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ((), [], "object"),
        (("format",), "tensor", "format"),
        (("version",), 2, "Update"),
        (("version",), True, "format version"),
        (("target",), 3, "target"),
        (("target",), "", "target"),
        (("intercept",), float("nan"), "intercept"),
        (("intercept",), "60", "intercept"),
        (("intercept",), None, "intercept"),
        (("intercept",), True, "intercept"),
        (("terms",), [], "terms"),
        (("terms",), {"arc": 1}, "terms"),
        (("terms", 0), 7, "Term 1"),
        (("terms", 0, "feature"), "", "feature"),
        (("terms", 0, "feature"), ["arc"], "feature"),
        (("terms", 0, "feature"), "arc.l", "two terms"),
        (("terms", 1, "knots"), None, "knots"),
        (("terms", 1, "knots"), "12345678901", "knots"),
        (("terms", 1, "knots"), list(range(10)), "11 knots, not 10"),
        (("terms", 1, "knots"), [0, *range(10)], "ascend"),
        (("terms", 1, "knots"), [*range(10), float("inf")], "finite"),
        (("terms", 1, "coefficients"), [1.0] * 6 + [float("nan")], "finite"),
        (("terms", 1, "coefficients"), ["1"] * 7, "numbers"),
        (("terms", 1, "coefficients"), [True] * 7, "numbers"),
        (("terms", 1, "coefficients"), [[1.0]] * 7, "numbers"),
        (("terms", 1, "coefficients"), [10**400] * 7, "numbers"),
        (("terms", 1, "coefficients"), [1.0, 2.0, 3.0], "at least 4"),
    ],
)
def test_malformed_json_is_an_input_error(
    gam: PortableGam, path: tuple[Any, ...], value: Any, says: str
) -> None:
    document: Any = copy.deepcopy(gam.to_dict())
    if path:
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    else:
        document = value
    with pytest.raises(InputError, match=says):
        PortableGam.from_dict(document)


@pytest.mark.parametrize("key", ["format", "version", "target", "intercept", "terms"])
def test_an_absent_key_is_named(gam: PortableGam, key: str) -> None:
    document = gam.to_dict()
    del document[key]
    with pytest.raises(InputError, match=key):
        PortableGam.from_dict(document)


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ({"arc": np.zeros(3)}, "'arc.l', which is absent"),
        ({"arc": np.zeros(3), "arc.l": np.zeros(2)}, "as many"),
        ({"arc": np.zeros(3), "arc.l": np.zeros((3, 1))}, "one number an LLM"),
        ({"arc": np.zeros(1), "arc.l": ["much"]}, "one number an LLM"),
    ],
)
def test_unusable_features_are_named(gam: PortableGam, features: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        gam.predict(features)


def test_values_cannot_be_changed_behind_the_cache() -> None:
    coefficients = COEFFICIENTS.copy()
    term = SplineTerm("arc", KNOTS, coefficients)
    before = term.evaluate(1.5)
    coefficients[:] = 0.0
    assert term.evaluate(1.5) == before
    with pytest.raises(ValueError, match="read-only"):
        term.coefficients[0] = 1.0


def test_prediction_needs_no_heavy_import() -> None:
    code = (
        "import sys, metabench_py.gam; "
        "heavy = {'scipy', 'pandas', 'numba', 'rpy2', 'matplotlib', 'pyarrow'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
