"""The arithmetic of the adaptive spline: banded least squares, GCV and its derivatives.

A cubic spline whose coefficients' second differences are penalised, the weight of the penalty
being itself a B-spline whose coefficients are the smoothing parameters (Eilers & Marx 1996;
Ruppert & Carroll 2000; `bs = "ad"` of R's mgcv). Intercept and centred term together are the plain
spline, so that no constraint is needed and all matrices stay banded: with B = X'WX, the
differences D and the weights L = sum(exp(rho_j) v_j), everything that GCV's first and second
derivatives need is in P = D (B + D'LD)^-1 D' and the differences Db of the estimate.
"""

# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from metabench_py.irt.model import Floats

BAND = 4
# A pivot this small beside the largest one determines no coefficient.
_SINGULAR = 1e-11


@njit(cache=True, nogil=True)
def spline_rows(x: Floats, knots: Floats, start: NDArray[np.int64], rows: Floats) -> None:
    """Fill each row with the four cubic B-splines that are not zero at `x`.

    Beyond the outer knots of the data's range the splines go on as straight lines, as
    ``mgcv::predict.gam`` has them.

    Parameters
    ----------
    x
        Shape (n,).
    knots
        Evenly spaced, shape (n_basis + 4,).
    start, rows
        Taken up: the first basis function's number, shape (n,); values, shape (n, 4).
    """
    n_basis = knots.size - 4
    low, high = knots[3], knots[n_basis]
    width = (high - low) / (n_basis - 3)
    for i in range(x.size):
        at = x[i]
        inside = min(max(at, low), high)
        piece = min(int((inside - low) / width), n_basis - 4)
        u = (inside - knots[3 + piece]) / width
        start[i] = piece
        v = 1.0 - u
        rows[i, 0] = v * v * v / 6.0
        rows[i, 1] = (u * u * (3.0 * u - 6.0) + 4.0) / 6.0
        rows[i, 2] = (v * v * (3.0 * v - 6.0) + 4.0) / 6.0
        rows[i, 3] = u * u * u / 6.0
        if at != inside:
            beyond = (at - inside) / width
            rows[i, 0] -= beyond * v * v / 2.0
            rows[i, 1] += beyond * u * (1.5 * u - 2.0)
            rows[i, 2] -= beyond * v * (1.5 * v - 2.0)
            rows[i, 3] += beyond * u * u / 2.0


@njit(cache=True, nogil=True)
def insert_row(factor: Floats, first: int, row: Floats) -> None:
    """Rotate a row into a triangular factor (Givens); `row` is used up.

    Parameters
    ----------
    factor
        Shape (n_basis, 5): R[c, c:c + 4] and, last, the right-hand side. Rows come in the order
        of their first column, so that none fills in beyond the band.
    first
        Column of ``row[0]``.
    row
        Shape (5,).
    """
    n = factor.shape[0]
    for c in range(first, min(first + BAND, n)):
        b = row[0]
        if b != 0.0:
            a = factor[c, 0]
            r = np.sqrt(a * a + b * b)
            cosine, sine = a / r, b / r
            factor[c, 0] = r
            for k in range(1, 5):
                upper, lower = factor[c, k], row[k]
                factor[c, k] = cosine * upper + sine * lower
                row[k] = cosine * lower - sine * upper
        row[0], row[1], row[2], row[3] = row[1], row[2], row[3], 0.0


@njit(cache=True, nogil=True)
def reduce_data(
    start: NDArray[np.int64], rows: Floats, weight: Floats, mean: Floats, n_basis: int
) -> Floats:
    """Triangular factor of the weighted data, which ascend; see `insert_row`."""
    factor = np.zeros((n_basis, 5))
    row = np.empty(5)
    for i in range(weight.size):
        root = np.sqrt(weight[i])
        for k in range(BAND):
            row[k] = root * rows[i, k]
        row[4] = root * mean[i]
        insert_row(factor, start[i], row)
    return factor


@njit(cache=True, nogil=True)
def solve(data: Floats, penalty: Floats, factor: Floats, beta: Floats) -> bool:
    """Penalised least squares at weights `penalty` of the squared second differences.

    Parameters
    ----------
    data
        `reduce_data`'s factor.
    penalty
        Shape (n_basis - 2,).
    factor, beta
        Taken up: the factor of both and the coefficients, shape (n_basis,).

    Returns
    -------
    False where the coefficients are not determined.
    """
    n = data.shape[0]
    factor[:] = 0.0
    row = np.empty(5)
    largest = 0.0
    for c in range(n):
        row[:] = data[c]
        insert_row(factor, c, row)
        if c < n - 2:
            root = np.sqrt(penalty[c])
            row[0], row[1], row[2], row[3], row[4] = root, -2.0 * root, root, 0.0, 0.0
            insert_row(factor, c, row)
        largest = max(largest, abs(factor[c, 0]))
    for c in range(n - 1, -1, -1):
        if not abs(factor[c, 0]) > _SINGULAR * largest:
            return False
        total = factor[c, 4]
        for k in range(1, min(BAND, n - c)):
            total -= factor[c, k] * beta[c + k]
        beta[c] = total / factor[c, 0]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def root_of_covariance(factor: Floats, root: Floats) -> None:
    """Fill G', the transpose of G = D R^-1, shape (n_basis, n_basis - 2); P is GG'.

    Column i of G' is zero above row i. All columns go side by side, so that loops vectorise.
    """
    n = factor.shape[0]
    size = n - 2
    for c in range(n):
        for i in range(size):
            root[c, i] = 0.0
        if c < size:
            root[c, c] = 1.0
        if 1 <= c <= size:
            root[c, c - 1] = -2.0
        if c >= 2:
            root[c, c - 2] = 1.0
        for k in range(1, min(BAND, c + 1)):
            upper = factor[c - k, k]
            for i in range(min(c - k + 1, size)):
                root[c, i] -= upper * root[c - k, i]
        for i in range(min(c + 1, size)):
            root[c, i] /= factor[c, 0]


@njit(cache=True, nogil=True)
def residual_squares(
    start: NDArray[np.int64], rows: Floats, weight: Floats, mean: Floats, beta: Floats
) -> float:
    """Weighted squares of what the spline leaves of the means."""
    total = 0.0
    for i in range(weight.size):
        left = mean[i]
        for k in range(BAND):
            left -= rows[i, k] * beta[start[i] + k]
        total += weight[i] * left * left
    return total


@njit(cache=True, nogil=True)
def product(a: Floats, b: Floats) -> Floats:
    """Give the matrix product by loops that the compiler vectorises.

    numba's own product would need SciPy, and a BLAS's last digits depend on the machine.
    """
    result = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            factor = a[i, k]
            # G's rows begin with zeros.
            if factor != 0.0:
                for j in range(b.shape[1]):
                    result[i, j] += factor * b[k, j]
    return result


@njit(cache=True, nogil=True)
def derivatives(
    parts: Floats, root: Floats, beta: Floats, n: float, squares: float, edf: float,
    gradient: Floats, hessian: Floats,
) -> None:  # fmt: skip
    """First and second derivatives of GCV by the logarithms of the smoothing parameters.

    Parameters
    ----------
    parts
        exp(rho_j) v_j, shape (n_penalties, n_basis - 2).
    root
        `root_of_covariance`'s G'.
    n, squares, edf
        Observations, residual sum of squares, trace of the hat matrix.
    gradient, hessian
        Taken up.
    """
    m, size = parts.shape
    penalty = parts.sum(axis=0)
    p = product(np.ascontiguousarray(root.T), root)
    # D H^-1 B H^-1 D', of which the stiff parts are as exact as GCV needs them.
    q = p - product(p * penalty, p)
    bent = np.empty(size)
    for i in range(size):
        bent[i] = beta[i] - 2.0 * beta[i + 1] + beta[i + 2]
    forces = parts * bent
    pulls = product(forces, p)
    pull = pulls.sum(axis=0)
    pq = product(product(parts, p * q), np.ascontiguousarray(parts.T))
    fqf = product(product(forces, q), np.ascontiguousarray(forces.T))
    left = n - edf
    edf_slope, squares_slope = np.empty(m), np.empty(m)
    for j in range(m):
        edf_slope[j] = 0.0
        squares_slope[j] = 0.0
        for i in range(size):
            edf_slope[j] -= parts[j, i] * q[i, i]
            squares_slope[j] += 2.0 * pull[i] * forces[j, i]
        gradient[j] = n * (squares_slope[j] + 2.0 * squares * edf_slope[j] / left) / left**2
    for j in range(m):
        for k in range(j + 1):
            edf_curve = 2.0 * pq[j, k]
            squares_curve = 2.0 * fqf[j, k]
            for i in range(size):
                squares_curve -= (
                    2.0 * pull[i] * (parts[k, i] * pulls[j, i] + parts[j, i] * pulls[k, i])
                )
            if j == k:
                edf_curve += edf_slope[j]
                squares_curve += squares_slope[j]
            both = squares_slope[j] * edf_slope[k] + squares_slope[k] * edf_slope[j]
            value = squares_curve + 2.0 * (both + squares * edf_curve) / left
            value += 6.0 * squares * edf_slope[j] * edf_slope[k] / left**2
            hessian[j, k] = n * value / left**2
            hessian[k, j] = hessian[j, k]
