"""Takes a bundle's items out of item files that are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import InputError
from metabench_py.harness.itemfiles import item_ids, read_items
from metabench_py.storage import atomic_path

_NAMED = 5


def select_items(
    folder: Path, items: Mapping[Benchmark, Sequence[str]], out: Path
) -> dict[Benchmark, Path]:
    """Write files of the wanted items, taken from every item file under a folder.

    Raises
    ------
    InputError
        An item is in none of the files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    written: dict[Benchmark, Path] = {}
    for benchmark, wanted in items.items():
        found: dict[str, Any] = {}
        for path in sorted(folder.rglob(f"{benchmark}.parquet")):
            table = read_items(path, benchmark).replace_schema_metadata(None)
            for row, item in enumerate(item_ids(path, benchmark)):
                found.setdefault(item, table.slice(row, 1))
        absent = [item for item in wanted if item not in found]
        if absent:
            more = " ..." if len(absent) > _NAMED else ""
            raise InputError(
                f"{folder} lacks {len(absent)} of {len(wanted)} {TITLES[benchmark]} items "
                f"({', '.join(absent[:_NAMED])}{more}); build them with: metabench-py items build.",
                path=str(folder),
            )
        chosen = pa.concat_tables([found[item] for item in wanted])
        written[benchmark] = out / f"{benchmark}.parquet"
        with atomic_path(written[benchmark]) as temporary:
            pq.write_table(chosen, temporary)
    return written
