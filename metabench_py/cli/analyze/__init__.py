"""``metabench-py analyze``: one file a study."""

from __future__ import annotations

import typer

from metabench_py.cli.analyze.compare import compare_command
from metabench_py.cli.analyze.contamination import contamination_command
from metabench_py.cli.analyze.factors import factors_command

analyze_app = typer.Typer(
    name="analyze",
    help="Studies of scores, abilities and answers.",
    no_args_is_help=True,
)


analyze_app.command("factors")(factors_command)
analyze_app.command("compare")(compare_command)
analyze_app.command("contamination")(contamination_command)
