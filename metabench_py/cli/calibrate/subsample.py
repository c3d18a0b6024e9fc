"""``metabench-py calibrate subsample``: choose among random subsets of items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from metabench_py.cli.calibrate.places import (
    Dask,
    Slurm,
    SlurmMemory,
    SlurmOption,
    SlurmTime,
    Workers,
    place_of,
)
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.calibration.subsample_folder import SubsampleReport


def subsample_command(
    data: Annotated[Path, typer.Option(help="Folder that calibrate preprocess and split made.")],
    out: Annotated[Path, typer.Option(help="Folder to make, with the chosen items.")],
    items: Annotated[int, typer.Option(help="Items of a subset.")] = 350,
    subsets: Annotated[int, typer.Option(help="Subsets to draw.")] = 10_000,
    folds: Annotated[int, typer.Option(help="Of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(help="Of folds and subsets.")] = 1,
    rule: Annotated[
        str,
        typer.Option(help="stratified (needs no R), or original (folds and subsets as R's caret)."),
    ] = "stratified",
    partitioner: Annotated[
        str,
        typer.Option(help="With --rule original, who draws: caret, or base (R alone; the same)."),
    ] = "caret",
    second_stage: Annotated[
        str, typer.Option(help="native, or mgcv (R's, some ten times slower; nearly the same).")
    ] = "native",
    search: Annotated[
        str,
        typer.Option(help="mgcv-path (mgcv's steps), or converged (goes on to a minimum of GCV)."),
    ] = "mgcv-path",
    basis_size: Annotated[
        int | None, typer.Option(help="Coefficients of the spline; 40, or fewer for few LLMs.")
    ] = None,
    null_items: Annotated[
        list[int] | None,
        typer.Option(
            help="Also draw subsets of so many items, to hold a reduced benchmark "
            "against; may be given again."
        ),
    ] = None,
    null_subsets: Annotated[
        int | None, typer.Option(help="Subsets of each --null-items; --subsets if left out.")
    ] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given again.")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Table: name, one column a benchmark (0-100). Default: of --data."),
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Table: name, split (train, test). Default: of --data.")
    ] = None,
    workers: Workers = None,
    dask: Dask = None,
    slurm: Slurm = None,
    slurm_time: SlurmTime = None,
    slurm_memory: SlurmMemory = None,
    slurm_option: SlurmOption = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Keep finished results here. Left out, they lie beside --out until the end; "
            "after an interruption the same command goes on where it stopped."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the errors of all subsets: .png, .svg or .pdf.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a folder that is there.")] = (
        False
    ),
) -> None:
    """Draw random subsets of items, judge each by cross-validation, and choose the best."""
    from metabench_py.calibration.subsample import SubsampleOptions
    from metabench_py.calibration.subsample_folder import finished_work, subsample_folder
    from metabench_py.cli.progress import Bar
    from metabench_py.compute import Journal, open_executor

    options = SubsampleOptions(
        n_items=items,
        subsets=subsets,
        folds=folds,
        seed=seed,
        rule=cast("Any", rule),
        partitioner=cast("Any", partitioner),
        second_stage=cast("Any", second_stage),
        search=cast("Any", search),
        basis_size=basis_size,
    )
    if null_subsets is not None and not null_items:
        raise InputError("--null-subsets is the number of subsets of --null-items; give both.")
    if plot is not None:
        from metabench_py.report.canvas import check_format

        check_format(plot)
    bar, at = Bar(), ["", 0]

    def advance(what: str, number: int, total: int) -> None:
        if at[0] != what:
            if at[0]:
                bar.stop()
            bar.start(what, total, 0)
            at[:] = [what, 0]
        bar.advance(done=number - cast("int", at[1]))
        at[1] = number
        if number == total:
            bar.stop()
            at[:] = ["", 0]

    place = place_of(workers, dask, slurm, slurm_time, slurm_memory, slurm_option)
    with (
        finished_work(work, out) as journal,
        open_executor(place, out.parent / f".{out.name}.scratch") as executor,
        Journal(executor, journal) as keeper,
    ):
        found = subsample_folder(
            data,
            out,
            options,
            benchmarks=tuple(benchmark or ()),
            scores=scores,
            split=split,
            null_items=tuple(null_items or ()),
            null_subsets=null_subsets,
            replace_out=replace,
            executor=keeper,
            progress=advance,
        )
    if plot is not None:
        from metabench_py.report.subsample_plot import plot_subsample

        plot_subsample(
            {name: one.worst for name, one in found.chosen.items()},
            {name: float(one.worst[one.chosen]) for name, one in found.chosen.items()},
            {
                name: [(n, one.worst) for (which, n), one in found.null.items() if which == name]
                for name in found.chosen
            },
            plot,
        )
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _table(found))
    typer.echo(f"Wrote {out}", err=True)


def _table(found: SubsampleReport) -> str:
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [
        ("benchmark", "items", "of", "subset", "largest RMSE", "median", "RMSE test")
    ]
    for name, one in found.chosen.items():
        known = one.to_dict()
        test = known["mean_rmse_test"]
        rows.append(
            (
                name,
                known["items_chosen"],
                known["items"],
                known["chosen_subset"],
                f"{known['minimax_rmse_validation']:.3f}",
                f"{known['median_minimax_rmse_validation']:.3f}",
                "" if test is None else f"{test:.3f}",
            )
        )
    lines = [table(rows)]
    if found.null:
        rows = [("null", "items", "RMSE", "2.5 %", "97.5 %")]
        for known in found.to_dict()["null"]:
            low, middle, high = known["rmse_validation_quantiles"]
            rows.append(
                (known["benchmark"], known["items"], f"{middle:.3f}", f"{low:.3f}", f"{high:.3f}")
            )
        lines += ["", table(rows)]
    return "\n".join(lines)
