"""``metabench-py reconstruct``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metabench_py.benchmarks import VERSIONS, Benchmark, EngineName
from metabench_py.cli.options import BundleOfVersion, Engine, Json, Metrics, Trust
from metabench_py.errors import InputError, MetabenchError

if TYPE_CHECKING:
    from metabench_py.bundle import Bundle
    from metabench_py.logs import ModelLogs
    from metabench_py.rbridge.worker import Worker
    from metabench_py.reconstruction import Reconstruction
    from metabench_py.reconstruction.api import LogReader
    from metabench_py.reconstruction.reconstructor import Reconstructor

Format = Literal["table", "json", "jsonl", "csv"]
# What R's as.logical reads, as the original's third argument.
_TRUTH = {
    **dict.fromkeys(("T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("F", "FALSE", "false", "False"), False),
}


def reconstruct_command(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL... [VER] [PER]", show_default=False)
    ] = None,
    everything: Annotated[
        Path | None, typer.Option("--all", metavar="DIR", help="Every model under this folder.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", help="lm-eval's output folder.")] = Path(
        "harness-results"
    ),
    bundle: BundleOfVersion = None,
    trust: Trust = False,
    engine: Engine = "auto",
    second_stage: Annotated[
        Literal["auto", "stack", "gam", "mgcv", "portable"],
        typer.Option(
            "--second-stage",
            help="Who predicts scores: the bundle's default, its stack, or its GAMs: by R's mgcv, "
            "portable (the same fits without R), or gam (mgcv where R has it).",
        ),
    ] = "auto",
    interval: Annotated[
        Literal["conformal", "local-rmse", "theta"],
        typer.Option("--interval", help="local-rmse and theta are the original's."),
    ] = "conformal",
    level: Annotated[
        float | None,
        typer.Option(
            "--level",
            help="Share of LLMs that a conformal interval holds; 0.9 if left out.",
            show_default=False,
        ),
    ] = None,
    se_factor: Annotated[
        float | None,
        typer.Option(
            "--se-factor",
            help="Standard errors of --interval theta; 1 if left out.",
            show_default=False,
        ),
    ] = None,
    metric: Metrics = None,
    only: Annotated[
        Benchmark | None,
        typer.Option("--only", help="Score one benchmark from its own log alone."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score although items lack an answer.")
    ] = False,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="TIME", help="Start of the logs' time stamp; the newest if left out."
        ),
    ] = None,
    as_json: Json = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print one JSON object a line.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row a score.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write to this file instead (.json, .jsonl or .csv)."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw scores against the calibration LLMs (.png, .svg, .pdf)."),
    ] = None,
) -> None:
    """Reconstruct the six benchmark scores and the grand score from lm-eval sample logs.

    MODEL is a folder of logs, or its name in --results, or the model's id; "example" is one that
    ships with the package. VER is A or B (the bundle's if left out), PER is T or F: read the runs
    with permuted answer options.
    """
    names, version, permuted = split_arguments(list(arguments or []), everything is None)
    kind = _format(as_json, as_jsonl, as_csv, out)
    if bool(names) == (everything is not None):
        raise InputError("Name models, or give --all DIR (not both); see --help.")
    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, len(names) if everything is None else None)
        if only is not None:
            raise InputError("--plot draws all six benchmarks; leave --only out.")
    options: dict[str, Any] = {
        "engine": engine,
        "second_stage": second_stage,
        "interval": interval,
        "only": only,
    }
    for name, value, own in (("level", level, "conformal"), ("se_factor", se_factor, "theta")):
        if value is None:
            continue
        if interval != own:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} is for --interval {own}; leave it out with {interval}.")
        options[name] = value
    failures: list[tuple[str, MetabenchError]] = []
    one = everything is None and len(names) == 1
    # R takes seconds to load: it does so in its own process while we read bundle and logs.
    with r_worker(engine, second_stage, only, bundle, version) as worker:
        from metabench_py.logs import find_all, find_model
        from metabench_py.reconstruction.api import LogReader, open_bundle
        from metabench_py.reconstruction.choose import may_use_r
        from metabench_py.reconstruction.reconstructor import Reconstructor

        loaded = open_bundle(bundle, version, trust)
        reader = LogReader(
            loaded,
            permuted=permuted,
            metrics=metric or (),
            allow_missing=allow_missing,
            time=run,
            only=only,
        )
        found: list[ModelLogs] = []
        if everything is not None:
            found = find_all(everything)
        for name in names:
            try:
                found.append(find_model(name, results))
            except MetabenchError as error:
                if one:
                    raise
                failures.append((name, error))
        found = told_apart(found)
        if one:
            # Before R is waited for: what is wrong with the logs is told at once.
            reader(found[0])
        outcomes: Iterable[tuple[str, Reconstruction | MetabenchError]]
        if worker is not None and may_use_r(loaded, engine, second_stage, only):
            # A crash of R is then a message, and Ctrl-C ends R at once.
            outcomes = worker.run(run_all, found, reader, loaded, options)
        else:
            outcomes = list(_run(found, reader, Reconstructor(loaded, **options)))
    from metabench_py.cli.render import render

    done: list[Reconstruction] = []
    for name, result in outcomes:
        if isinstance(result, MetabenchError):
            if one:
                raise result
            failures.append((name, result))
        else:
            done.append(result)
    _say_flags(done, one)
    if done:
        _write(render(done, kind, one), out)
    if plot is not None and done:
        from metabench_py.report.figures import plot_scores

        plot_scores(done, loaded, plot)
        typer.echo(f"Wrote {plot}", err=True)
    for name, failure in failures:
        typer.echo(f"Error: {name}: {failure}", err=True)
    if failures:
        typer.echo(f"{len(failures)} of {len(failures) + len(done)} models failed.", err=True)
        raise typer.Exit(1)


def split_arguments(arguments: list[str], named: bool = True) -> tuple[list[str], str | None, bool]:
    """Tell models from the original's trailing VER and PER.

    Parameters
    ----------
    named
        A model comes first; else (with --all) VER and PER may stand alone.

    Raises
    ------
    InputError
        PER without VER.
    """
    permuted = False
    version = None
    rest = list(arguments)
    least = 1 if named else 0
    if len(rest) > least and rest[-1] in _TRUTH:
        permuted = _TRUTH[rest.pop()]
        if len(rest) <= least or rest[-1] not in VERSIONS:
            before = "MODEL" if named else "--all DIR"
            raise InputError(
                f"Before {arguments[-1]!r} (permuted or not) comes the version: {before} A|B T|F."
            )
    if len(rest) > least and rest[-1] in VERSIONS:
        version = rest.pop()
    return rest, version, permuted


def told_apart(found: list[ModelLogs]) -> list[ModelLogs]:
    """Give those whose folders have one name the folders' paths in place of it.

    Raises
    ------
    InputError
        A folder is named twice.
    """
    from dataclasses import replace

    folders = Counter(one.folder.resolve() for one in found)
    twice = next((folder for folder, times in folders.items() if times > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is named twice; name it once.", path=str(twice))
    names = Counter(one.model for one in found)
    return [replace(one, model=str(one.folder)) if names[one.model] > 1 else one for one in found]


def r_worker(
    engine: EngineName,
    second_stage: str,
    only: Benchmark | None = None,
    bundle: str | None = None,
    version: str | None = None,
) -> AbstractContextManager[Worker | None]:
    """Start R in a process of its own where this run may need it; looks on disk only."""
    from metabench_py import rbridge
    from metabench_py.bundle.read import default_stage
    from metabench_py.rbridge.worker import Worker

    packages = []
    if engine == "mirt" or (engine == "auto" and rbridge.has_package("mirt")):
        packages.append("mirt")
    wants = second_stage == "gam" or (second_stage == "auto" and engine != "native")
    if second_stage == "mgcv" or (
        wants
        and only is None
        and rbridge.has_package("mgcv")
        and (second_stage == "gam" or default_stage(bundle, version) == "gam")
    ):
        packages.append("mgcv")
    return Worker(packages) if packages else nullcontext()


def _format(as_json: bool, as_jsonl: bool, as_csv: bool, out: Path | None) -> Format:
    kinds: tuple[tuple[bool, Format], ...] = (
        (as_json, "json"),
        (as_jsonl, "jsonl"),
        (as_csv, "csv"),
    )
    asked = [kind for wanted, kind in kinds if wanted]
    if len(asked) > 1:
        raise InputError(f"Choose one of {', '.join('--' + kind for kind in asked)}.")
    if asked:
        return asked[0]
    if out is None:
        return "table"
    for _, kind in kinds:
        if out.suffix == f".{kind}":
            return kind
    raise InputError(f"--out {out}: end its name in .json, .jsonl or .csv, or say --json or --csv.")


def run_all(
    found: list[ModelLogs], reader: LogReader, bundle: Bundle, options: dict[str, Any]
) -> list[tuple[str, Reconstruction | MetabenchError]]:
    """Reconstruct all of them (a worker calls it)."""
    from metabench_py.reconstruction.reconstructor import Reconstructor

    return list(_run(found, reader, Reconstructor(bundle, **options)))


def _run(
    found: list[ModelLogs], reader: LogReader, reconstructor: Reconstructor
) -> Iterator[tuple[str, Reconstruction | MetabenchError]]:
    from metabench_py.reconstruction.api import reconstruct_many

    if len(found) < 2 or not sys.stderr.isatty():
        yield from reconstruct_many(found, reader, reconstructor)
        return
    with typer.progressbar(found, label="Models", file=sys.stderr) as bar:
        yield from reconstruct_many(bar, reader, reconstructor)


def _say_flags(done: list[Reconstruction], one: bool) -> None:
    if one:
        for result in done:
            for flag in result.flags:
                typer.echo(f"Note ({flag.flag}): {flag.detail}", err=True)
        return
    counts = Counter(flag.flag for result in done for flag in result.flags)
    for name, count in counts.items():
        typer.echo(f"Note ({name}): {count} of {len(done)} models; details in --json", err=True)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text)
        return
    from metabench_py.storage import write_text

    write_text(out, text + "\n")
    typer.echo(f"Wrote {out}", err=True)
