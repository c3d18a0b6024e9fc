"""``metabench-py analyze factors``: whether there is one ability behind the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metabench_py.cli.analyze.study_options import check_files
from metabench_py.cli.options import Json

if TYPE_CHECKING:
    from metabench_py.analysis.factors import FactorAnalysis


def factors_command(
    table: Annotated[
        Path,
        typer.Argument(help="Abilities or scores, Parquet or CSV: name, one column a benchmark."),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column to analyse; may be given again. Default: the six benchmarks."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Column to compare factor scores with. Default: grand, if there."),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="Table: name, split (train, test). Default: the column split, if there."),
    ] = None,
    factors: Annotated[int, typer.Option(help="Fit 1 to so many factors.")] = 3,
    rotation: Annotated[
        Literal["oblimin", "none"], typer.Option(help="Of two factors and more.")
    ] = "oblimin",
    engine: Annotated[
        Literal["auto", "psych", "native"], typer.Option(help="auto: R's psych, if there.")
    ] = "auto",
    samples: Annotated[int, typer.Option(help="Random samples of the parallel analysis.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the random samples.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write factor scores (.csv, .parquet).")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw loadings and eigenvalues (.png, .svg, .pdf).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Factor analysis (minres) of abilities or scores; fitted on the training LLMs."""
    check_files(out, plot)
    from metabench_py.analysis.factor_table import load_factor_table
    from metabench_py.analysis.factors import analyze_factors
    from metabench_py.benchmarks import BENCHMARKS

    data = load_factor_table(table, tuple(column or BENCHMARKS), against, split)
    if data.n_left_out:
        typer.echo(
            f"Note: {data.n_left_out} LLMs lack a number or a place in the split; left out.",
            err=True,
        )
    found = analyze_factors(
        data, factors, rotation=rotation, engine=engine, n_samples=samples, seed=seed
    )
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _text(found))
    if out is not None:
        _write_scores(found, out)
        typer.echo(f"Wrote {out}", err=True)
    if plot is not None:
        from metabench_py.report.factor_figures import plot_factors

        plot_factors(
            found.table.variables,
            [one.loadings for one in found.fits],
            found.parallel.factor_values,
            found.parallel.factor_random,
            plot,
        )
        typer.echo(f"Wrote {plot}", err=True)


def _text(found: FactorAnalysis) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    data = found.table
    n_test = int(data.test.sum())
    lines = [
        f"{len(data.names) - n_test} training LLMs, {n_test} test LLMs, "
        f"{len(data.variables)} variables",
        "",
    ]
    head: tuple[object, ...] = (
        "factors", "variance", "chi2", "dof", "RMSEA", "90 % interval", "RMSR", "corrected",
        "CFI", "TLI",
    )  # fmt: skip
    rows = [head]
    for one in found.fits:
        bounds = f"{one.rmsea_lower:.3f} - {one.rmsea_upper:.3f}" if one.dof else ""
        rows.append(
            (
                one.n_factors, f"{one.variance.sum():.3f}", f"{one.chi_square:.1f}", one.dof,
                _cell(one.rmsea, 3), bounds, _cell(one.rmsr, 4), _cell(one.crmsr, 4),
                _cell(one.cfi, 4), _cell(one.tli, 4),
            )
        )  # fmt: skip
    lines += [table(rows), ""]
    rows = [("one factor", "loading", "uniqueness", "weight")]
    first = found.fits[0]
    for i, name in enumerate(data.variables):
        rows.append(
            (
                TITLES.get(name, name),
                f"{first.loadings[i, 0]:.3f}",
                f"{first.uniquenesses[i]:.3f}",
                f"{first.weights[i, 0]:.3f}",
            )
        )
    lines += [table(rows), ""]
    parallel = found.parallel
    lines.append(
        f"Parallel analysis: {parallel.n_factors} factors, {parallel.n_components} components."
    )
    told = {
        "train": "training LLMs",
        "test": "test LLMs",
        "test_by_own": "test LLMs, standardised by themselves (as the original)",
    }
    for name, value in found.spearman.items():
        lines.append(f"Spearman of factor 1, {told[name]}: {value:.4f}")
    by = f"psych {found.software['psych']}" if found.engine == "psych" else "the native engine"
    lines.append(f"Fitted by {by}; --json has all solutions.")
    return "\n".join(lines)


def _cell(value: float, digits: int) -> str:
    return "" if value != value else f"{value:.{digits}f}"


def _write_scores(found: FactorAnalysis, out: Path) -> None:
    import numpy as np
    import pandas as pd

    from metabench_py.storage import atomic_path

    data = found.table
    frame = pd.DataFrame(
        {
            "name": list(data.names),
            "split": np.where(data.test, "test", "train"),
            "factor": found.scores,
        }
    )
    if found.scores_by_own is not None:
        frame.loc[data.test, "factor_by_own"] = found.scores_by_own
    with atomic_path(out) as temporary:
        if out.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)
