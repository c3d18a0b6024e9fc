"""``metabench-py adapt``: one file a command."""

from __future__ import annotations

import typer

from metabench_py.cli.adapt.analyze import analyze_command
from metabench_py.cli.adapt.optimize import optimize_command
from metabench_py.cli.adapt.run import run_command
from metabench_py.cli.adapt.simulate import simulate_command

adapt_app = typer.Typer(
    name="adapt",
    help="Adaptive tests: each LLM gets the items that tell most about it.",
    no_args_is_help=True,
)


adapt_app.command("run")(run_command)
adapt_app.command("simulate")(simulate_command)
adapt_app.command("optimize")(optimize_command)
adapt_app.command("analyze")(analyze_command)
