"""``metabench-py calibrate fit``: compare item response models by what they give back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from metabench_py.benchmarks import ITEM_TYPES, SCORE_METHODS, EngineName, FitMode
from metabench_py.cli.calibrate.select import pool, several
from metabench_py.cli.options import one_of

if TYPE_CHECKING:
    from metabench_py.calibration.crossvalidate import CrossValidation


def fit_command(
    data: Annotated[
        Path, typer.Option(help="Folder of matrices that calibrate subsample (or you) made.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
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
    item_type: Annotated[
        list[str] | None,
        typer.Option(help="2PL, 3PL, 4PL; may be given again. Default: what the LLMs allow."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="MAP, EAPsum, EAP; may be given again.")
    ] = None,
    two_dimensional: Annotated[
        bool,
        typer.Option("--two-dimensional", help="Also a 2PL of two abilities (R's mirt, MHRM)."),
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, mirt, native.")] = "auto",
    mode: Annotated[str, typer.Option(help="converged, or mirt-path as the original.")] = (
        "converged"
    ),
    cycles: Annotated[int, typer.Option(help="Cycles at most (NCYCLES).")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the two-dimensional search.")] = 1,
    plots: Annotated[
        bool, typer.Option("--plots", help="Draw item curves, information and recovery.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Models at a time.")] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what fit made.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fit 2PL, 3PL, 4PL: criteria, item fit, and full scores recovered on the test LLMs."""
    from metabench_py.calibration.crossvalidate import CrossValidationOptions
    from metabench_py.calibration.fit_folder import fit_folder, summary

    options = CrossValidationOptions(
        item_types=several("--item-type", item_type, ITEM_TYPES) or None,  # type: ignore[arg-type]
        methods=several("--method", method, SCORE_METHODS) or CrossValidationOptions.methods,  # type: ignore[arg-type]
        engine=cast("EngineName", one_of("--engine", engine, get_args(EngineName))),
        mode=cast("FitMode", one_of("--mode", mode, get_args(FitMode))),
        max_cycles=cycles,
        two_dimensional=two_dimensional,
        seed=seed,
    )
    with pool(workers, out) as executor:
        found = fit_folder(
            data, out, options, scores=scores, split=split, only=tuple(benchmark or ()),
            executor=executor, replace=replace, draw=_draw if plots else None,
            progress=lambda what, number, _total: typer.echo(f"[{number}] {what}", err=True),
        )  # fmt: skip
    for warning in dict.fromkeys(text for one in found.values() for text in one.warnings):
        typer.echo(f"Warning: {warning}", err=True)
    typer.echo(json.dumps(summary(found, options), indent=2) if as_json else _table(found))
    typer.echo(f"Wrote {out}", err=True)


def _table(found: Mapping[tuple[str, str], CrossValidation]) -> str:
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [
        ("model", "logLik", "AIC", "BIC", "misfits", "method", "RMSE train", "RMSE test")
    ]
    for (benchmark, model), one in found.items():
        for method, way in one.recovered.items():
            rows.append(
                (
                    f"{benchmark} {model}",
                    f"{one.fit.log_likelihood:.1f}",
                    f"{one.aic:.0f}",
                    f"{one.bic:.0f}",
                    "" if one.item_fit is None else one.n_misfits,
                    method,
                    f"{way.train.rmse:.3f}",
                    "" if way.test is None else f"{way.test.rmse:.3f}",
                )
            )
    return table(rows)


def _draw(folder: Path, found: Mapping[tuple[str, str], CrossValidation]) -> None:
    from metabench_py.report.calibration import plot_curves, plot_recovery

    for (benchmark, model), one in found.items():
        method, way = next(iter(one.recovered.items()))
        title = f"{benchmark}, {model}, {method}"
        if one.slopes.shape[1] == 1:
            path = folder / f"{benchmark}-{model}-curves.png"
            plot_curves(one.fit.parameters, way.theta_train[:, 0], title, path)
        sets = (
            ("train", one.train_score, way.recovery.fitted),
            ("test", one.test_score, way.recovery.predicted[0]),
        )
        plot_recovery(sets, title, folder / f"{benchmark}-{model}-recovery.png")
