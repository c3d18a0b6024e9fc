"""``metabench-py analyze compare``: which of some runs is better, and how sure that is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metabench_py.benchmarks import Target
from metabench_py.cli.analyze.study_options import check_seed
from metabench_py.cli.options import BundleOfVersion, Json, Metrics, Trust
from metabench_py.errors import InputError, LogError

if TYPE_CHECKING:
    from metabench_py.analysis.compare import Comparison

_WIDEST = 8


def compare_command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Folders of logs, or their names in --results, or ids of models."),
    ] = None,
    everything: Annotated[
        Path | None, typer.Option("--all", metavar="DIR", help="Every model under this folder.")
    ] = None,
    results: Annotated[Path, typer.Option(help="lm-eval's output folder.")] = Path(
        "harness-results"
    ),
    version: Annotated[
        Literal["A", "B"] | None, typer.Option(help="The bundle's if left out.")
    ] = None,
    permuted: Annotated[
        bool, typer.Option("--permuted", help="Read the runs with permuted answer options.")
    ] = False,
    bundle: BundleOfVersion = None,
    trust: Trust = False,
    metric: Metrics = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Compare although items lack an answer.")
    ] = False,
    target: Annotated[
        Literal["grand", "arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande"],
        typer.Option(help="Score that is printed and drawn; --json has all."),
    ] = "grand",
    level: Annotated[float, typer.Option(help="Of intervals, between 0 and 1.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the draws behind the ranks.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="Draw scores and pairs (.png, .svg, .pdf).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare runs pairwise: who is better, what difference could be seen, ranks."""
    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, 1)
    check_seed(seed)
    names = list(runs or [])
    if bool(names) == (everything is not None):
        raise InputError("Name runs, or give --all DIR (not both); see --help.")
    from metabench_py.analysis.compare import compare_runs
    from metabench_py.cli.analyze.scoring import BundleScorer
    from metabench_py.logs import find_all, find_model
    from metabench_py.reconstruction.api import LogReader, open_bundle

    loaded = open_bundle(bundle, version, trust)
    reader = LogReader(loaded, permuted=permuted, metrics=metric or (), allow_missing=allow_missing)
    if everything is not None:
        found = {one.model: one for one in find_all(everything)}
    else:
        found = {name: find_model(name, results) for name in names}
        if len(found) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{twice} is named twice; a run is not compared with itself.")
    answers, failed = {}, 0
    for name, logs in found.items():
        try:
            read = reader(logs)
        except LogError as error:
            if everything is None:
                raise
            failed += 1
            typer.echo(f"Error: {name}: {error}", err=True)
            continue
        for flag, detail in read.flags:
            typer.echo(f"Note ({flag}): {name}: {detail}", err=True)
        answers[name] = read.values
    compared = compare_runs(answers, BundleScorer(loaded), level=level, seed=seed)
    typer.echo(
        json.dumps({**compared.to_dict(), "bundle": loaded.name}, indent=2)
        if as_json
        else _text(compared, target)
    )
    if plot is not None:
        _draw(compared, target, plot)
        typer.echo(f"Wrote {plot}", err=True)
    if failed:
        typer.echo(f"{failed} of {len(found)} runs failed and are left out.", err=True)
        raise typer.Exit(1)


def _text(compared: Comparison, target: Target) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    ranks = dict(zip(compared.runs, compared.ranks[target], strict=True))
    order = sorted(compared.runs, key=lambda run: -ranks[run].score)
    rows: list[tuple[object, ...]] = [
        (TITLES[target], "score", "error", "rank", f"{100 * compared.level:g} %", "best")
    ]
    for run in order:
        rank = ranks[run]
        rows.append(
            (
                run, f"{rank.score:.1f}", f"{rank.sd:.2f}", rank.rank,
                f"{rank.lower} - {rank.upper}", f"{rank.best:.3f}",
            )
        )  # fmt: skip
    lines = [table(rows), ""]
    pairs = sorted(compared.pairs, key=lambda pair: abs(pair.scores[target].difference))
    shown = pairs if len(compared.runs) <= _WIDEST else pairs[:20]
    rows = [
        ("pair, nearest first", "difference", f"{100 * compared.level:g} % interval",
         "P(first better)", "detectable", "items apart")
    ]  # fmt: skip
    for pair in shown:
        one = pair.scores[target]
        apart = [(d.first_only, d.second_only) for d in pair.items.values()]
        first, second = (sum(part) for part in zip(*apart, strict=True))
        rows.append(
            (
                f"{pair.first} - {pair.second}", f"{one.difference:+.2f}",
                f"{one.lower:+.2f} to {one.upper:+.2f}", f"{one.probability:.3f}",
                f"{one.detectable:.2f}", f"{first}:{second}",
            )
        )  # fmt: skip
    lines.append(table(rows))
    if len(shown) < len(pairs):
        lines.append(f"... and {len(pairs) - len(shown)} pairs further apart; --json has all.")
    return "\n".join(lines)


def _draw(compared: Comparison, target: Target, path: Path) -> None:
    from statistics import NormalDist

    import numpy as np

    from metabench_py.benchmarks import TITLES
    from metabench_py.report.compare_figures import plot_comparison

    runs, ranks = compared.runs, compared.ranks[target]
    chances = np.full((len(runs), len(runs)), 0.5)
    for i, first in enumerate(runs):
        for k, second in enumerate(runs):
            if i != k:
                chances[i, k] = compared.pair(first, second, target)
    factor = NormalDist().inv_cdf(0.5 + compared.level / 2.0)
    plot_comparison(
        runs,
        np.array([rank.score for rank in ranks]),
        factor * np.array([rank.sd for rank in ranks]),
        chances,
        f"{TITLES[target]}, {100 * compared.level:g} % intervals",
        path,
    )
