"""Options that several commands have, each told in one way."""

from __future__ import annotations

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
    typer.Option("--bundle", help="Folder or name; the installed one of the version if left out."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def one_of(option: str, text: str, known: tuple[str, ...]) -> str:
    """Check a value of a closed choice."""
    if text not in known:
        raise InputError(f"{option} {text}: choose {', '.join(known)}.", argument=option)
    return text
