"""``metabench-py scrape``: leaderboard, responses, prompts, details, status."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.benchmarks import BENCHMARKS, TITLES, Benchmark
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.hub.scrape import Plan
    from metabench_py.hub.transport import HubClient

scrape_app = typer.Typer(
    name="scrape",
    help="Get leaderboard, item responses and prompts from the Hugging Face Hub.",
    no_args_is_help=True,
)

FolderOption = Annotated[
    Path, typer.Option("--out", help="Folder of the tables and of the ledger of what is there.")
]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, max=64, help="Downloads at a time.")]
AttemptsOption = Annotated[int, typer.Option("--attempts", min=1, help="Tries a file.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds without a byte that end a try.")
]
PauseOption = Annotated[
    float,
    typer.Option("--pause", min=0.0, help="Seconds before a second try; doubled before a third."),
]
RecheckOption = Annotated[
    bool,
    typer.Option("--recheck", help="Try again what was absent, gated or unusable before."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be fetched, and fetch nothing.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", help="Text file, one name a line, or a table with a column 'name'."),
]
BenchmarksOption = Annotated[
    list[str] | None,
    typer.Option("--benchmark", help="One of the six, or all; may be given several times."),
]
OrganisationsOption = Annotated[
    list[str] | None,
    typer.Option("--org", help="Organisation of the details data sets; several: in turn."),
]
DEFAULT_FOLDER = Path("scraped")


@scrape_app.command()
def responses(
    out: FolderOption = DEFAULT_FOLDER,
    benchmark: BenchmarksOption = None,
    models: ModelsOption = None,
    from_leaderboard: Annotated[
        bool,
        typer.Option(
            "--from-leaderboard",
            help="The models of --out's leaderboard table, with the benchmarks they have scores of "
            "(the default without --models).",
        ),
    ] = False,
    org: OrganisationsOption = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Put LLMs that lack some MMLU subjects into the matrix."),
    ] = False,
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="Only write the matrices of what is there.")
    ] = False,
    recheck: RecheckOption = False,
    jobs: JobsOption = 8,
    attempts: AttemptsOption = 6,
    timeout: TimeoutOption = 30.0,
    pause: PauseOption = 1.0,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Get each model's answers to each item: one matrix a benchmark, resumable."""
    from metabench_py.cli.progress import Bar
    from metabench_py.hub.ledger import open_ledger
    from metabench_py.hub.scrape import LEDGER, Tally, plan, scrape_responses, write_matrices
    from metabench_py.hub.sources import DETAILS_ORGANISATIONS
    from metabench_py.hub.transport import require_client

    chosen = _benchmarks(benchmark)
    wanted = {} if no_fetch else _wanted(out, models, from_leaderboard, chosen)
    if dry_run:
        todo = _dry_plan(out / LEDGER, wanted, recheck)
        _print_plan(todo, len(wanted), as_json)
        return
    if not no_fetch:
        # Before the ledger: a package that is missing should leave no empty file behind.
        require_client()
    with open_ledger(out / LEDGER) as ledger:
        todo = plan(ledger, wanted, recheck=recheck)
        if not todo.todo:
            tally = Tally(matrices=write_matrices(out, ledger, chosen, partial=partial))
        else:
            with _stoppable():
                tally = scrape_responses(
                    out,
                    ledger,
                    _client(attempts, timeout, pause),
                    todo,
                    benchmarks=chosen,
                    organisations=tuple(org or DETAILS_ORGANISATIONS),
                    jobs=jobs,
                    partial=partial,
                    progress=Bar(),
                )
    if as_json:
        typer.echo(json.dumps({"skipped": todo.n_skipped, **tally.to_dict()}, indent=2))
    for matrix in tally.matrices:
        line = f"{matrix.path}: {matrix.n_llms} LLMs, {matrix.n_items} items"
        typer.echo(line, err=as_json)
        for note in matrix.notes():
            typer.echo(note, err=True)
    if tally.noted:
        typer.echo(f"{tally.noted} files were the newest of several; see scrape status.", err=True)
    if tally.failed:
        states = ", ".join(f"{n} {state}" for state, n in sorted(tally.by_state.items()))
        typer.echo(f"Not there: {states}; see `scrape status --errors`.", err=True)
    if not tally.matrices:
        typer.echo("No matrix: no LLM has all files of a benchmark.", err=True)
    # What failed for passing reasons deserves another run; what the Hub lacks does not.
    if tally.by_state.get("failed") or not tally.matrices:
        raise typer.Exit(1)


@scrape_app.command()
def leaderboard(
    out: Annotated[
        Path, typer.Option("--out", help="Table to write, .parquet or .csv; the ledger beside it.")
    ] = DEFAULT_FOLDER / "leaderboard.parquet",
    repo: Annotated[
        list[str] | None,
        typer.Option("--repo", help="Data set of result files; several are tried in turn."),
    ] = None,
    jobs: JobsOption = 8,
    attempts: AttemptsOption = 6,
    timeout: TimeoutOption = 30.0,
    pause: PauseOption = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Get the leaderboard: one table, one row a model, scores 0-100."""
    from metabench_py.cli.progress import Bar
    from metabench_py.hub.ledger import open_ledger
    from metabench_py.hub.scrape import LEDGER
    from metabench_py.hub.sources import RESULTS_REPOSITORIES
    from metabench_py.hub.tables import scrape_leaderboard, write_table

    _table_suffix(out)
    client = _client(attempts, timeout, pause)
    with open_ledger(out.parent / LEDGER) as ledger, _stoppable():
        table, report = scrape_leaderboard(
            out.parent,
            ledger,
            client,
            repositories=tuple(repo or RESULTS_REPOSITORIES),
            jobs=jobs,
            progress=Bar(),
        )
    write_table(table, out)
    n_complete = int(table["complete"].sum())
    if as_json:
        value = {"path": str(out), "n_models": len(table), "n_complete": n_complete}
        counts = {"done": report.done, "skipped": report.skipped, "failed": report.failed}
        typer.echo(json.dumps({**value, **counts, "problems": report.problems}, indent=2))
    typer.echo(f"{out}: {len(table)} models, {n_complete} with all six scores", err=as_json)
    _problems(report.problems, report.failed)


@scrape_app.command()
def prompts(
    out: FolderOption = DEFAULT_FOLDER,
    benchmark: BenchmarksOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Read this model's files; left out, those of the ledger."),
    ] = None,
    org: OrganisationsOption = None,
    jobs: JobsOption = 8,
    attempts: AttemptsOption = 6,
    timeout: TimeoutOption = 30.0,
    pause: PauseOption = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Get the items' prompts: a table item -> prompt a benchmark, duplicates reported."""
    from metabench_py.cli.progress import Bar
    from metabench_py.hub.ledger import open_ledger
    from metabench_py.hub.prompts import reference_models, scrape_prompts
    from metabench_py.hub.scrape import LEDGER
    from metabench_py.hub.sources import DETAILS_ORGANISATIONS

    chosen = _benchmarks(benchmark)
    client = _client(attempts, timeout, pause)
    if model:
        models = {b: list(model) for b in chosen}
    else:
        with open_ledger(out / LEDGER, write=False) as ledger:
            models = {b: reference_models(ledger, b) for b in chosen}
    with _stoppable():
        tables = scrape_prompts(
            out,
            client,
            models,
            tuple(org or DETAILS_ORGANISATIONS),
            jobs=jobs,
            progress=Bar(),
        )
    if as_json:
        typer.echo(json.dumps([asdict(table) for table in tables], indent=2))
    for table in tables:
        n_twice = sum(len(group) - 1 for group in table.duplicates)
        twice = f", {n_twice} duplicates" if n_twice else ""
        typer.echo(f"{table.path}: {table.n_items} prompts{twice}", err=as_json)
        for group in table.duplicates[:10]:
            typer.echo(f"  the same prompt: {', '.join(group)}", err=True)


@scrape_app.command()
def details(
    out: FolderOption = DEFAULT_FOLDER,
    models: ModelsOption = None,
    recheck: RecheckOption = False,
    jobs: JobsOption = 8,
    attempts: AttemptsOption = 6,
    timeout: TimeoutOption = 30.0,
    pause: PauseOption = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Add parameter count and architecture to the leaderboard table of --out."""
    from metabench_py.cli.progress import Bar
    from metabench_py.hub.ledger import open_ledger
    from metabench_py.hub.models import find_leaderboard, read_names, read_table
    from metabench_py.hub.scrape import LEDGER
    from metabench_py.hub.tables import merge_details, scrape_details, write_table

    client = _client(attempts, timeout, pause)
    path = find_leaderboard(out)
    table = read_table(path)
    names = read_names(models) if models is not None else [str(n) for n in table["name"]]
    unknown = set(names) - {str(n) for n in table["name"]}
    if unknown:
        raise InputError(
            f"{models}: {len(unknown)} models are not in {path}, the first is {min(unknown)}."
        )
    with open_ledger(out / LEDGER) as ledger, _stoppable():
        found, report = scrape_details(
            out, ledger, client, names, jobs=jobs, recheck=recheck, progress=Bar()
        )
    write_table(merge_details(table, found), path)
    counts: dict[str, int] = {}
    for value in found.values():
        source = value["size_from"] or "unknown"
        counts[source] = counts.get(source, 0) + 1
    if as_json:
        value = {"path": str(path), "size_from": counts, "problems": report.problems}
        typer.echo(json.dumps(value, indent=2))
    sizes = ", ".join(f"{n} by {source}" for source, n in sorted(counts.items()))
    typer.echo(f"{path}: sizes of {len(found)} models ({sizes})", err=as_json)
    _problems(report.problems, report.failed)


@scrape_app.command()
def status(
    out: FolderOption = DEFAULT_FOLDER,
    errors: Annotated[
        bool, typer.Option("--errors", help="List every file and model that is not there.")
    ] = False,
    notes: Annotated[
        bool, typer.Option("--notes", help="List the files that were chosen among several.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the ledger of a folder holds; may be called while a run goes on."""
    from metabench_py.cli.progress import table
    from metabench_py.hub.ledger import open_ledger
    from metabench_py.hub.scrape import LEDGER
    from metabench_py.hub.status import STATES, summarise

    with open_ledger(out / LEDGER, write=False) as ledger:
        summary = summarise(ledger)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    rows: list[tuple[Any, ...]] = [("", *STATES)]
    for name, counts in summary["files"].items():
        title = TITLES.get(name, name)
        rows.append((title, *(counts.get(state, 0) for state in STATES)))
    for name in ("models", "leaderboard", "details"):
        if summary[name]:
            rows.append((name, *(summary[name].get(state, 0) for state in STATES)))
    typer.echo(table(rows))
    listed = (*(summary["errors"] if errors else ()), *(summary["notes"] if notes else ()))
    for entry in listed:
        where = f"{entry['model']} {entry['config']}".strip()
        typer.echo(f"{where}: {entry['state']}: {entry['text']} ({entry['time']})")
    n_errors = len(summary["errors"])
    if n_errors and not errors:
        typer.echo(f"{n_errors} errors; list them with --errors", err=True)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Make Ctrl-C end with a line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped. What is there is kept; run the same command to go on.", err=True)
        raise typer.Exit(130) from None


def _benchmarks(given: Sequence[str] | None) -> tuple[Benchmark, ...]:
    names = list(dict.fromkeys(n for text in given or ["all"] for n in text.lower().split(",")))
    if "all" in names:
        return BENCHMARKS
    for name in names:
        if name not in BENCHMARKS:
            raise InputError(
                f"--benchmark {name}: choose {', '.join(BENCHMARKS)} or all.", argument="benchmark"
            )
    return tuple(b for b in BENCHMARKS if b in names)


def _wanted(
    out: Path, models: Path | None, leaderboard: bool, benchmarks: tuple[Benchmark, ...]
) -> Mapping[str, tuple[Benchmark, ...]]:
    from metabench_py.hub.models import find_leaderboard, from_leaderboard, read_names

    if models is not None and leaderboard:
        raise InputError("--models and --from-leaderboard exclude each other; choose one.")
    if models is not None:
        return dict.fromkeys(read_names(models), benchmarks)
    return from_leaderboard(find_leaderboard(out), benchmarks)


def _table_suffix(path: Path) -> None:
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {path}: give a name that ends in .parquet or .csv.")


def _problems(problems: Sequence[str], failed: int) -> None:
    for problem in problems[:10]:
        typer.echo(problem, err=True)
    if len(problems) > 10:
        typer.echo(f"... and {len(problems) - 10} more; see `scrape status --errors`", err=True)
    if failed:
        raise typer.Exit(1)


def _client(attempts: int, timeout: float, pause: float) -> HubClient:
    from metabench_py.hub.retry import RetryRule
    from metabench_py.hub.transport import HubClient

    return HubClient(RetryRule(attempts=attempts, timeout=timeout, pause=pause))


def _dry_plan(ledger: Path, wanted: Mapping[str, tuple[Benchmark, ...]], recheck: bool) -> Plan:
    from metabench_py.hub.ledger import open_ledger
    from metabench_py.hub.scrape import plan, plan_anew

    if not ledger.is_file():
        return plan_anew(wanted)
    with open_ledger(ledger, write=False) as opened:
        return plan(opened, wanted, recheck=recheck)


def _print_plan(todo: Plan, n_models: int, as_json: bool) -> None:
    if as_json:
        value = {
            "n_models": n_models,
            "n_files": todo.n_files,
            "n_skipped": todo.n_skipped,
            "todo": {w.model: list(w.configs) for w in todo.todo},
        }
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"Would fetch {todo.n_files} files of {len(todo.todo)} models ({n_models} wanted); "
        f"{todo.n_skipped} files are settled already."
    )
