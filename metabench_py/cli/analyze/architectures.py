"""``metabench-py analyze architectures``: errors by kind and size of LLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metabench_py.benchmarks import Target
from metabench_py.cli.analyze.study_options import Plot, check_files
from metabench_py.cli.options import Json

if TYPE_CHECKING:
    from metabench_py.analysis.architectures import Architectures, GroupErrors

_NAMED = 5
_PAIRS = 10


def architectures_command(
    reconstructions: Annotated[
        Path,
        typer.Argument(
            help="Table of reconstructions (Parquet, CSV): name, reconstructed and true scores; "
            "llms.parquet of calibrate select; or what reconstruct wrote (.json, .jsonl, .csv), "
            "with --scores."
        ),
    ],
    models: Annotated[
        Path,
        typer.Option(
            help="Table of LLMs as scrape leaderboard writes it (CSV, Parquet): name, arch, size."
        ),
    ],
    target: Annotated[
        Literal["grand", "arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande"],
        typer.Option(help="Score that was reconstructed."),
    ] = "grand",
    predicted: Annotated[
        str | None,
        typer.Option(
            help="Column of reconstructions. Default: TARGET.published_prediction, predicted or p."
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(help="Column of true scores. Default: score, or that of the target's name."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="Table of true scores (name, and columns as --score has them), where the first "
            "has none."
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Table: name, split (train, test). Default: the column split or set, if there."
        ),
    ] = None,
    llms: Annotated[
        Literal["auto", "test", "train", "all"],
        typer.Option(help="auto: the test LLMs where a split is known, else all."),
    ] = "auto",
    name_column: Annotated[str, typer.Option(help="Column of --models: LLMs' names.")] = "name",
    architecture_column: Annotated[
        str, typer.Option(help="Column of --models: architectures.")
    ] = "arch",
    size_column: Annotated[
        str, typer.Option(help="Column of --models: billions (10^9) of parameters.")
    ] = "size",
    least: Annotated[
        int, typer.Option(help="LLMs that an architecture must have to be compared.")
    ] = 10,
    level: Annotated[float, typer.Option(help="Of intervals, between 0 and 1.")] = 0.95,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Compare errors of reconstructed scores between architectures and along sizes of LLMs."""
    check_files(None, plot)
    from metabench_py.analysis.architectures import analyze_architectures
    from metabench_py.analysis.llm_kinds import load_kinds
    from metabench_py.analysis.residual_table import load_residuals

    residuals = load_residuals(
        reconstructions, target, predicted=predicted, score=score, scores=scores, split=split,
        which=llms,
    )  # fmt: skip
    kinds = load_kinds(
        models, residuals.names, name=name_column, architecture=architecture_column,
        size=size_column,
    )  # fmt: skip
    found = analyze_architectures(residuals, kinds, least=least, level=level)
    for line in _notes(found, models):
        typer.echo(f"Note: {line}", err=True)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _text(found, target))
    if plot is not None:
        from metabench_py.figures.panels import architecture_panels
        from metabench_py.report.architecture_figures import plot_architectures

        plot_architectures(*architecture_panels(found), plot)
        typer.echo(f"Wrote {plot}", err=True)


def _notes(found: Architectures, models: Path) -> list[str]:
    lines = []
    if found.residuals.n_left_out:
        lines.append(
            f"{found.residuals.n_left_out} LLMs lack a score or a reconstruction; left out."
        )
    if found.residuals.n_unplaced:
        lines.append(f"{found.residuals.n_unplaced} LLMs have no place in the split; left out.")
    if found.residuals.n_train:
        lines.append(
            f"{found.residuals.n_train} are training LLMs; if they were reconstructed by what was "
            "fitted on them, their errors are too small."
        )
    missing, n = found.kinds.unmatched, len(found.residuals.names)
    if missing:
        named = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        lines.append(
            f"{len(missing)} of {n} LLMs are not in {models} by name, and are in no group: {named}"
            + (" (--json names all)." if len(missing) > _NAMED else ".")
        )
    loose = n - len(missing) - found.kinds.n_exact
    if loose:
        lines.append(f"{loose} LLMs were matched but for '__' or case.")
    if found.kinds.n_unknown:
        lines.append(
            f"{found.kinds.n_unknown} LLMs are in {models} without a known architecture, "
            "and are in no group."
        )
    return lines


def _text(found: Architectures, target: Target) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    percent = f"{100 * found.level:g} %"
    lines = [
        f"{TITLES[target]}: {found.everyone.n} LLMs ({found.residuals.which}); residual = "
        "reconstructed less true, points. Intervals let LLMs of an owner depend on each other.",
        "",
    ]
    rows: list[tuple[object, ...]] = [
        ("architecture", "LLMs", "owners", "score", "bias", percent, "RMSE", percent)
    ]
    rows += [_row(one) for one in (*found.groups, found.everyone)]
    lines += [table(rows), ""]
    if found.others:
        names = ", ".join(f"{name} {n}" for name, n in found.others.items())
        lines.append(f"In no group, for fewer than {found.least} LLMs: {names}.")
    for test, adjusted in found.tests:
        what = {
            "Welch": "equal means",
            "Kruskal-Wallis": "equal ranks",
            "Brown-Forsythe": "equal spread",
        }[test.name]
        lines.append(
            f"{test.name} ({what}): {test.statistic:.2f}, p {_p(test.p)}, by Holm {_p(adjusted)}"
        )
    if found.tests:
        share = 100 * max(0.0, found.omega_squared)
        lines.append(
            f"Architecture explains {share:.1f} % of the residuals' variance (omega squared)."
        )
    alpha = 1.0 - found.level
    apart = [one for one in found.pairs if one.adjusted < alpha]
    if found.pairs:
        lines.append(
            f"{len(apart)} of {len(found.pairs)} pairs differ in their means (Welch's t, p by "
            f"Holm < {alpha:g})" + (":" if apart else ".")
        )
    for one in sorted(apart, key=lambda pair: pair.adjusted)[:_PAIRS]:
        lines.append(
            f"  {one.first} less {one.second}: {one.difference:+.2f} "
            f"[{one.lower:+.2f}, {one.upper:+.2f}], p {_p(one.adjusted)}"
        )
    for trend in found.trends:
        lines.append(
            f"Size and {trend.of} ({trend.n} LLMs): Spearman {trend.spearman:+.3f}, p by Holm "
            f"{_p(trend.adjusted)}; {trend.slope:+.3f} points [{trend.lower:+.3f}, "
            f"{trend.upper:+.3f}] for ten times the size"
        )
    if found.tests or found.trends:
        lines.append(
            "Tests take LLMs as independent; variants of one another are not, so p are optimistic."
        )
    return "\n".join(lines)


def _row(one: GroupErrors) -> tuple[object, ...]:
    return (
        one.name, one.n, one.n_owners, f"{one.score:.1f}",
        f"{one.bias:+.3f}", _bounds(one.bias_lower, one.bias_upper, "+"),
        f"{one.rmse:.3f}", _bounds(one.rmse_lower, one.rmse_upper, ""),
    )  # fmt: skip


def _bounds(lower: float, upper: float, sign: str) -> str:
    if lower != lower:
        return "few owners"
    return f"{lower:{sign}.2f} to {upper:{sign}.2f}"


def _p(value: float) -> str:
    if value != value:
        return "is not determined"
    return "< 0.0001" if value < 1e-4 else f"= {value:.4f}"
