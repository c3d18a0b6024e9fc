"""``metabench-py analyze seeds``: spread over seeds and settings, and the best settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.cli.analyze.study_options import (
    Benchmarks,
    Out,
    Plot,
    check_files,
    write_rows,
)
from metabench_py.cli.options import Json

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
    benchmark: Benchmarks = None,
    cost: Annotated[
        float,
        typer.Option(
            help="Points that an item costs: the best setting of a seed has the smallest "
            "validation RMSE + items x cost."
        ),
    ] = 0.005,
    out: Out = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Compare calibrations of several seeds and settings: spread, and the best settings."""
    check_files(out, plot)
    from metabench_py.analysis.seed_results import load_results
    from metabench_py.analysis.seeds import analyze_seeds

    found = analyze_seeds(load_results(results), cost, tuple(benchmark or ()))
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _text(found))
    if out is not None:
        write_rows(_rows(found), out)
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
            ("benchmark", "split", "seed", "setting", "items", "RMSE val.", "RMSE", "MAE",
             "Spearman", "model", "best")
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
                f"! the best of its split and seed: smallest validation RMSE + {found.cost:g} an "
                "item."
            )
            if any(one.best and one.row.judged == "validation" for one in of):
                lines.append(
                    "Errors of validation LLMs are too small: the same LLMs chose items and "
                    "settings. Hold test LLMs out (calibrate split)."
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


def _rows(found: SeedStudy) -> list[dict[str, Any]]:
    return [
        {
            **{name: value for name, value in one.to_dict().items() if name != "options"},
            "penalty": one.row.penalty,
        }
        for one in found.rows
    ]
