"""``metabench-py analyze synergy``: what the other abilities add to a test's reconstruction."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metabench_py.cli.analyze.study_options import (
    Out,
    Plot,
    Workers,
    check_files,
    check_seed,
    working,
    write_rows,
)
from metabench_py.cli.options import Json
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from metabench_py.analysis.synergy import Synergy


def synergy_command(
    correlation: Annotated[
        list[float] | None,
        typer.Option(
            help="Of any two abilities, 0 to 1; may be given again. Default: 0, 0.1, ... 1."
        ),
    ] = None,
    dependence: Annotated[
        list[float] | None,
        typer.Option(
            help="Weight of the other abilities in the first test's items, 0 to 1; may be given "
            "again. Default: 0, 0.1, ... 1."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Simulations of each setting.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the first simulation; the others count on.")] = 1,
    llms: Annotated[int, typer.Option(help="Simulated LLMs.")] = 500,
    items: Annotated[int, typer.Option(help="Items of a test.")] = 100,
    tests: Annotated[int, typer.Option(help="Tests, with one ability each.")] = 2,
    seen: Annotated[
        int | None,
        typer.Option(
            help="Items of a test that abilities are estimated from, as in a reduced benchmark. "
            "Default: all, as the original."
        ),
    ] = None,
    test_share: Annotated[float, typer.Option(help="Share of LLMs that are held out.")] = 0.1,
    mode: Annotated[
        Literal["mirt-path", "converged"], typer.Option(help="How items are fitted.")
    ] = "mirt-path",
    workers: Workers = None,
    out: Out = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Simulate correlated abilities: joint against separate reconstruction of a test's score."""
    check_files(out, plot)
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: simulate 1 time or more.")
    check_seed(seed)
    from metabench_py.analysis.synergy import analyze_synergy
    from metabench_py.analysis.synergy_simulation import GRID, SynergyOptions

    options = SynergyOptions(
        correlations=tuple(correlation or GRID),
        dependences=tuple(dependence or GRID),
        seeds=tuple(range(seed, seed + seeds)),
        n_llms=llms,
        n_items=items,
        n_tests=tests,
        seen=seen,
        test_share=test_share,
        mode=mode,
    )
    total = len(options.correlations) * len(options.dependences) * len(options.seeds)
    with working("simulations", workers, total) as (executor, progress):
        found = analyze_synergy(options, executor=executor, progress=progress)
    failed = [run for run in found.runs if run.message]
    if failed:
        typer.echo(
            f"Warning: {len(failed)} simulations gave no result and are left out of the means; "
            f"the first: {failed[0].message}",
            err=True,
        )
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _text(found))
    if out is not None:
        write_rows([asdict(run) for run in found.runs], out)
    if plot is not None:
        _draw(found, plot)
        typer.echo(f"Wrote {plot}", err=True)


def _text(found: Synergy) -> str:
    from metabench_py.cli.progress import table

    options = found.options
    seen = f", abilities from {options.n_seen} of them" if options.seen is not None else ""
    lines = [
        f"{options.n_tests} tests of {options.n_items} items{seen}; {options.n_llms} LLMs; "
        f"{len(options.seeds)} simulation{'s' * (len(options.seeds) > 1)} a setting. RMSE of the "
        "first test's score on held-out LLMs, points.",
        "",
    ]
    head: tuple[object, ...] = (
        "correlation", "separate", "joint", "gain", "95 % interval", "share",
    )  # fmt: skip
    rows = [head]
    for cell in found.by_correlation:
        bounds = "" if cell.n < 2 else f"{cell.lower:.3f} to {cell.upper:.3f}"
        rows.append(
            (
                f"{cell.correlation:g}", f"{cell.separate:.3f}", f"{cell.joint:.3f}",
                f"{cell.gain:.3f}", bounds, f"{100 * cell.share:.1f} %",
            )
        )  # fmt: skip
    lines += [table(rows), ""]
    best = max((cell for cell in found.cells if cell.n), key=lambda cell: cell.gain)
    lines.append(
        f"Over all dependences. The largest gain of a setting, {best.gain:.3f} points"
        + ("" if best.n < 2 else f" ({best.lower:.3f} to {best.upper:.3f})")
        + f", is at correlation {best.correlation:g} and dependence {best.dependence:g}; --json "
        "has all."
    )
    if found.n_beyond:
        lines.append(
            f"In {found.n_beyond} of {len(found.runs)} simulations a test LLM's ability is beyond "
            "those of the training LLMs. Both GAMs take it as the nearest of theirs; the "
            "original's go straight on, sometimes far off."
        )
    return "\n".join(lines)


def _draw(found: Synergy, plot: Path) -> None:
    import numpy as np

    from metabench_py.report.synergy_figures import plot_synergy

    along = found.by_correlation
    plot_synergy(
        sorted(found.options.correlations),
        sorted(found.options.dependences),
        found.grid(),
        np.array([cell.gain for cell in along]),
        np.array([cell.lower for cell in along]),
        np.array([cell.upper for cell in along]),
        plot,
    )
