"""``metabench-py analyze logistic``: scores from logistic regressions of the items alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metabench_py.cli.analyze.study_options import (
    Benchmarks,
    Folds,
    Out,
    Plot,
    Responses,
    Scores,
    Seed,
    Split,
    Workers,
    check_files,
    open_studies,
    points,
    working,
    write_rows,
)
from metabench_py.cli.options import Json

if TYPE_CHECKING:
    from pathlib import Path

    from metabench_py.analysis.logistic import LogisticStudy, Method

_METHODS: dict[Method, str] = {
    "mode": "logistic, mode",
    "mean": "logistic, mean",
    "share": "share right",
    "irt": "2PL",
}


def logistic_command(
    responses: Responses,
    scores: Scores = None,
    split: Split = None,
    benchmark: Benchmarks = None,
    items: Annotated[
        list[int] | None,
        typer.Option(help="Also try so many items; may be given again. Default: some."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Random subsets of each number of items.")] = 5,
    grid: Annotated[int, typer.Option(help="Scores at which the posterior is taken.")] = 1024,
    mode: Annotated[
        Literal["converged", "mirt-path"], typer.Option(help="How the 2PL beside it is fitted.")
    ] = "converged",
    folds: Folds = 5,
    seed: Seed = 1,
    workers: Workers = None,
    out: Out = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Regress each item's answers on the score, and reconstruct scores by these curves."""
    check_files(out, plot)
    from metabench_py.analysis.logistic import LogisticOptions, analyze_logistic

    options = LogisticOptions(tuple(items or ()), draws, grid, mode, seed)
    data = open_studies(responses, scores, split, benchmark, folds, seed)
    with working("logistic scoring", workers) as (executor, progress):
        found = analyze_logistic(data, options, executor=executor, progress=progress)
    if as_json:
        value = {"schema": 1, "benchmarks": {name: one.to_dict() for name, one in found.items()}}
        typer.echo(json.dumps(value, indent=2))
    else:
        typer.echo(_text(found))
    if out is not None:
        rows = [
            {"benchmark": name, **item}
            for name, one in found.items()
            for item in one.to_dict()["items"]
        ]
        write_rows(rows, out)
    if plot is not None:
        _draw(found, plot)
        typer.echo(f"Wrote {plot}", err=True)


def _text(found: dict[str, LogisticStudy]) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    lines = []
    for name, one in found.items():
        about = one.to_dict()
        slopes = [item["standardised_slope"] for item in about["items"]]
        falling = sum(slope < 0 for slope in slopes)
        explained = sorted(item["explained"] for item in about["items"])
        apart = sum(item["separated"] for item in about["items"])
        lines.append(
            f"{TITLES.get(name, name)}: {about['n_llms']} LLMs, {about['n_items']} items; "
            f"{falling} slopes below 0; a score explains {100 * explained[len(explained) // 2]:.1f}"
            f" % of an item's deviance (median), {100 * explained[0]:.1f} to "
            f"{100 * explained[-1]:.1f} %."
        )
        if apart:
            lines.append(
                f"Items to which the score parts right from wrong answers: {apart}; their slopes "
                "are where the search was stopped."
            )
        rows: list[tuple[object, ...]] = [("items", "", *_METHODS.values(), "mode, in sample")]
        tested = one.data.n_test > 0
        if tested:
            rows[0] = (*rows[0], "mode, test")
        for choice, size in dict.fromkeys((r.choice, r.n_items) for r in one.recovered):
            here = {r.method: r for r in one.recovered if (r.choice, r.n_items) == (choice, size)}
            errors = [points(here[m].rmse) if m in here else "" for m in _METHODS]
            row = (size, choice, *errors, points(here["mode"].rmse_train))
            rows.append((*row, points(here["mode"].rmse_test)) if tested else row)
        lines += [table(rows), ""]
    lines.append(
        "RMSE in points, on LLMs of other organisations; in sample: on those that the curves were "
        "fitted on, as the original judges them. --json has MAE, bias and all items."
    )
    return "\n".join(lines)


def _draw(found: dict[str, LogisticStudy], path: Path) -> None:
    from metabench_py.figures.panels import logistic_panel
    from metabench_py.report.logistic_figures import plot_logistic

    plot_logistic([logistic_panel(name, one) for name, one in found.items()], path)
