"""The bridge to R: the only room that imports rpy2.

``call`` runs one function of ``r_scripts/`` with plain values and returns plain values;
``RObject`` is a handle to what stays in R (a fitted GAM). Nothing here starts R on import.
"""

from metabench_py.rbridge.session import RWarning, call, has_package, r_version, require_package
from metabench_py.rbridge.values import IntegerMatrix, RObject, RValue

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
