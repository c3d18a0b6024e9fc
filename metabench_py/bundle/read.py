"""Reads a bundle, checks every file, and finds bundles by name or version."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import (
    BENCHMARKS,
    ITEM_TYPES,
    SCORE_METHODS,
    TARGETS,
    Benchmark,
    Target,
)
from metabench_py.bundle.folder import (
    ITEMS,
    MANIFEST,
    POPULATION,
    BundleFolder,
    fail,
    open_folder,
    stages_of,
)
from metabench_py.bundle.read_stages import read_stages
from metabench_py.bundle.read_table import check_names, read_columns
from metabench_py.bundle.schema import ERRORS_KINDS, BenchmarkModel, Bundle
from metabench_py.bundle.trust import is_pinned
from metabench_py.errors import BundleError, InputError, MetabenchError
from metabench_py.irt.model import Floats, ItemParameters


def default_bundle_path() -> Path:
    """Folder of the embedded bundle."""
    return Path(__file__).resolve().parent / "default"


def embedded_bundles() -> dict[str, Path]:
    """Folders of the bundles that ship with the package, by name; ``default`` is among them."""
    folder = default_bundle_path().parent
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    return {path.name: path for path in found}


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
        A folder; or the name of an embedded bundle (``default``, which None means too;
        ``B-200``); or that of a bundle in `bundles_home`.

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
    embedded = embedded_bundles()
    if str(name) in embedded:
        return embedded[str(name)]
    home = bundles_home()
    if len(path.parts) == 1 and path.name != ".." and (home / path).is_dir():
        return home / path
    there = dict.fromkeys(["default", *embedded, *_installed()])
    raise BundleError(
        f"No bundle {str(name)!r}: it is neither a folder nor one of {', '.join(there)}.",
        path=str(name),
    )


def bundle_for_version(version: str) -> Path:
    """Find a bundle of this version: the embedded default, else one in `bundles_home`.

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


def find_installed(sha256: str) -> Path | None:
    """Find the installed bundle, embedded or in `bundles_home`, whose manifest has this hash."""
    for path in (*embedded_bundles().values(), *(bundles_home() / n for n in _installed())):
        try:
            if open_folder(path).sha256 == sha256:
                return path
        except BundleError:
            continue
    return None


def _installed() -> list[str]:
    home = bundles_home()
    if not home.is_dir():
        return []
    return sorted(p.name for p in home.iterdir() if (p / MANIFEST).is_file())


def default_stage(path_or_name: str | Path | None, version: str | None = None) -> str | None:
    """Name the second stage that a bundle takes by default, from its manifest alone.

    None where there is no such bundle, or its manifest is damaged: `load_bundle` says so.
    """
    try:
        if path_or_name is None and version is not None:
            path = bundle_for_version(version)
        else:
            path = resolve_bundle(path_or_name)
        name: str = stages_of(open_folder(path).manifest)[0]["name"]
    except MetabenchError:
        return None
    return name


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
    stages, singles = read_stages(folder, contents)
    return Bundle(
        path=folder.path,
        name=manifest["name"],
        version=manifest["version"],
        sha256=folder.sha256,
        benchmarks=_benchmarks(folder, contents[ITEMS]),
        stages=stages,
        singles=singles,
        rds={t: folder.path / "gam" / f"{t}.rds" for t in pinned},
        errors_kind=manifest["errors_kind"],
        population=population,
        population_levels=levels,
        manifest=manifest,
        rds_untrusted=tuple(t for t in there if t not in pinned),
    )


def _benchmarks(folder: BundleFolder, content: bytes) -> dict[Benchmark, BenchmarkModel]:
    table = read_columns(
        folder, ITEMS, content, ("benchmark", "item"), ("a1", "d", "g", "u", "weight")
    )
    names: list[Any] = table["benchmark"]
    items: list[Any] = table["item"]
    check_names(folder, ITEMS, names, BENCHMARKS)
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


def _population(folder: BundleFolder, content: bytes | None) -> tuple[Floats, dict[Target, Floats]]:
    if content is None:
        return np.empty(0), {}
    table = read_columns(folder, POPULATION, content, ("target",), ("level", "score"))
    names: list[Any] = table["target"]
    check_names(folder, POPULATION, names, TARGETS)
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
