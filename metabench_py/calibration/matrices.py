"""Response matrices and prompts in a folder: of any benchmarks, in one file each or in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.calibration.inputs import RESPONSE_SUFFIXES, load_matrix
from metabench_py.calibration.ordering import Order, sorted_names
from metabench_py.calibration.tables import fail, item_id, read_table, text
from metabench_py.errors import InputError, ResponseError
from metabench_py.responses import ResponseMatrix

# Benchmarks whose files may be one a subject: mmlu_anatomy.csv and so on.
PARTED = ("mmlu",)
# Benchmarks of their own that are called like a part of another.
_NO_PARTS = frozenset({"mmlu_cf", "mmlu_plus", "mmlu_pro", "mmlu_prox", "mmlu_redux"})
# Tables that the stages write beside the matrices.
_OURS = frozenset({"items", "scores", "split", "subsample", "summary"})
_PROMPT_ENDS = ("-prompts", "_prompts")
_KEYS = ("name", "llm", "__index_level_0__")


@dataclass(frozen=True)
class Source:
    """The files of one benchmark.

    Attributes
    ----------
    parts
        Name of each part and its file; the name is empty where one file holds everything.
    """

    benchmark: str
    parts: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class Sources:
    """What a folder holds.

    Attributes
    ----------
    found
        Benchmarks in alphabetical order.
    aside
        Names of tables that are no matrices, and why.
    """

    found: tuple[Source, ...]
    aside: tuple[str, ...]


def find_sources(folder: Path, benchmarks: Sequence[str] = ()) -> Sources:
    """Find the matrices of a folder.

    Parameters
    ----------
    folder
        With ``<benchmark>.parquet``, ``.csv`` or ``.csv.gz``, or ``mmlu_<subject>.csv`` and so on
        for all subjects.
    benchmarks
        Take these; empty: every table that can be a matrix.

    Raises
    ------
    InputError
        The folder or a benchmark is absent, or there are two files for the same.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.", path=str(folder))
    files: dict[str, Path] = {}
    aside = []
    for path in sorted(folder.iterdir()):
        name = _stem(path)
        if name is None or name in _OURS or name.endswith(_PROMPT_ENDS):
            continue
        sure = name in (*BENCHMARKS, *benchmarks) or _whole(name) in PARTED
        why = None if sure else _no_matrix(path)
        if why is not None:
            aside.append(f"{path.name} ({why})")
            continue
        if name in files:
            raise _two(folder, files[name], path, "keep one of them")
        files[name] = path
    found: dict[str, list[tuple[str, Path]]] = {}
    for name, path in files.items():
        whole = name if name in benchmarks else _whole(name)
        found.setdefault(whole, []).append((name[len(whole) + 1 :], path))
    absent = [name for name in benchmarks if name not in found]
    if absent or not found:
        raise InputError(
            f"{folder}: no responses of {', '.join(absent) or 'any benchmark'}; expected "
            f"{(*absent, 'arc')[0]}.parquet, .csv or .csv.gz. "
            f"There are {', '.join(sorted(found)) or 'no matrices'}."
            + (f" Not matrices: {'; '.join(aside)}." if aside else ""),
            path=str(folder),
            benchmarks=absent,
        )
    chosen = sorted(benchmarks or found)
    for name in chosen:
        parts = found[name]
        if len(parts) > 1 and not parts[0][0]:
            raise _two(folder, parts[0][1], parts[1][1], f"the first holds all of {name}")
    return Sources(tuple(Source(name, tuple(found[name])) for name in chosen), tuple(aside))


def _two(folder: Path, one: Path, other: Path, what: str) -> InputError:
    text = f"{folder}: both {one.name} and {other.name}; {what}."
    return InputError(text, path=str(folder))


def _stem(path: Path) -> str | None:
    suffix = next((s for s in RESPONSE_SUFFIXES if path.name.endswith(s)), None)
    if suffix is None or path.name.startswith(".") or not path.is_file():
        return None
    return path.name[: -len(suffix)]


def _whole(name: str) -> str:
    if name in _NO_PARTS:
        return name
    return next((p for p in PARTED if name.startswith(f"{p}_")), name)


def _no_matrix(path: Path) -> str | None:
    """Say why a table is none; None where it can be one, or cannot be read, which is told later."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if ".csv" in path.suffixes:
            columns = list(pd.read_csv(path, nrows=0).columns)
            if {"source", "item", "correct"} <= set(columns):
                return None
            return "a CSV matrix has a row an answer and the columns source,item,correct"
        schema = pq.read_schema(path)
    except (ValueError, OSError, pa.ArrowException):
        return None
    items = [field for field in schema if field.name not in _KEYS]
    if len(items) == len(schema):
        return f"no column of the LLMs' names: {', '.join(_KEYS[:2])}, or pandas' index"
    other = next((field for field in items if not _can_be_answers(field.type)), None)
    return None if other is None else f"column {other.name!r} is {other.type}, not numbers"


def _can_be_answers(kind: object) -> bool:
    from pyarrow import types

    tests = (types.is_integer, types.is_boolean, types.is_floating, types.is_null)
    return any(test(kind) for test in tests)


def load_source(source: Source, order: Order) -> ResponseMatrix:
    """Read a benchmark's matrix; of parts, the LLMs that are in all of them.

    LLMs keep the order of a single file, and are sorted where parts are joined. An item of a part
    is called ``<part>.<item>``.

    Raises
    ------
    ResponseError
        A file is not a matrix, or the parts have no LLM in common.
    """
    if len(source.parts) == 1 and not source.parts[0][0]:
        return load_matrix(source.parts[0][1])
    matrices = [load_matrix(path) for _, path in source.parts]
    common = set(matrices[0].llms)
    for matrix, (_, path) in zip(matrices, source.parts, strict=True):
        if not common & set(matrix.llms):
            raise ResponseError(
                f"{path}: no LLM of it is in all parts of {source.benchmark} before it; names must "
                "be spelt alike in all files.",
                path=str(path),
            )
        common &= set(matrix.llms)
    names = sorted_names(common, order)
    items = [
        f"{part}.{item}"
        for matrix, (part, _) in zip(matrices, source.parts, strict=True)
        for item in matrix.items
    ]
    values = np.hstack([matrix.rows(names).values for matrix in matrices])
    return ResponseMatrix(tuple(names), tuple(items), values)


def load_prompts(folder: Path, source: Source) -> dict[str, str] | None:
    """Read the prompts of a benchmark's items; None where there are none.

    Parameters
    ----------
    folder
        With ``prompts/<name>.parquet`` or ``.csv`` (as ``scrape prompts`` writes them), or
        ``<name>-prompts`` or ``<name>_prompts`` with ``.parquet``, ``.csv`` or ``.csv.gz``, each
        with columns ``item`` and ``prompt``. The name is the benchmark's, or that of a part's
        file.

    Returns
    -------
    dict or None
        Prompts by item, as `load_source` calls the items; empty ones are left out.

    Raises
    ------
    InputError
        A file is not such a table, or has an item twice.
    """
    whole = _find_prompts(Path(folder), source.benchmark)
    if whole is not None:
        return _read_prompts(whole)
    found: dict[str, str] = {}
    paths = {part: _find_prompts(Path(folder), _stem(path) or "") for part, path in source.parts}
    for part, path in paths.items():
        if path is not None:
            prompts = _read_prompts(path)
            found |= {f"{part}.{item}" if part else item: p for item, p in prompts.items()}
    return found if any(path is not None for path in paths.values()) else None


def _find_prompts(folder: Path, name: str) -> Path | None:
    stems = (f"prompts/{name}", *(f"{name}{end}" for end in _PROMPT_ENDS))
    paths = (folder / (stem + suffix) for stem in stems for suffix in RESPONSE_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _read_prompts(path: Path) -> dict[str, str]:
    table = read_table(path, ("item", "prompt"))
    found: dict[str, str] = {}
    seen: dict[str, int] = {}
    for number, (raw, prompt) in enumerate(
        zip(table["item"].tolist(), table["prompt"].tolist(), strict=True), start=1
    ):
        item = item_id(raw, path, number)
        if item in seen:
            fail(path, number, f"item {item!r} has a prompt in row {seen[item]} already")
        seen[item] = number
        if text(prompt):
            # As it is: spaces at the ends belong to it.
            found[item] = str(prompt)
    return found
