"""``metabench-py analyze``: one file a study."""

from __future__ import annotations

import typer

from metabench_py.cli.analyze.answers import answers_command
from metabench_py.cli.analyze.architectures import architectures_command
from metabench_py.cli.analyze.clusters import clusters_command
from metabench_py.cli.analyze.compare import compare_command
from metabench_py.cli.analyze.contamination import contamination_command
from metabench_py.cli.analyze.factors import factors_command
from metabench_py.cli.analyze.logistic import logistic_command
from metabench_py.cli.analyze.seeds import seeds_command
from metabench_py.cli.analyze.synergy import synergy_command

analyze_app = typer.Typer(
    name="analyze",
    help="Studies of scores, abilities and answers.",
    no_args_is_help=True,
)


analyze_app.command("factors")(factors_command)
analyze_app.command("compare")(compare_command)
analyze_app.command("contamination")(contamination_command)
analyze_app.command("synergy")(synergy_command)
analyze_app.command("architectures")(architectures_command)
analyze_app.command("seeds")(seeds_command)
analyze_app.command("logistic")(logistic_command)
analyze_app.command("answers")(answers_command)
analyze_app.command("clusters")(clusters_command)
