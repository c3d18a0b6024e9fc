"""``metabench-py jobs``: batch files for a cluster."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench_py.benchmarks import BENCHMARKS

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
        return
    for name, text in files.items():
        write_text(out / name, text)
    typer.echo(f"Wrote {len(files)} files; submit them by: sh {out / 'submit.sh'}", err=True)


def job_files(config: RunConfig, head: list[str]) -> dict[str, str]:
    """Give the files by name.

    Parameters
    ----------
    head
        Lines of every job.
    """
    from metabench_py.calibration.matrices import find_sources

    work = config.work / "jobs"
    clean, chosen = work / "preprocessed", work / "selected"
    program = f"{shlex.quote(sys.executable)} -m metabench_py calibrate"
    workers = "--workers $SLURM_CPUS_PER_TASK"
    scores = f"--scores {_q(clean / 'scores.parquet')}"
    split = f"--split {_q(clean / 'split.parquet')}"
    top = config.general
    only = " ".join(f"--benchmark {shlex.quote(name)}" for name in top.benchmarks)
    prompts = "" if top.prompts is None else f"--prompts {_q(top.prompts)}"
    exclude = " ".join(f"--exclude {shlex.quote(name)}" for name in top.exclude)
    steps = {
        "1-preprocess": [
            f"{program} preprocess --responses {_q(config.responses)} --out {_q(clean)} "
            f"--replace {only} {prompts} {_options(config, 'preprocess')}",
            f"{program} split --data {_q(clean)} --replace {_options(config, 'split')}",
        ]
    }
    matrices = clean
    if config.subsample is not None:
        matrices = work / "subsampled"
        steps["2-subsample"] = [
            f"{program} subsample --data {_q(clean)} --out {_q(matrices)} {scores} {split} "
            f"--replace {workers} {_options(config, 'subsample')}"
        ]
    if config.fit is not None:
        steps["3-fit"] = [
            f"{program} fit --data {_q(matrices)} --out {_q(work / 'fitted')} {scores} {split} "
            f"--replace {workers} {_options(config, 'fit')}"
        ]
    steps["4-select"] = [
        f"{program} select --data {_q(matrices)} --out {_q(chosen)} {scores} {split} "
        f"--replace {workers} {exclude} {_options(config, 'select')}"
    ]
    found = find_sources(config.responses, top.benchmarks).found
    if {source.benchmark for source in found} == set(BENCHMARKS):
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
    about = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(getattr(top, name))}"
        for name in ("name", "version_label", "licence", "source")
    )
    licence = "" if top.licence_file is None else f"--licence-file {_q(top.licence_file)}"
    return (
        f"{program} bundle --responses {_q(matrices)} {tables} "
        f"--items {_q(chosen / 'items.parquet')} --out {_q(config.out)} --replace {about} "
        f"{licence} --workers $SLURM_CPUS_PER_TASK {_options(config, 'bundle')}"
    )


def _file(name: str, lines: list[str], head: list[str]) -> str:
    return "\n".join(
        [
            "#!/bin/sh",
            f"#SBATCH --job-name=metabench-{name}",
            *head,
            "set -eu",
            "export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1",
            *(" ".join(line.split()) for line in lines),
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
        option = "--" + _RENAMED.get((stage, one.name), one.name.replace("_", "-"))
        if one.name == "discriminations":
            words += [f"--least-discrimination-of {k}={v:g}" for k, v in value.items()]
        elif value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += [f"{option} {shlex.quote(str(item))}" for item in value]
        else:
            words.append(f"{option} {shlex.quote(str(value))}")
    return " ".join(words)


def _q(path: Path) -> str:
    return shlex.quote(str(path))
