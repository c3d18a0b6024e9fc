"""What adaptive tests are simulated on: items of a bundle, answers and scores of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from metabench_py.adaptive.settings import CatSettings
    from metabench_py.adaptive.study import CatData
    from metabench_py.bundle import Bundle

FOLDS = 10
_LEAST_LLMS = 2
_LEADERBOARD_CURE = (
    "Give a table of such shares, as `calibrate preprocess` writes it (scores.parquet)."
)
# Each option of exposure control is of one kind.
_KIND_OF = {
    "pool": "randomesque",
    "acceleration": "progressive",
    "max_exposure": "sympson-hetter",
}

Responses = Annotated[
    Path | None,
    typer.Option(help="Folder of response matrices (arc.parquet, ...): tests on real answers."),
]
ScoresFile = Annotated[
    Path | None, typer.Option("--scores", help="Table: name and full scores, 0-100.")
]
Generate = Annotated[
    int | None, typer.Option(help="Tests on so many drawn LLMs instead, of abilities N(0, 1).")
]
Benchmarks = Annotated[
    list[str] | None, typer.Option("--benchmark", help="May be given again. Default: all six.")
]
Llms = Annotated[int | None, typer.Option(help="Only so many LLMs, taken at random.")]
Folds = Annotated[
    int | None,
    typer.Option(
        help=f"Of the cross-validation of --scores; organisations stay together. Default: {FOLDS}."
    ),
]
Criterion = Annotated[str, typer.Option(help="MFI, KL, KLP, MEI or random.")]
Estimator = Annotated[str, typer.Option(help="MAP, EAP or WLE.")]
Se = Annotated[float | None, typer.Option(help="Stop at this standard error.")]
MaxItems = Annotated[int | None, typer.Option(help="Stop at so many items.")]
MinItems = Annotated[int, typer.Option(help="The standard error counts from so many on.")]
StartTheta = Annotated[
    list[float] | None,
    typer.Option(help="Begin with the best item at this ability; may be given again."),
]
StartRandom = Annotated[int, typer.Option(help="Begin with so many items at random instead.")]
Batch = Annotated[int, typer.Option(help="Items between two estimates.")]
Exposure = Annotated[str, typer.Option(help="none, randomesque, progressive or sympson-hetter.")]
Pool = Annotated[int | None, typer.Option(help="randomesque: choose among so many. Default: 5.")]
Acceleration = Annotated[
    float | None, typer.Option(help="progressive: 0 begins adapting at once. Default: 1.")
]
MaxExposure = Annotated[
    float | None,
    typer.Option(help="sympson-hetter: largest share of LLMs that an item goes to. Default: 0.5."),
]
Seed = Annotated[int, typer.Option(help="Of all that is random.")]


def settings_of(exposures: Sequence[str] = (), **given: Any) -> CatSettings:
    """Make settings of the options' values.

    Parameters
    ----------
    exposures
        Kinds of exposure control that are tried; empty: that of `given`, or none.
    """
    from metabench_py.adaptive.settings import CatSettings

    start = given.pop("start_theta", None)
    given["n_random"] = given.pop("start_random", 0)
    if start and given["n_random"]:
        raise InputError("--start-theta and --start-random are two beginnings; give one of them.")
    used = exposures or (given.get("exposure", "none"),)
    for name, kind in _KIND_OF.items():
        if given.get(name) is None:
            given.pop(name, None)
        elif kind not in used:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is of --exposure {kind}; give both or leave {option} out.")
    if "se" in given:
        check_min_items(given["min_items"], given["se"] is not None)
    return CatSettings(start=tuple(start or (0.0,)), **given)


def check_min_items(min_items: int, stops_by_se: bool) -> None:
    """Refuse a least number of items where no test stops at a standard error."""
    if min_items > 1 and not stops_by_se:
        raise InputError("--min-items is of the rule --se; give both or leave --min-items out.")


def benchmarks_of(names: Sequence[str] | None) -> list[Benchmark]:
    """Check names of benchmarks; all six if none is given."""
    if not names:
        return list(BENCHMARKS)
    odd = next((name for name in names if name not in BENCHMARKS), None)
    if odd is not None:
        raise InputError(f"--benchmark {odd}: choose {', '.join(BENCHMARKS)}.")
    return [b for b in BENCHMARKS if b in names]


def load_data(
    bundle: Bundle,
    names: Sequence[str] | None,
    responses: Path | None,
    scores: Path | None,
    generate: int | None,
    llms: int | None,
    folds: int | None,
    seed: int,
) -> list[CatData]:
    """Give each benchmark's items and answers, with scores and folds where there are any.

    With scores, LLMs without one are left out.
    """
    if (responses is None) == (generate is None):
        raise InputError("Give --responses DIR for real answers or --generate N for drawn ones.")
    _refuse_unused(scores, generate, llms, folds)
    if generate is not None:
        return _drawn(bundle, names, generate, seed)
    assert responses is not None
    from metabench_py.adaptive.study import CatData
    from metabench_py.calibration.folds import organisation_folds
    from metabench_py.calibration.scores import load_scores

    known = None if scores is None else load_scores(scores, cure=_LEADERBOARD_CURE)
    found = []
    for benchmark in benchmarks_of(names):
        parameters = bundle.benchmarks[benchmark].parameters
        matrix = _load(responses, benchmark).select(parameters.items)
        kept = list(matrix.llms) if known is None else _common(matrix.llms, known.names)
        if not kept:
            raise InputError(f"{scores} has a score of no LLM of {benchmark} in {responses}.")
        if llms is not None and llms < len(kept):
            at = np.random.default_rng(seed).choice(len(kept), llms, replace=False)
            kept = [kept[i] for i in sorted(at)]
        score = fold = None
        if known is not None:
            score = known.of(kept)[benchmark]
            fold = organisation_folds(kept, FOLDS if folds is None else folds, seed)
        found.append(CatData(benchmark, parameters, matrix.rows(kept), score=score, fold=fold))
    return found


def _refuse_unused(
    scores: Path | None, generate: int | None, llms: int | None, folds: int | None
) -> None:
    """Refuse options that nothing would come of."""
    if generate is not None:
        if scores is not None:
            raise InputError("--scores are of real LLMs; drawn ones have none.")
        if llms is not None:
            raise InputError("--llms takes some of real LLMs; say by --generate how many to draw.")
        if folds is not None:
            raise InputError(
                "--folds cross-validates scores; drawn LLMs have none, so leave it out."
            )
    if llms is not None and llms < _LEAST_LLMS:
        raise InputError(f"--llms {llms}: take {_LEAST_LLMS} or more.")
    if folds is not None and scores is None:
        raise InputError("--folds cross-validates scores; give --scores too or leave it out.")


def _common(llms: Sequence[str], names: Sequence[str]) -> list[str]:
    there = set(names)
    return [name for name in llms if name in there]


def _drawn(bundle: Bundle, names: Sequence[str] | None, n: int, seed: int) -> list[CatData]:
    from metabench_py.adaptive.study import drawn

    if n < _LEAST_LLMS:
        raise InputError(f"--generate {n}: take {_LEAST_LLMS} or more.")
    theta = np.random.default_rng(seed).standard_normal(n)
    return [
        drawn(b, bundle.benchmarks[b].parameters, theta, seed + BENCHMARKS.index(b))
        for b in benchmarks_of(names)
    ]


def _load(folder: Path, benchmark: Benchmark) -> Any:
    from metabench_py.responses import ResponseMatrix

    if not folder.is_dir():
        what = "a file" if folder.is_file() else "no such folder"
        raise InputError(
            f"--responses {folder}: {what}; give the folder that holds {benchmark}.parquet.",
            path=str(folder),
        )
    for ending in (".parquet", ".csv", ".csv.gz"):
        if (path := folder / f"{benchmark}{ending}").is_file():
            return ResponseMatrix.load(path)
    raise InputError(
        f"{folder} has no {benchmark}.parquet; leave the benchmark out with --benchmark.",
        path=str(folder),
    )
