"""``metabench-py calibrate run``: the whole way from matrices to a bundle."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.cli.calibrate.places import (
    Dask,
    Slurm,
    SlurmMemory,
    SlurmOption,
    SlurmTime,
    Workers,
    place_of,
)
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from metabench_py.calibration.run import RunReport

_EVERY = 30.0


def run_command(
    config: Annotated[Path | None, typer.Option(help="TOML file of the run.")] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Print a file with all settings, and end.")
    ] = False,
    workers: Workers = None,
    dask: Dask = None,
    slurm: Slurm = None,
    slurm_time: SlurmTime = None,
    slurm_memory: SlurmMemory = None,
    slurm_option: SlurmOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace what is at the file's 'out'.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Do all stages that are not done yet: preprocess, split, (subsample, fit,) select, bundle.

    A stage is done again only if its inputs, its settings or its code changed. Interrupted, even
    by a kill, the same command goes on where it stopped.
    """
    from metabench_py.calibration.run import run
    from metabench_py.calibration.run_config import load_config
    from metabench_py.calibration.run_config import template as template_text

    if template:
        typer.echo(template_text("responses", "bundle"))
        return
    if config is None:
        raise InputError("Give --config FILE; --template prints one to begin with.")
    from metabench_py.compute import open_executor

    given = load_config(config)
    place = place_of(workers, dask, slurm, slurm_time, slurm_memory, slurm_option, base=given.place)
    typer.echo(f"Running on {place.describe()}; finished stages are in {given.work}", err=True)
    with open_executor(place, given.work / "scratch") as executor, View() as view:
        report = run(given, executor=executor, replace=replace, progress=view)
    from metabench_py.cli.calibrate.run_page import write_page

    write_page(report)
    if as_json:
        typer.echo(json.dumps({**report.to_dict(), "page": str(given.page)}, indent=2))
    else:
        typer.echo(f"Wrote {given.out}; the summary is {given.page}")
    for warning in _warnings(report):
        typer.echo(f"Warning: {warning}", err=True)
    if aside := report.summary("preprocess").get("not_read"):
        typer.echo(f"Not read, being no matrices: {'; '.join(aside)}", err=True)
    if not report.makes_bundle:
        typer.echo(
            "No bundle was made, as that takes the six benchmarks of metabench: the result is the "
            "chosen items and their parameters.",
            err=True,
        )


def _warnings(report: RunReport) -> list[str]:
    """Give what the commands of the single stages print, also of stages that were done before."""
    fits = report.summary("fit").get("benchmarks", {}).values()
    parts = [one for models in fits for one in models.values()]
    parts += report.summary("select").get("benchmarks", {}).values()
    return list(dict.fromkeys(text for one in parts for text in one["warnings"]))


class View:
    """One row a stage on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self._bar: Progress | None = None
        self._row: TaskID | None = None
        self._stage = ""
        self._said = 0.0

    def __enter__(self) -> View:
        if self.live:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, stage: str) -> None:
        """Begin a row."""
        self._stage, self._said = stage, time.monotonic()
        if self._bar is not None:
            self._row = self._bar.add_task(stage, total=None, note="")

    def count(self, done: int, asked: int) -> None:
        """Draw how far it is."""
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, completed=done, total=asked)
        elif time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            typer.echo(f"{self._stage}: {done} of {asked} calls", err=True)

    def say(self, text: str) -> None:
        """Put it beside the row."""
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, note=text)
        else:
            typer.echo(f"{self._stage}: {text}", err=True)

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        """Finish the row."""
        note = "was done before" if cached else f"done in {seconds:.1f} s"
        if self._bar is not None and self._row is not None:
            row: Any = self._bar.tasks[self._row]
            total = row.total or 1
            self._bar.update(self._row, total=total, completed=total, note=note)
            self._bar.stop_task(self._row)
        else:
            typer.echo(f"{stage}: {note}", err=True)
