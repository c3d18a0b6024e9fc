"""The bridge to R: the only room that imports rpy2.

``call`` runs one function of ``r_scripts/`` with plain values and returns plain values;
``RObject`` is a handle to what stays in R (a fitted GAM). Nothing here starts R on import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metabench_py.rbridge.session import RWarning, call, has_package, r_version, require_package

if TYPE_CHECKING:
    from metabench_py.rbridge.convert import IntegerMatrix, RObject, RValue

__all__ = [
    "IntegerMatrix",
    "RObject",
    "RValue",
    "RWarning",
    "call",
    "has_package",
    "r_version",
    "require_package",
]


def __getattr__(name: str) -> Any:
    # convert imports rpy2, so it waits until somebody needs it.
    if name in ("IntegerMatrix", "RObject", "RValue"):
        return getattr(import_module("metabench_py.rbridge.convert"), name)
    raise AttributeError(name)
