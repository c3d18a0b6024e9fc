"""Options that say where a command runs, declared once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from metabench_py.compute import Place

Workers = Annotated[
    int | None,
    typer.Option(help="Processes at a time. Left out: one a core, or 10 jobs of Slurm."),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask", help="Run on the Dask cluster of this scheduler, for instance tcp://host:8786."
    ),
]
Slurm = Annotated[str | None, typer.Option("--slurm", help="Run in jobs of this Slurm partition.")]
SlurmTime = Annotated[str | None, typer.Option(help="Limit of a Slurm job; 24:00:00 if left out.")]
SlurmMemory = Annotated[str | None, typer.Option(help="Memory of a Slurm job; 4G if left out.")]
SlurmOption = Annotated[
    list[str] | None,
    typer.Option(help="More for sbatch, as in --slurm-option=--account=mine; may be repeated."),
]


def place_of(
    workers: int | None = None,
    dask: str | None = None,
    slurm: str | None = None,
    slurm_time: str | None = None,
    slurm_memory: str | None = None,
    slurm_option: list[str] | None = None,
    base: Place | None = None,
) -> Place:
    """Give the place that the options name; what is left out is as in `base`."""
    from dataclasses import replace

    from metabench_py.compute import Place

    place = base or Place()
    if dask is not None or slurm is not None:
        place = replace(place, dask=dask, slurm=slurm)
    given: dict[str, Any] = {
        "workers": workers,
        "slurm_time": slurm_time,
        "slurm_memory": slurm_memory,
        "slurm_options": None if slurm_option is None else tuple(slurm_option),
    }
    return replace(place, **{name: value for name, value in given.items() if value is not None})
