"""``metabench-py analyze seeds``: spread over seeds and settings, and the best settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench_py.cli.options import Json
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.analysis.seeds import SeedStudy, Spread

_TITLES = {
    "fit": "All items (calibrate fit)",
    "select": "Selected items (calibrate select)",
    "bundle": "Second stage of all abilities (bundles)",
}


def seeds_command(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER...",
            help="What calibrate select or fit made, bundles, or work folders of calibrate run; "
            "NAME=FOLDER names the split.",
        ),
    ],
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given again.")
    ] = None,
    cost: Annotated[
        float, typer.Option(help="Points of validation RMSE that an item costs in the best.")
    ] = 0.005,
    out: Annotated[Path | None, typer.Option(help="Write all rows (.csv, .parquet).")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw errors and items over seeds (.png, .svg, .pdf).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare calibrations of several seeds and settings: spread, and the best settings."""
    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, 1)
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {out}: end its name in .csv or .parquet.", path=str(out))
    from metabench_py.analysis.seed_results import load_results
    from metabench_py.analysis.seeds import analyze_seeds

    found = analyze_seeds(load_results(results), cost, tuple(benchmark or ()))
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _text(found))
    if out is not None:
        _write(found, out)
        typer.echo(f"Wrote {out}", err=True)
    if plot is not None:
        from metabench_py.figures.panels import seed_points
        from metabench_py.report.seed_figures import plot_seeds

        plot_seeds(seed_points(found), plot)
        typer.echo(f"Wrote {plot}", err=True)


def _text(found: SeedStudy) -> str:
    from metabench_py.cli.progress import table

    lines: list[str] = []
    for stage, title in _TITLES.items():
        of = [one for one in found.rows if one.row.stage == stage]
        if not of:
            continue
        judged = ", ".join(dict.fromkeys(one.row.judged for one in of))
        lines += [f"{title}; RMSE in points ({judged} LLMs)", ""]
        rows: list[tuple[object, ...]] = [
            ("benchmark", "split", "seed", "setting", "items", "RMSE val.", "RMSE", "MAE", "r",
             "model", "best")
        ]  # fmt: skip
        for one in of:
            row = one.row
            rows.append(
                (
                    _title(row.benchmark), row.split, "" if row.seed is None else row.seed,
                    one.setting, row.n_items, _number(row.rmse_validation), _number(row.rmse),
                    _number(row.mae), _number(row.spearman), f"{row.item_type} {row.method}",
                    "!" if one.best else "",
                )
            )  # fmt: skip
        lines += [table(rows), ""]
        some = [one for one in found.spread if one.stage == stage and one.n > 1]
        if stage == "select":
            some += [one for one in found.best_spread if one.n > 1]
            lines.append(
                f"! the best of its split and seed: validation RMSE + {found.cost:g} an item."
            )
            lines.append("")
        if some:
            lines += [_spread(some), ""]
    return "\n".join(lines).rstrip()


def _spread(some: list[Spread]) -> str:
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [
        ("over seeds", "setting", "n", "splits", "RMSE", "sd", "from", "to", "items", "sd", "from",
         "to")
    ]  # fmt: skip
    for one in some:
        items = one.n_items
        rows.append(
            (
                _title(one.benchmark), one.setting, one.n, one.n_splits,
                *(_number(value) for value in one.rmse),
                *(f"{value:.0f}" for value in items),
            )
        )  # fmt: skip
    return table(rows)


def _title(benchmark: str) -> str:
    from metabench_py.benchmarks import TITLES

    return str(dict(TITLES).get(benchmark, benchmark))


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"


def _write(found: SeedStudy, out: Path) -> None:
    import pandas as pd

    from metabench_py.storage import atomic_path

    rows = [{k: v for k, v in one.to_dict().items() if k != "options"} for one in found.rows]
    for row, one in zip(rows, found.rows, strict=True):
        row["penalty"] = one.row.penalty
    frame = pd.DataFrame(rows)
    with atomic_path(out) as temporary:
        if out.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)
