"""The command line: registers the commands, maps errors to messages and exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer

from metabench_py import __version__
from metabench_py.cli.adapt import adapt_app
from metabench_py.cli.analyze import analyze_app
from metabench_py.cli.bundle import bundle_app
from metabench_py.cli.calibrate import calibrate_app
from metabench_py.cli.data import data_app
from metabench_py.cli.doctor import doctor_command
from metabench_py.cli.evaluate import evaluate_command
from metabench_py.cli.figures import figures_command
from metabench_py.cli.items import items_app
from metabench_py.cli.jobs import jobs_app
from metabench_py.cli.reconstruct import reconstruct_command
from metabench_py.cli.report import report_command
from metabench_py.cli.scrape import scrape_app
from metabench_py.errors import MetabenchError

app = typer.Typer(
    name="metabench-py",
    help="Sparse LLM benchmarks by item response theory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("evaluate")(evaluate_command)
app.command("reconstruct")(reconstruct_command)
app.command("report")(report_command)
app.command("figures")(figures_command)
app.command("doctor")(doctor_command)
app.add_typer(bundle_app)
app.add_typer(items_app)
app.add_typer(calibrate_app)
app.add_typer(jobs_app)
app.add_typer(scrape_app)
app.add_typer(data_app)
app.add_typer(analyze_app)
app.add_typer(adapt_app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metabench-py {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Sparse LLM benchmarks by item response theory."""


def main() -> None:
    """Run the command line; every error that we foresee is one message on stderr."""
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"Warning: {message}\n"
    try:
        app()
    except MetabenchError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
