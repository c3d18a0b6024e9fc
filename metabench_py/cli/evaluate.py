"""``metabench-py evaluate``: from a model's id to its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metabench_py.benchmarks import VERSIONS, Benchmark, EngineName, Version
from metabench_py.cli.options import (
    Backend,
    BatchSize,
    BundleOfVersion,
    Device,
    Engine,
    Imports,
    Items,
    Json,
    Metrics,
    ModelArgs,
    ModelArgument,
    Trust,
)
from metabench_py.errors import BundleError, InputError

if TYPE_CHECKING:
    from metabench_py.bundle import Bundle
    from metabench_py.harness import Variant
    from metabench_py.harness.plan import Plan
    from metabench_py.reconstruction import Reconstruction


@dataclass(frozen=True)
class _Scoring:
    """How the logs become scores."""

    bundles: dict[Version, Bundle]
    engine: EngineName
    metrics: tuple[str, ...]
    partial: bool


def evaluate_command(
    arguments: ModelArgument,
    version: Annotated[
        str | None,
        typer.Option("--version", help="A or B; the bundle's if left out.", show_default=False),
    ] = None,
    permute: Annotated[bool, typer.Option("--permute", help="Shuffle the answer options.")] = False,
    also: Annotated[
        Literal["permuted"] | None,
        typer.Option("--also", help="Run the permuted variant after the plain one."),
    ] = None,
    all_variants: Annotated[
        bool, typer.Option("--all-variants", help="A and B, each plain and permuted.")
    ] = False,
    backend: Backend = "hf",
    model_args: ModelArgs = None,
    device: Device = None,
    batch_size: BatchSize = None,
    limit: Annotated[
        float | None,
        typer.Option("--limit", help="Items a task, or a share below 1; for trying out."),
    ] = None,
    imports: Imports = None,
    items: Items = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for logs and results.")] = Path(
        "harness-results"
    ),
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out what has ended; go on with the rest.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin an interrupted run anew.")
    ] = False,
    no_reconstruct: Annotated[
        bool, typer.Option("--no-reconstruct", help="Stop after the verified logs.")
    ] = False,
    bundle: BundleOfVersion = None,
    trust: Trust = False,
    engine: Engine = "auto",
    metric: Metrics = None,
    as_json: Json = False,
) -> None:
    """Run lm-evaluation-harness on the metabench tasks and reconstruct the scores.

    MODEL is an id on the Hub or a folder. What comes after -- goes to lm-eval untouched. With a
    bundle that holds a part of the items, such as B-200, these alone are run. Logs,
    results and a record of the run go to a folder of the model's name in --output; what has
    ended is not lost when a later variant fails or is interrupted (--resume).
    """
    from metabench_py.harness.installed import find_lm_eval
    from metabench_py.harness.run import run_variant
    from metabench_py.harness.settings import Settings

    model, extra = split_arguments(arguments)
    settings = Settings(
        model=model,
        backend=backend,
        model_args=tuple(model_args or ()),
        device=device,
        batch_size=batch_size,
        limit=limit,
        extra=tuple(extra),
        imports=tuple(imports or ()),
    )
    find_lm_eval(backend)
    # Before an hour of computing: is there all that its end needs?
    own = _open(bundle, trust)
    variants = choose_variants(_version(version, own), permute, also is not None, all_variants)
    scoring = None
    if not no_reconstruct:
        bundles = {v.version: _bundle_of(v.version, own, trust) for v in variants}
        scoring = _Scoring(bundles, engine, tuple(metric or ()), limit is not None)
    results: list[Reconstruction] = []
    for plan in _plans(variants, settings, output, items, own, scoring is not None):
        run_variant(plan, resume=resume, restart=restart, say=_say)
        typer.echo(f"Logs of version {plan.variant.name} are in {plan.folder}", err=True)
        if scoring is not None:
            results.append(_reconstruct(plan, scoring))
            if not as_json:
                typer.echo(_table(results[-1]))
    if scoring is not None and as_json:
        from metabench_py.cli.render import render

        typer.echo(render(results, "json", len(results) == 1))


def choose_variants(
    version: Version, permuted: bool, also_permuted: bool, everything: bool
) -> list[Variant]:
    """Say what runs, in this order: plain ones first, whose GSM8K the permuted ones take."""
    from metabench_py.harness.variants import Variant

    if everything:
        return [Variant(v, p) for v in VERSIONS for p in (False, True)]
    if also_permuted:
        return [Variant(version, False), Variant(version, True)]
    return [Variant(version, permuted)]


def split_arguments(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Part the model from lm-eval's arguments."""
    model, *extra = arguments
    if extra and not extra[0].startswith("-"):
        raise InputError(
            f"{extra[0]!r}: one model at a time; arguments for lm-eval come after -- and begin "
            "with a dash."
        )
    return model, extra


def _open(bundle: str | None, trust: bool) -> Bundle | None:
    if bundle is None:
        return None
    from metabench_py.bundle import load_bundle

    return load_bundle(bundle, trust)


def _version(text: str | None, own: Bundle | None) -> Version:
    if text is None:
        # A user's own bundle runs under the task names of version A.
        return "B" if own is None or own.version == "B" else "A"
    for version in VERSIONS:
        if text.upper() == version:
            return version
    raise InputError(f"--version {text}: choose {' or '.join(VERSIONS)}.", argument="version")


def _bundle_of(version: Version, own: Bundle | None, trust: bool) -> Bundle:
    if own is not None and (own.version == version or own.version not in VERSIONS):
        return own
    from metabench_py.bundle.read import bundle_for_version, load_bundle

    try:
        return load_bundle(bundle_for_version(version), trust)
    except BundleError as error:
        raise BundleError(
            f"{str(error).rstrip('.')}. Or run without scores: --no-reconstruct.", **error.facts
        ) from error


def _plans(
    variants: Sequence[Variant],
    settings: Any,
    output: Path,
    items: Path | None,
    own: Bundle | None,
    scored: bool,
) -> list[Plan]:
    from dataclasses import replace

    from metabench_py.harness.itemfiles import item_files
    from metabench_py.harness.plan import Plan

    plans = []
    for variant in variants:
        files = None if items is None else item_files(items, variant.version)
        chosen = None if own is None else _part_of(own, variant, files)
        plan = Plan(variant, settings, output, files, chosen=chosen)
        if scored and variant.permuted:
            plain = any(v.version == variant.version and not v.permuted for v in variants)
            if not plain and not any(plan.folder.glob(f"samples_{variant.gsm8k_task}_2*.jsonl")):
                plan = replace(plan, with_gsm8k=True)
        plans.append(plan)
    return plans


def _part_of(
    bundle: Bundle, variant: Variant, files: Mapping[Benchmark, Path] | None
) -> dict[Benchmark, Sequence[str]] | None:
    """Give a bundle's items where more than these would be run."""
    from metabench_py.harness.itemfiles import item_ids
    from metabench_py.harness.variants import N_ITEMS

    own = bundle.version == variant.version
    wanted: dict[Benchmark, Sequence[str]] = {
        b: model.parameters.items for b, model in bundle.benchmarks.items()
    }
    if files is None:
        more = own and any(len(wanted[b]) < n for b, n in N_ITEMS[variant.version].items())
    else:
        mine = own or bundle.version not in VERSIONS
        more = mine and any(set(item_ids(files[b], b)) - set(wanted[b]) for b in files)
    return wanted if more else None


def _reconstruct(plan: Plan, scoring: _Scoring) -> Reconstruction:
    from metabench_py.logs import find_model
    from metabench_py.reconstruction import Reconstructor
    from metabench_py.reconstruction.api import LogReader
    from metabench_py.storage import write_json

    bundle = scoring.bundles[plan.variant.version]
    reader = LogReader(
        bundle,
        permuted=plan.variant.permuted,
        metrics=scoring.metrics,
        allow_missing=scoring.partial,
    )
    responses = reader(find_model(str(plan.folder), plan.output))
    result = Reconstructor(bundle, engine=scoring.engine)([responses])[0]
    if isinstance(result, Exception):
        raise result
    for flag in result.flags:
        typer.echo(f"Note ({flag.flag}): {flag.detail}", err=True)
    path = plan.folder / f"metabench-result_{plan.variant.name}.json"
    write_json(path, result.to_dict())
    typer.echo(f"Wrote {path}", err=True)
    return result


def _table(result: Reconstruction) -> str:
    from metabench_py.cli.render import render

    return render([result], "table", True)


def _say(text: str) -> None:
    typer.echo(text, err=True)
