"""``metabench-py adapt analyze``: what adaptive tests cost and give, beside fixed subsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.cli.adapt import data as options
from metabench_py.cli.adapt.simulate import cell
from metabench_py.cli.options import BundleOfVersion, Json, Trust
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.adaptive.compare import StaticComparison
    from metabench_py.adaptive.study import CatData, Study
    from metabench_py.bundle import Bundle

_SHARES = (0.1, 0.2, 0.3, 0.5)


def analyze_command(
    responses: options.Responses = None,
    scores: options.ScoresFile = None,
    benchmark: options.Benchmarks = None,
    llms: options.Llms = None,
    length: Annotated[
        list[int] | None,
        typer.Option(
            help="Compare at so many items; may be given again. Default: 10, 20, 30, 50 % of them."
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Fit items anew in each fold, so that nothing is seen twice."),
    ] = False,
    bundle: BundleOfVersion = None,
    trust: Trust = False,
    criterion: options.Criterion = "MFI",
    estimator: options.Estimator = "MAP",
    se: options.Se = 0.3,
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
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw length, recovery, exposure and comparison (.png, .svg, .pdf)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show length, exposure and recovery of adaptive tests; compare them with fixed subsets."""
    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, 1)
    if responses is None or scores is None:
        raise InputError("The comparison needs real answers and scores: --responses and --scores.")
    settings = options.settings_of(
        criterion=criterion, estimator=estimator, se=se, max_items=max_items,
        min_items=min_items, start_theta=start_theta, start_random=start_random, batch=batch,
        exposure=exposure, pool=pool, acceleration=acceleration, max_exposure=max_exposure,
        seed=seed,
    )  # fmt: skip
    from metabench_py.adaptive.compare import compare_static
    from metabench_py.adaptive.study import run_study
    from metabench_py.calibration.folds import organisation
    from metabench_py.calibration.information_filter import information_subsets
    from metabench_py.cli.progress import Bar
    from metabench_py.reconstruction.api import open_bundle

    loaded = open_bundle(bundle, None, trust)
    folds = options.FOLDS if folds is None else folds
    data = options.load_data(loaded, benchmark, responses, scores, None, llms, folds, seed)
    studies, compared = [], []
    bar = Bar()
    bar.start("Folds", folds * len(data), 0)
    for one in data:
        studies.append(run_study(one, settings))
        compared.append(
            compare_static(
                one,
                settings,
                length or _lengths(len(one.parameters.items)),
                information_subsets,
                [organisation(name) for name in one.responses.llms],
                refit=_refit(loaded, one.benchmark) if refit else None,
                progress=lambda: bar.advance(1),
            )
        )
    bar.stop()
    if as_json:
        typer.echo(json.dumps(_value(loaded.name, data, studies, compared), indent=2))
    else:
        typer.echo(_text(studies, compared))
    if plot is not None:
        from metabench_py.figures.panels import adaptive_panel
        from metabench_py.report.adaptive_figures import plot_adaptive

        panels = [adaptive_panel(*one) for one in zip(data, studies, compared, strict=True)]
        plot_adaptive(panels, settings.name(), plot)
        typer.echo(f"Wrote {plot}", err=True)


def _lengths(n_items: int) -> list[int]:
    return [max(5, round(share * n_items)) for share in _SHARES]


def _refit(bundle: Bundle, benchmark: Any) -> Any:
    from metabench_py.irt import FitOptions, get_engine

    item_type = bundle.benchmarks[benchmark].item_type
    engine = get_engine("native")
    return lambda matrix: engine.fit(matrix, item_type, FitOptions("converged")).parameters


def _value(
    name: str, data: list[CatData], studies: list[Study], compared: list[StaticComparison]
) -> dict[str, Any]:
    exposure = {
        study.benchmark: dict(zip(one.parameters.items, study.result.exposure.tolist(),
                                  strict=True))
        for one, study in zip(data, studies, strict=True)
    }  # fmt: skip
    return {
        "bundle": name,
        "studies": [study.to_dict() for study in studies],
        "exposure": exposure,
        "comparison": [one.to_dict() for one in compared],
    }


def _text(studies: list[Study], compared: list[StaticComparison]) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    rows: list[tuple[object, ...]] = [
        (studies[0].settings.name(), "items of", "bank", "SE", "score RMSE", "all items",
         "highest exposure", "overlap")
    ]  # fmt: skip
    for study in studies:
        s = study.summary
        rows.append(
            (
                TITLES.get(study.benchmark, study.benchmark), f"{s.mean_items:.1f}", s.bank,
                f"{s.mean_se:.3f}", cell(s.score.rmse if s.score else None, 2),
                cell(study.full_score.rmse, 2), f"{s.highest_exposure:.2f}", cell(s.overlap, 2),
            )
        )  # fmt: skip
    lines = [table(rows), ""]
    rows = [
        (
            "score RMSE at equal length",
            "items",
            "adaptive",
            "fixed",
            "fixed, linear",
            "random",
            "better",
        )
    ]
    for one in compared:
        for at in one.lengths:
            rows.append(
                (
                    TITLES.get(one.benchmark, one.benchmark), at.n_items,
                    cell(at.adaptive.rmse, 2), cell(at.fixed.rmse, 2),
                    cell(at.fixed_linear.rmse, 2), cell(at.chance.rmse, 2), at.better,
                )
            )  # fmt: skip
    lines.append(table(rows))
    lines.append(
        "Out of fold. Linear: by a regression on the answers. Better: squared errors differ by "
        "more than two standard errors, counted by organisation."
    )
    return "\n".join(lines)
