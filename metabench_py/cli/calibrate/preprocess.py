"""``metabench-py calibrate preprocess``: leave out what cannot measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.calibration.item_statistics import ItemRule
    from metabench_py.calibration.ordering import Order
    from metabench_py.calibration.preprocess_folder import PreprocessReport


def preprocess_command(
    responses: Annotated[
        Path,
        typer.Option(
            help="Folder of <benchmark>.parquet, .csv or .csv.gz: LLMs x items, 0/1; MMLU also as "
            "mmlu_<subject>.csv."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    benchmark: Annotated[
        list[str] | None,
        typer.Option("--benchmark", help="Take this one; may be repeated. Left out: all."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Folder of <benchmark>-prompts.csv and so on (item, prompt): items with the "
            "prompt of an item before them are left out. Left out: looked for in --responses."
        ),
    ] = None,
    item_rule: Annotated[
        str,
        typer.Option(help="Discrimination: point-biserial, or original (which is lower for easy)."),
    ] = "point-biserial",
    order: Annotated[
        str,
        typer.Option(
            help="Order of LLMs where files are joined: c (by code points), or icu (as R's merge)."
        ),
    ] = "c",
    tail: Annotated[
        float,
        typer.Option(help="LLMs not above this quantile of the scores are left out; 0: nobody."),
    ] = 0.001,
    least_sd: Annotated[
        float, typer.Option(help="Items with a standard deviation up to this are left out.")
    ] = 0.01,
    easiest: Annotated[
        float, typer.Option(help="Items that a larger share of the LLMs got right are left out.")
    ] = 0.95,
    least_discrimination: Annotated[
        float, typer.Option(help="Items nearer to 0 than this are left out.")
    ] = 0.05,
    least_discrimination_of: Annotated[
        list[str] | None,
        typer.Option(
            help="The same for one benchmark, as NAME=VALUE; may be repeated. Left out: "
            "winogrande=0.02."
        ),
    ] = None,
    least_answered: Annotated[
        float, typer.Option(help="LLMs that answered a smaller share of the items are left out.")
    ] = 0.5,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw what each rule left out into this file (.png, .svg, .pdf)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a folder that is there.")] = (
        False
    ),
) -> None:
    """Leave out duplicate items, failed LLMs, and items that are flat, too easy or unrelated."""
    from metabench_py.calibration.preprocess import PreprocessOptions
    from metabench_py.calibration.preprocess_folder import preprocess_folder

    own = (
        {}
        if least_discrimination_of is None
        else {"discriminations": _limits(least_discrimination_of)}
    )
    options = PreprocessOptions(
        item_rule=cast("ItemRule", item_rule),
        order=cast("Order", order),
        tail=tail,
        least_sd=least_sd,
        easiest=easiest,
        least_discrimination=least_discrimination,
        least_answered=least_answered,
        **own,
    )
    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, 1)
    report = preprocess_folder(
        responses,
        out,
        options,
        benchmarks=benchmark or (),
        prompts=prompts,
        replace=replace,
        progress=_say,
    )
    if report.aside:
        typer.echo(f"Not read, being no matrices: {'; '.join(report.aside)}", err=True)
    if plot is not None:
        _plot(report, plot)
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else _table(report))
    typer.echo(f"Wrote {out}; next: metabench-py calibrate split --data {out}", err=True)


def _say(what: str, number: int, total: int) -> None:
    typer.echo(f"[{number}/{total}] {what}", err=True)


def _limits(words: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise InputError(
                f"--least-discrimination-of {word}: write NAME=VALUE, as in winogrande=0.02."
            ) from None
    return found


def _plot(report: PreprocessReport, path: Path) -> None:
    from metabench_py.report.item_figures import ItemPanel, plot_items

    panels = [
        ItemPanel(name, table.sd, table.difficulty, table.discrimination, table.reason)
        for name, table in report.items.items()
    ]
    plot_items(panels, path)
    typer.echo(f"Drew {path}", err=True)


def _table(report: PreprocessReport) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    llms = [
        ("LLMs", "read", "incomplete", "tail", "kept"),
        *(
            (TITLES.get(name, name), b["llms_read"], b["llms_incomplete"], b["llms_tail"],
             b["llms_kept"])
            for name, b in report.benchmarks.items()
        ),
    ]  # fmt: skip
    rules = ("duplicate", "variance", "too_easy", "low_disc")
    items: list[tuple[Any, ...]] = [
        ("items", "read", *(r.replace("_", " ") for r in rules), "kept")
    ]
    for name, b in report.benchmarks.items():
        # Without prompts nobody looked for duplicates.
        first = "?" if b["prompts_missing"] is None else b["duplicate"]
        counts = (first, *(b[rule] for rule in rules[1:]))
        items.append((TITLES.get(name, name), b["items_read"], *counts, b["items_kept"]))
    lines = [table(llms), "", table(items), ""]
    missing = sum(b["answers_missing"] for b in report.benchmarks.values())
    if any(b["prompts_missing"] is None for b in report.benchmarks.values()):
        lines.append("?: no prompts there, so duplicates were not looked for.")
    if missing:
        lines.append(f"{missing} answers are missing; they count as neither right nor wrong.")
    lines.append(f"{report.n_common} of {report.n_llms} LLMs are in all of them.")
    return "\n".join(lines)
