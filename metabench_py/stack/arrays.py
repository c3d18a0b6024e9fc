"""Plain arrays by name: how they are read without trusting them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

# Nothing in a stack is larger: scores are 0-100, weights and coefficients at most some thousands.
LARGEST = 1e12
MOST_VALUES = 20_000_000

Arrays = Mapping[str, NDArray[Any]]


def take(arrays: Arrays, name: str, shape: tuple[int | None, ...], kind: str = "f") -> NDArray[Any]:
    """Take one array and check it.

    Parameters
    ----------
    shape
        The wanted one; None: any length.
    kind
        Kinds of dtype that may be there (``numpy.dtype.kind``).

    Raises
    ------
    InputError
        It is absent, of another shape or kind, not finite, or absurdly large.
    """
    if name not in arrays:
        raise InputError(f"The stack lacks the array {name!r}; write it again.", array=name)
    values = np.asarray(arrays[name])
    if values.dtype.kind not in kind:
        raise InputError(f"The stack's array {name!r} is of type {values.dtype}.", array=name)
    fits = values.ndim == len(shape) and all(
        want is None or have == want for want, have in zip(shape, values.shape, strict=True)
    )
    if not fits:
        wanted = " x ".join("any" if n is None else str(n) for n in shape) or "one number"
        raise InputError(
            f"The stack's array {name!r} is of shape {values.shape}, not {wanted}.", array=name
        )
    if values.size > MOST_VALUES:
        raise InputError(f"The stack's array {name!r} is too large.", array=name)
    if values.size and not np.abs(values.astype(np.float64)).max() <= LARGEST:
        raise InputError(f"The stack's array {name!r} has values out of range.", array=name)
    return values


def take_floats(arrays: Arrays, name: str, shape: tuple[int | None, ...]) -> Floats:
    """Take one array as float64; it may be stored in fewer digits."""
    return take(arrays, name, shape).astype(np.float64)


def part(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    """Take the arrays whose names begin with ``prefix.``, without it."""
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def named(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Put ``prefix.`` before the names."""
    return {f"{prefix}.{name}": values for name, values in arrays.items()}
