"""``metabench-py figures``: the paper's figures, from data, saved results and the bundle."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.cli.calibrate.places import Workers, place_of
from metabench_py.cli.options import Json, Trust
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from metabench_py.figures.sources import Sources

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAMES...",
        help="Figures; all: those whose data are there; list: print names and needs.",
    ),
]


def figures_command(
    names: Names,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("figures"),
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of data: llm-scores.parquet, llm-responses/, published/, ..."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of what other commands printed or made: synergy.json, seeds/."),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Folder or name, such as B-200; default if left out.")
    ] = None,
    trust: Trust = False,
    formats: Annotated[
        str, typer.Option("--format", help="pdf, svg or png; several with commas.")
    ] = "pdf",
    llms: Annotated[
        int, typer.Option(help="LLMs taken at random for adaptive tests and random subsets.")
    ] = 500,
    subsets: Annotated[int, typer.Option(help="Random subsets of each size.")] = 200,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 1,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Draw the paper's figures; the same data give the same files."""
    from metabench_py.figures.draw import kinds_of, write_figure
    from metabench_py.figures.registry import FIGURES, choose

    kinds = kinds_of(formats)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: that is a file; name a folder.", path=str(out))
    wanted = [name for name in names if name not in ("all", "list")]
    chosen = choose(wanted) if wanted else list(FIGURES.values())
    with _sources(data, results, bundle, trust, (llms, subsets, seed), workers) as sources:
        lacks = {one.name: found for one in chosen if (found := one.lacks(sources))}
        if "list" in names:
            typer.echo(_listed(sources, as_json))
            return
        if "all" not in names:
            for one in chosen:
                one.require(sources)
        written: list[dict[str, Any]] = []
        failed: dict[str, InputError] = {}
        for number, spec in enumerate(chosen, start=1):
            if spec.name in lacks:
                needs = "; and ".join(lacks[spec.name])
                typer.echo(f"Skipped {spec.name}: it needs {needs}.", err=True)
                continue
            begun = time.monotonic()
            try:
                paths = [str(path) for path in write_figure(spec, sources, out, kinds)]
            except InputError as error:
                # A damaged file must not cost the figures that do without it.
                if len(chosen) == 1:
                    raise
                failed[spec.name] = error
                typer.echo(f"Failed {spec.name}: {error}", err=True)
                continue
            seconds = round(time.monotonic() - begun, 1)
            written.append({"figure": spec.name, "files": paths, "seconds": seconds})
            typer.echo(f"[{number}/{len(chosen)}] {', '.join(paths)} ({seconds:g} s)", err=True)
    if as_json:
        skipped = [{"figure": name, "needs": found} for name, found in lacks.items()]
        errors = [{"figure": name, "error": str(error)} for name, error in failed.items()]
        value = {"schema": 1, "written": written, "skipped": skipped, "failed": errors}
        typer.echo(json.dumps(value, indent=2))
    if failed:
        raise InputError(
            f"{len(failed)} of {len(chosen)} figures could not be drawn ({', '.join(failed)}); "
            "what is wrong with each is told above.",
            figures=list(failed),
        )


@contextlib.contextmanager
def _sources(
    data: Path | None,
    results: Path | None,
    bundle: str | None,
    trust: bool,
    effort: tuple[int, int, int],
    workers: int | None,
) -> Iterator[Sources]:
    """Open what figures are made of; processes start when one of them is needed."""
    from metabench_py.figures.sources import Effort, Sources
    from metabench_py.reconstruction.api import open_bundle

    for option, folder in (("--data", data), ("--results", results)):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{option} {folder}: no such folder.", path=str(folder))
    given = Effort(*effort)
    loaded = open_bundle(bundle, None, trust)
    with contextlib.ExitStack() as stack:

        def executor() -> Executor:
            from metabench_py.compute import open_executor

            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="metabench-"))
            return stack.enter_context(open_executor(place_of(workers), Path(scratch)))

        yield Sources(loaded, data, results, given, executor, _say)


def _say(what: str, done: int, total: int) -> None:
    """Tell of the steps of a long figure, in one line where stderr is a terminal."""
    import sys

    if sys.stderr.isatty():
        typer.echo(f"\r{what}: {done} of {total}\033[K\r", err=True, nl=False)


def _listed(sources: Sources, as_json: bool) -> str:
    from metabench_py.figures.registry import FIGURES

    lacks = {name: one.lacks(sources) for name, one in FIGURES.items()}
    if as_json:
        rows = [
            {"figure": name, "about": one.about, "needs": list(one.needs), "lacks": lacks[name]}
            for name, one in FIGURES.items()
        ]
        return json.dumps(rows, indent=2)
    width = max(map(len, FIGURES))
    lines = []
    for name, one in FIGURES.items():
        lines.append(f"{name.ljust(width)}  {one.about}")
        lines += [f"{' ' * width}  needs {text}" for text in lacks[name]]
    return "\n".join(lines)
