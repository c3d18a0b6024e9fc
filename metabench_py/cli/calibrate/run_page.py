"""The summary page of a run: what each stage did, in tables and figures."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench_py.report.page import Section
from metabench_py.report.page import write_page as write_html

if TYPE_CHECKING:
    from metabench_py.calibration.run import RunReport


def write_page(report: RunReport) -> None:
    """Write it to the run's place for it, whatever is there: it may be of other settings."""
    config = report.config
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sections = [
            _stages(report),
            *_preprocess(report, folder),
            *_subsample(report),
            *_fit(report),
            *_select(report, folder),
            *_bundle(report),
            Section(
                "Settings",
                tuple(
                    f"{stage}: {json.dumps(values, sort_keys=True)}"
                    for stage, values in config.settings().items()
                ),
            ),
        ]
        write_html(config.page, f"Calibration: {config.general.name or config.out.name}", sections)


def _stages(report: RunReport) -> Section:
    # Not whether it was found: the page of a second run is that of the first.
    rows = [("stage", "seconds", "key"), *((d.name, d.seconds, d.key[:12]) for d in report.stages)]
    result = "bundle" if report.makes_bundle else "folder of selected items (no bundle: that takes"
    end = "." if report.makes_bundle else " the six benchmarks)."
    return Section("Stages", (f"The result is the {result}{end}",), tuple(rows))


def _preprocess(report: RunReport, folder: Path) -> list[Section]:
    found = report.summary("preprocess")
    rules = ("duplicate", "variance", "too_easy", "low_disc")
    head = ("benchmark", "LLMs", "kept", "items", *(r.replace("_", " ") for r in rules), "kept")
    rows: list[tuple[object, ...]] = [head]
    for name, b in found.get("benchmarks", {}).items():
        counts = (b[rule] for rule in rules)
        rows.append(
            (name, b["llms_read"], b["llms_kept"], b["items_read"], *counts, b["items_kept"])
        )
    return [
        Section("What preprocessing left out", (), tuple(rows), _item_figure(report, folder)),
    ]


def _item_figure(report: RunReport, folder: Path) -> Path:
    import pandas as pd

    from metabench_py.report.item_figures import ItemPanel, plot_items

    stage = report.folder("preprocess")
    assert stage is not None
    table = pd.read_parquet(stage / "items.parquet")
    panels = [
        ItemPanel(
            str(name),
            sd=part["sd"].to_numpy(float),
            difficulty=part["difficulty"].to_numpy(float),
            discrimination=part["discrimination"].to_numpy(float),
            reason=part["reason"].to_numpy(str),
        )
        for name, part in table.groupby("benchmark", sort=False)
    ]
    path = folder / "items.png"
    plot_items(panels, path)
    return path


def _subsample(report: RunReport) -> list[Section]:
    found = report.summary("subsample")
    rows: list[tuple[object, ...]] = [
        ("benchmark", "items", "of", "subset", "largest RMSE", "its median", "RMSE test")
    ]
    for name, b in found.get("benchmarks", {}).items():
        rows.append(
            (
                name, b["items_chosen"], b["items"], b["chosen_subset"],
                b["minimax_rmse_validation"], b["median_minimax_rmse_validation"],
                b["mean_rmse_test"],
            )
        )  # fmt: skip
    return [Section("The best random subset", (), tuple(rows))] if found else []


def _fit(report: RunReport) -> list[Section]:
    found = report.summary("fit")
    if not found:
        return []
    rows: list[tuple[object, ...]] = [
        ("benchmark", "model", "AIC", "BIC", "method", "RMSE train", "RMSE test")
    ]
    for name, models in found["benchmarks"].items():
        for model, b in models.items():
            for method, way in b["recovery"].items():
                test = (way["test"] or {}).get("rmse")
                rows.append((name, model, b["aic"], b["bic"], method, way["train"]["rmse"], test))
    return [Section("Models of all items", (), tuple(rows))]


def _select(report: RunReport, folder: Path) -> list[Section]:
    found = report.summary("select")
    rows: list[tuple[object, ...]] = [
        ("benchmark", "items", "of", "model", "method", "grid", "RMSE all items", "RMSE",
         "RMSE test", "rank corr. test")
    ]  # fmt: skip
    notes = []
    for name, b in found.get("benchmarks", {}).items():
        errors, choice = b["errors"], b["choice"]
        test: dict[str, Any] = errors["test"] or {}
        rows.append(
            (
                name, b["n_items"], b["n_available"], choice["item_type"], choice["method"],
                choice["grid"], errors["all_items_validation"]["rmse"],
                errors["validation"]["rmse"], test.get("rmse"), test.get("spearman"),
            )
        )  # fmt: skip
        notes += b["warnings"]
    text = (f"{found.get('n_items', 0)} items in all. RMSE in score points.", *notes)
    return [Section("Selected items", text, tuple(rows), _recovery_figure(report, folder))]


def _recovery_figure(report: RunReport, folder: Path) -> Path | None:
    import pandas as pd

    from metabench_py.report.recovery_figures import RecoveryPanel, plot_recovery

    stage = report.folder("select")
    assert stage is not None
    table = pd.read_parquet(stage / "llms.parquet")
    panels = []
    for name, part in table.groupby("benchmark", sort=False):
        which = "test" if (part["set"] == "test").any() else "validation"
        held = part[part["set"] == which]
        panels.append(
            RecoveryPanel(str(name), held["score"].to_numpy(), held["predicted"].to_numpy(), which)
        )
    path = folder / "recovery.png"
    plot_recovery(panels, path)
    return path


def _bundle(report: RunReport) -> list[Section]:
    if not report.makes_bundle:
        return []
    from metabench_py.benchmarks import TITLES
    from metabench_py.bundle import load_bundle

    bundle = load_bundle(report.config.out)
    rows: list[tuple[object, ...]] = [("target", "LLMs", "RMSE, cross-validated", "mean error")]
    for target, errors in bundle.errors.items():
        rows.append(
            (
                TITLES[target],
                len(errors.error),
                float((errors.error**2).mean() ** 0.5),
                float(errors.error.mean()),
            )
        )
    return [Section("Errors of the bundle on LLMs of other organisations", (), tuple(rows))]
