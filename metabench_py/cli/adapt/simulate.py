"""``metabench-py adapt simulate``: adaptive tests on answers that are there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metabench_py.cli.adapt import data as options
from metabench_py.cli.options import BundleOfVersion, Json, Trust
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.adaptive.study import CatData, Study


def simulate_command(
    responses: options.Responses = None,
    scores: options.ScoresFile = None,
    generate: options.Generate = None,
    benchmark: options.Benchmarks = None,
    llms: options.Llms = None,
    bundle: BundleOfVersion = None,
    trust: Trust = False,
    criterion: options.Criterion = "MFI",
    estimator: options.Estimator = "MAP",
    se: options.Se = None,
    max_items: options.MaxItems = None,
    min_items: options.MinItems = 1,
    start_theta: options.StartTheta = None,
    start_random: options.StartRandom = 0,
    batch: options.Batch = 1,
    exposure: options.Exposure = "none",
    pool: options.Pool = None,
    acceleration: options.Acceleration = None,
    max_exposure: options.MaxExposure = None,
    folds: options.Folds = None,
    seed: options.Seed = 1,
    engine: Annotated[
        Literal["native", "catR"], typer.Option(help="catR: R's, much slower.")
    ] = "native",
    out: Annotated[
        Path | None, typer.Option(help="Write each LLM's test (.csv, .parquet).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Test LLMs adaptively, and compare with what all their answers say."""
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out {out}: end its name in .csv or .parquet.", path=str(out))
    settings = options.settings_of(
        criterion=criterion, estimator=estimator, se=se, max_items=max_items,
        min_items=min_items, start_theta=start_theta, start_random=start_random, batch=batch,
        exposure=exposure, pool=pool, acceleration=acceleration, max_exposure=max_exposure,
        seed=seed,
    )  # fmt: skip
    from metabench_py.adaptive.study import run_study
    from metabench_py.reconstruction.api import open_bundle

    loaded = open_bundle(bundle, None, trust)
    data = options.load_data(loaded, benchmark, responses, scores, generate, llms, folds, seed)
    studies = [run_study(one, settings, engine) for one in data]
    if as_json:
        value = {
            "bundle": loaded.name,
            "engine": engine,
            "answers": "real" if generate is None else "drawn",
            "studies": [one.to_dict() for one in studies],
        }
        typer.echo(json.dumps(value, indent=2))
    else:
        typer.echo(_text(studies))
    if out is not None:
        _write(data, studies, out)
        typer.echo(f"Wrote {out}", err=True)


def _text(studies: list[Study]) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    scored = any(one.summary.score for one in studies)
    rows: list[tuple[object, ...]] = [
        (studies[0].settings.name(), "LLMs", "bank", "items", "least", "most", "SE",
         "theta RMSE", "r", "highest exposure",
         *(("score RMSE", "all items") if scored else ()))
    ]  # fmt: skip
    for one in studies:
        s = one.summary
        row: tuple[object, ...] = (
            TITLES.get(one.benchmark, one.benchmark), s.n_llms, s.bank, f"{s.mean_items:.1f}",
            s.least_items, s.most_items, f"{s.mean_se:.3f}", cell(s.theta.rmse, 3),
            cell(s.theta.correlation, 4), f"{s.highest_exposure:.2f}",
        )  # fmt: skip
        if s.score is not None:
            row = (*row, cell(s.score.rmse, 2), cell(one.full_score.rmse, 2))
        rows.append(row)
    return table(rows)


def cell(value: float | None, digits: int) -> str:
    """Give a number for a table; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def _write(data: list[CatData], studies: list[Study], out: Path) -> None:
    import pandas as pd

    from metabench_py.storage import atomic_path

    frames = []
    for one, study in zip(data, studies, strict=True):
        result = study.result
        names = one.parameters.items
        frame = pd.DataFrame(
            {
                "benchmark": one.benchmark,
                "name": list(one.responses.llms),
                "n_items": result.n_items,
                "theta": result.theta,
                "se": result.se,
                "stop": list(result.stop),
                "theta_all_items": study.full_theta,
                "items": [" ".join(names[i] for i in row if i >= 0) for row in result.used],
            }
        )
        if one.truth is not None:
            frame["true_theta"] = one.truth
        if study.predicted is not None:
            frame["score"], frame["predicted"] = one.score, study.predicted
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    with atomic_path(out) as temporary:
        if out.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)
