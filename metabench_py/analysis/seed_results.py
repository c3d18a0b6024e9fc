"""What calibrations with several seeds and settings left in their folders, as rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metabench_py.analysis.factors import rank_correlation
from metabench_py.analysis.group_tests import json_values
from metabench_py.analysis.split_names import SplitLetters, SplitParts, parts_of
from metabench_py.calibration.tables import read_table
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

StageOfRow = Literal["select", "fit", "bundle"]
_STAGES: tuple[Literal["fit", "select"], ...] = ("fit", "select")
_SELECT = ("choice", "errors", "n_items", "n_available")


@dataclass(frozen=True)
class SeedRow:
    """One benchmark of one result.

    Attributes
    ----------
    source
        Folder.
    stage
        ``select``: selected items; ``fit``: all items of the matrices; ``bundle``: the second
        stage, which sees the abilities of all benchmarks.
    split
        Which LLMs were held out: the seed of the split where a run tells it, the name that the
        user gave, or a letter, the same for the same LLMs.
    seed
        Of selection (validation LLMs and search); None: not told.
    options
        What the result was asked for, as JSON values, without the seed.
    benchmark
        ``grand`` for the mean of all.
    n_items, n_available
        Items, and out of how many.
    rmse_validation
        Of the LLMs by which the selection was chosen; NaN: there are none.
    judged
        On whom the next three are: ``test``, ``validation`` or ``cross-validated``.
    rmse, mae, spearman
        Of reconstructed and true score, in points; rank correlation.
    n_llms
        LLMs that judged.
    """

    source: str
    stage: StageOfRow
    split: str
    seed: int | None
    options: Mapping[str, Any]
    benchmark: str
    item_type: str
    method: str
    grid: str
    threshold: float
    n_items: int
    n_available: int
    rmse_validation: float
    judged: str
    rmse: float
    mae: float
    spearman: float
    n_llms: int

    @property
    def penalty(self) -> float | None:
        """Score points an item, of a selection."""
        value = self.options.get("penalty")
        return None if value is None else float(value)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null."""
        known = json_values(asdict(self))
        return {**known, "options": dict(self.options)}


def load_results(inputs: Sequence[str]) -> tuple[SeedRow, ...]:
    """Read the results of several calibrations.

    Parameters
    ----------
    inputs
        Folders that ``calibrate select`` or ``calibrate fit`` made, bundles, or work folders of
        ``calibrate run`` (all finished stages in them); ``NAME=FOLDER`` names the split.

    Raises
    ------
    InputError
        A folder is none of these, is damaged, or two results of the same seed and settings
        differ.
    """
    letters = SplitLetters()
    rows: list[SeedRow] = []
    for text in inputs:
        name, folder = _named(text)
        rows += _of_folder(folder, name, letters)
    return _without_copies(rows)


def _named(text: str) -> tuple[str | None, Path]:
    name, sign, rest = text.partition("=")
    if sign and not rest:
        raise InputError(f"{text}: no folder follows the name; give NAME=FOLDER.", path=text)
    if sign and name and not Path(text).exists():
        return name, Path(rest)
    return None, Path(text)


def _of_folder(folder: Path, name: str | None, letters: SplitLetters) -> Iterator[SeedRow]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.", path=str(folder))
    if (folder / "manifest.json").is_file():
        yield from _bundle(folder, name, letters)
        return
    if (folder / "summary.json").is_file():
        yield from _stage(folder, name, letters, ())
        return
    stages = [
        one
        for one in sorted(folder.glob("*-*"))
        if (one / "stage.json").is_file() and not one.name.startswith(".")
    ]
    splits = list(_splits(stages))
    finished = [one for one in stages if any(one.name.startswith(f"{kind}-") for kind in _STAGES)]
    bundles = [one / "bundle" for one in stages if (one / "bundle" / "manifest.json").is_file()]
    if not finished and not bundles:
        raise InputError(
            f"{folder} holds no result of calibrate select, fit or run (no summary.json, no "
            "manifest.json, no finished stage); give the --out of select or fit, a bundle, or the "
            "work folder of a run.",
            path=str(folder),
        )
    for one in finished:
        yield from _stage(one, name, letters, splits)
    for one in bundles:
        yield from _bundle(one, name, letters)


def _splits(stages: Sequence[Path]) -> Iterator[tuple[SplitParts, str]]:
    """Give the LLMs of each split of a run, and its seed."""
    for folder in stages:
        settings = _json(folder / "stage.json").get("settings", {})
        if folder.name.startswith("split-") and "seed" in settings:
            yield (
                parts_of(read_table(folder / "split.parquet", ("name", "split")), "split"),
                str(settings["seed"]),
            )


def _stage(
    folder: Path, name: str | None, letters: SplitLetters, splits: Sequence[tuple[SplitParts, str]]
) -> Iterator[SeedRow]:
    found = _json(folder / "summary.json")
    known, options = found.get("benchmarks"), found.get("options")
    if not isinstance(known, dict) or not isinstance(options, dict) or not known:
        raise _foreign(folder)
    llms = read_table(folder / "llms.parquet", ("benchmark", "name", "set", "score", "predicted"))
    options = dict(options)
    seed = options.pop("seed", None)
    parts = parts_of(llms, "set")
    split = (
        name
        or next((seed for known_parts, seed in splits if known_parts.agrees(parts)), None)
        or letters.of(parts)
    )
    for benchmark, one in known.items():
        of = llms[llms["benchmark"] == benchmark]
        base: dict[str, Any] = {
            "source": str(folder),
            "split": split,
            "benchmark": str(benchmark),
        }
        try:
            if "best" in found:
                yield from _models(base, one, of, options)
            else:
                yield _selected(base, one, of, options, seed)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _foreign(folder) from error


def _selected(
    base: dict[str, Any], one: Mapping[str, Any], llms: DataFrame, options: dict[str, Any],
    seed: int | None,
) -> SeedRow:  # fmt: skip
    choice = one["choice"]
    judged = "test" if one["errors"]["test"] is not None else "validation"
    return SeedRow(
        **base,
        stage="select",
        seed=seed,
        options=options,
        item_type=choice["item_type"],
        method=choice["method"],
        grid=choice["grid"],
        threshold=float(choice["threshold"]),
        n_items=int(one["n_items"]),
        n_available=int(one["n_available"]),
        rmse_validation=float(one["errors"]["validation"]["rmse"]),
        judged=judged,
        **_errors(base, llms[llms["set"] == judged]),
    )


def _models(
    base: dict[str, Any], models: Mapping[str, Any], llms: DataFrame, options: dict[str, Any]
) -> Iterator[SeedRow]:
    # Every model and method is in the table, so that their lists tell nothing.
    few = {k: v for k, v in options.items() if k not in ("item_types", "methods")}
    for model, one in models.items():
        for method, way in one["recovery"].items():
            if way["test"] is None:
                continue
            of = llms[(llms["model"] == model) & (llms["method"] == method)]
            yield SeedRow(
                **base,
                stage="fit",
                seed=None,
                options=few,
                item_type=model,
                method=method,
                grid="",
                threshold=float("nan"),
                n_items=int(one["n_items"]),
                n_available=int(one["n_items"]),
                rmse_validation=float("nan"),
                judged="test",
                **_errors(base, of[of["set"] == "test"]),
            )


def _bundle(folder: Path, name: str | None, letters: SplitLetters) -> Iterator[SeedRow]:
    from metabench_py.bundle import load_bundle

    bundle = load_bundle(folder)
    told = bundle.manifest.get("provenance", {})
    run = told.get("run", {})
    select = {k: v for k, v in run.get("select", {}).items() if k != "seed"}
    split = name or run.get("split", {}).get("seed")
    if split is None:
        # All its LLMs judge it, so that what stands for them is the hash of its inputs.
        split = letters.of(SplitParts({str(told.get("inputs_sha256", bundle.sha256))}, set()))
    sizes = {b: len(model.parameters.items) for b, model in bundle.benchmarks.items()}
    for target, table in bundle.errors.items():
        n = sum(sizes.values()) if target == "grand" else sizes[target]
        model = None if target == "grand" else bundle.benchmarks[target]
        yield SeedRow(
            source=str(folder),
            stage="bundle",
            split=str(split),
            seed=run.get("select", {}).get("seed"),
            options={**select, "second_stage": bundle.default.fit},
            benchmark=target,
            item_type="" if model is None else model.item_type,
            method="" if model is None else model.score_method,
            grid="",
            threshold=float("nan"),
            n_items=n,
            n_available=n,
            rmse_validation=float("nan"),
            judged="test" if bundle.errors_kind == "test-set" else bundle.errors_kind,
            **_statistics(table.predicted - table.error, table.predicted),
        )


def _errors(base: Mapping[str, Any], llms: DataFrame) -> dict[str, Any]:
    score, predicted = (llms[name].to_numpy(np.float64) for name in ("score", "predicted"))
    if not len(score) or not np.isfinite(predicted - score).all():
        raise InputError(
            f"{base['source']}/llms.parquet has no numbers of the LLMs by which summary.json "
            f"judges {base['benchmark']}; make the folder again.",
            path=str(base["source"]),
        )
    return _statistics(score, predicted)


def _statistics(score: Floats, predicted: Floats) -> dict[str, Any]:
    error = predicted - score
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "spearman": rank_correlation(predicted, score),
        "n_llms": len(error),
    }


def _without_copies(rows: Sequence[SeedRow]) -> tuple[SeedRow, ...]:
    """Drop rows that are there twice, as of a work folder and its published result."""
    kept: dict[str, SeedRow] = {}
    for row in rows:
        # A search finds model and method, a fit is asked for them.
        asked = (row.item_type, row.method) if row.stage == "fit" else ()
        key = json.dumps(
            [row.stage, row.split, row.seed, row.benchmark, *asked, dict(row.options)],
            sort_keys=True,
        )
        before = kept.setdefault(key, row)
        if (before.n_items, before.rmse) != (row.n_items, row.rmse):
            raise InputError(
                f"{before.source} and {row.source} have the same seed, split and settings for "
                f"{row.benchmark}, but differ; if their data differ, name them apart: "
                "NAME=FOLDER.",
                path=row.source,
            )
    return tuple(kept.values())


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable JSON ({error}).", path=str(path)) from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON object.", path=str(path))
    return found


def _foreign(folder: Path) -> InputError:
    return InputError(
        f"{folder}/summary.json is not that of calibrate select or fit; give their --out.",
        path=str(folder),
    )
