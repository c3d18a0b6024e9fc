"""The bridge to R: the only room that imports rpy2.

``call`` runs one function of ``r_scripts/`` with plain values and returns plain values;
``RObject`` is a handle to what stays in R (a fitted GAM). Nothing here starts R on import.
"""

from metabench_py.rbridge.session import RObject, RValue, call, has_package, r_version

__all__ = ["RObject", "RValue", "call", "has_package", "r_version"]
