"""``metabench-py calibrate curve``: errors against the number of items kept."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from metabench_py.benchmarks import BENCHMARKS, TITLES
from metabench_py.cli.calibrate.places import Workers
from metabench_py.cli.options import Json, one_of
from metabench_py.cli.progress import Bar, table
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from metabench_py.calibration.curve import ItemCurve
    from metabench_py.calibration.inputs import CalibrationInputs


def curve_command(
    responses: Annotated[
        Path, typer.Option(help="Folder with arc.parquet (or .csv) and so on: LLMs x items, 0/1.")
    ],
    items: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet: benchmark, item, item_type, score_method, optional metric."
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(help="Take a bundle's items in place of --items: folder, name or default."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet: name, one column a benchmark (0-100), optional split; LLMs of "
            "the split 'test' are left out. Left out, the matrices must hold all items."
        ),
    ] = None,
    scores_from_leaderboard: Annotated[
        bool,
        typer.Option(
            "--scores-from-leaderboard",
            help="Take a leaderboard's table as --scores, though its TruthfulQA and MMLU differ.",
        ),
    ] = False,
    split: Annotated[
        Path | None, typer.Option(help="Table of calibrate split: its test LLMs have no part.")
    ] = None,
    budgets: Annotated[
        str | None,
        typer.Option(help="Numbers of items, as in 50,100,all. Left out: some, and all."),
    ] = None,
    orders: Annotated[
        str, typer.Option(help="Which of greedy, ridge, information, random.")
    ] = "greedy,ridge,information,random",
    folds: Annotated[int, typer.Option(help="Organisation-grouped folds, 3 or more.")] = 5,
    seed: Annotated[int, typer.Option(help="Of folds, random orders and bootstrap.")] = 1,
    draws: Annotated[int, typer.Option(help="Random orders, which make the band.")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Write the curve as a table (.csv) or all of it (.json).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves: .png, .svg or .pdf.")] = None,
    items_out: Annotated[
        Path | None,
        typer.Option(help="Write --budget items for calibrate bundle --items, chosen on all LLMs."),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Items of --items-out.")] = None,
    order: Annotated[
        str | None, typer.Option(help="Order of --items-out; left out: greedy.")
    ] = None,
    workers: Workers = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Keep finished results here. Left out, they lie beside --out, --plot or "
            "--items-out until the end; the same command goes on where it stopped."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how far scores are off with fewer items, for several orders of items.

    Items are chosen and scores predicted by training LLMs alone; errors are on LLMs of other
    organisations. Predictions are ridge regressions on the kept answers, a cheap stand-in for a
    bundle's second stage.
    """
    from metabench_py.calibration.curve import CurveOptions, curve_data, item_curve
    from metabench_py.calibration.item_orders import check_listed, listed_items

    options = CurveOptions(
        budgets=_budgets(budgets),
        orders=tuple(cast("Any", part.strip()) for part in orders.split(",")),
        folds=folds,
        seed=seed,
        draws=draws,
    )
    _check(out, plot, items_out, budget, order)
    inputs = _inputs(responses, items, bundle, scores, scores_from_leaderboard, split)
    data, groups = curve_data(inputs, folds, seed)
    # Before the work: is there so much to choose from?
    options.sizes(data.n_items)
    if budget is not None:
        check_listed(data.benchmark, budget)
    with _executor(workers, work, out or plot or items_out) as executor:
        found = item_curve(data, groups, options, executor=executor, progress=_Progress())
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else _text(found))
    if items_out is not None and budget is not None:
        kept = listed_items(data, cast("Any", order or "greedy"), budget, seed=seed)
        _write_list(inputs, kept, items_out)
        typer.echo(
            f"Wrote {items_out} for calibrate bundle --items. The same LLMs chose the items, so "
            "the errors that such a bundle tells are too small; those of calibrate bundle "
            f"--choose {budget} are not.",
            err=True,
        )
    if out is not None:
        _write(found, out)
        typer.echo(f"Wrote {out}", err=True)
    if plot is not None:
        from metabench_py.figures.panels import curve_lines
        from metabench_py.report.curve_figures import plot_curves

        plot_curves(*curve_lines(found.to_dict()), plot)
        typer.echo(f"Wrote {plot}", err=True)


def _budgets(text: str | None) -> tuple[int, ...]:
    """Split ``50,100,all``; 0 stands for all."""
    sizes = []
    for part in [] if text is None else text.split(","):
        one = part.strip()
        if one != "all" and not (one.isdecimal() and int(one)):
            raise InputError(f"--budgets {text}: give numbers of items, as in 50,100,all.")
        sizes.append(0 if one == "all" else int(one))
    return tuple(sizes)


def _check(
    out: Path | None,
    plot: Path | None,
    items_out: Path | None,
    budget: int | None,
    order: str | None,
) -> None:
    """Refuse what cannot be written before any work is done."""
    from metabench_py.calibration.item_orders import ITEM_ORDERS

    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, 1)
    for option, path, endings in (
        ("--out", out, (".csv", ".json")), ("--items-out", items_out, (".csv",)),
    ):  # fmt: skip
        if path is None:
            continue
        if path.suffix not in endings:
            raise InputError(
                f"{option} {path}: end its name in {' or '.join(endings)}.", path=str(path)
            )
        if path.is_dir():
            raise InputError(f"{option} {path}: that is a folder; name a file.", path=str(path))
    if (items_out is None) != (budget is None):
        raise InputError("--items-out and --budget go together: a file, and how many items.")
    if order is not None:
        if items_out is None:
            raise InputError("--order is the order of --items-out: name that file, too.")
        one_of("--order", order, ITEM_ORDERS)


def _inputs(
    responses: Path,
    items: Path | None,
    bundle: str | None,
    scores: Path | None,
    scores_from_leaderboard: bool,
    split: Path | None,
) -> CalibrationInputs:
    from metabench_py.bundle import load_bundle
    from metabench_py.calibration.inputs import load_inputs
    from metabench_py.calibration.item_list import items_of_bundle

    if (items is None) == (bundle is None):
        raise InputError("Give either --items (a table) or --bundle (whose items are taken).")
    return load_inputs(
        responses,
        scores,
        items_of_bundle(load_bundle(bundle)) if items is None else items,
        scores_from_leaderboard=scores_from_leaderboard,
        split=split,
    )


@contextlib.contextmanager
def _executor(workers: int | None, work: Path | None, beside: Path | None) -> Iterator[Executor]:
    """Open the workers; finished calls are kept if there is a place for them."""
    from metabench_py.calibration.work import finished_calls
    from metabench_py.compute import Journal, LocalPool, Place, open_executor

    near = beside or work
    if near is None:
        with LocalPool(workers) as pool:
            yield pool
        return
    modules = ("metabench_py.calibration.curve",)
    with (
        finished_calls("curve", modules, work, near) as journal,
        open_executor(Place(workers), near.parent / f".{near.name}.scratch") as executor,
        Journal(executor, journal) as keeper,
    ):
        yield keeper


class _Progress:
    """A bar that counts the calls."""

    def __init__(self) -> None:
        self._bar, self._at = Bar(), 0

    def __call__(self, what: str, number: int, total: int) -> None:
        if number == 0:
            self._bar.start(what, total, 0)
        self._bar.advance(done=number - self._at)
        self._at = number
        if number == total:
            self._bar.stop()


def _text(found: ItemCurve) -> str:
    head: tuple[object, ...] = (
        "order", "items", "grand", "90 % interval", *(TITLES[b] for b in BENCHMARKS),
    )  # fmt: skip
    rows = [head]
    for point in found.points:
        grand = point.errors["grand"]
        rows.append(
            (
                point.order, point.n_items, f"{grand.rmse:.3f}",
                f"{grand.lower:.3f} - {grand.upper:.3f}",
                *(f"{point.errors[b].rmse:.2f}" for b in BENCHMARKS),
            )
        )  # fmt: skip
    spread = ("standard deviation", "", f"{found.deviation['grand']:.3f}", "")
    rows.append((*spread, *(f"{found.deviation[b]:.2f}" for b in BENCHMARKS)))
    return "\n".join(
        [
            f"RMSE in score points on LLMs of other organisations: {found.n_llms} LLMs, "
            f"{found.n_groups} groups, {found.options.folds} folds",
            "",
            table(rows),
            "",
            "Intervals: organisations resampled; of random orders, what 90 % of the draws lie "
            "between. --json has those of the benchmarks.",
        ]
    )


def _write_list(inputs: CalibrationInputs, kept: Sequence[int], path: Path) -> None:
    from metabench_py.calibration.item_list import write_items

    known = [(b, item) for b in BENCHMARKS for item in inputs.items[b].items]
    chosen = {b: {known[i][1] for i in kept if known[i][0] == b} for b in BENCHMARKS}
    write_items(path, inputs.items, chosen)


def _write(found: ItemCurve, out: Path) -> None:
    from metabench_py.storage import write_json, write_text

    if out.suffix == ".json":
        write_json(out, found.to_dict())
        return
    stream = io.StringIO()
    rows = list(found.rows())
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out, stream.getvalue())
