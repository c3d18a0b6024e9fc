"""``metabench-py jobs``: batch files for a cluster."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.calibration.run_config import RunConfig

jobs_app = typer.Typer(name="jobs", help="Batch files for a cluster.", no_args_is_help=True)


@jobs_app.callback()
def _jobs() -> None:
    """Keep ``template`` a command of its own name."""


@jobs_app.command("template")
def template_command(
    config: Annotated[
        Path, typer.Option(help="TOML file of the run; `calibrate run --template` prints one.")
    ],
    partition: Annotated[str, typer.Option(help="Slurm partition.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for one file a job and submit.sh. Left out: print them."),
    ] = None,
    cores: Annotated[int, typer.Option(help="Cores of each job.")] = 16,
    memory: Annotated[str, typer.Option(help="Memory of each job.")] = "32G",
    time: Annotated[str, typer.Option(help="Limit of each job.")] = "24:00:00",
    account: Annotated[str | None, typer.Option(help="Account to charge.")] = None,
) -> None:
    """Write sbatch files for the stages of a run: edit them, then submit each after the one before.

    The same in one command, without files, spread over many jobs and job arrays:
    `calibrate run --config FILE --slurm PARTITION`.
    """
    from metabench_py.calibration.run_config import load_config
    from metabench_py.storage import write_text

    given = load_config(config)
    head = [
        f"#SBATCH --partition={partition}",
        f"#SBATCH --cpus-per-task={cores}",
        f"#SBATCH --mem={memory}",
        f"#SBATCH --time={time}",
        *([] if account is None else [f"#SBATCH --account={account}"]),
    ]
    files = job_files(given, head)
    if out is None:
        for name, text in files.items():
            typer.echo(f"### {name}\n{text}")
    else:
        for name, text in files.items():
            write_text(out / name, text)
        typer.echo(
            f"Wrote {len(files)} files; submit them by: sh {_q(out / 'submit.sh')}", err=True
        )
    typer.echo(
        f"Results of single jobs go to {results_of(given)}, the last one's to {given.out}; remove "
        "the former when you have the latter.",
        err=True,
    )


def results_of(config: RunConfig) -> Path:
    """Where single jobs put their results: no command takes it for its own and clears it."""
    given = config.general.work
    return config.out.parent / f".{config.out.name}.jobs" if given is None else given / "jobs"


def job_files(config: RunConfig, head: list[str]) -> dict[str, str]:
    """Give the files by name.

    Parameters
    ----------
    head
        Lines of every job.
    """
    from metabench_py.calibration.matrices import find_sources

    top = config.general
    found = find_sources(config.responses, top.benchmarks).found
    makes_bundle = {source.benchmark for source in found} == set(BENCHMARKS)
    work = results_of(config)
    clean = work / "preprocessed"
    # What no bundle follows is the result.
    chosen = work / "selected" if makes_bundle else config.out
    program = f"{shlex.quote(sys.executable)} -m metabench_py calibrate"
    workers = "--workers $SLURM_CPUS_PER_TASK"
    scores = f"--scores {_q(clean / 'scores.parquet')}"
    split = f"--split {_q(clean / 'split.parquet')}"
    only = _repeated("--benchmark", top.benchmarks)
    prompts = "" if top.prompts is None else f"--prompts {_q(top.prompts)}"
    exclude = _repeated("--exclude", config.excluded)
    steps = {
        "1-preprocess": [
            _joined(
                f"{program} preprocess --responses {_q(config.responses)} --out {_q(clean)}",
                "--replace",
                only,
                prompts,
                _options(config, "preprocess"),
            ),
            _joined(f"{program} split --data {_q(clean)} --replace", _options(config, "split")),
        ]
    }
    matrices = clean
    if config.subsample is not None:
        matrices = work / "subsampled"
        steps["2-subsample"] = [
            _joined(
                f"{program} subsample --data {_q(clean)} --out {_q(matrices)} {scores} {split}",
                "--replace",
                workers,
                _options(config, "subsample"),
            )
        ]
    if config.fit is not None:
        steps["3-fit"] = [
            _joined(
                f"{program} fit --data {_q(matrices)} --out {_q(work / 'fitted')} {scores} {split}",
                "--replace",
                workers,
                _options(config, "fit"),
            )
        ]
    steps["4-select"] = [
        _joined(
            f"{program} select --data {_q(matrices)} --out {_q(chosen)} {scores} {split}",
            "--replace",
            workers,
            exclude,
            _options(config, "select"),
        )
    ]
    if makes_bundle:
        steps["5-bundle"] = [_bundle(config, program, matrices, chosen, f"{scores} {split}")]
    return {
        **{f"{name}.sbatch": _file(name, lines, head) for name, lines in steps.items()},
        # Everything at once; stages that are done are not done again.
        "all-in-one.sbatch": _file(
            "run", [f"{program} run --config {_q(config.path)} {workers}"], head
        ),
        "submit.sh": _submit([f"{name}.sbatch" for name in steps]),
    }


def _bundle(config: RunConfig, program: str, matrices: Path, chosen: Path, tables: str) -> str:
    config.description()
    top = config.general
    about = [
        f"--{name.replace('_', '-')} {shlex.quote(getattr(top, name))}"
        for name in ("name", "version_label", "licence", "source")
    ]
    licence = "" if top.licence_file is None else f"--licence-file {_q(top.licence_file)}"
    return _joined(
        f"{program} bundle --responses {_q(matrices)} {tables}",
        f"--items {_q(chosen / 'items.parquet')} --out {_q(config.out)} --replace",
        *about,
        licence,
        "--workers $SLURM_CPUS_PER_TASK",
        _options(config, "bundle"),
    )


def _file(name: str, lines: list[str], head: list[str]) -> str:
    return "\n".join(
        [
            "#!/bin/sh",
            f"#SBATCH --job-name=metabench-{name}",
            *head,
            "set -eu",
            "export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1",
            *lines,
            "",
        ]
    )


def _submit(names: list[str]) -> str:
    lines = ["#!/bin/sh", "# Each job waits for the one before.", "set -eu", 'cd "$(dirname "$0")"']
    for number, name in enumerate(names):
        after = "" if number == 0 else "--dependency=afterok:$job "
        lines.append(f"job=$(sbatch --parsable {after}{name})")
    return "\n".join([*lines, 'echo "submitted; the last is job $job"', ""])


# Names of options where the command's differ from the file's.
_RENAMED = {
    ("preprocess", "discriminations"): "least-discrimination-of",
    ("subsample", "n_items"): "items",
    ("fit", "item_types"): "item-type",
    ("fit", "max_cycles"): "cycles",
    ("fit", "methods"): "method",
    ("select", "item_types"): "item-type",
    ("select", "methods"): "method",
    ("select", "grids"): "grid",
    ("select", "n_bins"): "intervals",
    ("select", "n_trials"): "evaluations",
}
_NO_OPTION = {("select", "n_initial")}


def _options(config: RunConfig, stage: str) -> str:
    """Options of the stage's command that are not at their default."""
    from dataclasses import fields

    options = getattr(config, stage)
    default = type(options)()
    words: list[str] = []
    for one in fields(options):
        value = getattr(options, one.name)
        if value == getattr(default, one.name):
            continue
        if (stage, one.name) in _NO_OPTION:
            typer.echo(
                f"Warning: `calibrate {stage}` has no option for {one.name}, so the files leave it "
                "out; all-in-one.sbatch does not.",
                err=True,
            )
            continue
        if one.name == "order" and stage == "bundle" and options.choose is None:
            # Without a choice there is no order, and the command refuses one.
            continue
        option = "--" + _RENAMED.get((stage, one.name), one.name.replace("_", "-"))
        if one.name == "discriminations":
            # The command cannot be told "none": the general limit says the same.
            limits = value or dict.fromkeys(default.discriminations, options.least_discrimination)
            value = tuple(f"{name}={limit}" for name, limit in limits.items())
        elif one.name == "second_stage" and isinstance(value, tuple):
            value = ",".join(value)
        words.append(_option(option, value, f"{config.path}: {stage}.{one.name}"))
    return " ".join(words)


def _option(option: str, value: Any, what: str) -> str:
    if value is True:
        return option
    if value == ():
        raise InputError(f"{what} is empty, which no command can be told; leave it out.")
    return _repeated(option, value if isinstance(value, tuple) else (value,))


def _repeated(option: str, values: Iterable[object]) -> str:
    return " ".join(f"{option} {shlex.quote(str(value))}" for value in values)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _q(path: Path) -> str:
    return shlex.quote(str(path))
