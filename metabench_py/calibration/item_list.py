"""Item lists as `load_items` reads them: of a bundle, and of chosen items."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.bundle.schema import Bundle
from metabench_py.calibration.inputs import ItemList
from metabench_py.storage import write_text

_COLUMNS = ("benchmark", "item", "item_type", "score_method", "metric")


def items_of_bundle(bundle: Bundle) -> dict[Benchmark, ItemList]:
    """Give a bundle's items, models and metrics."""
    return {
        b: ItemList(b, m.parameters.items, m.item_type, m.score_method, m.metric)
        for b, m in bundle.benchmarks.items()
    }


def write_items(
    path: Path, lists: Mapping[Benchmark, ItemList], chosen: Mapping[Benchmark, Collection[str]]
) -> None:
    """Write chosen items as CSV, in the order of the lists; ``calibrate bundle --items`` reads it.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    lines = [",".join(_COLUMNS)]
    for benchmark in BENCHMARKS:
        one = lists[benchmark]
        about = f"{one.item_type},{one.score_method},{one.metric}"
        kept = [item for item in one.items if item in chosen[benchmark]]
        lines += [f"{benchmark},{_cell(item)},{about}" for item in kept]
    write_text(path, "\n".join(lines) + "\n")


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text
