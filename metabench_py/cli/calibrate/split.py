"""``metabench-py calibrate split``: hold LLMs out for testing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from metabench_py.calibration.ordering import Order
    from metabench_py.calibration.split import Partitioner, Split, SplitRule


def split_command(
    data: Annotated[
        Path, typer.Option(help="Folder that `calibrate preprocess` made (its scores.parquet).")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for split.parquet; --data if left out.")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Take these scores: CSV or Parquet, name and one column a benchmark."),
    ] = None,
    share: Annotated[float, typer.Option(help="Test LLMs among those with all scores.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
    rule: Annotated[
        str,
        typer.Option(help="quarters (needs no R), or original (what R's caret draws)."),
    ] = "quarters",
    order: Annotated[
        str,
        typer.Option(
            help="With --rule original, order of the LLMs: icu (as R has it under most locales) or "
            "c (as under LC_ALL=C)."
        ),
    ] = "icu",
    partitioner: Annotated[
        str,
        typer.Option(help="With --rule original, who draws: caret, or base (R alone; the same)."),
    ] = "caret",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a split.")] = False,
) -> None:
    """Hold out test LLMs: the same share of each quarter of the mean scores."""
    from metabench_py.calibration.split import SplitOptions
    from metabench_py.calibration.split_folder import split_folder

    options = SplitOptions(
        share=share,
        seed=seed,
        rule=cast("SplitRule", rule),
        order=cast("Order", order),
        partitioner=cast("Partitioner", partitioner),
    )
    found = split_folder(data, out, options, scores=scores, replace=replace)
    typer.echo(json.dumps(found.to_dict(options), indent=2) if as_json else _table(found))
    typer.echo(f"Wrote {Path(out or data) / 'split.parquet'}", err=True)


def _table(found: Split) -> str:
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [("mean score", "LLMs", "test")]
    ends = zip(found.breaks[:-1], found.breaks[1:], found.sizes, found.drawn, strict=True)
    rows += [(f"{low:.1f} to {high:.1f}", size, drawn) for low, high, size, drawn in ends]
    n_test = int(found.test.sum())
    return "\n".join(
        [
            table(rows),
            "",
            f"{n_test} test LLMs and {len(found.llms) - n_test} for training, of "
            f"{len(found.llms)}; {len(found.common)} have all scores.",
        ]
    )
