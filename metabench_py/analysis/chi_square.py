"""Chi-square distributions, in the standard library alone."""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 1e-17


def chi_square_cdf(x: float, dof: float) -> float:
    """Probability of a chi-square variable to be at most `x`.

    The incomplete gamma function's series, whose terms are all positive (Abramowitz & Stegun
    6.5.29). ``1 - cdf`` is 0 where it is below 1e-16.
    """
    if x <= 0.0:
        return 0.0
    a, y = dof / 2.0, x / 2.0
    # Relative to the largest term, so that nothing overflows.
    peak = max(0, math.ceil(y - a))
    largest = (a + peak) * math.log(y) - y - math.lgamma(a + peak + 1.0)
    total = term = 1.0
    for n in range(peak, 0, -1):
        term *= (a + n) / y
        total += term
        if term < _TINY * total:
            break
    term, n = 1.0, peak
    while term > _TINY * total:
        n += 1
        term *= y / (a + n)
        total += term
    return min(1.0, math.exp(largest + math.log(total)))


def noncentral_cdf(x: float, dof: float, shift: float) -> float:
    """Probability of a non-central chi-square variable of non-centrality `shift`.

    A mixture of central ones with Poisson weights, summed around the Poisson's mode.
    """
    if shift < _TINY:
        return chi_square_cdf(x, dof)
    half = shift / 2.0
    spread = int(12.0 * math.sqrt(half) + 40.0)
    total = 0.0
    for n in range(max(0, int(half) - spread), int(half) + spread + 1):
        weight = math.exp(n * math.log(half) - half - math.lgamma(n + 1.0))
        total += weight * chi_square_cdf(x, dof + 2.0 * n)
    return min(1.0, total)


def noncentrality(x: float, dof: float, share: float) -> float:
    """Give the non-centrality at which `x` has the cumulative probability `share`; 0 if none."""
    return _falling_root(lambda shift: noncentral_cdf(x, dof, shift) - share, max(x, 1.0))


def _falling_root(function: Callable[[float], float], start: float) -> float:
    if function(0.0) <= 0.0:
        return 0.0
    low, high = 0.0, start
    while function(high) > 0.0:
        low, high = high, 2.0 * high
    # Bisection to seven digits: what an interval's bound needs.
    while high - low > 1e-7 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if function(middle) > 0.0 else (low, middle)
    return (low + high) / 2.0
