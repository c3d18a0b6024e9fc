"""Plain arrays in one file: bit for bit, and never more memory than a file may claim."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench_py.bundle.arrays import MOST_BYTES, pack_arrays, unpack_arrays
from metabench_py.errors import InputError

SOME = {
    "b": np.arange(6, dtype=np.int32).reshape(2, 3),
    "a.x": np.array([0.1, -np.pi, 1e300]),
    "one": np.array(3, dtype=np.int64),
    "none": np.empty((0, 4), dtype=np.float32),
    "yes": np.array([True, False]),
}


def test_round_trip_is_exact_and_always_the_same_bytes() -> None:
    packed = pack_arrays(SOME)
    assert packed == pack_arrays(dict(reversed(SOME.items())))
    got = unpack_arrays(packed)
    assert set(got) == set(SOME)
    for name, array in SOME.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        np.testing.assert_array_equal(got[name], array)
        assert not got[name].flags.writeable


def test_numpy_reads_it_too() -> None:
    with np.load(io.BytesIO(pack_arrays(SOME)), allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["b"], SOME["b"])


@pytest.mark.parametrize("array", [np.array([None, {}]), np.array(["text"]), np.array([1j])])
def test_other_things_than_numbers_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="numbers"):
        pack_arrays({"a": array})
    stream = io.BytesIO()
    np.savez(stream, a=array)
    with pytest.raises(InputError):
        unpack_arrays(stream.getvalue())


def member(raw: bytes, name: str = "a.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, raw)
    return stream.getvalue()


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "raw",
    [
        header("(1000000000000,)"),
        header("(4294967296, 4294967296)"),
        header("(-1,)"),
        header("(2,)") + bytes(8),
        header("(1,)") + bytes(16),
        header("(1,)", "|O") + bytes(8),
        header("(1,)")[:20],
        b"\x93NUMPY\x02\x00" + header("(1,)")[8:],
        b"",
        b"no array",
    ],
)
def test_what_claims_to_be_another_size_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        unpack_arrays(member(raw))


def test_a_small_file_that_unfolds_to_gigabytes_takes_no_memory() -> None:
    code = (
        "import io, resource, zipfile, sys\n"
        "from metabench_py.bundle.arrays import unpack_arrays\n"
        "from metabench_py.errors import InputError\n"
        "stream = io.BytesIO()\n"
        "with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as z:\n"
        "    with z.open('a.npy', 'w', force_zip64=True) as f:\n"
        "        for _ in range(512): f.write(bytes(1 << 20))\n"
        "content = stream.getvalue()\n"
        "assert len(content) < 1 << 20\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: unpack_arrays(content)\n"
        "except InputError: pass\n"
        "else: sys.exit('read')\n"
        "# A directory that lies about the size is believed, and then found out.\n"
        "lying = content.replace((512 << 20).to_bytes(4, 'little'), (99).to_bytes(4, 'little'))\n"
        "assert lying != content\n"
        "try: unpack_arrays(lying)\n"
        "except InputError: pass\n"
        "else: sys.exit('read')\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert grown < 64 << 10, grown\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert MOST_BYTES < 512 << 20


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    keep=st.floats(0, 1),
)
def test_any_damage_ends_in_arrays_or_a_clear_error(
    edits: list[tuple[float, int]], keep: float
) -> None:
    content = bytearray(pack_arrays(SOME))
    for place, value in edits:
        content[int(place * len(content))] = value
    try:
        got = unpack_arrays(bytes(content[: int(min(1.0, 2 * keep) * len(content))]))
    except InputError:
        return
    assert all(array.dtype.kind in "fiub" for array in got.values())
