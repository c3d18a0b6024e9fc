"""Model comparison on files: a folder of matrices in, a folder with fits and tables out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metabench_py.calibration.crossvalidate import (
    CrossValidation,
    CrossValidationOptions,
    crossvalidate_benchmarks,
)
from metabench_py.calibration.folder_tables import SUMMARY, Columns, check_out, write_columns
from metabench_py.calibration.stage_data import load_stage_data
from metabench_py.storage import atomic_folder, write_json

# Names what is done, its running number, and how many there are (0: not known).
Progress = Callable[[str, int, int], None]
# Draws into a folder.
Draw = Callable[[Path, Mapping[tuple[str, str], CrossValidation]], None]


def fit_folder(
    data: Path,
    out: Path,
    options: CrossValidationOptions | None = None,
    *,
    scores: Path | None = None,
    split: Path | None = None,
    only: Sequence[str] = (),
    executor: Executor | None = None,
    replace: bool = False,
    progress: Progress | None = None,
    draw: Draw | None = None,
) -> dict[tuple[str, str], CrossValidation]:
    """Fit and write ``items.parquet``, ``llms.parquet``, ``models.parquet``, ``summary.json``.

    Parameters
    ----------
    data, scores, split, only
        See `load_stage_data`.
    out
        Folder to make.
    executor
        Runs one model of one benchmark a task; None: here, one after the other.
    replace
        Take the place of a folder that is there.
    draw
        Draws figures into the folder.
    """
    options = options or CrossValidationOptions()
    check_out(out, replace, "fit", data, (scores, split))
    table = load_stage_data(data, scores, split, only)
    number = 0

    def done(benchmark: str, model: str) -> None:
        nonlocal number
        number += 1
        if progress is not None:
            progress(f"{benchmark}: {model}", number, 0)

    found = crossvalidate_benchmarks(table, options, executor=executor, progress=done)
    with atomic_folder(Path(out), replace=replace, marks=(SUMMARY,)) as temporary:
        _write_tables(temporary, found)
        write_json(temporary / SUMMARY, summary(found, options))
        if draw is not None:
            draw(temporary, found)
    return found


def summary(
    found: Mapping[tuple[str, str], CrossValidation], options: CrossValidationOptions
) -> dict[str, Any]:
    """Summarise as JSON values."""
    models: dict[str, dict[str, Any]] = {}
    for (benchmark, model), one in found.items():
        models.setdefault(benchmark, {})[model] = {
            **_criteria(one),
            "n_items": one.train.n_items,
            "n_llms": {"train": one.train.n_llms, "test": one.test.n_llms},
            "recovery": {
                method: {
                    "curve": way.recovery.curve,
                    "train": way.train.to_dict(),
                    "test": None if way.test is None else way.test.to_dict(),
                }
                for method, way in one.recovered.items()
            },
            "n_misfits": None if one.item_fit is None else one.n_misfits,
            "engine": f"{one.fit.engine} {one.fit.engine_version}",
            "mode": one.fit.mode,
            "warnings": list(one.warnings),
        }
    best = {
        benchmark: {name: _smallest(table, name) for name in ("aic", "bic")}
        for benchmark, table in models.items()
    }
    return {
        "schema": 1,
        "stage": "fit",
        "options": asdict(options),
        "best": best,
        "benchmarks": models,
    }


def _smallest(table: Mapping[str, Mapping[str, Any]], criterion: str) -> str:
    return min(table, key=lambda model: float(table[model][criterion]))


def _criteria(one: CrossValidation) -> dict[str, Any]:
    return {
        "log_likelihood": one.fit.log_likelihood,
        "n_free": one.n_free,
        "aic": one.aic,
        "bic": one.bic,
        "iterations": one.fit.iterations,
        "converged": one.fit.converged,
    }


def _write_tables(folder: Path, found: Mapping[tuple[str, str], CrossValidation]) -> None:
    items, llms, models = Columns(), Columns(), Columns()
    for (benchmark, model), one in found.items():
        n = one.train.n_items
        fit = one.item_fit
        unknown = [None] * n
        items.extend(
            benchmark=[benchmark] * n,
            model=[model] * n,
            item=list(one.train.items),
            **{name: getattr(one.fit.parameters, name).tolist() for name in ("a1", "d", "g", "u")},
            a2=one.slopes[:, 1].tolist() if one.slopes.shape[1] > 1 else unknown,
            **{
                name: unknown if fit is None else getattr(fit, name).tolist()
                for name in ("infit", "outfit", "z_infit", "z_outfit")
            },
        )
        for method, way in one.recovered.items():
            for which, matrix, score, sub, theta, predicted in (
                ("train", one.train, one.train_score, one.subscore_train, way.theta_train,
                 way.recovery.fitted),
                ("test", one.test, one.test_score, one.subscore_test, way.theta_test,
                 way.recovery.predicted[0]),
            ):  # fmt: skip
                m = matrix.n_llms
                llms.extend(
                    benchmark=[benchmark] * m,
                    model=[model] * m,
                    method=[method] * m,
                    name=list(matrix.llms),
                    set=[which] * m,
                    score=score.tolist(),
                    subscore=sub.tolist(),
                    theta=theta[:, 0].tolist(),
                    theta2=theta[:, 1].tolist() if theta.shape[1] > 1 else [None] * m,
                    predicted=predicted.tolist(),
                )
            models.extend(
                benchmark=[benchmark],
                model=[model],
                method=[method],
                **{name: [value] for name, value in _criteria(one).items()},
                rmse_train=[way.train.rmse],
                rmse_test=[None if way.test is None else way.test.rmse],
                mae_test=[None if way.test is None else way.test.mae],
                spearman_test=[None if way.test is None else way.test.spearman],
                n_misfits=[None if fit is None else one.n_misfits],
            )
    write_columns(folder / "items.parquet", items)
    write_columns(folder / "llms.parquet", llms)
    write_columns(folder / "models.parquet", models)
