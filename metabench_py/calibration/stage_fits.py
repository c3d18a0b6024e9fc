"""Second stages on all LLMs: those of the bundle, each fit a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.benchmarks import TARGETS, Benchmark, Target
from metabench_py.bundle.arrays import pack_arrays, unpack_arrays
from metabench_py.bundle.schema import StageFit
from metabench_py.calibration.code_version import code_version
from metabench_py.calibration.stage_fitters import Lessons
from metabench_py.calibration.work import WorkFolder, digest
from metabench_py.compute import Task
from metabench_py.gam.features import single_names, target_features
from metabench_py.gam.jobs import GamJob, GamResult, run_job
from metabench_py.gam.mgcv import GamOptions
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats
from metabench_py.stack.inputs import StackInputs
from metabench_py.stack.model import Stack
from metabench_py.storage import atomic_path, sha256


@dataclass(frozen=True, eq=False)
class GamOfTarget:
    """A fitted GAM.

    Attributes
    ----------
    fit
        As the manifest has it.
    sp
        Smoothing parameters.
    rds
        The stripped fit; None where none was saved.
    """

    gam: PortableGam
    fit: dict[str, Any]
    sp: Floats
    rds: Path | None


@dataclass(frozen=True, eq=False)
class FittedStack:
    """A fitted stack, and how it came about (JSON values)."""

    stack: Stack
    report: dict[str, Any]


def gam_options(fit: StageFit, basis_size: int | None) -> GamOptions:
    """How mgcv fits a bundle's GAMs."""
    return GamOptions.fast(basis_size) if fit == "fast-gam" else GamOptions(k=basis_size)


def gam_settings(options: GamOptions, sp: Mapping[Target, Floats] | None = None) -> list[Any]:
    """JSON values of all that a GAM's fit depends on besides its data."""
    fixed = None if sp is None else {t: values.tolist() for t, values in sp.items()}
    return [options.basis, options.k, options.bam, options.discrete, _mgcv_version(), fixed]


def gam_tasks(
    lessons: Lessons,
    options: GamOptions,
    work: WorkFolder,
    results: dict[Target, GamOfTarget],
    only: Benchmark | None = None,
) -> list[Task]:
    """GAM fits that are left to do; finished ones are put into `results` at once.

    Parameters
    ----------
    lessons
        Of all benchmarks; of `only`, where one alone is fitted.
    """
    tasks = []
    for target in lessons.targets:
        features = target_features(lessons.table, target)
        score = lessons.scores[target]
        key = digest(*(features[name] for name in sorted(features)), score, gam_settings(options))
        stage = f"gam-{target}" if only is None else f"gam-alone-{target}"
        rds = work.path / f"{stage}.rds" if only is None else None
        found = work.get(stage, key)
        if found is not None and (
            rds is None or (rds.is_file() and sha256(rds) == found["rds_sha256"])
        ):
            results[target] = _gam_of(found, rds)
            continue

        def done(
            result: GamResult,
            target: Target = target,
            stage: str = stage,
            key: str = key,
            rds: Path | None = rds,
        ) -> None:
            values = {
                "portable": result.portable.to_dict(),
                "fit": result.fit.to_dict(),
                "sp": result.fit.sp,
                "rds_sha256": None if rds is None else sha256(rds),
            }
            work.put(stage, key, values)
            results[target] = _gam_of(values, rds)

        predictors = None if only is None else single_names(only)
        job = GamJob(target, features, score, predictors, options=options, rds=rds)
        alone = "" if only is None else " alone"
        tasks.append(Task(f"GAM of {target}{alone}", run_job, (job,), done))
    return tasks


def _gam_of(values: dict[str, Any], rds: Path | None) -> GamOfTarget:
    return GamOfTarget(
        gam=PortableGam.from_dict(values["portable"]),
        fit=values["fit"],
        sp=np.asarray(values["sp"], np.float64),
        rds=rds,
    )


def stack_task(
    lessons: Lessons,
    seed: int,
    work: WorkFolder,
    results: dict[str, FittedStack],
    only: Benchmark | None = None,
) -> list[Task]:
    """Give the stack's fit, if it is left to do; a finished one is put into `results` at once.

    Parameters
    ----------
    seed
        Of the stack's inner folds and draws.
    results
        Under ``all``, or the name of the benchmark alone.
    """
    name = only or "all"
    stage = f"stack-{name}"
    path = work.path / f"{stage}.npz"
    key = digest(*lessons_parts(lessons), stack_settings(seed))
    found = work.get(stage, key)
    if found is not None and path.is_file() and sha256(path) == found["sha256"]:
        results[name] = _stack_of(path, found)
        return []

    def done(value: tuple[bytes, dict[str, Any]]) -> None:
        content, report = value
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        values = {"report": report, "sha256": sha256(path)}
        work.put(stage, key, values)
        results[name] = _stack_of(path, values)

    title = "stack" if only is None else f"stack of {only} alone"
    return [Task(title, fit_one_stack, (lessons, seed), done)]


def fit_one_stack(lessons: Lessons, seed: int) -> tuple[bytes, dict[str, Any]]:
    """Fit it (a worker calls it); packed arrays and the report."""
    from metabench_py.stack.fit import StackOptions, fit_stack

    inputs = StackInputs(lessons.table, lessons.responses)
    fit = fit_stack(inputs, lessons.scores, lessons.groups, StackOptions(seed=seed))
    # Nothing in a bundle depends on how fast a machine is.
    report = {name: value for name, value in fit.report.items() if name != "seconds"}
    return pack_arrays(fit.stack.to_arrays()), report


def _stack_of(path: Path, values: dict[str, Any]) -> FittedStack:
    return FittedStack(Stack.from_arrays(unpack_arrays(path.read_bytes())), values["report"])


def lessons_parts(lessons: Lessons) -> list[Any]:
    """All that a fit depends on, for its key."""
    return [
        *(lessons.table[name] for name in sorted(lessons.table)),
        *(lessons.responses[b] for b in sorted(lessons.responses)),
        *(lessons.scores[t] for t in TARGETS if t in lessons.scores),
        lessons.groups,
    ]


def stack_settings(seed: int) -> list[Any]:
    """JSON values of all that a stack's fit depends on besides its data."""
    return [seed, code_version(("metabench_py.stack.fit",)), _version("scikit-learn")]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"


def _mgcv_version() -> str:
    from metabench_py.rbridge import locate

    return locate.package_version("mgcv") or "unknown"
