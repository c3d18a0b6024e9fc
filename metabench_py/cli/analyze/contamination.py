"""``metabench-py analyze contamination``: whether a model knows items by heart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench_py.benchmarks import VERSIONS, Version
from metabench_py.cli.analyze.study_options import check_seed
from metabench_py.cli.options import Json, Metrics, Trust
from metabench_py.errors import BundleError, InputError

if TYPE_CHECKING:
    from metabench_py.analysis.contamination import Contamination
    from metabench_py.analysis.null_runs import Run
    from metabench_py.bundle import Bundle
    from metabench_py.logs import ModelLogs

_KINDS = ("A", "A-permuted", "B", "B-permuted")


def contamination_command(
    model: Annotated[
        str, typer.Argument(help="Folder of logs, or its name in --results, or the model's id.")
    ],
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run", help=f"{', '.join(_KINDS)}; may be given again. Default: all in the logs."
        ),
    ] = None,
    results: Annotated[Path, typer.Option(help="lm-eval's output folder.")] = Path(
        "harness-results"
    ),
    bundle: Annotated[
        list[str] | None,
        typer.Option(help="Folder or name; again for the other version. Default: the installed."),
    ] = None,
    trust: Trust = False,
    metric: Metrics = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Check although items lack an answer.")
    ] = False,
    alarm_rate: Annotated[
        float, typer.Option(help="Share of clean LLMs that may raise an alarm.")
    ] = 0.01,
    simulations: Annotated[int, typer.Option(help="Simulated clean LLMs.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="Draw abilities and differences (.png, .svg, .pdf).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a model's runs (A, B, plain, permuted) for items that it knows by heart."""
    if plot is not None:
        from metabench_py.report.figures import check_plot

        check_plot(plot, 1)
    check_seed(seed)
    odd = next((kind for kind in run or () if kind not in _KINDS), None)
    if odd is not None:
        raise InputError(f"--run {odd}: choose {', '.join(_KINDS)}.")
    from metabench_py.analysis.contamination import check_contamination
    from metabench_py.cli.analyze.scoring import BundleScorer
    from metabench_py.logs import find_model

    found = find_model(model, results)
    bundles, runs = _runs(
        found, run or [], _given(bundle or [], trust), metric or [], allow_missing
    )
    checked = check_contamination(
        runs,
        {version: BundleScorer(one) for version, one in bundles.items()},
        alarm_rate=alarm_rate,
        n_simulations=simulations,
        seed=seed,
    )
    if as_json:
        head = {"model": found.model, "bundles": {v: one.name for v, one in bundles.items()}}
        typer.echo(json.dumps(head | checked.to_dict(), indent=2))
    else:
        typer.echo(_text(found.model, checked))
    if plot is not None:
        _draw(found.model, checked, plot)
        typer.echo(f"Wrote {plot}", err=True)


def _given(names: list[str], trust: bool) -> dict[Version, Bundle]:
    from metabench_py.reconstruction.api import open_bundle

    found: dict[Version, Bundle] = {}
    for name in names:
        one = open_bundle(name, None, trust)
        version: Version = "B" if one.version == "B" else "A"
        if version in found:
            raise InputError(f"--bundle {name}: a bundle of version {version} is given already.")
        found[version] = one
    return found


def _runs(
    found: ModelLogs,
    wanted: list[str],
    bundles: dict[Version, Bundle],
    metrics: list[str],
    allow_missing: bool,
) -> tuple[dict[Version, Bundle], list[Run]]:
    from metabench_py.analysis.null_runs import Run
    from metabench_py.reconstruction.api import LogReader, open_bundle

    there = {
        (log.version, log.permuted)
        for log in found.logs
        if log.permuted or log.benchmark != "gsm8k"
    }
    used: dict[Version, Bundle] = {}
    runs: list[Run] = []
    for version in VERSIONS:
        for permuted in (False, True):
            label = f"{version}-permuted" if permuted else version
            if wanted and label not in wanted:
                continue
            if not wanted and (version, permuted) not in there:
                continue
            if version not in used:
                try:
                    used[version] = bundles.get(version) or open_bundle(None, version)
                except BundleError as error:
                    if wanted:
                        raise
                    typer.echo(f"Note: the run {label} is left aside. {error}", err=True)
                    continue
            reader = LogReader(
                used[version], permuted=permuted, metrics=metrics, allow_missing=allow_missing
            )
            read = reader(found)
            for flag, detail in read.flags:
                typer.echo(f"Note ({flag}): {label}: {detail}", err=True)
            runs.append(Run(version, permuted, read.values))
    if len(runs) < 2:
        raise InputError(
            f"{len(runs)} of the runs in {found.folder} {'was chosen' if wanted else 'is usable'}; "
            "the check needs two: plain "
            "and permuted of one version (lm-eval on metabench_secondary and "
            "metabench_secondary_permute), or both versions.",
            path=str(found.folder),
        )
    return used, runs


def _text(model: str, checked: Contamination) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    lines = [f"{model}: {', '.join(checked.runs)}"]
    for one in checked.suspicions:
        rows: list[tuple[object, ...]] = [
            (f"{one.suspect} less {one.reference}", "ability", "se", "z", "p", "score", "se",
             "flips", "p", f"lz {one.suspect}", "p")
        ]  # fmt: skip
        for benchmark, ability in one.abilities.items():
            score = one.scores[benchmark]
            flips = one.flips.get(benchmark)
            fit = checked.person_fit[one.suspect][benchmark]
            counts = f"{len(flips.plain_only)}:{len(flips.permuted_only)}" if flips else ""
            rows.append(
                (
                    TITLES[benchmark], f"{ability.difference:+.2f}", f"{ability.se:.2f}",
                    f"{ability.z:+.2f}", f"{ability.p_value:.3f}", f"{score.difference:+.1f}",
                    f"{score.se:.1f}", counts, f"{flips.p_value:.3f}" if flips else "",
                    f"{fit.lz:+.2f}", f"{fit.p_value:.3f}",
                )
            )  # fmt: skip
        grand = one.scores["grand"]
        rows.append(
            ("All", "", "", f"{one.pooled:+.2f}", f"{one.p_pooled:.4f}",
             f"{grand.difference:+.1f}", f"{grand.se:.1f}", "", "", "", "")
        )  # fmt: skip
        lines += ["", table(rows)]
        if one.unchanged:
            same = ", ".join(TITLES[b] for b in one.unchanged)
            lines.append(f"The same answers in both orders, hence left aside: {same}.")
    share, lower, upper = checked.false_alarms
    sure = ", ".join(f"{100 * m:g} %: {p:.2f}" for m, p in checked.power.items())
    suspects = sorted({one.suspect for one in checked.suspicions if one.alarm})
    verdict = (
        f"ALARM: {', '.join(suspects)} looks memorised"
        if checked.verdict == "alarm"
        else "No sign of contamination"
    )
    lines += [
        "",
        f"{verdict} (p = {checked.p_value:.4f}, all tests together).",
        f"Clean LLMs raise an alarm at a rate of {100 * share:.2f} % (95 % interval "
        f"{100 * lower:.2f} to {100 * upper:.2f}; {checked.n_simulations} simulated).",
        f"LLMs that know a share of the items by heart: {sure}.",
    ]
    return "\n".join(lines)


def _draw(model: str, checked: Contamination, path: Path) -> None:
    import numpy as np

    from metabench_py.report.contamination_figures import SuspicionRow, plot_contamination

    rows = [
        SuspicionRow(
            f"{one.suspect} less\n{one.reference}",
            np.array([ability.z for ability in one.abilities.values()]),
            one.pooled,
            one.alarm,
            checked.null_pooled[:, i],
        )
        for i, one in enumerate(checked.suspicions)
    ]
    abilities = {run: {str(b): v for b, v in own.items()} for run, own in checked.abilities.items()}
    plot_contamination(abilities, rows, model, path)
