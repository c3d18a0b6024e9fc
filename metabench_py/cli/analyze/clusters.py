"""``metabench-py analyze clusters``: items drawn from clusters of item parameters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from metabench_py.benchmarks import ITEM_TYPES, ItemType, ScoreMethod
from metabench_py.cli.analyze.study_options import (
    Benchmarks,
    Folds,
    Out,
    Plot,
    Responses,
    Scores,
    Seed,
    Split,
    Workers,
    check_files,
    open_studies,
    points,
    working,
    write_rows,
)
from metabench_py.cli.options import Json, Trust, one_of
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metabench_py.analysis.cluster_joint import JointStudy
    from metabench_py.analysis.clusters import ClusterStudy
    from metabench_py.analysis.study_data import StudyData
    from metabench_py.irt.model import ItemParameters

# Those that are finite for every LLM.
_METHODS = ("MAP", "EAP", "EAPsum")


def clusters_command(
    responses: Responses,
    scores: Scores = None,
    split: Split = None,
    benchmark: Benchmarks = None,
    items: Annotated[
        int | None, typer.Option(help="Items to choose. Default: half of the matrix's.")
    ] = None,
    clusters: Annotated[
        list[int] | None,
        typer.Option(help="Clusters to try; may be given again. Default: 10, 15, 20, 25, 30."),
    ] = None,
    item_type: Annotated[
        list[str] | None,
        typer.Option(help="2PL, 3PL or 4PL: model to try; may be given again. Default: all three."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="EAP, MAP, EAPsum: ability estimate to try; may be given again. Default: EAP, MAP."
        ),
    ] = None,
    scaling: Annotated[
        Literal["standard", "raw"],
        typer.Option(help="Parameters by their standard deviations, or (as the original) raw."),
    ] = "standard",
    bundle: Annotated[
        str | None,
        typer.Option(
            help="Cluster by the parameters of this bundle (folder or name), which may have seen "
            "LLMs held out. Default: fitted on the LLMs that choose."
        ),
    ] = None,
    trust: Trust = False,
    mode: Annotated[
        Literal["converged", "mirt-path"], typer.Option(help="How models are fitted.")
    ] = "converged",
    starts: Annotated[int, typer.Option(help="Of k-means; the best counts.")] = 25,
    draws: Annotated[int, typer.Option(help="Random subsets to compare with.")] = 5,
    folds: Folds = 5,
    seed: Seed = 1,
    workers: Workers = None,
    out: Out = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Cluster items by their parameters, draw some of each, and see what they tell."""
    check_files(out, plot)
    from metabench_py.analysis.cluster_choice import ClusterOptions
    from metabench_py.analysis.cluster_joint import enough_for_joint, joint_recovery
    from metabench_py.analysis.clusters import cluster_folds, judge_clusters

    types = tuple(one_of("--item-type", one, ITEM_TYPES) for one in item_type or ITEM_TYPES)
    methods = tuple(one_of("--method", one, _METHODS) for one in method or ("EAP", "MAP"))
    options = ClusterOptions(
        items, tuple(clusters or ()), cast("tuple[ItemType, ...]", types),
        cast("tuple[ScoreMethod, ...]", methods), scaling, starts, draws, mode=mode, seed=seed,
    )  # fmt: skip
    data = open_studies(responses, scores, split, benchmark, folds, seed)
    given = None if bundle is None else _parameters(bundle, trust, data)
    if given is not None:
        typer.echo(
            "Note: item parameters of a bundle may come of LLMs that are held out here; clusters "
            "then look better than they are.",
            err=True,
        )
    with working("clusters", workers) as (executor, progress):
        found = cluster_folds(data, options, given, executor=executor, progress=progress)
    joint, reason = None, enough_for_joint(data)
    if reason is None:
        with working("joint GAMs", workers) as (executor, progress):
            joint = joint_recovery(data, found, executor=executor, progress=progress)
    elif len(data) > 1:
        typer.echo(f"Note: {reason}", err=True)
    studies = {name: judge_clusters(one, options, found[name]) for name, one in data.items()}
    if as_json:
        value = {
            "schema": 1,
            "parameters": "fitted" if bundle is None else bundle,
            "benchmarks": {name: one.to_dict() for name, one in studies.items()},
            "joint": None if joint is None else joint.to_dict(),
        }
        typer.echo(json.dumps(value, indent=2))
    else:
        typer.echo(_text(studies, joint))
    if out is not None:
        write_rows(_rows(studies), out)
    if plot is not None:
        from metabench_py.figures.panels import cluster_panel
        from metabench_py.report.cluster_figures import plot_clusters

        pairs = None
        if joint is not None:
            pairs = {one.target: (one.separate, one.joint) for one in joint.recovered}
        plot_clusters([cluster_panel(name, one) for name, one in studies.items()], pairs, plot)
        typer.echo(f"Wrote {plot}", err=True)


def _parameters(
    name: str, trust: bool, data: Mapping[str, StudyData]
) -> dict[str, tuple[ItemParameters, ItemType]]:
    from metabench_py.reconstruction.api import open_bundle

    loaded = open_bundle(name, None, trust)
    models = {str(b): (m.parameters, m.item_type) for b, m in loaded.benchmarks.items()}
    absent = [one for one in data if one not in models]
    if absent:
        raise InputError(
            f"The bundle {loaded.name} has no item parameters of {', '.join(absent)}; leave "
            "--bundle out to fit them.",
            benchmarks=absent,
        )
    return {one: models[one] for one in data}


def _text(studies: dict[str, ClusterStudy], joint: JointStudy | None) -> str:
    from metabench_py.benchmarks import TITLES
    from metabench_py.cli.progress import table

    lines = []
    for name, one in studies.items():
        about, best = one.data.about(), one.best
        lines.append(
            f"{TITLES.get(name, name)}: {one.n_items} of {about['n_items']} items, "
            f"{about['n_llms']} LLMs; chosen on all of them: {best.n_clusters} clusters, "
            f"{best.item_type}, {best.method}; in folds: "
            + ", ".join(f"{t.n_clusters} {t.item_type} {t.method}" for t in one.folds)
            + "."
        )
        rows: list[tuple[object, ...]] = [
            ("items", "RMSE held out", "MAE", "Spearman", "sd of draws", "RMSE test")
        ]
        for way in one.judged:
            errors = way.held_out
            rows.append(
                (
                    way.selection, points(errors.rmse), points(errors.mae),
                    "" if errors.spearman is None else f"{errors.spearman:.4f}",
                    points(way.spread), "" if way.test is None else points(way.test.rmse),
                )
            )  # fmt: skip
        lines += [table(rows), ""]
    if joint is not None:
        rows = [(f"all together, {joint.n_llms} LLMs", "own items", "joint", "in sample", "test")]
        rows += [
            (
                TITLES.get(r.target, r.target), points(r.separate), points(r.joint),
                points(r.train), points(r.test),
            )
            for r in joint.recovered
        ]  # fmt: skip
        lines += [table(rows), ""]
    lines.append(
        "RMSE in points on LLMs of other organisations; random and information: as many items, "
        "drawn at random (mean) or by the information filter."
    )
    return "\n".join(lines)


def _rows(studies: dict[str, ClusterStudy]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, one in studies.items():
        order = {item: i for i, item in enumerate(one.items)}
        at = one.parameters
        for i, item in enumerate(at.items):
            rows.append(
                {
                    "benchmark": name, "item": item, "cluster": int(one.label[i]),
                    "a1": at.a1[i], "d": at.d[i], "g": at.g[i], "u": at.u[i],
                    "drawn": order.get(item),
                }
            )  # fmt: skip
    return rows
