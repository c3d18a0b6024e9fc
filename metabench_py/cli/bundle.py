"""``metabench-py bundle``: show, verify, export, import, pull."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from metabench_py.benchmarks import TITLES, VERSIONS, Version
from metabench_py.errors import InputError

bundle_app = typer.Typer(
    name="bundle", help="Look at, check, convert and get bundles.", no_args_is_help=True
)

BundleArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[BUNDLE]", help="Folder or name (default, B-200); default if left out."
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Vouch for .rds files that the package does not know.")
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Take the place of what is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
VersionOption = Annotated[str, typer.Option("--version", help="A or B, the original's names.")]


@bundle_app.command()
def show(
    bundle: BundleArgument = None, as_json: JsonOption = False, trust: TrustOption = False
) -> None:
    """Show what a bundle holds and where it comes from."""
    from metabench_py.bundle import load_bundle

    loaded = load_bundle(bundle, trust)
    summary = {
        **{k: v for k, v in loaded.manifest.items() if k != "files"},
        "path": str(loaded.path),
        "sha256": loaded.sha256,
        "rds": sorted(loaded.rds),
        "rds_untrusted": sorted(loaded.rds_untrusted),
        "population": sorted(loaded.population),
    }
    typer.echo(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else _text(summary))


@bundle_app.command()
def verify(
    bundle: BundleArgument = None, as_json: JsonOption = False, trust: TrustOption = False
) -> None:
    """Check every file, path and number; exit code 1 if something is wrong."""
    from metabench_py.bundle import resolve_bundle
    from metabench_py.bundle.verify import verify_bundle

    path = resolve_bundle(bundle)
    checks = []
    for check in verify_bundle(path, trust):
        checks.append(check)
        if not as_json:
            typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.what}: {check.detail}")
    ok = all(check.ok for check in checks)
    if as_json:
        rows = [{"what": c.what, "ok": c.ok, "detail": c.detail} for c in checks]
        typer.echo(json.dumps({"path": str(path), "ok": ok, "checks": rows}, indent=2))
    elif ok:
        typer.echo(f"{path}: all {len(checks)} checks passed")
    if not ok:
        raise typer.Exit(1)


@bundle_app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    bundle: BundleArgument = None,
    kind: Annotated[
        str, typer.Option("--as", help="csv (tables for people) or bundle (a copy).")
    ] = "csv",
    replace: ReplaceOption = False,
) -> None:
    """Write a bundle as CSV and JSON tables, or copy it."""
    from metabench_py.bundle import load_bundle, resolve_bundle
    from metabench_py.bundle.export import copy_bundle, export_tables

    if kind == "csv":
        export_tables(load_bundle(bundle), out, replace)
    elif kind == "bundle":
        copy_bundle(resolve_bundle(bundle), out, replace)
    else:
        raise InputError(f"--as {kind}: choose csv or bundle.", argument="as")
    typer.echo(f"Wrote {out}", err=True)


@bundle_app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds analysis/.")],
    version: VersionOption,
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to make.")],
    trust: TrustOption = False,
    replace: ReplaceOption = False,
) -> None:
    """Make a bundle of the original's released .rds files (needs R with mgcv, not mirt)."""
    from metabench_py.bundle.upstream import import_upstream

    import_upstream(source, _version(version), out, trust=trust, replace=replace, progress=_say)
    typer.echo(f"Wrote {out}; use it with --bundle {out}", err=True)


@bundle_app.command()
def pull(
    version: VersionOption,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Bundle folder; the user's data folder if left out."),
    ] = None,
    downloads: Annotated[
        Path | None, typer.Option("--downloads", help="Where to keep the downloaded files.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Another server (mirror) that has GitHub's raw paths."),
    ] = None,
    replace: ReplaceOption = False,
) -> None:
    """Download the original's released files at the pinned commit and import them."""
    from metabench_py.bundle.pull import pull_bundle

    path = pull_bundle(
        _version(version), out, downloads=downloads, address=address, replace=replace, progress=_say
    )
    typer.echo(f"Wrote {path}; `reconstruct MODEL {version}` finds it there", err=True)


def _say(what: str, number: int, total: int) -> None:
    typer.echo(f"[{number}/{total}] {what}", err=True)


def _version(text: str) -> Version:
    for version in VERSIONS:
        if text.upper() == version:
            return version
    raise InputError(f"--version {text}: choose {' or '.join(VERSIONS)}.", argument="version")


def _text(summary: dict[str, Any]) -> str:
    rows = [("benchmark", "items", "model", "ability", "metric", "fitted by", "LLMs")]
    for name, about in summary["benchmarks"].items():
        fit = about.get("fit", {})
        engine = " ".join(str(fit[k]) for k in ("engine", "mode") if fit.get(k))
        rows.append(
            (
                TITLES[name],
                str(about["n_items"]),
                about["item_type"],
                about["score_method"],
                about["metric"],
                engine or "unknown",
                str(fit.get("n_llms", "")),
            )
        )
    total = sum(about["n_items"] for about in summary["benchmarks"].values())
    rows.append(("all six", str(total), "", "", "", "", ""))
    lines = [
        f"{summary['name']}  (version {summary['version']}, schema {summary['schema']})",
        f"folder   {summary['path']}",
        f"sha256   {summary['sha256']}",
        f"licence  {summary['licence']}",
        f"errors   {summary['errors_kind']}",
        "",
        *_table(rows),
        "",
        *_stages(summary),
        "provenance",
        *_provenance(summary["provenance"]),
    ]
    return "\n".join(lines)


def _stages(summary: dict[str, Any]) -> list[str]:
    """Errors and intervals of every second stage, by both kinds of folds."""
    from metabench_py.bundle.folder import stages_of

    known = [
        (stage["name"] + (", the default" if not number else ""), stage)
        for number, stage in enumerate(stages_of(summary))
    ]
    lines = []
    for name, stage in known:
        fit = {"gam": "mgcv::gam", "fast-gam": "mgcv::bam"}.get(stage["fit"], stage["fit"])
        lines += [f"second stage {name} ({fit})", *_table(_errors(stage, summary)), ""]
    singles = summary.get("single_stages", {})
    if singles:
        head = _errors(next(iter(singles.values())), summary)[0]
        rows = [
            head,
            *(row for one in singles.values() for row in _errors(one, summary, "alone")[1:]),
        ]
        lines += ["one benchmark alone", *_table(rows), ""]
    return lines


def _errors(
    stage: dict[str, Any], summary: dict[str, Any], alone: str = ""
) -> list[tuple[str, ...]]:
    level = next((one.get("level") for one in stage.get("evaluation", {}).values()), 0.9)
    rows: list[tuple[str, ...]] = [
        (
            "target", "folds", "LLMs", "RMSE", "MAE", f"{100 * level:g} % covers", "mean width",
            "predicted from", "to", "R fit",
        )
    ]  # fmt: skip
    has_gam = stage["name"] == "gam" and not alone
    for target, about in stage.get("targets", summary["targets"]).items():
        rds = ""
        if has_gam:
            rds = "yes" if target in summary["rds"] else "no"
            rds = "not vouched for" if target in summary["rds_untrusted"] else rds
        bounds = (
            _number(about.get("predicted_lower"), 1),
            _number(about.get("predicted_upper"), 1),
        )
        title = f"{TITLES[target]} {alone}".rstrip()
        kinds = stage.get("evaluation", {})
        if not kinds:
            count, rmse = str(about.get("n_errors", "")), _number(about.get("rmse"), 3)
            rows.append((title, "", count, rmse, "", "", "", *bounds, rds))
        for kind, found in kinds.items():
            one = found["targets"][target]
            rows.append(
                (
                    title, kind, str(one["n"]), _number(one["rmse"], 3), _number(one["mae"], 3),
                    f"{100 * one['coverage']:.1f} %", _number(one["width"], 2), *bounds, rds,
                )
            )  # fmt: skip
            title, bounds, rds = "", ("", ""), ""
    return rows


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _provenance(provenance: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in provenance.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"  {key}: {text}")
    return lines


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else ""
