"""A bundle of a part of the items: chosen on all LLMs, and anew without each fold's LLMs.

Items chosen by the very LLMs that a bundle is judged on look far better than they are (of version
B's 751 items the best 200: a grand RMSE of 0.78 in place of 1.06). So every fold's errors are those
of items that its LLMs had no part in choosing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.calibration.code_version import code_version
from metabench_py.calibration.first_stage import FirstStage, first_stage_tasks
from metabench_py.calibration.item_orders import (
    CurveData,
    ItemOrder,
    check_listed,
    listed_items,
    order_data,
)
from metabench_py.calibration.work import WorkFolder, digest
from metabench_py.compute import Shared, Task

if TYPE_CHECKING:
    from metabench_py.calibration.inputs import CalibrationInputs
    from metabench_py.calibration.pipeline import CalibrationOptions
    from metabench_py.calibration.stages import Folds

Run = Callable[[list[Task], int], None]


@dataclass(frozen=True, eq=False)
class PartInputs:
    """Inputs of the chosen items alone, and their first stage.

    Attributes
    ----------
    first
        By benchmark; fitted on all LLMs, as a bundle's always is.
    """

    inputs: CalibrationInputs
    first: dict[Benchmark, FirstStage]


def choose_parts(
    inputs: CalibrationInputs,
    folds: Folds,
    options: CalibrationOptions,
    work: WorkFolder,
    run: Run,
) -> tuple[PartInputs, list[PartInputs], list[PartInputs]]:
    """Choose items on all LLMs, and without each grouped and each random fold.

    Parameters
    ----------
    options
        How many items, and by which order; how item parameters are fitted.
    work, run
        Finished results, and who does the others.

    Returns
    -------
    Those of the bundle, and one for each grouped and each random fold.

    Raises
    ------
    InputError
        There are not so many items, or too few were asked for.
    """
    grouped, random = (order_data(inputs, fold) for fold in (folds.grouped, folds.random))
    n = 0 if options.choose is None else options.choose
    check_listed(grouped.benchmark, n)
    wanted: list[tuple[str, CurveData, int | None]]
    wanted = [("whole", grouped, None)]
    for name, data in (("grouped", grouped), ("random", random)):
        wanted += [(f"{name}-{k}", data, k) for k in range(len(data.moments))]
    kept = _choose(wanted, n, options, work, run)
    parts = [PartInputs(restricted(inputs, kept[name]), {}) for name, _, _ in wanted]
    tasks = []
    for (name, _, _), part in zip(wanted, parts, strict=True):
        tasks += first_stage_tasks(
            part.inputs, options.engine, options.mode, work, part.first, f"-{name}"
        )
    run(tasks, len(parts) * len(BENCHMARKS))
    n_grouped = len(grouped.moments)
    return parts[0], parts[1 : 1 + n_grouped], parts[1 + n_grouped :]


def _choose(
    wanted: Sequence[tuple[str, CurveData, int | None]],
    n: int,
    options: CalibrationOptions,
    work: WorkFolder,
    run: Run,
) -> dict[str, list[int]]:
    kept: dict[str, list[int]] = {}
    code = code_version(("metabench_py.calibration.item_orders",))
    order, seed = options.order, options.seed
    shared = {id(data): Shared(data) for _, data, _ in wanted}
    tasks = []
    for name, data, held_out in wanted:
        key = digest(
            data.responses, data.scores, data.fold, data.benchmark,
            [data.models, n, order, held_out, seed, code],
        )  # fmt: skip
        stage = f"items-{name}"
        found = work.get(stage, key)
        if found is not None:
            kept[name] = found["items"]
            continue

        def done(items: list[int], name: str = name, stage: str = stage, key: str = key) -> None:
            work.put(stage, key, {"items": items})
            kept[name] = items

        what = "items" if held_out is None else f"items without {name.replace('-', ' fold ')}"
        arguments = (shared[id(data)], order, n, held_out, seed)
        tasks.append(Task(what, choose_items, arguments, done))
    run(tasks, len(wanted))
    return kept


def choose_items(
    shared: Shared[CurveData], order: ItemOrder, n: int, held_out: int | None, seed: int
) -> list[int]:
    """Choose them (a worker calls it)."""
    return sorted(listed_items(shared.value, order, n, held_out=held_out, seed=seed))


def restricted(inputs: CalibrationInputs, kept: Sequence[int]) -> CalibrationInputs:
    """Take some items, by their positions among those of all benchmarks."""
    known = [(b, item) for b in BENCHMARKS for item in inputs.items[b].items]
    chosen: Mapping[Benchmark, tuple[str, ...]] = {
        b: tuple(known[i][1] for i in np.sort(kept) if known[i][0] == b) for b in BENCHMARKS
    }
    return replace(
        inputs,
        items={b: replace(inputs.items[b], items=chosen[b]) for b in BENCHMARKS},
        responses={b: inputs.responses[b].select(chosen[b]) for b in BENCHMARKS},
    )
