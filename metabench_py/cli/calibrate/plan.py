"""``metabench-py calibrate plan``: what a calibration would take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metabench_py.calibration.plan import Plan


def plan_command(
    llms: Annotated[int, typer.Option(help="LLMs of each matrix.")],
    items: Annotated[int, typer.Option(help="Items of each matrix.")],
    benchmarks: Annotated[int, typer.Option(help="Matrices.")] = 6,
    subsets: Annotated[int, typer.Option(help="Random subsets of each.")] = 10_000,
    subset: Annotated[
        int | None,
        typer.Option(
            help="Items of a subset; 0: no subsampling. Left out: 350, or 0 where there are no "
            "more items."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Of each subset's cross-validation.")] = 5,
    evaluations: Annotated[int, typer.Option(help="Of each selection's search.")] = 55,
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="Cores to plan for; those of this machine if left out."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Measure the unit costs here first, in about a minute; needs no R."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Estimate tasks, memory and hours of each stage, and say where to run it."""
    from metabench_py.calibration import plan as room

    usual = room.Size.subset
    size = room.Size(
        llms=llms,
        items=items,
        benchmarks=benchmarks,
        subsets=subsets,
        subset=(usual if items > usual else 0) if subset is None else subset,
        folds=folds,
        evaluations=evaluations,
    )
    found = room.plan(size, cores, room.measure() if measure else room.MEASURED)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _table(found, measure))


def _table(found: Plan, measured: bool) -> str:
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [
        ("stage", "tasks", "core hours", f"hours on {found.cores}", "GiB a worker")
    ]
    rows += [
        (
            stage.stage,
            f"{stage.tasks:,}",
            f"{stage.core_hours:.2f}",
            f"{stage.hours:.2f}",
            f"{stage.memory_mib / 1024:.1f}",
        )
        for stage in found.stages
    ]
    rows.append(("all", "", f"{found.core_hours:.2f}", f"{found.hours:.2f}", ""))
    hint = "" if measured else ", --measure takes yours"
    return "\n".join(
        [
            table(rows),
            "",
            f"Take {found.executor}.",
            f"Unit costs: {found.costs.where}; a rough guide{hint}.",
        ]
    )
