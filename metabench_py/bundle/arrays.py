"""Plain arrays in one file: NumPy's .npz, written alike each time and read without trust.

`numpy.load` believes what a file says of itself: a few bytes can claim an array of terabytes, a
ZIP of kilobytes can unfold to gigabytes, and an object array is a pickle. Here every size is known
before any memory is taken.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError

MOST_BYTES = 64 << 20
MOST_ARRAYS = 4096
_KINDS = "fiub"
# ZIP knows no earlier one; a real one would make each file another.
_DATE = (1980, 1, 1, 0, 0, 0)


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Put arrays of numbers into the bytes of an .npz, sorted by name.

    Raises
    ------
    InputError
        An array holds something other than numbers, or all of them are too large.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        total = 0
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name]).reshape(np.shape(arrays[name]))
            total += array.nbytes
            if array.dtype.kind not in _KINDS or total > MOST_BYTES:
                raise InputError(
                    f"The array {name!r} of type {array.dtype} cannot be packed: numbers, and "
                    f"{MOST_BYTES >> 20} MB in all at most."
                )
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", _DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(member, content.getvalue(), compresslevel=9)
    return stream.getvalue()


def unpack_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Read what `pack_arrays` made; no pickle, and never more than `MOST_BYTES` of memory.

    Raises
    ------
    InputError
        It is no such file, or claims too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            return _unpack(packed)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError,
        RuntimeError, SyntaxError, OverflowError, MemoryError, KeyError, TypeError,
    ) as error:  # fmt: skip
        raise InputError(f"No readable arrays ({error}).") from error


def _unpack(packed: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    members = packed.infolist()
    if len(members) > MOST_ARRAYS or sum(m.file_size for m in members) > MOST_BYTES:
        raise InputError(
            f"More than {MOST_ARRAYS:,} arrays or {MOST_BYTES >> 20} MB, which no such file has."
        )
    arrays: dict[str, NDArray[Any]] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename or not name or name in arrays:
            raise InputError(f"The member {member.filename!r} is no array, or is there twice.")
        # A ZIP's directory can lie: reading ends at the size that it told.
        with packed.open(member) as stream:
            raw = stream.read(member.file_size + 1)
        arrays[name] = _array(name, raw)
    return arrays


def _array(name: str, raw: bytes) -> NDArray[Any]:
    stream = io.BytesIO(raw)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise InputError(f"The array {name!r} is of another format version.")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    start = stream.tell()
    whole = all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 8
    if dtype.kind not in _KINDS or fortran or not whole:
        raise InputError(f"The array {name!r} holds something other than numbers.")
    count = math.prod(shape)
    if count * dtype.itemsize != len(raw) - start:
        raise InputError(f"The array {name!r} is of another size than it says.")
    values = np.frombuffer(raw, dtype, count, start).reshape(shape)
    # Aligned, writable by nobody, and in this machine's byte order.
    array = values.astype(dtype.newbyteorder("="))
    array.flags.writeable = False
    return array
