"""The order of LLMs' names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Order = Literal["c", "icu"]
ORDERS: tuple[Order, ...] = get_args(Order)


def sorted_names(names: Iterable[str], order: Order) -> list[str]:
    """Sort names.

    Parameters
    ----------
    order
        ``c``: by code points, the same everywhere (what R does under ``LC_ALL=C``). ``icu``: as R
        does elsewhere; asks R.

    Raises
    ------
    RUnavailableError
        ``icu`` where R is absent.
    """
    given = list(names)
    if order == "c":
        return sorted(given)
    from metabench_py.rbridge.collation import icu_order

    return [given[i] for i in icu_order(given)]
