"""``metabench-py calibrate select``: choose the items that tell most."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from metabench_py.benchmarks import BENCHMARKS, ITEM_TYPES, SCORE_METHODS, EngineName, FitMode
from metabench_py.cli.options import one_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from metabench_py.calibration.information_filter import GridType
    from metabench_py.calibration.search import OptimiserName
    from metabench_py.calibration.select import Selection

_GRIDS = ("quantiles", "range")
_OPTIMISERS = ("optuna", "rBayesianOptimization")


def select_command(
    data: Annotated[
        Path, typer.Option(help="Folder of matrices that calibrate subsample (or you) made.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to make, with items.parquet.")],
    scores: Annotated[
        Path | None,
        typer.Option(help="Table: name, one column a benchmark (0-100). Default: of --data."),
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Table: name, split (train, test). Default: of --data.")
    ] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given again.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Items of each benchmark.")] = None,
    total_budget: Annotated[
        int | None, typer.Option(help="Items in all, shared out where they help most.")
    ] = None,
    penalty: Annotated[
        float, typer.Option(help="Lambda: score points an item. 0: no search, as the original.")
    ] = 0.005,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave out the items of this bundle or list; may be given again."),
    ] = None,
    item_type: Annotated[
        list[str] | None,
        typer.Option(help="2PL, 3PL, 4PL; may be given again. Default: what the LLMs allow."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="MAP, EAPsum, EAP; may be given again.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option(help="quantiles, range; may be given again.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Fix the least information; else it is searched.")
    ] = None,
    intervals: Annotated[int, typer.Option(help="Intervals of ability (N_QUANT).")] = 250,
    evaluations: Annotated[int, typer.Option(help="Of the search.")] = 55,
    optimiser: Annotated[
        str, typer.Option(help="optuna, or rBayesianOptimization (the original's; in R).")
    ] = "optuna",
    validation_share: Annotated[
        float,
        typer.Option(
            help="Training LLMs that judge each choice; the item parameters that are chosen by and "
            "written are of all training LLMs."
        ),
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the validation LLMs and the search.")] = 1,
    engine: Annotated[str, typer.Option(help="auto, mirt, native.")] = "auto",
    mode: Annotated[str, typer.Option(help="converged, or mirt-path as the original.")] = (
        "converged"
    ),
    workers: Annotated[int, typer.Option(help="Benchmarks at a time.")] = 1,
    work: Annotated[
        Path | None,
        typer.Option(help="Keep the searches here; else beside --out until the end."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what select made.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Choose items by the information they give, judged by score recovery on held-out LLMs."""
    from metabench_py.calibration.select import SelectOptions
    from metabench_py.calibration.select_folder import select_folder

    kinds = several("--item-type", item_type, ITEM_TYPES)
    methods = several("--method", method, SCORE_METHODS)
    options = SelectOptions(
        item_types=kinds or None,  # type: ignore[arg-type]
        methods=methods or SelectOptions.methods,  # type: ignore[arg-type]
        grids=cast("tuple[GridType, ...]", several("--grid", grid, _GRIDS) or _GRIDS),
        threshold=threshold,
        penalty=penalty,
        n_bins=intervals,
        budget=budget,
        total_budget=total_budget,
        n_trials=evaluations,
        optimiser=cast("OptimiserName", one_of("--optimiser", optimiser, _OPTIMISERS)),
        validation_share=validation_share,
        seed=seed,
        engine=cast("EngineName", one_of("--engine", engine, get_args(EngineName))),
        mode=cast("FitMode", one_of("--mode", mode, get_args(FitMode))),
    )
    with pool(workers, out) as executor:
        found = select_folder(
            data, out, options, scores=scores, split=split, only=tuple(benchmark or ()),
            exclude=tuple(exclude or ()), executor=executor, work=work, replace=replace,
            progress=say,
        )  # fmt: skip
    for one in found.values():
        for warning in one.warnings:
            typer.echo(f"Warning: {warning}", err=True)
    summary = (out / "summary.json").read_text(encoding="utf-8")
    typer.echo(summary.rstrip() if as_json else _table(found))
    if set(found) == set(BENCHMARKS):
        typer.echo(f"Wrote {out}; next: calibrate bundle --items {out / 'items.parquet'}", err=True)
    else:
        typer.echo(
            f"Wrote {out}. A bundle, with which LLMs are scored, takes the six benchmarks of "
            f"metabench; of others the chosen items and their parameters in {out} are the result.",
            err=True,
        )


def _table(found: dict[str, Selection]) -> str:
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [
        ("benchmark", "items", "of", "model", "method", "RMSE all", "RMSE", "RMSE test")
    ]
    for name, one in found.items():
        rows.append(
            (
                name,
                len(one.items),
                one.n_available,
                one.choice.item_type,
                one.choice.method,
                f"{one.base.rmse:.3f}",
                f"{one.validation.rmse:.3f}",
                "" if one.test is None else f"{one.test.rmse:.3f}",
            )
        )
    return table(rows)


@contextlib.contextmanager
def pool(workers: int, out: Path) -> Iterator[Executor | None]:
    """Open processes for several workers; one works here."""
    from metabench_py.compute import Place, open_executor

    place = Place(workers=workers)
    if workers == 1:
        yield None
        return
    scratch = out.parent / f".{out.name}.pool"
    try:
        with open_executor(place, scratch) as executor:
            yield executor
    finally:
        with contextlib.suppress(OSError):
            scratch.rmdir()


def several(option: str, given: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Check values that may be given several times."""
    return tuple(dict.fromkeys(one_of(option, value, known) for value in given or ()))


def say(what: str, number: int, total: int) -> None:
    """Tell on stderr what is done."""
    typer.echo(f"[{number}/{total}] {what}", err=True)
