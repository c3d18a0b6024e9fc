"""What crosses the border besides plain values; importing this loads no rpy2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class IntegerMatrix:
    """An integer matrix whose missing cells are named explicitly.

    Attributes
    ----------
    values
        Whole numbers, shape (n_rows, n_columns).
    missing
        The value that stands for NA; None where every cell is a number.
    colnames
        Column names, set in R.
    """

    values: NDArray[Any]
    missing: int | None = None
    colnames: tuple[str, ...] | None = None


class RObject:
    """A handle to a value that stays in R (a fitted model, a function)."""

    __slots__ = ("_sexp",)

    def __init__(self, sexp: Any) -> None:
        self._sexp = sexp

    def __repr__(self) -> str:
        return f"RObject({', '.join(classes(self._sexp)) or self._sexp.typeof.name})"

    def __reduce__(self) -> Any:
        raise TypeError("An RObject lives in one R process; save it as .rds to hand it on.")


RValue = (
    None
    | bool
    | int
    | float
    | str
    | list[Any]
    | tuple[Any, ...]
    | NDArray[Any]
    | Mapping[str, Any]
    | IntegerMatrix
    | RObject
)


def attribute(sexp: Any, name: str) -> Any:
    """Give an attribute of an R value; None where it has none of that name."""
    return sexp.do_slot(name) if name in list(sexp.list_attrs()) else None


def classes(sexp: Any) -> list[str]:
    """Give an R value's explicit classes; implicit ones (matrix, numeric) do not count."""
    found = attribute(sexp, "class")
    return [] if found is None else [str(item) for item in found]
