"""Reads a bundle, checks every file, and finds bundles by name or version."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from metabench_py.benchmarks import (
    BENCHMARKS,
    ITEM_TYPES,
    SCORE_METHODS,
    TARGETS,
    Benchmark,
    Target,
)
from metabench_py.bundle.folder import (
    ERRORS,
    ITEMS,
    MANIFEST,
    POPULATION,
    BundleFolder,
    fail,
    open_folder,
)
from metabench_py.bundle.schema import ERRORS_KINDS, BenchmarkModel, Bundle, ErrorTable
from metabench_py.bundle.trust import is_pinned
from metabench_py.errors import BundleError, InputError
from metabench_py.gam.features import feature_names
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats, ItemParameters

_ROW_LIMIT = 5_000_000


def default_bundle_path() -> Path:
    """Folder of the embedded bundle."""
    return Path(__file__).resolve().parent / "default"


def bundles_home() -> Path:
    """Folder where pulled bundles lie: ``METABENCH_BUNDLES``, else the user's data folder."""
    if folder := os.environ.get("METABENCH_BUNDLES"):
        return Path(folder)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "metabench-py" / "bundles"


def resolve_bundle(name: str | Path | None = None) -> Path:
    """Find a bundle's folder.

    Parameters
    ----------
    name
        A folder; or the name of a bundle in `bundles_home`; or ``default`` (or None) for the
        embedded one.

    Raises
    ------
    BundleError
        Nothing of that name; the message lists what there is.
    """
    if name is None or str(name) == "default":
        path = default_bundle_path()
        if not (path / MANIFEST).is_file():
            raise BundleError(
                "The embedded bundle is missing from this installation; reinstall metabench-py "
                "or name a bundle with --bundle.",
                path=str(path),
            )
        return path
    path = Path(name)
    if path.is_dir():
        return path
    home = bundles_home()
    if len(path.parts) == 1 and path.name != ".." and (home / path).is_dir():
        return home / path
    there = ["default", *_installed()]
    raise BundleError(
        f"No bundle {str(name)!r}: it is neither a folder nor one of {', '.join(there)}.",
        path=str(name),
    )


def bundle_for_version(version: str) -> Path:
    """Find a bundle of this version: the embedded one, else one in `bundles_home`.

    Raises
    ------
    BundleError
        There is none; the message says how to get one.
    """
    candidates = [default_bundle_path(), *(bundles_home() / n for n in _installed())]
    for path in candidates:
        if (path / MANIFEST).is_file() and open_folder(path).manifest["version"] == version:
            return path
    cure = (
        f"get the original's with: metabench-py bundle pull --version {version}"
        if version in ("A", "B")
        else "name a bundle's folder with --bundle"
    )
    raise BundleError(f"No bundle of version {version} is installed; {cure}", version=version)


def _installed() -> list[str]:
    home = bundles_home()
    if not home.is_dir():
        return []
    return sorted(p.name for p in home.iterdir() if (p / MANIFEST).is_file())


def load_bundle(path_or_name: str | Path | None = None, trust: bool = False) -> Bundle:
    """Read a bundle and check the hash of every file.

    Parameters
    ----------
    path_or_name
        As in `resolve_bundle`; None is the embedded bundle.
    trust
        Vouch for the bundle's .rds files although the package does not know their hashes.
        Without it such files are left out of ``rds``: predictions come from the portable fits.

    Raises
    ------
    BundleError
        The bundle is damaged, incomplete or too new; the message names the file.
    """
    folder = open_folder(resolve_bundle(path_or_name))
    contents = {name: folder.read(name) for name in folder.files}
    manifest = folder.manifest
    if manifest["errors_kind"] not in ERRORS_KINDS:
        fail(folder.path, MANIFEST, f"unknown errors_kind {manifest['errors_kind']!r}")
    levels, population = _population(folder, contents.get(POPULATION))
    there: list[Target] = [t for t in TARGETS if f"gam/{t}.rds" in contents]
    pinned = [t for t in there if trust or is_pinned(folder.files[f"gam/{t}.rds"])]
    return Bundle(
        path=folder.path,
        name=manifest["name"],
        version=manifest["version"],
        sha256=folder.sha256,
        benchmarks=_benchmarks(folder, contents[ITEMS]),
        gams={t: _gam(folder, t, contents[f"gam/{t}.json"]) for t in TARGETS},
        rds={t: folder.path / "gam" / f"{t}.rds" for t in pinned},
        errors=_errors(folder, contents[ERRORS]),
        errors_kind=manifest["errors_kind"],
        population=population,
        population_levels=levels,
        manifest=manifest,
        rds_untrusted=tuple(t for t in there if t not in pinned),
    )


def _benchmarks(folder: BundleFolder, content: bytes) -> dict[Benchmark, BenchmarkModel]:
    table = _table(folder, ITEMS, content, ("benchmark", "item"), ("a1", "d", "g", "u", "weight"))
    names: list[Any] = table["benchmark"]
    items: list[Any] = table["item"]
    _check_names(folder, ITEMS, names, BENCHMARKS)
    if not all(isinstance(item, str) and item for item in items):
        fail(folder.path, ITEMS, "an item id is empty")
    column = np.array(names, dtype=object)
    models: dict[Benchmark, BenchmarkModel] = {}
    for benchmark in BENCHMARKS:
        rows = np.flatnonzero(column == benchmark)
        ids = tuple(items[i] for i in rows)
        if not ids:
            fail(folder.path, ITEMS, f"no items of {benchmark}")
        if len(set(ids)) != len(ids):
            fail(folder.path, ITEMS, f"an item of {benchmark} occurs twice")
        about = folder.manifest["benchmarks"][benchmark]
        try:
            parameters = ItemParameters(ids, *(table[k][rows] for k in ("a1", "d", "g", "u")))
        except InputError as error:
            fail(folder.path, ITEMS, f"{benchmark}: {str(error).rstrip('.')}")
        intercept = about.get("intercept")
        if (
            about.get("item_type") not in ITEM_TYPES
            or about.get("score_method") not in SCORE_METHODS
            or not isinstance(about.get("metric"), str)
            or not isinstance(about.get("fit", {}), dict)
            or isinstance(intercept, bool)
            or not isinstance(intercept, int | float)
            or not math.isfinite(intercept)
            or about.get("n_items") != len(ids)
        ):
            fail(
                folder.path,
                MANIFEST,
                f"{benchmark}: item_type, score_method, metric, intercept, n_items or fit is "
                "missing, unknown or does not agree with items.parquet",
            )
        models[benchmark] = BenchmarkModel(
            benchmark=benchmark,
            item_type=about["item_type"],
            score_method=about["score_method"],
            metric=about["metric"],
            parameters=parameters,
            intercept=float(intercept),
            weights=table["weight"][rows],
            fit=about.get("fit", {}),
        )
    return models


def _errors(folder: BundleFolder, content: bytes) -> dict[Target, ErrorTable]:
    table = _table(folder, ERRORS, content, ("target",), ("predicted", "error"), ("group",))
    names: list[Any] = table["target"]
    _check_names(folder, ERRORS, names, TARGETS)
    column = np.array(names, dtype=object)
    errors: dict[Target, ErrorTable] = {}
    for target in TARGETS:
        rows = np.flatnonzero(column == target)
        if not rows.size:
            fail(folder.path, ERRORS, f"no errors of {target}")
        group = table["group"][rows] if "group" in table else None
        errors[target] = ErrorTable(table["predicted"][rows], table["error"][rows], group)
    return errors


def _population(folder: BundleFolder, content: bytes | None) -> tuple[Floats, dict[Target, Floats]]:
    if content is None:
        return np.empty(0), {}
    table = _table(folder, POPULATION, content, ("target",), ("level", "score"))
    names: list[Any] = table["target"]
    _check_names(folder, POPULATION, names, TARGETS)
    column = np.array(names, dtype=object)
    levels: Floats | None = None
    population: dict[Target, Floats] = {}
    for target in TARGETS:
        rows = np.flatnonzero(column == target)
        if not rows.size:
            continue
        level, score = table["level"][rows], table["score"][rows]
        levels = level if levels is None else levels
        if not np.array_equal(levels, level):
            fail(folder.path, POPULATION, f"the levels of {target} differ from the others'")
        if level.size < 2 or (np.diff(level) <= 0).any() or level[0] < 0 or level[-1] > 1:
            fail(folder.path, POPULATION, "the levels do not increase within 0 to 1")
        if (np.diff(score) < 0).any():
            fail(folder.path, POPULATION, f"the quantiles of {target} decrease")
        population[target] = score
    return (np.empty(0) if levels is None else levels), population


def _gam(folder: BundleFolder, target: Target, content: bytes) -> PortableGam:
    name = f"gam/{target}.json"
    try:
        gam = PortableGam.from_dict(orjson.loads(content))
    except (InputError, orjson.JSONDecodeError) as error:
        fail(folder.path, name, f"not a portable GAM ({error})")
    if gam.target != target:
        fail(folder.path, name, f"holds the fit of {gam.target!r}, not of {target!r}")
    extra = [name for name in gam.features if name not in feature_names(target)]
    if extra:
        fail(folder.path, name, f"needs the feature {extra[0]!r}, which reconstruction has not")
    return gam


def _table(
    folder: BundleFolder,
    file: str,
    content: bytes,
    texts: tuple[str, ...],
    numbers: tuple[str, ...],
    whole: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Columns of a Parquet file: lists of text, finite float64 arrays, optional int64 arrays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(pa.BufferReader(content))
        # A few kilobytes of Parquet can claim billions of rows.
        if parquet.metadata.num_rows > _ROW_LIMIT:
            fail(folder.path, file, f"more than {_ROW_LIMIT:,} rows")
        table = parquet.read(columns=[*texts, *numbers, *whole], use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        fail(folder.path, file, f"not a readable Parquet file ({error})")
    absent = [c for c in (*texts, *numbers) if c not in table.column_names]
    if absent:
        fail(folder.path, file, f"no column {absent[0]!r}")
    columns: dict[str, Any] = {}
    for name in texts:
        if not pa.types.is_string(table.schema.field(name).type):
            fail(folder.path, file, f"the column {name!r} is not text")
        columns[name] = table.column(name).to_pylist()
    for name in (*numbers, *(c for c in whole if c in table.column_names)):
        kind = pa.float64() if name in numbers else pa.int64()
        column = table.column(name)
        if column.type != kind or column.null_count:
            fail(folder.path, file, f"the column {name!r} is not {kind} or has empty cells")
        values = _numbers(column, np.float64 if name in numbers else np.int64)
        if name in numbers and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            fail(folder.path, file, f"row {row + 1}, column {name!r}: {values[row]} is not finite")
        columns[name] = values
    return columns


def _numbers(column: Any, kind: type[np.float64 | np.int64]) -> NDArray[Any]:
    """Copy of a column without empty cells (pyarrow's own conversion imports pandas: 0.5 s)."""
    chunks = [np.frombuffer(c.buffers()[1], kind, len(c), 8 * c.offset) for c in column.chunks if c]
    return np.concatenate(chunks) if chunks else np.empty(0, kind)


def _check_names(folder: BundleFolder, file: str, names: list[Any], known: tuple[str, ...]) -> None:
    unknown = sorted({str(n) for n in set(names) - set(known)})
    if unknown:
        fail(folder.path, file, f"unknown name {unknown[0]!r}; known are {', '.join(known)}")
