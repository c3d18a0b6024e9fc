"""Checks what is to become a bundle, before a file is written."""

from __future__ import annotations

import json
from typing import NoReturn

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle.schema import ERRORS_KINDS, STAGE_FITS, BundleDraft, ErrorTable
from metabench_py.errors import BundleError
from metabench_py.irt.model import Floats


def check_draft(draft: BundleDraft) -> None:
    """Check that a draft is whole and its numbers are finite.

    Raises
    ------
    BundleError
        It lacks something; the message says what.
    """

    def fail(what: str) -> NoReturn:
        raise BundleError(
            f"The bundle {draft.name!r} cannot be written: {what}.", bundle=draft.name
        )

    if not draft.stages:
        fail("there is no second stage")
    wholes: list[tuple[str, tuple[str, ...], set[str]]] = [
        ("benchmark", BENCHMARKS, set(draft.benchmarks))
    ]
    for name, stage in draft.stages.items():
        if stage.name != name or stage.fit not in STAGE_FITS:
            fail(f"the second stage under {name} is {stage.name}, fitted by {stage.fit!r}")
        wholes += [
            (
                name,
                TARGETS,
                set(stage.model if isinstance(stage.model, dict) else stage.model.targets),
            ),
            (f"error table of {name}", TARGETS, set(stage.errors)),
        ]
    for benchmark, single in draft.singles.items():
        targets = single.model if isinstance(single.model, dict) else single.model.targets
        wholes += [
            (f"{benchmark} alone", (benchmark,), set(targets)),
            (f"error table of {benchmark} alone", (benchmark,), set(single.errors)),
        ]
    for kind, wanted, got in wholes:
        absent = [x for x in wanted if x not in got]
        extra = sorted(got - set(wanted))
        if absent or extra:
            fail(f"{kind}: missing {absent}, unknown {extra}")
    if draft.rds and "gam" not in draft.stages:
        fail("there are .rds files, but no second stage gam")
    if draft.errors_kind not in ERRORS_KINDS:
        fail(f"errors_kind is {draft.errors_kind!r}, not one of {', '.join(ERRORS_KINDS)}")
    for benchmark, model in draft.benchmarks.items():
        if model.benchmark != benchmark:
            fail(f"the model under {benchmark} is that of {model.benchmark}")
        n = len(model.parameters.items)
        if n == 0 or len(set(model.parameters.items)) != n:
            fail(f"{benchmark}: items are empty or occur twice")
        if model.weights.shape != (n,):
            fail(f"{benchmark}: {n} items but weights of shape {model.weights.shape}")
        if not (np.isfinite(model.weights).all() and np.isfinite(model.intercept)):
            fail(f"{benchmark}: a linear weight or the intercept is not finite")
    tables = [
        (f"{name}, {target}", table)
        for name, stage in (*draft.stages.items(), *draft.singles.items())
        for target, table in stage.errors.items()
    ]
    for what, table in tables:
        if problem := _problem(table):
            fail(f"errors of {what} {problem}")
    if len({table.group is None for _, table in tables}) > 1:
        fail("some error tables have groups and others have none")
    levels = draft.population_levels
    if draft.population and (
        levels.size < 2 or (np.diff(levels) <= 0).any() or levels[0] < 0 or levels[-1] > 1
    ):
        fail("population levels must increase within 0 to 1")
    for target, scores in draft.population.items():
        if target not in TARGETS or scores.shape != levels.shape or not _increasing(scores):
            fail(f"population quantiles of {target} must be finite and must not decrease")
    for what, value in (
        ("provenance", draft.provenance),
        *((f"fit of {b}", m.fit) for b, m in draft.benchmarks.items()),
        *((f"what is told of {n}", s.about) for n, s in draft.stages.items()),
        *((f"evaluation of {n}", s.evaluation) for n, s in draft.stages.items()),
    ):
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            fail(f"{what} is not JSON ({error})")
    for target in draft.rds:
        if target not in TARGETS:
            fail(f"an .rds of an unknown target {target!r}")


def _problem(table: ErrorTable) -> str:
    shapes = {table.predicted.shape, table.error.shape}
    shapes |= {more.shape for more in (table.group, table.scale) if more is not None}
    if len(shapes) != 1 or table.predicted.size == 0 or table.predicted.ndim != 1:
        return "are empty or their columns differ in length"
    if not (np.isfinite(table.predicted).all() and np.isfinite(table.error).all()):
        return "are not all finite"
    if table.scale is not None and not (np.isfinite(table.scale) & (table.scale > 0.0)).all():
        return "have a scale that is not above 0"
    return ""


def _increasing(scores: Floats) -> bool:
    return bool(np.isfinite(scores).all() and (np.diff(scores) >= 0).all())
