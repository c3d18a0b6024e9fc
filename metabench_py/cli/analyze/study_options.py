"""What studies have in common: their options, their data, their tables."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.cli.calibrate.places import place_of
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from metabench_py.analysis.study_data import StudyData

__all__ = ["Benchmarks", "Folds", "Out", "Plot", "Responses", "Scores", "Seed", "Split", "Workers"]

Responses = Annotated[
    Path,
    typer.Option(help="Matrix of answers named by its benchmark (arc.parquet), or a folder."),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        help="Table: name, one column a benchmark (0-100), optional split. Left out: the share of "
        "right answers in the matrix."
    ),
]
Split = Annotated[
    Path | None,
    typer.Option(help="Table: name, split (train, test). Default: the column of --scores."),
]
Benchmarks = Annotated[
    list[str] | None, typer.Option("--benchmark", help="Only this one; may be given again.")
]
Folds = Annotated[
    int, typer.Option(help="Of the cross-validation, which keeps organisations together.")
]
Seed = Annotated[int, typer.Option(help="Of folds and random choices.")]
Workers = Annotated[int | None, typer.Option(help="Processes at a time. Default: one a core.")]
Out = Annotated[Path | None, typer.Option(help="Write the table (.csv, .parquet).")]
Plot = Annotated[Path | None, typer.Option(help="Draw it (.png, .svg, .pdf).")]


def check_files(out: Path | None, plot: Path | None) -> None:
    """Refuse what cannot be written before any work is done."""
    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, 1)
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {out}: end its name in .csv or .parquet.", path=str(out))


def check_seed(seed: int) -> None:
    """Refuse what numpy has no generator for."""
    if seed < 0:
        raise InputError(f"--seed {seed}: give 0 or more.")


def open_studies(
    responses: Path,
    scores: Path | None,
    split: Path | None,
    benchmarks: list[str] | None,
    folds: int,
    seed: int,
) -> dict[str, StudyData]:
    """Load the data and say what is left out."""
    from metabench_py.analysis.study_data import load_studies

    check_seed(seed)
    data = load_studies(responses, scores, split, benchmarks or (), folds=folds, seed=seed)
    for one in data.values():
        for note in one.notes():
            typer.echo(f"Note: {note}", err=True)
    return data


@contextlib.contextmanager
def working(
    what: str, workers: int | None, total: int | None = None
) -> Iterator[tuple[Executor, Callable[[int, int], None]]]:
    """Give processes to work in, and what draws their progress on stderr.

    Parameters
    ----------
    total
        Pieces of work; None: the first call of what is given tells.
    """
    from metabench_py.cli.progress import Bar
    from metabench_py.compute import open_executor

    bar, begun = Bar(), [False]

    def begin(total: int) -> None:
        bar.start(what, total, 0)
        begun[0] = True

    def advance(done: int, total: int) -> None:
        del done
        if not begun[0]:
            begin(total)
        bar.advance(done=1)

    with contextlib.ExitStack() as stack:
        stack.callback(lambda: bar.stop() if begun[0] else None)
        if total is not None:
            begin(total)
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="metabench-"))
        yield (
            stack.enter_context(open_executor(place_of(workers), Path(scratch))),
            advance,
        )


def write_rows(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Write a table and say so."""
    import pandas as pd

    from metabench_py.storage import atomic_path

    frame = pd.DataFrame(list(rows))
    with atomic_path(out) as temporary:
        if out.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)
    typer.echo(f"Wrote {out}", err=True)


def points(value: float | None) -> str:
    """Score points in a table; empty where there are none."""
    return "" if value is None or value != value else f"{value:.2f}"
