"""``metabench-py adapt optimize``: a grid of settings, and the shortest tests that are as good."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.cli.adapt import data as options
from metabench_py.cli.adapt.simulate import cell
from metabench_py.cli.calibrate import places
from metabench_py.cli.options import BundleOfVersion, Json, Trust
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.adaptive.study import GridRow

_DEFAULT_SE = (0.2, 0.3, 0.4)


def optimize_command(
    responses: options.Responses = None,
    scores: options.ScoresFile = None,
    generate: options.Generate = None,
    benchmark: options.Benchmarks = None,
    llms: options.Llms = None,
    bundle: BundleOfVersion = None,
    trust: Trust = False,
    criterion: Annotated[
        list[str] | None, typer.Option(help="MFI, KL, KLP, MEI, random; may be given again.")
    ] = None,
    estimator: Annotated[
        list[str] | None, typer.Option(help="MAP, EAP, WLE; may be given again.")
    ] = None,
    se: Annotated[
        list[float] | None,
        typer.Option(help="Stop at this standard error; may be given again. Default: .2, .3, .4."),
    ] = None,
    max_items: Annotated[
        list[int] | None, typer.Option(help="Stop at so many items; may be given again.")
    ] = None,
    exposure: Annotated[
        list[str] | None,
        typer.Option(help="none, randomesque, progressive, sympson-hetter; may be given again."),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Items between two estimates; may be given again.")
    ] = None,
    min_items: options.MinItems = 1,
    start_theta: options.StartTheta = None,
    start_random: options.StartRandom = 0,
    pool: options.Pool = None,
    acceleration: options.Acceleration = None,
    max_exposure: options.MaxExposure = None,
    slack: Annotated[
        float, typer.Option(help="Share by which the best tests may be worse than the least error.")
    ] = 0.05,
    folds: options.Folds = None,
    seed: options.Seed = 1,
    out: Annotated[Path | None, typer.Option(help="Write all rows (.json).")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder for what goes to the workers; for clusters.")
    ] = None,
    workers: places.Workers = None,
    dask: places.Dask = None,
    slurm: places.Slurm = None,
    slurm_time: places.SlurmTime = None,
    slurm_memory: places.SlurmMemory = None,
    slurm_option: places.SlurmOption = None,
    as_json: Json = False,
) -> None:
    """Try every combination of settings; name the shortest tests with about the least error."""
    if not 0 <= slack < math.inf:
        raise InputError(f"--slack {slack:g}: take 0 or more.")
    from metabench_py.adaptive.study import best_rows, grid_of, run_grid
    from metabench_py.cli.progress import Bar
    from metabench_py.compute import open_executor
    from metabench_py.reconstruction.api import open_bundle
    from metabench_py.storage import write_json

    base = options.settings_of(
        start_theta=start_theta, start_random=start_random, min_items=min_items, pool=pool,
        acceleration=acceleration, max_exposure=max_exposure, seed=seed,
        exposures=exposure or (),
    )  # fmt: skip
    errors = list(se or ()) or ([] if max_items else list(_DEFAULT_SE))
    options.check_min_items(min_items, bool(errors))
    axes: dict[str, list[Any]] = {
        "criterion": criterion or ["MFI"],
        "estimator": estimator or ["MAP"],
        "exposure": exposure or [],
        "batch": batch or [],
        "max_items": max_items or [],
        "se": errors,
    }
    grid = grid_of(base, axes)
    loaded = open_bundle(bundle, None, trust)
    data = options.load_data(loaded, benchmark, responses, scores, generate, llms, folds, seed)
    place = places.place_of(workers, dask, slurm, slurm_time, slurm_memory, slurm_option)
    bar = Bar()
    bar.start("Settings", len(grid) * len(data), 0)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with open_executor(place, work or Path(folder)) as executor:
                rows = run_grid(data, grid, executor, lambda: bar.advance(1))
        finally:
            bar.stop()
    best = best_rows(rows, slack)
    value = {
        "bundle": loaded.name,
        "slack": slack,
        "rows": [row.to_dict() for row in rows],
        "best": [row.to_dict() for row in best],
    }
    typer.echo(json.dumps(value, indent=2) if as_json else _text(rows, best))
    if out is not None:
        write_json(out, value)
        typer.echo(f"Wrote {out}", err=True)


def _text(rows: list[GridRow], best: list[GridRow]) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    lines: list[tuple[object, ...]] = [
        ("benchmark", "settings", "items", "SE", "theta RMSE", "score RMSE", "exposure", "")
    ]
    for row in rows:
        s = row.summary
        lines.append(
            (
                TITLES.get(row.benchmark, row.benchmark), row.settings.name(),
                f"{s.mean_items:.1f}", f"{s.mean_se:.3f}", cell(s.theta.rmse, 3),
                cell(s.score.rmse if s.score else None, 2), f"{s.highest_exposure:.2f}",
                "best" if row in best else "",
            )
        )  # fmt: skip
    return table(lines)
