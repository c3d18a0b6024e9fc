"""``metabench-py analyze answers``: prune items, predict the answers to those removed."""

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
    from metabench_py.analysis.answers import AnswersStudy


def answers_command(
    responses: Responses,
    scores: Scores = None,
    split: Split = None,
    benchmark: Benchmarks = None,
    items: Annotated[
        list[int] | None,
        typer.Option(help="Items left when answers are predicted; may be given again."),
    ] = None,
    rule: Annotated[
        Literal["error", "coefficient"],
        typer.Option(
            help="Which item goes next: whose loss costs least, or (as the original) of the "
            "smallest coefficient."
        ),
    ] = "error",
    ridge: Annotated[
        float, typer.Option(help="Of the logistic regressions; 0: none, as the original.")
    ] = 1.0,
    draws: Annotated[int, typer.Option(help="Random subsets of each number of items.")] = 10,
    folds: Folds = 5,
    seed: Seed = 1,
    workers: Workers = None,
    out: Out = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Remove items one by one, and predict the answers to them from the items left."""
    check_files(out, plot)
    from metabench_py.analysis.answer_folds import AnswersOptions
    from metabench_py.analysis.answers import analyze_answers

    options = AnswersOptions(tuple(items or ()), rule, ridge, draws, seed)
    data = open_studies(responses, scores, split, benchmark, folds, seed)
    with working("answers", workers) as (executor, progress):
        found = analyze_answers(data, options, executor=executor, progress=progress)
    loose = sum(size.n_loose for one in found.values() for size in one.sizes)
    if loose:
        typer.echo(
            f"Warning: {loose} regressions came to no end, as items left part right from wrong "
            "answers; give a --ridge above 0.",
            err=True,
        )
    if as_json:
        value = {"schema": 1, "benchmarks": {name: one.to_dict() for name, one in found.items()}}
        typer.echo(json.dumps(value, indent=2))
    else:
        typer.echo(_text(found))
    if out is not None:
        write_rows(
            [
                {"benchmark": name, "n_items": size.n_items, **vars(item)}
                for name, one in found.items()
                for size in one.sizes
                for item in size.items
            ],
            out,
        )
    if plot is not None:
        from metabench_py.figures.panels import answers_panel
        from metabench_py.report.answer_figures import plot_answers

        plot_answers([answers_panel(name, one) for name, one in found.items()], plot)
        typer.echo(f"Wrote {plot}", err=True)


def _text(found: dict[str, AnswersStudy]) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    lines = []
    for name, one in found.items():
        about = one.data.about()
        best, fixed = one.lasso_best, one.lasso_original
        lines += [
            f"{TITLES.get(name, name)}: {about['n_llms']} LLMs, {about['n_items']} items; target: "
            f"{about['score']}.",
            f"Linear predictor of all items: RMSE {one.curve_held_out[-1]:.2f} "
            f"({one.curve_train[-1]:.2f} in sample). Lasso: {best[0].held_out:.2f} with {best[1]} "
            f"items by cross-validation, {fixed[0].held_out:.2f} with {fixed[1]} by a penalty of "
            "0.9 (the original's).",
        ]
        rows: list[tuple[object, ...]] = [
            ("items left", "linear", "in sample", "GAM", "lasso's", "random", "answers", "share",
             "accuracy", "majority")
        ]  # fmt: skip
        rows += [
            (
                size.n_items, points(size.linear.held_out), points(size.linear.train),
                points(size.gam.held_out), points(size.lasso.held_out),
                points(size.random.held_out), points(size.score.held_out),
                points(size.share.held_out), f"{size.accuracy:.3f}", f"{size.majority:.3f}",
            )
            for size in one.sizes
        ]  # fmt: skip
        lines.append(table(rows))
        if about["n_test"]:
            tests = ", ".join(
                f"{size.n_items}: linear {points(size.linear.test)}, GAM {points(size.gam.test)}, "
                f"answers {points(size.score.test)}"
                for size in one.sizes
            )
            lines.append(f"On {about['n_test']} test LLMs: {tests}.")
        lines.append("")
    lines.append(
        "RMSE in points on LLMs of other organisations (linear also in sample): of the score by "
        "the items left (linear, GAM), by items that the lasso takes first and by random ones "
        "(linear), by the answers to all items, known or predicted (answers); and of the share "
        "right in the matrix (share). Accuracy: of predicted answers; majority: of always the more "
        "frequent one."
    )
    return "\n".join(lines)
