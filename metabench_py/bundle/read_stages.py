"""Reads a bundle's second stages: models, held-out errors, what missing answers cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import orjson

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle.arrays import unpack_arrays
from metabench_py.bundle.folder import (
    ERRORS,
    MANIFEST,
    STACK,
    BundleFolder,
    fail,
    single_file,
    singles_of,
    stages_of,
)
from metabench_py.bundle.read_table import check_names, read_columns
from metabench_py.bundle.schema import (
    SINGLE,
    STAGE_NAMES,
    ErrorTable,
    Growth,
    StageName,
    StoredStage,
)
from metabench_py.errors import InputError
from metabench_py.gam.features import feature_names, single_names
from metabench_py.gam.portable import PortableGam
from metabench_py.stack.model import Stack

Errors = dict[str, dict[Target, ErrorTable]]


def read_stages(
    folder: BundleFolder, contents: Mapping[str, bytes]
) -> tuple[dict[StageName, StoredStage], dict[Benchmark, StoredStage]]:
    """Read the second stages of all targets, in their order, and those of one benchmark alone.

    Parameters
    ----------
    contents
        Checked bytes by path inside the folder.

    Raises
    ------
    BundleError
        A model or the errors are damaged or incomplete; the message names the file.
    """
    errors = _errors(folder, contents[ERRORS])
    stages: dict[StageName, StoredStage] = {}
    for about in stages_of(folder.manifest):
        name = cast("StageName", about["name"])
        model: Stack | dict[Target, PortableGam]
        if name == "stack":
            model = _stack(folder, STACK, contents[STACK], TARGETS)
        else:
            model = {t: _gam(folder, f"gam/{t}.json", contents, t) for t in TARGETS}
        absent = [t for t in TARGETS if t not in errors.get(name, {})]
        if absent:
            fail(folder.path, ERRORS, f"no errors of {absent[0]} by the second stage {name}")
        stages[name] = _stored(folder, about, model, errors[name], TARGETS)
    singles: dict[Benchmark, StoredStage] = {}
    for benchmark in BENCHMARKS:
        if (found := singles_of(folder.manifest).get(benchmark)) is None:
            continue
        file = single_file(benchmark, found["fit"])
        if found["fit"] == "stack":
            model = _stack(folder, file, contents[file], (benchmark,))
        else:
            model = {benchmark: _gam(folder, file, contents, benchmark, alone=True)}
        if benchmark not in errors.get(SINGLE, {}):
            fail(folder.path, ERRORS, f"no errors of {benchmark} alone")
        own: dict[Target, ErrorTable] = {benchmark: errors[SINGLE][benchmark]}
        singles[benchmark] = _stored(folder, found, model, own, (benchmark,))
    return stages, singles


def _stored(
    folder: BundleFolder,
    about: Mapping[str, Any],
    model: Stack | dict[Target, PortableGam],
    errors: dict[Target, ErrorTable],
    targets: tuple[Target, ...],
) -> StoredStage:
    evaluation, more = about.get("evaluation", {}), about.get("about", {})
    if not isinstance(evaluation, dict) or not isinstance(more, dict):
        fail(folder.path, MANIFEST, "'evaluation' or 'about' of a second stage is no object")
    if about["fit"] != "stack":
        errors = {t: ErrorTable(e.predicted, e.error, e.group) for t, e in errors.items()}
    return StoredStage(
        fit=about["fit"],
        model=model,
        errors=errors,
        evaluation=evaluation,
        growth=_growth(folder, about.get("missing"), targets),
        about=more,
    )


def _growth(folder: BundleFolder, value: Any, targets: tuple[Target, ...]) -> Growth | None:
    if value is None:
        return None
    try:
        shares = _plain_numbers(value["shares"])
        masked = [b for b in BENCHMARKS if b in targets]
        factors = {t: {b: _plain_numbers(value["factors"][t][b]) for b in masked} for t in targets}
        rising = 0.0 < shares[0] and shares[-1] <= 1.0 and bool((np.diff(shares) > 0).all())
        whole = all(
            f.shape == shares.shape and bool((f >= 1.0).all())
            for own in factors.values()
            for f in own.values()
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        rising = whole = False
    if not rising or not whole:
        fail(folder.path, MANIFEST, "'missing' of a second stage has no usable shares and factors")
    return Growth(shares, factors)


def _plain_numbers(values: Any) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if not isinstance(values, list) or not {type(v) for v in values} <= {int, float}:
        raise TypeError
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError
    return array


def _stack(folder: BundleFolder, file: str, content: bytes, targets: tuple[Target, ...]) -> Stack:
    try:
        stack = Stack.from_arrays(unpack_arrays(content))
    except InputError as error:
        fail(folder.path, file, f"not a stack ({str(error).rstrip('.')})")
    if set(stack.targets) != set(targets):
        fail(folder.path, file, f"predicts {', '.join(stack.targets)}, not {', '.join(targets)}")
    return stack


def _gam(
    folder: BundleFolder,
    name: str,
    contents: Mapping[str, bytes],
    target: Target,
    alone: bool = False,
) -> PortableGam:
    try:
        gam = PortableGam.from_dict(orjson.loads(contents[name]))
    except (InputError, orjson.JSONDecodeError) as error:
        fail(folder.path, name, f"not a portable GAM ({error})")
    if gam.target != target:
        fail(folder.path, name, f"holds the fit of {gam.target!r}, not of {target!r}")
    known = single_names(cast("Benchmark", target)) if alone else feature_names(target)
    extra = [name for name in gam.features if name not in known]
    if extra:
        fail(folder.path, name, f"needs the feature {extra[0]!r}, which reconstruction has not")
    return gam


def _errors(folder: BundleFolder, content: bytes) -> Errors:
    first = folder.manifest["schema"] == 1
    few = ("target",) if first else ("second_stage", "target")
    numbers = ("predicted", "error") if first else ("predicted", "error", "scale")
    table = read_columns(folder, ERRORS, content, (), numbers, ("group",), few)
    names = table["target"]
    check_names(folder, ERRORS, names.names, TARGETS)
    stages = ("gam",) if first else table["second_stage"].names
    check_names(folder, ERRORS, stages, (*STAGE_NAMES, SINGLE))
    if not first and table["scale"].size and not table["scale"].min() > 0.0:
        fail(folder.path, ERRORS, "a scale is not above 0")
    errors: Errors = {}
    for stage in stages:
        errors[stage] = {}
        for target in TARGETS:
            found = names.where(target)
            if not first:
                found = found & table["second_stage"].where(stage)
            rows = np.flatnonzero(found)
            if rows.size:
                errors[stage][target] = ErrorTable(
                    table["predicted"][rows],
                    table["error"][rows],
                    table["group"][rows] if "group" in table else None,
                    None if first else table["scale"][rows],
                )
    return errors
