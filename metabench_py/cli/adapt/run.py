"""``metabench-py adapt run``: tests a model adaptively, with lm-eval asking."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.benchmarks import BENCHMARKS, Version
from metabench_py.cli.adapt import data as options
from metabench_py.cli.options import (
    Backend,
    BatchSize,
    BundleOfVersion,
    Device,
    Imports,
    Items,
    Json,
    Metrics,
    ModelArgs,
    ModelArgument,
    Trust,
)
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.adaptive.settings import CatSettings
    from metabench_py.benchmarks import Benchmark
    from metabench_py.bundle import Bundle
    from metabench_py.harness.plan import Plan


def run_command(
    arguments: ModelArgument,
    benchmark: options.Benchmarks = None,
    se: Annotated[float | None, typer.Option(help="Stop at this standard error.")] = 0.3,
    max_items: options.MaxItems = None,
    min_items: options.MinItems = 1,
    batch: Annotated[
        int, typer.Option(help="Items of a benchmark a round; each round loads the model.")
    ] = 10,
    criterion: options.Criterion = "MFI",
    estimator: options.Estimator = "MAP",
    start_theta: options.StartTheta = None,
    start_random: options.StartRandom = 0,
    exposure: options.Exposure = "none",
    pool: options.Pool = None,
    acceleration: options.Acceleration = None,
    max_exposure: options.MaxExposure = None,
    seed: options.Seed = 1,
    backend: Backend = "hf",
    model_args: ModelArgs = None,
    device: Device = None,
    batch_size: BatchSize = None,
    imports: Imports = None,
    items: Items = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for results and logs.")] = Path(
        "adaptive-results"
    ),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished test.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew.")] = False,
    bundle: BundleOfVersion = None,
    trust: Trust = False,
    metric: Metrics = None,
    as_json: Json = False,
) -> None:
    """Ask a model the items that tell most about it, until its abilities are known well enough.

    MODEL is an id on the Hub or a folder. Each round is a run of lm-eval on the next items of
    all benchmarks. The test is written down after every round, so it can be taken up again.
    """
    from metabench_py.adaptive.live import LiveTest, run_live
    from metabench_py.cli.evaluate import split_arguments
    from metabench_py.harness.chosen import ChosenItems
    from metabench_py.harness.itemfiles import item_files
    from metabench_py.harness.plan import Plan
    from metabench_py.harness.settings import Settings
    from metabench_py.harness.variants import Variant
    from metabench_py.reconstruction.api import metrics_of, open_bundle

    model, extra = split_arguments(arguments)
    if se is None and max_items is None:
        raise InputError("A test of all items is `evaluate`; give --se or --max-items.")
    begin = start_theta or (None if start_random else _spread(batch))
    settings = options.settings_of(
        criterion=criterion, estimator=estimator, se=se, max_items=max_items,
        min_items=min_items, start_theta=begin, start_random=start_random, batch=batch,
        exposure=exposure, pool=pool, acceleration=acceleration, max_exposure=max_exposure,
        seed=seed,
    )  # fmt: skip
    loaded = open_bundle(bundle, None, trust)
    version: Version = "B" if loaded.version == "B" else "A"
    names = options.benchmarks_of(benchmark)
    made = Settings(
        model=model, backend=backend, model_args=tuple(model_args or ()), device=device,
        batch_size=batch_size, extra=tuple(extra), imports=tuple(imports or ()),
    )  # fmt: skip
    files = None if items is None else item_files(items, version)
    plan = Plan(Variant(version, False), made, output, files)
    ask = ChosenItems(plan, metrics_of(loaded, metric or ()))
    path = plan.folder / f"metabench-adaptive_{loaded.version}.json"
    made_with = {
        "test": settings.to_dict(),
        "benchmarks": names,
        "bundle": {"name": loaded.name, "sha256": loaded.sha256},
        "metrics": {b: ask.metrics[b] for b in names},
        "run": plan.fingerprint_of(ask.version),
    }
    tests = [LiveTest(b, *_bank(loaded, b, settings)) for b in names]
    found = run_live(tests, ask, path, made_with, resume=resume, restart=restart, say=_say)
    logs = ask.finish(_now())
    if as_json:
        typer.echo(json.dumps({"model": model, **found}, indent=2))
    else:
        typer.echo(_text(model, found))
    typer.echo(f"Wrote {path}" + (f" and {len(logs)} logs beside it" if logs else ""), err=True)
    if set(names) == set(BENCHMARKS) and not as_json:
        typer.echo(_scores_of(plan, loaded, metric or []))


def _spread(n: int) -> list[float]:
    """Abilities that part the prior evenly: nothing is known of the model yet."""
    return [round(NormalDist().inv_cdf((i + 0.5) / n), 4) for i in range(n)]


def _bank(loaded: Bundle, benchmark: Benchmark, settings: CatSettings) -> tuple[Any, Any, Any]:
    parameters = loaded.benchmarks[benchmark].parameters
    if settings.exposure != "sympson-hetter":
        return parameters, settings, None
    from metabench_py.adaptive.sympson import sympson_hetter

    return parameters, settings, sympson_hetter(parameters, settings)


def _now() -> str:
    """Give the time as lm-eval writes it in names."""
    from datetime import datetime

    return datetime.now().isoformat().replace(":", "-")


def _text(model: str, found: dict[str, Any]) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [
        (model, "items", "of", "right", "theta", "se", "rounds", "ended by")
    ]
    for name, one in found["benchmarks"].items():
        theta = "" if one["theta"] is None else f"{one['theta']:.2f}"
        se = "" if one["se"] is None else f"{one['se']:.2f}"
        rows.append(
            (
                TITLES[name], one["n_items"], one["bank"], one["n_correct"], theta, se,
                len(one["rounds"]), one["stop"],
            )
        )  # fmt: skip
    return table(rows)


def _scores_of(plan: Plan, loaded: Bundle, metric: list[str]) -> str:
    """Reconstruct scores from the items that were asked, the others taken as missing."""
    from metabench_py.cli.render import render
    from metabench_py.logs import find_model
    from metabench_py.reconstruction import Reconstructor
    from metabench_py.reconstruction.api import LogReader

    reader = LogReader(loaded, metrics=tuple(metric), allow_missing=True)
    responses = reader(find_model(str(plan.folder), plan.output))
    result = Reconstructor(loaded)([responses])[0]
    if isinstance(result, Exception):
        raise result
    return "\n" + render([result], "table", True)


def _say(text: str) -> None:
    typer.echo(text, err=True)
