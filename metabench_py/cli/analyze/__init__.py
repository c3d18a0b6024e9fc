"""``metabench-py analyze``: one file a study."""

from __future__ import annotations

import typer

from metabench_py.cli.analyze.factors import factors_command

analyze_app = typer.Typer(
    name="analyze",
    help="Studies of scores, abilities and answers.",
    no_args_is_help=True,
)


@analyze_app.callback()
def _analyze() -> None:
    """Keep ``factors`` a command of its own name."""


analyze_app.command("factors")(factors_command)
