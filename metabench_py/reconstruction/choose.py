"""Chooses a bundle's second stage, and who computes it."""

from __future__ import annotations

from typing import Literal, get_args

from metabench_py.benchmarks import TARGETS, TITLES, Benchmark, EngineName
from metabench_py.bundle.schema import Bundle, StoredStage
from metabench_py.errors import InputError, TrustError
from metabench_py.reconstruction.second_stage import (
    Computer,
    GamStage,
    SecondStage,
    stored_stage,
)

SecondStageName = Literal["auto", "stack", "gam", "mgcv", "portable"]
SECOND_STAGES: tuple[SecondStageName, ...] = get_args(SecondStageName)


def may_use_r(
    bundle: Bundle,
    engine: EngineName,
    second_stage: SecondStageName,
    only: Benchmark | None = None,
) -> bool:
    """Tell whether a `Reconstructor` of these would start R; looks on disk only."""
    if engine == "mirt" or second_stage == "mgcv":
        return True
    from metabench_py import rbridge

    if engine == "auto" and rbridge.has_package("mirt"):
        return True
    return choose_second_stage(bundle, engine, second_stage, only)[1] == "mgcv"


def choose_second_stage(
    bundle: Bundle,
    engine: EngineName,
    wanted: SecondStageName = "auto",
    only: Benchmark | None = None,
) -> tuple[StoredStage, Computer]:
    """Choose among what the bundle has and what can compute it here; looks on disk only.

    Raises
    ------
    InputError
        The bundle has no such second stage.
    RUnavailableError, TrustError
        mgcv was asked for by name; it is absent, or nobody vouches for the .rds files.
    """
    if wanted not in SECOND_STAGES:
        raise InputError(f"No second stage {wanted!r}; choose {', '.join(SECOND_STAGES)}.")
    stored = _stored(bundle, wanted, only)
    if stored.name == "stack":
        return stored, "stack"
    if only is not None or wanted == "portable" or (wanted == "auto" and engine == "native"):
        return stored, "portable"
    from metabench_py import rbridge

    absent = [t for t in TARGETS if t not in bundle.rds]
    if wanted != "mgcv":
        return stored, "mgcv" if not absent and rbridge.has_package("mgcv") else "portable"
    rbridge.require_package("mgcv")
    if absent:
        if bundle.rds_untrusted:
            raise TrustError(
                f"The R fits in {bundle.path} are not vouched for, and an .rds file can run code "
                "when R reads it. Say --trust if you trust their source, or take "
                "--second-stage portable: the same fit, without R.",
                path=str(bundle.path),
            )
        raise InputError(
            f"{bundle.path} has no R fits (.rds); take --second-stage portable.",
            path=str(bundle.path),
        )
    return stored, "mgcv"


def _stored(bundle: Bundle, wanted: SecondStageName, only: Benchmark | None) -> StoredStage:
    kind = None if wanted == "auto" else ("stack" if wanted == "stack" else "gam")
    if only is not None:
        single = bundle.singles.get(only)
        if single is None:
            raise InputError(
                f"The bundle {bundle.name} has no second stage for {TITLES[only]} alone; run all "
                "six benchmarks, or calibrate the bundle anew.",
                path=str(bundle.path),
            )
        if wanted == "mgcv" or kind not in (None, single.name):
            raise InputError(
                f"{TITLES[only]} alone is scored by the bundle's {single.name} only; leave "
                "--second-stage out.",
                path=str(bundle.path),
            )
        return single
    if kind is None:
        return bundle.default
    for name, stage in bundle.stages.items():
        if name == kind:
            return stage
    raise InputError(
        f"The bundle {bundle.name} has no second stage {kind!r}, only {', '.join(bundle.stages)}; "
        "take one of these.",
        path=str(bundle.path),
    )


def open_stage(bundle: Bundle, stored: StoredStage, computer: Computer) -> SecondStage:
    """Make it ready to predict; mgcv's fits are read into R."""
    if computer != "mgcv" or not isinstance(stored.model, dict):
        return stored_stage(stored.model)
    from metabench_py.gam.mgcv import load_rds

    return GamStage(stored.model, {t: load_rds(bundle.rds[t], t) for t in TARGETS})
