"""Kernel density estimates as R's ``density`` gives them by default."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

_LEAST_POINTS = 512
_CUT = 4.0


def bandwidth(values: ArrayLike) -> float:
    """Silverman's rule of thumb (1986, equation 3.31), as ``bw.nrd0``."""
    x = np.asarray(values, np.float64)
    if x.size < 2:
        raise InputError("A density needs two or more values.")
    spread = float(x.std(ddof=1))
    low, high = np.quantile(x, [0.25, 0.75])
    narrow = min(spread, float(high - low) / 1.34) or spread or abs(float(x[0])) or 1.0
    return float(0.9 * narrow * x.size**-0.2)


def density(values: ArrayLike, n: int, low: float, high: float) -> Floats:
    """Gaussian kernel density at `n` equally spaced points from `low` to `high`.

    ``density(values, n = n, from = low, to = high)`` of R before 4.4: values are shared out
    linearly among 2^k points, smoothed there by Fourier transforms, and interpolated.

    Returns
    -------
    Shape (n,), not negative; it need not integrate to 1 where values lie outside.
    """
    x = np.asarray(values, np.float64)
    width = bandwidth(x)
    size = 1 << int(np.ceil(np.log2(max(n, _LEAST_POINTS))))
    start, end = low - _CUT * width, high + _CUT * width
    step = (end - start) / (size - 1)
    place = (x - start) / step
    left = np.floor(place).astype(np.int64)
    share = place - left
    mass = np.zeros(2 * size)
    for at, weight in ((left, 1.0 - share), (left + 1, share)):
        inside = (at >= 0) & (at <= size - 1)
        np.add.at(mass, at[inside], weight[inside] / x.size)
    far = np.linspace(0.0, 2.0 * (end - start), 2 * size)
    far[size + 1 :] = -far[size - 1 : 0 : -1]
    kernel = np.exp(-0.5 * (far / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
    smooth = np.fft.ifft(np.fft.fft(mass) * np.conj(np.fft.fft(kernel))).real[:size]
    points = np.linspace(start, end, size)
    found: Floats = np.interp(np.linspace(low, high, n), points, np.maximum(smooth, 0.0))
    return found
