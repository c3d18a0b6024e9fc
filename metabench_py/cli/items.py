"""``metabench-py items``: build, check, tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench_py.benchmarks import BENCHMARKS, Benchmark, Version
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.bundle import Bundle
    from metabench_py.harness.sources import Sources

items_app = typer.Typer(
    name="items", help="The items' texts: build, check, make lm-eval tasks.", no_args_is_help=True
)

BundleArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[BUNDLE]", help="Folder or name (default, B-200); default if left out."
    ),
]
SourcesOption = Annotated[
    Path | None,
    typer.Option(
        "--sources",
        help="Folder of <benchmark>-items.parquet and -examples.parquet, in place of the Hub.",
    ),
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Take the place of what is there.")]


@items_app.command()
def build(
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    bundle: BundleArgument = None,
    sources: SourcesOption = None,
    replace: ReplaceOption = False,
) -> None:
    """Build item files of a bundle's items, with few-shot examples, from the source data sets.

    The examples are those of the first Open LLM Leaderboard, by which the calibration LLMs were
    scored. Needs the library datasets and a network, or --sources.
    """
    from metabench_py.bundle import load_bundle
    from metabench_py.harness.build import build_items

    wanted = _items_of(load_bundle(bundle))
    build_items(wanted, _sources(sources), out, replace=replace, progress=_say)
    typer.echo(f"Wrote {out}; use it with: evaluate MODEL --items {out}", err=True)


@items_app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of item files.")],
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Compare with this bundle's items.")
    ] = None,
    logs: Annotated[
        Path | None, typer.Option("--logs", help="Compare with a model's logs in this folder.")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="A or B; the bundle's, else B.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare item files with a bundle and with logs; exit code 1 if they differ."""
    from metabench_py.bundle import load_bundle
    from metabench_py.harness.check import Check, check_bundle, check_files, check_logs
    from metabench_py.harness.itemfiles import item_files
    from metabench_py.harness.variants import Variant
    from metabench_py.logs import find_model

    loaded = None if bundle is None else load_bundle(bundle)
    label = version or (loaded.version if loaded is not None else "B")
    if version is not None and version not in ("A", "B"):
        raise InputError(f"--version {version}: choose A or B.", argument="version")
    chosen: Version = "B" if label == "B" else "A"
    files = item_files(folder, chosen)
    checks: list[Check] = []

    def note(check: Check) -> None:
        checks.append(check)
        if not as_json:
            mark = {True: "ok  ", False: "FAIL", None: "?   "}[check.ok]
            typer.echo(f"{mark}  {check.what}: {check.detail}")

    for one in check_files(files):
        note(one)
    if loaded is not None:
        for one in check_bundle(files, _items_of(loaded)):
            note(one)
    if logs is not None:
        for one in check_logs(files, Variant(chosen, False), find_model(str(logs), logs.parent)):
            note(one)
    ok = all(one.ok is not False for one in checks)
    if as_json:
        rows = [{"what": c.what, "ok": c.ok, "detail": c.detail} for c in checks]
        typer.echo(json.dumps({"path": str(folder), "ok": ok, "checks": rows}, indent=2))
    if not ok:
        raise typer.Exit(1)


@items_app.command()
def tasks(
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    bundle: BundleArgument = None,
    items: Annotated[
        Path | None,
        typer.Option("--items", help="Folder of item files to take the items from."),
    ] = None,
    sources: SourcesOption = None,
    scores: Annotated[
        bool,
        typer.Option("--scores", help="Let lm-eval's own table report reconstructed scores."),
    ] = False,
    replace: ReplaceOption = False,
) -> None:
    """Make a folder of lm-eval tasks of a bundle's items: lm-eval run --include_path OUT.

    The tasks are metabench_arc and so on, with _secondary for a bundle of version B; reconstruct
    reads their logs with --bundle BUNDLE. The folder names the installed lm-eval's files and its
    own place, so make it anew where it is to run.
    """
    from metabench_py.bundle import load_bundle
    from metabench_py.harness.build import build_items
    from metabench_py.harness.installed import find_lm_eval
    from metabench_py.harness.select import select_items
    from metabench_py.harness.taskfiles import Scored, write_task_files
    from metabench_py.harness.variants import Variant
    from metabench_py.storage import atomic_folder

    installed = find_lm_eval()
    loaded = load_bundle(bundle)
    wanted = _items_of(loaded)
    version: Version = "B" if loaded.version == "B" else "A"
    scored = None
    if scores:
        folder = None if bundle is None else str(loaded.path.resolve())
        scored = Scored("metabench_py.plugin.ScoredTask", folder, "metabench_grand")
    groups = []
    with atomic_folder(out, replace=replace, marks=("items",)) as made:
        if items is not None:
            select_items(items, wanted, made / "items")
        else:
            build_items(wanted, _sources(sources), made / "items", progress=_say)
        files = {b: out.resolve() / "items" / f"{b}.parquet" for b in BENCHMARKS}
        for variant in (Variant(version, False), Variant(version, True)):
            # A folder each: scored permuted groups have their own GSM8K.
            write_task_files(made / variant.group, installed, variant, files, scored=scored)
            groups.append(variant.group)
    for group in groups:
        typer.echo(
            f"lm-eval run --include_path {out / group} --tasks {group} --log_samples "
            "--output_path harness-results --model hf --model_args pretrained=MODEL",
            err=True,
        )
    typer.echo(f"Wrote {out}; or use it with: evaluate MODEL --items {out}", err=True)


def _items_of(bundle: Bundle) -> dict[Benchmark, Sequence[str]]:
    return {b: bundle.benchmarks[b].parameters.items for b in BENCHMARKS}


def _sources(folder: Path | None) -> Sources:
    from metabench_py.harness.sources import FolderSources, HubSources

    return HubSources() if folder is None else FolderSources(folder)


def _say(what: str, number: int, total: int) -> None:
    typer.echo(f"[{number}/{total}] {what}", err=True)
