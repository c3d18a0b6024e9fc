"""Items to leave out, so that a new selection shares none with an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metabench_py.calibration.tables import item_id, read_table, text


def excluded_items(sources: Sequence[str]) -> dict[str, frozenset[str]]:
    """Collect items by benchmark.

    Parameters
    ----------
    sources
        Bundles (a folder, or the name of an installed one), folders that ``calibrate select``
        made, or tables with the columns benchmark and item.

    Raises
    ------
    BundleError, InputError
        A source is none of these.
    """
    found: dict[str, set[str]] = {}
    for source in sources:
        for benchmark, items in _items_of(source).items():
            found.setdefault(benchmark, set()).update(items)
    return {benchmark: frozenset(items) for benchmark, items in found.items()}


def _items_of(source: str) -> dict[str, set[str]]:
    path = Path(source)
    if path.is_dir() and not (path / "manifest.json").is_file():
        path = path / "items.parquet"
    if path.is_file() or path.suffix in (".csv", ".parquet"):
        return _items_of_table(path)
    from metabench_py.bundle import load_bundle

    models = load_bundle(source).benchmarks
    return {benchmark: set(model.parameters.items) for benchmark, model in models.items()}


def _items_of_table(path: Path) -> dict[str, set[str]]:
    table = read_table(path, ("benchmark", "item"))
    found: dict[str, set[str]] = {}
    for number, row in enumerate(table.to_dict("records"), start=1):
        items = found.setdefault(text(row["benchmark"]), set())
        items.add(item_id(row["item"], path, number))
    return found
