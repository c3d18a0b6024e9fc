"""``metabench-py calibrate``: one file a stage."""

from __future__ import annotations

import typer

from metabench_py.cli.calibrate.bundle import bundle_command
from metabench_py.cli.calibrate.curve import curve_command
from metabench_py.cli.calibrate.fit import fit_command
from metabench_py.cli.calibrate.plan import plan_command
from metabench_py.cli.calibrate.preprocess import preprocess_command
from metabench_py.cli.calibrate.run import run_command
from metabench_py.cli.calibrate.select import select_command
from metabench_py.cli.calibrate.split import split_command
from metabench_py.cli.calibrate.subsample import subsample_command

calibrate_app = typer.Typer(
    name="calibrate",
    help="From item responses to a sparse benchmark: a bundle.",
    no_args_is_help=True,
)


@calibrate_app.callback()
def _calibrate() -> None:
    """Keep ``bundle`` a command of its own name."""


calibrate_app.command("bundle")(bundle_command)
calibrate_app.command("preprocess")(preprocess_command)
calibrate_app.command("split")(split_command)
calibrate_app.command("subsample")(subsample_command)
calibrate_app.command("select")(select_command)
calibrate_app.command("curve")(curve_command)
calibrate_app.command("fit")(fit_command)
calibrate_app.command("run")(run_command)
calibrate_app.command("plan")(plan_command)
