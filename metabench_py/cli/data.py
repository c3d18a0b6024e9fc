"""``metabench-py data``: check, convert, pull."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from metabench_py.benchmarks import TITLES
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.data.check import Health

data_app = typer.Typer(
    name="data", help="Check, convert and get response data.", no_args_is_help=True
)


@data_app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of response matrices.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check matrices and prompts; exit code 1 if they are not usable."""
    from metabench_py.data.check import check_folder

    health = check_folder(folder)
    typer.echo(json.dumps(health.to_dict(), indent=2) if as_json else _text(health))
    warned = any(finding.level == "warning" for finding in health.findings)
    if not health.usable or (strict and warned):
        raise typer.Exit(1)


@data_app.command()
def convert(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Long CSVs (source,item,correct), or a Parquet matrix."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="File to make: .parquet, .csv or .csv.gz.")],
    duplicates: Annotated[
        str, typer.Option("--duplicates", help="Second answers: refuse, first or last.")
    ] = "refuse",
) -> None:
    """Convert long CSV to a Parquet matrix, or back."""
    from metabench_py.data.convert import Duplicates
    from metabench_py.data.convert import convert as convert_files

    if duplicates not in get_args(Duplicates):
        raise InputError(f"--duplicates {duplicates}: choose refuse, first or last.")
    matrix = convert_files(sources, target, cast("Duplicates", duplicates))
    typer.echo(f"{target}: {matrix.n_llms} LLMs, {matrix.n_items} items")


@data_app.command()
def pull(
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")] = Path("metabench-data"),
    record: Annotated[
        str | None, typer.Option("--record", help="Zenodo record; the published one if left out.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="File of the record; data.tar.gz if left out.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Another server that has Zenodo's paths.")
    ] = None,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Leave the downloaded file beside the folder.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of --out.")] = False,
) -> None:
    """Get the published data set from Zenodo: resumable, checked, safely unpacked."""
    from metabench_py.hub.zenodo import ARCHIVE, RECORD, pull_data

    path = pull_data(
        out,
        record=record or RECORD,
        name=file or ARCHIVE,
        address=address,
        replace=replace,
        keep_archive=keep_archive,
        progress=_Percent(),
    )
    typer.echo(f"Wrote {path}", err=True)


class _Percent:
    """Bytes on stderr, where somebody looks."""

    def __init__(self) -> None:
        self.last = -1

    def __call__(self, there: int, total: int) -> None:
        percent = 100 * there // max(total, 1)
        if percent != self.last and (sys.stderr.isatty() or percent % 10 == 0):
            self.last = percent
            end = "\r" if sys.stderr.isatty() and there < total else "\n"
            text = f"{there / 1e6:.0f} of {total / 1e6:.0f} MB ({percent} %)"
            print(text, end=end, file=sys.stderr, flush=True)


def _text(health: Health) -> str:
    from metabench_py.cli.progress import table

    lines = []
    if health.summaries:
        head = ("", "LLMs", "items", "missing", "lowest %", "median %", "highest %")
        rows: list[tuple[Any, ...]] = [head]
        for s in health.summaries:
            scores = (f"{x:.1f}" for x in (s.score_min, s.score_median, s.score_max))
            rows.append((TITLES[s.benchmark], s.n_llms, s.n_items, s.n_missing, *scores))
        lines += [table(rows), f"{health.n_common} LLMs are in all of them.", ""]
    for finding in health.findings:
        where = f"{TITLES[finding.benchmark]}: " if finding.benchmark else ""
        examples = f" ({', '.join(finding.examples)})" if finding.examples else ""
        lines.append(f"{finding.level:7}  {where}{finding.text}{examples}")
    lines.append("usable" if health.usable else "NOT usable: see the errors above")
    return "\n".join(lines)
