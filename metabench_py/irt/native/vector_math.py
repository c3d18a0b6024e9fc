"""Exponential and logarithm of whole arrays, in loops that compilers turn into SIMD code.

numba calls libm one number at a time; these take a quarter of that time and are within two units
in the last place for the arguments that item curves have (no zeros, infinities or subnormals).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from metabench_py.irt.model import Floats

Integers = NDArray[np.int64]

_LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first with trailing zero bits, so that k * ln 2 is exact (Cody & Waite).
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
# Adding 1.5 * 2^52 rounds to a whole number and leaves it in the low bits.
_ROUND = 6755399441055744.0
_MANTISSA_BITS = 52
_BIAS = 1023
_EXPONENT_MASK = 0xFFF
_TWO_52 = 4503599627370496.0
_TWO_52_BITS = 0x4330000000000000
# Bits of 1.0 minus bits of sqrt(1/2): moves the cut between exponents to sqrt(1/2).
_SHIFT = 0x3FF0000000000000 - 0x3FE6A09E667F3BCD


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def exp_into(x: Floats, result: Floats) -> None:
    """Fill `result` with exp(x), flat arrays, for -700 < x < 700; may not be the same array."""
    bits = result.view(np.int64)
    for i in range(x.size):
        result[i] = x[i] * _LOG2_E + _ROUND
    for i in range(x.size):
        bits[i] = (bits[i] + _BIAS) << _MANTISSA_BITS
    for i in range(x.size):
        k = (x[i] * _LOG2_E + _ROUND) - _ROUND
        r = (x[i] - k * _LN2_HIGH) - k * _LN2_LOW
        # Taylor to r^13 / 13!, |r| < 0.35.
        p = 1.0 / 6227020800.0
        p = p * r + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        result[i] = result[i] * p


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def log_into(x: Floats, result: Floats, mantissa: Floats) -> None:
    """Fill `result` with log(x), flat arrays, for normal x > 0; `mantissa` is scratch."""
    x_bits = x.view(np.int64)
    bits = result.view(np.int64)
    mantissa_bits = mantissa.view(np.int64)
    for i in range(x.size):
        exponent = ((x_bits[i] + _SHIFT) >> _MANTISSA_BITS) & _EXPONENT_MASK
        mantissa_bits[i] = x_bits[i] - ((exponent - _BIAS) << _MANTISSA_BITS)
        bits[i] = exponent | _TWO_52_BITS
    for i in range(x.size):
        k = result[i] - (_TWO_52 + _BIAS)
        f = mantissa[i] - 1.0
        s = f / (2.0 + f)
        w = s * s
        # log(1 + f) = 2 artanh(s), series to s^21 / 21, |s| < 0.172.
        p = 1.0 / 21.0
        p = p * w + 1.0 / 19.0
        p = p * w + 1.0 / 17.0
        p = p * w + 1.0 / 15.0
        p = p * w + 1.0 / 13.0
        p = p * w + 1.0 / 11.0
        p = p * w + 1.0 / 9.0
        p = p * w + 1.0 / 7.0
        p = p * w + 1.0 / 5.0
        p = p * w + 1.0 / 3.0
        result[i] = k * _LN2_HIGH + (2.0 * s + (2.0 * s * w * p + k * _LN2_LOW))
