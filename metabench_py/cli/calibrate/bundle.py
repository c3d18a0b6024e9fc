"""``metabench-py calibrate bundle``: make a bundle of response matrices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from metabench_py.benchmarks import EngineName, FitMode
from metabench_py.bundle.schema import StageFit
from metabench_py.cli.calibrate.places import (
    Dask,
    Slurm,
    SlurmMemory,
    SlurmOption,
    SlurmTime,
    Workers,
    place_of,
)
from metabench_py.cli.options import one_of
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.calibration.item_orders import ItemOrder


def bundle_command(
    responses: Annotated[
        Path, typer.Option(help="Folder with arc.parquet (or .csv) and so on: LLMs x items, 0/1.")
    ],
    items: Annotated[
        Path,
        typer.Option(
            help="CSV or Parquet: benchmark, item, item_type, score_method, optional metric."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Bundle folder to make.")],
    name: Annotated[str, typer.Option(help="Name of the bundle.")],
    version_label: Annotated[
        str, typer.Option(help="Version that reconstruct MODEL VERSION takes, for instance B.")
    ],
    licence: Annotated[str, typer.Option(help="Licence of the estimates.")],
    source: Annotated[str, typer.Option(help="Where the responses and scores come from.")],
    scores: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet: name, one column a benchmark (0-100), optional split; LLMs of "
            "the split 'test' are left out. Left out, the matrices must hold all items, and the "
            "score is the share of right answers."
        ),
    ] = None,
    scores_from_leaderboard: Annotated[
        bool,
        typer.Option(
            "--scores-from-leaderboard",
            help="Take a leaderboard's table as --scores, though its TruthfulQA and MMLU differ.",
        ),
    ] = False,
    split: Annotated[
        Path | None,
        typer.Option(help="Table of calibrate split: its test LLMs have no part in the bundle."),
    ] = None,
    licence_file: Annotated[
        Path | None, typer.Option(help="Text to put into the bundle as LICENSE.md.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Who fits item parameters: auto, mirt, native.")] = (
        "auto"
    ),
    mode: Annotated[
        str,
        typer.Option(help="converged (a true optimum) or mirt-path (mirt's EM, cycle by cycle)."),
    ] = "converged",
    second_stage: Annotated[
        str | None,
        typer.Option(
            "--second-stage",
            help="stack, gam (the original's), fast-gam, or two with a comma, the default first. "
            "Left out: stack,gam where R has mgcv and there are LLMs enough for a GAM, else stack.",
        ),
    ] = None,
    choose: Annotated[
        int | None,
        typer.Option(
            help="Make the bundle of so many of the items, chosen on the LLMs; its errors are "
            "those of items chosen anew without each fold's LLMs."
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="Of --choose: greedy (the default), ridge, information, random."),
    ] = None,
    folds: Annotated[
        int, typer.Option(help="Organisation-grouped folds, and as many random ones; 3 or more.")
    ] = 10,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 1,
    basis_size: Annotated[
        int | None, typer.Option(help="Basis functions a GAM term; fewer for few LLMs.")
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
    replace: Annotated[bool, typer.Option("--replace", help="Replace a bundle that is there.")] = (
        False
    ),
) -> None:
    """Make a bundle: item parameters, second stages, held-out errors, population.

    The stack needs no R; the GAMs need R with mgcv.
    """
    from metabench_py.calibration import CalibrationOptions, calibrate
    from metabench_py.compute import open_executor

    if order is not None and choose is None:
        raise InputError("--order is the order of --choose: say how many items with --choose N.")
    chosen = CalibrationOptions(
        engine=cast("EngineName", one_of("--engine", engine, get_args(EngineName))),
        mode=cast("FitMode", one_of("--mode", mode, get_args(FitMode))),
        second_stage=stages_of(second_stage),
        folds=folds,
        seed=seed,
        basis_size=basis_size,
        choose=choose,
        order=cast("ItemOrder", order or "greedy"),
    )
    text = None if licence_file is None else _read_text(licence_file)
    place = place_of(workers, dask, slurm, slurm_time, slurm_memory, slurm_option)
    with open_executor(place, out.parent / f".{out.name}.scratch") as executor:
        calibrate(
            responses,
            scores,
            items,
            out,
            name=name,
            version=version_label,
            licence=licence,
            source=source,
            licence_text=text,
            options=chosen,
            scores_from_leaderboard=scores_from_leaderboard,
            split=split,
            work=work,
            replace=replace,
            progress=_say,
            executor=executor,
        )
    typer.echo(f"Wrote {out}; use it with --bundle {out}", err=True)


def stages_of(text: str | None) -> tuple[StageFit, ...] | None:
    """Split ``stack,gam``; what is wrong with it, `CalibrationOptions` says."""
    if text is None:
        return None
    return tuple(cast("StageFit", part.strip()) for part in text.split(","))


def _say(what: str, number: int, total: int) -> None:
    typer.echo(f"[{number}/{total}] {what}" if total else what, err=True)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable text file ({error}).", path=str(path)) from error
