"""What a calibration would take: tasks, memory and hours a stage, from measured unit costs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metabench_py.calibration.subsample import SubsampleOptions
from metabench_py.compute import available_cores
from metabench_py.errors import InputError

_MIB = 1 << 20
# A process with R, numba and what we import, without data.
_PROCESS_MIB = 450.0
# Jobs a person waits for without a cluster.
_PATIENCE_H = 12.0


@dataclass(frozen=True)
class UnitCosts:
    """Seconds of one core.

    Attributes
    ----------
    cell
        Preprocessing one answer of one LLM.
    gam, gam_llm
        One adaptive spline of a subset: of itself, and for each training LLM.
    draw_cell
        Counting one answer of a subset.
    fit_cell
        Fitting and scoring one answer by marginal maximum likelihood; mean of 2PL, 3PL, 4PL.
    recovery, recovery_llm
        Recovering scores once in a selection's evaluation: of itself, for each LLM.
    bundle_llm
        Stack and GAMs, with their errors in ten grouped and ten random folds, for each LLM.
    where
        What they were measured on.
    """

    cell: float
    gam: float
    gam_llm: float
    draw_cell: float
    fit_cell: float
    recovery: float
    recovery_llm: float
    bundle_llm: float
    where: str


# By `measure` on one core of a busy virtual machine of two (Debian 12, R 4.2.2, OpenBLAS); the
# bundle's by the parts of the embedded one: ten minutes on both cores for the GAMs and a minute a
# fit of the stack with 4,900 LLMs.
MEASURED = UnitCosts(
    cell=1.1e-8,
    gam=2.5e-3,
    gam_llm=0.0,
    draw_cell=1.15e-8,
    fit_cell=7.0e-6,
    recovery=0.028,
    recovery_llm=2.5e-5,
    bundle_llm=0.65,
    where="one core of a virtual machine of two",
)


@dataclass(frozen=True)
class Size:
    """What is to be calibrated.

    Attributes
    ----------
    llms, items
        Of each benchmark's matrix.
    subset
        Items of a random subset; 0: no subsampling.
    evaluations
        Of the search of each benchmark.
    folds, bundle_folds
        Of the cross-validations.
    """

    llms: int
    items: int
    benchmarks: int = 6
    subsets: int = 10_000
    subset: int = SubsampleOptions.n_items
    folds: int = SubsampleOptions.folds
    evaluations: int = 55
    bundle_folds: int = 10

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name == "subset" else 1
            if value < least:
                raise InputError(f"{name} is {value}; give {least} or more.", name=name)
        if self.subset > self.items:
            raise InputError(
                f"subset is {self.subset} of {self.items} items; give fewer, or 0 for no "
                "subsampling.",
                name="subset",
            )

    @property
    def reduced(self) -> int:
        """Items that are left after subsampling."""
        return self.subset or self.items


@dataclass(frozen=True)
class StagePlan:
    """One stage.

    Attributes
    ----------
    tasks
        Calls that can run at the same time.
    core_hours
        Of all of them.
    hours
        On the cores that were asked for.
    memory_mib
        Of one worker.
    """

    stage: str
    tasks: int
    core_hours: float
    hours: float
    memory_mib: float


@dataclass(frozen=True)
class Plan:
    """All stages on so many cores, and where to run them."""

    size: Size
    cores: int
    stages: tuple[StagePlan, ...]
    executor: str
    costs: UnitCosts

    @property
    def core_hours(self) -> float:
        """Of all stages."""
        return sum(stage.core_hours for stage in self.stages)

    @property
    def hours(self) -> float:
        """From begin to end."""
        return sum(stage.hours for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": 1,
            **asdict(self),
            "core_hours": self.core_hours,
            "hours": self.hours,
        }


def plan(size: Size, cores: int | None = None, costs: UnitCosts = MEASURED) -> Plan:
    """Estimate all stages.

    Parameters
    ----------
    cores
        To run on; None: those of this machine.
    """
    here = available_cores()
    cores = cores or here
    matrix = size.llms * size.items
    reduced = size.llms * size.reduced
    gam = costs.gam + costs.gam_llm * size.llms
    one_fit = costs.fit_cell * reduced
    evaluation = (
        # A refit on the selected items, some third of them, and recovery of the score.
        one_fit / 3 + costs.recovery + costs.recovery_llm * size.llms
    )
    table: list[tuple[str, int, float, float]] = [
        ("preprocess", 1, size.benchmarks * matrix * costs.cell, 10 * matrix),
        ("split", 1, 0.1, 0),
    ]
    if size.subset:
        draws = size.benchmarks * size.subsets
        seconds = draws * (size.folds * gam + costs.draw_cell * reduced)
        table.append(("subsample", draws, seconds, 3 * matrix))
    table += [
        (
            "fit",
            3 * size.benchmarks,
            3 * size.benchmarks * (one_fit + 2 * evaluation),
            80 * reduced,
        ),
        # Three full fits first; then one evaluation after the other.
        (
            "select",
            size.benchmarks,
            size.benchmarks * (3 * one_fit + size.evaluations * evaluation),
            80 * reduced,
        ),
        (
            "bundle",
            14 + 5 * size.bundle_folds,
            costs.bundle_llm * size.llms,
            8 * 400 * 6 * size.llms,
        ),
    ]
    stages = []
    for name, tasks, seconds, extra in table:
        # Whole rounds of tasks of the same length.
        rounds = math.ceil(tasks / min(cores, tasks)) / tasks
        stages.append(
            StagePlan(
                name,
                tasks,
                seconds / 3600,
                seconds * rounds / 3600,
                _PROCESS_MIB + extra / _MIB,
            )
        )
    made = Plan(size, cores, tuple(stages), "", costs)
    return Plan(size, cores, tuple(stages), _advice(made, here), costs)


def _advice(made: Plan, here: int) -> str:
    at_home = sum(
        stage.core_hours * math.ceil(stage.tasks / min(here, stage.tasks)) / stage.tasks
        for stage in made.stages
    )
    if at_home <= _PATIENCE_H:
        return f"this machine: {at_home:.1f} h on its {here} cores; no option is needed"
    needed = math.ceil(made.core_hours / _PATIENCE_H)
    memory = math.ceil(max(stage.memory_mib for stage in made.stages) / 1024)
    return (
        f"a cluster: {at_home:.0f} h on the {here} cores here; for {_PATIENCE_H:.0f} h take "
        f"--slurm PARTITION --workers {needed} --slurm-memory {memory}G, or --dask ADDRESS with as "
        "many workers"
    )


def measure() -> UnitCosts:
    """Measure the unit costs on one core of this machine, in about a minute; needs no R."""
    from metabench_py.calibration.preprocess import PreprocessOptions, preprocess
    from metabench_py.calibration.stage_data import BenchmarkData
    from metabench_py.calibration.subsample import subsample
    from metabench_py.irt.engine import FitOptions, get_engine

    def data(llms: int, items: int) -> BenchmarkData:
        matrix, score = _simulated(llms, items)
        return BenchmarkData("plan", matrix, matrix.rows(()), score, score[:0])

    def of_subsets(llms: int, items: int) -> float:
        options = SubsampleOptions(n_items=items, subsets=40)
        return _seconds(lambda: subsample(data(llms, 2 * items), options)) / (40 * options.folds)

    whole = data(1000, 1500)
    cell = (
        _seconds(lambda: preprocess("plan", whole.train, None, PreprocessOptions(tail=0.0)))
        / whole.train.values.size
    )
    small, large = of_subsets(500, 100), of_subsets(4000, 100)
    wide = of_subsets(4000, 300)
    draw = max(wide - large, 0.0) * SubsampleOptions.folds / (4000 * 200)
    slope = max((large - small) / 3500 - 100 * draw / SubsampleOptions.folds, 0.0)
    some = data(1000, 100)
    engine = get_engine("native")
    fits = [
        _seconds(
            lambda kind=kind: engine.score(  # type: ignore[misc]
                some.train,
                engine.fit(some.train, kind, FitOptions(mode="converged")).parameters,
                "MAP",
            )
        )
        for kind in ("2PL", "3PL", "4PL")
    ]
    few, many = _recovery(500), _recovery(4000)
    per_llm = max((many - few) / 3500, 0.0)
    return UnitCosts(
        cell=cell,
        gam=max(small - 500 * slope, 1e-5),
        gam_llm=slope,
        draw_cell=draw,
        fit_cell=float(np.mean(fits)) / some.train.values.size,
        recovery=max(few - 500 * per_llm, 1e-4),
        recovery_llm=per_llm,
        bundle_llm=MEASURED.bundle_llm,
        where="one core of this machine, now; the bundle's as shipped",
    )


def _recovery(llms: int) -> float:
    from metabench_py.calibration.recovery import recover

    random = np.random.default_rng(1)
    theta = random.normal(size=llms)
    score = 100 / (1 + np.exp(-theta)) + random.normal(size=llms)
    return _seconds(lambda: recover({"theta": theta}, score))


def _simulated(llms: int, items: int) -> Any:
    from metabench_py.responses import ResponseMatrix

    random = np.random.default_rng(1)
    theta = random.normal(size=llms)
    slope, easy = random.lognormal(0.2, 0.3, items), random.normal(size=items)
    chance = 1 / (1 + np.exp(-(slope * theta[:, None] + easy)))
    values = (random.uniform(size=chance.shape) < chance).astype(np.int8)
    names = tuple(f"llm-{i}" for i in range(llms))
    matrix = ResponseMatrix(names, tuple(map(str, range(items))), values)
    return matrix, 100 * chance.mean(axis=1)


def _seconds(work: Callable[[], object]) -> float:
    # The first compiles.
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
