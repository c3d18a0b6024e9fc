"""Copies a bundle: as it is, or as CSV and indented JSON for people and other programs."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from metabench_py.bundle.folder import MANIFEST, open_folder
from metabench_py.bundle.read import load_bundle
from metabench_py.bundle.schema import SINGLE, Bundle
from metabench_py.bundle.write import check_place
from metabench_py.errors import StorageError
from metabench_py.stack.model import Stack
from metabench_py.storage import atomic_folder


def export_tables(bundle: Bundle, out: Path, replace: bool = False) -> Path:
    """Write the items, errors and population as CSV, the second stages and manifest as JSON.

    Numbers have all their digits. ``items.csv`` has the difficulty b = -d/a1 besides the
    easiness intercept d (empty where a1 is 0). `replace` takes the place of such tables alone.
    """
    with atomic_folder(out, replace=replace, marks=("items.csv",)) as folder:
        _csv(
            folder / "items.csv",
            ("benchmark", "item", "a1", "d", "g", "u", "b", "weight"),
            _items(bundle),
        )
        header = ("second_stage", "target", "predicted", "error", "scale", "group")
        _csv(folder / "errors.csv", header, _errors(bundle))
        if bundle.population:
            _csv(
                folder / "population.csv",
                ("target", "level", "score"),
                (
                    (target, float(level), float(score))
                    for target, scores in bundle.population.items()
                    for level, score in zip(bundle.population_levels, scores, strict=True)
                ),
            )
        for target, gam in bundle.gams.items():
            _json(folder / "gam" / f"{target}.json", gam.to_dict())
        for name, stage in bundle.stages.items():
            if not isinstance(stage.model, dict):
                _json(folder / f"{name}.json", _arrays(stage.model))
        for benchmark, single in bundle.singles.items():
            model = single.model
            value = model[benchmark].to_dict() if isinstance(model, dict) else _arrays(model)
            _json(folder / "single" / f"{benchmark}.json", value)
        text = json.dumps(bundle.manifest, indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return out


def copy_bundle(source: Path, out: Path, replace: bool = False) -> Path:
    """Copy a bundle's files, and only those that its manifest names, after checking them.

    `replace` takes the place of another bundle alone.
    """
    load_bundle(source)
    opened = open_folder(source)
    if out.resolve() == source.resolve():
        raise StorageError(f"{out} is the bundle itself; choose another folder.", path=str(out))
    check_place(out, replace)
    with atomic_folder(out, replace=replace, marks=(MANIFEST,)) as folder:
        shutil.copyfile(source / MANIFEST, folder / MANIFEST)
        for name in opened.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(opened.read(name))
    return out


def _items(bundle: Bundle) -> Iterable[tuple[Any, ...]]:
    for benchmark, model in bundle.benchmarks.items():
        p = model.parameters
        b = p.difficulty
        for i, item in enumerate(p.items):
            numbers = (float(values[i]) for values in (p.a1, p.d, p.g, p.u))
            difficulty = "" if p.a1[i] == 0 else float(b[i])
            yield (benchmark, item, *numbers, difficulty, float(model.weights[i]))


def _errors(bundle: Bundle) -> Iterable[tuple[Any, ...]]:
    for name, stage in (
        *bundle.stages.items(),
        *((SINGLE, single) for single in bundle.singles.values()),
    ):
        for target, table in stage.errors.items():
            for i in range(table.error.size):
                scale = "" if table.scale is None else float(table.scale[i])
                group = "" if table.group is None else int(table.group[i])
                numbers = (float(table.predicted[i]), float(table.error[i]))
                yield (name, target, *numbers, scale, group)


def _arrays(stack: Stack) -> dict[str, Any]:
    return {name: array.tolist() for name, array in stack.to_arrays().items()}


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
