"""The whole way from a folder of matrices to a bundle."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.calibration.crossvalidate import CrossValidationOptions
from metabench_py.calibration.fit_folder import fit_folder
from metabench_py.calibration.folder_tables import SUMMARY, made_by
from metabench_py.calibration.inputs import load_inputs
from metabench_py.calibration.matrices import find_sources
from metabench_py.calibration.pipeline import calibrate_bundle
from metabench_py.calibration.preprocess_folder import preprocess_folder
from metabench_py.calibration.run_config import RunConfig
from metabench_py.calibration.select_folder import select_folder
from metabench_py.calibration.split_folder import split_folder
from metabench_py.calibration.stage_cache import (
    PUBLISHED,
    Done,
    Quiet,
    Room,
    RunProgress,
    Stage,
    StageRunner,
    locked,
)
from metabench_py.calibration.stage_fitters import require_fitters
from metabench_py.calibration.subsample import SubsampleOptions
from metabench_py.calibration.subsample_folder import subsample_folder
from metabench_py.errors import InputError, StorageError
from metabench_py.stack.fit_data import LEAST_LLMS
from metabench_py.storage import (
    atomic_folder,
    check_replaceable,
    remove_unfinished,
    sha256,
    write_json,
)

_REMEMBERED = 20
# One of these lies in whatever the last stage makes.
_RESULTS = ("manifest.json", SUMMARY)
_HERE = "metabench_py.calibration"


@dataclass(frozen=True, eq=False)
class RunReport:
    """A finished run.

    Attributes
    ----------
    stages
        In their order; each folder holds its results.
    makes_bundle
        Whether `out` is a bundle; else it is the folder of the selected items.
    """

    config: RunConfig
    stages: tuple[Done, ...]
    makes_bundle: bool

    def folder(self, stage: str) -> Path | None:
        """Folder of a stage; None if the run has none of that name."""
        return next((done.folder for done in self.stages if done.name == stage), None)

    def summary(self, stage: str) -> dict[str, Any]:
        """Give what a stage says about itself; empty if there is none."""
        folder = self.folder(stage)
        path = None if folder is None else folder / "summary.json"
        if path is None or not path.is_file():
            return {}
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": 1,
            "out": str(self.config.out),
            "bundle": self.makes_bundle,
            "stages": [
                {
                    "stage": done.name,
                    "key": done.key,
                    "folder": str(done.folder),
                    "seconds": done.seconds,
                    "cached": done.cached,
                }
                for done in self.stages
            ],
        }


def run(
    config: RunConfig,
    *,
    executor: Executor | None = None,
    replace: bool = False,
    progress: RunProgress | None = None,
) -> RunReport:
    """Run all stages that are not done yet, and put the result at ``config.out``.

    Parameters
    ----------
    executor
        For the stages' calls; None: this process.
    replace
        Take the place of what is at ``config.out``, unless a run with this work folder made it.

    Raises
    ------
    InputError, StorageError, ...
        As of the stages; what was finished before is kept.
    """
    benchmarks = [
        s.benchmark for s in find_sources(config.responses, config.general.benchmarks).found
    ]
    makes_bundle = set(benchmarks) == set(BENCHMARKS)
    if makes_bundle:
        # Before hours of work.
        config.description()
        require_fitters(config.bundle.second_stage or ())
    with locked(config.work):
        _check_out(config, replace)
        runner = StageRunner(config.work, executor, progress or Quiet())
        last = _stages(runner, config, makes_bundle)
        _publish(last, config)
    return RunReport(config, tuple(runner.done), makes_bundle)


def _stages(runner: StageRunner, config: RunConfig, makes_bundle: bool) -> Path:
    cleaned = runner.run(_preprocess(config))
    parted = runner.run(_split(config, cleaned))
    if makes_bundle:
        _check_llms(config, parted)
    matrices = cleaned
    if config.subsample is not None:
        matrices = runner.run(_subsample(config.subsample, cleaned, parted))
    if config.fit is not None:
        runner.run(_fit(config.fit, matrices, cleaned, parted))
    chosen = runner.run(_select(config, matrices, cleaned, parted))
    if not makes_bundle:
        return chosen
    return runner.run(_bundle(config, matrices, cleaned, parted, chosen))


def _preprocess(config: RunConfig) -> Stage:
    top = config.general
    inputs = {"responses": config.responses}
    if top.prompts is not None:
        inputs["prompts"] = top.prompts

    def function(room: Room) -> None:
        room.out.rmdir()
        preprocess_folder(
            config.responses,
            room.out,
            config.preprocess,
            benchmarks=top.benchmarks,
            prompts=top.prompts,
            progress=_told(room),
        )

    settings = {**asdict(config.preprocess), "benchmarks": list(top.benchmarks)}
    return Stage("preprocess", inputs, settings, (f"{_HERE}.preprocess_folder",), function)


def _split(config: RunConfig, cleaned: Path) -> Stage:
    def function(room: Room) -> None:
        split_folder(cleaned, room.out, config.split, replace=True)

    inputs = {"scores": cleaned / "scores.parquet"}
    return Stage("split", inputs, asdict(config.split), (f"{_HERE}.split_folder",), function)


def _check_llms(config: RunConfig, parted: Path) -> None:
    """Refuse what the bundle would refuse after hours; missing answers may leave it fewer LLMs."""
    options = config.bundle
    known = json.loads((parted / "split.json").read_text(encoding="utf-8"))
    n = known["llms_common"] - known["test"]
    # A fit leaves out one fold.
    learners = n * (options.folds - 1) // options.folds
    if "stack" in options.stages(n) and learners < LEAST_LLMS:
        raise InputError(
            f"{config.path}: {n} LLMs with all scores are left for training, {learners} without "
            f"one of the {options.folds} folds; the stack needs {LEAST_LLMS}, so give more LLMs.",
            path=str(config.path),
            n=n,
        )


def _subsample(options: SubsampleOptions, cleaned: Path, parted: Path) -> Stage:
    scores, split = cleaned / "scores.parquet", parted / "split.parquet"

    def function(room: Room) -> None:
        room.out.rmdir()
        # Its calls are counted.
        subsample_folder(
            cleaned, room.out, options, scores=scores, split=split, executor=room.executor
        )

    inputs = {"matrices": cleaned, "scores": scores, "split": split}
    return Stage("subsample", inputs, asdict(options), (f"{_HERE}.subsample_folder",), function)


def _fit(options: CrossValidationOptions, matrices: Path, cleaned: Path, parted: Path) -> Stage:
    scores, split = cleaned / "scores.parquet", parted / "split.parquet"

    def function(room: Room) -> None:
        room.out.rmdir()
        fit_folder(
            matrices,
            room.out,
            options,
            scores=scores,
            split=split,
            executor=room.executor,
            progress=_told(room),
        )

    inputs = {"matrices": matrices, "scores": scores, "split": split}
    return Stage("fit", inputs, asdict(options), (f"{_HERE}.fit_folder",), function)


def _select(config: RunConfig, matrices: Path, cleaned: Path, parted: Path) -> Stage:
    scores, split = cleaned / "scores.parquet", parted / "split.parquet"
    exclude = config.excluded

    def function(room: Room) -> None:
        room.out.rmdir()
        select_folder(
            matrices,
            room.out,
            config.select,
            scores=scores,
            split=split,
            exclude=exclude,
            executor=room.executor,
            work=room.kept,
            progress=_told(room),
        )

    inputs = {"matrices": matrices, "scores": scores, "split": split}
    # An installed bundle is named, not read here: its name stands for it.
    inputs |= {f"exclude {i}": Path(s) for i, s in enumerate(exclude) if Path(s).exists()}
    settings = {**asdict(config.select), "exclude": [*config.general.exclude]}
    return Stage("select", inputs, settings, (f"{_HERE}.select_folder",), function)


def _bundle(config: RunConfig, matrices: Path, cleaned: Path, parted: Path, chosen: Path) -> Stage:
    description = config.description()
    items = chosen / "items.parquet"
    scores, split = cleaned / "scores.parquet", parted / "split.parquet"

    def function(room: Room) -> None:
        inputs = load_inputs(matrices, scores, items, split=split)
        calibrate_bundle(
            inputs,
            room.out / "bundle",
            description,
            config.bundle,
            work=room.kept / "bundle",
            progress=_told(room),
            executor=room.executor,
        )

    options = asdict(config.bundle)
    del options["workers"]
    # Left open, they depend on whether R has mgcv, which the hash of the code knows.
    options["second_stage"] = list(config.bundle.second_stage or ())
    about = {**asdict(description), "run": dict(description.run or {})}
    inputs = {"matrices": matrices, "scores": scores, "split": split, "items": items}
    settings = {**options, "description": about}
    return Stage("bundle", inputs, settings, (f"{_HERE}.pipeline",), function)


def _told(room: Room) -> Any:
    def tell(what: str, number: int, total: int) -> None:
        room.progress.say(f"[{number}/{total}] {what}" if total else what)

    return tell


def _check_out(config: RunConfig, replace: bool) -> None:
    out = config.out
    if replace:
        check_replaceable(out, _RESULTS)
        # Other stages write summaries, too.
        if (out / SUMMARY).is_file() and not made_by("select", out):
            raise InputError(
                f"{out} was not made by calibrate run, so it is not replaced; choose another "
                "'out'.",
                path=str(out),
            )
    elif out.exists() and not any(_hashes(out) == files for files in _made_before(config)):
        raise StorageError(
            f"{out} exists, and no run with {config.work} made it as it is now; say --replace, or "
            "choose another 'out'.",
            path=str(out),
        )


def _publish(last: Path, config: RunConfig) -> None:
    """Copy the last stage's result to its place."""
    source = last / "bundle" if (last / "bundle").is_dir() else last
    if config.out.resolve() in (config.responses, *config.responses.parents):
        raise InputError(
            f"{config.out} holds the responses; choose another 'out'.", path=str(config.out)
        )
    # First, so that what a kill leaves there is known as ours.
    files = {p: digest for p, digest in _hashes(source).items() if p != "stage.json"}
    made = [files, *(old for old in _made_before(config) if old != files)]
    write_json(config.work / PUBLISHED, {"out": str(config.out), "made": made[:_REMEMBERED]})
    if config.out.parent.is_dir():
        remove_unfinished(config.out.parent, re.escape(config.out.name))
    if config.out.exists() and _hashes(config.out) == files:
        return
    with atomic_folder(config.out, replace=True, marks=_RESULTS) as folder:
        for name in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)


def _made_before(config: RunConfig) -> list[dict[str, str]]:
    """Hashes of the files of each result that this work folder's runs put at ``config.out``."""
    try:
        known = json.loads((config.work / PUBLISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return known["made"] if known["out"] == str(config.out) else []


def _hashes(folder: Path) -> Mapping[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
