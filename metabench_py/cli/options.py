"""Options that several commands have, each told in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabench_py.benchmarks import EngineName
from metabench_py.errors import InputError

Trust = Annotated[bool, typer.Option("--trust", help="Vouch for the bundle's .rds files.")]
Engine = Annotated[EngineName, typer.Option("--engine", help="Who estimates abilities.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Read another metric: acc, or arc=acc. Repeatable."),
]
BundleOfVersion = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        help="Folder or name, such as B-200; the installed one of the version if left out.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# For lm-eval.
ModelArgument = Annotated[
    list[str], typer.Argument(metavar="MODEL [-- LM-EVAL ARGUMENTS]", show_default=False)
]
Backend = Annotated[
    str, typer.Option("--model", help="lm-eval's backend: hf, vllm, local-completions, ...")
]
ModelArgs = Annotated[
    list[str] | None,
    typer.Option("--model-args", "--model_args", help="dtype=float32,... Repeatable."),
]
Device = Annotated[str | None, typer.Option("--device", help="cuda, cuda:0, cpu, mps.")]
BatchSize = Annotated[
    str | None, typer.Option("--batch-size", "--batch_size", help="A number or auto.")
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", help="Module or file that registers the backend. Repeatable."),
]
Items = Annotated[
    Path | None, typer.Option("--items", help="Folder of item files, for runs without the Hub.")
]


def one_of(option: str, text: str, known: tuple[str, ...]) -> str:
    """Check a value of a closed choice."""
    if text not in known:
        raise InputError(f"{option} {text}: choose {', '.join(known)}.", argument=option)
    return text
