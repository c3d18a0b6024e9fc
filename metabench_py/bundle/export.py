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
from metabench_py.bundle.schema import Bundle
from metabench_py.storage import atomic_folder


def export_tables(bundle: Bundle, out: Path, replace: bool = False) -> Path:
    """Write ``items.csv``, ``errors.csv``, ``population.csv``, ``gam/*.json``, ``manifest.json``.

    Numbers have all their digits. ``items.csv`` has the difficulty b = -d/a1 besides the
    easiness intercept d (empty where a1 is 0).
    """
    with atomic_folder(out, replace=replace) as folder:
        (folder / "gam").mkdir()
        _csv(
            folder / "items.csv",
            ("benchmark", "item", "a1", "d", "g", "u", "b", "weight"),
            _items(bundle),
        )
        _csv(folder / "errors.csv", ("target", "predicted", "error", "group"), _errors(bundle))
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
            text = json.dumps(gam.to_dict(), indent=1, allow_nan=False)
            (folder / "gam" / f"{target}.json").write_text(text + "\n", encoding="utf-8")
        text = json.dumps(bundle.manifest, indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return out


def copy_bundle(source: Path, out: Path, replace: bool = False) -> Path:
    """Copy a bundle's files, and only those that its manifest names, after checking them."""
    load_bundle(source)
    opened = open_folder(source)
    with atomic_folder(out, replace=replace) as folder:
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
    for target, table in bundle.errors.items():
        for i in range(table.error.size):
            group = "" if table.group is None else int(table.group[i])
            yield (target, float(table.predicted[i]), float(table.error[i]), group)


def _csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
