"""Checks a bundle file by file, going on after a failure, and says what holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metabench_py.bundle.folder import MANIFEST, open_folder
from metabench_py.bundle.read import load_bundle
from metabench_py.errors import MetabenchError


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes
    ----------
    what
        File or part of the bundle.
    ok
        Whether it is as it should be.
    detail
        What was found.
    """

    what: str
    ok: bool
    detail: str


def verify_bundle(path: Path, trust: bool = False) -> Iterator[Check]:
    """Check manifest, hashes, paths, values and who vouches for the .rds files.

    Yields
    ------
    Check
        In the order of the work; the first failed manifest check ends it.
    """
    try:
        folder = open_folder(path)
    except MetabenchError as error:
        yield Check(MANIFEST, False, str(error))
        return
    schema = folder.manifest["schema"]
    yield Check(MANIFEST, True, f"schema {schema}, SHA-256 {folder.sha256[:16]}…")
    whole = True
    for name in sorted(folder.files):
        try:
            size = len(folder.read(name))
        except MetabenchError as error:
            whole = False
            yield Check(name, False, str(error))
        else:
            yield Check(name, True, f"{size:,} bytes, SHA-256 agrees")
    stray = sorted(
        p.relative_to(folder.path).as_posix()
        for p in folder.path.rglob("*")
        if not p.is_dir() and p.relative_to(folder.path).as_posix() not in folder.files
    )
    for name in (n for n in stray if n != MANIFEST):
        yield Check(name, False, "not in the manifest; remove it, nobody vouches for it")
    if not whole:
        return
    try:
        bundle = load_bundle(path, trust)
    except MetabenchError as error:
        yield Check("contents", False, str(error))
        return
    items = ", ".join(f"{b} {len(m.parameters.items)}" for b, m in bundle.benchmarks.items())
    yield Check("items", True, items)
    for name, stage in bundle.stages.items():
        default = "the default" if stage is bundle.default else "on request"
        if isinstance(stage.model, dict):
            detail = f"{len(stage.model)} portable fits ({stage.fit}), all predict"
        else:
            detail = f"one model of plain arrays for {len(stage.model.targets)} targets"
        yield Check(f"second stage {name}", True, f"{detail}; {default}")
    if bundle.singles:
        yield Check("benchmarks alone", True, ", ".join(bundle.singles))
    stages = (*bundle.stages.values(), *bundle.singles.values())
    errors = sum(table.error.size for stage in stages for table in stage.errors.values())
    yield Check("errors", True, f"{errors:,} {bundle.errors_kind}, all finite")
    if bundle.population:
        yield Check("population", True, f"{len(bundle.population)} targets")
    if bundle.rds_untrusted:
        names = ", ".join(bundle.rds_untrusted)
        yield Check("R fits", True, f"not vouched for, hence unused without --trust: {names}")
    elif bundle.rds:
        by = "the user" if trust else "the package's list"
        yield Check("R fits", True, f"{len(bundle.rds)} vouched for by {by}")
    elif bundle.gams:
        yield Check("R fits", True, "none in the bundle; predictions use the portable fits")
