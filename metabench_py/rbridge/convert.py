"""Values across the border: Python to R and back, always by copy.

The session imports this module once R runs, since importing rpy2 already starts processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rpy2.rinterface as ri
from numpy.typing import NDArray

from metabench_py.rbridge.values import IntegerMatrix, RObject, attribute, classes

NA_INTEGER = -(2**31)
_PLAIN_CLASSES = {"data.frame", "factor", "matrix", "array", "table", "ordered"}


def to_r(value: Any) -> Any:
    """Turn a Python value into an R one.

    Lists of numbers and of texts become vectors (None among texts is NA), other lists R lists,
    mappings named lists, arrays of one or two dimensions vectors and matrices.

    Raises
    ------
    TypeError
        There is no R value of that kind, or a whole number does not fit R's integers.
    """
    if value is None:
        return ri.NULL
    if isinstance(value, RObject):
        return value._sexp
    if isinstance(value, bool | np.bool_):
        return ri.BoolSexpVector([bool(value)])
    if isinstance(value, int | np.integer):
        return _integers(np.asarray([value]))
    if isinstance(value, float | np.floating):
        return ri.FloatSexpVector([float(value)])
    if isinstance(value, str):
        return ri.StrSexpVector([value])
    if isinstance(value, IntegerMatrix):
        return _integer_matrix(value)
    if isinstance(value, Mapping):
        names = ri.StrSexpVector([str(key) for key in value])
        items = ri.ListSexpVector([to_r(item) for item in value.values()])
        items.do_slot_assign("names", names)
        return items
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, list | tuple):
        kinds = {type(item) for item in value}
        if str in kinds and kinds <= {str, type(None)}:
            return _texts(value)
        if value and all(
            isinstance(item, float | int) and not isinstance(item, bool) for item in value
        ):
            return _array(np.asarray(value))
        return ri.ListSexpVector([to_r(item) for item in value])
    raise TypeError(f"No R value for {type(value).__name__}.")


def _array(values: NDArray[Any]) -> Any:
    if values.ndim > 2:
        raise TypeError(f"No R value for an array of {values.ndim} dimensions.")
    if values.dtype.kind in "UO":
        vector = _texts(values.ravel(order="F").tolist())
    elif values.dtype.kind == "b":
        vector = ri.BoolSexpVector([bool(item) for item in values.ravel(order="F")])
    elif values.dtype.kind in "iu":
        vector = _integers(values)
    elif values.dtype.kind == "f":
        flat = np.ascontiguousarray(values.ravel(order="F"), dtype=np.float64)
        vector = _from_memory(ri.FloatSexpVector, flat)
    else:
        raise TypeError(f"No R value for an array of {values.dtype}.")
    if values.ndim == 2:
        vector.do_slot_assign("dim", ri.IntSexpVector(list(values.shape)))
    return vector


def _texts(items: Sequence[Any]) -> Any:
    odd = next((item for item in items if not (item is None or isinstance(item, str))), None)
    if odd is not None:
        raise TypeError(f"No R value for {type(odd).__name__} among texts.")
    return ri.StrSexpVector([ri.NA_Character if item is None else item for item in items])


def _integers(values: NDArray[Any]) -> Any:
    flat = values.ravel(order="F")
    if flat.size and (int(flat.min()) <= NA_INTEGER or int(flat.max()) >= 2**31):
        raise TypeError("A whole number does not fit R's integers (below 2^31 in size).")
    return _from_memory(ri.IntSexpVector, np.ascontiguousarray(flat, dtype=np.int32))


def _integer_matrix(matrix: IntegerMatrix) -> Any:
    values = np.asarray(matrix.values)
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise TypeError("An IntegerMatrix holds whole numbers in two dimensions.")
    wide = values.astype(np.int32)
    if not np.array_equal(wide, values) or (wide == NA_INTEGER).any():
        raise TypeError("A whole number does not fit R's integers (below 2^31 in size).")
    if matrix.missing is not None:
        wide[wide == matrix.missing] = NA_INTEGER
    vector = _from_memory(ri.IntSexpVector, np.ascontiguousarray(wide.ravel(order="F")))
    vector.do_slot_assign("dim", ri.IntSexpVector(list(wide.shape)))
    if matrix.colnames is not None:
        if len(matrix.colnames) != wide.shape[1]:
            raise TypeError("One column name a column.")
        names = ri.ListSexpVector([ri.NULL, ri.StrSexpVector(list(matrix.colnames))])
        vector.do_slot_assign("dimnames", names)
    return vector


def _from_memory(kind: Any, flat: NDArray[Any]) -> Any:
    return kind.from_memoryview(flat.data) if flat.size else kind([])


def from_r(value: Any) -> Any:
    """Turn an R value into a Python one; what has no plain form comes back as an RObject.

    Named lists and data frames become dicts, unnamed lists lists; vectors become arrays
    (integers and logicals with an NA become float64 with NaN), character vectors and factors lists
    of strings (NA is None), matrices two-dimensional arrays.
    """
    if value is ri.NULL or isinstance(value, type(ri.NULL)):
        return None
    kinds = classes(value)
    if kinds and not set(kinds) & _PLAIN_CLASSES:
        return RObject(value)
    if isinstance(value, ri.ListSexpVector):
        names = attribute(value, "names")
        items = [from_r(item) for item in value]
        return items if names is None else dict(zip(names, items, strict=True))
    if "factor" in kinds:
        levels = list(attribute(value, "levels"))
        return [None if code == NA_INTEGER else levels[code - 1] for code in _memory(value)]
    if isinstance(value, ri.StrSexpVector):
        return [None if item is ri.NA_Character else str(item) for item in value]
    if isinstance(value, ri.FloatSexpVector):
        result: NDArray[Any] = np.array(_memory(value), dtype=np.float64)
    elif isinstance(value, ri.IntSexpVector | ri.BoolSexpVector):
        codes = np.array(_memory(value), dtype=np.int32)
        missing = codes == NA_INTEGER
        if missing.any():
            result = np.where(missing, np.nan, codes).astype(np.float64)
        else:
            result = codes.astype(bool) if isinstance(value, ri.BoolSexpVector) else codes
    else:
        return RObject(value)
    shape = attribute(value, "dim")
    if shape is not None:
        result = np.ascontiguousarray(result.reshape(tuple(shape), order="F"))
    return result


def _memory(value: Any) -> Any:
    return memoryview(value.memoryview()) if len(value) else []
