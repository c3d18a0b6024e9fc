"""Item selection on files: a folder of matrices in, a folder with the selected items out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metabench_py.calibration.exclusion import excluded_items
from metabench_py.calibration.folder_tables import SUMMARY, Columns, check_out, write_columns
from metabench_py.calibration.select import Selection, SelectOptions, select_benchmarks
from metabench_py.calibration.stage_data import load_stage_data
from metabench_py.calibration.work import work_folder
from metabench_py.errors import InputError
from metabench_py.storage import atomic_folder, write_json

# Names what is done, its running number, and how many there are.
Progress = Callable[[str, int, int], None]


def select_folder(
    data: Path,
    out: Path,
    options: SelectOptions | None = None,
    *,
    scores: Path | None = None,
    split: Path | None = None,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    executor: Executor | None = None,
    work: Path | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> dict[str, Selection]:
    """Select items and write them.

    Writes ``items.parquet`` (benchmark, item, item_type, score_method, order, information, ...),
    which ``calibrate bundle --items`` reads, ``search.parquet`` (every evaluation),
    ``llms.parquet`` (every LLM's ability, score and prediction) and ``summary.json``.

    Parameters
    ----------
    data, scores, split, only
        See `load_stage_data`.
    out
        Folder to make.
    exclude
        Bundles or lists whose items are left out; see `excluded_items`.
    executor
        Runs the benchmarks; None: here, one after the other.
    work
        Folder of the searches' storages. None: ``.NAME.select-work`` beside `out`, removed at the
        end; after an interruption the same call goes on where it stopped.
    replace
        Take the place of a folder that is there.
    """
    options = options or SelectOptions()
    out = Path(out)
    check_out(out, replace, "select", data, (scores, split))
    table = load_stage_data(data, scores, split, only)
    without = excluded_items(exclude)
    left_out = {
        name: len(without.get(name, frozenset()) & set(one.train.items))
        for name, one in table.items()
    }
    if exclude and not any(left_out.values()):
        raise InputError(
            f"No item of {', '.join(exclude)} is in {data}, so there is nothing to exclude; item "
            "ids must be spelt alike.",
            path=str(data),
        )
    table = {name: one.without(without.get(name, frozenset())) for name, one in table.items()}
    number = 0

    def done(name: str, selection: Selection) -> None:
        nonlocal number
        number += 1
        if progress is not None:
            progress(f"{name}: {len(selection.items)} items", number, len(table))

    with work_folder("select", None if work is None else Path(work), out) as made:
        # Absolute, as workers may run elsewhere.
        folder = made.resolve()
        found = select_benchmarks(table, options, executor=executor, work=folder, progress=done)
        with atomic_folder(out, replace=replace, marks=(SUMMARY,)) as temporary:
            _write_tables(temporary, found)
            write_json(temporary / SUMMARY, summary(found, options, left_out))
    return found


def summary(
    found: Mapping[str, Selection],
    options: SelectOptions,
    excluded: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Summarise as JSON values."""
    return {
        "schema": 1,
        "stage": "select",
        "options": asdict(options),
        "n_items": sum(len(one.items) for one in found.values()),
        "benchmarks": {
            name: {
                "choice": asdict(one.choice),
                "n_items": len(one.items),
                "n_available": one.n_available,
                "n_excluded": (excluded or {}).get(name, 0),
                "n_trials": len(one.trials),
                "n_llms": {kind: one.sets.count(kind) for kind in ("train", "validation", "test")},
                "errors": {
                    "all_items_validation": one.base.to_dict(),
                    "validation": one.validation.to_dict(),
                    "test": None if one.test is None else one.test.to_dict(),
                },
                "fit": dict(one.fit),
                "left_out": list(one.dropped),
                "warnings": list(one.warnings),
            }
            for name, one in found.items()
        },
    }


def _write_tables(folder: Path, found: Mapping[str, Selection]) -> None:
    items, history, llms = Columns(), Columns(), Columns()
    for name, one in found.items():
        n = len(one.items)
        items.extend(
            benchmark=[name] * n,
            item=list(one.items),
            item_type=[one.choice.item_type] * n,
            score_method=[one.choice.method] * n,
            order=list(range(1, n + 1)),
            information=one.information.tolist(),
            ability=one.ability.tolist(),
            **{key: getattr(one.parameters, key).tolist() for key in ("a1", "d", "g", "u")},
        )
        llms.extend(
            benchmark=[name] * len(one.llms),
            name=list(one.llms),
            set=list(one.sets),
            theta=one.theta.tolist(),
            score=one.score.tolist(),
            predicted=one.predicted.tolist(),
        )
        rows = [trial.to_dict() for trial in one.trials]
        columns = ("item_type", "method", "grid", "threshold", "passes", "n_items", "rmse")
        history.extend(
            benchmark=[name] * len(rows),
            number=list(range(1, len(rows) + 1)),
            **{key: [row[key] for row in rows] for key in (*columns, "objective")},
        )
    write_columns(folder / "items.parquet", items)
    write_columns(folder / "search.parquet", history)
    write_columns(folder / "llms.parquet", llms)
