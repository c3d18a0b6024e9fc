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
Folds = Annotated[int, typer.Option(help="Of the cross-validation; organisations stay together.")]
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
Pool = Annotated[int, typer.Option(help="randomesque: choose among so many.")]
Acceleration = Annotated[float, typer.Option(help="progressive: 0 begins adapting at once.")]
MaxExposure = Annotated[
    float, typer.Option(help="sympson-hetter: largest share of LLMs that an item goes to.")
]
Seed = Annotated[int, typer.Option(help="Of all that is random.")]


def settings_of(**given: Any) -> CatSettings:
    """Make settings of the options' values."""
    from metabench_py.adaptive.settings import CatSettings

    start = given.pop("start_theta", None)
    given["n_random"] = given.pop("start_random", 0)
    return CatSettings(start=tuple(start or (0.0,)), **given)


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
    folds: int,
    seed: int,
) -> list[CatData]:
    """Give each benchmark's items and answers, with scores and folds where there are any.

    With scores, LLMs without one are left out.
    """
    if (responses is None) == (generate is None):
        raise InputError("Give --responses DIR for real answers or --generate N for drawn ones.")
    if generate is not None:
        return _drawn(bundle, names, scores, generate, seed)
    assert responses is not None
    from metabench_py.adaptive.study import CatData
    from metabench_py.calibration.folds import organisation_folds
    from metabench_py.calibration.scores import load_scores

    known = None if scores is None else load_scores(scores)
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
            fold = organisation_folds(kept, folds, seed)
        found.append(CatData(benchmark, parameters, matrix.rows(kept), score=score, fold=fold))
    return found


def _common(llms: Sequence[str], names: Sequence[str]) -> list[str]:
    there = set(names)
    return [name for name in llms if name in there]


def _drawn(
    bundle: Bundle, names: Sequence[str] | None, scores: Path | None, n: int, seed: int
) -> list[CatData]:
    from metabench_py.adaptive.study import drawn

    if scores is not None:
        raise InputError("--scores are of real LLMs; drawn ones have none.")
    if n < 2:
        raise InputError(f"--generate {n}: take 2 or more.")
    theta = np.random.default_rng(seed).standard_normal(n)
    return [
        drawn(b, bundle.benchmarks[b].parameters, theta, seed + BENCHMARKS.index(b))
        for b in benchmarks_of(names)
    ]


def _load(folder: Path, benchmark: Benchmark) -> Any:
    from metabench_py.responses import ResponseMatrix

    for ending in (".parquet", ".csv", ".csv.gz"):
        if (path := folder / f"{benchmark}{ending}").is_file():
            return ResponseMatrix.load(path)
    raise InputError(
        f"{folder} has no {benchmark}.parquet; leave the benchmark out with --benchmark.",
        path=str(folder),
    )
